"""General equilibrium in the sequence space: linear responses to shocks, with an exact and cheap derivative.

The unknowns of all dates solve

    [ B  D ] [ rest  ]      [ E_B ]            B: banded block          D: dense variables in the banded equations
    [ G  H ] [ dense ]  = - [ E_D ] z          G, H: household Jacobians and the equations moved beside them

and the dense system S = H - G B^{-1} D is assembled by recursions along the rows of the household Jacobians
(:func:`estimhank.sequence_space.banded.contract_rows`), factorised once, and solved for as many right-hand sides as
there are shocks. The derivative solves the transposed system with the same factors (implicit function theorem).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import lu_factor, lu_solve

from estimhank.model.declaration import Model
from estimhank.sequence_space.banded import (
    BandedFactor,
    contract_rows,
    factorize_banded,
    solve_banded,
    solve_banded_transposed,
)
from estimhank.sequence_space.elimination import Elimination
from estimhank.sequence_space.linear_system import LinearSystem


@dataclass(frozen=True)
class Structure:
    """What of a model is known before its numbers: positions of variables and equations.

    ``inputs`` and ``outputs`` are the positions, among the unknowns, of the household's inputs and of its outputs that
    have Jacobians.
    """

    elimination: Elimination
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class HouseholdOperator(NamedTuple):
    """Household Jacobians, laid out for the recursions.

    ``by_date`` (T, n_i, n_o T): ``[s, i, o T + t]`` is minus the Jacobian of output o at date t with respect to input
    i at date s.
    """

    by_date: jax.Array

    @property
    def jacobians(self) -> jax.Array:
        """The Jacobians themselves: (n_o, n_i, T, T), ``[o, i, t, s]``."""
        horizon, n_i, width = self.by_date.shape
        return -self.by_date.reshape(horizon, n_i, width // horizon, horizon).transpose(2, 1, 3, 0)


def household_positions(model: Model) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Positions among ``model.unknowns`` of the household's inputs and of its outputs that have Jacobians."""
    if model.household is None:
        return (), ()
    names, block = model.unknowns, model.household
    return (
        tuple(names.index(n) for n in block.inputs),
        tuple(names.index(n) for n in block.outputs if n not in block.derived),
    )


def household_operator(by_date: jax.Array) -> HouseholdOperator:
    """Operator of household Jacobians that are given by date of the input: (T, n_i, n_o, T), ``[s, i, o, t]``."""
    horizon, n_i, n_o, _ = by_date.shape
    return HouseholdOperator(-by_date.reshape(horizon, n_i, n_o * horizon))


class DenseFactors(NamedTuple):
    """LU factors of the dense system, the matrix transposed, and the pivots."""

    transposed_lu: jax.Array
    pivots: jax.Array


class EquilibriumFactors(NamedTuple):
    """The factorised system: what does not depend on the shocks' paths."""

    banded: BandedFactor
    dense: DenseFactors | None


def _bands(system: LinearSystem, rows: tuple[int, ...], variables: tuple[int, ...]) -> tuple[jax.Array, ...]:
    r, v = jnp.array(rows, int), jnp.array(variables, int)
    return tuple(m[r][:, v] for m in (system.lag, system.now, system.lead))


def _apply_bands(bands: tuple[jax.Array, ...], x: jax.Array) -> jax.Array:
    """Banded rows times a path: (T, n, k) to (T, rows, k); nothing before the first and after the last date."""
    lag, now, lead = bands
    before = jnp.concatenate([jnp.zeros_like(x[:1]), x[:-1]])
    after = jnp.concatenate([x[1:], jnp.zeros_like(x[:1])])
    return lag @ before + now @ x + lead @ after


def _apply_bands_transposed(bands: tuple[jax.Array, ...], y: jax.Array) -> jax.Array:
    """Transpose of :func:`_apply_bands`: (T, rows, k) to (T, n, k)."""
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


def _dense_rows(
    st: Structure, system: LinearSystem, household: HouseholdOperator, variables: tuple[int, ...]
) -> jax.Array:
    """Dense equations (household outputs, then moved equations) by date of the given variables: (T, n, m T)."""
    horizon = household.by_date.shape[0]
    n_o = len(st.outputs)
    parts = []
    for v in variables:
        row = jnp.zeros((horizon, n_o * horizon))
        if v in st.inputs:
            row = household.by_date[:, st.inputs.index(v)]
        if v in st.outputs:
            o = st.outputs.index(v)
            row = row.at[:, o * horizon : (o + 1) * horizon].add(jnp.eye(horizon))
        parts.append(row)
    rows = jnp.stack(parts, axis=1) if parts else jnp.zeros((horizon, 0, n_o * horizon))
    if st.elimination.targets:
        moved = _target_rows(_bands(system, st.elimination.targets, variables), horizon)
        rows = jnp.concatenate([rows, moved], axis=2)
    return rows


def _dense_from(
    st: Structure, system: LinearSystem, household: HouseholdOperator, variables: tuple[int, ...], x: jax.Array
) -> jax.Array:
    """Dense equations at paths x (T, n, k) of the given variables: the rows of :func:`_dense_rows` times x, (m T, k),
    without the rows, which are megabytes."""
    horizon, n_i, width = household.by_date.shape
    k = x.shape[2]
    by_input = jnp.zeros((horizon, n_i, k))
    by_output = jnp.zeros((horizon, len(st.outputs), k))
    for j, v in enumerate(variables):
        if v in st.inputs:
            by_input = by_input.at[:, st.inputs.index(v)].set(x[:, j])
        if v in st.outputs:
            by_output = by_output.at[:, st.outputs.index(v)].set(x[:, j])
    # as one matrix product: an einsum over two axes is several times slower here
    total = household.by_date.reshape(horizon * n_i, width).T @ by_input.reshape(horizon * n_i, k) + _stack(by_output)
    if st.elimination.targets:
        total = jnp.concatenate([total, _stack(_apply_bands(_bands(system, st.elimination.targets, variables), x))])
    return total


def _dense_to(
    st: Structure, system: LinearSystem, household: HouseholdOperator, variables: tuple[int, ...], y: jax.Array
) -> jax.Array:
    """The transpose of :func:`_dense_from`: (m T, k) to (T, n, k)."""
    horizon, n_i, width = household.by_date.shape
    k = y.shape[1]
    by_input = (household.by_date.reshape(horizon * n_i, width) @ y[:width]).reshape(horizon, n_i, k)
    by_output = _unstack(y[:width], horizon)
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
        bands = _bands(system, st.elimination.targets, variables)
        total = total + _apply_bands_transposed(bands, _unstack(y[width:], horizon))
    return total


def factorize_equilibrium(st: Structure, system: LinearSystem, household: HouseholdOperator) -> EquilibriumFactors:
    """Assemble and factorise the dense system: the costly part of a solution."""
    e = st.elimination
    horizon = household.by_date.shape[0]
    banded = factorize_banded(system, e, horizon)
    if not e.dense:
        return EquilibriumFactors(banded, None)
    sources = _dense_rows(st, system, household, _source_variables(e))
    lag, now, lead = _bands(system, e.rows, e.dense)
    touched = tuple(sorted({*e.dense_now, *e.dense_lag}))
    d_lag, d_now, d_lead = (jnp.array(i, int) for i in (e.dense_lag, touched, e.dense_lead))
    columns = jnp.concatenate([now[:, d_now], lead[:, d_lead], lag[:, d_lag]], axis=1)
    # a lag at the date after is the same unknown: both end in one row
    out = contract_rows(banded, e, sources, columns, tuple(touched.index(i) for i in e.dense_lag))
    transposed = _dense_rows(st, system, household, e.dense)
    # variable by variable, not by indices: one pass over memory
    blocks = []
    for j in range(len(e.dense)):
        block = transposed[:, j]
        if j in touched:
            block = block - out[:, touched.index(j)]
        if j in e.dense_lead:
            before = out[:-1, len(touched) + e.dense_lead.index(j)]
            block = block - jnp.concatenate([jnp.zeros_like(before[:1]), before])
        blocks.append(block)
    return EquilibriumFactors(banded, _factorize_dense(jnp.concatenate(blocks)))


def _factorize_dense(transposed: jax.Array) -> DenseFactors:
    """LU factors of the transpose of a matrix. LAPACK stores columns, JAX rows: of a transpose neither has to be
    copied."""
    lu, pivots = lu_factor(transposed.T)
    return DenseFactors(lu.T, pivots)


def _solve_dense(factors: DenseFactors | None, right: jax.Array, transposed: bool = False) -> jax.Array:
    assert factors is not None  # there are dense variables
    return lu_solve((factors.transposed_lu.T, factors.pivots), right, trans=int(transposed))


def _source_variables(e: Elimination) -> tuple[int, ...]:
    return tuple(e.rest[i] for i in e.sources)


def _stack(paths: jax.Array) -> jax.Array:
    """(T, m, k) to (m T, k), variable by variable."""
    return paths.transpose(1, 0, 2).reshape(-1, paths.shape[2])


def _unstack(vector: jax.Array, horizon: int) -> jax.Array:
    return vector.reshape(-1, horizon, vector.shape[1]).transpose(1, 0, 2)


def respond(
    st: Structure, system: LinearSystem, household: HouseholdOperator, factors: EquilibriumFactors, paths: jax.Array
) -> jax.Array:
    """Responses of all unknowns to shock paths (T, n_z), given the factors: (T, n_v, n_z)."""
    e = st.elimination
    horizon, n_z = paths.shape
    rows = jnp.array(e.rows, int)
    forcing = system.shock[rows][None] * paths[:, None, :]
    solved = solve_banded(factors.banded, e, forcing)
    n_v = len(e.rest) + len(e.dense)
    solution = jnp.zeros((horizon, n_v, n_z))
    rest = jnp.array(e.rest, int)
    if not e.dense:
        return solution.at[:, rest].set(-solved)
    targets = jnp.array(e.targets, int)
    direct = jnp.concatenate(
        [jnp.zeros((horizon, len(st.outputs), n_z)), system.shock[targets][None] * paths[:, None, :]], axis=1
    )
    at_source = jnp.array(e.sources, int)
    right = _dense_from(st, system, household, _source_variables(e), solved[:, at_source]) - _stack(direct)
    dense = _unstack(_solve_dense(factors.dense, right), horizon)
    forcing = forcing + _apply_bands(_bands(system, e.rows, e.dense), dense)
    solution = solution.at[:, rest].set(-solve_banded(factors.banded, e, forcing))
    return solution.at[:, jnp.array(e.dense, int)].set(dense)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def solve_equilibrium(
    structure: Structure, system: LinearSystem, household: HouseholdOperator, paths: jax.Array
) -> jax.Array:
    """Linear response of every unknown to shock paths known at date 0.

    Parameters
    ----------
    structure : Structure
    system : LinearSystem
    household : HouseholdOperator
    paths : array of shape (T, n_z)
        Path of each shock process.

    Returns
    -------
    array of shape (T, n_v, n_z)
        Response of each unknown to each shock alone. Differentiable (reverse mode) in the system's matrices, the
        household Jacobians and the paths.
    """
    return respond(structure, system, household, factorize_equilibrium(structure, system, household), paths)


def _vjp_forward(structure: Structure, system: LinearSystem, household: HouseholdOperator, paths: jax.Array) -> Any:
    factors = factorize_equilibrium(structure, system, household)
    solution = respond(structure, system, household, factors, paths)
    return solution, (system, household, paths, solution, factors)


def _vjp_backward(st: Structure, residuals: Any, cotangent: jax.Array) -> Any:
    system, household, paths, solution, factors = residuals
    e = st.elimination
    horizon, n_z = paths.shape
    n_o = len(st.outputs)
    rest, dense = jnp.array(e.rest, int), jnp.array(e.dense, int)
    c_rest = cotangent[:, rest]
    adjoint = jnp.zeros((horizon, system.now.shape[0], n_z))
    rows, targets = jnp.array(e.rows, int), jnp.array(e.targets, int)
    household_adjoint = jnp.zeros((horizon, n_o, n_z))
    if e.dense:
        first = solve_banded_transposed(factors.banded, e, c_rest)
        right = cotangent[:, dense] - _apply_bands_transposed(_bands(system, e.rows, e.dense), first)
        multiplier = _solve_dense(factors.dense, _stack(right), transposed=True)
        back = _dense_to(st, system, household, _source_variables(e), multiplier)
        c_rest = c_rest.at[:, jnp.array(e.sources, int)].add(-back)
        paths_of = _unstack(multiplier, horizon)
        household_adjoint = paths_of[:, :n_o]
        adjoint = adjoint.at[:, targets].set(paths_of[:, n_o:])
    adjoint = adjoint.at[:, rows].set(solve_banded_transposed(factors.banded, e, c_rest))

    before = jnp.concatenate([jnp.zeros_like(solution[:1]), solution[:-1]])
    after = jnp.concatenate([solution[1:], jnp.zeros_like(solution[:1])])
    lag_bar, now_bar, lead_bar = (-jnp.einsum("tez,tvz->ev", adjoint, x) for x in (before, solution, after))
    system_bar = LinearSystem(lag_bar, now_bar, lead_bar, -jnp.einsum("tez,tz->ez", adjoint, paths))
    inputs = solution[:, jnp.array(st.inputs, int)]
    by_date_bar = -jnp.einsum("toz,siz->siot", household_adjoint, inputs).reshape(household.by_date.shape)
    household_bar = HouseholdOperator(by_date_bar)
    return system_bar, household_bar, -jnp.einsum("ez,tez->tz", system.shock, adjoint)


solve_equilibrium.defvjp(_vjp_forward, _vjp_backward)
