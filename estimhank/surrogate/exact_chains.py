"""States and draws of the exact chains, and what is fixed before they begin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from estimhank.surrogate.policy import POSTERIOR_POLICY as POLICY
from estimhank.surrogate.stage_config import PosteriorConfig

Array = NDArray[np.float64]

TRAJECTORY = 2
#: Kinds of steps; the position is the code in :attr:`ExactChains.step_kind`.
STEP_KINDS: tuple[str, ...] = ("surrogate_subchain", "exact_random_walk", "exact_trajectory")


class States(NamedTuple):
    """States of M chains.

    Whitened and unconstrained coordinates and natural units, each (M, d); log likelihood, log prior, log density of the
    coordinates, the surrogate's relative log density, each (M,).
    """

    z: NDArray[np.float32]
    x: Array
    theta: Array
    log_likelihood: Array
    log_prior: Array
    log_density: Array
    surrogate: Array

    def rows(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> States:
        """States of some of the chains."""
        return States(**{name: getattr(self, name)[chosen] for name in States._fields})


@dataclass(frozen=True)
class Schedule:
    """What is fixed before the exact stage begins.

    Attributes
    ----------
    subchain : int
        Steps of a full subchain.
    random_walk_share : float
        Probability of a random-walk step after the burn-in.
    mixed_lengths : bool
        Whether subchains are now and then 10 or 100 times shorter: a poor surrogate leads the shorter ones less
        astray.
    burn_in_share : float
        Share of the rounds, at least, that is discarded.
    """

    subchain: int
    random_walk_share: float
    mixed_lengths: bool
    burn_in_share: float

    @classmethod
    def choose(cls, config: PosteriorConfig, subchain: int, trusted: bool) -> Schedule:
        """Few random-walk steps if the surrogate is trusted; else more of them, subchains of mixed lengths, and a
        longer burn-in."""
        if trusted:
            return cls(subchain, config.plain_share, False, config.burn_in_share)
        return cls(subchain, config.distrust_plain_share, True, max(config.burn_in_share, POLICY.distrust_burn_in))


@dataclass(frozen=True)
class ExactChains:
    """Draws of the exact posterior, burn-in discarded; M chains of n draws.

    Attributes
    ----------
    theta, x : ndarray of shape (M, n, d)
        Natural units and unconstrained coordinates.
    z : ndarray of float32, shape (M, n, d)
        Whitened coordinates, the numbers that the kernels moved.
    log_likelihood, log_prior : ndarray of shape (M, n)
        Of the very states in ``theta``.
    log_density, surrogate_log_density : ndarray of shape (M, n)
        Of the coordinates: exact, and the surrogate's.
    accepted : ndarray of bool, shape (M, n)
        Whether the step that ended here was accepted.
    step_kind : ndarray of uint8, shape (M, n)
        Index into :data:`STEP_KINDS`.
    acceptance_probability : ndarray of shape (M, n)
        Of that step.
    converged : bool
        Whether R-hat and the numbers of effective draws meet the criteria (:mod:`estimhank.surrogate.convergence`).
    unmixed : str
        What else has not mixed, in words, where the parameters' figures meet the criteria.
    stopped : str
        Why the chains were stopped, or ran out of rounds, before they met the criteria, and what hinders them
        (:mod:`estimhank.surrogate.stopping`); empty where they met them.
    left_out : str
        Which local modes the chains were taken from as they hold a negligible share of the mass, in words.
    r_hat, ess_bulk, ess_tail : ndarray of shape (d,)
        Of the draws here.
    rounds, burn_in : int
        Rounds run, and those of them discarded.
    evaluations : int
        Exact evaluations of the whole stage, starts and burn-in included.
    schedule : Schedule
    """

    theta: Array
    x: Array
    z: NDArray[np.float32]
    log_likelihood: Array
    log_prior: Array
    log_density: Array
    surrogate_log_density: Array
    accepted: NDArray[np.bool_]
    step_kind: NDArray[np.uint8]
    acceptance_probability: Array
    converged: bool
    unmixed: str
    stopped: str
    left_out: str
    r_hat: Array
    ess_bulk: Array
    ess_tail: Array
    rounds: int
    burn_in: int
    evaluations: int
    schedule: Schedule

    @property
    def convergence(self) -> str:
        """Whether the chains have converged, in words."""
        worst, fewest = float(np.max(self.r_hat)), float(min(np.min(self.ess_bulk), np.min(self.ess_tail)))
        figures = f"largest R-hat {worst:.4f}, fewest effective draws {fewest:.0f}, {self.rounds} rounds"
        also = "".join(f"; {words}" for words in (self.unmixed, self.stopped, self.left_out) if words)
        return f"{'converged' if self.converged else 'not converged'}: {figures}{also}"
