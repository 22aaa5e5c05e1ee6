"""A linear equation of which only products with its matrix are known: GMRES without restarts (Saad and Schultz 1986).

Kept here in a dozen lines for one reason: the products are what costs, and a library's GMRES takes one more of them to
look at the residual that the recursion knows already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: A direction whose part beyond those before it is a smaller share of it than this is rounding: the space is complete.
_NOTHING_NEW = 1e-14


class Krylov(NamedTuple):
    """An approximate solution.

    ``solution`` (n,); ``remainder``: norm of what it leaves of the right-hand side, as a share of it; ``products``:
    how many products with the matrix it took.
    """

    solution: Array
    remainder: float
    products: int


def gmres(multiply: Callable[[Array], Array], right: Array, tolerance: float, limit: int) -> Krylov:
    """The combination of right-hand side and its images that leaves the smallest remainder.

    Parameters
    ----------
    multiply : callable
        Product of the matrix with a vector, (n,) to (n,).
    right : array of shape (n,)
        Not zero.
    tolerance : float
        Share of the right-hand side that may be left.
    limit : int
        At most so many products.
    """
    size = float(np.linalg.norm(right))
    basis = [right / size]
    columns = np.zeros((limit + 1, limit))
    goal = np.zeros(limit + 1)
    goal[0] = size
    weights, remainder, k = np.zeros(0), 1.0, 0
    while k < limit and remainder > tolerance:
        image = multiply(basis[k])
        length = float(np.linalg.norm(image))
        for _ in range(2):  # once more, so that the basis stays orthogonal to rounding
            for j, direction in enumerate(basis):
                part = float(direction @ image)
                columns[j, k] += part
                image = image - part * direction
        rest = float(np.linalg.norm(image))
        columns[k + 1, k] = rest
        k += 1
        if not np.isfinite(rest):
            return Krylov(np.full_like(right, np.nan), np.nan, k)
        weights = np.linalg.lstsq(columns[: k + 1, :k], goal[: k + 1], rcond=None)[0]
        remainder = float(np.linalg.norm(goal[: k + 1] - columns[: k + 1, :k] @ weights)) / size
        if rest <= _NOTHING_NEW * length:
            break
        basis.append(image / rest)
    return Krylov(np.stack(basis[:k]).T @ weights if k else np.zeros_like(right), remainder, k)
