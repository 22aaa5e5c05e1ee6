"""R-hat and effective sample sizes against formulas written out here and processes with a known answer."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from estimhank.sampling.diagnostics import ess, r_hat


def autoregression(rho: float, chains: int, n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = np.empty((chains, n, 1))
    state = rng.standard_normal(chains)
    for t in range(n):
        state = rho * state + np.sqrt(1 - rho**2) * rng.standard_normal(chains)
        x[:, t, 0] = state
    return x


def test_r_hat_is_the_root_of_the_variance_ratio_of_ranked_split_chains() -> None:
    draws = np.random.default_rng(0).standard_normal((4, 500, 2)) + np.array([0.0, 0.6, 0.0, 0.0])[:, None, None]
    expected = []
    for i in range(2):
        folded = np.abs(draws[:, :, i] - np.median(draws[:, :, i]))
        values = []
        for x in (draws[:, :, i], folded):
            z = stats.norm.ppf((stats.rankdata(x) - 3 / 8) / (x.size + 1 / 4)).reshape(8, 250)  # split in halves
            within, between = z.var(axis=1, ddof=1).mean(), 250 * z.mean(axis=1).var(ddof=1)
            values.append(np.sqrt((249 / 250 * within + between / 250) / within))
        expected.append(max(values))
    np.testing.assert_allclose(r_hat(draws), expected, rtol=1e-6)
    assert r_hat(draws).max() > 1.01


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_effective_draws_of_an_autoregression(rho: float) -> None:
    draws = autoregression(rho, 4, 8000, 1)
    expected = 32_000 * (1 - rho) / (1 + rho)
    assert ess(draws, "mean")[0] == pytest.approx(expected, rel=0.2)
    assert ess(draws, "bulk")[0] == pytest.approx(expected, rel=0.2)
    assert 0 < ess(draws, "tail")[0] < 1.3 * 32_000


def test_parameters_are_judged_one_by_one() -> None:
    draws = np.concatenate([autoregression(0.9, 4, 1000, 1), autoregression(0.0, 4, 1000, 2)], axis=2)
    assert ess(draws)[0] < ess(draws)[1] / 5
    np.testing.assert_array_equal(ess(draws)[1:], ess(draws[:, :, 1:]))


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="chain, draw, parameter"):
        r_hat(np.zeros((4, 100)))
