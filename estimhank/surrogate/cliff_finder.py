"""What a surrogate is told about cliffs of the density: where they are, not how high.

A density of household parameters jumps where a state's distance to the borrowing constraint, which moves smoothly with
them, changes sign (:mod:`estimhank.households.cliffs`). Distances are looked up at some hundreds of points, and
polynomials fitted to them (:mod:`estimhank.surrogate.cliff_fit`) tell the networks which side of a cliff a point is on
(:mod:`estimhank.surrogate.cliff_map`). How high the cliffs are they learn.
"""

from __future__ import annotations

from itertools import chain

import numpy as np
from numpy.typing import NDArray

from estimhank.evaluation.workers import InTurn, Workers
from estimhank.surrogate.cliff_fit import closeness, fit_cliffs
from estimhank.surrogate.cliff_map import CliffMap, stretched
from estimhank.target.cliffs import Cliffs
from estimhank.target.protocol import Target

Array = NDArray[np.float64]

_DOUBT = 2.0  # multiples of the error within which of a cliff an exact value is asked for
_TRUSTED = 4.0  # multiples of the error beyond which a polynomial is wrong, not imprecise
_BEYOND, _BEYOND_SHARE = 1.4, 3  # how much further out one in so many points is looked at
_AT_A_TIME = 8  # points that a worker looks at in a call


def look_at(target: Target, thetas: Array) -> list[Cliffs | None]:
    """Where a target has cliffs, seen from natural parameters of shape (n, d); in a worker."""
    return [target.cliffs_at(theta) for theta in thetas]


class CliffFinder:
    """Learns where a target's density has cliffs from points at which it was evaluated.

    Parameters
    ----------
    target : Target
        Its ``cliffs_at`` gives :class:`~estimhank.target.cliffs.Cliffs` at natural parameters, None where there
        are none.
    steady_state : ndarray of bool, shape (d,)
        The coordinates that move them.
    workers : Workers, optional
        Look at them; by default this process does.
    """

    def __init__(self, target: Target, steady_state: NDArray[np.bool_], workers: Workers | None = None) -> None:
        self.target, self.steady_state, self.workers = target, steady_state, workers or InTurn(target)
        self.map: CliffMap | None = None
        self._known: dict[bytes, Cliffs | None] = {}
        self._fitted: dict[bytes, None] = {}  # which of them the map is fitted to, in order
        self._chosen: set[bytes] = set()  # points that these were, or were moved from
        self._smooth = not steady_state.any()

    def learn(self, x: Array, n: int, rng: np.random.Generator) -> None:
        """Look at ``n`` more of the points x, shape (m, d), where posterior draws can be, and fit the map again.

        To such points alone, preferably near a constraint, and to some a little further out, so that a rare draw still
        is inside of what is known: a polynomial that has to follow the points far out that ``distances`` looks up as
        well is less precise where it matters. What is looked at needs no density.
        """
        if self._smooth or not len(x):
            return
        center = x.mean(axis=0)
        x = x[[point.tobytes() not in self._chosen for point in x[:, self.steady_state]]]
        likely = np.ones(len(x)) if self.map is None else closeness(self.map.distances(x)).sum(axis=1)
        chosen = x[:0]
        if len(x):
            chosen = x[np.sort(rng.choice(len(x), min(n, len(x)), replace=False, p=likely / likely.sum()))]
        self._chosen |= {point.tobytes() for point in chosen[:, self.steady_state]}
        chosen[::_BEYOND_SHARE] += (_BEYOND - 1) * (chosen[::_BEYOND_SHARE] - center)
        self._fitted |= dict.fromkeys(self._look_at(chosen))
        pairs = [(np.frombuffer(key), self._known[key]) for key in self._fitted]
        known = [(point, found) for point, found in pairs if found is not None]
        self._smooth = not known
        if self._smooth:
            return
        moved = np.stack([point for point, _ in known])
        seen = Cliffs(*(np.stack(part) for part in zip(*(found for _, found in known), strict=True)))
        self.map = fit_cliffs(moved, seen, self.steady_state)

    def distances(self, x: Array) -> Array:
        """Distances at points x of shape (n, d), (n, m): looked up exactly near a cliff, by polynomial elsewhere, so
        that no training point lies on the wrong side.

        By polynomial too where that is wrong by far, outside of what it is fitted to: there the network has to learn
        what goes with what it will be told.
        """
        if self.map is None:
            return np.zeros((len(x), 0))
        found = self.map.distances(x)
        self._look_at(x[(np.abs(found) < _DOUBT * self.map.error).any(axis=1)])
        for row, point in enumerate(x[:, self.steady_state]):
            exact = self._known.get(point.tobytes())
            if exact is not None:
                seen = stretched(exact.distance[self.map.chosen], self.map.stretch)
                right = np.abs(seen - found[row]) <= _TRUSTED * self.map.error  # never where it is not known
                found[row, right] = seen[right]
        return found

    def _look_at(self, x: Array) -> list[bytes]:
        """The keys of points x of shape (n, d), after which all of them are known."""
        keys = [point.tobytes() for point in x[:, self.steady_state]]
        new = {key: row for row, key in enumerate(keys) if key not in self._known}
        if new:
            thetas = self.target.transform.to_natural(x[list(new.values())])
            pieces = [(thetas[i : i + _AT_A_TIME],) for i in range(0, len(thetas), _AT_A_TIME)]
            found = self.workers.map_target(look_at, pieces)
            self._known |= dict(zip(new, chain.from_iterable(found), strict=True))
        return keys
