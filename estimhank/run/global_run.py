"""``estimhank global``: train, judge, write down; a run that was stopped goes on with the same bits."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimhank.global_solution.economies import BUILT_IN, find_economy, make_economy
from estimhank.global_solution.published import start_published, train_published
from estimhank.global_solution.responses import GlobalResponse, global_responses
from estimhank.global_solution.settings import GlobalConfig
from estimhank.global_solution.solution import FIGURES, SETTINGS, WEIGHTS, GlobalSolution, to_bytes
from estimhank.global_solution.training import Solver, State
from estimhank.global_solution.verdict import GlobalVerdict
from estimhank.run.global_judgement import judge
from estimhank.support.errors import ResultsError, StorageError
from estimhank.support.files import (
    expand_user,
    make_folder,
    read_arrays,
    read_json,
    read_text,
    remove_leftovers,
    sha256_of,
    to_json,
    to_plain,
    write_bytes,
    write_json,
)
from estimhank.support.locking import locked
from estimhank.support.progress_event import Progress, ProgressEvent
from estimhank.support.runtime import configure

CHECKPOINT = "checkpoint.npz"


@dataclasses.dataclass(frozen=True)
class GlobalOutcome:
    """What a run came to.

    Attributes
    ----------
    folder : Path
    figures : dict
        ``global.json``.
    verdict : GlobalVerdict, optional
        None where nothing was left to do.
    """

    folder: Path
    figures: dict[str, Any]
    verdict: GlobalVerdict | None


def _settings(config: GlobalConfig, folder: Path) -> dict[str, Any]:
    """The identity of a run, and where its economy is."""
    reference = config.economy.name
    text = ""
    if reference not in BUILT_IN:
        path_text, _, name = reference.rpartition(":")
        path = (folder / expand_user(path_text)).resolve()
        reference = f"{path}:{name}"
        text = read_text(path) if path.is_file() else ""
    plain = to_plain(config)
    return {"configuration": plain, "economy": reference, "digest": sha256_of(to_json([plain, text], indent=None))}


def solve_global(
    config: GlobalConfig,
    out: Path | str,
    folder: Path | str = ".",
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> GlobalOutcome:
    """Solve an economy globally into a results folder.

    Parameters
    ----------
    config : GlobalConfig
    out : path
        Results folder.
    folder : path
        Folder that the economy's file is relative to.
    resume, overwrite : bool
        Go on with an unfinished run of the same configuration; begin again whatever is there.
    progress : callable, optional
        Told of each round.
    say : callable, optional
        Told of each stage in words.

    Raises
    ------
    ResultsError
        If the folder holds something else, or an unfinished run and ``resume`` is not given.
    """
    configure()
    say, progress = say or (lambda text: None), progress or (lambda event: None)
    settings = _settings(config, Path(folder))
    economy = make_economy(find_economy(config.economy.name, folder), config.economy.parameters)
    published = config.published if config.training.recipe == "published" else None
    solver = Solver(economy, config.networks, config.training, config.economy.planner, config.run.seed, published)
    out = make_folder(out)
    try:
        with locked(out):
            remove_leftovers(out)
            return _run(config, solver, settings, out, (resume, overwrite), progress, say)
    except BlockingIOError:
        raise ResultsError(f"another process is working in {out}") from None


def _now() -> NDArray[np.float64]:
    """Seconds, elapsed and of processor time, (2,)."""
    return np.array([time.monotonic(), time.process_time()])


def _run(
    config: GlobalConfig,
    solver: Solver,
    settings: dict[str, Any],
    out: Path,
    how: tuple[bool, bool],
    progress: Progress,
    say: Callable[[str], None],
) -> GlobalOutcome:
    begun = _now()
    resume, overwrite = how
    stored = read_json(out / SETTINGS) if (out / SETTINGS).is_file() else None
    if overwrite or stored is None:
        if stored is None and not overwrite and any(out.iterdir()):
            raise ResultsError(
                f"{out} is not empty and holds no global solution: choose another folder, or --overwrite"
            )
        for name in (FIGURES, WEIGHTS, CHECKPOINT, SETTINGS):
            (out / name).unlink(missing_ok=True)
        write_json(out / SETTINGS, settings)
    elif stored["digest"] != settings["digest"]:
        raise ResultsError(f"{out} holds the solution of another configuration: choose another folder, or --overwrite")
    elif (out / FIGURES).is_file():
        return GlobalOutcome(out, dict(read_json(out / FIGURES)), None)
    elif (out / CHECKPOINT).is_file() and not resume:
        raise ResultsError(f"{out} holds an unfinished solution: go on with it by --resume, or --overwrite")
    state, before = _trained(config, solver, out, begun, progress, say)
    say("accuracy")
    figures, verdict, found = judge(config, solver, state, progress)
    responses = None
    if config.accuracy.responses and not solver.planner:
        progress(ProgressEvent("accuracy", 5, 6, 0, "responses"))
        responses = global_responses(solver, state, found.path, found.grid)
        figures["responses"] = [_response(answer) for answer in responses]
    elapsed, processor = before + _now() - begun
    figures["seconds"], figures["processor_seconds"] = round(float(elapsed), 2), round(float(processor), 2)
    figures["passed"] = verdict.passed
    figures["verdict"] = verdict.words
    arrays = {name: getattr(state, name) for name in State._fields}
    write_bytes(out / WEIGHTS, to_bytes({**arrays, "ergodic": found.path.mean_histograms}))
    from estimhank.report.global_report import write_global_report

    solution = GlobalSolution(solver, state, found.path.mean_histograms, figures)
    write_global_report(out, solution, verdict, found.path, found.referee, config, responses)
    # last: what is there is whole
    write_json(out / FIGURES, figures)
    (out / CHECKPOINT).unlink(missing_ok=True)
    return GlobalOutcome(out, figures, verdict)


def _trained(
    config: GlobalConfig,
    solver: Solver,
    out: Path,
    begun: NDArray[np.float64],
    progress: Progress,
    say: Callable[[str], None],
) -> tuple[State, NDArray[np.float64]]:
    """The trained state, and the seconds of the sessions before this one, elapsed and of processor time."""
    before = np.zeros(2)
    if (out / CHECKPOINT).is_file():
        try:
            stored = read_arrays(out / CHECKPOINT)
            state, before = State(**{name: stored[name] for name in State._fields}), np.asarray(stored["seconds"])
        except (StorageError, ValueError, TypeError, KeyError):
            raise ResultsError(
                f"{out / CHECKPOINT} is damaged, or of another version: begin again with --overwrite"
            ) from None
        say(f"training goes on after round {int(state.round)} of {solver.rounds}")
    else:
        say(f"steady state: capital {solver.rest.capital:.4f} without aggregate risk")
        state = solver.start() if solver.published is None else start_published(solver, solver.published)
    published = solver.published
    rounds = solver.train(state) if published is None else train_published(solver, published, state)
    for state, words in rounds:
        progress(ProgressEvent("global", int(state.round), solver.rounds, 0, words))
        arrays = {name: getattr(state, name) for name in State._fields}
        write_bytes(out / CHECKPOINT, to_bytes({**arrays, "seconds": before + _now() - begun}))
    return state, before


def _response(answer: GlobalResponse) -> dict[str, Any]:
    risk, curvature, share = answer.share_of_risk()
    t = len(answer.capital)
    return {
        "state": answer.first, "capital": [float(x) for x in answer.capital],
        "capital_foresight": [float(x) for x in answer.foresight.capital[:t]],
        "capital_linear": [float(x) for x in answer.foresight.linear_capital[:t]],
        "risk": risk, "curvature": curvature, "share_of_risk": share,
    }  # fmt: skip
