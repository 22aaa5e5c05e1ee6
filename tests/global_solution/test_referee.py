"""The referee against a panel of households and published figures; what can withhold the verdict."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from estimhank.global_solution import conventional
from estimhank.global_solution.conventional import (
    ConventionalSizes,
    ConventionalSolution,
    fit_law,
    iterate_law,
    simulate_aggregate,
    simulate_conventional,
    solve_conventional,
)
from estimhank.global_solution.distribution import Distribution
from estimhank.global_solution.economy import KrusellSmithEconomy, chain_of
from estimhank.global_solution.steady import deterministic_steady_state
from estimhank.global_solution.verdict import verdict_of

ECONOMY = KrusellSmithEconomy()


# -- the referee ---------------------------------------------------------------------------------------------------
def test_a_wrong_perceived_law_changes_behaviour() -> None:
    sizes = ConventionalSizes(assets=100, capital=8)
    grid = 250.0 * jnp.linspace(0.0, 1.0, sizes.assets) ** 3
    capital = jnp.linspace(30.0, 50.0, sizes.capital)
    start = jnp.broadcast_to(0.95 * grid, (2, 2, sizes.capital, sizes.assets))
    right, wrong = (
        conventional._solve_household(ECONOMY, jnp.asarray(belief), start, grid, capital)[0]
        for belief in ([[0.125, 0.965], [0.138, 0.963]], [[0.115, 0.965], [0.128, 0.963]])
    )
    # who expects less capital expects a higher return and lower wages, and saves more
    rich = int(jnp.searchsorted(grid, 40.0))
    assert (np.asarray(wrong - right)[:, :, 4, rich] > 0.01).all()


def test_a_law_is_fitted_and_iterated() -> None:
    z = np.random.default_rng(4).integers(0, 2, 400)
    law = np.array([[0.12, 0.966], [0.14, 0.963]])
    path = iterate_law(law, z, 39.0)
    found, r_squared = fit_law(path, z, 2)
    np.testing.assert_allclose(found, law, atol=1e-8)
    np.testing.assert_allclose(r_squared, 1, atol=1e-9)


@pytest.fixture(scope="module")
def referee() -> ConventionalSolution:
    return solve_conventional(ECONOMY, ConventionalSizes(capital=12), seed=0)


@pytest.mark.long
def test_the_referee_has_the_published_law(referee: ConventionalSolution) -> None:
    assert 39.2 < referee.capital.mean() < 39.7 and 0.98 < referee.capital.std() < 1.1
    np.testing.assert_allclose(referee.gradient, [0.96603, 0.96347], atol=2e-3)
    np.testing.assert_allclose(
        np.exp(referee.intercept / (1 - referee.gradient)),
        np.exp(np.array([0.12216, 0.13693]) / (1 - np.array([0.96603, 0.96347]))),
        rtol=3e-3,
    )
    assert (referee.r_squared > 0.99999).all()


@pytest.mark.long
def test_the_referees_wealth_is_that_of_a_panel_of_households(referee: ConventionalSolution) -> None:
    """10,000 households, drawn one by one: no histogram and no lottery, another interpolation in capital.

    With other draws the panel's s.d. of wealth differs by .3 % (s.d. of six panels).
    """
    quarters, burn_in, n = 10_000, 1_000, 10_000
    sizes = ConventionalSizes(capital=12, histogram=4000, quarters=quarters, burn_in=burn_in)
    fine = simulate_conventional(ECONOMY, referee, sizes, 1)
    coarse = simulate_conventional(ECONOMY, referee, dataclasses.replace(sizes, histogram=1000), 1)
    chain, steady = chain_of(ECONOMY), deterministic_steady_state(ECONOMY)
    z = simulate_aggregate(chain.aggregate, quarters + burn_in + 1, np.random.default_rng(1))
    rng = np.random.default_rng(2)
    shares = np.asarray(steady.histogram).ravel()
    cells = rng.choice(len(shares), size=n, p=shares / shares.sum())
    own, assets = cells // len(steady.grid), np.asarray(steady.grid)[cells % len(steady.grid)]
    by_capital = [CubicSpline(referee.capital_grid, referee.policy[state], axis=1) for state in (0, 1)]
    found = np.empty((quarters + burn_in, 2))
    for t in range(len(found)):
        found[t] = assets.mean(), assets.std()
        rows = by_capital[z[t]](found[t, 0])
        assets = np.where(own, *(np.interp(assets, referee.assets_grid, rows[e]) for e in (1, 0)))
        own = (rng.random(n) < chain.idiosyncratic[z[t], z[t + 1], own, 1]).astype(int)
    capital, sd = found[burn_in:].mean(0)
    np.testing.assert_allclose(capital, fine.capital.mean(), rtol=3e-4)
    np.testing.assert_allclose(sd, fine.wealth_sd.mean(), rtol=0.01)
    # what the lottery of 1,000 points adds
    assert 1.002 < coarse.wealth_sd.mean() / fine.wealth_sd.mean() < 1.008


# -- the verdict ---------------------------------------------------------------------------------------------------
#: Figures that pass, along three paths.
GOOD = {
    "euler_mean": -5.0, "euler_max": -4.0, "bellman_error": 0.0, "den_haan_mean": 0.0, "den_haan_max": 0.0,
    "top_share": 0.0, "quarters": 10_000,
}  # fmt: skip
WEALTH = Distribution(*(np.array([x, 1.01 * x, 0.99 * x]) for x in (39.4, 1.06, 20.0, 0.27)))


@pytest.mark.parametrize(
    "name", ["euler_mean", "euler_max", "bellman_error", "den_haan_mean", "den_haan_max", "top_share", "quarters"]
)
def test_every_figure_can_withhold_the_verdict(name: str) -> None:
    assert verdict_of(GOOD, WEALTH, WEALTH).passed
    assert not verdict_of(GOOD | {name: 1.0}, WEALTH, WEALTH).passed
    assert not verdict_of(GOOD | {name: float("nan")}, WEALTH, WEALTH).passed


@pytest.mark.parametrize("path", [0, 2])
@pytest.mark.parametrize(("name", "share"), [("wealth_sd", 0.96), ("wealth_gini", 1.05), ("mean_capital", 0.99)])
def test_a_distribution_off_the_referee_on_one_path_is_not_trusted(name: str, share: float, path: int) -> None:
    values = getattr(WEALTH, name).copy()
    values[path] *= share
    assert not verdict_of(GOOD, WEALTH, dataclasses.replace(WEALTH, **{name: values})).passed


def test_what_was_not_judged_does_not_pass() -> None:
    verdict = verdict_of(GOOD, None, WEALTH, ["The distribution was not held against a conventional solution."])
    assert not verdict.passed
    assert verdict.words == (
        "This solution keeps to its limits as far as it was judged, and may not be trusted yet. The distribution was "
        "not held against a conventional solution."
    )
