"""Known targets evaluated in memory, for tests of the surrogate and of the exact correction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.known_targets import KnownTarget
from estimhank.evaluation.evaluations import EvaluationBatch
from estimhank.target.protocol import GradientLike


@dataclass
class Memory:
    """Stands in for a recorder: evaluates at once and keeps every batch."""

    target: KnownTarget
    batches: list[tuple[str, int, EvaluationBatch]] = field(default_factory=list)

    def __call__(
        self, stage: str, iteration: int, thetas: np.ndarray, gradient: GradientLike = False
    ) -> EvaluationBatch:
        assert (stage, iteration) not in [(s, i) for s, i, _ in self.batches], "a batch number is used once"
        batch = self.target.batch(thetas, gradient)
        self.batches.append((stage, iteration, batch))
        return batch

    def count(self, stage: str) -> int:
        return sum(len(batch) for s, _, batch in self.batches if s == stage)


def candidates(target: KnownTarget, n: int, seed: int = 0, where: Callable | None = None) -> EvaluationBatch:
    """Evaluations like those of a sampling stage: draws of the target, jittered, some of them widely."""
    rng = np.random.default_rng(seed)
    x = target.transform.to_unconstrained(target.sample(rng, 4 * n))
    if where is not None:
        x = x[where(x)]
    root = np.linalg.cholesky(np.cov(x.T) + 1e-12 * np.eye(x.shape[1]))
    width = rng.choice([0.3, 0.8, 1.5], n)
    moved = x[:n] + width[:, None] * rng.standard_normal((n, x.shape[1])) @ root.T
    if where is not None:
        moved = moved[where(moved)]
    return target.batch(target.transform.to_natural(moved), gradient=True)


def mode_of(target: KnownTarget, anchors: tuple[np.ndarray, ...] = (), seed: int = 1) -> Any:
    """What the surrogate stage reads of a mode search: centre, covariance, local modes (coordinates)."""
    x = target.transform.to_unconstrained(target.sample(np.random.default_rng([seed, 9]), 2_000))
    covariance = np.atleast_2d(np.cov(x.T))
    modes = tuple(SimpleNamespace(x=np.asarray(a, float), log_density=0.0) for a in anchors)
    return SimpleNamespace(center_x=x.mean(axis=0), covariance_x=covariance, modes=modes, log_density=0.0)
