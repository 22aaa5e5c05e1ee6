"""Kill a whole run with SIGKILL at random moments of every stage, resume it, and compare with one left alone.

``python -m benchmarks.kills --out results/kills``. A run is killed once in each of its stages, and again in further
runs until there are as many kills as asked for: at a random moment, in the middle of a write to the evaluation store or
to another file, before or after a renaming. Backend and number of workers change at every resumption. Writes
``kills.csv`` (one line a kill) and ``kills.json``; the exit code is 1 if any array of a resumed run differs.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import estimhank
from benchmarks.kill_driver import KINDS
from benchmarks.pages import write_made
from estimhank.evaluation.store import FILE_NAME, read_evaluations
from estimhank.run.stages import PIPELINE
from estimhank.support.files import read_json

STAGES = PIPELINE.names

#: Where a run, resumed or not, may go on.
PLACES = (("serial", 1), ("loky", 1), ("loky", 2))

#: Files that hold times; of ``manifest.json`` what is not a time is compared.
TIMES = ("manifest.json", "report.html", "tables/timing.csv", "tables/timing.tex", FILE_NAME)
_TIMED_KEYS = ("created", "started", "finished", "seconds", "machine", "files", "draws_per_second", "rates", "time")


@dataclass(frozen=True)
class Kill:
    """One kill: where it was meant to be, how, and what was there when it came."""

    run: int
    kill: int
    stage: str
    kind: str
    backend: str
    workers: int
    seconds: float
    evaluations: int
    unfinished_files: int


@dataclass(frozen=True)
class Experiment:
    """A configuration, where to run it, and what a run of it left alone looks like."""

    config: str
    profile: str
    scratch: Path
    seconds: dict[str, float]
    writes: dict[str, dict[str, int]]

    def launch(self, folder: Path, place: tuple[str, int], plan: dict[str, Any]) -> tuple[subprocess.Popen[str], Path]:
        """Begin, or go on with, a run in a process of its own."""
        return launch(self.config, self.profile, folder, place, plan)


def launch(
    config: str, profile: str, folder: Path, place: tuple[str, int], plan: dict[str, Any]
) -> tuple[subprocess.Popen[str], Path]:
    """Begin, or go on with, a run in a process of its own; its plan lies beside the folder."""
    plan_file = folder.with_suffix(".plan")
    plan_file.write_text(json.dumps(plan))
    command = ["-m", "benchmarks.kill_driver", str(plan_file), "estimate", config, "--out", str(folder), "--quiet"]
    command += ["--profile", profile, "--backend", place[0], "--workers", str(place[1])]
    command += ["--resume"] if (folder / "manifest.json").exists() else []
    root = str(Path(estimhank.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root, "MPLBACKEND": "Agg"}
    process = subprocess.Popen(
        [sys.executable, *command], cwd=root, env=environment, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    return process, plan_file


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for a run that is to end well."""
    _, errors = process.communicate()
    if process.returncode not in (0, -signal.SIGKILL, 4):  # 4: too short to converge, as toy sizes may be
        raise SystemExit(f"a resumed run ended with exit code {process.returncode}:\n{errors}")


def leave_alone(config: str, profile: str, scratch: Path) -> Experiment:
    """The run that all others are compared with, and how long its stages take and what they write."""
    process, plan_file = launch(config, profile, scratch / "alone", PLACES[2], {})
    finish(process)
    records = read_json(scratch / "alone" / "manifest.json")["stages"]
    seconds = {name: float(record["seconds"]) for name, record in records.items()}
    return Experiment(config, profile, scratch, seconds, read_json(plan_file)["counts"])


def plan_kill(experiment: Experiment, stage: str, rng: np.random.Generator) -> dict[str, Any]:
    """Choose how to kill a stage: half of the times at a moment, else in one of its writes."""
    counts = {kind: experiment.writes.get(stage, {}).get(kind, 0) for kind in KINDS}
    kinds = [kind for kind, count in counts.items() if count]
    if rng.random() < 0.5 and stage != "data":  # the data stage is over before a signal arrives
        return {"stage": stage, "kind": "moment", "after": float(rng.uniform(0, experiment.seconds[stage]))}
    kind = kinds[rng.integers(len(kinds))]
    return {"stage": stage, "kind": kind, "number": int(rng.integers(1, counts[kind] + 1))}


def kill(experiment: Experiment, folder: Path, place: tuple[str, int], plan: dict[str, Any]) -> float | None:
    """Begin or resume a run and kill it by plan; the seconds it lived, or None if it ended before."""
    begun = time.monotonic()
    process, _ = experiment.launch(folder, place, plan)
    if plan["kind"] == "moment":
        while process.poll() is None and _running_stage(folder) != plan["stage"]:
            time.sleep(0.005)
        deadline = time.monotonic() + plan["after"]
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    finish(process)
    return time.monotonic() - begun if process.returncode == -signal.SIGKILL else None


def _running_stage(folder: Path) -> str:
    path = folder / "manifest.json"
    if not path.exists():
        return ""
    stages = read_json(path)["stages"]
    return next((name for name, record in stages.items() if record["status"] == "running"), "")


def differences(alone: Path, resumed: Path) -> list[str]:
    """What differs between two results folders, times and creation stamps apart."""
    wrong = []
    names = {str(path.relative_to(folder)) for folder in (alone, resumed) for path in folder.rglob("*")}
    for name in sorted(names):
        one, other = alone / name, resumed / name
        if not (one.exists() and other.exists()):
            wrong.append(f"{name} is in one folder only")
        elif one.is_file() and name not in TIMES and one.read_bytes() != other.read_bytes():
            wrong.append(name)
    mine, theirs = (read_evaluations(folder / FILE_NAME) for folder in (alone, resumed))
    for column in ("theta", "log_likelihood", "log_prior", "reason", "gradient", "stage", "iteration"):
        if getattr(mine, column).tobytes() != getattr(theirs, column).tobytes():
            wrong.append(f"{FILE_NAME}: {column}")
    if _timeless(read_json(alone / "manifest.json")) != _timeless(read_json(resumed / "manifest.json")):
        wrong.append("manifest.json")
    return wrong


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            k: _timeless(v) for k, v in value.items() if not any(k == t or k.endswith(f"_{t}") for t in _TIMED_KEYS)
        }
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def run(config: str, profile: str, kills: int, seed: int, scratch: Path) -> tuple[list[Kill], list[list[str]]]:
    """All kills, and what differs at the end of each run."""
    rng = np.random.default_rng(seed)
    experiment = leave_alone(config, profile, scratch)
    done: list[Kill] = []
    found: list[list[str]] = []
    while len(done) < kills:
        number = len(found) + 1
        folder = scratch / f"killed{number}"
        stages = STAGES if kills - len(done) >= len(STAGES) else sorted(
            rng.choice(STAGES, kills - len(done), replace=False).tolist(), key=STAGES.index
        )  # fmt: skip
        for stage in stages:
            place = PLACES[rng.integers(len(PLACES))]
            plan = plan_kill(experiment, stage, rng)
            lived = kill(experiment, folder, place, plan)
            if lived is None:
                continue
            left = sum(1 for path in folder.rglob(".*") if path.is_file())
            stored = folder / FILE_NAME
            count = len(read_evaluations(stored)) if stored.exists() else 0
            done.append(Kill(number, len(done) + 1, stage, plan["kind"], *place, round(lived, 2), count, left))
            print(f"kill {len(done)}: {stage}, {plan['kind']}, {place[0]} {place[1]}, {count} evaluations", flush=True)
        process, _ = experiment.launch(folder, PLACES[rng.integers(len(PLACES))], {})
        finish(process)
        found.append(differences(scratch / "alone", folder))
        print(f"run {number}: {'; '.join(found[-1]) or 'equal bit for bit'}", flush=True)
        shutil.rmtree(folder)
    return done, found


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/kills"))
    parser.add_argument("--config", default="configs/us_hank.toml")
    parser.add_argument("--profile", default="smoke")
    parser.add_argument("--kills", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        kills, found = run(options.config, options.profile, options.kills, options.seed, Path(scratch))
    options.out.mkdir(parents=True, exist_ok=True)
    rows = [{**asdict(kill), "equal": not found[kill.run - 1]} for kill in kills]
    with (options.out / "kills.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    summary: dict[str, Any] = {
        "command": f"python -m benchmarks.kills --config {options.config} --profile {options.profile} "
        f"--kills {options.kills} --seed {options.seed}",
        "kills": len(rows), "survived": sum(row["equal"] for row in rows),
        "by_stage": {stage: sum(row["stage"] == stage for row in rows) for stage in STAGES},
        "by_kind": {kind: sum(row["kind"] == kind for row in rows) for kind in ("moment", *KINDS)},
        "runs": len(found), "differences": found, "estimhank": estimhank.__version__,
    }  # fmt: skip
    (options.out / "kills.json").write_text(json.dumps(summary, indent=2) + "\n")
    stages = ", ".join(f"{stage} {number}" for stage, number in summary["by_stage"].items())
    kinds = ", ".join(f"{kind} {number}" for kind, number in summary["by_kind"].items())
    (options.out / "kills.md").write_text(
        f"{summary['survived']} of {summary['kills']} kills survived, in {summary['runs']} runs of "
        f"`{Path(options.config).stem}` with the profile {options.profile}: their results are equal bit for bit to "
        f"those of a run left alone. By stage: {stages}. By kind: {kinds}.\n"
    )
    write_made(options.out, "kills", time.perf_counter() - begun)
    print(f"{summary['survived']} of {summary['kills']} kills survived, equal bit for bit")
    sys.exit(any(found))


if __name__ == "__main__":
    main()
