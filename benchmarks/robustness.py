"""The default model on other samples: before the Great Recession, after the Great Inflation, without the lower bound.

Run by ``make robustness``. Estimates a configuration on each sample of :data:`SAMPLES` (an unfinished run is resumed, a
finished one is left alone) and writes one comparison into ``results/robustness``: ``robustness.csv`` and ``.tex``
(posterior by parameter and sample), ``samples.csv`` and ``.tex`` (how each estimation went), ``robustness.png`` and
``.svg``. ``robustness.md`` is what ``make record`` puts on a page.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from benchmarks.pages import write_made
from estimhank import load
from estimhank.analysis.facts import ModeFacts, PosteriorFacts
from estimhank.analysis.parameters import ParameterInfo
from estimhank.cli import run_command
from estimhank.report.style import CHAINS, PRIOR, figure_style
from estimhank.report.tables import Column, Symbol, Table
from estimhank.run.config import Config, load_config
from estimhank.run.reporting import parameter_infos
from estimhank.run.results import Run
from estimhank.support.errors import EstimhankError
from estimhank.support.files import make_folder, write_text

Array = NDArray[np.float64]


#: How the page shows the figure, where ``make record`` puts it.
FIGURE = "![Posterior by sample](recorded/robustness/robustness.png)"


@dataclass(frozen=True)
class Sample:
    """A sample to estimate on: a folder's name, words, and what it changes in the configuration."""

    key: str
    label: str
    change: Callable[[Config], Config]


def _sample(**settings: Any) -> Callable[[Config], Config]:
    return lambda config: dataclasses.replace(config, data=dataclasses.replace(config.data, **settings))


def _without_lower_bound(config: Config) -> Config:
    """The rate is missing from 2009 to 2015: at its lower bound it says nothing of the Taylor rule."""
    observables = tuple(
        dataclasses.replace(o, exclude=(*o.exclude, "2009Q1 to 2015Q4")) if o.name == "rate" else o
        for o in config.data.observables
    )
    return _sample(start="1966Q1", end="2019Q4", observables=observables)(config)


SAMPLES: tuple[Sample, ...] = (
    Sample("1966-2007", "1966–2007", _sample(start="1966Q1", end="2007Q4")),
    Sample("1984-2019", "1984–2019", _sample(start="1984Q1", end="2019Q4")),
    Sample("no-lower-bound", "1966–2019, rate missing 2009–2015", _without_lower_bound),
)


@dataclass(frozen=True)
class Estimate:
    """What the comparison reads of a finished run; arrays in the order of ``parameters``."""

    label: str
    run: Run
    parameters: tuple[ParameterInfo, ...]
    mean: Array
    sd: Array
    low: Array
    high: Array
    mode: Array


def estimate_all(
    config: Config, out: Path, samples: Sequence[Sample] = SAMPLES, overwrite: bool = False, quiet: bool = False
) -> list[Estimate]:
    """Estimate on every sample, into one folder each below ``out``; what is finished is not computed again."""
    found = []
    for sample in samples:
        folder = out / sample.key
        resume = (folder / "manifest.json").is_file() and not overwrite
        outcome = run_command(sample.change(config), folder, None, resume, overwrite, quiet)
        wrong = outcome.verdict(False)
        if wrong is not None:
            raise wrong
        found.append(summarise(sample.label, load(folder)))
    return found


def summarise(label: str, run: Run) -> Estimate:
    """Moments and the central 90 % of the exact posterior, and its mode."""
    parameters = parameter_infos(run.posterior)
    draws = np.stack([np.asarray(run.draws["posterior"][p.name]).ravel() for p in parameters])
    low, high = np.quantile(draws, (0.05, 0.95), axis=1)
    mode = np.array([run.mode["theta"][p.name] for p in parameters], float)
    return Estimate(label, run, parameters, draws.mean(axis=1), draws.std(axis=1, ddof=1), low, high, mode)


def _number(value: float) -> str:
    return f"{value:.3f}"


def posterior_comparison(estimates: Sequence[Estimate]) -> Table:
    """Means and central 90 % of the exact posterior, one group of columns a sample."""
    columns = [Column("name", "Parameter"), Column("description", "Description")]
    for number, e in enumerate(estimates):
        key = f"sample_{number}"
        columns += [
            Column(f"{key}_mean", "Mean", e.label, _number),
            Column(f"{key}_sd", show=False),
            Column(f"{key}_q05", "5 %", e.label, _number),
            Column(f"{key}_q95", "95 %", e.label, _number),
            Column(f"{key}_mode", show=False),
        ]
    rows = []
    for i, p in enumerate(estimates[0].parameters):
        cells = [x for e in estimates for x in (e.mean[i], e.sd[i], e.low[i], e.high[i], e.mode[i])]
        rows.append((Symbol(p.name, p.latex), p.description, *(float(x) for x in cells)))
    numbered = "; ".join(f"sample {number}: {e.label}" for number, e in enumerate(estimates))
    return Table("robustness", "Exact posterior by sample", tuple(columns), tuple(rows), numbered)


def sample_comparison(estimates: Sequence[Estimate]) -> Table:
    """How each estimation went."""
    columns = (
        Column("sample", "Sample"),
        Column("quarters", "Quarters", "", str),
        Column("missing", "Missing entries", "", str),
        Column("log_density", "Log posterior at mode", "", lambda v: f"{v:.2f}"),
        Column("modes", "Local modes", "", str),
        Column("s_e", "Error of surrogate", "", _number),
        Column("certificate", "Certificate"),
        Column("r_hat", "Largest R̂", "", _number),
        Column("ess", "Fewest effective draws", "", lambda v: f"{v:.0f}"),
        Column("profile", "Profile", show=False),
        Column("data_sha256", show=False),
    )
    rows = []
    for e in estimates:
        values, certificate = e.run.data.values, e.run.certificate
        mode, exact = e.run.manifest.facts(ModeFacts), e.run.manifest.facts(PosteriorFacts)
        assert mode is not None and exact is not None  # the run is finished
        rows.append(
            (
                e.label, len(values), int(np.isnan(values).sum()), mode.log_density,
                mode.local_modes, float(certificate["s_e"]), "passed" if certificate["passed"] else "failed",
                exact.r_hat, min(exact.ess_bulk, exact.ess_tail), e.run.manifest.profile,
                e.run.data.sha256,
            )
        )  # fmt: skip
    return Table("samples", "The samples and their estimations", columns, tuple(rows))


def draw(estimates: Sequence[Estimate], folder: Path) -> None:
    """One panel a parameter: mean and central 90 % on every sample, and of the prior."""
    parameters = estimates[0].parameters
    columns = 4
    rows = -(-len(parameters) // columns)
    with figure_style():
        figure, axes = plt.subplots(rows, columns, figsize=(10, 1.75 * rows + 0.5), layout="constrained", squeeze=False)
        for i, axis in enumerate(axes.flat):
            if i >= len(parameters):
                axis.set_axis_off()
                continue
            for j, e in enumerate(estimates):
                at = len(estimates) - j
                axis.plot([e.low[i], e.high[i]], [at, at], color=CHAINS[j], lw=2.5, solid_capstyle="round")
                axis.plot(e.mean[i], at, "o", color=CHAINS[j], ms=5, label=e.label if i == 0 else None)
            prior = estimates[0].run.posterior.priors[parameters[i].name]
            axis.plot(prior.ppf(np.array([0.05, 0.95])), [0, 0], color=PRIOR, lw=2.5, solid_capstyle="round",
                      label="prior" if i == 0 else None)  # fmt: skip
            axis.set(title=parameters[i].label, yticks=[], ylim=(-0.7, len(estimates) + 0.7))
            axis.spines["left"].set_visible(False)
        figure.legend(loc="outside lower center", ncols=len(estimates) + 1)
        for kind in ("png", "svg"):
            metadata = {"Date": None} if kind == "svg" else {"Software": None}
            figure.savefig(folder / f"robustness.{kind}", metadata=metadata)
        plt.close(figure)


def markdown(estimates: Sequence[Estimate]) -> str:
    """Both tables for a Markdown page."""
    heads = ["", *(e.label for e in estimates)]
    lines = [_row(heads), _row(["---", *["---:"] * len(estimates)])]
    for i, p in enumerate(estimates[0].parameters):
        cells = [f"{e.mean[i]:.3f} ({e.low[i]:.3f}, {e.high[i]:.3f})" for e in estimates]
        lines.append(_row([f"`{p.name}`, {p.description}", *cells]))
    table = sample_comparison(estimates)
    shown = [i for i, column in enumerate(table.columns) if column.show]
    lines += ["", _row([table.columns[i].heading for i in shown]), _row(["---"] * len(shown))]
    for row in table.rows:
        cells = [(table.columns[i].format or str)(row[i]) for i in shown]
        lines.append(_row(cells))
    profiles = {e.run.manifest.profile for e in estimates} - {"default"}
    if profiles:
        lines += ["", f"Made with the profile {', '.join(sorted(profiles))}: toy sizes, not results."]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def write_comparison(estimates: Sequence[Estimate], out: Path) -> None:
    """Tables and figure."""
    make_folder(out)
    for table in (posterior_comparison(estimates), sample_comparison(estimates)):
        write_text(out / f"{table.name}.csv", table.to_csv())
        write_text(out / f"{table.name}.tex", table.to_latex())
    write_text(out / "robustness.md", f"{markdown(estimates)}\n\n{FIGURE}\n")
    draw(estimates, out)


def main(arguments: Sequence[str] | None = None) -> None:
    """Estimate on every sample and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="configs/us_hank.toml")
    parser.add_argument("--profile", default="default")
    parser.add_argument("--out", type=Path, default=Path("results/robustness"))
    parser.add_argument("--runs", type=Path, help="where the runs go; OUT/runs by default, which git leaves out")
    parser.add_argument("--baseline", type=Path, help="a finished run of the whole sample, shown first")
    parser.add_argument("--overwrite", action="store_true", help="estimate again what is there")
    parser.add_argument("--quiet", action="store_true")
    options = parser.parse_args(arguments)
    estimates, begun = [], time.perf_counter()
    if options.baseline is not None:
        run = load(options.baseline)
        estimates.append(summarise(f"{run.data.dates[0][:4]}–{run.data.dates[-1][:4]}", run))
    config = load_config(options.config, options.profile)
    estimates += estimate_all(config, options.runs or options.out / "runs", SAMPLES, options.overwrite, options.quiet)
    write_comparison(estimates, options.out)
    write_made(options.out, "robustness", time.perf_counter() - begun)
    print(f"see {options.out / 'robustness.csv'}")


if __name__ == "__main__":
    try:
        main()
    except EstimhankError as error:
        raise SystemExit(f"robustness: {error}") from None
