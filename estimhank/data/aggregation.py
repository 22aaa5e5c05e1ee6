"""Monthly series to quarterly ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

AVERAGE = "mean"

#: The rules, applied to the three months of each quarter, shape (n, 3): average of a rate or an index, sum of a flow,
#: last month of a stock. A quarter lacks a value if a month that it needs does.
AGGREGATES: dict[str, Callable[[Array], Array]] = {
    "mean": lambda months: months.mean(axis=1),
    "sum": lambda months: months.sum(axis=1),
    "last": lambda months: months[:, 2].copy(),
}


def aggregate_months(values: Array, first: int, rule: str) -> Array:
    """Quarterly values from monthly ones.

    Parameters
    ----------
    values : ndarray of shape (m,)
        Values of consecutive months, ``nan`` where missing.
    first : int
        Number of the first month (:func:`estimhank.data.quarters.parse_month`).
    rule : str
        One of :data:`AGGREGATES`. Not applied to a column that is quarterly already (:func:`is_quarterly`).

    Returns
    -------
    ndarray of shape (n,)
        From the quarter of the first month to the quarter of the last; ``nan`` where months are missing.
    """
    before = first % 3
    after = -(before + len(values)) % 3
    months = np.concatenate([np.full(before, np.nan), values, np.full(after, np.nan)]).reshape(-1, 3)
    if is_quarterly(values, first):
        return months[:, int(np.flatnonzero(np.isfinite(months).any(axis=0))[0])].copy()
    return AGGREGATES[rule](months)


def is_quarterly(values: Array, first: int) -> bool:
    """Whether a column of a monthly table has values in one and the same month of quarters alone, and several of them.

    With values by quarter or by year that month is the first or the last one as a rule, where the file puts the
    quarter's date. No average or sum could be made of such a column.
    """
    seen = np.flatnonzero(np.isfinite(values))
    return seen.size > 1 and len(np.unique((seen + first) % 3)) == 1
