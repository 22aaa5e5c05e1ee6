"""A run of the command line as a process of its own, watched from outside and stopped now and then to time a yardstick.

The yardstick is timed while the run is stopped (``SIGSTOP`` to its whole process group), every few seconds from its
beginning to its end. So a machine whose speed drifts slows both, neither takes the other's core, and the pauses are
taken out of what is reported. Which stage runs is read from ``manifest.json``, not from what the run prints.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

#: Names of what comes before the first stage (imports, data, steady state) and after the last one.
START, END = "start", "end"

_POLL = 0.1  # seconds between two looks at the run
_TICKS = os.sysconf("SC_CLK_TCK")

Interval = tuple[float, float]


@dataclass
class Trace:
    """What was seen of a run. Times are seconds of ``time.perf_counter``, which all processes of a machine share.

    Attributes
    ----------
    begun, ended : float
        When the process started and ended.
    code : int
        Its exit code.
    processor_seconds : float
        User and system time of it and of its workers.
    entered : list of (str, float, float)
        Each stage in turn, when it was first seen, and the processor seconds until then (0 where /proc is missing).
    pauses : list of (float, float)
        When the run was stopped and when it went on.
    lines : list of (float, str)
        What it printed and when.
    """

    begun: float
    ended: float = 0.0
    code: int = 0
    processor_seconds: float = 0.0
    entered: list[tuple[str, float, float]] = field(default_factory=list)
    pauses: list[Interval] = field(default_factory=list)
    lines: list[tuple[float, str]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Wall seconds of the run, without the pauses."""
        return self.ended - self.begun - self.paused((self.begun, self.ended))

    def paused(self, within: Interval) -> float:
        """Seconds of an interval for which the run was stopped."""
        return sum(overlap(pause, within) for pause in self.pauses)

    def windows(self) -> dict[str, Interval]:
        """When each stage was first and last seen running."""
        times = [*(time for _, time, _ in self.entered[1:]), self.ended]
        return {name: (begun, end) for (name, begun, _), end in zip(self.entered, times, strict=True)}

    def processor(self) -> dict[str, float]:
        """Processor seconds of each stage, to within a tenth of a second or two."""
        counts = [*(count for _, _, count in self.entered[1:]), self.processor_seconds]
        return {name: max(0.0, end - begun) for (name, _, begun), end in zip(self.entered, counts, strict=True)}

    def first_line(self) -> float:
        """Seconds until the run printed something."""
        first = self.lines[0][0] if self.lines else self.ended
        return first - self.begun - self.paused((self.begun, first))

    def longest_silence(self) -> float:
        """Most seconds between two lines, pauses left out."""
        times = [self.begun, *(time for time, _ in self.lines), self.ended]
        return max(b - a - self.paused((a, b)) for a, b in itertools.pairwise(times))


def overlap(a: Interval, b: Interval) -> float:
    """Length of what two intervals share."""
    return max(0.0, min(a[1], b[1]) - max(a[0], b[0]))


def watch(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    yardstick: Callable[[], None],
    every: float = 10.0,
    echo: bool = False,
) -> Trace:
    """Run a command that fills a results folder, and stop it every so often to call ``yardstick``.

    Parameters
    ----------
    command : sequence of str
        Runs in a process group of its own.
    environment : mapping
        Its whole environment.
    folder : Path
        Where it writes ``manifest.json``.
    yardstick : callable
        Called while the run is stopped; it keeps its own times.
    every : float
        Seconds of the run between two calls.
    echo : bool
        Pass on what the run prints, to standard error.
    """
    before = _children_seconds()
    trace = Trace(time.perf_counter(), entered=[(START, time.perf_counter(), 0.0)])
    process = subprocess.Popen(
        command, env=dict(environment), text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    reader = threading.Thread(target=_read, args=(process, trace, echo), daemon=True)
    reader.start()
    try:
        last = trace.begun
        while process.poll() is None:
            time.sleep(_POLL)
            _note_stage(trace, folder, process.pid)
            if time.perf_counter() - last >= every and process.poll() is None:
                _pause(trace, process.pid, yardstick)
                last = time.perf_counter()
        trace.ended = time.perf_counter()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
    reader.join(timeout=5)
    trace.code = process.returncode
    trace.processor_seconds = _children_seconds() - before
    return trace


def _read(process: subprocess.Popen[str], trace: Trace, echo: bool) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        trace.lines.append((time.perf_counter(), line.rstrip()))
        if echo:
            print("    " + line.rstrip(), file=sys.stderr, flush=True)


def _pause(trace: Trace, group: int, yardstick: Callable[[], None]) -> None:
    begun = time.perf_counter()
    with contextlib.suppress(ProcessLookupError):  # it ended in between
        os.killpg(group, signal.SIGSTOP)
        try:
            yardstick()
        finally:
            os.killpg(group, signal.SIGCONT)
            trace.pauses.append((begun, time.perf_counter()))


def _note_stage(trace: Trace, folder: Path, group: int) -> None:
    stage = _running_stage(folder)
    if stage and stage != trace.entered[-1][0]:
        trace.entered.append((stage, time.perf_counter(), group_seconds(group)))


def _running_stage(folder: Path) -> str:
    """The stage that the manifest calls running, END if the run is finished; empty where it does not say."""
    try:
        content = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    if content["status"] == "finished":
        return END
    return next((name for name, record in content["stages"].items() if record["status"] == "running"), "")


def group_seconds(group: int) -> float:
    """User and system seconds of the processes of a group and of those they waited for; 0 where /proc is missing."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(") ")[2].split()
        except OSError:
            continue  # it ended
        if int(fields[2]) == group:
            ticks += sum(int(value) for value in fields[11:15])
    return ticks / _TICKS


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass(frozen=True)
class Compilation:
    """One step of a compilation, as JAX reports it: its process, kind, function, and when it began and ended."""

    process: int
    kind: str
    function: str
    begun: float
    ended: float


def read_compilations(file: Path) -> list[Compilation]:
    """What ``benchmarks/compilations/sitecustomize.py`` wrote down."""
    if not file.exists():
        return []
    rows = [line.split("\t") for line in file.read_text().splitlines()]
    return [
        Compilation(int(pid), kind, name, float(end) - float(took), float(end)) for pid, kind, name, took, end in rows
    ]


def compiling(events: Sequence[Compilation], trace: Trace, within: Interval) -> tuple[float, float]:
    """Seconds of an interval in which the main process was compiling, and the same summed over all processes.

    Steps that lie within each other (tracing a function traces those that it calls) count once; pauses do not count.
    """
    by_process: dict[int, list[Interval]] = defaultdict(list)
    for event in events:
        by_process[event.process].append((max(event.begun, within[0]), min(event.ended, within[1])))
    busy = {pid: _union(intervals, trace) for pid, intervals in by_process.items()}
    main = min(events, key=lambda event: event.begun).process if events else 0
    return busy.get(main, 0.0), sum(busy.values())


def _union(intervals: Sequence[Interval], trace: Trace) -> float:
    total, covered = 0.0, -float("inf")
    for begun, ended in sorted(intervals):
        begun = max(begun, covered)
        if ended > begun:
            total += ended - begun - trace.paused((begun, ended))
            covered = ended
    return total
