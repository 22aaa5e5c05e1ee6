"""Exact draws of the skewed textbook target, and the ranks of draws in it: uniform where the draws are right."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from estimhank.sampling.diagnostics import ess

#: Monte Carlo errors that a moment may be off. The effective number of draws is an estimate, and of an ensemble, whose
#: members are not independent of each other's past, up to a third too high: six claimed errors are five or more, which
#: a right sampler exceeds once in a million runs.
ERRORS = 6.0

#: Of a, b and 4 - c of the skewed textbook target.
DISTRIBUTIONS = (stats.gamma(3), stats.beta(2, 5), stats.gamma(4, scale=0.5))
#: Fourth moments about the mean in units of the squared variance.
KURTOSIS = np.array([3.0 + float(distribution.stats("k")) for distribution in DISTRIBUTIONS])


def exact_draws(rng: np.random.Generator, n: int) -> np.ndarray:
    """Independent draws of the skewed target, shape (n, 3)."""
    return np.column_stack([rng.gamma(3.0, size=n), rng.beta(2.0, 5.0, n), 4.0 - rng.gamma(4.0, 0.5, n)])


def levels_of(theta: np.ndarray) -> np.ndarray:
    """Levels of parameters (n, 3) in their true distributions, shape (n, 3)."""
    first, second, third = DISTRIBUTIONS
    return np.column_stack([first.cdf(theta[:, 0]), second.cdf(theta[:, 1]), third.sf(4 - theta[:, 2])])


def far_apart(theta: np.ndarray) -> np.ndarray:
    """States of all chains (chains, kept, d) at dates so far apart that they are as good as independent, shape (n, d).

    Three integrated autocorrelation times apart, that is a correlation of about e^-6. Every chain is taken at the same
    dates: draws counted through all chains in turn would come back to the same few chains a date or two later.
    """
    chains, kept, d = theta.shape
    apart = math.ceil(3 * chains * kept / min(ess(theta).min(), ess(theta, "mean").min()))
    return theta[:, ::-1][:, :: max(apart, 1)].reshape(-1, d)
