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

from dataclasses import dataclass
from functools import partial, reduce
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
    """What is solved: household blocks, the parameters that are moved, and the outputs that each target adds up.

    As many unknowns as targets; without any the blocks are solved at given parameters. Names of inputs, outputs and
    parameters are those of the model, each output that of one block.
    """

    blocks: tuple[HouseholdBlock, ...]
    unknowns: tuple[str, ...] = ()
    targets: tuple[tuple[str, ...], ...] = ()


class Given(NamedTuple):
    """What the solution depends on: constant inputs, the parameters that blocks read, and by target the weights of its
    outputs and its value."""

    inputs: dict[str, jax.Array]
    parameters: dict[str, jax.Array]
    weights: tuple[tuple[jax.Array, ...], ...] = ()
    values: tuple[jax.Array, ...] = ()


class StationaryPoint(NamedTuple):
    """A solution: by block the log marginal value and the distribution, each (n_e, n_a), and the unknowns (k,)."""

    log_values: tuple[Any, ...]
    distributions: tuple[Any, ...]
    unknowns: Any


class Search(NamedTuple):
    """How a search went: Newton steps, the residuals of the last point, and whether it is a solution."""

    steps: jax.Array
    policy_residual: jax.Array
    mass_residual: jax.Array
    gap: jax.Array
    converged: jax.Array


def parameters_at(problem: StationaryProblem, unknowns: jax.Array, given: Given) -> Values:
    """The blocks' parameters with the unknowns (k,) in their places."""
    return Values({**given.parameters, **{name: unknowns[i] for i, name in enumerate(problem.unknowns)}})


def _behaviour(
    problem: StationaryProblem, block: HouseholdBlock, log_value: jax.Array, unknowns: jax.Array, given: Given
) -> tuple[Grids, Policies]:
    p = parameters_at(problem, unknowns, given)
    grids = block.grids(p)
    return grids, block.backward(jnp.exp(log_value), {name: given.inputs[name] for name in block.inputs}, grids, p)


def _yields(problem: StationaryProblem, policies: Policies, given: Given) -> tuple[jax.Array, ...]:
    """By target, what a block adds to it in each state."""
    nothing = jnp.zeros_like(next(iter(policies.outputs.values())))
    return tuple(
        sum((w * policies.outputs[o] for o, w in zip(outputs, weights, strict=True) if o in policies.outputs), nothing)
        for outputs, weights in zip(problem.targets, given.weights, strict=True)
    )


def _maps(
    problem: StationaryProblem,
    block: HouseholdBlock,
    log_value: jax.Array,
    unknowns: jax.Array,
    distribution: jax.Array,
    given: Given,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The right-hand sides of a block's conditions, and what it adds to the targets, (k,)."""
    grids, policies = _behaviour(problem, block, log_value, unknowns, given)
    moved = block.transition(grids, policies).forward(distribution)
    moved = with_marginal(moved, marginal_of(grids))
    adds = [jnp.vdot(distribution, y) for y in _yields(problem, policies, given)]
    return jnp.log(policies.marginal_value), moved, jnp.stack(adds) if adds else jnp.zeros(0)


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
            grids, policies = _behaviour(problem, block, log_value, unknowns, given)
            found = jnp.log(policies.marginal_value), policies.assets, _yields(problem, policies, given)
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
        return jnp.log(_behaviour(problem, block, log_value, unknowns, given)[1].marginal_value)

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
    return _implicit_derivative(problem, point, given, bar[0]), *nowhere


_solve_point.defvjp(_solve_point_forward, _solve_point_backward)


def _fixed_point(step: Any, begin: jax.Array) -> jax.Array:
    """Limit of an iteration, nan unless it converges."""

    def again(loop: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        x, _, n = loop
        before = jax.lax.fori_loop(0, _CHUNK - 1, lambda _, y: step(y), x)
        x = step(before)
        return x, _largest(x - before) / (_largest(x) + 1e-300), n + 1

    loop = (begin, jnp.asarray(jnp.inf), jnp.asarray(0))
    x, change, _ = jax.lax.while_loop(lambda s: (s[1] > _ADJOINT_TOLERANCE) & (s[2] < _ADJOINT_LIMIT), again, loop)
    return jnp.where(change <= _ADJOINT_TOLERANCE, x, jnp.nan)


def _implicit_derivative(
    problem: StationaryProblem, point: StationaryPoint, given: Given, bar: StationaryPoint
) -> Given:
    """What a change of the solution weighted with ``bar`` is, as a weighting of ``given``.

    For ``bar`` and for each target a linear system is solved, block by block: the first row of what follows is that of
    ``bar``, the others are those of the targets.
    """
    count = len(problem.unknowns)
    by_block = [
        _weighted(problem, block, (point.log_values[b], point.distributions[b], point.unknowns), given,
                  (bar.log_values[b], bar.distributions[b]))
        for b, block in enumerate(problem.blocks)
    ]  # fmt: skip
    along, moved = jax.tree.map(lambda *parts: sum(parts), *by_block)
    if not count:
        found: Given = jax.tree.map(lambda m: m[0], moved)
        return found
    lack = bar.unknowns + along[0]
    ratio = -lack / along[1, 0] if count == 1 else -jnp.linalg.solve(along[1:].T, lack)
    result: Given = jax.tree.map(lambda m: jnp.tensordot(jnp.concatenate([jnp.ones(1), ratio]), m, 1), moved)
    return result._replace(values=tuple(v - ratio[j] for j, v in enumerate(result.values)))


def _weighted(
    problem: StationaryProblem,
    block: HouseholdBlock,
    point: tuple[jax.Array, jax.Array, jax.Array],
    given: Given,
    bar: tuple[jax.Array, jax.Array],
) -> tuple[jax.Array, Given]:
    """One block's part: weightings of the unknowns (1 + k, k), and of ``given`` with 1 + k rows."""
    value, distribution, unknowns = point
    count = len(problem.unknowns)
    grids, policies = _behaviour(problem, block, value, unknowns, given)
    transition, yields = block.transition(grids, policies), _yields(problem, policies, given)
    _, pullback = jax.vjp(partial(_maps, problem, block), value, unknowns, distribution, given)
    none, nobody, nothing = jnp.zeros_like(value), jnp.zeros_like(distribution), jnp.zeros(count)
    weights = jnp.concatenate([jnp.zeros((1, count)), jnp.eye(count)])

    # of the distribution: its marginal over productivity is known, so functions of productivity alone have no effect
    # here. They die out far more slowly than all others, or never where there are several types of households
    shares = shares_of(distribution)

    def beyond_productivity(x: jax.Array) -> jax.Array:
        return x - (x * shares).sum(axis=range(2, x.ndim), keepdims=True)

    flows = jnp.stack([bar[1], *yields])
    known = beyond_productivity(flows)
    by_mass = flows + transition.expectation(
        _fixed_point(lambda x: beyond_productivity(transition.expectation(x)) + known, known)
    )
    direct = jnp.stack([bar[0], *(none for _ in range(count))])
    through = jax.vmap(lambda m, w: pullback((none, m, w))[0])(by_mass, weights)
    loads = direct + through
    by_value = _fixed_point(lambda x: jax.vmap(lambda v: pullback((v, nobody, nothing))[0])(x) + loads, loads)
    _, along, _, moved = jax.vmap(lambda v, m, w: pullback((v, m, w)))(by_value, by_mass, weights)
    return along, moved


def steady_states_at(
    problem: StationaryProblem, point: StationaryPoint, given: Given
) -> tuple[HouseholdSteadyState, ...]:
    """Everything about the households at a solution, block by block; differentiable."""
    found = []
    for block, log_value, distribution in zip(problem.blocks, point.log_values, point.distributions, strict=True):
        grids, policies = _behaviour(problem, block, log_value, point.unknowns, given)
        transition = block.transition(grids, policies)
        aggregates = {name: jnp.vdot(distribution, policies.outputs[name]) for name in block.outputs}
        nothing, still = jnp.zeros((), int), jnp.zeros(())
        steady = HouseholdSteadyState(
            grids, policies, transition, distribution, aggregates, (nothing, nothing), (still, still)
        )
        found.append(steady)
    return tuple(found)
