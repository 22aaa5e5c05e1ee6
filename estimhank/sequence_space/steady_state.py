"""Steady state of a declared model: household, aggregates, and the check that it solves the equations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from estimhank.households.one_asset import HouseholdTarget
from estimhank.households.stationary import (
    HouseholdSteadyState,
    SteadyStateError,
    solve_household,
    solve_stationary,
)
from estimhank.model.declaration import Model
from estimhank.parameters.parameter_table import ModelError, Values
from estimhank.support.runtime import configure

#: Largest residual of an equation at the steady state that counts as zero.
RESIDUAL_LIMIT = 1e-9


@dataclass(frozen=True)
class SteadyState:
    """Steady state of a model.

    Attributes
    ----------
    values : dict of str to float
        Aggregate variables and household outputs.
    parameters : dict of str to float
        All parameters, those that the steady state determines included.
    household : HouseholdSteadyState or None
    """

    values: dict[str, float]
    parameters: dict[str, float]
    household: HouseholdSteadyState | None


@lru_cache(maxsize=32)
def _compiled(block: Any) -> Any:
    def solve(inputs: dict[str, Any], parameters: dict[str, Any]) -> HouseholdSteadyState:
        return solve_stationary(block, inputs, Values(parameters))

    return jax.jit(solve)


def solve_steady_state(model: Model, changes: Mapping[str, float] | None = None) -> SteadyState:
    """Solve for the steady state at the model's parameter values, some of them replaced.

    Parameters
    ----------
    model : Model
    changes : mapping of str to float, optional
        Parameter values that replace those of the table.

    Raises
    ------
    SteadyStateError
        With ``kind`` ``no_convergence``, ``no_bracket``, ``grid_too_small`` or ``not_a_solution``.
    """
    configure()
    try:
        return _solve(model, changes)
    except ArithmeticError as error:
        read = {n: e.value for n, e in model.parameters.items() if e.touches == "steady_state" and e.value is not None}
        values = ", ".join(f"{n} = {v:g}" for n, v in {**read, **(changes or {})}.items())
        raise SteadyStateError(
            "not_a_solution", f"model {model.name}: the steady state cannot be computed at {values} ({error})"
        ) from error


def _solve(model: Model, changes: Mapping[str, float] | None) -> SteadyState:
    given = {k: float(v) for k, v in (changes or {}).items()}
    p = model.parameters.values_with(given)
    household = None
    aggregates: dict[str, float] = {}
    if model.household is not None:
        block, target = model.household, model.household_target(p)
        inputs = {name: float(target.inputs[name]) for name in block.inputs}
        solve = _compiled(block)

        def at(trial: Values) -> HouseholdSteadyState:
            read = {name: trial.as_dict()[name] for name in block.parameters}
            solution: HouseholdSteadyState = solve(inputs, read)
            return solution

        unknown, household = solve_household(
            _bracketed(target), lambda more: model.parameters.values_with({**given, **more}), at
        )
        if unknown is not None and target.unknown is not None:
            given[target.unknown] = unknown
        aggregates = {name: float(value) for name, value in household.aggregates.items()}
        p = model.parameters.values_with(given)
    found = {k: float(v) for k, v in model.steady_state(p, Values(aggregates)).items()}
    missing = [name for name in model.variables if name not in found]
    if missing:
        raise ModelError(f"model {model.name}: steady_state gives no value for {', '.join(missing)}")
    parameters = {**p.as_dict(), **{k: v for k, v in found.items() if k not in model.variables}}
    unset = [name for name in model.parameters if name not in parameters]
    if unset:
        raise ModelError(
            f"model {model.name}: no value for {', '.join(unset)}; give one, or let steady_state return it"
        )
    values = {**{name: found[name] for name in model.variables}, **aggregates}
    state = SteadyState(values, parameters, household)
    _check(model, state)
    return state


def _bracketed(target: HouseholdTarget) -> HouseholdTarget:
    if target.unknown is not None and not target.bracket[0] < target.bracket[1]:
        raise ModelError(f"household target: the bracket {target.bracket} of '{target.unknown}' is empty")
    return target


def _check(model: Model, state: SteadyState) -> None:
    now, p = Values(state.values), Values(state.parameters)
    shock = Values({s.name: 0.0 for s in model.shocks})
    for name, residual in model.residuals(now, now, now, now, shock, p):
        size = float(np.abs(residual))
        if not size < RESIDUAL_LIMIT:
            raise SteadyStateError(
                "not_a_solution", f"model {model.name}: the equation '{name}' is off by {size:.2e} at the steady state"
            )
