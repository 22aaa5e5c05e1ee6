"""Exact Gaussian log likelihood of a sample with a few missing entries, at about the cost of a complete one.

Put any numbers f, here zeros, in the place of the k missing entries. By p(observed) = p(observed, f) / p(f | observed),
with P the precision (inverse covariance) of the complete sample, a = P y that of the filled sample, and m the missing
entries::

    log p(observed) = log p(filled) + (k/2) log 2 pi - (1/2) log det P_mm + (1/2) a_m' P_mm^{-1} a_m

because a missing block given the rest has precision P_mm and a_m = P_mm (f - its mean). The columns of P that this
needs follow from the last predictors of the block Levinson recursion (Gohberg and Heinig 1974): P = B'B - A'A with B
and A block Toeplitz. The precision of the observed entries is P - P_m P_mm^{-1} P_m', from which the derivative.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from estimhank.likelihood.dense import dense_log_likelihood_and_rounding
from estimhank.likelihood.levinson import (
    Predictors,
    complete_log_likelihood,
    diagonal_sums,
    inverse_factors,
    rounding_error,
    run_recursion,
    toeplitz_gradient,
)

#: Share of missing entries above which the dense factorisation is the faster of the two.
MOST_MISSING = 0.25


class _Sample:
    """A filled sample and where it was filled, as a static argument: compared by identity."""

    def __init__(self, sample: NDArray[np.float64]) -> None:
        missing = np.isnan(sample)
        self.filled = np.where(missing, 0.0, sample)
        self.date, self.series = np.nonzero(missing)


class _Saved(NamedTuple):
    """What the derivative needs: the recursion's last state, scaled columns of the precision, and corrected P y."""

    state: Predictors
    columns: jax.Array
    alpha: jax.Array


def gaussian_log_likelihood(
    gamma: Float[jax.Array, "lags n_o n_o"],
    sample: Float[np.ndarray, "n n_o"],
    dense: bool = False,
    mean: Float[jax.Array, " n_o"] | None = None,
) -> tuple[Float[jax.Array, ""], Float[jax.Array, ""]]:
    """Gaussian log likelihood of a sample of a stationary process, exact whatever is missing.

    The fast formulas need the covariance of the *completed* sample to be regular. What was observed may have a regular
    one all the same (a series that is the sum of two others, of which one is always missing): there ``dense`` is right.

    Parameters
    ----------
    gamma : array of shape (n, n_o, n_o)
        Autocovariances, ``[k]`` = Cov(y_{t+k}, y_t).
    sample : array of shape (n, n_o)
        A constant (not traced); ``nan`` where missing.
    dense : bool
        Factorise the covariance of what was observed.
    mean : array of shape (n_o,), optional
        Of the process; zero by default.

    Returns
    -------
    value : scalar
        Constant included; ``nan`` if the covariance matrix is not positive definite. Differentiable (reverse mode) in
        autocovariances and mean.
    rounding : scalar
        Estimated error by rounding.
    """
    sample = np.asarray(sample, float)
    there = np.flatnonzero(~np.isnan(sample).all(axis=1))
    # dates before the first and after the last observation carry nothing, and the process is stationary
    sample = sample[there[0] : there[-1] + 1] if there.size else sample[:0]
    gamma = gamma[: len(sample)]
    if not sample.size:
        return jnp.zeros(()), jnp.zeros(())
    missing = np.isnan(sample).mean()
    if missing == 0:
        return complete_log_likelihood(gamma, sample, mean)
    if missing <= MOST_MISSING and not dense:
        return incomplete_log_likelihood(gamma, sample, mean)
    return dense_log_likelihood_and_rounding(gamma, sample, mean)


def has_fast_form(sample: Float[np.ndarray, "n n_o"]) -> bool:
    """Whether a sample has few enough missing values for the fast formula, so that the dense one is a second route."""
    sample = np.asarray(sample, float)
    there = np.flatnonzero(~np.isnan(sample).all(axis=1))
    return bool(there.size and 0 < np.isnan(sample[there[0] : there[-1] + 1]).mean() <= MOST_MISSING)


def incomplete_log_likelihood(
    gamma: Float[jax.Array, "lags n_o n_o"],
    sample: Float[np.ndarray, "n n_o"],
    mean: Float[jax.Array, " n_o"] | None = None,
) -> tuple[Float[jax.Array, ""], Float[jax.Array, ""]]:
    """As :func:`gaussian_log_likelihood`, by the formulas at the head of this module."""
    return _log_likelihood(gamma, mean, _Sample(np.asarray(sample, float)))


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _log_likelihood(gamma: jax.Array, mean: jax.Array | None, sample: Any) -> tuple[jax.Array, jax.Array]:
    return _forward(gamma, mean, sample)[0]


def _forward(
    gamma: jax.Array, mean: jax.Array | None, sample: Any
) -> tuple[tuple[jax.Array, jax.Array], tuple[_Saved, jax.Array | None]]:
    filled = jnp.asarray(sample.filled)
    if mean is not None:  # whatever fills the gaps does for the deviations
        filled = (filled - mean).at[sample.date, sample.series].set(0.0)
    state = run_recursion(gamma, filled, with_alpha=True)
    n, n_o = sample.filled.shape
    k = len(sample.date)
    columns = _precision_columns(state, sample, n, n_o)
    alpha = state.alpha.reshape(n, n_o)
    block = columns[sample.date, :, sample.series]
    factor = jnp.linalg.cholesky((block + block.T) / 2)
    scaled = jax.scipy.linalg.solve_triangular(factor, alpha[sample.date, sample.series], lower=True)
    log_det = 2 * jnp.log(jnp.diagonal(factor)).sum()
    value = state.log_likelihood + 0.5 * (k * math.log(2 * math.pi) - log_det + scaled @ scaled)
    # two large numbers may have been subtracted, and columns of the precision carry the error of its largest entry
    worst = jnp.abs(columns).max() / (jnp.diagonal(factor) ** 2).min()
    rounding = jnp.finfo(float).eps * worst * (jnp.abs(state.log_likelihood) + scaled @ scaled)
    rounding = jnp.maximum(rounding, rounding_error(gamma, state))
    # C' P_m' with P_mm^{-1} = C C': what is taken off the precision is the product of this with itself
    spread = jax.scipy.linalg.solve_triangular(factor, columns.transpose(1, 0, 2).reshape(k, -1), lower=True)
    corrected = alpha - (scaled @ spread).reshape(n, n_o)
    return (value, rounding), (_Saved(state, spread.reshape(k, n, n_o).transpose(1, 0, 2), corrected), mean)


def _precision_columns(state: Predictors, sample: Any, n: int, n_o: int) -> jax.Array:
    """Columns of the precision that belong to the missing entries, shape (n, k, n_o)."""
    back, ahead = inverse_factors(state)
    # P[i, j] = sum_l back[i-l]' back[j-l] - sum_{l>0} ahead[i-l]' ahead[j-l]: convolutions of the predictors with
    # their own pieces that end at the missing date
    lag = sample.date[None, :] - np.arange(n)[:, None]
    taken = np.clip(lag, 0, n - 1), sample.series[None, :]

    def columns(predictors: jax.Array) -> jax.Array:
        pieces = jnp.where((lag >= 0)[:, :, None], predictors[taken[0], :, taken[1]], 0.0)
        return _convolve(pieces, predictors, n)

    shifted = jnp.concatenate([jnp.zeros((1, n_o, n_o)), ahead[:-1]])
    return columns(back) - columns(shifted)


def _convolve(pieces: jax.Array, predictors: jax.Array, n: int) -> jax.Array:
    """sum_l predictors[i - l]' pieces[l] by FFT; pieces (n, k, r), predictors (n, r, n_o), result (n, k, n_o)."""
    size = 2 * n
    a, b = jnp.fft.rfft(pieces, size, axis=0), jnp.fft.rfft(predictors, size, axis=0)
    return jnp.fft.irfft(jnp.einsum("wkr,wro->wko", a, b), size, axis=0)[:n]


def _backward(
    sample: Any, residuals: tuple[_Saved, jax.Array | None], bars: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array | None]:
    (saved, mean), bar = residuals, bars[0]  # nobody asks for the derivative of an error
    outer = saved.alpha[:, None, :]
    both = toeplitz_gradient(saved.state, outer) + 0.5 * diagonal_sums(saved.columns, saved.columns)
    return bar * both.at[1:].multiply(2.0), None if mean is None else bar * saved.alpha.sum(axis=0)


_log_likelihood.defvjp(_forward, _backward)
