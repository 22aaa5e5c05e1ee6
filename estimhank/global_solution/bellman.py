"""The value network and its Bellman equation, given a policy."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from estimhank.global_solution.economy import GlobalEconomy, chain_of
from estimhank.global_solution.euler import (
    Problem,
    cash_on_hand,
    desired_consumption,
    next_histograms,
    policy_on_grid,
)
from estimhank.global_solution.networks import (
    Frame,
    PublishedArchitecture,
    Weights,
    moments_of,
    own_inputs,
    read_table,
    value_by_network,
)


class ValueAhead(NamedTuple):
    """What the value function must know of the aggregate state: its own moments now, (n_m,), and by z', (n_z, n_m)."""

    moments: jax.Array
    next_moments: jax.Array


def value_of(
    problem: Problem,
    frame: Frame,
    weights: Weights,
    z: Any,
    e: jax.Array,
    cash: jax.Array,
    scale: jax.Array,
    moments: jax.Array,
) -> jax.Array:
    """Expected discounted utility at spendable cash and states ``e`` of the same shape.

    ::

        V = u(scale exp(base + network)) / (1 - beta)

    so that the network corrects the log of the constant consumption that is worth as much.
    """
    economy = problem.economy
    if isinstance(problem.architecture, PublishedArchitecture):
        networks = [value_by_network(problem.architecture, w, frame, cash / scale, z, e, moments) for w in weights]
        each = [economy.utility(scale * jnp.exp(found)) / (1 - economy.beta) for found in networks]
        mean: jax.Array = sum(each[1:], start=each[0]) / len(each)
        return mean
    place, inputs = own_inputs(frame, cash / scale)
    outputs = problem.architecture.correction(weights, inputs, moments)
    correction = jnp.take_along_axis(outputs[..., z, :], e[..., None], -1)[..., 0]
    constant = scale * jnp.exp(read_table(frame.base.value, place, z, e) + correction)
    return economy.utility(constant) / (1 - economy.beta)


def value_moments(
    problem: Problem, frame: Frame, weights: Weights, histogram: jax.Array, following: jax.Array, grid: jax.Array
) -> ValueAhead:
    """The value function's moments of a histogram, (n_e, n_a), and of those of next period by z', (n_z, n_e, n_a)."""
    assets = jnp.broadcast_to(grid, histogram.shape)
    # the published value networks share the moments of the first of them
    own = weights[0] if isinstance(problem.architecture, PublishedArchitecture) else weights
    functions = problem.architecture.moment_functions(own, assets, frame.capital)

    def seen(h: jax.Array) -> jax.Array:
        return moments_of(problem.architecture, frame, functions, h, (h * assets).sum())

    return ValueAhead(seen(histogram), jax.vmap(seen)(following))


def continuation(
    problem: Problem,
    frame: Frame,
    weights: Weights,
    z: Any,
    e: jax.Array,
    chosen: jax.Array,
    capital: jax.Array,
    ahead: ValueAhead,
) -> jax.Array:
    """beta E V(z', e') of one household that chooses assets ``chosen``, with next period's capital, shape ()."""
    economy = problem.economy
    chain = chain_of(economy)
    states = jnp.arange(economy.n_e)

    def tomorrow(y: jax.Array) -> jax.Array:
        cash, scale = cash_on_hand(economy, y, capital, jnp.broadcast_to(chosen, (economy.n_e, 1)))
        v = value_of(problem, frame, weights, y, states, cash[:, 0], scale, ahead.next_moments[y])
        found: jax.Array = jnp.asarray(chain.idiosyncratic)[z, y, e] @ v
        return found

    return economy.beta * jnp.asarray(chain.aggregate)[z] @ jax.vmap(tomorrow)(jnp.arange(economy.n_z))


class Behaviour(NamedTuple):
    """What households of one aggregate state do, as the value function needs it; all of it given.

    Attributes
    ----------
    histogram : array of shape (n_e, n_a)
    following : array of shape (n_z, n_e, n_a)
        Histograms of next period.
    capital, next_capital : arrays of shape ()
    assets, consumption : arrays of shape (n_e, n)
        Own states, and what is consumed there.
    """

    histogram: jax.Array
    following: jax.Array
    capital: jax.Array
    next_capital: jax.Array
    assets: jax.Array
    consumption: jax.Array


def behaviour_at(
    problem: Problem, frame: Frame, weights: Weights, z: Any, histogram: jax.Array, assets: jax.Array, grid: jax.Array
) -> Behaviour:
    """Behaviour by a policy's weights at own states (n_e, n)."""
    _, chosen, moments, _ = policy_on_grid(problem, frame, weights, z, histogram, grid)
    following = next_histograms(problem, z, histogram, chosen, grid)
    capital = (histogram * grid).sum()
    cash, scale = cash_on_hand(problem.economy, z, capital, assets)
    states = jnp.broadcast_to(jnp.arange(problem.economy.n_e)[:, None], assets.shape)
    desired = desired_consumption(problem, frame, weights, z, states, cash, scale, moments)
    return Behaviour(histogram, following, capital, (following[0] * grid).sum(), assets, jnp.minimum(desired, cash))


def bellman_residual(
    problem: Problem,
    frame: Frame,
    weights: Weights,
    z: Any,
    e: jax.Array,
    i: jax.Array,
    what: Behaviour,
    ahead: ValueAhead,
) -> jax.Array:
    """V less what it should be, u(c) + beta E V', of the household (e, i) of a behaviour, shape ()."""
    economy: GlobalEconomy = problem.economy
    cash, scale = cash_on_hand(economy, z, what.capital, what.assets)
    c = what.consumption[e, i]
    chosen = cash[e, i] - c + economy.borrowing_limit
    now = value_of(problem, frame, weights, z, e, cash[e, i], scale, ahead.moments)
    later = continuation(problem, frame, weights, z, e, chosen, what.next_capital, ahead)
    return now - economy.utility(c) - later
