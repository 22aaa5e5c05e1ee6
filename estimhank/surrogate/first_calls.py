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

    @property
    def surrogate_seconds(self) -> float | None:
        """Wall seconds of drawing from the surrogate; None if the end was not seen."""
        return self._between(self._begun, self._first.get(("certificate", 0)))

    @property
    def exact_seconds(self) -> float | None:
        """Wall seconds of the exact steps; None if one of their ends was not seen."""
        return self._between(self._first.get(("exact", 0)), self._first.get(("certificate", 1)))

    @staticmethod
    def _between(begun: float | None, ended: float | None) -> float | None:
        return None if begun is None or ended is None else round(ended - begun, 3)
