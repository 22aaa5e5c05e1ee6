"""What a posterior is made of: a model, data and the priors of the estimated parameters, at a horizon."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from estimhank.data.dataset import Dataset
from estimhank.data.yearly import declared_weights
from estimhank.model.declaration import Model
from estimhank.parameters.priors import Prior

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """What a density is made of, before anything is solved.

    Attributes
    ----------
    model : Model
    data : Dataset
    horizon, tail_start : int
        Dates T, and the date t* from which responses go on at their slow roots.
    priors : dict of str to Prior
        Of the estimated parameters, in the order of every parameter vector.
    """

    model: Model
    data: Dataset
    horizon: int
    tail_start: int
    priors: dict[str, Prior]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Estimated parameters."""
        return tuple(self.priors)

    @cached_property
    def moving(self) -> tuple[str, ...]:
        """Those that move the steady state."""
        return tuple(n for n in self.names if self.model.parameters[n].touches == "steady_state")

    @cached_property
    def weights(self) -> dict[str, tuple[float, ...]]:
        """Of the quarters that each yearly figure speaks of, by column."""
        return declared_weights(self.data)

    def reference(self) -> Array:
        """The parameter table's own values, shape (d,)."""
        return np.array([self.model.parameters[name].value for name in self.names], float)

    def mapping(self, point: Array) -> dict[str, float]:
        """Parameters of a point (d,) by name."""
        return dict(zip(self.names, point.tolist(), strict=True))
