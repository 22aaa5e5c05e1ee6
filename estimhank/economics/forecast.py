"""Density forecasts: of the data to come, given the data and the parameters, and over draws of these.

For dates F beyond the sample, with C_F the covariance with the data::

    mean d + C_F a,    covariance V_FF - C_F V^{-1} C_F'

which includes what is not known of the sample's end. Over draws they are mixtures of normal distributions, whose
variance is the mean of variances plus the variance of means: the second is what is not known of the parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from estimhank.economics.bands import FAN
from estimhank.economics.linear_form import LinearForm
from estimhank.economics.output import Scene
from estimhank.economics.result import Result, gap
from estimhank.economics.stacked_sample import Stacked
from estimhank.support.errors import ConfigError

Array = NDArray[np.float64]


class Forecast(Result):
    """Forecasts (draw, date, variable) with their variances at each draw, and the last quarters of the data.

    Of observables they are of the data, measurement error included.
    """

    name = "forecast"
    shown = ("value",)
    along = "date"
    probabilities = FAN

    def identities(self) -> dict[str, float]:
        """The two parts of the variance are that of the mixture; no variance is negative or above the unconditional."""
        variance = self.draws.value_variance.values
        within, between = self.variances()
        second = (variance + self.draws.value.values**2).mean(0) - self.draws.value.values.mean(0) ** 2
        below = np.maximum(-variance, 0) / np.maximum(variance.max(axis=1, keepdims=True), 1e-300)
        size = np.maximum(second, (self.draws.value.values**2).mean(0))
        return {
            "that variances within and between draws add up": float(
                (np.abs((within + between).values - second) / np.maximum(size, 1e-300)).max()
            ),
            "that variances are not negative": float(below.max()),
            "that the mean of the first date follows from one-step innovations": gap(
                self.draws.first_mean.values, self.draws.first_mean_again.values
            ),
        }

    def variances(self) -> tuple[xr.DataArray, xr.DataArray]:
        """E[Var] and Var[E] (date, variable): what the future adds, and what is not known of the parameters."""
        return self.draws.value_variance.mean("draw"), self.draws.value.var("draw")

    def parameters_alone(self) -> xr.Dataset:
        """Bands of the mean forecast over draws: uncertainty about parameters alone, (quantile, date, variable)."""
        at = [0.05, 0.16, 0.25, 0.5, 0.75, 0.84, 0.95]
        values = np.quantile(self.draws.value.values, at, axis=0)
        array = xr.DataArray(values, dims=("quantile", *self.draws.value.dims[1:]))
        return xr.Dataset({"value": array}, {**{k: self.draws.coords[k] for k in ("date", "variable")}, "quantile": at})

    def summary(self) -> str:
        """One and four quarters ahead, and how much of the variance is due to parameters."""
        found = [f"{self.heading}; with all uncertainty"]
        within, between = self.variances()
        dates = self.draws.date.values
        for series in self.about.series:
            parts = []
            for i in sorted({0, min(3, len(dates) - 1), len(dates) - 1}):
                at = self.dataset.value.sel(variable=series.name).isel(date=i)
                parts.append(f"{dates[i]} {self._interval(at)}")
            inside, outside = (float(v.sel(variable=series.name).isel(date=-1)) for v in (within, between))
            share = outside / (inside + outside) if inside + outside > 0 else 0.0
            last = f"; parameters account for {100 * share:.0f}% of the variance in {dates[-1]}"
            found.append(
                f"{series.label} ({series.units}): {', '.join(parts)}" + (last if len(self.draws.draw) > 1 else "")
            )
        return "\n".join(found)


@dataclass(frozen=True)
class ForecastOutput:
    """Forecasts of the reported series.

    Attributes
    ----------
    scene : Scene
    quarters : int
        Ahead; at most as many as the linear forms have covariances for.
    """

    reads_data: ClassVar[bool] = True
    scene: Scene
    quarters: int

    def __post_init__(self) -> None:
        if self.quarters < 1:
            raise ConfigError(f"a forecast is of one quarter or more, not {self.quarters}")

    def kernel(self, form: LinearForm, stacked: Stacked) -> Mapping[str, jax.Array]:
        """Means and variances (quarters, n_x)."""
        mean, covariance = forecast_moments(self.scene, form, stacked, self.quarters)
        variance = jnp.diagonal(covariance, axis1=1, axis2=2).T
        # the first date of the observables once more, from the innovations
        sample, n = self.scene.sample, self.scene.sample.dates
        total = form.covariances.sum(0)
        ahead = sample.with_dates(total, np.array([n]))[0, : sample.values.shape[1]]
        loadings = jax.scipy.linalg.solve_triangular(stacked.factor, ahead.T, lower=True).T
        return {
            "value": mean,
            "value_variance": variance,
            "first_mean": ahead @ sample.entries(stacked.weights),
            "first_mean_again": loadings @ stacked.innovations,
        }

    def result(self, arrays: Mapping[str, Array]) -> Forecast:
        """As a result."""
        about, n = self.scene.about, self.scene.sample.dates
        dims = ("draw", "date", "variable")
        data = self.scene.data()
        for j, s in enumerate(about.series):
            if s.cumulated:  # from the last quarter on
                seen = np.flatnonzero(~np.isnan(data[:, j]))
                data[:, j] -= data[seen[-1], j] if seen.size else 0.0
        draws = xr.Dataset(
            {
                "value": (dims, arrays["value"]),
                "value_variance": (dims, arrays["value_variance"]),
                "first_mean": (("draw", "observable"), arrays["first_mean"]),
                "first_mean_again": (("draw", "observable"), arrays["first_mean_again"]),
                "data": (("sample", "variable"), data),
            },
            {
                "date": about.quarters(n, n + self.quarters),
                "variable": about.names,
                "sample": list(about.dates),
            },
            {"units": "; ".join(f"{s.name}: {s.units}" for s in about.series)},
        )
        return Forecast(about, draws)


def forecast_moments(scene: Scene, form: LinearForm, stacked: Stacked, quarters: int) -> tuple[jax.Array, jax.Array]:
    """Means (quarters, n_x) and, for each series, covariances over dates (n_x, quarters, quarters), given the data.

    In the units that are reported, with means; of observables with their measurement errors, those of the sample's end
    included where a series adds up several quarters.
    """
    sample, at, n = scene.sample, scene.positions, scene.sample.dates
    dates = np.arange(n, n + quarters)
    total = form.covariances.sum(0)
    with_data = sample.with_dates(total, dates)[:, at]
    noise, filters = scene.error_variances(form), scene.filters
    length = filters.shape[1]
    gap_to = dates[:, None] - sample.date[None, :]
    reach = np.pad(filters, ((0, 0), (0, 1)))[:, np.minimum(gap_to, length)]  # (n_x, quarters, N)
    own = scene.columns[:, None] == sample.column[None, :]
    with_data = with_data + (reach * own[:, None, :] * noise[:, None, None]).transpose(1, 0, 2)
    mean = with_data @ sample.entries(stacked.weights) + scene.mean(form)
    lag = np.abs(dates[:, None] - dates[None, :])
    whole = total[lag][:, :, at, at].transpose(2, 0, 1)
    overlap = np.zeros((len(at), quarters))
    for k in range(min(length, quarters)):
        overlap[:, k] = (filters[:, k:] * filters[:, : length - k]).sum(1)
    whole = whole + overlap[:, lag] * noise[:, None, None]
    flat = with_data.reshape(-1, len(sample.date)).T
    loadings = jax.scipy.linalg.solve_triangular(stacked.factor, flat, lower=True)
    loadings = loadings.reshape(-1, quarters, len(at))
    covariance = whole - jnp.einsum("ihx,igx->xhg", loadings, loadings)
    once = np.where(scene.cumulated[:, None, None], np.tril(np.ones((quarters, quarters))), np.eye(quarters))
    return jnp.einsum("xhg,gx->hx", once, mean), jnp.einsum("xhg,xgf,xef->xhe", once, covariance, once)
