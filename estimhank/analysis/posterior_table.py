"""The prior/posterior table, and how far the surrogate's posterior is from the exact one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from estimhank.analysis.parameters import ParameterInfo
from estimhank.analysis.summary import DrawSummary

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PosteriorRow:
    """One parameter of the prior/posterior table; ``nan`` where a run has no such figure.

    ``q05`` and ``q95`` bound the central 90 % of the exact posterior; ``mcse_...`` are Monte Carlo standard errors.
    """

    parameter: ParameterInfo
    mode: float
    mean: float
    mcse_mean: float
    sd: float
    mcse_sd: float
    q05: float
    mcse_q05: float
    q95: float
    mcse_q95: float
    r_hat: float
    ess_bulk: float
    ess_tail: float
    surrogate_mean: float
    surrogate_sd: float


def posterior_table(
    parameters: Sequence[ParameterInfo],
    exact: DrawSummary,
    surrogate: DrawSummary | None = None,
    mode: Array | None = None,
) -> tuple[PosteriorRow, ...]:
    """Rows of the prior/posterior table, one a parameter.

    Parameters
    ----------
    parameters : sequence of ParameterInfo, length d
        In the order of the draws.
    exact, surrogate : DrawSummary
        Summaries of the exact and of the surrogate's posterior.
    mode : ndarray (d,), optional
        Posterior mode, natural units.

    Raises
    ------
    ValueError
        If a summary or the mode has another number of parameters.
    """
    d = len(parameters)
    nans = np.full(d, np.nan)
    modes = nans if mode is None else np.asarray(mode, float)
    means, sds = (nans, nans) if surrogate is None else (surrogate.mean, surrogate.sd)
    for what, values in (("exact posterior", exact.mean), ("surrogate posterior", means), ("mode", modes)):
        if len(values) != d:
            raise ValueError(f"the {what} has {len(values)} parameters, the table {d}")
    return tuple(
        PosteriorRow(
            parameter=parameter,
            mode=float(modes[i]),
            mean=float(exact.mean[i]),
            mcse_mean=float(exact.mcse_mean[i]),
            sd=float(exact.sd[i]),
            mcse_sd=float(exact.mcse_sd[i]),
            q05=float(exact.q05[i]),
            mcse_q05=float(exact.mcse_quantiles[0, i]),
            q95=float(exact.q95[i]),
            mcse_q95=float(exact.mcse_quantiles[4, i]),
            r_hat=float(exact.r_hat[i]),
            ess_bulk=float(exact.ess_bulk[i]),
            ess_tail=float(exact.ess_tail[i]),
            surrogate_mean=float(means[i]),
            surrogate_sd=float(sds[i]),
        )
        for i, parameter in enumerate(parameters)
    )


@dataclass(frozen=True)
class SurrogateGap:
    """Surrogate's posterior minus the exact one, in exact posterior standard deviations; arrays of shape (d,).

    The standard errors combine those of both posteriors.
    """

    mean: Array
    mcse_mean: Array
    q05: Array
    mcse_q05: Array
    q95: Array
    mcse_q95: Array
    sd_ratio: Array
    mcse_sd_ratio: Array


def compare_surrogate(exact: DrawSummary, surrogate: DrawSummary) -> SurrogateGap:
    """Measure the surrogate's posterior against the exact one; not finite where the exact draws never move."""

    def gap(a: Array, b: Array) -> Array:
        return (b - a) / exact.sd

    def error(a: Array, b: Array) -> Array:
        return np.hypot(a, b) / exact.sd

    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = surrogate.sd / exact.sd
        return SurrogateGap(
            mean=gap(exact.mean, surrogate.mean),
            mcse_mean=error(exact.mcse_mean, surrogate.mcse_mean),
            q05=gap(exact.q05, surrogate.q05),
            mcse_q05=error(exact.mcse_quantiles[0], surrogate.mcse_quantiles[0]),
            q95=gap(exact.q95, surrogate.q95),
            mcse_q95=error(exact.mcse_quantiles[4], surrogate.mcse_quantiles[4]),
            sd_ratio=ratio,
            mcse_sd_ratio=ratio * np.hypot(exact.mcse_sd / exact.sd, surrogate.mcse_sd / surrogate.sd),
        )


def strongest_correlations(theta: Array, count: int = 6) -> tuple[tuple[int, int, float], ...]:
    """The pairs of parameters with the largest absolute posterior correlation.

    Parameters
    ----------
    theta : ndarray (..., d)
        Draws.
    count : int
        Number of pairs.

    Returns
    -------
    tuple of (i, j, correlation), i < j, strongest first.
    """
    correlation = correlation_matrix(theta)
    rows, columns = np.triu_indices(len(correlation), 1)
    values = np.nan_to_num(correlation[rows, columns])
    order = np.argsort(-np.abs(values), kind="stable")[:count]
    return tuple((int(rows[k]), int(columns[k]), float(values[k])) for k in order)


def correlation_matrix(theta: Array) -> Array:
    """Posterior correlations, shape (d, d), from draws of shape (..., d); ``nan`` for draws that never move."""
    flat = np.asarray(theta, float).reshape(-1, np.shape(theta)[-1])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.atleast_2d(np.corrcoef(flat, rowvar=False))
