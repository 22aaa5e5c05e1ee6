"""Where a density jumps, as functions that a surrogate can evaluate, and inputs of the networks made of them.

Distances to the constraint and grid indices of fixed points (:mod:`estimhank.households.asset_jumps`) are polynomials
of the steady-state parameters, fitted in :mod:`estimhank.surrogate.jump_fit`; the networks are given the sign of the
one, and of the other the fractional part, which falls back from one to zero where the density jumps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NODES = 4  # of a grid index's kink correction, in each cell
_KINK_STEPS = 4


class JumpArrays(NamedTuple):
    """Distances to the constraint and grid indices as functions of whitened coordinates z, single precision:
    polynomials of u = matrix z + offset, held in [-1, 1]; of indices, these with their kink correction ``kinks``, which
    is undone. Shapes (k, d), (k,), (2, m, q), (m, J)."""

    matrix: jax.Array
    offset: jax.Array
    coefficients: jax.Array
    kinks: jax.Array


@dataclass(frozen=True)
class JumpMap:
    """Distances to the constraint and grid indices as functions of the steady-state parameters' coordinates.

    Attributes
    ----------
    steady_state : ndarray of bool, shape (d,)
        Which coordinates these are.
    center, half_width : ndarray of shape (k,)
        Of the box that they were known in.
    degree : int
    coefficients : ndarray of shape (2, m, q)
        Of products of Chebyshev polynomials: of distances, of indices (zeros where too few are known). Negative
        distances are stretched; their sign is all that is used.
    kinks : ndarray of shape (m, J)
        Kink correction at grid indices 0, 1/4, 1/2 and so on: how far above an index the polynomial is that stands for
        it. An index is kinked at integers, which no polynomial of the parameters follows; a function of the index that
        takes the kinks away is nearly the same wherever one is crossed.
    stretch : ndarray of shape (m,)
        Of negative distances.
    chosen : ndarray of int, shape (m,)
        Which of a target's places these are.
    error : ndarray of shape (2, m)
        What 19 of 20 errors at points left out of the fit are below.
    """

    steady_state: NDArray[np.bool_]
    center: Array
    half_width: Array
    degree: int
    coefficients: Array
    kinks: Array
    stretch: Array
    chosen: NDArray[np.intp]
    error: Array

    def arrays(self, center: Array, root: Array) -> JumpArrays:
        """For coordinates x = center + root z."""
        matrix = root[self.steady_state] / self.half_width[:, None]
        offset = (center[self.steady_state] - self.center) / self.half_width
        parts = (matrix, offset, self.coefficients, self.kinks)
        return JumpArrays(*(jnp.asarray(part, jnp.float32) for part in parts))

    def places(self, x: Array) -> Array:
        """Distances and grid indices at coordinates x of shape (n, d): (2, n, m)."""
        u = np.clip((x[:, self.steady_state] - self.center) / self.half_width, -1.0, 1.0)
        distance, grid_index = np.asarray(
            chebyshev_basis(jnp.asarray(u), self.degree), float
        ) @ self.coefficients.transpose(0, 2, 1)
        return np.stack([distance, without_kinks(jnp.asarray(grid_index), jnp.asarray(self.kinks))])


def no_jumps(d: int) -> JumpArrays:
    """Of a density that is smooth."""
    return JumpArrays(*(jnp.zeros(shape, jnp.float32) for shape in ((0, d), (0,), (2, 0, 1), (0, 2))))


def jump_features(arrays: JumpArrays, z: jax.Array, degree: int) -> jax.Array:
    """Inputs of the networks beside z, from approximate distances and grid indices; shape (n, d) to (n, 3 m)."""
    if arrays.coefficients.shape[1] == 0:
        return jnp.zeros((z.shape[0], 0), z.dtype)
    u = jnp.clip(z @ arrays.matrix.T + arrays.offset, -1.0, 1.0)
    basis = chebyshev_basis(u, degree)
    return features_of(basis @ arrays.coefficients[0].T, without_kinks(basis @ arrays.coefficients[1].T, arrays.kinks))


def without_kinks(found: jax.Array, kinks: jax.Array) -> jax.Array:
    """Grid indices from what polynomials say, (n, m), and their kink corrections (m, J): the x at which x + kinks(x) is
    that."""
    row, last = jnp.arange(len(kinks)), kinks.shape[1] - 1
    grid_index = found
    for _ in range(_KINK_STEPS):  # the correction is slight
        at = jnp.clip(grid_index * NODES, 0.0, last)
        low = jnp.minimum(jnp.floor(at), last - 1)
        j = low.astype(int)
        grid_index = found - ((1 - (at - low)) * kinks[row, j] + (at - low) * kinks[row, j + 1])
    return grid_index


def features_of(distance: jax.Array, grid_index: jax.Array) -> jax.Array:
    """Three inputs for each place, shapes (n, m) to (n, 3 m): the fractional part of the grid index where the distance
    is positive, else zero; whether it is; and how near the constraint the index is, as 1 / (1 + index), since the first
    jumps are the largest and close together."""
    there = distance > 0
    held = jnp.where(there, jnp.maximum(grid_index, 0.0), 0.0)
    return jnp.concatenate([held - jnp.floor(held), there.astype(distance.dtype), 1 / (1 + held)], axis=1)


@lru_cache(maxsize=16)
def _exponents(k: int, degree: int) -> NDArray[np.intp]:
    """Exponents of all products of at most ``degree`` factors, shape (q, k)."""
    rows = [
        np.bincount(np.array(chosen, int), minlength=k)
        for g in range(degree + 1)
        for chosen in combinations_with_replacement(range(k), g)
    ]
    return np.array(rows, np.intp)


def chebyshev_basis(u: jax.Array, degree: int) -> jax.Array:
    """Products of Chebyshev polynomials at u of shape (n, k): (n, q)."""
    powers = [jnp.ones_like(u), u]
    for _ in range(degree - 1):
        powers.append(2 * u * powers[-1] - powers[-2])
    table = jnp.stack(powers, axis=1)  # (n, degree + 1, k)
    exponents = _exponents(u.shape[1], degree)
    product = table[:, exponents[:, 0], 0]
    for i in range(1, u.shape[1]):
        product = product * table[:, exponents[:, i], i]
    return product


def stretched(distance: Array, stretch: Array | float) -> Array:
    """Margins, negative ones times ``stretch``."""
    return np.where(distance < 0, stretch * distance, distance)
