"""When the exact chains have converged: R-hat and effective draws of every parameter, and of the surrogate's error.

Coordinates can look mixed one by one while chains do not agree on how far out the posterior goes. So the log density
and the Mahalanobis distance from the centre are judged as parameters are.

A poor surrogate slows exact chains where it is far too low: they leave only by random-walk steps, after hundreds of
rounds perhaps. Parameters may look mixed before that has been seen often enough, so the error and the share outside the
trust region must have mixed too, the second by half the tolerance. The error of a good surrogate says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from estimhank.sampling.diagnostics import ess, r_hat
from estimhank.surrogate.policy import POSTERIOR_POLICY as POLICY
from estimhank.surrogate.stage_config import PosteriorConfig

Array = NDArray[np.float64]


class Convergence(NamedTuple):
    """R-hat and effective draws, each (d,), the verdict, and what else has not mixed, in words."""

    r_hat: Array
    ess_bulk: Array
    ess_tail: Array
    converged: bool
    unmixed: str = ""

    @classmethod
    def unknown(cls, d: int) -> Convergence:
        """Return the verdict before there is one."""
        nothing = np.full(d, np.nan)
        return cls(nothing, nothing, nothing, False)

    @property
    def fewest(self) -> float:
        """Effective draws of the slowest parameter, in bulk or tails; nan where unknown."""
        return float(min(self.ess_bulk.min(), self.ess_tail.min()))

    def words(self, probability: Array) -> str:
        """Acceptance in a round, and the figures where there are some."""
        rate = f"{float(probability.mean()):.0%} accepted"
        if np.isnan(self.r_hat).any():
            return rate
        return f"{rate}, R-hat {self.r_hat.max():.3f}, {self.fewest:.0f} effective draws"


def judge_chains(
    theta: Array,
    error: Array,
    outside: NDArray[np.bool_],
    config: PosteriorConfig,
    depths: Mapping[str, Array] | None = None,
) -> Convergence:
    """Judge chains of draws.

    Parameters
    ----------
    theta : ndarray of shape (chain, draw, d)
    error : ndarray of shape (chain, draw)
        Log surrogate less log posterior, up to a constant.
    outside : ndarray of bool, shape (chain, draw)
        Which draws are outside the trust region.
    config : PosteriorConfig
        Its criteria.
    depths : mapping of str to ndarray of shape (chain, draw), optional
        By name, quantities that say how far out a draw is.
    """
    d = theta.shape[-1]
    if theta.shape[1] < 4:
        return Convergence.unknown(d)
    # a parameter that has not moved at all has no R-hat; it counts as not converged
    ratio = np.nan_to_num(r_hat(theta), nan=np.inf)
    bulk, tail = (np.nan_to_num(ess(theta, method), nan=0.0) for method in ("bulk", "tail"))
    fine = ratio.max() <= config.max_r_hat and min(bulk.min(), tail.min()) >= config.min_ess
    unmixed = (_unmixed_depths(depths or {}, config) or _unmixed(error, outside, config)) if fine else ""
    return Convergence(ratio, bulk, tail, bool(fine and not unmixed), unmixed)


def _unmixed_depths(depths: Mapping[str, Array], config: PosteriorConfig) -> str:
    for name, values in depths.items():
        if np.ptp(values) == 0:
            continue  # as the log density of a uniform distribution: nothing to mix
        ratio = float(np.nan_to_num(r_hat(values[..., None])[0], nan=np.inf))
        fewest = min(float(np.nan_to_num(ess(values[..., None], method)[0])) for method in ("bulk", "tail"))
        if ratio > config.max_r_hat or fewest < config.min_ess:
            return f"{name} has R-hat {ratio:.4f} and {fewest:.0f} effective draws"
    return ""


def _unmixed(error: Array, outside: NDArray[np.bool_], config: PosteriorConfig) -> str:
    if not np.isfinite(error).all() or error.std() < POLICY.limits["s_e_exact_states"]:
        return ""  # of a network that is not a number nothing is accepted but random-walk steps, wherever they are
    ratio = float(r_hat(error[..., None])[0])
    fewest = min(float(ess(error[..., None], method)[0]) for method in ("bulk", "tail"))
    if ratio > config.max_r_hat or fewest < config.min_ess:
        return f"the surrogate's error has R-hat {ratio:.4f} and {fewest:.0f} effective draws"
    if outside.mean() > POLICY.limits["outside_fence"] and not outside.all():
        ratio = float(r_hat(outside[..., None].astype(float))[0])
        if ratio > 1 + (config.max_r_hat - 1) / 2:
            return f"whether a draw is outside the trust region has R-hat {ratio:.4f}"
    return ""


def mahalanobis(points: Array) -> Array:
    """Distances (n,) of points (n, d) from their mean, in units of their covariance."""
    covariance = np.atleast_2d(np.cov(points.T))
    covariance = covariance + 1e-12 * np.trace(covariance) * np.eye(len(covariance)) / len(covariance)
    if not np.isfinite(covariance).all() or covariance.trace() <= 0:
        return np.zeros(len(points))
    root = np.linalg.cholesky(covariance)
    distance: Array = np.linalg.norm(np.linalg.solve(root, (points - points.mean(axis=0)).T), axis=0)
    return distance
