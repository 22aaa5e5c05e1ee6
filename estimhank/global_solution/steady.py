"""Where a global solution begins: the steady state without aggregate risk, and the policy that networks correct."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import brentq
from scipy.sparse.linalg import spsolve

from estimhank.global_solution.economy import GlobalEconomy, chain_of
from estimhank.global_solution.histogram import asset_grid, move
from estimhank.support.errors import ConvergenceError

#: Points of the grids on which households' problems without aggregate risk are solved.
_POLICY_POINTS, _HISTOGRAM_POINTS = 600, 600
_TOLERANCE = 1e-10
_LIMIT = 20_000
#: Where a planner takes more from the value of assets than they have, nothing is saved: consumption is without bound.
LEAST_MARGINAL = 1e-12


class SteadyState(NamedTuple):
    """The economy without aggregate risk, at rest.

    Attributes
    ----------
    capital : float
        Mean assets.
    grid : array of shape (n_a,)
        Assets.
    histogram : array of shape (n_e, n_a)
        Shares of households.
    externality : float
        What the planner adds to the marginal value of assets (:mod:`estimhank.global_solution.planner`); zero in the
        market.
    """

    capital: float
    grid: jax.Array
    histogram: jax.Array
    externality: float = 0.0


@partial(jax.jit, static_argnums=0)
def solve_policy(
    economy: GlobalEconomy,
    gross: jax.Array,
    income: jax.Array,
    chain: jax.Array,
    grid: jax.Array,
    externality: jax.Array | float = 0.0,
    first: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Consumption at each end-of-period grid point, (m, n_a), the last change, and the number of steps.

    Parameters
    ----------
    economy : GlobalEconomy
    gross, income : arrays of shape (m,)
        Returns and incomes by state.
    chain : array of shape (m, m)
    grid : array of shape (n_a,)
    externality : float
        Added to next period's marginal value of assets.
    first : array of shape (m, n_a), optional
        Where to begin.
    """
    cash = gross[:, None] * grid + income[:, None]

    def step(state: tuple[Any, ...]) -> tuple[Any, ...]:
        c, _, count = state
        chosen = jax.vmap(lambda x, v: inside(x, v, grid))(c + grid, cash)
        now = cash - jnp.maximum(chosen, grid[0])
        marginal = economy.beta * (chain @ (gross[:, None] * economy.marginal_utility(now)) + externality)
        found = economy.inverse_marginal_utility(jnp.maximum(marginal, LEAST_MARGINAL))
        return found, jnp.abs(found / c - 1).max(), count + 1

    first = jnp.broadcast_to(0.05 * cash + 0.1 * income[:, None], cash.shape) if first is None else first
    found: tuple[Any, ...] = jax.lax.while_loop(
        lambda state: (state[1] > _TOLERANCE) & (state[2] < _LIMIT), step, (first, jnp.inf, jnp.array(0))
    )
    return found


def inside(knots: jax.Array, x: jax.Array, values: jax.Array) -> jax.Array:
    """Values at ``x`` along straight lines between knots, and on beyond the last ones."""
    i = jnp.clip(jnp.searchsorted(knots, x, side="right") - 1, 0, knots.shape[0] - 2)
    return values[i] + (x - knots[i]) / (knots[i + 1] - knots[i]) * (values[i + 1] - values[i])


@jax.jit
def _rest(assets: jax.Array, chain: jax.Array, grid: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    n_e, n_a = assets.shape

    def step(state: tuple[Any, ...]) -> tuple[Any, ...]:
        shares, _, count = state
        found = chain.T @ move(shares, assets, grid)
        return found, jnp.abs(found - shares).max(), count + 1

    first = jnp.full((n_e, n_a), 1 / (n_e * n_a))
    found: tuple[Any, ...] = jax.lax.while_loop(
        lambda state: (state[1] > 1e-13) & (state[2] < 10 * _LIMIT), step, (first, jnp.inf, jnp.array(0))
    )
    return found


@lru_cache(maxsize=8)
def deterministic_steady_state(economy: GlobalEconomy) -> SteadyState:
    """The stationary distribution at the capital stock that reproduces itself.

    Raises
    ------
    ConvergenceError
        If there is none in the economy's ``capital_range``, or a household's problem does not converge.
    """
    chain, weights = jnp.asarray(chain_of(economy).average), jnp.asarray(chain_of(economy).stationary)
    low, high = economy.borrowing_limit, economy.largest_assets
    policy_grid = low + (high - low) * jnp.linspace(0.0, 1.0, _POLICY_POINTS) ** 3
    grid = asset_grid(low, high, _HISTOGRAM_POINTS)

    # on the way, where beta R is all but one, wealth may still be growing when the steps are over: that is too much,
    # too
    settled = [True]

    def excess(capital: float) -> tuple[float, jax.Array]:
        prices = economy.expected_prices(weights, jnp.asarray(capital))
        gross = jnp.broadcast_to(prices.gross_return, prices.income.shape)
        if float(economy.beta * prices.gross_return) >= 1:
            return np.inf, jnp.zeros(())  # nobody would stop saving
        c, _, count = solve_policy(economy, gross, prices.income, chain, policy_grid)
        cash = gross[:, None] * grid + prices.income[:, None]
        assets = jnp.maximum(jax.vmap(lambda x, v: inside(x, v, policy_grid))(c + policy_grid, cash), low)
        shares, _, moves = _rest(assets, chain, grid)
        settled[0] = int(count) < _LIMIT and int(moves) < 10 * _LIMIT
        return float((shares @ grid).sum()) - capital, shares

    bottom, top = economy.capital_range()

    def value(capital: float) -> float:
        return min(excess(capital)[0], high)

    if not value(bottom) > 0 > value(top):
        raise ConvergenceError(
            f"there is no steady state without aggregate risk with a capital stock between {bottom:.4g} and {top:.4g}: "
            "give the economy another capital_range"
        )
    capital = float(brentq(value, bottom, top, xtol=1e-8 * top))
    shares = excess(capital)[1]
    if not settled[0]:
        raise ConvergenceError(
            "a household's problem without aggregate risk does not converge: is beta R below one, and the grid large "
            "enough?"
        )
    return SteadyState(capital, grid, shares)


class BasePolicy(NamedTuple):
    """Consumption at constant capital, which networks correct: log of consumption over the income scale.

    Attributes
    ----------
    log_consumption : array of shape (n_z, n_e, n)
        On equally spaced ``position``; below the point where the borrowing limit begins to bind it goes on smoothly.
    value : array of shape (n_z, n_e, n)
        Expected discounted utility at income scale one, as consumption.
    first, distance : array of shape ()
        Of the positions.
    shift : array of shape ()
        Position is ``log(cash / scale + shift)``.
    """

    log_consumption: jax.Array
    value: jax.Array
    first: jax.Array
    distance: jax.Array
    shift: jax.Array


def income_scale(income: Float[jax.Array, " n_e"]) -> Float[jax.Array, ""]:
    """The unit in which cash on hand and consumption are measured: mean income of the idiosyncratic states.

    If all incomes rise in proportion, for good and at the same return, so does consumption of the same multiple of it.
    """
    return income.mean()


#: Points of the table of a base policy.
_TABLE_POINTS = 1_024
#: Added to cash on hand, in income units, before the log is taken: cash may be zero where there is no least income.
_SHIFT = 0.1


@lru_cache(maxsize=8)
def base_policy(economy: GlobalEconomy, at: float | None = None, externality: float = 0.0) -> BasePolicy:
    """Households' policy where productivity and employment move, but capital stays where it is at rest.

    ``at`` is that capital, the deterministic steady state's by default; ``externality`` is the planner's. The policy
    knows nothing of the law of capital, which is what a global solution is about; it knows where the borrowing limit
    binds, and that job finding depends on the aggregate state.
    """
    chain = chain_of(economy)
    n_z, n_e = economy.n_z, economy.n_e
    capital = jnp.asarray(deterministic_steady_state(economy).capital if at is None else at)
    joint = np.einsum("zy,zyef->zeyf", chain.aggregate, chain.idiosyncratic).reshape(n_z * n_e, n_z * n_e)
    low, high = economy.borrowing_limit, economy.largest_assets
    grid = low + (high - low) * jnp.linspace(0.0, 1.0, _POLICY_POINTS) ** 3
    prices = jax.vmap(lambda z: economy.prices(z, capital))(jnp.arange(n_z))
    gross, income = jnp.repeat(prices.gross_return, n_e), prices.income.reshape(-1)
    scale = jnp.repeat(jax.vmap(income_scale)(prices.income), n_e)
    c, _, count = solve_policy(economy, gross, income, jnp.asarray(joint), grid, externality)
    if int(count) >= _LIMIT:
        raise ConvergenceError(
            "a household's problem at constant capital does not converge: is beta R below one on average?"
        )
    # spendable: cash on hand above what the borrowing limit takes
    spendable = (c + grid - low) / scale[:, None]
    ends = jnp.array([(gross * low + income - low) / scale, (gross * high + income - low) / scale])
    first, last = jnp.log(jnp.maximum(ends[0].min(), 0.0) * 0.8 + _SHIFT), jnp.log(1.2 * ends[1].max() + _SHIFT)
    position = jnp.linspace(first, last, _TABLE_POINTS)
    cash = jnp.exp(position) - _SHIFT

    # beyond both ends consumption goes on along straight lines in cash, from a stretch that is no kink's
    def table(knots: jax.Array, values: jax.Array) -> jax.Array:
        slope_low = (values[2] - values[0]) / (knots[2] - knots[0])
        between = inside(knots, cash, values)
        return jnp.log(jnp.where(cash < knots[0], values[0] + slope_low * (cash - knots[0]), between))

    log_c = jax.vmap(table)(spendable, c / scale[:, None])
    value = _value(economy, log_c, (gross, income, scale), joint, position)
    return BasePolicy(
        log_c.reshape(n_z, n_e, -1), value.reshape(n_z, n_e, -1), first, position[1] - position[0], jnp.asarray(_SHIFT)
    )


def _value(
    economy: GlobalEconomy,
    log_c: jax.Array,
    prices: tuple[jax.Array, ...],
    chain: NDArray[np.float64],
    position: jax.Array,
) -> jax.Array:
    """Log of the constant consumption, over the income scale, that is worth as much as following the policy, (m, n)."""
    gross, income, scale = prices
    spendable = jnp.exp(position) - _SHIFT
    c = jnp.minimum(jnp.exp(log_c), spendable) * scale[:, None]
    assets = spendable * scale[:, None] - c + economy.borrowing_limit
    assets = jnp.minimum(assets, economy.largest_assets)
    # next period's place in the table, by state of tomorrow: (m, n, m')
    cash = gross * assets[..., None] + income - economy.borrowing_limit
    place = np.asarray((jnp.log(jnp.maximum(cash / scale, 0.0) + _SHIFT) - position[0]) / (position[1] - position[0]))
    m, n = log_c.shape
    i = np.clip(place.astype(int), 0, n - 2)
    w = place - i
    probability = np.broadcast_to(chain[:, None, :], place.shape)
    rows = np.broadcast_to(np.arange(m * n).reshape(m, n, 1), place.shape)
    columns = np.arange(m) * n + i
    move = sparse.csr_array(
        (
            np.concatenate([(probability * (1 - w)).ravel(), (probability * w).ravel()]),
            (np.concatenate([rows.ravel()] * 2), np.concatenate([columns.ravel(), columns.ravel() + 1])),
        ),
        shape=(m * n, m * n),
    )
    u = np.asarray(economy.utility(c)).ravel()
    v = spsolve(sparse.csc_array(sparse.eye_array(m * n) - economy.beta * move), u).reshape(m, n)
    return jnp.log(economy.inverse_utility((1 - economy.beta) * jnp.asarray(v)) / scale[:, None])
