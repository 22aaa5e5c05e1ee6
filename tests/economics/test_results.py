"""Results against a Kalman filter and smoother, closed forms and simulations of the tests' own."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.integrate import simpson
from scipy.linalg import solve_discrete_lyapunov
from typer.testing import CliRunner

from estimhank.cli import app
from estimhank.economics import smoothing
from estimhank.economics.draws import ReducedDraws
from estimhank.economics.history import EARLIER, SINCE
from estimhank.economics.linear_form import LinearForms, moving_average
from estimhank.economics.reporting import Reporting
from estimhank.economics.result import IdentityError
from estimhank.economics.smoothing import BEFORE, complete_shock_variances, shock_variances
from estimhank.economics.study import Study
from estimhank.economics.variance import CYCLE, ERROR, INFINITY
from estimhank.model import AR1, IID, Correlation, Normal, Parameter, Parameters
from estimhank.model.observed import mean_of
from estimhank.models.one_asset_hank import OneAssetHANK
from estimhank.parameters.parameter_table import ModelError, Values
from estimhank.posterior.posterior import Posterior
from estimhank.sequence_space.linear_system import linearize
from estimhank.support.errors import ConfigError
from tests.helpers.economies import OUTSIDE, ROOT, TwoSeries, authors_mode, smets_wouters, two_series
from tests.helpers.smoother import Oracle
from tests.helpers.time_iteration import solve

EXAMPLES = ROOT / "examples"
RHO, SIGMA, V, B, MU = 0.8, 1.0, 0.5, 0.4, 0.3

#: Missing values, a conditioned beginning, measurement error, yearly data: each with means that are parameters.
FEATURES: dict[str, dict[str, Any]] = {
    "plain": {},
    "missing": {"missing": True},
    "conditioned": {"condition_on": 5},
    "error": {"error": 0.7},
    "all": {"yearly": True, "missing": True, "condition_on": 6, "error": 0.2},
}


#: All of them at once; one by one in the long run.
EACH = ["all", *(pytest.param(name, marks=pytest.mark.long) for name in FEATURES if name != "all")]


@cache
def posterior_of(features: str) -> Posterior:
    return two_series(**FEATURES[features])


def study(features: str, reporting: Reporting | None = None) -> Study:
    posterior = posterior_of(features)
    return Study(ReducedDraws.at(posterior, posterior.reference()), reporting)


def oracle(features: str) -> Oracle:
    """:class:`TwoSeries` by hand: states x_t, its three lags and v_t."""
    options = FEATURES[features]
    A = np.zeros((5, 5))
    A[0, 0], A[1, 0], A[2, 1], A[3, 2] = RHO, 1.0, 1.0, 1.0
    R = np.zeros((5, 2))
    R[0, 0], R[4, 1] = SIGMA, V
    Z = np.zeros((2, 5))
    Z[0, :4] = 0.25 if options.get("yearly") else np.array([1.0, 0, 0, 0])
    Z[1, 0], Z[1, 4] = B, 1.0
    values = np.asarray(two_series(**options).data.values) - MU
    return Oracle(A, R, Z, np.array([options.get("error", 0.0), 0.0]) ** 2, values)


@pytest.mark.parametrize("features", FEATURES)
def test_shocks_equal_a_smoother_s(features: str) -> None:
    found = study(features).smooth()
    want = oracle(features).shocks()
    np.testing.assert_allclose(found.draws.smoothed[0, BEFORE:], want, atol=1e-8)
    variance = found.draws.smoothed_variance.values[0]
    assert variance.min() > -1e-10 and variance.max() < 1 + 1e-10
    if features == "plain":  # each date gives two numbers for two shocks; what came before is hardly known
        assert variance[BEFORE + 1 :].max() < 1e-9 and variance[BEFORE - 1, 0] > 0.3
        assert variance[:BEFORE, 1].min() == pytest.approx(1.0, abs=1e-14)


def test_variances_of_shocks_equal_a_conditional_distribution_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the whole covariance of shocks and data; where the quick way is wrong it is not taken."""
    one = study("error")
    form, before = one.forms.at(one.draws.theta[0]), 12
    path, sample = moving_average(form, 60)[:, :2], one.sample
    lag = sample.date[:, None] - np.arange(-before, sample.dates)
    with_data = np.where(lag[..., None] >= 0, np.asarray(path)[np.maximum(lag, 0), sample.column[:, None]], 0.0)
    explained = np.linalg.solve(np.asarray(sample.covariance(form)), with_data.reshape(len(lag), -1))
    want = 1 - np.einsum("ndz,ndz->dz", with_data, explained.reshape(with_data.shape))
    stacked = sample.stack(form)
    quick = complete_shock_variances(path, stacked, sample, before)
    np.testing.assert_allclose(quick, want, atol=1e-11)
    np.testing.assert_allclose(shock_variances(path, stacked, sample, before), want, atol=1e-11)
    monkeypatch.setattr(smoothing, "complete_shock_variances", lambda *given: quick + 1e-6)
    np.testing.assert_allclose(shock_variances(path, stacked, sample, before), want, atol=1e-10)


@pytest.mark.parametrize("features", EACH)
def test_decompositions_equal_those_of_one_state_space_for_each_shock(features: str) -> None:
    found = study(features).historical_decomposition().draws
    parts, mine = oracle(features), found.contribution[0]
    np.testing.assert_allclose(mine.sum("arrived"), parts.contributions(), atol=1e-8)
    np.testing.assert_allclose(mine.sel(arrived=SINCE), parts.since(), atol=1e-8)
    # initial conditions by shock, once more: the shocks before the sample, one by one
    forms, shocks = study(features).forms, study(features).smooth().draws.smoothed[0].values[:BEFORE]
    path = np.asarray(moving_average(forms.at(study(features).draws.theta[0]), 200))
    early = np.array([sum(path[t + j] * shocks[BEFORE - j] for j in range(1, BEFORE + 1)) for t in range(40)])
    np.testing.assert_allclose(mine.sel(arrived=EARLIER), early, atol=1e-3 * RHO**BEFORE * 1e3)


@pytest.mark.parametrize("features", EACH)
def test_forecasts_equal_the_conditional_distribution(features: str) -> None:
    found, parts = study(features).forecast(8).draws, oracle(features)
    want = parts.series(parts.Z, 8)[-8:] + MU
    np.testing.assert_allclose(found.value[0], want, atol=1e-8)
    covariance = parts.forecast_covariance(8)
    np.testing.assert_allclose(found.value_variance[0], covariance.diagonal().reshape(8, 2), atol=1e-8)
    np.testing.assert_array_equal(
        found.date, ["2000Q1", "2000Q2", "2000Q3", "2000Q4", *(f"2001Q{i}" for i in range(1, 5))]
    )


@pytest.mark.parametrize("features", EACH)
def test_unobserved_series_equal_a_smoother_s(features: str) -> None:
    mine = study(features, Reporting(variables=("x", "growth P"))).smooth_series().draws
    parts = oracle(features)
    wanted = np.zeros((2, 5))
    wanted[0, 0] = 1.0
    wanted[1] = parts.Z[1] * 100
    np.testing.assert_allclose(mine.value[0, :, 2:], parts.series(wanted), atol=1e-6)
    weights = study(features).weights_of_data("g", "1994Q3")
    known = ~np.isnan(parts.sample)
    np.testing.assert_array_equal(np.isnan(weights), ~known)
    value = weights[known] @ parts.sample[known]
    assert value == pytest.approx(parts.series(parts.Z[1:])[18, 0], abs=1e-9)


def test_draws_of_paths_have_the_moments_of_the_smoother_and_hold_the_data() -> None:
    shown = study("all", Reporting(variables=("x", "P")))
    paths = shown.draw_paths(1500, seed=1)
    shocks, series = shown.smooth().draws, shown.smooth_series().draws
    want, spread = shocks.smoothed.values[0, BEFORE:], shocks.smoothed_variance.values[0, BEFORE:]
    np.testing.assert_allclose(paths["shocks"].mean(0), want, atol=0.12)
    np.testing.assert_allclose(paths["shocks"].var(0), spread, atol=0.16)
    np.testing.assert_allclose(paths["series"].mean(0), series.value[0], atol=0.2)
    np.testing.assert_allclose(paths["series"].var(0), series.value_variance[0], atol=0.45)
    data = np.asarray(posterior_of("all").data.values)
    seen = ~np.isnan(data[:, 1])  # measured without error
    np.testing.assert_allclose(paths["series"][:, seen, 1], np.tile(data[seen, 1], (1500, 1)), atol=1e-8)


def test_real_time_estimates_are_those_of_shorter_samples() -> None:
    parts, found = oracle("missing"), study("missing").in_real_time("g")
    for last in (3, 20, 39):
        short = Oracle(parts.A, parts.R, parts.Z, parts.noise, parts.sample[: last + 1])
        np.testing.assert_allclose(found[last], short.series(parts.Z[1:], 39 - last)[:, 0], atol=1e-8)
    with pytest.raises(ConfigError, match="no series 'z'"):
        study("missing").in_real_time("z")


def test_log_scores_are_predictive_densities() -> None:
    found = study("all").one_step()
    posterior = posterior_of("all")
    assert float(found.draws.score[0, 6:].sum()) == pytest.approx(posterior.log_likelihood(posterior.reference()))
    parts = oracle("plain")
    mine = study("plain").one_step().draws
    short = Oracle(parts.A, parts.R, parts.Z, parts.noise, parts.sample[:20])
    np.testing.assert_allclose(mine.error[0, 20], parts.sample[20] - short.series(parts.Z, 1)[-1], atol=1e-9)
    np.testing.assert_allclose(mine.sd[0, 20] ** 2, short.forecast_covariance(1).diagonal(), atol=1e-9)


def test_closed_forms_of_an_autoregression() -> None:
    responses = study("error").responses(20).draws.response[0]
    dates = np.arange(21)
    np.testing.assert_allclose(responses.sel(variable="x", shock="e"), RHO**dates, atol=1e-12)
    np.testing.assert_allclose(responses.sel(variable="g", shock="e"), B * RHO**dates, atol=1e-12)
    found = study("error").variance_decomposition().draws
    for h in (1, 4, 8, 20, 40):
        want = [(1 - RHO ** (2 * h)) / (1 - RHO**2), 0.0, 0.7**2]
        np.testing.assert_allclose(found.variance[0].sel(horizon=str(h), variable="x"), want, rtol=1e-10)
    np.testing.assert_allclose(
        found.variance[0].sel(horizon=INFINITY, variable="g"), [B**2 / (1 - RHO**2), V**2, 0.0], rtol=1e-10
    )
    w = np.linspace(2 * np.pi / 32, 2 * np.pi / 6, 200_001)
    cycle = np.trapezoid(1 / np.abs(1 - RHO * np.exp(-1j * w)) ** 2, w) / np.pi
    expected = [float(cycle), 0.0, 0.49 * float(w[-1] - w[0]) / np.pi]
    np.testing.assert_allclose(found.variance[0].sel(horizon=CYCLE, variable="x"), expected, rtol=1e-8)
    assert float(found.share[0].sel(horizon="1", variable="x", source=ERROR)) == pytest.approx(0.49 / 1.49)


def test_sizes_of_shocks() -> None:
    by_size = study("plain").responses(3, size=2.0).draws.response[0]
    np.testing.assert_allclose(by_size.sel(variable="x", shock="e"), 2 * RHO ** np.arange(4))
    np.testing.assert_allclose(by_size.sel(variable="g", shock="v"), [2, 0, 0, 0], atol=1e-12)
    found = study("plain").responses(3, unit_of="g")
    np.testing.assert_allclose(found.draws.response[0].sel(variable="g")[0], 1.0)
    np.testing.assert_allclose(found.draws.response[0].sel(variable="x", shock="e")[0], 1 / B)
    other = study("plain").responses(3, unit_of="x")
    assert np.isnan(other.draws.response.sel(shock="v")).all() and "(e)" in other.draws.attrs["size"]
    for wrong in ({"unit_of": "y"}, {"unit_of": "x", "size": 1.0}):
        with pytest.raises(ModelError):
            study("plain").responses(3, **wrong)


def test_units_of_observables() -> None:
    units = {"x": "annualised", "g": "four_quarter"}
    shown, plain = study("error", Reporting(units)), study("error")
    mine, theirs = shown.responses(20).draws.response[0], plain.responses(20).draws.response[0]
    np.testing.assert_allclose(mine.sel(variable="x"), 4 * theirs.sel(variable="x"))
    path = theirs.sel(variable="g").values
    np.testing.assert_allclose(mine.sel(variable="g")[3:], sum(path[3 - k : 21 - k] for k in range(4)), atol=1e-12)
    ours, data = shown.historical_decomposition().draws, np.asarray(two_series(error=0.7).data.values)
    np.testing.assert_allclose(ours.data[3:, 1], sum(data[3 - k : 40 - k, 1] for k in range(4)))
    assert np.isnan(ours.data[:3, 1]).all()
    np.testing.assert_allclose(ours["mean"][0, 5], [4 * MU, 4 * MU])
    assert [s.units for s in shown.series] == ["percent per year", "percent over four quarters"]
    # four quarters ahead the sum is that of the forecasts; before, it holds data with their errors
    parts, ahead = oracle("error"), shown.forecast(8).draws
    quarters = np.vstack([data, parts.series(parts.Z, 8)[-8:] + MU])
    np.testing.assert_allclose(ahead.value[0, :, 1], [quarters[37 + h : 41 + h, 1].sum() for h in range(8)], atol=1e-8)
    covariance = parts.forecast_covariance(8).reshape(8, 2, 8, 2)
    sums = [
        [covariance[a, 1, b, 1] for a in range(max(0, h - 3), h + 1) for b in range(max(0, h - 3), h + 1)]
        for h in range(8)
    ]
    np.testing.assert_allclose(ahead.value_variance[0, :, 1], [sum(s) for s in sums], atol=1e-8)
    np.testing.assert_allclose(ahead.value_variance[0, :, 0], 16 * covariance[range(8), 0, range(8), 0], atol=1e-7)


def test_four_quarter_sums_with_measurement_error_hold_the_data_s() -> None:
    shown = study("error", Reporting({"x": "four_quarter"}))
    parts = oracle("error")
    data = np.vstack([parts.sample + MU, parts.series(parts.Z, 8)[-8:] + MU])
    want = [data[37 + h : 41 + h, 0].sum() for h in range(8)]
    np.testing.assert_allclose(shown.forecast(8).draws.value[0, :, 0], want, atol=1e-8)
    errors = shown.historical_decomposition().draws
    total = errors.contribution.sum(("shock", "arrived")) + errors["mean"] + errors.measurement_error
    np.testing.assert_allclose(total[0, 3:, 0], errors.data[3:, 0], atol=1e-9)
    share = shown.variance_decomposition().draws.variance[0].sel(variable="x", source=ERROR)
    np.testing.assert_allclose(share[:3], np.array([1, 4, 4]) * 0.49)


def test_levels_are_sums_of_changes() -> None:
    shown = study("plain", Reporting({"g": "level"}))
    responses = shown.responses(30).draws.response[0]
    np.testing.assert_allclose(responses.sel(variable="g", shock="v"), np.full(31, V), rtol=1e-10)
    history, data = shown.historical_decomposition().draws, np.asarray(two_series().data.values)
    np.testing.assert_allclose(history.data[:, 1], np.cumsum(data[:, 1]))
    ahead = shown.forecast(6).draws
    parts = oracle("plain")
    np.testing.assert_allclose(ahead.value[0, :, 1], np.cumsum(parts.series(parts.Z, 6)[-6:, 1] + MU), atol=1e-8)
    covariance = parts.forecast_covariance(6).reshape(6, 2, 6, 2)[:, 1, :, 1]
    np.testing.assert_allclose(ahead.value_variance[0, :, 1], [covariance[: h + 1, : h + 1].sum() for h in range(6)])
    variance = shown.variance_decomposition().draws.variance[0].sel(variable="g")
    assert np.isnan(variance.sel(horizon=INFINITY)).all() and np.isfinite(variance.sel(horizon=CYCLE)).all()
    np.testing.assert_allclose(variance.sel(horizon="8", source="v"), 8 * V**2)


@pytest.mark.parametrize(
    ("reporting", "words"),
    [
        (Reporting({"y": "annualised"}), "units of 'y', which is not an observable"),
        (Reporting({"x": "monthly"}), "'monthly' is none of quarterly"),
        (Reporting(groups={"all": ("e", "w")}), "the group 'all' has the shock 'w'"),
        (Reporting(groups={"a": ("e",), "b": ("e",)}), "the shock 'e' is in two groups"),
        (Reporting(colors={"w": "red"}), "a colour of 'w'"),
        (Reporting(variables=("z",)), "no variable 'z'"),
    ],
)
def test_conventions_that_fit_nothing_are_refused(reporting: Reporting, words: str) -> None:
    posterior = two_series()
    with pytest.raises(ModelError, match=words):
        Study(ReducedDraws.at(posterior, {}), reporting)


def test_levels_of_random_walks_have_responses_alone() -> None:
    shown = study("plain", Reporting(variables=("P",)))
    assert float(shown.responses(40).draws.response[0].sel(variable="P", shock="v")[-1]) == pytest.approx(V)
    decomposed = shown.variance_decomposition().draws.variance[0].sel(variable="P")
    assert np.isnan(decomposed.sel(horizon=INFINITY)).any() and np.isfinite(decomposed.sel(horizon="40")).all()
    for found in (shown.forecast(), shown.historical_decomposition(), shown.smooth_series()):
        assert found.about.names == ["x", "g"]
    assert shown.left_out == ("P",) and "growth P" in shown.notes[0] and study("plain").notes == ()
    with pytest.raises(ConfigError, match="reach 40 quarters"):
        study("plain").forecast(60)


class WithPrices(OneAssetHANK):
    """The default model with the level of prices."""

    name = "with_prices"
    variables = (*OneAssetHANK.variables, "P")  # type: ignore[assignment]

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Any:
        """And the level of prices."""
        yield from super().equations(lag, now, lead, household, shock, p)
        yield "prices", now.P - lag.P - now.pi

    def steady_state(self, p: Any, household: Any) -> dict[str, Any]:
        """One, say."""
        return {**super().steady_state(p, household), "P": 1.0}


@pytest.mark.long  # another model with households is compiled
def test_levels_of_random_walks_beside_households(posterior: Posterior, reference: dict[str, float]) -> None:
    model = Posterior(WithPrices(), posterior.data, 300, 200)
    shown = Study(ReducedDraws.at(model, {**reference, "rho_w": 0.8}), Reporting(variables=("P", "growth P", "log C")))
    assert shown.left_out == ("P",)
    found = shown.basics()
    response = found["responses"].draws.response[0]
    np.testing.assert_allclose(response.sel(variable="P") * 100, response.sel(variable="inflation").cumsum("horizon"))
    np.testing.assert_allclose(response.sel(variable="growth P"), response.sel(variable="inflation"), atol=1e-12)
    variance = found["variance_decomposition"].draws.variance[0]
    assert np.isnan(variance.sel(variable="P", horizon=[INFINITY, CYCLE]).isel(source=slice(0, 3))).all()
    assert np.isfinite(variance.sel(variable=["growth P", "log C"])).all()
    assert found["forecast"].about.names[-2:] == ["growth P", "log C"]


def test_over_draws() -> None:
    posterior = two_series(missing=True)
    rng = np.random.default_rng(0)
    theta = posterior.reference() + 0.03 * rng.normal(size=(50, 5))
    shown = Study(ReducedDraws(posterior, theta), Reporting(groups={"both": ("e", "v")}))
    found = shown.basics()
    forecast = found["forecast"]
    within, between = forecast.variances()  # type: ignore[attr-defined]
    # a mixture: draw from it
    i, z = rng.integers(0, 50, 400_000), rng.normal(size=400_000)
    at = forecast.draws.isel(date=3, variable=1)
    simulated = at.value.values[i] + np.sqrt(at.value_variance.values[i]) * z
    assert simulated.var() == pytest.approx(float((within + between)[3, 1]), rel=0.02)
    mine = forecast.dataset.value.isel(date=3, variable=1)
    np.testing.assert_allclose(mine, np.quantile(simulated, mine["quantile"]), atol=0.01)
    one = Study(ReducedDraws.at(posterior, theta[7])).responses(40)
    np.testing.assert_allclose(found["responses"].draws.response[7], one.draws.response[0], rtol=1e-12, atol=1e-14)
    grouped = found["historical_decomposition"].grouped()  # type: ignore[attr-defined]
    assert grouped.sizes["group"] == 1
    for result in found.values():
        assert len(result.summary().splitlines()) > 1
        table = result.table()
        assert {"quantile", "value"} <= set(table.columns) and table.value.notna().all()
        assert isinstance(result.dataset, xr.Dataset)
    simultaneous = found["responses"].bands((0.9,), "simultaneous").response
    pointwise = found["responses"].bands((0.9,)).response
    inside = (found["responses"].draws.response >= simultaneous[0]) & (
        found["responses"].draws.response <= simultaneous[2]
    )
    assert (inside.all("horizon").mean("draw") >= 0.88).all() and (simultaneous[2] >= pointwise[2] - 1e-9).all()
    shortest = found["responses"].bands((0.9,), "shortest").response
    assert ((shortest[2] - shortest[0]) <= (pointwise[2] - pointwise[0]) + 0.02).all()
    # the shortest interval of a mixture: as probable, no longer, and that of simulated values
    narrow = forecast.with_bands("hdi").dataset.value.isel(date=3, variable=1).values
    ordered = np.sort(simulated)
    held = int(0.9 * len(ordered))
    assert narrow[-1] - narrow[0] <= float(mine[-1] - mine[0]) + 1e-9
    assert narrow[-1] - narrow[0] == pytest.approx((ordered[held:] - ordered[:-held]).min(), rel=5e-3)
    assert ((simulated > narrow[0]) & (simulated < narrow[-1])).mean() == pytest.approx(0.9, abs=2e-3)
    with pytest.raises(ConfigError, match="no simultaneous bands of forecast"):
        forecast.with_bands("simultaneous")
    with pytest.raises(ConfigError, match="bands are equal, hdi, simultaneous, not 'wide'"):
        forecast.with_bands("wide")


def test_a_result_that_is_not_what_it_says_is_noticed() -> None:
    whole = study("missing").historical_decomposition()
    spoilt = whole.draws.copy(deep=True)
    spoilt["contribution"][0, 10, 0, 0, 0] += 1e-6
    with pytest.raises(IdentityError, match="that contributions add up to the data fails"):
        type(whole)(whole.about, spoilt)
    shares = study("missing").variance_decomposition()
    wrong = shares.draws.copy(deep=True)
    wrong["share"][0, 0, 0, 0] += 1e-6
    with pytest.raises(IdentityError, match="sum to one"):
        type(shares)(shares.about, wrong)


def test_of_the_default_model(posterior: Posterior, reference: dict[str, float]) -> None:
    shown = Study(ReducedDraws.at(posterior, reference), Reporting(variables=("log Y", "B")))
    found = shown.basics()
    for result in found.values():
        assert all(value <= 1e-10 for value in result.check().values())
    np.testing.assert_allclose(
        found["responses"].draws.response[0, :, :3], posterior.responses(reference)[:41], rtol=1e-10, atol=1e-13
    )


# -- the 36-parameter model --------------------------------------------------------------------------------------------
outside = pytest.mark.skipif(not OUTSIDE.exists(), reason="the authors' data are not part of the repository")


@cache
def sw() -> tuple[Study, Oracle, np.ndarray]:
    posterior = smets_wouters()
    model, parts, mode = posterior.solver.setting.model, posterior.solver.steady.reference_parts, authors_mode()
    parameters: dict[str, Any] = {**parts.parameters, **dict(zip(posterior.names, mode, strict=True))}
    lag, now, lead, shock = (np.asarray(matrix) for matrix in linearize(model, parts.values, parameters))
    roots = np.array([parameters[s.rho] if s.rho else 0.0 for s in model.innovations])
    sizes = np.array([s.scale * parameters[str(s.sigma)] for s in model.innovations])
    means = np.array([float(mean_of(o, Values(parameters), parts.values)) for o in model.observed_variables])
    solution = solve(lag, now, lead, shock, roots, sizes)
    observed = np.zeros((7, len(solution.transition)))
    observed[np.arange(7), [model.unknowns.index(o.variable) for o in model.observed_variables]] = 1.0
    values = np.asarray(posterior.data.values) - means
    parts_of = Oracle(solution.transition, solution.impulse, observed, np.zeros(7), values)
    return Study(ReducedDraws.at(posterior, mode)), parts_of, means


@outside
def test_smets_wouters_shocks_and_forecasts_equal_a_smoother_s() -> None:
    shown, parts, means = sw()
    found = shown.run({name: output for name, output in shown.outputs().items() if name != "responses"})
    np.testing.assert_allclose(found["smoothed_shocks"].draws.smoothed[0, BEFORE:], parts.shocks(), atol=1e-8)
    want = parts.series(parts.Z, 12)[-12:] + means
    np.testing.assert_allclose(found["forecast"].draws.value[0], want, atol=1e-8)
    history = found["historical_decomposition"].draws.contribution[0]
    np.testing.assert_allclose(history.sel(arrived=SINCE), parts.since(), atol=1e-8)
    # one state space for each shock, in the states that matter
    np.testing.assert_allclose(history.sum("arrived"), parts.contributions(), atol=1e-8)
    variance = found["variance_decomposition"].draws.variance[0].isel(source=slice(0, 7))
    for horizon in ("1", "4", "20", INFINITY, CYCLE):
        want = variances(parts, horizon)
        np.testing.assert_allclose(variance.sel(horizon=horizon), want, rtol=1e-7, atol=1e-8 * want.max())


def variances(parts: Oracle, horizon: str) -> np.ndarray:
    """By series and shock, of a state space: sums of squares, Lyapunov's equation, a quadrature of spectra."""
    if horizon == CYCLE:
        w = np.linspace(2 * np.pi / 32, 2 * np.pi / 6, 801)
        eye = np.eye(len(parts.A))
        gain = [np.abs(parts.Z @ np.linalg.solve(eye - np.exp(-1j * at) * parts.A, parts.R)) ** 2 for at in w]
        return np.asarray(simpson(np.array(gain), x=w, axis=0)) / np.pi
    if horizon == INFINITY:
        found = [solve_discrete_lyapunov(parts.A, np.outer(r, r)) for r in parts.R.T]
        return np.stack([np.einsum("xi,ij,xj->x", parts.Z, p, parts.Z) for p in found], axis=1)
    state, total = parts.R, np.zeros((len(parts.Z), parts.R.shape[1]))
    for _ in range(int(horizon)):
        total = total + (parts.Z @ state) ** 2
        state = parts.A @ state
    return total


@outside
@pytest.mark.long  # the example is compiled once more
def test_verbs_at_the_authors_mode_equal_a_smoother_s(tmp_path: Path) -> None:
    """`--at point.json` on the example's configuration: nothing has been estimated."""
    shown, parts, means = sw()
    text = (EXAMPLES / "smets_wouters_2007.toml").read_text()
    for file, folder in (("smets_wouters_2007.py", EXAMPLES), ("sw07_data.csv", OUTSIDE)):
        text = text.replace(f'"{file}', f'"{folder / file}')
    (tmp_path / "sw.toml").write_text(text)
    names = shown.draws.posterior.names
    (tmp_path / "mode.json").write_text(json.dumps(dict(zip(names, authors_mode().tolist(), strict=True))))
    told = {}
    for verb in ("smooth", "forecast", "variance", "history"):
        arguments = [verb, str(tmp_path / "sw.toml"), "--at", str(tmp_path / "mode.json"), "--json"]
        done = CliRunner().invoke(app, arguments, catch_exceptions=False)
        told[verb] = pd.DataFrame(json.loads(done.stdout)["rows"])
    observed = [s.name for s in shown.series]
    smoothed = told["smooth"].query("quantile == 0.5").pivot(index="date", columns="shock", values="value")
    np.testing.assert_allclose(smoothed[list(shown.about.shocks)].iloc[BEFORE:], parts.shocks(), atol=1e-8)
    ahead = told["forecast"].query("quantile == 0.5").pivot(index="date", columns="variable", values="value")
    np.testing.assert_allclose(ahead[observed], parts.series(parts.Z, 12)[-12:] + means, atol=1e-8)
    shares = told["variance"].query("quantity == 'share' and horizon == '20'")
    shares = shares.pivot(index="variable", columns="source", values="value").loc[observed, list(shown.about.shocks)]
    want = variances(parts, "20")
    np.testing.assert_allclose(shares, want / want.sum(1, keepdims=True), atol=1e-9)
    history = told["history"].query("quantity == 'contribution'")
    history = history.groupby(["date", "variable", "shock"]).value.sum().unstack("shock")[list(shown.about.shocks)]
    mine = np.stack([history.xs(name, level="variable").to_numpy() for name in observed], axis=1)
    np.testing.assert_allclose(mine, parts.contributions(), atol=1e-8)


class Foretold(TwoSeries):
    """With innovations that are correlated, and news four quarters ahead."""

    name = "foretold"
    shocks = (AR1("e", scale=1.0, news=(4,)), IID("v", scale=1.0))
    correlations = (Correlation("e", "v", "c"),)
    parameters = Parameters(
        **TwoSeries.parameters,
        sigma_e_news4=Parameter(0.6, "n", "s.d.", Normal(0.6, 0.2, lower=0.0), "shocks"),
        c=Parameter(0.5, "c", "correlation", Normal(0.0, 0.3, lower=-0.9, upper=0.9), "shocks"),
    )


@pytest.mark.long
def test_correlated_shocks_are_orthogonal_in_their_order_and_news_are_shocks_of_their_own() -> None:
    posterior = Posterior(Foretold(), posterior_of("plain").data)
    shown = Study(ReducedDraws.at(posterior, {}))
    assert shown.about.shocks == ("e", "e_news4", "v")
    found = shown.basics()
    responses = found["responses"].draws.response[0]
    # the first moves both: the second with the correlation; what is left of the second is its own
    np.testing.assert_allclose(responses.sel(horizon=0, shock="e"), [1.0, B + 0.5 * V])
    np.testing.assert_allclose(responses.sel(horizon=0, shock="v"), [0.0, V * np.sqrt(0.75)], atol=1e-12)
    news = responses.sel(shock="e_news4", variable="x")
    np.testing.assert_allclose(news[:8], [0, 0, 0, 0, *(0.6 * RHO ** np.arange(4))], atol=1e-12)
    variance = found["variance_decomposition"].draws.variance[0].sel(horizon=INFINITY, variable="x")
    np.testing.assert_allclose(variance, [1 / 0.36, 0.36 / 0.36, 0, 0], rtol=1e-10, atol=1e-12)
    history = found["historical_decomposition"].draws
    assert float(abs(history.contribution.sel(shock="e_news4")).max()) > 0.1
    sizes = shown.responses(4, size=0.3).draws.response[0]
    assert float(sizes.sel(horizon=4, shock="e_news4", variable="x")) == pytest.approx(0.3)


def test_forms_know_their_shocks() -> None:
    assert LinearForms(two_series()).shocks == ("e", "v")
