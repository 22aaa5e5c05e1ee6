"""Toeplitz matrices: products with them by fast Fourier transforms, and the inverse by the Levinson recursion.

Sources: Trench (1964), "An algorithm for the inversion of finite Toeplitz matrices"; Gohberg and Semencul (1972): the
first and last columns of the inverse determine it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from scipy.fft import next_fast_len

_UNROLL = 4  # rows of one turn of a loop over long rows


def long_length(horizon: int) -> int:
    """Length of transforms of paths that reach a horizon beyond [0, T) on either side: at least 4 T, twice
    :func:`short_length`."""
    return 2 * short_length(horizon)


def short_length(horizon: int) -> int:
    """Length of transforms of paths on [0, T): at least 2 T."""
    found: int = next_fast_len(2 * horizon, real=True)
    return found


def around_zero(sequence: jax.Array, length: int) -> jax.Array:
    """Entries for dates -m..m, (..., 2 m + 1), laid around a circle of ``length`` dates that begins at date 0."""
    half = sequence.shape[-1] // 2
    gap = jnp.zeros((*sequence.shape[:-1], length - sequence.shape[-1]))
    return jnp.concatenate([sequence[..., half:], gap, sequence[..., :half]], axis=-1)


class ToeplitzInverse(NamedTuple):
    """First and last columns of the inverse, (T,) each."""

    first: jax.Array
    last: jax.Array

    @property
    def bound(self) -> jax.Array:
        """A bound on the 1-norm of the inverse."""
        return 2 * jnp.abs(self.first).sum() * jnp.abs(self.last).sum() / jnp.abs(self.first[0])


def invert_toeplitz(diagonals: jax.Array) -> ToeplitzInverse:
    """Outer columns of the inverse of a Toeplitz matrix; T^2 operations.

    Parameters
    ----------
    diagonals : array of shape (2 T - 1,)
        Entry (t, s) of the matrix is ``diagonals[T - 1 + t - s]``.

    Returns
    -------
    ToeplitzInverse
        Meaningless where a leading minor is (nearly) singular: the recursion divides by their ratios. Compare the
        product with the matrix.
    """
    n = (diagonals.shape[0] + 1) // 2
    none = jnp.zeros(n)
    # dates of the past, the last first; and dates of the future, the next first: slices are what is summed against
    past = jnp.concatenate([diagonals[n - 1 :][::-1], none])
    future = jnp.concatenate([none, diagonals[: n - 1][::-1], jnp.zeros(1)])

    # predictors of the next and of the previous date, their own coefficient one: ``ahead`` begins at the start of its
    # row, ``back`` ends at the end of its row, so that neither has to be moved when they grow
    def step(state: Any, order: jax.Array) -> tuple[Any, None]:
        ahead, back, variance = state
        ahead_error = jax.lax.dynamic_slice(past, (n - 1 - order,), (n,)) @ ahead
        back_error = jax.lax.dynamic_slice(future, (order,), (n,)) @ back
        back_at_start = jax.lax.dynamic_slice(jnp.concatenate([back, none]), (n - 1 - order,), (n,))
        ahead_at_end = jax.lax.dynamic_slice(jnp.concatenate([none, ahead]), (order + 1,), (n,))
        g, h = ahead_error / variance, back_error / variance
        return (ahead - g * back_at_start, back - h * ahead_at_end, variance * (1 - g * h)), None

    start = none.at[0].set(1.0), none.at[-1].set(1.0), diagonals[n - 1]
    (ahead, back, variance), _ = jax.lax.scan(step, start, jnp.arange(1, n))
    return ToeplitzInverse(ahead / variance, back / variance)


def full_inverse(inverse: ToeplitzInverse) -> jax.Array:
    """The inverse itself, (T, T), row by row: each is the one above it, moved, and two multiples (Gohberg and
    Semencul)."""
    first, last = inverse
    with_first = last[::-1] / first[0]
    with_last = jnp.concatenate([jnp.zeros(1), first[:0:-1]]) / first[0]

    def next_row(row: jax.Array, weights: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        moved = jnp.concatenate([jnp.zeros(1), row[:-1]])
        new = moved + weights[0] * with_first - weights[1] * with_last
        return new, new

    weights = first, jnp.concatenate([jnp.zeros(1), last[:-1]])
    return jax.lax.scan(next_row, jnp.zeros_like(first), weights, unroll=_UNROLL)[1]
