"""The referee: Krusell and Smith's own method on a fine grid, which shares nothing with the networks but the economy.

Households believe that capital follows ``log K' = a_z + b_z log K``. Their problem is solved by the endogenous grid
method for that belief, a histogram is simulated with the policies found, and the belief is replaced by the regression
on what was simulated, until it no longer changes (Krusell and Smith 1998; Young 2010 for the histogram).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from estimhank.global_solution.economy import GlobalEconomy, chain_of
from estimhank.global_solution.histogram import WealthMoments, asset_grid, move, wealth_moments
from estimhank.global_solution.steady import deterministic_steady_state
from estimhank.households.interpolation import interpolate_rows_smoothly
from estimhank.support.errors import ConvergenceError

#: Share of the way from the belief to the regression: the regression moves against the belief, by more than the belief
#: was moved.
_STEP = 0.3

#: Capital is gridded this far around the deterministic steady state; shocks of the published size move it by a tenth.
CAPITAL_SPAN = (0.75, 1.35)


@dataclass(frozen=True)
class ConventionalSizes:
    """How fine.

    Attributes
    ----------
    assets, capital : int
        Grid points of a household's assets and of capital, for policies.
    histogram : int
        Points of the simulated histogram.
    quarters, burn_in : int
        Simulated, and dropped.
    """

    assets: int = 400
    capital: int = 24
    histogram: int = 1000
    quarters: int = 10_000
    burn_in: int = 1_000


@dataclass(frozen=True)
class ConventionalSolution:
    """What the referee found.

    What is simulated is along the path of aggregate states that the belief was found on; :func:`simulate_conventional`
    follows others.

    Attributes
    ----------
    intercept, gradient : array of shape (n_z,)
        ``log K' = intercept[z] + gradient[z] log K``.
    r_squared : array of shape (n_z,)
        Of these regressions.
    capital : array of shape (quarters,)
        Simulated capital, after the burn-in.
    z : array of shape (quarters,)
        Aggregate states.
    wealth : WealthMoments
        Of the last histogram.
    wealth_sd, wealth_gini : array of shape (quarters,)
        Cross-sectional s.d. and Gini coefficient of assets.
    den_haan : array of shape (quarters,)
        Error of the believed law iterated by itself, in percent of capital (den Haan 2010).
    assets_grid, capital_grid : arrays of shape (n_a,), (n_K,)
    policy : array of shape (n_z, n_e, n_K, n_a)
        Assets chosen.
    iterations : int
        Of the belief.
    """

    intercept: NDArray[np.float64]
    gradient: NDArray[np.float64]
    r_squared: NDArray[np.float64]
    capital: NDArray[np.float64]
    z: NDArray[np.int64]
    wealth: WealthMoments
    wealth_sd: NDArray[np.float64]
    wealth_gini: NDArray[np.float64]
    den_haan: NDArray[np.float64]
    assets_grid: NDArray[np.float64]
    capital_grid: NDArray[np.float64]
    policy: NDArray[np.float64]
    iterations: int


def simulate_aggregate(
    aggregate: NDArray[np.float64], quarters: int, rng: np.random.Generator, first: int = 0
) -> NDArray[np.int64]:
    """A path of the aggregate state's index, shape (quarters,)."""
    upper = np.cumsum(aggregate, axis=1)
    u = rng.random(quarters)
    z = np.empty(quarters, np.int64)
    z[0] = first
    for t in range(1, quarters):
        z[t] = min(int(np.searchsorted(upper[z[t - 1]], u[t], side="right")), len(upper) - 1)
    return z


def _between(values: jax.Array, knots: jax.Array, x: jax.Array) -> jax.Array:
    """Values on equally spaced knots, (n_K, ...), at one ``x``, by the cubic through the four nearest.

    Straight lines between 24 points are not enough: policies are slightly concave in capital, what households save too
    much on average is tiny, and yet the spread of wealth, which is near a random walk, comes out a tenth too large.
    """
    n = knots.shape[0]
    position = jnp.clip((x - knots[0]) / (knots[1] - knots[0]), 0.0, n - 1.0)
    i = jnp.clip(position.astype(int), 1, n - 3)
    w = position - i
    found: jax.Array = (
        -values[i - 1] * w * (w - 1) * (w - 2) / 6
        + values[i] * (w + 1) * (w - 1) * (w - 2) / 2
        - values[i + 1] * (w + 1) * w * (w - 2) / 2
        + values[i + 2] * (w + 1) * w * (w - 1) / 6
    )
    return found


@partial(jax.jit, static_argnums=0)
def _solve_household(
    economy: GlobalEconomy,
    belief: Float[jax.Array, "n_z two"],
    policy: Float[jax.Array, "n_z n_e n_K n_a"],
    grid: Float[jax.Array, " n_a"],
    capital: Float[jax.Array, " n_K"],
) -> tuple[Any, ...]:
    chain = chain_of(economy)
    aggregate, idiosyncratic = jnp.asarray(chain.aggregate), jnp.asarray(chain.idiosyncratic)
    n_z = economy.n_z
    now = jax.vmap(lambda z: jax.vmap(lambda k: economy.prices(z, k))(capital))(jnp.arange(n_z))

    def expected(assets: jax.Array) -> jax.Array:
        """E[beta R' u'(c')] at (z, e, K, a')."""

        def at(z: jax.Array, k: jax.Array) -> jax.Array:
            k_next = jnp.exp(belief[z, 0] + belief[z, 1] * jnp.log(k))

            def tomorrow(z_next: jax.Array) -> jax.Array:
                prices = economy.prices(z_next, k_next)
                chosen = _between(jnp.moveaxis(assets[z_next], 1, 0), capital, k_next)
                c = prices.gross_return * grid[None] + prices.income[:, None] - chosen
                marginal = prices.gross_return * economy.marginal_utility(c)
                found: jax.Array = aggregate[z, z_next] * (idiosyncratic[z, z_next] @ marginal)
                return found

            return economy.beta * jax.vmap(tomorrow)(jnp.arange(n_z)).sum(0)

        found: jax.Array = jax.vmap(lambda z: jax.vmap(lambda k: at(z, k))(capital))(jnp.arange(n_z))
        return jnp.moveaxis(found, 2, 1)

    def step(state: tuple[Any, ...]) -> tuple[Any, ...]:
        assets, _, count = state
        c = economy.inverse_marginal_utility(expected(assets))
        income = jnp.moveaxis(now.income, 2, 1)[..., None]
        endogenous = (c + grid - income) / now.gross_return[:, None, :, None]
        chosen = interpolate_rows_smoothly(grid, endogenous.reshape(-1, grid.shape[0]), grid).reshape(assets.shape)
        chosen = jnp.maximum(chosen, grid[0])
        return chosen, jnp.abs(chosen - assets).max(), count + 1

    return jax.lax.while_loop(
        lambda state: (state[1] > 1e-8 * grid[-1]) & (state[2] < 20_000), step, (policy, jnp.inf, jnp.array(0))
    )


def _interpolate(x: jax.Array, knots: jax.Array, values: jax.Array) -> jax.Array:
    i = jnp.clip(jnp.searchsorted(knots, x, side="right") - 1, 0, knots.shape[0] - 2)
    return values[i] + (x - knots[i]) / (knots[i + 1] - knots[i]) * (values[i + 1] - values[i])


def _on(fine: jax.Array, grid: jax.Array, policy: jax.Array) -> jax.Array:
    return jax.vmap(jax.vmap(jax.vmap(lambda row: _interpolate(fine, grid, row))))(policy)


def _start(economy: GlobalEconomy, fine: jax.Array) -> jax.Array:
    """The deterministic steady state's histogram on another grid."""
    steady = deterministic_steady_state(economy)
    return jax.vmap(lambda row: move_to(row, steady.grid, fine))(jnp.asarray(steady.histogram))


@partial(jax.jit, static_argnums=0)
def _simulate(
    economy: GlobalEconomy,
    policy: Float[jax.Array, "n_z n_e n_K n_f"],
    capital: Float[jax.Array, " n_K"],
    grid: Float[jax.Array, " n_f"],
    histogram: Float[jax.Array, "n_e n_f"],
    z: Any,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    idiosyncratic = jnp.asarray(chain_of(economy).idiosyncratic)
    by_capital = jnp.moveaxis(policy, 2, 1)

    def quarter(state: jax.Array, states: Any) -> tuple[jax.Array, Any]:
        now, after = states
        k = (state @ grid).sum()
        share = state.sum(0)
        sd = jnp.sqrt(share @ (grid - k) ** 2)
        gini = share @ (grid * (2 * (jnp.cumsum(share) - share / 2) - 1)) / k
        moved = move(state, _between(by_capital[now], capital, k), grid)
        return idiosyncratic[now, after].T @ moved, (k, sd, gini)

    last, (k, sd, gini) = jax.lax.scan(quarter, histogram, (z[:-1], z[1:]))
    return k, sd, gini, last


def solve_conventional(
    economy: GlobalEconomy,
    sizes: ConventionalSizes | None = None,
    seed: int = 1,
    say: Callable[[str], None] | None = None,
    tolerance: float = 1e-6,
) -> ConventionalSolution:
    """Krusell and Smith's algorithm.

    Parameters
    ----------
    economy : GlobalEconomy
    sizes : ConventionalSizes, optional
    seed : int
        Of the aggregate path.
    say : callable, optional
        Told of each round in words.
    tolerance : float
        Change of the believed capital over its range, relative, at which the belief has been found.

    Raises
    ------
    ConvergenceError
        If the belief goes on changing.
    """
    sizes = sizes or ConventionalSizes()
    steady = deterministic_steady_state(economy)
    low, high = economy.borrowing_limit, economy.largest_assets
    grid = low + (high - low) * jnp.linspace(0.0, 1.0, sizes.assets) ** 3
    fine = asset_grid(low, high, sizes.histogram)
    capital = jnp.linspace(CAPITAL_SPAN[0] * steady.capital, CAPITAL_SPAN[1] * steady.capital, sizes.capital)
    n_z, n_e = economy.n_z, economy.n_e
    belief = np.stack([np.full(n_z, 0.04 * np.log(steady.capital)), np.full(n_z, 0.96)], 1)
    policy = jnp.broadcast_to(0.95 * grid, (n_z, n_e, sizes.capital, sizes.assets))
    z = simulate_aggregate(chain_of(economy).aggregate, sizes.quarters + sizes.burn_in + 1, np.random.default_rng(seed))
    start = _start(economy, fine)
    for iteration in range(1, 101):
        policy, _, _ = _solve_household(economy, jnp.asarray(belief), policy, grid, capital)
        k, sd, gini, last = _simulate(economy, _on(fine, grid, policy), capital, fine, start, jnp.asarray(z))
        path, kept = np.asarray(k), slice(sizes.burn_in, None)
        found, r_squared = fit_law(path[kept], z[:-1][kept], n_z)
        ends = np.log(np.array([path[kept].min(), path[kept].max()]))
        change = float(np.abs((found - belief)[:, :1] + (found - belief)[:, 1:] * ends).max())
        if say:
            say(f"belief {iteration}: {'; '.join(f'{a:.5f} + {b:.5f} log K' for a, b in found)}, change {change:.1e}")
        belief = belief + _STEP * (found - belief)
        if change < tolerance:
            break
    else:
        raise ConvergenceError("Krusell and Smith's method has not found a belief that confirms itself in 100 rounds")
    iterated = iterate_law(found, z[:-1], path[sizes.burn_in], sizes.burn_in)
    return ConventionalSolution(
        found[:, 0], found[:, 1], r_squared, path[kept], z[:-1][kept], wealth_moments(last, fine),
        np.asarray(sd)[kept], np.asarray(gini)[kept],
        100 * np.abs(iterated / path[kept] - 1), np.asarray(grid), np.asarray(capital), np.asarray(policy), iteration,
    )  # fmt: skip


class ConventionalPath(NamedTuple):
    """A simulation of the referee: capital, cross-sectional s.d. and Gini coefficient of assets, (quarters,) each."""

    capital: NDArray[np.float64]
    wealth_sd: NDArray[np.float64]
    wealth_gini: NDArray[np.float64]


def simulate_conventional(
    economy: GlobalEconomy,
    found: ConventionalSolution,
    sizes: ConventionalSizes,
    seed: int,
    equal: float | None = None,
) -> ConventionalPath:
    """Follow the referee's policies along another path of aggregate states, from the deterministic steady state on.

    Parameters
    ----------
    economy : GlobalEconomy
    found : ConventionalSolution
    sizes : ConventionalSizes
        Points of the histogram, and quarters; those of the policies are as they were found.
    seed : int
        Of the aggregate path.
    equal : float, optional
        Wealth of every household at the first date, in place of the steady state's distribution.
    """
    fine = asset_grid(economy.borrowing_limit, economy.largest_assets, sizes.histogram)
    z = simulate_aggregate(chain_of(economy).aggregate, sizes.quarters + sizes.burn_in + 1, np.random.default_rng(seed))
    on_fine = _on(fine, jnp.asarray(found.assets_grid), jnp.asarray(found.policy))
    capital = jnp.asarray(found.capital_grid)
    start = _start(economy, fine)
    if equal is not None:
        start = jax.vmap(lambda share: move_to(share[None], jnp.array([equal]), fine))(start.sum(1))
    *simulated, _ = _simulate(economy, on_fine, capital, fine, start, jnp.asarray(z))
    return ConventionalPath(*(np.asarray(x)[sizes.burn_in :] for x in simulated))


def move_to(shares: jax.Array, grid: jax.Array, other: jax.Array) -> jax.Array:
    """Shares on one grid as shares on another, with the same mean; shape (n,) to (m,)."""
    i = jnp.clip(jnp.searchsorted(other, grid, side="right") - 1, 0, other.shape[0] - 2)
    up = shares * jnp.clip((grid - other[i]) / (other[i + 1] - other[i]), 0.0, 1.0)
    return jnp.zeros(other.shape[0]).at[i].add(shares - up).at[i + 1].add(up)


def fit_law(
    capital: NDArray[np.float64], z: NDArray[np.int64], n_z: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Regressions log K' on a constant and log K by aggregate state: coefficients (n_z, 2) and R squared (n_z,)."""
    coefficients, fit = np.empty((n_z, 2)), np.empty(n_z)
    x, y = np.log(capital[:-1]), np.log(capital[1:])
    for state in range(n_z):
        of = z[: len(x)] == state
        design = np.stack([np.ones(of.sum()), x[of]], 1)
        coefficients[state] = np.linalg.lstsq(design, y[of])[0]
        fit[state] = 1 - ((y[of] - design @ coefficients[state]) ** 2).sum() / ((y[of] - y[of].mean()) ** 2).sum()
    return coefficients, fit


def iterate_law(law: NDArray[np.float64], z: NDArray[np.int64], first: float, start: int = 0) -> NDArray[np.float64]:
    """Capital by the law alone from date ``start`` on, never corrected by what happened."""
    path = np.empty(len(z) - start)
    path[0] = first
    for t in range(1, len(path)):
        intercept, gradient = law[z[start + t - 1]]
        path[t] = np.exp(intercept + gradient * np.log(path[t - 1]))
    return path
