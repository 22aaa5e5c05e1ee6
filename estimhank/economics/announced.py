"""Shocks that are known before they arrive: columns of the sequence-space solution.

The equilibrium is solved for the paths of shocks that are known at date 0. A shock of date h that is announced at date
0 is one more right-hand side of the same factorised system: its process is zero before h and takes its course from
there on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from estimhank.economics.output import Scene
from estimhank.economics.series import Series
from estimhank.likelihood.observation import combine_quarters, observe
from estimhank.posterior.computation import Computation, Solved
from estimhank.posterior.posterior import Posterior
from estimhank.sequence_space.equilibrium import factorize_equilibrium, respond
from estimhank.sequence_space.steady_parts import SteadyParts
from estimhank.support.errors import ConfigError


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

    def at(self, theta: Mapping[str, float] | ArrayLike) -> jax.Array:
        """Effects (quarters, n_x, shocks, announced), one standard deviation each; of sums over dates, on the changes.

        Raises
        ------
        EstimhankError
            If there is no solution.
        """
        return self.with_roots(theta)[0]

    def with_roots(self, theta: Mapping[str, float] | ArrayLike) -> tuple[jax.Array, jax.Array]:
        """The same, and the roots of all shocks, (n_z,)."""
        here, *_ = self.posterior.solved(theta)
        if (
            here.solver.structure.coarse is not None
        ):  # few dates, between which a path is smooth: none that begins there
            here = here.at_every_date()
        computation = here.solver.computation
        if computation.horizon not in self._functions:
            self._functions[computation.horizon] = jax.jit(self._of(computation))
        found: tuple[jax.Array, jax.Array] = self._functions[computation.horizon](here.point, here.parts, here.solved)
        return found

    def _of(self, computation: Computation) -> Any:
        dates, which = np.arange(computation.horizon), np.repeat(self.shocks, self.announced)
        after = dates[:, None] - np.tile(np.arange(self.announced), len(self.shocks))[None, :]
        series: tuple[Series, ...] = self.scene.series

        def effects(theta: jax.Array, parts: SteadyParts, solved: Solved) -> tuple[jax.Array, jax.Array]:
            factors = solved.factors
            if factors is None:  # a state space: the same equations over as many dates as the horizon has
                factors = factorize_equilibrium(computation.structure, solved.system, parts.household)
            scales, roots = computation.processes(theta, parts)
            course = jnp.where(after >= 0, roots[which] ** np.maximum(after, 0), 0.0)
            system = solved.system._replace(shock=solved.system.shock[:, which])
            unknowns = respond(computation.structure, system, parts.household, factors, scales[which] * course)
            found = observe(unknowns, [s.variable for s in series], computation.model.unknowns, parts.values)
            found = combine_quarters(found, [s.weights for s in series])[: self.quarters]
            return found.reshape(self.quarters, len(series), len(self.shocks), self.announced), roots

        return effects
