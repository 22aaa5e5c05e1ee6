"""The same economy without aggregate risk: paths under perfect foresight, linear and nonlinear.

What is uncertain in a global solution, productivity and job finding, follows here its expected path, known to
everybody. The difference between the two responses is what aggregate risk and its history do; the difference between
the nonlinear and the linear path is curvature.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from estimhank.global_solution.conventional import move_to
from estimhank.global_solution.economy import Chain, GlobalEconomy, chain_of
from estimhank.global_solution.histogram import asset_grid, move
from estimhank.global_solution.steady import deterministic_steady_state
from estimhank.support.errors import ConvergenceError

#: Grid points of a path's policies and histograms; quarters after which the economy is at rest.
_POINTS, _QUARTERS = 240, 300
_LIMIT = 20_000
#: Residual of capital, relative, at which a path has been found; and steps that are tried.
_TOLERANCE, _STEPS = 1e-9, 60
#: How far from the steady state of a finer grid that of this one is searched, as a share.
_AWAY = 0.1


class ExpectedPath(NamedTuple):
    """What is exogenous, date by date.

    Attributes
    ----------
    weights : array of shape (T, n_z)
        Probabilities of aggregate states.
    chains : array of shape (T, n_e, n_e)
        How households' own states change from date t to t + 1.
    before : array of shape (n_e, n_e)
        The same from the date before the first.
    """

    weights: NDArray[np.float64]
    chains: NDArray[np.float64]
    before: NDArray[np.float64]


def expected_path(chain: Chain, first: int | None, quarters: int = _QUARTERS) -> ExpectedPath:
    """Expected paths given that the aggregate state of date 0 is ``first``; nothing is known of it where that is None.

    Households' states before date 0 are those of the stationary distribution.
    """
    n_z, _, n_e, _ = chain.idiosyncratic.shape
    joint = np.einsum("zy,zyef->zeyf", chain.aggregate, chain.idiosyncratic)
    stationary = _stationary(joint.reshape(n_z * n_e, n_z * n_e)).reshape(n_z, n_e)
    share = stationary.sum(0)
    mass = stationary
    before = chain.average
    if first is not None:
        mass = np.zeros_like(stationary)
        mass[first] = stationary[first] / stationary[first].sum()
        flow = np.einsum("ze,zef->ef", stationary, joint[:, :, first])
        before = _fit_margins(flow, share, mass[first]) / share[:, None]
    weights, chains = np.empty((quarters, n_z)), np.empty((quarters, n_e, n_e))
    for t in range(quarters):
        weights[t] = mass.sum(1)
        flow = np.einsum("ze,zeyf->ef", mass, joint)
        chains[t] = flow / flow.sum(1, keepdims=True)
        mass = np.einsum("ze,zeyf->yf", mass, joint)
    return ExpectedPath(weights, chains, before)


def _fit_margins(
    flow: NDArray[np.float64], rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The table nearest to ``flow`` with given sums of rows and columns (iterative proportional fitting).

    Before date 0 nothing is known of the aggregate state, at date 0 as many are unemployed as that state has: who moves
    must make up for the difference, and nobody's wealth changes.
    """
    for _ in range(2_000):
        flow = flow * (rows / flow.sum(1))[:, None]
        flow = flow * columns / flow.sum(0)
        if np.abs(flow.sum(1) - rows).max() < 1e-14:
            break
    return flow


def _stationary(p: NDArray[np.float64]) -> NDArray[np.float64]:
    n = len(p)
    return np.asarray(np.linalg.lstsq(np.vstack([p.T - np.eye(n), np.ones(n)]), np.append(np.zeros(n), 1.0))[0])


def _choose(economy: GlobalEconomy, c_end: jax.Array, prices: Any, grid: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Consumption and assets chosen on the grid, given consumption at each end-of-period grid point."""
    cash = prices.gross_return * grid + prices.income[:, None]

    def row(knots: jax.Array, x: jax.Array) -> jax.Array:
        i = jnp.clip(jnp.searchsorted(knots, x, side="right") - 1, 0, grid.shape[0] - 2)
        return grid[i] + (x - knots[i]) / (knots[i + 1] - knots[i]) * (grid[i + 1] - grid[i])

    chosen = jnp.maximum(jax.vmap(row)(c_end + grid, cash), grid[0])
    return cash - chosen, chosen


def _end(economy: GlobalEconomy, chain: jax.Array, gross: jax.Array, c_next: jax.Array) -> jax.Array:
    return economy.inverse_marginal_utility(economy.beta * chain @ (gross * economy.marginal_utility(c_next)))


@partial(jax.jit, static_argnums=0)
def _at_rest(
    economy: GlobalEconomy, capital: jax.Array, grid: jax.Array, guess: jax.Array
) -> tuple[jax.Array, jax.Array]:
    chain, weights = jnp.asarray(chain_of(economy).average), jnp.asarray(chain_of(economy).stationary)
    prices = economy.expected_prices(weights, capital)

    def back(state: Any) -> Any:
        c, _, n = state
        found, _ = _choose(economy, _end(economy, chain, prices.gross_return, c), prices, grid)
        return found, jnp.abs(found / c - 1).max(), n + 1

    first = 0.05 * grid + prices.income[:, None]
    c, _, _ = jax.lax.while_loop(lambda s: (s[1] > 1e-11) & (s[2] < _LIMIT), back, (first, jnp.inf, 0))
    _, chosen = _choose(economy, _end(economy, chain, prices.gross_return, c), prices, grid)

    def forth(state: Any) -> Any:
        h, _, n = state
        found = chain.T @ move(h, chosen, grid)
        return found, jnp.abs(found - h).max(), n + 1

    h, _, _ = jax.lax.while_loop(lambda s: (s[1] > 1e-13) & (s[2] < 10 * _LIMIT), forth, (guess, jnp.inf, 0))
    return c, move(h, chosen, grid)


def _rest(economy: GlobalEconomy, grid: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Consumption, the histogram after choices, and capital at rest on this grid.

    Capital that households hold answers to the return by hundreds of per cent, so that the steady state of another grid
    is none on this one: with 240 points in place of 600 households would hold a twenty-fifth more.
    """
    steady = deterministic_steady_state(economy)
    weights = jnp.asarray(chain_of(economy).stationary)
    found = [jax.vmap(lambda row: move_to(row, steady.grid, grid))(steady.histogram), jnp.zeros(())]

    def excess(capital: float) -> float:
        if float(economy.beta * economy.expected_prices(weights, jnp.asarray(capital)).gross_return) >= 1:
            return float(grid[-1])  # nobody would stop saving
        found[1], found[0] = _at_rest(economy, jnp.asarray(capital), grid, found[0])
        return float((found[0] * grid).sum()) - capital

    low, high = ((1 + sign * _AWAY) * steady.capital for sign in (-1, 1))
    if not excess(low) > 0 > excess(high):
        raise ConvergenceError("the economy has no steady state on the grid of perfect foresight")
    capital = float(brentq(excess, low, high, xtol=_TOLERANCE * steady.capital))
    excess(capital)
    return found[1], found[0], jnp.asarray(capital)


@partial(jax.jit, static_argnums=0)
def _implied(
    economy: GlobalEconomy, rest: Any, grid: jax.Array, path: Any, capital: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Capital that households hold at each date, and consumption, (T,) each, at a guess of capital from date 1 on,
    (T,).

    ``rest`` is consumption at rest, the histogram after choices of the date before, and capital at date 0.
    """
    c_last, chosen_before, first = rest
    weights, chains, before = path
    whole = jnp.concatenate([first[None], capital])
    ahead = jnp.concatenate([weights[1:], weights[-1:]])

    def back(c_next: jax.Array, date: Any) -> Any:
        w, w_next, chain, k, k_next = date
        after = economy.expected_prices(w_next, k_next)
        c, chosen = _choose(
            economy, _end(economy, chain, after.gross_return, c_next), economy.expected_prices(w, k), grid
        )
        return c, (c, chosen)

    _, (c, chosen) = jax.lax.scan(back, c_last, (weights, ahead, chains, whole[:-1], whole[1:]), reverse=True)

    def forth(h: jax.Array, date: Any) -> Any:
        own, spent, chain = date
        moved = move(h, own, grid)
        return chain.T @ moved, ((moved @ grid).sum(), (h * spent).sum())

    _, found = jax.lax.scan(forth, before.T @ chosen_before, (chosen, c, chains))
    out: tuple[jax.Array, jax.Array] = found
    return out


@partial(jax.jit, static_argnums=0)
def _jacobian(economy: GlobalEconomy, rest: Any, grid: jax.Array, path: Any, capital: jax.Array) -> Any:
    """Derivatives of implied capital and consumption with respect to capital, (T, T) each."""
    return jax.jacfwd(lambda k: _implied(economy, rest, grid, path, k))(capital)


@dataclass(frozen=True)
class ForesightResponse:
    """Deviations from rest in percent, (T,) each, of capital at the beginning of quarters 0, 1, ... and of
    consumption.
    """

    capital: NDArray[np.float64]
    consumption: NDArray[np.float64]
    linear_capital: NDArray[np.float64]
    linear_consumption: NDArray[np.float64]


def foresight_responses(
    economy: GlobalEconomy, firsts: tuple[int, ...], quarters: int = _QUARTERS
) -> list[ForesightResponse]:
    """Responses to the news that the aggregate state of date 0 is each of ``firsts``, from the steady state.

    Raises
    ------
    ConvergenceError
        If Newton's method finds no path.
    """
    low, high = economy.borrowing_limit, economy.largest_assets
    grid = asset_grid(low, high, _POINTS)
    rest = _rest(economy, grid)
    capital = float(rest[2])
    at_rest = jax.tree.map(jnp.asarray, tuple(expected_path(chain_of(economy), None, quarters)))
    flat = jnp.full(quarters, capital)
    to_capital, to_consumption = (np.asarray(x) for x in _jacobian(economy, rest, grid, at_rest, flat))
    newton = np.linalg.inv(to_capital - np.eye(quarters))

    def solve(path: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        k = np.asarray(flat)
        for _ in range(_STEPS):
            implied, spent = (np.asarray(x) for x in _implied(economy, rest, grid, path, jnp.asarray(k)))
            residual = implied - k
            if np.abs(residual).max() < _TOLERANCE * capital:
                return k, spent
            k = k - newton @ residual
        raise ConvergenceError("no path under perfect foresight was found: the aggregate states are too far apart")

    base_k, base_c = solve(at_rest)
    found = []
    for first in firsts:
        path = jax.tree.map(jnp.asarray, tuple(expected_path(chain_of(economy), first, quarters)))
        k, spent = solve(path)
        change = jax.tree.map(lambda x, y: x - y, path, at_rest)
        _, (d_k, d_c) = jax.jvp(lambda p: _implied(economy, rest, grid, p, jnp.asarray(base_k)), (at_rest,), (change,))
        linear = -newton @ np.asarray(d_k)
        linear_c = np.asarray(d_c) + to_consumption @ linear
        begin = np.zeros(1)
        found.append(
            ForesightResponse(
                np.append(begin, 100 * (k / base_k - 1))[:-1], 100 * (spent / base_c - 1),
                np.append(begin, 100 * linear / base_k)[:-1], 100 * linear_c / base_c,
            )
        )  # fmt: skip
    return found
