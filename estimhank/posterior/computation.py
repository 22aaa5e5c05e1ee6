"""What a posterior computes, as pure functions of parameters and steady states.

:mod:`estimhank.posterior.compiled` compiles them; :class:`estimhank.posterior.posterior.Posterior` is what people and
samplers see.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from estimhank.data.dataset import Dataset
from estimhank.likelihood.autocovariance import autocovariances
from estimhank.likelihood.continuation import (
    OTHER_ORDER,
    TRUNCATED,
    continued_autocovariances,
    fit_continuation,
    leftover,
    windows,
)
from estimhank.likelihood.incomplete import gaussian_log_likelihood
from estimhank.likelihood.observation import combine_quarters, observe
from estimhank.likelihood.recursive import STATIONARY, Tail, recursive_autocovariances
from estimhank.model.declaration import Model
from estimhank.model.measurement_error import error_parameters, error_variances
from estimhank.parameters.priors import Prior
from estimhank.posterior.routes import CHEAPEST, Route, RouteOutcome
from estimhank.sequence_space.determinacy import winding_number
from estimhank.sequence_space.equilibrium import (
    EquilibriumFactors,
    differentiable_solution,
    factorize_equilibrium,
    respond,
)
from estimhank.sequence_space.last_dates import find_late_variables
from estimhank.sequence_space.linear_system import LinearSystem, linearize
from estimhank.sequence_space.solution import model_structure
from estimhank.sequence_space.state_space import StateSpace, follow_states, has_state_space, solve_state_space
from estimhank.sequence_space.steady_parts import SteadyParts
from estimhank.sequence_space.steady_solver import SteadySolver

Array = NDArray[np.float64]

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
    transition, impulse : arrays of shape (m, m) and (m, n_z), or None
        Of a state space.
    """

    coefficients: jax.Array
    roots: jax.Array
    transition: jax.Array | None = None
    impulse: jax.Array | None = None


class Covariances(NamedTuple):
    """Autocovariances (n, n_o, n_o) of what the data hold, by a route, and what there is to say of them.

    ``again``: by another fit of the same route, to be compared with, or None; ``stationary``: nothing observed loads on
    a unit root; ``error``: in log points of a log likelihood of up to a thousand, of what cannot be compared.
    """

    gamma: jax.Array
    again: jax.Array | None
    stationary: jax.Array
    error: jax.Array


class Aside(NamedTuple):
    """What only checks and gradients read of a solution: winding number, whether it solves the equations, and the
    responses of all unknowns (T, n_v, n_z), none of a state space."""

    winding: jax.Array
    sound: jax.Array
    responses: jax.Array | None


class Computation:
    """The log density of a model's estimated parameters, step by step.

    Attributes
    ----------
    model : Model
    data : Dataset
    horizon, tail_start : int
    priors : dict of str to Prior
        Of the estimated parameters.
    """

    model: Model
    data: Dataset
    horizon: int
    tail_start: int
    priors: dict[str, Prior]
    _names: tuple[str, ...]
    _weights: dict[str, tuple[float, ...]]

    @cached_property
    def _moving(self) -> tuple[str, ...]:
        return tuple(n for n in self._names if self.model.parameters[n].touches == "steady_state")

    @cached_property
    def _steady(self) -> SteadySolver:
        spread = {n: self.priors[n].sd for n in self._moving}
        spread = {n: sd if np.isfinite(sd) and sd > 0 else 0.1 for n, sd in spread.items()}
        return SteadySolver(self.model, spread, self.horizon)

    @cached_property
    def _structure(self) -> Any:
        structure = model_structure(self.model, self._steady.reference, self.priors)
        parts = self._steady.reference_parts
        reference = {name: self.model.parameters[name].value for name in self._names}
        system = jax.jit(lambda p: linearize(self.model, parts.values, p))({**parts.parameters, **reference})
        return find_late_variables(structure, system, parts.household, self.model.unknowns)

    @property
    def steady_state_parameters(self) -> tuple[str, ...]:
        """Parameters that move households' steady state: partial gradients leave them out."""
        return self._moving if self.model.household is not None else ()

    def _without_steady_state(self, gradient: ArrayLike) -> Array:
        """A whole gradient, shape (d,), as a partial one."""
        return np.where(np.isin(self._names, self.steady_state_parameters), np.nan, gradient)

    def mapping(self, point: Array) -> dict[str, float]:
        """Parameters of a point (d,) by name."""
        return dict(zip(self._names, point.tolist(), strict=True))

    @cached_property
    def _log_prior(self) -> Any:
        priors = [self.priors[name] for name in self._names]

        def log_prior(theta: jax.Array) -> jax.Array:
            return jnp.stack([prior.logpdf(theta[i]) for i, prior in enumerate(priors)]).sum()

        return jax.jit(log_prior)

    def _prepare(self) -> None:
        """Choose the elimination with numbers, before a compilation puts tracers in their place."""
        _ = self._structure

    def _parameters(self, theta: jax.Array, parts: SteadyParts) -> dict[str, Any]:
        return {**parts.parameters, **{name: theta[i] for i, name in enumerate(self._names)}}

    def _own_parameters(self, theta: jax.Array) -> dict[str, Any]:
        """The table's parameters and the estimated ones, none that a steady state adds."""
        return {**self.model.parameters.values_with({}).as_dict(), **{n: theta[i] for i, n in enumerate(self._names)}}

    def _linearized(self, theta: jax.Array, parts: SteadyParts) -> tuple[LinearSystem, jax.Array]:
        """The linear system, and its winding number."""
        system = linearize(self.model, parts.values, self._parameters(theta, parts))
        return system, winding_number(self._structure, jax.lax.stop_gradient(system), parts.symbol)

    @cached_property
    def _recursive(self) -> bool:
        """Whether the solution is a state space: that of a model without households, over the infinite horizon."""
        return has_state_space(self._structure.elimination)

    def _processes(self, theta: jax.Array, parts: SteadyParts) -> tuple[jax.Array, jax.Array]:
        """The shocks' standard deviations, in units of the equations, and their roots, (n_z,) each."""
        parameters = self._parameters(theta, parts)
        roots = jnp.stack([jnp.asarray(parameters[s.rho], float) for s in self.model.shocks])
        return jnp.stack([s.scale * jnp.asarray(parameters[s.sigma], float) for s in self.model.shocks]), roots

    def _paths(self, theta: jax.Array, parts: SteadyParts) -> jax.Array:
        """Paths of the shocks after one standard deviation, (T, n_z)."""
        scales, roots = self._processes(theta, parts)
        return scales * roots[None] ** jnp.arange(self.horizon)[:, None]

    def _states(self, theta: jax.Array, parts: SteadyParts, solved: Solved) -> tuple[StateSpace, jax.Array, jax.Array]:
        """The state space, the shocks' roots (n_z,), and the winding number."""
        scales, roots = self._processes(theta, parts)
        winding = solved.winding
        space = solve_state_space(solved.system, self._structure.elimination, roots, scales)
        # as many roots as there should be, but not where they should be: of equations that have nothing to do with
        # each other one may have too many, another too few
        winding = jnp.where((winding == 0) & space.indeterminate, -1, winding)
        return space, roots, jnp.where((winding == 0) & space.explosive, 1, winding)

    def _coefficients(self, theta: jax.Array, parts: SteadyParts) -> jax.Array:
        """Moving-average coefficients of the observables, (T, n_o, n_z)."""
        solved = self._solution(theta, parts)
        responses = self._responses_of(theta, parts, solved)
        if responses is None:
            responses = follow_states(self._states(theta, parts, solved)[0], self.horizon)
        return observe(responses, self.model.observables, self.model.unknowns, parts.values)

    def _observed(self, coefficients: jax.Array) -> jax.Array:
        """Coefficients of what the data hold: of the quarters that a yearly figure speaks of."""
        if not self._weights:
            return coefficients
        return combine_quarters(coefficients, [self._weights.get(n, (1.0,)) for n in self.data.names])

    def _solution(self, theta: jax.Array, parts: SteadyParts) -> Solved:
        system, winding = self._linearized(theta, parts)
        if self._recursive:
            return Solved(system, None, winding)
        return Solved(system, factorize_equilibrium(self._structure, system, parts.household), winding)

    def _see(
        self, theta: jax.Array, parts: SteadyParts, solved: Solved, responses: jax.Array | None
    ) -> tuple[Seen, Aside]:
        """What the likelihood reads, given responses of the unknowns, or a linear system that is a state space."""
        if self._recursive:
            space, roots, winding = self._states(theta, parts, solved)
            step = lambda power, _: (space.transition @ power, space.output @ power)  # noqa: E731
            by_state = jax.lax.scan(step, jnp.eye(len(space.transition)), None, length=self._reach + 1)[1]
            by_state = self._observed(observe(by_state, self.model.observables, self.model.unknowns, parts.values))
            return Seen(by_state, roots, space.transition, space.impulse), Aside(winding, space.error < _SOLVED, None)
        assert responses is not None
        _, roots = self._processes(theta, parts)
        coefficients = observe(responses, self.model.observables, self.model.unknowns, parts.values)
        coefficients = self._observed(coefficients)
        return Seen(coefficients, roots), Aside(solved.winding, jnp.isfinite(coefficients).all(), responses)

    def _responses_of(self, theta: jax.Array, parts: SteadyParts, solved: Solved) -> jax.Array | None:
        """Responses of all unknowns, (T, n_v, n_z); none of a state space."""
        if solved.factors is None:
            return None
        paths = self._paths(theta, parts)
        return respond(self._structure, solved.system, parts.household, solved.factors, paths)

    @property
    def _reach(self) -> int:
        """The last date whose growth rates, and yearly figures, reach back before date 0."""
        return 1 + max((len(w) for w in self._weights.values()), default=1)

    def _log_likelihood(self, theta: jax.Array, parts: SteadyParts) -> RouteOutcome:
        """All steps by the cheapest route as one function, differentiable in both arguments: for many points in one
        call."""
        still = jax.lax.stop_gradient((theta, parts))
        solved = self._solution(*still)
        seen, aside = self._seen_again(theta, parts, solved, self._responses_of(*still, solved))
        found = self._covariances_of(seen, CHEAPEST)
        return self._outcome_of(found, aside, self._gaussian(theta, found.gamma, False), None)

    def _seen_again(
        self, theta: jax.Array, parts: SteadyParts, solved: Solved, responses: jax.Array | None
    ) -> tuple[Seen, Aside]:
        """As :meth:`_see`, differentiable through the equations that the solution solves: for gradients."""
        system = linearize(self.model, parts.values, self._parameters(theta, parts))
        if responses is not None:
            assert solved.factors is not None
            responses = differentiable_solution(
                self._structure, system, parts.household, self._paths(theta, parts), solved.factors, responses
            )
        return self._see(theta, parts, solved._replace(system=system), responses)

    def _covariances_of(self, seen: Seen, route: Route) -> Covariances:
        """Autocovariances of what was seen, by one route."""
        lags = len(self.data.values)
        coefficients, roots = seen.coefficients, seen.roots
        # an explosive shock has no stationary distribution, whatever the closed form for its tail may say
        tame, none = (jnp.abs(roots) < 1).all(), jnp.zeros(())
        start, shift, width = windows(self.horizon, self.tail_start)
        if seen.transition is not None:
            assert seen.impulse is not None
            tail = Tail(coefficients[self._reach], seen.transition, seen.impulse)
            gamma, share = recursive_autocovariances(coefficients[: self._reach] @ seen.impulse, tail, lags)
            return Covariances(gamma, None, tame & (share <= STATIONARY), none)
        given, rho = jax.lax.stop_gradient((coefficients, roots))
        if not route.fitted:
            gamma = autocovariances(coefficients, roots, lags, start)
            return Covariances(gamma, None, tame, leftover(given, rho, start))
        tails = fit_continuation(coefficients, roots, start, (start, width))
        gamma = continued_autocovariances(coefficients[:start], tails, lags)
        other = fit_continuation(given, rho, start + shift, (start + shift, width), OTHER_ORDER)
        again = continued_autocovariances(given[: start + shift], other, lags)
        # what grows towards the last date is an error at all dates before it, the same to both fits
        error = jnp.where(tails.dies_out & other.dies_out, TRUNCATED * tails.removed, jnp.inf)
        return Covariances(gamma, again, tame & ~tails.unit_root, error)

    @staticmethod
    def _outcome_of(
        found: Covariances, aside: Aside, gaussian: tuple[jax.Array, jax.Array], again: jax.Array | None
    ) -> RouteOutcome:
        """Outcome of a log likelihood and its rounding error; ``again``: that of the other fit."""
        (value, rounding), error = gaussian, found.error
        if again is not None:
            still = jax.lax.stop_gradient(value)
            error = jnp.abs(again - still) + error * jnp.maximum(1.0, jnp.abs(still) / 1e3)
        regular = jnp.isfinite(found.gamma).all() & aside.sound
        value = jnp.where(regular & found.stationary, value, jnp.nan)
        return RouteOutcome(value, aside.winding, regular, found.stationary, error, rounding)

    def _gaussian(self, theta: jax.Array, gamma: jax.Array, dense: bool) -> tuple[jax.Array, jax.Array]:
        """Log likelihood of autocovariances, measurement errors added, and its error by rounding."""
        if error_parameters(self.model):
            gamma = gamma.at[0].add(jnp.diag(error_variances(self.model, self._own_parameters(theta))))
        return gaussian_log_likelihood(gamma, np.asarray(self.data.values, float), dense)
