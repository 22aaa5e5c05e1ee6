"""Autocovariances of the infinite moving average that a truncated solution implies.

Up to a date t* the coefficients are those of the solution; from there on each shock's coefficients decay at the shock's
own root, M[t] = M[t*] rho^(t - t*), which is what the solution of the infinite-horizon model does once the economy's
own dynamics have died out. Whether they have is checked, and other roots are continued, in
:mod:`estimhank.likelihood.continuation`. With m the first t* coefficients and M* the one at t*, lag k of one shock is::

    sum_{t < t*-k} m[t+k] m[t]'                            both dates before t* (padded FFT)
    + M* (sum_{j=1}^{min(k,t*)} rho^(k-j) m[t*-j])'        later date in the tail (recursion in k)
    + rho^k / (1 - rho^2) M* M*'                           both in the tail
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Float
from scipy.fft import next_fast_len


def products_between(m: Float[jax.Array, "L n_o n_z"], lags: int) -> Float[jax.Array, "{lags} n_o n_o"]:
    """sum_t m[t+k] m[t]' for k = 0..lags - 1, by FFT; m (L, n_o, n_z), result (lags, n_o, n_o)."""
    dates, n_o = m.shape[:2]
    size = next_fast_len(dates + min(lags, dates), real=True)
    waves = jnp.fft.rfft(m, size, axis=0)
    power = jnp.stack(
        [jnp.stack([(waves[:, i] * jnp.conj(waves[:, j])).sum(-1) for j in range(n_o)], -1) for i in range(n_o)], 1
    )
    found = jnp.fft.irfft(power, size, axis=0)[: min(lags, dates)]
    return found if lags <= dates else jnp.concatenate([found, jnp.zeros((lags - dates, n_o, n_o))])


def backwards(m: Float[jax.Array, "L n_o n_z"], lags: int) -> Float[jax.Array, "{lags} n_o n_z"]:
    """m[L - 1], m[L - 2], ... one for each step from a lag to the next, zero before date 0: (lags, n_o, n_z)."""
    backward = m[::-1][: lags - 1] if lags > 1 else m[:0]
    return jnp.concatenate([backward, jnp.zeros((lags - backward.shape[0], *m.shape[1:]))])


def autocovariances(
    coefficients: Float[jax.Array, "T n_o n_z"], rho: Float[jax.Array, " n_z"], lags: int, tail_start: int
) -> Float[jax.Array, "{lags} n_o n_o"]:
    """Autocovariances of the observables.

    Parameters
    ----------
    coefficients : array of shape (T, n_o, n_z)
        Moving-average coefficients, in units of each shock's standard deviation.
    rho : array of shape (n_z,)
        Decay of each shock's coefficients beyond ``tail_start``, inside the unit circle.
    lags : int
        Number of lags, zero included.
    tail_start : int
        The date t* < T at which the geometric tail begins.

    Returns
    -------
    array of shape (lags, n_o, n_o)
        ``[k]`` is Cov(y_{t+k}, y_t).
    """
    m, star = coefficients[:tail_start], coefficients[tail_start]
    before = products_between(m, lags)

    def recursion(g: jax.Array, fresh: jax.Array) -> tuple[jax.Array, jax.Array]:
        return rho * g + fresh, g

    _, crossed = jax.lax.scan(recursion, jnp.zeros_like(star), backwards(m, lags))
    decay = rho[None] ** jnp.arange(lags)[:, None] / (1 - rho**2)
    crossed = crossed + decay[:, None, :] * star
    return before + jnp.einsum("oz,kpz->kop", star, crossed)
