"""Polynomials of several variables by products of Chebyshev polynomials, and their least-squares fits; polynomials
through values at few dates."""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations_with_replacement
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@lru_cache(maxsize=16)
def _exponents(k: int, degree: int) -> NDArray[np.intp]:
    """Exponents of all products of at most ``degree`` factors, shape (q, k)."""
    rows = [
        np.bincount(np.array(chosen, int), minlength=k)
        for g in range(degree + 1)
        for chosen in combinations_with_replacement(range(k), g)
    ]
    return np.array(rows, np.intp)


def chebyshev_basis(u: Any, degree: int) -> Any:
    """Products of Chebyshev polynomials of u, of ``degree`` in all at most; lower degrees come first.

    Parameters
    ----------
    u : array of shape (n, k)
        In [-1, 1], of numpy or traced by JAX.
    degree : int

    Returns
    -------
    array of shape (n, q), q = (k + degree choose k)
    """
    xp = np if isinstance(u, np.ndarray) else jnp
    powers = [xp.ones_like(u), u]
    for _ in range(degree - 1):
        powers.append(2 * u * powers[-1] - powers[-2])
    table = xp.stack(powers, axis=1)  # (n, degree + 1, k)
    exponents = _exponents(u.shape[1], degree)
    product = table[:, exponents[:, 0], 0]
    for i in range(1, u.shape[1]):
        product = product * table[:, exponents[:, i], i]
    return product


def left_out(basis: Array, values: Array, weight: Array) -> tuple[Array, Array]:
    """Weighted least squares, and what it would be without each point in turn.

    Parameters
    ----------
    basis : ndarray of shape (n, q)
    values : ndarray of shape (n,) or (n, m)
    weight : ndarray of shape (n,)

    Returns
    -------
    coefficients : ndarray of shape (q,) or (q, m)
    errors : ndarray of the shape of ``values``
        The weighted error at each point of the fit to all others.
    """
    q, r = np.linalg.qr(basis * weight[:, None])
    values = (values.T * weight).T
    along = q.T @ values
    leverage = np.minimum(np.einsum("ij,ij->i", q, q), 1 - 1e-9)
    return np.linalg.lstsq(r, along, rcond=1e-10)[0], ((values - q @ along).T / (1 - leverage)).T


def nodes_in_logs(first: int, end: int, per_doubling: int) -> NDArray[np.intp]:
    """Whole numbers next to the extremes of a Chebyshev polynomial in the logarithm, from ``first`` to ``end``: ten,
    and ``per_doubling`` more for each doubling between them."""
    count = 10 + int(np.ceil(per_doubling * np.log2(end / first)))
    place = (1 - np.cos(np.pi * np.arange(count) / (count - 1))) / 2
    return np.unique(np.round(first * (end / first) ** place).astype(int))


def cardinal_polynomials(nodes: Array, at: Array) -> Array:
    """Values at ``at`` (m,) of polynomials that are one at one of the ``nodes`` (n,) and zero at the others: (m, n).

    By the barycentric formula (Berrut and Trefethen 2004), which is stable at nodes like Chebyshev's.
    """
    apart = 4 / (nodes[-1] - nodes[0]) * (nodes[:, None] - nodes) + np.eye(len(nodes))
    weight = 1 / apart.prod(axis=1)
    gap = at[:, None] - nodes
    hit = gap == 0
    share = np.where(hit, 0.0, weight / np.where(hit, 1.0, gap))
    share[hit.any(axis=1)] = hit[hit.any(axis=1)]
    return np.asarray(share / share.sum(axis=1, keepdims=True))
