"""Shocks that are known before they arrive: columns of the sequence-space solution.

The equilibrium is solved for the paths of shocks that are known at date 0. A shock of date h that is announced at date
0 is one more right-hand side of the same factorised system: its process is zero before h and takes its course from
there on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from estimhank.economics.output import Scene
from estimhank.economics.series import Series
from estimhank.likelihood.observation import combine_quarters, observe
from estimhank.posterior.computation import Computation, Solved
from estimhank.posterior.posterior import Posterior
from estimhank.sequence_space.equilibrium import EquilibriumFactors, factorize_equilibrium, respond
from estimhank.sequence_space.steady_parts import SteadyParts
from estimhank.support.errors import ConfigError


class AnnouncedAt(NamedTuple):
    """A solution at one point, and the computation that it is of."""

    computation: Computation
    theta: Any
    parts: SteadyParts
    solved: Solved


class AnnouncedEffects:
    """Effects of announced shocks on the reported series, at any parameters.

    Parameters
    ----------
    posterior : Posterior
    scene : Scene
    shocks : sequence of str
        Innovations of the model.
    announced, quarters : int
        Dates of the shocks, 0 to ``announced`` - 1, and dates of their effects.

    The nearer a shock is to the solution's last date, the less can be said of what follows it: effects are good where
    both dates are well within the horizon. All dates together span all paths that the solution knows.

    Raises
    ------
    ConfigError
        More dates than the solution has.
    """

    def __init__(
        self, posterior: Posterior, scene: Scene, shocks: Sequence[str], announced: int, quarters: int
    ) -> None:
        if max(announced, quarters) > posterior.horizon:
            raise ConfigError(
                f"announcements of {max(announced, quarters)} quarters: the model is solved with {posterior.horizon}"
            )
        names = [s.name for s in posterior.solver.setting.model.innovations]
        self.posterior, self.scene = posterior, scene
        self.shocks, self.announced, self.quarters = [names.index(s) for s in shocks], announced, quarters
        self._functions: dict[int, Any] = {}

    def solved(self, theta: Mapping[str, float] | ArrayLike) -> AnnouncedAt:
        """A solution, to be given to :meth:`of_paths`.

        Raises
        ------
        EstimhankError
            If there is no solution.
        """
        here, *_ = self.posterior.solved(theta)
        if here.solver.structure.coarse is not None:
            # between few dates a path is smooth, and one that begins there is not
            here = here.at_every_date()
        return AnnouncedAt(here.solver.computation, here.point, here.parts, here.solved)

    def of_paths(self, at: AnnouncedAt) -> tuple[Any, jax.Array]:
        """Effects of whole paths of the first of the shocks that are announced at date 0, from (dates, k), in standard
        deviations, to (dates, n_x, k), all dates of the solution; and the roots of all shocks. A function of arrays
        to be called while tracing."""
        computation, which = at.computation, self.shocks[0]
        factors = self._factors(computation, at.parts, at.solved)
        scales, roots = computation.processes(at.theta, at.parts)

        def effects(announced: jax.Array) -> jax.Array:
            def step(before: jax.Array, new: jax.Array) -> tuple[jax.Array, jax.Array]:
                now = roots[which] * before + scales[which] * new
                return now, now

            course = jax.lax.scan(step, jnp.zeros(announced.shape[1]), announced)[1]
            column = jnp.repeat(at.solved.system.shock[:, which, None], announced.shape[1], axis=1)
            solved = at.solved._replace(system=at.solved.system._replace(shock=column))
            return self._shown(computation, at.parts, solved, factors, course)

        return effects, roots

    def _factors(self, computation: Computation, parts: SteadyParts, solved: Solved) -> EquilibriumFactors:
        if solved.factors is not None:
            return solved.factors
        # a state space: the same equations over as many dates as the horizon has
        return factorize_equilibrium(computation.structure, solved.system, parts.household)

    def _shown(
        self,
        computation: Computation,
        parts: SteadyParts,
        solved: Solved,
        factors: EquilibriumFactors,
        course: jax.Array,
    ) -> jax.Array:
        """The reported series (dates, n_x, k) in response to processes (dates, k)."""
        series: tuple[Series, ...] = self.scene.series
        unknowns = respond(computation.structure, solved.system, parts.household, factors, course)
        found = observe(unknowns, [s.variable for s in series], computation.model.unknowns, parts.values)
        return combine_quarters(found, [s.weights for s in series])

    def at(self, theta: Mapping[str, float] | ArrayLike) -> jax.Array:
        """Effects (quarters, n_x, shocks, announced), one standard deviation each; of sums over dates, on the changes.

        Raises
        ------
        EstimhankError
            If there is no solution.
        """
        return self.with_roots(self.solved(theta))[0]

    def with_roots(self, at: AnnouncedAt) -> tuple[jax.Array, jax.Array]:
        """The same of a solution, and the roots of all shocks, (n_z,)."""
        computation = at.computation
        if id(computation) not in self._functions:
            self._functions[id(computation)] = jax.jit(self._of(computation))
        found: tuple[jax.Array, jax.Array] = self._functions[id(computation)](at.theta, at.parts, at.solved)
        return found

    def _of(self, computation: Computation) -> Any:
        dates, which = np.arange(computation.horizon), np.repeat(self.shocks, self.announced)
        after = dates[:, None] - np.tile(np.arange(self.announced), len(self.shocks))[None, :]

        def effects(theta: jax.Array, parts: SteadyParts, solved: Solved) -> tuple[jax.Array, jax.Array]:
            factors = self._factors(computation, parts, solved)
            scales, roots = computation.processes(theta, parts)
            course = jnp.where(after >= 0, roots[which] ** np.maximum(after, 0), 0.0)
            solved = solved._replace(system=solved.system._replace(shock=solved.system.shock[:, which]))
            found = self._shown(computation, parts, solved, factors, scales[which] * course)[: self.quarters]
            return found.reshape(self.quarters, found.shape[1], len(self.shocks), self.announced), roots

        return effects
