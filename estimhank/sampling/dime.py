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
from estimhank.sampling.diagnostics import RunningRHat
from estimhank.sampling.proposals import Center, draw_starting_states
from estimhank.sampling.stage_density import ChainDraws, StageDensity
from estimhank.sampling.student_t import StudentT
from estimhank.support.errors import ConfigError
from estimhank.support.progress_event import Progress, ProgressEvent
from estimhank.support.seeds import Stream, generator
from estimhank.target.protocol import GradientLike, Target

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


def run_dime(
    recorder: Recorder,
    target: Target,
    center: Center,
    iterations: int,
    warmup: int,
    members: int,
    gradient: GradientLike = False,
    seed: int = 0,
    stage: str = "sample",
    progress: Progress | None = None,
) -> DimeDraws:
    """Run an ensemble on the density of the coordinates; an iteration moves both halves, a batch each.

    Parameters
    ----------
    recorder : Recorder
        Batch 0 holds candidates for the starting states, batches 2 k - 1 and 2 k are those of iteration k.
    target : Target
    center : Center
        The ensemble starts overdispersed around it.
    iterations, warmup : int
        Iterations, and how many of them, at the beginning, teach the global proposal and are not kept.
    members : int
        Even number of chains, more than twice the number of parameters.
    gradient : Gradient or bool
        Which gradients proposals are evaluated with (for the surrogate; the chains need none).
    seed : int
        The result is a function of it, the target, the centre and the sizes.
    stage : str
    progress : callable, optional

    Raises
    ------
    ConfigError
        If there are too few members for their differences to span the space.
    NoFeasibleState
        If the density exists neither at the centre nor around it.
    """
    d = len(target.names)
    if members % 2 or members < 2 * (d + 1):
        raise ConfigError(
            f"[sample] dime needs an even number of members (chains times proposals), at least {2 * (d + 1)} for "
            f"{d} parameters; it is {members}"
        )
    rng = generator(seed, Stream.DIME, 0)
    first = draw_starting_states(recorder, target, stage, center, members, rng, _START_TRIES)
    parts = np.stack([first.log_likelihood, first.log_prior])
    state = init(first.x, parts.sum(axis=0) + target.transform.log_jacobian(first.x))
    density = StageDensity(recorder, target, stage, gradient)
    learner = learn(
        Learner(center.x, center.covariance, float(logsumexp(state.log_density)) - math.log(members)), state
    )
    kept = iterations - warmup
    states, state_parts = np.empty((members, kept, d)), np.empty((2, members, kept))
    running = RunningRHat()
    accepted, infeasible, by_kind = np.zeros(members), np.zeros(members), np.zeros((2, 2))
    for k in range(iterations):
        moved = 0
        for half in (0, 1):
            rng = generator(seed, Stream.DIME, density.next_batch)
            state, info = step(rng, state, density, learner.proposal, half)
            chosen = info.members[info.accepted]
            parts[:, chosen] = density.last_parts[:, info.accepted]
            moved += len(chosen)
            if k >= warmup:
                accepted[chosen] += 1
                infeasible[info.members] += ~density.last.ok
                for kind in (0, 1):
                    of_kind = info.global_proposal == bool(kind)
                    by_kind[kind] += of_kind.sum(), (of_kind & info.accepted).sum()
        if k < warmup:
            learner = learn(learner, state)
        else:
            states[:, k - warmup], state_parts[:, :, k - warmup] = state.position, parts
        if progress is not None:
            message = f"{moved / members:.0%} accepted" + running(states[:, : max(k + 1 - warmup, 0)])
            progress(ProgressEvent(stage, k + 1, iterations, recorder.total(stage), message))
    return DimeDraws(
        x=states,
        theta=target.transform.to_natural(states),
        log_likelihood=state_parts[0],
        log_prior=state_parts[1],
        acceptance=accepted / kept,
        infeasible=infeasible / kept,
        local_acceptance=float(by_kind[0, 1] / max(by_kind[0, 0], 1)),
        global_acceptance=float(by_kind[1, 1] / max(by_kind[1, 0], 1)),
        mean=learner.mean,
        covariance=learner.covariance,
    )
