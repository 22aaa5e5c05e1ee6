"""Evaluations of a log density as arrays: one batch in flight, or everything a store holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from estimhank.target.protocol import REASONS

Array = NDArray[np.float64]

#: Stages that evaluate the log density. The position in this tuple is the code kept in the evaluation store.
STORED_STAGES: tuple[str, ...] = ("mode", "sample", "surrogate", "certificate", "exact", "validate")


@dataclass(frozen=True)
class FailureExample:
    """An evaluation without a density: where it was asked for, and its parameters by name."""

    stage: str
    iteration: int
    parameters: Mapping[str, float]


@dataclass(frozen=True)
class EvaluationBatch:
    """Evaluations at n parameter vectors, in the order in which they were asked for.

    Attributes
    ----------
    theta : ndarray of shape (n, d)
        Natural parameters.
    log_likelihood : ndarray of shape (n,)
        ``-inf`` where ``reason`` is not 0.
    log_prior : ndarray of shape (n,)
        Log prior density of the natural parameters.
    reason : ndarray of uint8, shape (n,)
        Position in :data:`estimhank.target.protocol.REASONS`; 0 is ``"ok"``.
    seconds : ndarray of float32, shape (n,)
        Time each evaluation took.
    gradient : ndarray of shape (n, d)
        Gradient of log likelihood plus log prior in natural units; rows of nan where it was not asked for or there is
        none. May be read-only.
    """

    theta: Array
    log_likelihood: Array
    log_prior: Array
    reason: NDArray[np.uint8]
    seconds: NDArray[np.float32]
    gradient: Array

    def __len__(self) -> int:
        """Number of evaluations n."""
        return len(self.theta)

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Which evaluations have a finite density, shape (n,)."""
        found: NDArray[np.bool_] = self.reason == 0
        return found

    @property
    def log_density(self) -> Array:
        """Log likelihood plus log prior in natural units, ``-inf`` where there is none; shape (n,)."""
        total = np.full(len(self), -np.inf)
        np.add(self.log_likelihood, self.log_prior, out=total, where=self.ok)
        return total

    def select(self, rows: Any) -> Self:
        """Return the evaluations that an index, a slice or a mask picks."""
        return type(self)(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


@dataclass(frozen=True)
class Evaluations(EvaluationBatch):
    """Evaluations with where they came from, in the order in which they were stored.

    Attributes
    ----------
    stage : ndarray of uint8, shape (n,)
        Position in :data:`STORED_STAGES`.
    iteration : ndarray of int64, shape (n,)
        The stage's batch that the evaluation belongs to.
    """

    stage: NDArray[np.uint8]
    iteration: NDArray[np.int64]

    def of_stages(self, *stages: str) -> Evaluations:
        """Return the evaluations of the named stages."""
        return self.select(np.isin(self.stage, [stage_code(stage) for stage in stages]))

    def joined(self, other: Evaluations) -> Evaluations:
        """These evaluations, then others."""
        both = {f.name: np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)}
        return Evaluations(**both)

    def counts(self) -> dict[str, dict[str, int]]:
        """Count by stage and reason; stages and reasons that do not occur are left out."""
        table = np.bincount(self.stage.astype(np.int64) * 256 + self.reason, minlength=256 * len(STORED_STAGES))
        return {
            stage: {reason: int(row[code]) for code, reason in enumerate(REASONS) if row[code]}
            for stage, row in zip(STORED_STAGES, table.reshape(-1, 256), strict=True)
            if row.any()
        }

    def failure_examples(self, names: Sequence[str], each: int = 3) -> dict[str, tuple[FailureExample, ...]]:
        """The first evaluations without a density, ``each`` of a reason."""
        found = {}
        for code, reason in enumerate(REASONS):
            rows = np.flatnonzero(self.reason == code)[:each]
            if reason != "ok" and len(rows):
                found[reason] = tuple(
                    FailureExample(
                        STORED_STAGES[self.stage[row]],
                        int(self.iteration[row]),
                        dict(zip(names, self.theta[row].tolist(), strict=True)),
                    )
                    for row in rows
                )
        return found


def stage_code(stage: str) -> int:
    """Return the code of a stage's name; ``ValueError`` for a name that is not in :data:`STORED_STAGES`."""
    if stage not in STORED_STAGES:
        raise ValueError(f"unknown stage {stage!r}; the stages are {', '.join(STORED_STAGES)}")
    return STORED_STAGES.index(stage)


def empty_gradient(n: int, d: int) -> Array:
    """Return an (n, d) array of nan that takes no memory (read-only)."""
    return np.broadcast_to(np.float64(np.nan), (n, d))
