"""What of a solution is settled before any estimation: how the equations are eliminated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from estimhank.households.one_asset import HouseholdTarget
from estimhank.model.declaration import Model
from estimhank.parameters.parameter_table import ModelError, Values
from estimhank.parameters.priors import Prior
from estimhank.sequence_space.condensation import find_condensation
from estimhank.sequence_space.conditioning import Bands
from estimhank.sequence_space.declaration_checks import check_growth, check_kinks, check_shocks_matter
from estimhank.sequence_space.elimination import choose_elimination
from estimhank.sequence_space.incidence import check_incidence
from estimhank.sequence_space.linear_system import LinearSystem, linearize
from estimhank.sequence_space.steady_state import RESIDUAL_LIMIT, SteadyState
from estimhank.sequence_space.structure import Structure, household_positions

#: Prior draws, beside the reference values, at which a choice of dense variables must serve.
_REFERENCE_DRAWS = 6


def model_structure(model: Model, state: SteadyState, priors: Mapping[str, Prior]) -> Structure:
    """Choose how the equations are eliminated, at the reference values and at a few draws from the prior.

    Raises
    ------
    ModelError
        If the equations do not determine the variables, or an estimated parameter moves the steady state although the
        parameter table says that it does not; and as :mod:`estimhank.sequence_space.declaration_checks`.
    """
    check_growth(model, state)
    check_kinks(model, state)
    inputs, outputs = household_positions(model)
    rng = np.random.default_rng(0)
    draws = [{n: float(priors[n].sample(rng, 1)[0]) for n in priors} for _ in range(_REFERENCE_DRAWS)]
    fixed_point = [n for n in priors if model.parameters[n].touches != "steady_state"]
    for name in fixed_point:
        _check_steady_state_stays(model, state, name, draws[0][name])
    kept = [{n: draw[n] for n in fixed_point} for draw in draws]
    at = jax.jit(lambda parameters: linearize(model, state.values, parameters))
    systems = [at(point) for point in (state.parameters, *({**state.parameters, **draw} for draw in kept))]
    # a coefficient that is zero at the reference steady state need not be zero elsewhere
    moved = [at({**state.parameters, **draw}) for draw in draws]
    check_shocks_matter(model, [*systems, *moved])
    _check_shocks_stay_out(model, systems[0], at, {**state.parameters}, draws[0])
    names, equations = model.unknowns, _equation_names(model, state)
    moved = moved if len(kept[0]) < len(priors) else []
    check_incidence(Bands.of([*systems, *moved]), names, equations, inputs + outputs)
    condensation = find_condensation([*systems, *moved], inputs, outputs)
    if condensation and {names[v] for v in condensation.variables}.issuperset(model.dense):
        systems, moved = ([condensation.system(s) for s in some] for some in (systems, moved))
        names = tuple(names[v] for v in condensation.variables)
        equations = [equations[e] for e in condensation.equations]
        inputs, outputs = condensation.condensed_inputs, condensation.condensed_outputs
    else:
        condensation = None
    elimination = choose_elimination(systems, names, inputs + outputs, len(outputs), model.dense, moved, equations)
    return Structure(elimination, inputs, outputs, condensation=condensation)


def _equation_names(model: Model, state: SteadyState) -> list[str]:
    """Names of the rows of a :class:`LinearSystem`."""
    now, quiet = Values(state.values), Values({s.name: 0.0 for s in model.shocks})
    pairs = [*model.residuals(now, now, now, now, quiet, Values(state.parameters))]
    for block in model.blocks:
        pairs += block.identities(now, now)
    return [name for name, _ in pairs]


def _check_shocks_stay_out(
    model: Model, system: LinearSystem, at: Any, parameters: dict[str, float], draw: Mapping[str, float]
) -> None:
    """Refuse a parameter of the equations that the parameter table says touches the shocks alone."""
    for name in draw:
        if model.parameters[name].touches != "shocks":
            continue
        moved = at({**parameters, name: draw[name]})
        if any(not np.array_equal(a, b) for a, b in zip(system, moved, strict=True)):
            raise ModelError(
                f"model {model.name}: '{name}' enters the equations; declare it with touches=\"equilibrium\""
            )


def _check_steady_state_stays(model: Model, state: SteadyState, name: str, value: float) -> None:
    """Refuse a parameter that moves the steady state although the parameter table says that it does not."""
    refusal = f"model {model.name}: '{name}' moves the steady state ({{}}); declare it with touches=\"steady_state\""
    if any(name in block.parameters for block in model.blocks):
        raise ModelError(refusal.format("the household reads it"))
    moved = Values({**state.parameters, name: value})
    now, quiet = Values(state.values), Values({s.name: 0.0 for s in model.shocks})
    for equation, residual in model.residuals(now, now, now, now, quiet, moved):
        if not abs(float(residual)) < RESIDUAL_LIMIT:
            raise ModelError(refusal.format(f"equation '{equation}'"))
    found = dict(model.steady_state(moved, now))
    expected = {}
    if model.problems:
        found |= _target_numbers(model.household_target(moved))
        expected = _target_numbers(model.household_target(Values(state.parameters)))
    expected |= {
        n: {**state.parameters, **{v: state.values[v] for v in model.variables}}[n] for n in found if n not in expected
    }
    for what, number in found.items():
        if not abs(float(number) - float(expected[what])) < RESIDUAL_LIMIT * (1 + abs(float(expected[what]))):
            raise ModelError(refusal.format(what))


def _target_numbers(target: HouseholdTarget) -> dict[str, Any]:
    """What a household target asks for, by name."""
    asked = {**target.inputs, **{f"of {name}": total.value for name, total in target.sums.items()}}
    return {f"household target {name}": value for name, value in asked.items()}
