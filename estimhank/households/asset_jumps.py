"""Where a density of household parameters jumps: households that gather at one point of the asset grid.

On a grid of assets and productivities households gather: those of low productivity at the borrowing constraint, the
others at the *fixed point* a'(e, a) = a of their savings policy, where it leads to while productivity stays what it is.
A policy is kinked at every grid point, so the response of those who sit at a fixed point jumps when that crosses a grid
point, and most of all when it leaves the constraint: all of them have another marginal propensity to consume at once.
With a tenth of all households there, the log likelihood jumps by tenths, at the constraint by several log points. A
smooth surrogate cannot follow; one that is told where the fixed point is can (:mod:`estimhank.surrogate.jump_finder`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq

from estimhank.households.stationary import HouseholdSteadyState
from estimhank.target.jumps import Jumps

Array = NDArray[np.float64]

_NEIGHBOURS = 4  # grid points on either side that an interpolation reads


def asset_jumps(steady: HouseholdSteadyState) -> Jumps:
    """Grid index of each productivity state's fixed point, its distance to the constraint, and the mass next to it.

    Of a smooth discretisation no index is given: its density jumps at the constraint alone.

    The first grid point has index 0. The distance is how far below it, in cells, a state would have to be for nothing
    to be saved: negative where the constraint binds there. Where the endogenous grid is known it gives both: today's
    assets from which a grid point is chosen are a smooth function of the parameters on either side of the constraint,
    and equal the grid point exactly where the policy does. Policies alone say the same with the noise of interpolation.
    For households of one asset.
    """
    a = np.asarray(steady.grids.a, float)
    policy, mass = np.asarray(steady.policies.assets, float), np.asarray(steady.distribution, float)
    origins = steady.policies.endogenous_grid
    distance, grid_index, gathered = (np.full(len(policy), np.nan) for _ in range(3))
    for e, saved in enumerate(policy):
        origin = None if origins is None else np.asarray(origins[e], float)
        if origin is None or not _is_grid(origin, a):
            threshold, saves, excess = _nothing_saved(saved - a[0], a), bool(saved[0] > a[0]), saved - a
        else:
            threshold, saves, excess = float(origin[0]), bool(origin[0] < a[0]), a - origin
        distance[e] = (a[0] - threshold) / (a[1] - a[0])
        if saves:
            place = _crossing(excess)
            grid_index[e] = place if steady.transition.kinked else np.nan
            low = min(int(place), len(a) - 2)
            gathered[e] = mass[e, low : low + 2].sum()
        else:
            gathered[e] = mass[e, 0]
    return Jumps(distance, grid_index, gathered)


def _is_grid(origin: Array, a: Array) -> bool:
    """Whether an endogenous grid, which a model's author gives, is one."""
    return origin.shape == a.shape and bool(np.isfinite(origin).all()) and bool((np.diff(origin) > 0).all())


def _crossing(excess: Array) -> float:
    """Grid index at which saving beyond today's assets falls to zero, by a cubic through neighbouring grid points.

    ``excess`` (n_a,), positive at the first grid point: of the policy, or the distance from the assets that a grid
    point is chosen from. A line in place of the cubic would kink the index once in each cell.
    """
    below = np.flatnonzero(excess <= 0)
    if not below.size:
        return float(len(excess) - 1)
    j = int(below[0])
    low = max(j - _NEIGHBOURS, 0)
    rows = np.arange(low, min(low + 2 * _NEIGHBOURS, len(excess)))
    return float(brentq(CubicSpline(rows, excess[rows]), j - 1, j))


def _nothing_saved(saved: Array, a: Array) -> float:
    """Assets at which nothing is saved, extrapolated from the first grid points at which something is.

    To second order: the two sides of the constraint then agree where they meet, although they see other grid points.
    """
    j = int(np.argmax(saved > 0)) if (saved > 0).any() else len(a) - 3
    j = min(j, len(a) - 3)
    slopes = np.diff(saved[j : j + 3]) / np.diff(a[j : j + 3])
    slope = slopes[0] if j == 0 else 2 * slopes[0] - slopes[1]
    return float(a[j] - saved[j] / max(slope, 1e-6))
