"""Where a density of household parameters falls from a cliff: households that gather, and become constrained.

On a grid of assets and productivities households gather: those of low productivity at the borrowing constraint, the
others at the *fixed point* a'(e, a) = a of their savings policy, where it leads to while productivity stays what it is.
As a fixed point meets the constraint, all who sit there have another marginal propensity to consume at once, and with a
tenth of all households there the log likelihood jumps by several log points. A smooth surrogate cannot follow; one that
is told which side of the constraint a state is on can (:mod:`estimhank.surrogate.cliff_finder`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from estimhank.households.stationary import HouseholdSteadyState
from estimhank.target.cliffs import Cliffs

Array = NDArray[np.float64]


def household_cliffs(steady: HouseholdSteadyState) -> Cliffs:
    """Distance of each productivity state's fixed point to the constraint, and the mass next to it.

    The distance is how far below the first grid point, in cells, a state would have to be for nothing to be saved:
    negative where the constraint binds there. Where the endogenous grid is known it gives the distance: today's assets
    from which the first grid point is chosen are a smooth function of the parameters on either side of the constraint.
    Policies alone say the same with the noise of interpolation. For households of one asset.
    """
    a = np.asarray(steady.grids.a, float)
    policy, mass = np.asarray(steady.policies.assets, float), np.asarray(steady.distribution, float)
    origins = steady.policies.endogenous_grid
    distance, gathered = np.empty(len(policy)), np.empty(len(policy))
    for e, saved in enumerate(policy):
        origin = None if origins is None else np.asarray(origins[e], float)
        if origin is None or not _is_grid(origin, a):
            threshold, dissaves = _nothing_saved(saved - a[0], a), saved <= a
        else:
            threshold, dissaves = float(origin[0]), origin >= a
        distance[e] = (a[0] - threshold) / (a[1] - a[0])
        first = int(dissaves.argmax()) if dissaves.any() else len(a) - 1
        gathered[e] = mass[e, max(first - 1, 0) : first + 1].sum()
    return Cliffs(distance, gathered)


def cliffs_of(households: Sequence[HouseholdSteadyState]) -> Cliffs | None:
    """Those of a model's households, by block; None where they are not known: of several blocks, or several assets."""
    if len(households) != 1 or len(households[0].grids.assets) != 1:
        return None
    return household_cliffs(households[0])


def _is_grid(origin: Array, a: Array) -> bool:
    """Whether an endogenous grid, which a model's author gives, is one."""
    return origin.shape == a.shape and bool(np.isfinite(origin).all()) and bool((np.diff(origin) > 0).all())


def _nothing_saved(saved: Array, a: Array) -> float:
    """Assets at which nothing is saved, extrapolated from the first grid points at which something is.

    To second order: the two sides of the constraint then agree where they meet, although they see other grid points.
    """
    j = int(np.argmax(saved > 0)) if (saved > 0).any() else len(a) - 3
    j = min(j, len(a) - 3)
    slopes = np.diff(saved[j : j + 3]) / np.diff(a[j : j + 3])
    slope = slopes[0] if j == 0 else 2 * slopes[0] - slopes[1]
    return float(a[j] - saved[j] / max(slope, 1e-6))
