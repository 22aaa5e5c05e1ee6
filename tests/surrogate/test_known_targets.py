"""Known distributions through the whole of both stages: certified where the surrogate can follow them, exact in any
case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.known_targets import KnownTarget, banana, correlated_normal, skewed, student_t, two_modes
from estimhank.surrogate.certificate import Certificate
from estimhank.surrogate.posterior_stage import PosteriorStageResult, run_posterior
from estimhank.surrogate.stage_config import PosteriorConfig, SurrogateConfig
from estimhank.surrogate.surrogate_stage import run_surrogate
from tests.helpers.in_memory import Memory, candidates, mode_of
from tests.helpers.stages import SIZES, TRAINING, Z_LIMIT, D, draws_per_evaluation, worst_z_scores


def estimate(
    target: KnownTarget, n: int, training: SurrogateConfig, sizes: PosteriorConfig, seed: int = 3
) -> tuple[PosteriorStageResult, Memory]:
    memory = Memory(target)
    trained = run_surrogate(memory, target, candidates(target, n), mode_of(target), training, seed)
    return run_posterior(memory, target, trained.surrogate, sizes, seed), memory


def small(target: KnownTarget, seed: int = 3, **changes: Any) -> tuple[PosteriorStageResult, Memory]:
    return estimate(target, 1_000, replace(TRAINING, **changes), SIZES, seed)


@pytest.fixture(scope="module")
def of_skewed() -> tuple[KnownTarget, PosteriorStageResult, Memory]:
    target = skewed(D)
    return target, *small(target)


def check_exact(target: KnownTarget, result: PosteriorStageResult) -> None:
    assert result.exact.converged, result.exact.convergence
    scores = worst_z_scores(target, result.exact)
    assert max(scores.values()) < Z_LIMIT, scores


@pytest.mark.parametrize("make", [correlated_normal, skewed, student_t, two_modes])
def test_targets_that_a_network_can_follow_are_certified_and_exact(
    make: Callable[[int], KnownTarget], of_skewed: tuple[KnownTarget, PosteriorStageResult, Memory]
) -> None:
    """Whether one small training is good enough hangs on its last bit: one in six of the skewed and of the heavy tails
    was not, whose weights' index is close to its limit. Eight such in a row are one false alarm in a million."""
    target, result, memory = of_skewed if make is skewed else (other := make(D), *small(other))

    def reasons_of(certificate: Certificate) -> list[str]:
        # the weights' index may rightly call the tails of a Student t heavy, however small the spread of the weights
        return [reason for reason in certificate.reasons if make is not student_t or "tail index" not in reason]

    refusals = []
    for seed in range(4, 11):
        check_exact(target, result)
        if not reasons_of(result.certificate):
            break
        limits, figures = result.certificate.limits, result.certificate.figures
        assert figures["s_e"].value > limits["s_e"] or figures["pareto_k"].value > limits["pareto_k"]
        refusals.append(result.certificate.words)
        result, memory = small(target, seed)
    certificate = result.certificate
    assert not reasons_of(certificate), refusals
    assert draws_per_evaluation(result.exact) > 0.6
    # counts are those of what was asked for
    assert certificate.counts["training_evaluations"] == 1_000 + memory.count("surrogate")
    assert certificate.counts["certificate_evaluations"] == memory.count("certificate")
    assert certificate.counts["exact_stage_evaluations"] == memory.count("exact") == result.exact.evaluations


def test_the_surrogates_own_draws_are_within_its_error(
    of_skewed: tuple[KnownTarget, PosteriorStageResult, Memory],
) -> None:
    target, result, _ = of_skewed
    truth = target.sample(np.random.default_rng(4), 200_000)
    draws = result.surrogate.theta.reshape(-1, D)
    off = np.abs(draws.mean(axis=0) - truth.mean(axis=0)) / truth.std(axis=0)
    assert off.max() < result.certificate.figures["s_e"].value + 0.06


def test_a_jump_that_no_round_could_notice_fails_the_certificate_and_the_draws_are_right() -> None:
    target = skewed(D, bound_known=False)
    result, _ = small(target, rounds=0)
    assert not result.certificate.passed
    assert result.certificate.figures["infeasible_share"].value > 0.01
    assert any("no exact density" in reason for reason in result.certificate.reasons)
    check_exact(target, result)
    assert (result.exact.theta[..., 0] > 0).all()


@pytest.mark.long
def test_a_jump_that_rounds_notice_is_learned_as_an_edge() -> None:
    target = skewed(D, bound_known=False)
    result, _ = small(target)
    assert result.certificate.figures["infeasible_share"].value < 0.01
    check_exact(target, result)


def test_the_banana_is_exact_whether_or_not_it_is_certified() -> None:
    """After two rounds this training ends before the arms do: exact draws have a standard deviation that is 8 % too
    small, and must not be called converged. After four they are right."""
    target = banana(D)
    result, _ = small(target, rounds=4)
    check_exact(target, result)
    assert result.certificate.figures["s_e_exact_states"].value < 0.3
    short, _ = small(target, rounds=2)
    if short.exact.converged:
        check_exact(target, short)
    else:
        assert "do not cover the tails" in short.exact.convergence


def test_both_stages_repeat_themselves_to_the_bit(of_skewed: tuple[KnownTarget, PosteriorStageResult, Memory]) -> None:
    target, one, _ = of_skewed
    same, _ = small(target)
    np.testing.assert_array_equal(one.exact.theta, same.exact.theta)
    np.testing.assert_array_equal(one.surrogate.theta, same.surrogate.theta)
    assert one.certificate.to_json() == same.certificate.to_json()


ELEVEN = 11
LONG_TRAINING = SurrogateConfig(epochs=200)
LONG_SIZES = PosteriorConfig(surrogate_draws=50_000)


@pytest.mark.long
@pytest.mark.parametrize("make", [correlated_normal, skewed, banana, student_t, two_modes])
def test_eleven_dimensions(make: Callable[[int], KnownTarget]) -> None:
    target = make(ELEVEN)
    result, _ = estimate(target, 4_000, LONG_TRAINING, LONG_SIZES)
    check_exact(target, result)
    figures = result.certificate.figures
    print(target.label, {key: round(figure.value, 4) for key, figure in figures.items()}, result.exact.convergence)
    for key in ("s_e", "s_e_exact_states", "wrong_accept", "wrong_reject"):
        assert figures[key].value < result.certificate.limits[key]
    if make is not student_t:  # whose tails the weights' index may rightly call heavy, however small their spread
        assert result.certificate.passed, result.certificate.words
