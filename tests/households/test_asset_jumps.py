"""Where households gather on the asset grid, seen from policies."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from estimhank.households.asset_jumps import asset_jumps
from estimhank.models.one_asset_hank import OneAssetHANK
from estimhank.posterior.posterior import Posterior
from estimhank.sequence_space.steady_state import solve_steady_state
from estimhank.target.jumps import Jumps

A = np.expm1(np.expm1(np.linspace(0.0, np.log1p(np.log1p(20.0)), 40)))


def jumps_of(household: Any) -> Jumps:
    found = asset_jumps(household)
    assert found is not None
    return found


def steady(policies: list[np.ndarray]) -> Any:
    mass = np.full((len(policies), len(A)), 1 / (len(policies) * len(A)))
    return SimpleNamespace(
        grids=SimpleNamespace(a=A, assets=(A,)),
        policies=SimpleNamespace(assets=np.array(policies), endogenous_grid=None),
        distribution=mass,
        transition=SimpleNamespace(kinked=True),
    )


@pytest.mark.parametrize("place", [0, 1, 4, 17])
def test_a_target_crosses_an_integer_where_the_policy_meets_the_grid_point(place: int) -> None:
    def grid_index(level: float) -> float:
        return float(jumps_of(steady([level + 0.9 * A - 0.01 * A**1.5 / 5])).grid_index[0])

    at = A[place] - (0.9 * A[place] - 0.01 * A[place] ** 1.5 / 5)
    assert grid_index(at + 1e-6) > place >= grid_index(at - 1e-6) - 1e-3 if place else grid_index(at + 1e-6) >= 0
    if place:
        assert abs(grid_index(at + 1e-6) - grid_index(at - 1e-6)) < 1e-2, "and moves smoothly there"


@pytest.mark.parametrize("binds", [-0.7, -0.1, 0.1, 0.7, 3.3])
def test_the_margin_is_where_nothing_would_be_saved_on_both_sides_of_the_constraint(binds: float) -> None:
    at = binds * (A[1] - A[0])
    found = jumps_of(steady([np.maximum(0.9 * (A - at) - 0.02 * (A - at) ** 2, 0.0)]))
    assert found.distance[0] == pytest.approx(-binds, abs=0.02)
    assert np.isnan(found.grid_index[0]) == (binds > 0)
    if binds > 0:
        assert found.mass[0] == pytest.approx(1 / len(A)), "those at the constraint"


def test_policies_that_never_meet_the_grid_are_at_its_ends() -> None:
    distance, grid_index, _ = jumps_of(steady([A + 1.0, np.zeros_like(A)]))
    assert grid_index[0] == len(A) - 1 and np.isnan(grid_index[1])
    assert distance[0] > 0 > distance[1]


def test_the_default_model_s_targets_are_fixed_points_of_its_policies() -> None:
    household = solve_steady_state(OneAssetHANK()).household
    assert household is not None
    a, saved = np.asarray(household.grids.a), np.asarray(household.policies.assets)
    distance, grid_index, mass = jumps_of(household)
    rich = np.isfinite(grid_index)
    assert (np.diff(grid_index[rich]) > 0).all(), "the more productive, the richer"
    assert ((distance > 0) == rich).all() and ((saved[:, 0] > a[0]) == rich).all()
    for e in np.flatnonzero(rich):
        low = int(grid_index[e])
        assert saved[e, low] > a[low] and saved[e, low + 1] <= a[low + 1]
    assert mass[~rich].sum() == pytest.approx(np.asarray(household.distribution)[~rich, 0].sum())


def test_the_endogenous_grid_and_policies_say_the_same() -> None:
    household = solve_steady_state(OneAssetHANK()).household
    assert household is not None
    known = jumps_of(household)
    read_off = jumps_of(household._replace(policies=household.policies._replace(endogenous_grid=None)))
    np.testing.assert_array_equal(known.distance > 0, read_off.distance > 0)
    rich = np.isfinite(known.grid_index)
    np.testing.assert_allclose(known.distance[rich], read_off.distance[rich], rtol=0.05)
    np.testing.assert_allclose(known.distance[~rich], read_off.distance[~rich], atol=0.15)  # extrapolated
    np.testing.assert_array_equal(np.floor(known.grid_index[rich]), np.floor(read_off.grid_index[rich]))
    np.testing.assert_allclose(known.grid_index[rich], read_off.grid_index[rich], atol=0.01)
    np.testing.assert_array_equal(known.mass, read_off.mass)


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
        jumps_of(household._replace(policies=household.policies._replace(endogenous_grid=g)))  # type: ignore[arg-type]
        for g in (None, changed)
    )
    for mine, theirs in zip(without, strange, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_posterior_with_a_fixed_steady_state_has_no_breaks(posterior: Posterior, reference: dict[str, float]) -> None:
    assert posterior.jumps_at(posterior.to_array(reference)) is None
