"""Household Jacobians as operators on paths, in two forms that are both exact: dense, as T x T numbers, and Toeplitz
plus low rank (for short: the Toeplitz form), a Toeplitz matrix less a product of a few columns and rows.

Far from date 0 the response to news depends on the distance between dates alone: J[t, s] = phi[t - s] - C[t, s]. What
the announcement adds, C[t, s] = sum of the fake-news matrix F[t + j, s + j] over j >= 1, dies out in t and in s, and F
is made of expectations and policies that decay (Auclert, Bardoczy, Rognlie and Straub 2021, section 3), so that C is a
product of few columns and rows to rounding. No part of the form is an approximation of an infinite horizon: the
diagonals are those of the T x T Jacobians.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from estimhank.sequence_space.coarse_dates import CoarseDates
from estimhank.sequence_space.toeplitz import around_zero, long_length

#: Columns of the product. Singular values of C fall by ten every five or six of them: 45 to 53 reach 1e-12 of the first
#: at and around the default model's calibration.
RANK = 64

#: Largest error of an entry that is called rounding, as a share of the largest entry of the Jacobians.
PRECISION = 1e-11

#: Horizons from which the form pays: where the steady state stays, so that it is made once, and where every evaluation
#: makes its own.
SHORTEST, SHORTEST_MOVING = 200, 400

_PROBES = 4  # random combinations of columns that the product is tried on


class ToeplitzForm(NamedTuple):
    """Jacobians of one output with respect to n_i inputs: ``T(phi_i) - columns @ rows[:, i]``.

    Attributes
    ----------
    symbol : array of shape (n_i, L / 2 + 1), complex
        Transforms of the far diagonals phi_i over a circle of L dates, L = :func:`long_length`.
    columns : array of shape (T, r)
    rows : array of shape (r, n_i, T)
    rows_symbol : array of shape (r, n_i, L / 4 + 1), complex
        Transforms of the rows over L / 2 dates.
    precise : scalar, bool
        Whether the product has the precision it should have. What is computed with the form has to say so.
    """

    symbol: jax.Array
    columns: jax.Array
    rows: jax.Array
    rows_symbol: jax.Array
    precise: jax.Array


class HouseholdOperator(NamedTuple):
    """Household Jacobians, laid out for the recursions.

    ``by_date`` (T, n_i, n_o T): ``[s, i, o T + t]`` is minus the Jacobian of output o at date t with respect to input
    i at date s. ``toeplitz``: the same in Toeplitz form, where it was asked for; derivatives do not go through it.
    ``between``: of an operator at few dates of the outputs, where ``by_date`` is (T, n_i, n_o n), the same at dates
    between them, for checks.
    """

    by_date: jax.Array
    toeplitz: ToeplitzForm | None = None
    between: jax.Array | None = None

    @property
    def jacobians(self) -> jax.Array:
        """The Jacobians themselves: (n_o, n_i, T, T), ``[o, i, t, s]``."""
        horizon, n_i, width = self.by_date.shape
        return -self.by_date.reshape(horizon, n_i, width // horizon, horizon).transpose(2, 1, 3, 0)

    def in_dense_form(self) -> HouseholdOperator:
        """In dense form only."""
        return HouseholdOperator(self.by_date, None, self.between)

    def at_dates(self, coarse: CoarseDates) -> HouseholdOperator:
        """At few dates of the outputs, if it is not already."""
        if self.between is not None:
            return self
        horizon, n_i, width = self.by_date.shape
        by_output = self.by_date.reshape(horizon, n_i, width // horizon, horizon)
        held, between = (by_output[..., d].reshape(horizon, n_i, -1) for d in (coarse.dates, coarse.between))
        return HouseholdOperator(held, None, between)


def toeplitz_form_pays(shape: tuple[int, ...], moving: bool) -> bool:
    """Whether Jacobians of this shape, (T, n_i, n_o, T), are worth the Toeplitz form; ``moving``: parameters that are
    estimated move the steady state."""
    horizon, n_i, n_o, _ = shape
    return n_o == 1 and n_i > 0 and horizon >= (SHORTEST_MOVING if moving else SHORTEST)


def household_operator(by_date: Float[jax.Array, "T n_i n_o T"], toeplitz: bool = False) -> HouseholdOperator:
    """Operator of household Jacobians that are given by date of the input: (T, n_i, n_o, T), ``[s, i, o, t]``;
    ``toeplitz``: of one output, with the Toeplitz form."""
    horizon, n_i, n_o, _ = by_date.shape
    form = toeplitz_form(jax.lax.stop_gradient(by_date)) if toeplitz else None
    return HouseholdOperator(-by_date.reshape(horizon, n_i, n_o * horizon), form)


def toeplitz_form(by_date: jax.Array) -> ToeplitzForm:
    """Second form of the Jacobians of one output, (T, n_i, 1, T), ``[s, i, 0, t]``.

    The columns span random combinations of those of C (Halko, Martinsson and Tropp 2011, algorithm 4.1; sparse
    combinations, section 4.6); the random numbers are always the same.
    """
    horizon, n_i = by_date.shape[:2]
    rank = min(RANK, horizon)
    length = long_length(horizon)
    jacobians = by_date[:, :, 0]
    # by distance t - s: the last date of the input holds those up to 0, the last date of the output those from 0 on
    far = jnp.concatenate([jacobians[-1], jacobians[-2::-1, :, -1].T], axis=1)

    def announced(s: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(far, (0, horizon - 1 - s), (n_i, horizon)) - jacobians[s]

    extra = jax.lax.map(announced, jnp.arange(horizon)).reshape(horizon * n_i, horizon)
    seen, probes = _combine(extra, rank)
    columns, _ = jnp.linalg.qr(seen.T)
    # what the product leaves of combinations of all columns of C, each of which weighs as much as they all do
    error = jnp.abs(probes - (probes @ columns) @ columns.T).max()
    precise = error <= PRECISION * jnp.abs(jacobians).max()
    rows = (extra @ columns).T.reshape(rank, horizon, n_i).transpose(0, 2, 1)
    symbol = jnp.fft.rfft(around_zero(far, length))
    return ToeplitzForm(symbol, columns, rows, jnp.fft.rfft(rows, length // 2), precise)


def _combine(rows: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """Random combinations of many rows, (m, T) to (count, T): each of them of every ``count``-th row, which takes one
    pass over memory; and a few of all rows."""
    m = len(rows)
    rng = np.random.default_rng(0)
    weights, few = rng.standard_normal((m, 1)), rng.standard_normal((_PROBES, m))
    total = jnp.zeros((count, rows.shape[1]))
    for start in range(0, m, count):
        piece = slice(start, min(start + count, m))
        total = total.at[: piece.stop - start].add(weights[piece] * rows[piece])
    return total, jnp.asarray(few) @ rows


def apply_form(form: ToeplitzForm, paths: jax.Array) -> jax.Array:
    """Jacobians times paths of the inputs, summed over inputs: (k, n_i, T) to (k, T)."""
    horizon = paths.shape[2]
    length = 2 * (form.rows_symbol.shape[2] - 1)
    # every second frequency of the long circle is one of the short circle, where what reaches beyond T overlaps unread
    product = (jnp.fft.rfft(paths, length) * form.symbol[:, ::2]).sum(1)
    far = jnp.fft.irfft(product, length)[:, :horizon]
    rank = form.columns.shape[1]
    return far - (paths.reshape(len(paths), -1) @ form.rows.reshape(rank, -1).T) @ form.columns.T


def apply_form_transposed(form: ToeplitzForm, path: jax.Array) -> jax.Array:
    """Transpose of :func:`apply_form`: (k, T) to (k, n_i, T)."""
    horizon = path.shape[1]
    length = 2 * (form.rows_symbol.shape[2] - 1)
    product = jnp.fft.rfft(path, length)[:, None] * jnp.conj(form.symbol[:, ::2])
    far = jnp.fft.irfft(product, length)[:, :, :horizon]
    rank, n_i, _ = form.rows.shape
    return far - ((path @ form.columns) @ form.rows.reshape(rank, -1)).reshape(len(path), n_i, horizon)


def multiply(household: HouseholdOperator, paths: Float[jax.Array, "T n_i k"]) -> Float[jax.Array, "outputs_T k"]:
    """Jacobians times paths of the inputs: (T, n_i, k) to (n_o T, k). By the Toeplitz form where there is one."""
    if household.toeplitz is not None:
        return apply_form(household.toeplitz, paths.transpose(2, 1, 0)).T
    horizon, n_i, width = household.by_date.shape
    # as one matrix product: an einsum over two axes is several times slower here
    return -household.by_date.reshape(horizon * n_i, width).T @ paths.reshape(horizon * n_i, paths.shape[2])


def multiply_transposed(
    household: HouseholdOperator, path: Float[jax.Array, "outputs_T k"]
) -> Float[jax.Array, "T n_i k"]:
    """The transpose of :func:`multiply`: (n_o T, k) to (T, n_i, k)."""
    if household.toeplitz is not None:
        return apply_form_transposed(household.toeplitz, path.T).transpose(2, 1, 0)
    horizon, n_i, width = household.by_date.shape
    return -(household.by_date.reshape(horizon * n_i, width) @ path).reshape(horizon, n_i, path.shape[1])
