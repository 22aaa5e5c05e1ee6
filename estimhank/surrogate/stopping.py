"""When the exact stage should give up, and what to tell the user then.

A run with too few effective draws a round is stopped early: one that would need tens of thousands of rounds shows so
within a few hundred. The number of effective draws e after n rounds is extrapolated as a power of n::

    e(N) = e(n) (N / n)^g

with the g that its growth since n / 2 shows, held in [1, 2]: in a stationary chain g is 1; it is more while chains
still find their way to the posterior, and less only by noise. A run whose goal is then beyond a multiple of its budget,
at several looks in succession, is stopped.

What hinders it is told from the proposals that had no density: where a parameter separates them from the draws, the
posterior ends there.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from estimhank.surrogate.convergence import Convergence
from estimhank.surrogate.edge_words import at_the_edge, place
from estimhank.surrogate.policy import POSTERIOR_POLICY as POLICY
from estimhank.target.protocol import REASONS

Array = NDArray[np.float64]

#: How the sentence on a run that was stopped begins, in certificate and verdict.
STOPPED = "the exact stage stopped early"
#: How the sentence on a run that used all its rounds begins.
RAN_OUT = "the exact stage used up its rounds"

_EDGE_SHARE = 0.02  # of proposals without a density from which on an edge is worth a word
_SEPARATES = 0.97  # probability that a draw is on the one side of a proposal without a density
_NEAR, _PILED = 0.1, 0.2  # share of the central range of draws next to the edge, and share of the draws within it


@dataclass
class Outlook:
    """Whether a run will reach its number of effective draws, from looks at how many it has.

    Attributes
    ----------
    wanted : float
        Effective draws.
    budget : int
        Rounds.
    budgets : float
        Multiples of the budget beyond which a goal is out of reach.
    """

    wanted: float
    budget: int
    budgets: float = POLICY.budgets
    _looks: list[tuple[int, float]] = field(default_factory=list)
    _hopeless: int = 0

    def add(self, rounds: int, effective: float) -> bool:
        """Take a look, ``rounds`` rounds kept that are worth ``effective`` draws; return whether to give up."""
        self._looks.append((rounds, max(effective, 1.0) if math.isfinite(effective) else 1.0))
        early = rounds < max(POLICY.fewest_rounds, POLICY.fewest_share * self.budget)
        self._hopeless = 0 if early or self.needed() <= self.budgets * self.budget else self._hopeless + 1
        return self._hopeless >= POLICY.looks

    def needed(self) -> float:
        """Rounds, in all, after which the goal is reached if it goes on as it does; inf where nothing is known."""
        if not self._looks:
            return math.inf
        rounds, effective = self._looks[-1]
        before = [look for look in self._looks if look[0] <= rounds / 2]
        growth = 1.0
        if before:
            growth = math.log(effective / before[-1][1]) / math.log(rounds / before[-1][0])
        found: float = rounds * max(self.wanted / effective, 1.0) ** (1 / min(max(growth, 1.0), POLICY.steepest_growth))
        return found


@dataclass
class Rejected:
    """Proposals of the exact stage that had no density, as it goes."""

    proposals: int = 0
    _theta: list[Array] = field(default_factory=list)
    _reason: list[NDArray[np.uint8]] = field(default_factory=list)

    def add(self, theta: Array, reason: NDArray[np.uint8]) -> None:
        """Take a round's proposals, natural units (n, d), and the codes of their reasons (0: it has a density)."""
        self.proposals += len(theta)
        bad = reason > 0
        self._theta.append(theta[bad])
        self._reason.append(reason[bad])

    @property
    def theta(self) -> Array:
        """Those without a density, (m, d)."""
        return np.concatenate(self._theta) if self._theta else np.empty((0, 0))

    @property
    def share(self) -> float:
        """Share of all proposals."""
        return len(self.theta) / max(self.proposals, 1)

    @property
    def reason(self) -> str:
        """The most frequent reason."""
        counts = Counter(np.concatenate(self._reason).tolist()) if self._reason else Counter()
        return REASONS[counts.most_common(1)[0][0]] if counts else "ok"


def diagnose(names: Sequence[str], draws: Array, slowest: int, rejected: Rejected) -> str:
    """What hinders the chains, in a sentence without a full stop.

    Parameters
    ----------
    names : sequence of str
    draws : ndarray of shape (n, d)
        Exact draws, natural units.
    slowest : int
        The parameter that has the fewest effective draws.
    rejected : Rejected
    """
    if rejected.share < _EDGE_SHARE:
        return (
            f"{names[slowest]} moves slowest; the posterior may have a part that the surrogate does not know: more "
            "training points, or a prior that excludes what is not meant, would help"
        )
    sides = np.array([_probability_above(draws[:, j], rejected.theta[:, j]) for j in range(len(names))])
    best = int(np.argmax(np.abs(sides - 0.5)))
    what = at_the_edge(rejected.reason)
    share = f"{rejected.share:.0%} of the proposals are beyond"
    if max(sides[best], 1 - sides[best]) < _SEPARATES:
        two = np.argsort(-np.abs(sides - 0.5))[:2]
        told = " and ".join(names[j] for j in two)
        return (
            f"the posterior is cut off inside its mass where {what}, at an edge that no single parameter describes "
            f"({told} tell most of it; {share}): restrict the prior to one side of it"
        )
    above = sides[best] > 0.5
    edge = _between(draws[:, best], rejected.theta[:, best], above)
    verb = "piles up" if _piles_up(draws[:, best], edge, above) else "is cut off inside its mass"
    side = "above" if above else "below"
    return (
        f"the posterior {verb} at {place([names[best]], [edge])}, where {what} ({share}): restrict the prior of "
        f"{names[best]} to values {side} it"
    )


def _probability_above(draws: Array, rejected: Array) -> float:
    """Probability that a draw is above a rejected proposal (Mann and Whitney)."""
    n, m = len(draws), len(rejected)
    ranks = rankdata(np.concatenate([draws, rejected]))[:n]
    return float((ranks.sum() - n * (n + 1) / 2) / (n * m))


def _between(draws: Array, rejected: Array, above: bool) -> float:
    """The value with the fewest draws and rejected proposals on the wrong side."""
    values = np.concatenate([draws, rejected])
    weight = np.concatenate([np.full(len(draws), 1 / len(draws)), np.full(len(rejected), -1 / len(rejected))])
    order = np.argsort(values)
    below = np.cumsum(weight[order])  # share of draws below less share of rejected ones below
    k = min(int(np.argmin(below) if above else np.argmax(below)), len(values) - 2)
    return float(0.5 * (values[order[k]] + values[order[k + 1]]))


def _piles_up(draws: Array, edge: float, above: bool) -> bool:
    low, high = np.quantile(draws, [0.05, 0.95])
    reach = _NEAR * (high - low)
    near = (draws < edge + reach) if above else (draws > edge - reach)
    return bool(near.mean() > _PILED)


def why_stopped(
    names: Sequence[str],
    draws: Array,
    verdict: Convergence,
    outlook: Outlook,
    rejected: Rejected,
    rounds: int,
    gave_up: bool,
) -> str:
    """The sentence on a run that ended without meeting its criteria, as it ``gave_up`` or used up its rounds.

    ``draws`` are the exact draws, natural units, of shape (chain, draw, d).
    """
    slowest = int(np.argmin(np.minimum(verdict.ess_bulk, verdict.ess_tail)))
    diagnosis = diagnose(names, draws.reshape(-1, draws.shape[-1]), slowest, rejected)
    if not gave_up:
        return f"{RAN_OUT}, {rounds:,}, without converging: {diagnosis}"
    needed = f"{outlook.wanted:,.0f} effective draws would take about {_rounded(outlook.needed())} rounds"
    return f"{STOPPED}, after {rounds:,} rounds: {needed}; {diagnosis}"


def _rounded(number: float) -> str:
    digits = max(math.floor(math.log10(number)) - 1, 0)
    return f"{round(number / 10**digits) * 10**digits:,}"
