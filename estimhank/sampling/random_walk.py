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
from estimhank.sampling.diagnostics import RunningRHat
from estimhank.sampling.proposals import (
    Adaptation,
    Center,
    adapt,
    draw_starting_states,
    log_density_in_coordinates,
)
from estimhank.support.progress_event import Progress, ProgressEvent
from estimhank.support.seeds import Stream, generator
from estimhank.target.protocol import GradientLike, Target

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


def init(position: Array, log_density: Callable[[Array], Array]) -> RandomWalkState:
    """Return the states at points of shape (M, d)."""
    position = np.asarray(position, float)
    return RandomWalkState(position, np.asarray(log_density(position), float))


def propose(rng: np.random.Generator, state: RandomWalkState, cholesky: Array) -> Array:
    """Proposals N(x, L L'), shape (M, d); ``cholesky`` is L."""
    proposals: Array = state.position + rng.standard_normal(state.position.shape) @ cholesky.T
    return proposals


def accept(
    rng: np.random.Generator, state: RandomWalkState, proposals: Array, log_density: Array
) -> tuple[RandomWalkState, RandomWalkInfo]:
    """Accept each proposal, or stay; ``log_density`` (M,) is that of the proposals, ``-inf`` where infeasible."""
    pairs = zip(state.log_density, log_density, strict=True)
    probability = np.array([acceptance_probability(current, proposed) for current, proposed in pairs])
    accepted = rng.random(len(proposals)) < probability
    position = np.where(accepted[:, None], proposals, state.position)
    values = np.where(accepted, log_density, state.log_density)
    return RandomWalkState(position, values), RandomWalkInfo(probability, accepted)


def step(
    rng: np.random.Generator, state: RandomWalkState, log_density: Callable[[Array], Array], cholesky: Array
) -> tuple[RandomWalkState, RandomWalkInfo]:
    """One step of all chains: :func:`propose`, evaluate, :func:`accept`.

    Parameters
    ----------
    rng : Generator
    state : RandomWalkState
    log_density : callable
        Maps (n, d) to (n,), ``-inf`` where infeasible.
    cholesky : ndarray of shape (d, d)
        L.
    """
    proposals = propose(rng, state, cholesky)
    return accept(rng, state, proposals, np.asarray(log_density(proposals), float))


def acceptance_probability(current: float, proposed: float) -> float:
    """min(1, exp(proposed - current)); 0 for a proposal without a density."""
    return math.exp(min(0.0, proposed - current)) if proposed > -math.inf else 0.0


@dataclass(frozen=True)
class RandomWalkConfig:
    """Sizes of a random-walk run.

    Attributes
    ----------
    steps, warmup : int
        Steps of each chain, and how many of them, at the beginning, adapt the proposals.
    chains : int
        Independent chains; they share the adaptation of the warm-up.
    gradient : Gradient or bool
        Which gradients proposals are evaluated with (for the surrogate; the chains need none).
    """

    steps: int = 5_000
    warmup: int = 500
    chains: int = 8
    gradient: GradientLike = False

    def __post_init__(self) -> None:
        for name in ("steps", "chains"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, it is {getattr(self, name)}")
        if not 0 <= self.warmup < self.steps:
            raise ValueError(f"warmup ({self.warmup}) must be at least 0 and below steps ({self.steps})")


@dataclass(frozen=True)
class RandomWalkResult:
    """States after the warm-up.

    Attributes
    ----------
    x, theta : ndarray of shape (chains, steps - warmup, d)
        Coordinates and natural units.
    log_likelihood, log_prior : ndarray of shape (chains, steps - warmup)
        Of the very states in ``theta``.
    acceptance : ndarray of shape (chains,)
        Share of proposals accepted.
    infeasible : ndarray of shape (chains,)
        Share of proposals without a density.
    scale : ndarray of shape (steps,)
        Scale of the proposals, constant after the warm-up.
    cholesky : ndarray of shape (d, d)
        Of the covariance of the proposals after the warm-up.
    """

    x: Array
    theta: Array
    log_likelihood: Array
    log_prior: Array
    acceptance: Array
    infeasible: Array
    scale: Array
    cholesky: Array


def run_random_walk(
    recorder: Recorder,
    target: Target,
    center: Center,
    config: RandomWalkConfig,
    seed: int = 0,
    stage: str = "validate",
    progress: Progress | None = None,
) -> RandomWalkResult:
    """Run random-walk chains on the density of the coordinates.

    Parameters
    ----------
    recorder : Recorder
        Evaluations go through it: iteration 0 the starting states, then one batch for each step of all chains.
    target : Target
    center : Center
        Normal approximation at the mode; chains start overdispersed around it.
    config : RandomWalkConfig
    seed : int
        The result is a function of it, the target, the centre and the sizes.
    stage : str
        Stage under which evaluations are kept.
    progress : callable, optional
        Told a hundred times.

    Raises
    ------
    NoFeasibleState
        If the density exists neither at the centre nor around it.
    """
    transform, d, chains = target.transform, len(target.names), config.chains
    code = Stream.RANDOM_WALK + stage_code(stage)
    first = draw_starting_states(recorder, target, stage, center, chains, generator(seed, code, 0))
    parts = np.stack([first.log_likelihood, first.log_prior])
    state = RandomWalkState(first.x, parts.sum(axis=0) + transform.log_jacobian(first.x))
    adaptation = Adaptation(math.log(2.38 / math.sqrt(d)), center.x, center.covariance)
    cholesky = adaptation.cholesky
    kept = config.steps - config.warmup
    states, state_parts = np.empty((chains, kept, d)), np.empty((2, chains, kept))
    running = RunningRHat()
    accepted_count, infeasible, scales = np.zeros(chains), np.zeros(chains), np.empty(config.steps)
    for k in range(config.steps):
        rng = generator(seed, code, k + 1)
        proposals = propose(rng, state, cholesky)
        batch = recorder.evaluate(stage, k + 1, transform.to_natural(proposals), config.gradient)
        state, (probability, accepted) = accept(
            rng, state, proposals, log_density_in_coordinates(target, proposals, batch)
        )
        parts = np.where(accepted, [batch.log_likelihood, batch.log_prior], parts)
        scales[k] = math.exp(adaptation.log_scale)
        if k < config.warmup:
            adaptation = adapt(
                adaptation, state.position, np.full(chains, 1 / chains), float(probability.mean()), _TARGET_RATE
            )
            cholesky = adaptation.cholesky
        else:
            states[:, k - config.warmup], state_parts[:, :, k - config.warmup] = state.position, parts
            accepted_count += accepted
            infeasible += ~batch.ok
        if progress is not None and ((k + 1) % max(1, config.steps // 100) == 0 or k + 1 == config.steps):
            message = f"{float(probability.mean()):.0%} accepted" + running(states[:, : max(k + 1 - config.warmup, 0)])
            progress(ProgressEvent(stage, k + 1, config.steps, recorder.total(stage), message))
    return RandomWalkResult(
        x=states,
        theta=transform.to_natural(states),
        log_likelihood=state_parts[0],
        log_prior=state_parts[1],
        acceptance=accepted_count / kept,
        infeasible=infeasible / kept,
        scale=scales,
        cholesky=cholesky,
    )
