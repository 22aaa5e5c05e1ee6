"""Whether the training points reach as far as the posterior: exact chains at the outermost draws of a surrogate.

A surrogate learns where its own draws lie. Where the posterior goes on along a thin and bent ridge, no draw of it, bold
or not, falls on the ridge beyond the last training points: rounds find nothing there, its error on fresh draws is
small, and it ends where its points did. Short exact chains that begin at the outermost draws, and stay as far out,
follow the ridge; how far the surrogate underrates the places they come to says how much of the posterior it lacks, and
their evaluations are the points that it needs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from estimhank.sampling.evaluations import EvaluationBatch
from estimhank.surrogate.confined import OUTERMOST, Ask, Chains, Kernel, Places, far_out, lacking, local_roots
from estimhank.surrogate.points import Points, points_from
from estimhank.surrogate.surrogate import Surrogate
from estimhank.transform import Transform

Array = NDArray[np.float64]

#: Error that chains at the front may find: of what the surrogate lacks far out, over all draws.
LARGEST_ERROR = 0.03

_CHAINS, _STEPS = 16, 12  # for each quantity
_FURTHER = 3  # times as many chains where a look before has found something
_FEWEST = 4  # draws, and chains, below which nothing is looked at


class Front(NamedTuple):
    """What chains at the front found: the root mean square, over all draws, of by how much the surrogate underrates
    those that are far out; and all that was evaluated."""

    error: float
    points: Points | None


@dataclass
class FrontSearch:
    """Looks at the front of a surrogate stage; ``looks`` and ``evaluations`` are those made so far."""

    transform: Transform
    names: Sequence[str]
    looks: int = 0
    evaluations: int = 0

    def look(self, surrogate: Surrogate, draws: Array, level: float, rng: np.random.Generator, ask: Ask) -> Front:
        """Run the chains.

        Parameters
        ----------
        surrogate : Surrogate
        draws : ndarray of shape (n, d)
            Of the surrogate, coordinates x.
        level : float
            Log posterior less log surrogate where it is right.
        rng : numpy.random.Generator
        ask : callable
            ``ask(step, x)`` gives exact evaluations at coordinates x.
        """
        batches: list[EvaluationBatch] = []

        def kept(step: int, x: Array) -> EvaluationBatch:
            batches.append(ask(step, x))
            return batches[-1]

        z = np.asarray(surrogate.whiten(draws), float)
        count, chains = math.ceil(OUTERMOST * len(z)), _CHAINS * (_FURTHER if self.looks else 1)
        quantities = far_out(z, surrogate, self.names)
        if count < _FEWEST or not quantities:
            return Front(0.0, None)
        self.looks += 1
        kernel = Kernel(kept, self.transform, surrogate)
        blank, starts, least = np.zeros(len(z)), [], []
        for of in quantities.values():
            value = of(Places(z, blank, blank))
            chosen = np.argsort(-value, kind="stable")[:count]
            starts.append(z[rng.permutation(chosen)[:chains]])
            least.append(float(value[chosen].min()))
        begun, first, searches = kernel.look(0, np.concatenate(starts)), 0, []
        for of, some, bound in zip(quantities.values(), starts, least, strict=True):
            state = begun.rows(np.arange(first, first + len(some)))
            first += len(some)
            inside = lambda a, of=of, bound=bound: of(a) >= bound  # noqa: E731
            searches.append(Chains(inside, state, local_roots(surrogate, state.z)))
        seen: list[list[Array]] = [[] for _ in searches]
        for step in range(_STEPS):
            kernel.step(rng, searches, step + 1)
            if step >= _STEPS // 2:
                for chains_seen, search in zip(seen, searches, strict=True):
                    chains_seen.append(search.state.underrated)
        points = points_from(batches[0], self.transform)
        for batch in batches[1:]:
            points = points.extend(points_from(batch, self.transform))
        self.evaluations += sum(map(len, batches))
        return Front(max(lacking(np.array(some).T - level) for some in seen), points)
