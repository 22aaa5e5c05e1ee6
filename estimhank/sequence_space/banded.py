"""Recursions that solve the banded part of the linear system and its transpose.

The block-tridiagonal matrix with constant blocks (lag, now, lead) over T dates has the pivots::

    S_0 = now,    S_t = now - lag S_{t-1}^{-1} lead

``lag`` has few non-zero columns (the lagged variables, l of them), ``lead`` too (p of them), so S_t differs from
``now`` in p columns and S_t^{-1} = (I + G_t E_p') now^{-1} with G_t of shape (n, p): one small recursion, and every
solve costs O(n (l + p)) a date and right-hand side.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from estimhank.sequence_space.elimination import Elimination
from estimhank.sequence_space.linear_system import LinearSystem

_UNROLL = 4  # dates of one turn of a loop over long rows: fewer turns, and fewer copies between them
_UNROLL_SHORT = 2  # of a loop over a few numbers


class BandedFactor(NamedTuple):
    """Factorised banded block.

    Attributes
    ----------
    inverse : (n, n)
        now^{-1}.
    from_lag : (n, l)
        now^{-1} lag, non-zero columns.
    correction : (T, n, p)
        G_t.
    to_lead : (T, n, p)
        K_t = S_t^{-1} lead, non-zero columns.
    """

    inverse: jax.Array
    from_lag: jax.Array
    correction: jax.Array
    to_lead: jax.Array


def factorize_banded(system: LinearSystem, e: Elimination, horizon: int) -> BandedFactor:
    """Pivots of the banded block over ``horizon`` dates."""
    rows, rest = jnp.array(e.rows, int), jnp.array(e.rest, int)
    lagged, leading = jnp.array(e.lagged, int), jnp.array(e.leading, int)
    lag, now, lead = (m[rows][:, rest] for m in (system.lag, system.now, system.lead))
    inverse = jnp.linalg.inv(now)
    from_lag = inverse @ lag[:, lagged]
    from_lead = inverse @ lead[:, leading]
    n, p = from_lead.shape
    eye = jnp.eye(p)

    def step(to_lead: jax.Array, _: None) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        v = from_lag @ to_lead[lagged]
        correction = v @ small_inverse(eye - v[leading])
        new = from_lead + correction @ from_lead[leading]
        return new, (correction, new)

    if p == 0:
        empty = jnp.zeros((horizon, n, 0))
        return BandedFactor(inverse, from_lag, empty, empty)
    _, (corrections, to_lead) = jax.lax.scan(step, jnp.zeros((n, p)), None, length=horizon)
    return BandedFactor(inverse, from_lag, corrections, to_lead)


def small_inverse(matrix: jax.Array) -> jax.Array:
    """Inverse; without a call into LAPACK for the common one-by-one case, which sits in a recursion over dates."""
    return 1.0 / matrix if matrix.shape[0] == 1 else jnp.linalg.inv(matrix)


def _carried(factor: BandedFactor, e: Elimination) -> tuple[jax.Array, jax.Array]:
    """Transitions of the lagged variables forward, (T, l, l), and of the leading ones backward, (T, p, p).

    Recursions of these few numbers are all that has to go date by date.
    """
    lagged, leading = jnp.array(e.lagged, int), jnp.array(e.leading, int)
    passed = jnp.einsum("tlp,pm->tlm", factor.correction[:, lagged], factor.from_lag[leading])
    return -(factor.from_lag[lagged] + passed), -factor.to_lead[:, leading]


def _recursion(carried: jax.Array, added: jax.Array, reverse: bool = False) -> jax.Array:
    """The state before each date of x_t = carried_t x_{t-1} + added_t (of x_{t+1} in reverse), (T, d, k)."""

    def step(x: jax.Array, at: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return at[0] @ x + at[1], x

    return jax.lax.scan(step, jnp.zeros_like(added[0]), (carried, added), reverse=reverse, unroll=_UNROLL_SHORT)[1]


def solve_banded(factor: BandedFactor, e: Elimination, right: Float[jax.Array, "T n k"]) -> Float[jax.Array, "T n k"]:
    """Solve the banded system for few right-hand sides: (T, n, k) equations to (T, n, k) variables."""
    lagged, leading = jnp.array(e.lagged, int), jnp.array(e.leading, int)
    from_before, from_after = _carried(factor, e)
    d = jnp.einsum("ij,tjk->tik", factor.inverse, right)
    added = d[:, lagged] + jnp.einsum("tlp,tpk->tlk", factor.correction[:, lagged], d[:, leading])
    before = _recursion(from_before, added)
    y = d - jnp.einsum("nl,tlk->tnk", factor.from_lag, before)
    v = y + jnp.einsum("tnp,tpk->tnk", factor.correction, y[:, leading])
    after = _recursion(from_after, v[:, leading], reverse=True)
    return v - jnp.einsum("tnp,tpk->tnk", factor.to_lead, after)


def solve_banded_transposed(
    factor: BandedFactor, e: Elimination, right: Float[jax.Array, "T n k"]
) -> Float[jax.Array, "T n k"]:
    """Solve the transposed banded system: (T, n, k) variables to (T, n, k) equations."""
    lagged, leading = jnp.array(e.lagged, int), jnp.array(e.leading, int)
    from_before, from_after = (m.transpose(0, 2, 1) for m in _carried(factor, e))
    added = jnp.einsum("tnp,tnk->tpk", factor.to_lead, right)
    y = right.at[:, leading].add(-_recursion(from_after, added))
    moved = jnp.einsum("tnp,tnk->tpk", factor.correction, y)
    added = jnp.einsum("nl,tnk->tlk", factor.from_lag, y.at[:, leading].add(moved))
    y = y.at[:, lagged].add(-_recursion(from_before, added, reverse=True))
    y = y.at[:, leading].add(jnp.einsum("tnp,tnk->tpk", factor.correction, y))
    return jnp.einsum("ji,tjk->tik", factor.inverse, y)


def contract_rows(
    factor: BandedFactor, e: Elimination, sources: jax.Array, columns: jax.Array, following: tuple[int, ...] = ()
) -> jax.Array:
    """Many rows times the inverse of the banded block, contracted with a few equation columns.

    Parameters
    ----------
    factor : BandedFactor
    e : Elimination
    sources : array of shape (T, n_s, R)
        R row vectors, non-zero only at the variables ``e.sources``.
    columns : array of shape (n, d)
        Columns over the equations of one date.
    following : tuple of int
        The last f columns have no results of their own: theirs at date t + 1 are added to those of date t of these
        columns. Done afterwards the sum would take two more passes over megabytes.

    Returns
    -------
    array of shape (T, d - f, R)
        ``[t]`` is columns' times the rows' solution at the equations of date t (plus what follows): O(T R) a column,
        the step that replaces a T x T by T x T product.
    """
    lagged, leading, at_source = (jnp.array(i, int) for i in (e.lagged, e.leading, e.sources))
    n_l, n_p = len(e.lagged), len(e.leading)
    rows = sources.shape[2]

    # with s_t the part that earlier dates pass on through the leads: s_t = K_{t-1}' (g_{t-1} - E_p s_{t-1})
    def down(s: jax.Array, at: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        g, k = at
        return _combine(k, jnp.concatenate([g, s])), s

    if n_p:
        weights = jnp.concatenate([factor.to_lead[:, at_source], -factor.to_lead[:, leading]], axis=1)
        _, passed = jax.lax.scan(down, jnp.zeros((n_p, rows)), (sources, weights.transpose(0, 2, 1)), unroll=_UNROLL)
    else:
        passed = jnp.zeros((sources.shape[0], 0, rows))

    # S_t^{-1} times [lagged columns of lag | columns], as rows over (sources, leads, lags)
    both = jnp.concatenate([factor.from_lag, factor.inverse @ columns], axis=1)
    solved = both[None] + jnp.einsum("tnp,pd->tnd", factor.correction, both[leading])
    weights = jnp.concatenate([solved[:, at_source], -solved[:, leading], -solved[:, lagged]], axis=1)

    kept = columns.shape[1] - len(following)

    def up(carry: tuple[jax.Array, jax.Array], at: tuple[jax.Array, jax.Array, jax.Array]) -> Any:
        (q, later), (g, s, k) = carry, at
        out = _combine(k, jnp.concatenate([g, s, q]))
        here = [out[n_l + i] for i in range(kept)]
        for j, i in enumerate(following):
            here[i] = here[i] + later[j]
        return (out[:n_l], out[n_l + kept :]), jnp.stack(here) if here else jnp.zeros((0, rows))

    start = jnp.zeros((n_l, rows)), jnp.zeros((len(following), rows))
    found: jax.Array = jax.lax.scan(
        up, start, (sources, passed, weights.transpose(0, 2, 1)), reverse=True, unroll=_UNROLL
    )[1]
    return found


def _combine(weights: jax.Array, rows: jax.Array) -> jax.Array:
    """A few linear combinations of a few long rows."""
    return weights @ rows
