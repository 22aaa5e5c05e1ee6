"""The mode search finds the mode of natural parameters, lists the others, and knows the curvature."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from benchmarks.textbook_targets import MixtureTarget, NormalTarget, SkewedTarget
from estimhank.evaluation.engine import Engine
from estimhank.evaluation.recorder import Recorder
from estimhank.evaluation.store import EvaluationStore
from estimhank.mode.ascent import Value
from estimhank.mode.curvature import differentiate, is_positive_definite
from estimhank.mode.mode_result import ModeResult, read_mode, write_mode
from estimhank.mode.search import ModeConfig, find_mode
from estimhank.mode.starts import NoFeasibleStart
from estimhank.support.errors import StorageError
from estimhank.target.any_density import from_log_density
from estimhank.target.protocol import Evaluation, Gradient, GradientLike, Target


def search(folder: Path, target: Target, config: ModeConfig | None = None, **options: Any) -> ModeResult:
    with EvaluationStore.open(folder / "evaluations.bin", target.names, target.fingerprint) as store:
        return find_mode(Recorder(Engine(target, "serial"), store), target, config, **options)


def test_normal_target(tmp_path: Path) -> None:
    target = NormalTarget((1.0, -20.0, 0.003), (1.0, 50.0, 0.001), 0.9)
    result = search(tmp_path, target)
    np.testing.assert_allclose(result.theta, target.mean, rtol=1e-5)
    np.testing.assert_allclose(result.hessian, np.linalg.inv(target.covariance), rtol=1e-6)
    np.testing.assert_allclose(result.covariance_x, target.covariance, rtol=1e-5)
    np.testing.assert_allclose(result.center_x, target.mean, rtol=1e-5)
    assert result.log_density == pytest.approx(target.evaluate(np.array(target.mean)).log_density, abs=1e-9)
    assert result.condition == pytest.approx(np.linalg.cond(target.covariance), rel=1e-5)
    assert result.positive_definite and result.agreeing == len(result.starts) == 8 and len(result.modes) == 1
    assert result.slice_gain == 0.0 and not result.infeasible_prior


def test_skewed_target_with_bounds_has_the_mode_of_the_natural_density(tmp_path: Path) -> None:
    target = SkewedTarget()
    result = search(tmp_path, target)
    np.testing.assert_allclose(result.theta, target.mode, rtol=1e-4)
    # minus the second derivatives of the three log densities at their modes
    expected = np.diag([2 / 2.0**2, 1 / 0.2**2 + 4 / 0.8**2, 3 / 1.5**2])
    np.testing.assert_allclose(result.hessian, expected, rtol=1e-4, atol=1e-4)
    assert result.agreeing == 8 and len(result.modes) == 1
    # in coordinates the mode solves another equation: a = 3, 4 - c = 2, and of b = Phi(x / c) whatever a search finds
    scale = np.sqrt(8 / np.pi)

    def between(x: float) -> float:
        return -norm.logcdf(x / scale) - 4 * norm.logsf(x / scale) - norm.logpdf(x / scale)

    x = minimize_scalar(between, bounds=(-5, 5), method="bounded", options={"xatol": 1e-9}).x
    np.testing.assert_allclose(target.transform.to_natural(result.center_x), [3.0, norm.cdf(x / scale), 2.0], rtol=1e-4)
    curvature = (between(x + 1e-3) - 2 * between(x) + between(x - 1e-3)) / 1e-6
    np.testing.assert_allclose(result.covariance_x, np.diag([1 / 3, 1 / curvature, 1 / 4]), atol=1e-4)


def test_a_density_without_limit_at_a_bound_is_centred_where_its_mass_is(tmp_path: Path) -> None:
    """Gamma of shape 0.7: its natural density has no mode but zero; in logarithms the mode is that of the mass."""
    target = from_log_density(lambda t: -0.3 * np.log(t[0]) - t[0], ["a"], [1.0], 1.0, bounds={"a": (0, np.inf)})
    result = search(tmp_path, target, ModeConfig(starts=2, candidates=16, slice_points=5))
    assert result.theta[0] < 1e-100 and not result.positive_definite
    assert result.center_x[0] == pytest.approx(np.log(0.7), abs=1e-3)
    assert result.covariance_x[0, 0] == pytest.approx(1 / 0.7, rel=1e-2)


def test_hessians_agree_with_differences_of_the_density(tmp_path: Path) -> None:
    target = SkewedTarget()
    result = search(tmp_path, target)

    def in_coordinates(x: np.ndarray) -> float:
        return target.evaluate(target.transform.to_natural(x)).log_density + float(target.transform.log_jacobian(x))

    for function, point, hessian in (
        (lambda theta: target.evaluate(theta).log_density, result.theta, result.hessian),
        (in_coordinates, result.x, result.hessian_x),
    ):
        h = 1e-4
        for i, e in enumerate(np.eye(3) * h):
            second = (function(point + e) - 2 * function(point) + function(point - e)) / h**2
            assert -second == pytest.approx(hessian[i, i], rel=1e-3)


def test_both_modes_of_a_mixture_are_listed_best_first(tmp_path: Path) -> None:
    result = search(tmp_path, MixtureTarget(3, 8.0, 3.0), ModeConfig(starts=12))
    assert len(result.modes) == 2
    np.testing.assert_allclose([mode.theta[0] for mode in result.modes], [4.0, -4.0], atol=1e-3)
    np.testing.assert_allclose([mode.log_density for mode in result.modes], [0.0, -3.0], atol=1e-6)
    assert sum(mode.starts for mode in result.modes) == 12 and result.agreeing == result.modes[0].starts


def test_an_infeasible_half_space_is_backed_away_from(tmp_path: Path) -> None:
    target = NormalTarget((0.0,) * 4, (1.0, 2.0, 0.5, 1.0), 0.3, cut=1.0)  # a quarter of the mass is missing
    result = search(tmp_path, target)
    np.testing.assert_allclose(result.theta, np.zeros(4), atol=1e-4)
    assert result.agreeing >= 6
    assert 0.2 < result.infeasible_prior["indeterminate"] < 0.6
    assert all(target.evaluate(start.end).reason == "ok" for start in result.starts)


def test_a_mode_on_the_edge_of_the_feasible_region_is_reported_for_what_it_is(tmp_path: Path) -> None:
    target = NormalTarget((0.0, 0.0), (1.0, 1.0), 0.0, cut=-1.0)  # the best feasible point is (-0.5, -0.5)
    result = search(tmp_path, target)
    assert target.evaluate(result.theta).reason == "ok"
    assert result.log_density > target.evaluate(np.array([-0.5, -0.5])).log_density - 0.1
    assert {start.status for start in result.starts} == {"stalled"}
    assert np.isfinite(result.covariance_x).all() and np.linalg.eigvalsh(result.covariance_x).min() > 0


def test_steady_state_parameters_are_climbed_alone_the_others_following(tmp_path: Path) -> None:
    asked: list[Gradient | bool] = []

    class Costly(NormalTarget):
        steady_state_parameters = ("x1",)

        def evaluate(self, theta: np.ndarray, gradient: GradientLike = False) -> Evaluation:
            asked.append(gradient)
            found = super().evaluate(theta, bool(gradient))
            if gradient != Gradient.PARTIAL or found.gradient is None:
                return found
            return replace(found, gradient=np.where([False, True, False], np.nan, found.gradient))

    target = Costly((1.0, -20.0, 0.003), (1.0, 50.0, 0.001), 0.6)
    result = search(tmp_path, target)
    np.testing.assert_allclose(result.theta, target.mean, rtol=1e-5)
    assert result.agreeing == len(result.starts) == 8
    assert asked.count(Gradient.PARTIAL) > 50
    assert asked.count(True) < 150, "the steady-state parameter alone is climbed with whole gradients"


def test_without_gradients_the_same_mode_is_found(tmp_path: Path) -> None:
    class NoGradient(SkewedTarget):
        has_gradient = False

        def evaluate(self, theta: np.ndarray, gradient: GradientLike = False) -> Evaluation:
            assert not gradient
            return super().evaluate(theta)

    target = NoGradient()
    result = search(tmp_path, target, ModeConfig(starts=3))
    np.testing.assert_allclose(result.theta, target.mode, rtol=1e-3)
    np.testing.assert_allclose(np.diag(result.hessian), [0.5, 31.25, 4 / 3], rtol=1e-2)


def test_slices_run_through_the_mode_inside_the_support(tmp_path: Path) -> None:
    target = SkewedTarget()
    result = search(tmp_path, target)
    assert result.slice_theta.shape == result.slice_log_density.shape == (3, 15)
    np.testing.assert_allclose(result.slice_theta[:, 7], result.theta)
    np.testing.assert_allclose(result.slice_log_density[:, 7], result.log_density)
    assert (result.slice_log_density <= result.log_density + 1e-9).all()
    for i, row in enumerate(result.slice_theta):
        for j, value in enumerate(row):
            theta = result.theta.copy()
            theta[i] = value
            assert result.slice_log_density[i, j] == target.evaluate(theta).log_density > -np.inf


def test_starts_are_feasible_and_dispersed(tmp_path: Path) -> None:
    target = NormalTarget((0.0,) * 4, (1.0, 2.0, 0.5, 1.0), 0.3, cut=1.0)
    starts = np.array([start.start for start in search(tmp_path, target).starts])
    assert all(target.evaluate(start).reason == "ok" for start in starts)
    apart = np.linalg.norm((starts[:, None] - starts) / (5 * np.array(target.sd)), axis=-1)
    assert apart[~np.eye(8, dtype=bool)].min() > 1.0  # prior standard deviations


def test_own_starts_come_on_top(tmp_path: Path) -> None:
    target = MixtureTarget(2, 40.0, 3.0)
    result = search(tmp_path, target, ModeConfig(starts=2), extra_starts=np.array([[-20.5, -20.0], [21.0, 20.0]]))
    assert len(result.starts) == 4 and len(result.modes) == 2


def test_a_search_cut_anywhere_and_resumed_gives_the_same_bits(tmp_path: Path) -> None:
    target = SkewedTarget()
    whole = search(tmp_path, target, seed=3)
    path = tmp_path / "evaluations.bin"
    content = path.read_bytes()
    for share in (0.1, 0.5, 0.95):
        path.write_bytes(content[: int(share * len(content))])
        resumed = search(tmp_path, target, seed=3)
        for field in fields(whole):
            one, other = getattr(whole, field.name), getattr(resumed, field.name)
            assert np.array_equal(one, other) if isinstance(one, np.ndarray) else repr(one) == repr(other), field.name


def test_mode_json_gives_back_every_digit(tmp_path: Path) -> None:
    target = NormalTarget((0.0, 1.0), (1.0, 2.0), 0.2, cut=2.0)
    result = search(tmp_path, target)
    assert np.isinf(result.slice_log_density).any()  # slices cross the edge of the feasible region
    again = read_mode(write_mode(tmp_path / "mode.json", result))
    assert repr(again) == repr(result)
    np.testing.assert_array_equal(again.covariance_x, result.covariance_x)


def test_a_file_that_is_no_mode_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mode.json").write_text('{"names": ["a"], "theta": {"b": 1}}')
    with pytest.raises(StorageError, match="not the result of a mode search"):
        read_mode(tmp_path / "mode.json")


def test_a_prior_without_any_feasible_point_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoFeasibleStart, match=r"none of 320 prior draws .*indeterminate"):
        search(tmp_path, NormalTarget((0.0, 0.0), (1.0, 1.0), 0.0, cut=-1e3))


def test_small_jumps_do_not_hide_the_curvature() -> None:
    """Gradients that jump by a hundredth now and then: differences over a thousandth see nothing else."""
    asked: list[int] = []

    def evaluate(points: np.ndarray) -> list[Value]:
        asked.append(len(points))
        return [Value(-0.5 * float(p @ p), -p + 0.01 * np.sign(np.sin(900 * p))) for p in points]

    here = Value(0.0, np.zeros(3))
    hessian = differentiate(evaluate, np.zeros(3), here, np.full(3, 1e-3))
    assert is_positive_definite(hessian) and asked == [6, 6]
    np.testing.assert_allclose(np.diag(hessian), 1.0, atol=0.11)
    saddle = differentiate(lambda points: [Value(0.0, p) for p in points], np.zeros(3), here, np.full(3, 1e-3))
    np.testing.assert_allclose(saddle, -np.eye(3), atol=1e-12)  # a saddle stays one, told by the shorter steps
