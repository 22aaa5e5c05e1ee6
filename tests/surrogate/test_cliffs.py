"""Networks that are told where a density falls from a cliff follow it; where there is none nothing is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.known_targets import KnownTarget, correlated_normal
from estimhank.support.chebyshev import left_out
from estimhank.surrogate.cliff_finder import CliffFinder
from estimhank.surrogate.cliff_fit import fit_cliffs
from estimhank.surrogate.cliff_map import stretched
from estimhank.surrogate.fitting import Fitter, Whitening
from estimhank.surrogate.points import points_from
from estimhank.surrogate.surrogate import load_surrogate, save_surrogate
from estimhank.target.cliffs import Cliffs
from tests.helpers.stages import TRAINING, D

COSTLY = np.array([False, True, True])
NORMAL = correlated_normal(D)
HEIGHT = 1.5


def distance_at(theta: np.ndarray) -> np.ndarray:
    """Crosses zero where draws are dense."""
    return 0.3 + 0.6 * theta[..., 1] + 0.3 * np.sin(theta[..., 2])


class Falling(KnownTarget):
    """A normal density times a step in a function of the last two parameters."""

    asked = 0

    def cliffs_at(self, theta: np.ndarray) -> Cliffs | None:
        if theta[2] > 8.0:
            return None
        type(self).asked += 1
        distance = distance_at(theta)
        return Cliffs(np.array([distance, 7.0, distance]), np.array([0.1, 0.3, 0.001]))


def falling() -> Falling:
    def log_pdf(t: jnp.ndarray) -> jnp.ndarray:
        return NORMAL.log_pdf(t) - HEIGHT * (0.3 + 0.6 * t[1] + 0.3 * jnp.sin(t[2]) > 0)

    return Falling("falling", log_pdf, NORMAL.sample, NORMAL.transform)


def test_a_surrogate_follows_a_cliff_that_it_is_told_of(tmp_path: Path) -> None:
    target = falling()
    rng = np.random.default_rng(0)
    points = points_from(target.batch(target.sample(rng, 2_000), gradient=True), target.transform)
    points = points.without_gradients(COSTLY)
    x = target.sample(np.random.default_rng(5), 2_000)
    finder = CliffFinder(target, COSTLY)
    finder.learn(points.x, 300, rng)
    assert finder.map is not None
    np.testing.assert_array_equal(finder.map.chosen, [0])  # the second never crosses, the third moves nobody
    errors = []
    for cliffs in (finder, None):
        whitening = Whitening.from_moments(points.x.mean(axis=0), np.cov(points.x.T), COSTLY)
        surrogate, _ = Fitter(target, TRAINING, cliffs).fit(points, whitening, 150, 1)
        off = surrogate.log_density(x) - target.batch(x).log_density
        errors.append(float(np.quantile(np.abs(off - np.median(off)), 0.9)))
        save_surrogate(surrogate, tmp_path)
        np.testing.assert_array_equal(load_surrogate(tmp_path).log_density(x), surrogate.log_density(x))
    assert errors[0] < 0.1 and errors[0] < 0.4 * errors[1]


def test_distances_near_a_cliff_are_looked_up_and_nothing_twice() -> None:
    target, rng = falling(), np.random.default_rng(1)
    x = target.sample(rng, 1_000)
    finder = CliffFinder(target, COSTLY)
    finder.learn(x, 150, rng)
    assert finder.map is not None
    stretch, error = float(finder.map.stretch[0]), float(finder.map.error[0])
    asked = Falling.asked
    found, guess = finder.distances(x)[:, 0], finder.map.distances(x)[:, 0]
    exact = stretched(distance_at(x), stretch)
    near, right = np.abs(guess) < error, np.abs(guess - exact) < 4 * error
    assert near.any() and right[near].mean() > 0.8 and Falling.asked - asked < 300
    np.testing.assert_allclose(found[near & right], exact[near & right], rtol=1e-12)
    # wrong by far: the network is told the same as it will be later
    np.testing.assert_array_equal(found[~right], guess[~right])
    assert (~right).any()
    asked = Falling.asked
    finder.distances(x)
    assert Falling.asked == asked


def test_smooth_targets_and_fixed_coordinates_have_no_cliffs() -> None:
    x = NORMAL.sample(np.random.default_rng(2), 100)
    for finder in (CliffFinder(NORMAL, COSTLY), CliffFinder(falling(), np.zeros(D, bool))):
        finder.learn(x, 50, np.random.default_rng(0))
        assert finder.map is None and finder.distances(x).shape == (100, 0)


def seen(distance: np.ndarray) -> Cliffs:
    return Cliffs(distance, np.ones_like(distance))


def test_distances_that_no_polynomial_follows_are_not_told() -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((400, 2))
    rough = rng.standard_normal((400, 1))
    assert fit_cliffs(x, seen(rough), COSTLY) is None
    smooth = 1.0 + np.tanh(x[:, :1]) * x[:, 1:]
    assert fit_cliffs(x[:2], seen(smooth[:2]), COSTLY) is None
    found = fit_cliffs(x, seen(smooth), COSTLY)
    assert found is not None and found.error.max() < 0.1
    distance = found.distances(np.column_stack([np.zeros(400), x]))
    wrong = (np.abs(x).max(axis=1) < 1.5)[:, None] & (np.sign(distance) != np.sign(smooth))
    assert np.abs(smooth[wrong]).max(initial=0.0) < 0.02
    assert fit_cliffs(x[:, :1], seen(0.3 + x[:, :1]), np.array([True])) is not None


def test_a_point_without_a_steady_state_is_left_out() -> None:
    target, rng = falling(), np.random.default_rng(4)
    x = np.concatenate([target.sample(rng, 200), np.full((5, D), 9.0)])
    finder = CliffFinder(replace(target, label="other"), COSTLY)
    finder.learn(x, len(x), rng)
    assert finder.map is not None and np.isfinite(finder.map.coefficients).all()


def test_a_kink_at_a_cliff_is_stretched_away() -> None:
    """Distances that move slower below zero: no polynomial of x follows them."""
    x = np.random.default_rng(6).uniform(-1.0, 1.0, (900, 2))
    speed = 0.2 + 1.2 * np.sin(x[:, :1] + 0.5 * x[:, 1:]) + 0.8 * x[:, :1]
    distance = np.where(speed > 0, speed, 0.5 * speed)
    found = fit_cliffs(x[:600], seen(distance[:600]), np.array([True, True]))
    assert found is not None and found.stretch[0] == pytest.approx(2.0, rel=0.05)
    wrong = np.sign(found.distances(x[600:])) != np.sign(distance[600:])
    assert wrong.sum() <= 1 and np.abs(distance[600:][wrong]).max(initial=0.0) < 1e-3


def test_the_error_of_a_distance_is_what_it_is_at_other_points() -> None:
    rng = np.random.default_rng(10)
    x = rng.uniform(-1.0, 1.0, (2_000, 2))
    true = 0.1 + 0.8 * x[:, :1] + 0.5 * x[:, :1] * x[:, 1:]
    for noise in (0.01, 0.03):
        distance = true + noise * rng.standard_normal(true.shape)
        found = fit_cliffs(x[:300], seen(distance[:300]), np.array([True, True]))
        assert found is not None
        exact = stretched(distance[300:], found.stretch)
        off = np.abs(found.distances(x[300:]) - exact)
        fresh = 0.01 * np.quantile(off / (0.01 + np.abs(exact)), 0.95)
        assert found.error[0] == pytest.approx(fresh, rel=0.25)


def test_what_is_not_a_number_is_left_out() -> None:
    """Blocks are written by strangers: one odd value must not end a run, or spoil what is told of other points."""
    x = np.random.default_rng(12).uniform(-1.0, 1.0, (300, 2))
    for odd in (np.nan, np.inf, -np.inf):
        one = seen(0.2 + x[:, :1] + 0.3 * x[:, 1:])
        one.distance[7], one.mass[7] = odd, np.nan
        found = fit_cliffs(x, one, np.array([True, True]))
        assert found is not None and np.isfinite(found.coefficients).all() and found.error.max() < 0.01


def test_looking_again_looks_at_other_points() -> None:
    target, rng = falling(), np.random.default_rng(13)
    x = target.sample(rng, 300)
    finder = CliffFinder(target, COSTLY)
    for number in (1, 2, 3, 3, 3):
        finder.learn(x, 100, rng)
        assert len(finder._fitted) == 100 * number


def test_errors_at_points_left_out_are_those_of_a_fit_without_them() -> None:
    rng = np.random.default_rng(7)
    basis, values, weight = rng.standard_normal((30, 4)), rng.standard_normal(30), rng.uniform(0.5, 2.0, 30)
    _, errors = left_out(basis, values, weight)
    for i in range(30):
        kept = np.arange(30) != i
        fit = np.linalg.lstsq(basis[kept] * weight[kept, None], values[kept] * weight[kept], rcond=None)[0]
        assert errors[i] == pytest.approx(weight[i] * (values[i] - basis[i] @ fit), rel=1e-9)


def test_a_rare_draw_is_inside_of_what_is_known() -> None:
    target, rng = falling(), np.random.default_rng(9)
    x = target.sample(rng, 4_000)
    finder = CliffFinder(target, COSTLY)
    finder.learn(x[:400], 300, rng)
    assert finder.map is not None
    beyond = np.abs((x[:, COSTLY] - finder.map.center) / finder.map.half_width) > 1
    first = x[:400, COSTLY]
    outside = (x[:, COSTLY] < first.min(axis=0)) | (x[:, COSTLY] > first.max(axis=0))
    assert beyond.any(axis=1).sum() < 0.5 * outside.any(axis=1).sum()
    assert ((finder.map.distances(x)[:, 0] > 0) != (distance_at(x) > 0)).mean() < 0.01


def test_points_that_were_only_looked_up_do_not_move_the_map() -> None:
    target, rng = falling(), np.random.default_rng(8)
    x = target.sample(rng, 400)
    finder = CliffFinder(target, COSTLY)
    finder.learn(x, 200, rng)
    finder.distances(np.concatenate([x, 4 * x]))  # some of them far out
    before = finder.map
    finder.learn(x[:1], 1, rng)
    assert before is not None and finder.map is not None
    assert (finder.map.half_width <= 1.01 * before.half_width).all()
