"""What the data say of shocks, of variables, and of each other: smoothed, filtered, by weight of data.

With a = V^{-1} (y - d) and C the covariance of a series with the data::

    E[e_t | y] = sum_{s >= t} M[s-t]' a_s        for t in the sample and before it
    E[x_t | y] = mean + C a,    Var = Var(x) - C V^{-1} C',    dE[x_t | y] / dy = C V^{-1}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.fft import next_fast_len

from estimhank.economics.linear_form import LinearForm, moving_average
from estimhank.economics.output import Scene
from estimhank.economics.result import Result, gap
from estimhank.economics.stacked_sample import Stacked, StackedSample

Array = NDArray[np.float64]

#: Dates before the sample whose shocks are shown.
BEFORE = 40

#: Spans of dates that variances are computed for at a time.
_BLOCKS = 8

#: By how much two ways to a shock's variance, which is between zero and one, may differ for the quick one to be taken.
_AGREE = 1e-10


def smoothed_shocks(
    path: Float[jax.Array, "L n_o n_z"], weights: Float[jax.Array, "n n_o"], before: int
) -> Float[jax.Array, "dates n_z"]:
    """E[e_t | y] from the ``before``-th date before the sample on; coefficients of n + before dates at least."""
    n = len(weights)
    size = next_fast_len(len(path) + n, real=True)
    a, m = jnp.fft.rfft(weights, size, axis=0), jnp.fft.rfft(path, size, axis=0)
    found = jnp.fft.irfft(jnp.einsum("wo,woz->wz", a, jnp.conj(m)), size, axis=0)
    return jnp.concatenate([found[size - before :], found[:n]]) if before else found[:n]


def shock_variances(
    path: Float[jax.Array, "L n_o n_z"], stacked: Stacked, sample: StackedSample, before: int
) -> Float[jax.Array, "dates n_z"]:
    """Var(e_t | y), as :func:`smoothed_shocks`; quickly where no value is missing, if that agrees at some dates."""
    dates = np.arange(-before, sample.dates)

    def date_by_date() -> jax.Array:
        return jnp.concatenate([_variances_at(path, stacked, sample, some) for some in np.array_split(dates, _BLOCKS)])

    if len(sample.date) < sample.values.size:
        return date_by_date()
    quick = complete_shock_variances(path, stacked, sample, before)
    # sums over later dates: what is lost to rounding is largest at the first
    probe = np.unique([-before, 0, sample.dates // 2])
    gap = jnp.abs(quick[probe + before] - _variances_at(path, stacked, sample, probe)).max()
    found: jax.Array = jax.lax.cond(gap <= _AGREE, lambda: quick, date_by_date)
    return found


def _variances_at(
    path: Float[jax.Array, "L n_o n_z"], stacked: Stacked, sample: StackedSample, dates: NDArray[np.int_]
) -> Float[jax.Array, "dates n_z"]:
    """Var(e_t | y) at some dates: 1 - |L^{-1} M_t|^2."""
    # what was observed before a shock says nothing of it: the factor's rows from there on are enough
    first = int(np.searchsorted(sample.date, dates[0]))
    if first == len(sample.date):  # nothing is observed any more
        return jnp.ones((len(dates), path.shape[2]))
    lag = sample.date[first:, None] - dates[None, :]
    with_data = jnp.where((lag >= 0)[..., None], path[np.maximum(lag, 0), sample.column[first:, None]], 0.0)
    flat = with_data.reshape(len(lag), -1)
    scaled = jax.scipy.linalg.solve_triangular(stacked.factor[first:, first:], flat, lower=True)
    return 1 - (scaled**2).sum(0).reshape(len(dates), -1)


def complete_shock_variances(
    path: Float[jax.Array, "L n_o n_z"], stacked: Stacked, sample: StackedSample, before: int
) -> Float[jax.Array, "dates n_z"]:
    """Var(e_t | y), of a sample without missing values, at the dates of :func:`smoothed_shocks`.

    Its covariance V is block Toeplitz, so that moving all dates by one changes W = V^{-1} by little: with F and E its
    first and last block columns, Z the shift by a date, and a and d their corners ``F_0`` and ``E_n`` (Kailath, Kung
    and Morf 1979)::

        W - Z' W Z = E d^{-1} E' - (Z'F) a^{-1} (Z'F)'

    The responses M_t of the data to e_t are those to e_{t-1} a date later, ``M_{t+1} = Z M_t`` with responses of the
    first date on top if t + 1 <= 0. So what the data say of one shock follows from what they say of the next::

        M_t' W M_t = M_{t+1}' W M_{t+1} + |E' M_t|^2_{1/d} - |(Z'F)' M_t|^2_{1/a}     less, for t < 0, with m = M[-t-1],
                     2 m' (Z'F)' M_t + m' a m

    in O(N log N) operations once F and E are known, and ``M_n = 0``.
    """
    n, n_o = sample.values.shape
    ends = jnp.eye(n * n_o)[:, np.r_[:n_o, (n - 1) * n_o : n * n_o]]
    half = jax.scipy.linalg.solve_triangular(stacked.factor, ends, lower=True)
    columns = jax.scipy.linalg.solve_triangular(stacked.factor, half, lower=True, trans=1)
    first, last = columns[:, :n_o].reshape(n, n_o, n_o), columns[:, n_o:].reshape(n, n_o, n_o)
    moved = jnp.concatenate([first[1:], jnp.zeros((1, n_o, n_o))])

    def seen(columns: jax.Array) -> jax.Array:
        """Of each column what :func:`smoothed_shocks` makes of it, (n_o, dates, n_z)."""
        return jnp.stack([smoothed_shocks(path, columns[:, :, k], before) for k in range(n_o)])

    of_last, of_first = seen(last), seen(moved)
    change = (of_last * jnp.einsum("kl,ldz->kdz", jnp.linalg.inv(last[-1]), of_last)).sum(0)
    change = change - (of_first * jnp.einsum("kl,ldz->kdz", jnp.linalg.inv(first[0]), of_first)).sum(0)
    if before:
        top = path[:before][::-1]
        extra = 2 * jnp.einsum("dkz,kdz->dz", top, of_first[:, :before])
        extra = extra + jnp.einsum("dkz,kl,dlz->dz", top, first[0], top)
        change = change.at[:before].add(-extra)
    return 1 - jnp.cumsum(change[::-1], axis=0)[::-1]


class SmoothedShocks(Result):
    """Shocks given all data (draw, date, shock), in standard deviations, and their variances.

    Dates begin :data:`BEFORE` quarters before the sample: shocks from then on are where the economy began.
    """

    name = "smoothed_shocks"
    shown = ("smoothed",)
    along = "date"

    def identities(self) -> dict[str, float]:
        """Variances are between zero and one; signal, mean and measurement error are the data."""
        variance = self.draws.smoothed_variance.values
        outside = max(float(-variance.min()), float(variance.max()) - 1.0, 0.0)
        found = {"that variances given the data are between zero and one": outside * 1e-2}
        return found | {"that smoothed series and measurement errors add up to the data": self._to_data()}

    def _to_data(self) -> float:
        rebuilt, data = self.draws.rebuilt.values, np.broadcast_to(self.draws.data.values, self.draws.rebuilt.shape)
        return gap(np.where(np.isnan(data), np.nan, rebuilt), data)

    def summary(self) -> str:
        """The largest shocks, by date."""
        middle = self.dataset.smoothed.sel(quantile=0.5)
        found = [f"{self.about.words}; standard deviations"]
        for shock in self.about.shocks:
            path = middle.sel(shock=shock)
            order = np.argsort(-np.abs(path.values))[:3]
            dates = ", ".join(f"{path.date.values[i]!s} {float(path[i]):+.1f}" for i in order)
            found.append(f"{self.about.label(shock)}: largest in {dates}")
        return "\n".join(found)


class SmoothedSeries(Result):
    """Series given all data (draw, date, variable): what is not observed, or with error, or at some dates."""

    name = "smoothed_series"
    shown = ("value",)
    along = "date"

    def identities(self) -> dict[str, float]:
        """Variances are not negative; signal and measurement error are the data."""
        variance, whole = self.draws.value_variance.values, self.draws.variance.values
        below = np.maximum(-variance / whole[:, None], 0).max()
        data = np.broadcast_to(self.draws.data.values, self.draws.rebuilt.shape)
        rebuilt = np.where(np.isnan(data), np.nan, self.draws.rebuilt.values)
        return {
            "that variances given the data are not negative": float(below) * 1e-2,
            "that smoothed series and measurement errors add up to the data": gap(rebuilt, data),
        }

    def summary(self) -> str:
        """How well the data tell each series."""
        found = [self.about.words]
        for series in self.about.series:
            at = self.draws.sel(variable=series.name)
            known = 1 - float((at.value_variance / at.variance).mean())
            found.append(f"{series.label}: the data account for {100 * known:.0f}% of its variance")
        return "\n".join(found)


@dataclass(frozen=True)
class ShockOutput:
    """Smoothed shocks."""

    reads_data: ClassVar[bool] = True
    scene: Scene
    before: int = BEFORE

    def kernel(self, form: LinearForm, stacked: Stacked) -> Mapping[str, jax.Array]:
        """Means and variances of shocks, and observables rebuilt from them."""
        sample = self.scene.sample
        n, n_o = sample.values.shape
        path = moving_average(form, n + self.before)[:, :n_o]
        signal = form.covariances[:, :n, :n_o, :n_o].sum(0)
        signals = sample.with_dates(signal, np.arange(n)) @ sample.entries(stacked.weights)
        return {
            "smoothed": smoothed_shocks(path, stacked.weights, self.before),
            "smoothed_variance": shock_variances(path, stacked, sample, self.before),
            "rebuilt": signals + form.mean[:n_o] + stacked.weights * form.errors,
        }

    def result(self, arrays: Mapping[str, Array]) -> SmoothedShocks:
        """As a result."""
        about, sample = self.scene.about, self.scene.sample
        n = sample.dates
        dims = ("draw", "date", "shock")
        draws = xr.Dataset(
            {
                "smoothed": (dims, arrays["smoothed"]),
                "smoothed_variance": (dims, arrays["smoothed_variance"]),
                "rebuilt": (("draw", "sample", "observable"), arrays["rebuilt"]),
                "data": (("sample", "observable"), sample.values),
            },
            {"date": about.quarters(-self.before, n), "shock": list(about.shocks)},
            {"units": "standard deviations", "sample_begins": about.dates[0]},
        )
        return SmoothedShocks(about, draws)


@dataclass(frozen=True)
class SeriesOutput:
    """Smoothed series."""

    reads_data: ClassVar[bool] = True
    scene: Scene

    def kernel(self, form: LinearForm, stacked: Stacked) -> Mapping[str, jax.Array]:
        """Means and variances, and the data rebuilt."""
        scene, sample = self.scene, self.scene.sample
        n = sample.dates
        total = form.covariances.sum(0)
        with_data = sample.with_dates(total, np.arange(n))[:, scene.positions]
        value = with_data @ sample.entries(stacked.weights) + scene.mean(form)
        flat = with_data.reshape(-1, len(sample.date)).T
        scaled = jax.scipy.linalg.solve_triangular(stacked.factor, flat, lower=True)
        whole = total[0, scene.positions, scene.positions]
        variance = whole - (scaled**2).sum(0).reshape(n, -1)
        rebuilt = value + scene.filtered_errors(form, stacked)
        return {"value": value, "value_variance": variance, "variance": whole, "rebuilt": rebuilt}

    def result(self, arrays: Mapping[str, Array]) -> SmoothedSeries:
        """As a result."""
        about = self.scene.about
        dims = ("draw", "date", "variable")
        # sums over dates have no variance of their own: they are shown as what they are the sums of
        plain = [s for s in about.series if s.cumulated]
        data = self.scene.data()
        for j, s in enumerate(about.series):
            if s in plain:
                data[1:, j] = np.diff(data[:, j])
        draws = xr.Dataset(
            {
                "value": (dims, arrays["value"]),
                "value_variance": (dims, arrays["value_variance"]),
                "variance": (("draw", "variable"), arrays["variance"]),
                "rebuilt": (dims, arrays["rebuilt"]),
                "data": (dims[1:], data),
            },
            {"date": list(about.dates), "variable": about.names},
            {"units": "; ".join(f"{s.name}: {s.units}" for s in about.series)},
        )
        return SmoothedSeries(about, draws)


class OneStep(Result):
    """Forecast errors one quarter ahead (draw, date, variable), their standard deviations, log scores by date."""

    name = "one_step"
    shown = ("error", "sd", "score")
    along = "date"

    def identities(self) -> dict[str, float]:
        """The scores add up to the log likelihood."""
        first = self.draws.attrs["condition_on"]
        found = self.draws.score.values[:, first:].sum(1)
        return {"that log scores add up to the log likelihood": gap(found, self.draws.log_likelihood.values)}

    def summary(self) -> str:
        """The dates that fit worst."""
        path = self.median.score
        order = np.argsort(path.values)[:5]
        dates = ", ".join(f"{path.date.values[i]!s} ({float(path[i]):.1f})" for i in order)
        return f"{self.about.words}\nlog score by date, lowest in {dates}; on average {float(path.mean()):.2f}"


@dataclass(frozen=True)
class OneStepOutput:
    """Filtered: what each date adds to those before it."""

    reads_data: ClassVar[bool] = True
    scene: Scene

    def kernel(self, form: LinearForm, stacked: Stacked) -> Mapping[str, jax.Array]:
        """Errors and standard deviations (n, n_o), scores (n,), and the log likelihood by the factor as a whole."""
        sample = self.scene.sample
        own = jnp.where(sample.date[:, None] == sample.date[None, :], stacked.factor, 0.0)
        seen = ~np.isnan(sample.values)
        error = jnp.where(seen, sample.spread(own @ stacked.innovations), jnp.nan)
        sd = jnp.where(seen, jnp.sqrt(sample.spread((own**2).sum(1))), jnp.nan)
        # by the formula for all dates at once, and that for the first ones
        deviations, first = sample.deviations(form), sample.date < sample.first
        covariance = sample.covariance(form)
        value = _log_density(covariance, deviations)
        k = int(first.sum())
        if k:
            value = value - _log_density(covariance[:k, :k], deviations[:k])
        return {"error": error, "sd": sd, "score": stacked.scores, "log_likelihood": value}

    def result(self, arrays: Mapping[str, Array]) -> OneStep:
        """As a result."""
        about, n_o = self.scene.about, self.scene.sample.values.shape[1]
        dims = ("draw", "date", "observable")
        names = [s.observable for s in about.series[:n_o]]
        draws = xr.Dataset(
            {
                "error": (dims, arrays["error"]),
                "sd": (dims, arrays["sd"]),
                "score": (dims[:2], arrays["score"]),
                "log_likelihood": ("draw", arrays["log_likelihood"]),
            },
            {"date": list(about.dates), "observable": names},
            {"condition_on": self.scene.sample.first, "units": "those of the data"},
        )
        return OneStep(about, draws)


def _log_density(covariance: jax.Array, deviations: jax.Array) -> jax.Array:
    """Of a normal vector, by a determinant and a solution of its own."""
    _, log_det = jnp.linalg.slogdet(covariance)
    quadratic = deviations @ jnp.linalg.solve(covariance, deviations)
    found: jax.Array = -0.5 * (log_det + quadratic + len(deviations) * np.log(2 * np.pi))
    return found
