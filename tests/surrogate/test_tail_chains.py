"""Draws that stop where the surrogate does are told from draws that reach as far as the posterior."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.known_targets import KnownTarget, correlated_normal, student_t
from estimhank.sampling.diagnostics import ess
from estimhank.surrogate.convergence import mahalanobis
from estimhank.surrogate.policy import POSTERIOR_POLICY
from estimhank.surrogate.posterior_stage import PosteriorStageResult, run_posterior
from estimhank.surrogate.stage_config import PosteriorConfig
from estimhank.surrogate.surrogate import Surrogate
from estimhank.surrogate.tail_chains import compare_reach, rank_correlation
from tests.helpers.hand_made import normal_surrogate, student_surrogate
from tests.helpers.in_memory import Memory
from tests.helpers.stages import SIZES, worst_z_scores

ELEVEN = 11
SMALL = PosteriorConfig(surrogate_draws=12_800, certificate_draws=1_000, min_ess=1_000, max_rounds=150)


def judge(target: KnownTarget, surrogate: Surrogate, sizes: PosteriorConfig, seed: int = 1) -> PosteriorStageResult:
    memory = Memory(target)
    result = run_posterior(memory, target, surrogate, sizes, seed)
    assert result.certificate.counts["certificate_evaluations"] == memory.count("certificate")
    return result


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in (2, 3))])
def test_a_surrogate_that_ends_where_its_points_did_is_not_converged(seed: int) -> None:
    """Right to the bit over 96 % of the posterior, and far too low beyond: R-hat and effective draws are fine."""
    target = student_t(ELEVEN)
    result = judge(target, student_surrogate(ELEVEN, 5.0, radius=7.5, strength=200.0), SMALL, seed)
    assert not result.exact.converged, result.exact.convergence
    assert result.exact.unmixed in result.certificate.words
    assert "not converged" in result.convergence


def test_a_surrogate_with_the_posteriors_tails_converges_certified_and_right_far_out() -> None:
    target = student_t(ELEVEN)
    result = judge(target, student_surrogate(ELEVEN, 5.0), SMALL)
    assert result.exact.converged, result.exact.convergence
    assert result.certificate.passed, result.certificate.words
    radius = np.linalg.norm(result.exact.theta, axis=2)
    truth = np.linalg.norm(target.sample(np.random.default_rng(0), 400_000), axis=1)
    for q in (0.5, 0.95, 0.99):
        beyond = (radius > np.quantile(truth, q)).astype(float)
        effective = float(ess(beyond[..., None], "mean")[0])
        assert abs(beyond.mean() - (1 - q)) < 4.5 * np.sqrt(q * (1 - q) / effective)


@pytest.mark.long
def test_a_surrogate_with_light_tails_is_not_converged_or_its_draws_are_right() -> None:
    target = student_t(3)
    truth = target.sample(np.random.default_rng(0), 50_000)
    for stretch in (0.6, 0.9):
        result = judge(target, normal_surrogate(np.zeros(3), stretch * np.linalg.cholesky(np.cov(truth.T))), SIZES)
        assert not result.certificate.passed
        if result.exact.converged:
            assert max(worst_z_scores(target, result.exact).values()) < 4.5


def test_right_draws_are_not_called_short() -> None:
    target = correlated_normal(3)
    truth = target.sample(np.random.default_rng(0), 50_000)
    surrogate = normal_surrogate(truth.mean(axis=0), np.linalg.cholesky(np.cov(truth.T)))
    for seed in range(4):
        result = judge(target, surrogate, replace(SIZES, certificate_draws=1_000, surrogate_draws=6_400), seed)
        assert result.exact.converged and result.certificate.passed, result.certificate.words


def test_ends_that_are_draws_of_the_same_distribution_are_seldom_improbable() -> None:
    rng = np.random.default_rng(0)

    def probability(stretch: float) -> float:
        draws = np.abs(rng.standard_t(3, 40))
        return compare_reach(draws, draws[:32], stretch * np.abs(rng.standard_t(3, 32))).probability

    found = np.array([probability(1.0) for _ in range(300)])
    for level in (0.2, 0.05, 0.01):
        assert (found < level).mean() < level + 3 * np.sqrt(level / len(found)), "no more often than they may be"
    assert np.median([probability(4.0) for _ in range(20)]) < 1e-3


def test_small_steps_that_all_lead_outward_are_told_by_their_signs() -> None:
    draws = np.random.default_rng(0).standard_normal(40)
    assert compare_reach(draws, draws[:32], draws[:32] + 0.01).probability < 1e-4
    assert compare_reach(draws, draws[:32], draws[:32] - 0.01).probability > 0.5


def test_chains_that_have_not_moved_and_few_draws_say_nothing() -> None:
    draws = np.random.default_rng(0).standard_normal(50)
    assert compare_reach(draws, draws[:32], draws[:32]).probability > 0.5
    assert compare_reach(np.full(20, 3.0), np.full(32, 3.0), np.full(32, 3.0)).probability == 1.0
    assert compare_reach(draws[: POSTERIOR_POLICY.fewest_outermost - 1], draws, draws + 100.0).probability == 1.0
    assert rank_correlation(draws, draws**3) == pytest.approx(1.0) and rank_correlation(draws, np.zeros(50)) == 0.0


def test_mahalanobis_distances_are_those_of_the_definition() -> None:
    points = np.random.default_rng(0).standard_normal((500, 3)) @ np.array([[1.0, 0, 0], [5, 2, 0], [0, 1, 1e-3]])
    centred = points - points.mean(axis=0)
    expected = np.sqrt(np.einsum("ni,ij,nj->n", centred, np.linalg.inv(np.cov(points.T)), centred))
    np.testing.assert_allclose(mahalanobis(points), expected, rtol=1e-4)
    assert (mahalanobis(np.ones((5, 2))) == 0).all()
