"""Multivariate Student t: draws and log density, as global proposal and as the beginning of a tempered path."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import lgamma, log, pi

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

Array = NDArray[np.float64]


@dataclass(frozen=True)
class StudentT:
    """Student t with a mean, a covariance (not a scale matrix) and more than two degrees of freedom.

    Attributes
    ----------
    mean : ndarray of shape (d,)
    covariance : ndarray of shape (d, d)
        Positive definite.
    freedom : float
    """

    mean: Array
    covariance: Array
    freedom: float = 10.0

    @cached_property
    def _root(self) -> Array:
        root: Array = np.linalg.cholesky(self.covariance * (self.freedom - 2) / self.freedom)
        return root

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        """Independent draws, shape (n, d)."""
        noise = rng.standard_normal((n, len(self.mean))) @ self._root.T
        return self.mean + noise * np.sqrt(self.freedom / rng.chisquare(self.freedom, n))[:, None]

    def log_density(self, x: Array) -> Array:
        """Normalised log density at points of shape (n, d); shape (n,)."""
        d, nu = len(self.mean), self.freedom
        z = solve_triangular(self._root, (x - self.mean).T, lower=True)
        constant = lgamma((nu + d) / 2) - lgamma(nu / 2) - d / 2 * log(nu * pi) - np.log(np.diag(self._root)).sum()
        value: Array = constant - (nu + d) / 2 * np.log1p((z**2).sum(axis=0) / nu)
        return value
