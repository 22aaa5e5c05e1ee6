"""The constrained-efficient allocation without aggregate risk, by conventional means: the planner's referee.

A planner who can tell households how much to save, and nothing else, knows that capital moves the return and wages. Her
Euler equation has a term more, the same for all households (Davila, Hong, Krusell and Rios-Rull 2012)::

    u'(c) = beta E[R' u'(c')] + beta D,     D = sum over households of u'(c) d(cash on hand) / dK

At rest capital K and the externality D are constant, so that the household's problem is the market's with a constant.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import root

from estimhank.global_solution.conventional import move_to
from estimhank.global_solution.economy import GlobalEconomy, chain_of
from estimhank.global_solution.histogram import WealthMoments, asset_grid, move, wealth_moments
from estimhank.global_solution.steady import deterministic_steady_state
from estimhank.support.errors import ConvergenceError

#: Grid points, and largest numbers of backward and forward steps.
_POINTS, _LIMIT = 500, 30_000
#: Weights on prices, the last of which is the planner's.
_CARE = tuple(np.linspace(0.0, 1.0, 11)[1:])
#: Capital must be between these multiples of the market's.
_SPAN = (0.6, 6.0)


class PlannerSteadyState(NamedTuple):
    """The planner's allocation at rest.

    Attributes
    ----------
    capital : float
    externality : float
        D.
    wealth : WealthMoments
    market_capital : float
        That of the market economy without aggregate risk.
    """

    capital: float
    externality: float
    wealth: WealthMoments
    market_capital: float


@partial(jax.jit, static_argnums=0)
def _given(
    economy: GlobalEconomy, capital: jax.Array, externality: jax.Array, grid: jax.Array, start: Any
) -> tuple[Any, ...]:
    """Policies and distribution at constant K and D: consumption, histogram, and the externality that they imply."""
    chain, weights = jnp.asarray(chain_of(economy).average), jnp.asarray(chain_of(economy).stationary)
    prices = economy.expected_prices(weights, capital)
    cash = prices.gross_return * grid + prices.income[:, None]

    def choose(c: jax.Array) -> tuple[jax.Array, jax.Array]:
        marginal = economy.beta * (chain @ (prices.gross_return * economy.marginal_utility(c)) + externality)
        end = economy.inverse_marginal_utility(jnp.maximum(marginal, 1e-12))

        def row(knots: jax.Array, x: jax.Array) -> jax.Array:
            i = jnp.clip(jnp.searchsorted(knots, x, side="right") - 1, 0, grid.shape[0] - 2)
            return grid[i] + (x - knots[i]) / (knots[i + 1] - knots[i]) * (grid[i + 1] - grid[i])

        chosen = jnp.clip(jax.vmap(row)(end + grid, cash), grid[0], grid[-1])
        return cash - chosen, chosen

    def back(state: Any) -> Any:
        c, _, n = state
        found, _ = choose(c)
        return found, jnp.abs(found / c - 1).max(), n + 1

    c, _, steps = jax.lax.while_loop(lambda s: (s[1] > 1e-9) & (s[2] < _LIMIT), back, (start[0], jnp.inf, 0))
    _, chosen = choose(c)

    def forth(state: Any) -> Any:
        h, _, n = state
        found = chain.T @ move(h, chosen, grid)
        return found, jnp.abs(found - h).max(), n + 1

    h, _, moves = jax.lax.while_loop(lambda s: (s[1] > 1e-11) & (s[2] < _LIMIT), forth, (start[1], jnp.inf, 0))

    def on_hand(k: jax.Array) -> jax.Array:
        p = economy.expected_prices(weights, k)
        return p.gross_return * grid + p.income[:, None]

    _, moved = jax.jvp(on_hand, (capital,), (jnp.ones(()),))
    implied = (h * economy.marginal_utility(c) * moved).sum()
    return c, h, implied, (h * grid).sum(), (steps < _LIMIT) & (moves < _LIMIT)


def planner_steady_state(economy: GlobalEconomy) -> PlannerSteadyState:
    """Constrained-efficient capital without aggregate risk.

    Raises
    ------
    ConvergenceError
        If no capital stock between 0.6 and 6 times the market's reproduces itself.
    """
    market = deterministic_steady_state(economy)
    grid = asset_grid(economy.borrowing_limit, economy.largest_assets, _POINTS)
    guess = jax.vmap(lambda row: move_to(row, market.grid, grid))(market.histogram)
    prices = economy.expected_prices(jnp.asarray(chain_of(economy).stationary), jnp.asarray(market.capital))
    memory: list[Any] = [0.05 * grid + prices.income[:, None], guess]
    unit = _given(economy, jnp.asarray(market.capital), jnp.zeros(()), grid, tuple(memory))[2]

    sound = [False]

    def gaps(x: NDArray[np.float64], care: float) -> NDArray[np.float64]:
        capital, externality = market.capital * np.exp(x[0]), float(unit) * x[1]
        c, h, implied, held, ok = _given(
            economy, jnp.asarray(capital), jnp.asarray(externality), grid, (memory[0], memory[1])
        )
        sound[0] = bool(ok)
        if sound[0]:
            memory[0], memory[1] = c, h
        return np.array([float(held) / capital - 1, care * float(implied) / float(unit) - x[1]])

    # from the market to the planner: how much she cares for prices rises from nothing to one
    before, last = np.zeros(2), np.zeros(2)
    for care in _CARE:
        guess_x = last + (last - before)
        found = root(gaps, guess_x, args=(care,), options={"xtol": 1e-8, "eps": 1e-5})
        before, last = last, found.x
    capital = float(market.capital * np.exp(found.x[0]))
    left = np.abs(gaps(found.x, 1.0)).max()
    if not sound[0] or left > 1e-5 or not _SPAN[0] < capital / market.capital < _SPAN[1]:
        raise ConvergenceError(
            "the planner's allocation without aggregate risk was not found: households that she makes rich may never "
            "stop "
            "saving; enlarge largest_assets or lower beta"
        )
    return PlannerSteadyState(capital, float(unit) * float(found.x[1]), wealth_moments(memory[1], grid), market.capital)
