"""How many cores and how much memory this process may use: of the machine, of its affinity, of its control group.

A container or a batch system grants a share of a machine, which the machine's own figures do not tell. Nothing but the
standard library.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_UNLIMITED = 1 << 60  # what version 1 of control groups says for no limit is beyond


@dataclass(frozen=True)
class Cores:
    """Processor cores.

    Attributes
    ----------
    machine : int
        Of the machine.
    affinity : int
        On which this process may be scheduled.
    quota : float, optional
        Cores' worth of time that the control group grants; None without a limit.
    """

    machine: int
    affinity: int
    quota: float | None

    @property
    def usable(self) -> int:
        """Processes that can compute side by side, one at least."""
        granted = self.affinity if self.quota is None else min(self.affinity, int(self.quota + 1e-9))
        return max(1, granted)


@dataclass(frozen=True)
class Memory:
    """Memory in bytes; None where the system does not tell.

    Attributes
    ----------
    total : int, optional
        Of the machine.
    available : int, optional
        That can be taken now, within the limit.
    limit : int, optional
        Of the control group; None without one.
    """

    total: int | None
    available: int | None
    limit: int | None


def find_cores(root: Path = Path("/")) -> Cores:
    """Cores of the machine and of this process; ``root``: where ``proc`` and ``sys`` are."""
    machine = os.cpu_count() or 1
    try:
        affinity = len(os.sched_getaffinity(0)) if sys.platform != "win32" and sys.platform != "darwin" else machine
    except OSError:
        affinity = machine
    quotas = [*_quotas_of_version_2(root), *_quotas_of_version_1(root)]
    return Cores(machine, affinity, min(quotas, default=None))


def find_memory(root: Path = Path("/")) -> Memory:
    """Memory of the machine and of this process; ``root``: where ``proc`` and ``sys`` are."""
    sizes = {}
    for line in _read(root / "proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        if rest.split():
            sizes[name] = int(rest.split()[0]) * 1024
    total = sizes.get("MemTotal")
    if total is None and hasattr(os, "sysconf"):
        with contextlib.suppress(ValueError, OSError):
            total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = []
    available = sizes.get("MemAvailable")
    for folder, name, used in (
        *((f, "memory.max", "memory.current") for f in _groups(root, "")),
        *((f, "memory.limit_in_bytes", "memory.usage_in_bytes") for f in _groups(root, "memory")),
    ):
        limit = _whole(_read(folder / name))
        if limit is not None and limit < _UNLIMITED:
            limits.append(limit)
            # what the group holds as a cache of files is given back when it is asked for
            taken = (_whole(_read(folder / used)) or 0) - _cached(folder)
            left = limit - max(0, taken)
            available = left if available is None else min(available, left)
    return Memory(total, available, min(limits, default=None))


def _cached(folder: Path) -> int:
    for line in _read(folder / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file"):
            return _whole(value) or 0
    return 0


def _quotas_of_version_2(root: Path) -> Iterator[float]:
    for folder in _groups(root, ""):
        words = _read(folder / "cpu.max").split()
        if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):
            yield int(words[0]) / int(words[1])


def _quotas_of_version_1(root: Path) -> Iterator[float]:
    for folder in _groups(root, "cpu"):
        quota, period = (_whole(_read(folder / f"cpu.cfs_{word}_us")) for word in ("quota", "period"))
        if quota is not None and quota > 0 and period:
            yield quota / period


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of this process's control group and of those above it; ``controller``: empty for version 2."""
    top = root / "sys/fs/cgroup" / controller
    own = ""
    for line in _read(root / "proc/self/cgroup").splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3 and (controller in parts[1].split(",") if controller else parts[0] == "0"):
            own = parts[2].strip("/")
    folder = top / own
    while True:
        if folder.is_dir():
            yield folder
        if folder == top or top not in folder.parents:
            return
        folder = folder.parent


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _whole(text: str) -> int | None:
    try:
        return int(text.strip())
    except ValueError:
        return None
