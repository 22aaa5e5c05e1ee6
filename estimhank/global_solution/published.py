"""Han, Yang and E's published recipe, kept so that what is better here is measured and not claimed.

Fifty households are drawn; a network gives the share of cash that is consumed; it is trained by Adam to maximise
household 1's utility over 150 simulated quarters, with the mean of three value networks after them, while the other
households' choices carry no gradient (fictitious play). The value networks are refitted to realised utility every 2,000
steps. Four things differ: own state enters as cash on hand over the income scale, which is assets and prices in one;
the value networks share one moment; states are burnt in with the policy of the moment from the steady state on, not
with a stored conventional solution; and the solution is judged like any other, with the distribution as a histogram.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from estimhank.global_solution.economy import GlobalEconomy, chain_of
from estimhank.global_solution.networks import (
    Architecture,
    Frame,
    PublishedArchitecture,
    moments_of,
    share_of_cash,
    value_by_network,
)
from estimhank.global_solution.settings import PublishedConfig
from estimhank.global_solution.steady import deterministic_steady_state, income_scale
from estimhank.global_solution.training import Solver, State
from estimhank.support.seeds import Stream, generator

#: Least consumption, and least cash left, in goods.
_LEAST = 1e-3
#: Adam's decay rates in the published code.
_DECAY = (0.99, 0.99)


class Crowd(NamedTuple):
    """Households of many economies.

    Attributes
    ----------
    assets : array of shape (economies, households)
    e : array of shape (economies, households)
        Idiosyncratic states.
    z : array of shape (economies,)
    """

    assets: jax.Array
    e: jax.Array
    z: jax.Array


def moments_of_crowd(architecture: Architecture, frame: Frame, weights: Any, crowd: Crowd) -> jax.Array:
    """What networks see of each economy, (economies, n_m)."""

    def one(assets: jax.Array, e: jax.Array) -> jax.Array:
        # each household is a point of its own: the histogram of one household a column
        each = jnp.broadcast_to(assets, (architecture.n_e, assets.shape[0]))
        shares = (e == jnp.arange(architecture.n_e)[:, None]) / assets.shape[0]
        functions = architecture.moment_functions(weights, each, frame.capital)
        return moments_of(architecture, frame, functions, shares, assets.mean())

    return jax.vmap(one)(crowd.assets, crowd.e)


def cash_of(economy: GlobalEconomy, crowd: Crowd) -> tuple[jax.Array, jax.Array]:
    """Spendable cash, (economies, households), and income scales, (economies,)."""

    def one(assets: jax.Array, e: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        prices = economy.prices(z, assets.mean())
        cash = prices.gross_return * assets + prices.income[e] - economy.borrowing_limit
        return cash, income_scale(prices.income)

    found: tuple[jax.Array, jax.Array] = jax.vmap(one)(*crowd)
    return found


def step(
    solver: Solver, frame: Frame, weights: Any, crowd: Crowd, draws: tuple[jax.Array, jax.Array], alone: bool
) -> tuple[Crowd, jax.Array]:
    """One quarter: what follows, and consumption, (economies, households). ``alone``: only household 1 carries a
    gradient.
    """
    economy, architecture = solver.economy, solver.published_architecture
    cash, scale = cash_of(economy, crowd)
    moments = moments_of_crowd(architecture, frame, weights, crowd)
    share = jax.vmap(lambda x, z, e, m: share_of_cash(architecture, weights, frame, x, z, e, m))(
        cash / scale[:, None], crowd.z, crowd.e, moments
    )
    if alone:
        share = jnp.concatenate([share[:, :1], jax.lax.stop_gradient(share[:, 1:])], 1)
    c = jnp.clip(share * cash, _LEAST, jnp.maximum(cash - _LEAST, _LEAST))
    chain = chain_of(economy)
    upper = jnp.cumsum(jnp.asarray(chain.aggregate), 1)[:, :-1]
    z = (draws[0][:, None] > upper[crowd.z]).sum(1)
    own = jnp.cumsum(jnp.asarray(chain.idiosyncratic), -1)[crowd.z[:, None], z[:, None], crowd.e][..., :-1]
    e = (draws[1][..., None] > own).sum(-1)
    return Crowd(cash - c + economy.borrowing_limit, e, z), c


@partial(jax.jit, static_argnums=(0, 4))
def simulate_crowd(solver: Solver, frame: Frame, weights: Any, crowd: Crowd, quarters: int, key: jax.Array) -> Any:
    """Crowds at the beginning of each quarter, (quarters, ...), consumption, and the crowd after the last."""

    def quarter(state: Crowd, one: jax.Array) -> Any:
        u = jax.random.uniform(one, (state.z.shape[0], 1 + state.assets.shape[1]))
        following, c = step(solver, frame, weights, state, (u[:, 0], u[:, 1:]), False)
        return following, (state, c)

    last, (states, c) = jax.lax.scan(quarter, crowd, jax.random.split(key, quarters))
    return states, c, last


def lifetime_utility(
    solver: Solver, frame: Frame, weights: Any, of_value: tuple[Frame, Any], crowd: Crowd, quarters: int, key: jax.Array
) -> jax.Array:
    """Discounted utility over simulated quarters with the value networks' mean at the end: household 1's, or all
    households' mean.
    """
    economy, alone = solver.economy, not solver.planner

    def quarter(state: Crowd, inputs: Any) -> Any:
        one, discount = inputs
        u = jax.random.uniform(one, (state.z.shape[0], 1 + state.assets.shape[1]))
        following, c = step(solver, frame, weights, state, (u[:, 0], u[:, 1:]), alone)
        return following, discount * economy.utility(c[:, 0] if alone else c).mean()

    discounts = economy.beta ** jnp.arange(quarters)
    last, found = jax.lax.scan(quarter, crowd, (jax.random.split(key, quarters), discounts))
    each = values_of_crowd(solver, of_value, last)
    value = sum(each[1:], start=each[0]) / len(each)
    end = (value[:, 0] if alone else value).mean()
    total: jax.Array = found.sum() + economy.beta**quarters * end
    return total


def values_of_crowd(solver: Solver, of_value: tuple[Frame, Any], crowd: Crowd) -> list[jax.Array]:
    """Each value network's value of each household, (economies, households)."""
    frame, networks = of_value
    economy, architecture = solver.economy, solver.published_architecture
    cash, scale = cash_of(economy, crowd)
    moments = moments_of_crowd(architecture, frame, networks[0], crowd)

    def of_one(weights: Any) -> jax.Array:
        log_constant = jax.vmap(lambda x, z, e, m: value_by_network(architecture, weights, frame, x, z, e, m))(
            cash / scale[:, None], crowd.z, crowd.e, moments
        )
        return economy.utility(scale[:, None] * jnp.exp(log_constant)) / (1 - economy.beta)

    return [of_one(weights) for weights in networks]


@partial(jax.jit, static_argnums=(0, 1))
def _policy_step(solver: Solver, config: PublishedConfig, frames: Any, weights: Any, networks: Any, memory: Any) -> Any:
    optimiser, crowd, key = memory[0], memory[1], memory[2]

    def loss(w: Any) -> jax.Array:
        return -lifetime_utility(solver, frames[0], w, (frames[1], networks), crowd, config.unroll, key)

    value, gradient = jax.value_and_grad(loss)(weights)
    change, optimiser = _adam(config.rate).update(gradient, optimiser)
    return optax.apply_updates(weights, change), optimiser, -value


def _adam(rate: float) -> optax.GradientTransformation:
    return optax.adam(rate, b1=_DECAY[0], b2=_DECAY[1])


@partial(jax.jit, static_argnums=(0, 1))
def _value_epoch(solver: Solver, config: PublishedConfig, frame: Any, networks: Any, optimiser: Any, data: Any) -> Any:
    """One pass over data: crowds and realised utility, (batches, economies, households)."""

    def batch(state: Any, one: Any) -> Any:
        crowd, target = one

        def loss(w: Any) -> jax.Array:
            values = jnp.stack(values_of_crowd(solver, (frame, w), crowd))
            found: jax.Array = ((values - target) ** 2).mean((1, 2)).sum()
            return found

        value, gradient = jax.value_and_grad(loss)(state[0])
        change, memory = optax.adam(config.value_rate).update(gradient, state[1])
        return (optax.apply_updates(state[0], change), memory), value

    (networks, optimiser), losses = jax.lax.scan(batch, (networks, optimiser), data)
    return networks, optimiser, losses.mean()


def _fit_values(
    solver: Solver, config: PublishedConfig, frames: Any, weights: Any, networks: Any, memory: tuple[Crowd, Any]
) -> tuple[Any, float]:
    """Fit the value networks to utility realised with the policy."""
    crowd, rng = memory
    every = max(config.value_quarters // 8, 1)
    whole = config.value_quarters + 2 * every
    states, c, _ = simulate_crowd(solver, frames[0], weights, crowd, whole, jax.random.key(int(rng.integers(2**31))))
    u = np.asarray(solver.economy.utility(c))
    beta = solver.economy.beta
    discounts = beta ** np.arange(config.value_quarters)
    starts = [0, every, 2 * every]
    # what comes after the last quarter is worth what the last quarters were worth on average
    tail = beta**config.value_quarters / (1 - beta)
    targets = [
        np.tensordot(discounts, u[t : t + config.value_quarters], 1)
        + tail * u[t + config.value_quarters - every :].mean()
        for t in starts
    ]
    n = crowd.z.shape[0]
    size = min(config.value_batch, n)
    pool = [jax.tree.map(lambda x, t=t: np.asarray(x[t]), states) for t in starts]
    optimiser = optax.adam(config.value_rate).init(networks)
    loss = float("nan")
    for _ in range(config.value_epochs):
        order = [rng.permutation(n)[: n // size * size].reshape(-1, size) for _ in starts]
        crowds = [jax.tree.map(lambda x, o=o: x[o], p) for p, o in zip(pool, order, strict=True)]
        data = (
            jax.tree.map(lambda *x: jnp.asarray(np.concatenate(x)), *crowds),
            jnp.asarray(np.concatenate([t[o] for t, o in zip(targets, order, strict=True)])),
        )
        networks, optimiser, found = _value_epoch(solver, config, frames[1], networks, optimiser, data)
        loss = float(found)
    return networks, loss


def start_published(solver: Solver, config: PublishedConfig) -> State:
    """Households drawn from the deterministic steady state; untrained networks."""
    rng = generator(solver.seed, Stream.GLOBAL)
    steady = deterministic_steady_state(solver.economy)
    n_e, n_a = steady.histogram.shape
    shares = np.asarray(steady.histogram).ravel()
    drawn = rng.choice(n_e * n_a, size=(config.batch, config.households), p=shares / shares.sum())
    a = solver.published_architecture
    policy = a.initial_weights(int(rng.integers(2**31)))
    values = [a.initial_weights(int(rng.integers(2**31))) for _ in range(config.value_networks)]
    q = a.generalised
    optimiser = _adam(config.rate).init(policy)
    z = rng.choice(solver.economy.n_z, size=config.batch, p=chain_of(solver.economy).stationary)
    return State(
        np.asarray(ravel_pytree(policy)[0]),
        np.asarray(ravel_pytree(values)[0]),
        *(np.zeros(q), np.ones(q), np.zeros(q), np.ones(q)),
        np.asarray(steady.grid)[drawn % n_a],
        z.astype(np.int64),
        np.zeros(2),
        np.array(0),
        np.concatenate([(drawn // n_a).ravel().astype(float), np.asarray(ravel_pytree(optimiser)[0], float)]),
    )


def train_published(solver: Solver, config: PublishedConfig, state: State) -> Iterator[tuple[State, str]]:
    """Blocks of policy steps, each after a fit of the value networks; each is a function of the state before it."""
    a: PublishedArchitecture = solver.published_architecture
    like = ravel_pytree(a.initial_weights(0))[1]
    optimiser_like = ravel_pytree(_adam(config.rate).init(a.initial_weights(0)))[1]
    while int(state.round) < solver.rounds:
        rng = generator(solver.seed, Stream.GLOBAL, 1 + int(state.round))
        weights, networks = like(jnp.asarray(state.policy)), solver.value_weights(state)
        crowd_size = state.histograms.size
        e = jnp.asarray(state.extra[:crowd_size].reshape(state.histograms.shape).astype(int))
        optimiser = optimiser_like(jnp.asarray(state.extra[crowd_size:]))
        crowd = Crowd(jnp.asarray(state.histograms), e, jnp.asarray(state.z))
        frames = solver.policy_frame(state), solver.value_frame(state)
        key = jax.random.key(int(rng.integers(2**31)))
        _, _, crowd = simulate_crowd(solver, frames[0], weights, crowd, config.burn_in, key)
        if int(state.round) == 0:
            means = [
                np.asarray(moments_of_crowd(a, f, w, crowd))
                for f, w in zip(frames, (weights, networks[0]), strict=True)
            ]
            first = int(a.first_moment)
            spreads = [np.maximum(m.std(0), 1e-8)[first:] for m in means]
            state = state._replace(
                policy_mean=means[0].mean(0)[first:], policy_spread=spreads[0],
                value_mean=means[1].mean(0)[first:], value_spread=spreads[1],
            )  # fmt: skip
            frames = solver.policy_frame(state), solver.value_frame(state)
        networks, loss = _fit_values(solver, config, frames, weights, networks, (crowd, rng))
        utility = 0.0
        for _ in range(min(config.value_every, config.steps - int(state.round) * config.value_every)):
            key = jax.random.key(int(rng.integers(2**31)))
            weights, optimiser, found = _policy_step(solver, config, frames, weights, networks, (optimiser, crowd, key))
            utility = float(found)
        state = state._replace(
            policy=np.asarray(ravel_pytree(weights)[0]),
            value=np.asarray(ravel_pytree(networks)[0]),
            histograms=np.asarray(crowd.assets),
            z=np.asarray(crowd.z),
            round=state.round + 1,
            extra=np.concatenate([np.asarray(crowd.e, float).ravel(), np.asarray(ravel_pytree(optimiser)[0], float)]),
        )
        yield state, f"utility {utility:.4f}, squared error of the value networks {loss:.2e}"
