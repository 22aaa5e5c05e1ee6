"""What the surrogate and posterior stages decide by, beside their settings: numbers that a user has no reason to turn.

Each was chosen by experiment or follows from a noise that is known; what depends on a model or a budget is a setting
(:mod:`estimhank.surrogate.stage_config`). The values are part of a stage's digest: a run made under other ones is not
up to date. Numbers that belong to one algorithm and decide nothing, such as a step width, stand where it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SurrogatePolicy:
    """How the surrogate stage judges its fits, and where it looks."""

    # what follows a fit (:mod:`estimhank.surrogate.surrogate_stage`)
    repeats: int = 4  #: times that a last fit which errs by more than ``final_s_e`` is taken up again, at most
    share_of_epochs: float = 0.2  #: of its epochs for which it then goes on
    wrong: float = 0.5  #: error from which on it has settled in a wrong place: it is done anew
    beyond_weight: float = 3.0  #: error for the share of draws beyond a known edge: one in a hundred counts as 0.03
    may_be_infeasible: float = 0.05  #: share of cold draws without a density beyond which the others say nothing,
    may_be_beyond: float = 0.5  #: and the same where the surrogate knows of an edge
    draws_to_whiten: int = 4  #: plausible cold draws for each dimension, at least, from which coordinates are taken
    modes_within: float = 12.0  #: log points below the best point within which another local mode may hold mass
    first_looks: int = 600  #: points at which distances to cliffs are looked up before the first fit,
    later_looks: int = 300  #: and before each other one

    # the candidate pool, and what is acquired from it (:mod:`estimhank.surrogate.candidates`)
    fewest_chains: int = 64  #: for each temperature
    pool_draws: int = 20  #: of every chain at temperature 1, on the surrogate and on the uncorrected one,
    pool_thin: int = 75  #: so many steps apart
    far: float = 1.3  #: multiple of the trust region's radius beyond which a draw is far out
    may_be_far: float = 0.002  #: share of the cold draws; where it is larger the penalty outside is made steeper
    may_be_far_of_heavy: float = 0.02  #: the same where tails are heavy
    steeper: float = 4.0  #: factor by which the penalty is raised,
    steepenings: int = 4  #: at most so many times
    acquired_last: int = 6  #: of the points that look at a last fit one in so many is acquired
    largest_weight: float = 10.0  #: of an acquired point in the error over the pool
    at_bounds: float = 0.15  #: of a round's points, at most, that many more are evaluated nearer to bounds
    underrated: float = 0.5  #: log points by which a place at a bound must be underrated

    # the edge of the feasible region (:mod:`estimhank.surrogate.edge_search`)
    noticed: float = 0.01  #: share of a round's cold draws without a density from which on the edge is learned
    segments: int = 64  #: between a point and a place without a density, at most, that are halved side by side,
    tolerance: float = 0.005  #: until they are so long (whitened units),
    halvings: int = 10  #: at most so often
    around: float = 1.5  #: multiple of the trust region's radius within which points say where the edge is
    edge_points: int = 20_000  #: the latest, of a classifier


#: Limits of the certificate's figures; Pareto k's depends on the number of draws.
_LIMITS = {
    "s_e": 0.05,
    "s_e_exact_states": 0.05,
    "wrong_accept": 0.002,
    "wrong_reject": 0.002,
    "second_stage_acceptance": 0.95,
    "outside_fence": 0.01,
    "infeasible_share": 0.01,
}


@dataclass(frozen=True)
class PosteriorPolicy:
    """How the posterior stage moves its exact chains, when it believes them, and what it certifies."""

    # before the exact chains (:mod:`estimhank.surrogate.posterior_stage`)
    pilot_chains: int = 32  #: on the surrogate, from which its autocorrelation time is taken,
    pilot_draws: int = 1_000  #: with so many draws each
    trusted_rate: float = 0.6  #: acceptance of subchains that fresh draws must predict for the surrogate to be trusted
    far_too_high: float = 5.0  #: log points by which a start may be overrated
    pair_acceptance: float = 0.25  #: share of the pairs' proposals that the surrogate accepts
    repeated: int = 16  #: exact draws that are evaluated again

    # the exact chains (:mod:`estimhank.surrogate.exact`)
    start_tries: int = 20  #: for a state with a density
    overdispersion: float = 1.5  #: of dispersed starts, in standard deviations
    shorter: tuple[int, ...] = (1, 10, 100)  #: by how much subchains of mixed lengths are shorter,
    shorter_shares: tuple[float, ...] = (0.6, 0.2, 0.2)  #: and how often
    ray_share: float = 0.2  #: of the random-walk steps where the surrogate is not trusted,
    ray_share_of_heavy: float = 0.5  #: and where it has found heavy tails
    burn_in_walks: float = 0.5  #: share of random-walk steps in the burn-in,
    walks_before_accepted: float = 0.9  #: and after it, of chains that have accepted no surrogate proposal
    distrust_burn_in: float = 0.25  #: share of all rounds that is discarded, at least, where it is not trusted
    longest_burn_in: int = 30  #: times ``burn_in`` that it lasts at most (and a quarter of all rounds)

    # chains along the exact gradient, where the others would not converge (:mod:`estimhank.surrogate.trajectories`)
    negligible_modes: float = 1e-3  #: share of the mass that local modes without a chain may hold together
    most_lost: float = 0.25  #: share of the chains that may be there: more are evidence against the approximation
    trajectory_burn_in: int = 50  #: rounds, all of them trajectories, in which they are tuned
    trajectory_share: float = 0.5  #: of the rounds that follow

    # giving up (:mod:`estimhank.surrogate.stopping`)
    fewest_rounds: int = 150  #: kept rounds before a first extrapolation,
    fewest_share: float = 0.1  #: and share of the budget
    budgets: float = 2.0  #: multiples of the budget beyond which a goal is out of reach
    looks: int = 3  #: in succession that must say so
    steepest_growth: float = 2.0  #: power of the rounds with which effective draws may grow

    # the tails (:mod:`estimhank.surrogate.tail_chains`, :mod:`estimhank.surrogate.confined`)
    outermost: float = 0.02  #: share of the draws that the chains start from
    tail_chains: int = 32  #: for each quantity, at most
    tails: int = 2  #: of single coordinates that are looked at
    tail_steps: tuple[int, ...] = (8, 24, 72, 144)  #: after which chains are looked at; those that have settled stop
    suspicious: float = 0.05  #: what has a smaller probability is looked at for longer
    improbable: float = 5e-4  #: what has a smaller probability shows that the draws stop short
    forgotten: float = 0.75  #: rank correlation between starts and ends below which ends say something
    fewest_outermost: int = 8  #: different draws there, below which nothing can be said
    ranks: tuple[int, ...] = (1, 3, 6)  #: of the outermost draws that ends are counted beyond
    lacking: float = 0.06  #: error of the surrogate far out, over all draws, that matters,
    more_than_draws: float = 1.25  #: if it is so much larger than at the draws
    slight: float = 0.1  #: log points of underrating that matter to nobody
    most_log_points: float = 5.0  #: that one place counts for: what is lacking is lacking

    # the certificate (:mod:`estimhank.surrogate.certificate`)
    limits: Mapping[str, float] = field(default_factory=_LIMITS.copy)  #: of its figures
    fewest_draws: int = 1_000  #: fresh draws below which the figures say too little, a tail index above all
    fewest_starts: int = 4  #: starts below which a mode search says too little to certify anything by


SURROGATE_POLICY = SurrogatePolicy()
POSTERIOR_POLICY = PosteriorPolicy()
