"""From exact households at points of a design to an emulator: directions of the cores, degree of the polynomials, and
the cell between cliffs that they are polynomials on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

from estimhank.emulator.emulator import Cell, HouseholdEmulator, Modes
from estimhank.emulator.examples import Example
from estimhank.emulator.region import Region
from estimhank.support.chebyshev import chebyshev_basis, left_out
from estimhank.support.errors import EstimhankError

Array = NDArray[np.float64]

#: Most directions of the cores: more err no less (``docs/emulator.md``).
RANK = 40
_DIRECTION = 1e-6  # share of the cores' norm below which a direction is left out
_POINTS_EACH = 1.5  # examples for each coefficient, at least
_HIGHEST = 10  # degree
_LEAST_MASS = 0.02  # of households that become constrained together: less cannot be seen in a likelihood
_CLOSE = 0.01  # distances, in cells of the grid, that count as close to a cliff
_MARGINS = 3.0  # multiples of the error close to a cliff (19 of 20 are below it) that count as not known
_FEWEST = 20  # examples in a cell


class EmulatorError(EstimhankError):
    """The examples make no emulator; the message says why and what to do."""


@dataclass(frozen=True)
class EmulatorFit:
    """An emulator and how it came about.

    Attributes
    ----------
    emulator : HouseholdEmulator
    points, used : int
        Examples, and those of them in the emulator's cell.
    error : float
        Root mean square error of the cores at points left out of the fit, as a share of their norm.
    """

    emulator: HouseholdEmulator
    points: int
    used: int
    error: float


def fit_emulator(
    region: Region,
    y: Array,
    examples: Sequence[Example],
    modes: Modes,
    names: tuple[tuple[str, ...], tuple[str, ...]],
    fingerprint: Mapping[str, str],
) -> EmulatorFit:
    """Fit the polynomials.

    Parameters
    ----------
    region : Region
    y : ndarray of shape (n, d)
        Coordinates of the examples.
    examples : sequence of Example
        As many, projected on the modes.
    modes : Modes
    names : pair of tuples of str
        Household outputs, and solved-for parameters.
    fingerprint : mapping of str to str

    Raises
    ------
    EmulatorError
        Too few examples between the same cliffs.
    """
    cell, within = find_cell(y, examples)
    used = np.flatnonzero(within)
    needed = max(_FEWEST, 2 * (region.dimension + 1))
    if len(used) < needed:
        raise EmulatorError(
            f"only {len(used)} of {len(y)} points of the emulator's design have a steady state and lie between the "
            f"same cliffs: it needs {needed}; ask for more points, or set [emulator] points = 0"
        )
    y, some = y[used], [examples[i] for i in used.tolist()]
    shape = some[0].core.shape
    cores = np.stack([e.core.ravel() for e in some])
    scalars = np.stack([np.concatenate([e.outputs, e.unknowns]) for e in some])
    mean = cores.mean(axis=0)
    weight = _pair_weights(cores, shape)
    scores, basis = _directions((cores - mean) * weight, float(np.linalg.norm(mean * weight)))
    spread = np.maximum(scalars.std(axis=0), 1e-12)
    values, ones = np.column_stack([scores, scalars / spread]), np.ones(len(y))
    degrees = [g for g in range(1, _HIGHEST + 1) if _POINTS_EACH * comb(len(y.T) + g, g) <= len(y)]
    tried = []
    for degree in degrees:
        coefficients, errors = left_out(chebyshev_basis(y, degree), values, ones)
        error = float(np.sqrt((errors[:, : len(basis)] ** 2).sum(axis=1).mean()))
        tried.append((error, degree, coefficients))
    error, degree, coefficients = min(tried, key=lambda one: one[0])
    coefficients[:, len(basis) :] *= spread
    emulator = HouseholdEmulator(
        region, cell, *names, shape, modes, degree, coefficients, mean, basis / weight, dict(fingerprint)
    )
    return EmulatorFit(emulator, len(examples), len(used), error / float(np.linalg.norm(mean * weight)))


def _pair_weights(cores: Array, shape: tuple[int, ...]) -> Array:
    """One over the size of the cores of each pair of an input and an output, (K,): none is to count for more because
    of its units."""
    size = np.sqrt((cores.reshape(-1, *shape) ** 2).sum(axis=(1, 4)).mean(axis=0))
    size = np.where(size > 0, size, 1.0)[None, :, :, None]
    return np.broadcast_to(1 / size, shape).ravel()


def _directions(cores: Array, norm: float) -> tuple[Array, Array]:
    """Scores (n, r) and directions (r, K) of centred cores (n, K), by the smaller of the two products."""
    u, s, v = np.linalg.svd(cores, full_matrices=False)
    r = max(min(RANK, int((s > _DIRECTION * norm).sum())), 1)
    return u[:, :r] * s[:r], v[:r]


def find_cell(y: Array, examples: Sequence[Example]) -> tuple[Cell, NDArray[np.bool_]]:
    """The sides of cliffs with most of the examples near the centre, and which examples are there.

    What is not told from the cliff by a distance's polynomial, by the error of those close to it, is outside.
    """
    n = len(examples)
    count = min((len(e.distance) for e in examples), default=0)
    mass = np.stack([e.mass[:count] for e in examples]) if n else np.zeros((0, count))
    distance = np.stack([e.distance[:count] for e in examples]) if n else np.zeros((0, count))
    chosen = np.flatnonzero(np.median(mass, axis=0) > _LEAST_MASS) if n else np.arange(0)
    if not len(chosen):
        return _smooth(count), np.ones(n, bool)
    above = distance[:, chosen] > 0
    near = np.exp(-8.0 * (y**2).sum(axis=1))  # a normal distribution of which the ball is four standard deviations
    sides, which = np.unique(above, axis=0, return_inverse=True)
    side = sides[np.argmax(np.bincount(which.ravel(), weights=near))]
    within = (above == side).all(axis=1)
    crossed = np.flatnonzero((above != side).any(axis=0) | (np.abs(distance[:, chosen]).min(axis=0) < _CLOSE))
    if not within.any() or not len(crossed):
        return _smooth(count), within
    signs = np.where(side, 1.0, -1.0)[crossed]
    fits = [_distance(y, s * distance[:, at], within) for s, at in zip(signs, chosen[crossed], strict=True)]
    width = max(len(fit[0]) for fit in fits)
    degree = next(g for g in range(1, _HIGHEST + 1) if comb(y.shape[1] + g, g) >= width)
    coefficients = [np.pad(s * fit[0], (0, width - len(fit[0]))) for s, fit in zip(signs, fits, strict=True)]
    margin = np.array([fit[1] for fit in fits])
    middle = np.median(mass, axis=0)
    return Cell(chosen[crossed], signs, degree, np.stack(coefficients, axis=1), margin, middle), within


def _smooth(states: int) -> Cell:
    """Of households without cliffs."""
    return Cell(np.arange(0), np.zeros(0), 1, np.zeros((0, 0)), np.zeros(0), np.full(states, np.nan))


def _distance(y: Array, distance: Array, within: NDArray[np.bool_]) -> tuple[Array, float]:
    """Polynomial of a distance that is positive in the cell, and the margin.

    It is fitted to the examples ``within`` the cell alone: the distance is kinked at zero, since those who have just
    left the constraint move what everybody faces, and a polynomial goes on smoothly to where it is zero. Those close to
    the cliff count most.
    """
    here = distance[within]
    weight = 1 / (_CLOSE + here)
    close = np.argsort(here)[: max(len(here) // 5, 10)]
    tried = []
    for degree in range(1, _HIGHEST + 1):
        if degree > 1 and _POINTS_EACH * comb(y.shape[1] + degree, degree) > len(here):
            break
        found, errors = left_out(chebyshev_basis(y[within], degree), here, weight)
        beyond = chebyshev_basis(y[~within & (distance <= 0)], degree) @ found
        margin = _MARGINS * float(np.quantile(np.abs(errors / weight)[close], 0.95))
        # examples on the other side must not be taken for ones on this side
        tried.append((float(np.abs(errors).mean()), found, max(margin, float(beyond.max(initial=-np.inf)))))
    _, found, margin = min(tried, key=lambda one: one[0])
    return found, margin
