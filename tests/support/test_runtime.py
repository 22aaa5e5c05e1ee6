"""What the package changes about a process: nothing when imported, precision and threads when it computes."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from estimhank.support import runtime
from estimhank.support.errors import ConfigError


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
estimhank.configure()
jax.jit(lambda x: x @ x)(jax.numpy.ones((50, 50))).block_until_ready()
names = [t.read_text().strip() for t in pathlib.Path("/proc/self/task").glob("*/comm")]
print(sum(name == "tf_XLAEigen" for name in names))
"""
    environment = {k: v for k, v in os.environ.items() if k != "PJRT_NPROC"} | {"NPROC": "5"}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["1"]


def test_an_import_changes_nothing_and_precision_is_seen_to() -> None:
    script = """
import os, warnings
import jax, jax.numpy as jnp
before = dict(os.environ), jax.config.jax_enable_x64, jax.config.jax_compilation_cache_dir
import estimhank, estimhank.model, estimhank.posterior
after = dict(os.environ), jax.config.jax_enable_x64, jax.config.jax_compilation_cache_dir
print(before == after)
jnp.ones(3)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    words = estimhank.configure()
print([str(warning.message)[:39] for warning in said], words[0], jnp.ones(3).dtype, estimhank.configure())
jax.config.update("jax_enable_x64", False)
try:
    estimhank.from_log_density(lambda x: -float(x @ x), ["a"], [0.0], [1.0])
except estimhank.support.errors.ConfigError as error:
    print(error)
"""
    names = ("XLA_FLAGS", "PJRT_NPROC", "JAX_ENABLE_X64")
    environment = {k: v for k, v in os.environ.items() if k not in names}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    lines = run.stdout.splitlines()
    assert lines[0] == "True"
    assert lines[1] == "['JAX has computed in single precision in'] double precision float64 ()"
    assert "switched back to single precision" in lines[2]


@pytest.mark.parametrize("word", ["0", "False", "off"])
def test_a_session_that_is_told_to_compute_in_single_precision_is_refused(
    monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setattr(runtime, "_set", [])
    monkeypatch.setenv("JAX_ENABLE_X64", word)
    with pytest.raises(ConfigError, match="single precision, in which likelihoods are wrong: unset it"):
        runtime.configure()
