"""What a posterior computes, as pure functions of parameters and steady states.

:class:`estimhank.posterior.solver.Solver` compiles them; :class:`estimhank.posterior.posterior.Posterior` is what
people and samplers see.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from estimhank.likelihood.autocovariance import autocovariances
from estimhank.likelihood.continuation import (
    OTHER_ORDER,
    TRUNCATED,
    continued_autocovariances,
    fit_continuation,
    leftover,
    windows,
)
from estimhank.likelihood.observation import combine_quarters, observe
from estimhank.likelihood.recursive import STATIONARY, Tail, recursive_autocovariances
from estimhank.model.observed import REACH, mean_of
from estimhank.parameters.parameter_table import Values
from estimhank.posterior.density import Aside, Covariances, GaussianDensity, Moments, outcome_of
from estimhank.posterior.routes import CHEAPEST, Route, RouteOutcome
from estimhank.posterior.setting import Setting
from estimhank.sequence_space.determinacy import winding_number
from estimhank.sequence_space.equilibrium import (
    EquilibriumFactors,
    differentiable_solution,
    factorize_equilibrium,
    respond,
)
from estimhank.sequence_space.linear_system import LinearSystem, linearize
from estimhank.sequence_space.state_space import StateSpace, follow_states, has_state_space, solve_state_space
from estimhank.sequence_space.steady_parts import SteadyParts
from estimhank.sequence_space.structure import Structure

#: Largest error of an equation, as a share of its coefficients, with which a state space is a solution.
_SOLVED = 1e-8


class Solved(NamedTuple):
    """A solution up to the shocks: linear system, its factors (none of a state space), and the winding number."""

    system: LinearSystem
    factors: EquilibriumFactors | None
    winding: jax.Array


class Seen(NamedTuple):
    """What a likelihood reads of a solution; all of it has derivatives.

    Attributes
    ----------
    coefficients : array of shape (T, n_o, n_z)
        Moving-average coefficients of what the data hold. Of a state space: (dates, n_o, m), by the states of date 0.
    roots : array of shape (n_z,)
        The shocks' roots.
    mean : array of shape (n_o,), or None
        Of what the data hold, where the model says it.
    transition, impulse : arrays of shape (m, m) and (m, n_z), or None
        Of a state space.
    """

    coefficients: jax.Array
    roots: jax.Array
    mean: jax.Array | None = None
    transition: jax.Array | None = None
    impulse: jax.Array | None = None


class Computation:
    """The log density of a model's estimated parameters, step by step.

    Parameters
    ----------
    setting : Setting
    structure : Structure
    density : GaussianDensity
        The last step, which no horizon enters.
    count : callable, optional
        Counts winding numbers (:func:`estimhank.sequence_space.determinacy.winding_number`).
    """

    def __init__(
        self, setting: Setting, structure: Structure, density: GaussianDensity, count: Any = winding_number
    ) -> None:
        self.setting, self.structure, self.density, self._count = setting, structure, density, count
        self.model, self.names, self.horizon = setting.model, setting.names, setting.horizon
        self.recursive = has_state_space(structure.elimination)

    def _parameters(self, theta: jax.Array, parts: SteadyParts) -> dict[str, Any]:
        return {**parts.parameters, **{name: theta[i] for i, name in enumerate(self.names)}}

    def _linearized(self, theta: jax.Array, parts: SteadyParts) -> tuple[LinearSystem, jax.Array]:
        """The linear system, and its winding number."""
        system = linearize(self.model, parts.values, self._parameters(theta, parts))
        return system, self._count(self.structure, jax.lax.stop_gradient(system), parts.symbol)

    def processes(self, theta: jax.Array, parts: SteadyParts) -> tuple[jax.Array, jax.Array]:
        """The shocks' standard deviations, in units of the equations, and their roots, (n_z,) each."""
        parameters = self._parameters(theta, parts)
        processes = self.model.innovations
        roots = jnp.stack([jnp.asarray(parameters[s.rho] if s.rho else 0.0, float) for s in processes])
        sizes = [parameters[s.sigma] if isinstance(s.sigma, str) else s.sigma for s in processes]
        return jnp.stack([s.scale * jnp.asarray(x, float) for s, x in zip(processes, sizes, strict=True)]), roots

    def _paths(self, theta: jax.Array, parts: SteadyParts) -> jax.Array:
        """Paths of the shocks after one standard deviation, (T, n_z)."""
        scales, roots = self.processes(theta, parts)
        return scales * roots[None] ** jnp.arange(self.horizon)[:, None]

    def states(self, theta: jax.Array, parts: SteadyParts, solved: Solved) -> tuple[StateSpace, jax.Array, jax.Array]:
        """The state space, the shocks' roots (n_z,), and the winding number."""
        scales, roots = self.processes(theta, parts)
        winding = solved.winding
        space = solve_state_space(solved.system, self.structure.elimination, roots, scales)
        # as many roots as there should be, but not where they should be: of equations that have nothing to do with
        # each other one may have too many, another too few
        winding = jnp.where((winding == 0) & space.indeterminate, -1, winding)
        return space, roots, jnp.where((winding == 0) & space.explosive, 1, winding)

    def followed_states(self, theta: jax.Array, parts: SteadyParts, solved: Solved) -> jax.Array:
        """Responses of all unknowns of a state space, (T, n_v, n_z)."""
        return follow_states(self.states(theta, parts, solved)[0], self.horizon)

    def _observed(self, coefficients: jax.Array) -> jax.Array:
        """Coefficients of what the data hold: of the quarters that a yearly figure speaks of."""
        if not self.setting.weights:
            return coefficients
        return combine_quarters(coefficients, [self.setting.weights.get(n, (1.0,)) for n in self.setting.data.names])

    def mean(self, theta: jax.Array, parts: SteadyParts) -> jax.Array | None:
        """Means of what the data hold, (n_o,), as the model says them; None where it leaves all to the data."""
        observables = self.model.observed_variables
        if all(o.mean == "" for o in observables):
            return None
        p = Values(self._parameters(theta, parts))
        weights = self.setting.weights
        return jnp.stack([sum(weights.get(o.name, (1.0,))) * mean_of(o, p, parts.values) for o in observables])

    def solution(self, theta: jax.Array, parts: SteadyParts) -> Solved:
        """The linear system, factorised."""
        system, winding = self._linearized(theta, parts)
        if self.recursive:
            return Solved(system, None, winding)
        return Solved(system, factorize_equilibrium(self.structure, system, parts.household), winding)

    def see(
        self, theta: jax.Array, parts: SteadyParts, solved: Solved, responses: jax.Array | None
    ) -> tuple[Seen, Aside]:
        """What the likelihood reads, given responses of the unknowns, or a linear system that is a state space."""
        if self.recursive:
            space, roots, winding = self.states(theta, parts, solved)
            step = lambda power, _: (space.transition @ power, space.output @ power)  # noqa: E731
            by_state = jax.lax.scan(step, jnp.eye(len(space.transition)), None, length=self._reach + 1)[1]
            by_state = observe(by_state, self.model.observed_variables, self.model.unknowns, parts.values)
            seen = Seen(self._observed(by_state), roots, self.mean(theta, parts), space.transition, space.impulse)
            return seen, Aside(winding, space.error < _SOLVED, None)
        assert responses is not None
        _, roots = self.processes(theta, parts)
        coefficients = observe(responses, self.model.observed_variables, self.model.unknowns, parts.values)
        coefficients = self._observed(coefficients)
        return Seen(coefficients, roots, self.mean(theta, parts)), Aside(
            solved.winding, jnp.isfinite(coefficients).all(), responses
        )

    def responses_of(self, theta: jax.Array, parts: SteadyParts, solved: Solved) -> jax.Array | None:
        """Responses of all unknowns, (T, n_v, n_z); none of a state space."""
        if solved.factors is None:
            return None
        paths = self._paths(theta, parts)
        return respond(self.structure, solved.system, parts.household, solved.factors, paths)

    @property
    def _reach(self) -> int:
        """The last date whose growth rates, and yearly figures, reach back before date 0."""
        lags = max(REACH[o.kind] for o in self.model.observed_variables)
        return max(lags, 1) + max((len(w) for w in self.setting.weights.values()), default=1)

    def log_likelihood(self, theta: jax.Array, parts: SteadyParts) -> RouteOutcome:
        """All steps by the cheapest route as one function, differentiable in both arguments: for many points in one
        call."""
        still = jax.lax.stop_gradient((theta, parts))
        solved = self.solution(*still)
        seen, aside = self.seen_again(theta, parts, solved, self.responses_of(*still, solved))
        found = self.covariances_of(seen, CHEAPEST)
        return outcome_of(found, aside, self.density.gaussian(theta, found.moments, False), None)

    def seen_again(
        self, theta: jax.Array, parts: SteadyParts, solved: Solved, responses: jax.Array | None
    ) -> tuple[Seen, Aside]:
        """As :meth:`see`, differentiable through the equations that the solution solves: for gradients."""
        system = linearize(self.model, parts.values, self._parameters(theta, parts))
        if responses is not None:
            assert solved.factors is not None
            responses = differentiable_solution(
                self.structure, system, parts.household, self._paths(theta, parts), solved.factors, responses
            )
        return self.see(theta, parts, solved._replace(system=system), responses)

    def covariances_of(self, seen: Seen, route: Route) -> Covariances:
        """Autocovariances of what was seen, by one route."""
        lags = len(self.setting.data.values)
        coefficients, roots = seen.coefficients, seen.roots
        # an explosive shock has no stationary distribution, whatever the closed form for its tail may say
        tame, none = (jnp.abs(roots) < 1).all(), jnp.zeros(())
        start, shift, width = windows(self.horizon, self.setting.tail_start)
        if seen.transition is not None:
            assert seen.impulse is not None
            tail = Tail(coefficients[self._reach], seen.transition, seen.impulse)
            gamma, share = recursive_autocovariances(coefficients[: self._reach] @ seen.impulse, tail, lags)
            return Covariances(Moments(gamma, seen.mean), None, tame & (share <= STATIONARY), none)
        given, rho = jax.lax.stop_gradient((coefficients, roots))
        if not route.fitted:
            gamma = autocovariances(coefficients, roots, lags, start)
            return Covariances(Moments(gamma, seen.mean), None, tame, leftover(given, rho, start))
        tails = fit_continuation(coefficients, roots, start, (start, width))
        gamma = continued_autocovariances(coefficients[:start], tails, lags)
        other = fit_continuation(given, rho, start + shift, (start + shift, width), OTHER_ORDER)
        again = continued_autocovariances(given[: start + shift], other, lags)
        # what grows towards the last date is an error at all dates before it, the same to both fits
        error = jnp.where(tails.dies_out & other.dies_out, TRUNCATED * tails.removed, jnp.inf)
        mean, still = seen.mean, jax.lax.stop_gradient(seen.mean)
        return Covariances(Moments(gamma, mean), Moments(again, still), tame & ~tails.unit_root, error)
