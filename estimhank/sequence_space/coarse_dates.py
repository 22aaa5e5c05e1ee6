"""The dense system at few dates: the first and the last ones, and between them nodes of a polynomial in the logarithm
of the date.

Far from date 0, and from the last date, where expectations end, responses are sums of slowly decaying paths, so that a
polynomial through some of their values gives all others. The dense variables are unknown at the nodes alone, and the
dense equations hold at the nodes (collocation; Boyd 2001, "Chebyshev and Fourier Spectral Methods", chapter 3): m n
equations in place of m T, where n grows with the logarithm of T. What households react to is such a path too, so that
their Jacobians are n by n where they were T by T. So a horizon at which slow wealth has died out costs little more than
a short one. The recursions of the banded block run over all dates, as ever.

Half way between the nodes the equations are not imposed; by how much they fail there is checked for each solution. What
oscillates from date to date for hundreds of dates is no such polynomial: it fails, and all dates are solved for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from estimhank.support.chebyshev import cardinal_polynomials, nodes_in_logs

#: First and last dates that are all solved for, the fewest that do at the reference values; and horizons from which
#: fewer dates are worth it.
ENDS, SHORTEST = ((60, 60), (120, 24), (120, 60), (180, 90), (180, 150)), 250

#: First and last dates that are all solved for, as shares of the horizon at least: at other parameters errors are a
#: thousand times those at the reference values, and they come from next to these dates. Shares where these do not do.
FIRST, LAST, MORE_FIRST, MORE_LAST = 0.1, 1 / 30, 0.16, 0.1

#: Largest failure of an equation between nodes with which a solution passes, as a share of what inputs do to the
#: output; and the largest error of an interpolated path at the reference values, as a share of its largest value.
FAILURE, ERROR = 1e-5, 1e-7

_SPARE = 1e-10  # error of an interpolated path that leaves digits to spare at other parameters
_PER_DOUBLING = 10  # nodes between, each time the horizon doubles


@dataclass(frozen=True)
class CoarseDates:
    """Dates at which dense equations hold, and the paths that values at these dates stand for.

    Attributes
    ----------
    horizon : int
        All dates, T.
    first, last : int
        The first and the last dates that are all solved for.
    """

    horizon: int
    first: int
    last: int

    @classmethod
    def that_hold(cls, sure: ArrayLike, others: ArrayLike) -> CoarseDates | None:
        """The fewest dates that give all others of some paths (T, k); None where none do.

        Of further paths (T, l), some of which may be hopeless, they give as many as any choice does with digits to
        spare (:data:`_SPARE`).
        """
        sure, others = np.asarray(sure, float), np.asarray(others, float)
        found, horizon = {}, len(sure)
        # beyond some horizon no choice has as many as the shares ask for: the one with the most is left
        least_first, least_last = np.minimum(np.array([FIRST, LAST]) * horizon, np.max(ENDS, axis=0))
        for first, last in ENDS:
            few = cls(horizon, first, last)
            enough = first >= least_first and last >= least_last
            if enough and len(few.dates) <= horizon * 2 // 3 and (few._errors(sure) <= ERROR).all():
                found[few] = int((few._errors(others) <= _SPARE).sum())
        return next((few for few, count in found.items() if count == max(found.values())), None)

    def more(self) -> CoarseDates | None:
        """More dates, for what these are not enough for; None where all of them are not many more."""
        more = CoarseDates(self.horizon, int(MORE_FIRST * self.horizon), int(MORE_LAST * self.horizon))
        return more if len(self.dates) < len(more.dates) <= self.horizon // 2 else None

    def _errors(self, paths: NDArray[np.float64]) -> NDArray[np.float64]:
        """Largest errors of interpolation, as shares of the paths' largest values, (k,)."""
        between = paths[self.first : len(paths) - self.last]
        error = np.abs(self.basis @ paths[list(self.nodes)] - between).max(axis=0)
        return np.asarray(error / (np.abs(paths).max(axis=0) + 1e-300))

    @cached_property
    def nodes(self) -> tuple[int, ...]:
        """Dates next to the extremes of a Chebyshev polynomial in the logarithm of the date."""
        end = max(self.horizon - self.last - 1, self.first + 1)
        return tuple(nodes_in_logs(self.first, end, _PER_DOUBLING).tolist())

    @cached_property
    def dates(self) -> NDArray[np.intp]:
        """All dates at which equations hold, (n,)."""
        return np.concatenate([np.arange(self.first), self.nodes, np.arange(self.horizon - self.last, self.horizon)])

    @cached_property
    def between(self) -> NDArray[np.intp]:
        """Dates half way between nodes, which are not nodes themselves."""
        nodes = np.array(self.nodes)
        return np.setdiff1d((nodes[1:] + nodes[:-1]) // 2, nodes)

    @cached_property
    def basis(self) -> NDArray[np.float64]:
        """Values between the first and the last dates of the polynomials that are one at a node, (dates, nodes)."""
        between = np.arange(self.first, self.horizon - self.last)
        return cardinal_polynomials(np.log(np.array(self.nodes)), np.log(between))


def horizon_of(coarse: CoarseDates | None, held: int) -> int:
    """All dates, of a household operator that holds so many dates of its inputs."""
    return held if coarse is None else coarse.horizon


def count_of(coarse: CoarseDates | None, horizon: int) -> int:
    """How many dates the dense system has."""
    return horizon if coarse is None else len(coarse.dates)


def pick(coarse: CoarseDates | None, x: jax.Array) -> jax.Array:
    """Values at the dates of the dense system: (T, ...) to (n, ...)."""
    return x if coarse is None else x[coarse.dates]


def scatter(coarse: CoarseDates | None, x: jax.Array) -> jax.Array:
    """The transpose of :func:`pick`: zeros elsewhere."""
    if coarse is None:
        return x
    return jnp.zeros((coarse.horizon, *x.shape[1:])).at[coarse.dates].set(x)


def interpolate(coarse: CoarseDates | None, x: jax.Array) -> jax.Array:
    """Paths over all dates of values at those of the dense system: (n, ...) to (T, ...)."""
    if coarse is None:
        return x
    first, last = coarse.first, coarse.last
    return jnp.concatenate([x[:first], jnp.tensordot(coarse.basis, x[first:-last], 1), x[-last:]])


def fold(coarse: CoarseDates | None, x: jax.Array) -> jax.Array:
    """The transpose of :func:`interpolate`: (T, ...) to (n, ...)."""
    if coarse is None:
        return x
    first, last = coarse.first, coarse.last
    return jnp.concatenate([x[:first], jnp.tensordot(coarse.basis.T, x[first:-last], 1), x[-last:]])
