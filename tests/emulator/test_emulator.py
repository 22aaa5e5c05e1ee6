"""Emulated households against exact ones: at points held out, their identities, derivatives, and where it says no."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from estimhank.emulator.emulator import load_emulator, save_emulator
from estimhank.emulator.examples import PRECISION, Example, find_modes, names_of, news_of, solve_example
from estimhank.emulator.fitting import EmulatorError, EmulatorFit, fit_emulator
from estimhank.emulator.region import Region
from estimhank.households.fake_news import accumulated
from estimhank.households.one_asset import StandardIncompleteMarkets
from estimhank.models.one_asset_hank import OneAssetHANK
from estimhank.parameters.priors import Beta, Gamma
from estimhank.posterior.posterior import Posterior
from estimhank.run.emulation import Design, inside_of, make_design, solve_design
from estimhank.support.errors import ResultsError, StorageError

pytestmark = pytest.mark.long  # minutes, all together

PRIORS = {"eis": Gamma(0.5, 0.1), "sd_e": Gamma(0.92, 0.1), "B_bar": Gamma(1.0, 0.25), "frisch": Gamma(0.5, 0.1)}
SMALL = StandardIncompleteMarkets(inputs=("r", "Z"), n_e=3, n_a=80, a_max=100.0)
#: Shocks and debt die out within the horizon, so that the first route to a likelihood is good enough.
FAST = {"rho_w": 0.7, "rho_g": 0.6, "phi_b": 0.4}
SPREAD = np.array([0.03, 0.03, 0.08, 0.1])


@pytest.fixture(scope="module")
def exact(posterior: Posterior) -> Posterior:
    """Four parameters that move the steady state, one of which households do not see."""
    table = OneAssetHANK.parameters
    for name, prior in PRIORS.items():
        table = table.changed(name, prior=prior)
    return Posterior(OneAssetHANK(table, SMALL), posterior.data, 120, 80)


def draws_of(exact: Posterior, n: int, seed: int) -> np.ndarray:
    """Draws around a place whose steady states are far from cliffs."""
    center = exact.to_array({**dict(zip(exact.names, exact.reference(), strict=True)), **FAST})
    columns = [exact.names.index(name) for name in PRIORS]
    draws = np.tile(center, (n, 1))
    draws[:, columns] = np.array([0.5, 0.92, 1.6, 0.5]) * np.exp(
        SPREAD * np.random.default_rng(seed).standard_normal((n, 4))
    )
    return draws


@pytest.fixture(scope="module")
def design(exact: Posterior) -> Design:
    return make_design(exact, draws_of(exact, 1_000, 0), 120, 1)


@pytest.fixture(scope="module")
def fit(exact: Posterior, design: Design) -> EmulatorFit:
    return solve_design(exact, design).fit(names_of(exact.solver.steady))


@pytest.fixture(scope="module")
def emulated(exact: Posterior, fit: EmulatorFit) -> Posterior:
    return exact.emulated(fit.emulator)


@pytest.fixture(scope="module")
def held_out(exact: Posterior, fit: EmulatorFit) -> np.ndarray:
    draws = draws_of(exact, 60, 9)
    return draws[inside_of(fit.emulator, exact.names, draws)][:30]


def moved(exact: Posterior, theta: np.ndarray) -> dict[str, float]:
    return {name: float(theta[exact.names.index(name)]) for name in PRIORS}


def test_only_what_households_see_is_emulated(design: Design) -> None:
    assert design.region.names == ("eis", "sd_e", "B_bar")


def test_news_are_differences_along_diagonals(exact: Posterior) -> None:
    parts = exact.solver.steady.reference_parts
    again = np.asarray(accumulated(jnp.asarray(news_of(parts)))).transpose(2, 1, 3, 0)
    np.testing.assert_allclose(again, parts.household.jacobians, atol=1e-13)


def test_jacobians_and_steady_states_at_points_held_out(
    exact: Posterior, emulated: Posterior, fit: EmulatorFit, held_out: np.ndarray
) -> None:
    assert len(held_out) == 30
    for theta in held_out[:8]:
        mine, truth = (p.solver.steady.at(moved(exact, theta)) for p in (emulated, exact))
        a, b = np.asarray(mine.household.jacobians), np.asarray(truth.household.jacobians)
        assert np.linalg.norm(a - b) < 3e-3 * np.linalg.norm(b)
        assert abs(float(mine.parameters["beta"] - truth.parameters["beta"])) < 1e-4
        a, b = np.asarray(mine.symbol.coarse), np.asarray(truth.symbol.coarse)
        np.testing.assert_allclose(a, b, atol=0.02 * float(np.abs(b).max()))
    assert fit.error < 3e-3


def test_targets_and_the_budget_hold_exactly(exact: Posterior, emulated: Posterior, held_out: np.ndarray) -> None:
    for theta in held_out[:8]:
        at = moved(exact, theta)
        values = emulated.solver.steady.at(at).values
        assert abs(float(values["A"]) - at["B_bar"]) < 1e-13
        truth = exact.solver.steady.at(at)
        assert abs(float(values["C"] - truth.values["C"])) < 1e-10


@pytest.mark.long
def test_the_log_likelihood_is_nearly_the_exact_one(
    exact: Posterior, emulated: Posterior, held_out: np.ndarray
) -> None:
    difference = [emulated.log_likelihood(theta) - exact.log_likelihood(theta) for theta in held_out]
    assert np.std(difference) < 0.05 and np.ptp([exact.log_likelihood(theta) for theta in held_out]) > 0.5


def test_more_points_err_less(exact: Posterior, design: Design, fit: EmulatorFit) -> None:
    fewer = solve_design(exact, replace(design, y=design.y[:30])).fit(names_of(exact.solver.steady))
    assert fit.error < 0.5 * fewer.error


@pytest.mark.long
def test_gradients_are_those_of_the_emulated_density(emulated: Posterior, held_out: np.ndarray) -> None:
    theta = held_out[0]
    _, gradient = emulated.log_density_and_gradient(theta)
    for name in PRIORS:
        i = emulated.names.index(name)
        step = np.zeros(len(theta))
        step[i] = 1e-5 * theta[i]
        numerical = (emulated.log_density(theta + step) - emulated.log_density(theta - step)) / (2 * step[i])
        assert gradient[i] == pytest.approx(numerical, rel=1e-4, abs=1e-4)


def test_outside_of_its_region_households_are_solved(
    exact: Posterior, emulated: Posterior, fit: EmulatorFit, held_out: np.ndarray
) -> None:
    far = held_out[0].copy()
    far[exact.names.index("eis")] = 0.9
    assert not inside_of(fit.emulator, exact.names, far[None])[0]
    assert emulated.log_likelihood(far) == exact.log_likelihood(far)


def test_distances_to_cliffs_are_emulated_too(exact: Posterior, emulated: Posterior, held_out: np.ndarray) -> None:
    known = 0
    for theta in held_out[:6]:
        mine, truth = emulated.cliffs_at(theta), exact.cliffs_at(theta)
        assert mine is not None and truth is not None and mine.distance.shape == truth.distance.shape
        fine = np.isfinite(mine.distance)
        known += int(fine.sum())
        np.testing.assert_allclose(mine.distance[fine], truth.distance[fine], atol=0.05)
    assert known or not len(emulated.solver.steady.emulator.cell.chosen)  # type: ignore[attr-defined]


def test_a_value_depends_on_the_parameters_alone(emulated: Posterior, held_out: np.ndarray) -> None:
    first = [emulated.log_likelihood(theta) for theta in held_out[:6]]
    assert [emulated.log_likelihood(theta) for theta in held_out[5::-1]] == first[::-1]


def test_the_fingerprint_says_that_households_are_emulated(exact: Posterior, emulated: Posterior) -> None:
    mine = dict(emulated.fingerprint)
    assert mine.pop("emulator") and mine == exact.fingerprint


def test_an_emulator_survives_a_file_and_is_refused_for_another_model(
    tmp_path: Path, exact: Posterior, fit: EmulatorFit
) -> None:
    path = save_emulator(fit.emulator, tmp_path / "emulator.npz")
    again = load_emulator(path, exact.fingerprint)
    assert again.digest == fit.emulator.digest and again.region.names == fit.emulator.region.names
    with pytest.raises(ResultsError, match="was trained on another model"):
        load_emulator(path, {**exact.fingerprint, "model": "other"})
    path.write_bytes(b"nothing")
    with pytest.raises(StorageError, match="is not an emulator"):
        load_emulator(path)


def test_too_few_points_are_refused(exact: Posterior, design: Design) -> None:
    with pytest.raises(EmulatorError, match="ask for more points"):
        solve_design(exact, replace(design, y=design.y[:15])).fit(names_of(exact.solver.steady))


def test_what_was_solved_is_not_solved_again(tmp_path: Path, exact: Posterior, design: Design) -> None:
    kept, few = tmp_path / "kept.npz", replace(design, y=design.y[:24])
    told: list[int] = []
    first = solve_design(exact, few, kept=kept)
    again = solve_design(exact, few, kept=kept, tell=told.append)
    names = names_of(exact.solver.steady)
    assert not told and again.fit(names).emulator.digest == first.fit(names).emulator.digest
    solve_design(exact, replace(few, y=design.y[:25]), kept=kept, tell=told.append)  # of another design: all of it
    assert told == [25]


def test_modes_hold_what_they_are_made_of_and_say_what_they_lose(exact: Posterior) -> None:
    steady = exact.solver.steady
    raw = [solve_example(steady, {**steady.centre, "eis": eis}) for eis in (0.45, 0.5, 0.55)]
    modes = find_modes(raw)
    assert len(modes.ahead.T) < 60
    assert solve_example(steady, {**steady.centre, "eis": 0.5}, modes).lost < PRECISION
    few = type(modes)(modes.ahead[:, :3], modes.since[:, :3])
    assert solve_example(steady, {**steady.centre, "eis": 0.5}, few).lost > 1e-3


def an_example(distance: float, core: float) -> Example:
    return Example(
        np.full((1, 1, 1, 1), core), 0.0, np.ones(1), np.ones(1), np.array([distance, 1.0]), np.array([0.1, 0.1])
    )


def test_the_emulator_keeps_to_one_side_of_a_cliff() -> None:
    region = Region(("a",), (-np.inf,), (np.inf,), np.zeros(1), np.eye(1))
    y = np.linspace(-1, 1, 81)[:, None]
    # the household becomes constrained at 0.3, where its Jacobian jumps, and the distance to the constraint is kinked
    examples = [an_example(d if (d := 0.3 - a) > 0 else 0.4 * d, 1 + a if a < 0.3 else 9.0) for a in y[:, 0]]
    modes = find_modes([e._replace(core=np.ones((4, 1, 1, 4))) for e in examples[:1]])
    emulator = fit_emulator(region, y, examples, modes, (("A",), ("beta",)), {}).emulator
    inside = [bool(emulator.inside(jnp.array([a]))) for a in (-0.99, 0.0, 0.25, 0.31, 0.9, -1.01)]
    assert inside == [True, True, True, False, False, False]
    assert emulator.cell.chosen.tolist() == [0] and emulator.cell.sign.tolist() == [1.0]


def test_regions_respect_bounds() -> None:
    rng = np.random.default_rng(0)
    draws = np.stack([np.exp(rng.normal(size=500)), 1 / (1 + np.exp(-rng.normal(size=500))), rng.normal(size=500)], 1)
    region = Region.around(("a", "b", "c"), ((0.0, 0.0, -np.inf), (np.inf, 1.0, np.inf)), draws)
    y = region.points(257, 3)
    theta = region.natural(y)
    assert (np.linalg.norm(y, axis=1) <= 1).all() and (theta[:, :2] > 0).all() and (theta[:, 1] < 1).all()
    back = [np.asarray(region.coordinates(dict(zip(region.names, row, strict=True)))) for row in theta]
    np.testing.assert_allclose(back, y, atol=1e-10)
    np.testing.assert_array_equal(region.points(100, 3), y[:100])
    assert Beta(0.5, 0.2).support == (0.0, 1.0)
