"""Newton's method on paths, with the linear solution around the steady state as preconditioner.

With M the matrix of the linear solution, which is the derivative of the equations F along the path at rest, what is
solved is::

    G(x) = M^{-1} F(x) = 0,    G'(x) y = -G(x),    x + lambda y

M^{-1} F says by how much the linear solution would move the path, in the units of the variables, whatever the units of
the equations. Near the path at rest G' is the identity, so that -G itself is a step, and costs nothing. What earlier
steps dx have shown of G', the changes dG of G along them, makes it a better one (Anderson 1965; as a multisecant method
Fang and Saad 2009)::

    x - G - (dX - dG) c,    c = argmin |G - dG c|

Such steps are taken as long as each lowers |G| to a quarter. From then on steps are Newton's own, of a Krylov method,
which needs few products G'(x) v; a product is a derivative along one direction (a JVP) and one solution of the linear
system. A step is shortened until it lowers |G|, to which every direction that leaves less than all of -G leads if the
step is short enough (Dembo, Eisenstat and Steihaug 1982; Eisenstat and Walker 1996).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from estimhank.transition.krylov import gmres

Array = NDArray[np.float64]

#: Newton steps, and products of one step. A path that is found at all takes less than ten of either.
STEPS, PRODUCTS = 40, 60
#: Largest error of a path, as the linear solution sees it, with which it is one.
ERROR = 1e-8
#: Share of a step's right-hand side that may be left: at most, and as a power of how much the last step has gained.
_LEFT, _POWER = 0.05, 2.0
#: Share that must be gone after `PRODUCTS` products, for the direction to be one.
_UNSOLVED = 0.5
#: Share of |G| to which a step by secants has to lower it, for the next one to be of the same kind: a Newton step that
#: gains a thousand takes some six sweeps.
_SECANT = 0.25
#: Halvings of a step, and the share of the expected decrease with which one is accepted.
_HALVINGS, _SUFFICIENT = 12, 1e-4


class Point(NamedTuple):
    """Paths (T, n), residuals of the equations (T, n), M^{-1} times these, (T, n), and what else was seen there."""

    x: Array
    f: Array
    g: Array
    seen: Any = None

    @property
    def residual(self) -> float:
        """The largest of all equations at all dates; infinite where one is not a number."""
        worst = float(np.abs(self.f).max())
        return worst if np.isfinite(worst) else np.inf

    @property
    def error(self) -> float:
        """By how much the linear solution would move a variable at most, as a share of one plus its level."""
        return float(np.nan_to_num(np.abs(self.g) / (1 + np.abs(self.x)), nan=np.inf).max())

    @property
    def distance(self) -> float:
        """|G|; infinite where it is not a number."""
        size = float(np.linalg.norm(self.g))
        return size if np.isfinite(size) else np.inf


class Outcome(NamedTuple):
    """Where the iterations ended.

    ``reason``: ``ok``, ``domain`` (an equation is not a number at the start, or along every step however short),
    ``no_decrease`` (no step lowers the residuals), ``linear`` (the linear equation of a step could not be solved) or
    ``iterations``. ``iterations``: steps, by secants and Newton's; ``evaluations`` of the equations; ``products``:
    derivatives along one direction. ``tried``: of failed steps, the shortest.
    """

    point: Point
    reason: str
    iterations: int
    evaluations: int
    products: int
    tried: Point | None = None


def solve_paths(
    evaluate: Callable[[Array], Point], product: Callable[[Array, Array], Array], start: Array, tolerance: float
) -> Outcome:
    """Paths at which no residual is larger than a tolerance.

    Parameters
    ----------
    evaluate : callable
        Paths (T, n) to a :class:`Point`.
    product : callable
        ``(x, v)``, both (T, n), to G'(x) v, (T, n).
    start : array of shape (T, n)
    tolerance : float
        In the units of the equations.
    """
    point = evaluate(start)
    if not np.isfinite(point.residual):
        return Outcome(point, "domain", 0, 1, 0, point)
    points, tried = _by_secants(evaluate, point, tolerance)
    point, begun = points[-1], len(points) - 1
    evaluations, products, left = begun + 1 + tried, 0, _LEFT

    def ended(reason: str, iteration: int, tried: Point | None = None) -> Outcome:
        return Outcome(point, reason, iteration, evaluations, products, tried)

    for iteration in range(begun, STEPS + 1):
        if _solved(point, tolerance):
            return ended("ok", iteration)
        if iteration == STEPS:
            break
        shape, at = point.g.shape, point.x
        found = gmres(lambda v: product(at, v.reshape(shape)).ravel(), -point.g.ravel(), left, PRODUCTS)  # noqa: B023
        products += found.products
        if not found.remainder <= _UNSOLVED:
            return ended("linear", iteration)
        step, length = found.solution.reshape(shape), 1.0
        for _ in range(_HALVINGS):
            further = evaluate(point.x + length * step)
            evaluations += 1
            if further.distance <= (1 - _SUFFICIENT * length * (1 - found.remainder)) * point.distance:
                break
            length /= 2
        else:
            return ended("no_decrease" if np.isfinite(further.residual) else "domain", iteration, further)
        left = min(_LEFT, (further.distance / point.distance) ** _POWER)
        point = further
    return ended("iterations", STEPS)


def _solved(point: Point, tolerance: float) -> bool:
    return point.residual <= tolerance and point.error <= ERROR


def _by_secants(evaluate: Callable[[Array], Point], start: Point, tolerance: float) -> tuple[list[Point], int]:
    """Points of steps that needed no derivative, and how many further ones were tried in vain, 0 or 1."""
    points = [start]
    while not _solved(points[-1], tolerance) and len(points) <= STEPS:
        last = points[-1]
        step = -last.g
        if len(points) > 1:
            dx, dg = (np.stack([np.diff([getattr(p, part) for p in pair], axis=0)[0].ravel()
                                for pair in pairwise(points)], axis=1) for part in ("x", "g"))  # fmt: skip
            share = np.linalg.lstsq(dg, last.g.ravel(), rcond=None)[0]
            step = step - ((dx - dg) @ share).reshape(step.shape)
        further = evaluate(last.x + step)
        if not further.distance <= _SECANT * last.distance:
            return points, 1
        points.append(further)
    return points, 0
