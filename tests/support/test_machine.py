"""Cores and memory as control groups of both versions grant them, from trees of files as the kernel shows them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from estimhank.support.machine import find_cores, find_memory

MEMINFO = "MemTotal:       16000000 kB\nMemFree:         1000000 kB\nMemAvailable:    8000000 kB\n"


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        # the group itself has no limit, the one above it has
        (
            {
                "proc/self/cgroup": "0::/jobs/17\n",
                "sys/fs/cgroup/jobs/17/cpu.max": "max 100000\n",
                "sys/fs/cgroup/jobs/cpu.max": "400000 100000\n",
                "sys/fs/cgroup/cpu.max": "6400000 100000\n",
            },
            4.0,
        ),
        # the group of the host, which this container does not see
        ({"proc/self/cgroup": "0::/../../elsewhere\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3.0),
        # version 1
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/a\n3:memory:/b\n",
                "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "200000\n",
                "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000\n",
            },
            2.0,
        ),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, None),
        ({"proc/self/cgroup": "what\n::\n", "sys/fs/cgroup/cpu.max": "nonsense"}, None),
        ({"sys/fs/cgroup/cpu.max": "100000 0"}, None),
    ],
)
def test_the_share_of_cores(files: dict[str, str], quota: float | None, tmp_path: Path) -> None:
    cores = find_cores(tree(tmp_path, files))
    assert cores.quota == quota and cores.machine == os.cpu_count()
    expected = cores.affinity if quota is None else min(cores.affinity, int(quota))
    assert cores.usable == max(1, expected)


def test_half_a_core_is_one_process(tmp_path: Path) -> None:
    assert find_cores(tree(tmp_path, {"sys/fs/cgroup/cpu.max": "50000 100000"})).usable == 1


@pytest.mark.parametrize(
    ("files", "limit", "available"),
    [
        ({}, None, 8_192_000_000),
        ({"sys/fs/cgroup/memory.max": "max", "sys/fs/cgroup/memory.current": "5"}, None, 8_192_000_000),
        # files that the group has read are given back when memory is asked for
        (
            {
                "sys/fs/cgroup/memory.max": "2000000000",
                "sys/fs/cgroup/memory.current": "1500000000",
                "sys/fs/cgroup/memory.stat": "anon 1\ninactive_file 700000000\n",
            },
            2_000_000_000,
            1_200_000_000,
        ),
        # what others leave is less than the group may have
        ({"sys/fs/cgroup/memory.max": "12000000000", "sys/fs/cgroup/memory.current": "0"}, 12 * 10**9, 8_192_000_000),
        (
            {
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "1000000000",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "400000000",
            },
            10**9,
            6 * 10**8,
        ),
        # version 1 says so of no limit
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712"}, None, 8_192_000_000),
    ],
)
def test_the_share_of_memory(files: dict[str, str], limit: int | None, available: int, tmp_path: Path) -> None:
    found = find_memory(tree(tmp_path, files))
    assert (found.total, found.limit, found.available) == (16_384_000_000, limit, available)


def test_a_system_without_proc(tmp_path: Path) -> None:
    found = find_memory(tmp_path)
    assert found.limit is None and found.available is None and (found.total is None or found.total > 0)
