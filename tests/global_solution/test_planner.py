"""The constrained-efficient planner against the welfare that she maximises."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from estimhank.global_solution.accuracy import simulate_long
from estimhank.global_solution.economies import find_economy, make_economy
from estimhank.global_solution.economy import Chain, GlobalEconomy, KrusellSmithEconomy, Prices, chain_of
from estimhank.global_solution.histogram import wealth_moments
from estimhank.global_solution.planner import AtRest, Households, explosive_wealth, planner_at_rest
from estimhank.global_solution.settings import NetworkConfig, TrainingConfig
from estimhank.global_solution.steady import deterministic_steady_state
from estimhank.global_solution.training import Solver

ECONOMY = KrusellSmithEconomy()
UNEQUAL = find_economy("examples/constrained_efficiency.py:Unequal")


def welfare(
    economy: GlobalEconomy, capital: float, found: AtRest, grid: np.ndarray, more: np.ndarray, step: float
) -> float:
    """Utility of two dates if at the first everybody saves ``step * more`` more, and at the second as without that.

    Households are taken one by one, (e, a, e'), and paid what the capital is worth that they bring together.
    """
    chain, weights = chain_of(economy).average, jnp.asarray(chain_of(economy).stationary)
    own, utility = np.arange(len(chain)), lambda c: np.asarray(economy.utility(jnp.asarray(c)))
    today = economy.expected_prices(weights, jnp.asarray(capital))
    cash = float(today.gross_return) * grid + np.asarray(today.income)[:, None]
    saved = found.assets + step * more
    total = (found.histogram * utility(cash - saved)).sum()
    later = economy.expected_prices(weights, jnp.asarray((found.histogram * saved).sum()))
    for e in own:
        left = np.interp(found.assets, grid, found.assets[e])
        c = float(later.gross_return) * saved + float(later.income[e]) - left
        total += economy.beta * (found.histogram * chain[:, [e]] * utility(c)).sum()
    return float(total)


def gain(economy: GlobalEconomy, capital: float, found: AtRest, grid: np.ndarray, more: np.ndarray) -> float:
    """Of saving a little more, by ``more`` (n_e, n_a), in goods a household: utility over what it costs."""
    up, down = (welfare(economy, capital, found, grid, more, step) for step in (1e-4, -1e-4))
    return (up - down) / 2e-4


def directions(found: AtRest, grid: np.ndarray) -> list[np.ndarray]:
    """Ways to save more, of households that are not at the limit: all; the less productive; the rich."""
    free = (found.assets > 0.02).astype(float)
    poor = free * (np.arange(len(free)) == 0)[:, None]
    rich = free * (grid > 40.0)
    return [x / (found.histogram * x).sum() for x in (free, poor, rich)]


def test_the_externality_is_what_saving_more_is_worth_in_the_market() -> None:
    economy = UNEQUAL()
    households = Households(economy)
    grid = np.asarray(households.grid)
    capital = deterministic_steady_state(economy).capital
    found = households.at(capital, 0.0)
    assert found.externality > 0 and explosive_wealth(found, grid) is None
    for more in directions(found, grid):
        worth = gain(economy, capital, found, grid, more)
        np.testing.assert_allclose(worth, economy.beta * found.externality, rtol=0.05)


@pytest.mark.long
def test_the_classical_planner_gains_nothing_by_saving_more_or_less() -> None:
    economy = UNEQUAL()
    rest = planner_at_rest(economy).steady
    market = deterministic_steady_state(economy).capital
    assert rest is not None and 3.8 < rest.capital / market < 4.0
    households = Households(economy)
    grid = np.asarray(households.grid)
    found = households.at(rest.capital, rest.externality)
    np.testing.assert_allclose(found.capital, rest.capital, rtol=1e-5)
    for more in directions(found, grid):
        assert abs(gain(economy, rest.capital, found, grid, more)) < 0.02 * economy.beta * found.externality


@dataclass(frozen=True)
class PoorInLabour(GlobalEconomy):
    """Half of the households earn next to nothing for a while: who consumes little lives on wealth, and gains by higher
    returns.
    """

    beta: float = 0.96
    risk_aversion: float = 2.0
    borrowing_limit: float = 0.0
    largest_assets: float = 60.0

    def chain(self) -> Chain:
        return Chain.independent([[0.8, 0.2], [0.2, 0.8]], [[0.8, 0.2], [0.2, 0.8]])

    def prices(self, z: Any, capital: Any) -> Prices:
        tfp = jnp.array([0.99, 1.01])[z]
        return Prices(0.92 + 0.36 * tfp * capital**-0.64, 0.64 * tfp * capital**0.36 * jnp.array([0.05, 1.95]))

    def capital_range(self) -> tuple[float, float]:
        return 4.0, 15.0


@pytest.mark.long
def test_where_the_poor_live_on_wealth_the_planner_holds_less() -> None:
    economy = PoorInLabour()
    rest = planner_at_rest(economy).steady
    assert rest is not None and rest.externality < 0
    assert rest.capital < 0.95 * deterministic_steady_state(economy).capital
    households = Households(economy)
    grid = np.asarray(households.grid)
    found = households.at(rest.capital, rest.externality)
    for more in directions(found, grid)[:2]:
        assert abs(gain(economy, rest.capital, found, grid, more)) < 0.05 * economy.beta * abs(found.externality)


@pytest.mark.long
def test_networks_find_the_classical_planner() -> None:
    economy = make_economy(UNEQUAL, {"productivity": [0.9999, 1.0001]})
    rest = planner_at_rest(economy).steady
    assert rest is not None
    training = TrainingConfig(economies=16, own_states=16, rounds=2, value_rounds=1, steps=4, quarters=60)
    solver = Solver(economy, NetworkConfig(), training, planner=True)
    states = [state for state, _ in solver.train(solver.start())]
    state = states[training.rounds - 1]
    path, _ = simulate_long(
        solver.problem, solver.policy_frame(state), solver.policy_weights(state), 500, 500, 600, 0, solver.rest
    )
    wealth = wealth_moments(rest.histogram, rest.grid)
    np.testing.assert_allclose(path.capital.mean(), rest.capital, rtol=5e-3)
    np.testing.assert_allclose(path.wealth_sd.mean(), wealth.sd, rtol=0.01)
    np.testing.assert_allclose(path.wealth_gini.mean(), wealth.gini, atol=2e-3)


@pytest.mark.long
def test_krusell_and_smiths_planner_has_no_stationary_distribution() -> None:
    """At a positive return a distribution with few households at the top of the grid turns, as the externality grows by
    some per cent, into one whose top is full, wherever the top is; at a negative return too little is caused.
    """
    steady, reason = planner_at_rest(ECONOMY)
    assert steady is None and reason.startswith("the planner's problem has no stationary distribution")
    for top in (250.0, 700.0):
        households = Households(dataclasses.replace(ECONOMY, largest_assets=top))
        market = households.at(39.4, 0.0).externality
        needed, found, solved = households.holding(50.0, market)
        assert not solved and needed > 0 and households.top_share(found) > 0.1
        low, high = households.at(50.0, 0.97 * needed), households.at(50.0, 1.03 * needed)
        assert low.capital < 35 and households.top_share(low) < 0.01 < 0.1 < households.top_share(high)
    households = Households(dataclasses.replace(ECONOMY, largest_assets=2500.0))
    for capital in (72.0, 100.0):
        needed, found, _ = households.holding(capital, market)
        np.testing.assert_allclose(found.capital, capital, rtol=1e-3)
        assert found.externality < 0.1 * needed
