"""General equilibrium in the sequence space: linear responses to shocks, with an exact and cheap derivative.

The unknowns of all dates solve::

    [ B  D ] [ rest  ]      [ E_B ]            B: banded block          D: dense variables in the banded equations
    [ G  H ] [ dense ]  = - [ E_D ] z          G, H: household Jacobians and the equations moved beside them

and the dense system S = H - G B^{-1} D is factorised once and solved for as many right-hand sides as there are shocks.
It is assembled (:mod:`estimhank.sequence_space.dense_equations`), where that is accurate enough at few dates of the
dense variables (:mod:`estimhank.sequence_space.coarse_dates`), and factorised by LAPACK. The derivative solves the
transposed system with the same factors (implicit function theorem).
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import lu_factor, lu_solve
from jaxtyping import Float

from estimhank.sequence_space.banded import (
    BandedFactor,
    factorize_banded,
    solve_banded,
    solve_banded_transposed,
)
from estimhank.sequence_space.coarse_dates import FAILURE, count_of, fold, horizon_of, interpolate, pick
from estimhank.sequence_space.dense_equations import (
    apply_bands,
    apply_bands_transposed,
    apply_dense,
    apply_dense_transposed,
    assemble_transposed,
    bands_of,
    stack_dates,
    unstack_dates,
)
from estimhank.sequence_space.household_operator import HouseholdOperator
from estimhank.sequence_space.last_dates import close_last_dates, without_late
from estimhank.sequence_space.linear_system import LinearSystem
from estimhank.sequence_space.structure import Structure


class LUFactors(NamedTuple):
    """LU factors of the dense system, the matrix transposed, and the pivots."""

    transposed_lu: jax.Array
    pivots: jax.Array


class EquilibriumFactors(NamedTuple):
    """The factorised system: what does not depend on the shocks' paths. ``dense`` is None without dense variables."""

    banded: BandedFactor
    dense: LUFactors | None


def _condensed(
    st: Structure, system: LinearSystem, household: HouseholdOperator
) -> tuple[LinearSystem, HouseholdOperator]:
    """The system that is solved (:mod:`estimhank.sequence_space.condensation`)."""
    household = household if st.coarse is None else household.at_dates(st.coarse)
    if st.condensation is None:
        return system, household
    return st.condensation.system(system), st.condensation.household(system, household)


def factorize_equilibrium(st: Structure, system: LinearSystem, household: HouseholdOperator) -> EquilibriumFactors:
    """Factorise the system: the costly part of a solution."""
    system, household = _condensed(st, system, household)
    e = st.elimination
    banded = factorize_banded(system, e, horizon_of(st.coarse, household.by_date.shape[0]))
    if not e.dense:
        return EquilibriumFactors(banded, None)
    # LAPACK stores columns, JAX rows: of a transpose neither has to be copied
    lu, pivots = lu_factor(close_last_dates(st, assemble_transposed(st, system, household, banded)).T)
    return EquilibriumFactors(banded, LUFactors(lu.T, pivots))


def _solve_dense(factors: LUFactors | None, right: jax.Array, transposed: bool = False) -> jax.Array:
    assert factors is not None  # there are dense variables
    found: jax.Array = lu_solve((factors.transposed_lu.T, factors.pivots), right, trans=int(transposed))
    return found


def respond(
    st: Structure,
    system: LinearSystem,
    household: HouseholdOperator,
    factors: EquilibriumFactors,
    paths: Float[jax.Array, "T n_z"],
) -> Float[jax.Array, "T n_v n_z"]:
    """Responses of all unknowns to shock paths (T, n_z), given the factors: (T, n_v, n_z)."""
    return solve_forced(st, system, household, factors, _forcing(system, paths))


def _forcing(system: LinearSystem, paths: jax.Array) -> jax.Array:
    """What each shock alone adds to the equations, (T, n_eq, n_z)."""
    return system.shock[None] * paths[:, None, :]


def solve_forced(
    st: Structure,
    system: LinearSystem,
    household: HouseholdOperator,
    factors: EquilibriumFactors,
    forcing: Float[jax.Array, "T n_eq k"],
) -> Float[jax.Array, "T n_v k"]:
    """Solution of the linear system, given the factors, for anything that is added to the equations::

        F_lag v_{t-1} + F_now v_t + F_lead v_{t+1} + forcing_t = 0,    outputs = Jacobians x inputs

    Parameters
    ----------
    st : Structure
    system : LinearSystem
    household : HouseholdOperator
    factors : EquilibriumFactors
        Of these three.
    forcing : array of shape (T, n_eq, k)
        Of k solutions, in the units of the equations; rows as of the system, the household's identities included.

    Returns
    -------
    array of shape (T, n_v, k)
        In the order of ``Model.unknowns``.
    """
    household = household if st.coarse is None else household.at_dates(st.coarse)
    left = forcing if st.condensation is None else forcing[:, jnp.array(st.condensation.equations, int)]
    kept = _solve_forced(st, *_condensed(st, system, household), factors, left)
    if st.condensation is not None:
        kept = st.condensation.expand(system, household, kept, forcing, st.coarse)
    return kept if st.coarse is None else _checked_between(st, household, kept)


def _solve_forced(
    st: Structure, system: LinearSystem, household: HouseholdOperator, factors: EquilibriumFactors, added: jax.Array
) -> jax.Array:
    """The unknowns of the system that is solved."""
    e = st.elimination
    horizon, _, n_z = added.shape
    rows = jnp.array(e.rows, int)
    forcing = added[:, rows]
    solved = solve_banded(factors.banded, e, forcing)
    n_v = len(e.rest) + len(e.dense)
    solution = jnp.zeros((horizon, n_v, n_z))
    rest = jnp.array(e.rest, int)
    if not e.dense:
        return solution.at[:, rest].set(-solved)
    targets = jnp.array(e.targets, int)
    direct = jnp.concatenate([jnp.zeros((horizon, len(st.outputs), n_z)), added[:, targets]], axis=1)
    n = count_of(st.coarse, horizon)
    at_source = jnp.array(e.sources, int)
    right = apply_dense(st, system, household, st.source_variables, solved[:, at_source])
    right = right - stack_dates(pick(st.coarse, direct))
    dense = interpolate(st.coarse, without_late(st, unstack_dates(_solve_dense(factors.dense, right), n)))
    forcing = forcing + apply_bands(bands_of(system, e.rows, e.dense), dense)
    solution = solution.at[:, rest].set(-solve_banded(factors.banded, e, forcing))
    return solution.at[:, jnp.array(e.dense, int)].set(dense)


def _checked_between(st: Structure, household: HouseholdOperator, solution: jax.Array) -> jax.Array:
    """A solution, nan where a household output is not what its inputs make it at dates at which that is not imposed.

    An output may stand still because what its inputs do to it cancels: it is measured by what each of them does.
    """
    assert st.coarse is not None and household.between is not None
    n_o, n_z = len(st.whole_outputs), solution.shape[2]
    inputs = [solution[:, i] for i in st.whole_inputs]

    def moves(by_date: jax.Array, paths: list[jax.Array]) -> list[jax.Array]:
        return [(-by_date[:, i].T @ path).reshape(n_o, -1, n_z) for i, path in enumerate(paths)]

    outputs = solution[jnp.array(st.coarse.between)][:, jnp.array(st.whole_outputs, int)].transpose(1, 0, 2)
    failure = jnp.abs(outputs - sum(moves(household.between, inputs))).max(1)
    held = moves(household.by_date, [pick(st.coarse, path) for path in inputs])
    size = jnp.stack([jnp.abs(x).max(1) for x in held]).max(0)
    return jnp.where((failure <= FAILURE * size).all(), solution, jnp.nan)


def solve_equilibrium(
    structure: Structure, system: LinearSystem, household: HouseholdOperator, paths: Float[jax.Array, "T n_z"]
) -> Float[jax.Array, "T n_v n_z"]:
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
    still = jax.lax.stop_gradient((system, household))
    factors = factorize_equilibrium(structure, *still)
    solution = respond(structure, *still, factors, jax.lax.stop_gradient(paths))
    return differentiable_solution(structure, system, household, paths, factors, solution)


def differentiable_solution(
    st: Structure,
    system: LinearSystem,
    household: HouseholdOperator,
    paths: Float[jax.Array, "T n_z"],
    factors: EquilibriumFactors,
    solution: Float[jax.Array, "T n_v n_z"],
) -> Float[jax.Array, "T n_v n_z"]:
    """A solution (T, n_v, n_z) that has been found, as a function of what determines it.

    The value is ``solution`` itself, what :func:`respond` gave with these ``factors``; its derivatives with respect to
    system, household and paths are those of the solved equations (implicit function theorem). So the same factors
    serve a value and its gradient, and neither has to be compiled along with the other.
    """
    household = household if st.coarse is None else household.at_dates(st.coarse)
    if st.condensation is None:
        return _differentiable(st, system, household, paths, factors, solution)
    kept = st.condensation.solution(jax.lax.stop_gradient(system), solution)
    kept = _differentiable(st, *_condensed(st, system, household), paths, factors, kept)
    return st.condensation.expand(system, household, kept, _forcing(system, paths), st.coarse)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _differentiable(
    st: Structure,
    system: LinearSystem,
    household: HouseholdOperator,
    paths: jax.Array,
    factors: EquilibriumFactors,
    solution: jax.Array,
) -> jax.Array:
    return solution


def _vjp_forward(structure: Structure, *given: Any) -> tuple[jax.Array, Any]:
    return given[-1], given


def _vjp_backward(st: Structure, residuals: Any, cotangent: jax.Array) -> Any:
    system, household, paths, factors, solution = residuals
    e = st.elimination
    horizon, n_z = paths.shape
    n_o = len(st.outputs)
    rest, dense = jnp.array(e.rest, int), jnp.array(e.dense, int)
    c_rest = cotangent[:, rest]
    adjoint = jnp.zeros((horizon, system.now.shape[0], n_z))
    rows, targets = jnp.array(e.rows, int), jnp.array(e.targets, int)
    household_adjoint = jnp.zeros((count_of(st.coarse, horizon), n_o, n_z))
    if e.dense:
        first = solve_banded_transposed(factors.banded, e, c_rest)
        right = without_late(st, cotangent[:, dense]) - apply_bands_transposed(bands_of(system, e.rows, e.dense), first)
        multiplier = _solve_dense(factors.dense, stack_dates(fold(st.coarse, right)), transposed=True)
        back = apply_dense_transposed(st, system, household, st.source_variables, multiplier)
        c_rest = c_rest.at[:, jnp.array(e.sources, int)].add(-back)
        paths_of = unstack_dates(multiplier, count_of(st.coarse, horizon))
        household_adjoint = paths_of[:, :n_o]
        if e.targets:
            adjoint = adjoint.at[:, targets].set(paths_of[:, n_o:])
    adjoint = adjoint.at[:, rows].set(solve_banded_transposed(factors.banded, e, c_rest))

    before = jnp.concatenate([jnp.zeros_like(solution[:1]), solution[:-1]])
    after = jnp.concatenate([solution[1:], jnp.zeros_like(solution[:1])])
    lag_bar, now_bar, lead_bar = (-jnp.einsum("tez,tvz->ev", adjoint, x) for x in (before, solution, after))
    system_bar = LinearSystem(lag_bar, now_bar, lead_bar, -jnp.einsum("tez,tz->ez", adjoint, paths))
    inputs = pick(st.coarse, solution[:, jnp.array(st.inputs, int)])
    by_date_bar = -jnp.einsum("toz,siz->siot", household_adjoint, inputs).reshape(household.by_date.shape)
    # nothing through what is a check
    between = None if household.between is None else jnp.zeros_like(household.between)
    household_bar = HouseholdOperator(by_date_bar, between)
    # nothing through factors and solution: they follow from the rest
    return system_bar, household_bar, -jnp.einsum("ez,tez->tz", system.shock, adjoint), None, None


_differentiable.defvjp(_vjp_forward, _vjp_backward)
