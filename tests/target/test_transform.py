"""Bijections: there and back, and derivatives against differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from estimhank.target.transform import Transform

ALL_KINDS = Transform((-np.inf, 0.005, -np.inf, -1.0), (np.inf, np.inf, 3.0, 2.5))

coordinates = st.lists(st.floats(-12, 12), min_size=4, max_size=4).map(np.array)
# further out differences see the rounding of what is next to the second bound, and nothing else
between_bounds = np.array([1.0, 1.0, 1.0, 0.6])


@st.composite
def transforms(draw: st.DrawFn) -> Transform:
    lower, upper = [], []
    for _ in range(draw(st.integers(1, 5))):
        lo = draw(st.one_of(st.just(-math.inf), st.floats(-50, 50)))
        width = draw(st.one_of(st.just(math.inf), st.floats(0.01, 100)))
        lower.append(lo)
        upper.append(width if lo == -math.inf else lo + width)
    return Transform(tuple(lower), tuple(upper))


@given(transforms(), st.integers(0, 2**32 - 1))
def test_round_trip_returns_to_the_same_coordinates(transform: Transform, seed: int) -> None:
    x = np.random.default_rng(seed).uniform(-6, 6, (7, transform.dimension))
    theta = transform.to_natural(x)
    assert transform.contains(theta).all()
    np.testing.assert_allclose(transform.to_unconstrained(theta), x, rtol=1e-7, atol=1e-7)


@given(coordinates.map(lambda x: x * between_bounds))
@settings(max_examples=50)
def test_log_jacobian_is_the_log_determinant_of_differences(x: np.ndarray) -> None:
    h = 1e-6
    by_differences = [
        (ALL_KINDS.to_natural(x + h * e)[i] - ALL_KINDS.to_natural(x - h * e)[i]) / (2 * h)
        for i, e in enumerate(np.eye(4))
    ]
    # T is at most 40,000 times the coordinate's scale in this range, so rounding limits the difference quotient
    noise = sum(1e-9 * max(1.0, abs(v)) / abs(s) for v, s in zip(ALL_KINDS.to_natural(x), by_differences, strict=True))
    assert ALL_KINDS.log_jacobian(x) == pytest.approx(np.log(np.abs(by_differences)).sum(), abs=1e-6 + noise)


@given(coordinates.map(lambda x: x / 3))
@settings(max_examples=50)
def test_gradient_in_coordinates_is_that_of_differences(x: np.ndarray) -> None:
    weights = np.array([0.3, -1.2, 0.7, 2.0])

    def density(point: np.ndarray) -> float:
        theta = ALL_KINDS.to_natural(point)
        return float(np.sin(theta @ weights) - 0.01 * theta @ theta + ALL_KINDS.log_jacobian(point))

    theta = ALL_KINDS.to_natural(x)
    gradient = np.cos(theta @ weights) * weights - 0.02 * theta
    h = 1e-6
    by_differences = [(density(x + h * e) - density(x - h * e)) / (2 * h) for e in np.eye(4)]
    scale = np.abs(by_differences).max() + np.abs(theta).max() ** 2
    np.testing.assert_allclose(
        ALL_KINDS.gradient_to_unconstrained(x, gradient), by_differences, rtol=1e-5, atol=1e-6 * scale
    )


def test_a_density_that_is_positive_at_a_bound_has_normal_tails_in_the_coordinate() -> None:
    box = Transform((-1.0,), (2.5,))
    x = np.linspace(-12, 12, 49)[:, None]
    scale = math.sqrt(8 / math.pi)
    np.testing.assert_allclose(
        box.log_jacobian(x), math.log(3.5) + norm.logpdf(x[:, 0], scale=scale), rtol=1e-13, atol=1e-13
    )
    # distances from the nearer bound, in full precision below zero and as the upper bound rounds above it
    theta = box.to_natural(x)[:, 0]
    np.testing.assert_allclose(theta + 1, 3.5 * norm.cdf(x[:, 0] / scale), rtol=1e-12, atol=5e-16)
    np.testing.assert_allclose(2.5 - theta, 3.5 * norm.sf(x[:, 0] / scale), rtol=1e-12, atol=5e-16)
    assert box.contains(theta[:, None]).all()


def test_known_values() -> None:
    theta = ALL_KINDS.to_natural(np.zeros(4))
    np.testing.assert_allclose(theta, [0.0, 1.005, 2.0, 0.75])
    # slopes at zero: 1, e^0, e^0, width / 4
    assert ALL_KINDS.log_jacobian(np.zeros(4)) == pytest.approx(math.log(3.5 / 4))


def test_outside_the_box_is_outside_and_has_no_coordinates() -> None:
    theta = np.array([[0.0, 0.005, 0.0, 0.0], [0.0, 1.0, 3.1, 0.0], [0.0, 1.0, 0.0, 2.0]])
    np.testing.assert_array_equal(ALL_KINDS.contains(theta), [False, False, True])
    assert np.isnan(ALL_KINDS.to_unconstrained(theta[1])[2])


def test_far_out_coordinates_raise_no_warning_and_stay_on_the_closed_box() -> None:
    theta = ALL_KINDS.to_natural(np.array([[800.0] * 4, [-800.0] * 4]))
    assert (theta[:, 3] >= -1.0).all() and (theta[:, 3] <= 2.5).all()
    assert not np.isnan(theta).any()


@pytest.mark.parametrize(("lower", "upper"), [((0.0,), (0.0,)), ((1.0,), (0.0,)), ((math.nan,), (1.0,))])
def test_empty_support_is_refused(lower: tuple[float, ...], upper: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="empty support"):
        Transform(lower, upper)


def test_bounds_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="1 lower bounds but 2"):
        Transform((0.0,), (1.0, 2.0))


def test_slope_is_that_of_the_bijection_however_near_the_bound() -> None:
    """As a difference of two gradients it would be zero where the Jacobian's own derivative is far larger."""
    x = np.array([-20.0, -13.2, -6.0, 0.0, 6.0, 13.2, 20.0])
    between = Transform((1.0,) * 7, (3.0,) * 7)
    scale = math.sqrt(8 / math.pi)
    np.testing.assert_allclose(between.natural_derivative(x), 2 * norm.pdf(x / scale) / scale, rtol=1e-12)
    half = Transform((1.0,) * 7, (math.inf,) * 7)
    np.testing.assert_allclose(half.natural_derivative(4 * x), np.exp(4 * x), rtol=1e-12)
    other = Transform((-math.inf,) * 7, (1.0,) * 7)
    np.testing.assert_allclose(other.natural_derivative(4 * x), -np.exp(4 * x), rtol=1e-12)


def test_so_many_times_nearer_to_a_bound_is_what_it_says() -> None:
    support = Transform((-np.inf, 0.5, -np.inf, -1.0), (np.inf, np.inf, 3.0, 2.5))
    assert support.sides == ((1, False), (2, True), (3, False), (3, True))
    x = np.random.default_rng(1).uniform(-3, 3, (20, 4))
    for parameter, upper in support.sides:
        nearer = x.copy()
        distance = support.log_distance(x[:, parameter], parameter, upper)
        nearer[:, parameter] = support.at_log_distance(distance + np.log(1e-3), parameter, upper)
        bound = (support.upper if upper else support.lower)[parameter]
        before, after = (np.abs(support.to_natural(a)[:, parameter] - bound) for a in (x, nearer))
        np.testing.assert_allclose(after, 1e-3 * before, rtol=1e-9)
