"""News between vintages against projections by hand; predictive checks against moments that are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from estimhank.data.dataset import Dataset
from estimhank.economics.draws import ReducedDraws
from estimhank.economics.linear_form import LinearForms
from estimhank.economics.news import News, news
from estimhank.economics.predictive import moment_names, predictive_check, prior_failures, sample_moments
from estimhank.economics.reporting import Reporting
from estimhank.economics.stacked_sample import StackedSample
from estimhank.economics.study import Study
from estimhank.posterior.posterior import Posterior
from estimhank.support.errors import DataError
from tests.helpers.economies import two_series

pytestmark = pytest.mark.long  # minutes, all together

Array = NDArray[np.float64]


def study_of(posterior: Posterior, theta: Any = None, **conventions: Any) -> Study:
    at = posterior.reference() if theta is None else theta
    return Study(ReducedDraws.at(posterior, at), Reporting(**conventions), ahead=8)


def later(data: Dataset, change: float = 0.3, quarters: int = 2) -> Dataset:
    """A vintage with two more quarters, of which one value is not known yet, and with revisions."""
    rng = np.random.default_rng(5)
    n = len(data.dates) + quarters
    values = np.concatenate([np.asarray(data.values), rng.standard_normal((quarters, 2))])
    values[-1, 0] = np.nan
    values[len(data.dates) - 3 : len(data.dates), 1] += change
    dates = tuple(f"{1990 + i // 4}Q{i % 4 + 1}" for i in range(n))
    return replace(data, dates=dates, values=values)


@pytest.fixture(scope="module")
def study() -> Study:
    return study_of(two_series(24, missing=True, error=0.4))


def projection(study: Study, data: Dataset, values: Array, dates: NDArray[np.int_]) -> Array:
    """E[measured series at dates | values], by a dense covariance of everything."""
    form = study.forms.at(study.draws.theta[0])
    n = int(dates.max()) + 1
    whole = replace(data, dates=tuple("1990Q1" for _ in range(n)), values=np.zeros((n, 2)))
    everything = StackedSample(whole)
    V, mean = np.asarray(everything.covariance(form)), np.tile(np.asarray(form.mean), n)
    known = np.full((n, 2), np.nan)
    known[: len(values)] = values
    there = ~np.isnan(known).ravel()
    expected = mean + V[:, there] @ np.linalg.solve(V[np.ix_(there, there)], known.ravel()[there] - mean[there])
    found: Array = expected.reshape(n, 2)[dates]
    return found


def test_news_revisions_and_their_sum(study: Study) -> None:
    old = study.draws.posterior.data
    new = later(old)
    found = news(study, new, quarters=3).draws
    dates = np.arange(20, 29)
    want_old, want_new = (projection(study, old, np.asarray(d.values), dates) for d in (old, new))
    np.testing.assert_allclose(found.old[0], want_old, atol=1e-9)
    np.testing.assert_allclose(found.new[0], want_new, atol=1e-9)
    revised = np.asarray(new.values)[:24].copy()
    revised[np.isnan(old.values)] = np.nan
    want = projection(study, old, revised, dates)
    np.testing.assert_allclose(found.revision[0].sum("observable"), want - want_old, atol=1e-9)
    assert float(np.abs(found.revision.sel(observable="x")).max()) == 0  # only g has been revised
    # what was missing and is still missing is no news; three values were added, and g in the last two dates is filled
    assert set(found.datum.values) >= {"x 1996Q1", "g 1996Q1", "g 1996Q2"}
    # one datum's share: by how much the forecast moves with it
    bumped = np.asarray(new.values).copy()
    bumped[25, 1] += 1.0
    weight = projection(study, old, bumped, dates) - want_new
    innovation = float(found.innovation.sel(datum="g 1996Q2")[0])
    np.testing.assert_allclose(found.news.sel(datum="g 1996Q2")[0], weight * innovation, atol=1e-8)


def test_nothing_new(study: Study) -> None:
    found = news(study, study.draws.posterior.data, quarters=3)
    assert np.allclose(found.draws.old, found.draws.new) and found.draws.sizes["datum"] == 0
    assert "0 values added, 0 revised" in found.summary()


def test_a_mean_that_was_taken_off_again(study: Study) -> None:
    """Vintages that had other means taken off differ by their values alone."""
    old = study.draws.posterior.data
    shifted = replace(old, values=np.asarray(old.values) - 0.2, means=np.asarray(old.means) + 0.2)
    found = news(study, shifted, quarters=3)
    np.testing.assert_allclose(found.draws.old, found.draws.new, atol=1e-12)


@pytest.mark.long
def test_re_estimation_is_the_third_part(study: Study) -> None:
    new = later(study.draws.posterior.data)
    other = Posterior(study.draws.posterior.model, new, measurement_error={"x": 0.4})
    theta = other.to_array({**dict(zip(other.names, other.reference().tolist(), strict=True)), "b": 0.6})
    again = study_of(other, theta)
    found = news(study, new, 3, again).draws
    want = projection(again, new, np.asarray(new.values), np.arange(20, 29))
    total = (
        found.old.mean("draw") + found.revision.sum("observable").mean("draw") + found.news.sum("datum").mean("draw")
    )
    np.testing.assert_allclose(total + found.re_estimation, want, atol=1e-9)
    assert float(np.abs(found.re_estimation).max()) > 0.01


def test_data_that_are_not_comparable(study: Study) -> None:
    old = study.draws.posterior.data
    for other, words in (
        (replace(old, names=("x", "h")), "the same is needed"),
        (replace(old, dates=old.dates[:-1], values=old.values[:-1]), "before the old ones"),
        (replace(old, dates=("1989Q4", *old.dates[:-1])), "must begin together"),
    ):
        with pytest.raises(DataError, match=words):
            news(study, other)


def test_a_share_that_is_wrong_is_withheld(study: Study) -> None:
    found = news(study, later(study.draws.posterior.data), quarters=3)
    broken = found.draws.copy(deep=True)
    broken["news"][0, 0, 0, 0] += 0.01
    with pytest.raises(Exception, match="add up to the change"):
        News(found.about, broken)


def test_moments_of_samples() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((200, 2)) @ np.array([[1.0, 0.5], [0.0, 2.0]])
    found = dict(zip(moment_names(["a", "b"]), sample_moments(values), strict=True))
    assert found["s.d. a"] == pytest.approx(values[:, 0].std(ddof=1))
    assert found["autocorrelation b, 2"] == pytest.approx(np.corrcoef(values[2:, 1], values[:-2, 1])[0, 1])
    assert found["correlation a, b(-1)"] == pytest.approx(np.corrcoef(values[1:, 0], values[:-1, 1])[0, 1])
    assert found["correlation a(-4), b"] == pytest.approx(np.corrcoef(values[:-4, 0], values[4:, 1])[0, 1])
    values[::2, 1] = np.nan
    again = dict(zip(moment_names(["a", "b"]), sample_moments(values), strict=True))
    assert again["correlation a, b"] == pytest.approx(np.corrcoef(values[1::2].T)[0, 1])
    assert np.isnan(again["autocorrelation b, 1"])  # every pair lacks one


@pytest.mark.long
def test_simulated_samples_have_the_model_s_moments(study: Study) -> None:
    posterior = two_series(60, error=0.3)
    one = Study(ReducedDraws.at(posterior, posterior.reference()), ahead=2)
    found = predictive_check(one, posterior.sample_prior(np.random.default_rng(0), 20)).draws
    assert found.sizes["draw"] == 1000
    form = LinearForms(posterior).at(posterior.reference())
    gamma = np.asarray(form.covariances.sum(0))
    variance = gamma[0] + np.diag(np.asarray(form.errors))
    # of sixty autocorrelated values, means taken off: what simulation by recursion gives
    rng, want = np.random.default_rng(1), []
    for _ in range(400):
        x, rows = rng.standard_normal() / 0.6, []
        for _ in range(60):
            x = 0.8 * x + rng.standard_normal()
            rows.append([x + 0.3 * rng.standard_normal(), 0.4 * x + 0.5 * rng.standard_normal()])
        want.append(sample_moments(np.array(rows)))
    mean, spread = np.mean(want, axis=0), np.std(want, axis=0)
    assert np.abs((found.posterior.mean("draw").values - mean) / (spread / np.sqrt(200))).max() < 4
    np.testing.assert_allclose(found.posterior.std("draw").values, spread, rtol=0.25)
    assert variance[0, 0] > found.posterior.mean("draw").values[0] ** 2  # in a short sample


@pytest.mark.long
def test_data_of_another_model_are_far_out() -> None:
    posterior = two_series(60)
    data = posterior.data
    loud = Posterior(posterior.model, replace(data, values=np.asarray(data.values) * np.array([1.0, 5.0])))
    theta = np.tile(posterior.reference(), (100, 1))
    found = predictive_check(
        Study(ReducedDraws(loud, theta), ahead=2), prior=loud.sample_prior(np.random.default_rng(0), 40)
    )
    assert float(found.probabilities_above.sel(moment="s.d. g")) == 0
    assert "s.d. g: " in found.summary() and "prior draws" in found.summary()


def test_where_the_prior_fails() -> None:
    rng = np.random.default_rng(0)
    theta = rng.random((500, 3))
    reasons = ["indeterminate" if row[1] < 0.2 else "ok" for row in theta]
    found = prior_failures(("a", "b", "c"), theta, reasons)
    assert found.where["indeterminate"]["parameter"] == "b" and found.share["indeterminate"] == pytest.approx(
        0.2, abs=0.05
    )
    assert "mostly by b" in found.words()[1]
