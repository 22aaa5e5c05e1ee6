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
    with_data = sample.with_dates(form.covariances.sum(0), np.arange(n))[:, positions]
    observed = jnp.asarray(path[:, :n_o])

    @jax.jit
    def tell(left: jax.Array) -> tuple[jax.Array, jax.Array]:
        """E[e | left] and E[x | left] in the sample."""
        weights = jax.scipy.linalg.cho_solve((stacked.factor, True), left)
        return smoothed_shocks(observed, sample.spread(weights), before)[before:], with_data @ weights

    noise, deviations = np.sqrt(np.asarray(form.errors)), np.asarray(sample.deviations(form))
    length = next_fast_len(2 * (before + n), real=True)
    waves = rfft(path, length, axis=0)
    shocks, series = [], []
    for _ in range(draws):
        e = rng.standard_normal((before + n, path.shape[2]))
        product = (waves * rfft(e, length, axis=0)[:, None, :]).sum(2)
        simulated = irfft(product, length, axis=0)[before : before + n]
        seen = simulated[:, :n_o] + noise * rng.standard_normal((n, n_o))
        more_shocks, more = tell(jnp.asarray(deviations - seen[sample.date, sample.column]))
        shocks.append(e[before:] + np.asarray(more_shocks))
        series.append(simulated[:, n_o:] + np.asarray(more))
    return Paths(np.stack(shocks), np.stack(series))
