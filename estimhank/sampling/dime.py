"""DIME: differential-independence mixture ensemble MCMC (Boehl 2022, "Ensemble MCMC sampling for robust Bayesian
inference").

An ensemble of M chains is split into halves. Each half moves given the other, all of its proposals in one batch::

    x_i' = x_i + g (x_r - x_s) + noise,  r, s from the other half,  g = 2.38 / (2 d)^(1/2)     differential evolution
    x_i' ~ t(mean, covariance)                                     with probability 0.1        global independence

and x_i' is accepted by Metropolis-Hastings. Mean and covariance of the t are those of the ensemble in the course of the
warm-up, generations weighted by the density that they have reached; they then stay, so that what is kept comes from a
kernel that leaves the target alone. The other half being fixed while one moves is what makes the differences of its
members a symmetric proposal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from estimhank.evaluation.recorder import Recorder
from estimhank.sampling.chains import ChainConfig, ChainDraws, Iteration, StageDensity, run_chains
from estimhank.sampling.proposals import Center
from estimhank.sampling.student_t import StudentT
from estimhank.support.errors import ConfigError
from estimhank.support.progress_event import Progress
from estimhank.support.seeds import Stream, generator
from estimhank.target.protocol import Target

Array = NDArray[np.float64]

#: Share of global proposals, degrees of freedom of their t, and the noise in units of a standard deviation.
GLOBAL_SHARE, _FREEDOM, _NOISE = 0.1, 10.0, 1e-3

_START_TRIES = 3


class DimeState(NamedTuple):
    """Positions of the ensemble, shape (M, d), and their log densities, shape (M,)."""

    position: Array
    log_density: Array


class DimeInfo(NamedTuple):
    """One move of a half.

    Attributes
    ----------
    members : ndarray of int, shape (M/2,)
        Which members moved.
    accepted, global_proposal : ndarray of bool, shape (M/2,)
    """

    members: NDArray[np.int64]
    accepted: NDArray[np.bool_]
    global_proposal: NDArray[np.bool_]


class Learner(NamedTuple):
    """Global proposal as it is learnt: moments, and the log of the weight behind them."""

    mean: Array
    covariance: Array
    log_weight: float

    @property
    def proposal(self) -> StudentT:
        """The t that the moments stand for."""
        return StudentT(self.mean, self.covariance, _FREEDOM)


def init(position: Array, log_density: Array) -> DimeState:
    """Return the state of an ensemble, shapes (M, d) and (M,)."""
    return DimeState(np.array(position, float), np.array(log_density, float))


def halves(members: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Members of either half."""
    return np.arange(0, members, 2), np.arange(1, members, 2)


def step(
    rng: np.random.Generator,
    state: DimeState,
    log_density: Callable[[Array], Array],
    global_proposal: StudentT,
    half: int,
) -> tuple[DimeState, DimeInfo]:
    """Move one half of the ensemble given the other.

    Parameters
    ----------
    rng : Generator
    state : DimeState
    log_density : callable
        Maps (n, d) to (n,), ``-inf`` where infeasible; called once, with all proposals of the half.
    global_proposal : StudentT
    half : int
        0 or 1.
    """
    parts = halves(len(state.position))
    moving, others = parts[half], state.position[parts[1 - half]]
    x = state.position[moving]
    n, d = x.shape
    first = rng.integers(0, len(others), n)
    second = (first + rng.integers(1, len(others), n)) % len(others)
    noise = _NOISE * np.sqrt(np.diag(global_proposal.covariance)) * rng.standard_normal((n, d))
    local = x + 2.38 / math.sqrt(2 * d) * (others[first] - others[second]) + noise
    jump = global_proposal.sample(rng, n)
    is_global = np.less(rng.random(n), GLOBAL_SHARE)
    uniform = rng.random(n)
    proposals = np.where(is_global[:, None], jump, local)
    ratio = np.where(is_global, global_proposal.log_density(x) - global_proposal.log_density(proposals), 0.0)
    values = log_density(proposals)
    with np.errstate(divide="ignore"):
        accepted: NDArray[np.bool_] = np.less(np.log(uniform), values - state.log_density[moving] + ratio)
    position, density = state.position.copy(), state.log_density.copy()
    position[moving[accepted]], density[moving[accepted]] = proposals[accepted], values[accepted]
    return DimeState(position, density), DimeInfo(moving, accepted, is_global)


def learn(learner: Learner, state: DimeState) -> Learner:
    """Moments with this generation in: its weight is the mean density of the ensemble, as in Boehl (2022).

    A generation whose members do not span the space adds to the spread of the one before rather than replacing it.
    """
    m, d = state.position.shape
    log_weight = float(logsumexp(state.log_density)) - math.log(m)
    total = float(np.logaddexp(learner.log_weight, log_weight))
    share = math.exp(log_weight - total)
    keep = d / (m + d)
    covariance = keep * learner.covariance + (1 - keep) * np.cov(state.position.T, ddof=1).reshape(d, d)
    return Learner(
        (1 - share) * learner.mean + share * state.position.mean(axis=0),
        (1 - share) * learner.covariance + share * covariance,
        total,
    )


@dataclass(frozen=True)
class DimeDraws(ChainDraws):
    """Draws of an ensemble; a chain is a member.

    Attributes
    ----------
    local_acceptance, global_acceptance : float
        Shares of the proposals of either kind accepted after the warm-up.
    mean : ndarray of shape (d,)
    covariance : ndarray of shape (d, d)
        Of the global proposal after the warm-up.
    """

    local_acceptance: float
    global_acceptance: float
    mean: Array
    covariance: Array


class _Moves(NamedTuple):
    """One iteration, every member moved once: arrays of bool, shape (M,)."""

    accepted: NDArray[np.bool_]
    global_proposal: NDArray[np.bool_]


class _Ensemble:
    def __init__(self, density: StageDensity, state: DimeState, center: Center, warmup: int) -> None:
        self.density, self.state, self.warmup = density, state, warmup
        log_weight = float(logsumexp(state.log_density)) - math.log(len(state.log_density))
        self.learner = learn(Learner(center.x, center.covariance, log_weight), state)

    def advance(self, k: int, random: Callable[[], np.random.Generator]) -> Iteration:
        """See :class:`estimhank.sampling.chains.Sampler`."""
        accepted, infeasible, is_global = np.zeros((3, len(self.state.position)), bool)
        for half in (0, 1):
            self.state, info = step(random(), self.state, self.density, self.learner.proposal, half)
            accepted[info.members], is_global[info.members] = info.accepted, info.global_proposal
            infeasible[info.members] = ~self.density.last.ok
        if k < self.warmup:
            self.learner = learn(self.learner, self.state)
        words = f"{accepted.mean():.0%} accepted"
        return Iteration(self.state.position[:, None], infeasible, k >= self.warmup, words, _Moves(accepted, is_global))


def run_dime(
    recorder: Recorder,
    target: Target,
    center: Center,
    config: ChainConfig,
    seed: int = 0,
    progress: Progress | None = None,
    stage: str = "sample",
) -> DimeDraws:
    """Run an ensemble; an iteration moves both halves, a batch each.

    Arguments and errors as of :class:`estimhank.sampling.chains.Algorithm`: the chains are members, an even number and
    more than twice the number of parameters; the warm-up teaches the global proposal.
    """
    d, members = len(target.names), config.chains
    if members % 2 or members < 2 * (d + 1):
        raise ConfigError(
            f"[sample] dime needs an even number of members (chains times proposals), at least {2 * (d + 1)} for "
            f"{d} parameters; it is {members}"
        )
    density = StageDensity(recorder, target, stage, config.gradient)
    state = init(*density.start(center, members, generator(seed, Stream.DIME, 0), _START_TRIES))
    ensemble = _Ensemble(density, state, center, config.warmup)
    draws, kept = run_chains(ensemble, config.iterations, seed, Stream.DIME, progress)
    accepted, is_global = (np.array(column) for column in zip(*(told.info for told in kept), strict=True))
    return DimeDraws(
        **draws,
        acceptance=accepted.mean(axis=0),
        local_acceptance=float(accepted[~is_global].sum() / max((~is_global).sum(), 1)),
        global_acceptance=float(accepted[is_global].sum() / max(is_global.sum(), 1)),
        mean=ensemble.learner.mean,
        covariance=ensemble.learner.covariance,
    )
