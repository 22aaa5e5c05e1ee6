"""The surrogate stage: fit a surrogate, evaluate the target at draws of it, fit again until fresh draws show a small
error."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from estimhank.evaluation.evaluations import EvaluationBatch
from estimhank.evaluation.workers import InTurn, Workers
from estimhank.mode.mode_result import ModeResult
from estimhank.support.progress_event import Progress, ProgressEvent
from estimhank.support.seeds import Stream, generator
from estimhank.surrogate.bound_tails import towards_bounds
from estimhank.surrogate.candidates import CandidateDraws, choose_candidates, measure_errors
from estimhank.surrogate.edge_search import EdgeSearch
from estimhank.surrogate.exact import Evaluate
from estimhank.surrogate.fast_mh import SurrogateChains, draw, start_chains, warm_up
from estimhank.surrogate.fitting import FitReport, Whitening, fit_surrogate
from estimhank.surrogate.jump_finder import JumpFinder
from estimhank.surrogate.points import Points, near_posterior, points_from, typical_depth
from estimhank.surrogate.stage_config import SurrogateConfig
from estimhank.surrogate.surrogate import Surrogate
from estimhank.target.protocol import Gradient, Target, affordable_gradient

Array = NDArray[np.float64]

STAGE = "surrogate"
_FEWEST_CHAINS = 64
#: Pool draws of every chain at temperature 1, on the surrogate and on the uncorrected one, and steps between two.
_POOL_DRAWS, _POOL_THIN = 20, 75
_MAY_BE_INFEASIBLE = 0.05  # share of fresh draws
_FEWEST_DRAWS = 4  # for each dimension, to whiten by
_STEEPER, _STEEPENINGS = 4.0, 4
_FAR, _MAY_BE_FAR = 1.3, 0.002  # multiple of the trust region's radius, and the share of a surrogate's draws beyond it
_EDGE_BATCHES = 1_000  # numbers of a round's batches that search for the edge of the feasible region begin there
_MAY_BE_FAR_OF_HEAVY = 0.02
_AT_BOUNDS = 0.15  # of a round's points, at most, that many more are evaluated nearer to bounds
_MODES_WITHIN = 12.0  # log points below the best within which another local mode may hold mass

#: A last fit that errs by more than ``final_s_e``, at its fresh draws or over the candidate pool, has seen too
#: little somewhere: it goes on with what was found, for a share of its epochs, at most so many times. One that errs by
#: far more has settled in a wrong place, and is done anew.
_REPEATS, _SHARE_OF_EPOCHS, _WRONG = 4, 0.2, 0.5

#: Points at which the places of jumps are looked up, before the first fit and before each other.
_FIRST_LOOKS, _LATER_LOOKS = 600, 300


@dataclass(frozen=True)
class RoundReport:
    """One fit and, if there are rounds, the fresh draws that followed it.

    Attributes
    ----------
    fit : FitReport
    epochs : int
        Of the fit.
    evaluations, infeasible : int
        Fresh evaluations after the fit, and those of them without a density.
    fresh_s_e : float
        Standard deviation of the error on the fresh draws at temperature 1, ``nan`` without rounds.
    pool_error : float
        Lower bound on the RMS error over the candidate pool, from the acquired points; ``nan`` without rounds.
    beyond : float
        Share of the draws at temperature 1 beyond an edge that the surrogate knows of; ``nan`` without rounds.
    fit_seconds, evaluation_seconds : float
        Wall time of the fit, and of the fresh evaluations.
    """

    fit: FitReport
    epochs: int
    evaluations: int
    infeasible: int
    fresh_s_e: float
    pool_error: float
    beyond: float
    fit_seconds: float
    evaluation_seconds: float


@dataclass(frozen=True)
class SurrogateStageResult:
    """What the stage leaves.

    Attributes
    ----------
    surrogate : Surrogate
    rounds : tuple of RoundReport
    dropped : dict of str to int
        Evaluations that could not be learned from, by reason.
    """

    surrogate: Surrogate
    rounds: tuple[RoundReport, ...]
    dropped: dict[str, int]

    @property
    def training_seconds(self) -> float:
        """Wall time of all fits."""
        return sum(report.fit_seconds for report in self.rounds)


def run_surrogate(
    evaluate: Evaluate,
    target: Target,
    training_data: EvaluationBatch,
    mode: ModeResult,
    config: SurrogateConfig | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    workers: Workers | None = None,
) -> SurrogateStageResult:
    """Train the surrogate.

    Parameters
    ----------
    evaluate : callable
        Gives exact evaluations; batches of stage ``"surrogate"`` are numbered by round.
    target : Target
        Fresh draws are evaluated with gradients where it has them and ``config.gradient_weight`` is positive.
    training_data : EvaluationBatch
        All evaluations so far; those without a finite density are dropped and counted.
    mode : ModeResult
        Its normal approximation whitens the first fit; exact chains start at its local modes too.
    config : SurrogateConfig, optional
    seed : int
        The result is a function of it and of the evaluations.
    progress : callable, optional
    workers : Workers, optional
        Train the networks and draw from the surrogate, side by side; by default this process does.

    Raises
    ------
    TrainingError
        If there are too few usable points, or the networks cannot be trained.
    """
    config, workers = config or SurrogateConfig(), workers or InTurn(target)
    points = points_from(training_data, target.transform)
    steady_state = np.isin(target.names, target.steady_state_parameters)
    points = points.without_gradients(steady_state)
    whitening = Whitening.from_moments(mode.center_x, mode.covariance_x, steady_state)
    best: tuple[float, Surrogate] | None = None
    gradient = affordable_gradient(target) if config.gradient_weight > 0 else Gradient.NONE
    used, reports, good, repeats = len(training_data), [], False, 0
    begin: Surrogate | None = None  # a last fit to go on from
    finder = JumpFinder(target, steady_state, workers)
    edges = EdgeSearch(target, config)
    work = _Work(config, len(points), progress)
    for number in range(config.rounds + 1 + (_REPEATS if config.rounds else 0)):
        last = good or number >= config.rounds
        epochs = config.epochs if last else config.round_epochs
        if begin is not None:
            epochs = max(1, int(_SHARE_OF_EPOCHS * epochs))
        clock = time.perf_counter()
        looks = _FIRST_LOOKS if number == 0 else _LATER_LOOKS
        if begin is None:
            finder.learn(points.x[_can_be_drawn(points)], looks, generator(seed, Stream.SURROGATE, 3000 + number))
        fit_seed = int(generator(seed, Stream.SURROGATE, 1000 + number).integers(2**31))
        surrogate, fit = fit_surrogate(
            edges.training_points(points),
            whitening,
            target,
            config,
            epochs,
            fit_seed,
            work.tick(epochs * len(points), used),
            finder,
            workers,
            begin,
        )
        work.add(epochs * len(points))
        surrogate = edges.attach(surrogate, points, fit_seed)
        surrogate, draws = _contain(surrogate, points, config, generator(seed, Stream.SURROGATE, number), workers)
        seconds = time.perf_counter() - clock
        if config.rounds == 0:
            reports.append(RoundReport(fit, epochs, 0, 0, float("nan"), float("nan"), float("nan"), seconds, 0.0))
            break
        rng = generator(seed, Stream.SURROGATE, 2000 + number)
        candidates = choose_candidates(draws, points, surrogate, config.round_points, rng, last)
        chosen = len(candidates.x)
        nearer = towards_bounds(points, surrogate, target.transform, int(_AT_BOUNDS * config.round_points))
        x = np.concatenate([candidates.x, nearer])
        clock = time.perf_counter()
        batch = evaluate(STAGE, number, target.transform.to_natural(x), gradient)
        waited = time.perf_counter() - clock
        used += len(batch)
        exact = batch.log_density + target.transform.log_jacobian(x)
        errors = measure_errors(candidates, surrogate, exact[:chosen], 1 - _MAY_BE_INFEASIBLE)
        # what the fresh draws say stands in the report; the certificate draws others
        infeasible = int((~batch.ok).sum())
        reports.append(RoundReport(fit, epochs, len(batch), infeasible, *errors, seconds, waited))
        work.report(used, f"error of fresh draws {errors.s_e:.3f}")
        if best is None or errors.total <= best[0] or (last and errors.total < config.final_s_e):
            best = errors.total, surrogate
        if last and (errors.total < config.final_s_e or repeats == _REPEATS):
            surrogate = best[1]  # a longer fit has been seen to be worse than one before it
            break
        good = good or errors.total < config.stop_s_e
        points = points.extend(points_from(batch, target.transform).without_gradients(steady_state))
        if number >= min(1, config.rounds - 1):  # where the first fit draws there need not be a posterior

            def ask(step: int, x: Array, number: int = number) -> EvaluationBatch:
                return evaluate(STAGE, _EDGE_BATCHES * (1 + number) + step, target.transform.to_natural(x), gradient)

            at_edge = edges.look(x, batch.ok, candidates.cold, points, surrogate, ask)
            if at_edge is not None:
                points = points.extend(at_edge.without_gradients(steady_state))
        repeats += last
        begin = surrogate if last and errors.total < _WRONG else None
        if begin is None:
            cold = slice(candidates.cold)
            whitening = _moments(x[cold][_plausible(exact[cold], points, surrogate.freedom)], steady_state) or whitening
    used += edges.evaluations
    surrogate = replace(surrogate, modes=_modes_with_mass(target, mode, points), training_evaluations=used)
    return SurrogateStageResult(surrogate, tuple(reports), dict(points.dropped))


def _modes_with_mass(target: Target, mode: ModeResult, points: Points) -> Array:
    """Local modes that can hold mass, shape (m, d): judged, as mass is, by the density of the coordinates.

    By that of the natural parameters a mode at a bound, where a density may grow without limit, would be the only one.
    """
    x = np.array([m.x for m in mode.modes]).reshape(-1, points.x.shape[1])
    density = np.array([m.log_density for m in mode.modes]) + target.transform.log_jacobian(x)
    return x[density > points.log_density.max() - _MODES_WITHIN]


def _contain(
    surrogate: Surrogate, points: Points, config: SurrogateConfig, rng: np.random.Generator, workers: Workers
) -> tuple[Surrogate, CandidateDraws]:
    """The surrogate, its penalty outside the trust region so steep that its draws stay near; and draws of it.

    A network may rise without bound where it has seen nothing. Draws at temperature 1 that end up far outside the
    trust region show it, at no exact evaluation; the penalty is then raised.
    """
    temperatures = np.array(config.temperatures)
    chains = max(-(-config.round_points // len(temperatures)), _FEWEST_CHAINS)
    near = np.flatnonzero(near_posterior(points, surrogate.freedom))
    powers = 1 / temperatures
    if surrogate.shape.heavy:  # a power that leaves a density that can be integrated: half of the degrees of freedom
        d = surrogate.dimension
        powers = np.maximum(powers, (d + 0.5 * surrogate.freedom) / (d + surrogate.freedom))
    power = np.repeat(powers, chains)
    may_be_far = _MAY_BE_FAR_OF_HEAVY if surrogate.shape.heavy else _MAY_BE_FAR
    for steepening in range(_STEEPENINGS + 1):
        starts = points.x[rng.choice(near, len(power))]
        end, proposal = warm_up(surrogate, surrogate.whiten(starts), power, int(rng.integers(2**31)))
        x = surrogate.unwhiten(np.asarray(end.z, float)).reshape(len(temperatures), chains, -1)
        if steepening == _STEEPENINGS or surrogate.outside(x[0], _FAR).mean() <= may_be_far:
            break
        surrogate = surrogate.with_penalty_strength(_STEEPER * surrogate.trust_region.strength)
    cold = SurrogateChains(end.z[:chains], end.value[:chains])
    more = draw(surrogate, cold, proposal, _POOL_DRAWS, _POOL_THIN, int(rng.integers(2**31)), workers)
    drawn = surrogate.unwhiten(more.z)
    x[0] = drawn[:, -1]  # long chains find the way to a place that is made up; short ones may not
    uncorrected = surrogate.uncorrected()
    further = start_chains(uncorrected, more.z[:, -1])
    others = draw(uncorrected, further, proposal, _POOL_DRAWS, _POOL_THIN, int(rng.integers(2**31)), workers)
    d = surrogate.dimension
    return surrogate, CandidateDraws(
        x, drawn[:, :-1].reshape(-1, d), uncorrected.unwhiten(others.z[:, 1:]).reshape(-1, d)
    )


def _plausible(exact: Array, points: Points, freedom: float = math.inf) -> NDArray[np.bool_]:
    """Which of the fresh draws, shape (n,), are where posterior draws can be: whether the surrogate is right or not,
    coordinates must follow the posterior, or the next fit resolves a place that does not matter."""
    depth = typical_depth(points.x.shape[1], freedom)
    plausible: NDArray[np.bool_] = exact > points.log_density.max(initial=-np.inf) - depth
    return plausible


def _can_be_drawn(points: Points) -> NDArray[np.bool_]:
    """Which points, shape (n,), are as high as posterior draws."""
    return _plausible(points.log_density, points)


def _moments(x: Array, steady_state: NDArray[np.bool_] | None = None) -> Whitening | None:
    """Whitening by draws, or none where they are few or do not span the space."""
    n, d = x.shape
    if n < _FEWEST_DRAWS * d:
        return None
    covariance = np.atleast_2d(np.cov(x.T))
    share = d / (n + d)
    covariance = (1 - share) * covariance + share * np.diag(np.diag(covariance))
    if not np.isfinite(covariance).all() or np.linalg.eigvalsh(covariance).min() <= 1e-12:
        return None
    return Whitening.from_moments(x.mean(axis=0), covariance, steady_state)


class _Work:
    """Progress of the whole stage in points times epochs."""

    def __init__(self, config: SurrogateConfig, points: int, progress: Progress | None) -> None:
        sizes = points + config.round_points * np.arange(config.rounds + 1)
        epochs = np.append(np.full(config.rounds, config.round_epochs), config.epochs)
        self.total, self.done, self.progress = int(sizes @ epochs), 0, progress

    def add(self, work: int) -> None:
        self.done += work

    def tick(self, work: int, used: int) -> Callable[[float], None]:
        return lambda share: self._show(self.done + int(share * work), used, "training")

    def report(self, used: int, message: str) -> None:
        self._show(self.done, used, message)

    def _show(self, done: int, used: int, message: str) -> None:
        if self.progress is not None:
            self.progress(ProgressEvent(STAGE, min(done, self.total), self.total, used, message))
