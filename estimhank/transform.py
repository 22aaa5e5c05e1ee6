"""Bijections between bounded natural parameters and unconstrained coordinates.

Coordinate by coordinate, theta = T(x):

===============  =================================  =========================
support          theta                              log |d theta / d x|
===============  =================================  =========================
(-inf, inf)      x                                  0
(l, inf)         l + exp(x)                         x
(-inf, u)        u - exp(x)                         x
(l, u)           l + (u - l) / (1 + exp(-x))        log(u - l) + log s + log(1 - s),  s = 1/(1 + exp(-x))
===============  =================================  =========================
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, log_expit, logit

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


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
        return np.where(both, lo + (hi - lo) * expit(x), np.where(above, lo + e, np.where(below, hi - e, x)))

    def to_unconstrained(self, theta: ArrayLike) -> Array:
        """Unconstrained coordinates of natural parameters; ``nan`` where a parameter is outside its support."""
        theta = np.asarray(theta, float)
        lo, hi, both, above, below = self._bounds
        with np.errstate(divide="ignore", invalid="ignore"):
            inner = logit((theta - lo) / np.where(both, hi - lo, 1.0))
            return np.where(
                both, inner, np.where(above, np.log(theta - lo), np.where(below, np.log(hi - theta), theta))
            )

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
        inner = np.log(width) + log_expit(x) + log_expit(-x)
        return np.where(both, inner, np.where(above | below, x, 0.0)).sum(axis=-1)

    def gradient_to_unconstrained(self, x: ArrayLike, gradient: ArrayLike) -> Array:
        """Gradient in x of ``f(T(x)) + log_jacobian(x)`` from the gradient of ``f`` in theta; shapes (..., d)."""
        x, gradient = np.asarray(x, float), np.asarray(gradient, float)
        lo, hi, both, above, below = self._bounds
        s = expit(x)
        with np.errstate(over="ignore"):
            e = np.exp(np.where(above | below, x, 0.0))
        slope = np.where(both, (hi - lo) * s * (1 - s), np.where(above, e, np.where(below, -e, 1.0)))
        of_jacobian = np.where(both, 1 - 2 * s, np.where(above | below, 1.0, 0.0))
        return gradient * slope + of_jacobian
