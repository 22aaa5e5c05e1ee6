"""Quarters and months as text (``"1966Q1"``, ``"1966-01"``) and as whole numbers that count them."""

from __future__ import annotations

import re
from calendar import monthrange

import numpy as np
from numpy.typing import NDArray

_QUARTER = re.compile(r"(\d{4})[-: ]?[Qq]([1-4])")
_MONTH = re.compile(r"(\d{4})(?:[-: ]?[Mm]|-)(\d{1,2})")
_DAY = re.compile(r"(\d{4})-(\d{2})-(\d{2})(?:[T ]00:00(?::00(?:\.0+)?)?)?")


def parse_quarter(text: str) -> int:
    """Number of a quarter, counted from year zero: ``4 * year + quarter - 1``.

    Parameters
    ----------
    text : str
        ``1966Q1``, ``1966-Q1``, ``1966:Q1`` or the quarter's first or last day, ``1966-01-01`` or ``1966-03-31``.

    Raises
    ------
    ValueError
        If the text is neither, with a sentence that can follow the place where it was found.
    """
    text = text.strip()
    if match := _QUARTER.fullmatch(text):
        return 4 * int(match[1]) + int(match[2]) - 1
    if match := _DAY.fullmatch(text):
        year, month, day = int(match[1]), int(match[2]), int(match[3])
        if month not in range(1, 13):
            raise ValueError(f"'{text}' has no month {month}")
        first, last = day == 1 and month % 3 == 1, month % 3 == 0 and day == monthrange(year, month)[1]
        if not (first or last):
            raise ValueError(
                f"'{text}' is not a quarter's first day; dates must be quarterly, like 1966-01-01 or 1966Q1, or monthly"
            )
        return 4 * year + (month - 1) // 3
    raise ValueError(f"'{text}' is not a quarter; write 1966Q1 or the quarter's first day, 1966-01-01")


def parse_month(text: str) -> int:
    """Number of a month, counted from year zero: ``12 * year + month - 1``.

    Parameters
    ----------
    text : str
        ``1966-01``, ``1966M01`` or the month's first or last day, ``1966-01-01`` or ``1966-01-31``.

    Raises
    ------
    ValueError
        If the text is neither, with a sentence that can follow the place where it was found.
    """
    text = text.strip()
    match = _DAY.fullmatch(text) or _MONTH.fullmatch(text)
    if not match:
        raise ValueError(f"'{text}' is not a month; write 1966-01 or the month's first day, 1966-01-01")
    year, month = int(match[1]), int(match[2])
    if month not in range(1, 13) or year < 1:
        raise ValueError(f"'{text}' has no month {month}")
    if match.lastindex == 3 and int(match[3]) not in (1, monthrange(year, month)[1]):
        raise ValueError(f"'{text}' is not a month's first day; dates must be monthly, like 1966-01-01 or 1966-01")
    return 12 * year + month - 1


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
