"""Every way of spoiling the surrogate is caught by the certificate, and none biases the exact posterior.

Where the exact chains do not converge the stage says so: that is a refusal, not a bias.
"""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest

from benchmarks.known_targets import KnownTarget, banana, skewed, two_modes
from estimhank.evaluation.evaluations import EvaluationBatch
from estimhank.networks.mlp import initial_weights
from estimhank.surrogate.fitting import Fitter, Whitening
from estimhank.surrogate.points import points_from
from estimhank.surrogate.posterior_stage import PosteriorStageResult, run_posterior
from estimhank.surrogate.stage_config import PosteriorConfig
from estimhank.surrogate.surrogate import Surrogate
from estimhank.surrogate.surrogate_stage import run_surrogate
from tests.helpers.in_memory import Memory, candidates, mode_of
from tests.helpers.stages import SIZES, TRAINING, Z_LIMIT, D, worst_z_scores

CAREFUL = replace(SIZES, min_ess=400, max_r_hat=1.02, max_rounds=600)


def train(target: KnownTarget, batch: EvaluationBatch, seed: int = 1) -> Surrogate:
    """A surrogate of these evaluations alone, without rounds that would repair it."""
    mode = mode_of(target)
    whitening = Whitening.from_moments(mode.center_x, mode.covariance_x)
    return Fitter(target, TRAINING).fit(points_from(batch, target.transform), whitening, 150, seed)[0]


def judge(target: KnownTarget, surrogate: Surrogate, sizes: PosteriorConfig = CAREFUL) -> PosteriorStageResult:
    """Run the stage: the certificate must fail, and converged draws must be right."""
    result = run_posterior(Memory(target), target, surrogate, sizes, seed=5)
    assert not result.certificate.passed
    assert result.certificate.words.startswith("the surrogate is not certified")
    if result.exact.converged:
        scores = worst_z_scores(target, result.exact)
        assert max(scores.values()) < Z_LIMIT, scores
    else:
        assert any("has not converged" in reason for reason in result.certificate.reasons)
    return result


def failed(result: PosteriorStageResult) -> set[str]:
    """Figures beyond their limits."""
    certificate = result.certificate
    return {
        key
        for key, limit in certificate.limits.items()
        if not (certificate.figures[key].value < limit) and key != "second_stage_acceptance"
    }


def test_an_untrained_network() -> None:
    target = skewed(D)
    surrogate = train(target, candidates(target, 800))
    raw = tuple(
        jax.tree.map(lambda w: 3.0 * w, initial_weights(D, surrogate.shape.hidden, surrogate.shape.activation, seed=k))
        for k, _ in enumerate(surrogate.parameters.networks)
    )
    result = judge(target, replace(surrogate, parameters=surrogate.parameters._replace(networks=raw)))
    assert {"s_e", "s_e_exact_states", "wrong_accept"} <= failed(result)
    assert not result.trusted


def test_a_network_trained_on_a_shifted_target() -> None:
    target = skewed(D)
    batch = candidates(target, 800)
    shifted = replace(batch, theta=batch.theta + np.array([0.0, 0.5, 0.5]))
    result = judge(target, train(target, shifted))
    assert result.exact.converged, result.exact.convergence
    assert {"s_e", "s_e_exact_states"} <= failed(result)
    off = result.surrogate.theta.reshape(-1, D).mean(axis=0) - result.exact.theta.reshape(-1, D).mean(axis=0)
    assert (np.abs(off[1:]) > 0.3).all(), "the surrogate's own posterior is wrong, beside the exact one"


def test_a_spurious_high_region_outside_the_data() -> None:
    target = skewed(D)
    batch = candidates(target, 800)
    ghost = np.array([2.0, 9.0, 1.0]) + 0.7 * np.random.default_rng(0).standard_normal((200, D))
    ghost[:, 0] = np.abs(ghost[:, 0])
    invented = target.batch(ghost, gradient=True)
    height = -0.5 * ((ghost - np.array([2.0, 9.0, 1.0])) ** 2).sum(axis=1)
    invented = replace(invented, log_likelihood=height + 1.5, gradient=np.full_like(ghost, np.nan))
    columns = {
        name: np.concatenate([getattr(batch, name), getattr(invented, name)])
        for name in ("theta", "log_likelihood", "log_prior", "reason", "seconds", "gradient")
    }
    result = judge(target, train(target, EvaluationBatch(**columns)))
    assert "s_e" in failed(result), "fresh draws go there and find nothing"
    assert not ((result.exact.theta[..., 1] > 6) & (result.exact.log_density < -10)).any()


@pytest.mark.parametrize("what", ["half of a banana", "one of two modes"])
def test_a_network_that_has_not_seen_a_part_of_the_target(what: str) -> None:
    target = banana(D) if what == "half of a banana" else two_modes(D, apart=5.0)
    surrogate = train(target, candidates(target, 1_000, where=lambda x: x[:, 0] > 0.0))
    result = judge(target, surrogate)
    figures = result.certificate.figures
    assert figures["s_e_exact_states"].value > 0.3, "exact states are where the surrogate is wrong"
    assert (result.exact.theta[..., 0] < 0).mean() > 0.03, "exact steps and dispersed starts have found the rest"


def test_nan_among_the_evaluations_is_dropped_and_counted_and_does_no_harm() -> None:
    target = skewed(D)
    batch = candidates(target, 1_000)
    value, slope = batch.log_likelihood.copy(), batch.gradient.copy()
    value[::7] = np.nan
    slope[::5] = np.nan
    spoilt = replace(batch, log_likelihood=value, gradient=slope)
    trained = run_surrogate(Memory(target), target, spoilt, mode_of(target), TRAINING, 1)
    assert trained.dropped == {"non_finite": len(value[::7])}
    result = run_posterior(Memory(target), target, trained.surrogate, SIZES, 1)
    assert result.certificate.passed, result.certificate.words
    assert max(worst_z_scores(target, result.exact).values()) < Z_LIMIT


def test_a_network_whose_weights_are_nan() -> None:
    target = skewed(D)
    surrogate = train(target, candidates(target, 400))
    nan = jax.tree.map(lambda w: w * np.nan, surrogate.parameters.networks)
    broken = replace(surrogate, parameters=surrogate.parameters._replace(networks=nan))
    result = judge(target, broken, replace(CAREFUL, max_rounds=60))
    assert {"s_e", "s_e_exact_states", "pareto_k"} <= failed(result)
