"""Whether posteriors hold what they say: ranks of truths among draws, and how many truths intervals cover.

If theta is drawn from the prior, y from the model at theta, and draws from the posterior of y, then the rank of theta
among L independent draws is uniform on 0, ..., L (Cook, Gelman and Rubin 2006; Talts, Betancourt, Simpson, Vehtari and
Gelman 2018), and a central interval of 90 % covers theta with probability 0.9. Both hold exactly, of averages over the
prior: at one fixed theta a right posterior need not cover it so often.

Ranks are judged by their distribution function against simultaneous bands (Säilynoja, Bürkner and Vehtari 2022): at
every fraction z = i / (L + 1) the number of N ranks below i is binomial (N, z), and the smallest of these two-sided
tail probabilities is compared with its own distribution, by simulation of uniform ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Draws that a truth is ranked among, thinned from more: with 99 there are 100 ranks, which bins divide evenly.
DRAWS = 99
#: Probability of the intervals whose coverage is counted.
CENTRAL = 0.9
#: Probability that a right posterior is found wrong, all tests of all quantities together (Bonferroni).
FALSE_ALARM = 0.05
#: Replications below which no verdict is given: they would only find posteriors a third as wide as the right ones.
FEWEST = 20
#: Simulated sets of uniform ranks that the smallest tail probability is compared with.
_SIMULATED = 10_000
#: Expected ranks in a bin of the chi-square test, at least; and most bins.
_IN_A_BIN, _MOST_BINS = 5, 20


@dataclass(frozen=True)
class Judged:
    """One quantity over all replications.

    Attributes
    ----------
    name : str
    ranks : array of int, shape (N,)
        Of the truths, from 0 to :data:`DRAWS`.
    covered : int
        Central intervals that hold the truth.
    p_ecdf, p_chi_square, p_coverage : float
        Probabilities that a right posterior would do as badly or worse.
    """

    name: str
    ranks: Integers
    covered: int
    p_ecdf: float
    p_chi_square: float
    p_coverage: float

    @property
    def smallest(self) -> tuple[float, str]:
        """The smallest of the probabilities, and which test it is of."""
        found = {"rank": self.p_ecdf, "chi-square": self.p_chi_square, "coverage": self.p_coverage}
        name = min(found, key=lambda test: found[test])
        return found[name], name


def rank(truth: float, draws: Array, among: int = DRAWS) -> int:
    """Rank of a truth among evenly thinned draws, shape (chains, draws a chain) or flat: how many are smaller.

    Draws are taken along one chain after the other, so that neighbours are as far apart as can be.
    """
    flat = np.asarray(draws, float).ravel()
    if len(flat) < among:
        raise ValueError(f"a rank among {among} draws needs as many, there are {len(flat)}")
    chosen = np.linspace(0, len(flat) - 1, among).round().astype(int)
    return int((flat[chosen] < truth).sum())


def covers(truth: float, draws: Array, central: float = CENTRAL) -> bool:
    """Whether the central interval of draws holds a truth."""
    low, high = np.quantile(draws, (0.5 - central / 2, 0.5 + central / 2))
    return bool(low <= truth <= high)


@cache
def _tails(replications: int, draws: int) -> Array:
    """Two-sided tail probability of k of N ranks below i, shape (L, N + 1), i = 1, ..., L."""
    k = np.arange(replications + 1)
    z = np.arange(1, draws + 1)[:, None] / (draws + 1)
    found: Array = 2 * np.minimum(stats.binom.cdf(k, replications, z), stats.binom.sf(k - 1, replications, z))
    return found


def _smallest_tail(ranks: Integers, draws: int) -> Array:
    """Smallest tail probability over all fractions, of sets of ranks of shape (sets, N)."""
    sets, replications = ranks.shape
    flat = ranks + np.arange(sets)[:, None] * (draws + 1)
    counts = np.bincount(flat.ravel(), minlength=sets * (draws + 1)).reshape(sets, draws + 1)
    below = counts.cumsum(1)[:, :-1]  # column i - 1: ranks of i - 1 at most, that is below i
    found: Array = _tails(replications, draws)[np.arange(draws), below].min(1)
    return found


@cache
def _by_chance(replications: int, draws: int) -> Array:
    """Smallest tail probabilities of uniform ranks, sorted, shape (:data:`_SIMULATED`,)."""
    rng = np.random.default_rng(0)
    return np.sort(_smallest_tail(rng.integers(0, draws + 1, (_SIMULATED, replications)), draws))


def ecdf_probability(ranks: Integers, draws: int = DRAWS) -> float:
    """Probability that the distribution function of uniform ranks leaves its bands as far as this one, or farther."""
    mine = _smallest_tail(np.asarray(ranks)[None], draws)[0]
    chance = _by_chance(len(ranks), draws)
    return float((1 + np.searchsorted(chance, mine * (1 + 1e-12), side="right")) / (1 + len(chance)))


def bands(replications: int, draws: int = DRAWS, outside: float = FALSE_ALARM) -> tuple[Array, Array]:
    """Simultaneous bands of the distribution function of uniform ranks at i / (L + 1), i = 1, ..., L; shares."""
    level = float(np.quantile(_by_chance(replications, draws), outside))
    z = np.arange(1, draws + 1) / (draws + 1)
    low = stats.binom.ppf(level / 2, replications, z) / replications
    high = stats.binom.isf(level / 2, replications, z) / replications
    return low, high


def chi_square_probability(ranks: Integers, draws: int = DRAWS) -> float:
    """Of Pearson's statistic of the ranks, in as many equal bins as leave five expected in each; 1 for one bin."""
    n = len(ranks)
    bins = max(b for b in range(1, _MOST_BINS + 1) if (draws + 1) % b == 0 and b <= max(n // _IN_A_BIN, 1))
    if bins < 2:
        return 1.0
    counts = np.bincount(np.asarray(ranks) * bins // (draws + 1), minlength=bins)
    return float(stats.chisquare(counts).pvalue)


def judge(name: str, ranks: Sequence[int] | Integers, covered: int, draws: int = DRAWS) -> Judged:
    """All three tests of one quantity."""
    found = np.asarray(ranks, np.int64)
    coverage = float(stats.binomtest(covered, len(found), CENTRAL).pvalue)
    return Judged(
        name, found, covered, ecdf_probability(found, draws), chi_square_probability(found, draws), coverage
    )  # fmt: skip


def verdict(judged: Sequence[Judged]) -> tuple[bool, str]:
    """Whether nothing speaks against the posteriors, and what can be said, in words.

    It is withheld where a test of any quantity is below its share of :data:`FALSE_ALARM`, and where there are fewer
    replications than :data:`FEWEST`.
    """
    replications = len(judged[0].ranks)
    limit = FALSE_ALARM / (3 * len(judged))
    wrong = [(q.name, *q.smallest) for q in judged if q.smallest[0] < limit]
    if wrong:
        listed = ", ".join(f"{name} ({test}, p = {p:.2g})" for name, p, test in wrong)
        return False, f"not calibrated: {listed}; the limit for each of {3 * len(judged)} tests is {limit:.2g}"
    if replications < FEWEST:
        return False, f"no verdict: {replications} replications, fewer than the {FEWEST} that are needed"
    narrow = too_narrow(replications, limit)
    return True, (
        f"nothing speaks against it in {replications} replications, which find posterior standard deviations that are "
        f"{narrow:.2f} of the right ones, or less, nine times in ten"
    )


def too_narrow(replications: int, limit: float, draws: int = DRAWS) -> float:
    """Share of the right standard deviation at which a normal posterior is found too narrow nine times in ten."""
    rng = np.random.default_rng(1)
    z = rng.standard_normal((200, replications))
    for share in np.arange(0.95, 0.05, -0.05):
        below = rng.binomial(draws, stats.norm.cdf(z / share))
        smallest = _smallest_tail(below, draws)
        p = (1 + np.searchsorted(_by_chance(replications, draws), smallest, side="right")) / (1 + _SIMULATED)
        if (p < limit).mean() >= 0.9:
            return float(share)
    return 0.0
