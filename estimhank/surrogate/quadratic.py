"""The quadratic that a surrogate starts from, so that networks learn only what is not normal about a posterior."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_FLATTEST = 0.1  # least curvature in whitened coordinates: the quadratic must fall in every direction
_ROWS = 4_000  # points that are enough for its few coefficients


class Quadratic(NamedTuple):
    """q(z) = constant + linear'z + z' matrix z / 2, with a negative definite matrix."""

    constant: float
    linear: Array
    matrix: Array

    def value(self, z: Array) -> Array:
        """Values at z of shape (n, d)."""
        value: Array = self.constant + z @ self.linear + 0.5 * ((z @ self.matrix) * z).sum(axis=1)
        return value

    def gradient(self, z: Array) -> Array:
        """Gradients at z of shape (n, d)."""
        gradient: Array = self.linear + z @ self.matrix
        return gradient


def fit_quadratic(z: Array, value: Array, gradient: Array, weight: Array) -> Quadratic:
    """Weighted least squares on values and, where finite, gradients; curvature is bounded away from zero.

    Parameters
    ----------
    z : ndarray of shape (n, d)
        Whitened coordinates.
    value : ndarray of shape (n,)
    gradient : ndarray of shape (n, d)
        nan where it is not known.
    weight : ndarray of shape (n,)

    Returns
    -------
    Quadratic
        The standard normal's -z'z/2, shifted, where there are too few points.
    """
    z, value, gradient, weight = (a[-_ROWS:] for a in (z, value, gradient, weight))
    n, d = z.shape
    known = np.isfinite(gradient)
    i, j = np.triu_indices(d)
    k = 1 + d + len(i)
    linear, matrix = np.zeros(d), -np.eye(d)
    if n + int(known.sum()) >= 3 * k:
        rows, right = _regression(z, value, gradient, np.sqrt(weight), known, (i, j))
        solution = np.linalg.lstsq(rows, right, rcond=None)[0]
        linear = solution[1 : 1 + d]
        half = np.zeros((d, d))
        half[i, j] = solution[1 + d :]
        values, vectors = np.linalg.eigh(half + half.T)
        matrix = (vectors * np.minimum(values, -_FLATTEST)) @ vectors.T
    rest = value - Quadratic(0.0, linear, matrix).value(z)
    return Quadratic(float(np.average(rest, weights=weight)), linear, matrix)


def _regression(
    z: Array, value: Array, gradient: Array, root: Array, known: NDArray[np.bool_], pairs: tuple[NDArray, NDArray]
) -> tuple[Array, Array]:
    n, d = z.shape
    i, j = pairs
    k = 1 + d + len(i)
    rows = np.concatenate([np.ones((n, 1)), z, z[:, i] * z[:, j]], axis=1) * root[:, None]
    slopes = np.zeros((n, d, k))
    slopes[:, np.arange(d), 1 + np.arange(d)] = 1.0
    columns = 1 + d + np.arange(len(i))
    slopes[:, i, columns] += z[:, j]
    slopes[:, j, columns] += z[:, i]
    slopes = (slopes * root[:, None, None])[known]
    right = np.concatenate([value * root, (gradient * root[:, None])[known]])
    return np.concatenate([rows, slopes]), right
