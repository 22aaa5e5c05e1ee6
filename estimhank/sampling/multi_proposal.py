"""Multi-proposal Metropolis-Hastings with an auxiliary point (Tjelmeland 2004; Calderhead 2014).

One iteration from the state x, with proposal covariance S::

    z ~ N(x, S/2);  x_0 = x;  x_j ~ N(z, S/2), j = 1..N
    w = softmax(log p(x_0), ..., log p(x_N));  m indices independently from w; the last one is the next state

Given z, all N + 1 points are exchangeable, for the normal kernel is symmetric in the point and in z: proposal densities
cancel and the weights are those of the target alone. Two tempting variants are wrong: proposals drawn around x itself,
and a set without x. E f is estimated by the mean over iterations of sum_j w_j f(x_j).

The gain over one proposal is logarithmic in N (Pozza and Zanella 2024): N pays where evaluations run in parallel, or
where the rejected points are of use as well. Count effective draws, not draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from estimhank.evaluation.recorder import Recorder
from estimhank.sampling.chains import ChainConfig, Draws, Iteration, StageDensity, mean, run_chains
from estimhank.sampling.proposals import Adaptation, Center, adapt
from estimhank.support.progress_event import Progress
from estimhank.support.seeds import Stream, generator
from estimhank.target.protocol import Target

Array = NDArray[np.float64]

#: ``propose(rng, x, n)``: n points, shape (n, d), exchangeable with ``x`` of shape (d,).
Propose = Callable[[np.random.Generator, Array, int], Array]


class MultiProposalState(NamedTuple):
    """States of M chains, shape (M, d), and their log densities, (M,)."""

    position: Array
    log_density: Array


class MultiProposalInfo(NamedTuple):
    """One iteration of M chains.

    Attributes
    ----------
    points : ndarray of shape (M, N + 1, d)
        The current state, then the proposals.
    log_density : ndarray of shape (M, N + 1)
        ``-inf`` where infeasible.
    weights : ndarray of shape (M, N + 1)
        Rao-Blackwell weights.
    indices : ndarray of shape (M, m)
        Which of a chain's ``points`` were drawn; the last is the next state.
    """

    points: Array
    log_density: Array
    weights: Array
    indices: NDArray[np.int64]


def init(position: Array, log_density: Array) -> MultiProposalState:
    """Return the states at points of shape (M, d) with these log densities, (M,)."""
    return MultiProposalState(np.array(position, float), np.array(log_density, float))


def step(
    rng: np.random.Generator,
    state: MultiProposalState,
    log_density: Callable[[Array], Array],
    propose: Propose,
    proposals: int,
    draws: int = 1,
) -> tuple[MultiProposalState, MultiProposalInfo]:
    """One iteration of all chains.

    Parameters
    ----------
    rng : Generator
    state : MultiProposalState
    log_density : callable
        Maps (n, d) to (n,), ``-inf`` where infeasible; called once, with all proposals.
    propose : callable
        See :data:`Propose`; :func:`around_auxiliary_point` makes the one above.
    proposals, draws : int
        N and m.
    """
    points = np.stack([np.concatenate([x[None], propose(rng, x, proposals)]) for x in state.position])
    chains, _, d = points.shape
    values = np.column_stack([state.log_density, log_density(points[:, 1:].reshape(-1, d)).reshape(chains, proposals)])
    picked = [select(rng, each, draws) for each in values]
    weights, indices = np.stack([weight for weight, _ in picked]), np.stack([index for _, index in picked])
    rows, last = np.arange(chains), indices[:, -1]
    return (
        MultiProposalState(points[rows, last], values[rows, last]),
        MultiProposalInfo(points, values, weights, indices),
    )


def around_auxiliary_point(cholesky: Array) -> Propose:
    """Gaussian proposals with covariance S = L L': a point z ~ N(x, S/2), then all proposals from N(z, S/2)."""
    half = np.asarray(cholesky, float) / math.sqrt(2.0)

    def propose(rng: np.random.Generator, x: Array, n: int) -> Array:
        noise = rng.standard_normal((n + 1, len(x))) @ half.T
        found: Array = x + noise[0] + noise[1:]
        return found

    return propose


def selection_weights(log_density: Array) -> Array:
    """Softmax over the last axis; ``-inf`` gets weight 0, and at least one value must be finite."""
    shifted = np.exp(log_density - log_density.max(axis=-1, keepdims=True))
    weights: Array = shifted / shifted.sum(axis=-1, keepdims=True)
    return weights


def select(rng: np.random.Generator, log_density: Array, draws: int) -> tuple[Array, NDArray[np.int64]]:
    """Weights, shape (N + 1,), and m indices drawn from them, shape (m,)."""
    weights = selection_weights(log_density)
    cumulative = np.cumsum(weights)
    indices = np.searchsorted(cumulative, rng.random(draws) * cumulative[-1], side="right")
    # u * total may round to the total itself
    return weights, np.minimum(indices, np.flatnonzero(weights)[-1])


def starting_log_scale(proposals: int, dimension: int) -> float:
    """Log of the scale that is best on a normal target: between 2.4 (N = 1) and 4.4 (N = 256) over the root of d."""
    return math.log((2.4 + 0.36 * math.log(proposals)) / math.sqrt(dimension))


def target_move_rate(proposals: int) -> float:
    """Probability of leaving the state at that scale: 0.2 for N = 1, 0.45 for N = 16, 0.7 for N = 256."""
    return min(0.2 + 0.09 * math.log(proposals), 0.85)


@dataclass(frozen=True, kw_only=True)
class MultiProposalConfig(ChainConfig):
    """Sizes of the sampling stage: keys as in :class:`estimhank.sampling.chains.ChainConfig`, and

    Attributes
    ----------
    proposals, draws : int
        N and m.
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
    stage: str = "sample",
) -> MultiProposalResult:
    """Run multi-proposal chains; arguments as of :class:`estimhank.sampling.chains.Algorithm`."""
    density = StageDensity(recorder, target, stage, config.gradient)
    state = init(*density.start(center, config.chains, generator(seed, Stream.SAMPLE, 0)))
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
