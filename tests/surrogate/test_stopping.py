"""A run that will not converge in time ends early, and says at which parameter's value the posterior ends."""

from __future__ import annotations

import numpy as np
import pytest

from estimhank.surrogate.stopping import Outlook, Rejected, diagnose
from estimhank.target.protocol import REASONS

UNSTABLE = REASONS.index("no_stable_solution")


def looks(rate: float, power: float, budget: int = 2_000, wanted: float = 2_000.0) -> int:
    """Rounds at which a run with ``rate * n ** power`` effective draws gives up; the budget if it does not."""
    outlook = Outlook(wanted, budget)
    for n in range(10, budget + 1, 10):
        if rate * n**power >= wanted:
            return budget
        if outlook.add(n, rate * n**power):
            return n
    return budget


def test_a_tenth_of_a_draw_a_round_is_given_up_early() -> None:
    assert 200 <= looks(0.1, 1.0) <= 300


@pytest.mark.parametrize(("rate", "power"), [(1.1, 1.0), (0.6, 1.0), (0.01, 1.8), (24.0, 1.0)])
def test_a_run_that_gets_near_its_goal_is_not_given_up(rate: float, power: float) -> None:
    assert looks(rate, power) == 2_000


def test_a_run_that_begins_slowly_and_then_moves_is_not_given_up() -> None:
    outlook = Outlook(2_000.0, 2_000)
    effective = [30.0 if n < 150 else 30.0 + 1.2 * (n - 150) for n in range(10, 2_001, 10)]
    assert not any(outlook.add(n, e) for n, e in zip(range(10, 2_001, 10), effective, strict=True))


def test_noise_in_the_looks_does_not_end_a_good_run() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        outlook = Outlook(2_000.0, 2_000)
        assert not any(outlook.add(n, n * np.exp(0.3 * rng.standard_normal())) for n in range(10, 1_500, 10))


def rejected(theta: np.ndarray, feasible: np.ndarray) -> Rejected:
    result = Rejected()
    result.add(theta, np.where(feasible, 0, UNSTABLE).astype(np.uint8))
    return result


def test_a_pile_at_one_parameters_value_is_named_with_its_reason() -> None:
    rng = np.random.default_rng(1)
    draws = np.column_stack([rng.standard_normal(4_000), 0.01 + rng.exponential(0.02, 4_000)])
    proposals = draws + np.array([1.0, 0.01]) * rng.standard_normal(draws.shape)
    words = diagnose(["a", "phi_T"], draws, 0, rejected(proposals, proposals[:, 1] > 0.01))
    assert "piles up at phi_T = 0.0100" in words
    assert "where the equilibrium stops being determinate" in words and "restrict the prior of phi_T" in words


def test_a_cut_from_above_is_one_from_above() -> None:
    rng = np.random.default_rng(1)
    draws = np.minimum(rng.standard_normal((4_000, 2)), [np.inf, 1.0])
    draws[:, 1] = np.where(draws[:, 1] == 1.0, 0.0, draws[:, 1])
    proposals = draws + 0.5 * rng.standard_normal(draws.shape)
    words = diagnose(["a", "b"], draws, 0, rejected(proposals, proposals[:, 1] < 1.0))
    assert "cut off inside its mass at b = 1," in words or "cut off inside its mass at b = 0.99" in words
    assert "values below it" in words


def test_an_edge_of_two_parameters_names_both() -> None:
    rng = np.random.default_rng(2)
    draws = np.sort(rng.standard_normal((4_000, 2)), axis=1)
    draws = np.column_stack([draws, rng.standard_normal(4_000)])
    proposals = draws + rng.standard_normal(draws.shape)
    words = diagnose(["a", "b", "c"], draws, 0, rejected(proposals, proposals[:, 0] < proposals[:, 1]))
    assert "no single parameter" in words and ("(a and b tell" in words or "(b and a tell" in words)


def test_without_an_edge_the_slowest_parameter_is_named() -> None:
    draws = np.random.default_rng(3).standard_normal((100, 2))
    assert diagnose(["a", "b"], draws, 1, rejected(draws, np.ones(100, bool))).startswith("b moves slowest")
