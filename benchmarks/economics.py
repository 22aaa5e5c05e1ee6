"""Processor seconds of every output of a finished run.

    python -m benchmarks.economics results/us_hank

computes each at the run's draws, one after another in one process, as a verb of the command line does but for its
files, and writes a table of processor seconds (workers included). What is left of the first column in the second call
is the computation; the rest is tracing and compilation, or reading compiled code, and what a run does once. On two
quiet cores the wall time of most is a little more than half of it. The share of prior draws with a solution is
evaluated anew: what the folder has of it is set aside.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.pages import write_made
from estimhank import load
from estimhank.economics.conditions import Condition, ScenarioPlan
from estimhank.economics.counterfactual import CounterfactualPlan
from estimhank.economics.other_policy import Term
from estimhank.run.prior_solutions import FILE_NAME
from estimhank.run.results import Run
from estimhank.support.files import make_folder, write_text

#: Output by name, as the command line calls it.
Outputs = dict[str, Callable[[Run], object]]


def outputs_of(run: Run) -> Outputs:
    """Every output, with a scenario and counterfactuals of the run's last observable and its policy shock."""
    about = run.study().about
    rate, policy = about.names[-1], about.shocks[-1]
    first = about.quarters(len(about.dates), len(about.dates) + 1)[0]
    conditions = (Condition(rate, first, (0.2,) * 6),)
    rule = (Term(rate, 1.0), Term(rate, -0.7, 1), Term(about.names[1], -0.66), Term(about.names[0], -0.03))
    found: Outputs = {
        "responses": lambda run: run.responses(),
        "variance": lambda run: run.variance_decomposition(),
        "history": lambda run: run.historical_decomposition(),
        "smooth": lambda run: run.smooth(),
        "smooth, series": lambda run: run.smooth_series(),
        "scores": lambda run: run.one_step(),
        "forecast": lambda run: run.forecast(),
        "the basic five at once": lambda run: run.study().basics(),
        "scenario, likeliest": lambda run: run.scenario(ScenarioPlan(condition=conditions)),
        "scenario, announced": lambda run: run.scenario(
            ScenarioPlan(condition=conditions, shocks=(policy,), announced=True)
        ),
        "counterfactual, parameter": lambda run: run.counterfactual(
            CounterfactualPlan(parameters={"phi_pi": 3.0} if "phi_pi" in run.posterior.names else {})
        ),
        "counterfactual, announced rule": lambda run: run.counterfactual(
            CounterfactualPlan(policy=(policy,), rule=rule)
        ),
        "news": lambda run: run.news(run.data, quarters=4),
        "moments": lambda run: run.predictive_check(),
        "evidence": lambda run: run.evidence(),
        "identification": lambda run: run.identification(),
        "households, groups": lambda run: run.household_responses(),
        "households, effects": lambda run: run.direct_and_indirect(),
    }
    if not run.posterior.solver.setting.model.household:
        found = {name: compute for name, compute in found.items() if not name.startswith("households")}
    return found


def processor_seconds() -> float:
    """Of this process and of the children that it has waited for."""
    return sum(os.times()[:4])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("results/us_hank"))
    parser.add_argument("--only", nargs="*", help="names of outputs, as the table has them")
    parser.add_argument("--out", type=Path, default=Path("results/bench"))
    args = parser.parse_args()
    run = load(args.folder)
    clock, rows = time.perf_counter(), []
    kept, aside = args.folder / FILE_NAME, args.folder / f"{FILE_NAME}.aside"
    if kept.exists():
        kept.rename(aside)
    try:
        for name, compute in outputs_of(run).items():
            if args.only and name not in args.only:
                continue
            seconds = []
            for _ in range(2):
                before = processor_seconds()
                compute(run)
                seconds.append(processor_seconds() - before)
            rows.append((name, *(round(s, 1) for s in seconds)))
            print(f"{name}: {seconds[0]:.1f} processor seconds, again {seconds[1]:.1f}", flush=True)
    finally:
        if aside.exists():
            aside.rename(kept)
    folder = make_folder(args.out)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([("output", "first call", "second call"), *rows])
    write_text(folder / "economics.csv", stream.getvalue())
    lines = ["| output | processor s, first call | second call |", "|---|---|---|"]
    lines += [f"| {name} | {first:.1f} | {again:.1f} |" for name, first, again in rows]
    write_text(folder / "economics.md", "\n".join(lines) + "\n")
    write_made(folder, "economics", time.perf_counter() - clock)


if __name__ == "__main__":
    main()
