"""Where a coordinate has a tail only because its parameter ends at a bound: places to evaluate there.

A parameter of which the posterior density is positive at a bound of its support, however small, has a coordinate whose
density falls like the Jacobian of the transform, to minus infinity, while the rest of the posterior may be ten times
narrower than that. Few draws are there, and none of a surrogate that has not seen such a place: it extrapolates what it
knows of the bulk, which is far too low. What to expect needs no exact evaluation. Let l be the logarithm of the
distance to the bound, l_0 that of one of the outermost points. Beyond it the log density of the parameter is taken to
be

    here + k (l - l_0) + h (l - l_0)^2 / 2

with the k and h that the surrogate shows from l_0 inwards: in the bulk h is far below zero, next to a bound at which
the density is positive both vanish, and of a power of the distance k is the exponent. Where h is not negative it is
taken to be zero, and then k is not negative. The Jacobian is known. Places that are expected to matter, and that the
surrogate does not know or holds for less probable, are worth an evaluation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from estimhank.mode.starts import farthest_first
from estimhank.surrogate.points import Points, typical_depth
from estimhank.surrogate.policy import SURROGATE_POLICY as POLICY
from estimhank.surrogate.surrogate import Surrogate, whiten
from estimhank.target.transform import Transform

Array = NDArray[np.float64]

_OUTERMOST = 32  # points from which a bound is approached
_FACTORS = np.geomspace(0.5, 1e-5, 16)  # of the distance to the bound
_INWARDS = 0.5  # s.d. of the logarithm of the distance, by which two steps inwards show how the density changes


def towards_bounds(known: Points, surrogate: Surrogate, transform: Transform, n: int) -> Array:
    """Up to ``n`` places between a point and a bound, where the surrogate may be far too low; shape (m, d).

    Parameters
    ----------
    known : Points
        What has been evaluated.
    surrogate : Surrogate
    transform : Transform
    n : int
    """
    lowest = known.log_density.max(initial=-np.inf) - typical_depth(surrogate.dimension, surrogate.freedom)
    points = known.select(known.log_density > lowest)
    if not transform.sides or not len(points):
        return known.x[:0]
    found, rows, steps = zip(*(_approach(points.x, transform, *side) for side in transform.sides), strict=True)
    # points, two steps inwards, and nearer to the bound: (bound, point, 3 + factor, d)
    x = np.stack(found)
    jacobian = transform.log_jacobian(x)
    value = surrogate.log_density(x.reshape(-1, x.shape[-1])).reshape(x.shape[:-1])
    here = points.log_density[np.stack(rows)] - jacobian[..., 0]
    step, log_factor = np.array(steps)[:, None], np.log(_FACTORS)
    first, second, third = np.moveaxis((value - jacobian)[..., :3], -1, 0)
    bend = np.minimum((third - 2 * second + first) / step**2, 0.0)
    power = (second - first) / step - 0.5 * bend * step
    power = np.where(bend < 0, power, np.maximum(power, 0.0))
    expected = here[..., None] + power[..., None] * log_factor + 0.5 * bend[..., None] * log_factor**2
    expected += jacobian[..., 3:]
    x, value = x[..., 3:, :], value[..., 3:]
    matters = expected > lowest
    x, lacking = x[matters], (expected - value)[matters] > POLICY.underrated
    x = x[lacking | surrogate.outside(x)] if len(x) else x
    if not len(x):
        return known.x[:0]
    seen = np.concatenate([known.x, known.infeasible])
    z, seen_z = (whiten(a, surrogate.center, surrogate.root) for a in (x, seen))
    nearest = cKDTree(seen_z).query(z)[1]
    x, z = x[nearest < len(known.x)], z[nearest < len(known.x)]  # next to an infeasible place there is nothing to find
    places: Array = x[farthest_first(z, seen_z, n)]
    return places


def _approach(
    points: Array, transform: Transform, parameter: int, upper: bool
) -> tuple[Array, NDArray[np.int64], float]:
    """The outermost points at a bound, steps inwards and all factors nearer, shape (point, 3 + factor, d); which points
    they are; and how long a step is.

    Not a number where steps lead beyond the other bound: the first one is nowhere near then.
    """
    distance = transform.log_distance(points[:, parameter], parameter, upper)
    step = _INWARDS * float(np.std(distance)) + 1e-12
    outermost = np.argsort(distance, kind="stable")[:_OUTERMOST]
    x = np.repeat(points[outermost, None], 3 + len(_FACTORS), axis=1)
    there = distance[outermost, None] + np.concatenate([[step, 2 * step], np.log(_FACTORS)])
    x[:, 1:, parameter] = transform.at_log_distance(there, parameter, upper)
    return x, outermost, step
