"""Steady state of a declared model: household, aggregates, and the check that it solves the equations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from estimhank.households.newton import solve_point
from estimhank.households.one_asset import HouseholdTarget
from estimhank.households.stationary import (
    TOLERANCE,
    HouseholdSteadyState,
    SteadyStateError,
    check_stationary,
    compiled_stationary,
    find_root,
)
from estimhank.households.stationary_problem import Given, StationaryPoint, StationaryProblem, steady_states_at
from estimhank.model.declaration import Model
from estimhank.model.mistakes import told_with_line
from estimhank.parameters.parameter_table import ModelError, Values, nearest
from estimhank.support.runtime import configure

#: Largest residual of an equation at the steady state that counts as zero.
RESIDUAL_LIMIT = 1e-9
#: Tolerance of a solution from which Newton's method begins, and how far from a target nothing is found at all.
_ROUGHLY, _FAR = 1e-5, 1e3


@dataclass(frozen=True)
class SteadyState:
    """Steady state of a model.

    Attributes
    ----------
    values : dict of str to float
        Aggregate variables and household outputs.
    parameters : dict of str to float
        All parameters, those that the steady state determines included.
    households : tuple of HouseholdSteadyState
        By block.
    """

    values: dict[str, float]
    parameters: dict[str, float]
    households: tuple[HouseholdSteadyState, ...] = ()

    @property
    def household(self) -> HouseholdSteadyState | None:
        """The households of a model with one block; None without any, or with several."""
        return self.households[0] if len(self.households) == 1 else None


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
    households: tuple[HouseholdSteadyState, ...] = ()
    aggregates: dict[str, float] = {}
    if model.given is not None:
        aggregates = model.given.values_at(p)
    elif model.problems:
        with told_with_line(model, "household_target"):
            target = _checked(model, model.household_target(p))
        unknowns, households = solve_households(model, target, given)
        given |= unknowns
        aggregates = {name: float(value) for h in households for name, value in h.aggregates.items()}
        p = model.parameters.values_with(given)
    with told_with_line(model, "steady_state"):
        given_back = model.steady_state(p, Values(aggregates))
        if not isinstance(given_back, Mapping):
            raise ModelError(f"model {model.name}: steady_state returns values by name, not {given_back!r}")
        found = {k: float(v) for k, v in given_back.items()}
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
    state = SteadyState(values, parameters, households)
    _check(model, state)
    return state


def _checked(model: Model, target: HouseholdTarget) -> HouseholdTarget:
    """A household target, with what cannot be meant refused."""
    if not isinstance(target, HouseholdTarget):
        raise ModelError(f"model {model.name}: household_target returns a HouseholdTarget, not {target!r}")
    outputs = model.household_outputs
    for name, (low, high) in target.brackets.items():
        if name not in model.parameters:
            raise ModelError(f"household target: '{name}' is not a parameter{nearest(name, model.parameters)}")
        if not low < high:
            raise ModelError(f"household target: the bracket {(float(low), float(high))} of '{name}' is empty")
    if len(target.brackets) != len(target.sums):
        raise ModelError(
            f"household target: {len(target.brackets)} unknowns ({', '.join(target.brackets)}) for "
            f"{len(target.sums)} targets ({', '.join(target.sums)})"
        )
    for name in (n for total in target.sums.values() for n in total.weights):
        if name and name not in outputs:
            raise ModelError(f"household target: '{name}' is not a household output{nearest(name, outputs)}")
    for name in (n for block in model.problems for n in block.inputs):
        if name not in target.inputs:
            raise ModelError(f"household target: no value of the input '{name}'{nearest(name, target.inputs)}")
    return target


def solve_households(
    model: Model, target: HouseholdTarget, given: Mapping[str, float]
) -> tuple[dict[str, float], tuple[HouseholdSteadyState, ...]]:
    """Households of all blocks, and the parameters that make their outputs hit their targets, from nothing.

    One unknown is found by bracketing. Several are found together by Newton's method from the middle of their
    brackets; where it fails, by least squares within the brackets first.

    Parameters
    ----------
    model : Model
    target : HouseholdTarget
    given : mapping of str to float
        Parameter values that replace those of the table.

    Raises
    ------
    SteadyStateError
    """
    inputs = {name: float(value) for name, value in target.inputs.items()}

    def at(changes: Mapping[str, float], tolerance: float = TOLERANCE) -> tuple[HouseholdSteadyState, ...]:
        known = model.parameters.values_with({**given, **changes}).as_dict()
        return tuple(
            compiled_stationary(block)(
                {n: inputs[n] for n in block.inputs}, {n: known[n] for n in block.parameters}, tolerance
            )
            for block in model.problems
        )

    def excess(changes: Mapping[str, float]) -> NDArray[np.float64]:
        totals = {name: float(value) for h in at(changes) for name, value in h.aggregates.items()}
        return np.array(
            [sum(float(w) * totals[n or model.household_outputs[0]] for n, w in total.weights.items())
             - float(total.value) for total in target.sums.values()]
        )  # fmt: skip

    names = tuple(target.brackets)
    if len(names) == 1:
        (name,), ((low, high),), ((what, total),) = names, target.brackets.values(), target.sums.items()
        root = find_root(lambda x: float(excess({name: x})[0]), float(low), float(high), name, what, float(total.value))
        found = {name: root}
        households = at(found)
    elif names:
        found, households = _find_several(model, target, given, at, excess)
    else:
        found, households = {}, at({})
    for household in households:
        check_stationary(household)
    return found, households


def _find_several(
    model: Model,
    target: HouseholdTarget,
    given: Mapping[str, float],
    at: Callable[..., tuple[HouseholdSteadyState, ...]],
    excess: Callable[[Mapping[str, float]], NDArray[np.float64]],
) -> tuple[dict[str, float], tuple[HouseholdSteadyState, ...]]:
    names = tuple(target.brackets)
    low, high = (np.array([float(b[side]) for b in target.brackets.values()]) for side in (0, 1))
    scale = np.array([1 + abs(float(total.value)) for total in target.sums.values()])

    def by_name(x: NDArray[np.float64]) -> dict[str, float]:
        return dict(zip(names, x.tolist(), strict=True))

    problem, numbers = stationary_problem(model, target), given_of(model, target, given)

    def newton(x: NDArray[np.float64]) -> StationaryPoint | None:
        households = at(by_name(x), _ROUGHLY)
        start = StationaryPoint(
            tuple(jnp.log(h.policies.marginal_value) for h in households),
            tuple(h.distribution for h in households),
            jnp.asarray(x),
        )
        bounds = tuple(tuple(jnp.asarray(v) for v in side) for side in (low, high))
        point, search = _solve_compiled(problem, numbers, bounds, start)
        return point if bool(search.converged) else None

    def missed(x: NDArray[np.float64]) -> NDArray[np.float64]:
        each = excess(by_name(x)) / scale
        return np.where(np.isfinite(each), each, _FAR)

    middle = (low + high) / 2
    found = newton(middle)
    if found is None:
        span = high - low
        near = optimize.least_squares(
            missed, middle, bounds=(low + 1e-6 * span, high - 1e-6 * span),
            x_scale=span, diff_step=1e-4, xtol=1e-10, ftol=1e-10, gtol=1e-10, max_nfev=40,
        )  # fmt: skip
        found = newton(near.x)
        if found is None:
            for household in at(by_name(near.x)):
                check_stationary(household)
            left = excess(by_name(near.x))
            raise SteadyStateError(
                "no_bracket",
                "no values of " + ", ".join(f"{n} in [{a:g}, {b:g}]" for n, a, b in zip(names, low, high, strict=True))
                + " make households hit their targets; the nearest miss them by "
                + ", ".join(f"{v:.2g} ({n})" for n, v in zip(target.sums, left, strict=True))
                + " at " + ", ".join(f"{n} = {v:.6g}" for n, v in by_name(near.x).items()),
            )  # fmt: skip
    return by_name(np.asarray(found.unknowns)), _at_point_compiled(problem, found, numbers)


_solve_compiled = jax.jit(solve_point, static_argnums=0)
_at_point_compiled = jax.jit(steady_states_at, static_argnums=0)


def stationary_problem(model: Model, target: HouseholdTarget) -> StationaryProblem:
    """The households' problem as Newton's method takes it."""
    first = model.household_outputs[0]
    return StationaryProblem(
        model.problems,
        tuple(target.brackets),
        tuple(tuple(name or first for name in total.weights) for total in target.sums.values()),
    )


def given_of(model: Model, target: HouseholdTarget, changes: Mapping[str, Any]) -> Given:
    """What the households' problem depends on, at parameter values some of which are replaced; may be traced."""
    known = model.parameters.values_with(dict(changes)).as_dict()
    read = dict.fromkeys(name for block in model.problems for name in block.parameters if name not in target.brackets)
    inputs = dict.fromkeys(name for block in model.problems for name in block.inputs)
    return Given(
        {name: jnp.asarray(target.inputs[name], float) for name in inputs},
        {name: jnp.asarray(known[name], float) for name in read},
        tuple(tuple(jnp.asarray(w, float) for w in total.weights.values()) for total in target.sums.values()),
        tuple(jnp.asarray(total.value, float) for total in target.sums.values()),
    )


def _check(model: Model, state: SteadyState) -> None:
    if model.given is not None:
        model.given.check_inputs(state.values)
    now, p = Values(state.values), Values(state.parameters)
    shock = Values({s.name: 0.0 for s in model.shocks})
    for name, residual in model.residuals(now, now, now, now, shock, p):
        size = float(np.abs(residual))
        if not size < RESIDUAL_LIMIT:
            raise SteadyStateError(
                "not_a_solution", f"model {model.name}: the equation '{name}' is off by {size:.2e} at the steady state"
            )
