"""Tail index of importance weights (Vehtari, Simpson, Gelman, Yao and Gabry 2024)."""

from __future__ import annotations

import math

import numpy as np
from arviz_stats.base import array_stats
from numpy.typing import NDArray

from estimhank.support.seeds import Stream, generator

Array = NDArray[np.float64]

#: Log weights within so little of each other differ by the rounding of the surrogate's single precision.
_ROUNDING = 1e-4
#: Index of bounded weights, as that of uniform ones.
_BOUNDED = -1.0


def pareto_k(log_weights: Array) -> float:
    """Tail index k-hat of importance weights.

    Parameters
    ----------
    log_weights : ndarray of shape (n,)
        Log of target over proposal density, up to a constant; ``-inf`` is a weight of zero.

    Returns
    -------
    float
        ``inf`` where fewer than five weights are positive or one is not a number. -1, the index of uniform weights,
        where they are equal but for rounding: the shape of that noise says nothing about the proposal.

    Notes
    -----
    ``array_stats.psislw`` takes *minus* the log weights; with the natural sign it judges the wrong tail and finds
    almost every proposal excellent. This is the only place that calls it.
    """
    log_weights = np.asarray(log_weights, float)
    positive = log_weights[log_weights > -np.inf]
    if len(positive) < 5 or np.isnan(log_weights).any():
        return math.inf
    if np.ptp(positive) < _ROUNDING:
        return _BOUNDED
    # a weight of zero is part of the sample; far below the rest it leaves the right tail as it is
    log_weights = np.where(log_weights > -np.inf, log_weights, positive.min() - 100.0)
    _, k = array_stats.psislw(-(log_weights - positive.max()))
    return float(k) if not math.isnan(k) else math.inf  # all but a few weights are zero beside the largest


def pareto_limit(draws: int) -> float:
    """Largest tail index at which ``draws`` weights are still usable: min(1 - 1/log10 S, 0.7)."""
    return min(1 - 1 / math.log10(draws), 0.7) if draws > 10 else 0.0


def pareto_k_mcse(log_weights: Array, seed: int = 0, resamples: int = 100) -> float:
    """Bootstrap standard error of :func:`pareto_k`, ``nan`` where the index itself is not finite."""
    rng = generator(seed, Stream.PARETO)
    n = len(log_weights)
    values = np.array([pareto_k(log_weights[rng.integers(0, n, n)]) for _ in range(resamples)])
    values = values[np.isfinite(values)]
    return float(values.std(ddof=1)) if len(values) > 2 else math.nan
