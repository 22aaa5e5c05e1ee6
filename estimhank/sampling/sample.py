"""The sampling stage: multi-proposal chains side by side, every evaluation kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from estimhank.evaluation.recorder import Recorder
from estimhank.sampling.chains import ChainConfig, Draws, Iteration, StageDensity, mean, run_chains
from estimhank.sampling.multi_proposal import (
    MultiProposalState,
    around_auxiliary_point,
    starting_log_scale,
    step,
    target_move_rate,
)
from estimhank.sampling.proposals import Adaptation, Center, adapt
from estimhank.support.progress_event import Progress
from estimhank.support.seeds import Stream, generator
from estimhank.target.protocol import Target

Array = NDArray[np.float64]

STAGE = "sample"


@dataclass(frozen=True)
class MultiProposalConfig(ChainConfig):
    """Sizes of the sampling stage: keys as in :class:`estimhank.sampling.chains.ChainConfig`, and

    Attributes
    ----------
    proposals, draws : int
        N and m of :mod:`estimhank.sampling.multi_proposal`.
    """

    iterations: int = 40
    warmup: int = 20
    chains: int = 2
    proposals: int = 32
    draws: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("proposals", "draws"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, it is {getattr(self, name)}")


@dataclass(frozen=True)
class MultiProposalResult(Draws):
    """Draws of multi-proposal chains, m an iteration.

    Attributes
    ----------
    weights : ndarray of shape (chains, kept, N + 1)
        Rao-Blackwell weights; column 0 is the state before the iteration.
    mean, variance : ndarray of shape (chains, d)
        Rao-Blackwellised moments of the natural parameters.
    move_rate : ndarray of shape (chains,)
        Share of iterations after which the state had changed.
    scale : ndarray of shape (iterations,)
        Scale of the proposals, constant after the warm-up.
    cholesky : ndarray of shape (d, d)
        Of the covariance S of the proposals after the warm-up.
    """

    weights: Array
    mean: Array
    variance: Array
    move_rate: Array
    scale: Array
    cholesky: Array


class _Told(NamedTuple):
    """Of one iteration, by chain: weights, first and second moments of the natural parameters, which chains moved."""

    weights: Array
    mean: Array
    square: Array
    moved: NDArray[np.bool_]


class _Chains:
    def __init__(self, density: StageDensity, state: MultiProposalState, center: Center, sizes: MultiProposalConfig):
        self.density, self.state, self.sizes = density, state, sizes
        log_scale = starting_log_scale(sizes.proposals, len(center.x))
        self.adaptation, self.scales = Adaptation(log_scale, center.x, center.covariance), list[float]()

    def advance(self, k: int, random: Callable[[], np.random.Generator]) -> Iteration:
        """See :class:`estimhank.sampling.chains.Sampler`."""
        n, m, kept = self.sizes.proposals, self.sizes.draws, k >= self.sizes.warmup
        propose = around_auxiliary_point(self.adaptation.cholesky)
        self.state, info = step(random(), self.state, self.density, propose, n, m)
        self.scales.append(float(np.exp(self.adaptation.log_scale)))
        chains, _, d = info.points.shape
        weights, rate, ok = info.weights, float(np.mean(1.0 - info.weights[:, 0])), self.density.last.ok
        if not kept:
            every = weights.ravel() / chains
            self.adaptation = adapt(self.adaptation, info.points.reshape(-1, d), every, rate, target_move_rate(n))
        theta = self.density.target.transform.to_natural(info.points)
        first, second = (np.einsum("cj,cjd->cd", weights, power) for power in (theta, theta**2))
        told = _Told(weights, first, second, info.indices[:, -1] != 0)
        draws = info.points[np.arange(chains)[:, None], info.indices]
        words = f"{rate:.0%} moving, {float(ok.mean()):.0%} feasible"
        return Iteration(draws, (~ok).reshape(chains, n).mean(axis=1), kept, words, told)


def run_multi_proposal(
    recorder: Recorder,
    target: Target,
    center: Center,
    config: MultiProposalConfig,
    seed: int = 0,
    progress: Progress | None = None,
) -> MultiProposalResult:
    """Run multi-proposal chains on the density of the coordinates; each iteration is one batch of all chains.

    Parameters
    ----------
    recorder : Recorder
        Evaluations go through it as stage ``"sample"``: iteration 0 the starting states, then the iterations.
    target : Target
    center : Center
        Normal approximation at the mode.
    config : MultiProposalConfig
    seed : int
        The result is a function of it, the target, the centre and the sizes.
    progress : callable, optional
        Told after each iteration.

    Raises
    ------
    NoFeasibleState
        If the density exists neither at the centre nor around it.
    """
    density = StageDensity(recorder, target, STAGE, config.gradient)
    state = MultiProposalState(*density.start(center, config.chains, generator(seed, Stream.SAMPLE, 0)))
    chains = _Chains(density, state, center, config)
    draws, kept = run_chains(chains, config.iterations, seed, Stream.SAMPLE, progress)
    weights, first, second, moved = zip(*(told.info for told in kept), strict=True)
    first_moment, second_moment = mean(first), mean(second)
    return MultiProposalResult(
        **draws,
        weights=np.stack(weights, axis=1),
        mean=first_moment,
        variance=second_moment - first_moment**2,
        move_rate=mean(moved),
        scale=np.array(chains.scales),
        cholesky=chains.adaptation.cholesky,
    )
