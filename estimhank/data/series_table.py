"""Raw series on quarters, and the checks that every source of values passes through.

A file, a sheet, a data frame and an answer from the network are all rows of a date and some cells;
:func:`parse_rows` makes a table of them or says which cell is wrong.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from estimhank.data.aggregation import AVERAGE, aggregate_months, is_quarterly
from estimhank.data.quarters import (
    format_month,
    format_quarter,
    is_year,
    parse_month,
    parse_month_of_quarter,
    parse_quarter,
)
from estimhank.support.errors import DataError

Array = NDArray[np.float64]

#: How a missing value may be written.
MISSING = frozenset({"", ".", "..", "-", "na", "nan", "n/a", "#n/a", "#n/a n/a", "<na>", "none", "null", "nat"})

_DAY_NUMBER = re.compile(r"\d{5}(?:\.0)?")
_WITH_COMMAS = re.compile(r"[+-]?\d+(?:,\d+)+(?:\.\d*)?|[+-]?\d+(?:\.\d{3})*,\d*")

#: A cell as a source gives it: text, or a number where the source knows numbers.
Cell = str | float


@dataclass(frozen=True, eq=False)
class SeriesTable:
    """Raw series on consecutive quarters.

    Attributes
    ----------
    first : int
        Number of the first quarter (:func:`estimhank.data.quarters.parse_quarter`).
    columns : mapping of str to ndarray of shape (n,)
        Each series in the file's own units; ``nan`` where a value is missing.
    lines : tuple of int, length n
        Line of the file that holds (or begins) each quarter, for messages.
    where : str
        Name of the file, for messages.
    provenance : mapping
        Where the values come from: ``source``, ``file``, ``sha256``, ``vintage`` and whatever else a source tells.
    row_word : str
        What a row of the source is called: ``"line"`` or ``"row"``; empty where rows have only a date.
    raw : str
        The series as they were retrieved, as the text of a CSV file; empty where the source is a file itself.
    """

    first: int
    columns: Mapping[str, Array]
    lines: tuple[int, ...]
    where: str
    provenance: Mapping[str, object] = field(default_factory=dict)
    row_word: str = "line"
    raw: str = ""

    @property
    def last(self) -> int:
        """Number of the last quarter."""
        return self.first + len(self.lines) - 1

    def column(self, name: str) -> Array:
        """One series, shape (n,); :class:`DataError` naming the nearest one if there is none of that name."""
        if name not in self.columns:
            near = get_close_matches(name, self.columns, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(self.columns)}"
            raise DataError(f"{self.where} has no column {name}: {hint}")
        return self.columns[name]

    def place(self, index: int, name: str) -> str:
        """Words for a cell, e.g. ``"raw.csv, line 12, column GDPC1"``, from its position among the quarters."""
        row = f"{self.row_word} {self.lines[index]}" if self.row_word else format_quarter(self.first + index)
        return f"{self.where}, {row}, column {name}"

    def span(self, first: int, last: int, name: str) -> str:
        """Words for consecutive cells, e.g. ``"raw.csv, lines 12 to 40, column GDPC1"``, from positions of quarters."""
        if first == last:
            return self.place(first, name)
        if self.row_word:
            rows = f"{self.row_word}s {self.lines[first]} to {self.lines[last]}"
        else:
            rows = f"{format_quarter(self.first + first)} to {format_quarter(self.first + last)}"
        return f"{self.where}, {rows}, column {name}"


@dataclass(frozen=True)
class Sheet:
    """Rows as a source gives them, before any check.

    Attributes
    ----------
    where, row_word : str
        As in :class:`SeriesTable`.
    header : sequence of str
        Name of the date column, then the names of the series.
    header_row : int
        Number of the row that the header stands in.
    rows : iterable of (int, sequence of cells)
        Number of each row, and its cells, the date as text.
    """

    where: str
    row_word: str
    header: Sequence[str]
    header_row: int
    rows: Iterable[tuple[int, Sequence[Cell]]]


@dataclass(frozen=True)
class _Frequency:
    parse: Callable[[str], int]
    write: Callable[[int], str]
    name: str
    year: int


_QUARTERLY = _Frequency(parse_quarter, format_quarter, "quarter", 4)
_MONTHLY = _Frequency(parse_month, format_month, "month", 12)
_QUARTERLY_BY_MONTH = _Frequency(parse_month_of_quarter, format_quarter, "quarter", 4)


@dataclass(frozen=True)
class Periods:
    """Checked rows on consecutive quarters or months.

    Attributes
    ----------
    monthly : bool
    first : int
        Number of the first period.
    values : mapping of str to ndarray of shape (n,)
    rows : tuple of int, length n
    """

    monthly: bool
    first: int
    values: Mapping[str, Array]
    rows: tuple[int, ...]


def parse_rows(sheet: Sheet) -> Periods:
    """Check rows and turn them into series on consecutive quarters or months.

    Raises
    ------
    DataError
        Naming source, row and column: no header, a row with too few or too many fields, dates that repeat, go back,
        leave a gap or are neither quarterly nor monthly, text where a number belongs.
    """
    where, word, header = sheet.where, sheet.row_word, [name.strip() for name in sheet.header]
    if len(header) < 2:
        place = f"{where}, {word} {sheet.header_row}"
        raise DataError(f"{place}: expected a header like date,GDPC1,GDPDEF, with names of the date and of each series")
    repeated = {name for name in header if header.count(name) > 1}
    if repeated:
        raise DataError(f"{where}, {word} {sheet.header_row}: the column {min(repeated)} appears more than once")
    rows = list(sheet.rows)
    for row, cells in rows:
        if len(cells) != len(header):
            raise DataError(f"{where}, {word} {row}: {len(cells)} fields, but the header has {len(header)}")
    if not rows:
        raise DataError(f"{where} holds a header but no data")
    frequency = _frequency_of([str(cells[0]) for _, cells in rows[:2]])
    periods: list[int] = []
    values: list[list[float]] = []
    for row, cells in rows:
        place = f"{where}, {word} {row}, column"
        periods.append(_parse_date(str(cells[0]), periods, f"{place} {header[0]}", frequency))
        pairs = zip(header[1:], cells[1:], strict=True)
        values.append([_parse_number(cell, f"{place} {name}") for name, cell in pairs])
    table = np.array(values, dtype=np.float64)
    columns = MappingProxyType({name: table[:, j] for j, name in enumerate(header[1:])})
    return Periods(frequency is _MONTHLY, periods[0], columns, tuple(row for row, _ in rows))


def to_quarters(
    periods: Periods, sheet: Sheet, how: Mapping[str, str], provenance: Mapping[str, object]
) -> SeriesTable:
    """Put checked rows on quarters; monthly series are aggregated as ``how`` says, averaged where it is silent.

    A column of a monthly table whose values all stand in the same month of their quarters is quarterly, which is how
    tables of mixed frequency are usually laid out; its values are taken as they are.
    """
    columns, first, rows = dict(periods.values), periods.first, periods.rows
    if periods.monthly:
        months, first = periods.first, periods.first // 3
        aggregated = {}
        for name, values in periods.values.items():
            rule = how.get(name, AVERAGE)
            columns[name] = aggregate_months(values, months, rule)
            if not is_quarterly(values, months):
                aggregated[name] = rule
        starts = [max(3 * (first + j) - months, 0) for j in range(-(-(months % 3 + len(rows)) // 3))]
        rows = tuple(rows[start] for start in starts)
        provenance = {**provenance, "monthly": aggregated}
    for values in columns.values():
        values.setflags(write=False)
    return SeriesTable(first, MappingProxyType(columns), rows, sheet.where, provenance, sheet.row_word)


def _frequency_of(dates: Sequence[str]) -> _Frequency:
    """Of the first two dates: the first day of January alone could begin either."""
    quarters, months = _numbers(dates, parse_quarter), _numbers(dates, parse_month)
    if len(months) == 2 and months[0] is not None and months[1] == months[0] + 3:
        return _QUARTERLY_BY_MONTH if quarters == [None, None] else _QUARTERLY
    if quarters[0] is None:
        return _QUARTERLY if months[0] is None else _MONTHLY
    if len(months) < 2 or months[0] is None or months[1] is None:
        return _QUARTERLY
    return _MONTHLY if months[1] == months[0] + 1 else _QUARTERLY


def _numbers(dates: Sequence[str], parse: Callable[[str], int]) -> list[int | None]:
    numbers: list[int | None] = []
    for date in dates:
        try:
            numbers.append(parse(date))
        except ValueError:
            numbers.append(None)
    return numbers


def _parse_date(cell: str, before: list[int], place: str, frequency: _Frequency) -> int:
    try:
        period = frequency.parse(cell)
    except ValueError as error:
        text = cell.strip()
        if is_year(text):
            raise DataError(
                f"{place}: '{text.removesuffix('.0')}' is a year; series must be quarterly or monthly"
            ) from None
        if _DAY_NUMBER.fullmatch(text):
            raise DataError(f"{place}: {error}, or format the cells as dates if this is a day's number") from None
        raise DataError(f"{place}: {error}") from None
    if before and period != before[-1] + 1:
        now, last, absent = (frequency.write(number) for number in (period, before[-1], before[-1] + 1))
        if period == before[-1]:
            raise DataError(f"{place}: the {frequency.name} {now} appears twice")
        if period < before[-1]:
            raise DataError(f"{place}: {now} comes after {last}; dates must go forward")
        if len(before) == 1 and period == before[-1] + frequency.year:
            raise DataError(f"{place}: {now} follows {last}, a year later; series must be quarterly or monthly")
        raise DataError(
            f"{place}: {now} follows {last}, so {absent} is absent; "
            f"give every {frequency.name} a row and leave the value of a missing one empty"
        )
    return period


def _parse_number(cell: Cell, place: str) -> float:
    if isinstance(cell, float):
        number, text = cell, f"{cell:g}"
        if math.isnan(number):
            return math.nan
    else:
        text = cell.strip()
        if text.lower() in MISSING:
            return math.nan
        try:
            number = float(text)
        except ValueError:
            raise DataError(f"{place}: '{text}' is not a number{_advice(text)}") from None
    if not math.isfinite(number) or "_" in text:
        raise DataError(f"{place}: '{text}' is not a finite number")
    return number


def _advice(text: str) -> str:
    """What to do about a number that is not written as one."""
    if text.endswith("%"):
        return "; leave the percent sign out"
    if _WITH_COMMAS.fullmatch(text):
        return "; write it with a decimal point and without thousands separators"
    return ""
