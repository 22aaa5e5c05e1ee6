"""Autoregressions with parameter uncertainty, estimated anew at each date: what a model's forecasts are held against.

``AR``: one equation a series, lags by the Bayesian information criterion, a diffuse prior. ``VAR``: four lags, a
Minnesota prior by dummy observations (Litterman 1986; Bańbura, Giannone and Reichlin 2010) whose tightness is the one
with the largest marginal likelihood at that date (Giannone, Lenza and Primiceri 2015). Both are conjugate: draws of the
posterior are independent, and at each draw the forecast is normal with moments in closed form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import multigammaln

Array = NDArray[np.float64]

MOST_LAGS, VAR_LAGS = 4, 4
#: Tightnesses of the Minnesota prior that are tried; how little is known of constants; draws of each posterior.
TIGHTNESSES, _LOOSE, DRAWS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0), 1e3, 200


class Densities(NamedTuple):
    """Normal components of forecasts, (draws, horizons, series)."""

    mean: Array
    sd: Array


Rival = Callable[[Array, int, np.random.Generator], Densities]


def _lagged(values: Array, lags: int) -> tuple[Array, Array]:
    """Left-hand sides (n - lags, k) and regressors (n - lags, 1 + lags k)."""
    n = len(values)
    return values[lags:], np.hstack([np.ones((n - lags, 1)), *(values[lags - j : n - j] for j in range(1, lags + 1))])


def _iterate(values: Array, coefficients: Array, covariance: Array, horizon: int) -> Densities:
    """Moments of the next quarters at draws of coefficients (m, 1 + lags k, k) and covariances (m, k, k)."""
    m, rows, k = coefficients.shape
    lags = (rows - 1) // k
    companion = np.zeros((m, lags * k, lags * k))
    companion[:, :k] = coefficients[:, 1:].transpose(0, 2, 1)
    companion[:, np.arange(k, lags * k), np.arange((lags - 1) * k)] = 1.0
    state = np.tile(values[: -lags - 1 : -1].ravel(), (m, 1))
    spread = np.zeros_like(companion)
    mean, sd = np.empty((m, horizon, k)), np.empty((m, horizon, k))
    for h in range(horizon):
        state = np.einsum("mij,mj->mi", companion, state)
        state[:, :k] += coefficients[:, 0]
        spread = companion @ spread @ companion.transpose(0, 2, 1)
        spread[:, :k, :k] += covariance
        mean[:, h] = state[:, :k]
        sd[:, h] = np.sqrt(np.diagonal(spread, axis1=1, axis2=2)[:, :k])
    return Densities(mean, sd)


def _draws(y: Array, x: Array, freedom: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Of coefficients and covariance given data and dummy observations: normal-inverse-Wishart."""
    k = y.shape[1]
    factor = np.linalg.cholesky(np.linalg.inv(x.T @ x))
    center = np.linalg.lstsq(x, y, rcond=None)[0]
    left = y - x @ center
    scale = np.linalg.cholesky(np.linalg.inv(left.T @ left))
    # inverse of a Wishart by Bartlett's decomposition
    bartlett = np.zeros((DRAWS, k, k))
    for i in range(k):
        bartlett[:, i, i] = np.sqrt(rng.chisquare(freedom - i, DRAWS))
        bartlett[:, i, :i] = rng.standard_normal((DRAWS, i))
    precision_root = scale @ bartlett
    covariance = np.linalg.inv(precision_root @ precision_root.transpose(0, 2, 1))
    noise = rng.standard_normal((DRAWS, len(center), k))
    return center + factor @ noise @ np.linalg.cholesky(covariance).transpose(0, 2, 1), covariance


def autoregressions(values: Array, horizon: int, rng: np.random.Generator) -> Densities:
    """Each series by its own past; values (n, k) without gaps."""
    parts = []
    for series in values.T[:, :, None]:
        criteria = []
        for lags in range(1, MOST_LAGS + 1):
            y, x = _lagged(series[MOST_LAGS - lags :], lags)  # the same quarters for all
            left = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
            criteria.append(len(y) * np.log((left**2).mean()) + x.shape[1] * np.log(len(y)))
        lags = 1 + int(np.argmin(criteria))
        y, x = _lagged(series, lags)
        parts.append(_iterate(series, *_draws(y, x, len(y) - x.shape[1], rng), horizon))
    return Densities(*(np.concatenate(arrays, axis=2) for arrays in zip(*parts, strict=True)))


def minnesota_dummies(values: Array, tightness: float) -> tuple[Array, Array]:
    """Dummy observations: each series a walk of its own, or white noise where it is not persistent, lags the less
    likely the older, covariances around those of autoregressions."""
    k = values.shape[1]
    sd, own = np.empty(k), np.empty(k)
    for i, series in enumerate(values.T[:, :, None]):
        y, x = _lagged(series, VAR_LAGS)
        sd[i] = (y - x @ np.linalg.lstsq(x, y, rcond=None)[0]).std()
        y, x = _lagged(series, 1)
        own[i] = np.clip(np.linalg.lstsq(x, y, rcond=None)[0][1, 0], 0.0, 1.0)
    lags = np.arange(1, VAR_LAGS + 1)
    rows = VAR_LAGS * k
    y = np.vstack([np.diag(own * sd) / tightness, np.zeros((rows - k, k)), np.diag(sd), np.zeros((1, k))])
    x = np.zeros((len(y), 1 + rows))
    x[:rows, 1:] = np.kron(np.diag(lags), np.diag(sd)) / tightness
    x[-1, 0] = 1 / _LOOSE
    return y, x


def log_marginal_likelihood(values: Array, tightness: float) -> float:
    """Of a VAR with this prior: the normalising constant with dummies and data over that with dummies."""
    dummy_y, dummy_x = minnesota_dummies(values, tightness)
    y, x = _lagged(values, VAR_LAGS)
    k, n = y.shape[1], len(y)

    def constant(y: Array, x: Array, freedom: float) -> float:
        left = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
        dets = [np.linalg.slogdet(matrix)[1] for matrix in (x.T @ x, left.T @ left)]
        return float(-0.5 * k * dets[0] - 0.5 * freedom * dets[1] + multigammaln(freedom / 2, k))

    both = constant(np.vstack([dummy_y, y]), np.vstack([dummy_x, x]), _prior_freedom(k) + n)
    return both - constant(dummy_y, dummy_x, _prior_freedom(k)) - 0.5 * n * k * np.log(np.pi)


def _prior_freedom(k: int) -> float:
    return k + 2.0


def minnesota_var(values: Array, horizon: int, rng: np.random.Generator) -> Densities:
    """All series by the past of all; values (n, k) without gaps."""
    best = max(TIGHTNESSES, key=lambda tightness: log_marginal_likelihood(values, tightness))
    dummy_y, dummy_x = minnesota_dummies(values, best)
    y, x = _lagged(values, VAR_LAGS)
    freedom = _prior_freedom(values.shape[1]) + len(y)
    drawn = _draws(np.vstack([dummy_y, y]), np.vstack([dummy_x, x]), freedom, rng)
    return _iterate(values, *drawn, horizon)


RIVALS: dict[str, Rival] = {"AR": autoregressions, "VAR": minnesota_var}
