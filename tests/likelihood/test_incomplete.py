"""Missing values anywhere: against the dense Gaussian and against a Kalman filter and smoother."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimhank.likelihood import incomplete, levinson
from estimhank.likelihood.dense import dense_log_likelihood, stacked_covariance
from estimhank.likelihood.incomplete import MOST_MISSING, gaussian_log_likelihood, incomplete_log_likelihood
from tests.helpers.kalman import StateSpace, kalman, random_state_space

N, N_O = 40, 3

covariance_of = jax.jit(stacked_covariance, static_argnums=1)


@pytest.fixture(autouse=True, scope="module")
def compiled_once() -> Iterator[None]:
    """Every call outside a compiled function would compile the recursion again, at a second each."""
    once = jax.jit(levinson.run_recursion, static_argnames="with_alpha")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(incomplete, "run_recursion", once)
        patch.setattr(levinson, "run_recursion", once)
        yield


def holes(name: str) -> np.ndarray:
    """Which entries of a sample (N, N_O) are missing."""
    gone = np.zeros((N, N_O), bool)
    if name == "two dates":
        gone[20:22] = True
    elif name == "a span of one series":
        gone[10:25, 2] = True
    elif name == "ragged":  # one series starts late, one ends early, nothing at both ends
        gone[:5, 0], gone[-3:, 1], gone[-1], gone[0] = True, True, True, True
    elif name == "yearly":
        gone[:, 2] = np.arange(N) % 4 != 3
    elif name == "scattered":
        gone = np.random.default_rng(8).uniform(size=gone.shape) < 0.2
    elif name == "mostly":
        gone = np.random.default_rng(9).uniform(size=gone.shape) < 0.7
    return gone


#: Every pattern compiles code of its own; what three of them do not show is left to the long tests.
PATTERNS = (
    "none",
    pytest.param("two dates", marks=pytest.mark.long),
    pytest.param("a span of one series", marks=pytest.mark.long),
    "ragged",
    pytest.param("yearly", marks=pytest.mark.long),
    pytest.param("scattered", marks=pytest.mark.long),
    "mostly",
)


def draw(model: StateSpace, seed: int) -> np.ndarray:
    """A sample from the model, by its dense covariance."""
    covariance = np.asarray(covariance_of(jnp.asarray(model.autocovariances(N)), N))
    rng = np.random.default_rng(seed)
    return (np.linalg.cholesky(covariance) @ rng.normal(size=N * N_O)).reshape(N, N_O)


@pytest.fixture(scope="module", params=[0.0, 0.5], ids=["exact", "measurement error"])
def case(request: pytest.FixtureRequest) -> tuple[StateSpace, np.ndarray]:
    model = random_state_space(np.random.default_rng(5), 4, N_O, request.param)
    return model, draw(model, 6)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_likelihood_is_that_of_a_kalman_filter(case: tuple[StateSpace, np.ndarray], pattern: str) -> None:
    model, complete = case
    sample = np.where(holes(pattern), np.nan, complete)
    gamma = jnp.asarray(model.autocovariances(N))
    want, _ = kalman(model, sample)
    assert float(gaussian_log_likelihood(gamma, sample)[0]) == pytest.approx(want, abs=1e-8)
    if pattern in ("none", "scattered"):
        assert float(jax.jit(lambda g: dense_log_likelihood(g, sample))(gamma)) == pytest.approx(want, abs=1e-8)
    if holes(pattern).any():
        assert float(incomplete_log_likelihood(gamma, sample)[0]) == pytest.approx(want, abs=1e-8)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_what_is_missing_given_the_rest_is_what_a_kalman_smoother_says(pattern: str) -> None:
    # where the likelihood is flat in a missing value is its mean given the rest: no filling moves it
    model = random_state_space(np.random.default_rng(5), 4, N_O)
    gone = holes(pattern)
    sample = np.where(gone, np.nan, draw(model, 6))
    _, smooth = kalman(model, sample)
    gamma = jnp.asarray(model.autocovariances(N))
    precision = np.linalg.inv(np.asarray(covariance_of(gamma, N)))
    filled = np.where(gone, smooth, sample)
    np.testing.assert_allclose((precision @ filled.ravel())[gone.ravel()], 0.0, atol=1e-8)
    # and there p(observed) is p(filled) over the density of the missing block at its own mean
    block = precision[np.ix_(gone.ravel(), gone.ravel())]
    at_mean = 0.5 * (np.linalg.slogdet(block)[1] - gone.sum() * np.log(2 * np.pi))
    value = float(gaussian_log_likelihood(gamma, filled)[0]) - at_mean
    assert float(gaussian_log_likelihood(gamma, sample)[0]) == pytest.approx(value, abs=1e-8)


@pytest.mark.parametrize("pattern", ["ragged", pytest.param("scattered", marks=pytest.mark.long), "mostly"])
def test_the_gradient_is_that_of_the_dense_density(pattern: str) -> None:
    model = random_state_space(np.random.default_rng(5), 4, N_O)
    sample = np.where(holes(pattern), np.nan, draw(model, 6))
    gamma = jnp.asarray(model.autocovariances(N))
    direction = np.random.default_rng(4).normal(size=gamma.shape)
    direction[0] += direction[0].T
    slow = float((np.asarray(jax.jit(jax.grad(lambda g: dense_log_likelihood(g, sample)))(gamma)) * direction).sum())
    fast = jax.jit(jax.grad(lambda g: incomplete_log_likelihood(g, sample)[0]))(gamma)
    assert float((np.asarray(fast) * direction).sum()) == pytest.approx(slow, rel=1e-8, abs=1e-8)


def test_both_routes_meet_at_the_share_where_one_gives_way_to_the_other() -> None:
    model = random_state_space(np.random.default_rng(5), 4, N_O)
    gamma, complete = jnp.asarray(model.autocovariances(N)), draw(model, 6)
    for share in (MOST_MISSING - 0.02, MOST_MISSING + 0.02):
        sample = complete.copy()
        sample.ravel()[np.random.default_rng(3).permutation(N * N_O)[: int(share * N * N_O)]] = np.nan
        assert float(gaussian_log_likelihood(gamma, sample)[0]) == pytest.approx(kalman(model, sample)[0], abs=1e-8)


def test_dates_without_any_observation_at_the_ends_cost_nothing_and_change_nothing() -> None:
    model = random_state_space(np.random.default_rng(5), 4, N_O)
    complete = draw(model, 6)
    sample = complete.copy()
    sample[:7], sample[-4:] = np.nan, np.nan
    gamma = jnp.asarray(model.autocovariances(N))
    assert float(gaussian_log_likelihood(gamma, sample)[0]) == float(
        gaussian_log_likelihood(gamma[: N - 11], complete[7:-4])[0]
    )
    assert float(gaussian_log_likelihood(gamma, np.full((N, N_O), np.nan))[0]) == 0.0


def test_a_covariance_that_is_not_positive_definite_gives_nan() -> None:
    model = random_state_space(np.random.default_rng(5), 4, N_O)
    sample = np.where(holes("two dates"), np.nan, draw(model, 6))
    bad = jnp.asarray(model.autocovariances(N)).at[1].multiply(5.0)
    assert np.isnan(float(gaussian_log_likelihood(bad, sample)[0]))
