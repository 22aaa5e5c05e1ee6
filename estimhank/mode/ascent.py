"""Quasi-Newton ascent of several starts in lockstep: each round asks for one point of every start that is not finished.

The steps are those of BFGS with a weak-Wolfe line search by bisection (Lewis and Overton 2013), which needs nothing of
an infeasible point but that it is one, so a search backs off from where the density does not exist. Everything is a
function of the start, so that a resumed run asks for the same points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_ARMIJO, _WOLFE = 1e-4, 0.9
_MOST_TRIALS = 20
_POLL_RADII = (1.0, 0.25, 0.05)
_MOST_POLLS = 2
#: Shares of the way from the start to the interior at which a search that stalls begins again.
_RETREATS = (0.0, 0.5, 0.75, 0.9)
_LONGEST_STEP = 5.0
#: A climb that has gained less than this (log points) with the last so many evaluations is at a kink or among jumps.
_HARDLY, PATIENCE = 1e-3, 25


@dataclass(frozen=True)
class Value:
    """Objective and gradient, shape (d,), at a point; an infeasible point has value ``-inf``."""

    value: float
    gradient: Array

    @property
    def feasible(self) -> bool:
        """Whether both are finite."""
        return math.isfinite(self.value) and bool(np.isfinite(self.gradient).all())


@dataclass(frozen=True)
class Ascent:
    """Where one start ended.

    Attributes
    ----------
    x : ndarray of shape (d,)
        The best point found.
    value : float
        The objective there.
    gradient : ndarray of shape (d,)
        Its gradient.
    metric : ndarray of shape (d, d)
        Approximate inverse of minus the Hessian.
    evaluations : int
        Points asked for.
    status : {"converged", "stalled", "rough", "unfinished", "infeasible"}
        ``"stalled"``: no better point along the last direction nor around (a kink, or the edge of the feasible region).
        ``"rough"``: hardly better ones for long, as where the objective has small jumps.
    """

    x: Array
    value: float
    gradient: Array
    metric: Array
    evaluations: int
    status: str


Search = Generator[Array, Value, Ascent]


def ascend(
    start: Array,
    metric: Array,
    max_evaluations: int = 400,
    tolerance: float = 1e-8,
    interior: Array | None = None,
    patience: int = PATIENCE,
) -> Search:
    """Climb from ``start``: yields the points it wants evaluated, is sent their :class:`Value`, returns an `Ascent`.

    A climb that runs into the edge of the feasible region looks around it; if it comes back to the edge it begins again
    on the way from its start to ``interior``, each time further along.

    Parameters
    ----------
    start : ndarray of shape (d,)
        A feasible point.
    metric : ndarray of shape (d, d)
        Positive definite guess of the inverse of minus the Hessian; it also says how long a step may be.
    max_evaluations : int
        Evaluations after which the search ends, finished or not.
    tolerance : float
        The search has converged when the gain that the quadratic model still promises is below this, twice running.
    interior : ndarray of shape (d,), optional
        A point well inside the feasible region.
    patience : int
        Evaluations that may gain next to nothing before a climb ends as a rough one; and most trials of a line search.
    """
    best: Ascent | None = None
    used, stalled = 0, False
    shares = _RETREATS if interior is not None else _RETREATS[:1]
    for share in shares:
        begin = start if interior is None else start + share * (interior - start)
        climb = yield from _climb(
            np.array(begin, float), np.array(metric, float), max_evaluations - used, tolerance, patience
        )
        used, stalled = used + climb.evaluations, stalled or climb.status == "stalled"
        if best is None or climb.value > best.value:
            best = climb
        if best.status in ("converged", "rough") or used >= max_evaluations:
            break
    assert best is not None
    # a later climb that ran out of evaluations does not hide that the search met an edge
    status = "stalled" if stalled and best.status == "unfinished" else best.status
    return replace(best, evaluations=used, status=status)


def restrict(search: Search, start: Array, free: NDArray[np.intp]) -> Search:
    """A search in some of the coordinates as one in all: the others stay at those of ``start``.

    Gradient and metric of what it returns are those of the free coordinates.
    """

    def whole(part: Array) -> Array:
        x = np.array(start, float)
        x[free] = part
        return x

    point = next(search)
    while True:
        value = yield whole(point)
        try:
            point = search.send(Value(value.value, value.gradient[free]))
        except StopIteration as finished:
            end: Ascent = finished.value
            return replace(end, x=whole(end.x))


def _climb(x: Array, metric: Array, max_evaluations: int, tolerance: float, patience: int) -> Search:
    """BFGS from one point."""
    h, ruler = metric.copy(), np.linalg.inv(np.linalg.cholesky(metric))
    here = yield x
    used, small, fresh, polls = 1, 0, True, 0
    mark = (used, here.value)
    if not here.feasible:
        return Ascent(x, here.value, here.gradient, h, used, "infeasible")
    while used < max_evaluations:
        if here.value - mark[1] > _HARDLY:
            mark = (used, here.value)
        elif used - mark[0] >= patience:
            return Ascent(x, here.value, here.gradient, h, used, "rough")
        direction = h @ here.gradient
        slope = float(direction @ here.gradient)
        small = small + 1 if slope / 2 < tolerance else 0
        if small == 2:
            return Ascent(x, here.value, here.gradient, h, used, "converged")
        longest = _LONGEST_STEP / max(float(np.linalg.norm(ruler @ direction)), 1e-300)
        line = yield from _search_line(x, here, direction, slope, min(1.0, longest), longest, patience)
        step, there, spent, edge = line
        used += spent
        if edge:
            mark = (used, here.value)  # a climb along the edge of the feasible region is slow for another reason
        if there is None:
            if small:
                return Ascent(x, here.value, here.gradient, h, used, "converged")  # rounding hides what is left to gain
            if fresh and not edge:
                # the gradient promises more than there is at any distance, and no infeasible point is near: a jump
                return Ascent(x, here.value, here.gradient, h, used, "rough")
            if fresh:
                polls += 1
                if polls > _MOST_POLLS:
                    return Ascent(x, here.value, here.gradient, h, used, "stalled")
                x, found, spent = yield from _poll(x, here, metric)
                used += spent
                if found is None:
                    return Ascent(x, here.value, here.gradient, h, used, "stalled")
                here = found
            h, fresh = metric.copy(), True
            continue
        s, y = step * direction, here.gradient - there.gradient
        x, here = x + s, there
        h, fresh = _update(h, s, y, fresh)
    return Ascent(x, here.value, here.gradient, h, used, "unfinished")


def _search_line(
    x: Array, here: Value, direction: Array, slope: float, step: float, longest: float, patience: int
) -> Generator[Array, Value, tuple[float, Value | None, int, bool]]:
    """Bracket and halve until both Wolfe conditions hold, or until a trial at the longest step still climbs.

    Returns step, value, evaluations, and whether a trial was infeasible.
    """
    low, high, edge = 0.0, math.inf, False
    best: tuple[float, Value] | None = None
    most = min(_MOST_TRIALS, patience)
    for trial in range(1, most + 1):
        there = yield x + step * direction
        edge = edge or not there.feasible
        if not there.feasible or there.value < here.value + _ARMIJO * step * slope:
            high = step
        else:
            best = step, there
            if float(there.gradient @ direction) <= _WOLFE * slope or step >= longest:
                return step, there, trial, edge
            low = step
        step = min(2 * low, longest) if math.isinf(high) else (low + high) / 2
    # Armijo alone is enough to go on from; _update keeps the metric positive definite
    return (*best, most, edge) if best else (0.0, None, most, edge)


def _poll(x: Array, here: Value, metric: Array) -> Generator[Array, Value, tuple[Array, Value | None, int]]:
    """Look for a better point around one at which the gradient points out of the feasible region.

    Tried are the gradient's direction with one coordinate left out at a time (the edge usually stands across few
    coordinates, and the climb goes on along it) and each coordinate alone, both ways; then the same at smaller radii.
    """
    root = np.linalg.cholesky(metric)
    gradient = root.T @ here.gradient
    along = np.tile(gradient, (len(x), 1)) * (1 - np.eye(len(x)))
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-300)
    directions = np.concatenate([along, np.eye(len(x)), -np.eye(len(x))]) @ root.T
    spent = 0
    for radius in _POLL_RADII:
        best: tuple[Array, Value] | None = None
        for direction in directions:
            there = yield x + radius * direction
            spent += 1
            if there.feasible and there.value > (best[1] if best else here).value:
                best = x + radius * direction, there
        if best:
            return (*best, spent)
    return x, None, spent


def _update(h: Array, s: Array, y: Array, fresh: bool) -> tuple[Array, bool]:
    """BFGS update of the inverse Hessian; skipped where the curvature along the step is not that of a maximum."""
    curvature = float(s @ y)
    if curvature <= 1e-12 * math.sqrt(float(s @ s) * float(y @ y)):
        return h, fresh
    if fresh:
        h = h * (curvature / float(y @ h @ y))
    left = np.eye(len(s)) - np.outer(s, y) / curvature
    return left @ h @ left.T + np.outer(s, s) / curvature, False


def run_in_lockstep(searches: Sequence[Search], evaluate: Callable[[Array], list[Value]]) -> list[Ascent]:
    """Run searches together; ``evaluate`` gets one point of each unfinished search, shape (k, d), each round."""
    results: dict[int, Ascent] = {}
    wanted = {i: next(search) for i, search in enumerate(searches)}
    while wanted:
        values = evaluate(np.stack(list(wanted.values())))
        answered = dict(zip(wanted, values, strict=True))
        wanted = {}
        for i, value in answered.items():
            try:
                wanted[i] = searches[i].send(value)
            except StopIteration as finished:
                results[i] = finished.value
    return [results[i] for i in range(len(searches))]
