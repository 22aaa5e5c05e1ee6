"""The sample as one Gaussian vector: its covariance, the factor in the order of time, and what follows from them.

The observed entries are stacked by date, missing ones left out::

    y ~ N(d, V),    V = L L',    u = L^{-1} (y - d),    a = V^{-1} (y - d)

Leading blocks of L are the factors of every shorter sample, so that u are the innovations, and their densities by date
add up to the log likelihood. A sample that is conditioned on its first dates has the same V; their densities do not
count.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from estimhank.data.dataset import Dataset
from estimhank.economics.linear_form import LinearForm

Array = NDArray[np.float64]


class Stacked(NamedTuple):
    """A sample of N entries at one point.

    Attributes
    ----------
    factor : array of shape (N, N)
        L, lower triangular.
    innovations : array of shape (N,)
        u.
    weights : array of shape (n, n_o)
        a, zero where values are missing.
    scores : array of shape (n,)
        Log density of each date given those before it.
    """

    factor: jax.Array
    innovations: jax.Array
    weights: jax.Array
    scores: jax.Array


class StackedSample:
    """A data set, ready to be stacked.

    Parameters
    ----------
    data : Dataset
    """

    def __init__(self, data: Dataset) -> None:
        self.values = np.asarray(data.values, float)
        self.first = data.condition_on
        #: Date and series of each entry, in the order of time.
        self.date, self.column = np.nonzero(~np.isnan(self.values))

    @property
    def dates(self) -> int:
        """Number of dates n, whatever is missing."""
        return len(self.values)

    def between(self, covariances: Float[jax.Array, "lags n_o n_o"]) -> Float[jax.Array, "N N"]:
        """Covariance of the entries from autocovariances of the observables, ``[k]`` = Cov(y_{t+k}, y_t)."""
        found: jax.Array = covariances.reshape(-1)[self._places(self.date, self.column, covariances.shape[1])]
        return found

    def with_dates(
        self, covariances: Float[jax.Array, "lags n_x n_x"], dates: NDArray[np.int_]
    ) -> Float[jax.Array, "dates n_x N"]:
        """Covariance of all series at some dates, 0 the sample's first, with the entries."""
        n_x = covariances.shape[1]
        places = self._places(np.repeat(dates, n_x), np.tile(np.arange(n_x), len(dates)), n_x)
        found: jax.Array = covariances.reshape(-1)[places.reshape(len(dates), n_x, -1)]
        return found

    def _places(self, date: NDArray[np.int_], series: NDArray[np.int_], n_x: int) -> NDArray[np.int_]:
        """Where Cov(series at their dates, entries) stands among flat autocovariances, (rows, N)."""
        gap = date[:, None] - self.date[None, :]
        first, second = series[:, None], self.column[None, :]
        ahead, behind = np.where(gap >= 0, first, second), np.where(gap >= 0, second, first)
        return (np.abs(gap) * n_x + ahead) * n_x + behind

    def entries(self, array: Float[jax.Array, "n n_o"]) -> Float[jax.Array, " N"]:
        """What stands at the entries of an array by date and observable."""
        return array[self.date, self.column]

    def spread(self, entries: Float[jax.Array, " N"]) -> Float[jax.Array, "n n_o"]:
        """Entries by date and observable, zero where values are missing."""
        return jnp.zeros(self.values.shape).at[self.date, self.column].set(entries)

    def by_date(self, entries: Float[jax.Array, " N"]) -> Float[jax.Array, " n"]:
        """Sums over the entries of each date."""
        return jnp.zeros(self.dates).at[self.date].add(entries)

    def covariance(self, form: LinearForm) -> Float[jax.Array, "N N"]:
        """V, measurement errors added."""
        n_o = self.values.shape[1]
        gamma = form.covariances[:, : self.dates, :n_o, :n_o].sum(0)
        return self.between(gamma.at[0].add(jnp.diag(form.errors)))

    def deviations(self, form: LinearForm, values: Float[jax.Array, "n n_o"] | None = None) -> Float[jax.Array, " N"]:
        """y - d, of the data or of other values at the same places."""
        given = jnp.asarray(self.values) if values is None else values
        return self.entries(given - form.mean[: self.values.shape[1]])

    def stack(self, form: LinearForm, values: Float[jax.Array, "n n_o"] | None = None) -> Stacked:
        """The stacked sample at one point; ``values``: others at the same places in place of the data's."""
        covariance = self.covariance(form)
        factor = jnp.linalg.cholesky(covariance, symmetrize_input=False)
        deviations = self.deviations(form, values)
        innovations = jax.scipy.linalg.solve_triangular(factor, deviations, lower=True)
        weights = jax.scipy.linalg.solve_triangular(factor, innovations, lower=True, trans=1)
        left = jax.scipy.linalg.solve_triangular(factor, deviations - covariance @ weights, lower=True)
        weights = weights + jax.scipy.linalg.solve_triangular(factor, left, lower=True, trans=1)
        each = -0.5 * innovations**2 - jnp.log(jnp.diagonal(factor)) - 0.5 * math.log(2 * math.pi)
        return Stacked(factor, innovations, self.spread(weights), self.by_date(each))

    def log_likelihood(self, stacked: Stacked) -> jax.Array:
        """Of the dates that count."""
        return stacked.scores[self.first :].sum()
