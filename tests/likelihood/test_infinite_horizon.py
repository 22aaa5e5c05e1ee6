"""Likelihoods of small models against the dense Gaussian of the state space that they were made from."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimhank.likelihood.continuation import continued_autocovariances, fit_continuation, leftover, windows
from estimhank.likelihood.recursive import STATIONARY, Tail, recursive_autocovariances
from estimhank.posterior.posterior import Posterior
from tests.helpers.random_models import (
    is_determinate,
    long_dense_log_likelihood,
    make_data,
    posterior_of,
    random_case,
)

# as a whole: call by call each operation would be compiled on its own
fit = jax.jit(fit_continuation, static_argnums=(2, 3, 4))
continue_with = jax.jit(continued_autocovariances, static_argnums=2)
left_after = jax.jit(leftover, static_argnums=(2, 3))


@pytest.fixture(scope="module")
def complete() -> Posterior:
    rng = np.random.default_rng(0)
    return posterior_of(make_data(rng, random_case(rng, 0.9), 24, missing=False))


@pytest.fixture(scope="module")
def holes() -> Posterior:
    rng = np.random.default_rng(0)
    return posterior_of(make_data(rng, random_case(rng, 0.9), 24, missing=True))


def check_random_models(posterior: Posterior, seeds: range) -> None:
    refused = 0
    for seed in seeds:
        rng = np.random.default_rng([7, seed])
        slowest = float(rng.choice([0.5, 0.9, -0.9, 0.99, -0.99, 0.995, 0.998, 0.9999, -0.9999]))
        case = random_case(rng, slowest)
        if not is_determinate(case):
            continue
        out = posterior.evaluate(posterior.to_array(case.theta))
        if out.reason in ("horizon", "not_stationary", "not_positive_definite"):
            refused += 1
            continue
        assert out.reason == "ok", (seed, slowest, out.reason)
        want = long_dense_log_likelihood(case, posterior.data.values)
        assert out.log_likelihood == pytest.approx(want, abs=1e-6), (seed, slowest)
    assert refused <= max(2, len(seeds) // 10)


def test_a_dozen_random_models(complete: Posterior) -> None:
    check_random_models(complete, range(12))


@pytest.mark.long
def test_two_hundred_random_models(complete: Posterior, holes: Posterior) -> None:
    check_random_models(complete, range(100))
    check_random_models(holes, range(100, 200))


@pytest.mark.long  # on the whole model; of a posterior with leads: tests/posterior/test_posterior.py
def test_gradients_of_random_models_equal_differences(complete: Posterior) -> None:
    rng = np.random.default_rng(3)
    for slowest in (0.9, 0.998, -0.99):
        theta = complete.to_array(random_case(rng, slowest).theta)
        value, gradient = complete.log_density_and_gradient(theta)
        if not np.isfinite(value):
            continue
        direction = rng.normal(size=len(theta)) * 1e-6
        numeric = (complete.log_density(theta + direction) - complete.log_density(theta - direction)) / 2
        assert gradient @ direction == pytest.approx(numeric, rel=1e-4, abs=1e-8)


def test_levels_that_are_not_observed_change_nothing_and_those_that_are_have_no_distribution() -> None:
    inner = np.array([[0.5, 0.2], [0.0, 0.99]])
    output = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    level = np.zeros((3, 3))
    level[:2, :2], level[2] = inner, [1.0, 0.3, 1.0]
    rng = np.random.default_rng(0)
    state, given = rng.normal(size=(3, 2)), rng.normal(size=(2, 2, 2))
    find = jax.jit(recursive_autocovariances, static_argnums=2)
    with_level, share = find(jnp.asarray(given), Tail(*map(jnp.asarray, (output, level, state))), 10)
    without, _ = find(jnp.asarray(given), Tail(*map(jnp.asarray, (output[:, :2], inner, state[:2]))), 10)
    np.testing.assert_allclose(with_level, without, rtol=1e-11, atol=1e-11)
    assert share < STATIONARY
    for position in (0, 1):
        loaded = output.copy()
        loaded[position, 2] = 1e-3
        assert find(jnp.asarray(given), Tail(*map(jnp.asarray, (loaded, level, state))), 10)[1] > STATIONARY


@pytest.mark.parametrize(
    ("roots", "rho"),
    [((0.99,), 0.5), ((0.99,), 0.985), ((0.99,), 0.99), ((0.9999,), 0.99), ((-0.99, 0.98), 0.9), ((0.98 + 0.1j,), 0.9)],
    ids=str,
)
def test_a_continuation_finds_roots_that_are_not_the_shock_s(roots: tuple[complex, ...], rho: float) -> None:
    horizon, dates = 300, 250_000 if max(map(abs, roots)) > 0.999 else 8_000
    rng, t = np.random.default_rng(1), np.arange(dates)
    paths = [np.real(np.asarray(r, complex) ** t) for r in roots] + [rho**t] + [t * rho**t for r in roots if r == rho]
    x = np.sum([np.multiply.outer(path, rng.normal(size=(2, 1))) for path in paths], axis=0)
    shock = jnp.array([rho])
    start, shift, width = windows(horizon, 200)
    assert left_after(jnp.asarray(x[:horizon]), shock, start, start) > 1e-6
    # a sample that is shorter than what has passed sees less of it, the further out the less
    seen = [float(left_after(jnp.asarray(x[:horizon]), shock, start, lags)) for lags in (start, 60, 1)]
    assert seen == sorted(seen, reverse=True)
    for begin, order in ((start, 4), (start + shift, 6)):
        tail = fit(jnp.asarray(x[:horizon]), shock, begin, (begin, width), order)
        found = continue_with(jnp.asarray(x[:begin]), tail, 20)
        want = np.stack([np.einsum("toz,tpz->op", x[k:], x[: len(x) - k]) for k in range(20)])
        np.testing.assert_allclose(found, want, atol=1e-9 * np.abs(want).max())
        assert bool(tail.dies_out)
