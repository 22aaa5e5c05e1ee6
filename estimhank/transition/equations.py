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
from estimhank.transition.bounds import sides


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
    until : int
        The date at whose beginning distribution and marginal value of assets are looked at, 1 to T.
    """

    parameters: dict[str, Any]
    before: jax.Array
    after: jax.Array
    marginal_values: tuple[jax.Array, ...]
    distributions: tuple[jax.Array, ...]
    shocks: jax.Array
    until: jax.Array


class Tops(NamedTuple):
    """How near households come to the end of their asset grids, by date: (T, assets).

    ``mass``: on the highest grid point; ``beyond``: by how much the highest policy that mass follows is above it.
    """

    mass: jax.Array
    beyond: jax.Array


class Seen(NamedTuple):
    """What paths say beside the residuals.

    Attributes
    ----------
    outputs : dict of str to array of shape (T,)
        Household outputs.
    tops : tuple of Tops
        By block.
    distributions : tuple of arrays
        By block, the distribution at the beginning of ``Surroundings.until``.
    marginal_values : tuple of arrays
        By block, the marginal value of assets at that date.
    """

    outputs: dict[str, jax.Array]
    tops: tuple[Tops, ...]
    distributions: tuple[jax.Array, ...]
    marginal_values: tuple[jax.Array, ...]


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
        found: jax.Array = self._residuals(x, given, self._outputs(x, given))
        return found

    def residuals_and_more(self, x: Float[jax.Array, "T n_x"], given: Surroundings) -> tuple[jax.Array, Seen]:
        """The residuals, and what is seen on the way."""
        seen = self._seen(x, given)
        return self._residuals(x, given, seen.outputs), seen

    def _residuals(self, x: jax.Array, given: Surroundings, outputs: dict[str, jax.Array]) -> jax.Array:
        return jax.vmap(lambda *at: jnp.stack(self._rows(given, *at)))(*self._dates(x, given, outputs))

    def _dates(self, x: jax.Array, given: Surroundings, outputs: dict[str, jax.Array]) -> tuple[Any, ...]:
        lag = jnp.concatenate([given.before[None], x[:-1]])
        lead = jnp.concatenate([x[1:], given.after[None]])
        return lag, x, lead, outputs, given.shocks

    def _rows(
        self, given: Surroundings, lag: Any, now: Any, lead: Any, household: dict[str, jax.Array], shock: Any
    ) -> list[jax.Array]:
        """Residuals at one date."""
        names, shock_names = self.model.variables, [shock.name for shock in self.model.shocks]
        early, today, late = (Values(dict(zip(names, v, strict=True))) for v in (lag, now, lead))
        shocks = Values(dict(zip(shock_names, shock, strict=True)))
        rows = self.model.residuals(early, today, late, Values(household), shocks, Values(given.parameters))
        return [jnp.asarray(r, float) for _, r in rows]

    def binds(
        self, x: Float[jax.Array, "T n_x"], given: Surroundings, outputs: dict[str, jax.Array], rest: Any
    ) -> Float[jax.Array, "T n_x"]:
        """Whether each equation is on another side of a kink than at rest, by date.

        ``rest``: variables (n_x,) and household outputs in the steady state.
        """
        level, at_rest = rest
        quiet = jnp.zeros(given.shocks.shape[1])

        def at_date(*at: Any) -> jax.Array:
            here = sides(lambda *at: self._rows(given, *at), *at)
            there = sides(lambda *at: self._rows(given, *at), level, level, level, at_rest, quiet)
            pairs = (zip(own, other, strict=True) for own, other in zip(here, there, strict=True))
            moved = [[jnp.any(a != b) for a, b in row] for row in pairs]
            return jnp.stack([jnp.any(jnp.stack([jnp.array(False), *row])) for row in moved])

        found: jax.Array = jax.vmap(at_date)(*self._dates(x, given, outputs))
        return found

    def _outputs(self, x: jax.Array, given: Surroundings) -> dict[str, jax.Array]:
        """Household outputs alone: what is differentiated."""
        found: dict[str, jax.Array] = {}
        for block, value, distribution in self._blocks(given):
            laws, policies, _ = self._behaviour(block, x, value, given)[1]

            def later(d: jax.Array, at: Any) -> Any:
                law, by_state = at
                return law.forward(d), {name: jnp.vdot(d, policy) for name, policy in by_state.items()}

            found |= jax.lax.scan(later, distribution, (laws, policies))[1]
        return found

    def _seen(self, x: jax.Array, given: Surroundings) -> Seen:
        outputs: dict[str, jax.Array] = {}
        tops, distributions, values = [], [], []
        for block, value, distribution in self._blocks(given):
            kept_value, (laws, policies, held) = self._behaviour(block, x, value, given)
            grids = block.grids(Values(given.parameters)).assets
            ends, axes = jnp.stack([grid[-1] for grid in grids]), range(1, distribution.ndim)

            def later(carry: Any, at: Any, ends: jax.Array = ends, axes: range = axes) -> Any:
                (d, kept), (date, law, by_state, held) = carry, at
                by_asset = held.reshape(len(ends), *d.shape)
                followed = jnp.where(d > TOP_MASS_LIMIT, by_asset, -jnp.inf)
                mass = jnp.stack([jnp.take(d, -1, axis).sum() for axis in axes])
                top = Tops(mass, followed.reshape(len(ends), -1).max(axis=1) - ends)
                then = law.forward(d)
                kept = jnp.where(date + 1 == given.until, then, kept)
                return (then, kept), (top, {name: jnp.vdot(d, policy) for name, policy in by_state.items()})

            along = (jnp.arange(x.shape[0]), laws, policies, held)
            (_, kept), (top, found) = jax.lax.scan(later, (distribution, distribution), along)
            outputs |= found
            tops.append(top)
            distributions.append(kept)
            values.append(kept_value)
        return Seen(outputs, tuple(tops), tuple(distributions), tuple(values))

    def households(self, x: Float[jax.Array, "T n_x"], given: Surroundings) -> tuple[Any, ...]:
        """By block: distributions at the beginning of each date (T, ...), end-of-period assets (T, ...) and the
        policies that are aggregated, by output (T, ...)."""
        found = []
        for block, value, distribution in self._blocks(given):
            laws, policies, held = self._behaviour(block, x, value, given)[1]
            by_date = jax.lax.scan(lambda d, law: (law.forward(d), d), distribution, laws)[1]
            found.append((by_date, held, policies))
        return tuple(found)

    def _blocks(self, given: Surroundings) -> Any:
        return zip(self.model.problems, given.marginal_values, given.distributions, strict=True)

    def _behaviour(self, block: HouseholdBlock, x: jax.Array, value: jax.Array, given: Surroundings) -> Any:
        """The marginal value of assets at ``given.until``, and by date: the distribution's law of motion, policies that
        are aggregated, end-of-period assets."""
        p, names = Values(given.parameters), self.model.variables
        grids = block.grids(p)

        def earlier(carry: tuple[jax.Array, jax.Array], at: Any) -> Any:
            (value, kept), (date, now) = carry, at
            policies = block.backward(value, now, grids, p)
            wanted = {name: policies.outputs[name] for name in block.outputs}
            kept = jnp.where(date == given.until, policies.marginal_value, kept)
            return (policies.marginal_value, kept), (block.transition(grids, policies), wanted, policies.assets)

        inputs = {name: x[:, names.index(name)] for name in block.inputs}
        (_, kept), found = jax.lax.scan(earlier, (value, value), (jnp.arange(x.shape[0]), inputs), reverse=True)
        return kept, found
