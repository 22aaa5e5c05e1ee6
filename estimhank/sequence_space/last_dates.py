"""The last dates of the sequence space, where a variable may matter only beyond the horizon.

In r_t = q_{t-1}, a return that is fixed a period ahead, with q in no other equation, the last q has no effect within
the horizon: its column of the truncated system is zero. The market that q would clear, that of the last date, cannot be
cleared within the horizon either. So this one equation is given a slack, which takes the place of q at the last date.
Everything before is what the infinite system says of it, the inputs beyond the horizon at rest as everywhere.
"""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from estimhank.parameters.parameter_table import ModelError
from estimhank.sequence_space.banded import factorize_banded
from estimhank.sequence_space.dense_equations import assemble_transposed
from estimhank.sequence_space.household_operator import HouseholdOperator
from estimhank.sequence_space.linear_system import LinearSystem
from estimhank.sequence_space.structure import Late, Structure

_DATES = 16  # of a small system of the same structure
_SINGULAR = 1e-13  # smallest singular value, as a share of the largest, of a system that is called singular


def close_last_dates(st: Structure, transposed: Float[jax.Array, "mT mT"]) -> Float[jax.Array, "mT mT"]:
    """The transposed dense system with a slack in place of each variable that matters only beyond the horizon."""
    horizon = transposed.shape[0] // len(st.elimination.dense)
    for late in st.late:
        at = jnp.arange(horizon - late.dates, horizon)
        transposed = transposed.at[late.variable * horizon + at, late.equation * horizon + at].add(1.0)
    return transposed


def without_late(st: Structure, dense: Float[jax.Array, "T m k"]) -> Float[jax.Array, "T m k"]:
    """Paths of the dense variables (T, m, k) with zeros in the place of slacks."""
    for late in st.late:
        dense = dense.at[len(dense) - late.dates :, late.variable].set(0.0)
    return dense


def find_late_variables(
    st: Structure, system: LinearSystem, household: HouseholdOperator, names: tuple[str, ...]
) -> Structure:
    """The structure with its late variables: none, unless the truncated system is singular as it stands.

    Parameters
    ----------
    st : Structure
    system : LinearSystem
        At the reference values, and so are the household's Jacobians.
    household : HouseholdOperator
    names : tuple of str
        Names of the unknowns, for errors.

    Raises
    ------
    ModelError
        The system is singular for another reason.
    """
    if st.condensation:
        names = tuple(names[v] for v in st.condensation.variables)
        system, household = st.condensation.system(system), st.condensation.household(system, household)
    if not st.elimination.dense or (odd := _undetermined(st, system)) is None:
        return st
    matrix = _dense_system(st, system, household)
    m = len(st.elimination.dense)
    horizon = len(matrix) // m
    idle = ~matrix.any(axis=0).reshape(m, horizon)
    found: tuple[Late, ...] = ()
    for variable in range(m):
        dates = int(np.argmin(idle[variable, ::-1])) if not idle[variable].all() else 0
        if dates:
            found += (Late(variable, 0, dates),)
    best, smallest = None, _SINGULAR
    for equations in np.ndindex(*(m,) * len(found)):
        late = tuple(replace(one, equation=int(q)) for one, q in zip(found, equations, strict=True))
        trial = replace(st, late=late)
        values = np.linalg.svd(np.asarray(close_last_dates(trial, jnp.asarray(matrix.T))), compute_uv=False)
        if values[-1] > smallest * values[0]:
            best, smallest = trial, values[-1] / values[0]
    if best is None or not found:
        raise ModelError(
            f"the equilibrium conditions leave '{names[odd]}' undetermined at the last date of any horizon: look for "
            "an equation that should hold it, or that is dated a period early or late"
        )
    return best


def _dense_system(st: Structure, system: LinearSystem, household: HouseholdOperator) -> NDArray[np.float64]:
    horizon = household.by_date.shape[0]

    def assemble(system: LinearSystem, household: HouseholdOperator) -> jax.Array:
        banded = factorize_banded(system, st.elimination, horizon)
        return assemble_transposed(st, system, household, banded).T

    return np.asarray(jax.jit(assemble)(system, household))


def _undetermined(st: Structure, system: LinearSystem) -> int | None:
    """An unknown that a small truncated system with any household Jacobians leaves open; None where there is none."""
    lag, now, lead = (np.asarray(m, float) for m in (system.lag, system.now, system.lead))
    n_v, n_o = now.shape[1], len(st.outputs)
    eye, below, above = np.eye(_DATES), np.eye(_DATES, k=-1), np.eye(_DATES, k=1)
    rows = np.kron(eye, now) + np.kron(below, lag) + np.kron(above, lead)
    any_response = np.random.default_rng(0).standard_normal((_DATES, n_o, _DATES, len(st.inputs)))
    household = np.zeros((_DATES, n_o, _DATES, n_v))
    household[..., list(st.inputs)] = -any_response
    for o, v in enumerate(st.outputs):
        household[np.arange(_DATES), o, np.arange(_DATES), v] += 1.0
    whole = np.concatenate([rows, household.reshape(_DATES * n_o, _DATES * n_v)])
    whole = whole / np.maximum(np.abs(whole).max(axis=1, keepdims=True), 1e-300)
    _, values, directions = np.linalg.svd(whole)
    if values[-1] > _SINGULAR * values[0]:
        return None
    found: int = int(np.argmax(np.abs(directions[-1]))) % n_v
    return found
