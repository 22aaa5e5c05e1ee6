"""Only finite evaluations become points; the rest is counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.known_targets import correlated_normal, skewed
from estimhank.surrogate.points import depth_weights, near_posterior, points_from, typical_depth, usable
from estimhank.target.transform import Transform


def test_values_and_gradients_are_those_of_the_density_of_the_coordinates() -> None:
    target = skewed(3)
    theta = target.sample(np.random.default_rng(0), 5)
    points = points_from(target.batch(theta, gradient=True), target.transform)

    def density(x: np.ndarray) -> np.ndarray:
        return target.batch(target.transform.to_natural(x)).log_density + target.transform.log_jacobian(x)

    np.testing.assert_allclose(points.log_density, density(points.x), rtol=1e-12)
    for i, step in enumerate(1e-5 * np.eye(3)):
        difference = (density(points.x + step) - density(points.x - step)) / 2e-5
        np.testing.assert_allclose(points.gradient[:, i], difference, rtol=1e-6, atol=1e-7)


def test_failures_and_non_finite_values_are_dropped_and_counted() -> None:
    target = skewed(2, bound_known=False)
    theta = np.array([[1.0, 0.0], [-1.0, 0.0], [2.0, 0.5], [0.5, 0.1], [1.5, 0.2]])
    batch = target.batch(theta, gradient=True)
    value, slope = batch.log_likelihood.copy(), batch.gradient.copy()
    value[2] = np.nan
    slope[3, 1] = np.nan
    points = points_from(replace(batch, log_likelihood=value, gradient=slope), target.transform)
    assert len(points) == 3
    assert dict(points.dropped) == {"outside_support": 1, "non_finite": 1}
    np.testing.assert_array_equal(points.has_gradient, [True, True, True])
    np.testing.assert_array_equal(np.isnan(points.gradient[1]), [False, True])
    assert np.isnan(points.without_gradients(np.array([True, False])).gradient[0]).tolist() == [True, False]
    np.testing.assert_array_equal(points.infeasible, theta[[1]])


def test_places_outside_the_box_are_no_infeasible_points() -> None:
    target = skewed(2)
    points = points_from(target.batch(np.array([[-1.0, 0.0], [1.0, 0.0]])), target.transform)
    assert len(points) == 1 and len(points.infeasible) == 0 and dict(points.dropped) == {"outside_support": 1}


def test_extending_keeps_everything() -> None:
    target = correlated_normal(2)
    one, two = (points_from(target.batch(np.full((n, 2), float(n))), target.transform) for n in (2, 3))
    both = one.extend(two)
    np.testing.assert_array_equal(both.x, np.concatenate([one.x, two.x]))
    np.testing.assert_array_equal(both.log_density, np.concatenate([one.log_density, two.log_density]))


def test_the_lowest_and_the_oldest_points_are_left_out() -> None:
    target = correlated_normal(2)
    batch = target.batch(np.linspace(0.0, 3.0, 10)[:, None] * np.ones(2))
    points = points_from(batch, target.transform)
    kept = usable(points, drop_lowest=0.2, max_points=1_000)
    assert len(kept) == 8 and kept.log_density.min() > np.sort(points.log_density)[1]
    assert len(usable(points, 0.0, 4)) == 4
    np.testing.assert_array_equal(usable(points, 0.0, 4).x, points.x[-4:])


def test_hopelessly_low_points_are_left_out_and_low_ones_weigh_less() -> None:
    depth = typical_depth(2)
    assert depth == pytest.approx(0.5 * 13.8155, rel=1e-4)  # half the 99.9 % point of chi-squared with two degrees
    heights = -np.array([0.0, 0.9, 1.1, 3.0, 7.0]) * depth
    weights = depth_weights(heights, 2, power=2.0)
    assert weights[0] == weights[1] == 1.0 and (np.diff(weights[1:]) < 0).all()
    np.testing.assert_array_equal(depth_weights(heights, 2, power=0.0), 1.0)
    transform = Transform((-np.inf,) * 2, (np.inf,) * 2)
    points = points_from(correlated_normal(2).batch(np.ones((5, 2))), transform)
    points = replace(points, log_density=heights)
    assert len(usable(points, 0.0, 100)) == 4
    np.testing.assert_array_equal(near_posterior(points), [True, True, True, False, False])
