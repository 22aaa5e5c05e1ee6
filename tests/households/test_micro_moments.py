"""Micro moments against the household's Jacobian, tiny transfers and a population counted head by head."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from estimhank.households.micro_moments import (
    MOMENTS,
    marginal_propensity,
    median_wealth,
    micro_moments,
    spending,
    wealth_moments,
    yearly_propensity,
)
from estimhank.households.stationary import HouseholdSteadyState
from estimhank.posterior.posterior import Posterior
from tests.helpers import golden

#: First column of the default household's Jacobian of consumption with respect to after-tax income.
SPENT_OUT_OF_INCOME = golden.CONSUMPTION_BY_INCOME_COLUMN.value


@pytest.fixture(scope="module")
def household(posterior: Posterior) -> HouseholdSteadyState:
    """The default model's household."""
    found = posterior.steady_state.household
    assert found is not None
    return found


def test_propensities_weighted_with_income_are_the_jacobian(household: HouseholdSteadyState) -> None:
    consumption = spending(household)
    assert consumption is not None
    weight = np.asarray(household.distribution) * np.asarray(household.grids.e)[:, None]
    quarter = float(np.vdot(weight, marginal_propensity(household, consumption)))
    year = float(np.vdot(weight, yearly_propensity(household, consumption)))
    assert quarter == pytest.approx(SPENT_OUT_OF_INCOME[0], abs=2e-3)
    assert year == pytest.approx(sum(SPENT_OUT_OF_INCOME), abs=1e-3)
    # plain differences miss the constraint: ten times as far away
    slopes = np.diff(consumption) / np.diff(consumption + np.asarray(household.policies.assets))
    assert np.vdot(weight[:, :-1], slopes) < SPENT_OUT_OF_INCOME[0] - 0.02


def test_the_marginal_propensity_is_that_of_a_tiny_transfer(
    posterior: Posterior, household: HouseholdSteadyState
) -> None:
    p, a, e = posterior.steady_state.parameters, np.asarray(household.grids.a), np.asarray(household.grids.e)
    r, income = p["r"], (1 - p["G"] - p["r"] * p["B_bar"]) * e[:, None]
    value = np.asarray(household.grids.transition) @ np.asarray(household.policies.marginal_value)
    # the endogenous grid: cash on hand today from which each level of assets is taken to tomorrow
    cash_then = (p["beta"] * value) ** -p["eis"] + a
    cash, transfer = (1 + r) * a + income, 1e-7
    saved = [[np.interp(x + t, then, a) for x, then in zip(cash, cash_then, strict=True)] for t in (0.0, transfer)]
    exact = 1 - np.subtract(saved[1], saved[0]) / transfer
    mass, mine = np.asarray(household.distribution), marginal_propensity(household, spending(household))  # type: ignore[arg-type]
    assert np.vdot(mass, np.abs(mine - exact)) < 0.01
    assert micro_moments(household)["mpc_quarter"] == pytest.approx(np.vdot(mass, exact), abs=4e-3)
    np.testing.assert_array_equal(mine == 1, exact == 1)  # all of it where nothing is saved


def test_moments_of_the_default_household(household: HouseholdSteadyState) -> None:
    moments = micro_moments(household)
    assert set(moments) == {moment.key for moment in MOMENTS}
    golden.DEFAULT_CONSTRAINED.check(moments["constrained"])
    assert moments["mpc_quarter_transfer"] < moments["mpc_quarter"] < moments["mpc_year"] < 1
    for moment in MOMENTS:
        assert moment.lower < moments[moment.key] < moment.upper, moment.key


def test_consumption_is_recognised_by_the_budget(household: HouseholdSteadyState) -> None:
    outputs = household.policies.outputs
    consumption = np.asarray(outputs["C"])
    np.testing.assert_array_equal(spending(household), consumption)
    hours = 1 / consumption  # whoever is richer works less: consumption and assets are no longer a straight line
    chosen = household._replace(
        policies=household.policies._replace(outputs={**outputs, "C": jnp.asarray(consumption + hours)})
    )
    assert spending(chosen) is None
    assert set(micro_moments(chosen)) == {"constrained", "gini", "top_10", "bottom_50"}


def test_wealth_is_counted_head_by_head() -> None:
    a, heads = np.array([-1.0, 0.0, 2.0, 3.0, 40.0]), np.array([7, 30, 33, 26, 4])
    people = np.sort(np.repeat(a, heads))
    found = wealth_moments(a, heads / 100)
    assert found["gini"] == pytest.approx(np.abs(people[:, None] - people).mean() / (2 * people.mean()))
    assert found["top_10"] == pytest.approx(people[90:].sum() / people.sum())
    assert found["bottom_50"] == pytest.approx(people[:50].sum() / people.sum())
    assert all(np.isnan(v) for v in wealth_moments(np.array([-1.0, 1.0]), np.array([0.8, 0.2])).values())


def test_the_median_knows_that_the_lowest_point_is_an_atom() -> None:
    grid = np.linspace(0.0, 4.0, 401)
    rng = np.random.default_rng(0)
    people = np.where(rng.uniform(size=200_000) < 0.3, 0.0, rng.gamma(2.0, 0.5, 200_000).clip(0.006, 3.994))
    mass = np.histogram(people, np.concatenate([[-1.0], (grid[1:] + grid[:-1]) / 2, [5.0]]))[0] / people.size
    assert median_wealth(grid, mass) == pytest.approx(np.median(people), abs=1e-3)
    assert median_wealth(np.array([0.0, 1.0]), np.array([0.6, 0.4])) == 0


@pytest.mark.parametrize("net", [0.0, 1e-16, -1e-16, 1e-9, -0.1])
def test_nobody_has_a_share_of_assets_in_zero_net_supply(net: float) -> None:
    a, mass = np.array([-1.0, 0.0, 1.0 + 4 * net]), np.array([0.25, 0.5, 0.25])
    assert all(np.isnan(value) for value in wealth_moments(a, mass).values())
    there = wealth_moments(np.array([-1.0, 0.0, 1.4]), mass)  # little net wealth is wealth
    assert there["top_10"] == pytest.approx(0.1 * 1.4 / 0.1)
