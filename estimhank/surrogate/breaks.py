"""What a surrogate is told about jumps of the density: where they are, not how large.

A density of household parameters jumps where quantities that move smoothly with them change sign or cross an integer
(:mod:`estimhank.sequence_space.breaks`). Such a quantity is a polynomial of the few parameters that move the steady
state, fitted to exact values at a few hundred points; the networks are given the sign of the one, and of the other the
fractional part, which falls back from one to zero where the density jumps. How large the jumps are they learn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize_scalar

from estimhank.sequence_space.breaks import Breaks
from estimhank.target import Target

Array = NDArray[np.float64]

_HIGHEST = 8  # degree of a polynomial
_POINTS_EACH = 3  # points for each coefficient
_LEAST_MASS = 0.02  # of households that jump together
_LARGEST_ERROR = 0.1  # of a margin close to zero, and of a position: what is known worse is better not told
_MARGIN = 0.05
_CLOSE = 0.01  # margins, in cells, that count as close to zero
_DOUBT = 2.0  # multiples of the error within which of a jump an exact value is asked for
_TRUSTED = 4.0  # multiples of the error beyond which a polynomial is wrong, not imprecise
_STRETCHES = np.geomspace(1 / 4, 4, 9)  # of negative margins, the best of which is refined
_STRETCH_DEGREE = 4  # of the polynomial by which one of them is chosen
_BEYOND, _BEYOND_SHARE = 1.4, 3  # how much further out one in so many points is looked at
_NODES = 4  # of the bend of a position, in each cell
_BEND_PRIOR = 0.5  # points, with which a node of it is pulled to zero
_BEND_STEPS = 6  # alternations between a polynomial and its bend
_UNBEND_STEPS = 4
_STEEPEST = 0.3  # slope of a bend that can be undone in so many steps
_MOST_CELLS = 400  # positions beyond are not told
_FOLDS = 5  # in which the error of a position is measured


class BreakArrays(NamedTuple):
    """Margins and positions as functions of whitened coordinates z, single precision: polynomials of
    u = matrix z + offset, held in [-1, 1]; of positions, these with their ``bend``, which is undone. Shapes (k, d),
    (k,), (2, m, q), (m, J)."""

    matrix: jax.Array
    offset: jax.Array
    coefficients: jax.Array
    bend: jax.Array


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
        Of products of Chebyshev polynomials: of margins, of positions (zeros where too few are known). Negative
        margins are stretched; their sign is all that is used.
    bend : ndarray of shape (m, J)
        How far above a position the polynomial is that stands for it, at positions 0, 1/4, 1/2 and so on. Positions are
        kinked where they cross an integer, which no polynomial of the parameters follows; a function of the position
        that takes the kinks away is nearly the same wherever it is crossed.
    stretch : ndarray of shape (m,)
        Of negative margins.
    chosen : ndarray of int, shape (m,)
        Which of a target's places these are.
    error : ndarray of shape (2, m)
        What 19 of 20 errors at points left out of the fit are below.
    """

    costly: NDArray[np.bool_]
    center: Array
    half_width: Array
    degree: int
    coefficients: Array
    bend: Array
    stretch: Array
    chosen: NDArray[np.intp]
    error: Array

    def arrays(self, center: Array, root: Array) -> BreakArrays:
        """For coordinates x = center + root z."""
        matrix = root[self.costly] / self.half_width[:, None]
        offset = (center[self.costly] - self.center) / self.half_width
        parts = (matrix, offset, self.coefficients, self.bend)
        return BreakArrays(*(jnp.asarray(part, jnp.float32) for part in parts))

    def places(self, x: Array) -> Array:
        """Margins and positions at coordinates x of shape (n, d): (2, n, m)."""
        u = np.clip((x[:, self.costly] - self.center) / self.half_width, -1.0, 1.0)
        margin, position = np.asarray(_basis(jnp.asarray(u), self.degree), float) @ self.coefficients.transpose(0, 2, 1)
        return np.stack([margin, _unbent(jnp.asarray(position), jnp.asarray(self.bend))])


def no_breaks(d: int) -> BreakArrays:
    """Of a density that is smooth."""
    return BreakArrays(*(jnp.zeros(shape, jnp.float32) for shape in ((0, d), (0,), (2, 0, 1), (0, 2))))


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
        self._chosen: set[bytes] = set()  # points that these were, or were moved from
        self._smooth = not costly.any() or not hasattr(target, "breaks_at")

    def learn(self, x: Array, n: int, rng: np.random.Generator) -> None:
        """Look at ``n`` more of the points x, shape (m, d), where posterior draws can be, and fit the map again.

        To such points alone, preferably near a constraint, and to some a little further out, so that a rare draw still
        is inside of what is known: a polynomial that has to follow the points far out that ``places`` looks up as well
        is less precise where it matters. What is looked at needs no density.
        """
        if self._smooth or not len(x):
            return
        center = x.mean(axis=0)
        x = x[[point.tobytes() not in self._chosen for point in x[:, self.costly]]]
        likely = np.ones(len(x)) if self.map is None else _closeness(self.map.places(x)[0]).sum(axis=1)
        chosen = x[:0]
        if len(x):
            chosen = x[np.sort(rng.choice(len(x), min(n, len(x)), replace=False, p=likely / likely.sum()))]
        self._chosen |= {point.tobytes() for point in chosen[:, self.costly]}
        chosen[::_BEYOND_SHARE] += (_BEYOND - 1) * (chosen[::_BEYOND_SHARE] - center)
        self._fitted |= dict.fromkeys(self._look_at(chosen))
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
        matters, near a jump, on the wrong side of which a point would teach the network one that is not there.

        Not where the polynomials are wrong by far, outside of what they are fitted to: there the network has to learn
        what goes with what it will be told.
        """
        if self.map is None:
            return np.zeros((2, len(x), 0))
        margin, position = found = self.map.places(x)
        close = np.abs(margin) < _DOUBT * self.map.error[0]
        close |= (margin > 0) & (np.abs(position - np.round(position)) < _DOUBT * self.map.error[1])
        self._look_at(x[close.any(axis=1)])
        trusted = _TRUSTED * self.map.error
        for row, point in enumerate(x[:, self.costly]):
            exact = self._known.get(point.tobytes())
            if exact is not None:
                seen = np.stack([exact.margin, exact.position])[:, self.map.chosen]
                seen[0] = _stretched(seen[0], self.map.stretch)
                off = np.abs(seen - found[:, row])
                off[0, seen[0] * margin[row] > 0] = 0.0  # of a margin the sign is all that is told
                right = off <= trusted  # never where a position is not known, or not there
                found[:, row][right] = seen[right]
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
    matters = (np.nanmedian(seen.mass, axis=0) > _LEAST_MASS) & (cells.max(axis=0) > cells.min(axis=0))
    if not degrees:
        return None
    low, high = moved.min(axis=0), moved.max(axis=0)
    center, half_width = (low + high) / 2, np.maximum((1 + _MARGIN) * (high - low) / 2, 1e-12)
    basis = np.asarray(_basis(jnp.asarray((moved - center) / half_width), degrees[-1]), float)
    bases = [basis[:, : comb(k + g, g)] for g in degrees]  # lower degrees come first
    tried = {
        place: _fit_place(bases, seen.margin[:, place], seen.position[:, place]) for place in np.flatnonzero(matters)
    }
    fits = {place: fit for place, fit in tried.items() if fit is not None}
    if not fits:
        return None
    longest = max(max(len(fit.margin), len(fit.position)) for fit in fits.values())
    degree = next(g for g in degrees if comb(k + g, g) >= longest)
    width = comb(k + degree, degree)
    coefficients = [_padded([getattr(fit, what) for fit in fits.values()], width) for what in ("margin", "position")]
    return BreakMap(
        costly=costly,
        center=center,
        half_width=half_width,
        degree=degree,
        coefficients=np.stack(coefficients),
        bend=_padded([fit.bend for fit in fits.values()]),
        stretch=np.array([fit.stretch for fit in fits.values()]),
        chosen=np.array(list(fits)),
        error=np.array([[fit.margin_error, fit.position_error] for fit in fits.values()]).T,
    )


class _PlaceFit(NamedTuple):
    """Coefficients of a margin and of a position with their errors, the margin's stretch, and the position's bend."""

    margin: Array
    margin_error: float
    stretch: float
    position: Array = np.zeros(1)
    position_error: float = 0.0
    bend: Array = np.zeros(2)


def _fit_place(bases: Sequence[Array], margin: Array, position: Array) -> _PlaceFit | None:
    """Of one place; none where the margin is not known well enough, or nothing that is known jumps."""
    fine = np.isfinite(margin)
    bases, margin, position = _large_enough(bases, fine), margin[fine], position[fine]
    if not bases:
        return None
    stretch = _best_stretch(bases[min(_STRETCH_DEGREE, len(bases)) - 1], margin)
    margin = _stretched(margin, stretch)
    coefficients, errors = _best_fit(bases, margin, _closeness(margin))
    error = float(np.quantile(np.abs(errors), 0.95)) * _CLOSE  # of margins close to zero
    if not error <= _LARGEST_ERROR:
        return None
    there = (position >= 0) & (position <= _MOST_CELLS)  # not nan
    found = _fit_position(_large_enough(bases, there), position[there])
    if found is not None:
        return _PlaceFit(coefficients, error, stretch, *found)
    return _PlaceFit(coefficients, error, stretch) if np.ptp(np.sign(margin)) > 0 else None


def _large_enough(bases: Sequence[Array], rows: NDArray[np.bool_]) -> list[Array]:
    """Some rows of those bases that so many can determine."""
    return [basis[rows] for basis in bases if _POINTS_EACH * basis.shape[1] <= rows.sum()]


def _padded(rows: Sequence[Array], width: int = 0) -> Array:
    """Rows of different lengths with zeros at their ends."""
    width = max(width, *(len(row) for row in rows))
    return np.stack([np.pad(row, (0, width - len(row))) for row in rows])


def _stretched(margin: Array, stretch: Array | float) -> Array:
    return np.where(margin < 0, stretch * margin, margin)


def _best_stretch(basis: Array, margin: Array) -> float:
    """By which negative margins are stretched so that a polynomial follows margins best: they are kinked at zero, since
    those who have just left the constraint move what everybody faces, and their sign is all that matters."""

    def error(log_stretch: float) -> float:
        one = _stretched(margin, np.exp(log_stretch))
        return _size(_left_out(basis, one, _closeness(one))[1])

    if not np.ptp(np.sign(margin)) > 0:
        return 1.0
    tried = np.log(_STRETCHES)
    best, step = min(tried, key=error), tried[1] - tried[0]
    return float(np.exp(minimize_scalar(error, bounds=(best - step, best + step), method="bounded").x))


def _closeness(margin: Array) -> Array:
    """Weights of margins: all that matters of them is their sign."""
    return 1 / (_CLOSE + np.abs(margin))


def _fit_position(bases: Sequence[Array], position: Array) -> tuple[Array, float, Array] | None:
    """Coefficients of a position, what 19 of 20 errors at points kept out are below, and its bend; none where that is
    not known well enough, or there is nothing to know."""
    if not bases or np.ptp(position) < 1e-6:
        return None
    basis = min(bases, key=lambda one: _size(_left_out(one, position + _bend_for(one, position)[1])[1]))
    errors = np.empty(len(position))
    for fold in range(_FOLDS):
        out = np.arange(len(position)) % _FOLDS == fold
        bend = _bend_for(basis[~out], position[~out])
        guess = basis[out] @ _solve(basis[~out], position[~out] + bend[1])
        errors[out] = np.asarray(_unbent(jnp.asarray(guess[:, None]), jnp.asarray(bend[0][None])))[:, 0] - position[out]
    error = float(np.quantile(np.abs(errors), 0.95))
    nodes, bend_here = _bend_for(basis, position)
    if not error <= _LARGEST_ERROR or np.abs(np.diff(nodes)).max() * _NODES > _STEEPEST:
        return None
    return _solve(basis, position + bend_here), error, nodes


def _bend_for(basis: Array, position: Array) -> tuple[Array, Array]:
    """The bend of positions in a basis: at its nodes, (J,), and at the positions themselves, (n,).

    The polynomial and the bend, a linear spline in the position, are fitted in turns (Breiman and Friedman 1985). The
    bend has no linear part: left to itself it would shrink what a polynomial explains only in part. Beyond the
    positions it stays what it is at the last of them.
    """
    hats = _hats(position)
    nodes, held = np.arange(hats.shape[1]) / _NODES, hats.sum(axis=0) > 0
    factor = cho_factor(hats.T @ hats + _BEND_PRIOR * np.eye(hats.shape[1]))
    q = np.linalg.qr(basis)[0]
    bend = np.zeros(len(nodes))
    for _ in range(_BEND_STEPS):
        bend = cho_solve(factor, hats.T @ (q @ (q.T @ (position + hats @ bend)) - position))
        bend -= np.polyval(np.polyfit(position, hats @ bend, 1), nodes)
    bend = np.interp(nodes, nodes[held], bend[held])
    return bend, hats @ bend


def _hats(position: Array) -> Array:
    """Hat functions of the nodes at positions of shape (n,), not negative: (n, J)."""
    at = position * _NODES
    low = np.floor(at).astype(int)
    hats = np.zeros((len(position), int(low.max()) + 2))
    rows = np.arange(len(position))
    hats[rows, low], hats[rows, low + 1] = 1 - (at - low), at - low
    return hats


def _best_fit(bases: Sequence[Array], values: Array, weight: Array) -> tuple[Array, Array]:
    """Coefficients in the basis that predicts points left out of the fit best, and these errors times their weights."""
    return min((_left_out(basis, values, weight) for basis in bases), key=lambda fit: _size(fit[1]))


def _solve(basis: Array, values: Array) -> Array:
    found: Array = np.linalg.lstsq(basis, values, rcond=1e-10)[0]
    return found


def _left_out(basis: Array, values: Array, weight: Array | float = 1.0) -> tuple[Array, Array]:
    """Coefficients of weighted least squares, and the weighted error at each point of the fit to all others."""
    weight = np.broadcast_to(weight, values.shape)
    q, r = np.linalg.qr(basis * weight[:, None])
    along = q.T @ (values * weight)
    error = values * weight - q @ along
    leverage = np.minimum(np.einsum("ij,ij->i", q, q), 1 - 1e-9)
    return _solve(r, along), error / (1 - leverage)


def _size(errors: Array) -> float:
    return float(np.mean(np.abs(errors)))


def break_features(arrays: BreakArrays, z: jax.Array, degree: int) -> jax.Array:
    """Inputs of the networks beside z, from approximate margins and positions; shape (n, d) to (n, 3 m)."""
    if arrays.coefficients.shape[1] == 0:
        return jnp.zeros((z.shape[0], 0), z.dtype)
    u = jnp.clip(z @ arrays.matrix.T + arrays.offset, -1.0, 1.0)
    basis = _basis(u, degree)
    return features_of(basis @ arrays.coefficients[0].T, _unbent(basis @ arrays.coefficients[1].T, arrays.bend))


def _unbent(found: jax.Array, bend: jax.Array) -> jax.Array:
    """Positions from what polynomials say, (n, m), and their ``bend`` (m, J): the x at which x + bend(x) is that."""
    row, last = jnp.arange(len(bend)), bend.shape[1] - 1
    position = found
    for _ in range(_UNBEND_STEPS):  # a bend is slight
        at = jnp.clip(position * _NODES, 0.0, last)
        low = jnp.minimum(jnp.floor(at), last - 1)
        j = low.astype(int)
        position = found - ((1 - (at - low)) * bend[row, j] + (at - low) * bend[row, j + 1])
    return position


def features_of(margin: jax.Array, position: jax.Array) -> jax.Array:
    """Three inputs for each place, shapes (n, m) to (n, 3 m): the fractional part of the position where the margin is
    positive, else zero; whether it is; and how near the constraint the position is, as 1 / (1 + position), since the
    first jumps are the largest and close together."""
    there = margin > 0
    held = jnp.where(there, jnp.maximum(position, 0.0), 0.0)
    return jnp.concatenate([held - jnp.floor(held), there.astype(margin.dtype), 1 / (1 + held)], axis=1)


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
