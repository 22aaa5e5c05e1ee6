"""Households' stationary problems and the parameters that hit their targets, solved together by Newton's method.

Unknowns are, for each block of households, the log marginal value v of assets and the distribution D, and parameters u
that hit as many targets::

    v = V(v, u, q),      D = P(v, u, q)' D,      A(v, u, D, q) = targets

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

from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from estimhank.households.implicit import implicit_derivative
from estimhank.households.one_asset import HouseholdBlock
from estimhank.households.stationary_problem import (
    Given,
    StationaryPoint,
    StationaryProblem,
    behaviour,
    parameters_at,
    with_marginal,
    yields_of,
)
from estimhank.households.transition import Transition

#: Newton steps after which the search is given up; the largest step, residual and change of mass of a solution.
STEP_LIMIT, STEP_TOLERANCE, RESIDUAL_TOLERANCE, MASS_TOLERANCE = 40, 1e-10, 1e-12, 1e-14
_INNER_TOLERANCE, _INNER_LIMIT, _CHUNK = 2e-3, 60, 8
_FURTHEST = 1.5  # largest change of the log marginal value in one step
#: A residual larger than the one before by the first factor, and than the second, tells that a step has led astray;
#: ordinary backward steps from where it began.
_ASTRAY, _LARGE, _BACKWARD = 2.0, 0.5, 60


class Search(NamedTuple):
    """How a search went: Newton steps, the residuals of the last point, and whether it is a solution."""

    steps: jax.Array
    policy_residual: jax.Array
    mass_residual: jax.Array
    gap: jax.Array
    converged: jax.Array


class _BlockState(NamedTuple):
    """Where a search is, of one block; ``futures`` by target, ``derivatives`` of the log value by unknown."""

    log_value: jax.Array
    distribution: jax.Array
    futures: tuple[jax.Array, ...]
    derivatives: tuple[jax.Array, ...]


class _State(NamedTuple):
    """Where a search is; ``before`` is where the last step began: log marginal values, distributions and unknowns."""

    blocks: tuple[_BlockState, ...]
    unknowns: jax.Array
    search: Search
    before: StationaryPoint


class _Inner(NamedTuple):
    correction: jax.Array
    derivatives: tuple[jax.Array, ...]
    distribution: jax.Array
    futures: tuple[jax.Array, ...]


class _Here(NamedTuple):
    """A block at a state: linearised behaviour, residual, law of motion, and what it adds to the targets."""

    tangent: Any
    residual: jax.Array
    transition: Transition
    yields: tuple[jax.Array, ...]


def _largest(x: jax.Array) -> jax.Array:
    return jnp.max(jnp.abs(x))


def _largest_of(arrays: Any) -> jax.Array:
    return reduce(jnp.maximum, (_largest(x) for x in arrays))


def _newton_step(problem: StationaryProblem, given: Given, bounds: tuple[Any, Any], state: _State) -> _State:
    """A Newton step, or the last one taken back."""

    def look(block: HouseholdBlock, at: _BlockState) -> _Here:
        def behave(log_value: jax.Array, unknowns: jax.Array) -> tuple[Any, Transition]:
            grids, policies = behaviour(problem, block, log_value, unknowns, given)
            found = jnp.log(policies.marginal_value), policies.assets, yields_of(problem, policies, given)
            return found, block.transition(grids, policies)

        (new, _, yields), tangent, transition = jax.linearize(behave, at.log_value, state.unknowns, has_aux=True)
        return _Here(tangent, new - at.log_value, transition, yields)

    here = [look(block, at) for block, at in zip(problem.blocks, state.blocks, strict=True)]
    residual = _largest_of(h.residual for h in here)
    led_astray = ~(residual <= jnp.maximum(_ASTRAY * state.search.policy_residual, _LARGE))
    found: _State = jax.lax.cond(
        led_astray, lambda: _step_back(problem, given, state), lambda: _further(problem, given, bounds, state, here)
    )
    return found


def _begun(point: StationaryPoint, search: Search) -> _State:
    """A state that knows of no derivatives."""
    count = range(point.unknowns.shape[0])
    blocks = tuple(
        _BlockState(v, d, tuple(jnp.zeros_like(d) for _ in count), tuple(jnp.zeros_like(v) for _ in count))
        for v, d in zip(point.log_values, point.distributions, strict=True)
    )
    return _State(blocks, point.unknowns, search, point)


def _step_back(problem: StationaryProblem, given: Given, state: _State) -> _State:
    """From where the last step began, half of the way in the unknowns, by ordinary backward steps."""
    before = state.before
    half = (before.unknowns + state.unknowns) / 2
    unknowns = jnp.where(jnp.isfinite(state.unknowns), half, before.unknowns)

    def backward(block: HouseholdBlock, log_value: jax.Array) -> jax.Array:
        return jnp.log(behaviour(problem, block, log_value, unknowns, given)[1].marginal_value)

    log_values = tuple(
        jax.lax.fori_loop(0, _BACKWARD, lambda _, v, block=block: backward(block, v), log_value)
        for block, log_value in zip(problem.blocks, before.log_values, strict=True)
    )
    infinite = jnp.asarray(jnp.inf)
    search = Search(state.search.steps + 1, infinite, infinite, infinite, jnp.asarray(False))
    return _begun(StationaryPoint(log_values, before.distributions, unknowns), search)


def _inner_loop(block_states: tuple[_BlockState, ...], here: list[_Here], count: int) -> tuple[_Inner, ...]:
    """Corrections, their derivatives in the unknowns, distributions and futures, as fixed points of linear maps."""
    units = jnp.eye(count)
    still = jnp.zeros(count)
    by_unknown = [[h.tangent(jnp.zeros_like(h.residual), units[i])[0] for i in range(count)] for h in here]

    def once(inner: tuple[_Inner, ...]) -> tuple[_Inner, ...]:
        def of(x: _Inner, h: _Here, direct: list[jax.Array]) -> _Inner:
            means = [jnp.vdot(x.distribution, y) for y in h.yields]
            return _Inner(
                h.tangent(x.correction, still)[0] + h.residual,
                tuple(h.tangent(d, still)[0] + own for d, own in zip(x.derivatives, direct, strict=True)),
                h.transition.forward(x.distribution),
                tuple(h.transition.expectation(f) + y - m for f, y, m in zip(x.futures, h.yields, means, strict=True)),
            )

        return tuple(of(*three) for three in zip(inner, here, by_unknown, strict=True))

    def chunk(loop: tuple[tuple[_Inner, ...], jax.Array, jax.Array]) -> Any:
        inner, _, n = loop
        inner = jax.lax.fori_loop(0, _CHUNK - 1, lambda _, i: once(i), inner)
        last = once(inner)
        changes = []
        for new, old, at in zip(last, inner, block_states, strict=True):
            changes.append(_largest(new.correction - old.correction) / (_largest(new.correction) + 1e-16))
            moved = _largest(new.distribution - at.distribution)
            changes.append(_largest(new.distribution - old.distribution) / (moved + 1e-17))
        return last, reduce(jnp.maximum, changes), n + 1

    start = tuple(
        _Inner(h.residual, at.derivatives, at.distribution, at.futures)
        for h, at in zip(here, block_states, strict=True)
    )
    inner, _, _ = jax.lax.while_loop(
        lambda loop: (loop[1] > _INNER_TOLERANCE) & (loop[2] < _INNER_LIMIT),
        chunk,
        (start, jnp.asarray(jnp.inf), jnp.asarray(0)),
    )
    found: tuple[_Inner, ...] = inner
    return found


def _further(
    problem: StationaryProblem, given: Given, bounds: tuple[Any, Any], state: _State, here: list[_Here]
) -> _State:
    """A Newton step."""
    count = len(problem.unknowns)
    units, still = jnp.eye(count), jnp.zeros(count)
    inner = _inner_loop(state.blocks, here, count)
    distributions = [x.distribution / x.distribution.sum() for x in inner]
    drifts = [h.transition.forward(d) - d for h, d in zip(here, distributions, strict=True)]
    each = list(zip(here, inner, distributions, drifts, strict=True))
    residual, drift, missed = _largest_of(h.residual for h in here), _largest_of(drifts), jnp.zeros(())
    move = still
    if count:
        # what the distribution still lacks changes the aggregate by future' drift, to first order
        gaps = [
            value - sum(jnp.vdot(d, h.yields[j]) + jnp.vdot(x.futures[j], drift) for h, x, d, drift in each)
            for j, value in enumerate(given.values)
        ]
        by_policy = [[h.transition.derivative_adjoint(d, f) for f in x.futures] for h, x, d, _ in each]

        def aggregate(moves: list[jax.Array], along: jax.Array) -> list[jax.Array]:
            """Changes of the targets' aggregates as log marginal values and unknowns move."""
            totals = [jnp.zeros(())] * count
            for (h, _, d, _), policy, change in zip(each, by_policy, moves, strict=True):
                _, d_assets, d_yields = h.tangent(change, along)
                totals = [
                    total + jnp.vdot(d, y) + jnp.vdot(p, d_assets)
                    for total, y, p in zip(totals, d_yields, policy, strict=True)
                ]
            return totals

        wanted = jnp.stack(gaps) - jnp.stack(aggregate([x.correction for x in inner], still))
        columns = [jnp.stack(aggregate([x.derivatives[i] for x in inner], units[i])) for i in range(count)]
        matrix = jnp.stack(columns, axis=1)
        move = wanted / matrix[0, 0] if count == 1 else jnp.linalg.solve(matrix, wanted)
        # half of the way to a bound is the furthest that one step goes
        low, high = jnp.stack(bounds[0]), jnp.stack(bounds[1])
        move = jnp.clip(move, (low - state.unknowns) / 2, (high - state.unknowns) / 2)
        missed = _largest_of(jnp.abs(gap) / (1 + jnp.abs(value)) for gap, value in zip(gaps, given.values, strict=True))
    steps = [
        jnp.clip(sum((move[i] * d for i, d in enumerate(x.derivatives)), x.correction), -_FURTHEST, _FURTHEST)
        for x in inner
    ]
    size = jnp.maximum(_largest_of(steps), jnp.max(jnp.abs(move), initial=0.0))
    small = (jnp.maximum(residual, missed) < RESIDUAL_TOLERANCE) & (drift < MASS_TOLERANCE)
    search = Search(state.search.steps + 1, residual, drift, missed, small & (size < STEP_TOLERANCE))
    blocks = tuple(
        _BlockState(at.log_value + step, d, x.futures, x.derivatives)
        for at, step, d, x in zip(state.blocks, steps, distributions, inner, strict=True)
    )
    return _State(blocks, state.unknowns + move, search, _point_of(state))


def _point_of(state: _State) -> StationaryPoint:
    values, masses = (tuple(getattr(b, name) for b in state.blocks) for name in ("log_value", "distribution"))
    return StationaryPoint(values, masses, state.unknowns)


def _search(
    problem: StationaryProblem, given: Given, bounds: tuple[Any, Any], start: StationaryPoint
) -> tuple[StationaryPoint, Search]:
    # the iterations conserve the masses of types, which a guess may have wrong, and hardly move those of rare moves
    p = parameters_at(problem, start.unknowns, given)
    masses = tuple(
        with_marginal(d, block.grids(p).stationary)
        for block, d in zip(problem.blocks, start.distributions, strict=True)
    )
    infinite = jnp.asarray(jnp.inf)
    nothing = Search(jnp.asarray(0), infinite, infinite, infinite, jnp.asarray(False))
    state = _begun(start._replace(distributions=masses), nothing)

    def going(s: _State) -> jax.Array:
        finite = reduce(jnp.logical_and, (jnp.isfinite(v).all() for v in s.before.log_values))
        return ~s.search.converged & (s.search.steps < STEP_LIMIT) & finite

    state = jax.lax.while_loop(going, partial(_newton_step, problem, given, bounds), state)
    return _point_of(state), state.search


def solve_point(
    problem: StationaryProblem, given: Given, bounds: tuple[Any, Any], start: StationaryPoint
) -> tuple[StationaryPoint, Search]:
    """Solve the stationary problem from a nearby point.

    Parameters
    ----------
    problem : StationaryProblem
    given : Given
    bounds : pair of tuples of k scalars
        The unknowns stay strictly between them.
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
    return implicit_derivative(problem, point, given, bar[0]), *nowhere


_solve_point.defvjp(_solve_point_forward, _solve_point_backward)
