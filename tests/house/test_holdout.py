"""The hold-out exercise against shorter samples, numerical integration and closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import multivariate_t, norm

from benchmarks.density_scores import crps, log_score, pit
from benchmarks.holdout import AtPoint, Exercise, Forecaster, Weighted, model_densities
from benchmarks.rivals import (
    VAR_LAGS,
    _lagged,
    _prior_freedom,
    autoregressions,
    log_marginal_likelihood,
    minnesota_dummies,
    minnesota_var,
)
from estimhank.economics.draws import ReducedDraws
from estimhank.economics.study import Study
from estimhank.posterior.posterior import Posterior
from estimhank.support.errors import EstimhankError
from tests.helpers.economies import two_series


def test_scores_of_mixtures_are_integrals() -> None:
    rng = np.random.default_rng(0)
    mean, sd = rng.normal(size=(5, 2)), 0.3 + rng.random((5, 2))
    outcome = np.array([0.4, -3.0])
    for j, y in enumerate(outcome):

        def cdf(x: float, j: int = j) -> float:
            return float(norm.cdf(x, mean[:, j], sd[:, j]).mean())

        want = quad(lambda x: cdf(x) ** 2, -12, y)[0] + quad(lambda x: (1 - cdf(x)) ** 2, y, 12)[0]
        assert crps(mean, sd, outcome)[j] == pytest.approx(want, abs=1e-7)
        assert pit(mean, sd, outcome)[j] == pytest.approx(cdf(y))
        assert log_score(mean, sd, outcome)[j] == pytest.approx(np.log(norm.pdf(y, mean[:, j], sd[:, j]).mean()))


def test_forecasts_and_likelihoods_are_those_of_shorter_samples() -> None:
    """Of a model on the first quarters alone, with the means of these taken off."""
    whole = two_series(48)
    data = whole.data
    data = replace(data, values=np.asarray(data.values) - [0.2, -0.1], means=np.array([0.2, -0.1]))
    whole = Posterior(whole.model, data)
    exercise = Exercise.of(whole, data.dates[42], 4)
    theta = whole.reference()
    found = Forecaster(exercise).at(theta)
    assert found is not None
    t = int(exercise.origins[0])
    raw = np.asarray(data.values) + data.means
    mean = raw[:t].mean(0)
    short = Posterior(whole.model, replace(data, dates=data.dates[:t], values=raw[:t] - mean, means=mean))
    assert found.log_likelihood[0] == pytest.approx(short.log_likelihood(theta), rel=1e-9)
    ahead = Study(ReducedDraws.at(short, theta)).forecast(4).draws
    np.testing.assert_allclose(found.mean[0], ahead.value[0], atol=1e-9)
    np.testing.assert_allclose(found.sd[0] ** 2, ahead.value_variance[0], atol=1e-9)


def test_points_are_drawn_by_their_weights() -> None:
    points = [AtPoint(np.zeros(1), np.full((1, 1, 1), float(i)), np.ones((1, 1, 1))) for i in range(4)]
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    weighted = Weighted(np.zeros((4, 1)), np.log(weights)[:, None], points)
    drawn = model_densities(weighted, 0, np.random.default_rng(0)).mean.ravel()
    np.testing.assert_allclose(np.bincount(drawn.astype(int)) / len(drawn), weights, atol=0.01)
    assert weighted.effective[0] == pytest.approx(1 / (weights**2).sum())


def walk(n: int = 200) -> np.ndarray:
    rng = np.random.default_rng(1)
    values = np.zeros((n, 2))
    for t in range(1, n):
        values[t] = 0.5 + np.array([[0.6, 0.1], [-0.1, 0.4]]) @ values[t - 1] + rng.normal(size=2)
    return values


def test_the_marginal_likelihood_of_a_var_is_a_matrix_t_density() -> None:
    """One series: a multivariate t, by another library."""
    values = walk(40)[:, :1]
    dummy_y, dummy_x = minnesota_dummies(values, 0.3)
    y, x = _lagged(values, VAR_LAGS)
    inverse = np.linalg.inv(dummy_x.T @ dummy_x)
    center = np.linalg.lstsq(dummy_x, dummy_y, rcond=None)[0]
    left = dummy_y - dummy_x @ center
    freedom = _prior_freedom(1)
    shape = (np.eye(len(y)) + x @ inverse @ x.T) * float((left**2).sum()) / freedom
    want = multivariate_t.logpdf(y[:, 0], (x @ center)[:, 0], shape, freedom)
    assert log_marginal_likelihood(values, 0.3) == pytest.approx(want, rel=1e-9)


def test_rivals_forecast_what_they_are_given() -> None:
    values = walk(2_000)
    matrix = np.array([[0.6, 0.1], [-0.1, 0.4]])
    mean, covariance, state = values[-1], np.zeros((2, 2)), np.eye(2)
    found = minnesota_var(values, 3, np.random.default_rng(0))
    for h in range(3):
        mean = 0.5 + matrix @ mean
        covariance = covariance + state @ state.T
        state = matrix @ state
        np.testing.assert_allclose(found.mean[:, h].mean(0), mean, atol=0.15)
        np.testing.assert_allclose(found.sd[:, h].mean(0), np.sqrt(np.diag(covariance)), rtol=0.06)
    alone = autoregressions(values[:, :1], 2, np.random.default_rng(0))
    both = autoregressions(values, 2, np.random.default_rng(0))
    np.testing.assert_allclose(both.mean[..., 0].mean(0), alone.mean[..., 0].mean(0), atol=0.02)
    assert alone.sd[:, 0].mean() == pytest.approx(1.0, rel=0.1)


def test_data_with_gaps_are_refused() -> None:
    with pytest.raises(EstimhankError, match="complete data"):
        Exercise.of(two_series(missing=True), "1999Q1")
    with pytest.raises(EstimhankError, match="at least 40 quarters into the sample"):
        Exercise.of(two_series(), "1995Q1")
