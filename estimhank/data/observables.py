"""From raw series to observables: one declared transformation for each."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimhank.data.aggregation import AGGREGATES, AVERAGE
from estimhank.data.options import addition
from estimhank.data.quarters import format_quarter, parse_quarters
from estimhank.data.series_table import SeriesTable
from estimhank.data.units import DataWarning, check_rate, period_of
from estimhank.data.yearly import YEARLY, adds_up_quarters, has_one_a_year, year_ends
from estimhank.support.errors import DataError
from estimhank.support.names import TAKEN_OF_OBSERVABLES, why_not_a_name

Array = NDArray[np.float64]


PER_QUARTER, PER_YEAR = "percent per quarter", "percent per year"


@dataclass(frozen=True)
class Observable:
    """How one of the model's observables is made from a raw series.

    Attributes
    ----------
    name : str
        Name of the observable in the model.
    series : str
        Column of the raw data.
    transform : str
        One of :data:`TRANSFORMS`.
    scale : float
        Factor applied after the transformation, e.g. 100 for percent, 0.25 for an annual rate as a quarterly one.
    unit : str
        Unit after scaling, as tables and figures show it, compared with the model's: percent per quarter where nothing
        is said, percent per year for an annualised observable.
    label : str
        Words for tables and figures; the name where empty.
    demean : bool, "sample" or float
        What is taken off: the sample mean (``True`` or ``"sample"``), nothing (``False``), or a constant in the
        observable's unit.
    per_capita : str, optional
        Column of the raw data that the series is divided by before anything else.
    annualised : bool
        Whether the observable that comes out is at an annual rate. Differences are then multiplied by four; a level is
        taken to be at an annual rate as it stands.
    detrend : str
        ``"linear"`` takes a line through the sample off, around the sample's middle; or ``"none"``.
    aggregate : str, optional
        How a monthly series becomes quarterly: one of :data:`estimhank.data.aggregation.AGGREGATES`, the average by
        default.
    exclude : tuple of str
        Quarters (``"2020Q2"``) and spans (``"2009Q1 to 2015Q4"``) in which this observable counts as missing.
    yearly : str, optional
        For a series with one value a year, what it is of the year's quarters: ``"mean"``, ``"sum"`` or ``"last"``. A
        difference is then one from year to year. See :mod:`estimhank.data.yearly`.
    measurement_error : float or mapping, optional
        Standard deviation of the series' measurement error in the observable's unit, 0 for none; or its prior as plain
        values, ``{"family": "gamma", "mean": 0.1, "sd": 0.05}``, which makes it the estimated parameter
        ``me_<name>``. As the model declares it where nothing is said.
    allow_outliers : tuple of str
        Quarters and spans whose values are right although they lie far from all around them
        (:mod:`estimhank.data.outliers`).
    """

    name: str
    series: str
    transform: str
    scale: float = 1.0
    unit: str = ""
    label: str = ""
    demean: Any = True
    # keys that stand at these values are not part of a run's identity: see Config.canonical
    per_capita: str | None = addition(None)
    annualised: bool = addition(False)
    detrend: str = addition("none", choices=("none", "linear"))
    aggregate: str | None = addition(None)
    exclude: tuple[str, ...] = addition(())
    yearly: str | None = addition(None)
    measurement_error: Any = addition(None)  # noqa: RUF009 (a dataclass field, like those above)
    allow_outliers: tuple[str, ...] = addition(())

    def __post_init__(self) -> None:
        who = f"the observable {self.name}"
        if why := why_not_a_name(self.name, TAKEN_OF_OBSERVABLES):
            raise DataError(f"the name of the observable '{self.name}' {why}")
        if self.transform not in TRANSFORMS:
            raise DataError(f"{who} has the unknown transform '{self.transform}'; there are {', '.join(TRANSFORMS)}")
        if not np.isfinite(self.scale) or self.scale == 0:
            raise DataError(f"{who} has the scale {self.scale}; it must be finite and not zero")
        if self.detrend not in ("none", "linear"):
            raise DataError(f"{who} has the unknown detrend '{self.detrend}'; there are none, linear")
        if self.aggregate is not None and self.aggregate not in AGGREGATES:
            raise DataError(f"{who} has the unknown aggregate '{self.aggregate}'; there are {', '.join(AGGREGATES)}")
        if self.yearly is not None and self.yearly not in YEARLY:
            raise DataError(f"{who} has the unknown yearly '{self.yearly}'; there are {', '.join(YEARLY)}")
        if self.yearly is not None and (self.annualised or self.per_capita or self.aggregate):
            raise DataError(
                f"{who} is yearly: annualised, per_capita and aggregate are for quarterly and monthly series"
            )
        if self.demean == "sample":
            object.__setattr__(self, "demean", True)
        if not isinstance(self.demean, bool):
            if not isinstance(self.demean, int | float) or not np.isfinite(self.demean):
                raise DataError(f'{who} has demean = {self.demean!r}; it is true, "sample", false or a finite number')
            object.__setattr__(self, "demean", float(self.demean))
        if not self.unit:
            by_year = self.annualised or (self.yearly is not None and adds_up_quarters(self.transform, self.yearly))
            object.__setattr__(self, "unit", PER_YEAR if by_year else PER_QUARTER)
        if self.annualised and period_of(self.unit) == "quarter":
            raise DataError(
                f"{who} is at an annual rate (annualised = true), but its unit is '{self.unit}': give the unit "
                f"'{PER_YEAR}' for a model in those units, or leave annualised out"
            )
        object.__setattr__(self, "measurement_error", _error_of(who, self.measurement_error))
        for key in ("exclude", "allow_outliers"):
            for entry in getattr(self, key):
                try:
                    parse_quarters(entry)
                except ValueError as error:
                    raise DataError(f"{who}, {key}: {error}") from None


def _error_of(who: str, value: Any) -> float | dict[str, Any] | None:
    """A declared measurement error with its numbers as floats."""
    if value is None:
        return None
    if isinstance(value, Mapping) and isinstance(value.get("family"), str):
        try:
            return {key: entry if key == "family" else float(entry) for key, entry in value.items()}
        except (TypeError, ValueError):
            pass
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    raise DataError(
        f"{who} has measurement_error = {value!r}; it is a standard deviation in the observable's unit, not negative, "
        'or a prior like {family = "gamma", mean = 0.1, sd = 0.05}'
    )


@dataclass(frozen=True)
class _Transform:
    """A function of a series with ``lags`` quarters more than its result."""

    apply: Callable[[Array], Array]
    lags: int
    logarithm: bool


#: The transformations: ``level`` s_t, ``difference`` s_t - s_{t-1}, ``log_level`` log s_t, ``log_difference``
#: log s_t - log s_{t-1}.
TRANSFORMS: dict[str, _Transform] = {
    "level": _Transform(lambda s: s, 0, False),
    "difference": _Transform(np.diff, 1, False),
    "log_level": _Transform(np.log, 0, True),
    "log_difference": _Transform(lambda s: np.diff(np.log(s)), 1, True),
}

#: Observables of the default model: percent per quarter, demeaned.
US_OBSERVABLES: tuple[Observable, ...] = (
    Observable("growth", "GDPC1", "log_difference", 100.0, label="GDP growth"),
    Observable("inflation", "GDPDEF", "log_difference", 100.0, label="GDP deflator inflation"),
    Observable("rate", "FEDFUNDS", "level", 0.25, label="Federal funds rate"),
)


def lags_of(observable: Observable) -> int:
    """Quarters before the first one that the transformation needs; a yearly one takes what there is."""
    return 0 if observable.yearly else TRANSFORMS[observable.transform].lags


def series_of(observables: Sequence[Observable]) -> tuple[str, ...]:
    """The raw series that observables are made from, populations included, each once."""
    names = [name for o in observables for name in (o.series, o.per_capita) if name]
    return tuple(dict.fromkeys(names))


def rules_of(observables: Sequence[Observable]) -> dict[str, str]:
    """How each series becomes quarterly if it is monthly.

    Raises
    ------
    DataError
        If two observables want one series aggregated in different ways.
    """
    rules: dict[str, str] = {}
    for o in observables:
        # in a monthly table a yearly value stands in January or in December
        rule = o.aggregate or ("last" if o.yearly else AVERAGE)
        if rules.setdefault(o.series, rule) != rule:
            raise DataError(f"the series {o.series} is aggregated as {rules[o.series]} and as {rule}: choose one")
    return rules


def outside_sample(table: SeriesTable, start: int, end: int) -> str:
    """The sentence for a sample that the raw series do not cover."""
    return (
        f"the sample {format_quarter(start)} to {format_quarter(end)} reaches outside {table.where}, "
        f"which covers {format_quarter(table.first)} to {format_quarter(table.last)}"
    )


def transform_series(table: SeriesTable, observable: Observable, start: int, end: int) -> Array:
    """One observable over the sample, neither detrended nor demeaned.

    Parameters
    ----------
    table : SeriesTable
        Raw series.
    observable : Observable
        The declared transformation.
    start, end : int
        Numbers of the first and the last quarter of the sample. A difference at the first one uses the quarter before.

    Returns
    -------
    ndarray of shape (end - start + 1,)
        In the observable's units; ``nan`` where a value that it needs is missing.

    Raises
    ------
    DataError
        If the sample reaches outside the data, a logarithm meets a value that is not positive, the result is empty or
        constant, or the values cannot be in the declared unit.
    """
    series = table.column(observable.series)
    if start < table.first or end > table.last:
        raise DataError(outside_sample(table, start, end))
    low, high = start - lags_of(observable) - table.first, end - table.first + 1
    make = _yearly_values if observable.yearly else _quarterly_values
    values = observable.scale * make(table, observable, start, end)
    seen = values[np.isfinite(values)]
    column = table.span(low, high - 1, observable.series)
    if seen.size == 0:
        raise DataError(
            f"{column}: no value in the sample (observable {observable.name}){_why_empty(table, observable)}"
        )
    if np.ptp(seen) <= 1e-12 * np.abs(seen).max():
        raise DataError(f"{column}: the observable {observable.name} is constant over the sample")
    if not observable.yearly and has_one_a_year(table, observable.series):
        warnings.warn(
            f"{column}: one value a year, taken for that of its quarter alone (observable {observable.name}): if it "
            'is one of the year, declare yearly = "mean", "sum" or "last"',
            DataWarning,
            stacklevel=2,
        )
    if np.isfinite(series).any():
        check_rate(table.place(int(np.nanargmax(np.abs(series))), observable.series), observable, series)
    return values


def _why_empty(table: SeriesTable, observable: Observable) -> str:
    """What may be behind an observable without values, as the end of a sentence."""
    for name in (observable.series, observable.per_capita):
        if name and not observable.yearly and has_one_a_year(table, name):
            return f"; {name} has one value a year" + (': declare yearly = "mean"' if name == observable.series else "")
    return ""


def _yearly_values(table: SeriesTable, observable: Observable, start: int, end: int) -> Array:
    rule = TRANSFORMS[observable.transform]
    values, rows = year_ends(table, observable.series)
    if rule.logarithm:
        bad = np.flatnonzero(values <= 0)
        if bad.size:
            place = table.place(int(rows[bad[0]]), observable.series)
            raise DataError(f"{place}: {values[bad[0]]:g} has no logarithm (observable {observable.name})")
        values = np.log(values)
    if rule.lags:
        before = np.concatenate([np.full(4, np.nan), values])[: len(values)]
        values = values - before
    return values[start - table.first : end - table.first + 1]


def _quarterly_values(table: SeriesTable, observable: Observable, start: int, end: int) -> Array:
    rule = TRANSFORMS[observable.transform]
    series = table.column(observable.series)
    if start - rule.lags < table.first:
        raise DataError(
            f"the {observable.transform} of {observable.series} in {format_quarter(start)} needs "
            f"{format_quarter(start - rule.lags)}, but {table.where} begins in {format_quarter(table.first)}: "
            f"start the sample in {format_quarter(table.first + rule.lags)}"
        )
    low, high = start - rule.lags - table.first, end - table.first + 1
    needed = series[low:high]
    if observable.per_capita:
        people = table.column(observable.per_capita)[low:high]
        _refuse(people <= 0, people, table, low, observable.per_capita, "is not a population", observable)
        needed = needed / people
    if rule.logarithm:
        _refuse(needed <= 0, series[low:high], table, low, observable.series, "has no logarithm", observable)
    return (4.0 if observable.annualised and rule.lags else 1.0) * rule.apply(needed)


def _refuse(
    bad: NDArray[np.bool_], values: Array, table: SeriesTable, low: int, name: str, what: str, observable: Observable
) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        place = table.place(low + row, name)
        raise DataError(f"{place}: {values[row]:g} {what} (observable {observable.name})")
