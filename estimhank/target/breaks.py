"""Where a density may jump, as a target that knows says it (:mod:`estimhank.target.protocol`)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Breaks(NamedTuple):
    """Where a density may jump, m places of it, seen from one parameter vector.

    Attributes
    ----------
    margin : ndarray of shape (m,)
        Moves smoothly with the parameters; the density may jump where it changes sign.
    position : ndarray of shape (m,)
        The same where the margin is positive, nan elsewhere; the density may jump where it crosses an integer.
    mass : ndarray of shape (m,)
        Households that jump: how large a jump is grows with it.
    """

    margin: Array
    position: Array
    mass: Array
