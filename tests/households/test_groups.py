"""Readings of households against nonlinear paths, whose groups and measures are computed by sorting households."""

from __future__ import annotations

from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from estimhank.households.fake_news import household_jacobians
from estimhank.households.groups import (
    CONSTRAINED,
    MEASURES,
    all_groups,
    consumption_of,
    measure_gradients,
    of_newcomers,
    wealth_groups,
)
from estimhank.households.labor import EndogenousHours
from estimhank.households.micro_moments import micro_moments, wealth_distribution, wealth_moments
from estimhank.households.named import NamedBlock
from estimhank.households.one_asset import StandardIncompleteMarkets
from estimhank.households.readings import reading_jacobians
from estimhank.households.stationary import HouseholdSteadyState
from estimhank.households.two_asset import TwoAssets
from estimhank.models.one_asset_hank import OneAssetHANK
from estimhank.parameters.parameter_table import Values
from estimhank.sequence_space.steady_state import SteadyState, solve_steady_state

Array = NDArray[np.float64]

HORIZON, STEP = 12, 1e-5


@cache
def solved(scheme: str) -> tuple[StandardIncompleteMarkets, SteadyState, HouseholdSteadyState]:
    block = StandardIncompleteMarkets(n_e=3, n_a=40, scheme=scheme)
    state = solve_steady_state(OneAssetHANK(household=block))
    assert state.household is not None
    return block, state, state.household


@partial(jax.jit, static_argnums=0)
def _backward(block: Any, value: Any, now: Any, grids: Any, parameters: Any) -> Any:
    return block.backward(value, now, grids, Values(parameters))


@partial(jax.jit, static_argnums=0)
def _forward(block: Any, distribution: Any, policies: Any, grids: Any) -> Any:
    return block.transition(grids, policies).forward(distribution)


def paths(scheme: str, name: str, date: int, step: float) -> list[tuple[Array, Array, Array]]:
    """Of each date: distribution at its beginning, consumption, distribution at its end."""
    block, state, steady = solved(scheme)
    value, policies = steady.policies.marginal_value, []
    for t in reversed(range(HORIZON)):
        now = {n: jnp.asarray(state.values[n] + step * (n == name and t == date)) for n in block.inputs}
        policies.append(_backward(block, value, now, steady.grids, state.parameters))
        value = policies[-1].marginal_value
    found, mass = [], steady.distribution
    for policy in reversed(policies):
        end = _forward(block, mass, policy, steady.grids)
        found.append((np.asarray(mass), np.asarray(policy.outputs["C"]), np.asarray(end)))
        mass = end
    return found


def by_sorting(a: Array, mass: Array, spent: Array) -> Array:
    """Mean consumption of fifths of households by wealth: points in turn, the last one in part."""
    heads, total = mass.sum(0), (mass * spent).sum(0)
    found = []
    for k in range(1, 6):
        left, whole = k / 5 * heads.sum(), 0.0
        for n, c in zip(heads, total, strict=True):
            part = min(1.0, left / n) if n > 0 else 0.0
            whole, left = whole + part * c, left - part * n
        found.append(whole)
    return np.diff(found, prepend=0.0) * 5


def all_means(a: Array, mass: Array, spent: Array) -> Array:
    """Of quintiles, of those at the constraint and others, and by productivity."""
    low, all_of = mass[:, :1], mass * spent
    at = [all_of[:, :1].sum() / low.sum(), all_of[:, 1:].sum() / mass[:, 1:].sum()]
    return np.concatenate([by_sorting(a, mass, spent), at, all_of.sum(1) / mass.sum(1)])


def measures(a: Array, mass: Array) -> Array:
    moments = wealth_moments(a, mass.sum(0))
    people, wealth = (np.cumsum(x) for x in (mass.sum(0), a * mass.sum(0) / (a @ mass.sum(0))))
    top = 1 - np.interp(0.99, people, wealth)
    return np.array([moments["gini"], top, moments["top_10"], moments["bottom_50"], mass[:, 0].sum()])


@cache
def readings(scheme: str) -> tuple[Array, Array, Array]:
    """Jacobians (T, n_i, k + m, T), those at given states, and sizes of the groups."""
    block, state, steady = solved(scheme)
    policy = np.asarray(steady.policies.outputs["C"])
    groups = all_groups(steady)
    weights = np.concatenate([g.weights for g in groups])
    newcomers = np.concatenate([of_newcomers(steady, g, policy) for g in groups])
    names, read = ("C",) * len(weights), [jnp.asarray(x) for x in (weights, newcomers, measure_gradients(steady)[1])]
    inputs, p = {n: state.values[n] for n in block.inputs}, Values(state.parameters)
    found = jax.jit(lambda one, *read: reading_jacobians(block, one, inputs, p, HORIZON, HORIZON, names, *read))(
        steady, *read
    )
    size = (weights * np.asarray(steady.distribution)).sum((1, 2))
    return np.asarray(found.by_date), np.asarray(found.given_states), size


@pytest.mark.parametrize("scheme", ["linear", "smooth"])
@pytest.mark.parametrize("date", [0, 3])
def test_readings_equal_a_direct_perturbation_of_one_date(scheme: str, date: int) -> None:
    block, _, steady = solved(scheme)
    by_date, given, size = readings(scheme)
    a = np.asarray(steady.grids.a)
    for i, name in enumerate(block.inputs):
        up, down = (paths(scheme, name, date, sign * STEP) for sign in (1, -1))
        means = np.array([all_means(a, *p[:2]) - all_means(a, *m[:2]) for p, m in zip(up, down, strict=True)])
        spread = np.array([measures(a, p[2]) - measures(a, m[2]) for p, m in zip(up, down, strict=True)])
        direct = np.concatenate([means * size, spread], axis=1) / (2 * STEP)
        found = by_date[date, i].T
        scale = np.abs(direct).max(0)
        np.testing.assert_allclose(found / scale, direct / scale, atol=3e-5)
        mass = np.asarray(steady.distribution)
        fixed = all_means(a, mass, up[0][1]) - all_means(a, mass, down[0][1])
        np.testing.assert_allclose(given[date, i], fixed * size / (2 * STEP), atol=1e-5)


def test_sums_are_the_jacobians_of_the_aggregates() -> None:
    """One group of everybody, of whom nobody is a newcomer; and quintiles and productivity, whose sizes stay."""
    block, state, steady = solved("smooth")
    inputs, p = {n: state.values[n] for n in block.inputs}, Values(state.parameters)
    whole = jax.jit(lambda one: household_jacobians(block, one, inputs, p, HORIZON, ("C",)))(steady)
    whole = np.asarray(whole)[0].transpose(2, 0, 1)
    by_date, _, _ = readings("smooth")
    for some in (slice(0, 5), slice(7, 10)):
        np.testing.assert_allclose(by_date[:, :, some].sum(2), whole, atol=1e-10)
    every = jnp.ones((1, *steady.distribution.shape))
    alone = jax.jit(
        lambda one: reading_jacobians(block, one, inputs, p, HORIZON, 5, ("C",), every, 0 * every, every[:0])
    )(steady)
    np.testing.assert_allclose(alone.by_date[:, :, 0], whole[..., :5], atol=1e-10)
    # hand-to-mouth and others do not add up without those who pass between the groups
    assert np.abs(by_date[:, :, 5:7].sum(2) - whole).max() > 1e-3


def test_measures_are_those_of_the_report_and_gradients_are_differences() -> None:
    _, _, steady = solved("linear")
    values, gradients = measure_gradients(steady)
    known = micro_moments(steady)
    for name, key in (
        ("Gini", "gini"),
        ("top 10%", "top_10"),
        ("bottom 50%", "bottom_50"),
        (CONSTRAINED, "constrained"),
    ):
        assert values[name] == pytest.approx(known[key], abs=1e-12)
    a, mass = np.asarray(steady.grids.a), np.asarray(steady.distribution)
    rng = np.random.default_rng(0)
    for _ in range(5):
        change = mass * rng.standard_normal(mass.shape)
        change -= mass * change.sum()
        found = (gradients * change).sum((1, 2))
        differences = (measures(a, mass + 1e-6 * change) - measures(a, mass - 1e-6 * change)) / 2e-6
        np.testing.assert_allclose(found, differences, rtol=1e-6, atol=1e-9)
    assert set(values) == {*MEASURES, CONSTRAINED}


def test_groups_of_two_assets() -> None:
    """Fifths by the sum of assets, of which some are the same; the constraint is that of the liquid one."""
    _, _, one = solved("linear")
    grids = SimpleNamespace(assets=(jnp.array([-1.0, 0.0, 1.0, 2.0]), jnp.array([0.0, 1.0, 3.0, 4.0, 9.0])))
    mass = np.random.default_rng(1).random((3, 4, 5)) ** 4
    mass[:, 2, 1] = 0.0
    mass /= mass.sum()
    steady = one._replace(grids=grids, distribution=jnp.asarray(mass))
    for groups in all_groups(steady):
        np.testing.assert_allclose(groups.weights.sum(0), 1.0, atol=1e-12)
        assert (groups.weights >= 0).all()
    fifths = wealth_groups(steady).weights
    np.testing.assert_allclose((fifths * mass).sum((1, 2, 3)), 0.2, atol=1e-12)
    total = np.add.outer(*(np.asarray(g) for g in grids.assets))
    means = (fifths * mass * total).sum((1, 2, 3)) * 5
    wealth = np.repeat(total[None], 3, 0).ravel()
    order = wealth.argsort()
    curve = (np.r_[0.0, np.cumsum(x[order])] for x in (mass.ravel(), mass.ravel() * wealth))
    lorenz = np.interp(np.arange(6) / 5, *curve)
    np.testing.assert_allclose(means, np.diff(lorenz) * 5, atol=1e-12)
    values, gradients = measure_gradients(steady)
    assert values["top 10%"] == pytest.approx(wealth_moments(*wealth_distribution(steady))["top_10"], abs=1e-9)
    assert values[CONSTRAINED] == pytest.approx(mass[:, 0].sum())
    assert gradients.shape == (5, *mass.shape)


def test_without_net_wealth_nobody_has_a_share() -> None:
    _, _, one = solved("linear")
    mass = np.asarray(one.distribution)
    even = one._replace(grids=one.grids._replace(a=one.grids.a - float(mass.sum(0) @ one.grids.a)))
    values, gradients = measure_gradients(even)
    assert np.isnan([values[name] for name in MEASURES]).all() and np.isnan(gradients[:-1]).all()
    assert values[CONSTRAINED] == pytest.approx(mass[:, 0].sum()) and np.isfinite(gradients[-1]).all()


def test_shares_add_up_where_rounding_leads_beyond_one() -> None:
    _, _, one = solved("linear")
    rng = np.random.default_rng(0)
    for _ in range(20):
        mass = rng.random((3, 40)) ** 8
        mass[:, 30:] = rng.choice([0.0, 1e-18], (3, 10))
        weights = wealth_groups(one._replace(distribution=jnp.asarray(mass / mass.sum()))).weights
        np.testing.assert_allclose(weights.sum(0), 1.0, atol=1e-12)


def test_consumption_is_known_of_named_blocks() -> None:
    block = StandardIncompleteMarkets(n_e=3, n_a=40)
    named = NamedBlock.of(block, "poor", (), ())
    found = [consumption_of(some) for some in (block, named, TwoAssets(), EndogenousHours())]
    assert found == ["C", "poor.C", "C", "C"]
