"""What a posterior computes: compiled functions of parameters and steady states, and what is kept between calls.

:class:`estimhank.posterior.Posterior` is the part that people and samplers see.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

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
from estimhank.model.parameters import ModelError
from estimhank.model.priors import Prior
from estimhank.sequence_space.determinacy import winding_number
from estimhank.sequence_space.equilibrium import (
    EquilibriumFactors,
    factorize_equilibrium,
    respond,
    solve_equilibrium,
)
from estimhank.sequence_space.last_dates import find_late_variables
from estimhank.sequence_space.linear_system import LinearSystem, linearize
from estimhank.sequence_space.solution import model_structure
from estimhank.sequence_space.state_space import StateSpace, follow_states, has_state_space, solve_state_space
from estimhank.sequence_space.steady_solver import SteadyParts, SteadySolver

Array = NDArray[np.float64]

_KEPT = 4  # factorised equilibria, for proposals that move the shocks' own parameters only


#: Largest error of an equation, as a share of its coefficients, with which a state space is a solution.
_SOLVED = 1e-8


class Solved(NamedTuple):
    """A solution up to the shocks: linear system, its factors (none of a state space), and the winding number."""

    system: LinearSystem
    factors: EquilibriumFactors | None
    winding: jax.Array


class Route(NamedTuple):
    """How a value is computed. The first route is the cheapest, and each says whether it was enough.

    ``plain``: with the household Jacobians as they are; ``fitted``: responses beyond t* go on at all of their slow
    roots (:mod:`estimhank.likelihood.continuation`), not at the shocks' alone; ``dense``: missing values by a dense
    factorisation.
    """

    plain: bool = False
    fitted: bool = False
    dense: bool = False


#: The first route.
CHEAPEST = Route()


class Outcome(NamedTuple):
    """A log likelihood, and what there is to say of it.

    ``regular``: the autocovariances are finite; ``stationary``: nothing observed loads on a unit root; ``tail_error``:
    estimated error, in log points, of what follows the truncated solution; ``rounding``: of the arithmetic.
    """

    log_likelihood: Any
    winding: Any
    regular: Any
    stationary: Any
    tail_error: Any
    rounding: Any


class Computation:
    """The log density of a model's estimated parameters as compiled functions.

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
    _kept: OrderedDict[bytes, Solved]

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

    def _parts_at(self, point: Array) -> SteadyParts:
        parts = self._steady.at(dict(zip(self._names, point.tolist(), strict=True)))
        return parts if parts.household.toeplitz is None or self._form_works else parts.plain()

    @cached_property
    def _form_works(self) -> bool:
        """Whether the household Jacobians' second form is worth trying: it passes its checks at the reference values.

        It does not where the equations have a unit root, say; elsewhere a failure is rare, and noticed.
        """
        parts = self._steady.reference_parts
        if parts.household.toeplitz is None:
            return False
        point = np.array([self.model.parameters[name].value for name in self._names], float)
        dense = self._solve(point, parts).factors.dense
        return bool(jax.tree.all(jax.tree.map(lambda factor: bool(np.isfinite(factor).all()), dense)))

    def _with_steady_gradient(self, point: Array, route: Route) -> tuple[tuple[Outcome, Any], Any]:
        """Value and gradient where parameters move the steady state, in one pass over everything."""
        if not self._steady.differentiable:
            raise ModelError(
                f"no gradients: {', '.join(self._moving)} move the steady state, and the model's steady_state or "
                "household_target uses numbers where JAX needs arrays (write jnp.log for math.log, jnp.where for if)"
            )
        moved = {name: float(point[self._names.index(name)]) for name in self._moving}
        (_, (out, checks)), slope = self._with_gradient_through(point, self._steady.guess(moved), route)
        if not bool(checks.search.converged):
            (_, (out, checks)), slope = self._with_gradient_through(point, self._steady.robust_point(moved), route)
        self._steady.verify(checks, moved)
        return out, slope

    def outline(self) -> None:
        """Find out how equations are eliminated, for :meth:`compile_outlined`."""
        self._prepare()

    def compile_outlined(self) -> None:
        """Compile the gradient from shapes alone, where the steady state stays: it takes as long as all that
        :meth:`prepare` compiles."""
        if not self._moving:
            point = jax.ShapeDtypeStruct((len(self._names),), float)
            self._with_gradient.lower(point, self._steady.outline).compile()

    def prepare(self) -> None:
        """Find out, once, what every evaluation needs: the steady state, how equations are eliminated, which form of
        the household Jacobians works. A pickled copy has all of it."""
        _ = self._form_works, self._structure
        if self._moving:
            _ = self._steady.differentiable, self._steady.guess(self._steady.centre)

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

    def _shocks(self, theta: jax.Array, parts: SteadyParts) -> tuple[jax.Array, jax.Array]:
        """Paths of the shocks after one standard deviation, (T, n_z), and their roots, (n_z,)."""
        scales, roots = self._processes(theta, parts)
        return scales * roots[None] ** jnp.arange(self.horizon)[:, None], roots

    def _states(
        self, theta: jax.Array, parts: SteadyParts, solved: Solved | None = None
    ) -> tuple[StateSpace, jax.Array, jax.Array]:
        """The state space, the shocks' roots (n_z,), and the winding number."""
        scales, roots = self._processes(theta, parts)
        system, winding = self._linearized(theta, parts) if solved is None else (solved.system, solved.winding)
        space = solve_state_space(system, self._structure.elimination, roots, scales)
        # as many roots as there should be, but not where they should be: of equations that have nothing to do with
        # each other one may have too many, another too few
        winding = jnp.where((winding == 0) & space.indeterminate, -1, winding)
        return space, roots, jnp.where((winding == 0) & space.explosive, 1, winding)

    def _coefficients(
        self, theta: jax.Array, parts: SteadyParts, solved: Solved | None = None
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Moving-average coefficients (T, n_o, n_z), the shocks' roots (n_z,), and the winding number."""
        if self._recursive:
            space, roots, winding = self._states(theta, parts, solved)
            responses = follow_states(space, self.horizon)
        elif solved is None:
            paths, roots = self._shocks(theta, parts)
            system, winding = self._linearized(theta, parts)
            responses = solve_equilibrium(self._structure, system, parts.household, paths)
        else:
            assert solved.factors is not None  # there is no state space
            paths, roots = self._shocks(theta, parts)
            winding = solved.winding
            responses = respond(self._structure, solved.system, parts.household, solved.factors, paths)
        return observe(responses, self.model.observables, self.model.unknowns, parts.values), roots, winding

    def _observed(self, coefficients: jax.Array) -> jax.Array:
        """Coefficients of what the data hold: of the quarters that a yearly figure speaks of."""
        if not self._weights:
            return coefficients
        return combine_quarters(coefficients, [self._weights.get(n, (1.0,)) for n in self.data.names])

    def _log_likelihood(
        self, theta: jax.Array, parts: SteadyParts, solved: Solved | None = None, route: Route = CHEAPEST
    ) -> Outcome:
        values = np.asarray(self.data.values, float)
        lags = len(values)
        stationary, tail_error = jnp.asarray(True), jnp.zeros(())
        if self._recursive:
            space, roots, winding = self._states(theta, parts, solved)
            # the last date whose growth rates, and yearly figures, reach back before date 0
            reach = 1 + max((len(w) for w in self._weights.values()), default=1)
            step = lambda power, _: (space.transition @ power, space.output @ power)  # noqa: E731
            by_state = jax.lax.scan(step, jnp.eye(len(space.transition)), None, length=reach + 1)[1]
            by_state = self._observed(observe(by_state, self.model.observables, self.model.unknowns, parts.values))
            tail = Tail(by_state[reach], space.transition, space.impulse)
            gamma, share = recursive_autocovariances(by_state[:reach] @ space.impulse, tail, lags)
            stationary = share <= STATIONARY
            sound = space.error < _SOLVED
        else:
            coefficients, roots, winding = self._coefficients(theta, parts, solved)
            coefficients = self._observed(coefficients)
            sound = jnp.isfinite(coefficients).all()
            start, shift, width = windows(self.horizon, self.tail_start)
            if route.fitted:
                tails = fit_continuation(coefficients, roots, start, (start, width))
                gamma = continued_autocovariances(coefficients[:start], tails, lags)
                stationary = ~tails.unit_root
            else:
                gamma = autocovariances(coefficients, roots, lags, start)
                tail_error = leftover(jax.lax.stop_gradient(coefficients), roots, start)
        value, rounding = self._gaussian(theta, parts, gamma, route.dense)
        if route.fitted and not self._recursive:
            given, rho = jax.lax.stop_gradient((coefficients, roots))
            other = fit_continuation(given, rho, start + shift, (start + shift, width), OTHER_ORDER)
            again = continued_autocovariances(given[: start + shift], other, lags)
            still = jax.lax.stop_gradient((theta, parts))
            tail_error = jnp.abs(self._gaussian(*still, again, route.dense)[0] - jax.lax.stop_gradient(value))
            # what grows towards the last date is an error at all dates before it, the same to both fits
            size = jnp.maximum(1.0, jnp.abs(jax.lax.stop_gradient(value)) / 1e3)
            tail_error = tail_error + TRUNCATED * tails.removed * size
            tail_error = jnp.where(tails.dies_out & other.dies_out, tail_error, jnp.inf)
        # an explosive shock has no stationary distribution, whatever the closed form for its tail may say
        stationary = stationary & (jnp.abs(roots) < 1).all()
        regular = jnp.isfinite(gamma).all() & sound
        value = jnp.where(regular & stationary, value, jnp.nan)
        return Outcome(value, winding, regular, stationary, tail_error, rounding)

    def _gaussian(
        self, theta: jax.Array, parts: SteadyParts, gamma: jax.Array, dense: bool
    ) -> tuple[jax.Array, jax.Array]:
        """Log likelihood of autocovariances, measurement errors added, and its error by rounding."""
        if error_parameters(self.model):
            gamma = gamma.at[0].add(jnp.diag(error_variances(self.model, self._parameters(theta, parts))))
        return gaussian_log_likelihood(gamma, np.asarray(self.data.values, float), dense)

    @cached_property
    def _value(self) -> Any:
        self._prepare()

        def value(theta: jax.Array, parts: SteadyParts, solved: Solved, route: Route) -> tuple[Outcome, jax.Array]:
            return self._log_likelihood(theta, parts, solved, route), self._log_prior(theta)

        return jax.jit(value, static_argnums=3)

    @cached_property
    def _solve(self) -> Any:
        self._prepare()

        def solve(theta: jax.Array, parts: SteadyParts) -> Solved:
            system, winding = self._linearized(theta, parts)
            if self._recursive:
                return Solved(system, None, winding)
            return Solved(system, factorize_equilibrium(self._structure, system, parts.household), winding)

        return jax.jit(solve)

    def _solved_at(self, point: Array, parts: SteadyParts) -> Solved:
        """The factorised equilibrium; kept for points that differ in the shocks' own parameters only."""
        plain = parts.household.toeplitz is None
        key = point[self._beyond_shocks].tobytes() + bytes([plain])
        if key not in self._kept:
            self._kept[key] = self._solve(point, parts)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    @cached_property
    def _beyond_shocks(self) -> NDArray[np.intp]:
        """Positions of the parameters that touch more than the shock processes."""
        return np.flatnonzero([self.model.parameters[name].touches != "shocks" for name in self._names])

    @cached_property
    def _with_gradient(self) -> Any:
        self._prepare()

        def density(theta: jax.Array, parts: SteadyParts, route: Route) -> tuple[jax.Array, Any]:
            outcome, log_prior = self._log_likelihood(theta, parts, None, route), self._log_prior(theta)
            return outcome.log_likelihood + log_prior, (outcome, log_prior)

        return jax.jit(jax.value_and_grad(density, has_aux=True), static_argnums=2)

    @cached_property
    def _with_gradient_through(self) -> Any:
        self._prepare()
        places = {name: self._names.index(name) for name in self._moving}
        form_works = self._form_works

        def density(theta: jax.Array, start: Any, route: Route) -> tuple[jax.Array, Any]:
            parts, checks = self._steady.compute({name: theta[i] for name, i in places.items()}, start)
            parts = parts.plain() if route.plain or not form_works else parts
            outcome, log_prior = self._log_likelihood(theta, parts, None, route), self._log_prior(theta)
            return outcome.log_likelihood + log_prior, ((outcome, log_prior), checks)

        return jax.jit(jax.value_and_grad(density, has_aux=True), static_argnums=2)

    @cached_property
    def _responses(self) -> Any:
        self._prepare()
        return jax.jit(lambda theta, parts: self._coefficients(theta, parts)[0])
