"""The log density in unconstrained coordinates, as the mode search asks for it: batches of values with gradients."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from estimhank.evaluation.evaluations import EvaluationBatch
from estimhank.evaluation.recorder import Recorder
from estimhank.mode.ascent import Value
from estimhank.target.protocol import Gradient, GradientLike, Target

Array = NDArray[np.float64]

_STEP = 1e-4  # of differences, in prior standard deviations, where a target has no gradients of its own


@dataclass(frozen=True)
class Objective:
    """Batches of a stage, numbered as they are asked for.

    Attributes
    ----------
    recorder : Recorder
    target : Target
    stage : str
    scale : ndarray of shape (d,)
        Scale of each coordinate: its prior standard deviation.
    numbers : iterator of int
        The next batch's number.
    """

    recorder: Recorder
    target: Target
    stage: str
    scale: Array
    numbers: Iterator[int]

    @classmethod
    def of(cls, recorder: Recorder, target: Target, stage: str, scale: Array) -> Objective:
        """Return an objective whose batches are numbered from zero."""
        return cls(recorder, target, stage, scale, count())

    def batch(self, thetas: Array, gradient: GradientLike = False) -> EvaluationBatch:
        """Evaluate natural parameters, shape (n, d), as the stage's next batch."""
        return self.recorder.evaluate(self.stage, next(self.numbers), thetas, gradient)

    def natural(self, points: Array) -> list[Value]:
        """Log density of the *natural* parameters, and its gradient in x, at points x of shape (n, d)."""
        return self._values(points, with_jacobian=False)

    def partial(self, points: Array) -> list[Value]:
        """As :meth:`natural`, with nan in those places of the gradients that a partial one leaves out."""
        batch = self.batch(self.target.transform.to_natural(points), gradient=Gradient.PARTIAL)
        gradients = batch.gradient * self.target.transform.natural_derivative(points)
        return _as_values(batch.log_density, gradients)

    def unconstrained(self, points: Array) -> list[Value]:
        """Log density of the *coordinates* (log Jacobian added), and its gradient, at points x of shape (n, d)."""
        return self._values(points, with_jacobian=True)

    def _values(self, points: Array, with_jacobian: bool) -> list[Value]:
        values, gradients = self._analytic(points) if self.target.has_gradient else self._by_differences(points)
        if with_jacobian:
            transform = self.target.transform
            values = values + transform.log_jacobian(points)
            gradients = gradients + transform.gradient_to_unconstrained(points, np.zeros_like(points))
        return _as_values(values, gradients)

    def _analytic(self, points: Array) -> tuple[Array, Array]:
        batch = self.batch(self.target.transform.to_natural(points), gradient=True)
        return batch.log_density, batch.gradient * self.target.transform.natural_derivative(points)

    def _by_differences(self, points: Array) -> tuple[Array, Array]:
        n, d = points.shape
        steps = np.diag(_STEP * self.scale)
        stencil = np.concatenate([np.zeros((1, d)), steps, -steps])
        flat = (points[:, None] + stencil).reshape(-1, d)
        values = self.batch(self.target.transform.to_natural(flat)).log_density.reshape(n, 2 * d + 1)
        with np.errstate(invalid="ignore"):  # inf - inf next to an infeasible region: such a point counts as infeasible
            gradients = (values[:, 1 : d + 1] - values[:, d + 1 :]) / (2 * np.diag(steps))
        return values[:, 0], gradients


def _as_values(values: Array, gradients: Array) -> list[Value]:
    return [Value(float(v) if math.isfinite(v) else -math.inf, g) for v, g in zip(values, gradients, strict=True)]
