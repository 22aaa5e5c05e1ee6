"""Paired timings: two calls in turn, so that a machine whose speed drifts slows both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Paired:
    """Seconds of two calls timed in turn.

    ``ours`` and ``theirs`` are medians, ``ratio`` is the median over pairs of theirs / ours, ``low`` and ``high`` the
    smallest and largest ratio of a pair.
    """

    ours: float
    theirs: float
    ratio: float
    low: float
    high: float


def seconds(call: Callable[[], Any], repeat: int) -> float:
    """Mean wall seconds of ``repeat`` calls in a row."""
    start = time.perf_counter()
    for _ in range(repeat):
        call()
    return (time.perf_counter() - start) / repeat


def pair(ours: Callable[[], Any], theirs: Callable[[], Any], pairs: int = 15, repeat: int = 10) -> Paired:
    """Time two calls in turn, ``pairs`` times; ours is repeated within a pair because it is short."""
    ours(), theirs()
    times = [(seconds(ours, repeat), seconds(theirs, 1)) for _ in range(pairs)]
    ratios = sorted(b / a for a, b in times)
    return Paired(median(a for a, _ in times), median(b for _, b in times), median(ratios), ratios[0], ratios[-1])
