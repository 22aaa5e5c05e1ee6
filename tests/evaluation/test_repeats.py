"""A density that returns different values at the same point is refused, before a run and in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.known_targets import correlated_normal
from estimhank import from_log_density
from estimhank.evaluation.repeats import choose_repeated, repeat_some
from estimhank.surrogate.posterior_stage import run_posterior
from estimhank.target.repeatable import NotRepeatable, check_repeatable
from tests.helpers.hand_made import normal_surrogate
from tests.helpers.in_memory import Memory, candidates
from tests.helpers.stages import SIZES, D

NAMES = ("a", "b")
THETA = np.array([[1.0, 2.0], [3.0, 4.0]])


class Noisy(Memory):
    """Adds noise to every value of some stages."""

    def __init__(self, target, stages, sd):
        super().__init__(target)
        self.stages, self.sd, self.rng = stages, sd, np.random.default_rng(0)

    def __call__(self, stage, iteration, thetas, gradient=False):
        batch = super().__call__(stage, iteration, thetas, gradient)
        if stage not in self.stages:
            return batch
        return replace(batch, log_likelihood=batch.log_likelihood + self.sd * self.rng.standard_normal(len(batch)))


def test_equal_values_and_rounding_pass_and_noise_is_said_with_the_point() -> None:
    first = np.array([-3.0, -np.inf])
    check_repeatable(NAMES, THETA, first, first + 1e-9)
    check_repeatable(NAMES, THETA, np.array([-1e7, 0.0]), np.array([-1e7 + 1e-3, 0.0]))  # rounding of a large value
    check_repeatable(NAMES, THETA[:0], first[:0], first[:0])
    with pytest.raises(NotRepeatable, match=r"at a = 1.0, b = 2.0 it was -3 and then -2.99"):
        check_repeatable(NAMES, THETA, first, np.array([-2.99, -np.inf]))
    with pytest.raises(NotRepeatable, match=r"at a = 3.0, b = 4.0 it was -inf and then 0"):
        check_repeatable(NAMES, THETA, first, np.array([-3.0, 0.0]))


def test_only_points_with_a_density_are_repeated() -> None:
    batch = candidates(correlated_normal(D), 50)
    spoilt = replace(batch, reason=np.where(np.arange(50) % 2, 0, 1).astype(np.uint8))
    rows = choose_repeated(spoilt, 8)
    assert len(rows) == 8 and spoilt.ok[rows].all()
    assert len(choose_repeated(replace(batch, reason=np.ones(50, np.uint8)), 8)) == 0


@pytest.mark.parametrize("sd", [1e-3, 0.5])
def test_a_users_noisy_density_is_refused_before_anything_runs(sd: float) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(NotRepeatable, match="random numbers"):
        from_log_density(lambda t: -0.5 * t @ t + sd * rng.standard_normal(), NAMES, [0, 0], [1, 1])


def test_noise_that_comes_later_is_refused_in_the_stages() -> None:
    target = correlated_normal(D)
    with pytest.raises(NotRepeatable):
        repeat_some(Noisy(target, {"surrogate"}, 0.1), target, candidates(target, 200))
    repeat_some(Memory(target), target, candidates(target, 200))
    truth = target.sample(np.random.default_rng(0), 10_000)
    surrogate = normal_surrogate(truth.mean(axis=0), np.linalg.cholesky(np.cov(truth.T)))
    sizes = replace(SIZES, max_rounds=12, surrogate_draws=640, certificate_draws=100)
    with pytest.raises(NotRepeatable):
        run_posterior(Noisy(target, {"exact", "certificate"}, 0.1), target, surrogate, sizes, 1)
