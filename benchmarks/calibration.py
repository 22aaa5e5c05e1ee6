"""Estimations of simulated data whose truth is known: recovery, and simulation-based calibration.

Run by ``make calibration``, or ``python -m benchmarks.calibration --replications 20``. A replication

1. draws theta from the prior until the model has a density there: the prior of the posterior that is computed;
2. makes a sample of it, as long as the data and with the same quarters missing, from the moving average of the solved
   model (not from the covariances that the likelihood is computed from);
3. estimates it by the package's own stages: mode, sample, surrogate, posterior;
4. ranks theta among the exact draws, and the log likelihood at theta among theirs, which is found where a posterior has
   learned too little from the data, such as the prior itself (Modrák et al. 2023).

Truths are drawn from the prior and not fixed at one place, because only averaged over the prior has coverage to be what
an interval says; so recovery and simulation-based calibration (:mod:`benchmarks.ranks`) are the same runs, seen in two
tables. Estimations are those of the profile but for fewer starts of the mode search and :data:`EFFECTIVE` effective
draws, of which :data:`benchmarks.ranks.DRAWS` are used: neither enters the density whose draws they are. An estimation
that does not converge says so, is counted, and is not compared: its draws are not given for those of the posterior.

Each replication is a folder, ``replication.json`` in it what came out. A later call goes on where one was stopped, with
more replications if more are asked for. Writes ``calibration.csv``, ``calibration.json``, ``calibration.md`` and
``calibration.png``; the exit code is 1 if the posteriors are not calibrated.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import shutil
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibration_pages import draw, markdown
from benchmarks.pages import write_made
from benchmarks.ranks import Judged, covers, judge, rank, verdict
from estimhank.analysis.facts import PosteriorFacts
from estimhank.analysis.inference_data import arrays_of, read_inference_data
from estimhank.data.observables import Observable
from estimhank.data.units import DataWarning
from estimhank.economics.linear_form import LinearForms, moving_average
from estimhank.posterior.posterior import Posterior
from estimhank.run.config import Config, load_config
from estimhank.run.context import RunContext
from estimhank.run.open_posterior import build_target
from estimhank.run.pipeline import run_pipeline
from estimhank.run.stages import PIPELINE
from estimhank.support.errors import EstimhankError
from estimhank.support.files import make_folder, read_json, write_json, write_text
from estimhank.support.progress import ProgressDisplay
from estimhank.support.runtime import configure

Array = NDArray[np.float64]

#: Starts of the mode search; effective draws of every parameter, ten for each that is ranked; and the largest R-hat.
STARTS, EFFECTIVE, R_HAT = 4, 1_000.0, 1.01
#: Share of an observable's largest coefficient that may be left where the past before a sample begins, and dates that
#: this may take.
_LEFT, _LONGEST = 1e-9, 2**16
LIKELIHOOD = "log likelihood"
_RESULT = "replication.json"


def simulate(forms: LinearForms, theta: Array, rng: np.random.Generator) -> Array:
    """A sample of the observables as long as the data, (n, n_o): means and measurement errors included.

    Raises
    ------
    EstimhankError
        If responses last too long for a simulation of the past.
    """
    form = forms.at(theta)
    n, n_o = len(forms.posterior.data.dates), len(forms.observed)
    before = 512
    while True:
        path = np.asarray(moving_average(form, before + n))[:, :n_o]
        if (np.abs(path[before:]).max((0, 2)) <= _LEFT * np.abs(path).max((0, 2))).all():
            break
        if before >= _LONGEST:
            raise EstimhankError(f"responses last for more than {_LONGEST} quarters: no sample can be made of them")
        before *= 2
    shocks = rng.standard_normal((before + n, path.shape[2]))
    series = np.stack([sum(np.convolve(shocks[:, z], path[:, x, z])[before : before + n] for z in range(path.shape[2]))
                       for x in range(n_o)], axis=1)  # fmt: skip
    noise = np.sqrt(np.asarray(form.errors))[:n_o] * rng.standard_normal((n, n_o))
    found: Array = series + noise + np.asarray(form.mean)[:n_o]
    return found


def draw_truth(posterior: Posterior, rng: np.random.Generator) -> tuple[Array, int]:
    """A draw from the prior at which there is a density, and how many before it had none."""
    refused = 0
    while True:
        theta = posterior.sample_prior(rng, 1)[0]
        if posterior.evaluate(theta).reason == "ok":
            return theta, refused
        refused += 1


def check(config: Config) -> None:
    """Refuse what a sample of quarters cannot stand for.

    Raises
    ------
    EstimhankError
        If the likelihood is conditioned on quarters, whose distribution says something of the parameters that the
        posterior does not use, or an observable is yearly.
    """
    if config.data.condition_on:
        raise EstimhankError("a likelihood that is conditioned on quarters (condition_on) cannot be calibrated")
    yearly = [o.name for o in config.data.observables if o.yearly]
    if yearly:
        raise EstimhankError(f"samples are made of quarters, and {yearly[0]} is yearly")


def with_sample(config: Config, posterior: Posterior, values: Array, file: Path, seed: int) -> Config:
    """The configuration for a sample, which is written to ``file``; missing where the data are."""
    data = posterior.data
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["date", *data.names])
    for date, row, real in zip(data.dates, values, data.values, strict=True):
        cells = ["" if np.isnan(r) else repr(float(x)) for x, r in zip(row, real, strict=True)]
        writer.writerow([date, *cells])
    write_text(file, text.getvalue())
    errors = {o.name: o.measurement_error for o in config.data.observables}
    observables = tuple(
        Observable(
            name,
            name,
            "level",
            unit=unit,
            label=label,
            demean=False,
            measurement_error=errors.get(name),
            allow_outliers=(f"{data.dates[0]} to {data.dates[-1]}",),  # no value that the model makes is a slip
        )
        for name, unit, label in zip(data.names, data.units, data.labels, strict=True)
    )
    source = dataclasses.replace(
        config.data, source=str(file.absolute()), start=data.dates[0], end=data.dates[-1], observables=observables,
        vintage="", sheet="", presample=0, exclude=(),
    )  # fmt: skip
    return dataclasses.replace(config, data=source, run=dataclasses.replace(config.run, seed=seed))


def compare(theta: Array, at_truth: float, posterior: Posterior, folder: Path) -> dict[str, Any]:
    """Truths and exact draws of a finished posterior stage: rank, coverage and z-score of every quantity.

    ``contraction`` is one less the ratio of posterior to prior variance.
    """
    exact = arrays_of(read_inference_data(folder / "posterior.nc")).exact
    prior = posterior.sample_prior(np.random.default_rng(0), 4_000).std(0)
    quantities = {name: (float(theta[i]), exact.theta[..., i]) for i, name in enumerate(posterior.names)}
    found: dict[str, Any] = {
        name: {
            "truth": truth, "mean": float(draws.mean()), "sd": float(draws.std()), "rank": rank(truth, draws),
            "covered": covers(truth, draws), "z": float((truth - draws.mean()) / draws.std()),
            "contraction": float(1 - draws.var() / prior[i] ** 2),
        }
        for i, (name, (truth, draws)) in enumerate(quantities.items())
    }  # fmt: skip
    draws = exact.log_likelihood
    found[LIKELIHOOD] = {"truth": at_truth, "rank": rank(at_truth, draws), "covered": covers(at_truth, draws)}
    return found


def replicate(config: Config, number: int, folder: Path, real: Posterior, forms: LinearForms, quiet: bool) -> None:
    """One replication, into ``folder``; nothing is left of the run but what is compared."""
    begun = time.perf_counter()
    rng = np.random.default_rng([config.run.seed, number])
    theta, refused = draw_truth(real, rng)
    result: dict[str, Any] = {
        "number": number, "configuration": config.digest(), "theta": dict(zip(real.names, theta.tolist(), strict=True)),
        "prior_draws_refused": refused, "refused": "",
    }  # fmt: skip
    run = folder / "run"
    try:
        seed = int(rng.integers(2**31))
        settings = with_sample(config, real, simulate(forms, theta, rng), folder / "sample.csv", seed)
        resume = (run / "manifest.json").is_file()
        with ProgressDisplay(quiet=quiet) as display, RunContext(settings, run, build_target, display) as context:
            outcome = run_pipeline(context, PIPELINE.before("economics"), None, resume, False, display.say)
            target = context.target
            assert isinstance(target, Posterior)  # as all configurations are
            found = compare(theta, target.evaluate(theta).log_likelihood, real, run)
        facts = outcome.manifest.facts(PosteriorFacts)
        assert facts is not None  # the stage is finished
        result |= {
            "quantities": found, "converged": facts.converged, "certificate_passed": facts.certificate_passed,
            "r_hat": facts.r_hat, "effective": min(facts.ess_bulk, facts.ess_tail),
            "evaluations": sum(sum(counts.values()) for counts in outcome.manifest.evaluations.values()),
        }  # fmt: skip
    except EstimhankError as error:
        if error.exit_code > 128:
            raise  # interrupted
        result["refused"] = f"{type(error).__name__}: {error}"
    write_json(folder / _RESULT, {**result, "seconds": round(time.perf_counter() - begun, 1)})
    shutil.rmtree(run, ignore_errors=True)


def collect(out: Path, config: Config) -> list[dict[str, Any]]:
    """What finished replications found, in order of their numbers.

    Raises
    ------
    EstimhankError
        If one is of another configuration.
    """
    found = [read_json(file) for file in sorted(out.glob(f"*/{_RESULT}"))]
    if other := [r["number"] for r in found if r["configuration"] != config.digest()]:
        raise EstimhankError(f"{out} holds replication {other[0]} of other settings: name another folder with --out")
    return sorted(found, key=lambda r: r["number"])


def judge_all(results: Sequence[dict[str, Any]]) -> list[Judged]:
    """All quantities over the replications that converged."""
    converged = [r["quantities"] for r in results if not r["refused"] and r["converged"]]
    if not converged:
        raise EstimhankError("no replication has converged: there is nothing to compare")
    return [
        judge(name, [q[name]["rank"] for q in converged], sum(q[name]["covered"] for q in converged))
        for name in converged[0]
    ]


def write_tables(out: Path, results: Sequence[dict[str, Any]], config: Config) -> bool:
    """Tables, figure and verdict; whether the posteriors are calibrated."""
    judged = judge_all(results)
    calibrated, words = verdict(judged)
    converged = [r for r in results if not r["refused"] and r["converged"]]
    rows: list[dict[str, Any]] = []
    for q in judged:
        own = [r["quantities"][q.name] for r in converged]
        z = np.array([o.get("z", np.nan) for o in own])
        rows.append(
            {
                "quantity": q.name, "replications": len(own), "z_mean": z.mean(), "z_sd": z.std(ddof=1) if len(z) > 1
                else np.nan, "z_largest": np.abs(z).max(), "covered_90": q.covered / len(own),
                "contraction": np.median([o.get("contraction", np.nan) for o in own]), "p_coverage": q.p_coverage,
                "p_rank": q.p_ecdf, "p_chi_square": q.p_chi_square,
            }
        )  # fmt: skip
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_text(out / "calibration.csv", text.getvalue())
    refused = [r["refused"] for r in results if r["refused"]]
    summary = {
        "configuration": Path(config.path).stem, "profile": config.profile, "replications": len(results),
        "converged": len(converged), "refused": refused, "calibrated": calibrated, "verdict": words,
        "certificates_passed": sum(r["certificate_passed"] for r in converged),
        "prior_draws_refused": sum(r["prior_draws_refused"] for r in results),
        "seconds": float(np.median([r["seconds"] for r in results])),
        "ranks": {q.name: q.ranks.tolist() for q in judged},
    }  # fmt: skip
    write_json(out / "calibration.json", summary)
    write_text(out / "calibration.md", markdown(rows, summary))
    draw(judged, out / "calibration.png")
    print(words)
    return calibrated


def main(arguments: Sequence[str] | None = None) -> bool:
    """Replicate, compare, write; whether nothing speaks against the posteriors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="configs/us_hank.toml")
    parser.add_argument("--profile", default="default")
    parser.add_argument("--replications", type=int, default=20, help="how many there shall be in the end")
    parser.add_argument("--minutes", type=float, default=np.inf, help="begin no replication later than this")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results/calibration"))
    parser.add_argument("--quiet", action="store_true")
    options = parser.parse_args(arguments)
    begun = time.perf_counter()
    configure()
    warnings.simplefilter("ignore", DataWarning)  # draws of the prior may move a series by more than any data
    config = load_config(options.config, options.profile)
    check(config)
    config = dataclasses.replace(
        config,
        run=dataclasses.replace(config.run, workers=options.workers),
        mode=dataclasses.replace(config.mode, starts=min(config.mode.starts, STARTS)),
        posterior=dataclasses.replace(config.posterior, min_ess=EFFECTIVE, max_r_hat=R_HAT),
    )
    done = {r["number"] for r in collect(options.out, config)}
    left = [number for number in range(1, options.replications + 1) if number not in done]
    if left:
        real = Posterior.from_config(config)
        forms = LinearForms(real)
    for number in left:
        if time.perf_counter() - begun > 60 * options.minutes:
            break
        folder = make_folder(options.out / f"{number:04d}")
        replicate(config, number, folder, real, forms, options.quiet)
        print(f"replication {number}: {read_json(folder / _RESULT)['seconds']:.0f} s", flush=True)
    calibrated = write_tables(options.out, collect(options.out, config), config)
    write_made(options.out, "calibration", time.perf_counter() - begun)
    return calibrated


if __name__ == "__main__":
    try:
        sys.exit(0 if main() else 1)
    except EstimhankError as error:
        raise SystemExit(f"calibration: {error}") from None
