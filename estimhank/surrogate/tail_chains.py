"""Whether exact draws end where the posterior does, or where the surrogate does: exact chains confined to the tails.

A surrogate that is far too low somewhere sends no subchain there. The exact chains' own random-walk steps are few, so
all of them may stay away from such a place for a whole run, agree with each other, and miss its mass. Effective draws
and R-hat cannot show that. What can is this. Let B be where some quantity g is at least as large as at the outermost
draws. If the draws are the posterior's, those in B have the posterior's distribution within B, and a kernel that is
reversible with respect to the posterior, *and that rejects whatever leaves B*, keeps it: the ends of chains that began
at these draws are distributed as the draws are. If the draws stop short, the chains go on outward, for nothing draws
them back to the bulk; soon many of them are where no draw has been.

The quantities are the Mahalanobis distance, the coordinates that have the longest tails, and by how much the surrogate
underrates a place. Chains that have not forgotten where they began would say nothing, however far the posterior goes:
they go on until they have, or for very long.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom, mannwhitneyu, rankdata, wilcoxon

from estimhank.evaluation.evaluations import EvaluationBatch
from estimhank.support.seeds import Stream, generator
from estimhank.surrogate.confined import (
    Kernel,
    Quantity,
    TailChains,
    TailStates,
    far_out,
    lacking,
    local_roots,
)
from estimhank.surrogate.exact import Evaluate
from estimhank.surrogate.exact_chains import ExactChains
from estimhank.surrogate.policy import POSTERIOR_POLICY as POLICY
from estimhank.surrogate.surrogate import Surrogate
from estimhank.target.protocol import Target

Array = NDArray[np.float64]


class Reach(NamedTuple):
    """How far chains went by one measure. ``beyond``: chains, of ``chains``, that ended beyond the ``rank``-th
    outermost draw; ``probability``: p-value of this or another test if the draws cover the tails."""

    beyond: int
    chains: int
    rank: int
    probability: float


class Lack(NamedTuple):
    """RMS underrating by the surrogate far out, over all draws: at the chains' ends and at their starts."""

    ends: float
    starts: float

    @property
    def serious(self) -> bool:
        """Whether the chains came to places that the surrogate lacks, more so than the draws do."""
        return self.ends > POLICY.lacking and self.ends > POLICY.more_than_draws * self.starts


@dataclass(frozen=True)
class TailEvidence:
    """What the chains found, by quantity, and the exact evaluations that it took."""

    reach: dict[str, Reach]
    evaluations: int
    lack: dict[str, Lack] = field(default_factory=dict)

    @property
    def covered(self) -> bool:
        """Whether the draws may reach as far as the posterior does."""
        return not self.words

    @property
    def words(self) -> str:
        """What is wrong, in words; empty where nothing is."""
        for name, reach in self.reach.items():
            if reach.probability < POLICY.improbable:
                draws = "any draw" if reach.rank == 1 else f"all but {reach.rank - 1} draws"
                return (
                    f"the draws do not cover the tails: of {reach.chains} exact chains that start at the outermost "
                    f"draws by {name} and stay as far out, {reach.beyond} end farther out than {draws}"
                )
        for name, lack in self.lack.items():
            if lack.serious:
                return (
                    "the draws may not cover the tails: exact chains that start at the outermost draws by "
                    f"{name} and stay as far out come to places that the surrogate hardly knows (an error of "
                    f"{lack.ends:.2f} over all draws, where the draws themselves show {lack.starts:.2f})"
                )
        return ""


def look_beyond(
    evaluate: Evaluate, target: Target, surrogate: Surrogate, exact: ExactChains, batch: int, seed: int
) -> TailEvidence:
    """Run the chains, side by side; batches of stage ``"certificate"`` are numbered from ``batch`` on."""
    rng = generator(seed, Stream.TAIL_CHAINS, 0)
    d = surrogate.dimension
    total = exact.log_density.size
    # as many draws as are effective ones: a test of ranks takes them for independent
    effective = min(float(exact.ess_bulk.min()), float(exact.ess_tail.min()), float(total))
    rows = rng.choice(total, max(1, int(effective)), replace=False)
    z, density = exact.z.reshape(-1, d)[rows].astype(float), exact.log_density.ravel()[rows]
    draws = TailStates(z, density, density - exact.surrogate_log_density.ravel()[rows])
    level = float(np.median(draws.underrated))
    far = far_out(draws.z, surrogate, target.names)
    quantities = far | _underrating(draws, level)
    count = max(POLICY.fewest_outermost, math.ceil(POLICY.outermost * len(z)))
    if not quantities or len(z) < 2 * count:
        return TailEvidence({}, 0)
    chains = min(POLICY.tail_chains, count)  # each from a draw of its own

    def ask(number: int, x: Array) -> EvaluationBatch:
        return evaluate("certificate", batch + number, target.transform.to_natural(x))

    searches = []
    for name, of in quantities.items():
        chosen = np.argsort(-of(draws), kind="stable")[:count]
        outermost, starts = draws.rows(chosen), draws.rows(rng.permutation(chosen)[:chains])
        searches.append(_Search(name, of, of(outermost), starts, surrogate, level))
    kernel, evaluations, done = Kernel(ask, target.transform, surrogate), 0, 0
    for steps in POLICY.tail_steps:
        unsettled = [search for search in searches if not search.settled]
        if not unsettled or any(search.reach.probability < POLICY.improbable for search in searches):
            break
        while done < steps:
            evaluations += kernel.step(rng, unsettled, done)
            done += 1
    return TailEvidence(
        {search.name: search.reach for search in searches},
        evaluations,
        {search.name: search.lack for search in searches if search.name in far},
    )


def _underrating(draws: TailStates, level: float) -> dict[str, Quantity]:
    if not np.isfinite(draws.underrated).all():
        return {}
    # what is underrated slightly is not far out: equal there, so that it is told from nothing
    return {"the surrogate's underrating": lambda a: np.maximum(a.underrated - level, POLICY.slight)}


class _Search(TailChains):
    """What chains by one quantity have found; ``level`` is the surrogate's usual error."""

    def __init__(
        self, name: str, of: Quantity, outermost: Array, starts: TailStates, surrogate: Surrogate, level: float
    ) -> None:
        super().__init__(name, of, outermost, starts, local_roots(surrogate, starts.z), starts)
        self.level = level

    @property
    def reach(self) -> Reach:
        """How far the chains went."""
        return compare_reach(self.outermost, self.of(self.starts), self.of(self.state))

    @property
    def lack(self) -> Lack:
        """What the surrogate lacks far out."""
        ends, starts = (lacking((a.underrated - self.level)[:, None]) for a in (self.state, self.starts))
        return Lack(ends, starts)

    @property
    def settled(self) -> bool:
        """Whether the chains have forgotten where they began, so that they would have gone farther if they could, and
        show nothing suspicious."""
        if self.state is self.starts:
            return False
        forgotten = rank_correlation(self.of(self.starts), self.of(self.state)) < POLICY.forgotten
        return forgotten and self.reach.probability > POLICY.suspicious and self.lack.ends < POLICY.lacking


def compare_reach(draws: Array, starts: Array, ends: Array) -> Reach:
    """Whether ends of chains, shape (n,), go farther than the draws (m,) that ``starts`` (n,) were taken from.

    If all are draws of one distribution, the number of ends beyond the r-th largest draw is negative hypergeometric
    (Rosenbaum 1954), the ends' ranks are those of Mann and Whitney (1947), and, the chains being reversible, the way
    from start to end is as likely as the way back: Wilcoxon's (1945) signed ranks. Chains that have not moved are ties,
    which count as not beyond. The probability is the smallest of the tests', times their number.
    """
    m, n = len(draws), len(ends)
    if m < POLICY.fewest_outermost:
        return Reach(0, n, 1, 1.0)
    ordered = np.sort(draws)[::-1]
    found = []
    for rank in POLICY.ranks:
        beyond = int((ends > ordered[rank - 1]).sum())
        # so many ends beyond it: among the outermost beyond + rank - 1 of all there are less than rank draws
        probability = float(hypergeom.cdf(rank - 1, m + n, m, beyond + rank - 1)) if beyond else 1.0
        found.append(Reach(beyond, n, rank, probability))
    if np.ptp(np.concatenate([draws, ends])) > 0:
        ranks = float(mannwhitneyu(ends, draws, alternative="greater").pvalue)
        found.append(found[0]._replace(probability=ranks))
    moved = ends != starts
    if moved.sum() >= POLICY.fewest_outermost:
        signed = float(wilcoxon(ends[moved] - starts[moved], alternative="greater").pvalue)
        found.append(found[0]._replace(probability=signed))
    least = min(found, key=lambda reach: reach.probability)
    return least._replace(probability=min(1.0, len(found) * least.probability))


def rank_correlation(a: Array, b: Array) -> float:
    """Spearman's correlation; 0 where one of them does not vary."""
    a, b = rankdata(a), rankdata(b)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
