"""Identification in a finished run: ``run.identification()``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from estimhank.analysis.inference_data import arrays_of
from estimhank.economics.identification import Identification
from estimhank.economics.linear_form import LinearForms
from estimhank.economics.sample_derivatives import sample_derivatives

if TYPE_CHECKING:
    from estimhank.run.results import Run

Array = NDArray[np.float64]


def identification_of(run: Run, at: Mapping[str, float] | ArrayLike | None = None) -> Identification:
    """What the data tell about the parameters near a point, and the posterior against the prior.

    Parameters
    ----------
    run : Run
    at : mapping or array of shape (d,), optional
        The point; by default the exact draw with the highest density.

    Raises
    ------
    ModelError, EstimhankError
        A point that is none of the model's, or that has no solution around it.
    """
    posterior, arrays = run.posterior, arrays_of(run.draws)
    theta = arrays.exact.theta.reshape(-1, len(posterior.names))
    point = theta[arrays.exact.log_density.ravel().argmax()] if at is None else posterior.to_array(at)
    # of the prior as it is, truncations included
    prior = posterior.sample_prior(np.random.default_rng(0), 10_000) if arrays.prior is None else arrays.prior
    prior_sd = prior.std(axis=0, ddof=1)
    found = sample_derivatives(LinearForms(posterior, ahead=1), point, prior_sd)
    covariance = np.cov(theta.T).reshape(len(prior_sd), -1)
    return Identification(posterior.names, point, prior_sd, found, covariance, _power_scaling(run))


def _power_scaling(run: Run) -> dict[str, Array]:
    """Sensitivity to powers of prior and likelihood, by ArviZ, which reweights the draws."""
    from arviz_stats import psense

    names = run.posterior.names
    found = {}
    for part in ("prior", "likelihood"):
        values = psense(run.draws, group=part)
        found[part] = np.array([float(values[name]) for name in names])
    return found
