"""Historical decompositions: what each shock has contributed to a series at each date.

The part of shock k in E[x_t | y] is the sum over its infinite past, by its part C_k of the covariance with the data::

    sum_j N[j][:, k] E[e_{t-j,k} | y] = sum_s C_k[t-s] a_s

of which shocks since the sample's first date are ``sum_{j <= t}``; the rest came before. In the sequence space initial
conditions are shocks, so that what other methods show as one bar unfolds by shock. Nothing is cut off.
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
from scipy.fft import next_fast_len

from estimhank.economics.linear_form import LinearForm, moving_average
from estimhank.economics.output import Scene
from estimhank.economics.result import Result, gap
from estimhank.economics.smoothing import smoothed_shocks
from estimhank.economics.stacked_sample import Stacked

Array = NDArray[np.float64]

#: Whether a shock arrived since the sample's first date, or before.
SINCE, EARLIER = "in the sample", "before the sample"


class HistoricalDecomposition(Result):
    """Contributions (draw, date, variable, shock, arrived), with ``mean``, ``measurement_error`` and the ``data``."""

    name = "historical_decomposition"
    shown = ("contribution", "mean", "measurement_error")
    along = "date"

    def identities(self) -> dict[str, float]:
        """Contributions, mean and measurement error are the data."""
        added = self.draws.contribution.sum(("shock", "arrived"), skipna=False)
        total = (added + self.draws["mean"] + self.draws.measurement_error).values
        data = np.broadcast_to(self.draws.data.values, total.shape)
        smoothed = self.draws.smoothed.values
        return {
            "that contributions add up to the data": gap(np.where(np.isnan(data), np.nan, total), data),
            "that contributions add up to the smoothed series": gap((added + self.draws["mean"]).values, smoothed),
        }

    def grouped(self) -> xr.DataArray:
        """Contributions of groups of shocks (draw, date, variable, group, arrived)."""
        parts = [self.draws.contribution.sel(shock=list(names)).sum("shock") for names in self.about.groups.values()]
        found: xr.DataArray = xr.concat(parts, "group").assign_coords(group=list(self.about.groups))
        found = found.transpose("draw", "date", "variable", "group", "arrived")
        return found

    def summary(self) -> str:
        """Which groups moved each series most, over the whole sample."""
        middle = self.grouped().median("draw")
        found = [f"{self.about.words}; contributions to deviations from the mean"]
        for series in self.about.series:
            at = middle.sel(variable=series.name)
            size = abs(at.sum("arrived")).mean("date")
            order = np.argsort(-size.values)
            parts = [f"{self.about.label(str(size.group.values[i]))} {float(size[i]):.2f}" for i in order[:4]]
            early = abs(at.sel(arrived=EARLIER)).sum("group").values
            found.append(
                f"{series.label}, mean absolute contribution in {series.units}: {', '.join(parts)}; what came before "
                f"the sample moves it by {early[0]:.2f} in {self.about.dates[0]}, {early[-1]:.2f} in "
                f"{self.about.dates[-1]}"
            )
        return "\n".join(found)


@dataclass(frozen=True)
class HistoryOutput:
    """Historical decompositions of the reported series."""

    reads_data: ClassVar[bool] = True
    scene: Scene

    def kernel(self, form: LinearForm, stacked: Stacked) -> Mapping[str, jax.Array]:
        """Contributions (n, n_x, n_z, 2), means, measurement errors and smoothed series (n, n_x)."""
        scene, sample = self.scene, self.scene.sample
        n, n_o = sample.values.shape
        at = scene.positions
        behind = form.covariances[:, 1:n, :n_o][..., at].transpose(0, 1, 3, 2)[:, ::-1]  # Cov(x_t, y_{t+k})
        both = jnp.concatenate([behind, form.covariances[:, :n, at, :n_o]], axis=1)
        size = next_fast_len(3 * n, real=True)
        a, c = jnp.fft.rfft(stacked.weights, size, axis=0), jnp.fft.rfft(both, size, axis=1)
        whole = jnp.fft.irfft(jnp.einsum("zwxo,wo->wxz", c, a), size, axis=0)[n - 1 : 2 * n - 1]
        path = moving_average(form, n)
        shocks = smoothed_shocks(path[:, :n_o], stacked.weights, 0)
        e, m = jnp.fft.rfft(shocks, size, axis=0), jnp.fft.rfft(path[:, at], size, axis=0)
        inside = jnp.fft.irfft(m * e[:, None, :], size, axis=0)[:n]
        found = jnp.stack([inside, whole - inside], axis=-1)
        # by another formula: all shocks at once, entry by entry
        total = form.covariances.sum(0)
        smoothed = (sample.with_dates(total, np.arange(n)) @ sample.entries(stacked.weights))[:, at]
        mean = jnp.broadcast_to(scene.mean(form), (n, len(at)))
        return {
            "contribution": scene.add_up(found, 0, 1),
            "mean": scene.add_up(mean, 0, 1),
            "measurement_error": scene.add_up(scene.filtered_errors(form, stacked), 0, 1),
            "smoothed": scene.add_up(smoothed + mean, 0, 1),
        }

    def result(self, arrays: Mapping[str, Array]) -> HistoricalDecomposition:
        """As a result."""
        about = self.scene.about
        dims = ("draw", "date", "variable")
        draws = xr.Dataset(
            {
                "contribution": ((*dims, "shock", "arrived"), arrays["contribution"]),
                **{name: (dims, arrays[name]) for name in ("mean", "measurement_error", "smoothed")},
                "data": (dims[1:], self.scene.data()),
            },
            {
                "date": list(about.dates),
                "variable": about.names,
                "shock": list(about.shocks),
                "arrived": [SINCE, EARLIER],
            },
            {"units": "; ".join(f"{s.name}: {s.units}" for s in about.series)},
        )
        return HistoricalDecomposition(about, draws)
