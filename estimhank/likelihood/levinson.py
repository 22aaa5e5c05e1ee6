"""Exact Gaussian log likelihood of a complete stationary sample by the block Levinson recursion.

The covariance of the stacked sample is block Toeplitz, so the one-step predictors of all orders follow from each other
(Whittle 1963): n^2 n_o^3 operations instead of the n^3 n_o^3 / 3 of a Cholesky factorisation. The last predictors also
hold the inverse of the covariance (Gohberg and Heinig 1974), whose sums along block diagonals are all that the
derivative with respect to the autocovariances needs.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

#: The recursion runs over prefixes of the sample of growing length, so that less of the work is on zeros.
SEGMENTS = 3


class Predictors(NamedTuple):
    """State of the recursion after dates 0..m.

    Rows of ``ahead`` (n_o, n n_o) hold the coefficients on dates 0..m of the error in predicting date m from the dates
    before it; rows of ``back`` those of the error in predicting date 0 from dates 1..m. ``ahead_var`` and ``back_var``:
    error variances; ``back_error``: the realised back error; ``alpha``: the inverse covariance times the sample;
    ``log_likelihood``: of dates 0..m.
    """

    ahead: jax.Array
    back: jax.Array
    ahead_var: jax.Array
    back_var: jax.Array
    back_error: jax.Array
    alpha: jax.Array
    log_likelihood: jax.Array


def _cholesky_inverse(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Inverse of the Cholesky factor of a small matrix and log determinant; nan if not positive definite.

    Written out entry by entry: inside the recursion a call into LAPACK costs more than the arithmetic.
    """
    n = matrix.shape[0]
    if n > 6:
        factor = jnp.linalg.cholesky(matrix)
        inverse = jax.scipy.linalg.solve_triangular(factor, jnp.eye(n), lower=True)
        return inverse, 2 * jnp.log(jnp.diagonal(factor)).sum()
    low: list[list[jax.Array]] = [[] for _ in range(n)]
    log_det: jax.Array = jnp.zeros(())
    for i in range(n):
        for j in range(i):
            partial_sum = sum((low[i][k] * low[j][k] for k in range(j)), jnp.zeros(()))
            low[i].append((matrix[i, j] - partial_sum) / low[j][j])
        pivot = jnp.sqrt(matrix[i, i] - sum((low[i][k] ** 2 for k in range(i)), jnp.zeros(())))
        low[i].append(pivot)
        log_det = log_det + 2 * jnp.log(pivot)
    zero = jnp.zeros(())
    inv: list[list[jax.Array]] = [[zero] * n for _ in range(n)]
    for i in range(n):
        inv[i][i] = 1 / low[i][i]
        for j in range(i):
            inv[i][j] = -sum((low[i][k] * inv[k][j] for k in range(j, i)), zero) * inv[i][i]
    return jnp.stack([jnp.stack(row) for row in inv]), log_det


def run_recursion(
    gamma: Float[jax.Array, "lags n_o n_o"], sample: Float[jax.Array, "n n_o"], with_alpha: bool
) -> Predictors:
    """The recursion over a whole sample; ``gamma`` (n, n_o, n_o), ``sample`` (n, n_o)."""
    n, n_o = sample.shape
    width = n * n_o
    # columns against which the shifted ahead coefficients are summed: autocovariances with date 0, and the sample
    against = jnp.concatenate([gamma.reshape(width, n_o), sample.reshape(width, 1)], axis=1)
    constant = -0.5 * width * math.log(2 * math.pi)
    inv0, log_det0 = _cholesky_inverse(gamma[0])
    e0 = inv0 @ sample[0]
    unit = jnp.zeros((n_o, width)).at[:, :n_o].set(jnp.eye(n_o))
    alpha = jnp.zeros(width).at[:n_o].set(inv0.T @ e0) if with_alpha else jnp.zeros(0)
    state = Predictors(unit, unit, gamma[0], gamma[0], sample[0], alpha, constant - 0.5 * (log_det0 + e0 @ e0))

    def make_step(length: int) -> Any:
        cut = length * n_o
        columns = against[:cut]

        def step(s: Predictors, nothing: None) -> tuple[Predictors, None]:
            shifted = jnp.concatenate([jnp.zeros((n_o, n_o)), s.ahead[:, : cut - n_o]], axis=1)
            sums = shifted @ columns
            delta, shifted_error = sums[:, :n_o], sums[:, n_o]
            inv_ahead, _ = _cholesky_inverse(s.ahead_var)
            inv_back, _ = _cholesky_inverse(s.back_var)
            k_ahead = (delta @ inv_back.T) @ inv_back
            k_back = (delta.T @ inv_ahead.T) @ inv_ahead
            ahead = shifted - k_ahead @ s.back
            back = s.back - k_back @ shifted
            ahead_var = s.ahead_var - k_ahead @ delta.T
            back_var = s.back_var - k_back @ delta
            ahead_var, back_var = (ahead_var + ahead_var.T) / 2, (back_var + back_var.T) / 2
            error = shifted_error - k_ahead @ s.back_error
            back_error = s.back_error - k_back @ shifted_error
            inverse, log_det = _cholesky_inverse(ahead_var)
            scaled = inverse @ error
            new_alpha = s.alpha + (inverse.T @ scaled) @ ahead if with_alpha else s.alpha
            value = s.log_likelihood - 0.5 * (log_det + scaled @ scaled)
            return Predictors(ahead, back, ahead_var, back_var, back_error, new_alpha, value), nothing

        return step

    lengths = sorted({max(2, math.ceil(n * (i + 1) / SEGMENTS)) for i in range(SEGMENTS)}) if n > 1 else []
    done = 1
    for length in lengths:
        cut = length * n_o
        short = state._replace(
            ahead=state.ahead[:, :cut], back=state.back[:, :cut], alpha=state.alpha[:cut] if with_alpha else state.alpha
        )
        short, _ = jax.lax.scan(make_step(length), short, None, length=length - done)
        rest = width - cut
        state = short._replace(
            ahead=jnp.pad(short.ahead, ((0, 0), (0, rest))),
            back=jnp.pad(short.back, ((0, 0), (0, rest))),
            alpha=jnp.pad(short.alpha, (0, rest)) if with_alpha else short.alpha,
        )
        done = length
    return state


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _log_likelihood(gamma: jax.Array, mean: jax.Array | None, sample: Any) -> tuple[jax.Array, jax.Array]:
    state = run_recursion(gamma, _deviations(sample, mean), with_alpha=False)
    return state.log_likelihood, rounding_error(gamma, state)


def _deviations(sample: Any, mean: jax.Array | None) -> jax.Array:
    array = jnp.asarray(sample.array)
    return array if mean is None else array - mean


def rounding_error(gamma: Float[jax.Array, "lags n_o n_o"], state: Predictors) -> Float[jax.Array, ""]:
    """Estimated error of a log likelihood by rounding of the autocovariances.

    Their last digit is a share of the variances; what matters is its share of the variance that is left once all the
    rest is known.
    """
    inverse, _ = _cholesky_inverse(state.ahead_var)
    left = (inverse**2).sum(axis=0)  # one over the variance of each series, given the past and the other series
    found: jax.Array = jnp.finfo(float).eps * (jnp.diagonal(gamma[0]) * left).max() * jnp.abs(state.log_likelihood)
    return found


def diagonal_sums(
    first: Float[jax.Array, "n r n_o"], second: Float[jax.Array, "n r n_o"]
) -> Float[jax.Array, "n n_o n_o"]:
    """sum_j first[j + k]' second[j] for k = 0..n-1 by FFT; inputs (n, r, n_o), result (n, n_o, n_o)."""
    n = first.shape[0]
    size = 2 * n
    a, b = jnp.fft.rfft(first, size, axis=0), jnp.fft.rfft(second, size, axis=0)
    return jnp.fft.irfft(jnp.einsum("wri,wrj->wij", a, jnp.conj(b)), size, axis=0)[:n]


def inverse_factors(state: Predictors) -> tuple[Float[jax.Array, "n n_o n_o"], Float[jax.Array, "n n_o n_o"]]:
    """Scaled last predictors b and a, each (n, n_o, n_o), of which the inverse covariance of the sample is made.

    Its block (i, j) is sum_l b[i-l]' b[j-l] - sum_l a[i-1-l]' a[j-1-l] (Gohberg and Heinig 1974).
    """
    n_o = state.ahead_var.shape[0]
    inv_ahead, _ = _cholesky_inverse(state.ahead_var)
    inv_back, _ = _cholesky_inverse(state.back_var)
    back = (inv_back @ state.back).reshape(n_o, -1, n_o).transpose(1, 0, 2)
    ahead = (inv_ahead @ state.ahead).reshape(n_o, -1, n_o).transpose(1, 0, 2)
    return back, ahead


def toeplitz_gradient(state: Predictors, alpha: Float[jax.Array, "n 1 n_o"]) -> Float[jax.Array, "n n_o n_o"]:
    """Half the sums along block diagonals of alpha alpha' less the inverse covariance; alpha (n, 1, n_o).

    With ``alpha`` the inverse covariance times the sample this is the log likelihood's derivative in the
    autocovariances, but that lags other than zero count twice.
    """
    back, ahead = inverse_factors(state)
    weight = len(back) - jnp.arange(len(back))[:, None, None]
    inverse_sums = diagonal_sums(weight * back, back) - diagonal_sums((weight - 1) * ahead, ahead)
    return 0.5 * (diagonal_sums(alpha, alpha) - inverse_sums)


def _forward(gamma: jax.Array, mean: jax.Array | None, sample: Any) -> tuple[tuple[jax.Array, jax.Array], Any]:
    state = run_recursion(gamma, _deviations(sample, mean), with_alpha=True)
    return (state.log_likelihood, rounding_error(gamma, state)), (state, mean)


def _backward(
    sample: Any, residuals: tuple[Predictors, jax.Array | None], bars: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array | None]:
    (state, mean), bar = residuals, bars[0]  # nobody asks for the derivative of an error
    n, n_o = sample.array.shape
    alpha = state.alpha.reshape(n, n_o)
    both = toeplitz_gradient(state, alpha[:, None])
    # lag k stands below and, transposed, above the diagonal
    return bar * both.at[1:].multiply(2.0), None if mean is None else bar * alpha.sum(axis=0)


_log_likelihood.defvjp(_forward, _backward)


class _Sample:
    """A sample as a static argument: constant over a run, compared by identity."""

    def __init__(self, array: Any) -> None:
        self.array = array


def toeplitz_log_likelihood(
    gamma: Float[jax.Array, "lags n_o n_o"], sample: Float[jax.Array | np.ndarray, "n n_o"]
) -> Float[jax.Array, ""]:
    """Gaussian log likelihood of a complete sample of a stationary, mean-zero process.

    Parameters
    ----------
    gamma : array of shape (n, n_o, n_o)
        Autocovariances, ``[k]`` = Cov(y_{t+k}, y_t).
    sample : array of shape (n, n_o)
        A constant (not traced).

    Returns
    -------
    scalar
        With the constant -(n n_o / 2) log 2 pi; ``nan`` if the covariance matrix is not positive definite.
        Differentiable (reverse mode) in ``gamma`` at about the cost of one more evaluation.
    """
    return _log_likelihood(gamma, None, _Sample(sample))[0]


def complete_log_likelihood(
    gamma: Float[jax.Array, "lags n_o n_o"],
    sample: Float[jax.Array | np.ndarray, "n n_o"],
    mean: Float[jax.Array, " n_o"] | None = None,
) -> tuple[Float[jax.Array, ""], Float[jax.Array, ""]]:
    """As :func:`toeplitz_log_likelihood`, with its estimated error by rounding, of a process with a mean."""
    return _log_likelihood(gamma, mean, _Sample(sample))
