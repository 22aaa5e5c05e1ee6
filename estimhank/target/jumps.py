"""Where a density may jump, as a target that knows says it (:mod:`estimhank.target.protocol`)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Jumps(NamedTuple):
    """Where a density may jump, m places of it, seen from one parameter vector.

    Attributes
    ----------
    distance : ndarray of shape (m,)
        Distance to the borrowing constraint in cells of the asset grid, smooth in the parameters; the density may jump
        where it changes sign.
    grid_index : ndarray of shape (m,)
        Grid index of the savings policy's fixed point, nan at the constraint and where nothing jumps at grid points;
        the density may jump at integers.
    mass : ndarray of shape (m,)
        Share of households next to the fixed point; jumps grow with it.
    """

    distance: Array
    grid_index: Array
    mass: Array
