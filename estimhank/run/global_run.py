"""``estimhank global``: train, judge, write down; a run that was stopped goes on with the same bits."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from estimhank.global_solution.accuracy import (
    PATH_SEED,
    Law,
    LongPath,
    bellman_errors,
    den_haan_errors,
    euler_errors,
    simulate_long,
)
from estimhank.global_solution.conventional import (
    ConventionalSizes,
    ConventionalSolution,
    solve_conventional,
)
from estimhank.global_solution.economies import BUILT_IN, find_economy, make_economy
from estimhank.global_solution.published import start_published, train_published
from estimhank.global_solution.responses import GlobalResponse, global_responses
from estimhank.global_solution.settings import GlobalConfig
from estimhank.global_solution.solution import FIGURES, SETTINGS, WEIGHTS, GlobalSolution, to_bytes
from estimhank.global_solution.steady import deterministic_steady_state
from estimhank.global_solution.training import Solver, State
from estimhank.global_solution.verdict import GlobalVerdict, verdict_of
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
#: The topmost share of the grid, where no households may be.
_TOP = 0.99
#: Of the referee's grids in the long simulation, so that a histogram of its own coarseness cannot be told from a
#: difference.
_REFEREE_POLICY = {"assets": 400, "capital": 12}


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


def _run(
    config: GlobalConfig,
    solver: Solver,
    settings: dict[str, Any],
    out: Path,
    how: tuple[bool, bool],
    progress: Progress,
    say: Callable[[str], None],
) -> GlobalOutcome:
    begun = time.monotonic()
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
    figures["seconds"] = round(before + time.monotonic() - begun, 2)
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
    config: GlobalConfig, solver: Solver, out: Path, begun: float, progress: Progress, say: Callable[[str], None]
) -> tuple[State, float]:
    """The trained state, and the seconds of the sessions before this one."""
    before = 0.0
    if (out / CHECKPOINT).is_file():
        try:
            stored = read_arrays(out / CHECKPOINT)
            state, before = State(**{name: stored[name] for name in State._fields}), float(stored["seconds"])
        except (StorageError, ValueError, TypeError, KeyError):
            raise ResultsError(
                f"{out / CHECKPOINT} is damaged, or of another version: begin again with --overwrite"
            ) from None
        say(f"training goes on after round {int(state.round)} of {solver.rounds}")
    else:
        say(f"steady state: capital {deterministic_steady_state(solver.economy).capital:.4f} without aggregate risk")
        state = solver.start() if solver.published is None else start_published(solver, solver.published)
    published = solver.published
    rounds = solver.train(state) if published is None else train_published(solver, published, state)
    for state, words in rounds:
        progress(ProgressEvent("global", int(state.round), solver.rounds, 0, words))
        arrays = {name: getattr(state, name) for name in State._fields}
        write_bytes(out / CHECKPOINT, to_bytes({**arrays, "seconds": before + time.monotonic() - begun}))
    return state, before


@dataclasses.dataclass(frozen=True)
class Judged:
    """What the report shows of the judgement: the long path with its grid, and the referee where there was one."""

    path: LongPath
    grid: Any
    referee: ConventionalSolution | None


def judge(
    config: GlobalConfig, solver: Solver, state: State, progress: Progress | None = None
) -> tuple[dict[str, Any], GlobalVerdict, Judged]:
    """All figures of a solution as ``global.json`` has them, the verdict, and what they were taken from."""
    a, problem = config.accuracy, solver.problem
    progress = progress or (lambda event: None)
    of_policy = (solver.policy_frame(state), solver.policy_weights(state))
    of_value = (solver.value_frame(state), solver.value_weights(state))
    seed = PATH_SEED
    words = ("long simulation", "Euler equations", "Bellman equation", "den Haan's simulation", "conventional solution")

    def tell(i: int) -> None:
        progress(ProgressEvent("accuracy", i, len(words), 0, words[i]))

    tell(0)
    path, fine = simulate_long(problem, *of_policy, a.quarters, a.burn_in, a.histogram, seed)
    tell(1)
    euler = euler_errors(problem, *of_policy, path, fine, a.states)
    tell(2)
    bellman = bellman_errors(problem, of_policy, of_value, path, fine, max(a.states // 5, 2))
    tell(3)
    den_haan = den_haan_errors(problem, *of_policy, path, fine, solver.grid)
    law = Law.of(path, solver.economy.n_z)
    top = np.asarray(fine) > fine[0] + _TOP * (fine[-1] - fine[0])
    figures: dict[str, Any] = {
        "bellman_error": bellman.published,
        "euler_mean": euler.mean,
        "euler_max": euler.largest,
        "den_haan_mean": den_haan.mean,
        "den_haan_max": den_haan.largest,
        "mean_capital": float(path.capital.mean()),
        "sd_capital": float(path.capital.std()),
        "wealth_sd": float(path.wealth_sd.mean()),
        "wealth_gini": float(path.wealth_gini.mean()),
        "law_bad": [float(law.intercept[0]), float(law.gradient[0])],
        "law_good": [float(law.intercept[-1]), float(law.gradient[-1])],
        "law_r_squared": [float(x) for x in law.r_squared],
        "law_den_haan_mean": law.mean_error,
        "law_den_haan_max": law.largest_error,
        "euler_mean_of_points": euler.mean_of_points,
        "bellman_error_of_policy": bellman.policy,
        "bellman_error_of_best": bellman.best,
        "quarters": len(path.capital),
        "top_share": float(path.mean_histograms.mean(0).sum(0)[top].sum()),
        "steady_capital": deterministic_steady_state(solver.economy).capital,
        "units": UNITS,
    }
    missing, referee, found = [], None, None
    if solver.planner:
        missing.append("A planner's allocation has no conventional solution here to be held against.")
    elif not a.referee:
        missing.append("The distribution was not held against a conventional solution ([accuracy] referee = false).")
    else:
        tell(4)
        sizes = ConventionalSizes(**_REFEREE_POLICY, histogram=a.histogram, quarters=a.quarters, burn_in=a.burn_in)
        found = solve_conventional(solver.economy, sizes, seed)
        n = min(len(path.capital), len(found.capital))
        gap = 100 * np.abs(path.capital[:n] / found.capital[:n] - 1)
        referee = {
            "mean_capital": float(found.capital.mean()), "sd_capital": float(found.capital.std()),
            "wealth_sd": found.wealth_sd, "wealth_gini": found.wealth_gini,
            "den_haan_mean": float(found.den_haan.mean()), "den_haan_max": float(found.den_haan.max()),
            "capital_gap_mean": float(gap.mean()), "capital_gap_max": float(gap.max()),
        }  # fmt: skip
        figures["referee"] = {
            **referee,
            "law_bad": [float(found.intercept[0]), float(found.gradient[0])],
            "law_good": [float(found.intercept[-1]), float(found.gradient[-1])],
        }
    verdict = verdict_of(figures, referee, missing)
    return figures, verdict, Judged(path, fine, found)


def _response(answer: GlobalResponse) -> dict[str, Any]:
    risk, curvature, share = answer.share_of_risk()
    t = len(answer.capital)
    return {
        "state": answer.first, "capital": [float(x) for x in answer.capital],
        "capital_foresight": [float(x) for x in answer.foresight.capital[:t]],
        "capital_linear": [float(x) for x in answer.foresight.linear_capital[:t]],
        "risk": risk, "curvature": curvature, "share_of_risk": share,
    }  # fmt: skip


#: What the figures of ``global.json`` are measured in.
UNITS = {
    "bellman_error": "utility: mean |V - max over 11 consumption levels of u + beta E V'|",
    "euler_mean": "log10 of the mean error relative to consumption, over households",
    "euler_max": "log10 of the largest such error on the ergodic set",
    "den_haan_mean": "percent of capital", "den_haan_max": "percent of capital",
    "mean_capital": "goods a household", "sd_capital": "goods a household, over time",
    "wealth_sd": "goods, across households, averaged over time", "wealth_gini": "0 to 1, averaged over time",
    "law_bad": "[intercept, slope] of log K' = intercept + slope log K in the first aggregate state", "law_good": "the "
    "same in the last",
    "seconds": "elapsed, of all sessions of the run",
}  # fmt: skip
