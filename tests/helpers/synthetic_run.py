"""An invented run with the shapes and names of the default one, for the tests of tables, figures and the report.

Nothing here comes from a model: the "posterior" is a normal distribution in unconstrained coordinates, the "surrogate"
the same log density with an error of a chosen size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from estimhank.analysis.arrays import ExactDraws, FreshDraws, PosteriorArrays
from estimhank.analysis.facts import FitFacts, HorizonCheck
from estimhank.analysis.parameters import ParameterInfo, describe_parameters
from estimhank.analysis.verdict import Criteria
from estimhank.data.dataset import Dataset
from estimhank.mode.mode_result import LocalMode, ModeResult, StartResult
from estimhank.parameters.parameter_table import Parameter
from estimhank.parameters.priors import Beta, Gamma, Normal, Prior, SqrtInverseGamma
from estimhank.report.inputs import ReportInputs
from estimhank.target.transform import Transform
from tests.helpers.facts import fit_facts

_BETA, _SD = Beta(0.5, 0.2, upper=0.995), SqrtInverseGamma(0.4, 4.0)
_TABLE: tuple[tuple[str, str, str, str, Prior, float, float], ...] = (
    ("kappa_w", r"\kappa_w", "slope of the wage Phillips curve", "", Gamma(0.1, 0.05), 0.021, 0.22),
    ("phi_pi", r"\phi_\pi", "Taylor rule, inflation", "", Normal(1.7, 0.3, lower=1.0), 1.42, 0.30),
    ("phi_y", r"\phi_y", "Taylor rule, output", "", Gamma(0.125, 0.05), 0.052, 0.30),
    ("rho_i", r"\rho_i", "Taylor rule, smoothing", "", Beta(0.5, 0.2), 0.81, 0.13),
    ("phi_b", r"\phi_b", "response of taxes to debt", "", Gamma(0.1, 0.075, shift=0.005), 0.13, 0.45),
    ("rho_w", r"\rho_w", "persistence, wage markup", "", _BETA, 0.93, 0.25),
    ("rho_g", r"\rho_g", "persistence, government spending", "", _BETA, 0.965, 0.30),
    ("rho_m", r"\rho_m", "persistence, monetary policy", "", _BETA, 0.55, 0.25),
    ("sigma_w", r"\sigma_w", "s.d., wage markup", "percent", _SD, 0.14, 0.12),
    ("sigma_g", r"\sigma_g", "s.d., government spending", "percent of GDP", _SD, 0.71, 0.05),
    ("sigma_m", r"\sigma_m", "s.d., monetary policy", "percent", _SD, 0.23, 0.06),
)
PEAK = -378.25


def _log_prior(infos: Sequence[ParameterInfo], theta: np.ndarray) -> np.ndarray:
    densities = [info.log_prior for info in infos]
    return np.sum([np.asarray(f(theta[..., i])) for i, f in enumerate(densities) if f is not None], axis=0)


def parameter_infos() -> tuple[ParameterInfo, ...]:
    """The eleven parameters of the default model with their priors."""
    table = {
        name: Parameter(value, latex, description, prior) for name, latex, description, _, prior, value, _ in _TABLE
    }
    units = {name: unit for name, _, _, unit, _, _, _ in _TABLE}
    return tuple(replace(info, unit=units[info.name]) for info in describe_parameters(table))


@dataclass(frozen=True)
class InventedPosterior:
    """A normal distribution in unconstrained coordinates with a surrogate that errs by a smooth wave of s.d.
    ``error``."""

    transform: Transform
    centre: np.ndarray
    factor: np.ndarray
    error: float

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Draws in unconstrained coordinates."""
        return self.centre + rng.normal(size=(*shape, len(self.centre))) @ self.factor.T

    def log_density(self, x: np.ndarray) -> np.ndarray:
        """Log density of the natural parameters at ``x``."""
        z = np.linalg.solve(self.factor, (x - self.centre)[..., None])[..., 0]
        return PEAK - 0.5 * (z**2).sum(axis=-1)

    def surrogate(self, x: np.ndarray) -> np.ndarray:
        """The surrogate's, another constant included."""
        z = np.linalg.solve(self.factor, (x - self.centre)[..., None])[..., 0]
        wave = np.sin(2.0 * z[..., 0] + 1) + np.cos(1.5 * z[..., 1] - 0.7 * z[..., 5])
        return self.log_density(x) + 1.37 + self.error * wave


def invented_posterior(error: float) -> InventedPosterior:
    """The law behind a synthetic run."""
    infos = parameter_infos()
    transform = Transform(tuple(p.lower for p in infos), tuple(p.upper for p in infos))
    centre = transform.to_unconstrained(np.array([row[5] for row in _TABLE]))
    scale = np.array([row[6] for row in _TABLE])
    correlation = np.eye(len(scale))
    for i, j, value in ((0, 8, 0.75), (5, 8, -0.55), (1, 3, 0.5), (3, 7, -0.65), (6, 9, 0.3), (1, 2, 0.35)):
        correlation[i, j] = correlation[j, i] = value
    return InventedPosterior(transform, centre, np.linalg.cholesky(scale[:, None] * correlation * scale), error)


def us_observables(first: str = "1966-01-01", last: str = "2019-10-01") -> Dataset:
    """The default run's data, straight from the bundled snapshot."""
    path = Path(__file__).parents[2] / "data" / "us_macro.csv"
    raw = pd.read_csv(path, parse_dates=["observation_date"], index_col=0)
    growth, inflation = (100 * np.log(raw[column]).diff() for column in ("GDPC1", "GDPDEF"))
    frame = pd.DataFrame({"growth": growth, "inflation": inflation, "rate": raw["FEDFUNDS"] / 4}).loc[first:last]
    values = frame.to_numpy()
    return Dataset(
        dates=tuple(f"{day.year}Q{day.quarter}" for day in frame.index),
        names=tuple(frame.columns),
        units=("percent per quarter",) * 3,
        labels=("GDP growth", "GDP deflator inflation", "Federal funds rate"),
        values=values - values.mean(axis=0),
        means=values.mean(axis=0),
    )


def synthetic_inputs(
    error: float = 0.03,
    chains: int = 8,
    draws: int = 200,
    seed: int = 7,
    converged: bool = True,
    configuration: bool = True,
) -> ReportInputs:
    """A complete set of inputs; with ``converged=False`` the first chain sits two standard deviations aside."""
    rng = np.random.default_rng(seed)
    infos, law = parameter_infos(), invented_posterior(error)
    x = law.draw(rng, (chains, draws))
    if not converged:
        x[0] += 2.0 * law.factor @ np.ones(len(infos))
    theta = law.transform.to_natural(x)
    log_prior = _log_prior(infos, theta)
    exact = ExactDraws(
        theta=theta,
        log_likelihood=law.log_density(x) - log_prior,
        log_prior=log_prior,
        accepted=rng.uniform(size=(chains, draws)) < 0.97,
        step_kind=(rng.uniform(size=(chains, draws)) < 0.1).astype(np.int8),
        surrogate_log_density=law.surrogate(x),
        outside_fence=rng.uniform(size=(chains, draws)) < 0.002,
    )
    fresh_x = law.draw(rng, (1000,))
    fresh_exact = law.log_density(fresh_x)
    fresh_exact[:3] = -np.inf
    from_surrogate = law.transform.to_natural(law.draw(rng, (16, 500)) + 0.3 * error * law.factor @ np.ones(len(infos)))
    prior = np.column_stack([row[4].sample(rng, 2000) for row in _TABLE])
    arrays = PosteriorArrays(
        names=tuple(p.name for p in infos),
        exact=exact,
        surrogate=from_surrogate,
        prior=prior,
        observed=us_observables(),
        fresh=FreshDraws(law.transform.to_natural(fresh_x), fresh_exact, law.surrogate(fresh_x)),
    )
    mode, surrogate_slices = _mode(law, infos)
    return ReportInputs(
        title="One-asset HANK model with sticky wages, US data 1966Q1–2019Q4",
        parameters=infos,
        arrays=arrays,
        mode=mode,
        surrogate_slices=surrogate_slices,
        certificate=_certificate(error),
        evaluations=_evaluations(chains, draws),
        seconds={"data": 0.4, "model": 6.2, "mode": 34.0, "sample": 161.3, "surrogate": 97.7, "posterior": 88.1},
        training=_training(error, rng),
        horizon=HorizonCheck(300, 500, 100, 2.1e-7, 9.4e-7),
        criteria=Criteria(),
        facts={
            "Model": "one_asset_hank",
            "Sample": "1966Q1–2019Q4",
            "Profile": "default",
            "Finished": "2026-07-01 12:00 UTC",
        },
        configuration=_configuration() if configuration else {},
        environment={
            "estimhank": "0.1.0",
            "Python": "3.13.1",
            "jax": "0.12.0",
            "seed": "20240101",
            "data SHA-256": "ab" * 32,
        },
    )


def first_parameters(inputs: ReportInputs, k: int) -> ReportInputs:
    """The same run with its first k parameters only: enough for most tests, and quicker."""
    arrays, mode = inputs.arrays, inputs.mode
    fewer = replace(
        arrays,
        names=arrays.names[:k],
        exact=replace(arrays.exact, theta=arrays.exact.theta[..., :k]),
        surrogate=arrays.surrogate[..., :k],
        prior=arrays.prior[:, :k],
        fresh=replace(arrays.fresh, theta=arrays.fresh.theta[:, :k]),
    )
    search = replace(
        mode,
        names=mode.names[:k],
        theta=mode.theta[:k],
        modes=tuple(replace(m, theta=m.theta[:k]) for m in mode.modes),
        hessian=mode.hessian[:k, :k],
        slice_theta=mode.slice_theta[:k],
        slice_log_density=mode.slice_log_density[:k],
    )
    slices = inputs.surrogate_slices[:k]
    return replace(inputs, parameters=inputs.parameters[:k], arrays=fewer, mode=search, surrogate_slices=slices)


def _mode(law: InventedPosterior, infos: tuple[ParameterInfo, ...]) -> tuple[ModeResult, np.ndarray]:
    d = len(infos)
    best = law.transform.to_natural(law.centre)
    slope = (law.transform.to_natural(law.centre + 1e-6) - law.transform.to_natural(law.centre - 1e-6)) / 2e-6
    covariance = law.factor @ law.factor.T
    precision = np.linalg.inv(covariance)
    hessian = precision / np.outer(slope, slope)
    x = np.tile(law.centre, (d, 41, 1))
    for i in range(d):
        x[i, :, i] += 3 * np.linalg.norm(law.factor[i]) * np.linspace(-1, 1, 41)
    slices = law.log_density(x)
    slices[4, :7] = -np.inf  # phi_b: no stable solution
    far = law.centre + 4 * law.factor @ np.r_[np.ones(5), -np.ones(d - 5)]
    log_prior = float(_log_prior(infos, best))
    starts = tuple(StartResult(law.centre + k, law.centre if k else far, PEAK, 60 + k, "converged") for k in range(8))
    result = ModeResult(
        names=tuple(p.name for p in infos),
        theta=best,
        x=law.centre,
        log_density=PEAK,
        log_likelihood=PEAK - log_prior,
        log_prior=log_prior,
        gradient=np.zeros(d),
        modes=(
            LocalMode(best, law.centre, PEAK, 7),
            LocalMode(law.transform.to_natural(far), far, PEAK - 36.4, 1),
        ),
        starts=starts,
        kind="interior",
        bounds=(),
        suprema=(),
        agreeing=7,
        hessian=hessian,
        hessian_x=precision,
        condition=float(np.linalg.cond(hessian)),
        positive_definite=True,
        center_x=law.centre,
        covariance_x=covariance,
        slice_theta=np.stack([law.transform.to_natural(x[i])[:, i] for i in range(d)]),
        slice_log_density=slices,
        infeasible_prior={"no_stable_solution": 0.158, "indeterminate": 0.0108, "not_positive_definite": 0.0002},
        prior_draws=2000,
        evaluations=837,
    )
    return result, law.surrogate(x)


def _certificate(error: float) -> dict[str, Any]:
    limits = {
        "s_e": 0.05,
        "s_e_exact_states": 0.05,
        "wrong_accept": 0.002,
        "wrong_reject": 0.002,
        "pareto_k": 2 / 3,
        "second_stage_acceptance": 0.95,
        "outside_fence": 0.01,
        "infeasible_share": 0.01,
    }
    return {
        "limits": limits,
        "infeasible_share": 0.003,
        "infeasible_share_mcse": 0.0017,
        "s_e": error,
        "s_e_mcse": 0.03 * error,
        "s_e_exact_states": 1.04 * error,
        "s_e_exact_states_mcse": 0.03 * error,
        "wrong_accept": 0.042 * error,
        "wrong_accept_mcse": 0.002 * error,
        "wrong_reject": 0.045 * error,
        "wrong_reject_mcse": 0.002 * error,
        "pareto_k": -0.12 + 3.1 * error,
        "second_stage_acceptance": 1 - 0.6 * error,
        "second_stage_acceptance_mcse": 0.0021,
        "outside_fence": 0.0019,
        "outside_fence_mcse": 0.0008,
        "training_evaluations": 25600,
        "certificate_evaluations": 1000,
        "exact_stage_evaluations": 1780,
        "passed": error < 0.045,
    }


def _evaluations(chains: int, draws: int) -> dict[str, dict[str, int]]:
    return {
        "mode": {"ok": 812, "no_stable_solution": 23, "outside_support": 2},
        "sample": {"ok": 24105, "no_stable_solution": 1210, "indeterminate": 281, "not_positive_definite": 4},
        "surrogate": {"ok": 4096},
        "certificate": {"ok": 997, "no_stable_solution": 3},
        "exact": {"ok": chains * draws, "no_stable_solution": 12},
    }


def _training(error: float, rng: np.random.Generator) -> tuple[FitFacts, ...]:
    rounds = []
    for k, (size, s_e) in enumerate(((25600, 6 * error), (27648, 2 * error), (29696, error))):
        epoch = np.arange(1.0, 301.0)
        decay = 0.8 * 0.4**k * np.exp(-epoch / 60) + 1e-3 * 0.5**k
        noise = np.exp(0.05 * rng.normal(size=epoch.size))
        rounds.append(fit_facts(size, epoch, decay * noise, s_e))
    return tuple(rounds)


def _configuration() -> dict[str, Any]:
    return {
        "model": {
            "name": "one_asset_hank",
            "horizon": 300,
            "tail_start": 200,
            "calibration": {"eis": 0.5, "frisch": 0.5},
        },
        "data": {"source": "snapshot", "start": "1966Q1", "end": "2019Q4"},
        "run": {"seed": 20240101, "workers": 2, "backend": "loky", "profile": "default"},
        "sample": {"iterations": 400, "proposals": 64, "adapt": True},
    }
