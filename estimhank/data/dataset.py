"""The observables that a model is estimated on, and the file that holds them."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from estimhank.data.observables import TRANSFORMS, Observable, lags_of, outside_sample, transform_series
from estimhank.data.options import set_additions
from estimhank.data.outliers import check_outliers
from estimhank.data.quarters import first_days, format_quarter, parse_quarter, parse_quarters
from estimhank.data.series_table import SeriesTable
from estimhank.support.errors import DataError
from estimhank.support.files import read_text, sha256_of_array, to_json, write_text

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Observables over a sample.

    Attributes
    ----------
    dates : tuple of str, length n
        Quarters, ``"1966Q1"``, consecutive.
    names, units, labels : tuple of str, length n_o
        Name of each observable in the model, its unit, and words for figures.
    values : ndarray of shape (n, n_o)
        Observables less ``means``; ``nan`` where missing.
    means : ndarray of shape (n_o,)
        What was taken off: the sample mean of the quarters that are there, a constant, or zero. The slope of a linear
        trend, around the middle of the sample, is in ``provenance["trends"]``.
    provenance : mapping
        Source, file, vintage and SHA-256 of the raw data, and the transformations; under ``condition_on`` the number of
        quarters at the beginning that the likelihood is conditioned on.
    """

    dates: tuple[str, ...]
    names: tuple[str, ...]
    units: tuple[str, ...]
    labels: tuple[str, ...]
    values: Array
    means: Array
    provenance: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.dates), len(self.names))
        if self.values.shape != shape or self.means.shape != shape[1:]:
            raise ValueError(f"values {self.values.shape} and means {self.means.shape} do not fit {shape}")
        if self.condition_on and not 0 < self.condition_on < len(self.dates):
            raise DataError(
                f"condition_on is a number of quarters, from 0 to {len(self.dates) - 1}, not {self.condition_on}"
            )
        for array in (self.values, self.means):
            array.setflags(write=False)

    @property
    def sha256(self) -> str:
        """SHA-256 of the values (shape and little-endian float64), the data's part in a fingerprint."""
        return sha256_of_array(self.values)

    @property
    def condition_on(self) -> int:
        """Quarters at the beginning that say where the economy was, and are not counted in the likelihood."""
        given = self.provenance.get("condition_on", 0)
        return given if isinstance(given, int) else 0

    @property
    def demeaned(self) -> tuple[str, ...]:
        """Observables whose sample mean was taken off."""
        listed = self.provenance.get("observables")
        entries = [e for e in listed if isinstance(e, Mapping)] if isinstance(listed, list | tuple) else []
        return tuple(str(e["name"]) for e in entries if e.get("demean") is True)

    @property
    def first_days(self) -> NDArray[np.datetime64]:
        """First day of every quarter, shape (n,), for time axes."""
        return first_days(self.dates)

    def to_frame(self, demeaned: bool = True) -> pd.DataFrame:
        """The observables as a data frame with a quarterly index; ``demeaned=False`` adds the means back."""
        index = pd.PeriodIndex(list(self.dates), freq="Q", name="date")
        return pd.DataFrame(
            self.values if demeaned else self.values + self.means, index=index, columns=list(self.names)
        )


def make_dataset(
    table: SeriesTable,
    observables: Sequence[Observable],
    start: str,
    end: str,
    exclude: Sequence[str] = (),
    presample: int = 0,
    condition_on: int = 0,
) -> Dataset:
    """Transform raw series into the observables of a sample, take trends and means off.

    Parameters
    ----------
    table : SeriesTable
        Raw series.
    observables : sequence of Observable
        In the order of the dataset's columns.
    start, end : str
        First and last quarter of the sample, ``"1966Q1"``.
    exclude : sequence of str
        Quarters and spans (``"2020Q2"``, ``"2009Q1 to 2015Q4"``) in which every observable counts as missing; those
        outside the sample have no effect. An observable has its own besides.
    presample : int
        Quarters at the sample's start that serve differences alone: the dataset begins after them. Without any, a
        difference in the first quarter uses the one before ``start``.
    condition_on : int
        Quarters of the dataset, from its first on, that the likelihood is conditioned on.

    Raises
    ------
    DataError
        As :func:`estimhank.data.observables.transform_series` and :func:`estimhank.data.outliers.check_outliers`, and
        if the sample is empty or not in quarters.
    """
    first, last = _parse_bound(start, "start"), _parse_bound(end, "end")
    if not first < last:
        raise DataError(
            f"the sample starts in {format_quarter(first)} and ends in {format_quarter(last)}: nothing is in it"
        )
    if presample < 0 or first + presample >= last:
        raise DataError(f"a presample of {presample} quarters leaves nothing of {last - first + 1}")
    if not observables:
        raise DataError("no observables are declared")
    names = tuple(o.name for o in observables)
    if len(set(names)) < len(names):
        raise DataError(f"an observable is declared twice: {', '.join(names)}")
    if first < table.first:
        # without this a presample could begin before the data do
        raise DataError(outside_sample(table, first, last))
    first += presample
    raw = np.column_stack([transform_series(table, o, first, last) for o in observables])
    trends = {}
    for j, o in enumerate(observables):
        excluded = _excluded((*exclude, *o.exclude), first, last)
        rule = TRANSFORMS[o.transform]
        check_outliers(table, o, (first, last), raw[:, j], excluded, (lags_of(o), rule.logarithm))
        raw[excluded, j] = np.nan
        column = table.span(first - table.first, last - table.first, o.series)
        _check_left(column, o, raw[:, j])
        if o.detrend == "linear":
            raw[:, j], trends[o.name] = _without_trend(column, o, raw[:, j])
    means = np.where([o.demean is True for o in observables], np.nanmean(raw, axis=0), 0.0)
    means += [o.demean if isinstance(o.demean, float) else 0.0 for o in observables]
    provenance = {**table.provenance, "observables": [_describe(o) for o in observables]}
    if trends:
        provenance["trends"] = trends
    if condition_on:
        provenance["condition_on"] = condition_on
    return Dataset(
        tuple(format_quarter(number) for number in range(first, last + 1)),
        names,
        tuple(o.unit for o in observables),
        tuple(o.label or o.name for o in observables),
        raw - means,
        means,
        provenance,
    )


def _describe(observable: Observable) -> dict[str, object]:
    keys = ["name", "series", "transform", "scale", "demean"]
    keys += [key for key, is_set in set_additions(observable).items() if is_set]
    return {key: getattr(observable, key) for key in keys}


def declared_errors(dataset: Dataset) -> dict[str, Any]:
    """Measurement error as the data's observables declare it, by name: a standard deviation or a prior's plain values.

    It travels in the provenance, so that a ``data.csv`` says it too.
    """
    listed = dataset.provenance.get("observables")
    entries = [e for e in listed if isinstance(e, Mapping)] if isinstance(listed, list | tuple) else []
    return {str(e["name"]): e["measurement_error"] for e in entries if e.get("measurement_error") is not None}


def _excluded(entries: Sequence[str], first: int, last: int) -> list[int]:
    rows = []
    for entry in entries:
        try:
            quarters = parse_quarters(entry)
        except ValueError as error:
            raise DataError(f"exclude: {error}") from None
        rows += [quarter - first for quarter in quarters if first <= quarter <= last]
    return rows


def _check_left(column: str, observable: Observable, values: Array) -> None:
    seen = values[np.isfinite(values)]
    if seen.size < 2 or np.ptp(seen) <= 1e-12 * np.abs(seen).max():
        raise DataError(
            f"{column}: after the excluded quarters the observable {observable.name} has no two different values"
        )


def _without_trend(column: str, observable: Observable, values: Array) -> tuple[Array, float]:
    """Values less the slope of their least-squares line times the distance from the middle of what is seen."""
    seen = np.flatnonzero(np.isfinite(values))
    time = np.arange(len(values)) - seen.mean()
    slope = float(time[seen] @ values[seen] / (time[seen] @ time[seen]))
    flat = values - slope * time
    if np.ptp(flat[seen]) <= 1e-12 * np.abs(values[seen]).max():
        raise DataError(
            f"{column}: the observable {observable.name} is a straight line, so that nothing is left of it without its "
            "trend"
        )
    return flat, slope


def _parse_bound(text: str, which: str) -> int:
    try:
        return parse_quarter(text)
    except ValueError as error:
        raise DataError(f"the sample's {which} {error}") from None


_HEAD = "# observables less their means; an empty field is a missing value"


def write_dataset(path: Path | str, dataset: Dataset) -> Path:
    """Write ``data.csv``: comment lines with units, labels, means, digest and provenance, then one row a quarter.

    Numbers have the digits that give back the same float64. The file is written whole or not at all.
    """
    stream = io.StringIO()
    about = {
        "units": dataset.units,
        "labels": dataset.labels,
        "means": dataset.means,
        "sha256": dataset.sha256,
        "provenance": dataset.provenance,
    }
    stream.write(_HEAD + "\n")
    for key, value in about.items():
        stream.write(f"# {key}: {to_json(value, indent=None)}\n")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["date", *dataset.names])
    for date, row in zip(dataset.dates, dataset.values.tolist(), strict=True):
        writer.writerow([date, *("" if math.isnan(value) else repr(value) for value in row)])
    return write_text(path, stream.getvalue())


def read_dataset(path: Path | str) -> Dataset:
    """Read what :func:`write_dataset` wrote.

    Raises
    ------
    DataError
        If the file is not such a file, or its values are not those that were written.
    """
    text = read_text(path)
    lines = text.splitlines()
    about: dict[str, object] = {}
    while lines and lines[0].startswith("#"):
        key, colon, value = lines.pop(0)[1:].partition(":")
        if colon:
            try:
                about[key.strip()] = json.loads(value)
            except (ValueError, RecursionError):
                raise DataError(
                    f"{path}: the comment line '{key.strip()}' is damaged; run the data stage again"
                ) from None
    missing = {"units", "labels", "means", "sha256", "provenance"} - about.keys()
    if missing or len(lines) < 2:
        raise DataError(f"{path} was not written by the data stage (no {min(missing, default='rows')}); run it again")
    try:
        rows = list(csv.reader(lines))
        header = rows.pop(0)
        values = np.array([[float(cell) if cell else math.nan for cell in row[1:]] for row in rows], dtype=np.float64)
        dataset = Dataset(
            tuple(row[0] for row in rows),
            tuple(header[1:]),
            tuple(about["units"]),  # type: ignore[arg-type]
            tuple(about["labels"]),  # type: ignore[arg-type]
            values,
            np.array(about["means"], dtype=np.float64),
            about["provenance"],  # type: ignore[arg-type]
        )
    except (ValueError, TypeError, IndexError, csv.Error) as error:
        raise DataError(f"{path} is damaged ({error}); run the data stage again") from None
    if dataset.sha256 != about["sha256"]:
        raise DataError(f"{path} was changed after the data stage wrote it; run the data stage again")
    return dataset
