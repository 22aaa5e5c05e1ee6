"""What stages do with emulated households: train at the beginning of the sample stage, check at its end, and again at
the exact draws."""

from __future__ import annotations

import dataclasses
import time
import warnings

import numpy as np
from numpy.typing import NDArray

from estimhank.analysis.emulator_check import MAX_SD, check_emulator
from estimhank.analysis.facts import EmulatorCheck, EmulatorFacts
from estimhank.emulator.emulator import load_emulator, save_emulator
from estimhank.emulator.examples import names_of
from estimhank.emulator.fitting import EmulatorError
from estimhank.mode.mode_result import ModeResult
from estimhank.posterior.posterior import Posterior
from estimhank.run.context import EMULATED_STORE, EXAMPLES, RunContext
from estimhank.run.emulation import inside_of, make_design, normal_draws, solve_design
from estimhank.sampling.chains import Draws
from estimhank.support.errors import ModelWarning, ResultsError, StorageError
from estimhank.support.files import writing
from estimhank.support.progress_event import ProgressEvent

Array = NDArray[np.float64]

#: Number of the batch of exact evaluations, as stage ``"sample"``, that an emulator is checked by.
CHECKED_BATCH = 1_000_000
_AT_EXACT_DRAWS = 500


def train(context: RunContext, mode: ModeResult) -> EmulatorFacts:
    """Train an emulator around the mode, into ``emulator.npz``; where that cannot be done the facts say why, and
    evaluations are exact."""
    clock, settings, exact = time.perf_counter(), context.config.emulator, _exact(context)

    def tell(done: int) -> None:
        context.progress(ProgressEvent("sample", done, settings.points, done, "solving households for the emulator"))

    try:
        draws = normal_draws(exact, mode.center_x, mode.covariance_x, context.seed)
        design = make_design(exact, draws, settings.points, context.seed)
        try:
            old = load_emulator(context.emulator_path, {**exact.fingerprint, "design": design.key})
        except (StorageError, ResultsError):
            old = None
        solved = solve_design(exact, design, context.recorder.engine, context.folder / EXAMPLES, tell)
        fit = solved.fit(names_of(exact.solver.steady))
    except EmulatorError as error:
        _forget(context)
        return EmulatorFacts(points=settings.points, words=_said(f"evaluations are exact: {error}"))
    if old is None:  # else a run goes on: its evaluations are of the file that is there
        _forget(context)
        save_emulator(fit.emulator, context.emulator_path)
        context.forget_emulated()
    return EmulatorFacts(
        points=settings.points,
        used=fit.used,
        failed=solved.failed,
        degree=fit.emulator.degree,
        rank=fit.emulator.rank,
        error=fit.error,
        seconds=round(time.perf_counter() - clock, 3),
    )


def check(context: RunContext, facts: EmulatorFacts, draws: Draws) -> EmulatorFacts:
    """Compare with exact evaluations at the later half of the sampling stage's draws; an emulator that does not pass is
    removed, with what was evaluated by it."""
    settings, exact = context.config.emulator, _exact(context)
    x = draws.x[:, draws.x.shape[1] // 2 :].reshape(-1, draws.x.shape[-1])
    theta = np.unique(exact.transform.to_natural(x), axis=0)
    rows = np.unique(np.linspace(0, len(theta) - 1, min(settings.check_draws, len(theta))).astype(int))
    assert context.emulated is not None
    emulated = context.emulated.evaluate("sample", CHECKED_BATCH, theta[rows])
    truth = context.recorder.evaluate("sample", CHECKED_BATCH, theta[rows])
    found = check_emulator(truth.log_density, emulated.log_density, _inside(context, theta[rows]), settings.max_sd)
    if found.passed:
        return dataclasses.replace(facts, check=found, words=found.words)
    _forget(context)
    return dataclasses.replace(facts, check=found, words=_said(f"evaluations are exact: {found.words}"))


def check_at_draws(context: RunContext, theta: Array, log_density: Array) -> EmulatorCheck | None:
    """The same at exact posterior draws, (n, d), whose densities (n,) are known; None without an emulator."""
    if context.emulated is None:
        return None
    theta, first = np.unique(theta, axis=0, return_index=True)
    rows = np.unique(np.linspace(0, len(theta) - 1, min(_AT_EXACT_DRAWS, len(theta))).astype(int))
    emulated = context.emulated.engine.evaluate(theta[rows])
    inside = _inside(context, theta[rows])
    return check_emulator(log_density[first][rows], emulated.log_density, inside, MAX_SD)


def _said(words: str) -> str:
    """Words that a user sees while the run goes on, too."""
    warnings.warn(words, ModelWarning, stacklevel=3)
    return words


def _inside(context: RunContext, theta: Array) -> NDArray[np.bool_]:
    return inside_of(load_emulator(context.emulator_path), context.target.names, theta)


def _forget(context: RunContext) -> None:
    """Remove an emulator and what was evaluated by it."""
    context.forget_emulated()
    for path in (context.emulator_path, context.folder / EMULATED_STORE):
        with writing(path):
            path.unlink(missing_ok=True)


def _exact(context: RunContext) -> Posterior:
    assert isinstance(context.target, Posterior)
    return context.target
