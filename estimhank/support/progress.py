"""Progress for people: one live line on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from estimhank.support.progress_event import ProgressEvent

#: Rates are those of the last so many seconds: a resumed stage begins with a stretch that is read, not computed.
WINDOW = 20.0


def format_seconds(seconds: float) -> str:
    """A duration for people: ``"0.4 s"``, ``"12 s"``, ``"3 min 05 s"``, ``"2 h 10 min"``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class ProgressDisplay:
    """Shows :class:`~estimhank.support.progress_event.ProgressEvent` reports; call it, in a ``with`` block.

    Parameters
    ----------
    stream : text stream
        Where to write; standard error by default.
    interval : float
        Least seconds between two plain lines of one stage.
    clock : callable
        Seconds that only go forward; for tests.
    quiet : bool
        Show nothing.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        interval: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        quiet: bool = False,
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._interval = interval
        self._clock = clock
        self._quiet = quiet
        console = Console(file=self._stream)
        live = console.is_terminal and not quiet
        self._live = Live(console=console, auto_refresh=False, transient=True) if live else None
        self._stage = ""
        self._doing, self._since, self._shown = "", clock(), clock()
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._marks: deque[tuple[float, int, int]] = deque()
        self._last_line = -float("inf")

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        if not self._quiet:
            threading.Thread(target=self._keep_beating, daemon=True, name="progress").start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        with self._lock:
            if self._live is not None:
                self._live.stop()

    def say(self, text: str) -> None:
        """A line that stays: a stage begins or ends."""
        if self._quiet:
            return
        with self._lock:
            self._begin(text)
            self._shown = self._since
            if self._live is not None:
                self._live.update(Text(""), refresh=True)
                self._live.console.print(Text(text), soft_wrap=True)
            else:
                print(text, file=self._stream, flush=True)

    def note(self, text: str) -> None:
        """What is being done from now on, shown with the seconds it has taken if they are many; empty: it is over."""
        with self._lock:
            self._begin(text)

    def _begin(self, text: str) -> None:
        self._doing, self._since = text, self._clock()

    def _keep_beating(self) -> None:
        while not self._over.wait(1.0):
            self.beat()

    def beat(self) -> None:
        """Show that something is being done where nothing else has been shown for long."""
        with self._lock:
            elapsed = self._clock() - self._since
            if self._quiet or self._over.is_set() or not self._doing or elapsed < 2.0:
                return
            line = f"  {self._doing.strip()} ... {format_seconds(elapsed)}"
            if self._live is not None:
                self._live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)
            elif self._clock() - self._shown >= self._interval:
                self._shown = self._clock()
                print(line, file=self._stream, flush=True)

    def __call__(self, event: ProgressEvent) -> None:
        """Show one report."""
        with self._lock:
            self._report(event)

    def _report(self, event: ProgressEvent) -> None:
        time_now = self._clock()
        if event.stage != self._stage:
            self._stage = event.stage
            self._marks.clear()
            self._last_line = time_now  # the first plain line comes after one interval
        self._marks.append((time_now, event.done, event.evaluations))
        while len(self._marks) > 2 and time_now - self._marks[1][0] >= WINDOW:
            self._marks.popleft()
        if self._quiet:
            return
        line = self._line(event)
        self._begin(line)
        if self._live is not None:
            self._live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)
        elif time_now - self._last_line >= self._interval:
            self._last_line = self._shown = time_now
            print(line, file=self._stream, flush=True)

    def _line(self, event: ProgressEvent) -> str:
        parts = [f"{event.stage}: {event.done:,}" + (f" of {event.total:,}" if event.total else "")]
        (start, done, evaluations), (end, _, _) = self._marks[0], self._marks[-1]
        elapsed = end - start
        if event.evaluations:
            rate = f" ({(event.evaluations - evaluations) / elapsed:,.0f}/s)" if elapsed > 0 else ""
            parts.append(f"{event.evaluations:,} evaluations{rate}")
        if event.total and event.done > done and elapsed > 0:
            left = (event.total - event.done) * elapsed / (event.done - done)
            parts.append(f"{format_seconds(max(left, 0.0))} left")
        if event.message:
            parts.append(event.message)
        return "  " + ", ".join(parts)
