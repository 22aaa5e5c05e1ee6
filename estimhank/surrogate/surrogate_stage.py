"""The surrogate stage: fit a surrogate, look at it where it may be wrong, decide what follows.

The stage is a state machine. A state (:class:`StageState`) says what is known and which :class:`Step` is next. A step
is a *fit*, a *look* at exact evaluations of fresh draws and acquired points, and a *decision* (:func:`decide`) by the
error e that the look shows::

    step                    what follows, and why
    ROUND                   ROUND     e is large, and there are rounds left: fit again with what the look has found
                            LAST_FIT  e < stop_s_e, or the rounds are used up
    LAST_FIT, GO_ON, ANEW   STOP      e < final_s_e, or the last fit has been taken up again often enough
                            GO_ON     it has seen too little somewhere: it goes on, for a share of its epochs
                            ANEW      it errs so much that it has settled in a wrong place: it is done from the start
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from estimhank.evaluation.evaluations import EvaluationBatch
from estimhank.evaluation.workers import InTurn, Workers
from estimhank.mode.mode_result import ModeResult
from estimhank.support.progress_event import Progress, ProgressEvent
from estimhank.support.seeds import Stream, generator
from estimhank.surrogate.bound_tails import towards_bounds
from estimhank.surrogate.candidates import (
    CandidateDraws,
    RoundErrors,
    choose_candidates,
    draw_candidates,
    measure_errors,
)
from estimhank.surrogate.cliff_finder import CliffFinder
from estimhank.surrogate.edge_search import bracket_edge, cut_off_at_edge
from estimhank.surrogate.exact import Evaluate
from estimhank.surrogate.fitting import FitReport, Fitter, Whitening
from estimhank.surrogate.points import Points, plausible, points_from
from estimhank.surrogate.policy import SURROGATE_POLICY as POLICY
from estimhank.surrogate.stage_config import SurrogateConfig
from estimhank.surrogate.surrogate import Surrogate
from estimhank.target.protocol import Gradient, Target, affordable_gradient

Array = NDArray[np.float64]

STAGE = "surrogate"
#: Random numbers of fit k begin at these numbers of the stage's stream, plus k.
_POOL, _FIT, _CHOICE, _LOOKS = 0, 1_000, 2_000, 3_000
#: Batches of fit k that search for the edge of the feasible region are numbered from k + 1 times this.
_EDGE_BATCHES = 1_000


class Step(Enum):
    """What a stage does next."""

    #: A fit that only says where to evaluate next.
    ROUND = auto()
    #: A longer fit: if it is good, the surrogate that the stage leaves.
    LAST_FIT = auto()
    #: The last fit goes on from where it ended, with what was found since, for a share of its epochs.
    GO_ON = auto()
    #: The last fit is done again from the beginning, in coordinates of what was found since.
    ANEW = auto()
    #: Nothing more: the best fit is the stage's surrogate.
    STOP = auto()

    def epochs(self, config: SurrogateConfig) -> int:
        """Passes over the points in its fit."""
        if self is Step.ROUND:
            return config.round_epochs
        return max(1, int(POLICY.share_of_epochs * config.epochs)) if self is Step.GO_ON else config.epochs


@dataclass(frozen=True)
class RoundReport:
    """One fit and, if there are rounds, the look at it.

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
class StageState:
    """What a stage knows before a step."""

    step: Step
    number: int  #: Fits before it; batches and random numbers are numbered by it.
    points: Points  #: All that can be learned from.
    whitening: Whitening  #: Coordinates of the next fit from the beginning.
    evaluations: int  #: Exact evaluations so far, those of earlier stages included.
    edge_known: bool = False  #: Whether draws without a density were noticed, so that the edge is learned apart.
    repeats: int = 0  #: How often the last fit has been taken up again.
    latest: Surrogate | None = None  #: What the step before fitted: where :attr:`Step.GO_ON` begins.
    best: Surrogate | None = None  #: The fit with the smallest error so far; a longer one can be worse.
    best_error: float = np.inf
    work: int = 0  #: Points times epochs trained, for the progress.
    reports: tuple[RoundReport, ...] = ()


@dataclass(frozen=True)
class Fit:
    """What a step fitted, draws of it, and wall time."""

    surrogate: Surrogate
    draws: CandidateDraws
    report: FitReport
    seconds: float


@dataclass(frozen=True)
class Look:
    """Exact evaluations at points x, (n, d), the first ``cold`` of them draws at temperature 1; exact log densities of
    the coordinates, (n,); what they say about the fit; wall time."""

    x: Array
    cold: int
    batch: EvaluationBatch
    exact: Array
    errors: RoundErrors
    seconds: float


def decide(state: StageState, error: float, config: SurrogateConfig) -> Step:
    """What follows a step whose fit errs by ``error`` log points at its look (:attr:`RoundErrors.total`)."""
    if state.step is Step.ROUND:
        enough = error < config.stop_s_e or state.number + 1 >= config.rounds
        return Step.LAST_FIT if enough else Step.ROUND
    if error < config.final_s_e or state.repeats == POLICY.repeats:
        return Step.STOP
    return Step.GO_ON if error < POLICY.wrong else Step.ANEW


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
    config = config or SurrogateConfig()
    stage = _Stage(evaluate, target, config, seed, workers or InTurn(target), progress)
    state = stage.begin(training_data, mode)
    while state.step is not Step.STOP:
        fit = stage.fit(state)
        if config.rounds == 0:
            state = stage.end_without_look(state, fit)
        else:
            look = stage.look(state, fit)
            state = stage.learn(state, fit, look, decide(state, look.errors.total, config))
    assert state.best is not None
    surrogate = replace(
        state.best, modes=_modes_with_mass(target, mode, state.points), training_evaluations=state.evaluations
    )
    return SurrogateStageResult(surrogate, state.reports, dict(state.points.dropped))


class _Stage:
    """What stays the same from step to step, and what a step does."""

    def __init__(
        self,
        evaluate: Evaluate,
        target: Target,
        config: SurrogateConfig,
        seed: int,
        workers: Workers,
        progress: Progress | None,
    ) -> None:
        self.evaluate, self.target, self.config, self.seed = evaluate, target, config, seed
        self.workers, self.progress, self.total_work = workers, progress, 0
        self.gradient = affordable_gradient(target) if config.gradient_weight > 0 else Gradient.NONE
        self.steady_state = np.isin(target.names, target.steady_state_parameters)
        self.finder = CliffFinder(target, self.steady_state, workers)
        self.fitter = Fitter(target, config, self.finder, workers)

    def begin(self, training_data: EvaluationBatch, mode: ModeResult) -> StageState:
        """The first state."""
        config, points = self.config, self._points(training_data)
        sizes = len(points) + config.round_points * np.arange(config.rounds + 1)
        self.total_work = int(sizes @ np.append(np.full(config.rounds, config.round_epochs), config.epochs))
        whitening = Whitening.from_moments(mode.center_x, mode.covariance_x, self.steady_state)
        return StageState(Step.ROUND if config.rounds else Step.LAST_FIT, 0, points, whitening, len(training_data))

    def fit(self, state: StageState) -> Fit:
        """Fit, cut off at the edge where one is known, and draw."""
        clock, points, number = time.perf_counter(), state.points, state.number
        epochs = state.step.epochs(self.config)
        seed = int(self._random(_FIT + number).integers(2**31))
        known = points.without_failures() if state.edge_known else points

        def tick(share: float) -> None:
            self._tell(state.work + int(share * epochs * len(points)), state.evaluations, "training")

        if state.step is Step.GO_ON:
            assert state.latest is not None
            surrogate, report = self.fitter.go_on(state.latest, known, epochs, seed, tick)
        else:
            looks = POLICY.later_looks if number else POLICY.first_looks
            self.finder.learn(points.x[plausible(points.log_density, points)], looks, self._random(_LOOKS + number))
            surrogate, report = self.fitter.fit(known, state.whitening, epochs, seed, tick)
        if state.edge_known:
            surrogate = cut_off_at_edge(surrogate, points, seed, self.config.max_points)
        surrogate, draws = draw_candidates(surrogate, points, self.config, self._random(_POOL + number), self.workers)
        return Fit(surrogate, draws, report, time.perf_counter() - clock)

    def look(self, state: StageState, fit: Fit) -> Look:
        """Evaluate fresh draws and acquired points, and compare."""
        n, transform = self.config.round_points, self.target.transform
        rng, last = self._random(_CHOICE + state.number), state.step is not Step.ROUND
        candidates = choose_candidates(fit.draws, state.points, fit.surrogate, n, rng, last)
        nearer = towards_bounds(state.points, fit.surrogate, transform, int(POLICY.at_bounds * n))
        x = np.concatenate([candidates.x, nearer])
        clock = time.perf_counter()
        batch = self._ask(state.number, x)
        seconds = time.perf_counter() - clock
        exact = batch.log_density + transform.log_jacobian(x)
        errors = measure_errors(candidates, fit.surrogate, exact[: len(candidates.x)])
        work = state.work + state.step.epochs(self.config) * len(state.points)
        self._tell(work, state.evaluations + len(batch), f"error of fresh draws {errors.s_e:.3f}")
        return Look(x, candidates.cold, batch, exact, errors, seconds)

    def learn(self, state: StageState, fit: Fit, look: Look, step: Step) -> StageState:
        """The state after a look, before the ``step`` that was decided upon."""
        number, error, last = state.number, look.errors.total, state.step is not Step.ROUND
        if state.best is None or error <= state.best_error or (last and error < self.config.final_s_e):
            state = replace(state, best=fit.surrogate, best_error=error)
        epochs, infeasible = state.step.epochs(self.config), int((~look.batch.ok).sum())
        # what the fresh draws say stands in the report; the certificate draws others
        report = RoundReport(fit.report, epochs, len(look.batch), infeasible, *look.errors, fit.seconds, look.seconds)
        state = replace(
            state,
            step=step,
            number=number + 1,
            evaluations=state.evaluations + len(look.batch),
            repeats=state.repeats + last,
            latest=fit.surrogate,
            work=state.work + epochs * len(state.points),
            reports=(*state.reports, report),
        )
        if step is Step.STOP:
            return state
        state = replace(state, points=state.points.extend(self._points(look.batch)))
        if number >= min(1, self.config.rounds - 1):  # where the first fit draws there need not be a posterior
            state = self._search_edge(state, fit.surrogate, look)
        if step is Step.GO_ON:
            return state
        cold = slice(look.cold)
        there = plausible(look.exact[cold], state.points, fit.surrogate.freedom)
        return replace(state, whitening=Whitening.from_draws(look.x[cold][there], self.steady_state) or state.whitening)

    def end_without_look(self, state: StageState, fit: Fit) -> StageState:
        """The last state where there are no rounds."""
        epochs, nothing = state.step.epochs(self.config), float("nan")
        report = RoundReport(fit.report, epochs, 0, 0, nothing, nothing, nothing, fit.seconds, 0.0)
        return replace(state, step=Step.STOP, best=fit.surrogate, reports=(report,))

    def _search_edge(self, state: StageState, surrogate: Surrogate, look: Look) -> StageState:
        """The state with points next to the edge of the feasible region, if some draws show that there is one."""
        feasible = look.batch.ok
        if not (state.edge_known or (~feasible[: look.cold]).mean() > POLICY.noticed):
            return state

        def ask(step: int, x: Array) -> EvaluationBatch:
            return self._ask(_EDGE_BATCHES * state.number + step, x)

        found = bracket_edge(look.x, feasible, state.points, surrogate, self.target.transform, ask)
        asked = len(found) + sum(found.dropped.values())
        points = state.points.extend(found.without_gradients(self.steady_state))
        return replace(state, points=points, edge_known=True, evaluations=state.evaluations + asked)

    def _ask(self, number: int, x: Array) -> EvaluationBatch:
        return self.evaluate(STAGE, number, self.target.transform.to_natural(x), self.gradient)

    def _points(self, batch: EvaluationBatch) -> Points:
        return points_from(batch, self.target.transform).without_gradients(self.steady_state)

    def _random(self, number: int) -> np.random.Generator:
        return generator(self.seed, Stream.SURROGATE, number)

    def _tell(self, work: int, evaluations: int, message: str) -> None:
        if self.progress is not None:
            self.progress(ProgressEvent(STAGE, min(work, self.total_work), self.total_work, evaluations, message))


def _modes_with_mass(target: Target, mode: ModeResult, points: Points) -> Array:
    """Local modes that can hold mass, shape (m, d): judged, as mass is, by the density of the coordinates.

    By that of the natural parameters a mode at a bound, where a density may grow without limit, would be the only one.
    """
    x = np.array([m.x for m in mode.modes]).reshape(-1, points.x.shape[1])
    density = np.array([m.log_density for m in mode.modes]) + target.transform.log_jacobian(x)
    return x[density > points.log_density.max() - POLICY.modes_within]
