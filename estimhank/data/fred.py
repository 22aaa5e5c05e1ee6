"""FRED as a source: with a key and pinned to a vintage, by its public CSV files, or from the cache of both."""

from __future__ import annotations

import csv
import datetime
import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from estimhank.data.fred_answers import Row
from estimhank.data.fred_cache import CachedAnswer, find_answer, is_fresh, keep_answer, newest_answer
from estimhank.data.fred_client import FredClient, FredUnreachable
from estimhank.data.quarters import format_quarter, parse_quarter
from estimhank.data.series_table import Periods, SeriesTable, Sheet, parse_rows, to_quarters
from estimhank.support.errors import DataError
from estimhank.support.files import sha256_of

FRED_SOURCES = ("fred", "fred-csv", "fred-cache")
KEY_VARIABLE = "FRED_API_KEY"

_ID = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True)
class _Series:
    answer: CachedAnswer
    periods: Periods
    table: SeriesTable


def load_fred(
    source: str,
    series: Sequence[str],
    rules: Mapping[str, str],
    vintage: str = "",
    client: FredClient | None = None,
) -> SeriesTable:
    """Series from FRED on the quarters that any of them covers.

    Monthly series are fetched as such and aggregated here, because FRED rounds the averages that it makes itself.

    Parameters
    ----------
    source : str
        One of :data:`FRED_SOURCES`.
    series : sequence of str
        FRED's names.
    rules : mapping of str to str
        How monthly series become quarterly; averaged where not said.
    vintage : str
        ISO date; values as they were known then. The latest where empty.
    client : FredClient, optional
        How FRED is asked; by default with the key in the environment variable ``FRED_API_KEY``.

    Raises
    ------
    DataError
        No key, no such series, no network and nothing in the cache, or a series that is not quarterly or monthly.
    """
    if not series:
        raise DataError(f'the source "{source}" needs observables that name its series')
    for name in series:
        if not _ID.fullmatch(name):
            raise DataError(f"'{name}' is not a name that FRED gives to series")
    vintage = check_vintage(vintage)
    if client is None:
        client = FredClient(_key(source) if source == "fred" else "")
    parts = {name: _load_one(source, name, rules, vintage, client) for name in dict.fromkeys(series)}
    return _join(source, parts, vintage)


def check_vintage(vintage: str) -> str:
    """A vintage as ISO date; :class:`DataError` if it is no date. Empty stays empty."""
    if not vintage:
        return ""
    try:
        return datetime.date.fromisoformat(vintage).isoformat()
    except ValueError:
        raise DataError(f"the vintage '{vintage}' is not a date; write it like 2024-02-01") from None


def _key(source: str) -> str:
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise DataError(
            f'the source "{source}" needs a key in the environment variable {KEY_VARIABLE}, free from '
            'fred.stlouisfed.org; "fred-csv" (the latest values), "snapshot" and a CSV file need none'
        )
    return key


def _load_one(source: str, name: str, rules: Mapping[str, str], vintage: str, client: FredClient) -> _Series:
    as_of = f" as of {vintage}" if vintage else ""
    kept = newest_answer(name, vintage) if source == "fred-cache" else find_answer(source, name, vintage)
    if source == "fred-cache" and kept is None:
        raise DataError(f'the cache has no answer of FRED for {name}{as_of}: take "snapshot" or a CSV file')
    if source != "fred-cache" and kept is not None and not is_fresh(kept):
        kept = None
    answer = kept or _ask(source, name, vintage, client)
    sheet = Sheet(f"FRED series {name}", "row", ["date", name], 0, list(enumerate(answer.rows, 1)))
    if not answer.rows:
        raise DataError(f"FRED has no observations of {name}{as_of}")
    periods = parse_rows(sheet)
    if kept is None:
        keep_answer(answer)  # only now is it known to be good
    return _Series(answer, periods, to_quarters(periods, sheet, rules, {}))


def _ask(source: str, name: str, vintage: str, client: FredClient) -> CachedAnswer:
    offline = ""
    rows: list[Row] = []
    body = b""
    try:
        body, rows = client.fetch(name, vintage)
    except FredUnreachable as error:
        offline = str(error)
    if offline:
        stored = newest_answer(name, vintage)
        cache = "" if stored is None else f', or "fred-cache" (answers kept on {stored.retrieved[:10]})'
        raise FredUnreachable(f'{offline}: take source = "snapshot", a CSV or Excel file{cache}')
    retrieved = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return CachedAnswer(source, name, vintage, retrieved, sha256_of(body), tuple(rows))


def _join(source: str, parts: Mapping[str, _Series], vintage: str) -> SeriesTable:
    first = min(part.table.first for part in parts.values())
    last = max(part.table.last for part in parts.values())
    columns = {}
    for name, part in parts.items():
        values = np.full(last - first + 1, np.nan)
        start = part.table.first - first
        values[start : start + len(part.table.lines)] = part.table.column(name)
        values.setflags(write=False)
        columns[name] = values
    raw = _raw_text(parts)
    answers = [part.answer for part in parts.values()]
    provenance = {
        "source": source,
        "file": "raw.csv",
        "sha256": sha256_of(raw),
        "vintage": vintage or "latest on " + min(answer.retrieved for answer in answers)[:10],
        "retrieved": max(answer.retrieved for answer in answers),
        "series": [_describe(name, part, rule_of(part, name)) for name, part in parts.items()],
    }
    rows = tuple(range(1, last - first + 2))
    return SeriesTable(first, MappingProxyType(columns), rows, "FRED", provenance, "", raw)


def rule_of(part: _Series, name: str) -> str:
    """How a series became quarterly; empty if it was."""
    monthly = part.table.provenance.get("monthly", {})
    return str(monthly.get(name, "")) if isinstance(monthly, Mapping) else ""


def _describe(name: str, part: _Series, rule: str) -> dict[str, str | int]:
    answer = part.answer
    about: dict[str, str | int] = {
        "id": name,
        "frequency": "monthly" if part.periods.monthly else "quarterly",
        "observations": len(answer.rows),
        "retrieved": answer.retrieved,
        "answer_sha256": answer.sha256,
    }
    return about | ({"aggregate": rule} if rule else {})


def _raw_text(parts: Mapping[str, _Series]) -> str:
    """The series as they came, one row a month if any is monthly: a quarterly value then stands in the first month."""
    monthly = any(part.periods.monthly for part in parts.values())
    cells: dict[str, dict[str, str]] = {}
    for name, part in parts.items():
        cells[name] = {_day(date, part.periods.monthly): value.strip() for date, value in part.answer.rows}
    days = sorted({day for column in cells.values() for day in column})
    low, high = (12 * int(day[:4]) + int(day[5:7]) - 1 for day in (days[0], days[-1]))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["date", *cells])
    for month in range(low, high + 1, 1 if monthly else 3):
        day = f"{month // 12:04d}-{month % 12 + 1:02d}-01"
        values = [column.get(day, "") for column in cells.values()]
        writer.writerow([day, *("" if value == "." else value for value in values)])
    return stream.getvalue()


def _day(date: str, monthly: bool) -> str:
    if monthly:
        return date.strip()[:7] + "-01"
    quarter = format_quarter(parse_quarter(date))
    return f"{quarter[:4]}-{3 * int(quarter[5]) - 2:02d}-01"
