"""The functions of paths, compiled once for a model: its parameters and where it is at rest are arguments."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from estimhank.model.declaration import Model
from estimhank.sequence_space.equilibrium import EquilibriumFactors, factorize_equilibrium, solve_forced
from estimhank.sequence_space.household_operator import HouseholdOperator
from estimhank.sequence_space.linear_system import LinearSystem, linearize
from estimhank.sequence_space.structure import Structure
from estimhank.transition.equations import Equations, Seen, Surroundings


class LinearSolution(NamedTuple):
    """The equations around the steady state, and their factors: M of :mod:`estimhank.transition.newton`."""

    system: LinearSystem
    household: HouseholdOperator
    factors: EquilibriumFactors


class Compiled:
    """Functions of a model's paths, each compiled when it is first called.

    Parameters
    ----------
    model : Model
        In canonical form.
    structure : Structure
        How its linear equations are eliminated, dates kept all of them.
    """

    def __init__(self, model: Model, structure: Structure) -> None:
        self.model, self.structure, self.equations = model, structure, Equations(model)

    def __reduce__(self) -> tuple[Any, ...]:
        # what is compiled stays with its process
        return Compiled, (self.model, self.structure)

    def _solve(self, linear: LinearSolution, forcing: jax.Array) -> jax.Array:
        found: jax.Array = solve_forced(
            self.structure, linear.system, linear.household, linear.factors, forcing[..., None]
        )[..., 0]
        return found

    def _moved(self, linear: LinearSolution, residuals: jax.Array) -> jax.Array:
        """M^{-1} times residuals (T, n_x); household identities hold by themselves along a path."""
        identities = jnp.zeros((residuals.shape[0], linear.system.now.shape[0] - residuals.shape[1]))
        forcing = jnp.concatenate([residuals, identities], axis=1)
        return -self._solve(linear, forcing)[:, : residuals.shape[1]]

    @cached_property
    def linearize(self) -> Any:
        """The linear system, of steady-state values and parameters."""
        return jax.jit(lambda values, parameters: linearize(self.model, values, parameters))

    @cached_property
    def factorize(self) -> Any:
        """Its factors, of a linear system and the households' Jacobians."""
        return jax.jit(lambda system, household: factorize_equilibrium(self.structure, system, household))

    @cached_property
    def respond(self) -> Any:
        """Paths of all unknowns as deviations (T, n_v), of the linear solution and a forcing (T, n_z)."""
        return jax.jit(lambda linear, forcing: self._solve(linear, forcing @ linear.system.shock.T))

    @cached_property
    def evaluate(self) -> Any:
        """Residuals (T, n_x), what M^{-1} makes of them (T, n_x), and what is seen, of paths (T, n_x)."""

        def evaluate(x: jax.Array, given: Surroundings, linear: LinearSolution) -> tuple[jax.Array, jax.Array, Seen]:
            f, seen = self.equations.residuals_and_more(x, given)
            return f, self._moved(linear, f), seen

        return jax.jit(evaluate)

    @cached_property
    def product(self) -> Any:
        """M^{-1} F'(x) v, (T, n_x), of paths and a direction."""

        def product(x: jax.Array, v: jax.Array, given: Surroundings, linear: LinearSolution) -> jax.Array:
            f = jax.jvp(lambda x: self.equations.residuals(x, given), (x,), (v,))[1]
            return self._moved(linear, f)

        return jax.jit(product)

    @cached_property
    def binds(self) -> Any:
        """Which equations are on another side of a kink than at rest (:meth:`Equations.binds`)."""
        return jax.jit(self.equations.binds)

    @cached_property
    def households(self) -> Any:
        """Distributions and policies by date (:meth:`estimhank.transition.equations.Equations.households`)."""
        return jax.jit(self.equations.households)
