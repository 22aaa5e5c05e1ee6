"""The household's stationary problem and the parameter that hits its target, solved together by Newton's method.

Unknowns are the log marginal value v of assets, the distribution D and one parameter u::

    v = V(v, u, q),      D = P(v, u, q)' D,      A(v, u, D, q) = target

with q the inputs and the other parameters. One Newton step needs (I - V_v)^{-1} for two right-hand sides, the
distribution that belongs to the policy, and the expected sum of future outputs x = A + P x, which
gives the derivative of the aggregate with respect to the policies through the distribution. All are fixed points of
linear maps that cost a tenth of a backward step, and all but the first are carried from one step to the next, so that
a solution near a known one takes four to six steps.

Far from a solution a Newton step may lead to a marginal value that does not fall in assets, from where further steps
lead nowhere. A step that leaves a far larger residual than there was is taken back: the unknown goes half as far, and
ordinary backward steps, which contract, lead the marginal value towards the one that belongs to it.

The same linear maps, transposed, give the derivative of the solution (implicit function theorem).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from estimhank.households.one_asset import Grids, HouseholdBlock, Policies
from estimhank.households.stationary import HouseholdSteadyState
from estimhank.households.transition import Transition
from estimhank.parameters.parameter_table import Values

#: Newton steps after which the search is given up; the largest step, residual and change of mass of a solution.
STEP_LIMIT, STEP_TOLERANCE, RESIDUAL_TOLERANCE, MASS_TOLERANCE = 40, 1e-10, 1e-12, 1e-14
_INNER_TOLERANCE, _INNER_LIMIT, _CHUNK = 2e-3, 60, 8
_ADJOINT_TOLERANCE, _ADJOINT_LIMIT = 1e-12, 500
_SQUARINGS = 60  # of a transition matrix: 10^18 dates
_FURTHEST = 1.5  # largest change of the log marginal value in one step
#: A residual larger than the one before by the first factor, and than the second, tells that a step has led astray;
#: ordinary backward steps from where it began.
_ASTRAY, _LARGE, _BACKWARD = 2.0, 0.5, 60


@dataclass(frozen=True)
class StationaryProblem:
    """What is solved: a household block, the output that is targeted, and the parameter that is moved to hit it.

    ``unknown`` None solves at given parameters.
    """

    block: HouseholdBlock
    output: str
    unknown: str | None


class Given(NamedTuple):
    """What the solution depends on: constant inputs, the parameters that the block reads, the targeted value."""

    inputs: dict[str, jax.Array]
    parameters: dict[str, jax.Array]
    value: jax.Array


class StationaryPoint(NamedTuple):
    """A solution: log marginal value and distribution, each (n_e, n_a), and the unknown (0 where there is none)."""

    log_value: Any
    distribution: Any
    unknown: Any


class Search(NamedTuple):
    """How a search went: Newton steps, the residuals of the last point, and whether it is a solution."""

    steps: jax.Array
    policy_residual: jax.Array
    mass_residual: jax.Array
    gap: jax.Array
    converged: jax.Array


def parameters_at(problem: StationaryProblem, unknown: jax.Array, given: Given) -> Values:
    """The block's parameters with the unknown in its place."""
    moved = {problem.unknown: unknown} if problem.unknown is not None else {}
    return Values({**given.parameters, **moved})


def _behaviour(
    problem: StationaryProblem, log_value: jax.Array, unknown: jax.Array, given: Given
) -> tuple[Grids, Policies]:
    p = parameters_at(problem, unknown, given)
    grids = problem.block.grids(p)
    return grids, problem.block.backward(jnp.exp(log_value), given.inputs, grids, p)


def _maps(
    problem: StationaryProblem, log_value: jax.Array, unknown: jax.Array, distribution: jax.Array, given: Given
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The right-hand sides of the three conditions."""
    grids, policies = _behaviour(problem, log_value, unknown, given)
    moved = problem.block.transition(grids, policies).forward(distribution)
    moved = with_marginal(moved, marginal_of(grids))
    return jnp.log(policies.marginal_value), moved, jnp.vdot(distribution, policies.outputs[problem.output])


def with_marginal(distribution: jax.Array, marginal: jax.Array) -> jax.Array:
    """A distribution over productivity and assets, (n_e, n_a), with another marginal over productivity."""
    return shares_of(distribution) * _along_assets(marginal, distribution)


def shares_of(distribution: jax.Array) -> jax.Array:
    """The distribution over assets of each productivity."""
    mass = distribution.sum(axis=range(1, distribution.ndim))
    return distribution / _along_assets(jnp.where(mass > 0, mass, 1.0), distribution)


def _along_assets(by_productivity: jax.Array, distribution: jax.Array) -> jax.Array:
    return by_productivity.reshape(-1, *(1 for _ in distribution.shape[1:]))


def marginal_of(grids: Grids) -> jax.Array:
    """The stationary distribution of productivity, (n_e,), with its derivative in the transition matrix.

    A chain that falls into several closed classes (types of households) has many: the masses of the classes are those
    of ``grids.stationary``. With P the limit of the transition matrix T over many dates::

        d pi = pi dT (I - T + P)^{-1} (I - P) + d stationary P

    where the second term is zero unless there are several classes and their masses move.
    """
    chain = jax.lax.stop_gradient(grids.transition)
    eye = jnp.eye(chain.shape[0])
    # every other date may stand still: the limit is the same, and there is one where the chain goes round in circles
    limit = jax.lax.fori_loop(0, _SQUARINGS, lambda _, p: _rows_to_one(p @ p), (chain + eye) / 2)
    later = jnp.linalg.solve(eye - chain + limit, eye - limit)
    known = jax.lax.stop_gradient(grids.stationary)
    moved = known @ (grids.transition - chain) @ later
    found: jax.Array = known + moved + (grids.stationary - known) @ limit
    return found


def _rows_to_one(matrix: jax.Array) -> jax.Array:
    return matrix / matrix.sum(axis=1, keepdims=True)


class _State(NamedTuple):
    """Where a search is; ``before`` is where the last step began: log marginal value, unknown and distribution."""

    log_value: jax.Array
    unknown: jax.Array
    distribution: jax.Array
    future: jax.Array
    derivative: jax.Array
    search: Search
    before: tuple[jax.Array, jax.Array, jax.Array]


class _Inner(NamedTuple):
    correction: jax.Array
    derivative: jax.Array
    distribution: jax.Array
    future: jax.Array


def _largest(x: jax.Array) -> jax.Array:
    return jnp.max(jnp.abs(x))


def _newton_step(
    problem: StationaryProblem, given: Given, bounds: tuple[jax.Array, jax.Array], state: _State
) -> _State:
    """A Newton step, or the last one taken back."""
    output = problem.output

    def behave(log_value: jax.Array, unknown: jax.Array) -> tuple[Any, Transition]:
        grids, policies = _behaviour(problem, log_value, unknown, given)
        found = jnp.log(policies.marginal_value), policies.assets, policies.outputs[output]
        return found, problem.block.transition(grids, policies)

    (new, _, yields), tangent, transition = jax.linearize(behave, state.log_value, state.unknown, has_aux=True)
    residual = new - state.log_value
    led_astray = ~(_largest(residual) <= jnp.maximum(_ASTRAY * state.search.policy_residual, _LARGE))

    def go_on() -> _State:
        return _further(problem, given, bounds, state, (tangent, residual, transition, yields))

    found: _State = jax.lax.cond(led_astray, lambda: _step_back(problem, given, state), go_on)
    return found


def _step_back(problem: StationaryProblem, given: Given, state: _State) -> _State:
    """From where the last step began, half of the way in the unknown, by ordinary backward steps."""
    log_value, unknown, distribution = state.before
    unknown = jnp.where(jnp.isfinite(state.unknown), (unknown + state.unknown) / 2, unknown)

    def backward(log_value: jax.Array) -> jax.Array:
        return jnp.log(_behaviour(problem, log_value, unknown, given)[1].marginal_value)

    log_value = jax.lax.fori_loop(0, _BACKWARD, lambda _, v: backward(v), log_value)
    nowhere, infinite = (jnp.zeros_like(distribution), jnp.zeros_like(log_value)), jnp.asarray(jnp.inf)
    search = Search(state.search.steps + 1, infinite, infinite, infinite, jnp.asarray(False))
    return _State(log_value, unknown, distribution, *nowhere, search, (log_value, unknown, distribution))


def _further(
    problem: StationaryProblem,
    given: Given,
    bounds: tuple[jax.Array, jax.Array],
    state: _State,
    here: tuple[Any, jax.Array, Transition, jax.Array],
) -> _State:
    """A Newton step; ``here``: linearised behaviour at the state, residual, law of motion and targeted output."""
    tangent, residual, transition, yields = here
    zero, one = jnp.zeros(()), jnp.ones(())
    by_unknown = tangent(jnp.zeros_like(residual), one)[0]

    def once(inner: _Inner) -> _Inner:
        mean = jnp.vdot(inner.distribution, yields)
        return _Inner(
            tangent(inner.correction, zero)[0] + residual,
            tangent(inner.derivative, zero)[0] + by_unknown if problem.unknown is not None else inner.derivative,
            transition.forward(inner.distribution),
            transition.expectation(inner.future) + yields - mean,
        )

    def chunk(loop: tuple[_Inner, jax.Array, jax.Array]) -> tuple[_Inner, jax.Array, jax.Array]:
        inner, _, n = loop
        inner = jax.lax.fori_loop(0, _CHUNK - 1, lambda _, i: once(i), inner)
        last = once(inner)
        change = jnp.maximum(
            _largest(last.correction - inner.correction) / (_largest(last.correction) + 1e-16),
            _largest(last.distribution - inner.distribution)
            / (_largest(last.distribution - state.distribution) + 1e-17),
        )
        return last, change, n + 1

    start = _Inner(residual, state.derivative, state.distribution, state.future)
    inner, _, _ = jax.lax.while_loop(
        lambda loop: (loop[1] > _INNER_TOLERANCE) & (loop[2] < _INNER_LIMIT),
        chunk,
        (start, jnp.asarray(jnp.inf), jnp.asarray(0)),
    )
    distribution = inner.distribution / inner.distribution.sum()
    drift = transition.forward(distribution) - distribution
    mean = jnp.vdot(distribution, yields)
    # what the distribution still lacks changes the aggregate by future' drift, to first order
    gap = given.value - mean - jnp.vdot(inner.future, drift)
    by_policy = transition.derivative_adjoint(distribution, inner.future)

    def aggregate(move: jax.Array, along: jax.Array) -> jax.Array:
        _, d_assets, d_yields = tangent(move, along)
        return jnp.vdot(distribution, d_yields) + jnp.vdot(by_policy, d_assets)

    if problem.unknown is None:
        move, gap = jnp.zeros(()), jnp.zeros(())
    else:
        move = (gap - aggregate(inner.correction, zero)) / aggregate(inner.derivative, one)
        # half of the way to a bound is the furthest that one step goes
        move = jnp.clip(move, (bounds[0] - state.unknown) / 2, (bounds[1] - state.unknown) / 2)
    step = jnp.clip(inner.correction + move * inner.derivative, -_FURTHEST, _FURTHEST)
    size = jnp.maximum(_largest(step), jnp.abs(move))
    errors = _largest(residual), _largest(drift), jnp.abs(gap) / (1 + jnp.abs(given.value))
    small = (jnp.maximum(errors[0], errors[2]) < RESIDUAL_TOLERANCE) & (errors[1] < MASS_TOLERANCE)
    search = Search(state.search.steps + 1, *errors, small & (size < STEP_TOLERANCE))
    before = state.log_value, state.unknown, state.distribution
    return _State(
        state.log_value + step, state.unknown + move, distribution, inner.future, inner.derivative, search, before
    )


def _search(
    problem: StationaryProblem, given: Given, bounds: tuple[jax.Array, jax.Array], start: StationaryPoint
) -> tuple[StationaryPoint, Search]:
    # the iterations conserve the masses of types, which a guess may have wrong, and hardly move those of rare moves
    grids = problem.block.grids(parameters_at(problem, start.unknown, given))
    start = start._replace(distribution=with_marginal(start.distribution, grids.stationary))
    infinite = jnp.asarray(jnp.inf)
    nothing = Search(jnp.asarray(0), infinite, infinite, infinite, jnp.asarray(False))
    before = start.log_value, start.unknown, start.distribution
    nowhere = jnp.zeros_like(start.distribution), jnp.zeros_like(start.log_value)
    state = _State(start.log_value, start.unknown, start.distribution, *nowhere, nothing, before)

    def going(s: _State) -> jax.Array:
        return ~s.search.converged & (s.search.steps < STEP_LIMIT) & jnp.isfinite(s.before[0]).all()

    state = jax.lax.while_loop(going, partial(_newton_step, problem, given, bounds), state)
    return StationaryPoint(state.log_value, state.distribution, state.unknown), state.search


def solve_point(
    problem: StationaryProblem, given: Given, bounds: tuple[jax.Array, jax.Array], start: StationaryPoint
) -> tuple[StationaryPoint, Search]:
    """Solve the stationary problem from a nearby point.

    Parameters
    ----------
    problem : StationaryProblem
    given : Given
    bounds : pair of scalars
        The unknown stays strictly between them.
    start : StationaryPoint
        Where to begin; moves the solution by no more than the tolerances, and is not differentiated.

    Returns
    -------
    point : StationaryPoint
        Differentiable (reverse mode) in ``given``.
    search : Search
    """

    found: tuple[StationaryPoint, Search] = _solve_point(problem, given, bounds, start)
    return found


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _solve_point(problem: StationaryProblem, given: Given, bounds: Any, start: StationaryPoint) -> Any:
    return _search(problem, given, bounds, start)


def _solve_point_forward(problem: StationaryProblem, given: Given, bounds: Any, start: StationaryPoint) -> Any:
    point, search = _search(problem, given, bounds, start)
    return (point, search), (point, given, bounds)


def _solve_point_backward(problem: StationaryProblem, residuals: Any, bar: tuple[StationaryPoint, Any]) -> Any:
    point, given, bounds = residuals
    nowhere = jax.tree.map(jnp.zeros_like, (bounds, point))
    return _implicit_derivative(problem, point, given, bar[0]), *nowhere


_solve_point.defvjp(_solve_point_forward, _solve_point_backward)


def _implicit_derivative(
    problem: StationaryProblem, point: StationaryPoint, given: Given, bar: StationaryPoint
) -> Given:
    """What a change of the solution weighted with ``bar`` is, as a weighting of ``given``."""
    value, distribution, unknown = point
    grids, policies = _behaviour(problem, value, unknown, given)
    transition = problem.block.transition(grids, policies)
    yields = policies.outputs[problem.output]
    _, pullback = jax.vjp(partial(_maps, problem), value, unknown, distribution, given)
    zero, none, nobody = jnp.zeros(()), jnp.zeros_like(value), jnp.zeros_like(distribution)
    weights = jnp.array([0.0, 1.0])  # of the aggregate, in the two systems that are solved together

    def fixed_point(step: Any, begin: jax.Array) -> jax.Array:
        """Nan unless the iteration converges."""

        def again(loop: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
            x, _, n = loop
            before = jax.lax.fori_loop(0, _CHUNK - 1, lambda _, y: step(y), x)
            x = step(before)
            return x, _largest(x - before) / (_largest(x) + 1e-300), n + 1

        loop = (begin, jnp.asarray(jnp.inf), jnp.asarray(0))
        x, change, _ = jax.lax.while_loop(lambda s: (s[1] > _ADJOINT_TOLERANCE) & (s[2] < _ADJOINT_LIMIT), again, loop)
        return jnp.where(change <= _ADJOINT_TOLERANCE, x, jnp.nan)

    # of the distribution: its marginal over productivity is known, so functions of productivity alone have no effect
    # here. They die out far more slowly than all others, or never where there are several types of households
    shares = shares_of(distribution)

    def beyond_productivity(x: jax.Array) -> jax.Array:
        return x - (x * shares).sum(axis=range(2, x.ndim), keepdims=True)

    flows = jnp.stack([bar.distribution, yields])
    known = beyond_productivity(flows)
    by_mass = flows + transition.expectation(
        fixed_point(lambda x: beyond_productivity(transition.expectation(x)) + known, known)
    )
    direct = jnp.stack([bar.log_value, none])
    through = jax.vmap(lambda m, w: pullback((none, m, w))[0])(by_mass, weights)
    loads = direct + through
    by_value = fixed_point(lambda x: jax.vmap(lambda v: pullback((v, nobody, zero))[0])(x) + loads, loads)
    _, along, _, moved = jax.vmap(lambda v, m, w: pullback((v, m, w)))(by_value, by_mass, weights)
    if problem.unknown is None:
        found: Given = jax.tree.map(lambda m: m[0], moved)
        return found
    ratio = -(bar.unknown + along[0]) / along[1]
    result = jax.tree.map(lambda m: m[0] + ratio * m[1], moved)
    return Given(result.inputs, result.parameters, result.value - ratio)


def steady_state_at(problem: StationaryProblem, point: StationaryPoint, given: Given) -> HouseholdSteadyState:
    """Everything about the household at a solution; differentiable."""
    grids, policies = _behaviour(problem, point.log_value, point.unknown, given)
    transition = problem.block.transition(grids, policies)
    outputs = problem.block.outputs
    aggregates = {name: jnp.vdot(point.distribution, policies.outputs[name]) for name in outputs}
    nothing = jnp.zeros((), int), jnp.zeros((), int)
    still = jnp.zeros(()), jnp.zeros(())
    return HouseholdSteadyState(grids, policies, transition, point.distribution, aggregates, nothing, still)
