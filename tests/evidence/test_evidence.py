"""Evidences that are known: a regression in eleven dimensions, an autoregression by quadrature, two modes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import integrate as quadrature
from scipy import stats

from estimhank.evidence.bridge import NoOverlap, bridge, integrate
from estimhank.evidence.estimates import Evidence, harmonic_mean, laplace, log_share, tempered

Array = NDArray[np.float64]
Density = Callable[[Array], Array]


def regression(seed: int) -> tuple[Density, Array, Array, float]:
    """Log likelihood times prior of y = X b + e in 11 dimensions: density, posterior mean, covariance, evidence."""
    rng = np.random.default_rng(seed)
    x, d = rng.standard_normal((60, 11)), 11
    y = x @ rng.standard_normal(d) + 0.7 * rng.standard_normal(60)
    scale = np.linspace(0.3, 3.0, d)
    marginal = float(stats.multivariate_normal(cov=0.49 * np.eye(60) + (x * scale**2) @ x.T).logpdf(y))
    precision = x.T @ x / 0.49 + np.diag(scale**-2.0)
    covariance = np.linalg.inv(precision)
    mean = covariance @ x.T @ y / 0.49

    def log_density(b: Array) -> Array:
        likelihood = stats.norm.logpdf(y - b @ x.T, scale=0.7).sum(axis=-1)
        return np.asarray(likelihood + stats.norm.logpdf(b, scale=scale).sum(axis=-1))

    return log_density, mean, covariance, marginal


def normal_draws(seed: int, mean: Array, covariance: Array, shape: tuple[int, int]) -> Array:
    return np.random.default_rng(seed).multivariate_normal(mean, covariance, shape)


def random_walk(seed: int, log_density: Density, start: Array, scale: float, draws: int, keep: int) -> Array:
    """Chains (m, draws, d), every ``keep``-th state: what autocorrelated draws look like."""
    rng, x, found = np.random.default_rng(seed), start.copy(), []
    value = log_density(x)
    for i in range(draws * keep):
        new = x + scale * rng.standard_normal(x.shape)
        there = log_density(new)
        accepted = np.log(rng.random(len(x))) < there - value
        x, value = np.where(accepted[:, None], new, x), np.where(accepted, there, value)
        if i % keep == 0:
            found.append(x)
    return np.stack(found, axis=1)


@pytest.mark.parametrize("seed", range(4))
def test_a_regression_in_eleven_dimensions(seed: int) -> None:
    log_density, mean, covariance, known = regression(seed)
    draws = normal_draws(seed + 50, mean, covariance, (8, 500))
    found = integrate(log_density, draws, seed=seed)
    assert found.ratio.standard_error < 0.02 and found.ratio.reliable
    assert abs(found.ratio.value - known) < 3 * found.ratio.standard_error
    assert abs(found.importance.value - known) < 3 * found.importance.standard_error
    harmonic = harmonic_mean(draws, log_density(draws.reshape(-1, 11)).reshape(8, 500))
    assert abs(harmonic.value - known) < 3 * harmonic.standard_error < 0.1
    assert laplace(float(log_density(mean[None])[0]), covariance).value == pytest.approx(known, abs=1e-9)


def test_the_standard_error_is_what_repetitions_vary_by() -> None:
    log_density, mean, covariance, known = regression(9)
    found = [integrate(log_density, normal_draws(i, mean, covariance, (4, 200)), seed=i).ratio for i in range(60)]
    errors = np.array([(e.value - known) / e.standard_error for e in found])
    assert 0.75 < errors.std() < 1.3 and abs(errors.mean()) < 0.4


def autoregression() -> tuple[Density, float]:
    """An AR(1) with known innovations, in atanh of its root under a normal prior; evidence by quadrature."""
    rng = np.random.default_rng(3)
    y = np.zeros(80)
    y[0] = rng.standard_normal() / math.sqrt(1 - 0.8**2)
    for t in range(1, 80):
        y[t] = 0.8 * y[t - 1] + rng.standard_normal()

    def log_density(x: Array) -> Array:
        rho = np.tanh(x[:, 0])
        first = stats.norm.logpdf(y[0], scale=1 / np.sqrt(1 - rho**2))
        rest = stats.norm.logpdf(y[1:] - rho[:, None] * y[:-1]).sum(axis=1)
        return np.asarray(first + rest + stats.norm.logpdf(x[:, 0], 0.5, 0.7))

    value, _ = quadrature.quad(lambda x: math.exp(log_density(np.array([[x]]))[0] + 120), -1, 3, epsabs=1e-12)
    return log_density, math.log(value) - 120


def test_an_autoregression_from_autocorrelated_draws() -> None:
    log_density, known = autoregression()
    draws = random_walk(1, log_density, np.full((8, 1), 1.0), 0.1, 600, 2)
    values = log_density(draws.reshape(-1, 1)).reshape(8, 600)
    found = integrate(log_density, draws, values)
    assert abs(found.ratio.value - known) < 3 * found.ratio.standard_error
    assert found.ratio.effective < 0.5 * 2400  # the other half of the chains, and not all of that
    harmonic = harmonic_mean(draws, values)
    assert abs(harmonic.value - known) < 3 * harmonic.standard_error


def two_modes(x: Array) -> Array:
    """Two normals of weight 0.7 and 0.3 in three dimensions, apart; the integral is e^5."""
    left = stats.multivariate_normal(np.full(3, -4.0)).logpdf(x) + math.log(0.7)
    right = stats.multivariate_normal(np.full(3, 4.0), 0.25).logpdf(x) + math.log(0.3)
    return np.asarray(np.logaddexp(left, right) + 5.0)


def draws_of_two_modes(seed: int) -> Array:
    rng = np.random.default_rng(seed)
    left = rng.random((8, 400, 1)) < 0.7
    noise = rng.standard_normal((8, 400, 3))
    return np.where(left, -4.0 + noise, 4.0 + 0.5 * noise)


def test_two_modes() -> None:
    draws = draws_of_two_modes(0)
    found = integrate(two_modes, draws)
    assert abs(found.ratio.value - 5.0) < 3 * found.ratio.standard_error < 0.1
    assert found.ratio.reliable


def test_a_proposal_that_misses_a_mode_is_flagged() -> None:
    """By the posterior's draws, and by importance sampling; the proposal's own draws see nothing."""
    draws, rng = draws_of_two_modes(1), np.random.default_rng(2)
    one_sided = stats.multivariate_normal(np.full(3, -4.0), 1.2)
    x = one_sided.rvs(3000, random_state=rng)
    flat = draws.reshape(-1, 3)
    found = bridge(
        (two_modes(flat).reshape(8, 400), one_sided.logpdf(flat).reshape(8, 400)),
        (two_modes(x)[None], one_sided.logpdf(x)[None]),
    )
    assert found.importance.reliable  # what the proposal's own draws say
    evidence = Evidence((found.ratio,), (found.importance,))
    assert not found.ratio.reliable and any("has no draws" in doubt for doubt in evidence.doubts)
    assert any("importance sampling" in doubt for doubt in evidence.doubts)
    assert found.ratio.missed == pytest.approx(0.3, abs=0.05) and "Doubt" in evidence.summary()


def test_a_proposal_that_is_too_narrow_is_flagged() -> None:
    rng = np.random.default_rng(0)
    p, q = stats.multivariate_normal(np.zeros(4)), stats.multivariate_normal(np.zeros(4), 0.2)
    x, y = p.rvs(4000, random_state=rng), q.rvs(4000, random_state=rng)
    found = bridge((p.logpdf(x).reshape(8, 500), q.logpdf(x).reshape(8, 500)), (p.logpdf(y)[None], q.logpdf(y)[None]))
    assert any("tail index" in doubt for doubt in Evidence((found.ratio,)).doubts)


def test_draws_that_miss_a_mode_are_contradicted_by_sequential_monte_carlo() -> None:
    draws = np.random.default_rng(4).standard_normal((8, 400, 3)) - 4.0
    found = integrate(two_modes, draws)
    assert abs(found.ratio.value - (5.0 + math.log(0.7))) < 0.1
    good = Evidence((found.ratio,), (found.importance, tempered(5.0 + math.log(0.7) + 0.01, np.ones(4), 2000)))
    assert not good.doubts
    bad = Evidence((found.ratio,), (found.importance, tempered(5.02, np.linspace(0, 1, 10), 2000)))
    assert any("sequential Monte Carlo" in doubt for doubt in bad.doubts)


def test_steps_add_up_and_the_prior_is_divided() -> None:
    """From a mixture to a poor stand-in, from there to the density: as the surrogate's draws are used."""
    log_density, mean, covariance, known = regression(1)
    stand_in = stats.multivariate_normal(mean + 0.01, 1.1 * covariance)
    of_stand_in = normal_draws(5, mean + 0.01, 1.1 * covariance, (8, 500))
    exact = normal_draws(6, mean, covariance, (8, 300))

    def unnormalised(x: Array) -> Array:
        return np.asarray(stand_in.logpdf(x) - 40.0)

    first = integrate(unnormalised, of_stand_in).ratio
    fresh = of_stand_in[:, :150].reshape(-1, 11)
    flat = exact.reshape(-1, 11)
    second = bridge(
        (log_density(flat).reshape(8, 300), unnormalised(flat).reshape(8, 300)),
        (log_density(fresh)[None], unnormalised(fresh)[None]),
    ).ratio
    share = log_share(1500, 2000)
    found = Evidence((first, second), (), share)
    assert abs(first.value + 40.0) < 3 * first.standard_error
    assert abs(found.log_evidence - (known - math.log(0.75))) < 3 * found.standard_error
    assert found.standard_error > found.integral.standard_error
    assert "75.0% of the prior" in found.summary()


def test_where_part_of_the_proposal_has_no_density() -> None:
    """A normal cut off at a plane: its integral is that of what is left."""

    def cut(x: Array) -> Array:
        return np.where(x[:, 0] > 0.3, stats.norm.logpdf(x).sum(axis=1), -np.inf)

    rng = np.random.default_rng(0)
    draws = rng.standard_normal((40_000, 2))
    draws = draws[draws[:, 0] > 0.3][:8000].reshape(8, 1000, 2)
    found = integrate(cut, draws)
    assert abs(found.ratio.value - stats.norm.logsf(0.3)) < 3 * found.ratio.standard_error


def test_densities_without_overlap_are_refused() -> None:
    nothing = np.full((2, 10), -np.inf)
    with pytest.raises(NoOverlap, match="no draw"):
        bridge((np.zeros((2, 10)), nothing), (nothing, np.zeros((2, 10))))
    assert log_share(0, 10).value == -math.inf
