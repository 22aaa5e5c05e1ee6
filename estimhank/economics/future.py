"""The future of the reported series as one Gaussian vector, given the data: what scenarios condition on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from estimhank.economics.linear_form import LinearForm, moving_average
from estimhank.economics.output import Scene
from estimhank.economics.stacked_sample import Stacked, StackedSample
from estimhank.economics.study import Study
from estimhank.support.errors import ConfigError

Array = NDArray[np.float64]


class Future(NamedTuple):
    """Dates after the sample, stacked by date: k = quarters times n_x.

    Attributes
    ----------
    mean, covariance : arrays of shape (k,), (k, k)
        Given the data.
    effects : array of shape (k, quarters, n_z)
        Of a shock at each date of the future, one standard deviation.
    """

    mean: jax.Array
    covariance: jax.Array
    effects: jax.Array


class Futures:
    """The future at any parameters, compiled once.

    Parameters
    ----------
    study : Study
    quarters : int

    Raises
    ------
    ConfigError
        More quarters than the study has covariances for.
    """

    def __init__(self, study: Study, quarters: int) -> None:
        if not 1 <= quarters <= study.forms.ahead:
            raise ConfigError(f"scenarios are of 1 to {study.forms.ahead} quarters, not {quarters}")
        self.study, self.quarters = study, quarters
        scene, sample = study.lasting, study.sample

        def of(form: LinearForm) -> Future:
            mean, covariance = future_moments(scene, form, sample.stack(form), quarters)
            return Future(mean, covariance, future_effects(scene, form, quarters))

        self._of = jax.jit(of)

    def of(self, form: LinearForm) -> Future:
        """Of a linear form, as NumPy arrays."""
        found: Future = jax.tree.map(np.asarray, self._of(form))
        return found

    def at(self, theta: Mapping[str, float] | ArrayLike) -> Future:
        """At parameters.

        Raises
        ------
        EstimhankError
            If there is no solution there.
        """
        return self.of(self.study.forms.at(theta))


def data_before(scene: Scene) -> Array:
    """The data as the series show them, (n, n_x); sums over dates are zero at the last of them, as in the future."""
    data = scene.data()
    for j in np.flatnonzero(scene.cumulated):
        seen = np.flatnonzero(~np.isnan(data[:, j]))
        data[:, j] -= data[seen[-1], j] if seen.size else 0.0
    return data


def covariance_with_data(scene: Scene, sample: StackedSample, form: LinearForm, dates: NDArray[np.int_]) -> jax.Array:
    """Covariance of the reported series at some dates with the entries of a sample, (dates, n_x, N).

    Of observables with their measurement errors, those of the entries themselves and of sums that these are part of.
    """
    filters = scene.filters  # (n_x, length)
    length = filters.shape[1]
    gap = dates[:, None] - sample.date[None, :]
    reach = np.pad(filters, ((0, 0), (0, 1)))[:, np.where(gap < 0, length, np.minimum(gap, length))]
    own = scene.columns[:, None] == sample.column[None, :]
    errors = (reach * own[:, None, :]).transpose(1, 0, 2) * scene.error_variances(form)[:, None]
    found: jax.Array = sample.with_dates(form.covariances.sum(0), dates)[:, scene.positions] + errors
    return found


def future_moments(scene: Scene, form: LinearForm, stacked: Stacked, quarters: int) -> tuple[jax.Array, jax.Array]:
    """Mean and covariance of the reported series after the sample, given the data.

    In the units that are reported, with means; of observables with their measurement errors, those of the sample's end
    included where a series adds up several quarters. Sums over dates begin at the sample's end.
    """
    sample, at, n = scene.sample, scene.positions, scene.sample.dates
    dates, n_x = np.arange(n, n + quarters), len(scene.positions)
    total = form.covariances.sum(0)
    noise, filters = scene.error_variances(form), scene.filters  # (n_x,), (n_x, length)
    length = filters.shape[1]
    with_data = covariance_with_data(scene, sample, form, dates).reshape(quarters * n_x, -1)
    lag = dates[:, None] - dates[None, :]
    ahead = total[np.abs(lag)][:, :, at][..., at]  # Cov(x_{t+k}, x_t)
    whole = jnp.where((lag >= 0)[..., None, None], ahead, ahead.swapaxes(2, 3))
    overlap = np.zeros((quarters, n_x, n_x))  # sum_l w_i[l + k] w_j[l]
    for k in range(min(length, quarters)):
        overlap[k] = filters[:, k:] @ filters[:, : length - k].T
    same = scene.columns[:, None] == scene.columns[None, :]
    shared = np.where((lag >= 0)[..., None, None], overlap[np.abs(lag)], overlap[np.abs(lag)].swapaxes(2, 3)) * same
    whole = (whole + shared * noise).transpose(0, 2, 1, 3).reshape(quarters * n_x, -1)
    loadings = jax.scipy.linalg.solve_triangular(stacked.factor, with_data.T, lower=True)
    mean = (with_data @ sample.entries(stacked.weights)).reshape(quarters, n_x) + scene.mean(form)
    covariance = (whole - loadings.T @ loadings).reshape(quarters, n_x, quarters, n_x)
    covariance = scene.add_up(scene.add_up(covariance, 0, 1), 2, 3)
    return scene.add_up(mean, 0, 1).ravel(), covariance.reshape(quarters * n_x, -1)


def future_effects(scene: Scene, form: LinearForm, quarters: int) -> jax.Array:
    """Effects of shocks at each date of the future, one standard deviation, (k, quarters, n_z)."""
    plain = moving_average(form, quarters)[:, scene.positions]
    lag = np.arange(quarters)[:, None] - np.arange(quarters)[None, :]
    found = jnp.where((lag >= 0)[..., None, None], plain[np.maximum(lag, 0)], 0.0)  # (date, arrived, n_x, n_z)
    found = scene.add_up(found.transpose(0, 2, 1, 3), 0, 1)
    return found.reshape(-1, quarters, plain.shape[2])
