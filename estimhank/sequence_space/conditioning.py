"""How well the banded block of an elimination is conditioned: its pivots, and the whole block over some dates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from estimhank.sequence_space.linear_system import LinearSystem

Array = NDArray[np.float64]

_DATES = 40
_SMALL = 640  # numbers of a column, of matrices whose inverse is computed
_STEPS = 5  # of the estimate of a norm; it rarely takes three
_SAME = 1e-9  # change of a recursion from which on it stands still
_LARGER = 1.05


class Bands(NamedTuple):
    """Matrices of s linear systems on lags, the present and leads, each (s, n_eq, n_v), and rows of a largest one.

    An equation that is multiplied by a number is the same equation.
    """

    lag: Array
    now: Array
    lead: Array

    @classmethod
    def of(cls, systems: Sequence[LinearSystem]) -> Bands:
        """Those of some systems, zero where they are not finite."""
        lag, now, lead, _ = (np.nan_to_num(np.array(matrices, float)) for matrices in zip(*systems, strict=True))
        return cls(lag, now, lead)._scaled()

    def _scaled(self) -> Bands:
        size = np.abs(np.concatenate(self, axis=2)).max(axis=2, keepdims=True, initial=0.0)
        return Bands(*(m / np.maximum(size, 1e-300) for m in self))

    def block(self, rows: Sequence[int], columns: Sequence[int]) -> Bands:
        """Some of the equations and of the variables."""
        return Bands(*(m[:, list(rows)][:, :, list(columns)] for m in self))._scaled()


def pivot_condition(block: Bands, limit: float) -> float:
    """Condition number in the 1-norm of a banded block's pivots S_t (:mod:`estimhank.sequence_space.banded`), the
    worst over dates and systems; infinite from ``limit`` on."""
    lag, now, lead = block
    if not now.shape[1]:
        return 1.0
    lagged, leading = (np.flatnonzero(np.abs(m).max(axis=(0, 1))) for m in (lag, lead))
    lag, lead, eye = lag[..., lagged], lead[..., leading], np.eye(len(leading))
    try:
        with np.errstate(all="ignore"):
            inverse = np.linalg.inv(now)
            from_lag, from_lead = inverse @ lag, inverse @ lead
            to_lead, worst, largest = np.zeros_like(lead), 0.0, -1.0
            for _ in range(_DATES):
                before, passed = to_lead, from_lag @ to_lead[:, lagged]
                correction = passed @ np.linalg.inv(eye - passed[:, leading])
                size = np.abs(correction).max(initial=0.0)
                if not size <= _LARGER * largest:  # else the pivot is much like one that was looked at
                    pivot, largest = now.copy(), size
                    pivot[..., leading] -= lag @ to_lead[:, lagged]
                    condition = _size(pivot) * _size(inverse + correction @ inverse[:, leading])
                    worst = max(worst, float(condition.max()))
                    if not worst < limit:
                        return np.inf
                to_lead = from_lead + correction @ from_lead[:, leading]
                if np.abs(to_lead - before).max(initial=0.0) < _SAME:
                    break
    except np.linalg.LinAlgError:
        return np.inf
    return worst


def _size(matrices: Array) -> Array:
    """1-norms (s,) of matrices (s, n, n)."""
    found: Array = np.abs(matrices).sum(axis=1).max(axis=1)
    return found


def truncated_condition(block: Bands) -> float:
    """Condition number in the 1-norm of the block-tridiagonal matrix over some dates, the worst over systems."""
    return max(_truncated_condition(*bands) for bands in zip(*block, strict=True))


def stacked(lag: Array, now: Array, lead: Array, dates: int) -> sparse.csc_array:
    """The block-tridiagonal matrix of a system over some dates."""
    parts = ((now, 0), (lag, -1), (lead, 1))
    whole = sum(sparse.kron(sparse.eye_array(dates, k=k), sparse.csc_array(m), format="csc") for m, k in parts)
    return sparse.csc_array(whole)


def _truncated_condition(lag: Array, now: Array, lead: Array) -> float:
    if not len(now):
        return 1.0
    whole = stacked(lag, now, lead, _DATES)
    try:
        factors = splu(whole)
    except RuntimeError:  # exactly singular
        return np.inf
    size = whole.shape[0]
    if size <= _SMALL:
        inverse = float(np.abs(factors.solve(np.eye(size))).sum(axis=0).max())
    else:  # estimated, by Hager (1984): the gradient of |inverse x| leads to the largest column
        x, inverse = np.full(size, 1.0 / size), 0.0
        for _ in range(_STEPS):
            y = factors.solve(x)
            inverse = max(inverse, float(np.abs(y).sum()))
            uphill = np.abs(factors.solve(np.where(y >= 0, 1.0, -1.0), trans="T"))
            column = int(np.argmax(uphill))
            if not uphill[column] > inverse:
                break
            x = np.eye(1, size, column)[0]
    condition = float(abs(whole).sum(axis=0).max()) * inverse
    return condition if np.isfinite(condition) else np.inf
