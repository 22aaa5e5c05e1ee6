"""Emulated households: how far a log likelihood errs by the number of points, rank and degree, and what it costs.

``python -m benchmarks.emulator --results results/us_hank_household``. A design around the mode of a finished run is
solved once; emulators are fitted to its first points, and compared with exact evaluations at exact posterior draws of
the run. One more is trained around the draws. Processor time of an exact and an emulated household, and of a value and
a whole gradient, is measured in turn at the same draws.

Writes ``emulator.csv`` and ``emulator.md``, tables of it.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from estimhank.analysis.emulator_check import check_emulator
from estimhank.analysis.inference_data import read_inference_data
from estimhank.emulator.emulator import HouseholdEmulator
from estimhank.emulator.examples import names_of
from estimhank.emulator.fitting import EmulatorFit
from estimhank.mode.mode_result import read_mode
from estimhank.posterior.posterior import Posterior
from estimhank.run.config import restore_config
from estimhank.run.emulation import inside_of, make_design, normal_draws, solve_design, train_emulator
from estimhank.run.manifest import read_manifest
from estimhank.support.files import make_folder, write_text

Array = NDArray[np.float64]
Row = dict[str, Any]

POINTS, RANKS = (50, 100, 200, 400, 800), (10, 20, 30)
_TIMED = 25  # draws at which processor time is measured
_MOVED = 1e-4  # relative step between them and the next of their kind, so that nothing is served from what is kept


def with_rank(emulator: HouseholdEmulator, rank: int) -> HouseholdEmulator:
    """The same with the first directions of the cores alone."""
    kept = [*range(rank), *range(emulator.rank, emulator.coefficients.shape[1])]
    return replace(emulator, coefficients=emulator.coefficients[:, kept], basis=emulator.basis[:rank])


def measure(exact: Posterior, fit: EmulatorFit, what: str, draws: Array, truth: Array) -> Row:
    """Errors of one emulator at draws."""
    emulator = fit.emulator
    emulated = exact.emulated(emulator)
    values = np.array([emulated.log_density(theta) for theta in draws])
    found = check_emulator(truth, values, inside_of(emulator, exact.names, draws))
    difference = (truth - values)[np.isfinite(truth) & np.isfinite(values)]
    robust = 1.4826 * float(np.median(np.abs(difference - np.median(difference))))
    return {
        "trained around": what,
        "points": fit.points,
        "used": fit.used,
        "degree": emulator.degree,
        "rank": emulator.rank,
        "Jacobians": fit.error,
        "s.d.": found.sd,
        "robust": robust,
        "largest": found.largest,
        "Pareto k": found.pareto_k,
        "inside": found.inside,
        "certified": "yes" if found.passed else "no",
    }


def in_turn(draws: Array, calls: dict[str, Callable[[Array], Any]]) -> dict[str, float]:
    """Median processor time of calls at draws, in milliseconds, each draw by all calls before the next."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for theta in draws:
        for number, (name, call) in enumerate(calls.items()):
            start = time.process_time()
            jax.block_until_ready(call(theta * (1 + _MOVED * number)))
            seconds[name].append(time.process_time() - start)
    return {name: 1e3 * float(np.median(spent[2:])) for name, spent in seconds.items()}


def costs(exact: Posterior, emulated: Posterior, draws: Array, gradients: bool) -> list[Row]:
    """Exact and emulated times, and their ratio."""
    kinds: dict[str, Callable[[Posterior], Callable[[Array], Any]]] = {
        "steady state and Jacobians": lambda p: lambda theta: p.solver.steady.at(p.solver.setting.mapping(theta)),
        "value": lambda p: lambda theta: p.evaluate(theta).log_likelihood,
    }
    if gradients:
        kinds["value and whole gradient"] = lambda p: lambda theta: p.evaluate(theta, True).gradient
    rows = []
    for name, kind in kinds.items():
        found = in_turn(draws, {"exact": kind(exact), "emulated": kind(emulated)})
        rows.append({"": name, **found, "ratio": found["exact"] / found["emulated"]})
    return rows


def table(rows: list[Row]) -> str:
    """Rows as a table in Markdown."""
    shown = [[f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows]
    lines = [list(rows[0]), ["---:"] * len(rows[0]), *shown]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="folder of a run with household parameters")
    parser.add_argument("--draws", type=int, default=300, help="exact posterior draws that emulators are tried at")
    parser.add_argument("--points", type=int, nargs="*", default=list(POINTS))
    parser.add_argument("--no-gradients", action="store_true", help="do not time gradients, which take long to compile")
    parser.add_argument("--out", type=Path, default=Path("results/emulator"))
    options = parser.parse_args()
    manifest = read_manifest(options.results)
    if manifest is None:
        parser.error(f"{options.results} holds no run")
    exact = Posterior.from_config(restore_config(manifest.configuration, manifest.config_file, manifest.profile))
    tree, mode = read_inference_data(options.results / "posterior.nc"), read_mode(options.results / "mode.json")
    every = np.stack([tree["posterior"].dataset[name].to_numpy().ravel() for name in exact.names], axis=1)
    every = np.unique(every, axis=0)
    draws = every[np.random.default_rng(0).permutation(len(every))[: options.draws]]
    truth = np.array([exact.log_density(theta) for theta in draws])

    around = normal_draws(exact, mode.center_x, mode.covariance_x, 0)
    solved = solve_design(exact, make_design(exact, around, max(options.points), 0))
    names = names_of(exact.solver.steady)
    rows = []
    for points in sorted(options.points):
        fit = solved.first(points).fit(names)
        rows.append(measure(exact, fit, "the mode", draws, truth))
        print(table(rows[-1:]), flush=True)
    for rank in RANKS:
        rows.append(measure(exact, replace(fit, emulator=with_rank(fit.emulator, rank)), "the mode", draws, truth))
    refined = train_emulator(exact, every[:: max(len(every) // 2000, 1)], sorted(options.points)[-2], 0)
    rows.append(measure(exact, refined, "draws", draws, truth))
    spent = costs(exact, exact.emulated(fit.emulator), draws[:_TIMED], not options.no_gradients)

    folder = make_folder(options.out)
    with (folder / "emulator.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    page = f"{table(rows)}\nProcessor time in milliseconds, median of {_TIMED - 2} draws, in turn:\n\n{table(spent)}"
    write_text(folder / "emulator.md", page)
    print(page)


if __name__ == "__main__":
    main()
