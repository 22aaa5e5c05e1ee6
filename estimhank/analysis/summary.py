"""Moments, quantiles and convergence figures of draws, each with its Monte Carlo standard error."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from arviz_stats.base import array_stats
from numpy.typing import ArrayLike, NDArray

from estimhank.sampling.diagnostics import ess, r_hat

Array = NDArray[np.float64]

#: Quantiles of every summary: the bounds of the central 68 and 90 per cent, and the median.
QUANTILES: tuple[float, ...] = (0.05, 0.16, 0.50, 0.84, 0.95)


@dataclass(frozen=True)
class DrawSummary:
    """Summary of d quantities; every array has shape (d,) but the quantiles' (5, d), in the order of QUANTILES.

    Standard errors (``mcse_...``), ``r_hat``, ``ess_bulk`` and ``ess_tail`` follow Vehtari, Gelman, Simpson, Carpenter
    and Bürkner (2021), as computed by ArviZ; ``nan`` where the draws do not determine them (draws that never move).
    """

    mean: Array
    sd: Array
    quantiles: Array
    mcse_mean: Array
    mcse_sd: Array
    mcse_quantiles: Array
    r_hat: Array
    ess_bulk: Array
    ess_tail: Array

    @property
    def q05(self) -> Array:
        """5 % quantile."""
        found: Array = self.quantiles[0]
        return found

    @property
    def median(self) -> Array:
        """Median."""
        found: Array = self.quantiles[2]
        return found

    @property
    def q95(self) -> Array:
        """95 % quantile."""
        found: Array = self.quantiles[4]
        return found


def summarise_draws(draws: ArrayLike) -> DrawSummary:
    """Summarise draws of shape (chain, draw, d).

    Raises
    ------
    ValueError
        If the array has another number of dimensions or no draws.

    Notes
    -----
    With fewer than four draws a chain ArviZ has no figures of convergence: they are ``nan``.
    """
    draws = np.asarray(draws, float)
    if draws.ndim != 3 or draws.size == 0:
        raise ValueError(f"draws of shape {draws.shape}: expected (chain, draw, d), at least one of each")
    axes = {"chain_axis": 0, "draw_axis": 1}
    varies = moved(draws)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # ArviZ warns of constant chains; they come out as nan and are reported as such
        errors = [array_stats.mcse(draws, method="quantile", prob=q, **axes) for q in QUANTILES]
        return DrawSummary(
            mean=draws.mean(axis=(0, 1)),
            sd=np.where(np.isnan(varies), 0.0, draws.std(axis=(0, 1), ddof=1)),  # not the rounding error of a constant
            quantiles=np.quantile(draws, QUANTILES, axis=(0, 1)),
            mcse_mean=varies * _floats(array_stats.mcse(draws, method="mean", **axes)),
            mcse_sd=varies * _floats(array_stats.mcse(draws, method="sd", **axes)),
            mcse_quantiles=varies * np.stack([_floats(e) for e in errors]),
            r_hat=varies * r_hat(draws),
            ess_bulk=varies * ess(draws),
            ess_tail=varies * ess(draws, "tail"),
        )


def moved(draws: Array) -> Array:
    """One for each quantity that varies over draws of shape (chain, draw, d), nan for others, shape (d,): ArviZ gives a
    constant a perfect sample size."""
    return np.where(np.ptp(draws, axis=(0, 1)) > 0, 1.0, np.nan)


def _floats(values: ArrayLike) -> Array:
    return np.atleast_1d(np.asarray(values, float))
