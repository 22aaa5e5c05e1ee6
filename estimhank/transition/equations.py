"""All equations of a model at all dates, as one function of the paths of its aggregate variables.

Household outputs at given paths of their inputs come from two sweeps: behaviour from the last date back, beginning with
the marginal value of assets at the end; then the distribution from date 0 on. Nothing is ordered, reduced or
linearised: a variable is an unknown and an equation is a row, whatever depends on what.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from estimhank.households.one_asset import HouseholdBlock
from estimhank.households.stationary import TOP_MASS_LIMIT
from estimhank.model.declaration import Model
from estimhank.parameters.parameter_table import Values


class Surroundings(NamedTuple):
    """What paths depend on beside themselves.

    Attributes
    ----------
    parameters : dict of str to scalar
        All of them.
    before, after : array of shape (n_x,)
        The variables at the date before the first, and at all dates after the last, where the economy is at rest.
    marginal_values : tuple of arrays
        By household block, the marginal value of assets at the date after the last.
    distributions : tuple of arrays
        By block, the distribution at the beginning of date 0.
    shocks : array of shape (T, n_z)
        What the equations read in place of ``model.shocks``.
    """

    parameters: dict[str, Any]
    before: jax.Array
    after: jax.Array
    marginal_values: tuple[jax.Array, ...]
    distributions: tuple[jax.Array, ...]
    shocks: jax.Array


class Tops(NamedTuple):
    """How near households come to the end of their asset grids, by date: (T, assets).

    ``mass``: on the highest grid point; ``beyond``: by how much the highest policy that mass follows is above it.
    """

    mass: jax.Array
    beyond: jax.Array


@dataclass(frozen=True)
class Equations:
    """The equations of a model in canonical form.

    Attributes
    ----------
    model : Model
    """

    model: Model

    def residuals(self, x: Float[jax.Array, "T n_x"], given: Surroundings) -> Float[jax.Array, "T n_x"]:
        """Residuals of all equations at all dates, in the equations' units; zero along a perfect-foresight path.

        Parameters
        ----------
        x : array of shape (T, n_x)
            Levels, in the order of ``model.variables``.
        given : Surroundings
        """
        model, names, p = self.model, self.model.variables, Values(given.parameters)
        outputs = self.outputs(x, given)
        lag = jnp.concatenate([given.before[None], x[:-1]])
        lead = jnp.concatenate([x[1:], given.after[None]])
        shock_names = [shock.name for shock in model.shocks]

        def at_date(lag: Any, now: Any, lead: Any, household: dict[str, jax.Array], shock: Any) -> jax.Array:
            early, today, late = (Values(dict(zip(names, v, strict=True))) for v in (lag, now, lead))
            shocks = Values(dict(zip(shock_names, shock, strict=True)))
            rows = model.residuals(early, today, late, Values(household), shocks, p)
            return jnp.stack([jnp.asarray(r, float) for _, r in rows])

        return jax.vmap(at_date)(lag, x, lead, outputs, given.shocks)

    def outputs(self, x: Float[jax.Array, "T n_x"], given: Surroundings) -> dict[str, jax.Array]:
        """Paths of all household outputs, (T,) each, at paths of the variables."""
        found: dict[str, jax.Array] = {}
        for block, value, distribution in self._blocks(given):
            laws, policies, _ = self._behaviour(block, x, value, given)

            def later(d: jax.Array, at: Any) -> Any:
                law, by_state = at
                return law.forward(d), {name: jnp.vdot(d, policy) for name, policy in by_state.items()}

            found |= jax.lax.scan(later, distribution, (laws, policies))[1]
        return found

    def tops(self, x: Float[jax.Array, "T n_x"], given: Surroundings) -> tuple[Tops, ...]:
        """How near households come to the end of their grids, by block."""
        found = []
        for block, value, distribution in self._blocks(given):
            laws, _, held = self._behaviour(block, x, value, given)
            grids = block.grids(Values(given.parameters)).assets
            ends, axes = jnp.stack([grid[-1] for grid in grids]), range(1, distribution.ndim)

            def later(d: jax.Array, at: Any, ends: jax.Array = ends, axes: range = axes) -> Any:
                law, held = at
                by_asset = held.reshape(len(ends), *d.shape)
                followed = jnp.where(d > TOP_MASS_LIMIT, by_asset, -jnp.inf)
                mass = jnp.stack([jnp.take(d, -1, axis).sum() for axis in axes])
                return law.forward(d), Tops(mass, followed.reshape(len(ends), -1).max(axis=1) - ends)

            found.append(jax.lax.scan(later, distribution, (laws, held))[1])
        return tuple(found)

    def _blocks(self, given: Surroundings) -> Any:
        return zip(self.model.problems, given.marginal_values, given.distributions, strict=True)

    def _behaviour(self, block: HouseholdBlock, x: jax.Array, value: jax.Array, given: Surroundings) -> Any:
        """By date: the distribution's law of motion, the policies that are aggregated, and end-of-period assets."""
        p, names = Values(given.parameters), self.model.variables
        grids = block.grids(p)

        def earlier(value: jax.Array, now: dict[str, jax.Array]) -> Any:
            policies = block.backward(value, now, grids, p)
            wanted = {name: policies.outputs[name] for name in block.outputs}
            return policies.marginal_value, (block.transition(grids, policies), wanted, policies.assets)

        inputs = {name: x[:, names.index(name)] for name in block.inputs}
        return jax.lax.scan(earlier, value, inputs, reverse=True)[1]
