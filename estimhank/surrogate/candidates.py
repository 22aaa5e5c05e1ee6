"""Where a round evaluates next: draws of the surrogate, and points acquired where it is most likely to be wrong.

An error that matters need not be seen by a few hundred draws. One draw in thousands at which the surrogate is wrong by
hundreds of log points spoils its importance weights, and one state in thousands that it underrates by one holds an
exact chain up. Thousands of draws cost no exact evaluation, and two things tell which of them to look at: where the
networks disagree, and how far it is to the nearest point that they have seen. Half of the pool are draws of the
uncorrected surrogate: where nothing has been seen, the lower confidence bound may be too low, and its own draws would
never show it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from estimhank.evaluation.workers import Workers
from estimhank.mode.starts import farthest_first
from estimhank.surrogate.certificate import centred_error
from estimhank.surrogate.fast_mh import SurrogateChains, draw, start_chains, warm_up
from estimhank.surrogate.points import Points, near_posterior
from estimhank.surrogate.policy import SURROGATE_POLICY as POLICY
from estimhank.surrogate.stage_config import SurrogateConfig
from estimhank.surrogate.surrogate import Surrogate, whiten

Array = NDArray[np.float64]


class CandidateDraws(NamedTuple):
    """Draws of a surrogate, coordinates x: tempered ones, (temperature, chain, d), temperature 1 first; and the
    candidate pool: draws of the surrogate and of the uncorrected one at temperature 1, (n, d) each."""

    tempered: Array
    surrogate: Array
    uncorrected: Array


class Candidates(NamedTuple):
    """Points to evaluate, coordinates x, (n, d): ``cold`` draws at temperature 1, then hotter draws, then ``acquired``
    acquired points, from a pool of ``pool`` draws. ``log_ratio``: log of the uncorrected surrogate's mass over the
    surrogate's."""

    x: Array
    cold: int
    acquired: int
    pool: int
    log_ratio: float


class RoundErrors(NamedTuple):
    """What a round's evaluations say about the surrogate.

    ``s_e``: standard deviation of the error at temperature 1; ``over_pool``: lower bound on the RMS error over the
    pool, weighted by the surrogate's density or the posterior's, whichever is larger; ``beyond``: share of the draws at
    temperature 1 beyond an edge that the surrogate knows of.
    """

    s_e: float
    over_pool: float
    beyond: float = 0.0

    @property
    def total(self) -> float:
        """All together; one draw in a hundred beyond the edge counts as much as an error of 0.03."""
        return float(np.linalg.norm([self.s_e, self.over_pool, POLICY.beyond_weight * self.beyond]))


def draw_candidates(
    surrogate: Surrogate, points: Points, config: SurrogateConfig, rng: np.random.Generator, workers: Workers
) -> tuple[Surrogate, CandidateDraws]:
    """Draws of a surrogate, and the surrogate with so steep a penalty outside the trust region that they stay near.

    A network may rise without bound where it has seen nothing. Draws at temperature 1 that end up far outside the
    trust region show it, at no exact evaluation; the penalty is then raised.
    """
    temperatures = np.array(config.temperatures)
    chains = max(-(-config.round_points // len(temperatures)), POLICY.fewest_chains)
    near = np.flatnonzero(near_posterior(points, surrogate.freedom))
    d, powers, may_be_far = surrogate.dimension, 1 / temperatures, POLICY.may_be_far
    if surrogate.shape.heavy:  # a power that leaves a density that can be integrated: half of the degrees of freedom
        powers = np.maximum(powers, (d + 0.5 * surrogate.freedom) / (d + surrogate.freedom))
        may_be_far = POLICY.may_be_far_of_heavy
    power = np.repeat(powers, chains)
    for steepening in range(POLICY.steepenings + 1):
        starts = points.x[rng.choice(near, len(power))]
        end, proposal = warm_up(surrogate, surrogate.whiten(starts), power, int(rng.integers(2**31)))
        x = surrogate.unwhiten(np.asarray(end.z, float)).reshape(len(temperatures), chains, -1)
        if steepening == POLICY.steepenings or surrogate.outside(x[0], POLICY.far).mean() <= may_be_far:
            break
        surrogate = surrogate.with_penalty_strength(POLICY.steeper * surrogate.trust_region.strength)

    def go_on(one: Surrogate, cold: SurrogateChains) -> NDArray[np.float32]:
        return draw(one, cold, proposal, POLICY.pool_draws, POLICY.pool_thin, int(rng.integers(2**31)), workers).z

    z = go_on(surrogate, SurrogateChains(end.z[:chains], end.value[:chains]))
    drawn = surrogate.unwhiten(z)
    x[0] = drawn[:, -1]  # long chains find the way to a place that is made up; short ones may not
    uncorrected = surrogate.uncorrected()
    others = uncorrected.unwhiten(go_on(uncorrected, start_chains(uncorrected, z[:, -1]))[:, 1:])
    return surrogate, CandidateDraws(x, drawn[:, :-1].reshape(-1, d), others.reshape(-1, d))


def choose_candidates(
    draws: CandidateDraws, known: Points, surrogate: Surrogate, n: int, rng: np.random.Generator, last: bool
) -> Candidates:
    """About ``n`` points: equal shares of the temperatures, but half of the hotter ones give way to acquired points.

    ``last``: only draws at temperature 1, and some acquired points, to look at a last fit.
    """
    temperatures = len(draws.tempered)
    share = -(-n // temperatures)
    cold = draws.tempered[0][: min(share, n)]
    hot = np.concatenate(
        [x[: max(0, min(share, n - t * share))] for t, x in enumerate(draws.tempered) if t] or [cold[:0]]
    )
    wanted = n // POLICY.acquired_last if last else len(hot) // 2
    uncorrected = surrogate.uncorrected()
    seen = np.concatenate([known.x, known.infeasible])
    by_surrogate = acquire(draws.surrogate, seen, surrogate, wanted - wanted // 2, rng)
    by_uncorrected = acquire(draws.uncorrected, np.concatenate([seen, by_surrogate]), uncorrected, wanted // 2, rng)
    acquired = np.concatenate([by_surrogate, by_uncorrected])
    hot = hot[:0] if last else hot[rng.permutation(len(hot))[len(acquired) :]]
    # the surrogate is hardly ever above the uncorrected one, so the mean of the quotient over the latter's draws has
    # little noise
    quotient = surrogate.log_density(draws.uncorrected) - uncorrected.log_density(draws.uncorrected)
    log_ratio = -float(logsumexp(quotient) - np.log(len(quotient)))
    pool = len(draws.surrogate) + len(draws.uncorrected)
    return Candidates(np.concatenate([cold, hot, acquired]), len(cold), len(acquired), pool, log_ratio)


def acquire(pool: Array, seen: Array, surrogate: Surrogate, n: int, rng: np.random.Generator) -> Array:
    """About ``n`` draws of a pool at which the surrogate may be wrong, shape (m, d).

    Two of three where the networks disagree, with probabilities proportional to the variance between them (what a draw
    is expected to add to the variance of the error; none where there is one network); the others one after the other
    where it is farthest to what is ``seen``, shape (k, d), and to those already chosen.
    """
    doubt = np.nan_to_num(surrogate.spread(pool), nan=0.0, posinf=0.0) ** 2
    wanted = min(2 * n // 3, int((doubt > 0).sum()))
    doubtful = rng.choice(len(pool), wanted, replace=False, p=doubt / doubt.sum()) if wanted else np.empty(0, int)
    seen = np.concatenate([seen, pool[doubtful]])
    z, seen_z = (whiten(x, surrogate.center, surrogate.root) for x in (pool, seen))
    remote = farthest_first(z, seen_z, n - 2 * n // 3)
    found: Array = pool[np.concatenate([doubtful, remote[~np.isin(remote, doubtful)]])]
    return found


def measure_errors(candidates: Candidates, surrogate: Surrogate, exact: Array) -> RoundErrors:
    """Errors of a surrogate at candidates with exact log densities of shape (n,).

    A few draws beyond a boundary of the posterior, without a density, are no fault. Where too many of those at
    temperature 1 have none, the rest says nothing: the error is infinite. A surrogate that knows where the density ends
    may have more such draws, which are counted.
    """
    cold, acquired = candidates.cold, candidates.acquired
    edge = bool(surrogate.shape.edge)
    fewest = 1 - (POLICY.may_be_beyond if edge else POLICY.may_be_infeasible)
    value = surrogate.log_density(candidates.x)
    error = centred_error(value[:cold], exact[:cold])
    if len(error) <= fewest * cold or not np.isfinite(error).all():
        return RoundErrors(float("inf"), 0.0)
    here = np.flatnonzero(np.isfinite(exact) & (np.arange(len(exact)) >= len(exact) - acquired))
    there = np.isfinite(exact[:cold])
    offset = (value[:cold] - exact[:cold])[there].mean()
    rest = value[here] - exact[here] - offset
    # of the surrogate's or the posterior's density, over that of the pool, a mixture in equal parts
    uncorrected = surrogate.uncorrected().log_density(candidates.x[here]) - candidates.log_ratio
    drawn = np.logaddexp(value[here], uncorrected) - np.log(2)
    weight = np.exp(np.minimum(np.maximum(value[here], exact[here] + offset) - drawn, np.log(POLICY.largest_weight)))
    with np.errstate(over="ignore", invalid="ignore"):  # an early fit can be wrong beyond all measure
        left = float(np.sqrt((weight * rest**2).sum() / max(candidates.pool, 1)))
        s_e = float(error.std())
    beyond = 1 - float(there.mean()) if edge else 0.0
    s_e, left = (e if np.isfinite(e) else float("inf") for e in (s_e, left))
    return RoundErrors(s_e, left, beyond)
