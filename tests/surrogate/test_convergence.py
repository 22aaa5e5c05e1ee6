"""Chains have converged when their parameters have, and where the surrogate is wrong its error too."""

from __future__ import annotations

import numpy as np

from estimhank.surrogate.convergence import judge_chains
from estimhank.surrogate.stage_config import PosteriorConfig

CHAINS, DRAWS = 16, 200
CONFIG = PosteriorConfig(min_ess=1_000)


def independent(width: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    theta, error = rng.standard_normal((CHAINS, DRAWS, 2)), width * rng.standard_normal((CHAINS, DRAWS))
    return theta, error, np.zeros((CHAINS, DRAWS), bool)


def test_independent_draws_converge_whatever_the_error() -> None:
    for width in (0.001, 0.2, 3.0):
        verdict = judge_chains(*independent(width), CONFIG)
        assert verdict.converged and verdict.r_hat.shape == (2,) and not verdict.unmixed
    theta, error, outside = independent(0.2)
    assert not judge_chains(theta[:, :50], error[:, :50], outside[:, :50], CONFIG).converged, "too few draws"


def test_a_few_long_visits_where_the_surrogate_is_wrong_are_not_convergence() -> None:
    theta, error, outside = independent(0.02)
    for chain, first in ((0, 0), (5, 120), (9, 60)):
        error[chain, first : first + 60], outside[chain, first : first + 60] = -8.0, True
    verdict = judge_chains(theta, error, outside, CONFIG)
    assert not verdict.converged and "surrogate's error has R-hat" in verdict.unmixed
    # rank-normalised the error may hide among others: where it is, does not
    verdict = judge_chains(theta, independent(0.2)[1], outside, CONFIG)
    assert not verdict.converged and verdict.unmixed.startswith("whether a draw is outside the trust region")


def test_a_good_surrogate_is_not_asked_and_one_that_is_not_a_number_says_nothing() -> None:
    theta, error, outside = independent(0.001)
    assert judge_chains(theta, error + 0.01 * np.arange(CHAINS)[:, None] / CHAINS, outside, CONFIG).converged
    assert judge_chains(theta, np.full_like(error, np.nan), outside, CONFIG).converged
