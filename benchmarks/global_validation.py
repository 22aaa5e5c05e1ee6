"""Global solutions against their bars: variants and seeds of Krusell and Smith's economy, into results/global (``make
global-validation``).

Every variant is a whole run of ``estimhank global`` in a folder of its own, so that a session that was stopped goes on
where it was. The table has one row a run; ``docs/global.md`` shows it.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.pages import write_made
from estimhank.global_solution.settings import GlobalConfig, NetworkConfig
from estimhank.global_solution.solution import FIGURES
from estimhank.run.global_config import load_global_config
from estimhank.run.global_run import solve_global
from estimhank.support.files import make_folder, write_text
from estimhank.support.progress import ProgressDisplay

CONFIG = "configs/krusell_smith_global.toml"
#: What networks see, and the published Bellman error of it.
VARIANTS: dict[str, tuple[NetworkConfig, float]] = {
    "one generalised moment": (NetworkConfig(generalised=1), 0.0153),
    "first moment": (NetworkConfig(first_moment=True, generalised=0), 0.0184),
    "two generalised moments": (NetworkConfig(generalised=2), 0.0152),
}
#: Seeds of each variant; the last is shown once.
SEEDS = {"one generalised moment": 5, "first moment": 5, "two generalised moments": 1}
_COLUMNS = (
    "bellman_error", "bellman_error_of_best", "euler_mean", "euler_max", "den_haan_mean", "den_haan_max",
    "mean_capital", "sd_capital", "wealth_sd", "wealth_sd_spread", "wealth_gini", "seconds", "processor_seconds",
    "passed",
)  # fmt: skip
#: Of the referee, along the same paths.
_OF_REFEREE = ("mean_capital", "sd_capital", "wealth_sd", "wealth_sd_spread", "wealth_gini")


def runs(seeds: int | None) -> list[tuple[str, int]]:
    """Variants and seeds, the first seed of each variant first."""
    wanted = [(name, seed) for name, n in SEEDS.items() for seed in range(1, min(n, seeds or n) + 1)]
    return sorted(wanted, key=lambda item: item[1])


def configuration(base: GlobalConfig, name: str, seed: int) -> GlobalConfig:
    """One run's settings: responses are left out. Every run is held against the referee, which is solved once."""
    accuracy = dataclasses.replace(base.accuracy, responses=False)
    return dataclasses.replace(
        base, networks=VARIANTS[name][0], accuracy=accuracy, run=dataclasses.replace(base.run, seed=seed)
    )


def row(name: str, seed: int, figures: dict[str, Any]) -> dict[str, Any]:
    """One line of the table."""
    found = {"variant": name, "seed": seed, **{key: figures[key] for key in _COLUMNS}}
    referee = figures.get("referee") or {}
    gaps = {
        f"{key}_gap": max(abs(x / y - 1) for x, y in zip(figures["by_path"][key], referee["by_path"][key], strict=True))
        for key in ("mean_capital", "wealth_sd")
        if referee
    }
    return found | {f"referee_{key}": referee.get(key) for key in _OF_REFEREE} | gaps


def _mean(values: pd.Series, form: str) -> str:
    sd = f" ± {values.std():{form}}" if len(values) > 1 else ""
    return f"{values.mean():{form}}{sd}"


def summary(table: pd.DataFrame) -> str:
    """Means and standard deviations over seeds, as a table in Markdown."""
    lines = [
        "| networks see | seeds | Bellman error | published | Euler mean, max | den Haan mean, max, % "
        "| s.d. of wealth, off the referee at most | Gini | mean K | passed |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, group in table.groupby("variant", sort=False):
        cells = (
            str(name), str(len(group)), _mean(group.bellman_error, ".5f"), str(VARIANTS[str(name)][1]),
            f"{_mean(group.euler_mean, '.2f')}, {group.euler_max.max():.2f}",
            f"{_mean(group.den_haan_mean, '.4f')}, {group.den_haan_max.max():.4f}",
            f"{_mean(group.wealth_sd, '.2f')}, {group.wealth_sd_gap.max():.1%}" if "wealth_sd_gap" in group
            else _mean(group.wealth_sd, ".2f"), _mean(group.wealth_gini, ".4f"), _mean(group.mean_capital, ".3f"),
            f"{int(group.passed.sum())} of {len(group)}",
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    of = table.iloc[0]
    if of.get("referee_wealth_sd") is not None:
        cells = (
            "referee", "", "", "", "", "", f"{of.referee_wealth_sd:.2f}", f"{of.referee_wealth_gini:.4f}",
            f"{of.referee_mean_capital:.3f}", "",
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is not there yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/global"))
    parser.add_argument("--seeds", type=int, help="of each variant at most")
    parser.add_argument("--profile", default="default")
    parser.add_argument("--finished", action="store_true", help="the table of what is finished by now; solve nothing")
    given = parser.parse_args(arguments)
    base, path = load_global_config(CONFIG, given.profile)
    out, rows = make_folder(given.out), []
    for name, seed in runs(given.seeds):
        folder = out / f"{name.replace(' ', '_')}_{seed}"
        if given.finished and not (folder / FIGURES).is_file():
            continue
        with ProgressDisplay() as display:
            display.say(f"{name}, seed {seed}")
            settings = configuration(base, name, seed)
            outcome = solve_global(settings, folder, path.parent, True, False, display, display.say)
        rows.append(row(name, seed, outcome.figures))
        table = pd.DataFrame(rows)
        table.to_csv(out / "global_validation.csv", index=False)
        write_text(out / "global_validation.md", summary(table))
        write_made(out, "global_validation", float(table.seconds.sum()))
    print(summary(pd.DataFrame(rows)))
    worst = float(np.max([r["bellman_error"] for r in rows]))
    print(f"largest Bellman error of {len(rows)} runs: {worst:.5f}")


if __name__ == "__main__":
    main()
