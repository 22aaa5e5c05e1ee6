"""Progress lines: plain ones at intervals, rates of the recent past, nothing when quiet."""

from __future__ import annotations

import io

import pytest

from estimhank.support.progress import ProgressDisplay, format_seconds
from estimhank.support.progress_event import ProgressEvent


class Clock:
    time = 0.0

    def __call__(self):
        return self.time


def test_plain_lines_come_at_intervals_with_rate_and_time_left():
    stream, clock = io.StringIO(), Clock()
    with ProgressDisplay(stream, interval=10, clock=clock) as display:
        for step in range(26):
            clock.time = float(step)
            display(ProgressEvent("sample", step, 50, 32 * step, "acceptance 0.31"))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2 and "\x1b" not in stream.getvalue()
    assert lines[0] == "  sample: 10 of 50, 320 evaluations (32/s), 40 s left, acceptance 0.31"


def test_the_rate_forgets_what_was_served_from_the_store():
    stream, clock = io.StringIO(), Clock()
    display = ProgressDisplay(stream, interval=100, clock=clock)
    display(ProgressEvent("sample", 0, 1000, 0))
    clock.time = 0.1
    display(ProgressEvent("sample", 500, 1000, 50_000))  # replayed in no time
    for step in range(1, 101):
        clock.time = 0.1 + step
        display(ProgressEvent("sample", 500 + step, 1000, 50_000 + 10 * step))
    assert "(10/s)" in stream.getvalue() and "6 min 40 s left" in stream.getvalue()


def test_unknown_totals_and_a_standing_clock_do_no_harm():
    stream, clock = io.StringIO(), Clock()
    display = ProgressDisplay(stream, interval=0, clock=clock)
    display(ProgressEvent("mode", 0, 0, 0))
    display(ProgressEvent("mode", 3, 0, 7))
    assert stream.getvalue().splitlines()[-1] == "  mode: 3, 7 evaluations"


def test_what_takes_long_is_said_again_with_its_seconds():
    stream, clock = io.StringIO(), Clock()
    display = ProgressDisplay(stream, interval=10, clock=clock)
    display.say("[2/6] mode")
    for second in range(1, 26):
        clock.time = float(second)
        if second == 3:
            display.note("compiling the log density")
        display.beat()
    clock.time = 26.0
    display(ProgressEvent("mode", 1, 8, 90))
    clock.time = 40.0
    display.beat()
    assert stream.getvalue().splitlines() == [
        "[2/6] mode",
        "  compiling the log density ... 7.0 s",
        "  compiling the log density ... 17 s",
        "  mode: 1 of 8, 90 evaluations ... 14 s",
    ]
    display.note("")
    clock.time = 90.0
    display.beat()
    assert len(stream.getvalue().splitlines()) == 4


def test_quiet_is_quiet():
    stream = io.StringIO()
    with ProgressDisplay(stream, interval=0, quiet=True) as display:
        display.say("hello")
        display(ProgressEvent("mode", 1, 2, 3))
    assert stream.getvalue() == ""


def test_a_terminal_gets_a_live_line():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    with ProgressDisplay(stream, clock=Clock()) as display:
        display(ProgressEvent("mode", 1, 2, 3))
        display.say("done")
    assert "mode: 1 of 2" in stream.getvalue() and "done" in stream.getvalue()


@pytest.mark.parametrize(
    "seconds, words",
    [(0.04, "0.0 s"), (9.96, "10 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7799, "2 h 09 min")],
)
def test_durations(seconds, words):
    assert format_seconds(seconds) == words
