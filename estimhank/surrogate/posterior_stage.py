"""The posterior stage: draws of the surrogate, fresh exact evaluations, exact draws, certificate."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from estimhank.evaluation.repeats import REPEATED_BATCH
from estimhank.evaluation.workers import InTurn, Workers
from estimhank.sampling.diagnostics import ess
from estimhank.support.progress_event import Progress, ProgressEvent
from estimhank.support.seeds import Stream, generator
from estimhank.surrogate.certificate import (
    Certificate,
    ExactStates,
    FreshEvaluations,
    ProposalPairs,
    compute_certificate,
    error_spread,
)
from estimhank.surrogate.exact import Evaluate, run_exact
from estimhank.surrogate.exact_chains import ExactChains, Schedule
from estimhank.surrogate.fast_mh import Proposal, SurrogateChains, draw, warm_up
from estimhank.surrogate.policy import POSTERIOR_POLICY as POLICY
from estimhank.surrogate.searched import Searched
from estimhank.surrogate.stage_config import PosteriorConfig
from estimhank.surrogate.surrogate import Surrogate
from estimhank.surrogate.tail_chains import look_beyond
from estimhank.target.protocol import Target
from estimhank.target.repeatable import check_repeatable

Array = NDArray[np.float64]

STAGE = "certificate"
_FIRST_BEYOND = 2  # number of the first batch of the chains that look beyond


@dataclass(frozen=True)
class SurrogateDraws:
    """Draws of the surrogate's posterior.

    Attributes
    ----------
    theta : ndarray of shape (chain, draw, d)
        Natural units.
    acceptance : float
        Share of steps accepted.
    autocorrelation_time : float
        Of the slowest coordinate, in steps.
    steps, seconds, draws_per_second : int, float, float
        Steps of all chains together, their wall time, their rate; kept draws are thinned from them.
    """

    theta: Array
    acceptance: float
    autocorrelation_time: float
    steps: int
    seconds: float

    @property
    def draws_per_second(self) -> float:
        """Steps of all chains a second of wall time, after compilation."""
        return self.steps / self.seconds if self.seconds > 0 else math.inf


@dataclass(frozen=True)
class PosteriorStageResult:
    """Surrogate draws, fresh draws, exact draws, certificate.

    Attributes
    ----------
    surrogate : SurrogateDraws
    fresh : FreshEvaluations
    exact : ExactChains
    outside_fence : ndarray of bool, shape (chain, draw)
        Which exact draws are outside the trust region.
    certificate : Certificate
    trusted : bool
        Whether the fresh draws spoke for the surrogate, on which the share of random-walk steps depends.
    draws_seconds, exact_seconds : float
        Wall time of drawing from the surrogate, compilation included, and of the exact chains.
    """

    surrogate: SurrogateDraws
    fresh: FreshEvaluations
    exact: ExactChains
    outside_fence: NDArray[np.bool_]
    certificate: Certificate
    trusted: bool
    draws_seconds: float = math.nan
    exact_seconds: float = math.nan

    @property
    def convergence(self) -> str:
        """Whether the exact chains have converged, and in what was searched, in words."""
        searched = self.certificate.searched
        return f"{self.exact.convergence}; {searched.caveat}" if searched else self.exact.convergence


def run_posterior(
    evaluate: Evaluate,
    target: Target,
    surrogate: Surrogate,
    config: PosteriorConfig | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    workers: Workers | None = None,
    searched: Searched | None = None,
) -> PosteriorStageResult:
    """Draw from the surrogate, certify it, and draw from the exact posterior.

    Parameters
    ----------
    evaluate : callable
        Gives exact evaluations; stages ``"certificate"`` (batch 0: fresh draws, batch 1: proposals, then the
        chains of the tails) and ``"exact"``.
    target : Target
    surrogate : Surrogate
    config : PosteriorConfig, optional
    seed : int
        The result, but for times, is a function of it and of the evaluations.
    progress : callable, optional
    workers : Workers, optional
        Draw from the surrogate, side by side; by default this process does.
    searched : Searched, optional
        What the mode search had looked at, for the certificate.

    Raises
    ------
    NoStart
        If the exact chains find no state with a positive density.
    NotRepeatable
        If some of the exact draws do not have the same density again.
    """
    config, workers = config or PosteriorConfig(), workers or InTurn(target)
    _tell(progress, 0, 0, "drawing from the surrogate")
    clock = time.perf_counter()
    chains, proposal = _settle(surrogate, config, seed)
    tau = _autocorrelation_time(surrogate, chains, proposal, seed, workers)
    each = -(-config.surrogate_draws // config.surrogate_chains)
    fast = draw(surrogate, chains, proposal, each, config.thin, _integer(seed, 3), workers)
    draws_seconds = time.perf_counter() - clock
    _tell(progress, 1, 0, f"{fast.steps / fast.seconds:,.0f} surrogate draws a second")
    fresh = evaluate_fresh(evaluate, target, surrogate, fast.z, config.certificate_draws)
    _tell(progress, 2, len(fresh.exact), f"error of fresh draws {error_spread(fresh).value:.3f}")
    trusted = is_trusted(fresh)
    subchain = int(np.clip(math.ceil(config.subchain_factor * tau), config.min_subchain, config.max_subchain))
    schedule = Schedule.choose(config, subchain, trusted)
    starts = choose_starts(surrogate, fresh)
    clock = time.perf_counter()
    exact = run_exact(evaluate, target, surrogate, proposal, starts, schedule, config, seed, progress)
    exact_seconds = time.perf_counter() - clock
    pairs, asked = evaluate_pairs(evaluate, target, surrogate, exact, proposal, config.certificate_pairs, seed)
    asked += _check_again(evaluate, target, exact)
    if exact.converged:
        _tell(progress, 2, len(fresh.exact) + asked, "looking beyond the outermost draws")
        beyond = look_beyond(evaluate, target, surrogate, exact, _FIRST_BEYOND, seed)
        asked += beyond.evaluations
        exact = replace(exact, converged=beyond.covered, unmixed=beyond.words)
    outside = surrogate.outside(exact.x.reshape(-1, surrogate.dimension)).reshape(exact.log_density.shape)
    certificate = compute_certificate(
        fresh,
        ExactStates(
            exact=exact.log_density,
            surrogate=exact.surrogate_log_density,
            acceptance_probability=exact.acceptance_probability,
            subchain=exact.step_kind == 0,
            outside=outside,
            converged=exact.converged,
            stopped=exact.stopped,
            unmixed=exact.unmixed,
            left_out=exact.left_out,
        ),
        pairs,
        {
            "training_evaluations": surrogate.training_evaluations,
            "certificate_evaluations": len(fresh.exact) + asked,
            "exact_stage_evaluations": exact.evaluations,
            "fresh_draws": len(fresh.exact),
            "subchain_length": subchain,
        },
        seed,
        searched,
    )
    _tell(progress, 3, len(fresh.exact) + asked, certificate.words)
    theta = target.transform.to_natural(surrogate.unwhiten(fast.z))
    draws = SurrogateDraws(theta, fast.acceptance, tau, fast.steps, fast.seconds)
    return PosteriorStageResult(draws, fresh, exact, outside, certificate, trusted, draws_seconds, exact_seconds)


def _check_again(evaluate: Evaluate, target: Target, exact: ExactChains) -> int:
    """Evaluate some of the exact draws again; returns how many."""
    theta, density = exact.theta.reshape(-1, exact.theta.shape[-1]), (exact.log_likelihood + exact.log_prior).ravel()
    rows = np.unique(np.linspace(0, len(theta) - 1, POLICY.repeated).astype(int))
    again = evaluate(STAGE, REPEATED_BATCH, theta[rows])
    check_repeatable(target.names, again.theta, density[rows], again.log_density)
    return len(again)


def _tell(progress: Progress | None, done: int, evaluations: int, message: str) -> None:
    if progress is not None:
        progress(ProgressEvent(STAGE, done, 3, evaluations, message))


def _integer(seed: int, number: int) -> int:
    return int(generator(seed, Stream.POSTERIOR, number).integers(2**31))


def _settle(surrogate: Surrogate, config: PosteriorConfig, seed: int) -> tuple[SurrogateChains, Proposal]:
    """Chains from a wide normal around the centre of the training points, burnt in, with their proposals."""
    rng = generator(seed, Stream.POSTERIOR, 0)
    landmarks = np.asarray(surrogate.parameters.landmarks)
    picked = landmarks[rng.integers(0, len(landmarks), config.surrogate_chains)]
    starts = (picked + 0.5 * rng.standard_normal(picked.shape)).astype(np.float32)
    return warm_up(surrogate, starts, np.ones(len(starts)), _integer(seed, 1), phases=10)


def _autocorrelation_time(
    surrogate: Surrogate, chains: SurrogateChains, proposal: Proposal, seed: int, workers: Workers
) -> float:
    """Steps of the slowest coordinate's chain that are worth one independent draw."""
    some = SurrogateChains(chains.z[: POLICY.pilot_chains], chains.value[: POLICY.pilot_chains])
    pilot = draw(surrogate, some, proposal, POLICY.pilot_draws, 2, _integer(seed, 2), workers)
    effective = ess(pilot.z.astype(float), "bulk")
    slowest = float(np.nanmin(effective)) if np.isfinite(effective).any() else 1.0
    found: float = 2 * pilot.z.shape[0] * POLICY.pilot_draws / max(slowest, 1.0)
    return found


def evaluate_fresh(
    evaluate: Evaluate, target: Target, surrogate: Surrogate, z: NDArray[np.float32], n: int
) -> FreshEvaluations:
    """Exact evaluations of n draws spread evenly over draws of shape (chain, draw, d), draw by draw."""
    flat = z.swapaxes(0, 1).reshape(-1, z.shape[-1])
    x = surrogate.unwhiten(flat[np.linspace(0, len(flat) - 1, min(n, len(flat))).astype(int)])
    theta = target.transform.to_natural(x)
    batch = evaluate(STAGE, 0, theta)
    exact = batch.log_density + target.transform.log_jacobian(x)
    return FreshEvaluations(theta, x, np.where(np.isfinite(exact), exact, -np.inf), surrogate.log_density(x))


def choose_starts(surrogate: Surrogate, fresh: FreshEvaluations) -> NDArray[np.float32]:
    """Starts of the exact chains: fresh draws with a density, except where the surrogate is far too high; whitened,
    (m, d).

    A chain can be slow to leave such a place. With a poor surrogate almost all remain, as dispersed as they are.
    """
    weights = _log_weights(fresh)
    finite = np.isfinite(weights)
    if not finite.any():
        return surrogate.whiten(fresh.x)
    return surrogate.whiten(fresh.x[finite & (weights >= np.median(weights[finite]) - POLICY.far_too_high)])


def _log_weights(fresh: FreshEvaluations) -> Array:
    return np.where(np.isfinite(fresh.exact), fresh.exact - fresh.surrogate, -np.inf)


def is_trusted(fresh: FreshEvaluations) -> bool:
    """Whether fresh draws speak well enough for the surrogate to leave the exact stage mostly to its subchains."""
    weights = _log_weights(fresh)
    if not np.isfinite(fresh.surrogate).all() or not np.isfinite(weights).any():
        return False
    return predicted_acceptance(weights) > POLICY.trusted_rate


def predicted_acceptance(log_weights: Array) -> float:
    """Second-stage acceptance that the weights of draws of the surrogate predict: E min(1, w_y / w_x).

    The proposal y is a draw of the surrogate, the state x one of the posterior: a draw weighted by its weight w.
    """
    weights = np.exp(log_weights - log_weights.max())
    return float(np.minimum(weights[:, None], weights[None, :]).mean() / weights.mean())


def evaluate_pairs(
    evaluate: Evaluate, target: Target, surrogate: Surrogate, exact: ExactChains, proposal: Proposal, n: int, seed: int
) -> tuple[ProposalPairs, int]:
    """Fresh random-walk proposals from about n exact draws, evenly spread over the chains; and their number."""
    rng = generator(seed, Stream.POSTERIOR, 4)
    chains, draws, d = exact.z.shape
    each = np.linspace(0, draws - 1, min(draws, -(-n // chains))).astype(int)
    z = exact.z[:, each].reshape(-1, d).astype(float)
    noise = rng.standard_normal(z.shape) @ np.asarray(proposal.root, float).T
    here = exact.surrogate_log_density[:, each].ravel()
    guess = float(proposal.scale)
    scale = _scale_for(POLICY.pair_acceptance, lambda s: _accepted(surrogate, z + s * noise, here), guess)
    x = surrogate.unwhiten((z + scale * noise).astype(np.float32))
    batch = evaluate(STAGE, 1, target.transform.to_natural(x))
    density = batch.log_density + target.transform.log_jacobian(x)
    density = np.where(np.isfinite(density), density, -np.inf)
    shape = (chains, len(each))
    pairs = ProposalPairs(
        exact=density.reshape(shape) - exact.log_density[:, each],
        surrogate=(surrogate.log_density(x) - here).reshape(shape),
    )
    return pairs, len(x)


def _accepted(surrogate: Surrogate, z: Array, here: Array) -> float:
    gain = surrogate.log_density(surrogate.unwhiten(z)) - here
    return float(np.exp(np.minimum(gain, 0.0)).mean())


def _scale_for(rate: float, accepted, guess: float) -> float:  # type: ignore[no-untyped-def]
    """Scale at which the acceptance rate, which falls with it, is ``rate``: bisection in logs."""
    low, high = math.log(guess) - 4.0, math.log(guess) + 4.0
    for _ in range(20):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if accepted(math.exp(middle)) > rate else (low, middle)
    return math.exp(0.5 * (low + high))
