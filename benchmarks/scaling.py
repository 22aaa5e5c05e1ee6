"""What evaluating at scale costs and gains: overhead, parallel efficiency, large clusters, algorithms, a large store.

``python -m benchmarks.scaling [PART ...]``, on a quiet machine. The parts:

* ``overhead``: time of a batch on one worker beyond that of its evaluations, taken apart into dispatch and
  serialisation on the one hand and the store on the other; and parallel efficiency, one worker against several, beside
  that of as many processes which evaluate on their own and share nothing but the machine: its ceiling.
* ``model``: efficiency at 64 and 1,024 workers from what ``overhead`` measured: the master's serial seconds a point and
  a batch, and the wait at the end of a round for the slowest of the points in it.
* ``algorithms``: effective draws per evaluation and per second of every algorithm on the default posterior, and of
  multi-proposal at several N, with the logarithmic law (Pozza and Zanella 2024) fitted to them.
* ``store``: ten million evaluations of a synthetic density written, then read in a process of its own whose memory is
  watched.

Each writes ``scaling_PART.csv`` (``algorithms`` a figure too), and all ``scaling.json``; ``make record``
puts the tables into ``docs/cluster.md`` and ``docs/samplers.md``.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import csv
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from joblib import cpu_count
from numpy.typing import NDArray

from benchmarks.pages import write_made
from estimhank.evaluation.engine import Engine
from estimhank.evaluation.evaluations import EvaluationBatch, empty_gradient
from estimhank.evaluation.recorder import Recorder
from estimhank.evaluation.store import EvaluationStore, read_evaluations
from estimhank.mode.mode_result import read_mode
from estimhank.mode.search import find_mode
from estimhank.posterior.posterior import Posterior
from estimhank.sampling.algorithms import ALGORITHMS
from estimhank.sampling.diagnostics import ess
from estimhank.sampling.multi_proposal import MultiProposalConfig, MultiProposalResult
from estimhank.sampling.proposals import Center

Array = NDArray[np.float64]
Row = dict[str, Any]

PARTS = ("overhead", "model", "algorithms", "store")
WORKERS = (1, 2, 16, 64, 256, 1024)


def default_center(posterior: Posterior, scratch: Path, mode: Path) -> Center:
    """Mode and covariance of the default run, searched for again where there is no such file."""
    if mode.exists():
        found = read_mode(mode)
    else:
        path = scratch / "mode.bin"
        with EvaluationStore.open(path, posterior.names, posterior.fingerprint) as store, Engine(posterior) as engine:
            found = find_mode(Recorder(engine, store), posterior)
    return Center(found.center_x, found.covariance_x)


def draws_around(posterior: Posterior, center: Center, n: int, seed: int) -> Array:
    """Points like those of a sampling stage, natural units, shape (n, d)."""
    noise = np.random.default_rng(seed).standard_normal((n, len(center.x)))
    return posterior.transform.to_natural(center.x + noise @ np.linalg.cholesky(center.covariance).T)


def measure_overhead(posterior: Posterior, center: Center, scratch: Path, batches: int, points: int) -> list[Row]:
    """One row for one worker and one for all cores: medians over batches."""
    rows: list[Row] = []
    for workers in dict.fromkeys((1, max(2, cpu_count()))):
        path = scratch / f"overhead{workers}.bin"
        wall, inside, stored = [], [], []
        with (
            Engine(posterior, "loky", workers) as engine,
            EvaluationStore.open(path, posterior.names, posterior.fingerprint) as store,
        ):
            for k in range(batches + 4):
                thetas = draws_around(posterior, center, points, k)
                begin = time.perf_counter()
                batch = engine.evaluate(thetas)
                middle = time.perf_counter()
                store.append("validate", k, batch)
                end = time.perf_counter()
                if k >= 4:  # the first batches compile
                    wall.append(middle - begin)
                    inside.append(float(batch.seconds.sum()))
                    stored.append(end - middle)
        each = float(np.median(np.array(inside) / points))
        dispatch = float(np.median(np.array(wall) * workers - np.array(inside)) / points)
        kept = float(np.median(stored) / points)
        rows.append(
            {
                "workers": workers, "points": points, "evaluation_ms": 1e3 * each, "dispatch_ms": 1e3 * dispatch,
                "store_ms": 1e3 * kept, "overhead_share": (dispatch + kept) / each,
                "points_per_second": points / float(np.median(np.array(wall) + np.array(stored))),
            }
        )  # fmt: skip
    apart = {row["workers"]: measure_apart(row["workers"], batches * points // row["workers"]) for row in rows}
    for row in rows:
        row["efficiency"] = row["points_per_second"] / rows[0]["points_per_second"] / row["workers"]
        row["ceiling"] = apart[row["workers"]] / apart[rows[0]["workers"]] / row["workers"]
    return rows


def measure_apart(processes: int, each: int) -> float:
    """Evaluations a second of processes that know nothing of each other, together."""
    command = [sys.executable, "-m", "benchmarks.scaling", "--apart", str(each)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen([*command, "--seed", str(k)], **pipes) for k in range(processes)]  # type: ignore[call-overload]
    for one in running:
        one.stdout.readline()  # it has compiled
    for one in running:
        one.stdin.write("go\n")
        one.stdin.flush()
    seconds = [float(one.stdout.readline()) for one in running]
    for one in running:
        one.communicate()
    return sum(each / taken for taken in seconds)


def evaluate_apart(mode: Path, n: int, seed: int) -> None:
    """One of these processes: ready, wait for a line, evaluate, say how long it took."""
    posterior = Posterior.from_config("configs/us_hank.toml")
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        center = default_center(posterior, Path(name), mode)
    engine = Engine(posterior, "serial")
    engine.evaluate(draws_around(posterior, center, 8, 1000 + seed))
    thetas = draws_around(posterior, center, n, 2000 + seed)
    print("ready", flush=True)
    sys.stdin.readline()
    begin = time.perf_counter()
    engine.evaluate(thetas)
    print(time.perf_counter() - begin, flush=True)


def measure_barrier(posterior: Posterior, center: Center, n: int) -> Array:
    """Seconds of single evaluations in this process, shape (n,), for the wait at the end of a round."""
    engine = Engine(posterior, "serial")
    engine.evaluate(draws_around(posterior, center, 2, 99))
    return np.asarray(engine.evaluate(draws_around(posterior, center, n, 98)).seconds, float)


def measure_serial_seconds(
    posterior: Posterior, center: Center, scratch: Path, batch: int = 4096
) -> tuple[float, float]:
    """Seconds that the master alone spends: a point (packing and storing it) and a batch (store, flush)."""
    thetas = draws_around(posterior, center, batch, 97)
    filled = np.zeros(batch)
    made = EvaluationBatch(
        thetas, filled, filled, filled.astype(np.uint8), filled.astype(np.float32), empty_gradient(*thetas.shape)
    )
    times = {}
    with EvaluationStore.open(scratch / "serial.bin", posterior.names, posterior.fingerprint) as store:
        for size, stage in ((1, "validate"), (batch, "exact")):
            begin = time.perf_counter()
            for k in range(20):
                store.append(stage, k, made.select(slice(size)))
            store.flush()
            times[size] = (time.perf_counter() - begin) / 20
    a_point = max((times[batch] - times[1]) / (batch - 1), 0.0)
    return a_point, times[1]


def model_scaling(
    seconds: Array, dispatch_point: float, serial_point: float, serial_batch: float, per_worker: int, seed: int = 1
) -> list[Row]:
    """Efficiency by number of workers.

    A round has ``per_worker`` points for every worker. It takes the slowest worker's sum of evaluation times (drawn
    from those measured), plus dispatch that workers share, plus what the master does for every point of the round and
    once a round.
    """
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for workers in WORKERS:
        shares = rng.choice(seconds, (200, workers, per_worker)).sum(axis=2)
        useful, slowest = float(shares.mean()), float(shares.max(axis=1).mean())
        serial = serial_batch + serial_point * workers * per_worker
        total = slowest + dispatch_point * per_worker + serial
        rows.append(
            {
                "workers": workers, "points_per_worker": per_worker, "useful_ms": 1e3 * useful,
                "barrier_ms": 1e3 * (slowest - useful), "dispatch_ms": 1e3 * dispatch_point * per_worker,
                "serial_ms": 1e3 * serial, "efficiency": useful / total,
                "points_per_second": workers * per_worker / total,
            }
        )  # fmt: skip
    return rows


def measure_algorithms(posterior: Posterior, center: Center, scratch: Path, budget: int, workers: int) -> list[Row]:
    """Effective draws per evaluation and second: multi-proposal at several N, one draw an iteration, then the others.

    Every algorithm gets about ``budget`` evaluations; effective draws are the mean over parameters of those of the
    mean, which for multi-proposal is also given Rao-Blackwellised. The network has no part in it.
    """

    def several(iterations: int, warmup: int, proposals: int) -> MultiProposalConfig:
        return MultiProposalConfig(iterations=iterations, warmup=warmup, proposals=proposals, draws=1, chains=4)

    cases: list[tuple[str, MultiProposalConfig]] = []
    for n in (1, 4, 16, 64, 256):
        iterations = max(budget // (4 * n), 60)  # the proposals adapt in a quarter of them
        cases.append(("multi_proposal", several(iterations, iterations // 4, n)))
    steps = max(budget // 64, 24)
    cases += [(name, several(steps, steps // 4, 16)) for name in ("random_walk", "dime", "smc")]
    steps = max(budget // 40, 48)
    cases.append(("nuts", several(steps, max(steps // 4, 20), 1)))
    rows: list[Row] = []
    with Engine(posterior, "loky", workers) as engine:
        for _ in range(3):  # workers compile, with and without gradients
            engine.evaluate(draws_around(posterior, center, 8 * workers, 0))
            engine.evaluate(draws_around(posterior, center, 8 * workers, 0), gradient=True)
        for number, (name, sizes) in enumerate(cases):
            path = scratch / f"algorithm{number}.bin"
            with EvaluationStore.open(path, posterior.names, posterior.fingerprint) as store:
                begin = time.perf_counter()
                draws = ALGORITHMS[name](Recorder(engine, store), posterior, center, sizes, 11, None)
                seconds, used = time.perf_counter() - begin, len(store)
                better = rao_blackwell_draws(draws, store, sizes) if isinstance(draws, MultiProposalResult) else ""
            kept = draws.x.shape[0] * draws.x.shape[1]
            effective = float(np.mean(ess(draws.theta, "mean")))
            rows.append(
                {
                    "algorithm": name, "proposals": sizes.proposals if name == "multi_proposal" else "",
                    "chains": draws.x.shape[0], "iterations": sizes.iterations, "evaluations": used,
                    "seconds": seconds, "kept_draws": kept, "effective_draws": effective,
                    "rao_blackwell_draws": better,
                    "effective_per_iteration": effective / draws.x.shape[1] / sizes.chains,
                    "effective_per_evaluation": effective / used, "effective_per_second": effective / seconds,
                }
            )  # fmt: skip
            print(f"{name} {rows[-1]['proposals']}: {effective:.0f} effective draws of {used} evaluations", flush=True)
    return rows


def rao_blackwell_draws(draws: MultiProposalResult, store: EvaluationStore, sizes: MultiProposalConfig) -> float:
    """Independent draws whose mean is as precise as the Rao-Blackwell mean; one draw an iteration is assumed."""
    chains, kept, d = draws.theta.shape
    means = np.empty((chains, kept - 1, d))
    for k in range(1, kept):
        batch = store.batch("sample", sizes.warmup + k + 1)
        assert batch is not None  # every iteration is a batch
        proposals = batch.theta.reshape(chains, sizes.proposals, d)
        points = np.concatenate([draws.theta[:, k - 1 : k], proposals], axis=1)
        means[:, k - 1] = np.einsum("cj,cjd->cd", draws.weights[:, k], points)
    flat = means.reshape(-1, d)
    variance = flat.var(axis=0) / ess(means, "mean")
    return float(np.mean(draws.theta.reshape(-1, d).var(axis=0) / variance))


def draw_gain(rows: list[Row], path: Path) -> dict[str, float]:
    """Figure of effective draws per iteration against N, with a + b log N fitted; returns a and b."""
    several = [row for row in rows if row["algorithm"] == "multi_proposal"]
    n = np.array([row["proposals"] for row in several], float)
    gain = np.array([row["effective_per_iteration"] for row in several])
    slope, intercept = np.polyfit(np.log(n), gain, 1)
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
    grid = np.geomspace(1, 256, 50)
    axes[0].plot(n, gain, "o", color="#0072B2")
    axes[0].plot(grid, intercept + slope * np.log(grid), color="#999999", label=f"{intercept:.3f} + {slope:.3f} log N")
    axes[0].set(xscale="log", xlabel="proposals N", ylabel="effective draws an iteration")
    axes[0].legend(frameon=False)
    axes[1].plot(n, [row["effective_per_evaluation"] for row in several], "o-", color="#D55E00")
    axes[1].set(xscale="log", yscale="log", xlabel="proposals N", ylabel="effective draws an evaluation")
    for axis in axes:
        axis.set_xticks(n, [f"{value:.0f}" for value in n])
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return {"intercept": float(intercept), "slope_per_log_n": float(slope)}


def measure_store(scratch: Path, evaluations: int, batch: int = 10_000, dimension: int = 11) -> list[Row]:
    """Write evaluations of a synthetic density, and read them all in a fresh process."""
    path, rng = scratch / "large.bin", np.random.default_rng(0)
    names = tuple(f"p{i}" for i in range(dimension))
    begin = time.perf_counter()
    with EvaluationStore.open(path, names, {"model": "synthetic"}) as store:
        for k in range(math.ceil(evaluations / batch)):
            n = min(batch, evaluations - k * batch)
            theta = rng.standard_normal((n, dimension))
            reason = (rng.random(n) < 0.1).astype(np.uint8)
            value = np.where(reason == 0, -0.5 * (theta**2).sum(axis=1), -np.inf)
            seconds = np.full(n, 0.006, np.float32)
            gradient = empty_gradient(n, dimension)
            store.append("sample", k, EvaluationBatch(theta, value, np.zeros(n), reason, seconds, gradient))
    written = time.perf_counter() - begin
    command = [sys.executable, "-m", "benchmarks.scaling", "--read", str(path)]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    size = path.stat().st_size
    path.unlink()
    return [{"evaluations": evaluations, "file_gib": size / 2**30, "write_seconds": written, **told}]


def read_and_tell(path: Path) -> None:
    """Read a store; print seconds and the peak of memory of this process."""
    begin = time.perf_counter()
    stored = read_evaluations(path)
    seconds = time.perf_counter() - begin
    mean = float(stored.theta.mean())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"read": len(stored), "read_seconds": seconds, "peak_gib": peak / 2**30, "mean": mean}))


def write_rows(rows: list[Row], path: Path) -> None:
    """A CSV file."""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Measure the parts asked for, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all, if none is named")
    parser.add_argument("--out", type=Path, default=Path("results/bench"))
    parser.add_argument("--mode", type=Path, default=Path("results/us_hank/mode.json"))
    parser.add_argument("--batches", type=int, default=30)
    parser.add_argument("--points", type=int, default=256, help="of a batch of the overhead part")
    parser.add_argument("--per-worker", type=int, default=4, help="points a worker and round of the model")
    parser.add_argument("--budget", type=int, default=40_000, help="evaluations of an algorithm")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--evaluations", type=int, default=10_000_000, help="of the store part")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--apart", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.apart:
        evaluate_apart(options.mode, options.apart, options.seed)
        return
    if options.read:
        read_and_tell(options.read)
        return
    parts = options.parts or list(PARTS)
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        parser.error(f"unknown part {unknown[0]!r}; there are {', '.join(PARTS)}")
    begun = time.perf_counter()
    options.out.mkdir(parents=True, exist_ok=True)
    summary_file = options.out / "scaling.json"
    summary: dict[str, Any] = json.loads(summary_file.read_text()) if summary_file.exists() else {}
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        scratch = Path(name)
        posterior = Posterior.from_config("configs/us_hank.toml")
        center = default_center(posterior, scratch, options.mode) if parts != ["store"] else None
        tables: dict[str, list[Row]] = {}
        if center is not None and {"overhead", "model"} & set(parts):
            tables["overhead"] = measure_overhead(posterior, center, scratch, options.batches, options.points)
            if "model" in parts:
                a_point, a_batch = measure_serial_seconds(posterior, center, scratch)
                seconds = measure_barrier(posterior, center, 200)
                shared = max(tables["overhead"][0]["dispatch_ms"], 0.0) / 1e3
                tables["model"] = model_scaling(seconds, shared, a_point, a_batch, options.per_worker)
        if center is not None and "algorithms" in parts:
            tables["algorithms"] = measure_algorithms(posterior, center, scratch, options.budget, options.workers)
            summary["gain"] = draw_gain(tables["algorithms"], options.out / "scaling_algorithms.png")
        if "store" in parts:
            tables["store"] = measure_store(scratch, options.evaluations)
    for part, rows in tables.items():
        write_rows(rows, options.out / f"scaling_{part}.csv")
        for row in rows:
            print(part, {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in row.items()})
    summary |= tables | {"command": f"python -m benchmarks.scaling {' '.join(sys.argv[1:])}".strip()}
    summary_file.write_text(json.dumps(summary, indent=2) + "\n")
    write_made(options.out, "scaling", time.perf_counter() - begun)


if __name__ == "__main__":
    main()
