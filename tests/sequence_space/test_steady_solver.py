"""The steady state in the loop: against the bracketing search, from any start, with derivatives, and where it fails."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimhank.households.cliffs import household_cliffs
from estimhank.households.fake_news import truncated_product
from estimhank.households.one_asset import HouseholdTarget, StandardIncompleteMarkets
from estimhank.households.stationary import SteadyStateError
from estimhank.models.krusell_smith import KrusellSmith
from estimhank.models.one_asset_hank import OneAssetHANK
from estimhank.parameters.parameter_table import Values
from estimhank.parameters.priors import Gamma
from estimhank.posterior.at_point import AtPoint
from estimhank.posterior.posterior import Posterior
from estimhank.posterior.routes import CHEAPEST, Route, needs_longer, next_route
from estimhank.posterior.solver import _KEPT
from estimhank.sequence_space.steady_solver import SteadySolver
from estimhank.sequence_space.steady_state import solve_steady_state
from estimhank.target.protocol import Gradient
from tests.helpers import golden

SPREAD = {"eis": 0.1, "sd_e": 0.1, "B_bar": 0.25}
PRIORS = {"eis": Gamma(0.5, 0.1), "sd_e": Gamma(0.92, 0.1), "B_bar": Gamma(1.0, 0.25)}
SMALL = StandardIncompleteMarkets(inputs=("r", "Z"), n_e=3, n_a=80, a_max=100.0)


def with_priors(cls: type[OneAssetHANK] = OneAssetHANK, **household: Any) -> OneAssetHANK:
    table = cls.parameters
    for name, prior in PRIORS.items():
        table = table.changed(name, prior=prior)
    return cls(table, replace(SMALL, **household))


@pytest.fixture(scope="module")
def small(posterior: Posterior) -> Posterior:
    """The fourteen-parameter posterior on a small grid and a short horizon."""
    return Posterior(with_priors(), posterior.data, 160, 100)


#: Shocks and debt die out within the horizon, so that the first route to a likelihood is good enough: each further one
#: is compiled anew, at two horizons.
FAST = {"rho_w": 0.8, "rho_g": 0.7, "phi_b": 0.3}


@pytest.fixture(scope="module")
def points(small: Posterior, reference: dict[str, float]) -> np.ndarray:
    return draw_points(small, {**reference, **FAST})


def draw_points(small: Posterior, reference: dict[str, float]) -> np.ndarray:
    """Reference values, and five points around them with households from the prior; shape (6, 14)."""
    rng = np.random.default_rng(1)
    theta = np.tile([reference.get(name, small.model.parameters[name].value) for name in small.names], (6, 1))
    theta[1:, :5] *= 1 + 0.05 * rng.normal(size=(5, 5))
    theta[1:, -3:] = np.stack([PRIORS[n].sample(rng, 5) for n in ("eis", "sd_e", "B_bar")], axis=1)
    return theta


@pytest.mark.long
@pytest.mark.parametrize(
    "moved",
    [
        {"eis": 0.5, "sd_e": 0.92, "B_bar": 1.0},
        {"eis": 0.35, "sd_e": 0.8, "B_bar": 0.6},
        {"eis": 0.8, "sd_e": 1.1, "B_bar": 1.8},
        {"eis": 0.7, "sd_e": 0.75, "B_bar": 0.9},
    ],
)
def test_newton_finds_what_bracketing_finds(small: Posterior, moved: dict[str, float]) -> None:
    model, solver = small.model, small.solver.steady
    mine, his = solver.at(moved), solve_steady_state(model, moved)
    assert float(mine.parameters["beta"]) == pytest.approx(his.parameters["beta"], abs=1e-11)
    for name in ("A", "C"):
        assert float(mine.values[name]) == pytest.approx(his.values[name], abs=1e-10)
    assert his.household is not None
    (household,), solved = solver.stationary_at(moved)
    assert solved["beta"] == pytest.approx(his.parameters["beta"], abs=1e-11)
    np.testing.assert_allclose(household.distribution, his.household.distribution, atol=1e-11)
    np.testing.assert_allclose(household.policies.assets, his.household.policies.assets, rtol=1e-9, atol=1e-10)


@pytest.mark.long
def test_bracketing_is_not_needed_far_away(small: Posterior, monkeypatch: pytest.MonkeyPatch) -> None:
    solver, found = small.solver.steady, []
    monkeypatch.setattr(solver, "robust_point", lambda moved: found.append(SteadySolver.robust_point(solver, moved)))
    rng = np.random.default_rng(3)
    solved = 0
    for eis, sd_e, debt in rng.uniform((0.15, 0.3, 0.2), (1.5, 1.3, 3.5), (40, 3)):
        try:  # there may be no steady state, which only bracketing can tell
            solver.stationary_at({"eis": eis, "sd_e": sd_e, "B_bar": debt})
            solved += 1
        except SteadyStateError as error:
            assert error.kind in ("no_bracket", "grid_too_small")
        assert not found
    assert solved > 30


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["linear", "smooth"])
def test_jacobians_jump_where_a_fixed_point_crosses_a_grid_point_unless_the_scheme_is_smooth(scheme: str) -> None:
    solver = SteadySolver(with_priors(scheme=scheme), {"B_bar": 0.25}, 40)

    def place(debt: float) -> int:
        """Grid point above the fixed point that most of those who are off the constraint are next to."""
        (household,), _ = solver.stationary_at({"B_bar": debt})
        above = np.asarray(household.policies.assets <= household.grids.a).argmax(axis=1)
        mass = np.where(above > 0, household_cliffs(household).mass, 0.0)
        return int(above[mass.argmax()])

    low, high = 0.8, 1.4
    target = place(low) + 1
    assert place(high) >= target
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if place(middle) >= target else (middle, high)
    before, after = (np.asarray(solver.at({"B_bar": x}).household.jacobians) for x in (low - 1e-7, high + 1e-7))
    change = np.abs(after - before).max()
    assert change > 1e-3 if scheme == "linear" else change < 1e-5


@pytest.mark.long  # the reference numbers of Krusell and Smith's economy are in test_household.py
def test_newton_solves_krusell_smith() -> None:
    solver = SteadySolver(KrusellSmith(), {"sd_e": 0.1}, 20)
    golden.KRUSELL_SMITH_BETA.check(solver.at({"sd_e": 0.5}).parameters["beta"])
    assert float(solver.at({"sd_e": 0.6}).parameters["beta"]) == pytest.approx(
        solve_steady_state(KrusellSmith(), {"sd_e": 0.6}).parameters["beta"], abs=1e-11
    )


@pytest.mark.long
def test_a_value_does_not_depend_on_where_the_search_began(small: Posterior, points: np.ndarray) -> None:
    solver = small.solver.steady
    for theta in points[1:3]:
        moved = dict(zip(small.names[-3:], theta[-3:].tolist(), strict=True))
        parts = small.solver.parts_at(theta)
        expected = float(small.solver.at_once(theta, parts, small.solver.solve(theta, parts))[0].log_likelihood)
        reference = solver._point_of(solver.reference)
        elsewhere = solver._point_of(solve_steady_state(small.model, {k: 1.1 * v for k, v in moved.items()}))
        for start in (reference, elsewhere, jax.tree.map(lambda x: np.asarray(x) * 1.01, reference)):
            parts = solver._solve(moved, start)
            value = small.solver.at_once(theta, parts, small.solver.solve(theta, parts))[0].log_likelihood
            assert float(value) == pytest.approx(expected, abs=1e-7)


@pytest.fixture(scope="module")
def other(small: Posterior) -> Posterior:
    """Another copy of the same posterior, which keeps solutions of its own."""
    return Posterior(small.model, small.data, small.horizon, small.tail_start)


@pytest.mark.long
def test_a_value_does_not_depend_on_what_was_evaluated_before(
    small: Posterior, other: Posterior, points: np.ndarray
) -> None:
    first = np.array([small.log_likelihood(theta) for theta in points])
    order = np.random.default_rng(0).permutation(np.tile(np.arange(len(points)), 3))
    again = np.array([small.log_likelihood(points[i]) for i in order])
    np.testing.assert_array_equal(again, first[order])
    np.testing.assert_array_equal([other.log_likelihood(theta) for theta in points[::-1]], first[::-1])


@pytest.fixture(scope="module")
def evaluate_all(other: Posterior, points: np.ndarray) -> Callable[[np.ndarray], float]:
    """The log likelihood with everything computed anew: by another copy, which comes from more points, different in
    everything, than it keeps anything of."""

    def value(theta: np.ndarray) -> float:
        assert len(points) - 1 > _KEPT
        for elsewhere in points[1:]:
            other.log_likelihood(elsewhere)
        return other.log_likelihood(theta)

    return value


@pytest.mark.parametrize("tier", ["shocks", "equilibrium", "steady_state"])
def test_what_is_recomputed_gives_the_value_of_a_full_evaluation(
    small: Posterior, points: np.ndarray, evaluate_all: Callable[[np.ndarray], float], tier: str
) -> None:
    rng = np.random.default_rng(2)
    touched = [i for i, name in enumerate(small.names) if small.model.parameters[name].touches == tier]
    assert touched
    small.evaluate(points[0])
    for _ in range(3):
        theta = points[0].copy()
        theta[touched] *= 1 + 0.03 * rng.normal(size=len(touched))
        value = small.log_likelihood(theta)
        assert value == pytest.approx(evaluate_all(theta), abs=1e-9)


def test_gradients_cover_parameters_that_move_the_steady_state(small: Posterior, points: np.ndarray) -> None:
    assert (
        next_route(CHEAPEST, AtPoint(small.solver, points[1], False, False).outcome(CHEAPEST)[0], CHEAPEST, False)
        is None
    )
    check_gradient(small, points[1])


@pytest.mark.long  # compiles a gradient of another route and horizon
def test_gradients_at_points_that_need_a_longer_horizon(
    posterior: Posterior, small: Posterior, reference: dict[str, float]
) -> None:
    short = Posterior(small.model, posterior.data, 80, 50)
    theta = draw_points(short, reference)[1]
    at = AtPoint(short.solver, theta, False, False)
    assert all(needs_longer(at.outcome(route)[0]) for route in (CHEAPEST, Route(fitted=True)))
    check_gradient(short, theta)


def check_gradient(small: Posterior, theta: np.ndarray) -> None:
    """Against central differences, in all parameters."""
    assert small.has_gradient
    value, gradient = small.log_density_and_gradient(theta)
    assert value == pytest.approx(small.log_density(theta), abs=1e-8)
    for i, x in enumerate(theta):
        step = 1e-5 * x
        up, down = theta.copy(), theta.copy()
        up[i], down[i] = x + step, x - step
        numeric = (small.log_density(up) - small.log_density(down)) / (2 * step)
        assert gradient[i] == pytest.approx(numeric, rel=1e-5, abs=1e-4), small.names[i]


class Untraceable(OneAssetHANK):
    """A model whose steady state is computed with plain numbers."""

    name = "untraceable"

    def household_target(self, p: Values) -> HouseholdTarget:
        return replace(super().household_target(p), value=math.exp(math.log(p.B_bar)))

    def steady_state(self, p: Values, household: Any) -> Mapping[str, Any]:
        values = dict(super().steady_state(p, household))
        if p.B_bar > 0:
            values["Y"] = float(values["Y"])
        return values


def test_a_partial_gradient_is_the_whole_one_without_what_moves_the_steady_state(
    small: Posterior, points: np.ndarray
) -> None:
    whole, partial = (small.evaluate(points[1], gradient=kind) for kind in (True, Gradient.PARTIAL))
    assert whole.log_density == pytest.approx(partial.log_density, abs=1e-7)
    steady_state = np.isin(small.names, small.steady_state_parameters)
    assert set(small.steady_state_parameters) == {"eis", "sd_e", "B_bar"}
    np.testing.assert_array_equal(np.isnan(partial.gradient), steady_state)  # type: ignore[arg-type]
    np.testing.assert_allclose(partial.gradient[~steady_state], whole.gradient[~steady_state], rtol=1e-6, atol=1e-6)


@pytest.fixture(scope="module")
def untraceable(small: Posterior) -> Posterior:
    return Posterior(with_priors(Untraceable), small.data, small.horizon, small.tail_start)


@pytest.mark.long
def test_a_model_that_computes_with_numbers_is_solved_without_gradients(
    small: Posterior, untraceable: Posterior, points: np.ndarray
) -> None:
    assert not untraceable.has_gradient
    mine, theirs = untraceable.solver.parts_at(points[1]), small.solver.parts_at(points[1])
    for part in ("values", "parameters"):
        for name, value in getattr(theirs, part).items():
            assert float(getattr(mine, part)[name]) == pytest.approx(float(value), abs=1e-10), name
    np.testing.assert_allclose(mine.household.jacobians, theirs.household.jacobians, atol=1e-9)


@pytest.mark.long  # from the same parts: the test above; compiles a likelihood of its own
def test_its_likelihood_is_that_of_the_model_that_can_be_traced(
    small: Posterior, untraceable: Posterior, points: np.ndarray
) -> None:
    assert untraceable.log_likelihood(points[1]) == pytest.approx(small.log_likelihood(points[1]), abs=1e-9)


def test_debt_that_everybody_would_exceed_is_a_reason(small: Posterior) -> None:
    with pytest.raises(SteadyStateError) as error:
        small.solver.steady.at({"eis": 0.25, "sd_e": 1.2, "B_bar": 0.3})
    assert error.value.kind == "no_bracket"


def test_debt_that_nobody_would_hold_is_a_reason(small: Posterior, points: np.ndarray) -> None:
    theta = points[0].copy()
    theta[-1] = 80.0
    result = small.evaluate(theta)
    assert result.reason == "steady_state"
    assert result.log_likelihood == -math.inf and math.isfinite(result.log_prior)
    assert small.evaluate(theta, gradient=True).reason == "steady_state"
    with pytest.raises(SteadyStateError) as error:
        small.solver.steady.at(dict(zip(small.names, theta.tolist(), strict=True)))
    assert error.value.kind in ("no_bracket", "grid_too_small")
    assert small.evaluate(points[0]).reason == "ok"


def test_a_grid_that_is_too_small_is_a_reason(small: Posterior) -> None:
    with pytest.raises(SteadyStateError, match="raise a_max") as error:
        small.solver.steady.at({"eis": 0.5, "sd_e": 0.92, "B_bar": 25.0})
    assert error.value.kind == "grid_too_small"


def test_a_truncated_product_is_exact_where_it_is_not_cut() -> None:
    rng = np.random.default_rng(0)
    left, right = jnp.asarray(rng.normal(size=(7, 11))), jnp.asarray(rng.normal(size=(150, 11)))
    weights = rng.normal(size=(7, 150))
    for needed in map(jnp.asarray, (0, 1, 64, 65, 150)):
        out, pull = jax.vjp(lambda a, b, n=needed: truncated_product(a, b, n), left, right)
        kept = min(-(-int(needed) // 64) * 64, 150)
        expected = np.array(left @ right.T)
        expected[:, kept:] = 0
        np.testing.assert_allclose(out, expected, atol=1e-13)
        left_bar, right_bar = pull(jnp.asarray(weights))
        cut = np.where(np.arange(150) < kept, weights, 0.0)
        np.testing.assert_allclose(left_bar, cut @ right, atol=1e-12)
        np.testing.assert_allclose(right_bar, cut.T @ left, atol=1e-12)
