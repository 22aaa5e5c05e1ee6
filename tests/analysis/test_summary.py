"""Summaries of draws against NumPy, known distributions and ArviZ's own interface."""

from __future__ import annotations

import arviz_stats
import numpy as np
import pytest

from estimhank.analysis.summary import QUANTILES, summarise_draws


def autoregression(rho: float, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Stationary AR(1) chains with variance one."""
    x = rng.normal(size=shape)
    for t in range(1, shape[1]):
        x[:, t] = rho * x[:, t - 1] + np.sqrt(1 - rho**2) * x[:, t]
    return x


def test_moments_and_quantiles_are_those_of_the_pooled_draws() -> None:
    draws = np.random.default_rng(1).gamma(2.0, size=(3, 200, 2))
    summary, pooled = summarise_draws(draws), draws.reshape(-1, 2)
    assert summary.mean == pytest.approx(pooled.mean(axis=0))
    assert summary.sd == pytest.approx(pooled.std(axis=0, ddof=1))
    assert summary.quantiles == pytest.approx(np.quantile(pooled, QUANTILES, axis=0))
    assert summary.median == pytest.approx(np.median(pooled, axis=0))


def test_effective_draws_of_an_autoregression() -> None:
    rho = 0.8
    draws = autoregression(rho, (4, 5000), np.random.default_rng(2))
    expected = draws.size * (1 - rho) / (1 + rho)
    assert summarise_draws(draws[..., None]).ess_bulk[0] == pytest.approx(expected, rel=0.15)


def test_monte_carlo_errors_are_the_spread_over_repetitions() -> None:
    rng = np.random.default_rng(3)
    runs = [summarise_draws(rng.normal(size=(4, 250, 1))) for _ in range(150)]
    for value, error in (("mean", "mcse_mean"), ("sd", "mcse_sd")):
        spread = np.std([getattr(run, value)[0] for run in runs], ddof=1)
        assert np.mean([getattr(run, error)[0] for run in runs]) == pytest.approx(spread, rel=0.2)
    spread = np.std([run.q95[0] for run in runs], ddof=1)
    assert np.mean([run.mcse_quantiles[4, 0] for run in runs]) == pytest.approx(spread, rel=0.25)


def test_r_hat_and_tail_draws_agree_with_arviz_on_named_data() -> None:
    draws = np.random.default_rng(4).normal(size=(4, 100, 1))
    draws[0] += 0.5
    summary = summarise_draws(draws)
    assert summary.r_hat[0] == pytest.approx(float(arviz_stats.rhat(draws[..., 0])))
    assert summary.ess_tail[0] == pytest.approx(float(arviz_stats.ess(draws[..., 0], method="tail", prob=(0.05, 0.95))))
    assert summary.r_hat[0] > 1.01


def test_a_parameter_that_never_moves_has_no_effective_draws() -> None:
    draws = np.random.default_rng(5).normal(size=(4, 50, 2))
    draws[..., 1] = 0.3
    summary = summarise_draws(draws)
    assert np.isfinite(summary.ess_bulk[0]) and summary.sd[1] == 0
    assert np.isnan([summary.r_hat[1], summary.ess_bulk[1], summary.ess_tail[1], summary.mcse_mean[1]]).all()


def test_too_few_draws_have_moments_but_no_convergence() -> None:
    summary = summarise_draws(np.random.default_rng(6).normal(size=(4, 2, 1)))
    assert np.isfinite(summary.mean).all() and np.isnan([*summary.r_hat, *summary.ess_bulk, *summary.mcse_mean]).all()


@pytest.mark.parametrize("shape", [(10,), (4, 50), (4, 0, 2)])
def test_wrong_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected"):
        summarise_draws(np.zeros(shape))
