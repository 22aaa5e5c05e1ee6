"""Units: what the data are declared in, what their size says, and what the model observes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from estimhank.data.yearly import Provenance, declared_weights
from estimhank.support.errors import DataError

Array = NDArray[np.float64]

#: Series of FRED that are quoted in percent a year.
ANNUAL_RATES = frozenset(
    (
        *("FEDFUNDS", "DFF", "EFFR", "SOFR", "MPRIME", "TB3MS", "TB6MS", "DTB3", "AAA", "BAA"),
        *("GS1", "GS2", "GS5", "GS10", "GS30", "DGS1", "DGS2", "DGS5", "DGS10", "DGS30"),
        *("ECBDFR", "IR3TIB01EZM156N", "IR3TIB01GBM156N", "IR3TIB01JPM156N"),
        *("A191RL1Q225SBEA", "A191RI1Q225SBEA"),  # growth of US output at an annual rate
    )
)

_PERIODS = {
    "quarter": re.compile(r"per quarter|a quarter|quarterly|/ ?q\b|quarter-on-quarter|\bqoq\b"),
    "year": re.compile(r"per (year|annum)|a year|annual|/ ?y\b|\bp\.? ?a\b"),
    "month": re.compile(r"per month|a month|monthly"),
}
_SIZES = {
    "percent": re.compile(r"percent|per cent|%"),
    "fraction": re.compile(r"fraction|decimal|natural unit"),
    "basis points": re.compile(r"basis point|\bbps?\b"),
}


class DataWarning(UserWarning):
    """Values that are probably not what their declaration says, but might be."""


class Declared(Protocol):
    """What the checks read of an observable of the data."""

    @property
    def name(self) -> str: ...
    @property
    def series(self) -> str: ...
    @property
    def transform(self) -> str: ...
    @property
    def scale(self) -> float: ...
    @property
    def unit(self) -> str: ...


class Observed(Protocol):
    """What the checks read of an observable of the model."""

    @property
    def name(self) -> str: ...
    @property
    def units(self) -> str: ...


class Data(Provenance, Protocol):
    """What the checks read of a data set."""

    @property
    def dates(self) -> tuple[str, ...]: ...
    @property
    def units(self) -> tuple[str, ...]: ...
    @property
    def values(self) -> Array: ...


def period_of(unit: str) -> str:
    """``"quarter"``, ``"year"`` or ``"month"`` if a unit is a rate per such a period, otherwise empty."""
    return _find(_PERIODS, unit)


def size_of(unit: str) -> str:
    """``"percent"``, ``"fraction"`` or ``"basis points"`` if a unit says so, otherwise empty."""
    return _find(_SIZES, unit)


def _find(patterns: dict[str, re.Pattern[str]], unit: str) -> str:
    return next((name for name, pattern in patterns.items() if pattern.search(unit.lower())), "")


def check_units(data: Data, observed: Iterable[Observed]) -> None:
    """Compare the units of the data with those of the model's observables of the same names, and with the values.

    Compared is what units say: rates per quarter with rates per year, percent with fractions. And a log difference in
    percent is 100 times one of logs, neither one times it nor, in a quarterly model, 400 times.

    Raises
    ------
    DataError
        If they differ, with what to change.
    """
    wanted = {o.name: o.units for o in observed}
    added_up = {name for name, weights in declared_weights(data).items() if sum(weights) > 1}
    for j, (name, unit) in enumerate(zip(data.names, data.units, strict=True)):
        if name in wanted:
            _compare_units(name, unit, wanted[name], name in added_up)
            _check_size(data, j)


def _compare_units(name: str, unit: str, model: str, added_up: bool) -> None:
    mine, theirs = period_of(unit), period_of(model)
    if added_up and theirs == "quarter":
        if mine == "quarter":
            raise DataError(f"the observable {name} is a rate per year, which the unit '{unit}' does not say")
    elif mine and theirs and mine != theirs:
        words = "an annualised rate" if mine == "year" else f"a rate per {mine}"
        hint = _HINTS.get((mine, theirs), "")
        raise DataError(
            f"the observable {name} is {words} ({unit}), but the model observes a rate per {theirs} ({model}){hint}"
        )
    mine, theirs = size_of(unit), size_of(model)
    if mine and theirs and mine != theirs:
        raise DataError(
            f"the observable {name} is in {mine} ({unit}), but the model observes {theirs} ({model}): "
            "change scale and unit"
        )


_HINTS = {
    ("year", "quarter"): ": leave annualised out, or divide by four with scale, and declare the unit per quarter",
    ("quarter", "year"): ": set annualised = true, or leave an annual rate as it stands, and declare the unit per year",
}


def _check_size(data: Data, j: int) -> None:
    """Refuse a log difference in percent that is not multiplied by 100, or by 400 where the unit is per year."""
    listed, unit = data.provenance.get("observables"), data.units[j]
    entry = listed[j] if isinstance(listed, list | tuple) and len(listed) > j else {}
    if not isinstance(entry, Mapping) or size_of(unit) != "percent" or entry.get("transform") != "log_difference":
        return
    scale, largest = float(entry.get("scale", 100.0)), float(np.nanmax(np.abs(data.values[:, j])))
    series, annualised = entry.get("series"), bool(entry.get("annualised"))
    file = data.provenance.get("file", "the data")
    what = (
        f"{file}, {data.dates[0]} to {data.dates[-1]}, column {series}: the observable {data.names[j]} is "
        f"declared in {unit}, but"
    )
    if not entry.get("yearly") and period_of(unit) in ("quarter", "year"):
        right = 100.0 if period_of(unit) == "quarter" or annualised else 400.0
        times = f"{scale:g} times a log difference of quarters" + (", annualised," if annualised else "")
        if abs(scale) == 4 * right:
            kind = "an annualised rate" if right == 100 and not annualised else "a rate per quarter taken times 16"
            raise DataError(f"{what} {times} is {kind}: set scale = {right:g}")
        if abs(scale) == right / 4:
            kind = "a quarter of one" if right == 100 else "a rate per quarter"
            raise DataError(f"{what} {times} is {kind}: set scale = {right:g}")
    if abs(scale) <= 4 and largest < 0.5:
        raise DataError(
            f"{what} the log difference of {series} times {scale:g} is a fraction (at most {largest:.2g} here): set "
            "scale = 100"
        )


def check_rate(column: str, observable: Declared, series: Array) -> None:
    """Compare a series that is used as it stands with the declared unit.

    Parameters
    ----------
    column : str
        Words for the cell of the largest value, for messages.
    observable : Declared
    series : ndarray of shape (n,)
        The raw series, all quarters of it.

    Raises
    ------
    DataError
        If a series that is known to be quoted in percent a year is used as it is where percent per quarter is declared;
        if values that look like percent are multiplied as if they were fractions.

    Warns
    -----
    DataWarning
        If a rate that is declared in percent looks like a fraction.
    """
    scale = abs(observable.scale)
    if observable.transform != "level" or size_of(observable.unit) != "percent":
        return
    what = f"{column}: the observable {observable.name} is declared in {observable.unit}"
    if period_of(observable.unit) == "quarter" and observable.series in ANNUAL_RATES and scale > 0.5:
        raise DataError(
            f"{what}, but {observable.series} is quoted in percent a year, an annualised rate: set scale = 0.25"
        )
    if period_of(observable.unit) == "year" and observable.series in ANNUAL_RATES and scale == 0.25:
        raise DataError(
            f"{what}, but a quarter of {observable.series}, which is quoted in percent a year, is a rate per quarter: "
            "set scale = 1"
        )
    largest = float(np.nanmax(np.abs(series)))
    if period_of(observable.unit) == "quarter" and scale == 1 and 2 < float(np.nanmedian(np.abs(series))) < 25:
        warnings.warn(
            f"{what} and taken as it stands, up to the {largest:.3g} here, as if it were quoted in percent a year: if "
            "so, set scale = 0.25",
            DataWarning,
            stacklevel=2,
        )
    if scale >= 25 and float(np.nanmedian(np.abs(series))) > 1:
        raise DataError(
            f"{what} and multiplied by {scale:g} as if it were a fraction, but it is {largest:.3g} here, which looks "
            "like percent already: divide scale by 100"
        )
    if scale <= 4 and largest < 0.3:
        warnings.warn(
            f"{what}, but no value of the series exceeds the {largest:.3g} here, as if 5 percent were written 0.05: "
            "if so, multiply scale by 100",
            DataWarning,
            stacklevel=2,
        )
