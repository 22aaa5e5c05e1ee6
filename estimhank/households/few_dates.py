"""Fake-news matrices at long horizons from their values at few dates.

A news matrix F[t, s] decays in both dates as households forget: beyond the first dates it is a sum of paths that die
out slowly, which a polynomial in the logarithm of the date goes through (Boyd 2001, "Chebyshev and Fourier Spectral
Methods", chapter 5). With n dates in place of T, F = B C B' takes n^2 products over the households' states rather than
T^2. What oscillates for hundreds of dates is no such polynomial: some dates between the nodes are computed too, and
where these are missed all are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from estimhank.support.chebyshev import cardinal_polynomials, nodes_in_logs

Array = NDArray[np.float64]

#: Horizons from which few dates are worth it, and the first dates, which are all kept.
SHORTEST, FIRST = 500, 64
#: Largest error at a date between nodes, as a share of the largest entry of the pair's matrix.
MISSED = 1e-9
_PER_DOUBLING = 8  # nodes beyond the first dates, each time the horizon doubles
_CHECKED = 6


@dataclass(frozen=True)
class FewDates:
    """Dates, and the paths over all dates that values at these stand for.

    Attributes
    ----------
    dates : ndarray of int, shape (n,)
        Increasing, from 0 to T - 1.
    paths : ndarray of shape (T, n)
        One at its date, zero at the others.
    between : ndarray of int, shape (m,)
        Dates half way between two of them, for checks.
    """

    dates: NDArray[np.intp]
    paths: Array
    between: NDArray[np.intp]


@lru_cache(maxsize=8)
def few_dates(horizon: int) -> FewDates | None:
    """Dates that give all others at a horizon; None where that is too short to be worth it."""
    if horizon < SHORTEST:
        return None
    nodes = nodes_in_logs(FIRST, horizon - 1, _PER_DOUBLING)
    paths = np.zeros((horizon, FIRST + len(nodes)))
    paths[:FIRST, :FIRST] = np.eye(FIRST)
    paths[FIRST:, FIRST:] = cardinal_polynomials(np.log(nodes), np.log(np.arange(FIRST, horizon)))
    halves = np.setdiff1d((nodes[1:] + nodes[:-1]) // 2, nodes)
    chosen = np.unique(np.linspace(0, len(halves) - 1, _CHECKED).astype(int))
    return FewDates(np.concatenate([np.arange(FIRST), nodes]), paths, halves[chosen])
