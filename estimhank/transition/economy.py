"""A model with its steady state and its linear solution: what all nonlinear paths of it share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from estimhank.households.stationary import HouseholdSteadyState
from estimhank.model.declaration import Model
from estimhank.model.process_paths import forcing_of
from estimhank.parameters.parameter_table import ModelError, Values
from estimhank.sequence_space.equilibrium import EquilibriumFactors, factorize_equilibrium, solve_forced
from estimhank.sequence_space.household_operator import HouseholdOperator
from estimhank.sequence_space.linear_system import LinearSystem, linearize
from estimhank.sequence_space.steady_state import SteadyState
from estimhank.sequence_space.structure import Structure
from estimhank.transition.equations import Equations, Surroundings, Tops
from estimhank.transition.newton import Point

Array = NDArray[np.float64]


class LinearSolution(NamedTuple):
    """The equations around the steady state, and their factors: M of :mod:`estimhank.transition.newton`."""

    system: LinearSystem
    household: HouseholdOperator
    factors: EquilibriumFactors

    def solve(self, structure: Structure, forcing: jax.Array) -> jax.Array:
        """Paths of all unknowns (T, n_v) with something added to the equations, (T, n_eq)."""
        return solve_forced(structure, self.system, self.household, self.factors, forcing[..., None])[..., 0]


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
    """

    declared: Model
    model: Model
    steady: SteadyState
    structure: Structure
    household: HouseholdOperator

    def __post_init__(self) -> None:
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

    @cached_property
    def system(self) -> LinearSystem:
        """The equations, linearised."""
        values = self.steady.values
        found: LinearSystem = jax.jit(lambda p: linearize(self.model, values, p))(self.steady.parameters)
        return found

    @cached_property
    def _linear(self) -> LinearSolution:
        factorize = jax.jit(factorize_equilibrium, static_argnums=0)
        return LinearSolution(self.system, self.household, factorize(self.structure, self.system, self.household))

    @cached_property
    def _equations(self) -> Equations:
        return Equations(self.model)

    @property
    def at_rest(self) -> Array:
        """The variables' steady-state values, (n_x,)."""
        return np.array([float(self.steady.values[name]) for name in self.model.variables])

    # -- compiled functions ------------------------------------------------------------------------------------
    def _moved(self, linear: LinearSolution, residuals: jax.Array) -> jax.Array:
        """M^{-1} times residuals (T, n_x); household identities hold by themselves along a path."""
        identities = jnp.zeros((residuals.shape[0], linear.system.now.shape[0] - residuals.shape[1]))
        forcing = jnp.concatenate([residuals, identities], axis=1)
        return -linear.solve(self.structure, forcing)[:, : residuals.shape[1]]

    @cached_property
    def _evaluated(self) -> Any:
        def evaluate(x: jax.Array, given: Surroundings, linear: LinearSolution) -> tuple[jax.Array, jax.Array]:
            f = self._equations.residuals(x, given)
            return f, self._moved(linear, f)

        return jax.jit(evaluate)

    @cached_property
    def _product(self) -> Any:
        def product(x: jax.Array, v: jax.Array, given: Surroundings, linear: LinearSolution) -> jax.Array:
            f = jax.jvp(lambda x: self._equations.residuals(x, given), (x,), (v,))[1]
            return self._moved(linear, f)

        return jax.jit(product)

    @cached_property
    def _outputs(self) -> Any:
        return jax.jit(self._equations.outputs)

    @cached_property
    def _tops(self) -> Any:
        return jax.jit(self._equations.tops)

    # -- along paths -------------------------------------------------------------------------------------------
    def evaluate(self, x: Array, given: Surroundings) -> Point:
        """Residuals along paths (T, n_x), and how far the linear solution would move them."""
        f, g = self._evaluated(jnp.asarray(x), given, self._linear)
        return Point(x, np.asarray(f), np.asarray(g))

    def product(self, x: Array, v: Array, given: Surroundings) -> Array:
        """M^{-1} F'(x) v of paths x and a direction v, (T, n_x) all of them."""
        return np.asarray(self._product(jnp.asarray(x), jnp.asarray(v), given, self._linear))

    def levels(self, x: Array, given: Surroundings) -> dict[str, Array]:
        """Paths of the declared model's variables and household outputs, by name, (T,) each."""
        every = {name: x[:, i] for i, name in enumerate(self.model.variables)}
        every |= {name: np.asarray(path) for name, path in self._outputs(jnp.asarray(x), given).items()}
        return {name: every[name] for name in self.declared.unknowns}

    def tops(self, x: Array, given: Surroundings) -> tuple[Tops, ...]:
        """How near households come to the end of their asset grids, by block."""
        found: tuple[Tops, ...] = self._tops(jnp.asarray(x), given)
        return found

    @cached_property
    def equation_names(self) -> tuple[str, ...]:
        """Names of the equations, in the order of the residuals."""
        now, quiet = Values(self.steady.values), Values({s.name: 0.0 for s in self.model.shocks})
        pairs = self.model.residuals(now, now, now, now, quiet, Values(self.steady.parameters))
        return tuple(name for name, _ in pairs)

    # -- linear ------------------------------------------------------------------------------------------------
    def linear_response(self, shocks: Mapping[str, ArrayLike]) -> dict[str, Array]:
        """The linear solution for the same shocks, in levels: all variables and household outputs, (T,) each."""
        forcing = forcing_of(self.model, shocks, self.steady.parameters, self.horizon)
        added = jnp.asarray(forcing @ np.asarray(self.system.shock).T)
        moves = np.asarray(jax.jit(lambda linear, added: linear.solve(self.structure, added))(self._linear, added))
        names = self.model.unknowns
        return {n: self.steady.values[n] + moves[:, names.index(n)] for n in self.declared.unknowns}

    def around(self, shocks: Mapping[str, ArrayLike], initial: SteadyState | None) -> tuple[Surroundings, Array]:
        """What the path depends on, and the path at rest that it begins from, (T, n_x)."""
        model, p = self.model, self.steady.parameters
        forcing = forcing_of(model, shocks, p, self.horizon)
        begin = self.steady if initial is None else initial
        _check_beginning(self.steady.households, begin.households)
        given = Surroundings(
            {name: jnp.asarray(value, float) for name, value in p.items()},
            jnp.array([float(begin.values[name]) for name in model.variables]),
            jnp.asarray(self.at_rest),
            tuple(jnp.asarray(h.policies.marginal_value) for h in self.steady.households),
            tuple(jnp.asarray(h.distribution) for h in begin.households),
            jnp.asarray(forcing),
        )
        return given, np.tile(self.at_rest, (self.horizon, 1))


def _check_beginning(end: Sequence[HouseholdSteadyState], begin: Sequence[HouseholdSteadyState]) -> None:
    for own, other in zip(end, begin, strict=True):
        same = own.distribution.shape == other.distribution.shape and all(
            np.array_equal(a, b) for a, b in zip(own.grids.assets, other.grids.assets, strict=True)
        )
        if not same:
            raise ModelError(
                "a path begins with a distribution over the same grids as it ends with: give both the same"
            )
