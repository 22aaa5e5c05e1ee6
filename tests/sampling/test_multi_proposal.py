"""The multi-proposal kernel has the target as its stationary distribution; the tempting variants have not."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from estimhank.sampling.diagnostics import ess
from estimhank.sampling.multi_proposal import (
    around_auxiliary_point,
    init,
    select,
    selection_weights,
    starting_log_scale,
    step,
    target_move_rate,
)

# ---- a finite space: points 0..4 on a ring, a symmetric kernel to the auxiliary point and back ------------------

MASS = np.array([0.1, 0.35, 0.05, 0.3, 0.2])
STATES = len(MASS)
KERNEL = np.array([[(0.5, 0.2, 0.05, 0.05, 0.2)[(j - i) % STATES] for j in range(STATES)] for i in range(STATES)])


def log_mass(points: np.ndarray) -> np.ndarray:
    return np.log(MASS)[points[:, 0].astype(int)]


def propose_on_ring(rng: np.random.Generator, x: np.ndarray, n: int) -> np.ndarray:
    z = rng.choice(STATES, p=KERNEL[int(x[0])])
    return rng.choice(STATES, (n, 1), p=KERNEL[z]).astype(float)


def transitions(n: int, log_values: np.ndarray, auxiliary: bool = True, keep_current: bool = True) -> np.ndarray:
    """Transition matrix by enumeration of every auxiliary point, every set of proposals and every choice."""
    matrix = np.zeros((STATES, STATES))
    sources = range(STATES) if auxiliary else (None,)
    for x, z, proposals in itertools.product(range(STATES), sources, itertools.product(range(STATES), repeat=n)):
        probability = np.prod(KERNEL[x if z is None else z][list(proposals)]) * (1.0 if z is None else KERNEL[x, z])
        points = np.array(([x] if keep_current else []) + list(proposals))
        np.add.at(matrix[x], points, probability * selection_weights(log_values[points]))
    return matrix


@pytest.mark.parametrize("n", [1, 2, 4])
def test_detailed_balance_holds_exactly_on_a_finite_space(n: int) -> None:
    np.testing.assert_allclose(KERNEL, KERNEL.T)
    matrix = transitions(n, np.log(MASS))
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-14)
    flow = MASS[:, None] * matrix
    np.testing.assert_allclose(flow, flow.T, atol=1e-15)
    np.testing.assert_allclose(MASS @ matrix, MASS, atol=1e-15)


def test_detailed_balance_holds_where_states_are_infeasible() -> None:
    mass = np.where(np.arange(STATES) == 2, 0.0, MASS)
    with np.errstate(divide="ignore"):
        matrix = transitions_from_feasible(np.log(mass))
    flow = (mass[:, None] * matrix)[mass > 0][:, mass > 0]
    np.testing.assert_allclose(flow, flow.T, atol=1e-15)
    assert (matrix[mass > 0][:, 2] == 0).all()


def transitions_from_feasible(log_values: np.ndarray) -> np.ndarray:
    values = log_values.copy()
    values[2] = -1e4  # as good as -inf, and a chain never is there
    return transitions(2, values)


@pytest.mark.parametrize(("auxiliary", "keep_current"), [(False, True), (True, False)])
def test_the_wrong_variants_do_not_leave_the_target_alone(auxiliary: bool, keep_current: bool) -> None:
    matrix = transitions(2, np.log(MASS), auxiliary, keep_current)
    assert np.abs(MASS @ matrix - MASS).max() > 1e-3


def test_step_moves_with_the_enumerated_probabilities() -> None:
    rng = np.random.default_rng(1)
    expected = transitions(3, np.log(MASS))
    trials = 3000
    for x in range(STATES):
        state = init(at := np.array([[float(x)]]), log_mass(at))
        moves = np.array([step(rng, state, log_mass, propose_on_ring, 3, 2)[0].position[0, 0] for _ in range(trials)])
        share = np.bincount(moves.astype(int), minlength=STATES) / trials
        error = np.sqrt(expected[x] * (1 - expected[x]) / trials)
        assert (np.abs(share - expected[x]) < 5.5 * error).all()  # 25 shares: one false alarm in a million


# ---- the standard normal in 11 dimensions ------------------------------------------------------------------------

DIMENSION = 11


def log_normal(points: np.ndarray) -> np.ndarray:
    return -0.5 * (points**2).sum(axis=-1)


Kernel = Callable[[np.random.Generator, np.ndarray, int, np.ndarray], tuple[np.ndarray, np.ndarray]]


def correct(rng: np.random.Generator, x: np.ndarray, n: int, root: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The package's kernel: next state, and the Rao-Blackwell mean of the squares."""
    propose = around_auxiliary_point(root)
    state, info = step(rng, init(x[None], log_normal(x[None])), log_normal, propose, n)
    return state.position[0], info.weights[0] @ info.points[0] ** 2


def around_the_state(rng: np.random.Generator, x: np.ndarray, n: int, root: np.ndarray) -> tuple[np.ndarray, ...]:
    """Wrong: proposals drawn around x itself, weighted by the target."""
    points = np.concatenate([x[None], x + rng.standard_normal((n, len(x))) @ root.T])
    weights, indices = select(rng, log_normal(points), 1)
    return points[indices[-1]], weights @ points**2


def without_the_state(rng: np.random.Generator, x: np.ndarray, n: int, root: np.ndarray) -> tuple[np.ndarray, ...]:
    """Wrong: the current state is not in the set."""
    points = around_auxiliary_point(root)(rng, x, n)
    weights, indices = select(rng, log_normal(points), 1)
    return points[indices[-1]], weights @ points**2


def simulate(kernel: Kernel, n: int, iterations: int, seed: int, chains: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """States, shape (chain, iteration, d), and Rao-Blackwell squares; chains begin in the target."""
    rng = np.random.default_rng(seed)
    root = np.exp(starting_log_scale(n, DIMENSION)) * np.eye(DIMENSION)
    states, squares = np.empty((2, chains, iterations, DIMENSION))
    for chain in range(chains):
        x = rng.standard_normal(DIMENSION)
        for i in range(iterations):
            x, squares[chain, i] = kernel(rng, x, n, root)
            states[chain, i] = x
    return states, squares


def pooled(values: np.ndarray, batches: int = 20) -> tuple[float, float]:
    """Mean over everything and its Monte Carlo error from batch means."""
    means = np.concatenate([chain.mean(axis=(1, 2)) for chain in np.array_split(values, batches, axis=1)])
    return float(means.mean()), float(means.std(ddof=1) / np.sqrt(len(means)))


@pytest.mark.parametrize(("n", "iterations", "effective"), [(4, 6000, 0.053), (16, 5000, 0.097), (64, 3000, 0.157)])
def test_normal_target_has_variance_one_and_the_known_efficiency(n: int, iterations: int, effective: float) -> None:
    states, squares = simulate(correct, n, iterations, seed=n)
    for values in (states**2, squares):
        mean, error = pooled(values)
        assert error < 0.02
        assert abs(mean - 1.0) < 5.5 * error  # Student t of 79 degrees: one false alarm in two million
    rate = ess(states, "mean").mean() / states[:, :, 0].size
    assert rate == pytest.approx(effective, rel=0.2)


@pytest.mark.parametrize(
    ("kernel", "n", "low", "high"),
    [
        (around_the_state, 16, 0.5, 0.9),
        (without_the_state, 8, 1.8, 3.2),
        (without_the_state, 64, 1.25, 1.6),
    ],
)
def test_the_wrong_variants_fail_that_test(kernel: Kernel, n: int, low: float, high: float) -> None:
    states, _ = simulate(kernel, n, 2500, seed=n)
    mean, error = pooled(states[:, 500:] ** 2)
    assert abs(mean - 1.0) > 8 * error
    assert low < mean < high


def test_draws_of_one_iteration_come_independently_from_the_weights() -> None:
    values = np.log([0.2, 0.5, 0.3])
    weights, indices = select(np.random.default_rng(0), values, 40_000)
    np.testing.assert_allclose(weights, [0.2, 0.5, 0.3])
    np.testing.assert_allclose(np.bincount(indices) / 40_000, weights, atol=0.01)
    pairs = np.bincount(3 * indices[::2] + indices[1::2], minlength=9).reshape(3, 3) / 20_000
    np.testing.assert_allclose(pairs, np.outer(weights, weights), atol=0.015)


def test_infeasible_points_have_no_weight_and_are_never_drawn() -> None:
    values = np.array([-np.inf, -800.0, -np.inf, -801.0, -np.inf])
    weights, indices = select(np.random.default_rng(0), values, 5000)
    assert weights[[0, 2, 4]].tolist() == [0, 0, 0] and weights.sum() == pytest.approx(1.0)
    assert set(indices) == {1, 3}


def test_a_chain_whose_proposals_are_all_infeasible_stays() -> None:
    weights, indices = select(np.random.default_rng(0), np.array([-3.0, -np.inf, -np.inf]), 10)
    assert weights.tolist() == [1, 0, 0] and set(indices) == {0}


def test_state_and_log_density_go_together() -> None:
    rng = np.random.default_rng(3)
    propose = around_auxiliary_point(0.7 * np.eye(3))
    state, chains = init(np.ones((4, 3)), log_normal(np.ones((4, 3)))), np.arange(4)
    for _ in range(200):
        state, info = step(rng, state, log_normal, propose, 5, draws=3)
        assert (state.log_density == log_normal(state.position)).all()
        assert (state.position == info.points[chains, info.indices[:, -1]]).all()
        assert info.points.shape == (4, 6, 3) and info.indices.shape == (4, 3)


def test_scale_and_rate_grow_with_the_number_of_proposals() -> None:
    scales = [starting_log_scale(n, DIMENSION) for n in (1, 4, 16, 64, 256)]
    rates = [target_move_rate(n) for n in (1, 4, 16, 64, 256, 10**6)]
    assert scales == sorted(scales) and rates == sorted(rates) and rates[-1] < 0.9
