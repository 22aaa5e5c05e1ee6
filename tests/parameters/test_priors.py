"""Priors are densities: they integrate to one, have the stated moments, vanish outside, and have gradients inside."""

from __future__ import annotations

import math
from itertools import pairwise

import jax
import numpy as np
import pytest
from scipy import integrate, stats

from estimhank.parameters.priors import (
    Beta,
    Gamma,
    InverseGamma,
    Normal,
    Prior,
    SqrtInverseGamma,
    Uniform,
    make_prior,
)

EVERY: list[Prior] = [
    Normal(1.7, 0.3),
    Normal(1.7, 0.3, lower=1.0),
    Normal(0.0, 1.0, lower=6.0),
    Gamma(0.1, 0.05),
    Gamma(0.1, 0.075, shift=0.005),
    Gamma(2.0, 0.3, lower=1.5, upper=2.5),
    Beta(0.5, 0.2),
    Beta(0.5, 0.2, upper=0.995),
    Beta(0.8, 0.1, lower=0.3),
    Beta(0.2, 0.3, -1.0, 1.0),
    Beta(0.2, 0.3, -1.0, 1.0, lower=0.0),
    Beta(5.0, 1.0, 2.0, 12.0, upper=9.0),
    SqrtInverseGamma(0.4, 4.0),
    SqrtInverseGamma(0.4, 4.0, upper=2.0),
    SqrtInverseGamma.from_moments(0.1, 0.05),
    InverseGamma(1.0, 0.4),
    Uniform(-1.0, 3.0),
    Uniform(-1.0, 3.0, lower=0.0),
]


def _integral(prior: Prior, power: int = 0) -> float:
    low, high = prior.support
    middle = float(prior.ppf(0.5))

    log_density = jax.jit(prior.logpdf)

    def integrand(x: float) -> float:
        return x**power * math.exp(float(log_density(x)))

    return sum(integrate.quad(integrand, a, b, limit=200, epsabs=1e-9)[0] for a, b in ((low, middle), (middle, high)))


@pytest.mark.parametrize("prior", EVERY, ids=repr)
def test_integrates_to_one_truncation_included(prior: Prior) -> None:
    assert _integral(prior) == pytest.approx(1.0, abs=1e-7)


@pytest.mark.parametrize("prior", [p for p in EVERY if p.lower == -math.inf and p.upper == math.inf], ids=repr)
def test_has_the_stated_mean_and_sd_before_truncation(prior: Prior) -> None:
    mean = _integral(prior, 1)
    assert mean == pytest.approx(prior.mean, rel=1e-6, abs=1e-9)
    assert math.sqrt(_integral(prior, 2) - mean**2) == pytest.approx(prior.sd, rel=1e-5)


def test_stated_moments_are_those_asked_for() -> None:
    for family in ("normal", "gamma", "beta", "inverse_gamma", "sqrt_inverse_gamma"):
        prior = make_prior(family, mean=0.4, sd=0.1)
        assert prior.mean == pytest.approx(0.4, rel=1e-9) and prior.sd == pytest.approx(0.1, rel=1e-7)


def test_default_shock_prior_has_the_moments_in_the_specification() -> None:
    prior = SqrtInverseGamma(0.4, 4.0)
    assert prior.mean == pytest.approx(0.501, abs=5e-4)
    assert prior.sd == pytest.approx(0.262, abs=5e-4)


@pytest.mark.parametrize("prior", EVERY, ids=repr)
def test_is_minus_infinity_outside_and_differentiable_inside(prior: Prior) -> None:
    low, high = prior.support
    for outside in (low - 1e-3, low, high, high + 1e-3):
        if math.isfinite(outside):
            assert float(prior.logpdf(outside)) == -math.inf
    x = float(prior.ppf(0.3))
    slope = float(jax.grad(prior.logpdf)(x))
    step = 1e-6 * max(1.0, abs(x))
    numeric = (float(prior.logpdf(x + step)) - float(prior.logpdf(x - step))) / (2 * step)
    assert slope == pytest.approx(numeric, rel=1e-5, abs=1e-6)
    assert isinstance(prior, Uniform) or slope != 0


@pytest.mark.parametrize("prior", EVERY, ids=repr)
def test_draws_follow_the_density(prior: Prior) -> None:
    draws = prior.sample(np.random.default_rng(1), 4000)
    low, high = prior.support
    assert ((draws > low) & (draws < high)).all()
    grid = np.sort(draws)[::400]
    nodes, weights = np.polynomial.legendre.leggauss(40)
    left = low if math.isfinite(low) else float(prior.mean - 12 * prior.sd)
    edges = np.linspace(left, grid[-1], 200)
    cells = [
        (b - a) / 2 * weights @ np.exp(prior.logpdf((a + b) / 2 + (b - a) / 2 * nodes)) for a, b in pairwise(edges)
    ]
    cdf = np.interp(grid, edges, np.append(0.0, np.cumsum(cells)))
    # Kolmogorov-Smirnov distance at a few points; a right sampler exceeds 2.7 / sqrt(n) once in a million times
    empirical = np.searchsorted(np.sort(draws), grid, side="right") / 4000
    assert np.abs(empirical - cdf).max() < 2.7 / math.sqrt(4000)


@pytest.mark.parametrize("bounds", [{"lower": 8.0}, {"lower": 30.0}, {"lower": -8.5, "upper": -8.0}])
def test_truncation_far_out_in_a_tail_keeps_its_digits(bounds: dict[str, float]) -> None:
    prior = Normal(0.0, 1.0, **bounds)
    low, high = max(prior.support[0], -8.5), min(prior.support[1], prior.support[0] + 2.0)
    nodes, weights = np.polynomial.legendre.leggauss(60)
    mass = (high - low) / 2 * weights @ np.exp(prior.logpdf((low + high) / 2 + (high - low) / 2 * nodes))
    assert mass == pytest.approx(1.0, abs=1e-6)
    draws = prior.sample(np.random.default_rng(2), 4000)
    assert np.isfinite(np.asarray(prior.logpdf(draws))).all()
    law = stats.truncnorm(prior.support[0], prior.support[1])
    assert draws.mean() == pytest.approx(law.mean(), abs=5.5 * law.std() / math.sqrt(4000))


def test_families_agree_with_scipy() -> None:
    x = np.array([0.05, 0.3, 0.7])
    cases = [
        (Gamma(0.1, 0.05), stats.gamma(4.0, scale=0.025)),
        (Beta(0.5, 0.2), stats.beta(2.625, 2.625)),
        (InverseGamma(1.0, 0.5), stats.invgamma(6.0, scale=5.0)),
        (Normal(0.2, 0.1), stats.norm(0.2, 0.1)),
    ]
    for prior, law in cases:
        np.testing.assert_allclose(prior.logpdf(x), law.logpdf(x), rtol=1e-10)
    # the square of a draw from the square-root inverse gamma is inverse gamma
    nu, s = 4.0, 0.4
    expected = stats.invgamma(nu / 2, scale=nu * s**2 / 2).logpdf(x**2) + np.log(2 * x)
    np.testing.assert_allclose(SqrtInverseGamma(s, nu).logpdf(x), expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("family", "options", "word"),
    [
        ("gama", {"mean": 1, "sd": 1}, "unknown prior family"),
        ("gamma", {"mean": 1}, "needs mean and sd"),
        ("gamma", {"mean": -1, "sd": 1}, "must be positive"),
        ("beta", {"mean": 0.5, "sd": 0.6}, "no beta distribution"),
        ("normal", {"mean": 0, "sd": 1, "lower": 2, "upper": 1}, "no support"),
        ("uniform", {"low": 2, "high": 1}, "low < high"),
        ("gamma", {"mean": 1, "sd": 1, "upper": -1}, "no support"),
        ("normal", {"mean": math.nan, "sd": 1}, "mean must be a number"),
        ("normal", {"mean": 0, "sd": 1, "lower": math.nan}, "must be numbers"),
        ("sqrt_inverse_gamma", {"mean": 1, "sd": 1e-9}, "must be between"),
        ("sqrt_inverse_gamma", {"mean": 1, "sd": 1e9}, "must be between"),
    ],
)
def test_impossible_priors_say_what_is_wrong(family: str, options: dict[str, float], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        make_prior(family, **options)


@pytest.mark.parametrize(
    ("family", "options", "words"),
    [
        ("beta", {"mean": 0.5, "sd": 0.2, "lower": -1, "upper": 1}, r"lower = -1 truncates nothing.*low and high"),
        ("beta", {"mean": 0.5, "sd": 0.2, "upper": 2}, r"upper = 2 truncates nothing.*\(0, 1\)"),
        ("gamma", {"mean": 0.5, "sd": 0.2, "lower": -0.5}, "lower = -0.5 truncates nothing"),
        ("inverse_gamma", {"mean": 0.5, "sd": 0.2, "lower": -1e-9}, "truncates nothing"),
        ("sqrt_inverse_gamma", {"scale": 0.5, "df": 4, "lower": -1}, "truncates nothing"),
        ("uniform", {"low": 0, "high": 1, "lower": -1}, "truncates nothing"),
        ("uniform", {"low": 0, "high": 1, "upper": 1.5}, "truncates nothing"),
        ("beta", {"mean": 1.5, "sd": 0.2, "low": -1, "high": 1}, r"no beta distribution on \(-1, 1\)"),
        ("beta", {"mean": 0.0, "sd": 1.0, "low": -1, "high": 1}, r"no beta distribution on \(-1, 1\)"),
        ("beta", {"mean": 0.0, "sd": 0.1, "low": 1, "high": -1}, "low < high"),
        ("beta", {"mean": 0.5, "sd": 0.1, "low": 0}, "needs mean and sd or high and low and mean and sd"),
    ],
)
def test_bounds_beyond_a_family_are_refused(family: str, options: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_prior(family, **options)


@pytest.mark.parametrize(
    ("family", "options", "bounds", "support"),
    [
        ("gamma", {"mean": 0.5, "sd": 0.2}, {"lower": 0}, (0, math.inf)),
        ("gamma", {"mean": 0.5, "sd": 0.2, "shift": 0.005}, {"lower": 0}, (0.005, math.inf)),
        ("beta", {"mean": 0.5, "sd": 0.2}, {"lower": 0, "upper": 1}, (0, 1)),
        ("normal", {"mean": 0.5, "sd": 0.2}, {"upper": math.inf}, (-math.inf, math.inf)),
        ("normal", {"mean": 0.5, "sd": 0.2}, {"lower": -5, "upper": math.inf}, (-5, math.inf)),
        ("uniform", {"low": 0, "high": 1}, {"lower": -math.inf}, (0, 1)),
    ],
)
def test_bounds_at_the_end_of_a_family_and_infinite_ones_change_nothing(
    family: str, options: dict[str, float], bounds: dict[str, float], support: tuple[float, float]
) -> None:
    bounded, free = make_prior(family, **options, **bounds), make_prior(family, **options)
    assert bounded.support == support
    x = np.array([-0.1, 0.004, 0.1, 0.4, 0.9, 1.1])
    # the normal density has 1e-167 of its mass below -5, the others none beyond their bounds
    np.testing.assert_array_equal(bounded.logpdf(x), free.logpdf(x))
    np.testing.assert_allclose(bounded.ppf(np.array([0.1, 0.5])), free.ppf(np.array([0.1, 0.5])), rtol=1e-12)


def test_a_stretched_beta_is_that_of_scipy_and_a_prior_of_its_own() -> None:
    prior = make_prior("beta", mean=0.0, sd=0.5, low=-1, high=1)
    x = np.linspace(-0.99, 0.99, 7)
    # mean 1/2 and s.d. 1/4 on (0, 1): a = b = 3/2
    np.testing.assert_allclose(np.asarray(prior.logpdf(x)), stats.beta(1.5, 1.5, loc=-1, scale=2).logpdf(x), rtol=1e-12)
    assert prior.support == (-1.0, 1.0) and prior.mean == 0.0 and prior.sd == pytest.approx(0.5)
    cut = [make_prior("beta", mean=0.5, sd=0.1, low=low, high=1, lower=0.2) for low in (0.0, -1.0)]
    assert cut[0].describe() != cut[1].describe()
    assert "low" not in make_prior("beta", mean=0.5, sd=0.2).describe()
