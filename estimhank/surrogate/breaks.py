"""What a surrogate is told about jumps of the density: where they are, not how large.

A density of household parameters jumps where quantities that move smoothly with them change sign or cross an integer
(:mod:`estimhank.sequence_space.breaks`). Such a quantity is a polynomial of the few parameters that move the steady
state, fitted to exact values at a few hundred points; the networks are given the sign of the one, and of the other the
fractional part, which falls back from one to zero where the density jumps. How large the jumps are they learn.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement
from math import comb
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from estimhank.sequence_space.breaks import Breaks
from estimhank.target import Target

Array = NDArray[np.float64]

_HIGHEST = 8  # degree of a polynomial
_POINTS_EACH = 3  # points for each coefficient
_LEAST_MASS = 0.02  # of households that jump together
_HELD_OUT = 5  # every so many points are kept out of the fit, to measure its error
_LARGEST_ERROR = 0.1  # of a margin close to zero, and of a position: what is known worse is better not told
_MARGIN = 0.05
_CLOSE = 0.1  # margins, in cells, that count as close to zero
_DOUBT = 2.0  # multiples of the error within which of a jump a polynomial is not trusted


class BreakArrays(NamedTuple):
    """Margins and positions as functions of whitened coordinates z, single precision: polynomials of
    u = matrix z + offset, held in [-1, 1]. Shapes (k, d), (k,), (2, m, q)."""

    matrix: jax.Array
    offset: jax.Array
    coefficients: jax.Array


@dataclass(frozen=True)
class BreakMap:
    """Margins and positions as functions of the coordinates that move the steady state.

    Attributes
    ----------
    costly : ndarray of bool, shape (d,)
        Which coordinates these are.
    center, half_width : ndarray of shape (k,)
        Of the box that they were known in.
    degree : int
    coefficients : ndarray of shape (2, m, q)
        Of products of Chebyshev polynomials: of margins, of positions (zeros where too few are known).
    chosen : ndarray of int, shape (m,)
        Which of a target's places these are.
    error : ndarray of shape (2, m)
        What 19 of 20 errors on points kept out of the fit are below.
    """

    costly: NDArray[np.bool_]
    center: Array
    half_width: Array
    degree: int
    coefficients: Array
    chosen: NDArray[np.intp]
    error: Array

    def arrays(self, center: Array, root: Array) -> BreakArrays:
        """For coordinates x = center + root z."""
        matrix = root[self.costly] / self.half_width[:, None]
        offset = (center[self.costly] - self.center) / self.half_width
        return BreakArrays(*(jnp.asarray(part, jnp.float32) for part in (matrix, offset, self.coefficients)))

    def places(self, x: Array) -> Array:
        """Margins and positions at coordinates x of shape (n, d): (2, n, m)."""
        u = np.clip((x[:, self.costly] - self.center) / self.half_width, -1.0, 1.0)
        return np.asarray(_basis(jnp.asarray(u), self.degree), float) @ self.coefficients.transpose(0, 2, 1)


def no_breaks(d: int) -> BreakArrays:
    """Of a density that is smooth."""
    return BreakArrays(*(jnp.zeros(shape, jnp.float32) for shape in ((0, d), (0,), (2, 0, 1))))


class BreakFinder:
    """Learns where a target's density jumps from points at which it was evaluated.

    Parameters
    ----------
    target : Target
        Its ``breaks_at`` gives :class:`~estimhank.sequence_space.breaks.Breaks` at natural parameters, None where there
        are none. One without it is smooth.
    costly : ndarray of bool, shape (d,)
        The coordinates that move them.
    threads : int
        Points looked at at the same time.
    """

    def __init__(self, target: Target, costly: NDArray[np.bool_], threads: int) -> None:
        self.target, self.costly, self.threads = target, costly, threads
        self.map: BreakMap | None = None
        self._known: dict[bytes, Breaks | None] = {}
        self._fitted: dict[bytes, None] = {}  # which of them the map is fitted to, in order
        self._smooth = not costly.any() or not hasattr(target, "breaks_at")

    def learn(self, x: Array, n: int, rng: np.random.Generator) -> None:
        """Look at ``n`` more of the points x, shape (m, d), where posterior draws can be, and fit the map again.

        To such points alone: a polynomial that has to follow points far out as well is less precise where it matters.
        """
        if self._smooth or not len(x):
            return
        self._fitted |= dict.fromkeys(self._look_at(x[np.sort(rng.permutation(len(x))[:n])]))
        pairs = [(np.frombuffer(key), self._known[key]) for key in self._fitted]
        known = [(point, found) for point, found in pairs if found is not None]
        self._smooth = not known
        if self._smooth:
            return
        moved = np.stack([point for point, _ in known])
        seen = Breaks(*(np.stack(part) for part in zip(*(found for _, found in known), strict=True)))
        self.map = fit_breaks(moved, seen, self.costly)

    def places(self, x: Array) -> Array:
        """Margins and positions at points x of shape (n, d) that a network learns from, (2, n, m): exact where it
        matters, near a jump, on the wrong side of which a point would teach the network one that is not there."""
        if self.map is None:
            return np.zeros((2, len(x), 0))
        margin, position = found = self.map.places(x)
        close = np.abs(margin) < _DOUBT * self.map.error[0]
        close |= (margin > 0) & (np.abs(position - np.round(position)) < _DOUBT * self.map.error[1])
        self._look_at(x[close.any(axis=1)])
        for row, point in enumerate(x[:, self.costly]):
            exact = self._known.get(point.tobytes())
            if exact is not None:
                found[0, row] = exact.margin[self.map.chosen]
                there = np.isfinite(exact.position[self.map.chosen]) & (self.map.error[1] > 0)
                found[1, row, there] = exact.position[self.map.chosen][there]
        return found

    def _look_at(self, x: Array) -> list[bytes]:
        """The keys of points x of shape (n, d), after which all of them are known."""
        keys = [point.tobytes() for point in x[:, self.costly]]
        new = {key: row for row, key in enumerate(keys) if key not in self._known}
        if new:
            thetas = self.target.transform.to_natural(x[list(new.values())])
            ask: Callable[[Array], Breaks | None] = self.target.breaks_at  # type: ignore[attr-defined]
            first = ask(thetas[0])  # compiles
            with ThreadPoolExecutor(self.threads) as pool:
                self._known |= dict(zip(new, [first, *pool.map(ask, thetas[1:])], strict=True))
        return keys


def fit_breaks(moved: Array, seen: Breaks, costly: NDArray[np.bool_]) -> BreakMap | None:
    """Fit polynomials to margins and positions; none if the density jumps nowhere, or nothing is known well enough.

    Parameters
    ----------
    moved : ndarray of shape (n, k)
        The ``costly`` ones, shape (d,), of the coordinates.
    seen : Breaks
        At these points: arrays of shape (n, m).
    """
    n, k = moved.shape
    degrees = [g for g in range(1, _HIGHEST + 1) if _POINTS_EACH * comb(k + g, g) <= n]
    cells = np.where(seen.margin > 0, np.floor(np.nan_to_num(seen.position)), -1.0)
    matters = (np.median(seen.mass, axis=0) > _LEAST_MASS) & (cells.max(axis=0) > cells.min(axis=0))
    if not degrees or not matters.any():
        return None
    low, high = moved.min(axis=0), moved.max(axis=0)
    center, half_width = (low + high) / 2, np.maximum((1 + _MARGIN) * (high - low) / 2, 1e-12)
    bases = {g: np.asarray(_basis(jnp.asarray((moved - center) / half_width), g), float) for g in degrees}
    tried = {
        g: np.array(
            [_margin_error(basis, seen.margin[:, place]) if matters[place] else np.inf for place in range(len(matters))]
        )
        for g, basis in bases.items()
    }
    degree = min(degrees, key=lambda g: float(tried[g][matters].max()))
    chosen = np.flatnonzero(matters & (tried[degree] < _LARGEST_ERROR))
    basis = bases[degree]
    coefficients = np.zeros((2, len(chosen), basis.shape[1]))
    error = np.stack([tried[degree][chosen], np.zeros(len(chosen))])
    useful = np.ptp(np.sign(seen.margin[:, chosen]), axis=0) > 0
    for i, place in enumerate(chosen):
        margin, position = seen.margin[:, place], seen.position[:, place]
        coefficients[0, i] = _solve(basis, margin, _closeness(margin))
        there = np.isfinite(position)
        if there.sum() < _POINTS_EACH * basis.shape[1]:
            continue
        off = _held_out_error(basis[there], position[there])
        if off < _LARGEST_ERROR:
            coefficients[1, i], error[1, i], useful[i] = _solve(basis[there], position[there]), off, True
    if not useful.any():
        return None
    return BreakMap(costly, center, half_width, degree, coefficients[:, useful], chosen[useful], error[:, useful])


def _closeness(margin: Array) -> Array:
    """Weights of margins: all that matters of them is their sign."""
    return 1 / (_CLOSE + np.abs(margin))


def _margin_error(basis: Array, margin: Array) -> float:
    weight = _closeness(margin)
    return _held_out_error(basis, margin, weight) * _CLOSE


def _solve(basis: Array, values: Array, weight: Array | float = 1.0) -> Array:
    weight = np.broadcast_to(weight, values.shape)
    found: Array = np.linalg.lstsq(basis * weight[:, None], values * weight, rcond=1e-10)[0]
    return found


def _held_out_error(basis: Array, values: Array, weight: Array | float = 1.0) -> float:
    """What 19 of 20 errors, times their weights, on points kept out of a fit are below."""
    weight = np.broadcast_to(weight, values.shape)
    kept_out = np.arange(len(basis)) % _HELD_OUT == 0
    found = _solve(basis[~kept_out], values[~kept_out], weight[~kept_out])
    return float(np.quantile(weight[kept_out] * np.abs(basis[kept_out] @ found - values[kept_out]), 0.95))


def break_features(arrays: BreakArrays, z: jax.Array, degree: int) -> jax.Array:
    """Inputs of the networks beside z, from approximate margins and positions; shape (n, d) to (n, 2 m)."""
    if arrays.coefficients.shape[1] == 0:
        return jnp.zeros((z.shape[0], 0), z.dtype)
    u = jnp.clip(z @ arrays.matrix.T + arrays.offset, -1.0, 1.0)
    basis = _basis(u, degree)
    return features_of(basis @ arrays.coefficients[0].T, basis @ arrays.coefficients[1].T)


def features_of(margin: jax.Array, position: jax.Array) -> jax.Array:
    """Two inputs for each place: the fractional part of the position where the margin is positive, else zero; and
    whether it is. Shapes (n, m) to (n, 2 m)."""
    there = margin > 0
    share = jnp.where(there & (position > 0), position - jnp.floor(position), 0.0)
    return jnp.concatenate([share, there.astype(margin.dtype)], axis=1)


@lru_cache(maxsize=16)
def _exponents(k: int, degree: int) -> NDArray[np.intp]:
    """Exponents of all products of at most ``degree`` factors, shape (q, k)."""
    rows = [
        np.bincount(np.array(chosen, int), minlength=k)
        for g in range(degree + 1)
        for chosen in combinations_with_replacement(range(k), g)
    ]
    return np.array(rows, np.intp)


def _basis(u: jax.Array, degree: int) -> jax.Array:
    """Products of Chebyshev polynomials at u of shape (n, k): (n, q)."""
    powers = [jnp.ones_like(u), u]
    for _ in range(degree - 1):
        powers.append(2 * u * powers[-1] - powers[-2])
    table = jnp.stack(powers, axis=1)  # (n, degree + 1, k)
    exponents = _exponents(u.shape[1], degree)
    product = table[:, exponents[:, 0], 0]
    for i in range(1, u.shape[1]):
        product = product * table[:, exponents[:, i], i]
    return product
