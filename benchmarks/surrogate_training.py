"""How the surrogate should be trained: settings compared on the evaluations of a finished run.

    python -m benchmarks.surrogate_training results/us_hank

reads the run's evaluation store. Networks learn from the evaluations of mode search, sampling and surrogate
rounds; the test points are those of the exact stage and of the certificate, none of which was ever trained on, down to
the depth that one posterior draw in a thousand falls under: almost all of them are draws of the posterior. For each
setting it gives s_e (the standard deviation of the error of the log density), a robust version from the median
absolute deviation, the largest errors, Pareto k of the importance weights, and processor seconds.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.pages import markdown_table, write_made
from estimhank.evaluation.store import FILE_NAME, read_evaluations
from estimhank.posterior.posterior import Posterior
from estimhank.support.files import make_folder, write_text
from estimhank.surrogate.fitting import Fitter, Whitening
from estimhank.surrogate.pareto import pareto_k
from estimhank.surrogate.points import Points, points_from, typical_depth
from estimhank.surrogate.stage_config import PAPER_SURROGATE, SurrogateConfig

BASE = SurrogateConfig()

#: Name, changes to the default settings, and which points: all, those before the rounds, or some of all.
VARIANTS: tuple[tuple[str, dict[str, object], str], ...] = (
    ("default", {}, "all"),
    ("default, another seed", {}, "all"),
    ("one network", {"ensemble": 1}, "all"),
    ("three networks", {"ensemble": 3}, "all"),
    ("values only", {"gradient_weight": 0.0}, "all"),
    ("gradient weight 3", {"gradient_weight": 3.0}, "all"),
    ("gradient weight 30", {"gradient_weight": 30.0}, "all"),
    ("gradient weight 300", {"gradient_weight": 300.0}, "all"),
    ("half the epochs", {"epochs": BASE.epochs // 2}, "all"),
    ("twice the epochs", {"epochs": 2 * BASE.epochs}, "all"),
    ("batches of 200", {"batch_size": 200}, "all"),
    ("rate 1e-2", {"learning_rate": 1e-2}, "all"),
    ("decay 0.1", {"weight_decay": 0.1}, "all"),
    ("celu", {"activation": "celu"}, "all"),
    ("tanh", {"activation": "tanh"}, "all"),
    ("3 x 64", {"hidden": (64, 64, 64)}, "all"),
    ("all points alike", {"depth_weight": 0.0}, "all"),
    ("half of the points", {}, "half"),
    ("candidates only", {}, "sample"),
    ("as many points of all", {}, "as many"),
    ("slides' network, values of candidates", dict(PAPER_SURROGATE), "sample"),
)

HEADINGS = {
    "setting": "", "points": "points", "s_e": "s_e", "robust": "robust", "one_in_100": "1 in 100", "largest": "largest",
    "pareto_k": "Pareto k", "cpu_seconds": "cpu s",
}  # fmt: skip


def load_points(folder: Path, posterior: Posterior) -> dict[str, Points]:
    """Training points by design, and test points with a density."""
    evaluations = read_evaluations(folder / FILE_NAME)
    transform = posterior.transform
    mode, sample = (points_from(evaluations.of_stages(stage), transform) for stage in ("mode", "sample"))
    rounds = points_from(evaluations.of_stages("surrogate"), transform)
    used = mode.extend(sample).extend(rounds)
    rng = np.random.default_rng(1)
    test = points_from(evaluations.of_stages("certificate", "exact"), transform)
    near = test.log_density > test.log_density.max() - typical_depth(test.x.shape[1])
    order = rng.permutation(len(used))
    candidates = mode.extend(sample)
    return {
        "all": used,
        "half": used.select(np.sort(order[: len(used) // 2])),
        "sample": candidates,
        "as many": used.select(np.sort(order[: len(candidates)])),
        "test": test.select(near),
    }


def compare(folder: Path, only: str, seed: int) -> Iterator[dict[str, object]]:
    """One row for each setting."""
    posterior = Posterior.from_config(Path(__file__).parents[1] / "configs" / "us_hank.toml")
    points = load_points(folder, posterior)
    test = points["test"]
    whitening = Whitening.from_moments(test.x.mean(axis=0), np.cov(test.x.T))
    print(f"{len(test)} test points, {len(points['all'])} training points")
    for name, changes, design in VARIANTS:
        if only not in name:
            continue
        config = replace(BASE, **changes)  # type: ignore[arg-type]
        begin = time.process_time()
        surrogate, _ = Fitter(posterior, config).fit(
            points[design], whitening, config.epochs, seed + ("another" in name) * 1000
        )
        seconds = time.process_time() - begin
        error = surrogate.log_density(test.x) - test.log_density
        error -= np.median(error)
        size = np.sort(np.abs(error))
        numbers = {
            "s_e": error.std(), "robust": 1.4826 * np.median(size), "one_in_100": size[int(0.99 * len(size))],
            "largest": size[-1], "pareto_k": pareto_k(-error), "cpu_seconds": seconds,
        }  # fmt: skip
        yield {"setting": name, "points": len(points[design])} | {k: f"{float(v):.3g}" for k, v in numbers.items()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="results folder with its evaluation store")
    parser.add_argument("--only", default="", help="settings whose name contains this")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="CSV file that takes the table; a Markdown table goes beside it")
    arguments = parser.parse_args()
    rows, begun = [], time.perf_counter()
    for row in compare(arguments.folder, arguments.only, arguments.seed):
        print(" ".join(f"{key} {value}" for key, value in row.items()), flush=True)
        rows.append(row)
    if arguments.out is not None:
        make_folder(arguments.out.parent)
        with arguments.out.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        write_text(arguments.out.with_suffix(".md"), markdown_table(arguments.out, HEADINGS) + "\n")
        write_made(arguments.out.parent, arguments.out.stem, time.perf_counter() - begun)


if __name__ == "__main__":
    main()
