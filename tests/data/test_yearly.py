"""A series observed by the year: exact as a linear combination of the quarterly observables."""

from __future__ import annotations

import dataclasses
import pickle

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from estimhank.data import US_OBSERVABLES, DataWarning, Observable, check_units, load_series, make_dataset, read_series
from estimhank.data.yearly import declared_weights
from estimhank.likelihood.dense import stacked_covariance
from estimhank.model.observed import Growth
from estimhank.run.config import make_config
from estimhank.support.errors import DataError
from tests.helpers.same_model import on_other_data

YEARS, BEFORE = 6, 8  # years of data, quarters that the first value may reach back to


def write(path, cells, first=2000, months=False):
    days = [
        f"{first + j // 12}-{j % 12 + 1:02d}" if months else f"{first + j // 4}Q{j % 4 + 1}" for j in range(len(cells))
    ]
    path.write_text("date,y\n" + "".join(f"{d},{c}\n" for d, c in zip(days, cells, strict=True)))
    return path


@pytest.mark.parametrize("quarter", [0, 1, 3])
def test_a_figure_counts_in_its_years_last_quarter(tmp_path, quarter):
    cells = [str(100 + j) if j % 4 == quarter else "" for j in range(12)]
    table = read_series(write(tmp_path / "raw.csv", cells))
    values = 100.0 + quarter + np.array([0, 4, 8])
    level = make_dataset(table, [Observable("y", "y", "level", demean=False, yearly="mean")], "2000Q1", "2002Q4")
    np.testing.assert_array_equal(np.flatnonzero(~np.isnan(level.values[:, 0])), [3, 7, 11])
    np.testing.assert_allclose(level.values[3::4, 0], values)
    growth = Observable("y", "y", "log_difference", 100.0, demean=False, yearly="mean")
    data = make_dataset(table, [growth], "2001Q1", "2002Q4")
    np.testing.assert_allclose(data.values[3::4, 0], 100 * np.diff(np.log(values)))
    assert data.units == ("percent per year",) and level.units == ("percent per quarter",)


@pytest.mark.parametrize("month", [0, 11])
def test_a_monthly_table_may_hold_it_too(tmp_path, month):
    cells = [str(100 + j) if j % 12 == month else "" for j in range(36)]
    observable = Observable("y", "y", "level", demean=False, yearly="last")
    table = load_series(str(write(tmp_path / "raw.csv", cells, months=True)), observables=[observable])
    data = make_dataset(table, [observable], "2000Q1", "2002Q4")
    np.testing.assert_allclose(data.values[3::4, 0], 100.0 + month + np.array([0, 12, 24]))


def combination(transform: str, yearly: str) -> np.ndarray:
    """Yearly values from quarterly observables y, from the definitions; shape (YEARS, BEFORE + 4 YEARS)."""
    n = BEFORE + 4 * YEARS
    levels = np.tril(np.ones((n, n))) if "difference" in transform else np.eye(n)  # x from y
    in_logs = transform.startswith("log")
    rows = {"mean": np.full(4, 0.25), "sum": np.full(4, 0.25 if in_logs else 1.0), "last": np.array([0, 0, 0, 1.0])}
    year = [rows[yearly] @ levels[BEFORE + 4 * k : BEFORE + 4 * k + 4] for k in range(-1, YEARS)]
    return np.diff(year, axis=0) if "difference" in transform else np.stack(year[1:])


CASES = [(t, y) for t in ("level", "log_level", "difference", "log_difference") for y in ("mean", "sum", "last")]


@pytest.mark.parametrize(("transform", "yearly"), CASES)
def test_the_weights_are_those_of_the_definitions(transform, yearly):
    about = {"observables": [{"name": "growth", "transform": transform, "yearly": yearly}]}
    rows = np.zeros((YEARS, BEFORE + 4 * YEARS))
    for k in range(YEARS):
        for lag, weight in enumerate(_weights(about)):
            rows[k, BEFORE + 4 * k + 3 - lag] = weight
    np.testing.assert_allclose(rows, combination(transform, yearly), atol=1e-12)


def test_the_likelihood_is_that_of_the_linear_combination(posterior, reference):
    # growth from year to year of yearly averages, inflation by the quarter, the rate as the year's average
    kinds = {0: ("log_difference", "mean"), 2: ("level", "mean")}
    rng = np.random.default_rng(1)
    values = rng.normal(size=(4 * YEARS, 3))
    values[np.arange(4 * YEARS) % 4 != 3, 0] = np.nan
    values[np.arange(4 * YEARS) % 4 != 3, 2] = np.nan
    d = posterior.data
    about = {"observables": [{"name": d.names[o], "transform": t, "yearly": y} for o, (t, y) in kinds.items()]}
    units = ("percent per year", *d.units[1:])
    data = dataclasses.replace(d, dates=d.dates[: 4 * YEARS], values=values, provenance=about, units=units)
    theta = {**reference, "rho_w": 0.8, "rho_g": 0.7, "phi_b": 0.3}  # dies out within the horizon
    m = posterior.responses(theta)
    n = BEFORE + 4 * YEARS
    gamma = np.stack([np.einsum("toz,tpz->op", m[k:], m[: len(m) - k]) for k in range(n)])
    covariance = np.asarray(stacked_covariance(jnp.asarray(gamma), n))
    # rows of a matrix that makes what is observed out of the stacked quarterly observables
    rows, observed = [], []
    for t in range(4 * YEARS):
        for o in range(3):
            if not np.isnan(values[t, o]):
                row = np.zeros((n, 3))
                row[:, o] = combination(*kinds[o])[t // 4] if o in kinds else np.eye(n)[BEFORE + t]
                rows.append(row.ravel())
                observed.append(values[t, o])
    S = np.stack(rows)
    want = multivariate_normal(np.zeros(len(S)), S @ covariance @ S.T).logpdf(observed)
    mine = on_other_data(posterior, data)
    assert mine.log_likelihood(theta) == pytest.approx(want, abs=1e-4)
    assert "yearly" in mine.fingerprint and "yearly" not in posterior.fingerprint
    copy = pickle.loads(pickle.dumps(mine))
    assert copy.fingerprint == mine.fingerprint and copy.solver.setting.weights == mine.solver.setting.weights


def _weights(provenance):
    holder = type("Data", (), {"names": ("growth",), "provenance": provenance})()
    return declared_weights(holder)["growth"]


def test_a_yearly_average_of_the_snapshot_is_close_to_what_the_quarters_say(tmp_path):
    # the weights are exact for averages of logs, and averages of levels are not far from that
    table = load_series("snapshot")
    gdp = table.column("GDPC1")[: len(table.lines) // 4 * 4]
    cells = [""] * len(gdp)
    cells[3::4] = [repr(float(x)) for x in gdp.reshape(-1, 4).mean(axis=1)]
    growth = Observable("growth", "y", "log_difference", 100.0, demean=False, yearly="mean")
    data = make_dataset(read_series(write(tmp_path / "raw.csv", cells, 1959)), [growth], "1966Q1", "2019Q4")
    quarterly = make_dataset(table, [dataclasses.replace(US_OBSERVABLES[0], demean=False)], "1964Q1", "2019Q4")
    weights = np.array(declared_weights(data)["growth"])
    want = [weights @ quarterly.values[t - 6 : t + 1, 0][::-1] for t in range(11, len(quarterly.values), 4)]
    np.testing.assert_allclose(data.values[3::4, 0], want, atol=0.03)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"yearly": "average"}, "unknown yearly 'average'; there are mean, sum, last"),
        ({"yearly": "mean", "annualised": True}, "is yearly: annualised, per_capita and aggregate"),
        ({"yearly": "mean", "per_capita": "n"}, "is yearly: annualised, per_capita and aggregate"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused(keys, words):
    with pytest.raises(DataError, match=words):
        Observable("g", "y", "log_difference", **keys)


def test_bad_figures_are_named_where_they_stand(tmp_path):
    cells = ["1", "", "", "", "2", "", "3", "", "", "4", "", ""]
    growth = Observable("g", "y", "log_difference", 100.0, yearly="mean")
    table = read_series(write(tmp_path / "raw.csv", cells))
    with pytest.raises(DataError, match=r"raw\.csv, line 8, column y: a second value for 2001"):
        make_dataset(table, [growth], "2000Q1", "2002Q4")
    cells[6], cells[9] = "", "-4"
    with pytest.raises(DataError, match=r"raw\.csv, line 11, column y: -4 has no logarithm"):
        make_dataset(read_series(write(tmp_path / "raw.csv", cells)), [growth], "2000Q1", "2002Q4")


def test_units_are_those_of_a_year_where_quarters_add_up(tmp_path):
    cells = [str(100 + j * j) if j % 4 == 3 else "" for j in range(16)]
    table = read_series(write(tmp_path / "raw.csv", cells))
    model = (Growth("Y", "g"),)
    growth = Observable("g", "y", "log_difference", 100.0, yearly="mean")
    check_units(make_dataset(table, [growth], "2001Q1", "2003Q4"), model)
    slip = dataclasses.replace(growth, unit="percent per quarter")
    with pytest.raises(DataError, match="g is a rate per year, which the unit 'percent per quarter' does not say"):
        check_units(make_dataset(table, [slip], "2001Q1", "2003Q4"), model)


def test_a_yearly_series_that_is_not_declared_is_noticed(tmp_path):
    cells = [str(1 + 0.1 * j) if j % 4 == 3 else "" for j in range(16)]
    table = read_series(write(tmp_path / "raw.csv", cells))
    with pytest.warns(DataWarning, match="column y: one value a year, taken for that of its quarter alone"):
        make_dataset(table, [Observable("r", "y", "level")], "2000Q1", "2003Q4")
    with pytest.raises(DataError, match=r'no value in the sample .*; y has one value a year: declare yearly = "mean"'):
        make_dataset(table, [Observable("g", "y", "log_difference", 100.0)], "2000Q2", "2003Q4")


def test_it_is_part_of_a_runs_identity():
    entry = {"series": "y", "transform": "log_difference"}
    plain, yearly = (
        make_config({"data": {"observables": {"g": {**entry, **more}}}}) for more in ({}, {"yearly": "mean"})
    )
    assert plain.digest("data") != yearly.digest("data") and "yearly" not in plain.canonical()["data"]["observables"][0]
