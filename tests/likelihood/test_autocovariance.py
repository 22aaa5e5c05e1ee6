"""Autocovariances of the infinite moving average against direct sums over a very long truncation."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from estimhank.likelihood import autocovariance

# as a whole: otherwise each of its operations is compiled on its own at every size
autocovariances = jax.jit(autocovariance.autocovariances, static_argnums=(2, 3))


def direct(coefficients: np.ndarray, rho: np.ndarray, lags: int, tail_start: int, length: int) -> np.ndarray:
    """Continue each shock's coefficients geometrically for a long time, and add up products."""
    tail = coefficients[tail_start] * rho ** np.arange(length)[:, None, None]
    m = np.concatenate([coefficients[:tail_start], tail])
    return np.stack([np.einsum("toz,tpz->op", m[k:], m[: len(m) - k]) for k in range(lags)])


@pytest.mark.parametrize(("tail_start", "lags"), [(5, 3), (5, 5), (5, 20), (30, 10), (1, 4), (17, 1)])
def test_equals_direct_sums(tail_start: int, lags: int) -> None:
    rng = np.random.default_rng(tail_start * 100 + lags)
    coefficients = rng.normal(size=(tail_start + 3, 2, 3)) * 0.9 ** np.arange(tail_start + 3)[:, None, None]
    rho = np.array([0.5, 0.9, -0.3])
    mine = autocovariances(coefficients, rho, lags, tail_start)
    np.testing.assert_allclose(mine, direct(coefficients, rho, lags, tail_start, 600), atol=1e-12)


def test_an_autoregression_has_its_textbook_autocovariances() -> None:
    rho, n = 0.97, 50
    coefficients = rho ** np.arange(80.0)[:, None, None]
    gamma = autocovariances(coefficients, np.array([rho]), n, 60)
    np.testing.assert_allclose(gamma[:, 0, 0], rho ** np.arange(n) / (1 - rho**2), rtol=1e-12)
