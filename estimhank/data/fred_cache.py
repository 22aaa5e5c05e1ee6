"""Answers of FRED kept on this machine, in ``estimhank.support.runtime.cache_folder()/fred``.

One JSON file an answer: values, when they came, their SHA-256. Never a key. A damaged file counts as absent, and a
folder that cannot be written to only means that FRED is asked again.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from estimhank.data.fred_answers import Row
from estimhank.support.errors import StorageError
from estimhank.support.files import make_folder, read_json, write_json
from estimhank.support.runtime import cache_folder


@dataclass(frozen=True)
class CachedAnswer:
    """An answer of FRED.

    Attributes
    ----------
    source : str
        ``"fred"`` or ``"fred-csv"``.
    series, vintage : str
        What was asked; an empty vintage stands for the latest values.
    retrieved : str
        When, UTC.
    sha256 : str
        Of the answer as it came.
    rows : tuple of (str, str)
        Dates and values.
    """

    source: str
    series: str
    vintage: str
    retrieved: str
    sha256: str
    rows: tuple[Row, ...]


def keep_answer(answer: CachedAnswer) -> None:
    """Keep an answer, in place of an earlier one to the same question."""
    with contextlib.suppress(StorageError):
        make_folder(_folder())
        write_json(_path(answer.source, answer.series, answer.vintage), answer)


def find_answer(source: str, series: str, vintage: str) -> CachedAnswer | None:
    """The answer that was kept, if there is one and it is whole."""
    path = _path(source, series, vintage)
    if not path.is_file():
        return None
    try:
        kept = read_json(path)
    except StorageError:
        return None
    if not isinstance(kept, Mapping):
        return None
    try:
        rows = tuple((str(date), str(value)) for date, value in kept["rows"])
        answer = CachedAnswer(source, series, vintage, str(kept["retrieved"]), str(kept["sha256"]), rows)
        _day_of(answer)
    except (KeyError, TypeError, ValueError):
        return None
    asked = (kept.get("source"), kept.get("series"), kept.get("vintage"))
    return answer if asked == (source, series, vintage) else None


def newest_answer(series: str, vintage: str) -> CachedAnswer | None:
    """The newest answer of any kind for a series and a vintage (or the latest values)."""
    kept = [find_answer(source, series, vintage) for source in ("fred", "fred-csv")]
    return max((answer for answer in kept if answer is not None), key=lambda answer: answer.retrieved, default=None)


def is_fresh(answer: CachedAnswer) -> bool:
    """Whether asking again would give the same: a vintage that was over when it was asked for, or latest of today."""
    day = _day_of(answer)
    if answer.vintage:
        return datetime.date.fromisoformat(answer.vintage) < day
    return day == datetime.datetime.now(datetime.UTC).date()


def _day_of(answer: CachedAnswer) -> datetime.date:
    return datetime.datetime.fromisoformat(answer.retrieved).date()


def _folder() -> Path:
    return cache_folder() / "fred"


def _path(source: str, series: str, vintage: str) -> Path:
    return _folder() / f"{source}-{series}-{vintage or 'latest'}.json"
