"""Where households gather on the asset grid, seen from policies."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from estimhank.households.cliffs import household_cliffs
from estimhank.models.one_asset_hank import OneAssetHANK
from estimhank.posterior.posterior import Posterior
from estimhank.sequence_space.steady_state import solve_steady_state

A = np.expm1(np.expm1(np.linspace(0.0, np.log1p(np.log1p(20.0)), 40)))


def steady(policies: list[np.ndarray]) -> Any:
    mass = np.full((len(policies), len(A)), 1 / (len(policies) * len(A)))
    return SimpleNamespace(
        grids=SimpleNamespace(a=A, assets=(A,)),
        policies=SimpleNamespace(assets=np.array(policies), endogenous_grid=None),
        distribution=mass,
    )


@pytest.mark.parametrize("binds", [-0.7, -0.1, 0.1, 0.7, 3.3])
def test_the_margin_is_where_nothing_would_be_saved_on_both_sides_of_the_constraint(binds: float) -> None:
    at = binds * (A[1] - A[0])
    found = household_cliffs(steady([np.maximum(0.9 * (A - at) - 0.02 * (A - at) ** 2, 0.0)]))
    assert found.distance[0] == pytest.approx(-binds, abs=0.02)
    if binds > 0:
        assert found.mass[0] == pytest.approx(1 / len(A)), "those at the constraint"


def test_the_mass_is_that_next_to_the_fixed_point() -> None:
    household = steady([0.5 + 0.9 * A, A + 1.0, np.zeros_like(A)])
    household.distribution[:] = np.arange(household.distribution.size).reshape(household.distribution.shape)
    above = int(np.searchsorted(A, 5.0))  # 0.5 + 0.9 a = a
    distance, mass = household_cliffs(household)
    assert (distance[:2] > 0).all() and distance[2] < 0
    expected = [household.distribution[0, above - 1 : above + 1].sum(), household.distribution[1, -2:].sum()]
    np.testing.assert_allclose(mass, [*expected, household.distribution[2, 0]])


def test_the_endogenous_grid_and_policies_say_the_same() -> None:
    household = solve_steady_state(OneAssetHANK()).household
    assert household is not None
    a, saved = np.asarray(household.grids.a), np.asarray(household.policies.assets)
    known = household_cliffs(household)
    read_off = household_cliffs(household._replace(policies=household.policies._replace(endogenous_grid=None)))
    rich = known.distance > 0
    np.testing.assert_array_equal(rich, saved[:, 0] > a[0])
    np.testing.assert_array_equal(rich, read_off.distance > 0)
    np.testing.assert_allclose(known.distance[rich], read_off.distance[rich], rtol=0.05)
    np.testing.assert_allclose(known.distance[~rich], read_off.distance[~rich], atol=0.15)  # extrapolated
    np.testing.assert_array_equal(known.mass, read_off.mass)
    assert known.mass[~rich].sum() == pytest.approx(np.asarray(household.distribution)[~rich, 0].sum())


@pytest.mark.parametrize("odd", ["nan", "decreasing", "short"])
def test_an_endogenous_grid_that_is_none_is_not_used(odd: str) -> None:
    """A model's author gives it; nothing else of a run depends on it."""
    household = solve_steady_state(OneAssetHANK()).household
    assert household is not None
    grid = np.array(household.policies.endogenous_grid)
    changed = {
        "nan": np.where(np.arange(grid.shape[1]) == 0, np.nan, grid),
        "decreasing": grid[:, ::-1],
        "short": grid[:, :-1],
    }[odd]
    without, strange = (
        household_cliffs(household._replace(policies=household.policies._replace(endogenous_grid=g)))  # type: ignore[arg-type]
        for g in (None, changed)
    )
    for mine, theirs in zip(without, strange, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_posterior_with_a_fixed_steady_state_has_no_cliffs(posterior: Posterior, reference: dict[str, float]) -> None:
    assert posterior.cliffs_at(posterior.to_array(reference)) is None
