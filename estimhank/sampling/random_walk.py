"""Random-walk Metropolis-Hastings: the kernel, and parallel chains whose every evaluation is kept.

A step of all chains is one batch, so the chains run at the pace of the slowest evaluation and need no communication.
With the best scale a chain gives about 0.3 / d effective draws a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from estimhank.evaluation.evaluations import stage_code
from estimhank.evaluation.recorder import Recorder
from estimhank.sampling.chains import ChainConfig, ChainDraws, Iteration, StageDensity, mean, run_chains
from estimhank.sampling.proposals import Adaptation, Center, adapt
from estimhank.support.progress_event import Progress
from estimhank.support.seeds import Stream, generator
from estimhank.target.protocol import Target

Array = NDArray[np.float64]

_TARGET_RATE = 0.234  # Roberts, Gelman and Gilks (1997)


class RandomWalkState(NamedTuple):
    """States of M chains, shape (M, d), and their log densities, (M,)."""

    position: Array
    log_density: Array


class RandomWalkInfo(NamedTuple):
    """One step of M chains: the probabilities of accepting, and which proposals were accepted, each (M,)."""

    acceptance_probability: Array
    accepted: NDArray[np.bool_]


def init(position: Array, log_density: Array) -> RandomWalkState:
    """Return the states at points of shape (M, d) with these log densities, (M,)."""
    return RandomWalkState(np.array(position, float), np.array(log_density, float))


def step(
    rng: np.random.Generator, state: RandomWalkState, log_density: Callable[[Array], Array], cholesky: Array
) -> tuple[RandomWalkState, RandomWalkInfo]:
    """One step of all chains: propose from N(x, L L'), then accept each proposal or stay.

    Parameters
    ----------
    rng : Generator
    state : RandomWalkState
    log_density : callable
        Maps (n, d) to (n,), ``-inf`` where infeasible; called once.
    cholesky : ndarray of shape (d, d)
        L.
    """
    proposals = state.position + rng.standard_normal(state.position.shape) @ cholesky.T
    values = np.asarray(log_density(proposals), float)
    pairs = zip(state.log_density, values, strict=True)
    probability = np.array([acceptance_probability(current, proposed) for current, proposed in pairs])
    accepted = rng.random(len(proposals)) < probability
    position = np.where(accepted[:, None], proposals, state.position)
    density = np.where(accepted, values, state.log_density)
    return RandomWalkState(position, density), RandomWalkInfo(probability, accepted)


def acceptance_probability(current: float, proposed: float) -> float:
    """min(1, exp(proposed - current)); 0 for a proposal without a density."""
    return math.exp(min(0.0, proposed - current)) if proposed > -math.inf else 0.0


@dataclass(frozen=True)
class RandomWalkResult(ChainDraws):
    """Draws of random walks.

    Attributes
    ----------
    scale : ndarray of shape (iterations,)
        Scale of the proposals, constant after the warm-up.
    cholesky : ndarray of shape (d, d)
        Of the covariance of the proposals after the warm-up.
    """

    scale: Array
    cholesky: Array


class _Walks:
    def __init__(self, density: StageDensity, state: RandomWalkState, center: Center, warmup: int) -> None:
        self.density, self.state, self.warmup = density, state, warmup
        self.adaptation = Adaptation(math.log(2.38 / math.sqrt(len(center.x))), center.x, center.covariance)
        self.scales: list[float] = []

    def advance(self, k: int, random: Callable[[], np.random.Generator]) -> Iteration:
        """See :class:`estimhank.sampling.chains.Sampler`."""
        self.state, info = step(random(), self.state, self.density, self.adaptation.cholesky)
        self.scales.append(math.exp(self.adaptation.log_scale))
        rate, chains, x = float(info.acceptance_probability.mean()), len(info.accepted), self.state.position
        if k < self.warmup:
            self.adaptation = adapt(self.adaptation, x, np.full(chains, 1 / chains), rate, _TARGET_RATE)
        return Iteration(x[:, None], ~self.density.last.ok, k >= self.warmup, f"{rate:.0%} accepted", info)


def run_random_walk(
    recorder: Recorder,
    target: Target,
    center: Center,
    config: ChainConfig,
    seed: int = 0,
    progress: Progress | None = None,
    stage: str = "sample",
) -> RandomWalkResult:
    """Run random-walk chains; arguments as of :class:`estimhank.sampling.chains.Algorithm`, progress is told a hundred
    times."""
    density, stream = StageDensity(recorder, target, stage, config.gradient), Stream.RANDOM_WALK + stage_code(stage)
    state = init(*density.start(center, config.chains, generator(seed, stream, 0)))
    walks = _Walks(density, state, center, config.warmup)
    draws, kept = run_chains(walks, config.iterations, seed, stream, progress, events=100)
    return RandomWalkResult(
        **draws,
        acceptance=mean([told.info.accepted for told in kept]),
        scale=np.array(walks.scales),
        cholesky=walks.adaptation.cholesky,
    )
