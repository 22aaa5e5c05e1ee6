"""Where a density falls from cliffs, as functions that a surrogate can evaluate, and inputs of the networks made of
them.

Distances to the constraint (:mod:`estimhank.households.cliffs`) are polynomials of the steady-state parameters, fitted
in :mod:`estimhank.surrogate.cliff_fit`; the networks are given their signs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from estimhank.support.chebyshev import chebyshev_basis

Array = NDArray[np.float64]


class CliffArrays(NamedTuple):
    """Distances as functions of whitened coordinates z, single precision: polynomials of u = matrix z + offset, held in
    [-1, 1]. Shapes (k, d), (k,), (m, q)."""

    matrix: jax.Array
    offset: jax.Array
    coefficients: jax.Array


@dataclass(frozen=True)
class CliffMap:
    """Distances as functions of the steady-state parameters' coordinates.

    Attributes
    ----------
    steady_state : ndarray of bool, shape (d,)
        Which coordinates these are.
    center, half_width : ndarray of shape (k,)
        Of the box that they were known in.
    degree : int
    coefficients : ndarray of shape (m, q)
        Of products of Chebyshev polynomials.
    stretch : ndarray of shape (m,)
        Of negative distances, whose sign is all that is used.
    chosen : ndarray of int, shape (m,)
        Which of a target's cliffs these are.
    error : ndarray of shape (m,)
        What 19 of 20 errors close to zero, at points left out, are below.
    """

    steady_state: NDArray[np.bool_]
    center: Array
    half_width: Array
    degree: int
    coefficients: Array
    stretch: Array
    chosen: NDArray[np.intp]
    error: Array

    def arrays(self, center: Array, root: Array) -> CliffArrays:
        """For coordinates x = center + root z."""
        matrix = root[self.steady_state] / self.half_width[:, None]
        offset = (center[self.steady_state] - self.center) / self.half_width
        return CliffArrays(*(jnp.asarray(part, jnp.float32) for part in (matrix, offset, self.coefficients)))

    def distances(self, x: Array) -> Array:
        """Distances at coordinates x of shape (n, d): (n, m)."""
        u = np.clip((x[:, self.steady_state] - self.center) / self.half_width, -1.0, 1.0)
        found: Array = chebyshev_basis(u, self.degree) @ self.coefficients.T
        return found


def no_cliffs(d: int) -> CliffArrays:
    """Of a density that is smooth."""
    return CliffArrays(*(jnp.zeros(shape, jnp.float32) for shape in ((0, d), (0,), (0, 1))))


def cliff_inputs(arrays: CliffArrays, z: jax.Array, degree: int) -> jax.Array:
    """Inputs of the networks beside z, shape (n, d): whether each distance is positive, (n, m)."""
    if arrays.coefficients.shape[0] == 0:
        return jnp.zeros((z.shape[0], 0), z.dtype)
    u = jnp.clip(z @ arrays.matrix.T + arrays.offset, -1.0, 1.0)
    return jnp.asarray(chebyshev_basis(u, degree) @ arrays.coefficients.T > 0, z.dtype)


def stretched(distance: Array, stretch: Array | float) -> Array:
    """Distances, negative ones times ``stretch``."""
    return np.where(distance < 0, stretch * distance, distance)
