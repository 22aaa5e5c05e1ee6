"""The equations that couple all dates: household outputs, then the equations moved beside them.

Here they are multiplied with paths, and assembled into the dense system S = H - G B^{-1} D by recursions along the rows
of the household Jacobians (:func:`estimhank.sequence_space.banded.contract_rows`). They hold at n dates: at all T of
them, or at few if no equations are moved (:mod:`estimhank.sequence_space.coarse_dates`).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Float

from estimhank.sequence_space.banded import BandedFactor, contract_rows
from estimhank.sequence_space.coarse_dates import count_of, fold, horizon_of, pick, scatter
from estimhank.sequence_space.household_operator import HouseholdOperator, multiply, multiply_transposed
from estimhank.sequence_space.linear_system import LinearSystem
from estimhank.sequence_space.structure import Structure


def bands_of(system: LinearSystem, rows: tuple[int, ...], variables: tuple[int, ...]) -> tuple[jax.Array, ...]:
    """Coefficients of some variables in some equations: of the date before, now, of the date after."""
    r, v = jnp.array(rows, int), jnp.array(variables, int)
    return tuple(m[r][:, v] for m in (system.lag, system.now, system.lead))


def apply_bands(
    bands: tuple[Float[jax.Array, "rows n"], ...], x: Float[jax.Array, "T n k"]
) -> Float[jax.Array, "T rows k"]:
    """Banded rows times a path: (T, n, k) to (T, rows, k); nothing before the first and after the last date."""
    lag, now, lead = bands
    before = jnp.concatenate([jnp.zeros_like(x[:1]), x[:-1]])
    after = jnp.concatenate([x[1:], jnp.zeros_like(x[:1])])
    return lag @ before + now @ x + lead @ after


def apply_bands_transposed(
    bands: tuple[Float[jax.Array, "rows n"], ...], y: Float[jax.Array, "T rows k"]
) -> Float[jax.Array, "T n k"]:
    """Transpose of :func:`apply_bands`: (T, rows, k) to (T, n, k)."""
    lag, now, lead = (m.T for m in bands)
    before = jnp.concatenate([jnp.zeros_like(y[:1]), y[:-1]])
    after = jnp.concatenate([y[1:], jnp.zeros_like(y[:1])])
    return lag @ after + now @ y + lead @ before


def _target_rows(bands: tuple[jax.Array, ...], horizon: int) -> jax.Array:
    """Moved equations as rows by date of the variable: (T, n, n_q T)."""
    lag, now, lead = bands
    eye, one_before, one_after = jnp.eye(horizon), jnp.eye(horizon, k=1), jnp.eye(horizon, k=-1)
    # a variable at date s enters the equation of date s + 1 with its lag and that of s - 1 with its lead
    rows = (
        jnp.einsum("qv,st->svqt", now, eye)
        + jnp.einsum("qv,st->svqt", lag, one_before)
        + jnp.einsum("qv,st->svqt", lead, one_after)
    )
    return rows.reshape(horizon, now.shape[1], now.shape[0] * horizon)


def dense_rows(
    st: Structure, system: LinearSystem, household: HouseholdOperator, variables: tuple[int, ...]
) -> jax.Array:
    """Dense equations (household outputs, then moved equations) by date of the given variables, of the dates that the
    dense system has: (n, variables, m n)."""
    n_o, n = len(st.outputs), household.by_date.shape[0]
    parts = []
    for v in variables:
        row = jnp.zeros((n, n_o * n))
        if v in st.inputs:
            row = household.by_date[:, st.inputs.index(v)]
        if v in st.outputs:
            o = st.outputs.index(v)
            row = row.at[:, o * n : (o + 1) * n].add(jnp.eye(n))
        parts.append(row)
    rows = jnp.stack(parts, axis=1) if parts else jnp.zeros((n, 0, n_o * n))
    if st.elimination.targets:  # which hold at all dates
        moved = _target_rows(bands_of(system, st.elimination.targets, variables), n)
        rows = jnp.concatenate([rows, moved], axis=2)
    return rows


def apply_dense(
    st: Structure,
    system: LinearSystem,
    household: HouseholdOperator,
    variables: tuple[int, ...],
    x: Float[jax.Array, "T n k"],
) -> Float[jax.Array, "mn k"]:
    """Dense equations at paths x (T, n, k) of the given variables: the rows of :func:`dense_rows` times x, (m n, k),
    without the rows, which are megabytes."""
    horizon, n_i, k = x.shape[0], len(st.inputs), x.shape[2]
    by_input = jnp.zeros((horizon, n_i, k))
    by_output = jnp.zeros((horizon, len(st.outputs), k))
    for j, v in enumerate(variables):
        if v in st.inputs:
            by_input = by_input.at[:, st.inputs.index(v)].set(x[:, j])
        if v in st.outputs:
            by_output = by_output.at[:, st.outputs.index(v)].set(x[:, j])
    total = stack_dates(pick(st.coarse, by_output)) - multiply(household, pick(st.coarse, by_input))
    if st.elimination.targets:
        moved = apply_bands(bands_of(system, st.elimination.targets, variables), x)
        total = jnp.concatenate([total, stack_dates(moved)])
    return total


def apply_dense_transposed(
    st: Structure,
    system: LinearSystem,
    household: HouseholdOperator,
    variables: tuple[int, ...],
    y: Float[jax.Array, "mn k"],
) -> Float[jax.Array, "T n k"]:
    """The transpose of :func:`apply_dense`: (m n, k) to (T, variables, k)."""
    held, _, width = household.by_date.shape
    horizon, k = horizon_of(st.coarse, held), y.shape[1]
    n = count_of(st.coarse, horizon)
    by_input = -scatter(st.coarse, multiply_transposed(household, y[:width]))
    by_output = scatter(st.coarse, unstack_dates(y[:width], n))
    columns = []
    for v in variables:
        column = jnp.zeros((horizon, k))
        if v in st.inputs:
            column = column + by_input[:, st.inputs.index(v)]
        if v in st.outputs:
            column = column + by_output[:, st.outputs.index(v)]
        columns.append(column)
    total = jnp.stack(columns, axis=1) if columns else jnp.zeros((horizon, 0, k))
    if st.elimination.targets:
        bands = bands_of(system, st.elimination.targets, variables)
        total = total + apply_bands_transposed(bands, unstack_dates(y[width:], horizon))
    return total


def assemble_transposed(
    st: Structure, system: LinearSystem, household: HouseholdOperator, banded: BandedFactor
) -> jax.Array:
    """The transpose of the dense system, (m n, m n): O(T n) operations a variable of the banded block."""
    e = st.elimination
    sources = scatter(st.coarse, dense_rows(st, system, household, st.source_variables))
    lag, now, lead = bands_of(system, e.rows, e.dense)
    touched = tuple(sorted({*e.dense_now, *e.dense_lag}))
    d_lag, d_now, d_lead = (jnp.array(i, int) for i in (e.dense_lag, touched, e.dense_lead))
    columns = jnp.concatenate([now[:, d_now], lead[:, d_lead], lag[:, d_lag]], axis=1)
    # a lag at the date after is the same unknown: both end in one row
    out = contract_rows(banded, e, sources, columns, tuple(touched.index(i) for i in e.dense_lag))
    now_and_lag, by_lead = out[:, : len(touched)], out[:-1, len(touched) :]
    at_touched = fold(st.coarse, now_and_lag)
    at_lead = fold(st.coarse, jnp.concatenate([jnp.zeros_like(by_lead[:1]), by_lead])) if e.dense_lead else None
    transposed = dense_rows(st, system, household, e.dense)
    # variable by variable, not by indices: one pass over memory
    blocks = []
    for j in range(len(e.dense)):
        block = transposed[:, j]
        if j in touched:
            block = block - at_touched[:, touched.index(j)]
        if at_lead is not None and j in e.dense_lead:
            block = block - at_lead[:, e.dense_lead.index(j)]
        blocks.append(block)
    return jnp.concatenate(blocks)


def stack_dates(paths: Float[jax.Array, "T m k"]) -> Float[jax.Array, "m*T k"]:
    """Dates first, (T, m, k), to variable by variable, (m T, k)."""
    return paths.transpose(1, 0, 2).reshape(-1, paths.shape[2])


def unstack_dates(vector: Float[jax.Array, "mT k"], horizon: int) -> Float[jax.Array, "{horizon} m k"]:
    """(m T, k) to (T, m, k)."""
    return vector.reshape(-1, horizon, vector.shape[1]).transpose(1, 0, 2)
