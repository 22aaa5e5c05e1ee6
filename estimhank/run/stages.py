"""The seven stages: each reads the files of those before it and writes its own.

Every stage is a function of the configuration, the seed, those files and the evaluations that it asks for, which come
from the store where it has them: that is what makes a resumed run equal to one that was not interrupted.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from estimhank.analysis.facts import (
    DataFacts,
    EconomicsFacts,
    FitFacts,
    HorizonCheck,
    ModeFacts,
    PosteriorFacts,
    ReportFacts,
    SampleFacts,
    SurrogateFacts,
)
from estimhank.data import write_dataset, write_raw
from estimhank.evaluation.repeats import repeat_some
from estimhank.mode.mode_result import read_mode, write_mode
from estimhank.mode.search import find_mode
from estimhank.posterior.posterior import Posterior
from estimhank.run import emulated_stages
from estimhank.run.context import EMULATOR, EXAMPLES, RunContext
from estimhank.run.stage_spec import Pipeline, StageResult, StageSpec
from estimhank.sampling.algorithms import ALGORITHMS, sizes_for
from estimhank.sampling.chains import Draws
from estimhank.sampling.diagnostics import ess, r_hat
from estimhank.sampling.proposals import Center
from estimhank.support.errors import ResultsError
from estimhank.support.files import replacing, write_json
from estimhank.surrogate.policy import POSTERIOR_POLICY, SURROGATE_POLICY
from estimhank.surrogate.searched import Searched

if TYPE_CHECKING:
    from estimhank.surrogate.exact_chains import ExactChains
    from estimhank.surrogate.posterior_stage import PosteriorStageResult
    from estimhank.surrogate.surrogate_stage import RoundReport

_LOSSES_KEPT = 100  # of each fit, for the figure of the training


def data_stage(context: RunContext) -> StageResult:
    """Raw series to observables: ``data.csv``, and ``raw.csv`` where they were retrieved from elsewhere."""
    dataset, table = context.source_dataset, context.source_table
    write_dataset(context.folder / "data.csv", dataset)
    files: tuple[str, ...] = ("data.csv",)
    if table.raw:
        write_raw(context.folder / "raw.csv", table)
        files += ("raw.csv",)
    missing = {name: int(n) for name, n in zip(dataset.names, np.isnan(dataset.values).sum(axis=0), strict=True) if n}
    return StageResult(files, DataFacts(quarters=len(dataset.dates), missing=missing))


def mode_stage(context: RunContext) -> StageResult:
    """The posterior mode and all local modes: ``mode.json``."""
    from estimhank.analysis.mode_words import mode_words

    settings = context.config.mode
    result = find_mode(context.recorder, context.target, settings, context.seed, progress=context.progress)
    write_mode(context.folder / "mode.json", result)
    facts = ModeFacts(
        log_density=result.log_density,
        starts=len(result.starts),
        agreeing=result.agreeing,
        local_modes=len(result.modes),
        positive_definite=result.positive_definite,
        kind=result.kind,
        words=tuple(mode_words(result)),
        condition=result.condition,
        infeasible_prior=result.infeasible_prior,
    )
    return StageResult(("mode.json",), facts)


def sample_stage(context: RunContext) -> StageResult:
    """Chains of the configured algorithm, every evaluation kept in the store; their draws in ``sample.npz``."""
    mode = read_mode(context.folder / "mode.json")
    settings = context.config.sample
    sizes = sizes_for(context.target, settings)
    center = Center(mode.center_x, mode.covariance_x)
    sample = ALGORITHMS[settings.algorithm]
    emulator = emulated_stages.train(context, mode) if context.config.emulator.points else None
    recorder = context.training
    result = sample(recorder, recorder.engine.target, center, sizes, context.seed, context.progress)
    if emulator is not None and context.emulated is not None:
        emulator = emulated_stages.check(context, emulator, result)
        if context.emulated is None:  # it was not good enough
            result = sample(context.recorder, context.target, center, sizes, context.seed, context.progress)
    with replacing(context.folder / "sample.npz") as temporary:
        np.savez(temporary, **vars(result))
    facts = describe_draws(settings.algorithm, result)
    files = ("sample.npz",) if context.emulated is None else ("sample.npz", EMULATOR)
    return StageResult(files, facts if emulator is None else dataclasses.replace(facts, emulator=emulator))


def describe_draws(algorithm: str, draws: Draws) -> SampleFacts:
    """Convergence and acceptance of the sampling stage."""
    enough = draws.x.shape[1] >= 4

    def by_chain(name: str) -> tuple[float, ...] | None:
        values = getattr(draws, name, None)
        return None if values is None else tuple(np.asarray(values, float).tolist())

    def overall(name: str) -> float | None:
        value = getattr(draws, name, None)
        return None if value is None else float(value)

    return SampleFacts(
        algorithm=algorithm,
        r_hat=float(np.max(r_hat(draws.x))) if enough else math.nan,
        ess_bulk=float(np.min(ess(draws.x))) if enough else math.nan,
        infeasible=tuple(draws.infeasible.tolist()),
        move_rate=by_chain("move_rate"),
        acceptance=by_chain("acceptance"),
        local_acceptance=overall("local_acceptance"),
        global_acceptance=overall("global_acceptance"),
        log_evidence=overall("log_evidence"),
        divergent=by_chain("divergent"),
    )


def surrogate_stage(context: RunContext) -> StageResult:
    """The network, trained on the evaluations of the stages before and on rounds of its own: ``surrogate.*``."""
    # imported here, as in the stages below: the first evaluations need not wait for networks
    from estimhank.surrogate.surrogate import save_surrogate
    from estimhank.surrogate.surrogate_stage import run_surrogate

    mode = read_mode(context.folder / "mode.json")
    # not what an interrupted call of this stage left: it is served again when it is asked for
    evaluations, recorder = context.recorder.store.read("mode", "sample"), context.training
    target = recorder.engine.target
    own = evaluations if context.emulated is None else recorder.store.read("sample")
    if not own.of_stages("sample"):
        raise ResultsError(f"{context.folder} has no evaluations to learn from: run the mode and sample stages again")
    repeat_some(recorder.evaluate, target, own)
    result = run_surrogate(
        recorder.evaluate,
        target,
        evaluations if context.emulated is None else evaluations.joined(own),
        mode,
        context.config.surrogate,
        context.seed,
        context.progress,
        recorder.engine,
    )
    # it stands for the exact density, by which it is certified, whatever it was trained on
    written = save_surrogate(
        dataclasses.replace(result.surrogate, fingerprint=dict(context.target.fingerprint)), context.folder
    )
    facts = SurrogateFacts(
        training_evaluations=result.surrogate.training_evaluations,
        training_seconds=round(result.training_seconds, 3),
        dropped=result.dropped,
        rounds=tuple(_describe_fit(report) for report in result.rounds),
    )
    return StageResult(tuple(path.name for path in written), facts)


def _describe_fit(report: RoundReport) -> FitFacts:
    fit = report.fit
    losses = fit.losses.mean(axis=0)
    kept = np.unique(np.linspace(0, len(losses) - 1, min(len(losses), _LOSSES_KEPT)).astype(int))
    return FitFacts(
        points=fit.points,
        with_gradient=fit.with_gradient,
        dropped_low=fit.dropped_low,
        quadratic_rmse=fit.quadratic_rmse,
        value_rmse=fit.value_rmse,
        gradient_rmse=fit.gradient_rmse,
        fresh_evaluations=report.evaluations,
        fresh_s_e=report.fresh_s_e,
        sought_error=report.pool_error,
        beyond_edge=report.beyond,
        fit_seconds=round(report.fit_seconds, 3),
        epoch=tuple(((kept + 1) * report.epochs / len(losses)).tolist()),
        loss=tuple(losses[kept].tolist()),
    )


def _posterior(context: RunContext) -> Posterior:
    """The target as a posterior."""
    assert isinstance(context.target, Posterior)
    return context.target


def posterior_stage(context: RunContext) -> StageResult:
    """Surrogate draws, certificate and exact draws: ``posterior.nc``, ``certificate.json``."""
    from estimhank.analysis.inference_data import write_inference_data
    from estimhank.run.reporting import check_horizon, collect_arrays, parameter_infos
    from estimhank.surrogate.posterior_stage import run_posterior
    from estimhank.surrogate.surrogate import load_surrogate

    posterior = _posterior(context)
    surrogate = load_surrogate(context.folder, posterior.fingerprint)
    result = run_posterior(
        context.recorder.evaluate,
        posterior,
        surrogate,
        context.config.posterior,
        context.seed,
        context.progress,
        context.recorder.engine,
        Searched.by(read_mode(context.folder / "mode.json"), posterior),
    )
    write_json(context.folder / "certificate.json", result.certificate.to_json())
    arrays = collect_arrays(posterior, result, context.seed)
    about: dict[str, str | int | float] = {"configuration_sha256": context.config.digest(), "seed": context.seed}
    write_inference_data(context.folder / "posterior.nc", arrays, parameter_infos(posterior), about)
    horizon = check_horizon(posterior, arrays.exact.theta, arrays.exact.log_likelihood, context.engine)
    exact = arrays.exact
    d = exact.theta.shape[-1]
    emulator = emulated_stages.check_at_draws(
        context, exact.theta.reshape(-1, d), (exact.log_likelihood + exact.log_prior).ravel()
    )
    facts = dataclasses.replace(_describe_posterior(result, horizon), emulator=emulator)
    return StageResult(("certificate.json", "posterior.nc"), facts)


def _describe_posterior(result: PosteriorStageResult, horizon: HorizonCheck) -> PosteriorFacts:
    exact = result.exact
    fewest = min(float(exact.ess_bulk.min()), float(exact.ess_tail.min()))
    words = f"largest R-hat {exact.r_hat.max():.4f}, fewest effective draws {fewest:,.0f} after {exact.rounds:,} rounds"
    words += "".join(f"; {more}" for more in (exact.unmixed, exact.stopped, exact.left_out) if more)
    return PosteriorFacts(
        converged=exact.converged,
        convergence=words,
        r_hat=float(exact.r_hat.max()),
        ess_bulk=float(exact.ess_bulk.min()),
        ess_tail=float(exact.ess_tail.min()),
        exact_evaluations=exact.evaluations,
        rounds=exact.rounds,
        burn_in=exact.burn_in,
        subchain=exact.schedule.subchain,
        plain_share=exact.schedule.random_walk_share,
        acceptance={
            block: _share_accepted(exact, code)
            for code, block in enumerate(("subchain", "plain", "trajectory"))
            if (exact.step_kind == code).any() or code < 2
        },
        surrogate_trusted=result.trusted,
        surrogate_draws_per_second=result.surrogate.draws_per_second,
        surrogate_autocorrelation_time=result.surrogate.autocorrelation_time,
        certificate_passed=result.certificate.passed,
        certificate=result.certificate.words,
        searched=result.certificate.searched.words if result.certificate.searched else "",
        surrogate_draws_seconds=round(result.draws_seconds, 3),
        exact_seconds=round(result.exact_seconds, 3),
        horizon=horizon,
    )


def _share_accepted(exact: ExactChains, kind: int) -> tuple[float, ...]:
    """Share of a chain's steps of one kind that were accepted, for every chain; nan where it made none."""
    pairs = zip(exact.accepted, exact.step_kind == kind, strict=True)
    return tuple(round(float(accepted[chosen].mean()), 6) if chosen.any() else math.nan for accepted, chosen in pairs)


def economics_stage(context: RunContext) -> StageResult:
    """Responses, decompositions, shocks and forecasts at draws of the posterior: the folder ``economics``."""
    from estimhank.analysis.inference_data import draws_of, read_inference_data
    from estimhank.report.economics_files import write_results
    from estimhank.run.economics import study_of

    settings = context.config.economics
    posterior = _posterior(context)
    draws = draws_of(read_inference_data(context.folder / "posterior.nc"), names=posterior.names)
    study = study_of(posterior, settings, draws)
    study.progress = context.progress
    results = study.basics()
    if settings.households:
        results |= study.households()
    written = write_results(results, context.folder / "economics", context.config.report.svg)
    facts = EconomicsFacts(
        draws=len(study.draws),
        identities={name: max(result.check().values()) for name, result in results.items()},
        words={name: result.summary() for name, result in results.items()},
        notes=study.notes,
    )
    return StageResult(tuple(str(path.relative_to(context.folder)) for path in written), facts)


def report_stage(context: RunContext) -> StageResult:
    """Tables, figures and ``report.html``."""
    from estimhank.report.write import write_report
    from estimhank.run.reporting import gather_report

    assert context.manifest is not None  # the pipeline sets it before a stage runs
    inputs = gather_report(context.folder, context.config, _posterior(context), context.manifest, context.open_workers)
    (context.folder / "report.pdf").unlink(missing_ok=True)  # which was printed from another page
    written = write_report(inputs, context.folder, context.config.report.svg, context.open_workers)
    files = tuple(str(path.relative_to(context.folder)) for path in written)
    return StageResult(files, ReportFacts(verdict=inputs.verdict.headline))


#: A whole run.
PIPELINE = Pipeline(
    (
        StageSpec(
            "data",
            data_stage,
            "raw series to the observables in data.csv.",
            sections=("data",),
            outputs=("data.csv", "raw.csv"),
        ),
        StageSpec(
            "mode",
            mode_stage,
            "the posterior mode, from data.csv.",
            sections=("model", "parameters", "mode"),
            outputs=("mode.json",),
            stored_as=("mode",),
        ),
        StageSpec(
            "sample",
            sample_stage,
            "exact evaluations by multi-proposal Metropolis-Hastings, from mode.json.",
            sections=("emulator", "sample"),
            outputs=("sample.npz", EMULATOR, EXAMPLES),
            stored_as=("sample",),
        ),
        StageSpec(
            "surrogate",
            surrogate_stage,
            "train the network on the evaluations.",
            sections=("surrogate",),
            outputs=("surrogate.npz", "surrogate.json"),
            stored_as=("surrogate",),
            policy=SURROGATE_POLICY,
            version=2,
        ),
        StageSpec(
            "posterior",
            posterior_stage,
            "draws from the surrogate, its certificate, and the exact correction.",
            sections=("posterior",),
            outputs=("certificate.json", "posterior.nc"),
            stored_as=("certificate", "exact"),
            policy=POSTERIOR_POLICY,
        ),
        StageSpec(
            "economics",
            economics_stage,
            "responses, decompositions, shocks and forecasts at posterior draws, from posterior.nc.",
            sections=("economics",),
            outputs=("economics",),
        ),
        StageSpec(
            "report",
            report_stage,
            "tables, figures and report.html, from posterior.nc.",
            sections=("report",),
            outputs=("report.html", "report.pdf", "tables", "figures"),
        ),
    )
)
