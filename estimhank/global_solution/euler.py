"""Euler and Bellman equations at an aggregate state, as residuals that networks are trained on and judged by.

An aggregate state is (z, histogram). The policy at its grid gives the next histogram and so next period's prices and
moments in each z'; expectations over (z', e') are sums, not draws.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from estimhank.global_solution.economy import GlobalEconomy, chain_of
from estimhank.global_solution.histogram import move
from estimhank.global_solution.networks import (
    Architecture,
    Frame,
    PublishedArchitecture,
    Weights,
    moments_of,
    own_inputs,
    read_table,
    share_of_cash,
)
from estimhank.global_solution.steady import LEAST_MARGINAL, income_scale


class Problem(NamedTuple):
    """What is solved, all of it static.

    Attributes
    ----------
    economy : GlobalEconomy
    architecture : Architecture
    planner : bool
        Whether savings are chosen by the constrained-efficient planner, who knows what they do to prices, or by
        households.
    """

    economy: GlobalEconomy
    architecture: Architecture
    planner: bool = False


class Ahead(NamedTuple):
    """What a household must know of the aggregate state, now and next period.

    Attributes
    ----------
    moments : array of shape (n_m,)
        That networks see now.
    capital : array of shape ()
        Next period's mean assets, the same in all z'.
    next_moments : array of shape (n_z, n_m)
        By z'.
    externality : array of shape (n_z,)
        By z': what a unit more of mean assets is worth to all households through prices, in marginal utility; zero
        without a planner.
    """

    moments: jax.Array
    capital: jax.Array
    next_moments: jax.Array
    externality: jax.Array


def cash_on_hand(economy: GlobalEconomy, z: Any, capital: jax.Array, assets: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Spendable cash above what the borrowing limit takes, at assets (n_e, n), and the income scale."""
    prices = economy.prices(z, capital)
    cash = prices.gross_return * assets + prices.income[:, None] - economy.borrowing_limit
    return cash, income_scale(prices.income)


def desired_consumption(
    problem: Problem,
    frame: Frame,
    weights: Weights,
    z: Any,
    e: jax.Array,
    cash: jax.Array,
    scale: jax.Array,
    moments: jax.Array,
) -> jax.Array:
    """Consumption before the borrowing limit, at cash and states ``e`` of the same shape: base policy times
    exp(network).
    """
    if isinstance(problem.architecture, PublishedArchitecture):
        return cash * share_of_cash(problem.architecture, weights, frame, cash / scale, z, e, moments)
    place, inputs = own_inputs(frame, cash / scale)
    outputs = problem.architecture.correction(weights, inputs, moments)
    correction = jnp.take_along_axis(outputs[..., z, :], e[..., None], -1)[..., 0]
    return scale * jnp.exp(read_table(frame.base.log_consumption, place, z, e) + correction)


def _states(economy: GlobalEconomy, like: jax.Array) -> jax.Array:
    return jnp.broadcast_to(jnp.arange(economy.n_e)[:, None], like.shape)


def policy_on_grid(
    problem: Problem, frame: Frame, weights: Weights, z: Any, histogram: jax.Array, grid: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Consumption and assets chosen, (n_e, n_a), moments, (n_m,), and the moments' functions, at a histogram on any
    grid.
    """
    economy, architecture = problem.economy, problem.architecture
    assets = jnp.broadcast_to(grid, histogram.shape)
    capital = (histogram * assets).sum()
    functions = architecture.moment_functions(weights, assets, frame.capital)
    moments = moments_of(architecture, frame, functions, histogram, capital)
    cash, scale = cash_on_hand(economy, z, capital, assets)
    desired = desired_consumption(problem, frame, weights, z, _states(economy, assets), cash, scale, moments)
    c = jnp.minimum(desired, cash)
    return c, cash - c + economy.borrowing_limit, moments, functions


def next_histograms(problem: Problem, z: Any, histogram: jax.Array, chosen: jax.Array, grid: jax.Array) -> jax.Array:
    """Histograms of next period by z', (n_z, n_e, n_a)."""
    chain = jnp.asarray(chain_of(problem.economy).idiosyncratic)[z]
    return jnp.einsum("yef,ea->yfa", chain, move(histogram, chosen, grid))


def look_ahead(
    problem: Problem,
    frame: Frame,
    weights: Weights,
    z: Any,
    histogram: Float[jax.Array, "n_e n_a"],
    grid: Float[jax.Array, " n_a"],
) -> Ahead:
    """Carry the histogram one period on by the policy."""
    economy, architecture = problem.economy, problem.architecture
    _, chosen, moments, functions = policy_on_grid(problem, frame, weights, z, histogram, grid)
    following = next_histograms(problem, z, histogram, chosen, grid)
    # the grid's ends cut what a policy that is not there yet may want; what is left is what prices follow from
    capital = (following[0] * grid).sum()
    seen = jax.vmap(lambda h: moments_of(architecture, frame, functions, h, capital))(following)
    externality = jnp.zeros(economy.n_z)
    if problem.planner:
        states = jnp.arange(economy.n_z)
        externality = jax.vmap(lambda y, h, m: _externality(problem, frame, weights, y, h, m, capital, grid))(
            states, following, seen
        )
    return Ahead(moments, capital, seen, externality)


def _externality(
    problem: Problem, frame: Frame, weights: Weights, z: Any, histogram: Any, moments: Any, capital: Any, grid: Any
) -> jax.Array:
    """Sum over households of u'(c) times the derivative of their cash on hand with respect to mean assets, shape ().

    A household's own assets are held fixed: what is left is the change of the return and of incomes (Davila, Hong,
    Krusell and Rios-Rull 2012, equation 7), here of any ``prices`` by automatic differentiation.
    """
    economy = problem.economy
    assets = jnp.broadcast_to(grid, histogram.shape)
    cash, scale = cash_on_hand(economy, z, capital, assets)
    c = jnp.minimum(
        desired_consumption(problem, frame, weights, z, _states(economy, assets), cash, scale, moments), cash
    )
    one = jnp.ones_like(capital)
    _, moved = jax.jvp(lambda k: cash_on_hand(economy, z, k, assets)[0], (capital,), (one,))
    found: jax.Array = (histogram * economy.marginal_utility(c) * moved).sum()
    return found


def euler_residual(
    problem: Problem,
    frame: Frame,
    weights: Weights,
    z: Any,
    capital: jax.Array,
    e: jax.Array,
    assets: jax.Array,
    ahead: Ahead,
) -> jax.Array:
    """Unit-free error of one household's consumption, shape (): log of what its Euler equation asks for over what it
    wants.

    ::

        u'(c*) = beta E[R' u'(c')] (+ beta E[externality])  at the assets that it chooses,    residual = log(c* / c)

    Zero where the borrowing limit binds both for its own policy and for c*.
    """
    economy = problem.economy
    cash, scale = (
        x[e, 0] if x.ndim else x for x in cash_on_hand(economy, z, capital, jnp.broadcast_to(assets, (economy.n_e, 1)))
    )
    desired = desired_consumption(problem, frame, weights, z, e, cash, scale, ahead.moments)
    chosen = jnp.maximum(cash - desired, 0.0) + economy.borrowing_limit
    marginal = expected_marginal_value(problem, frame, weights, z, e, chosen, ahead)
    asked = economy.inverse_marginal_utility(jnp.maximum(marginal, LEAST_MARGINAL))
    at_limit = (desired >= cash) & (asked >= cash)
    return jnp.where(at_limit, 0.0, jnp.log(jnp.where(at_limit, 1.0, asked / desired)))


def expected_marginal_value(
    problem: Problem, frame: Frame, weights: Weights, z: Any, e: jax.Array, chosen: jax.Array, ahead: Ahead
) -> jax.Array:
    """beta E[R' u'(c') + externality'] of one household that chooses assets ``chosen``, shape ()."""
    economy = problem.economy
    chain = chain_of(economy)
    states = jnp.arange(economy.n_e)

    def tomorrow(y: jax.Array) -> jax.Array:
        cash, scale = cash_on_hand(economy, y, ahead.capital, jnp.broadcast_to(chosen, (economy.n_e, 1)))
        c = desired_consumption(problem, frame, weights, y, states, cash[:, 0], scale, ahead.next_moments[y])
        marginal = economy.prices(y, ahead.capital).gross_return * economy.marginal_utility(jnp.minimum(c, cash[:, 0]))
        found: jax.Array = jnp.asarray(chain.idiosyncratic)[z, y, e] @ marginal + ahead.externality[y]
        return found

    return economy.beta * jnp.asarray(chain.aggregate)[z] @ jax.vmap(tomorrow)(jnp.arange(economy.n_z))
