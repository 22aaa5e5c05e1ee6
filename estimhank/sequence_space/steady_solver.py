"""Steady state and household Jacobians as a function of the parameters that move them.

:func:`estimhank.sequence_space.steady_state.solve_steady_state` finds one steady state from nothing, by bracketing.
Here many are wanted, near each other and with derivatives: Newton's method from a guess made of the solutions at and
around the reference values, compiled as a whole. The guess is a function of the parameters, nothing is carried from
one evaluation to the next, and where Newton's method fails the bracketing search decides, so a value depends on the
parameters alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from estimhank.households.cliffs import cliffs_of
from estimhank.households.fake_news import jacobians_by_date
from estimhank.households.newton import Search, solve_point
from estimhank.households.one_asset import HouseholdBlock, HouseholdTarget
from estimhank.households.stationary import HouseholdSteadyState, SteadyStateError, check_tops, grid_tops
from estimhank.households.stationary_problem import (
    Given,
    StationaryPoint,
    StationaryProblem,
    parameters_at,
    steady_states_at,
)
from estimhank.model.declaration import Model
from estimhank.parameters.parameter_table import ModelError, Values
from estimhank.sequence_space.coarse_dates import CoarseDates
from estimhank.sequence_space.determinacy import HouseholdSymbol, household_symbol
from estimhank.sequence_space.household_operator import HouseholdOperator, household_operator
from estimhank.sequence_space.steady_parts import Checks, Moved, SteadyParts
from estimhank.sequence_space.steady_state import (
    RESIDUAL_LIMIT,
    SteadyState,
    given_of,
    solve_steady_state,
    stationary_problem,
)
from estimhank.sequence_space.structure import household_names
from estimhank.support.runtime import configure
from estimhank.target.cliffs import Cliffs

_KEPT = 16  # solutions, for proposals and climbs that leave the steady state alone
_REACH = 2.5  # guesses are not extrapolated further than this many prior standard deviations


class _Guess(NamedTuple):
    """Second-order guess: a point, its derivatives and its curvatures along each parameter, in prior standard
    deviations."""

    point: StationaryPoint
    derivatives: StationaryPoint
    curvatures: StationaryPoint


class SteadySolver:
    """Solve for the steady state again and again.

    Parameters
    ----------
    model : Model
    spread : mapping of str to float
        The parameters that move the steady state, with the scale on which they vary (their prior s.d.).
    horizon : int
        Dates T.
    """

    #: What travels to another process, as far as it is known.
    travels: ClassVar[tuple[str, ...]] = (
        *("model", "spread", "horizon", "dates", "reference", "reference_parts", "_guess", "differentiable"),
    )

    def __init__(self, model: Model, spread: Mapping[str, float], horizon: int) -> None:
        configure()
        self.model, self.spread, self.horizon = model, dict(spread), horizon
        self.dates: CoarseDates | None = None
        self._kept: OrderedDict[tuple[float, ...], SteadyParts] = OrderedDict()

    # -- the reference -----------------------------------------------------------------------------------------
    @cached_property
    def reference(self) -> SteadyState:
        """Steady state at the parameter table's values, by bracketing."""
        return solve_steady_state(self.model)

    @cached_property
    def reference_parts(self) -> SteadyParts:
        """Everything at the parameter table's values."""
        return self._solve({}, self._point_of(self.reference))

    def with_horizon(self, horizon: int) -> SteadySolver:
        """The same solver at another horizon, what it knows of the reference values included."""
        other = SteadySolver(self.model, self.spread, horizon)
        other.reference = self.reference
        if self.spread:
            other._guess = self._guess
        return other

    def at_dates(self, dates: CoarseDates) -> SteadySolver:
        """The same solver whose steady states, away from the reference, come with household Jacobians at few dates of
        the outputs: all of them take hundreds of megabytes where the horizon is long."""
        other = SteadySolver(self.model, self.spread, self.horizon)
        vars(other).update({name: value for name, value in vars(self).items() if name in self.travels})
        other.dates = dates
        return other

    def laid_out(self, by_date: jax.Array) -> tuple[HouseholdOperator, HouseholdSymbol]:
        """Operator and symbol of Jacobians by date, (T, n_i, n_o, T)."""
        operator = household_operator(by_date)
        symbol = jax.lax.stop_gradient(household_symbol(by_date))
        return operator if self.dates is None else operator.at_dates(self.dates), symbol

    @property
    def outline(self) -> SteadyParts:
        """Shapes and types of :attr:`reference_parts`."""
        parts: SteadyParts = jax.eval_shape(self.compute, {}, self._point_of(self.reference))[0]
        return parts

    # -- elsewhere ---------------------------------------------------------------------------------------------
    def at(self, changes: Mapping[str, float]) -> SteadyParts:
        """Steady state with some parameters replaced; those that do not move it are ignored.

        Raises
        ------
        SteadyStateError
        """
        moved = {name: float(changes[name]) for name in self.spread}
        if not moved:
            return self.reference_parts
        key = tuple(moved.values())
        if key not in self._kept:
            self._kept[key] = self._solve(moved, self.guess(moved))
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def at_with_pullback(self, changes: Mapping[str, float]) -> tuple[SteadyParts, Callable[[Moved], dict[str, Any]]]:
        """The same, and a function from derivatives with respect to what moved to those with respect to the parameters
        that move it.

        Raises
        ------
        SteadyStateError
        ModelError
            The model's own functions cannot be traced by JAX.
        """
        moved = {name: float(changes[name]) for name in self.spread}
        if not self.differentiable:
            raise ModelError(
                f"no gradients: {', '.join(moved)} move the steady state, and the model's steady_state or "
                "household_target uses numbers where JAX needs arrays (write jnp.log for math.log, jnp.where for if)"
            )
        (parts, checks), pullback = self._computed_with_pullback(moved, self.guess(moved))
        if not bool(checks.search.converged):
            (parts, checks), pullback = self._computed_with_pullback(moved, self.robust_point(moved))
        self.verify(checks, moved)
        return parts, partial(self._pull_back, pullback)

    def stationary_at(self, changes: Mapping[str, float]) -> tuple[tuple[HouseholdSteadyState, ...], dict[str, float]]:
        """The households of each block with some parameters replaced, and the parameters that are moved to hit their
        targets.

        Without Jacobians, which makes it cheaper than :meth:`at`. The aggregate equations are not checked.

        Raises
        ------
        SteadyStateError
        """
        if not self.model.problems:
            raise ModelError(f"model {self.model.name} has no household problem that is solved here")
        moved = {name: float(changes[name]) for name in self.spread}
        households, checks, point = self._household(moved, self.guess(moved))
        self.verify(checks, moved)
        return households, dict(zip(self.target({}).brackets, np.asarray(point.unknowns).tolist(), strict=True))

    def cliffs_at(self, changes: Mapping[str, float]) -> Cliffs | None:
        """Where densities may fall from a cliff, seen from there (:mod:`estimhank.households.cliffs`); None where that
        is not known.

        Raises
        ------
        SteadyStateError
        """
        return cliffs_of(self.stationary_at(changes)[0])

    def guess(self, moved: Mapping[str, float]) -> StationaryPoint:
        """Where the search begins."""
        if self._guess is None:
            return self._point_of(self.reference)
        centre = [self.centre[name] for name in self.spread]
        x = (np.array([moved[name] for name in self.spread]) - centre) / np.array(list(self.spread.values()))
        x = np.clip(x, -_REACH, _REACH)
        found: StationaryPoint = jax.tree.map(
            lambda p, s, c: p + np.tensordot(x, s, 1) + np.tensordot(x**2, c, 1), *self._guess
        )
        return found

    def robust_point(self, moved: Mapping[str, float]) -> StationaryPoint:
        """The solution by bracketing, where Newton's method did not find it.

        Raises
        ------
        SteadyStateError
        """
        return self._point_of(solve_steady_state(self.model, moved))

    def verify(self, checks: Checks, moved: Mapping[str, float]) -> None:
        """Raise :class:`SteadyStateError` unless what was found is a steady state."""
        where = ", ".join(f"{n} = {v:g}" for n, v in moved.items()) or "the reference values"
        if self.model.problems:
            if not bool(checks.search.converged):
                raise SteadyStateError("no_convergence", f"the household's steady state was not found at {where}")
            check_tops(checks.tops, f" at {where}")
        worst = float(np.max(np.abs(checks.residuals), initial=0.0))
        if not worst < RESIDUAL_LIMIT:
            name = self._equations[int(np.argmax(~(np.abs(checks.residuals) < RESIDUAL_LIMIT)))]
            raise SteadyStateError(
                "not_a_solution", f"the equation '{name}' is off by {worst:.2e} at the steady state of {where}"
            )

    def compute(self, moved: Mapping[str, Any], start: StationaryPoint) -> tuple[SteadyParts, Checks]:
        """Parts and checks as a pure function, to be differentiated where :attr:`differentiable`."""
        model = self.model
        if not model.problems:
            p = model.parameters.values_with(dict(moved))
            by_date = jnp.zeros((self.horizon, 0, 0, self.horizon))
            aggregates: dict[str, Any] = {}
            if model.given is not None:
                aggregates = dict(model.given.values_at(p))
                by_date = model.given.jacobians_at(p, self.horizon)
            operator, symbol = self._laid_out(by_date)
            none = jnp.zeros(0)
            checks = Checks(found_at_once(), (none, none, none), jnp.zeros(0))
        else:
            aggregates, checks, operator, symbol, solved = self.households(moved, start)
            p = model.parameters.values_with({**moved, **solved})
        found = dict(model.steady_state(p, Values(aggregates)))
        parameters = {**p.as_dict(), **{k: v for k, v in found.items() if k not in model.variables}}
        values = {**{name: found[name] for name in model.variables}, **aggregates}
        now, quiet = Values(values), Values({s.name: 0.0 for s in model.shocks})
        residuals = [r for _, r in model.residuals(now, now, now, now, quiet, Values(parameters))]
        checks = checks._replace(residuals=jnp.stack([jnp.asarray(r, float) for r in residuals]))
        values, parameters = ({k: jnp.asarray(v, float) for k, v in d.items()} for d in (values, parameters))
        return SteadyParts(values, parameters, operator, symbol), checks

    @cached_property
    def acting(self) -> tuple[str, ...]:
        """Which of the parameters that move the steady state change what households face; others, such as a labour
        supply elasticity that only sets a scale, leave them as they are."""

        def faced(moved: Mapping[str, float]) -> list[float]:
            return [float(x) for x in jax.tree.leaves(self._problem(moved)[0])]

        step = {name: value + 1e-3 * (abs(value) or 1.0) for name, value in self.centre.items()}
        at = faced(self.centre)
        return tuple(name for name in self.spread if faced({**self.centre, name: step[name]}) != at)

    def households(self, moved: Mapping[str, Any], start: StationaryPoint) -> tuple[Any, ...]:
        """Of :meth:`compute` what households say: aggregates by name, checks, operator, symbol, and the parameters that
        were moved to hit their targets."""
        given, bounds, problem = self._problem(moved)
        *found, unknowns = self._kernel(problem, given, bounds, start)
        return *found, {name: unknowns[i] for i, name in enumerate(problem.unknowns)}

    @cached_property
    def differentiable(self) -> bool:
        """Whether the model's own functions can be traced by JAX: if not, they are called with numbers, without
        derivatives."""
        if self.model.given is not None:  # which computes with numbers
            return False
        try:
            jax.eval_shape(self.compute, self.centre, self._point_of(self.reference))
        except (TypeError, jax.errors.JAXTypeError):  # float(x), math.log(x), `if x > 0` of a traced number
            return False
        return True

    @cached_property
    def _equations(self) -> list[str]:
        now, quiet = Values(self.reference.values), Values({s.name: 0.0 for s in self.model.shocks})
        return [n for n, _ in self.model.residuals(now, now, now, now, quiet, Values(self.reference.parameters))]

    # -- how ---------------------------------------------------------------------------------------------------
    @cached_property
    def centre(self) -> dict[str, float]:
        """Reference values of the parameters that move the steady state."""
        return {name: float(self.model.parameters[name].value or 0.0) for name in self.spread}

    @cached_property
    def _computed(self) -> Any:
        return jax.jit(self.compute) if self.differentiable else self.compute

    @cached_property
    def _computed_with_pullback(self) -> Any:
        """Parts and checks, and the function back to the moved parameters, as one compiled function."""

        def forward(moved: Mapping[str, Any], start: StationaryPoint) -> Any:
            def compute(moved: Mapping[str, Any]) -> tuple[Moved, Any]:
                parts, checks = self.compute(moved, start)
                return parts.moved, (parts, checks)

            _, pullback, found = jax.vjp(compute, moved, has_aux=True)
            return found, pullback

        return jax.jit(forward)

    def compile_pullback(self) -> None:
        """Compile what :meth:`at_with_pullback` computes, from shapes alone."""
        moved, start = {name: 0.0 for name in self.spread}, self._point_of(self.reference)
        (parts, _), pullback = self._computed_with_pullback.eval_shape(moved, start)
        self._computed_with_pullback.lower(moved, start).compile()
        self._pull_back.lower(pullback, parts.moved).compile()

    @cached_property
    def _pull_back(self) -> Any:
        return jax.jit(lambda pullback, derivatives: pullback(derivatives)[0])

    @cached_property
    def _kernel(self) -> Any:
        blocks, horizon = self.model.problems, self.horizon

        def solve(problem: StationaryProblem, given: Given, bounds: Any, start: StationaryPoint) -> Any:
            households, checks, point = _stationary(problem, given, bounds, start)
            p = parameters_at(problem, point.unknowns, given)
            by_date = stacked_jacobians(blocks, households, given.inputs, p, horizon)
            operator, symbol = self.laid_out(by_date)
            aggregates = {name: value for h in households for name, value in h.aggregates.items()}
            return aggregates, checks, operator, symbol, point.unknowns

        return jax.jit(solve, static_argnums=0)

    @cached_property
    def _laid_out(self) -> Any:
        return jax.jit(self.laid_out)

    @cached_property
    def _kernel_without_jacobians(self) -> Any:
        return jax.jit(_stationary, static_argnums=0)

    def _household(
        self, moved: Mapping[str, float], start: StationaryPoint
    ) -> tuple[tuple[HouseholdSteadyState, ...], Checks, StationaryPoint]:
        found: tuple[tuple[HouseholdSteadyState, ...], Checks, StationaryPoint]
        with _arithmetic_is_no_solution(moved):
            given, bounds, problem = self._problem(moved)
            found = self._kernel_without_jacobians(problem, given, bounds, start)
            if not bool(found[1].search.converged):
                found = self._kernel_without_jacobians(problem, given, bounds, self.robust_point(moved))
        return found

    def _solve(self, moved: Mapping[str, float], start: StationaryPoint) -> SteadyParts:
        parts: SteadyParts
        with _arithmetic_is_no_solution(moved):
            parts, checks = self._computed(moved, start)
            if not bool(checks.search.converged):
                parts, checks = self._computed(moved, self.robust_point(moved))
        self.verify(checks, moved)
        return parts

    def target(self, moved: Mapping[str, Any]) -> HouseholdTarget:
        """What households are solved for, with some parameters replaced."""
        return self.model.household_target(self.model.parameters.values_with(dict(moved)))

    def _problem(self, moved: Mapping[str, Any]) -> tuple[Given, Any, StationaryProblem]:
        target = self.target(moved)
        given = given_of(self.model, target, moved)
        low, high = (
            tuple(jax.lax.stop_gradient(jnp.asarray(b[side], float)) for b in target.brackets.values())
            for side in (0, 1)
        )
        return given, (low, high), stationary_problem(self.model, target)

    def _point_of(self, state: SteadyState) -> StationaryPoint:
        names = tuple(self.target({}).brackets) if state.households else ()
        return StationaryPoint(
            tuple(np.log(np.asarray(h.policies.marginal_value)) for h in state.households),
            tuple(np.asarray(h.distribution) for h in state.households),
            np.array([state.parameters[name] for name in names], float),
        )

    @cached_property
    def _guess(self) -> _Guess | None:
        """Points one scale to either side of the reference; none if one of them does not exist."""
        if not self.model.problems:
            return None
        centre = self._point_of(self.reference)
        sides: list[list[StationaryPoint]] = [[], []]
        for name, scale in self.spread.items():
            for side, sign in zip(sides, (-1, 1), strict=True):
                moved = {**self.centre, name: self.centre[name] + sign * scale}
                try:
                    given, bounds, problem = self._problem(moved)
                    _, checks, point = self._kernel_without_jacobians(problem, given, bounds, centre)
                except ArithmeticError:
                    return None
                if not bool(checks.search.converged):
                    return None
                side.append(point)
        low, high = (jax.tree.map(lambda *x: np.stack([np.asarray(a) for a in x]), *side) for side in sides)
        derivatives = jax.tree.map(lambda a, b: (b - a) / 2, low, high)
        curvatures = jax.tree.map(lambda a, b, c: (a + b) / 2 - c, low, high, centre)
        return _Guess(centre, derivatives, curvatures)

    def __getstate__(self) -> dict[str, Any]:
        # with what has been solved, so that whoever receives it need not solve, nor compile, the same again
        return {**{k: v for k, v in vars(self).items() if k in self.travels}, "_kept": OrderedDict()}


@contextmanager
def _arithmetic_is_no_solution(moved: Mapping[str, float]) -> Iterator[None]:
    """A model's own functions may divide by zero far out: no steady state, and no error that ends a run."""
    try:
        yield
    except ArithmeticError as error:
        where = ", ".join(f"{n} = {v:g}" for n, v in moved.items())
        raise SteadyStateError("not_a_solution", f"the steady state cannot be computed at {where} ({error})") from error


def found_at_once() -> Search:
    """Of a search for nothing."""
    zero = jnp.zeros(())
    return Search(jnp.asarray(0), zero, zero, zero, jnp.asarray(True))


def _stationary(
    problem: StationaryProblem, given: Given, bounds: Any, start: StationaryPoint
) -> tuple[tuple[HouseholdSteadyState, ...], Checks, StationaryPoint]:
    point, search = solve_point(problem, given, bounds, start)
    households = steady_states_at(problem, point, given)
    each = [grid_tops(h) for h in households]
    tops = (
        jnp.concatenate([t[0] for t in each]),
        jnp.concatenate([t[1] for t in each]),
        jnp.concatenate([t[2] for t in each]),
    )
    return households, Checks(search, tops, jnp.zeros(0)), point


def stacked_jacobians(
    blocks: Sequence[HouseholdBlock],
    households: Sequence[HouseholdSteadyState],
    inputs: Mapping[str, Any],
    p: Any,
    horizon: int,
) -> jax.Array:
    """Jacobians of all blocks by date of the input, (T, n_i, n_o, T), in the order of
    :func:`estimhank.sequence_space.structure.household_names`: zero where a block does not read an input."""
    each = [
        jacobians_by_date(block, steady, inputs, p, horizon) for block, steady in zip(blocks, households, strict=True)
    ]
    if len(blocks) == 1:
        return each[0]
    names, _ = household_names(blocks)
    rows = []
    for block, found in zip(blocks, each, strict=True):
        at = jnp.array([names.index(name) for name in block.inputs], int)
        shape = (horizon, len(names), *found.shape[2:])
        rows.append(jnp.zeros(shape).at[:, at].set(found))
    return jnp.concatenate(rows, axis=2)
