"""What the exact samplers share: scales and covariances that adapt less and less, starting states, and shapes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from estimhank.evaluation.evaluations import EvaluationBatch
from estimhank.evaluation.recorder import Recorder
from estimhank.support.errors import EstimhankError
from estimhank.target.protocol import Target

Array = NDArray[np.float64]

_START_TRIES = 8
_OVERDISPERSION = 1.5


class NoFeasibleState(EstimhankError):
    """A chain found no state with a positive density to begin at."""


@dataclass(frozen=True)
class Center:
    """Normal approximation of the density of the coordinates: where chains begin and how they move at first.

    Attributes
    ----------
    x : ndarray of shape (d,)
    covariance : ndarray of shape (d, d)
        Positive definite.
    """

    x: Array
    covariance: Array


@dataclass(frozen=True)
class Adaptation:
    """Proposal covariance ``exp(2 log_scale) covariance`` while it adapts.

    Attributes
    ----------
    log_scale : float
    mean : ndarray of shape (d,)
    covariance : ndarray of shape (d, d)
        Moments of the states visited, the initial ones fading out.
    steps : int
        Adaptations so far.
    """

    log_scale: float
    mean: Array
    covariance: Array
    steps: int = 0

    @property
    def cholesky(self) -> Array:
        """Lower Cholesky factor of the proposal covariance, shape (d, d)."""
        found: Array = np.exp(self.log_scale) * np.linalg.cholesky(self.covariance)
        return found


def adapt(
    state: Adaptation, x: Array, weights: Array, moved: float, target_rate: float, memory: float = 25.0
) -> Adaptation:
    """One diminishing (Robbins-Monro) step of scale and covariance.

    Parameters
    ----------
    state : Adaptation
    x : ndarray of shape (n, d)
        States of this iteration.
    weights : ndarray of shape (n,)
        Their weights, summing to one.
    moved : float
        Rate at which the chains moved in this iteration.
    target_rate : float
        Rate aimed at.
    memory : float
        Iterations that the initial moments count for.

    Returns
    -------
    Adaptation
        With steps of order t^-0.6 for the scale and 1/t for the moments.
    """
    t = state.steps + 1
    gain = 1.0 / (t + memory)
    delta = x - state.mean
    mean = state.mean + gain * (weights @ delta)
    covariance = (1 - gain) * state.covariance + gain * (delta.T * weights) @ delta
    log_scale = state.log_scale + t**-0.6 * (moved - target_rate)
    return Adaptation(log_scale, mean, (covariance + covariance.T) / 2, t)


@dataclass(frozen=True)
class StartingStates:
    """First states of all chains: coordinates (chain, d), and log likelihood and log prior there (chain,)."""

    x: Array
    log_likelihood: Array
    log_prior: Array


def draw_starting_states(
    recorder: Recorder,
    target: Target,
    stage: str,
    center: Center,
    chains: int,
    rng: np.random.Generator,
    tries: int = _START_TRIES,
) -> StartingStates:
    """Overdispersed draws of the normal approximation, the first of ``tries`` per chain that has a density.

    Evaluated as iteration 0 of the stage, the centre itself as the last resort of every chain.

    Raises
    ------
    NoFeasibleState
        If a chain has none, the centre included.
    """
    root = np.linalg.cholesky(center.covariance)
    noise = rng.standard_normal((chains, tries, len(center.x)))
    candidates = center.x + _OVERDISPERSION * noise @ root.T
    candidates[:, -1] = center.x
    flat = candidates.reshape(-1, len(center.x))
    batch = recorder.evaluate(stage, 0, target.transform.to_natural(flat))
    ok = batch.ok.reshape(chains, tries)
    if not ok.any(axis=1).all():
        raise NoFeasibleState(f"stage {stage}: the log density exists neither at the mode nor at draws around it")
    rows = np.arange(chains) * tries + ok.argmax(axis=1)
    return StartingStates(flat[rows], batch.log_likelihood[rows], batch.log_prior[rows])


def log_density_in_coordinates(target: Target, x: Array, batch: EvaluationBatch) -> Array:
    """Log density of the coordinates: log likelihood, log prior, log Jacobian; shape (n,)."""
    return batch.log_density + target.transform.log_jacobian(x)
