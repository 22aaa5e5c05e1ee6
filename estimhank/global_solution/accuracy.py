"""Is a global solution right? Euler and Bellman errors, den Haan's long simulation, the law of capital and the
distribution.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from estimhank.global_solution.bellman import continuation, value_moments, value_of
from estimhank.global_solution.conventional import fit_law, iterate_law, move_to, simulate_aggregate
from estimhank.global_solution.economy import chain_of
from estimhank.global_solution.euler import (
    Problem,
    cash_on_hand,
    euler_residual,
    expected_marginal_value,
    look_ahead,
    next_histograms,
    policy_on_grid,
)
from estimhank.global_solution.histogram import asset_grid, move
from estimhank.global_solution.networks import Frame
from estimhank.global_solution.steady import SteadyState, deterministic_steady_state

#: Share of households below which a point of the histogram counts as empty: with 10^6 households nobody would be there.
ERGODIC_SHARE = 1e-6
#: The published search for the best consumption: points, and how far they reach from the policy's in goods.
_POINTS, _REACH = 11, 5.0
#: Quarters between two states at which errors are taken.
_APART = 20
#: Points of end-of-period assets at which households solve their Euler equation anew in den Haan's simulation.
_EXACT_POINTS = 400


class LongPath(NamedTuple):
    """A long simulation.

    Attributes
    ----------
    z : array of shape (quarters,)
    capital, wealth_sd, wealth_gini : arrays of shape (quarters,)
    mean_histograms : array of shape (n_z, n_e, n_a)
        Average over the quarters of each aggregate state.
    kept : array of shape (n, n_e, n_a)
        Histograms, equally far apart.
    kept_z : array of shape (n,)
    first : array of shape (n_e, n_a)
        Where the path begins.
    """

    z: NDArray[np.int64]
    capital: NDArray[np.float64]
    wealth_sd: NDArray[np.float64]
    wealth_gini: NDArray[np.float64]
    mean_histograms: NDArray[np.float64]
    kept: NDArray[np.float64]
    kept_z: NDArray[np.int64]
    first: NDArray[np.float64]


@partial(jax.jit, static_argnums=0)
def _long(problem: Problem, frame: Frame, weights: Any, first: Any, z: Any, weight: Any, grid: Any) -> tuple[Any, ...]:
    """Blocks of quarters; z is (blocks, quarters + 1), whose last is the next block's first."""

    def quarter(state: tuple[Any, Any], inputs: Any) -> Any:
        h, sums = state
        now, after, counted = inputs
        _, chosen, _, _ = policy_on_grid(problem, frame, weights, now, h, grid)
        share = h.sum(0)
        k = share @ grid
        sd = jnp.sqrt(share @ (grid - k) ** 2)
        gini = share @ (grid * (2 * (jnp.cumsum(share) - share / 2) - 1)) / k
        sums = sums.at[now].add(counted * h)
        return (next_histograms(problem, now, h, chosen, grid)[after], sums), (k, sd, gini)

    def block(state: Any, inputs: Any) -> Any:
        path, counted = inputs
        after, out = jax.lax.scan(quarter, state, (path[:-1], path[1:], counted))
        return after, (*out, state[0])

    sums = jnp.zeros((problem.economy.n_z, *first.shape))
    (_, sums), (k, sd, gini, heads) = jax.lax.scan(block, (first, sums), (z, weight))
    return k.reshape(-1), sd.reshape(-1), gini.reshape(-1), sums, heads


def simulate_long(
    problem: Problem,
    frame: Frame,
    weights: Any,
    quarters: int,
    burn_in: int,
    points: int,
    seed: int,
    rest: SteadyState | None = None,
) -> tuple[LongPath, jax.Array]:
    """A long path from ``rest`` on, by default the deterministic steady state, on a fine grid, which is returned too;
    the burn-in is dropped.

    The aggregate states are those of the referee with the same seed and number of quarters.
    """
    economy = problem.economy
    steady = rest or deterministic_steady_state(economy)
    grid = asset_grid(economy.borrowing_limit, economy.largest_assets, points)
    first = jax.vmap(lambda row: move_to(row, steady.grid, grid))(steady.histogram)
    total = -(-(quarters + burn_in) // _APART) * _APART
    z = simulate_aggregate(chain_of(economy).aggregate, total + 1, np.random.default_rng(seed))
    blocks = np.stack([z[i : i + _APART + 1] for i in range(0, total, _APART)])
    dates = np.arange(total)
    counted = ((dates >= burn_in) & (dates < burn_in + quarters)).astype(float).reshape(-1, _APART)
    k, sd, gini, sums, heads = (
        np.asarray(x) for x in _long(problem, frame, weights, first, jnp.asarray(blocks), jnp.asarray(counted), grid)
    )
    begin = -(-burn_in // _APART)
    kept = slice(burn_in, burn_in + quarters)
    totals = sums.sum((1, 2), keepdims=True)
    return LongPath(
        z[kept], k[kept], sd[kept], gini[kept], sums / np.maximum(totals, 1e-300), heads[begin:],
        blocks[begin:, 0], heads[begin],
    ), grid  # fmt: skip


@partial(jax.jit, static_argnums=0)
def _euler_errors(problem: Problem, frame: Frame, weights: Any, z: Any, histograms: Any, grid: Any) -> jax.Array:
    n_e, n = histograms.shape[1:]
    e, i = jnp.repeat(jnp.arange(n_e), n), jnp.tile(jnp.arange(n), n_e)

    def one(state: Any) -> jax.Array:
        now, h = state
        ahead = look_ahead(problem, frame, weights, now, h, grid)
        capital = (h * grid).sum()

        def household(a: jax.Array, b: jax.Array) -> jax.Array:
            return euler_residual(problem, frame, weights, now, capital, a, grid[b], ahead)

        return jax.vmap(household)(e, i).reshape(n_e, n)

    found: jax.Array = jax.lax.map(one, (z, histograms))
    return found


class ErrorFigures(NamedTuple):
    """Log10 of errors relative to consumption: mean over households, mean over points of the ergodic set, largest
    there.
    """

    mean: float
    mean_of_points: float
    largest: float


def _log10(value: float) -> float:
    return float(np.log10(max(value, 1e-16)))


def _thin(path: LongPath, states: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    chosen = np.unique(np.linspace(0, len(path.kept) - 1, min(states, len(path.kept))).astype(int))
    return path.kept_z[chosen], path.kept[chosen]


def euler_errors(
    problem: Problem, frame: Frame, weights: Any, path: LongPath, grid: jax.Array, states: int
) -> ErrorFigures:
    """Unit-free Euler errors on the ergodic set: simulated aggregate states, and points where there is a millionth of
    households.
    """
    z, histograms = _thin(path, states)
    error = np.abs(np.asarray(_euler_errors(problem, frame, weights, jnp.asarray(z), jnp.asarray(histograms), grid)))
    there = histograms > ERGODIC_SHARE
    mean = float((error * histograms).sum() / histograms.sum())
    return ErrorFigures(_log10(mean), _log10(float(error[there].mean())), _log10(float(error[there].max())))


class BellmanFigures(NamedTuple):
    """Mean over households of |V - what it should be|, in utility.

    Attributes
    ----------
    published : float
        Should be the largest of u(c) + beta E V' over 11 equally spaced c, the published definition; most of what is
        left in a good solution is the distance between the 11 points.
    policy : float
        Should be what the policy's own consumption is worth.
    best : float
        Should be the maximum, where the 11 points are followed by four more searches over 11 points around the best of
        them.
    """

    published: float
    policy: float
    best: float


@partial(jax.jit, static_argnums=0)
def _bellman_errors(problem: Problem, of_policy: Any, of_value: Any, z: Any, histograms: Any, grid: Any) -> Any:
    economy = problem.economy
    n_e, n = histograms.shape[1:]
    e = jnp.broadcast_to(jnp.arange(n_e)[:, None], (n_e, n))
    (policy_frame, policy), (frame, weights) = of_policy, of_value

    def one(state: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
        now, h = state
        c, chosen, _, _ = policy_on_grid(problem, policy_frame, policy, now, h, grid)
        following = next_histograms(problem, now, h, chosen, grid)
        ahead = value_moments(problem, frame, weights, h, following, grid)
        capital, after = (h * grid).sum(), (following[0] * grid).sum()
        cash, scale = cash_on_hand(economy, now, capital, jnp.broadcast_to(grid, h.shape))
        value = value_of(problem, frame, weights, now, e, cash, scale, ahead.moments)

        def worth(spent: jax.Array) -> jax.Array:
            left = cash - spent + economy.borrowing_limit
            later = jax.vmap(lambda a, b: continuation(problem, frame, weights, now, a, b, after, ahead))(
                e.reshape(-1), left.reshape(-1)
            )
            return economy.utility(spent) + later.reshape(n_e, n)

        low = c - jnp.minimum(0.95 * c, _REACH)
        high = c + jnp.minimum(jnp.maximum(cash - c - 1e-6, 0.0), _REACH)

        def search(ends: Any, _: Any) -> Any:
            low, high = ends
            points = low + (high - low) * jnp.linspace(0, 1, _POINTS)[:, None, None]
            values = jax.lax.map(worth, points)
            best = values.argmax(0)
            lower = jnp.take_along_axis(points, jnp.maximum(best - 1, 0)[None], 0)[0]
            upper = jnp.take_along_axis(points, jnp.minimum(best + 1, _POINTS - 1)[None], 0)[0]
            return (lower, upper), values.max(0)

        _, found = jax.lax.scan(search, (low, high), None, length=5)
        share = h / h.sum()

        def error(x: jax.Array) -> jax.Array:
            found: jax.Array = (share * jnp.abs(value - x)).sum()
            return found

        return error(found[0]), error(worth(c)), error(found.max(0))

    return jax.lax.map(one, (z, histograms))


def bellman_errors(
    problem: Problem, of_policy: Any, of_value: Any, path: LongPath, grid: jax.Array, states: int
) -> BellmanFigures:
    """Errors of the value function over simulated states, weighted by households; ``of_policy``: (frame, weights)."""
    z, histograms = _thin(path, states)
    found = _bellman_errors(problem, of_policy, of_value, jnp.asarray(z), jnp.asarray(histograms), grid)
    return BellmanFigures(*(float(np.asarray(x).mean()) for x in found))


@partial(jax.jit, static_argnums=0)
def _exact_path(problem: Problem, frame: Frame, weights: Any, first: Any, z: Any, grid: Any) -> jax.Array:
    economy = problem.economy
    ends = asset_grid(economy.borrowing_limit, economy.largest_assets, _EXACT_POINTS)
    n_e = economy.n_e
    e = jnp.repeat(jnp.arange(n_e), _EXACT_POINTS)

    def quarter(h: jax.Array, states: Any) -> tuple[jax.Array, jax.Array]:
        now, after = states
        capital = (h * grid).sum()
        ahead = look_ahead(problem, frame, weights, now, h, grid)
        marginal = jax.vmap(lambda a, b: expected_marginal_value(problem, frame, weights, now, a, b, ahead))(
            e, jnp.tile(ends, n_e)
        )
        c = economy.inverse_marginal_utility(marginal).reshape(n_e, -1)
        cash, _ = cash_on_hand(economy, now, capital, jnp.broadcast_to(grid, h.shape))
        spent = c + ends - economy.borrowing_limit
        chosen = jax.vmap(lambda x, knots: jnp.interp(x, knots, ends))(cash, spent)
        moved = move(h, chosen, grid)
        return jnp.asarray(chain_of(economy).idiosyncratic)[now, after].T @ moved, capital

    path: jax.Array = jax.lax.scan(quarter, first, (z[:-1], z[1:]))[1]
    return path


@partial(jax.jit, static_argnums=0)
def _own_path(problem: Problem, frame: Frame, weights: Any, first: Any, z: Any, grid: Any) -> jax.Array:
    def quarter(h: jax.Array, states: Any) -> tuple[jax.Array, jax.Array]:
        now, after = states
        _, chosen, _, _ = policy_on_grid(problem, frame, weights, now, h, grid)
        return next_histograms(problem, now, h, chosen, grid)[after], (h * grid).sum()

    path: jax.Array = jax.lax.scan(quarter, first, (z[:-1], z[1:]))[1]
    return path


class DenHaanFigures(NamedTuple):
    """Errors of capital over a long simulation that is never corrected, in percent of capital: mean and largest."""

    mean: float
    largest: float


def den_haan_errors(
    problem: Problem, frame: Frame, weights: Any, path: LongPath, fine: jax.Array, training_grid: jax.Array
) -> DenHaanFigures:
    """Den Haan's (2010) simulation: the law of capital that households believe in against what exact households would
    do.

    The believed law is the networks' own: their policy carries the histogram on the grid of training. Against it stand
    households on a fine grid who solve their Euler equation exactly in every quarter, with the networks as next
    period's policy. Both begin with the same distribution, see the same aggregate states, and are never reset; what
    either gets wrong adds up.
    """
    first = jnp.asarray(path.first)
    coarse = jax.vmap(lambda row: move_to(row, fine, training_grid))(first)
    z = jnp.asarray(path.z)
    own = np.asarray(_own_path(problem, frame, weights, coarse, z, training_grid))
    exact = np.asarray(_exact_path(problem, frame, weights, first, z, fine))
    error = 100 * np.abs(own / exact - 1)
    return DenHaanFigures(float(error.mean()), float(error.max()))


@dataclass(frozen=True)
class Law:
    """``log K' = intercept[z] + gradient[z] log K`` fitted to a simulation: (n_z,) each, with R squared, and its own
    error.

    ``mean_error`` and ``largest_error`` are den Haan's, of this line iterated by itself, in percent of capital.
    """

    intercept: NDArray[np.float64]
    gradient: NDArray[np.float64]
    r_squared: NDArray[np.float64]
    mean_error: float
    largest_error: float

    @classmethod
    def of(cls, path: LongPath, n_z: int) -> Law:
        """Fitted to a path."""
        found, fit = fit_law(path.capital, path.z, n_z)
        error = 100 * np.abs(iterate_law(found, path.z, path.capital[0]) / path.capital - 1)
        return cls(found[:, 0], found[:, 1], fit, float(error.mean()), float(error.max()))
