"""Networks that are told where a density jumps follow it; what is not a jump is left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.known_targets import KnownTarget, correlated_normal
from estimhank.surrogate import jump_fit, jump_map
from estimhank.surrogate.fitting import Fitter, Whitening
from estimhank.surrogate.jump_finder import JumpFinder
from estimhank.surrogate.jump_fit import fit_jumps, left_out
from estimhank.surrogate.jump_map import features_of, without_kinks
from estimhank.surrogate.points import points_from
from estimhank.surrogate.surrogate import load_surrogate, save_surrogate
from estimhank.target.jumps import Jumps
from tests.helpers.stages import TRAINING, D

COSTLY = np.array([False, True, True])
NORMAL = correlated_normal(D)
JUMP = 0.8


@pytest.fixture(autouse=True, scope="module")
def compiled_once() -> Iterator[None]:
    """As a whole and in blocks of points: otherwise each operation is compiled on its own at every number of points."""

    def in_blocks(function: Callable[..., jax.Array], *static: int) -> Callable[..., jax.Array]:
        compiled = jax.jit(function, static_argnums=static)

        def call(points: jax.Array, *others: Any) -> jax.Array:
            if isinstance(points, jax.core.Tracer):
                return function(points, *others)
            n = len(points)
            padded = np.concatenate([points, np.zeros((-n % 1_000, *points.shape[1:]), points.dtype)])
            return np.asarray(compiled(padded, *others))[:n]  # type: ignore[return-value]

        return call

    with pytest.MonkeyPatch.context() as patch:
        basis, positions = in_blocks(jump_map.chebyshev_basis, 1), in_blocks(without_kinks)
        for module in (jump_fit, jump_map):
            patch.setattr(module, "chebyshev_basis", basis)
            patch.setattr(module, "without_kinks", positions)
        yield


def place(theta: np.ndarray) -> np.ndarray:
    """Crosses zero, one and two where draws are dense."""
    return 1.0 + 0.6 * theta[..., 1] + 0.3 * np.sin(theta[..., 2])


class Jumping(KnownTarget):
    """A normal density times a step in a function of the last two parameters."""

    asked = 0

    def jumps_at(self, theta: np.ndarray) -> Jumps | None:
        if theta[2] > 8.0:
            return None
        type(self).asked += 1
        grid_index = place(theta)
        seen = grid_index if grid_index > 0 else np.nan
        return Jumps(np.array([grid_index, 7.0, grid_index]), np.array([seen, 7.0, seen]), np.array([0.1, 0.3, 0.001]))


def jumping() -> Jumping:
    def log_pdf(t: jnp.ndarray) -> jnp.ndarray:
        grid_index = 1.0 + 0.6 * t[1] + 0.3 * jnp.sin(t[2])
        return NORMAL.log_pdf(t) - JUMP * jnp.floor(jnp.maximum(grid_index, -1.0))

    return Jumping("jumping", log_pdf, NORMAL.sample, NORMAL.transform)


def test_a_surrogate_follows_jumps_that_it_is_told_of(tmp_path: Path) -> None:
    target = jumping()
    rng = np.random.default_rng(0)
    points = points_from(target.batch(target.sample(rng, 2_000), gradient=True), target.transform)
    points = points.without_gradients(COSTLY)
    x = target.sample(np.random.default_rng(5), 2_000)
    finder = JumpFinder(target, COSTLY)
    finder.learn(points.x, 300, rng)
    assert finder.map is not None
    np.testing.assert_array_equal(finder.map.chosen, [0])  # the second never crosses, the third moves nobody
    errors = []
    for jumps in (finder, None):
        whitening = Whitening.from_moments(points.x.mean(axis=0), np.cov(points.x.T), COSTLY)
        surrogate, _ = Fitter(target, TRAINING, jumps).fit(points, whitening, 150, 1)
        off = surrogate.log_density(x) - target.batch(x).log_density
        errors.append(float(np.quantile(np.abs(off - np.median(off)), 0.9)))
        save_surrogate(surrogate, tmp_path)
        np.testing.assert_array_equal(load_surrogate(tmp_path).log_density(x), surrogate.log_density(x))
    assert errors[0] < 0.1 and errors[0] < 0.4 * errors[1]


def test_positions_near_an_integer_are_looked_up_and_nothing_twice() -> None:
    target, rng = jumping(), np.random.default_rng(1)
    x = target.sample(rng, 1_000)
    finder = JumpFinder(target, COSTLY)
    finder.learn(x, 400, rng)
    asked = Jumping.asked
    found = finder.places(x)
    assert finder.map is not None
    (distance, grid_index), error = finder.map.places(x)[:, :, 0], finder.map.error[1, 0]
    near = (distance > 0) & (np.abs(grid_index - np.round(grid_index)) < error) & (place(x) > 0)
    imprecise = np.abs(grid_index - place(x)) < 4 * error
    assert near.any() and imprecise[near].mean() > 0.8 and Jumping.asked - asked < 300
    np.testing.assert_allclose(found[1, near & imprecise, 0], place(x)[near & imprecise], rtol=1e-12)
    # wrong by far: the network is told the same as it will be later
    np.testing.assert_array_equal(found[1, ~imprecise, 0], grid_index[~imprecise])
    assert (~imprecise).any()
    asked = Jumping.asked
    finder.places(x)
    assert Jumping.asked == asked


def test_smooth_targets_and_fixed_coordinates_have_no_jumps() -> None:
    x = NORMAL.sample(np.random.default_rng(2), 100)
    for finder in (JumpFinder(NORMAL, COSTLY), JumpFinder(jumping(), np.zeros(D, bool))):
        finder.learn(x, 50, np.random.default_rng(0))
        assert finder.map is None and finder.places(x).shape == (2, 100, 0)


def seen(distance: np.ndarray) -> Jumps:
    return Jumps(distance, np.where(distance > 0, distance, np.nan), np.ones_like(distance))


def test_places_that_no_polynomial_follows_are_not_told() -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((400, 2))
    rough = 3.0 + rng.standard_normal((400, 1))
    assert fit_jumps(x, seen(rough), COSTLY) is None
    assert fit_jumps(x[:5], seen(rough[:5]), COSTLY) is None
    smooth = 1.0 + np.tanh(x[:, :1]) * x[:, 1:]
    found = fit_jumps(x, seen(smooth), COSTLY)
    assert found is not None and found.error.max() < 0.1
    inside = np.abs(x).max(axis=1) < 1.5
    distance, grid_index = found.places(np.column_stack([np.zeros(400), x]))
    above = inside & (smooth[:, 0] > 0)
    assert np.abs(distance[above] - smooth[above]).max() < 0.1
    wrong = np.sign(distance) != np.sign(smooth)  # below zero the sign is all that is told
    assert np.abs(smooth[wrong]).max(initial=0.0) < 0.02
    assert np.abs(grid_index[above] - smooth[above]).max() < 0.1


def test_a_place_without_a_steady_state_is_left_out() -> None:
    target, rng = jumping(), np.random.default_rng(4)
    x = np.concatenate([target.sample(rng, 200), np.full((5, D), 9.0)])
    finder = JumpFinder(replace(target, label="other"), COSTLY)
    finder.learn(x, len(x), rng)
    assert finder.map is not None and np.isfinite(finder.map.coefficients).all()


def test_kinks_at_a_jump_are_taken_away() -> None:
    """Positions that move faster in each cell, margins that move slower below zero: no polynomial of x follows them."""
    x = np.random.default_rng(6).uniform(-1.0, 1.0, (900, 2))
    speed = 2.4 + 1.2 * np.sin(x[:, :1] + 0.5 * x[:, 1:]) + 0.8 * x[:, :1]
    grid_index = np.interp(speed, [0.0, 1.0, 1.9, 2.7, 3.4, 4.0, 4.5, 4.9], np.arange(8.0))
    known = Jumps(grid_index, grid_index, np.ones_like(grid_index))
    found = fit_jumps(x[:600], Jumps(*(part[:600] for part in known)), np.array([True, True]))
    assert found is not None
    guess = found.places(x[600:])[1, :, 0]
    assert np.abs(guess - grid_index[600:, 0]).max() < 0.03
    assert (np.floor(guess) == np.floor(grid_index[600:, 0])).mean() > 0.98
    crossing = np.where(speed > 2.2, speed - 2.2, 0.5 * (speed - 2.2))
    found = fit_jumps(x[:600], seen(crossing[:600]), np.array([True, True]))
    assert found is not None
    guess = found.places(x[600:])[0, :, 0]
    wrong = np.sign(guess) != np.sign(crossing[600:, 0])
    assert wrong.sum() <= 1 and np.abs(crossing[600:, 0][wrong]).max(initial=0.0) < 1e-3


def test_the_error_of_a_position_is_what_it_is_at_other_points() -> None:
    rng = np.random.default_rng(10)
    x = rng.uniform(-1.0, 1.0, (2_000, 2))
    true = 15 + 8 * x[:, :1] + 5 * x[:, :1] * x[:, 1:]
    for noise, told in ((0.01, True), (0.03, True), (0.3, False)):
        grid_index = true + noise * rng.standard_normal(true.shape)
        one = Jumps(grid_index, grid_index, np.ones_like(grid_index))
        found = fit_jumps(x[:300], Jumps(*(part[:300] for part in one)), np.array([True, True]))
        if not told:
            assert found is None
            continue
        assert found is not None
        fresh = np.quantile(np.abs(found.places(x[300:])[1] - grid_index[300:]), 0.95)
        assert found.error[1, 0] == pytest.approx(fresh, rel=0.25)


def test_a_bend_is_undone() -> None:
    rng = np.random.default_rng(11)
    kinks = 0.03 * rng.standard_normal((2, 21)) * np.array([[1.0], [0.0]])
    grid_index = rng.uniform(0.0, 4.99, (300, 2))
    bent = grid_index + np.stack([np.interp(grid_index[:, i], np.arange(21) / 4, kinks[i]) for i in range(2)], axis=1)
    np.testing.assert_allclose(without_kinks(jnp.asarray(bent), jnp.asarray(kinks)), grid_index, atol=2e-3)
    np.testing.assert_allclose(without_kinks(jnp.array([[-3.0, 99.0]]), jnp.asarray(kinks))[0, 1], 99.0)


def test_what_is_not_a_number_or_not_on_the_grid_is_left_out() -> None:
    """Blocks are written by strangers: one odd value must not end a run, or spoil what is told of other points."""
    x = np.random.default_rng(12).uniform(-1.0, 1.0, (300, 2))
    smooth = 1.0 + x[:, :1] + 0.3 * x[:, 1:]
    both = np.array([True, True])
    for odd in (np.nan, np.inf, -np.inf):
        distance, grid_index = smooth.copy(), np.where(smooth > 0, smooth, np.nan)
        distance[7], grid_index[3] = odd, -4.0
        mass = np.ones_like(distance)
        mass[7] = np.nan
        found = fit_jumps(x, Jumps(distance, grid_index, mass), both)
        assert found is not None and np.isfinite(found.coefficients).all() and found.error.max() < 0.01
    for strange in (np.full_like(smooth, -4.0), np.full_like(smooth, 1e9), np.full_like(smooth, 5.0)):
        told = fit_jumps(x, Jumps(smooth, strange, np.ones_like(smooth)), both)
        assert told is not None and told.error[1, 0] == 0.0, "the margin alone"
    assert fit_jumps(x[:2], seen(smooth[:2]), both) is None
    assert fit_jumps(x[:, :1], seen(1.0 + x[:, :1]), np.array([True])) is not None


def test_looking_again_looks_at_other_points() -> None:
    target, rng = jumping(), np.random.default_rng(13)
    x = target.sample(rng, 300)
    finder = JumpFinder(target, COSTLY)
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
    target, rng = jumping(), np.random.default_rng(9)
    x = target.sample(rng, 4_000)
    finder = JumpFinder(target, COSTLY)
    finder.learn(x[:400], 300, rng)
    assert finder.map is not None
    beyond = np.abs((x[:, COSTLY] - finder.map.center) / finder.map.half_width) > 1
    first = x[:400, COSTLY]
    outside = (x[:, COSTLY] < first.min(axis=0)) | (x[:, COSTLY] > first.max(axis=0))
    assert beyond.any(axis=1).sum() < 0.5 * outside.any(axis=1).sum()
    wrong = np.floor(np.maximum(finder.map.places(x)[1, :, 0], -1)) != np.floor(np.maximum(place(x), -1))
    assert wrong[place(x) > 0].mean() < 0.01


def test_points_that_were_only_looked_up_do_not_move_the_map() -> None:
    target, rng = jumping(), np.random.default_rng(8)
    x = target.sample(rng, 400)
    finder = JumpFinder(target, COSTLY)
    finder.learn(x, 200, rng)
    finder.places(np.concatenate([x, 4 * x]))  # some of them far out
    before = finder.map
    finder.learn(x[:1], 1, rng)
    assert before is not None and finder.map is not None
    assert (finder.map.half_width <= 1.01 * before.half_width).all()


@pytest.mark.parametrize("value", [-0.4, -1e-12, 0.0, 0.3, 2.75])
def test_features_say_how_far_above_an_integer_and_whether_at_all(value: float) -> None:
    share, there, near = np.asarray(features_of(jnp.array([[value]]), jnp.array([[value]])))[0]
    assert there == float(value > 0) and share == pytest.approx(value % 1 if value > 0 else 0.0)
    assert near == pytest.approx(1 / (1 + max(value, 0.0)))
