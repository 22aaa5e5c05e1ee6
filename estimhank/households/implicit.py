"""Derivatives of the households' stationary problem: the linear maps of Newton's method, transposed (implicit function
theorem)."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from estimhank.households.one_asset import HouseholdBlock
from estimhank.households.stationary_problem import (
    Given,
    StationaryPoint,
    StationaryProblem,
    behaviour,
    maps,
    shares_of,
    yields_of,
)

_ADJOINT_TOLERANCE, _ADJOINT_LIMIT = 1e-12, 500
_CHUNK = 8  # iterations between two looks


def _fixed_point(step: Any, begin: jax.Array) -> jax.Array:
    """Limit of an iteration, nan unless it converges."""

    def again(loop: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        x, _, n = loop
        before = jax.lax.fori_loop(0, _CHUNK - 1, lambda _, y: step(y), x)
        x = step(before)
        return x, jnp.abs(x - before).max() / (jnp.abs(x).max() + 1e-300), n + 1

    loop = (begin, jnp.asarray(jnp.inf), jnp.asarray(0))
    x, change, _ = jax.lax.while_loop(lambda s: (s[1] > _ADJOINT_TOLERANCE) & (s[2] < _ADJOINT_LIMIT), again, loop)
    return jnp.where(change <= _ADJOINT_TOLERANCE, x, jnp.nan)


def implicit_derivative(
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
    grids, policies = behaviour(problem, block, value, unknowns, given)
    transition, yields = block.transition(grids, policies), yields_of(problem, policies, given)
    _, pullback = jax.vjp(partial(maps, problem, block), value, unknowns, distribution, given)
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
