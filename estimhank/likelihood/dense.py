"""Gaussian log likelihood of a sample with missing entries, by a dense Cholesky factorisation."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float


def stacked_covariance(gamma: Float[jax.Array, "lags n_o n_o"], n: int) -> Float[jax.Array, "{n}*n_o {n}*n_o"]:
    """Covariance (n n_o, n n_o) of the stacked sample (y_0, ..., y_{n-1}) from autocovariances (>= n, n_o, n_o)."""
    n_o = gamma.shape[1]
    lags = jnp.concatenate([gamma[n - 1 : 0 : -1].transpose(0, 2, 1), gamma[:n]])
    dates = np.arange(n)
    blocks = lags[dates[:, None] - dates[None, :] + n - 1]
    return blocks.transpose(0, 2, 1, 3).reshape(n * n_o, n * n_o)


def dense_log_likelihood(
    gamma: Float[jax.Array, "lags n_o n_o"], sample: Float[np.ndarray, "n n_o"]
) -> Float[jax.Array, ""]:
    """The value of :func:`dense_log_likelihood_and_rounding` alone."""
    return dense_log_likelihood_and_rounding(gamma, sample)[0]


def dense_log_likelihood_and_rounding(
    gamma: Float[jax.Array, "lags n_o n_o"],
    sample: Float[np.ndarray, "n n_o"],
    mean: Float[jax.Array, " n_o"] | None = None,
) -> tuple[Float[jax.Array, ""], Float[jax.Array, ""]]:
    """Gaussian log likelihood in which entries that are ``nan`` are dropped rows and columns of the covariance.

    Parameters
    ----------
    gamma : array of shape (n, n_o, n_o)
        Autocovariances, ``[k]`` = Cov(y_{t+k}, y_t).
    sample : array of shape (n, n_o)
        A constant; ``nan`` where missing.
    mean : array of shape (n_o,), optional
        Of the process; zero by default.

    Returns
    -------
    value : scalar
        Constant included; ``nan`` if the covariance matrix is not positive definite.
    rounding : scalar
        Its estimated error by rounding of the autocovariances.
    """
    flat = np.asarray(sample, float).reshape(-1)
    kept = np.flatnonzero(~np.isnan(flat))
    n_o = sample.shape[1]
    date, series = kept // n_o, kept % n_o
    observed = jnp.asarray(flat[kept]) if mean is None else flat[kept] - mean[series]
    gap = date[:, None] - date[None, :]
    forward = gamma[np.abs(gap), series[:, None], series[None, :]]
    covariance = jnp.where(gap >= 0, forward, gamma[np.abs(gap), series[None, :], series[:, None]])
    factor = jnp.linalg.cholesky(covariance, symmetrize_input=False)
    scaled = jax.scipy.linalg.solve_triangular(factor, observed, lower=True)
    log_det = 2 * jnp.log(jnp.diagonal(factor)).sum()
    value = -0.5 * (len(kept) * math.log(2 * math.pi) + log_det + scaled @ scaled)
    left = jax.lax.stop_gradient(jnp.diagonal(covariance).max() / (jnp.diagonal(factor) ** 2).min())
    return value, jnp.finfo(float).eps * left * jnp.abs(jax.lax.stop_gradient(value))
