"""A stage's log density of the coordinates, batch by batch: what a sampler's ``step`` calls, with every value kept."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from estimhank.evaluation.evaluations import EvaluationBatch
from estimhank.evaluation.recorder import Recorder
from estimhank.sampling.proposals import log_density_in_coordinates
from estimhank.target.protocol import GradientLike, Target

Array = NDArray[np.float64]


@dataclass
class StageDensity:
    """Log density at points x of shape (n, d), evaluated as the stage's next batch; call it.

    Attributes
    ----------
    recorder : Recorder
    target : Target
    stage : str
    gradient : Gradient or bool
        Which gradients points are evaluated with.
    next_batch : int
        Number of the next batch; batch 0 is that of the starting states.
    last : EvaluationBatch
        The batch evaluated last.
    """

    recorder: Recorder
    target: Target
    stage: str
    gradient: GradientLike = False
    next_batch: int = 1
    last: EvaluationBatch = field(init=False, repr=False)

    def __call__(self, x: Array) -> Array:
        """Log density of the coordinates, ``-inf`` where there is none; shape (n,)."""
        theta = self.target.transform.to_natural(x)
        self.last = self.recorder.evaluate(self.stage, self.next_batch, theta, self.gradient)
        self.next_batch += 1
        return log_density_in_coordinates(self.target, x, self.last)

    @property
    def last_parts(self) -> Array:
        """Log likelihood and log prior of the last batch; shape (2, n)."""
        return np.stack([self.last.log_likelihood, self.last.log_prior])


@dataclass(frozen=True)
class ChainDraws:
    """Draws of chains that are one state a step.

    Attributes
    ----------
    x, theta : ndarray of shape (chains, kept, d)
        Coordinates and natural units.
    log_likelihood, log_prior : ndarray of shape (chains, kept)
        Of the very states in ``theta``.
    acceptance : ndarray of shape (chains,)
        Share of the proposals accepted after the warm-up.
    infeasible : ndarray of shape (chains,)
        Share of the proposals without a density.
    """

    x: Array
    theta: Array
    log_likelihood: Array
    log_prior: Array
    acceptance: Array
    infeasible: Array
