"""What importing the package changes about the process."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import estimhank  # noqa: F401  sets the process up


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="an option of glibc")
def test_memory_that_is_freed_is_not_mapped_anew_page_by_page() -> None:
    def touch() -> float:
        return float(np.full(6_000_000, 1.5)[-1])  # 48 MB, more than glibc keeps of its own accord

    touch()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        touch()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert faults < 0.2 * 5 * 48e6 / resource.getpagesize()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")
def test_the_pool_has_the_same_size_however_many_cores_there_are() -> None:
    script = """
import estimhank, jax, pathlib
jax.jit(lambda x: x @ x)(jax.numpy.ones((50, 50))).block_until_ready()
names = [t.read_text().strip() for t in pathlib.Path("/proc/self/task").glob("*/comm")]
print(sum(name == "tf_XLAEigen" for name in names))
"""
    environment = {k: v for k, v in os.environ.items() if k != "PJRT_NPROC"} | {"NPROC": "5"}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["1"]
