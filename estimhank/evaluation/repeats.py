"""Evaluations that are evaluated again: a log density has one value at a point (:mod:`estimhank.target.repeatable`)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from estimhank.evaluation.evaluations import EvaluationBatch
from estimhank.target.protocol import Target
from estimhank.target.repeatable import check_repeatable

Array = NDArray[np.float64]

_REPEATED = 16
#: As :meth:`estimhank.evaluation.recorder.Recorder.evaluate`.
Evaluate = Callable[[str, int, Array], EvaluationBatch]
#: Number of the batch of repeated evaluations, beyond those of any stage.
REPEATED_BATCH = 1_000_000


def repeat_some(evaluate: Evaluate, target: Target, batch: EvaluationBatch) -> None:
    """Evaluate some points of a batch again, as stage ``"surrogate"``, which learns from them.

    Raises
    ------
    NotRepeatable
        If one of them does not come out the same.
    """
    rows = choose_repeated(batch, _REPEATED)
    again = evaluate("surrogate", REPEATED_BATCH, batch.theta[rows])
    check_repeatable(target.names, again.theta, batch.log_density[rows], again.log_density)


def choose_repeated(batch: EvaluationBatch, most: int) -> NDArray[np.int64]:
    """Rows, at most so many and evenly spread, of evaluations with a finite density."""
    rows = np.flatnonzero(batch.ok & np.isfinite(batch.log_density))
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int))] if len(rows) else rows
