"""How the surrogate should be trained: settings compared on the evaluations of a finished run.

    python -m benchmarks.surrogate_training results/us_hank

reads the run's evaluation store. Networks learn from the evaluations of mode search, sampling and surrogate
rounds; the test points are those of the exact stage and of the certificate, none of which was ever trained on, down to
the depth that one posterior draw in a thousand falls under: almost all of them are draws of the posterior. For each
setting it prints s_e (the standard deviation of the error of the log density), a robust version from the median
absolute deviation, the largest errors, Pareto k of the importance weights, and processor seconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from estimhank.posterior import Posterior
from estimhank.sampling.mode_result import read_mode
from estimhank.sampling.store import FILE_NAME, read_evaluations
from estimhank.surrogate.config import PAPER_SURROGATE, SurrogateConfig
from estimhank.surrogate.fitting import Whitening, fit_surrogate
from estimhank.surrogate.pareto import pareto_k
from estimhank.surrogate.points import Points, points_from, typical_depth

BASE = SurrogateConfig()

#: Name, changes to the default settings, and which points: all, those before the rounds, or some of all.
VARIANTS: tuple[tuple[str, dict[str, object], str], ...] = (
    ("default", {}, "all"),
    ("default, another seed", {}, "all"),
    ("one network", {"ensemble": 1}, "all"),
    ("three networks", {"ensemble": 3}, "all"),
    ("values only", {"gradient_weight": 0.0}, "all"),
    ("gradient weight 0.3", {"gradient_weight": 0.3}, "all"),
    ("gradient weight 3", {"gradient_weight": 3.0}, "all"),
    ("gradient weight 100", {"gradient_weight": 100.0}, "all"),
    ("half the epochs", {"epochs": BASE.epochs // 2}, "all"),
    ("twice the epochs", {"epochs": 2 * BASE.epochs}, "all"),
    ("batches of 50", {"batch_size": 50}, "all"),
    ("batches of 200", {"batch_size": 200}, "all"),
    ("rate 2e-3", {"learning_rate": 2e-3}, "all"),
    ("rate 1e-2", {"learning_rate": 1e-2}, "all"),
    ("decay 1e-3", {"weight_decay": 1e-3}, "all"),
    ("decay 0.1", {"weight_decay": 0.1}, "all"),
    ("celu", {"activation": "celu"}, "all"),
    ("tanh", {"activation": "tanh"}, "all"),
    ("gelu", {"activation": "gelu"}, "all"),
    ("3 x 64", {"hidden": (64, 64, 64)}, "all"),
    ("3 x 192", {"hidden": (192, 192, 192)}, "all"),
    ("2 x 128", {"hidden": (128, 128)}, "all"),
    ("all points alike", {"depth_weight": 0.0}, "all"),
    ("depth weight 1", {"depth_weight": 1.0}, "all"),
    ("depth weight 4", {"depth_weight": 4.0}, "all"),
    ("half of the points", {}, "half"),
    ("candidates only", {}, "sample"),
    ("as many points of all", {}, "as many"),
    ("slides' network, values of candidates", dict(PAPER_SURROGATE), "sample"),
)


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


def compare(folder: Path, only: str, seed: int) -> Iterator[str]:
    """One line for each setting."""
    posterior = Posterior.from_config(Path(__file__).parents[1] / "configs" / "us_hank.toml")
    points, mode = load_points(folder, posterior), read_mode(folder / "mode.json")
    test = points["test"]
    whitening = Whitening.from_moments(test.x.mean(axis=0), np.cov(test.x.T))
    yield f"{len(test)} test points, {len(points['all'])} training points, {mode.evaluations} by the mode search"
    yield f"{'':38}{'points':>7}{'s_e':>8}{'robust':>8}{'1 in 100':>9}{'largest':>9}{'k':>6}{'cpu s':>7}"
    for name, changes, design in VARIANTS:
        if only not in name:
            continue
        config = replace(BASE, **changes)  # type: ignore[arg-type]
        begin = time.process_time()
        surrogate, _ = fit_surrogate(
            points[design], whitening, posterior, config, config.epochs, seed + ("another" in name) * 1000
        )
        seconds = time.process_time() - begin
        error = surrogate.log_density(test.x) - test.log_density
        error -= np.median(error)
        size = np.sort(np.abs(error))
        robust, large = 1.4826 * float(np.median(size)), float(size[int(0.99 * len(size))])
        yield (
            f"{name:38}{len(points[design]):7d}{error.std():8.4f}{robust:8.4f}{large:9.3f}{size[-1]:9.3f}"
            f"{pareto_k(-error):6.2f}{seconds:7.1f}"
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="results folder with its evaluation store")
    parser.add_argument("--only", default="", help="settings whose name contains this")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for line in compare(arguments.folder, arguments.only, arguments.seed):
        print(line, flush=True)


if __name__ == "__main__":
    main()
