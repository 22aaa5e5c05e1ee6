"""Variance decompositions: which shock accounts for how much of a series, by horizon and at business cycles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from estimhank.economics.linear_form import LinearForm, moving_average, transfer
from estimhank.economics.output import Scene
from estimhank.economics.result import Result, gap
from estimhank.economics.stacked_sample import Stacked

Array = NDArray[np.float64]

#: Dates of forecast errors; 1 is the impact.
HORIZONS = (1, 4, 8, 20, 40)

#: Periods of business cycles, in quarters, and frequencies at which spectra are added up over them.
PERIODS, _NODES = (6, 32), 64

#: The columns after :data:`HORIZONS`, and the source beside the shocks.
INFINITY, CYCLE, ERROR = "infinity", "business cycle", "measurement error"


class VarianceDecomposition(Result):
    """Variances (draw, horizon, variable, source), their shares and standard deviations.

    Sources are the shocks and measurement error. ``share`` is ``nan`` where a series has no variance of that kind.
    """

    name = "variance_decomposition"
    shown = ("share", "sd")
    along = "horizon"

    def identities(self) -> dict[str, float]:
        """Shares sum to one; variances rise with the horizon, up to what they are in the likelihood."""
        shares = self.draws.share.sum("source", skipna=False).values
        total = self.draws.variance.sum("source", skipna=False)
        finite = total.isel(horizon=slice(0, len(HORIZONS))).values
        falls = np.maximum(-np.diff(finite, axis=1), 0) / np.maximum(finite[:, 1:], 1e-300)
        whole, known = total.sel(horizon=INFINITY).values, self.draws.variance_known.values
        over = np.maximum(finite[:, -1] - np.where(np.isnan(whole), np.inf, whole), 0) / np.maximum(
            finite[:, -1], 1e-300
        )
        return {
            "that shares sum to one": gap(np.where(np.isnan(shares), 1.0, shares), 1.0),
            "that the variance of forecast errors does not fall with the horizon": float(falls.max()),
            "that the variance of all horizons is at least that of the longest": float(over.max()),
            "that the shocks add up to the likelihood's variance": gap(whole, known),
        }

    def summary(self) -> str:
        """Of each series what accounts for most of it, at four quarters and at business cycles."""
        found = [self.heading]
        for series in self.about.series:
            parts = []
            for horizon, words in (("4", "four quarters ahead"), (CYCLE, "at business cycles")):
                at = self.dataset.share.sel(variable=series.name, horizon=horizon)
                middle = at.sel(quantile=0.5).values
                if np.isnan(middle).all():
                    continue
                most = int(np.nanargmax(middle))
                source = str(at.source.values[most])
                parts.append(f"{words} {self.about.label(source)} {self._interval(100 * at.isel(source=most), 0)}%")
            found.append(f"{series.label}: most of the variance comes, " + "; ".join(parts))
        return "\n".join(found)

    def grouped(self) -> xr.DataArray:
        """Shares of groups of shocks (draw, horizon, variable, group), measurement error last."""
        parts = [self.draws.share.sel(source=list(names)).sum("source", skipna=False)
                 for names in self.about.groups.values()]  # fmt: skip
        parts.append(self.draws.share.sel(source=ERROR, drop=True))
        found: xr.DataArray = xr.concat(parts, "group").assign_coords(group=[*self.about.groups, ERROR])
        found = found.transpose("draw", "horizon", "variable", "group")
        return found


@dataclass(frozen=True)
class VarianceOutput:
    """Variance decompositions of the reported series."""

    reads_data: ClassVar[bool] = False
    scene: Scene

    def kernel(self, form: LinearForm, stacked: Stacked) -> Mapping[str, jax.Array]:
        """Variances (horizons, n_x, n_z + 1) and those of the series as the likelihood has them."""
        at, scene = self.scene.positions, self.scene
        path = scene.add_up(moving_average(form, max(HORIZONS))[:, at], 0, 1)
        ahead = jnp.cumsum(path**2, axis=0)[np.array(HORIZONS) - 1]
        once = scene.cumulated[:, None]
        whole = jnp.where(once, jnp.nan, form.covariances[:, 0, at, at].T)
        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        low, high = 2 * np.pi / PERIODS[1], 2 * np.pi / PERIODS[0]
        w = (high - low) / 2 * nodes + (high + low) / 2
        weights = weights * (high - low) / 2 / np.pi
        turn = np.exp(-1j * w)
        added = np.where(once[None], 1 / np.abs(1 - turn[:, None, None]) ** 2, 1.0)  # of sums over dates
        cycle = jnp.einsum("w,wxz->xz", weights, jnp.abs(transfer(form, w)[:, at]) ** 2 * added)
        by_shock = jnp.concatenate([ahead, whole[None], cycle[None]])
        # measurement error, filtered as the series is
        filters, noise = scene.filters, scene.error_variances(form)
        padded = np.pad(filters, ((0, 0), (0, max(0, max(HORIZONS) - filters.shape[1]))))
        padded = np.where(once, np.cumsum(padded, 1), padded)
        squares = np.cumsum(padded**2, 1)
        gain = np.abs(filters @ turn[None, :] ** np.arange(filters.shape[1])[:, None]) ** 2 * added[:, :, 0].T
        errors = [squares[:, h - 1] for h in HORIZONS]
        errors += [np.where(once[:, 0], np.nan, squares[:, -1]), gain @ weights]
        by_error = jnp.stack(errors) * noise
        known = form.covariances.sum(0)[0, at, at] + np.where(once[:, 0], np.nan, squares[:, -1]) * noise
        return {"variance": jnp.concatenate([by_shock, by_error[..., None]], axis=2), "variance_known": known}

    def result(self, arrays: Mapping[str, Array]) -> VarianceDecomposition:
        """As a result."""
        about, variance = self.scene.about, arrays["variance"]
        total = variance.sum(3)
        dims = ("draw", "horizon", "variable", "source")
        draws = xr.Dataset(
            {
                "variance": (dims, variance),
                "share": (dims, variance / np.where(total > 0, total, np.nan)[..., None]),
                "sd": (dims[:3], np.sqrt(total)),
                "variance_known": (("draw", "variable"), arrays["variance_known"]),
            },
            {
                "horizon": [*map(str, HORIZONS), INFINITY, CYCLE],
                "variable": about.names,
                "source": [*about.shocks, ERROR],
            },
            {"business_cycle": f"periods of {PERIODS[0]} to {PERIODS[1]} quarters"},
        )
        return VarianceDecomposition(about, draws)
