"""Where chains begin, and proposals whose scale and covariance adapt less and less."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from estimhank.support.errors import EstimhankError

Array = NDArray[np.float64]


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
