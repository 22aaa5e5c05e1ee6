"""Where the edge of the feasible region runs through the posterior: noticed, bracketed, and given to the surrogate.

A round notices the edge when some of its draws at temperature 1 have no density. Each such draw and the nearest point
that posterior draws can reach have the edge between them; bisection brings both ends so close together that what lies
between them does not matter. All segments are halved at once, one batch of exact evaluations a step; what they find, on
both sides, goes to the store and to the training points like any other evaluation.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from estimhank.evaluation.evaluations import EvaluationBatch
from estimhank.surrogate.feasibility import HIDDEN, learn_edge
from estimhank.surrogate.points import Points, near_posterior, points_from, typical_depth, usable
from estimhank.surrogate.policy import SURROGATE_POLICY as POLICY
from estimhank.surrogate.surrogate import Surrogate, whiten
from estimhank.target.transform import Transform

Array = NDArray[np.float64]


#: ``ask(step, x)``: exact evaluations at coordinates x, shape (n, d), the step-th batch of a search.
Ask = Callable[[int, Array], EvaluationBatch]


def cut_off_at_edge(surrogate: Surrogate, points: Points, seed: int, most: int) -> Surrogate:
    """The surrogate, cut off at the edge that the latest ``most`` points show; as it is where they are too few."""
    parts = [usable(points, 0.0, most).x[-POLICY.edge_points :], points.infeasible[-POLICY.edge_points :]]
    near = [x[~surrogate.outside(x, POLICY.around)] if len(x) else x for x in parts]
    z = [whiten(x, surrogate.center, surrogate.root) if len(x) else x for x in near]
    top = float(points.log_density.max()) - surrogate.constant
    edge = learn_edge(z[0], z[1], top, typical_depth(surrogate.dimension, surrogate.freedom), seed)
    return surrogate if edge is None else surrogate.with_edge(edge, HIDDEN)


def bracket_edge(
    x: Array, feasible: NDArray[np.bool_], points: Points, surrogate: Surrogate, transform: Transform, ask: Ask
) -> Points:
    """Points on both sides of the edge, next to it.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Coordinates of a round's draws, those at temperature 1 first; the others count as far as they are near.
    feasible : ndarray of bool, shape (n,)
        Which of them have a density.
    points : Points
        All points, those of the round included.
    surrogate : Surrogate
    transform : Transform
    ask : callable
    """
    found = points.select(slice(0)).without_failures()
    outside = x[~feasible]
    outside = outside[~surrogate.outside(outside)][: POLICY.segments]
    near = points.x[near_posterior(points, surrogate.freedom)]
    if not len(outside) or not len(near):
        return found
    z, inside = (whiten(p, surrogate.center, surrogate.root) for p in (outside, near))
    inside = inside[cKDTree(inside).query(z)[1]]
    for step in range(POLICY.halvings):
        wide = np.flatnonzero(np.linalg.norm(z - inside, axis=1) > POLICY.tolerance)
        if not len(wide):
            break
        middle = 0.5 * (inside[wide] + z[wide])
        batch = ask(step, surrogate.unwhiten(middle))
        found = found.extend(points_from(batch, transform))
        inside[wide[batch.ok]], z[wide[~batch.ok]] = middle[batch.ok], middle[~batch.ok]
    return found
