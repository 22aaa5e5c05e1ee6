"""What a run costs, part by part, in evaluations of the sequence-jacobian toolkit: figures that hold on any machine.

One unit is one log likelihood of the default model by the toolkit at T = 300, on one core. It is timed while the run
is stopped, every few seconds from its beginning to its end (:mod:`benchmarks.metered`), so that a machine whose speed
drifts slows both alike; the pauses are not counted. Processor units are the same in user and system time, of all
processes of the run together: the ones to compare on a busy machine.

    python -m benchmarks.first_run --cold                            # default run: compilation cache empty, then filled
    python -m benchmarks.first_run --cold --seeds 1 2 3 4 5          # the first cold, then all five warm
    python -m benchmarks.first_run --config configs/us_hank_household.toml
    python -m benchmarks.first_run --cold --compilations             # and what is compiled, by function and process

Without ``--cold`` a run uses the cache of this machine, and the first one may find it half filled: how many entries it
added is printed. Writes ``first_run.csv``, ``first_run.json`` and tables for pages (``first_run.md``,
``first_run_short.md``) into ``--out``; ``make record`` puts these into the documentation.
"""

from __future__ import annotations

import os

#: As the run's process is to see it, before the settings for the yardstick below.
ENVIRONMENT = dict(os.environ)

# before anything loads a BLAS or XLA: one thread each
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import argparse
import csv
import json
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from benchmarks.metered import END, START, Compilation, Trace, compiling, read_compilations, watch
from benchmarks.pages import write_made
from benchmarks.toolkit import ToolkitHANK
from estimhank.analysis.facts import PosteriorFacts
from estimhank.posterior.posterior import Posterior
from estimhank.run.config import load_config
from estimhank.run.manifest import Manifest, now, read_manifest
from estimhank.support.files import write_text
from estimhank.support.runtime import cache_folder

Result = dict[str, Any]

#: Equilibrium and shock parameters at which the toolkit evaluates.
THETA = {
    "kappa_w": 0.1, "phi_pi": 1.7, "phi_y": 0.125, "rho_i": 0.5, "phi_b": 0.1, "rho_w": 0.9, "rho_g": 0.8,
    "rho_m": 0.6, "sigma_w": 0.3, "sigma_g": 0.8, "sigma_m": 0.4,
}  # fmt: skip
HORIZON = 300
#: A folder whose ``sitecustomize`` writes down compilations into the file that this variable names.
COMPILATIONS, _VARIABLE = Path(__file__).with_name("compilations"), "ESTIMHANK_COMPILATIONS"
_DONE = (0, 3, 4)  # exit codes of a run that came to its end, whatever its verdict


class Yardstick:
    """The toolkit's log likelihood of the default model, and how long it took each time.

    Attributes
    ----------
    wall, processor : list of float
        Seconds of each measurement.
    """

    def __init__(self) -> None:
        default = Posterior.from_config("configs/us_hank.toml")
        self._toolkit = ToolkitHANK({**default.steady_state.parameters, **THETA}, HORIZON)
        self._sample = np.array(default.data.values)
        self.wall: list[float] = []
        self.processor: list[float] = []
        for _ in range(2):  # numba compiles
            self._toolkit.log_likelihood(THETA, self._sample)

    def __call__(self) -> None:
        """Time one evaluation, after one that brings the processor's caches back."""
        self._toolkit.log_likelihood(THETA, self._sample)
        wall, processor = time.perf_counter(), time.process_time()
        self._toolkit.log_likelihood(THETA, self._sample)
        self.wall.append(time.perf_counter() - wall)
        self.processor.append(time.process_time() - processor)

    def begin(self) -> None:
        """Forget earlier measurements and make a first one."""
        self.wall.clear()
        self.processor.clear()
        self()


def command(config: str, folder: Path, profile: str, seed: int, extra: Sequence[str]) -> list[str]:
    """The command line of one run."""
    script = Path(sys.executable).with_name("estimhank")
    program = [str(script)] if script.exists() else [sys.executable, "-m", "estimhank.cli"]
    return [*program, "estimate", config, "--out", str(folder), "--profile", profile, "--seed", str(seed), *extra]


def measure(yardstick: Yardstick, config: str, seed: int, cache: Path, options: argparse.Namespace) -> Result:
    """Run once and say what it cost."""
    folder = options.runs / f"{Path(config).stem}_{options.profile}_{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    log = folder.with_suffix(".compilations")
    log.unlink(missing_ok=True)
    environment = {**ENVIRONMENT, "ESTIMHANK_CACHE": str(cache)}
    if options.compilations:
        environment |= {
            _VARIABLE: str(log),
            "PYTHONPATH": f"{COMPILATIONS}{os.pathsep}{environment.get('PYTHONPATH', '')}",
        }
    found = entries(cache)
    yardstick.begin()
    line = command(config, folder, options.profile, seed, options.extra)
    trace = watch(line, environment, folder, yardstick, options.every, options.verbose)
    yardstick()
    if trace.code not in _DONE:
        raise SystemExit(f"{' '.join(line)} ended with {trace.code}:\n" + "\n".join(t for _, t in trace.lines[-15:]))
    manifest = read_manifest(folder)
    assert manifest is not None
    events = read_compilations(log)
    added = entries(cache) - found
    facts = manifest.facts(PosteriorFacts)
    assert facts is not None  # the run came to its end
    return {
        "config": config,
        "profile": options.profile,
        "seed": seed,
        "cache": cache_state(found, added),
        "cache_entries_found": found,
        "cache_entries_added": added,
        "date": now(),
        "unit_seconds": mean(yardstick.wall),
        "unit_processor_seconds": mean(yardstick.processor),
        "unit_measurements": len(yardstick.wall),
        "unit_lowest": min(yardstick.wall),
        "unit_highest": max(yardstick.wall),
        "first_line_seconds": trace.first_line(),
        "longest_silence_seconds": trace.longest_silence(),
        "certified": facts.certificate_passed,
        "converged": facts.converged,
        "r_hat": facts.r_hat,
        "effective_draws": min(facts.ess_bulk, facts.ess_tail),
        "evaluations": {name: sum(counts.values()) for name, counts in manifest.evaluations.items()},
        "parts": parts(manifest, trace, events),
        "functions": by_function(events),
        "versions": dict(manifest.versions),
        "machine": {key: value for key, value in manifest.machine.items() if key != "platform"},
    }


def cache_state(found: int, added: int) -> str:
    """What to call a compilation cache; programs near the threshold of what is kept are now kept and now not."""
    return "cold" if not found else "warm" if added <= found // 10 else "partly warm"


def entries(cache: Path) -> int:
    """How many compiled programs a cache folder holds."""
    return sum(1 for path in (cache / "xla").glob("*-cache"))


def parts(manifest: Manifest, trace: Trace, events: Sequence[Compilation]) -> list[Result]:
    """Wall and processor seconds by part: what comes before the first stage, each stage, the end, and the total.

    Every fact of a stage that is called ``..._seconds`` is a part of that stage; the pauses in the stage are taken out
    of it in proportion.
    """
    windows, processor = trace.windows(), trace.processor()
    rows: list[Result] = []

    def add(name: str, seconds: float, stage: str = "") -> None:
        window = (trace.begun, trace.ended) if name == "total" else windows.get(stage)
        row: Result = {"part": name, "seconds": max(0.0, seconds)}
        if name == "total":
            row["processor_seconds"] = trace.processor_seconds
        elif stage in processor and processor[stage] > 0:
            row["processor_seconds"] = processor[stage]
        if events and window is not None:
            row["compiling_seconds"], row["compiling_all_processes"] = compiling(events, trace, window)
        rows.append(row)

    end = windows.get(END, (trace.ended, trace.ended))
    after = end[1] - end[0] - trace.paused(end)
    stages = {name: _running(record.seconds, trace, windows.get(name)) for name, record in manifest.stages.items()}
    add("start", trace.seconds - after - sum(stages.values()), START)
    for name, seconds in stages.items():
        add(name, seconds, name)
        record = manifest.stages[name]
        for fact, value in (record.facts.to_json() if record.facts else {}).items():
            if fact.endswith("_seconds") and isinstance(value, float) and record.seconds:
                add(f"of it {fact.removesuffix('_seconds').replace('_', ' ')}", value * seconds / record.seconds)
    add("end", after, END)
    add("total", trace.seconds)
    return rows


def _running(seconds: float, trace: Trace, window: tuple[float, float] | None) -> float:
    """Seconds of a stage without the pauses in it; a stage too short to be seen had none."""
    return seconds if window is None else seconds - min(seconds, trace.paused(window))


def by_function(events: Sequence[Compilation], most: int = 25) -> list[Result]:
    """Compilations by function, dearest first: seconds of tracing, lowering and compiling, how often, where."""
    found: dict[str, Result] = defaultdict(
        lambda: {"trace": 0.0, "lower": 0.0, "compile": 0.0, "times": 0, "processes": set()}
    )
    for event in events:
        if event.kind in ("trace", "lower", "compile"):
            row = found[event.function]
            row[event.kind] += event.ended - event.begun
            row["times"] += event.kind == "compile"
            row["processes"].add(event.process)
    rows = [{"function": name, **row, "processes": len(row["processes"])} for name, row in found.items()]
    return sorted(rows, key=lambda row: -(row["lower"] + row["compile"]))[:most]


@contextmanager
def chosen_cache(cold: bool) -> Iterator[Path]:
    """A new empty cache folder that is removed again, or this machine's own."""
    if not cold:
        yield Path(ENVIRONMENT.get("ESTIMHANK_CACHE") or cache_folder())
        return
    with tempfile.TemporaryDirectory(prefix="estimhank-cache-") as folder:
        yield Path(folder)


def show(result: Result) -> None:
    """Print one run."""
    unit, processor = result["unit_seconds"], result["unit_processor_seconds"]
    verdict = f"{'certified' if result['certified'] else 'NOT certified'}, "
    verdict += f"{'converged' if result['converged'] else 'NOT converged'}, R-hat {result['r_hat']:.4f}, "
    verdict += f"{result['effective_draws']:,.0f} effective draws"
    print(f"\n{result['config']}, profile {result['profile']}, seed {result['seed']}: {verdict}")
    print(
        f"  {result['cache']} cache ({result['cache_entries_found']} entries found, {result['cache_entries_added']} "
        f"added); first line after {result['first_line_seconds']:.1f} s, longest silence "
        f"{result['longest_silence_seconds']:.1f} s"
    )
    print(
        f"  one unit: {unit:.3f} s, {result['unit_measurements']} measurements from {result['unit_lowest']:.3f} to "
        f"{result['unit_highest']:.3f}; in processor time {processor:.3f} s"
    )
    print(f"  {'':26s}{'seconds':>9s}{'units':>9s}{'processor s':>13s}{'units':>9s}   compiling: here, all processes")
    for row in result["parts"]:
        line = f"  {row['part']:26s}{row['seconds']:9.1f}{row['seconds'] / unit:9.0f}"
        if "processor_seconds" in row:
            line += f"{row['processor_seconds']:13.1f}{row['processor_seconds'] / processor:9.0f}"
        if "compiling_seconds" in row:
            line += f"{row['compiling_seconds']:15.1f} s{row['compiling_all_processes']:9.1f} s"
        print(line)
    for row in result["functions"]:
        print(
            f"    {row['function'][:44]:44s} trace {row['trace']:6.2f}  lower {row['lower']:6.2f}  compile "
            f"{row['compile']:6.2f} s, {row['times']} times in {row['processes']} processes"
        )


def compile_shares(results: Sequence[Result]) -> list[tuple[Result, Result]]:
    """Pairs of a cold and a warm run of the same configuration and seed."""
    by = {(r["config"], r["seed"], r["cache"]): r for r in results}
    return [(r, by[c, s, "warm"]) for (c, s, kind), r in by.items() if kind == "cold" and (c, s, "warm") in by]


def units(result: Result, part: str, kind: str = "") -> float | None:
    """Units of one part of a run, of wall or (``kind="processor_"``) of processor time."""
    row: Result = next((row for row in result["parts"] if row["part"] == part), {})
    seconds = row.get(f"{kind}seconds")
    return None if seconds is None else seconds / result[f"unit_{kind}seconds"]


def short_markdown(results: Sequence[Result]) -> str:
    """A table for a Markdown page: one row for each configuration and state of the cache, over its seeds."""
    groups: dict[tuple[str, str, str], list[Result]] = defaultdict(list)
    for r in results:
        groups[r["config"], r["profile"], r["cache"]].append(r)
    lines = ["| configuration | compilation cache | units | seconds | report, units | certified and converged |"]
    lines += ["|---|---|---:|---:|---:|---:|"]
    for (config, profile, cache), runs in groups.items():
        name = f"`{config}`" + (f" (`{profile}`)" if profile != "default" else "")
        total, report = ([units(r, part) for r in runs] for part in ("total", "report"))
        seconds = [units(r, "total") * r["unit_seconds"] for r in runs]
        good = sum(r["certified"] and r["converged"] for r in runs)
        cells = (name, cache, _range(total), _range(seconds), _range(report), f"{good} of {len(runs)}")  # type: ignore[arg-type]
        lines.append("| " + " | ".join(cells) + " |")
    unit = _range([r["unit_seconds"] for r in results], 3)
    return "\n".join([*lines, "", f"One unit took {unit} s. {results[0]['date'][:10]}."])


def _range(values: Sequence[float], digits: int = 0) -> str:
    """The least and the largest, or the only value."""
    ends = dict.fromkeys(f"{value:,.{digits}f}" for value in (min(values), max(values)))
    return " to ".join(ends)


def markdown(results: Sequence[Result]) -> str:
    """The table for a Markdown page: one column a run, units with seconds in brackets."""
    names = list(dict.fromkeys(row["part"] for r in results for row in r["parts"]))
    heads = [f"{Path(r['config']).stem}, seed {r['seed']}, {r['cache']} cache" for r in results]
    lines = ["| units (seconds) | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(results)]
    for name in [n for n in names if n not in ("end", "total")] + ["end", "total"]:
        cells = []
        for r in results:
            row = next((row for row in r["parts"] if row["part"] == name), None)
            cells.append("" if row is None else f"{row['seconds'] / r['unit_seconds']:,.0f} ({row['seconds']:.1f})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    pairs = {id(cold): units(cold, "total") - units(warm, "total") for cold, warm in compile_shares(results)}
    extra = {
        "compilation: cold less warm": [f"{pairs[id(r)]:,.0f}" if id(r) in pairs else "" for r in results],
        "total, processor units": [f"{units(r, 'total', 'processor_'):,.0f}" for r in results],
        "certified, converged": [f"{_yes(r['certified'])}, {_yes(r['converged'])}" for r in results],
        "effective draws; R̂": [f"{r['effective_draws']:,.0f}; {r['r_hat']:.4f}" for r in results],
        "one unit, seconds": [f"{r['unit_seconds']:.3f}" for r in results],
    }  # fmt: skip
    lines += [f"| {name} | " + " | ".join(cells) + " |" for name, cells in extra.items()]
    return "\n".join(lines)


def _yes(answer: bool) -> str:
    return "yes" if answer else "no"


def write(results: Sequence[Result], folder: Path) -> None:
    """Write ``first_run.json`` (all that was measured), ``first_run.csv`` (one row a part), tables for pages."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "first_run.json").write_text(json.dumps(results, indent=2) + "\n")
    write_text(folder / "first_run.md", markdown(results) + "\n")
    write_text(folder / "first_run_short.md", short_markdown(results) + "\n")
    columns = ["config", "profile", "seed", "cache", "part", "seconds", "units", "processor_seconds", "processor_units"]
    with (folder / "first_run.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore")
        writer.writeheader()
        for r in results:
            for row in r["parts"]:
                figures = {"seconds": row["seconds"], "units": row["seconds"] / r["unit_seconds"]}
                if "processor_seconds" in row:
                    figures["processor_seconds"] = row["processor_seconds"]
                    figures["processor_units"] = row["processor_seconds"] / r["unit_processor_seconds"]
                writer.writerow({**r, **row, **{key: f"{value:.4g}" for key, value in figures.items()}})


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", nargs="+", default=["configs/us_hank.toml"], help="configurations, one or several")
    parser.add_argument("--profile", default="default")
    parser.add_argument("--seeds", nargs="+", type=int, help="by default the configuration's own")
    parser.add_argument(
        "--cold", action="store_true", help="begin with an empty compilation cache, then run again warm"
    )
    parser.add_argument("--compilations", action="store_true", help="also what is compiled, by function and process")
    parser.add_argument("--every", type=float, default=10.0, help="seconds of the run between two yardsticks")
    parser.add_argument("--out", type=Path, default=Path("results/bench"))
    parser.add_argument("--runs", type=Path, help="keep the runs' folders here; by default they are removed")
    parser.add_argument("--verbose", action="store_true", help="show what the runs print")
    parser.add_argument("extra", nargs="*", help="after --: further arguments of `estimhank estimate`")
    options = parser.parse_args()
    begun = time.perf_counter()
    yardstick = Yardstick()
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="estimhank-runs-") as temporary:
        options.runs = (options.runs or Path(temporary)).absolute()
        options.runs.mkdir(parents=True, exist_ok=True)
        with chosen_cache(options.cold) as cache:
            for config in options.config:
                seeds = options.seeds or [load_config(config, options.profile).run.seed]
                for seed in seeds[:1] * options.cold + seeds:
                    results.append(measure(yardstick, config, seed, cache, options))
                    show(results[-1])
                    write(results, options.out)
    for cold, warm in compile_shares(results):
        wall, processor = (units(cold, "total", kind) - units(warm, "total", kind) for kind in ("", "processor_"))
        print(f"\n{cold['config']}: compilation, cold less warm: {wall:.0f} units, {processor:.0f} in processor time")
    write_made(options.out, "first_run", time.perf_counter() - begun)


if __name__ == "__main__":
    main()
