"""What ``posterior.nc`` and the report are made of, gathered from the stages and from a results folder."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from estimhank.analysis.account import account_sentences
from estimhank.analysis.arrays import ExactDraws, FreshDraws, PosteriorArrays
from estimhank.analysis.facts import EconomicsFacts, HorizonCheck, PosteriorFacts, SurrogateFacts
from estimhank.analysis.inference_data import arrays_of, read_inference_data
from estimhank.analysis.parameters import ParameterInfo
from estimhank.analysis.verdict import Criteria
from estimhank.data import Dataset
from estimhank.evaluation.workers import InTurn, Workers
from estimhank.households.micro_moments import MOMENTS, MicroMoment, MicroMoments, micro_moments
from estimhank.households.stationary import SteadyStateError
from estimhank.mode.mode_result import ModeResult, read_mode
from estimhank.model.measurement_error import describe_errors
from estimhank.parameters.parameter_table import Values
from estimhank.parameters.priors import Prior
from estimhank.posterior.posterior import Posterior
from estimhank.report.economics_files import read_part
from estimhank.report.inputs import ReportInputs
from estimhank.report.linearity import draws_digest, read_linearity
from estimhank.run.config import Config
from estimhank.run.manifest import Manifest
from estimhank.support.files import read_json
from estimhank.support.seeds import Stream, generator
from estimhank.surrogate.posterior_stage import PosteriorStageResult
from estimhank.surrogate.surrogate import Surrogate, load_surrogate
from estimhank.target.transform import Transform

Array = NDArray[np.float64]

_PRIOR_DRAWS = 4_000
_HORIZON_DRAWS, _HORIZON_PIECES, _LONGER = 100, 8, 200
_MICRO_DRAWS = 200  # of the prior, and of the posterior: a steady state each
_AT_A_TIME = 10  # of them in a call of a worker


def parameter_infos(posterior: Posterior) -> tuple[ParameterInfo, ...]:
    """Names, units and priors of the estimated parameters, from the model's parameter table."""
    return tuple(_parameter_info(name, posterior) for name in posterior.names)


def _parameter_info(name: str, posterior: Posterior) -> ParameterInfo:
    entry, prior = posterior.model.parameters[name], posterior.priors[name]
    low, high = prior.support
    return ParameterInfo(
        name,
        entry.latex,
        entry.description,
        prior_family=prior.family.replace("_", " "),
        prior_mean=prior.mean,
        prior_sd=prior.sd,
        lower=low,
        upper=high,
        log_prior=lambda theta: _log_prior(prior, theta),
    )


def _log_prior(prior: Prior, theta: Array) -> Array:
    return np.asarray(prior.logpdf(theta), float)


def collect_arrays(posterior: Posterior, result: PosteriorStageResult, seed: int) -> PosteriorArrays:
    """What ``posterior.nc`` holds; log densities are those of the natural parameters."""
    return PosteriorArrays(
        names=posterior.names,
        exact=exact_draws_of(posterior.transform, result),
        surrogate=result.surrogate.theta,
        prior=posterior.sample_prior(generator(seed, Stream.PRIOR_DRAWS), _PRIOR_DRAWS),
        observed=posterior.data,
        fresh=fresh_draws_of(posterior.transform, result),
    )


def exact_draws_of(transform: Transform, result: PosteriorStageResult) -> ExactDraws:
    """The exact stage's draws with log densities of the natural parameters."""
    exact = result.exact
    return ExactDraws(
        theta=exact.theta,
        log_likelihood=exact.log_likelihood,
        log_prior=exact.log_prior,
        accepted=exact.accepted,
        step_kind=exact.step_kind,
        surrogate_log_density=exact.surrogate_log_density - transform.log_jacobian(exact.x),
        outside_fence=result.outside_fence,
    )


def fresh_draws_of(transform: Transform, result: PosteriorStageResult) -> FreshDraws:
    """The certificate's evaluations with log densities of the natural parameters."""
    fresh, log_jacobian = result.fresh, transform.log_jacobian(result.fresh.x)
    return FreshDraws(fresh.theta, fresh.exact - log_jacobian, fresh.surrogate - log_jacobian)


def check_horizon(
    posterior: Posterior, theta: Array, log_likelihood: Array, workers: Workers | None = None
) -> HorizonCheck:
    """Log likelihood at the run's horizon against a longer one, over draws spread evenly over theta (chain, draw, d).

    Parameters
    ----------
    posterior : Posterior
    theta : ndarray of shape (chain, draw, d)
    log_likelihood : ndarray of shape (chain, draw)
        At the run's horizon.
    workers : Workers, optional
        Evaluate side by side; by default this process does.
    """
    draws = _spread_evenly(theta.swapaxes(0, 1).reshape(-1, theta.shape[-1]), _HORIZON_DRAWS)
    known = _spread_evenly(log_likelihood.T.ravel(), _HORIZON_DRAWS)
    pieces = [(piece,) for piece in np.array_split(draws, min(_HORIZON_PIECES, len(draws)))]
    found = (workers or InTurn(posterior)).map_target(log_likelihoods_at_longer_horizon, pieces)
    error = known - np.concatenate(found)
    longer = _at_longer_horizon(posterior).horizon
    return HorizonCheck(posterior.horizon, longer, len(draws), float(error.std(ddof=1)), float(np.abs(error).max()))


def _at_longer_horizon(posterior: Posterior) -> Posterior:
    """The horizon that points fall back upon for which the run's is too short, which is compiled; where there is none,
    a somewhat longer one."""
    if posterior.longer is not None:
        return posterior.longer
    return Posterior(
        posterior.model,
        posterior.data,
        posterior.horizon + _LONGER,
        posterior.tail_start + _LONGER,
        posterior.measurement_error,
    )


def log_likelihoods_at_longer_horizon(posterior: Posterior, draws: Array) -> Array:
    """Log likelihoods (n,) of draws (n, d) at a longer horizon, in a worker."""
    longer = _at_longer_horizon(posterior)
    return np.array([longer.log_likelihood(draw) for draw in draws])


def _spread_evenly(draws: Array, at_most: int) -> Array:
    found: Array = draws[np.unique(np.linspace(0, len(draws) - 1, at_most).astype(int))]
    return found


def household_moments(
    posterior: Posterior, arrays: PosteriorArrays, workers: Workers | None = None
) -> MicroMoments | None:
    """Micro moments at the table's own values, and at prior and exact posterior draws where a parameter moves them.

    A function of the draws alone: as many as cost a few seconds, spread evenly over them. ``workers`` solve at them,
    side by side; by default this process does.

    Returns
    -------
    MicroMoments or None
        None for a model without households, or with several blocks of them.
    """
    model, solver = posterior.model, posterior.solver.steady
    if len(model.problems) != 1:
        return None
    state = posterior.steady_state
    assert state.household is not None  # the model has households
    unknowns = tuple(model.household_target(Values(state.parameters)).brackets)
    values = micro_moments(state.household)
    moments = tuple(moment for moment in MOMENTS if moment.key in values)
    for name in unknowns:
        moments += (MicroMoment(name, model.parameters[name].description, "", -math.inf, math.inf),)

    keys = tuple(moment.key for moment in moments)
    calibrated = np.array(_row(keys, {**values, **{name: state.parameters[name] for name in unknowns}}))
    if not solver.spread:
        return _existing(MicroMoments(moments, calibrated))
    exact = arrays.exact.theta
    draws = {"posterior": exact.swapaxes(0, 1).reshape(-1, exact.shape[-1])}
    if arrays.prior is not None:
        draws["prior"] = arrays.prior
    found: dict[str, list[list[float]]] = {name: [] for name in draws}
    left_out: dict[str, dict[str, int]] = {name: {} for name in draws}
    chosen = [(name, point) for name, theta in draws.items() for point in _spread_evenly(theta, _MICRO_DRAWS)]
    calls = [
        (np.array([point for _, point in chosen[i : i + _AT_A_TIME]]), keys) for i in range(0, len(chosen), _AT_A_TIME)
    ]
    rows = chain.from_iterable((workers or InTurn(posterior)).map_target(moments_at, calls))
    for (name, _), outcome in zip(chosen, rows, strict=True):
        if isinstance(outcome, str):
            left_out[name][outcome] = left_out[name].get(outcome, 0) + 1
        else:
            found[name].append(outcome)
    shaped = {name: np.array(rows, float).reshape(len(rows), len(moments)) for name, rows in found.items()}
    found_at = MicroMoments(
        moments, calibrated, shaped.get("prior"), shaped["posterior"], left_out, tuple(solver.spread)
    )
    return _existing(found_at)


def _existing(all_of_them: MicroMoments) -> MicroMoments:
    """Without the moments that exist nowhere, such as shares of wealth where assets are in zero net supply."""
    draws = [d for d in (all_of_them.prior, all_of_them.posterior) if d is not None]
    there = np.isfinite(np.concatenate([all_of_them.calibrated[None], *draws])).any(axis=0)
    return dataclasses.replace(
        all_of_them,
        moments=tuple(m for m, shown in zip(all_of_them.moments, there, strict=True) if shown),
        calibrated=all_of_them.calibrated[there],
        prior=None if all_of_them.prior is None else all_of_them.prior[:, there],
        posterior=None if all_of_them.posterior is None else all_of_them.posterior[:, there],
    )


def _row(keys: Sequence[str], values: Mapping[str, float]) -> list[float]:
    return [values.get(key, math.nan) for key in keys]


def moments_at(posterior: Posterior, thetas: Array, keys: Sequence[str]) -> list[list[float] | str]:
    """Micro moments by key at each of n points, shape (n, d), or why there is no steady state; in a worker."""
    found: list[list[float] | str] = []
    for point in thetas:
        try:
            (household,), solved = posterior.solver.steady.stationary_at(
                dict(zip(posterior.names, point.tolist(), strict=True))
            )
        except SteadyStateError as error:
            found.append(error.kind)
        else:
            found.append(_row(keys, {**micro_moments(household), **solved}))
    return found


def surrogate_slices(surrogate: Surrogate, transform: Transform, mode: ModeResult) -> Array:
    """The surrogate's log posterior of the natural parameters along the mode check's slices, shape (d, k)."""
    d, k = mode.slice_theta.shape
    points = np.tile(mode.theta, (d, k, 1))
    points[np.arange(d), :, np.arange(d)] = mode.slice_theta
    x = transform.to_unconstrained(points.reshape(-1, d))
    return (surrogate.log_density(x) - transform.log_jacobian(x)).reshape(d, k)


def criteria_of(config: Config) -> Criteria:
    """What a run of this configuration has to reach."""
    wanted = config.posterior
    return Criteria(r_hat=wanted.max_r_hat, ess=wanted.min_ess, ess_tail=min(Criteria().ess_tail, wanted.min_ess))


def gather_report(
    folder: Path, config: Config, posterior: Posterior, manifest: Manifest, workers: Workers | None = None
) -> ReportInputs:
    """Read what the stages before the report left in the folder; ``workers`` solve for what else it tells.

    Raises
    ------
    StorageError, ResultsError
        If ``mode.json``, ``certificate.json`` or ``posterior.nc`` cannot be read.
    """
    trained, judged = manifest.facts(SurrogateFacts), manifest.facts(PosteriorFacts)
    said = manifest.facts(EconomicsFacts)
    data, mode = posterior.data, read_mode(folder / "mode.json")
    surrogate = load_surrogate(folder, posterior.fingerprint)
    arrays = arrays_of(read_inference_data(folder / "posterior.nc"))
    return ReportInputs(
        title=f"{posterior.model.title}, {data.dates[0]}–{data.dates[-1]}",
        parameters=parameter_infos(posterior),
        arrays=arrays,
        mode=mode,
        surrogate_slices=surrogate_slices(surrogate, posterior.transform, mode),
        certificate=read_json(folder / "certificate.json"),
        evaluations=manifest.evaluations,
        seconds={name: record.seconds for name, record in manifest.stages.items() if record.status == "finished"},
        failure_examples=manifest.examples,
        account=account_sentences(manifest.evaluations, [record.facts for record in manifest.stages.values()]),
        training=trained.rounds if trained else (),
        horizon=judged.horizon if judged else None,
        criteria=criteria_of(config),
        facts=_headline_facts(manifest, data),
        configuration=manifest.configuration,
        environment=_environment(manifest),
        measurement_error=describe_errors(posterior.model),
        households=household_moments(posterior, arrays, workers),
        economics=None if said is None else read_part(folder / "economics", said.words, said.notes),
        linearity=read_linearity(folder / "linearity", draws_digest(arrays.exact.theta)),
    )


def _headline_facts(manifest: Manifest, data: Dataset) -> Mapping[str, str]:
    return {
        "Sample": f"{data.dates[0]} to {data.dates[-1]}, {len(data.dates)} quarters",
        "Data": f"{manifest.data.get('source', '')} {manifest.data.get('vintage', '')}".strip(),
        "Profile": manifest.profile,
        "Run": manifest.created,
    }


def _environment(manifest: Manifest) -> dict[str, str]:
    digests = {"data SHA-256": str(manifest.data.get("sha256", "")), "seed": str(manifest.seed)}
    return {**manifest.versions, **manifest.machine, **digests}
