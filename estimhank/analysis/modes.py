"""What tables and the verdict want of a mode search."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from estimhank.analysis.verdict import PriorShare
from estimhank.mode.mode_result import ModeResult

Array = NDArray[np.float64]


def laplace_sd(mode: ModeResult) -> Array:
    """Standard deviations of the normal approximation at the mode, shape (d,), natural units; ``nan`` without one.

    At a supremum on a bound or an edge the gradient does not vanish, and the curvature says nothing.
    """
    if not mode.positive_definite or mode.kind != "interior":
        return np.full(len(mode.names), np.nan)
    # scaled to a unit diagonal first: parameters in different units make the Hessian look worse than it is
    scale = np.sqrt(np.diag(mode.hessian))
    covariance = np.linalg.inv(mode.hessian / np.outer(scale, scale))
    return np.sqrt(np.diag(covariance)) / scale


def determinate_share(mode: ModeResult) -> PriorShare | None:
    """Share of the prior with a unique stable equilibrium, from the prior draws that the search looked at, if any.

    Draws that fail for another reason count as determinate: nothing is known against them.
    """
    n = mode.prior_draws
    if n == 0:
        return None
    outside = {r: mode.infeasible_prior.get(r, 0.0) for r in ("no_stable_solution", "indeterminate")}
    share = 1.0 - sum(outside.values())
    return PriorShare(share, math.sqrt(max(share * (1 - share), 0.0) / n), n)
