"""A pandas data frame as a source of raw series."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from estimhank.data.dataset import Dataset, make_dataset
from estimhank.data.excel import cell_of
from estimhank.data.observables import US_OBSERVABLES, Observable, lags_of, rules_of
from estimhank.data.quarters import format_quarter, is_date
from estimhank.data.series_table import Cell, SeriesTable, Sheet, parse_rows, to_quarters
from estimhank.support.errors import DataError
from estimhank.support.files import sha256_of

_WHERE = "the data frame"


def table_from_frame(frame: pd.DataFrame, rules: Mapping[str, str] | None = None) -> SeriesTable:
    """Raw series from a data frame.

    Parameters
    ----------
    frame : pandas.DataFrame
        One column a series. Quarters or months in the index (periods, time stamps, or text such as ``1966Q1``), or in
        the first column if the index only counts rows.
    rules : mapping of str to str, optional
        How monthly columns become quarterly; averaged where not said.

    Raises
    ------
    DataError
        As for a file, naming row (counted from 1) and column.
    """
    if not isinstance(frame, pd.DataFrame):
        raise DataError(f"a data frame is needed, one column a series, not a {type(frame).__name__}")
    if isinstance(frame.index, pd.MultiIndex) or isinstance(frame.columns, pd.MultiIndex):
        raise DataError(f"{_WHERE} has an index of several levels: give it one row a quarter and one column a series")
    if _only_counts(frame):
        if frame.shape[1] < 2:
            raise DataError(f"{_WHERE} has no dates: put quarters into the index or the first column")
        dates, body, first = list(frame.iloc[:, 0]), frame.iloc[:, 1:], str(frame.columns[0])
    else:
        dates, body, first = list(frame.index), frame, str(frame.index.name or "date")
    if not body.shape[1]:
        raise DataError(f"{_WHERE} has dates but no columns: give it one column a series")
    header = [first, *(str(name) for name in body.columns)]
    if first in header[1:]:
        header[0] = "the index"
    rows = list(_rows_of(dates, body))
    sheet = Sheet(_WHERE, "row", header, 0, rows)
    lines = [",".join(header), *(",".join(str(cell) for cell in cells) for _, cells in rows)]
    return to_quarters(
        parse_rows(sheet), sheet, rules or {}, {"source": "data frame", "sha256": sha256_of("\n".join(lines))}
    )


def dataset_from_frame(
    frame: pd.DataFrame,
    observables: Sequence[Observable] = US_OBSERVABLES,
    start: str = "",
    end: str = "",
    exclude: Sequence[str] = (),
    presample: int = 0,
) -> Dataset:
    """The observables of a data frame, for :class:`estimhank.Posterior`.

    Parameters
    ----------
    frame : pandas.DataFrame
        As :func:`table_from_frame`.
    observables : sequence of Observable
        In the order of the model's; those of the default model by default.
    start, end : str
        First and last quarter; by default all that the frame can give.
    exclude, presample
        As :func:`estimhank.data.dataset.make_dataset`.

    Raises
    ------
    DataError
        As :func:`table_from_frame` and :func:`estimhank.data.dataset.make_dataset`.
    """
    table = table_from_frame(frame, rules_of(observables))
    lags = 0 if presample else max((lags_of(o) for o in observables), default=0)
    start = start or format_quarter(table.first + lags)
    return make_dataset(table, observables, start, end or format_quarter(table.last), exclude, presample)


def _rows_of(dates: Sequence[object], body: pd.DataFrame) -> Iterator[tuple[int, list[Cell]]]:
    columns = [[_cell(value) for value in body.iloc[:, j]] for j in range(body.shape[1])]
    for i, date in enumerate(dates):
        yield i + 1, [_date(date, i + 1), *(column[i] for column in columns)]


def _only_counts(frame: pd.DataFrame) -> bool:
    """Whether the index says nothing of dates: whole numbers that are not years, or years beside a column of dates."""
    if not pd.api.types.is_integer_dtype(frame.index.dtype):
        return False
    years = len(frame) > 0 and frame.index.min() >= 1000 and frame.index.max() < 3000
    return not years or (frame.shape[1] > 1 and is_date(str(_date(frame.iloc[0, 0], 0))))


def _date(value: Any, row: int) -> Cell:
    if isinstance(value, pd.Period):
        if value.freqstr.startswith("Q") and value.freqstr != "Q-DEC":
            raise DataError(
                f"{_WHERE}, row {row}, the index: {value} is a quarter of a fiscal year ({value.freqstr}); the model's "
                "quarters are those of the calendar year, freq='Q'"
            )
        return str(value)
    if isinstance(value, np.datetime64):
        value = pd.Timestamp(value)
    return _cell(value)


def _cell(value: Any) -> Cell:
    if value is pd.NA or value is pd.NaT:
        return ""
    return cell_of(value.item() if isinstance(value, np.generic) else value)
