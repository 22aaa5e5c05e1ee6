"""The steps of a log density, each compiled apart, so that routes, horizons and gradients share what they can.

A value is a function of the parameters alone: what is kept from earlier evaluations is exactly what would be computed
again.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from estimhank.likelihood.observation import observe
from estimhank.posterior.computation import Computation, Seen, Solved
from estimhank.posterior.density import Aside, GaussianDensity, Moments, outcome_of
from estimhank.posterior.routes import CHEAPEST, Route, RouteOutcome
from estimhank.posterior.setting import Setting
from estimhank.sequence_space.coarse_dates import SHORTEST, CoarseDates
from estimhank.sequence_space.equilibrium import factorize_equilibrium, respond
from estimhank.sequence_space.household_operator import HouseholdOperator
from estimhank.sequence_space.last_dates import find_late_variables
from estimhank.sequence_space.linear_system import linearize
from estimhank.sequence_space.solution import model_structure
from estimhank.sequence_space.steady_parts import Moved, SteadyParts
from estimhank.sequence_space.steady_solver import SteadySolver
from estimhank.sequence_space.structure import Structure

Array = NDArray[np.float64]

_DRAWS = 4  # from the prior, whose responses say which dates are enough
_KEPT = 4  # factorised equilibria, for proposals that move the shocks' own parameters only
_TRAVELS = (
    "setting",
    "density",
    "steady",
    "structure",
)  # to another process, if it is known


class Solver:
    """Solves a model and computes what its density needs, at one horizon.

    Parameters
    ----------
    setting : Setting
    steady : SteadySolver, optional
        Made from the setting by default.
    density : GaussianDensity, optional
        Of the same setting at another horizon, whose compiled functions serve here too.
    """

    def __init__(
        self,
        setting: Setting,
        steady: SteadySolver | None = None,
        density: GaussianDensity | None = None,
    ) -> None:
        self.setting, self.density = setting, density or GaussianDensity(setting)
        if steady is None:
            spread = {n: setting.priors[n].sd for n in setting.moving}
            spread = {n: sd if np.isfinite(sd) and sd > 0 else 0.1 for n, sd in spread.items()}
            steady = SteadySolver(setting.model, spread, setting.horizon)
        self.steady = steady
        self._kept: OrderedDict[bytes, tuple[SteadyParts, Solved]] = OrderedDict()

    def at_horizon(self, setting: Setting) -> Solver:
        """The same at another horizon, with what is known of the steady state."""
        return Solver(setting, self.steady.with_horizon(setting.horizon), self.density)

    def with_steady(self, steady: SteadySolver) -> Solver:
        """The same, and the same compiled functions, with steady states from elsewhere."""
        other = Solver(self.setting, steady, self.density)
        shared = (
            "structure",
            "computation",
            "solve",
            "at_once",
            "at_once_with_gradient",
            "look",
            "covariances",
            "pull",
        )
        vars(other).update({name: getattr(self, name) for name in shared})
        return other

    @cached_property
    def at_more_dates(self) -> Solver:
        """The same with dense equations solved at more dates, or at all where that is not far from it
        (:mod:`estimhank.sequence_space.coarse_dates`)."""
        assert self.structure.coarse is not None
        more = self.structure.coarse.more()
        return self.at_every_date if more is None else self._at_dates_of(more)

    @cached_property
    def at_every_date(self) -> Solver:
        """The same with dense equations solved at all dates."""
        return self._at_dates_of(None)

    def _at_dates_of(self, coarse: CoarseDates | None) -> Solver:
        other = Solver(self.setting, self.steady, self.density)
        vars(other)["structure"] = replace(self.structure, coarse=coarse)
        return other

    @cached_property
    def structure(self) -> Structure:
        """How equations are eliminated, chosen with numbers."""
        setting, parts = self.setting, self.steady.reference_parts
        structure = model_structure(setting.model, self.steady.reference, setting.priors)
        parameters = {**parts.parameters, **setting.mapping(setting.reference())}
        system = jax.jit(lambda p: linearize(setting.model, parts.values, p))(parameters)
        structure = find_late_variables(structure, system, parts.household, setting.model.unknowns)
        e = structure.elimination
        # of moved equations, which hold at all dates, nothing is checked between few
        fine = structure.late or not e.dense or e.targets
        if fine or setting.horizon < SHORTEST:
            return structure
        return replace(structure, coarse=CoarseDates.that_hold(*self._dense_paths(structure)))

    def _dense_paths(self, structure: Structure) -> tuple[Array, Array]:
        """Paths of the dense variables and of what households react to, after a unit of each shock, (T, k) each: at the
        reference values, and at a few draws from the prior, the steady state as it is there."""
        setting, parts = self.setting, self.steady.reference_parts
        coupled = jnp.array(sorted({*structure.dense_variables, *structure.whole_inputs}), int)

        @jax.jit
        def paths(theta: dict[str, Any], household: HouseholdOperator) -> jax.Array:
            parameters = {**parts.parameters, **theta}
            system = linearize(setting.model, parts.values, parameters)
            roots = jnp.stack([jnp.asarray(parameters[s.rho] if s.rho else 0.0) for s in setting.model.innovations])
            along = roots ** jnp.arange(setting.horizon)[:, None]
            found = respond(structure, system, household, factorize_equilibrium(structure, system, household), along)
            return found[:, coupled].reshape(setting.horizon, -1)

        rng, here = np.random.default_rng(0), setting.mapping(setting.reference())
        points = [here]
        for _ in range(_DRAWS):
            draw = {name: float(prior.sample(rng, 1)[0]) for name, prior in setting.priors.items()}
            points.append({**draw, **{name: here[name] for name in setting.moving}})
        sure, *others = (np.asarray(paths(point, parts.household)) for point in points)
        found = np.concatenate(others, axis=1)
        # what does not die out, or has no stable solution, says nothing
        dies_out = np.isfinite(found).all(axis=0) & (np.abs(found[-1]) < 0.01 * np.abs(found).max(axis=0))
        return sure, found[:, dies_out]

    @cached_property
    def computation(self) -> Computation:
        """The pure functions that are compiled here."""
        return Computation(self.setting, self.structure, self.density)

    # -- a solution --------------------------------------------------------------------------------------------
    def parts_at(self, point: Array) -> SteadyParts:
        """Steady state at a point (d,).

        Raises
        ------
        SteadyStateError
        """
        return self._fixed_parts if self._few_dates else self.steady_here.at(self.setting.mapping(point))

    @cached_property
    def steady_here(self) -> SteadySolver:
        """The steady-state solver whose household Jacobians are in the form that a solution works with."""
        coarse, setting = self.structure.coarse, self.setting
        if coarse is None or not setting.moving or setting.model.given is not None:
            return self.steady
        return self.steady.at_dates(coarse)

    @property
    def _few_dates(self) -> bool:
        """Whether household Jacobians are held at few dates of the outputs: those that no parameter moves are."""
        return self.structure.coarse is not None and not self.setting.moving

    def few_dates_fail(self, outcome: RouteOutcome) -> bool:
        """Whether an outcome is none because it was computed at few dates, so that it has to be at more of them."""
        return self.structure.coarse is not None and bool(outcome.winding == 0) and not outcome.regular

    @cached_property
    def _fixed_parts(self) -> SteadyParts:
        found: SteadyParts = jax.jit(self._at_dates)(self.steady.reference_parts)
        return found

    def _at_dates(self, parts: SteadyParts) -> SteadyParts:
        assert self.structure.coarse is not None
        return parts._replace(household=parts.household.at_dates(self.structure.coarse))

    def solved_at(self, point: Array, parts: SteadyParts, with_pullback: bool = False) -> tuple[SteadyParts, Solved]:
        """The factorised equilibrium, and the parts in the form that it is a solution of; kept for points that differ
        in the shocks' own parameters only.

        ``with_pullback``: of a steady state that came with its derivatives, which was compiled apart, and differs by
        rounding.
        """
        key = point[self._beyond_shocks].tobytes() + bytes([with_pullback])
        if key not in self._kept:
            self._kept[key] = parts, self.solve(point, parts)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    @cached_property
    def _beyond_shocks(self) -> NDArray[np.intp]:
        """Positions of the parameters that touch more than the shock processes."""
        table = self.setting.model.parameters
        return np.flatnonzero([table[name].touches != "shocks" for name in self.setting.names])

    def responses_at(self, point: Array) -> Array:
        """Responses of the observables to one-standard-deviation shocks, (T, n_o, n_z)."""
        model, values = self.setting.model, self.parts_at(point).values
        responses = jnp.asarray(self.unknowns_at(point))
        return np.asarray(observe(responses, model.observed_variables, model.unknowns, values))

    def unknowns_at(self, point: Array) -> Array:
        """Responses of all unknowns to one-standard-deviation shocks, (T, n_v, n_z)."""
        parts, solved = self.solved_at(point, self.parts_at(point))
        if self.computation.recursive:
            return np.asarray(self._followed_states(point, parts, solved))
        *_, aside = self.at_once(point, parts, solved)
        found = np.asarray(aside.responses)
        if self.structure.coarse is not None and int(solved.winding) == 0 and not np.isfinite(found).all():
            return self.at_more_dates.unknowns_at(point)
        return found

    # -- compiled functions ------------------------------------------------------------------------------------
    @cached_property
    def solve(self) -> Any:
        """Linear system, its factors, and the winding number."""
        return jax.jit(self.computation.solution)

    @cached_property
    def at_once(self) -> Any:
        """Outcome and log prior by the cheapest route, and what was seen on the way: all that follows a solution."""

        def at_once(theta: jax.Array, parts: SteadyParts, solved: Solved) -> Any:
            seen, aside = self.look(theta, parts, solved)
            found = self.covariances(seen, CHEAPEST)
            outcome = outcome_of(found, aside, self.density.gauss(theta, found.moments, False), None)
            return outcome, self.density.log_prior(theta), seen, aside

        _ = self.computation  # chosen with numbers, before a compilation puts tracers in their place
        return jax.jit(at_once)

    @cached_property
    def at_once_with_gradient(self) -> Any:
        """The same with the gradient; ``far``: and with derivatives with respect to what moved in the steady state."""

        def at_once(theta: jax.Array, parts: SteadyParts, solved: Solved, far: bool) -> Any:
            seen, aside = self.look(theta, parts, solved)
            found = self.covariances(seen, CHEAPEST)
            gaussian, derivatives = self.density.gauss_with_derivatives(theta, found.moments, False)
            outcome = outcome_of(found, aside, gaussian, None)
            gradient = self.pull(theta, parts, solved, aside, derivatives, CHEAPEST, far)
            return outcome, self.density.log_prior(theta), seen, aside, gradient

        _ = self.computation
        return jax.jit(at_once, static_argnums=3)

    @cached_property
    def look(self) -> Any:
        """What the likelihood reads of a solution."""
        compute = self.computation

        def look(theta: jax.Array, parts: SteadyParts, solved: Solved) -> tuple[Seen, Aside]:
            return compute.see(theta, parts, solved, compute.responses_of(theta, parts, solved))

        return jax.jit(look)

    @cached_property
    def covariances(self) -> Any:
        """Autocovariances of what was seen, by a route."""
        return jax.jit(self.computation.covariances_of, static_argnums=1)

    @cached_property
    def pull(self) -> Any:
        """From derivatives with respect to theta and the moments to those of the whole with respect to theta,
        and to what moved in the steady state if that is asked for (``far``)."""
        compute = self.computation

        def pull(
            theta: jax.Array,
            parts: SteadyParts,
            solved: Solved,
            aside: Aside,
            derivatives: tuple[jax.Array, Moments],
            route: Route,
            far: bool,
        ) -> tuple[jax.Array, Moved | None]:
            def moments(theta: jax.Array, moved: Moved) -> Moments:
                seen, _ = compute.seen_again(theta, parts.with_moved(moved), solved, aside.responses)
                return compute.covariances_of(seen, route).moments

            by_theta, by_moments = derivatives
            if not far:
                _, pullback = jax.vjp(lambda theta: moments(theta, parts.moved), theta)
                return by_theta + pullback(by_moments)[0], None
            through_theta, by_parts = jax.vjp(moments, theta, parts.moved)[1](by_moments)
            return by_theta + through_theta, by_parts

        return jax.jit(pull, static_argnums=(5, 6))

    @cached_property
    def _followed_states(self) -> Any:
        return jax.jit(self.computation.followed_states)

    # -- compiling ahead ---------------------------------------------------------------------------------------
    def prepare(self) -> None:
        """Find out, once, what every evaluation needs: the steady state, how equations are eliminated, which form of
        the household Jacobians works. A pickled copy has all of it."""
        _ = self.structure
        if self.setting.moving:
            _ = self.steady.differentiable, self.steady.guess(self.steady.centre)

    def compile_outlined(self, further: bool) -> None:
        """Compile evaluations from shapes alone, all but the solution, which :meth:`prepare` compiles meanwhile.

        Parameters
        ----------
        further : bool
            What points need whose first route is not good enough, in place of what all of them need.
        """
        theta = jax.ShapeDtypeStruct((len(self.setting.names),), float)
        parts, far = self.steady_here.outline, bool(self.setting.moving) and self.steady.differentiable
        parts = jax.eval_shape(self._at_dates, parts) if self._few_dates else parts
        solved = jax.eval_shape(self.computation.solution, theta, parts)
        if not further:
            self.at_once_with_gradient.lower(theta, parts, solved, far).compile()
            if far:
                self.steady_here.compile_pullback()
                if self.setting.model.blocks:
                    self.at_once_with_gradient.lower(theta, parts, solved, False).compile()
            self.at_once.lower(theta, parts, solved).compile()
        elif not self.computation.recursive:
            route = Route(fitted=True)
            seen, aside = self.look.eval_shape(theta, parts, solved)
            found = self.covariances.eval_shape(seen, route)
            self.covariances.lower(seen, route).compile()
            self.density.gauss.lower(theta, found.moments, False).compile()
            self.density.gauss_with_derivatives.lower(theta, found.moments, False).compile()
            _, derivatives = self.density.gauss_with_derivatives.eval_shape(theta, found.moments, False)
            self.pull.lower(theta, parts, solved, aside, derivatives, route, far).compile()

    def __getstate__(self) -> dict[str, Any]:
        # compiled functions stay behind: who receives this compiles its own, from the cache on disk
        return {**{k: v for k, v in vars(self).items() if k in _TRAVELS}, "_kept": OrderedDict()}
