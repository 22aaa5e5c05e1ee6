"""A log density has one value at a point: what was evaluated is evaluated again, and must come out the same.

Noise in a density, a Monte Carlo likelihood or a solver that starts from where it was left, is not averaged out by an
exact step: a chain stays where a value happened to come out high, and its draws are those of another distribution.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from estimhank.support.errors import EstimhankError

Array = NDArray[np.float64]

#: Log points by which two values at a point may differ, and their share of the value: noise that changes no draw.
TOLERANCE, SHARE = 1e-4, 1e-9


class NotRepeatable(EstimhankError):
    """The log density has not returned the same value twice at the same point."""


def check_repeatable(names: Sequence[str], theta: Array, first: Array, again: Array) -> None:
    """Compare log densities (n,) with those of a second evaluation at the same points theta (n, d).

    Raises
    ------
    NotRepeatable
        If one differs by more than :data:`TOLERANCE`, or there is a density once and not the other time.
    """
    first, again = (np.where(np.isfinite(a), a, -np.inf) for a in (first, again))
    with np.errstate(invalid="ignore"):
        off = np.where(first == again, 0.0, np.abs(first - again) - SHARE * np.abs(first))
    if not len(off) or off.max() <= TOLERANCE:
        return
    i = int(off.argmax())
    point = ", ".join(f"{name} = {float(value)!r}" for name, value in zip(names, theta[i], strict=True))
    raise NotRepeatable(
        f"the log density is not a function of the parameters alone: at {point} it was {first[i]:.10g} and then "
        f"{again[i]:.10g}; take random numbers out of it (or draw them once, before it is called), and anything that "
        "it remembers from one call to the next"
    )
