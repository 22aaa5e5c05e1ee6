"""A model with its steady state and its linear solution: what all nonlinear paths of it share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from estimhank.households.stationary import HouseholdSteadyState
from estimhank.model.declaration import Model
from estimhank.model.process_paths import forcing_of
from estimhank.model.processes import AR1, IID
from estimhank.parameters.parameter_table import ModelError, Values
from estimhank.sequence_space.household_operator import HouseholdOperator
from estimhank.sequence_space.steady_state import SteadyState
from estimhank.sequence_space.structure import Structure
from estimhank.transition.compiled import Compiled, LinearSolution
from estimhank.transition.equations import Surroundings
from estimhank.transition.newton import Point

Array = NDArray[np.float64]


class Beginning(NamedTuple):
    """Where a path begins.

    Attributes
    ----------
    before : array of shape (n_x,)
        The variables at the date before the first.
    distributions : tuple of arrays
        By household block, at the beginning of the first date.
    """

    before: Array
    distributions: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Economy:
    """A model with its steady state and its linear solution over T dates.

    Attributes
    ----------
    declared : Model
        Whose variables are reported.
    model : Model
        Its canonical form.
    steady : SteadyState
        Of the canonical form, with its households.
    structure : Structure
    household : HouseholdOperator
        At all dates.
    compiled : Compiled, optional
        Functions of the same model, compiled for other parameter values.
    """

    declared: Model
    model: Model
    steady: SteadyState
    structure: Structure
    household: HouseholdOperator
    compiled: Compiled | None = None

    def __post_init__(self) -> None:
        if self.compiled is None:
            object.__setattr__(self, "compiled", Compiled(self.model, self.structure))
        if self.model.given is not None:
            raise ModelError(
                f"model {self.model.name}: its households are Jacobians, which are linear; declare their problem as a "
                "block for nonlinear paths"
            )
        if self.structure.late:
            raise ModelError(
                f"model {self.model.name}: a variable matters only after the last date, which nonlinear paths do not "
                "allow yet; write the equation that sets it with the date at which it matters"
            )

    @property
    def horizon(self) -> int:
        """Dates T."""
        return int(self.household.by_date.shape[0])

    def at(self, steady: SteadyState, household: HouseholdOperator) -> Economy:
        """The same model at other parameter values: its steady state and its households' Jacobians there.

        Nothing is compiled again.
        """
        return replace(self, steady=steady, household=household)

    @property
    def _functions(self) -> Compiled:
        assert self.compiled is not None  # made above
        return self.compiled

    @cached_property
    def linear(self) -> LinearSolution:
        """The linear solution around the steady state."""
        functions = self._functions
        values, parameters = (_numbers(d) for d in (self.steady.values, self.steady.parameters))
        system = functions.linearize(values, parameters)
        return LinearSolution(system, self.household, functions.factorize(system, self.household))

    def __getstate__(self) -> dict[str, Any]:
        # as declared: what has been computed from it is computed again where it is wanted
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    @property
    def at_rest(self) -> Array:
        """The variables' steady-state values, (n_x,)."""
        return np.array([float(self.steady.values[name]) for name in self.model.variables])

    # -- along paths -------------------------------------------------------------------------------------------
    def evaluate(self, x: Array, given: Surroundings) -> Point:
        """Residuals along paths (T, n_x), how far the linear solution would move them, and what is seen on the way."""
        f, g, seen = self._functions.evaluate(jnp.asarray(x), given, self.linear)
        return Point(x, np.asarray(f), np.asarray(g), seen)

    def product(self, x: Array, v: Array, given: Surroundings) -> Array:
        """M^{-1} F'(x) v of paths x and a direction v, (T, n_x) all of them."""
        return np.asarray(self._functions.product(jnp.asarray(x), jnp.asarray(v), given, self.linear))

    def levels(self, point: Point) -> dict[str, Array]:
        """Paths of the declared model's variables and household outputs, by name, (T,) each."""
        every = {name: point.x[:, i] for i, name in enumerate(self.model.variables)}
        every |= {name: np.asarray(path) for name, path in point.seen.outputs.items()}
        return {name: every[name] for name in self.declared.unknowns}

    def binds(self, point: Point, given: Surroundings) -> dict[str, Array]:
        """By equation, the dates at which it is on another side of a kink than at rest, (T,) true or false; of
        equations for which there are any."""
        values = self.steady.values
        outputs = {name: jnp.asarray(float(values[name])) for name in self.model.household_outputs}
        rest = jnp.asarray(self.at_rest), outputs
        found = np.asarray(self._functions.binds(jnp.asarray(point.x), given, point.seen.outputs, rest))
        return {name: found[:, i] for i, name in enumerate(self.equation_names) if found[:, i].any()}

    def households(self, x: Array, given: Surroundings) -> tuple[Any, ...]:
        """Distributions and policies by date (:meth:`estimhank.transition.equations.Equations.households`)."""
        found: tuple[Any, ...] = self._functions.households(jnp.asarray(x), given)
        return found

    @cached_property
    def equation_names(self) -> tuple[str, ...]:
        """Names of the equations, in the order of the residuals."""
        now, quiet = Values(self.steady.values), Values({s.name: 0.0 for s in self.model.shocks})
        pairs = self.model.residuals(now, now, now, now, quiet, Values(self.steady.parameters))
        return tuple(name for name, _ in pairs)

    # -- linear ------------------------------------------------------------------------------------------------
    def forcing(self, shocks: Mapping[str, ArrayLike]) -> Array:
        """What the equations read for paths of processes, (T + T//2, n_z)
        (:func:`estimhank.model.process_paths.forcing_of`)."""
        return forcing_of(self.model, shocks, self.steady.parameters, self.horizon + self.horizon // 2)

    @property
    def sizes(self) -> Array:
        """Standard deviations of the canonical form's innovations, in the equations' units, (n_z,)."""
        p = self.steady.parameters
        sigmas = [p[s.sigma] if isinstance(s.sigma, str) else s.sigma for s in self.innovations]
        return np.array([s.scale * float(sigma) for s, sigma in zip(self.innovations, sigmas, strict=True)])

    @property
    def roots(self) -> Array:
        """By what each innovation decays by itself, (n_z,)."""
        return np.array([float(self.steady.parameters[s.rho]) if s.rho else 0.0 for s in self.innovations])

    @property
    def innovations(self) -> tuple[AR1 | IID, ...]:
        """Of the canonical form."""
        return self.model.innovations

    def linear_deviations(self, forcing: Array) -> dict[str, Array]:
        """The linear solution for a forcing of T dates or more, (T, n_z), less the steady state: all unknowns of the
        canonical form, (T,) each."""
        moves = np.asarray(self._functions.respond(self.linear, jnp.asarray(forcing[: self.horizon])))
        names = self.model.unknowns
        return {name: moves[:, i] for i, name in enumerate(names)}

    def linear_response(self, shocks: Mapping[str, ArrayLike]) -> dict[str, Array]:
        """The linear solution for the same shocks, in levels: all variables and household outputs, (T,) each."""
        found = self.linear_deviations(self.forcing(shocks))
        return {name: float(self.steady.values[name]) + found[name] for name in self.declared.unknowns}

    def around(self, forcing: Array, begin: Beginning, until: int = 1) -> tuple[Surroundings, Array]:
        """What the path depends on, and the path at rest that it begins from, (T, n_x).

        ``until``: the date of which the distribution is wanted.

        Raises
        ------
        ModelError
            A beginning on other grids.
        """
        _check_beginning(self.steady.households, begin.distributions)
        given = Surroundings(
            _numbers(self.steady.parameters),
            jnp.asarray(begin.before),
            jnp.asarray(self.at_rest),
            tuple(jnp.asarray(h.policies.marginal_value) for h in self.steady.households),
            tuple(jnp.asarray(d) for d in begin.distributions),
            jnp.asarray(forcing),
            jnp.asarray(until),
        )
        return given, np.tile(self.at_rest, (self.horizon, 1))

    @property
    def rest(self) -> Beginning:
        """The steady state as a beginning."""
        return Beginning(self.at_rest, tuple(h.distribution for h in self.steady.households))

    def beginning(self, state: SteadyState) -> Beginning:
        """A steady state, at other parameter values or with another distribution, as a beginning.

        Raises
        ------
        ModelError
            Households on other grids.
        """
        for own, other in zip(self.steady.households, state.households, strict=True):
            if not all(np.array_equal(a, b) for a, b in zip(own.grids.assets, other.grids.assets, strict=True)):
                raise ModelError(_OTHER_GRIDS)
        before = np.array([float(state.values[name]) for name in self.model.variables])
        return Beginning(before, tuple(h.distribution for h in state.households))


_OTHER_GRIDS = "a path begins with a distribution over the same grids as it ends with: give both the same"


def _numbers(values: Mapping[str, Any]) -> dict[str, jax.Array]:
    return {name: jnp.asarray(value, float) for name, value in values.items()}


def _check_beginning(end: Sequence[HouseholdSteadyState], begin: Sequence[Any]) -> None:
    for own, other in zip(end, begin, strict=True):
        if own.distribution.shape != other.shape:
            raise ModelError(_OTHER_GRIDS)
