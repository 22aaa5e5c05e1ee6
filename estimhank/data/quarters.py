"""Quarters and months as text (``"1966Q1"``, ``"1966-01"``) and as whole numbers that count them."""

from __future__ import annotations

import re
from calendar import monthrange

import numpy as np
from numpy.typing import NDArray

_QUARTER = re.compile(r"(?P<year>\d{4})(?:[-:/. ]?[Qq]|:)(?P<quarter>[1-4])")  # 1966Q1, 1966-Q1, 1966:1
_QUARTER_FIRST = re.compile(r"(?:[Qq](?P<quarter>[1-4])|(?P<q>[1-4])[Qq])[-:/. ]?(?P<year>\d{4})")  # Q1 1966, 1Q1966
_MONTH = re.compile(r"(\d{4})(?:[-: ]?[Mm]|[-/])(\d{1,2})|(\d{4}):(\d{2})")
_DAY = re.compile(r"(\d{4})([-/])(\d{2})\2(\d{2})(?:[T ]00:00(?::00(?:\.0+)?)?Z?)?")
_YEAR = re.compile(r"\d{4}(?:\.0)?")


def parse_quarter(text: str) -> int:
    """Number of a quarter, counted from year zero: ``4 * year + quarter - 1``.

    Parameters
    ----------
    text : str
        ``1966Q1``, ``1966-Q1``, ``1966:1``, ``Q1 1966``, ``1Q1966``, or the quarter's first or last day, ``1966-01-01``
        or ``1966-03-31`` (with slashes too, and the last weekday where the last day is on a weekend).

    Raises
    ------
    ValueError
        If the text is neither, with a sentence that can follow the place where it was found.
    """
    text = text.strip()
    if match := _QUARTER.fullmatch(text) or _QUARTER_FIRST.fullmatch(text):
        parts = match.groupdict()
        return 4 * int(parts["year"]) + int(parts["quarter"] or parts["q"]) - 1
    if _DAY.fullmatch(text):
        year, month, day = _parts_of_day(text)
        first, last = day == 1 and month % 3 == 1, month % 3 == 0 and _is_last(year, month, day)
        if not (first or last):
            raise ValueError(
                f"'{text}' is not a quarter's first day or last day; dates must be quarterly, like 1966-01-01 or "
                "1966Q1, or monthly"
            )
        return 4 * year + (month - 1) // 3
    raise ValueError(f"'{text}' is not a quarter; write 1966Q1 or the quarter's first day, 1966-01-01")


def parse_month(text: str) -> int:
    """Number of a month, counted from year zero: ``12 * year + month - 1``.

    Parameters
    ----------
    text : str
        ``1966-01``, ``1966M01``, ``1966:01`` or the month's first or last day, ``1966-01-01`` or ``1966-01-31``.

    Raises
    ------
    ValueError
        If the text is neither, with a sentence that can follow the place where it was found.
    """
    text = text.strip()
    if _DAY.fullmatch(text):
        year, month, day = _parts_of_day(text)
        if day != 1 and not _is_last(year, month, day):
            raise ValueError(
                f"'{text}' is not a month's first day or last day; dates must be monthly, like 1966-01-01 or 1966-01"
            )
        return 12 * year + month - 1
    match = _MONTH.fullmatch(text)
    if not match:
        raise ValueError(f"'{text}' is not a month; write 1966-01 or the month's first day, 1966-01-01")
    year, month = (int(part) for part in match.groups() if part)
    _check_month(text, year, month)
    return 12 * year + month - 1


def _parts_of_day(text: str) -> tuple[int, int, int]:
    match = _DAY.fullmatch(text)
    assert match is not None
    year, month, day = int(match[1]), int(match[3]), int(match[4])
    _check_month(text, year, month)
    return year, month, day


def _check_month(text: str, year: int, month: int) -> None:
    if month not in range(1, 13) or year < 1:
        raise ValueError(f"'{text}' has no month {month}")


def _is_last(year: int, month: int, day: int) -> bool:
    """Whether a day is the last one of its month, or the last weekday."""
    weekday, days = monthrange(year, month)
    last = (weekday + days - 1) % 7  # Monday is 0
    return day in (days, days - max(last - 4, 0))


def parse_month_of_quarter(text: str) -> int:
    """Number of the quarter that a month without a day, ``1966-03``, stands for: its first or its last.

    Raises
    ------
    ValueError
        If the text is no month, or the middle one of a quarter.
    """
    if _DAY.fullmatch(text.strip()):
        return parse_quarter(text)  # the last day of January ends a quarter of a fiscal year
    month = parse_month(text)
    if month % 3 == 1:
        raise ValueError(
            f"'{text.strip()}' is neither the first nor the last month of a calendar quarter; write quarters like "
            "1966Q1"
        )
    return month // 3


def is_year(text: str) -> bool:
    """Whether a text is a year alone."""
    return _YEAR.fullmatch(text.strip()) is not None


def is_date(text: str) -> bool:
    """Whether a text has the form of a quarter, a month, a day or a year, whatever it says."""
    text = text.strip()
    return any(form.fullmatch(text) for form in (_QUARTER, _QUARTER_FIRST, _MONTH, _DAY, _YEAR))


def format_month(number: int) -> str:
    """Text of a month's number, ``"1966-01"``."""
    return f"{number // 12:04d}-{number % 12 + 1:02d}"


def format_quarter(number: int) -> str:
    """Text of a quarter's number, ``"1966Q1"``."""
    return f"{number // 4:04d}Q{number % 4 + 1}"


def first_day(number: int) -> str:
    """ISO date of a quarter's first day, ``"1966-01-01"``."""
    return f"{number // 4:04d}-{3 * (number % 4) + 1:02d}-01"


def first_days(dates: tuple[str, ...]) -> NDArray[np.datetime64]:
    """First days of quarters as ``datetime64[D]``, shape (n,), for time axes."""
    return np.array([first_day(parse_quarter(date)) for date in dates], dtype="datetime64[D]")


def parse_quarters(text: str) -> range:
    """Numbers of the quarters of ``"2020Q2"`` or of a span, ``"2009Q1 to 2015Q4"``, both ends included.

    Raises
    ------
    ValueError
        If a quarter cannot be read or the span goes backwards.
    """
    first, to, last = text.partition(" to ")
    low = parse_quarter(first)
    high = parse_quarter(last) if to else low
    if high < low:
        raise ValueError(f"'{text}' goes backwards")
    return range(low, high + 1)
