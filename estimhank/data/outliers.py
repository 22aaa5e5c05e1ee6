"""Values that cannot be right: codes for missing values, lost decimal points, and others far from all around them.

A value is compared with the median of the four before and the four after it, in logs where the series is taken in
logs, and the distance with the usual one: 1.4826 times the median absolute deviation (the standard deviation of a
normal distribution), or the usual change from one quarter to the next where that is larger, as in a smooth trend. A
pandemic or a crisis moves a macroeconomic series by some 15 to 60 of these, a slip of the pen by hundreds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from estimhank.data.observables import Observable
from estimhank.data.quarters import format_quarter, parse_quarters
from estimhank.data.series_table import SeriesTable
from estimhank.support.errors import DataError

Array = NDArray[np.float64]

#: Usual distances beyond which a value is refused: at all; where it stands for a missing value in many sources
#: (99, -999, 9999.9); where it is ten, a hundred, ... times its neighbours, or such a part of them.
GROSS, CODE, SHIFTED = 100.0, 10.0, 20.0

_SIDE = 4  # neighbours to each side
_FEWEST = {"gross": 12, "code": 5, "shifted": 9}  # values without which there is no usual distance
_MOST = 0.1  # a larger share of gross distances is what the series is like
_NEAR = 0.1  # in decimal logs: a factor of 1.26 around a power of ten
_NINES = re.compile(r"-?99+(\.9+)?")


@dataclass(frozen=True)
class Outlier:
    """A value far from those around it: its position and what it looks like, in words."""

    row: int
    words: str


def find_outliers(series: Array, logarithm: bool = False) -> list[Outlier]:
    """Gross outliers of one series, shape (n,), ``nan`` where missing, in the order of their rows.

    Parameters
    ----------
    series : ndarray of shape (n,)
    logarithm : bool
        Whether distances are those of logs; values that are not positive then count as missing.
    """
    seen = np.isfinite(series) & ((series > 0) if logarithm else True)
    rows = np.flatnonzero(seen)
    raw = series[rows]
    values = np.log(raw) if logarithm else raw
    coded = np.array([_NINES.fullmatch(f"{value:.10g}") is not None for value in raw], bool)
    usual = ~coded  # a code is no neighbour: there may be several in a row
    if usual.sum() < _FEWEST["code"]:
        return []
    middle = _medians(values, usual)
    distance = np.abs(values - middle)
    unit = max(_unit(distance[usual]), float(np.median(np.abs(np.diff(values[usual])))))
    if unit == 0:
        # all others are one value: a code is told by that it lies far from it
        unit = 0.1 * max(float(np.abs(values[usual]).max()), np.finfo(float).tiny)
        size = np.where(coded, distance / unit, 0.0)
    else:
        size = distance / unit
    gross = (size > GROSS) & usual & (len(rows) >= _FEWEST["gross"])
    if gross.sum() > _MOST * len(rows):
        gross[:] = False
    shifted = _shifts(raw, np.exp(middle) if logarithm else middle) * (size > SHIFTED) * usual
    shifted *= len(rows) >= _FEWEST["shifted"]
    found = []
    for i in np.flatnonzero(gross | (shifted != 0) | (coded & (size > CODE))):
        if coded[i]:
            words = "looks like a code for a missing value"
        elif shifted[i]:
            many = f"{10.0 ** abs(shifted[i]):,.0f}"
            part = f"{many} times" if shifted[i] > 0 else f"a {many}th part of"
            words = f"is about {part} what stands around it, as if its decimal point were misplaced"
        else:
            words = f"is {size[i]:,.0f} times as far from what stands around it as is usual"
        found.append(Outlier(int(rows[i]), words))
    return found


def _medians(values: Array, usual: NDArray[np.bool_]) -> Array:
    """Median of the usual values next to each, itself left out."""
    places = np.flatnonzero(usual)
    out = np.empty(len(values))
    for i in range(len(values)):
        k = int(np.searchsorted(places, i))
        after = places[k + bool(usual[i]) : k + bool(usual[i]) + _SIDE]
        out[i] = np.median(values[np.concatenate([places[max(k - _SIDE, 0) : k], after])])
    return out


def _unit(distance: Array) -> float:
    """The usual distance; of those that there are, where most values do not differ from their neighbours."""
    unit = float(np.median(distance))
    if unit == 0 and np.count_nonzero(distance) > 1:
        unit = float(np.median(distance[distance > 0]))
    return 1.4826 * unit if unit > 0 and np.count_nonzero(distance) > 1 else 0.0


def _shifts(raw: Array, middle: Array) -> NDArray[np.int_]:
    """Power of ten by which each value is off while both its neighbours are not; 0 where it is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.nan_to_num(np.log10(np.where(raw * middle > 0, raw / middle, np.nan)), nan=np.inf, neginf=np.inf)
    power = np.where(np.isfinite(ratio), np.round(np.where(np.isfinite(ratio), ratio, 0.0)), 0.0)
    off = np.isfinite(ratio) & (np.abs(ratio - power) < _NEAR) & (power != 0) & (np.abs(power) <= 4)
    level = np.abs(ratio) < np.log10(1.5)
    alone = np.r_[True, level[:-1]] & np.r_[level[1:], True]
    return np.where(off & alone, power, 0.0).astype(int)


def check_outliers(
    table: SeriesTable,
    observable: Observable,
    sample: tuple[int, int],
    made: Array,
    excluded: Sequence[int],
    rule: tuple[int, bool],
) -> None:
    """Refuse gross outliers of an observable and of the series that it is made from, unless they are declared.

    Parameters
    ----------
    table : SeriesTable
    observable : Observable
        ``allow_outliers`` holds the quarters and spans whose values are right.
    sample : pair of int
        Numbers of the first and the last quarter.
    made : ndarray of shape (n,)
        The observable over the sample, before trend and mean are taken off.
    excluded : sequence of int
        Positions in the sample that count as missing.
    rule : (int, bool)
        Quarters before that a value is made from, and whether logs are taken.

    Raises
    ------
    DataError
        Naming row and column of the first of them.
    """
    (first, last), (lags, logarithm) = sample, rule
    allowed = {quarter for entry in observable.allow_outliers for quarter in parse_quarters(entry)}
    left_out = {first + position for position in excluded}
    low = max(first - lags, table.first)
    told: dict[int, str] = {}

    def unused(quarter: int) -> bool:
        """Whether no value of the sample is made from one of this quarter."""
        return all(q in left_out or not first <= q <= last for q in range(quarter, quarter + lags + 1))

    for name in (observable.series, observable.per_capita):
        if not name:
            continue
        column = table.column(name)
        for outlier in find_outliers(column[low - table.first : last - table.first + 1], logarithm):
            quarter = low + outlier.row
            if quarter not in allowed and not unused(quarter):
                place = table.place(quarter - table.first, name)
                told[quarter] = f"{place}: {column[quarter - table.first]:g} {outlier.words}"
    values = np.array(made)
    values[list(excluded)] = np.nan
    for outlier in find_outliers(values):
        quarter = first + outlier.row
        sources = range(quarter - lags, quarter + 1)
        if not any(q in allowed or q in told for q in sources):
            place = table.place(quarter - table.first, observable.series)
            told[quarter] = (
                f"{place}: the {observable.name} of {values[outlier.row]:g} that is made of it {outlier.words}"
            )
    if told:
        raise DataError(_refusal(told, observable.name))


def _refusal(told: Mapping[int, str], name: str) -> str:
    quarters = sorted(told)
    shown = "; ".join(told[quarter] for quarter in quarters[:3])
    more = f"; and {len(quarters) - 3} more rows" if len(quarters) > 3 else ""
    listed = ", ".join(f'"{format_quarter(quarter)}"' for quarter in quarters[:3]) + (", ..." if more else "")
    return (
        f"{shown}{more} (observable {name}): correct it, leave the cell empty, or, if it is right, declare "
        f"allow_outliers = [{listed}] for the observable"
    )
