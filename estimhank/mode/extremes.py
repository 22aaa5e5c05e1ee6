"""What a mode search ended at: a mode inside, a bound of the prior, the edge of the feasible region, or a plateau.

A density can rise until the place where it ceases to exist (an equilibrium stops being determinate). A climb that stops
there has found a supremum over the feasible region, not a mode: no gradient vanishes, no Hessian says how wide the
posterior is, and another step of the search would change the value. Such ends are told apart by what stands in the way
of the gradient.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from estimhank.mode.ascent import Ascent
from estimhank.mode.mode_result import Supremum
from estimhank.mode.objective import Objective
from estimhank.target.protocol import REASONS
from estimhank.target.transform import Transform

Array = NDArray[np.float64]

_RADII = np.geomspace(1e-4, 0.1, 7)  # prior standard deviations along the gradient
_HALVINGS = 12
_RISES = 1e-3  # log points that a prior standard deviation along the gradient promises, at least, where it rises
_LEFT_AT_BOUND = 0.05  # log points that are left to gain on the way to a bound, at most
_FLAT = 1e-3  # of curvature, in prior standard deviations


def find_suprema(objective: Objective, ends: Sequence[Ascent]) -> list[Supremum | None]:
    """For each end of a climb the supremum that it is at, None where no infeasible point is in the gradient's way.

    A climb that has converged is at a mode and is not looked at.
    """
    found: list[Supremum | None] = [None] * len(ends)
    asked = [i for i, end in enumerate(ends) if _may_be_at_an_edge(end, objective.scale)]
    if not asked:
        return found
    ascents = [_direction(ends[i], objective.scale) for i in asked]
    points = np.concatenate([ends[i].x + _RADII[:, None] * a for i, a in zip(asked, ascents, strict=True)])
    codes = _codes(objective, points).reshape(len(asked), len(_RADII))
    for i, ascent, row in zip(asked, ascents, codes, strict=True):
        if (row > 0).any():
            first = int(np.argmax(row > 0))
            found[i] = _supremum(objective, ends[i], ascent, float(_RADII[first]), REASONS[row[first]])
    return found


def _may_be_at_an_edge(end: Ascent, scale: Array) -> bool:
    rises = float(np.linalg.norm(scale * end.gradient)) > _RISES
    return end.status in ("stalled", "rough", "unfinished") and bool(np.isfinite(end.gradient).all()) and rises


def _direction(end: Ascent, scale: Array) -> Array:
    """Steepest ascent where every coordinate is measured in prior standard deviations; one of them long."""
    steepest = scale * end.gradient
    return scale * steepest / np.linalg.norm(steepest)


def _codes(objective: Objective, x: Array) -> NDArray[np.int64]:
    """Why there is no density at coordinates of shape (n, d), as codes; 0 where there is one."""
    batch = objective.batch(objective.target.transform.to_natural(x))
    unsaid = REASONS.index("non_finite")
    codes: NDArray[np.int64] = np.where(batch.ok, 0, np.maximum(batch.reason.astype(int), 0))
    return np.where(~batch.ok & (codes == 0), unsaid, codes)


def _supremum(objective: Objective, end: Ascent, ascent: Array, radius: float, reason: str) -> Supremum:
    """Follow the gradient to the edge by bisection; say which parameters alone lead across it."""
    transform = objective.target.transform
    low, high = 0.0, radius
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if _codes(objective, (end.x + middle * ascent)[None])[0]:
            high = middle
        else:
            low = middle
    x = end.x + low * ascent
    alone = x + np.diag(np.sign(ascent) * objective.scale) * 3 * max(high - low, radius)
    across = _codes(objective, np.concatenate([x[None], alone]))
    names = [name for name, code in zip(objective.target.names, across[1:], strict=True) if code]
    value = objective.natural(x[None])[0].value
    if not np.isfinite(value) or value < end.value:
        x, value = end.x, end.value
    return Supremum(transform.to_natural(x), x, float(value), 1, reason, tuple(names))


def merge_suprema(suprema: Sequence[Supremum], scale: Array, within: float = 0.3) -> tuple[Supremum, ...]:
    """Suprema, the highest first; of those less than ``within`` prior standard deviations apart the highest stands."""
    kept: list[Supremum] = []
    for supremum in sorted(suprema, key=lambda s: -s.log_density):
        for k, other in enumerate(kept):
            if np.linalg.norm((supremum.x - other.x) / scale) < within:
                kept[k] = dataclasses.replace(other, starts=other.starts + supremum.starts)
                break
        else:
            kept.append(supremum)
    return tuple(kept)


def at_bounds(
    transform: Transform, theta: Array, gradient: Array, prior_sd: Array, names: Sequence[str]
) -> tuple[str, ...]:
    """Names of the parameters that a density would carry beyond a bound of their support.

    Parameters
    ----------
    transform : Transform
    theta, gradient : ndarray of shape (d,)
        Where a climb ended; gradient of the log density there, both in natural units.
    prior_sd : ndarray of shape (d,)
        In natural units.
    names : sequence of str
    """
    room = np.where(gradient > 0, np.asarray(transform.upper) - theta, theta - np.asarray(transform.lower))
    with np.errstate(invalid="ignore", over="ignore"):
        pulls = np.abs(gradient) * prior_sd > 10 * _RISES
        near = np.abs(gradient) * room < _LEFT_AT_BOUND
    no_room = room <= 1e-12 * prior_sd  # a density without limit at its bound has no finite gradient there
    return tuple(name for name, hit in zip(names, (pulls & near) | no_room, strict=True) if hit)


def is_flat(hessian: Array, scale: Array) -> bool:
    """Whether a Hessian of minus a log density, in coordinates, has a direction without curvature."""
    if not np.isfinite(hessian).all():
        return False
    eigenvalues = np.linalg.eigvalsh(hessian * np.outer(scale, scale))
    return bool(np.abs(eigenvalues).min() < _FLAT and eigenvalues.min() > -_FLAT)
