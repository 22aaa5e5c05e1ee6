"""Where the edge of the feasible region runs through the posterior: noticed, bracketed, and given to the surrogate.

A round notices the edge when some of its draws at temperature 1 have no density. Each such draw and the nearest point
that posterior draws can reach have the edge between them; bisection brings both ends so close together that what lies
between them does not matter. All segments are halved at once, one batch of exact evaluations a step; what they find, on
both sides, goes to the store and to the training points like any other evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from estimhank.evaluation.evaluations import EvaluationBatch
from estimhank.surrogate.feasibility import HIDDEN, Edge, learn_edge
from estimhank.surrogate.points import Points, near_posterior, points_from, typical_depth, usable
from estimhank.surrogate.stage_config import SurrogateConfig
from estimhank.surrogate.surrogate import Surrogate, whiten
from estimhank.target.protocol import Target

Array = NDArray[np.float64]

#: Share of a round's draws at temperature 1 without a density from which on the edge is learned.
NOTICED = 0.01
_SEGMENTS, _TOLERANCE, _HALVINGS = 64, 0.005, 10
_AROUND = 1.5  # multiple of the trust region's radius within which points say where the edge is
_MOST = 20_000  # points of a classifier, the latest

EvaluateX = Callable[[int, Array], EvaluationBatch]


@dataclass
class EdgeSearch:
    """What a surrogate stage knows of the edge.

    Attributes
    ----------
    target : Target
    config : SurrogateConfig
        Its ``max_points`` bounds the points that the edge is learned from.
    known : bool
        Whether the edge has been noticed.
    evaluations : int
        Exact evaluations of all searches.
    """

    target: Target
    config: SurrogateConfig
    known: bool = False
    evaluations: int = 0

    def training_points(self, points: Points) -> Points:
        """Points to fit the density to: where the edge is learned apart, without those that have none."""
        return replace(points, infeasible=points.infeasible[:0]) if self.known else points

    def attach(self, surrogate: Surrogate, points: Points, seed: int) -> Surrogate:
        """The surrogate with the edge that the points show, if one has been noticed."""
        if not self.known:
            return surrogate
        edge = _edge_of(surrogate, points, seed, self.config)
        return surrogate if edge is None else surrogate.with_edge(edge, HIDDEN)

    def look(
        self, x: Array, feasible: NDArray[np.bool_], cold: int, points: Points, surrogate: Surrogate, ask: EvaluateX
    ) -> Points | None:
        """What a search finds that a round's draws give reason for; None where they give none.

        Parameters
        ----------
        x : ndarray of shape (n, d)
            Coordinates of the round's draws, the first ``cold`` of them at temperature 1.
        feasible : ndarray of bool, shape (n,)
            Which of them have a density.
        cold : int
        points : Points
            All points, those of the round included.
        surrogate : Surrogate
        ask : callable
            ``ask(step, x)`` gives exact evaluations at coordinates x.
        """
        share = float((~feasible[:cold]).mean()) if cold else 0.0
        self.known = self.known or share > NOTICED
        if not self.known:
            return None
        # draws at temperature 1 come first, then the others, as far as they are near
        outside = x[~feasible]
        outside = outside[~surrogate.outside(outside)][:_SEGMENTS]
        inside = points.x[near_posterior(points, surrogate.freedom)]
        if not len(outside) or not len(inside):
            return None
        z, z_inside = (whiten(p, surrogate.center, surrogate.root) for p in (outside, inside))
        _, nearest = cKDTree(z_inside).query(z)
        return self._bisect(z_inside[nearest], z, surrogate, ask)

    def _bisect(self, inside: Array, outside: Array, surrogate: Surrogate, ask: EvaluateX) -> Points | None:
        found: Points | None = None
        for step in range(_HALVINGS):
            wide = np.linalg.norm(outside - inside, axis=1) > _TOLERANCE
            if not wide.any():
                break
            middle = 0.5 * (inside[wide] + outside[wide])
            batch = ask(step, surrogate.unwhiten(middle))
            self.evaluations += len(batch)
            more = points_from(batch, self.target.transform)
            found = more if found is None else found.extend(more)
            rows = np.flatnonzero(wide)
            inside[rows[batch.ok]], outside[rows[~batch.ok]] = middle[batch.ok], middle[~batch.ok]
        return found


def _edge_of(surrogate: Surrogate, points: Points, seed: int, config: SurrogateConfig) -> Edge | None:
    feasible = usable(points, 0.0, config.max_points).x[-_MOST:]
    parts = [feasible, points.infeasible[-_MOST:]]
    near = [x[~surrogate.outside(x, _AROUND)] if len(x) else x for x in parts]
    z = [whiten(x, surrogate.center, surrogate.root) if len(x) else x for x in near]
    top = float(points.log_density.max()) - surrogate.constant
    return learn_edge(z[0], z[1], top, typical_depth(surrogate.dimension, surrogate.freedom), seed)
