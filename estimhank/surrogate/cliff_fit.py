"""Polynomials fitted to the distances that say where a density falls from a cliff, as precisely as can be: a draw on
the wrong side errs by all of it."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from estimhank.support.chebyshev import chebyshev_basis, left_out
from estimhank.surrogate.cliff_map import CliffMap, stretched
from estimhank.target.cliffs import Cliffs

Array = NDArray[np.float64]

_HIGHEST = 8  # degree of a polynomial
_POINTS_EACH = 3  # points for each coefficient
_LEAST_MASS = 0.02  # of households that become constrained together
_MAY_BE_WRONG = 0.5  # points on the wrong side, for each on the rarer side: what is known worse is better not told
_MARGIN = 0.05  # by which the box that something is known in exceeds the points
_CLOSE = 0.01  # distances, in cells, that count as close to zero
_STRETCHES = np.geomspace(1 / 4, 4, 9)  # of negative distances, the best of which is refined
_STRETCH_DEGREE = 4  # of the polynomial by which one of them is chosen


def fit_cliffs(moved: Array, seen: Cliffs, steady_state: NDArray[np.bool_]) -> CliffMap | None:
    """Fit polynomials to distances; none if no cliff is among the points, or none is known well enough.

    Parameters
    ----------
    moved : ndarray of shape (n, k)
        Coordinates of the steady-state parameters.
    seen : Cliffs
        At these points: arrays of shape (n, m).
    steady_state : ndarray of bool, shape (d,)
        Which coordinates these are.
    """
    n, k = moved.shape
    degrees = [g for g in range(1, _HIGHEST + 1) if _POINTS_EACH * comb(k + g, g) <= n]
    if not degrees:
        return None
    low, high = moved.min(axis=0), moved.max(axis=0)
    center, half_width = (low + high) / 2, np.maximum((1 + _MARGIN) * (high - low) / 2, 1e-12)
    basis = chebyshev_basis((moved - center) / half_width, degrees[-1])
    bases = [basis[:, : comb(k + g, g)] for g in degrees]  # lower degrees come first
    matters = np.flatnonzero(np.nanmedian(seen.mass, axis=0) > _LEAST_MASS)
    tried = {cliff: _fit_distance(bases, seen.distance[:, cliff]) for cliff in matters}
    fits = {cliff: fit for cliff, fit in tried.items() if fit is not None}
    if not fits:
        return None
    width = max(len(fit.coefficients) for fit in fits.values())
    return CliffMap(
        steady_state=steady_state,
        center=center,
        half_width=half_width,
        degree=next(g for g in degrees if comb(k + g, g) >= width),
        coefficients=np.stack([np.pad(fit.coefficients, (0, width - len(fit.coefficients))) for fit in fits.values()]),
        stretch=np.array([fit.stretch for fit in fits.values()]),
        chosen=np.array(list(fits)),
        error=np.array([fit.error for fit in fits.values()]),
    )


class _Fit(NamedTuple):
    """Coefficients of a distance, the stretch of its negative values, what 19 of 20 errors close to zero are below."""

    coefficients: Array
    stretch: float
    error: float


def _fit_distance(bases: Sequence[Array], distance: Array) -> _Fit | None:
    """Of one cliff, in the basis that predicts points left out of the fit best; none where it has the same sign
    everywhere or is not known well enough."""
    fine = np.isfinite(distance)
    bases = [basis[fine] for basis in bases if _POINTS_EACH * basis.shape[1] <= fine.sum()]
    distance = distance[fine]
    if not bases or not np.ptp(np.sign(distance)) > 0:
        return None
    stretch = _best_stretch(bases[min(_STRETCH_DEGREE, len(bases)) - 1], distance)
    distance = stretched(distance, stretch)
    tried = (left_out(basis, distance, closeness(distance)) for basis in bases)
    coefficients, errors = min(tried, key=lambda fit: _size(fit[1]))
    above, guessed = distance > 0, distance - errors / closeness(distance) > 0
    if (above != guessed).mean() > _MAY_BE_WRONG * min(above.mean(), 1 - above.mean()):
        return None
    return _Fit(coefficients, stretch, float(np.quantile(np.abs(errors), 0.95)) * _CLOSE)


def _best_stretch(basis: Array, distance: Array) -> float:
    """By which negative distances are stretched so that a polynomial follows distances best: they are kinked at zero,
    since those who have just left the constraint move what everybody faces, and their sign is all that matters."""

    def error(log_stretch: float) -> float:
        one = stretched(distance, np.exp(log_stretch))
        return _size(left_out(basis, one, closeness(one))[1])

    tried = np.log(_STRETCHES)
    best, step = min(tried, key=error), tried[1] - tried[0]
    return float(np.exp(minimize_scalar(error, bounds=(best - step, best + step), method="bounded").x))


def _size(errors: Array) -> float:
    return float(np.mean(np.abs(errors)))


def closeness(distance: Array) -> Array:
    """Weights of distances: all that matters of them is their sign."""
    return 1 / (_CLOSE + np.abs(distance))
