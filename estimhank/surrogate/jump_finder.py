"""What a surrogate is told about jumps of the density: where they are, not how large.

A density of household parameters jumps where quantities that move smoothly with them change sign or cross an integer
(:mod:`estimhank.households.asset_jumps`). They are looked up at some hundreds of points, and polynomials fitted to them
(:mod:`estimhank.surrogate.jump_fit`) tell the networks which side of a jump a point is on
(:mod:`estimhank.surrogate.jump_map`). How large the jumps are they learn.
"""

from __future__ import annotations

from itertools import chain

import numpy as np
from numpy.typing import NDArray

from estimhank.evaluation.workers import InTurn, Workers
from estimhank.surrogate.jump_fit import closeness, fit_jumps
from estimhank.surrogate.jump_map import JumpMap, stretched
from estimhank.target.jumps import Jumps
from estimhank.target.protocol import Target

Array = NDArray[np.float64]

_DOUBT = 2.0  # multiples of the error within which of a jump an exact value is asked for
_TRUSTED = 4.0  # multiples of the error beyond which a polynomial is wrong, not imprecise
_BEYOND, _BEYOND_SHARE = 1.4, 3  # how much further out one in so many points is looked at
_AT_A_TIME = 8  # points that a worker looks at in a call


def look_at(target: Target, thetas: Array) -> list[Jumps | None]:
    """Where a target jumps, at natural parameters of shape (n, d); in a worker."""
    return [target.jumps_at(theta) for theta in thetas]


class JumpFinder:
    """Learns where a target's density jumps from points at which it was evaluated.

    Parameters
    ----------
    target : Target
        Its ``jumps_at`` gives :class:`~estimhank.target.jumps.Jumps` at natural parameters, None where there
        are none.
    steady_state : ndarray of bool, shape (d,)
        The coordinates that move them.
    workers : Workers, optional
        Look at them; by default this process does.
    """

    def __init__(self, target: Target, steady_state: NDArray[np.bool_], workers: Workers | None = None) -> None:
        self.target, self.steady_state, self.workers = target, steady_state, workers or InTurn(target)
        self.map: JumpMap | None = None
        self._known: dict[bytes, Jumps | None] = {}
        self._fitted: dict[bytes, None] = {}  # which of them the map is fitted to, in order
        self._chosen: set[bytes] = set()  # points that these were, or were moved from
        self._smooth = not steady_state.any()

    def learn(self, x: Array, n: int, rng: np.random.Generator) -> None:
        """Look at ``n`` more of the points x, shape (m, d), where posterior draws can be, and fit the map again.

        To such points alone, preferably near a constraint, and to some a little further out, so that a rare draw still
        is inside of what is known: a polynomial that has to follow the points far out that ``places`` looks up as well
        is less precise where it matters. What is looked at needs no density.
        """
        if self._smooth or not len(x):
            return
        center = x.mean(axis=0)
        x = x[[point.tobytes() not in self._chosen for point in x[:, self.steady_state]]]
        likely = np.ones(len(x)) if self.map is None else closeness(self.map.places(x)[0]).sum(axis=1)
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
        seen = Jumps(*(np.stack(part) for part in zip(*(found for _, found in known), strict=True)))
        self.map = fit_jumps(moved, seen, self.steady_state)

    def places(self, x: Array) -> Array:
        """Distances to the constraint and grid indices at points x of shape (n, d), (2, n, m): looked up exactly near a
        jump, by polynomial elsewhere, so that no training point lies on the wrong side of a jump.

        By polynomial too where that is wrong by far, outside of what it is fitted to: there the network has to learn
        what goes with what it will be told.
        """
        if self.map is None:
            return np.zeros((2, len(x), 0))
        distance, grid_index = found = self.map.places(x)
        close = np.abs(distance) < _DOUBT * self.map.error[0]
        close |= (distance > 0) & (np.abs(grid_index - np.round(grid_index)) < _DOUBT * self.map.error[1])
        self._look_at(x[close.any(axis=1)])
        trusted = _TRUSTED * self.map.error
        for row, point in enumerate(x[:, self.steady_state]):
            exact = self._known.get(point.tobytes())
            if exact is not None:
                seen = np.stack([exact.distance, exact.grid_index])[:, self.map.chosen]
                seen[0] = stretched(seen[0], self.map.stretch)
                off = np.abs(seen - found[:, row])
                off[0, seen[0] * distance[row] > 0] = 0.0  # of a distance the sign is all that is told
                right = off <= trusted  # never where an index is not known, or not there
                found[:, row][right] = seen[right]
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
