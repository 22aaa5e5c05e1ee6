"""Densities whose moments are known in closed form, in NumPy: a worker process has nothing to compile for them.

Those of :mod:`benchmarks.known_targets` are written in JAX and come with independent draws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from estimhank.target.protocol import Capabilities, Evaluation, GradientLike
from estimhank.target.transform import Transform

Array = NDArray[np.float64]


@dataclass(frozen=True)
class NormalTarget(Capabilities):
    """Multivariate normal density, as the likelihood under a flat (improper) prior.

    Attributes
    ----------
    mean : tuple of float, length d
    sd : tuple of float, length d
    correlation : float
        Common to all pairs.
    cut : float
        No density where the sum of the standardised coordinates is above this; such points are ``"indeterminate"``.
    """

    mean: tuple[float, ...]
    sd: tuple[float, ...]
    correlation: float = 0.0
    cut: float = np.inf

    @classmethod
    def standard(cls, dimension: int) -> NormalTarget:
        """Return the standard normal in ``dimension`` dimensions."""
        return cls((0.0,) * dimension, (1.0,) * dimension)

    @property
    def names(self) -> tuple[str, ...]:
        """``x0``, ``x1``, ..."""
        return tuple(f"x{i}" for i in range(len(self.mean)))

    @property
    def transform(self) -> Transform:
        """The identity."""
        return Transform((-np.inf,) * len(self.mean), (np.inf,) * len(self.mean))

    @property
    def fingerprint(self) -> dict[str, str]:
        """The numbers that define the density."""
        return {"model": repr(self)}

    @cached_property
    def covariance(self) -> Array:
        """Covariance before the cut, shape (d, d)."""
        d = len(self.mean)
        correlation = np.full((d, d), self.correlation) + (1 - self.correlation) * np.eye(d)
        return correlation * np.outer(self.sd, self.sd)

    @cached_property
    def _precision_and_constant(self) -> tuple[Array, float]:
        _, log_determinant = np.linalg.slogdet(2 * np.pi * self.covariance)
        return np.linalg.inv(self.covariance), -0.5 * float(log_determinant)

    def evaluate(self, theta: Array, gradient: GradientLike = False) -> Evaluation:
        """Evaluate at a point of shape (d,)."""
        precision, constant = self._precision_and_constant
        distance = np.asarray(theta, float) - self.mean
        if np.sum(distance / self.sd) > self.cut:
            return Evaluation(-np.inf, 0.0, "indeterminate")
        slope = -(precision @ distance)
        return Evaluation(constant + 0.5 * float(distance @ slope), 0.0, "ok", slope if gradient else None)

    def sample_prior(self, rng: np.random.Generator, n: int) -> Array:
        """Draw dispersed points, five standard deviations wide."""
        return self.mean + 5.0 * np.array(self.sd) * rng.standard_normal((n, len(self.mean)))


@dataclass(frozen=True)
class SkewedTarget(Capabilities):
    """Independent parameters on three kinds of support: Gamma(3, 1), Beta(2, 5), and 4 minus a Gamma(4, 1/2).

    In natural parameters the mode is (2, 0.2, 2.5), the mean (3, 2/7, 2) and the variance (3, 5/196, 1).
    """

    mode = (2.0, 0.2, 2.5)
    mean = (3.0, 2.0 / 7.0, 2.0)
    variance = (3.0, 5.0 / 196.0, 1.0)

    @property
    def names(self) -> tuple[str, ...]:
        """``a``, ``b``, ``c``."""
        return ("a", "b", "c")

    @property
    def fingerprint(self) -> dict[str, str]:
        """One name: there is one such density."""
        return {"model": "skewed"}

    @property
    def transform(self) -> Transform:
        """Bounds (0, inf), (0, 1), (-inf, 4)."""
        return Transform((0.0, 0.0, -np.inf), (np.inf, 1.0, 4.0))

    def evaluate(self, theta: Array, gradient: GradientLike = False) -> Evaluation:
        """Evaluate at a point of shape (3,)."""
        if not bool(self.transform.contains(theta)):
            return Evaluation(-np.inf, -np.inf, "outside_support")
        a, b, c = (float(value) for value in theta)
        prior = 2.0 * math.log(a) - a - math.log(2.0) + math.log(b) + 4.0 * math.log1p(-b) + math.log(30.0)
        likelihood = 3.0 * math.log(4.0 - c) - 2.0 * (4.0 - c) + 4.0 * math.log(2.0) - math.log(6.0)
        slope = np.array([2.0 / a - 1.0, 1.0 / b - 4.0 / (1.0 - b), -3.0 / (4.0 - c) + 2.0])
        return Evaluation(likelihood, prior, "ok", slope if gradient else None)

    def sample_prior(self, rng: np.random.Generator, n: int) -> Array:
        """Draw dispersed points inside the support."""
        return np.stack([rng.gamma(2.0, 3.0, n), rng.beta(1.0, 1.0, n), 4.0 - rng.gamma(2.0, 2.0, n)], axis=1)


@dataclass(frozen=True)
class MixtureTarget(Capabilities):
    """Two normals with identity covariance at ±``distance``/2 along every axis; the second has log weight ``-drop``."""

    dimension: int = 3
    distance: float = 8.0
    drop: float = 3.0

    @property
    def names(self) -> tuple[str, ...]:
        """``x0``, ``x1``, ..."""
        return tuple(f"x{i}" for i in range(self.dimension))

    @property
    def transform(self) -> Transform:
        """The identity."""
        return Transform((-np.inf,) * self.dimension, (np.inf,) * self.dimension)

    @property
    def fingerprint(self) -> dict[str, str]:
        """The numbers that define the density."""
        return {"model": repr(self)}

    def evaluate(self, theta: Array, gradient: GradientLike = False) -> Evaluation:
        """Evaluate at a point of shape (d,)."""
        first, second = theta - self.distance / 2, theta + self.distance / 2
        logs = np.array([-0.5 * float(first @ first), -0.5 * float(second @ second) - self.drop])
        value = float(np.logaddexp(*logs))
        share = np.exp(logs - value)
        slope = -(share[0] * first + share[1] * second)
        return Evaluation(value, 0.0, "ok", slope if gradient else None)

    def sample_prior(self, rng: np.random.Generator, n: int) -> Array:
        """Draw dispersed points that cover both components."""
        return self.distance * rng.standard_normal((n, self.dimension))
