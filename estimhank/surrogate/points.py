"""From evaluations to what a network can learn from: finite points in unconstrained coordinates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from estimhank.evaluation.evaluations import EvaluationBatch
from estimhank.target.protocol import REASONS
from estimhank.target.transform import Transform

Array = NDArray[np.float64]

_FALL = 5.0  # log points over which weights fall below the typical depth
_NEAR = 1.3  # multiples of the typical depth down to which the trust region encloses points: beyond, data are too thin
_DEEPEST = 6.0  # multiples of the typical depth below which a point says nothing about the posterior


@dataclass(frozen=True)
class Points:
    """Exact evaluations in unconstrained coordinates.

    Attributes
    ----------
    x : ndarray of shape (n, d)
        Coordinates.
    log_density : ndarray of shape (n,)
        Log density of the coordinates (log Jacobian included), finite.
    gradient : ndarray of shape (n, d)
        Its gradient; nan where it is not known.
    dropped : mapping of str to int
        Evaluations without a finite density, by reason.
    infeasible : ndarray of shape (m, d)
        Coordinates inside the box of the transform at which the density is zero. A value that is not a number by
        mistake says nothing about its place.
    """

    x: Array
    log_density: Array
    gradient: Array
    dropped: Mapping[str, int]
    infeasible: Array

    def __len__(self) -> int:
        """Number of points n."""
        return len(self.x)

    @property
    def has_gradient(self) -> NDArray[np.bool_]:
        """Which points have a gradient, in part at least; shape (n,)."""
        return np.isfinite(self.gradient).any(axis=1)

    def select(self, rows: NDArray[np.bool_] | NDArray[np.int64] | slice) -> Points:
        """Return the points that an index, a slice or a mask picks."""
        return replace(self, x=self.x[rows], log_density=self.log_density[rows], gradient=self.gradient[rows])

    def without_gradients(self, along: NDArray[np.bool_]) -> Self:
        """These points with gradients whose components ``along``, shape (d,), are not known."""
        return replace(self, gradient=np.where(along, np.nan, self.gradient))

    def without_failures(self) -> Points:
        """These points alone, without what is known of evaluations that have no density."""
        return replace(self, dropped={}, infeasible=self.infeasible[:0])

    def extend(self, other: Self) -> Points:
        """These points and then those of ``other``."""
        dropped = dict(self.dropped)
        for reason, count in other.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + count
        return Points(
            np.concatenate([self.x, other.x]),
            np.concatenate([self.log_density, other.log_density]),
            np.concatenate([self.gradient, other.gradient]),
            dropped,
            np.concatenate([self.infeasible, other.infeasible]),
        )


def points_from(batch: EvaluationBatch, transform: Transform) -> Points:
    """Points of a batch: evaluations without a finite density are left out and counted by reason.

    A point whose density is finite and whose gradient is not, in some place, keeps the rest.
    """
    x = transform.to_unconstrained(batch.theta)
    value = batch.log_density + transform.log_jacobian(x)
    fine = batch.ok & np.isfinite(value) & np.isfinite(x).all(axis=1)
    dropped = {REASONS[code]: int(n) for code, n in enumerate(np.bincount(batch.reason)) if code and n}
    odd = int((batch.ok & ~fine).sum())
    if odd:
        dropped["non_finite"] = dropped.get("non_finite", 0) + odd
    infeasible = x[~batch.ok & np.isfinite(x).all(axis=1)]
    x, gradient = x[fine], transform.gradient_to_unconstrained(x[fine], batch.gradient[fine])
    gradient = np.where(np.isfinite(gradient), gradient, np.nan)
    return Points(x, value[fine], gradient, dropped, infeasible)


def typical_depth(d: int, freedom: float = math.inf) -> float:
    """Log points below the mode that one posterior draw in a thousand falls under, for a normal posterior in R^d, or
    for a Student t with ``freedom`` degrees of freedom."""
    from scipy.stats import chi2
    from scipy.stats import f as f_distribution

    if math.isinf(freedom):
        return float(0.5 * chi2.ppf(0.999, d))
    return float(0.5 * (freedom + d) * np.log1p(d / freedom * f_distribution.ppf(0.999, d, freedom)))


def usable(points: Points, drop_lowest: float, max_points: int) -> Points:
    """The latest ``max_points`` points, without the lowest share and without those far too low to matter."""
    chosen = _latest(points, max_points)
    depth = chosen.log_density.max() - chosen.log_density
    return chosen.select(depth <= min(np.quantile(depth, 1 - drop_lowest), deepest(points.x.shape[1])))


def far_below(points: Points, max_points: int) -> Array:
    """Coordinates (m, d) of those of the latest points that are too low for their value to say anything: that the
    density is low there, all the same, has to be known."""
    chosen = _latest(points, max_points)
    return chosen.x[chosen.log_density.max() - chosen.log_density > deepest(points.x.shape[1])]


def _latest(points: Points, most: int) -> Points:
    return points.select(slice(max(0, len(points) - most), None))


def deepest(d: int) -> float:
    """Log points below the highest point beyond which a value says nothing about the posterior."""
    return _DEEPEST * typical_depth(d)


def near_posterior(points: Points, freedom: float = math.inf) -> NDArray[np.bool_]:
    """Which points, shape (n,), are not much lower than posterior draws can be: what they surround is known."""
    depth = points.log_density.max() - points.log_density
    near: NDArray[np.bool_] = depth <= _NEAR * typical_depth(points.x.shape[1], freedom)
    return near


def plausible(log_density: Array, points: Points, freedom: float = math.inf) -> NDArray[np.bool_]:
    """Which densities, shape (n,), are as high as those of posterior draws, the highest of ``points`` being known."""
    depth = typical_depth(points.x.shape[1], freedom)
    high: NDArray[np.bool_] = log_density > points.log_density.max(initial=-np.inf) - depth
    return high


def depth_weights(log_density: Array, d: int, power: float, freedom: float = math.inf) -> Array:
    """Weights (n,) that are one down to the typical depth and fall as (1 + excess / 5)^-power below it."""
    excess = np.maximum(log_density.max() - log_density - typical_depth(d, freedom), 0.0)
    return (1 + excess / _FALL) ** -power
