"""Newton's method on paths, with the linear solution around the steady state as preconditioner.

With M the matrix of the linear solution, which is the derivative of the equations F along the path at rest, what is
solved is::

    G(x) = M^{-1} F(x) = 0,    G'(x) y = -G(x),    x + lambda y

M^{-1} F says by how much the linear solution would move the path, in the units of the variables, whatever the units of
the equations. Near the path at rest G' is the identity, so that a Krylov method needs few products G'(x) v, and a
product is a derivative along one direction (a JVP) and one solution of the linear system. A step is shortened until it
lowers |G|, to which every direction that leaves less than all of -G leads if the step is short enough (Dembo, Eisenstat
and Steihaug 1982; Eisenstat and Walker 1996).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

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
#: Halvings of a step, and the share of the expected decrease with which one is accepted.
_HALVINGS, _SUFFICIENT = 12, 1e-4


class Point(NamedTuple):
    """Paths (T, n), residuals of the equations (T, n), and M^{-1} times these, (T, n)."""

    x: Array
    f: Array
    g: Array

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
    ``iterations``. ``tried``: of failed steps, the shortest.
    """

    point: Point
    reason: str
    iterations: int
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
    point, products, left = evaluate(start), 0, _LEFT
    if not np.isfinite(point.residual):
        return Outcome(point, "domain", 0, 0, point)
    for iteration in range(STEPS + 1):
        if point.residual <= tolerance and point.error <= ERROR:
            return Outcome(point, "ok", iteration, products)
        if iteration == STEPS:
            break
        shape, at = point.g.shape, point.x
        found = gmres(lambda v: product(at, v.reshape(shape)).ravel(), -point.g.ravel(), left, PRODUCTS)  # noqa: B023
        products += found.products
        if not found.remainder <= _UNSOLVED:
            return Outcome(point, "linear", iteration, products)
        step, length = found.solution.reshape(shape), 1.0
        for _ in range(_HALVINGS):
            tried = evaluate(point.x + length * step)
            if tried.distance <= (1 - _SUFFICIENT * length * (1 - found.remainder)) * point.distance:
                break
            length /= 2
        else:
            reason = "no_decrease" if np.isfinite(tried.residual) else "domain"
            return Outcome(point, reason, iteration, products, tried)
        left = min(_LEFT, (tried.distance / point.distance) ** _POWER)
        point = tried
    return Outcome(point, "iterations", STEPS, products)
