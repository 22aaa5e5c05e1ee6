"""How a series as the data tell it depends on the data: weights of each figure, and what was known when."""

from __future__ import annotations

import jax
import numpy as np
from numpy.typing import NDArray

from estimhank.economics.linear_form import LinearForm
from estimhank.economics.stacked_sample import StackedSample

Array = NDArray[np.float64]


def weights_of_data(form: LinearForm, sample: StackedSample, position: int, date: int) -> Array:
    """dE[x_t | y] / dy, shape (n, n_o); ``nan`` where values are missing.

    Parameters
    ----------
    form : LinearForm
    sample : StackedSample
    position : int
        Of the series in the linear form.
    date : int
        0 the sample's first.
    """
    factor = sample.stack(form).factor
    with_data = sample.with_dates(form.covariances.sum(0), np.array([date]))[0, position]
    found = np.full(sample.values.shape, np.nan)
    found[sample.date, sample.column] = np.asarray(jax.scipy.linalg.cho_solve((factor, True), with_data))
    return found


def in_real_time(form: LinearForm, sample: StackedSample, position: int) -> Array:
    """E[x_t | y up to T'], less the mean: shape (n, n), [T', t]; the last row is the smoothed series, the diagonal the
    filtered one, above it are forecasts."""
    n, stacked = sample.dates, sample.stack(form)
    with_data = sample.with_dates(form.covariances.sum(0), np.arange(n))[:, position]
    # leading blocks of the factor are those of shorter samples
    loadings = np.asarray(jax.scipy.linalg.solve_triangular(stacked.factor, with_data.T, lower=True))
    added = np.zeros((n, n))
    np.add.at(added, sample.date, loadings * np.asarray(stacked.innovations)[:, None])
    return np.cumsum(added, axis=0)
