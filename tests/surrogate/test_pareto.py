"""The tail index has the right sign, and its limit is the one for importance sampling."""

from __future__ import annotations

import math

import numpy as np
import pytest
from arviz_stats.base import array_stats

from estimhank.surrogate.pareto import pareto_k, pareto_k_mcse, pareto_limit


def log_weights(n: int, target_sd: float, seed: int = 0) -> np.ndarray:
    """Weights of n N(0, 1) draws for a N(0, target_sd^2) target."""
    x = np.random.default_rng(seed).standard_normal(n)
    return -0.5 * (x / target_sd) ** 2 + 0.5 * x**2


def test_weights_of_a_wider_target_have_the_known_heavy_tail() -> None:
    assert pareto_k(log_weights(100_000, 2.0)) == pytest.approx(0.68, abs=0.03)


def test_the_library_function_with_the_natural_sign_finds_these_weights_excellent() -> None:
    # the reason for the wrapper
    _, k = array_stats.psislw(log_weights(100_000, 2.0))
    assert k == pytest.approx(-1.8, abs=0.1)


def test_weights_of_a_narrower_target_are_bounded_and_have_a_light_tail() -> None:
    assert pareto_k(log_weights(20_000, 0.5)) < 0.2


def test_it_does_not_depend_on_a_constant() -> None:
    weights = log_weights(5_000, 1.5)
    assert pareto_k(weights + 1e4) == pytest.approx(pareto_k(weights), abs=1e-6)


def test_zero_weights_belong_to_the_sample_and_leave_the_tail() -> None:
    weights = log_weights(5_000, 1.5)
    weights[np.argsort(weights)[:100]] = -np.inf
    assert pareto_k(weights) == pytest.approx(pareto_k(log_weights(5_000, 1.5)), abs=0.02)


def test_hopeless_and_perfect_weights() -> None:
    assert pareto_k(np.full(100, -np.inf)) == math.inf
    assert pareto_k(np.full(100, np.nan)) == math.inf
    assert pareto_k(np.zeros(100)) == -1.0, "a plain number, which a JSON file can hold"


def test_rounding_of_single_precision_is_not_taken_for_a_heavy_tail() -> None:
    noise = 1e-7 * np.random.default_rng(0).pareto(1.0, 1_000).clip(max=500)
    assert pareto_k(1e3 * noise) > 0.7, "as weights of substance they would be useless"
    assert pareto_k(noise) == -1.0


def test_the_limit_is_that_of_the_number_of_draws() -> None:
    assert pareto_limit(1_000) == pytest.approx(2 / 3)
    assert pareto_limit(100_000) == 0.7
    assert pareto_limit(5) == 0.0


def test_the_bootstrap_error_is_that_of_repeated_samples() -> None:
    repeated = np.std([pareto_k(log_weights(1_000, 2.0, seed)) for seed in range(40)])
    assert pareto_k_mcse(log_weights(1_000, 2.0)) == pytest.approx(repeated, rel=0.6)
