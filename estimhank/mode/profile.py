"""The profile density: a function of the steady-state parameters alone, for the mode search."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from estimhank.mode.ascent import Ascent, Value, ascend, restrict, run_in_lockstep
from estimhank.mode.objective import Objective

Array = NDArray[np.float64]

_NEARLY_THERE = 1e-5  # log points that a climb in some of the parameters may leave


@dataclass
class Profile:
    """The objective as a function of the steady-state parameters alone, the others at their best.

    A gradient that goes through the steady state costs several times a partial one, which finds the steady state where
    it was left. So for each value of the steady-state parameters the others climb to the top, from where they were at
    the nearest value before; the gradient there along the steady-state parameters is the profile's (envelope theorem).

    Attributes
    ----------
    objective : Objective
    steady_state : ndarray of bool, shape (d,)
        Which parameters are the profile's own.
    most : int
        Steps of a climb of the others, at most.
    tops : dict
        By the bytes of the steady-state parameters' coordinates: all coordinates, and the metric of those that climb.
    """

    objective: Objective
    steady_state: NDArray[np.bool_]
    most: int
    tops: dict[bytes, tuple[Array, Array]]

    def keep(self, x: Array, metric: Array) -> None:
        """Remember where the others are at these coordinates, shape (d,)."""
        self.tops[x[self.steady_state].tobytes()] = np.array(x), metric

    def evaluate(self, points: Array) -> list[Value]:
        """The profile at the steady-state parameters' coordinates of shape (n, k)."""
        free = np.flatnonzero(~self.steady_state)
        climbs = []
        for point in points:
            near, metric = self._nearest(point)
            x = near.copy()
            x[self.steady_state] = point
            climbs.append(restrict(ascend(x[free], metric, self.most, _NEARLY_THERE), x, free))
        ends = run_in_lockstep(climbs, self.objective.partial)
        values = self.objective.natural(np.stack([end.x for end in ends]))
        for end, value in zip(ends, values, strict=True):
            if value.feasible:
                self.keep(end.x, end.metric)
        return [Value(value.value, value.gradient[self.steady_state]) for value in values]

    def complete(self, end: Ascent, prior_sd: Array) -> Ascent:
        """The end of a climb of the profile as one in all coordinates."""
        x, metric = self._nearest(end.x)
        whole = np.diag(prior_sd**2)
        whole[np.ix_(~self.steady_state, ~self.steady_state)] = metric
        whole[np.ix_(self.steady_state, self.steady_state)] = end.metric
        gradient = np.zeros(len(x))
        gradient[self.steady_state] = end.gradient
        return dataclasses.replace(end, x=x, metric=whole, gradient=gradient)

    def _nearest(self, point: Array) -> tuple[Array, Array]:
        if (key := point.tobytes()) in self.tops:
            return self.tops[key]
        scale = self.objective.scale[self.steady_state]
        found = list(self.tops.values())
        distance = [np.linalg.norm((x[self.steady_state] - point) / scale) for x, _ in found]
        return found[int(np.argmin(distance))]
