"""Small sizes for the surrogate and posterior stages, the same in all tests so that little is compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.known_targets import KnownTarget
from estimhank.surrogate.exact_chains import ExactChains
from estimhank.surrogate.stage_config import PosteriorConfig, SurrogateConfig

TRAINING = SurrogateConfig(
    hidden=(48, 48), ensemble=1, epochs=100, round_epochs=50, rounds=1, round_points=300, final_s_e=0.05
)
SIZES = PosteriorConfig(
    surrogate_chains=64,
    surrogate_draws=6_400,
    certificate_pairs=400,
    chains=16,
    dispersed=4,
    min_ess=800,
    max_rounds=300,
)
D = 3

#: Standard errors that :func:`worst_z_scores` may find. A training's and a chain's path hang on the last bit, so that
#: every kind of processor draws anew: twelve scores beyond six errors are one false alarm in ten million runs, and one
#: in a million where the effective number of draws is overestimated by a quarter.
Z_LIMIT = 6.0


def draws_per_evaluation(exact: ExactChains) -> float:
    """Effective draws (bulk, worst parameter) for each exact evaluation, starts and burn-in included."""
    return float(np.min(exact.ess_bulk)) / exact.evaluations


def worst_z_scores(target: KnownTarget, exact: ExactChains, n: int = 400_000) -> dict[str, float]:
    """Largest distance of exact draws from the truth over parameters, in Monte Carlo standard errors.

    Of means, standard deviations, and the shares of draws below the true 5 % and 95 % quantiles.
    """
    truth = target.sample(np.random.default_rng(99), n)
    theta = exact.theta.reshape(-1, truth.shape[1])
    bulk, tail = exact.ess_bulk, exact.ess_tail
    mean, sd = truth.mean(axis=0), truth.std(axis=0)
    kurtosis = (((truth - mean) / sd) ** 4).mean(axis=0)
    scores: dict[str, Any] = {
        "mean": (theta.mean(axis=0) - mean) / (sd / np.sqrt(bulk)),
        "sd": (theta.std(axis=0) / sd - 1) / np.sqrt((kurtosis - 1) / (4 * np.minimum(bulk, tail))),
    }
    for q in (0.05, 0.95):
        share = (theta < np.quantile(truth, q, axis=0)).mean(axis=0)
        scores[f"{q:.0%}"] = (share - q) / np.sqrt(q * (1 - q) / tail)
    return {name: float(np.abs(score).max()) for name, score in scores.items()}
