"""How long the parts of the posterior stage took, seen from the evaluations that it asks for."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from estimhank.evaluation.evaluations import EvaluationBatch
from estimhank.surrogate.exact import Evaluate
from estimhank.target.protocol import GradientLike


class FirstCalls:
    """Passes on evaluations, and notes when the posterior stage turned from one of its parts to the next.

    The stage asks for fresh draws of the surrogate once it has drawn from it (``"certificate"``, batch 0), then round
    by round for exact steps (``"exact"``), then for proposals around the exact draws (``"certificate"``, batch 1).

    Parameters
    ----------
    evaluate : callable
        Makes the evaluations.
    """

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate
        self._begun = time.perf_counter()
        self._first: dict[tuple[str, int], float] = {}

    def __call__(
        self, stage: str, iteration: int, thetas: NDArray[np.float64], gradient: GradientLike = False
    ) -> EvaluationBatch:
        """The evaluations."""
        self._first.setdefault((stage, 0 if stage == "exact" else iteration), time.perf_counter())
        return self._evaluate(stage, iteration, thetas, gradient)

    def seconds(self) -> dict[str, float]:
        """Wall seconds of drawing from the surrogate and of the exact steps, as far as both ends were seen."""
        turns = {"fresh": ("certificate", 0), "exact": ("exact", 0), "pairs": ("certificate", 1)}
        at = {"begun": self._begun, **{name: self._first[key] for name, key in turns.items() if key in self._first}}
        parts = {"surrogate_draws_seconds": ("begun", "fresh"), "exact_seconds": ("exact", "pairs")}
        return {name: round(at[b] - at[a], 3) for name, (a, b) in parts.items() if a in at and b in at}
