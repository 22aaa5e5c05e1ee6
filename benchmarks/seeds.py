"""The configurations that ship, with several seeds each: how often certified, how many effective draws, how long.

Run by ``make seeds``, or ``python -m benchmarks.seeds --config configs/us_hank.toml --seeds 5``. The first seed is the
configuration's own, the others follow it. Every run is whole, in a folder of its own; what is finished is left alone,
and what was stopped goes on. Writes ``seeds_runs.csv`` (one line a run), ``seeds.csv`` (one line a configuration) and
``seeds.md``.

Runs with different seeds are independent computations of the same posterior. How far they are from each other is told
as the largest difference of a parameter's mean from the mean over seeds, in standard errors that the effective draws
say it should have; of many figures that are right the largest is some 3.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.pages import write_made
from estimhank import load
from estimhank.analysis.facts import ModeFacts, PosteriorFacts
from estimhank.cli import run_command
from estimhank.run.config import load_config
from estimhank.run.results import Run
from estimhank.sampling.diagnostics import ess
from estimhank.support.errors import EstimhankError
from estimhank.support.files import make_folder, write_text
from estimhank.support.runtime import configure

Array = NDArray[np.float64]

#: All that ship but the economy of ``estimhank global``, which ``make global-validation`` solves with several seeds.
CONFIGS = (
    "configs/us_hank.toml",
    "configs/us_hank_household.toml",
    "configs/us_hank_hours.toml",
    "configs/us_two_asset.toml",
)


@dataclasses.dataclass(frozen=True)
class SeededRun:
    """What one run found; ``means``, ``sds``, ``effective`` of the parameters, shape (d,)."""

    configuration: str
    seed: int
    names: tuple[str, ...]
    means: Array
    sds: Array
    effective: Array
    row: dict[str, Any]


def summarise(configuration: str, seed: int, run: Run) -> SeededRun:
    """Read a finished run."""
    names = run.posterior.names
    draws = np.stack([np.asarray(run.draws["posterior"][name]) for name in names], axis=-1)
    mode, exact = run.manifest.facts(ModeFacts), run.manifest.facts(PosteriorFacts)
    assert mode is not None and exact is not None  # the run is finished
    row = {
        "configuration": configuration, "seed": seed, "converged": exact.converged,
        "certified": bool(run.certificate["passed"]), "s_e": float(run.certificate["s_e"]), "r_hat": exact.r_hat,
        "effective": min(exact.ess_bulk, exact.ess_tail), "seconds": run.manifest.wall_seconds,
        "evaluations": sum(sum(counts.values()) for counts in run.manifest.evaluations.values()),
        "mode": mode.log_density, "agreeing": mode.agreeing, "starts": mode.starts, "error": "",
    }  # fmt: skip
    flat = draws.reshape(-1, draws.shape[-1])
    return SeededRun(configuration, seed, names, flat.mean(0), flat.std(0, ddof=1), ess(draws), row)


def spread(runs: Sequence[SeededRun]) -> tuple[float, str]:
    """Largest distance of a mean from that over seeds, in its standard errors, and whose it is; nan for one run."""
    if len(runs) < 2:
        return float("nan"), ""
    means = np.stack([r.means for r in runs])
    variances = np.stack([r.sds**2 / r.effective for r in runs])
    n = len(runs)
    # of x_i less the mean of all: (1 - 2/n) Var x_i + sum_j Var x_j / n^2
    of_difference = variances * (1 - 2 / n) + variances.sum(0) / n**2
    z = np.abs(means - means.mean(0)) / np.sqrt(of_difference)
    where = np.unravel_index(int(z.argmax()), z.shape)
    return float(z[where]), runs[0].names[int(where[1])]


def compare(configuration: str, rows: Sequence[dict[str, Any]], runs: Sequence[SeededRun]) -> dict[str, Any]:
    """One line of the table; ``runs`` are those of ``rows`` that ended, and differences are of those that converged."""
    ended = [row for row in rows if not row["error"]]
    converged = [r for r in runs if r.row["converged"]]
    largest, name = spread(converged)

    def middle(key: str) -> float:
        return float(np.median([row[key] for row in ended])) if ended else float("nan")

    return {
        "configuration": configuration, "seeds": len(rows), "ended": len(ended), "converged": len(converged),
        "certified": sum(row["certified"] for row in ended),
        "fewest_effective": min((row["effective"] for row in ended), default=float("nan")),
        "largest_r_hat": max((row["r_hat"] for row in ended), default=float("nan")),
        "s_e": middle("s_e"), "evaluations": middle("evaluations"), "seconds": middle("seconds"),
        "modes": len({round(row["mode"], 2) for row in ended}), "largest_z": largest, "of": name,
    }  # fmt: skip


def markdown(table: Sequence[dict[str, Any]]) -> str:
    """The table for a page."""
    lines = [
        "| configuration | certified | converged | fewest effective draws | largest R̂ | error s_e | evaluations "
        "| time | modes | largest difference of a mean, s.e. |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in table:
        n = row["seeds"]
        cells = [
            f"`{row['configuration']}`", f"{row['certified']} of {n}", f"{row['converged']} of {n}",
            f"{row['fewest_effective']:,.0f}", f"{row['largest_r_hat']:.3f}", f"{row['s_e']:.3f}",
            f"{row['evaluations']:,.0f}", f"{row['seconds']:.0f} s", str(row["modes"]),
            f"{row['largest_z']:.1f} (`{row['of']}`)" if row["of"] else "",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _as_csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, max((list(row) for row in rows), key=len))  # a run that ended with an error has fewer
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def estimate(file: str, profile: str, seed: int, folder: Path, quiet: bool) -> tuple[dict[str, Any], SeededRun | None]:
    """Run, go on, or leave alone; what was found, or the sentence of the error that there was."""
    config = load_config(file, profile)
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, seed=seed))
    name = Path(file).stem
    try:
        run_command(config, folder, None, (folder / "manifest.json").is_file(), False, quiet)
        found = summarise(name, seed, load(folder))
    except EstimhankError as error:
        if error.exit_code > 128:
            raise  # interrupted
        return {"configuration": name, "seed": seed, "error": f"{type(error).__name__}: {error}"}, None
    return found.row, found


def main(arguments: Sequence[str] | None = None) -> None:
    """Estimate with every seed, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", nargs="+", default=list(CONFIGS))
    parser.add_argument("--profile", default="default")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=np.inf, help="begin no run later than this")
    parser.add_argument("--out", type=Path, default=Path("results/seeds"))
    parser.add_argument("--quiet", action="store_true")
    options = parser.parse_args(arguments)
    begun = time.perf_counter()
    configure()
    all_rows: dict[str, list[dict[str, Any]]] = {}
    all_runs: dict[str, list[SeededRun]] = {}
    # a seed after the other, so that what is there when it is stopped says something of every configuration
    for k in range(options.seeds):
        for file in options.config:
            name, seed = Path(file).stem, load_config(file, options.profile).run.seed + k
            folder = options.out / "runs" / name / str(seed)
            over = time.perf_counter() - begun > 60 * options.minutes
            if over and not (folder / "report.html").is_file():
                continue
            row, run = estimate(file, options.profile, seed, folder, options.quiet)
            all_rows.setdefault(name, []).append(row)
            all_runs.setdefault(name, []).extend([run] if run else [])
            print(f"{name}, seed {seed}: " + (row["error"] or f"{row['seconds']:.0f} s"), flush=True)
    if not all_rows:
        raise EstimhankError("no run was begun: give more --minutes")
    table = [compare(name, rows, all_runs[name]) for name, rows in all_rows.items()]
    make_folder(options.out)
    write_text(options.out / "seeds_runs.csv", _as_csv([row for rows in all_rows.values() for row in rows]))
    write_text(options.out / "seeds.csv", _as_csv(table))
    write_text(options.out / "seeds.md", markdown(table))
    write_made(options.out, "seeds", time.perf_counter() - begun)
    print(f"see {options.out / 'seeds.csv'}")


if __name__ == "__main__":
    try:
        main()
    except EstimhankError as error:
        raise SystemExit(f"seeds: {error}") from None
