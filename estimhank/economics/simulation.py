"""Draws of shocks and series given the data: paths, whose joint distribution means and variances do not tell.

Shocks e and data y* are drawn from the model; with what the data would have said of them taken off, and what they do
say added (Durbin and Koopman 2002)::

    e + E[e | y - y*],    x* + E[x | y - y*]
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from estimhank.economics.linear_form import LinearForm, moving_average
from estimhank.economics.smoothing import smoothed_shocks
from estimhank.economics.stacked_sample import StackedSample
from estimhank.support.errors import EstimhankError

Array = NDArray[np.float64]

#: Share of an observable's largest coefficient that may be left where the past before a simulation begins, and dates
#: that it may take.
_LEFT, _LONGEST = 1e-9, 2**15


class Paths(NamedTuple):
    """Draws given the data: ``shocks`` (draws, n, n_z) in standard deviations, and ``series`` (draws, n, n_x), less
    their means and measurement errors."""

    shocks: Array
    series: Array


def draw_paths(
    form: LinearForm, sample: StackedSample, rng: np.random.Generator, draws: int, positions: NDArray[np.int_]
) -> Paths:
    """Independent draws at one point.

    Parameters
    ----------
    form : LinearForm
    sample : StackedSample
    rng : Generator
    draws : int
    positions : array of int, shape (n_x,)
        Of the series wanted in the linear form, all of which die out.

    Raises
    ------
    EstimhankError
        If responses last too long for a simulation of the past.
    """
    n, n_o = sample.values.shape
    before = 64
    while True:
        whole = np.asarray(moving_average(form, before + n))
        path = whole[:, np.r_[: sample.values.shape[1], positions]]
        size = np.abs(path).max((0, 2))
        if (np.abs(path[before:]).max((0, 2)) <= _LEFT * size).all():
            break
        if before >= _LONGEST:
            raise EstimhankError(f"responses last for more than {_LONGEST} quarters: paths cannot be drawn")
        before *= 2
    stacked = jax.jit(sample.stack)(form)
    total = form.covariances.sum(0)
    with_data = np.asarray(sample.with_dates(total, np.arange(n)))[:, positions]
    factor, noise = np.asarray(stacked.factor), np.sqrt(np.asarray(form.errors))
    deviations = np.asarray(sample.deviations(form))
    length = next_fast_len(before + 2 * n + before, real=True)
    waves = rfft(path, length, axis=0)
    shocks, series = [], []
    for _ in range(draws):
        e = rng.standard_normal((before + n, path.shape[2]))
        product = (waves * rfft(e, length, axis=0)[:, None, :]).sum(2)
        simulated = irfft(product, length, axis=0)[before : before + n]
        seen = simulated[:, :n_o] + noise * rng.standard_normal((n, n_o))
        left = deviations - seen[sample.date, sample.column]
        weights = _solve(factor, left)
        spread = np.zeros((n, n_o))
        spread[sample.date, sample.column] = weights
        corrected = e + np.asarray(smoothed_shocks(jnp.asarray(path[:, :n_o]), jnp.asarray(spread), before))
        shocks.append(corrected[before:])
        series.append(simulated[:, n_o:] + with_data @ weights)
    return Paths(np.stack(shocks), np.stack(series))


def _solve(factor: Array, right: Array) -> Array:
    found: Array = np.asarray(jax.scipy.linalg.cho_solve((factor, True), right))
    return found
