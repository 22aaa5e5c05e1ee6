"""Where an emulator is trained: a ball in standardised coordinates of the parameters that move households."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import chi2, norm, qmc

Array = NDArray[np.float64]

#: Share of a normal distribution that the ball leaves out, and by how much it is larger than that: posteriors of
#: household parameters are not normal.
_LEFT_OUT, _LARGER = 1e-4, 1.1


@dataclass(frozen=True)
class Region:
    """A ball |y| <= 1 in y = root^-1 (t(theta) - center), with t the logarithm of the distance to a bound.

    Attributes
    ----------
    names : tuple of str, length d
        Parameters.
    lower, upper : tuple of float, length d
        Bounds of their supports, infinite where there are none.
    center : ndarray of shape (d,)
        Of t.
    root : ndarray of shape (d, d)
        From the ball to t.
    """

    names: tuple[str, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    center: Array
    root: Array

    @classmethod
    def around(
        cls, names: tuple[str, ...], bounds: tuple[tuple[float, ...], tuple[float, ...]], draws: Array
    ) -> Region:
        """The ball that holds all but one in ten thousand of a normal distribution with the moments of draws, and more.

        Parameters
        ----------
        names : tuple of str, length d
        bounds : pair of tuples of float
        draws : ndarray of shape (n, d)
            Natural units.

        Raises
        ------
        ValueError
            The draws do not span the space.
        """
        bare = cls(names, *bounds, np.zeros(len(names)), np.eye(len(names)))
        t = np.stack([np.asarray(bare._free(dict(zip(names, row, strict=True)), np)) for row in draws])
        reach = _LARGER * float(np.sqrt(chi2.ppf(1 - _LEFT_OUT, len(names))))
        covariance = np.atleast_2d(np.cov(t, rowvar=False))
        if len(draws) <= len(names) or not np.linalg.eigvalsh(covariance).min() > 0:
            raise ValueError(f"{len(draws)} draws do not span the space of {', '.join(names)}")
        return cls(names, *bounds, t.mean(axis=0), reach * np.linalg.cholesky(covariance))

    @property
    def dimension(self) -> int:
        """Number of parameters d."""
        return len(self.names)

    @cached_property
    def _inverse(self) -> Array:
        return np.linalg.inv(self.root)

    def _free(self, moved: Mapping[str, Any], xp: Any) -> Any:
        """Coordinates t, (d,), that are free of bounds."""
        t = []
        for name, low, high in zip(self.names, self.lower, self.upper, strict=True):
            value = moved[name]
            above, below = value - low, high - value
            if np.isfinite(low) and np.isfinite(high):
                t.append(xp.log(above) - xp.log(below))
            else:
                t.append(xp.log(above) if np.isfinite(low) else -xp.log(below) if np.isfinite(high) else value)
        return xp.stack(t)

    def coordinates(self, moved: Mapping[str, Any]) -> Any:
        """Coordinates y, (d,), of parameters by name; may be traced by JAX."""
        return self._inverse @ (self._free(moved, jnp) - self.center)

    def natural(self, y: Array) -> Array:
        """Parameters, (n, d), at coordinates y of shape (n, d)."""
        t = self.center + y @ self.root.T
        theta = np.empty_like(t)
        for i, (low, high) in enumerate(zip(self.lower, self.upper, strict=True)):
            if np.isfinite(low) and np.isfinite(high):
                theta[:, i] = low + (high - low) * expit(t[:, i])
            else:
                theta[:, i] = (
                    low + np.exp(t[:, i])
                    if np.isfinite(low)
                    else high - np.exp(-t[:, i])
                    if np.isfinite(high)
                    else t[:, i]
                )
        return theta

    def points(self, n: int, seed: int) -> Array:
        """Coordinates of n points that fill the ball evenly, (n, d): Sobol points, scrambled by the seed; the first of
        more are those of fewer."""
        u = qmc.Sobol(self.dimension, seed=np.random.default_rng(seed)).random_base2(max(int(n - 1).bit_length(), 1))[
            :n
        ]
        g = norm.ppf(np.clip(u, 1e-12, 1 - 1e-12))
        length = np.linalg.norm(g, axis=1, keepdims=True)
        filled: Array = g / length * chi2.cdf(length**2, self.dimension) ** (1 / self.dimension)
        return filled
