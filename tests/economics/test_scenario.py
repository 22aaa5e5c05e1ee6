"""Scenarios against conditions that are added to the data, and against shocks that are solved for by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from estimhank.data.dataset import Dataset
from estimhank.economics.conditions import Condition, ScenarioPlan, read_plan
from estimhank.economics.draws import ReducedDraws
from estimhank.economics.future import Futures
from estimhank.economics.linear_form import moving_average
from estimhank.economics.reporting import Reporting
from estimhank.economics.scenario import Scenario
from estimhank.economics.scenario import scenario as scenario_of
from estimhank.economics.study import Study
from estimhank.posterior.posterior import Posterior
from estimhank.support.errors import ConfigError
from tests.helpers.economies import two_series

pytestmark = pytest.mark.long  # minutes, all together

Array = NDArray[np.float64]
QUARTERS = 6


def study_of(posterior: Posterior, **conventions: Any) -> Study:
    return Study(ReducedDraws.at(posterior, posterior.reference()), Reporting(**conventions), ahead=QUARTERS + 1)


def scenario(study: Study, plan: ScenarioPlan) -> Scenario:
    if study not in _FUTURES:
        _FUTURES[study] = Futures(study, QUARTERS)
    return scenario_of(_FUTURES[study], plan)


_FUTURES: dict[Study, Futures] = {}  # compiled once for each study


def with_future(posterior: Posterior, future: Array) -> Posterior:
    """The same posterior with dates beyond the sample, some of whose values are known."""
    data = posterior.data
    n = len(data.dates) + len(future)
    dates = tuple(f"{1990 + i // 4}Q{i % 4 + 1}" for i in range(n))
    values = np.concatenate([data.values, future])
    new = Dataset(dates, data.names, data.units, data.labels, values, data.means, data.provenance)
    return Posterior(posterior.model, new, measurement_error=posterior.measurement_error)


@pytest.fixture(scope="module")
def posterior() -> Posterior:
    return two_series(24, missing=True, error=0.5)


@pytest.fixture(scope="module")
def study(posterior: Posterior) -> Study:
    return study_of(posterior, variables=("x",))


def plan(*conditions: Condition, **options: Any) -> ScenarioPlan:
    return ScenarioPlan(quarters=QUARTERS, condition=conditions, **options)


ON_G = Condition("g", "1996Q2", (1.0, -0.5))
ON_X = Condition("x", "1996Q4", (2.0,))


def test_conditions_are_data(posterior: Posterior) -> None:
    """A conditional forecast is the smoothed series where the conditions are added to the data."""
    study = study_of(posterior)
    found = scenario(study, plan(ON_G, ON_X))
    future = np.full((QUARTERS, 2), np.nan)
    future[1:3, 1], future[3, 0] = (1.0, -0.5), 2.0
    longer = with_future(posterior, future)
    smoothed = study_of(longer).smooth_series().draws
    # what is smoothed is without measurement error: of x it is the observable's forecast but where it is observed
    value, want = found.draws["value"][0].values, smoothed["value"][0, 24:].values
    error = 0.5**2
    np.testing.assert_allclose(value[:, 1], want[:, 1], rtol=1e-9, atol=1e-9)
    free = [0, 1, 2, 4, 5]
    np.testing.assert_allclose(value[free, 0], want[free, 0], rtol=1e-9, atol=1e-9)
    variance, known = found.draws["value_variance"][0].values, smoothed["value_variance"][0, 24:].values
    np.testing.assert_allclose(variance[free, 0], known[free, 0] + error, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(variance[:, 1], known[:, 1], rtol=1e-8, atol=1e-9)


def test_the_distance_is_that_of_log_likelihoods(posterior: Posterior) -> None:
    """log p(conditions | data) from two likelihoods gives the distance, with the determinant."""
    study = study_of(posterior)
    found = scenario(study, plan(ON_G))
    future = np.full((3, 2), np.nan)
    future[1:3, 1] = (1.0, -0.5)
    theta = posterior.reference()
    gained = with_future(posterior, future).log_likelihood(theta) - posterior.log_likelihood(theta)
    # at the forecast itself the distance is zero
    base = found.draws["baseline"][0].values[1:3, 1]
    future[1:3, 1] = base
    most = with_future(posterior, future).log_likelihood(theta) - posterior.log_likelihood(theta)
    assert float(found.draws.distance[0]) == pytest.approx(2 * (most - gained), rel=1e-7)


def test_soft_conditions(study: Study) -> None:
    """Values are spread around the conditions as much as was said."""
    hard = scenario(study, plan(ON_G)).draws
    soft = scenario(study, plan(replace(ON_G, sd=0.3))).draws
    np.testing.assert_allclose(soft["value"], hard["value"], atol=1e-9)  # means are the same: the spread is around them
    at = soft["value_variance"].sel(variable="g")[0, 1:3].values
    np.testing.assert_allclose(at, 0.09, rtol=1e-9)
    # as many draws of the conditions as of hard scenarios
    means = [scenario(study, plan(replace(ON_G, values=(1.0 + e, -0.5)))).draws["value"][0].values for e in (-1.0, 1.0)]
    slope = (means[1] - means[0]) / 2
    other = [scenario(study, plan(replace(ON_G, values=(1.0, -0.5 + e)))).draws["value"][0].values for e in (-1.0, 1.0)]
    spread = hard["value_variance"][0].values + 0.09 * (slope**2 + ((other[1] - other[0]) / 2) ** 2)
    np.testing.assert_allclose(soft["value_variance"][0].values, spread, rtol=1e-7, atol=1e-9)


def test_chosen_shocks_are_the_smallest(study: Study) -> None:
    found = scenario(study, plan(ON_G, shocks=("v",)))
    shocks = found.draws["innovation"][0]
    assert float(np.abs(shocks.sel(shock="e")).max()) == 0
    path = np.asarray(moving_average(study.forms.at(study.draws.theta[0]), QUARTERS))[:, study.scene.positions]
    added = np.zeros((QUARTERS, 3))
    for date in range(QUARTERS):
        added[date:] += path[: QUARTERS - date] @ shocks[date].values
    lifted = (found.draws["value"] - found.draws["baseline"])[0].values
    np.testing.assert_allclose(lifted, added, atol=1e-10)
    # v has no persistence and moves g alone: the shocks of these two dates, and no others
    np.testing.assert_allclose(np.abs(shocks.sel(shock="v").values) > 1e-12, [False, True, True, False, False, False])
    # x and its variance are what they were
    same = found.draws["value_variance"].sel(variable="x") / found.draws["baseline_variance"].sel(variable="x")
    np.testing.assert_allclose(same, 1.0, rtol=1e-12)


def test_a_shock_that_cannot_is_named(study: Study) -> None:
    with pytest.raises(ConfigError, match="v cannot move x in 1996Q4"):
        scenario(study, plan(ON_X, shocks=("v",)))
    twice = Condition("x.", "1996Q1", (1.0,))
    with pytest.raises(ConfigError, match="did you mean"):
        scenario(study, plan(twice))
    both = (Condition("g", "1996Q1", (1.0,)), Condition("x", "1996Q1", (1.0,)))
    with pytest.raises(
        ConfigError, match=r"e cannot move x in 1996Q1 apart from the conditions before it|e cannot move g"
    ):
        scenario(study, plan(*both, shocks=("e",)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("quarters = 4", "at least one"),
        ('[[condition]]\nseries = "g"\ndate = "2020Q1"\nvalues = []', "needs values"),
        ('announced = true\n[[condition]]\nseries = "g"\ndate = "1996Q1"\nvalues = [1]', "shocks that are announced"),
        ('[[condition]]\nserie = "g"', "did you mean 'series'"),
        ("[[condition]", "not a TOML file"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Any, text: str, words: str) -> None:
    (tmp_path / "plan.toml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_plan(tmp_path / "plan.toml", ScenarioPlan)


def test_dates_that_do_not_fit(study: Study) -> None:
    for date in ("1995Q4", "1997Q3", "soon"):
        with pytest.raises(ConfigError, match=r"1996Q1 to 1997Q2|is not a quarter"):
            scenario(study, plan(Condition("g", date, (1.0,))))
    with pytest.raises(ConfigError, match="two conditions on g in 1996Q2"):
        scenario(study, plan(ON_G, Condition("g", "1996Q2", (0.0,))))


@pytest.mark.long
def test_reporting_units(posterior: Posterior) -> None:
    """Conditions are in the units that are reported: four-quarter sums, cumulated levels."""
    plain = study_of(posterior)
    base = scenario(plain, plan(Condition("g", "1996Q1", (0.5,) * QUARTERS)))
    level = study_of(posterior, units={"g": "level"})
    found = scenario(level, plan(Condition("g", "1996Q1", tuple(0.5 * (i + 1) for i in range(QUARTERS)))))
    for name in ("value", "value_variance"):
        x = [r.draws[name].sel(variable="x").values for r in (base, found)]
        np.testing.assert_allclose(x[0], x[1], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(base.draws.distance, found.draws.distance, rtol=1e-8)
    yearly = study_of(posterior, units={"x": "annualised"})
    found = scenario(yearly, plan(replace(ON_X, values=(8.0,)), ON_G))
    np.testing.assert_allclose(found.draws.distance, scenario(plain, plan(ON_X, ON_G)).draws.distance, rtol=1e-9)


def test_the_sum_is_withheld_where_it_fails(study: Study) -> None:
    found = scenario(study, plan(ON_G))
    broken = found.draws.copy(deep=True)
    broken["value"][0, 1] += 0.01
    with pytest.raises(Exception, match="that the conditions hold fails"):
        Scenario(found.about, broken)
    assert "in place of" in found.summary() and 0 < found.plausibility < 1
