"""Scores of density forecasts that are mixtures of normal distributions with equal weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtr

Array = NDArray[np.float64]

#: Probabilities of central intervals.
CENTRAL = (0.5, 0.68, 0.9)


def log_score(mean: Array, sd: Array, outcome: Array) -> Array:
    """Log density at the outcome, shape of ``outcome``; components are the first axis of ``mean`` and ``sd``."""
    each = -0.5 * ((outcome - mean) / sd) ** 2 - np.log(sd) - 0.5 * np.log(2 * np.pi)
    found: Array = logsumexp(each, axis=0) - np.log(len(mean))
    return found


def pit(mean: Array, sd: Array, outcome: Array) -> Array:
    """Probability integral transform: the distribution function at the outcome."""
    found: Array = ndtr((outcome - mean) / sd).mean(0)
    return found


def _expected_distance(mean: Array, sd: Array) -> Array:
    """E|X| of X normal."""
    z = mean / sd
    found: Array = mean * (2 * ndtr(z) - 1) + 2 * sd * np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return found


def crps(mean: Array, sd: Array, outcome: Array) -> Array:
    """Continuous ranked probability score E|X - y| - E|X - X'| / 2, less is better, in the outcome's units.

    In closed form of a mixture (Grimit, Gneiting, Berrocal and Johnson 2006).
    """
    between = np.zeros(np.shape(outcome))
    for m, s in zip(mean, sd, strict=True):
        between += _expected_distance(mean - m, np.hypot(sd, s)).sum(0)
    found: Array = _expected_distance(outcome - mean, sd).mean(0) - between / (2 * len(mean) ** 2)
    return found


def mean_error(series: Array, lags: int) -> float:
    """Standard error of the mean of an autocorrelated series (Newey and West 1987)."""
    x = series - series.mean()
    n = len(x)
    variance = float(x @ x) / n
    for k in range(1, lags + 1):
        variance += 2 * (1 - k / (lags + 1)) * float(x[k:] @ x[:-k]) / n
    return float(np.sqrt(max(variance, 0.0) / n))


def scores(mean: Array, sd: Array, outcome: Array) -> Mapping[str, Array]:
    """All of them, of the shape of ``outcome``, nan where that is nan; ``error`` is the mean's."""
    found = {
        "crps": crps(mean, sd, outcome),
        "log score": log_score(mean, sd, outcome),
        "pit": pit(mean, sd, outcome),
        "error": mean.mean(0) - outcome,
    }
    return {name: np.where(np.isnan(outcome), np.nan, value) for name, value in found.items()}
