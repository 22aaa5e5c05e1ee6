"""Series with one value a year: which quarters a value speaks of, and with which weights.

A yearly value is observed in the year's last quarter and missing in the others. What the model says of it is a linear
combination of its quarterly observable y::

    observed in quarter t:  sum_l w[l] y[t-l]

For the change of a yearly average of quarterly levels x, with y the change of x from quarter to quarter, the weights
are 1, 2, 3, 4, 3, 2, 1 over 4 (Mariano and Murasawa 2003, eq. 2). They hold for logarithms to first order, as the
model's solution does: the average of the logs stands for the log of the average.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from estimhank.data.series_table import SeriesTable
from estimhank.support.errors import DataError

Array = NDArray[np.float64]

#: What a yearly value is of the year's four quarters: of a rate or an index, of a flow, of a stock.
YEARLY = ("mean", "sum", "last")

_ONE, _FOUR, _AVERAGE = (1.0,), (1.0,) * 4, (0.25,) * 4
_TENT = (0.25, 0.5, 0.75, 1.0, 0.75, 0.5, 0.25)
_WEIGHTS: dict[tuple[str, str], tuple[float, ...]] = {
    ("level", "mean"): _AVERAGE,
    ("level", "sum"): _FOUR,
    ("level", "last"): _ONE,
    ("log_level", "mean"): _AVERAGE,
    ("log_level", "sum"): _AVERAGE,  # the log of four is in the mean
    ("log_level", "last"): _ONE,
    ("difference", "mean"): _TENT,
    ("difference", "sum"): tuple(4 * w for w in _TENT),
    ("difference", "last"): _FOUR,
    ("log_difference", "mean"): _TENT,
    ("log_difference", "sum"): _TENT,
    ("log_difference", "last"): _FOUR,
}


class Provenance(Protocol):
    """What is read of a data set: which series it has and how each was made."""

    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def provenance(self) -> Mapping[str, object]: ...


def declared_weights(data: Provenance) -> dict[str, tuple[float, ...]]:
    """Weights on the current and the earlier quarters of each observable that is observed by the year."""
    entries = _entries(data.provenance.get("observables"))
    return {str(e["name"]): _WEIGHTS[str(e["transform"]), str(e["yearly"])] for e in entries if e.get("yearly")}


def _entries(listed: Any) -> list[Mapping[str, Any]]:
    return [e for e in listed if isinstance(e, Mapping)] if isinstance(listed, list | tuple) else []


def adds_up_quarters(transform: str, yearly: str) -> bool:
    """Whether the observable is a rate per year that the model's quarterly rates add up to."""
    return sum(_WEIGHTS[transform, yearly]) > 1


def has_one_a_year(table: SeriesTable, name: str) -> bool:
    """Whether a series has three values or more, each in the same quarter of its year."""
    seen = np.flatnonzero(np.isfinite(table.column(name)))
    return seen.size > 2 and bool((np.diff(seen) % 4 == 0).all())


def year_ends(table: SeriesTable, name: str) -> tuple[Array, NDArray[np.int_]]:
    """A yearly series with each value in its year's last quarter, wherever in the year it stands in the table.

    Returns
    -------
    values : ndarray of shape (n,)
        ``nan`` in all other quarters.
    rows : ndarray of shape (n,)
        Position in the table of each value.

    Raises
    ------
    DataError
        If a year has two values.
    """
    series = table.column(name)
    values, rows = np.full(len(series), np.nan), np.arange(len(series))
    year = -1
    for i in np.flatnonzero(np.isfinite(series)).tolist():
        if (table.first + i) // 4 == year:
            raise DataError(
                f"{table.place(i, name)}: a second value for {year}, but the series is declared to be yearly"
            )
        year = (table.first + i) // 4
        last = 4 * year + 3 - table.first
        if last < len(series):
            values[last], rows[last] = series[i], i
    return values, rows
