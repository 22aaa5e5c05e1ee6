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

NODES = 4  # of the bend of a position, in each cell
_UNBEND_STEPS = 4


class BreakArrays(NamedTuple):
    """Distances to the constraint and grid indices as functions of whitened coordinates z, single precision:
    polynomials of u = matrix z + offset, held in [-1, 1]; of indices, these with their kink correction ``bend``, which
    is undone. Shapes (k, d), (k,), (2, m, q), (m, J)."""

    matrix: jax.Array
    offset: jax.Array
    coefficients: jax.Array
    bend: jax.Array


@dataclass(frozen=True)
class BreakMap:
    """Margins and positions as functions of the coordinates that move the steady state.

    Attributes
    ----------
    steady_state : ndarray of bool, shape (d,)
        Which coordinates these are.
    center, half_width : ndarray of shape (k,)
        Of the box that they were known in.
    degree : int
    coefficients : ndarray of shape (2, m, q)
        Of products of Chebyshev polynomials: of margins, of positions (zeros where too few are known). Negative
        margins are stretched; their sign is all that is used.
    bend : ndarray of shape (m, J)
        Kink correction at grid indices 0, 1/4, 1/2 and so on: how far above an index the polynomial is that stands for
        it. An index is kinked at integers, which no polynomial of the parameters follows; a function of the index that
        takes the kinks away is nearly the same wherever one is crossed.
    stretch : ndarray of shape (m,)
        Of negative margins.
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
    bend: Array
    stretch: Array
    chosen: NDArray[np.intp]
    error: Array

    def arrays(self, center: Array, root: Array) -> BreakArrays:
        """For coordinates x = center + root z."""
        matrix = root[self.steady_state] / self.half_width[:, None]
        offset = (center[self.steady_state] - self.center) / self.half_width
        parts = (matrix, offset, self.coefficients, self.bend)
        return BreakArrays(*(jnp.asarray(part, jnp.float32) for part in parts))

    def places(self, x: Array) -> Array:
        """Margins and positions at coordinates x of shape (n, d): (2, n, m)."""
        u = np.clip((x[:, self.steady_state] - self.center) / self.half_width, -1.0, 1.0)
        margin, position = np.asarray(
            chebyshev_basis(jnp.asarray(u), self.degree), float
        ) @ self.coefficients.transpose(0, 2, 1)
        return np.stack([margin, unbent(jnp.asarray(position), jnp.asarray(self.bend))])


def no_breaks(d: int) -> BreakArrays:
    """Of a density that is smooth."""
    return BreakArrays(*(jnp.zeros(shape, jnp.float32) for shape in ((0, d), (0,), (2, 0, 1), (0, 2))))


def break_features(arrays: BreakArrays, z: jax.Array, degree: int) -> jax.Array:
    """Inputs of the networks beside z, from approximate margins and positions; shape (n, d) to (n, 3 m)."""
    if arrays.coefficients.shape[1] == 0:
        return jnp.zeros((z.shape[0], 0), z.dtype)
    u = jnp.clip(z @ arrays.matrix.T + arrays.offset, -1.0, 1.0)
    basis = chebyshev_basis(u, degree)
    return features_of(basis @ arrays.coefficients[0].T, unbent(basis @ arrays.coefficients[1].T, arrays.bend))


def unbent(found: jax.Array, bend: jax.Array) -> jax.Array:
    """Positions from what polynomials say, (n, m), and their ``bend`` (m, J): the x at which x + bend(x) is that."""
    row, last = jnp.arange(len(bend)), bend.shape[1] - 1
    position = found
    for _ in range(_UNBEND_STEPS):  # a bend is slight
        at = jnp.clip(position * NODES, 0.0, last)
        low = jnp.minimum(jnp.floor(at), last - 1)
        j = low.astype(int)
        position = found - ((1 - (at - low)) * bend[row, j] + (at - low) * bend[row, j + 1])
    return position


def features_of(margin: jax.Array, position: jax.Array) -> jax.Array:
    """Three inputs for each place, shapes (n, m) to (n, 3 m): the fractional part of the position where the margin is
    positive, else zero; whether it is; and how near the constraint the position is, as 1 / (1 + position), since the
    first jumps are the largest and close together."""
    there = margin > 0
    held = jnp.where(there, jnp.maximum(position, 0.0), 0.0)
    return jnp.concatenate([held - jnp.floor(held), there.astype(margin.dtype), 1 / (1 + held)], axis=1)


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


def stretched(margin: Array, stretch: Array | float) -> Array:
    """Margins, negative ones times ``stretch``."""
    return np.where(margin < 0, stretch * margin, margin)
