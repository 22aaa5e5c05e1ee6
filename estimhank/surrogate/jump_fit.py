"""Polynomials fitted to where a density jumps, as precisely as can be: a draw on the wrong side of a jump errs by all
of it.

The grid index of a fixed point is kinked at integers, and the distance to the constraint at zero, which no polynomial
follows: to the one a kink correction, a function of the index alone, is fitted in turns with the polynomial; the other
is stretched below zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize_scalar

from estimhank.surrogate.jump_map import NODES, JumpMap, chebyshev_basis, stretched, without_kinks
from estimhank.target.jumps import Jumps

Array = NDArray[np.float64]

_HIGHEST = 8  # degree of a polynomial
_POINTS_EACH = 3  # points for each coefficient
_LEAST_MASS = 0.02  # of households that jump together
_LARGEST_ERROR = 0.1  # of a distance close to zero, and of a grid index: what is known worse is better not told
_MARGIN = 0.05  # by which the box that something is known in exceeds the points
_CLOSE = 0.01  # distances, in cells, that count as close to zero
_STRETCHES = np.geomspace(1 / 4, 4, 9)  # of negative distances, the best of which is refined
_STRETCH_DEGREE = 4  # of the polynomial by which one of them is chosen
_KINK_PRIOR = 0.5  # points, with which a node of a kink correction is pulled to zero
_KINK_STEPS = 6  # alternations between a polynomial and its kink correction
_STEEPEST = 0.3  # slope of a kink correction that can be undone in a few steps
_MOST_CELLS = 400  # grid indices beyond are not told
_FOLDS = 5  # in which the error of a grid index is measured


def fit_jumps(moved: Array, seen: Jumps, steady_state: NDArray[np.bool_]) -> JumpMap | None:
    """Fit polynomials to distances and grid indices; none if the density jumps nowhere, or nothing is known well
    enough.

    Parameters
    ----------
    moved : ndarray of shape (n, k)
        Coordinates of the steady-state parameters.
    seen : Jumps
        At these points: arrays of shape (n, m).
    steady_state : ndarray of bool, shape (d,)
        Which coordinates these are.
    """
    n, k = moved.shape
    degrees = [g for g in range(1, _HIGHEST + 1) if _POINTS_EACH * comb(k + g, g) <= n]
    cells = np.where(seen.distance > 0, np.floor(np.nan_to_num(seen.grid_index)), -1.0)
    matters = (np.nanmedian(seen.mass, axis=0) > _LEAST_MASS) & (cells.max(axis=0) > cells.min(axis=0))
    if not degrees:
        return None
    low, high = moved.min(axis=0), moved.max(axis=0)
    center, half_width = (low + high) / 2, np.maximum((1 + _MARGIN) * (high - low) / 2, 1e-12)
    basis = np.asarray(chebyshev_basis(jnp.asarray((moved - center) / half_width), degrees[-1]), float)
    bases = [basis[:, : comb(k + g, g)] for g in degrees]  # lower degrees come first
    tried = {
        place: _fit_place(bases, seen.distance[:, place], seen.grid_index[:, place])
        for place in np.flatnonzero(matters)
    }
    fits = {place: fit for place, fit in tried.items() if fit is not None}
    if not fits:
        return None
    longest = max(max(len(fit.distance), len(fit.grid_index)) for fit in fits.values())
    degree = next(g for g in degrees if comb(k + g, g) >= longest)
    width = comb(k + degree, degree)
    coefficients = [
        _padded([getattr(fit, what) for fit in fits.values()], width) for what in ("distance", "grid_index")
    ]
    return JumpMap(
        steady_state=steady_state,
        center=center,
        half_width=half_width,
        degree=degree,
        coefficients=np.stack(coefficients),
        kinks=_padded([fit.kinks for fit in fits.values()]),
        stretch=np.array([fit.stretch for fit in fits.values()]),
        chosen=np.array(list(fits)),
        error=np.array([[fit.distance_error, fit.grid_index_error] for fit in fits.values()]).T,
    )


class _PlaceFit(NamedTuple):
    """Coefficients of a distance and of a grid index with their errors, the distance's stretch, the index's kink
    correction."""

    distance: Array
    distance_error: float
    stretch: float
    grid_index: Array = np.zeros(1)
    grid_index_error: float = 0.0
    kinks: Array = np.zeros(2)


def _fit_place(bases: Sequence[Array], distance: Array, grid_index: Array) -> _PlaceFit | None:
    """Of one place; none where the distance is not known well enough, or nothing that is known jumps."""
    fine = np.isfinite(distance)
    bases, distance, grid_index = _large_enough(bases, fine), distance[fine], grid_index[fine]
    if not bases:
        return None
    stretch = _best_stretch(bases[min(_STRETCH_DEGREE, len(bases)) - 1], distance)
    distance = stretched(distance, stretch)
    coefficients, errors = _best_fit(bases, distance, closeness(distance))
    error = float(np.quantile(np.abs(errors), 0.95)) * _CLOSE  # of distances close to zero
    if not error <= _LARGEST_ERROR:
        return None
    there = (grid_index >= 0) & (grid_index <= _MOST_CELLS)  # not nan
    found = _fit_grid_index(_large_enough(bases, there), grid_index[there])
    if found is not None:
        return _PlaceFit(coefficients, error, stretch, *found)
    return _PlaceFit(coefficients, error, stretch) if np.ptp(np.sign(distance)) > 0 else None


def _large_enough(bases: Sequence[Array], rows: NDArray[np.bool_]) -> list[Array]:
    """Some rows of those bases that so many can determine."""
    return [basis[rows] for basis in bases if _POINTS_EACH * basis.shape[1] <= rows.sum()]


def _padded(rows: Sequence[Array], width: int = 0) -> Array:
    """Rows of different lengths with zeros at their ends."""
    width = max(width, *(len(row) for row in rows))
    return np.stack([np.pad(row, (0, width - len(row))) for row in rows])


def _best_stretch(basis: Array, distance: Array) -> float:
    """By which negative distances are stretched so that a polynomial follows distances best: they are kinked at zero,
    since those who have just left the constraint move what everybody faces, and their sign is all that matters."""

    def error(log_stretch: float) -> float:
        one = stretched(distance, np.exp(log_stretch))
        return _size(left_out(basis, one, closeness(one))[1])

    if not np.ptp(np.sign(distance)) > 0:
        return 1.0
    tried = np.log(_STRETCHES)
    best, step = min(tried, key=error), tried[1] - tried[0]
    return float(np.exp(minimize_scalar(error, bounds=(best - step, best + step), method="bounded").x))


def _fit_grid_index(bases: Sequence[Array], grid_index: Array) -> tuple[Array, float, Array] | None:
    """Coefficients of a grid index, what 19 of 20 errors at points kept out are below, and its kink correction; none
    where that is not known well enough, or there is nothing to know."""
    if not bases or np.ptp(grid_index) < 1e-6:
        return None
    basis = min(bases, key=lambda one: _size(left_out(one, grid_index + _kink_correction(one, grid_index)[1])[1]))
    errors = np.empty(len(grid_index))
    for fold in range(_FOLDS):
        out = np.arange(len(grid_index)) % _FOLDS == fold
        kinks = _kink_correction(basis[~out], grid_index[~out])
        guess = basis[out] @ _solve(basis[~out], grid_index[~out] + kinks[1])
        errors[out] = (
            np.asarray(without_kinks(jnp.asarray(guess[:, None]), jnp.asarray(kinks[0][None])))[:, 0] - grid_index[out]
        )
    error = float(np.quantile(np.abs(errors), 0.95))
    nodes, kinks_here = _kink_correction(basis, grid_index)
    if not error <= _LARGEST_ERROR or np.abs(np.diff(nodes)).max() * NODES > _STEEPEST:
        return None
    return _solve(basis, grid_index + kinks_here), error, nodes


def _kink_correction(basis: Array, grid_index: Array) -> tuple[Array, Array]:
    """The kink correction of grid indices in a basis: at its nodes, (J,), and at the indices themselves, (n,).

    The polynomial and the correction, a linear spline in the index, are fitted in turns (Breiman and Friedman 1985).
    The correction has no linear part: left to itself it would shrink what a polynomial explains only in part. Beyond
    the indices it stays what it is at the last of them.
    """
    hats = _hats(grid_index)
    nodes, held = np.arange(hats.shape[1]) / NODES, hats.sum(axis=0) > 0
    factor = cho_factor(hats.T @ hats + _KINK_PRIOR * np.eye(hats.shape[1]))
    q = np.linalg.qr(basis)[0]
    kinks = np.zeros(len(nodes))
    for _ in range(_KINK_STEPS):
        kinks = cho_solve(factor, hats.T @ (q @ (q.T @ (grid_index + hats @ kinks)) - grid_index))
        kinks -= np.polyval(np.polyfit(grid_index, hats @ kinks, 1), nodes)
    kinks = np.interp(nodes, nodes[held], kinks[held])
    return kinks, hats @ kinks


def _hats(grid_index: Array) -> Array:
    """Hat functions of the nodes at grid indices of shape (n,), not negative: (n, J)."""
    at = grid_index * NODES
    low = np.floor(at).astype(int)
    hats = np.zeros((len(grid_index), int(low.max()) + 2))
    rows = np.arange(len(grid_index))
    hats[rows, low], hats[rows, low + 1] = 1 - (at - low), at - low
    return hats


def _best_fit(bases: Sequence[Array], values: Array, weight: Array) -> tuple[Array, Array]:
    """Coefficients in the basis that predicts points left out of the fit best, and these errors times their weights."""
    return min((left_out(basis, values, weight) for basis in bases), key=lambda fit: _size(fit[1]))


def _solve(basis: Array, values: Array) -> Array:
    found: Array = np.linalg.lstsq(basis, values, rcond=1e-10)[0]
    return found


def left_out(basis: Array, values: Array, weight: Array | float = 1.0) -> tuple[Array, Array]:
    """Coefficients of weighted least squares, and the weighted error at each point of the fit to all others."""
    weight = np.broadcast_to(weight, values.shape)
    q, r = np.linalg.qr(basis * weight[:, None])
    along = q.T @ (values * weight)
    error = values * weight - q @ along
    leverage = np.minimum(np.einsum("ij,ij->i", q, q), 1 - 1e-9)
    return _solve(r, along), error / (1 - leverage)


def _size(errors: Array) -> float:
    return float(np.mean(np.abs(errors)))


def closeness(distance: Array) -> Array:
    """Weights of distances: all that matters of them is their sign."""
    return 1 / (_CLOSE + np.abs(distance))
