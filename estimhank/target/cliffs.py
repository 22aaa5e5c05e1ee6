"""Where a density falls from cliffs, as a target that knows says it (:mod:`estimhank.target.protocol`)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Cliffs(NamedTuple):
    """Where a density may jump, m places of it, seen from one parameter vector.

    Attributes
    ----------
    distance : ndarray of shape (m,)
        Smooth in the parameters; the density may jump where it changes sign. Of households, the distance to the
        borrowing constraint in cells of the asset grid.
    mass : ndarray of shape (m,)
        Share of households next to the fixed point of their savings policy; a cliff is as high as it is large, and one
        with less than 0.02 is left out.
    """

    distance: Array
    mass: Array
