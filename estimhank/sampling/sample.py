"""The sampling stage: multi-proposal chains side by side, every evaluation kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from estimhank.evaluation.recorder import Recorder
from estimhank.sampling.diagnostics import RunningRHat
from estimhank.sampling.multi_proposal import (
    around_auxiliary_point,
    select,
    starting_log_scale,
    target_move_rate,
)
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

STAGE = "sample"


@dataclass(frozen=True)
class MultiProposalConfig:
    """Sizes of the sampling stage.

    Attributes
    ----------
    iterations, warmup : int
        Iterations of each chain, and how many of them, at the beginning, adapt the proposals.
    proposals, draws : int
        N and m of :mod:`estimhank.sampling.multi_proposal`.
    chains : int
        Independent chains; they share the adaptation of the warm-up.
    gradient : Gradient or bool
        Which gradients proposals are evaluated with.
    """

    iterations: int = 40
    warmup: int = 20
    proposals: int = 32
    draws: int = 32
    chains: int = 2
    gradient: GradientLike = False

    def __post_init__(self) -> None:
        for name in ("iterations", "proposals", "draws", "chains"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, it is {getattr(self, name)}")
        if not 0 <= self.warmup < self.iterations:
            raise ValueError(f"warmup ({self.warmup}) must be at least 0 and below iterations ({self.iterations})")


@dataclass(frozen=True)
class MultiProposalResult:
    """Draws after the warm-up. Chains run along the first axis, iterations along the second.

    Attributes
    ----------
    x, theta : ndarray of shape (chains, kept * m, d)
        States drawn, coordinates and natural units, in order.
    log_likelihood, log_prior : ndarray of shape (chains, kept * m)
        Of the very states in ``theta``.
    weights : ndarray of shape (chains, kept, N + 1)
        Rao-Blackwell weights; column 0 is the state before the iteration.
    mean, variance : ndarray of shape (chains, d)
        Rao-Blackwellised moments of the natural parameters.
    move_rate : ndarray of shape (chains,)
        Share of iterations after which the state had changed.
    infeasible : ndarray of shape (chains,)
        Share of proposals without a density.
    scale : ndarray of shape (iterations,)
        Scale of the proposals, constant after the warm-up.
    cholesky : ndarray of shape (d, d)
        Of the covariance S of the proposals after the warm-up.
    """

    x: Array
    theta: Array
    log_likelihood: Array
    log_prior: Array
    weights: Array
    mean: Array
    variance: Array
    move_rate: Array
    infeasible: Array
    scale: Array
    cholesky: Array


class _Draws:
    """Arrays that the iterations fill in."""

    def __init__(self, config: MultiProposalConfig, dimension: int) -> None:
        chains, m, n = config.chains, config.draws, config.proposals + 1
        kept = config.iterations - config.warmup
        self.x = np.empty((chains, kept, m, dimension))
        self.log_likelihood, self.log_prior = np.empty((chains, kept, m)), np.empty((chains, kept, m))
        self.weights = np.empty((chains, kept, n))
        self.moments = np.zeros((2, chains, dimension))
        self.moved = np.zeros(chains)
        self.infeasible = np.zeros(chains)


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
    transform, d = target.transform, len(target.names)
    chains, n = config.chains, config.proposals
    first = draw_starting_states(recorder, target, STAGE, center, chains, generator(seed, Stream.SAMPLE, 0))
    # column 0 of every array is the state that the chain is in
    x = np.empty((chains, n + 1, d))
    x[:, 0] = first.x
    parts = np.empty((2, chains, n + 1))  # log likelihood, log prior
    parts[:, :, 0] = first.log_likelihood, first.log_prior
    adaptation = Adaptation(starting_log_scale(n, d), center.x, center.covariance)
    draws, scales, running = _Draws(config, d), np.empty(config.iterations), RunningRHat()
    for iteration in range(config.iterations):
        rng = generator(seed, Stream.SAMPLE, iteration + 1)
        propose = around_auxiliary_point(adaptation.cholesky)
        for chain in range(chains):
            x[chain, 1:] = propose(rng, x[chain, 0], n)
        proposals = x[:, 1:].reshape(-1, d)
        batch = recorder.evaluate(STAGE, iteration + 1, transform.to_natural(proposals), config.gradient)
        parts[0, :, 1:] = batch.log_likelihood.reshape(chains, n)
        parts[1, :, 1:] = batch.log_prior.reshape(chains, n)
        values = np.empty((chains, n + 1))
        values[:, 1:] = log_density_in_coordinates(target, proposals, batch).reshape(chains, n)
        values[:, 0] = parts[:, :, 0].sum(axis=0) + transform.log_jacobian(x[:, 0])
        picked = [select(rng, values[chain], config.draws) for chain in range(chains)]
        weights = np.stack([weight for weight, _ in picked])
        indices = np.stack([index for _, index in picked])
        scales[iteration] = np.exp(adaptation.log_scale)
        if iteration < config.warmup:
            rate = float(np.mean(1.0 - weights[:, 0]))
            adaptation = adapt(adaptation, x.reshape(-1, d), weights.ravel() / chains, rate, target_move_rate(n))
        else:
            _keep(draws, iteration - config.warmup, transform.to_natural(x), x, parts, weights, indices)
            draws.infeasible += (~batch.ok).reshape(chains, n).mean(axis=1)
        rows = np.arange(chains)
        x[:, 0], parts[:, :, 0] = x[rows, indices[:, -1]], parts[:, rows, indices[:, -1]]
        if progress is not None:
            so_far = draws.x[:, : max(iteration + 1 - config.warmup, 0), -1]  # the last draw of every iteration
            message = f"{1 - float(weights[:, 0].mean()):.0%} moving, {float(batch.ok.mean()):.0%} feasible"
            message += running(so_far)
            progress(ProgressEvent(STAGE, iteration + 1, config.iterations, recorder.total(STAGE), message))
    return _summarize(draws, target, config, scales, adaptation.cholesky)


def _keep(
    draws: _Draws, k: int, theta: Array, x: Array, parts: Array, weights: Array, indices: NDArray[np.int64]
) -> None:
    rows = np.arange(len(x))[:, None]
    draws.x[:, k] = x[rows, indices]
    draws.log_likelihood[:, k], draws.log_prior[:, k] = parts[0][rows, indices], parts[1][rows, indices]
    draws.weights[:, k] = weights
    draws.moments[0] += np.einsum("cj,cjd->cd", weights, theta)
    draws.moments[1] += np.einsum("cj,cjd->cd", weights, theta**2)
    draws.moved += indices[:, -1] != 0


def _summarize(
    draws: _Draws, target: Target, config: MultiProposalConfig, scales: Array, cholesky: Array
) -> MultiProposalResult:
    kept = config.iterations - config.warmup
    mean, square = draws.moments / kept
    x = draws.x.reshape(config.chains, kept * config.draws, -1)
    return MultiProposalResult(
        x=x,
        theta=target.transform.to_natural(x),
        log_likelihood=draws.log_likelihood.reshape(config.chains, -1),
        log_prior=draws.log_prior.reshape(config.chains, -1),
        weights=draws.weights,
        mean=mean,
        variance=square - mean**2,
        move_rate=draws.moved / kept,
        infeasible=draws.infeasible / kept,
        scale=scales,
        cholesky=cholesky,
    )
