"""Why a forecast has changed between two vintages of data.

With the parameters held, from old data to new (Banbura and Modugno 2014)::

    E[x | new] - E[x | old] =   W (revised - old values)            at unchanged availability
                              + B I,  B = Cov(x, I) Var(I)^{-1}     I: innovations of the added data

and each datum has its share of both. What is left to the whole change is that of the parameters, where the model has
been estimated again: the three add up.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from estimhank.data.dataset import Dataset
from estimhank.data.quarters import parse_quarter
from estimhank.economics.each_draw import at_each_draw
from estimhank.economics.future import covariance_with_data
from estimhank.economics.linear_form import LinearForm
from estimhank.economics.result import Result, gap
from estimhank.economics.stacked_sample import StackedSample
from estimhank.economics.study import Study
from estimhank.support.errors import DataError

Array = NDArray[np.float64]

_ROUNDING = 1e-9  # change of a value that is no revision: means that were taken off are put back


class News(Result):
    """Changes (draw, date, variable) of what is known of the series, and the parts by datum.

    ``revision`` by observable (draw, date, variable, observable), ``news`` by added datum (draw, date, variable,
    datum), ``old``, ``new``; ``re_estimation`` (date, variable) is a difference of means over draws.
    """

    name = "news"
    shown = ("old", "new", "revision", "news")
    along = "date"

    def identities(self) -> dict[str, float]:
        """The parts add up."""
        draws = self.draws
        parts = draws.revision.sum("observable") + draws.news.sum("datum")
        found = {"that revisions and news add up to the change": gap((draws.old + parts).values, draws.new.values)}
        if "re_estimated" in draws:
            total = draws.old.mean("draw") + parts.mean("draw") + draws.re_estimation
            found["that the three parts add up"] = gap(total.values, draws.re_estimated.values)
        return found

    def summary(self) -> str:
        """The change of each series at the last date, by part and datum."""
        data, draws = self.dataset, self.draws
        found = [f"{draws.attrs['words']}; {self.about.words}"]
        for series in self.about.series:
            for date in draws.attrs["spoken"]:
                at = data.sel(variable=series.name, date=date)
                news = draws.news.sel(variable=series.name, date=date).median("draw")
                order = np.argsort(-np.abs(news.values))[:3]
                largest = ", ".join(f"{news.datum.values[i]!s} {float(news[i]):+.2f}" for i in order)
                revised = float(draws.revision.sel(variable=series.name, date=date).sum("observable").median("draw"))
                words = (
                    f"{series.label} in {date} ({series.units}): {self._interval(at.old)} before, "
                    f"{self._interval(at.new)} now; revisions {revised:+.2f}, news {float(news.sum()):+.2f}"
                )
                words += f" ({largest})" if news.size else ""
                if "re_estimation" in draws:
                    words += f", re-estimation {float(draws.re_estimation.sel(variable=series.name, date=date)):+.2f}"
                found.append(words)
        return "\n".join(found)


class _Vintages(NamedTuple):
    """Two vintages at the same dates: entries in the old, in both, in the new one."""

    old: StackedSample
    both: StackedSample
    new: StackedSample


def news(study: Study, data: Dataset, quarters: int = 8, again: Study | None = None) -> News:
    """What new data say beside those of a study.

    Parameters
    ----------
    study : Study
        Of the old data.
    data : Dataset
        The new: the same observables, from the same first date on.
    quarters : int
        Beyond the end of the new data.
    again : Study, optional
        Of the same model estimated on the new data.

    Raises
    ------
    DataError
        Data that are not comparable.
    EstimhankError
        There is no solution at a draw.
    """
    for one in (study, again):
        _ = one and one.lasting  # found with numbers, before a compilation puts tracers in their place
    old = study.draws.posterior.data
    vintages = _vintages(old, data, study.forms.lags)
    first, last = len(old.dates) - 4, len(data.dates) + quarters
    if last > study.forms.lags:
        raise DataError(f"the new data and {quarters} quarters reach beyond what the study was made for")
    dates = np.arange(max(first, 0), last)
    compiled = jax.jit(_compute(study, vintages, dates))
    arrays, _ = at_each_draw(
        study.draws, study.forms.at, lambda form: _parts(jax.tree.map(np.asarray, compiled(form)), vintages)
    )
    later = None
    if again is not None:
        mine = _vintages(old, again.draws.posterior.data, again.forms.lags).new
        theirs = jax.jit(lambda form: _expected(again, mine, form, dates)[0])
        found, _ = at_each_draw(again.draws, again.forms.at, lambda form: {"new": np.asarray(theirs(form))})
        later = found["new"].mean(axis=0)
    return News(study.lasting.about, _dataset(arrays, later, study, data, vintages, dates))


def _vintages(old: Dataset, new: Dataset, lags: int) -> _Vintages:
    if old.names != new.names or old.units != new.units:
        raise DataError(
            f"the new data hold {', '.join(new.names)}, the old ones {', '.join(old.names)}: the same is needed"
        )
    begin = [parse_quarter(d.dates[0]) for d in (old, new)]
    if begin[0] != begin[1]:
        raise DataError(
            f"the new data begin in {new.dates[0]}, the old ones in {old.dates[0]}: they must begin together"
        )
    if len(new.dates) < len(old.dates):
        raise DataError(f"the new data end in {new.dates[-1]}, before the old ones, in {old.dates[-1]}")
    before = np.full(np.shape(new.values), np.nan)
    before[: len(old.dates)] = old.values
    now = np.asarray(new.values) + new.means - old.means  # deviations from what the old ones had taken off
    both = np.where(np.isnan(before), np.nan, now)
    return _Vintages(*(_Values(values) for values in (before, both, now)))


class _Values(StackedSample):
    """A sample of values that have no data set of their own."""

    def __init__(self, values: Array) -> None:
        self.values, self.first = values, 0
        self.date, self.column = np.nonzero(~np.isnan(values))


def _expected(
    study: Study, sample: StackedSample, form: LinearForm, dates: NDArray[np.int_]
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """E[x | sample] (dates, n_x), covariance with the data, factor and weights."""
    stacked = sample.stack(form)
    with_data = covariance_with_data(study.lasting, sample, form, dates)
    mean = with_data @ sample.entries(stacked.weights) + study.lasting.mean(form)
    return study.lasting.add_up(mean, 0, 1), with_data, stacked.factor, sample.deviations(form)


def _compute(study: Study, vintages: _Vintages, dates: NDArray[np.int_]) -> Any:
    """What vintages say at one draw, and what their parts follow from."""

    def compute(form: LinearForm) -> dict[str, jax.Array]:
        old, *_ = _expected(study, vintages.old, form, dates)
        revised, with_both, factor, mine = _expected(study, vintages.both, form, dates)
        new, with_new, _, _ = _expected(study, vintages.new, form, dates)
        weights = jax.scipy.linalg.cho_solve((factor, True), with_both.reshape(-1, with_both.shape[2]).T).T
        # innovations of the added entries, given those in both
        covariance = vintages.new.covariance(form)
        common, added = _split(vintages)
        half = jax.scipy.linalg.solve_triangular(factor, covariance[np.ix_(common, added)], lower=True)
        left = covariance[np.ix_(added, added)] - half.T @ half
        expected = half.T @ jax.scipy.linalg.solve_triangular(factor, mine, lower=True)
        innovations = vintages.new.deviations(form)[added] - expected
        flat = with_new.reshape(-1, with_new.shape[2])
        loaded = jax.scipy.linalg.solve_triangular(factor, flat[:, common].T, lower=True)
        gain = jnp.linalg.solve(left, (flat[:, added] - loaded.T @ half).T).T
        shape = (len(dates), len(study.lasting.series), -1)
        return {
            "old": old, "revised": revised, "new": new,
            "weights": study.lasting.add_up(weights.reshape(shape), 0, 1),
            "gain": study.lasting.add_up(gain.reshape(shape), 0, 1), "innovations": innovations,
        }  # fmt: skip

    return compute


def _split(vintages: _Vintages) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Positions in the new vintage of the entries that the old one has too, and of the added ones."""
    known = ~np.isnan(vintages.both.values)[vintages.new.date, vintages.new.column]
    return np.flatnonzero(known), np.flatnonzero(~known)


def _parts(found: dict[str, Array], vintages: _Vintages) -> dict[str, Array]:
    """Revisions by observable; news by datum. An old value that the new vintage withdraws is a revision of its own."""
    both, n_o = vintages.both, vintages.old.values.shape[1]
    change = both.values - vintages.old.values
    by_datum = found["weights"] * change[both.date, both.column]
    revision = np.stack([by_datum[..., both.column == j].sum(-1) for j in range(n_o)], axis=-1)
    withdrawn = found["revised"] - found["old"] - revision.sum(-1)
    gone = (~np.isnan(vintages.old.values) & np.isnan(both.values)).sum(0)
    if gone.any():
        revision = revision + withdrawn[..., None] * (gone / gone.sum())
    return {
        "old": found["old"], "new": found["new"], "revision": revision,
        "news": found["gain"] * found["innovations"], "innovation": found["innovations"],
    }  # fmt: skip


def _dataset(
    arrays: dict[str, Array],
    later: Array | None,
    study: Study,
    data: Dataset,
    vintages: _Vintages,
    dates: NDArray[np.int_],
) -> xr.Dataset:
    about = study.lasting.about
    _, added = _split(vintages)
    quarters = about.quarters(0, int(dates[-1]) + 1)
    datum = [f"{data.names[vintages.new.column[i]]} {quarters[vintages.new.date[i]]}" for i in added]
    dims = ("draw", "date", "variable")
    n, old_n = len(data.dates), len(study.draws.posterior.data.dates)
    both = vintages.both
    before, now = (v.values[both.date, both.column] for v in (vintages.old, both))
    changed = int((np.abs(now - before) > _ROUNDING * np.maximum(np.abs(before), 1.0)).sum())
    found = xr.Dataset(
        {
            "old": (dims, arrays["old"]),
            "new": (dims, arrays["new"]),
            "revision": ((*dims, "observable"), arrays["revision"]),
            "news": ((*dims, "datum"), arrays["news"]),
            "innovation": (("draw", "datum"), arrays["innovation"]),
        },
        {
            "date": [quarters[i] for i in dates],
            "variable": about.names,
            "observable": list(data.names),
            "datum": datum,
        },
        {
            "words": f"from data to {about.dates[-1]} to data to {data.dates[-1]}: {len(added)} values added, "
            f"{changed} revised",
            "spoken": [quarters[i] for i in sorted({old_n, min(n, int(dates[-1]))}) if i <= dates[-1]],
            "units": "; ".join(f"{s.name}: {s.units}" for s in about.series),
        },
    )
    if later is not None:
        found["re_estimated"] = (dims[1:], later)
        found["re_estimation"] = found.re_estimated - found.new.mean("draw")
    return found
