"""What importing the package changes about the process."""

from __future__ import annotations

import platform
import resource

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
