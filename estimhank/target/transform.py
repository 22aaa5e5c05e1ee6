"""Bijections between bounded natural parameters and unconstrained coordinates.

Coordinate by coordinate, theta = T(x):

===============  ============================  =======================================
support          theta                         log |d theta / d x|
===============  ============================  =======================================
(-inf, inf)      x                             0
(l, inf)         l + exp(x)                    x
(-inf, u)        u - exp(x)                    x
(l, u)           l + (u - l) Phi(x / c)        log((u - l) / c) + log phi(x / c)
===============  ============================  =======================================

with Phi and phi the standard normal's distribution function and density, and c = sqrt(8 / pi), so that the slope at the
centre is the logistic function's (u - l) / 4. The logistic function itself would give a parameter that presses against
a bound, such as a persistence near one, an exponential tail: where the density in theta is positive at the bound, that
of the coordinate falls like exp(-|x|), and like exp(-x^2 / 2c^2) here. Proposals, normal approximations and networks
all do better where tails are normal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_ndtr, ndtr, ndtri, ndtri_exp

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_SCALE = np.sqrt(8 / np.pi)  # c
_LOG_SLOPE = -0.5 * np.log(2 * np.pi) - np.log(_SCALE)  # at the centre, for a width of one


@dataclass(frozen=True)
class Transform:
    """Elementwise bijection from R^d to the open box ``(lower, upper)``; infinite bounds are allowed.

    Parameters
    ----------
    lower, upper : tuple of float, length d
        Open bounds of each natural parameter.
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.lower) != len(self.upper):
            raise ValueError(f"{len(self.lower)} lower bounds but {len(self.upper)} upper bounds")
        for lo, hi in zip(self.lower, self.upper, strict=True):
            if not lo < hi:
                raise ValueError(f"empty support: lower bound {lo} is not below upper bound {hi}")

    @property
    def dimension(self) -> int:
        """Number of parameters d."""
        return len(self.lower)

    @cached_property
    def _bounds(self) -> tuple[Array, Array, Mask, Mask, Mask]:
        lo, hi = np.asarray(self.lower, float), np.asarray(self.upper, float)
        above, below = np.isfinite(lo), np.isfinite(hi)
        # finite stand-ins keep the unused branches of np.where free of warnings
        return np.where(above, lo, 0.0), np.where(below, hi, 0.0), above & below, above & ~below, below & ~above

    def to_natural(self, x: ArrayLike) -> Array:
        """Natural parameters for unconstrained coordinates; shape (..., d) to (..., d)."""
        x = np.asarray(x, float)
        lo, hi, both, above, below = self._bounds
        with np.errstate(over="ignore"):
            e = np.exp(np.where(above | below, x, 0.0))
        # from the nearer bound, to which a normal tail comes much closer than rounding of the other allows
        share = (hi - lo) * ndtr(-np.abs(x) / _SCALE)
        between = np.where(x < 0, lo + share, hi - share)
        return np.where(both, between, np.where(above, lo + e, np.where(below, hi - e, x)))

    def to_unconstrained(self, theta: ArrayLike) -> Array:
        """Unconstrained coordinates of natural parameters; ``nan`` where a parameter is outside its support."""
        theta = np.asarray(theta, float)
        lo, hi, both, above, below = self._bounds
        with np.errstate(divide="ignore", invalid="ignore"):
            from_below, from_above = theta - lo, hi - theta
            tail = _SCALE * ndtri(np.minimum(from_below, from_above) / np.where(both, hi - lo, 1.0))
            between = np.where(from_below < from_above, tail, -tail)
            return np.where(
                both, between, np.where(above, np.log(from_below), np.where(below, np.log(from_above), theta))
            )

    @property
    def sides(self) -> tuple[tuple[int, bool], ...]:
        """All finite bounds: which parameter, and whether it is the upper one."""
        bounds = enumerate(zip(self.lower, self.upper, strict=True))
        return tuple(
            (i, side)
            for i, both in bounds
            for side, bound in zip((False, True), both, strict=True)
            if np.isfinite(bound)
        )

    def log_distance(self, x: ArrayLike, parameter: int, upper: bool) -> Array:
        """Logarithm of how far a parameter is from one of its bounds, up to a constant; x are its coordinates."""
        x = np.asarray(x, float)
        if self._bounds[2][parameter]:
            return np.asarray(log_ndtr((-x if upper else x) / _SCALE))
        return x

    def at_log_distance(self, distance: ArrayLike, parameter: int, upper: bool) -> Array:
        """Coordinates of a parameter that is so far from one of its bounds: what :meth:`log_distance` came from."""
        distance = np.asarray(distance, float)
        if self._bounds[2][parameter]:
            x = _SCALE * ndtri_exp(distance)
            return np.asarray(-x if upper else x)
        return distance

    def contains(self, theta: ArrayLike) -> NDArray[np.bool_]:
        """Whether each parameter vector, shape (..., d), is inside the open box; shape (...)."""
        theta = np.asarray(theta, float)
        inside: NDArray[np.bool_] = ((theta > self.lower) & (theta < self.upper)).all(axis=-1)
        return inside

    def log_jacobian(self, x: ArrayLike) -> Array:
        """Sum over parameters of log |d theta / d x|; shape (..., d) to (...)."""
        x = np.asarray(x, float)
        lo, hi, both, above, below = self._bounds
        width = np.where(both, hi - lo, 1.0)
        inner = np.log(width) + _LOG_SLOPE - 0.5 * (x / _SCALE) ** 2
        return np.where(both, inner, np.where(above | below, x, 0.0)).sum(axis=-1)

    def natural_derivative(self, x: ArrayLike) -> Array:
        """Derivative of each natural parameter in its coordinate, d theta_i / d x_i; shapes (..., d)."""
        x = np.asarray(x, float)
        lo, hi, both, above, below = self._bounds
        with np.errstate(over="ignore"):
            e = np.exp(np.where(above | below, x, 0.0))
        density = np.exp(_LOG_SLOPE - 0.5 * (x / _SCALE) ** 2)
        return np.where(both, (hi - lo) * density, np.where(above, e, np.where(below, -e, 1.0)))

    def gradient_to_unconstrained(self, x: ArrayLike, gradient: ArrayLike) -> Array:
        """Gradient in x of ``f(T(x)) + log_jacobian(x)`` from the gradient of ``f`` in theta; shapes (..., d)."""
        x, gradient = np.asarray(x, float), np.asarray(gradient, float)
        _, _, both, above, below = self._bounds
        of_jacobian = np.where(both, -x / _SCALE**2, np.where(above | below, 1.0, 0.0))
        return gradient * self.natural_derivative(x) + of_jacobian
