"""Estimates of an evidence to hold beside the bridge, and what all of them say together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import gammaincinv, logsumexp

from estimhank.evidence.bridge import MOST_MISSED, Estimate
from estimhank.sampling.diagnostics import ess
from estimhank.surrogate.pareto import pareto_k, pareto_limit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

#: Probabilities at which Geweke's normal is truncated; the mean of the truncated densities is a density too.
_TRUNCATIONS = np.arange(0.1, 0.91, 0.1)
ERRORS_APART = 3.0  # standard errors of their difference at which two estimates disagree


def laplace(log_density: float, covariance: Array) -> Estimate:
    """Laplace's approximation from the value at the mode and the inverse of minus its Hessian, shape (d, d).

    It has no Monte Carlo error; what it leaves out is of order one over the number of observations.
    """
    d, (_, log_determinant) = len(covariance), np.linalg.slogdet(covariance)
    return Estimate("Laplace", log_density + 0.5 * (d * math.log(2 * math.pi) + float(log_determinant)))


def harmonic_mean(draws: Array, values: Array) -> Estimate:
    """Geweke's (1999) modified harmonic mean: 1 / Z is the posterior mean of f / p for any density f inside p.

    Parameters
    ----------
    draws : ndarray of shape (chain, draw, d)
        Of p, in coordinates without bounds.
    values : ndarray of shape (chain, draw)
        log p.

    Notes
    -----
    f is a truncated normal with the draws' mean and covariance, averaged over the truncations 0.1, 0.2, ..., 0.9. Those
    of one half of the draws are used for the other half, and the other way round: with its own, the estimate is biased.
    Where p vanishes on part of f the estimate is too high.
    """
    chains, d = len(draws), draws.shape[2]
    cut = (slice(None, None, 2), slice(1, None, 2))
    pieces = [draws[c] if chains > 1 else draws[:, c] for c in cut]
    at = [values[c] if chains > 1 else values[:, c] for c in cut]
    logs = [
        _log_truncated(piece, other.reshape(-1, d)) - value
        for piece, other, value in zip(pieces, pieces[::-1], at, strict=True)
    ]
    means = [float(logsumexp(log)) - math.log(log.size) for log in logs]
    top = max(means)
    ratios = [np.exp(log - top) for log in logs]
    effective = [min(float(ess(r[:, :, None], "mean")[0]), r.size) if r.shape[1] >= 4 else r.size for r in ratios]
    mean = float(np.mean([r.mean() for r in ratios]))
    error = math.sqrt(sum(float(r.var(ddof=1)) / e for r, e in zip(ratios, effective, strict=True))) / (2 * mean)
    together = np.concatenate([log.ravel() for log in logs])
    k, limit = pareto_k(together), pareto_limit(together.size)
    return Estimate("modified harmonic mean", -top - math.log(mean), error, float(sum(effective)), k, limit)


def _log_truncated(x: Array, others: Array) -> Array:
    """log f at points (chain, draw, d), by the mean and covariance of others (n, d)."""
    d = x.shape[-1]
    root = np.linalg.cholesky(np.cov(others.T).reshape(d, d))
    z = solve_triangular(root, (x.reshape(-1, d) - others.mean(axis=0)).T, lower=True)
    square = (z**2).sum(axis=0)
    inside = square[:, None] <= 2 * gammaincinv(d / 2, _TRUNCATIONS)  # quantiles of the chi-squared distribution
    with np.errstate(divide="ignore"):
        weight = np.log((inside / _TRUNCATIONS).mean(axis=1))
    normal = -0.5 * (square + d * math.log(2 * math.pi)) - np.log(np.diag(root)).sum()
    found: Array = (normal + weight).reshape(x.shape[:2])
    return found


def tempered(log_evidence: float, powers: Array, particles: int) -> Estimate:
    """What tempered sequential Monte Carlo has found; powers are those of its mutation steps.

    Its standard error is sqrt(S / n) for S temperatures and n particles: each weighting leaves half of the particles
    effectively, so that the mean weight has a relative variance of 1 / n. That takes the particles of one temperature
    to be independent of those before, and is the least that the error can be.
    """
    stages = len(np.unique(powers))
    return Estimate("sequential Monte Carlo", log_evidence, math.sqrt(stages / particles), particles)


def log_share(inside: int, n: int) -> Estimate:
    """Log of a probability from ``inside`` of n independent draws."""
    share = inside / n
    error = math.sqrt((1 - share) / (share * n)) if inside else math.inf
    return Estimate("prior mass", math.log(share) if inside else -math.inf, error, n)


@dataclass(frozen=True)
class Evidence:
    """The log marginal likelihood of a model.

    Attributes
    ----------
    steps : tuple of Estimate
        Bridges, one on the other; the log integral of likelihood times prior is their sum.
    others : tuple of Estimate
        Of that integral, by other methods.
    prior_mass : Estimate, optional
        Log of the prior probability of the region where the model has a solution, by which the prior is divided.
    caveats : tuple of str
        What the draws themselves have against them.
    """

    steps: tuple[Estimate, ...]
    others: tuple[Estimate, ...] = ()
    prior_mass: Estimate | None = None
    caveats: tuple[str, ...] = ()

    @property
    def integral(self) -> Estimate:
        """The log integral of likelihood times prior, by the bridge."""
        worst = max(self.steps, key=lambda step: step.pareto_k - step.limit)
        return Estimate(
            "bridge",
            sum(step.value for step in self.steps),
            math.hypot(*(step.standard_error for step in self.steps)),
            min(step.effective for step in self.steps),
            worst.pareto_k,
            worst.limit,
        )

    @property
    def log_evidence(self) -> float:
        """The log marginal likelihood: the integral over that of the prior."""
        return self.integral.value - (self.prior_mass.value if self.prior_mass else 0.0)

    @property
    def standard_error(self) -> float:
        """Monte Carlo standard error of :attr:`log_evidence`."""
        return math.hypot(self.integral.standard_error, self.prior_mass.standard_error if self.prior_mass else 0.0)

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why the figure may be wrong, a sentence each; none where nothing speaks against it."""
        doubts = [
            f"the weights of the step {step.name} have the tail index {step.pareto_k:.2f} "
            f"(at most {step.limit:.2f} can be used): the proposal is too narrow"
            for step in self.steps
            if step.pareto_k > step.limit
        ]
        doubts += [
            f"{step.missed:.1%} of the density is where the proposal of the step {step.name} has no draws"
            for step in self.steps
            if step.missed > MOST_MISSED
        ]
        doubts += [
            f"{other.name} gives {other.value:.2f}, the bridge {self.integral.value:.2f}: more than "
            f"{ERRORS_APART:.0f} standard errors of their difference apart"
            for other in disagreeing(self.integral, self.others)
        ]
        return (*doubts, *self.caveats)

    def table(self) -> pd.DataFrame:
        """A row for each method: name, value, standard error, effective draws, tail index; natural logarithms."""
        rows = (self.integral, *self.others, *([self.prior_mass] if self.prior_mass else []))
        return pd.DataFrame(
            {
                "method": [row.name for row in rows],
                "log_integral": [row.value for row in rows],
                "standard_error": [row.standard_error for row in rows],
                "effective_draws": [row.effective for row in rows],
                "pareto_k": [row.pareto_k for row in rows],
            }
        )

    @property
    def dataset(self) -> xr.Dataset:
        """The table by ``method``."""
        found: xr.Dataset = self.table().set_index("method").to_xarray()
        return found

    def plot(self) -> Figure:
        """The estimates with their errors."""
        from estimhank.report.figures_policy import evidence_figure  # a door up

        return evidence_figure(self).figure

    def summary(self) -> str:
        """The figure, what stands beside it, and what speaks against it."""
        words = [f"The log marginal likelihood is {self.log_evidence:.3f}, with a standard error of "
                 f"{self.standard_error:.3f}."]  # fmt: skip
        if self.prior_mass:
            share, error = math.exp(self.prior_mass.value), self.prior_mass.standard_error
            words.append(
                f"The model has a solution on {share:.1%} of the prior (standard error {share * error:.1%}), by which "
                "the prior is divided."
            )
        rest = self.integral
        words.append(
            f"The bridge is worth {rest.effective:,.0f} independent draws, and its weights have the tail index "
            f"{rest.pareto_k:.2f} (at most {rest.limit:.2f} can be used)."
        )
        words += [
            f"{other.name[0].upper()}{other.name[1:]} differs from it by {other.value - rest.value:+.3f}"
            + (f" (standard error {other.standard_error:.3f})." if math.isfinite(other.standard_error) else ".")
            for other in self.others
        ]
        words += [f"Doubt: {doubt}." for doubt in self.doubts]
        return "\n".join(words)


def disagreeing(first: Estimate, others: Sequence[Estimate]) -> list[Estimate]:
    """Estimates that are further from the first than their errors allow; one without an error disagrees with none.

    An estimate whose own tail index forbids its use is not called as a witness.
    """
    return [
        other
        for other in others
        if other.reliable
        and abs(other.value - first.value) > ERRORS_APART * math.hypot(first.standard_error, other.standard_error)
    ]
