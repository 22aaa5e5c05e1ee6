"""The exact likelihood against scipy's multivariate normal, complete and with holes, and its gradient."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from estimhank.likelihood.autocovariance import autocovariances
from estimhank.likelihood.dense import dense_log_likelihood, stacked_covariance
from estimhank.likelihood.levinson import toeplitz_log_likelihood

# compiled as a whole: call by call each of their operations would be compiled on its own, at every size
compiled_autocovariances = jax.jit(autocovariances, static_argnums=(2, 3))
covariance_of = jax.jit(stacked_covariance, static_argnums=1)
recursion = jax.jit(toeplitz_log_likelihood)


def dense(gamma: jax.Array, sample: np.ndarray) -> float:
    return float(jax.jit(lambda g: dense_log_likelihood(g, sample))(gamma))


def process(n: int, n_o: int, seed: int = 0) -> tuple[jax.Array, np.ndarray]:
    """Autocovariances and a sample of a random moving average."""
    rng = np.random.default_rng(seed)
    coefficients = rng.normal(size=(40, n_o, n_o)) * 0.8 ** np.arange(40)[:, None, None]
    gamma = compiled_autocovariances(jnp.asarray(coefficients), jnp.linspace(0.3, 0.7, n_o), n, 30)
    return gamma, rng.normal(size=(n, n_o))


@pytest.mark.parametrize(
    ("n", "n_o"),
    [
        (1, 1),
        (2, 2),
        (7, 3),
        pytest.param(30, 1, marks=pytest.mark.long),
        pytest.param(61, 3, marks=pytest.mark.long),
        (25, 7),
    ],
)
def test_toeplitz_recursion_equals_scipy(n: int, n_o: int) -> None:
    gamma, sample = process(n, n_o)
    law = multivariate_normal(np.zeros(n * n_o), np.asarray(covariance_of(gamma, n)))
    assert float(recursion(gamma, sample)) == pytest.approx(law.logpdf(sample.ravel()), abs=1e-9)


@pytest.mark.parametrize(("n", "n_o"), [(2, 1), pytest.param(9, 2, marks=pytest.mark.long), (40, 3)])
def test_toeplitz_gradient_equals_that_of_the_dense_density(n: int, n_o: int) -> None:
    gamma, sample = process(n, n_o, 3)
    direction = np.random.default_rng(4).normal(size=gamma.shape)
    direction[0] += direction[0].T
    fast = jax.jit(jax.grad(toeplitz_log_likelihood))(gamma, sample)
    slow = jax.jit(jax.grad(lambda g: dense_log_likelihood(g, sample)))(gamma)
    assert float((fast * direction).sum()) == pytest.approx(float((slow * direction).sum()), rel=1e-9)


def test_missing_entries_are_dropped_rows_and_columns() -> None:
    gamma, sample = process(7, 3, 1)  # of a size that is compiled already, as below
    holes = sample.copy()
    holes[2:5, 1] = np.nan
    holes[0] = np.nan
    holes[6, 2] = np.nan
    kept = ~np.isnan(holes.ravel())
    covariance = np.asarray(covariance_of(gamma, 7))[np.ix_(kept, kept)]
    law = multivariate_normal(np.zeros(kept.sum()), covariance)
    assert dense(gamma, holes) == pytest.approx(law.logpdf(holes.ravel()[kept]), abs=1e-9)
    assert dense(gamma, sample) == pytest.approx(float(recursion(gamma, sample)), abs=1e-9)


def test_a_covariance_that_is_not_positive_definite_gives_nan() -> None:
    gamma, sample = process(7, 3)
    bad = gamma.at[1].multiply(5.0)
    assert np.isnan(float(recursion(bad, sample)))
    assert np.isnan(dense(bad, sample))
    singular = jnp.concatenate([jnp.ones((1, 3, 3)), jnp.zeros((6, 3, 3))])
    value = float(recursion(singular, sample))
    assert not np.isfinite(value) or value < -1e6
