"""Training is a function of its seed, uses gradients where they are, and refuses what it cannot learn from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest

from benchmarks.known_targets import banana, skewed
from estimhank.networks.training import (
    TrainingError,
    _train_steps,
)
from estimhank.surrogate.fitting import Fitter, Whitening
from estimhank.surrogate.points import Points, points_from
from estimhank.surrogate.surrogate import Surrogate
from tests.helpers.in_memory import candidates
from tests.helpers.stages import TRAINING, D

TARGET = banana(D)
WHITENING = Whitening.from_moments(np.zeros(D), np.diag([1.0, 2.4, 1.0]))


def training_points(n: int = 800) -> Points:
    return points_from(candidates(TARGET, n), TARGET.transform)


def error(surrogate: Surrogate) -> float:
    theta = TARGET.sample(np.random.default_rng(5), 2_000)
    off = surrogate.log_density(theta) - TARGET.batch(theta).log_density
    return float(np.quantile(np.abs(off - np.median(off)), 0.9))


def fit(points: Points, seed: int = 1, **changes: Any) -> Surrogate:
    config = replace(TRAINING, **({"epochs": 200} | changes))
    return Fitter(TARGET, config).fit(points, WHITENING, config.epochs, seed)[0]


def test_the_banana_is_learned_and_gradients_help() -> None:
    points = training_points()
    with_gradient = error(fit(points))
    values_only = error(fit(points, gradient_weight=0.0))
    assert with_gradient < 0.15
    assert with_gradient < 0.6 * values_only


def test_training_is_the_same_to_the_bit_and_another_seed_is_another_network() -> None:
    points = training_points()
    one, same, other = (fit(points, seed, ensemble=2, epochs=20) for seed in (1, 1, 2))
    jax.tree.map(np.testing.assert_array_equal, one.parameters, same.parameters)
    x = training_points(20).x
    assert (one.log_density(x) != other.log_density(x)).any()
    assert (one.spread(x) > 0).all(), "networks of an ensemble differ"


def test_points_without_gradient_train_beside_points_with_one() -> None:
    points = training_points()
    gradient = points.gradient.copy()
    gradient[::2] = np.nan
    mixed = replace(points, gradient=gradient)
    _, report = Fitter(TARGET, TRAINING).fit(mixed, WHITENING, TRAINING.epochs, 1)
    assert report.points + report.held_out + report.dropped_low == len(points)
    assert abs(report.with_gradient - report.points / 2) < 20
    assert error(fit(mixed)) < 0.3
    assert report.value_rmse < 0.2 * report.quadratic_rmse


def test_partial_gradients_are_whole_along_the_coordinates_that_do_not_need_the_rest() -> None:
    points = training_points()
    steady_state = np.array([False, False, True])
    covariance = np.array([[1.0, 0.5, 0.3], [0.5, 2.4, -0.4], [0.3, -0.4, 1.0]])
    whitening = Whitening.from_moments(np.zeros(D), covariance, steady_state)
    np.testing.assert_allclose(whitening.root @ whitening.root.T, covariance, rtol=1e-12)
    partial = np.where(steady_state, np.nan, points.gradient)
    gradients = whitening.gradients(partial)
    np.testing.assert_array_equal(np.isnan(gradients), np.tile([True, False, False], (len(points), 1)))
    np.testing.assert_allclose(gradients[:, 1:], (points.gradient @ whitening.root)[:, 1:], rtol=1e-12)


def test_partial_gradients_help() -> None:
    points = training_points()
    steady_state = np.array([False, False, True])
    whitening = Whitening.from_moments(WHITENING.center, np.diag([1.0, 2.4, 1.0]), steady_state)
    partial = replace(points, gradient=np.where(steady_state, np.nan, points.gradient))
    values = replace(points, gradient=np.full_like(points.gradient, np.nan))
    errors = [
        np.mean([error(Fitter(TARGET, TRAINING).fit(p, whitening, 200, seed)[0]) for seed in (1, 2, 3)])
        for p in (partial, values)
    ]
    assert errors[0] < 0.8 * errors[1]


def test_a_report_without_gradients_says_so() -> None:
    points = training_points(100)
    _, report = Fitter(TARGET, TRAINING).fit(
        replace(points, gradient=np.full_like(points.gradient, np.nan)), WHITENING, 5, 1
    )
    assert report.with_gradient == 0 and np.isnan(report.gradient_rmse) and np.isfinite(report.value_rmse)


def test_the_surrogate_is_kept_low_where_there_is_no_density() -> None:
    target = skewed(D, bound_known=False)
    points = points_from(candidates(target, 600), target.transform)
    whitening = Whitening.from_moments(np.array([1.0, 0.5, 0.5]), np.eye(D))
    x = target.sample(np.random.default_rng(3), 500)
    mirrored = x * np.array([-1.0, 1.0, 1.0])  # on the wrong side of the bound
    excess = []
    for known in (points, replace(points, infeasible=np.empty((0, D)))):
        # at the default weight of the gradients the bounds hold less firmly
        config = replace(TRAINING, gradient_weight=3.0)
        surrogate, _ = Fitter(target, config).fit(known, whitening, TRAINING.epochs, 1)
        excess.append(np.quantile(surrogate.log_density(mirrored), 0.75) - np.median(surrogate.log_density(x)))
    assert excess[0] < -2.0 < 0.0 < excess[1]


def test_too_few_points_are_refused_in_a_sentence() -> None:
    with pytest.raises(TrainingError, match="needs 20 points with a finite density, there are 7"):
        fit(training_points().select(slice(0, 7)))


def test_what_is_compiled_does_not_depend_on_the_number_of_points() -> None:
    fit(training_points().select(slice(0, 200)), epochs=1)
    before = _train_steps._cache_size()  # type: ignore[attr-defined]
    fit(training_points().select(slice(0, 250)), epochs=1)
    assert _train_steps._cache_size() == before  # type: ignore[attr-defined]


def test_progress_is_told() -> None:
    shares: list[float] = []
    Fitter(TARGET, TRAINING).fit(training_points(60), WHITENING, 5, 1, shares.append)
    assert shares and shares[-1] == pytest.approx(1.0) and min(shares) >= 0


def test_training_goes_on_from_a_surrogate_and_leaves_its_base_alone() -> None:
    points = training_points()
    short = replace(TRAINING, ensemble=2)
    first, _ = Fitter(TARGET, short).fit(points, WHITENING, 20, 1)
    further, report = Fitter(TARGET, short).go_on(first, points, 40, 2)
    again, _ = Fitter(TARGET, short).fit(points, WHITENING, 40, 2)
    assert error(further) < error(first) and len(report.losses) == 2
    for name in ("linear", "quadratic", "scale"):
        np.testing.assert_array_equal(getattr(further.parameters, name), getattr(first.parameters, name))
    assert further.constant == first.constant
    assert float(report.losses[:, 0].mean()) < 10 * float(report.losses[:, -1].mean()), "it began where the other ended"
    assert error(again) != error(further)


def test_uncorrected_disagreement_costs_nothing_and_the_fence_is_farther_out() -> None:
    surrogate, _ = Fitter(TARGET, replace(TRAINING, ensemble=2)).fit(training_points(200), WHITENING, 20, 1)
    uncorrected, x = surrogate.uncorrected(), TARGET.sample(np.random.default_rng(3), 500)
    inside = ~surrogate.outside(x)
    taken_off = uncorrected.log_density(x[inside]) - surrogate.log_density(x[inside])
    alone = [
        replace(surrogate, parameters=surrogate.parameters._replace(networks=(network,))).log_density(x[inside])
        for network in surrogate.parameters.networks
    ]
    np.testing.assert_allclose(taken_off, 2 * np.var(alone, axis=0), atol=2e-5)
    assert taken_off.max() > 0.01
    np.testing.assert_array_equal(uncorrected.spread(x[inside]), surrogate.spread(x[inside]))
    outward = np.linspace(0, 40, 400)[:, None] * np.eye(D)[0]
    sooner, later = surrogate.outside(outward), uncorrected.outside(outward)
    assert sooner[-1] and later[-1] and not (later & ~sooner).any() and (sooner & ~later).any()
