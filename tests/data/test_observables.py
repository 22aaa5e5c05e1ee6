"""Transformations, samples and units that a configuration can declare, each against a calculation by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from estimhank.data import (
    SNAPSHOT,
    US_OBSERVABLES,
    DataWarning,
    Observable,
    check_units,
    load_dataset,
    load_series,
    make_dataset,
    read_dataset,
    read_series,
    write_dataset,
)
from estimhank.model.observed import Growth, Level
from estimhank.run.config import load_config, make_config, restore_config
from estimhank.support.errors import ConfigError, DataError
from estimhank.support.files import to_json

Y = np.array([100.0, 101.0, 103.5, 103.0, 104.0, 102.0, 99.0, 107.0])
N = np.array([50.0, 50.5, 51.0, 52.0, 52.0, 53.0, 53.5, 54.0])
T = np.arange(8.0)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "raw.csv"
    dates = [f"{2000 + j // 4}Q{j % 4 + 1}" for j in range(8)]
    rows = [f"{d},{y},{n},{3 + 0.5 * t}" for d, y, n, t in zip(dates, Y, N, T, strict=True)]
    path.write_text("\n".join(["date,y,n,line", *rows]) + "\n")
    return read_series(path)


def values(table, observable, start="2000Q2", end="2001Q4", **sample):
    return make_dataset(table, [observable], start, end, **sample)


def test_per_capita_divides_before_anything_else(table):
    data = values(table, Observable("g", "y", "log_difference", 100.0, demean=False, per_capita="n"))
    np.testing.assert_allclose(data.values[:, 0], 100 * np.diff(np.log(Y / N)), atol=1e-12)


def test_an_annualised_growth_rate_is_four_times_the_quarterly_one(table):
    quarterly = values(table, Observable("g", "y", "log_difference", 100.0))
    annual = values(table, Observable("g", "y", "log_difference", 100.0, annualised=True))
    np.testing.assert_allclose(annual.values, 4 * quarterly.values, atol=1e-12)
    assert annual.units == ("percent per year",) and quarterly.units == ("percent per quarter",)


def test_a_linear_trend_is_that_of_least_squares(table):
    data = values(table, Observable("l", "y", "log_level", 100.0, "percent", detrend="linear"), exclude=["2000Q4"])
    raw, time = 100 * np.log(Y[1:]), np.arange(7.0)
    kept = np.array([0, 1, 3, 4, 5, 6])
    slope, level = np.polyfit(time[kept], raw[kept], 1)
    want = np.full(7, np.nan)
    want[kept] = (raw - level - slope * time)[kept]
    np.testing.assert_allclose(data.values[:, 0], want, atol=1e-10)
    np.testing.assert_allclose(data.means, raw[kept].mean(), rtol=1e-12)
    assert data.provenance["trends"]["l"] == pytest.approx(slope)


@pytest.mark.parametrize("demean, mean", [(True, None), ("sample", None), (False, 0.0), (0.5, 0.5), (0, 0.0)])
def test_the_mean_is_the_samples_or_none_or_a_constant(table, demean, mean):
    data = values(table, Observable("g", "y", "log_difference", 100.0, demean=demean))
    raw = 100 * np.diff(np.log(Y))
    assert data.means[0] == pytest.approx(raw.mean() if mean is None else mean)
    np.testing.assert_allclose(data.values[:, 0] + data.means[0], raw, atol=1e-12)


def test_excluded_quarters_are_missing_and_leave_the_mean_alone(table):
    growth = Observable("g", "y", "log_difference", 100.0)
    level = Observable("n", "n", "level", exclude=("2001Q2 to 2001Q3", "1950Q1"))
    data = make_dataset(table, [growth, level], "2000Q2", "2001Q4", exclude=["2000Q3", "2030Q1"])
    np.testing.assert_array_equal(np.isnan(data.values[:, 0]), [0, 1, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(np.isnan(data.values[:, 1]), [0, 1, 0, 0, 1, 1, 0])
    raw = 100 * np.diff(np.log(Y))
    assert data.means[0] == pytest.approx(np.delete(raw, 1).mean())
    # a difference beside an excluded quarter still knows its level
    np.testing.assert_allclose(data.values[2, 0] + data.means[0], raw[2])


def test_a_presample_serves_differences_alone(table):
    growth = Observable("g", "y", "log_difference", 100.0)
    data = values(table, growth, "2000Q1", presample=2)
    later = values(table, growth, "2000Q3")
    assert data.dates[0] == "2000Q3" and data.sha256 == later.sha256
    with pytest.raises(DataError, match="needs 1999Q4"):
        values(table, growth, "2000Q1")
    with pytest.raises(DataError, match="1999Q4 to 2001Q4 reaches outside"):
        values(table, growth, "1999Q4", presample=1)
    with pytest.raises(DataError, match="a presample of 7 quarters leaves nothing of 8"):
        values(table, growth, "2000Q1", presample=7)


def test_a_series_may_start_late_and_end_early(tmp_path):
    path = tmp_path / "raw.csv"
    cells = ["", "", "1", "2", "4", "3", "", ""]
    path.write_text("date,y\n" + "".join(f"{2000 + j // 4}Q{j % 4 + 1},{c}\n" for j, c in enumerate(cells)))
    data = make_dataset(read_series(path), [Observable("d", "y", "difference")], "2000Q2", "2001Q4")
    want = [np.nan, np.nan, 1, 2, -1, np.nan, np.nan]
    np.testing.assert_allclose(data.values[:, 0] + data.means[0], want, rtol=1e-14)


@pytest.mark.parametrize(
    "observable, sample, words",
    [
        (Observable("g", "y", "level"), {"exclude": ["2000Q2 to 2001Q3"]}, "has no two different values"),
        (Observable("g", "line", "level", 1.0, "percent", detrend="linear"), {}, "the observable g is a straight line"),
        (Observable("g", "y", "level"), {"exclude": ["soon"]}, "exclude: 'soon' is not a quarter"),
        (Observable("g", "y", "level"), {"presample": -1}, "a presample of -1 quarters"),
        (Observable("g", "y", "level", per_capita="m"), {}, "has no column m"),
    ],
)
def test_what_a_sample_cannot_give(table, observable, sample, words):
    with pytest.raises(DataError) as caught:
        values(table, observable, **sample)
    assert words in str(caught.value)


def test_a_population_of_nobody_names_the_cell(tmp_path):
    path = tmp_path / "raw.csv"
    path.write_text("date,y,n\n2000Q1,1,5\n2000Q2,2,0\n2000Q3,3,5\n")
    with pytest.raises(DataError) as caught:
        make_dataset(read_series(path), [Observable("g", "y", "level", per_capita="n")], "2000Q1", "2000Q3")
    assert f"{path}, line 3, column n: 0 is not a population (observable g)" in str(caught.value)


@pytest.mark.parametrize(
    "keys, words",
    [
        ({"detrend": "quadratic"}, "unknown detrend 'quadratic'"),
        ({"aggregate": "median"}, "unknown aggregate 'median'; there are mean, sum, last"),
        ({"demean": "mean"}, "demean = 'mean'"),
        ({"demean": float("nan")}, "demean = nan"),
        ({"exclude": ("2000Q5",)}, "exclude: '2000Q5' is not a quarter"),
        ({"exclude": ("2001Q1 to 2000Q1",)}, "goes backwards"),
        ({"annualised": True, "unit": "percent per quarter"}, "annual rate .* its unit is 'percent per quarter'"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused(keys, words):
    with pytest.raises(DataError, match=words):
        Observable("g", "y", "log_difference", **keys)


# -- units ---------------------------------------------------------------------------------------------------------
QUARTERLY = (Growth("Y", "g"),)


def test_an_annualised_rate_is_refused_by_a_quarterly_model(table):
    data = values(table, Observable("g", "y", "log_difference", 100.0, annualised=True))
    with pytest.raises(DataError, match=r"g is an annualised rate .* observes a rate per quarter"):
        check_units(data, QUARTERLY)
    check_units(data, (Growth("Y", "g", 400.0, "percent per year"),))
    check_units(data, (Growth("Y", "other"),))


@pytest.mark.parametrize(
    "unit, model, fits",
    [
        ("percent per annum", "percent per quarter", False),
        ("% p.a.", "percent a quarter", False),
        ("percent, annualised", "percent per quarter", False),
        ("percent per quarter", "percent per year", False),
        ("fraction per quarter", "percent per quarter", False),
        ("basis points per quarter", "percent per quarter", False),
        ("percent", "percent per quarter", True),
        ("percent of GDP", "percent per quarter", True),
        ("per cent a quarter", "percent per quarter", True),
    ],
)
def test_units_are_compared_by_what_they_say(table, unit, model, fits):
    data = values(table, Observable("n", "n", "level", 1.0, unit))
    if fits:
        check_units(data, (Level("n", "n", units=model),))
    else:
        with pytest.raises(DataError, match="the observable n is"):
            check_units(data, (Level("n", "n", units=model),))


def test_a_fraction_declared_in_percent_is_refused(table):
    with pytest.raises(DataError, match=r"log difference of y times 1 is a fraction \(at most 0\.0\d+ here\)"):
        check_units(values(table, Observable("g", "y", "log_difference")), QUARTERLY)
    with pytest.raises(DataError, match=r"^raw\.csv, 2000Q2 to 2001Q4, column y: "):
        check_units(values(table, Observable("g", "y", "log_difference")), QUARTERLY)
    check_units(values(table, Observable("g", "y", "log_difference", 100.0)), QUARTERLY)
    with pytest.raises(
        DataError, match=r"400 times a log difference of quarters is an annualised rate: set scale = 100"
    ):
        check_units(values(table, Observable("g", "y", "log_difference", 400.0)), QUARTERLY)
    fractions = (Growth("Y", "g", 1.0, "fraction per quarter"),)
    check_units(values(table, Observable("g", "y", "log_difference", unit="fraction per quarter")), fractions)


def test_a_known_annual_rate_taken_as_quarterly_is_refused():
    rate = Observable("rate", "FEDFUNDS", "level")
    with pytest.raises(DataError, match=r"column FEDFUNDS: .* percent a year, an annualised rate: set scale = 0\.25"):
        make_dataset(load_series(SNAPSHOT), [rate], "1966Q1", "2019Q4")
    annual = dataclasses.replace(rate, unit="percent per year")
    assert make_dataset(load_series(SNAPSHOT), [annual], "1966Q1", "2019Q4").means[0] > 5


@pytest.mark.parametrize(
    "scale, annualised, unit, words",
    [
        (400.0, False, "", "400 times a log difference of quarters is an annualised rate: set scale = 100"),
        (25.0, False, "", "25 times a log difference of quarters is a quarter of one: set scale = 100"),
        (
            100.0,
            False,
            "percent per year",
            "100 times a log difference of quarters is a rate per quarter: set scale = 400",
        ),
        (
            400.0,
            True,
            "percent per year",
            "400 times .* annualised, is a rate per quarter taken times 16: set scale = 100",
        ),
        (25.0, True, "", "25 times .* annualised, is a quarter of one: set scale = 100"),
        (400.0, False, "percent per year", ""),
        (100.0, True, "percent per year", ""),
        (100.0, False, "percent per quarter", ""),
    ],
)
def test_four_times_too_much_or_too_little_is_refused_in_both_directions(table, scale, annualised, unit, words):
    data = values(table, Observable("g", "y", "log_difference", scale, unit, annualised=annualised))
    model = (Growth("Y", "g", units=data.units[0]),)
    if words:
        with pytest.raises(DataError, match=words):
            check_units(data, model)
    else:
        check_units(data, model)


def test_a_quarterly_rate_is_refused_by_an_annual_model(table):
    annual = (Growth("Y", "g", 400.0, "percent per year"),)
    with pytest.raises(DataError, match=r"is a rate per quarter .* observes a rate per year .*: set annualised = true"):
        check_units(values(table, Observable("g", "y", "log_difference", 100.0)), annual)
    rate = Observable("rate", "FEDFUNDS", "level", 0.25, "percent per year")
    with pytest.raises(DataError, match=r"a quarter of FEDFUNDS, .* is a rate per quarter: set scale = 1"):
        make_dataset(load_series(SNAPSHOT), [rate], "1966Q1", "2019Q4")


def test_a_rate_of_another_name_that_looks_annual_is_doubted(tmp_path):
    path = tmp_path / "raw.csv"
    path.write_text("date,policy\n2000Q1,5\n2000Q2,5.5\n2000Q3,6\n")
    with pytest.warns(
        DataWarning, match=r"raw\.csv, line 4, column policy: .* in percent a year: if so, set scale = 0\.25"
    ):
        make_dataset(read_series(path), [Observable("rate", "policy", "level")], "2000Q1", "2000Q3")


def test_a_rate_that_looks_like_a_fraction_is_doubted(tmp_path):
    path = tmp_path / "raw.csv"
    path.write_text("date,r\n2000Q1,0.05\n2000Q2,0.055\n2000Q3,0.06\n")
    with pytest.warns(DataWarning, match=r"raw\.csv, line 4, column r: .* as if 5 percent were written 0\.05"):
        make_dataset(read_series(path), [Observable("rate", "r", "level", 0.25)], "2000Q1", "2000Q3")


# -- configuration -------------------------------------------------------------------------------------------------
BEFORE = "bf6b65ba93d970d523adcb522e907076d3bacbadf29bb8b4ba98538d523f2525"


def test_runs_made_before_there_were_these_keys_keep_their_identity():
    assert make_config({}).digest("data") == BEFORE
    entry = {"series": "y", "transform": "level"}
    plain = make_config({"data": {"observables": {"g": entry}}})
    said = make_config(
        {"data": {"exclude": [], "observables": {"g": {**entry, "detrend": "none", "demean": "sample"}}}}
    )
    assert plain.digest() == said.digest()


def test_every_new_key_is_part_of_the_identity_and_survives_a_trip(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(
        """
        [data]
        source = "fred"
        vintage = "2024-02-01"
        presample = 4
        exclude = ["2020Q2", "2020Q3"]
        [data.observables.growth]
        series = "GDPC1"
        transform = "log_difference"
        scale = 100
        per_capita = "CNP16OV"
        detrend = "linear"
        demean = 0.4
        aggregate = "sum"
        exclude = ["2009Q1 to 2015Q4"]
        """
    )
    config = load_config(path)
    growth = config.data.observables[0]
    assert (growth.per_capita, growth.demean, growth.aggregate) == ("CNP16OV", 0.4, "sum")
    back = restore_config(config.canonical(), str(path))
    assert back.data == config.data and back.digest() == config.digest()
    said = config.differences(make_config({}).canonical())
    assert any(line.startswith("data.vintage is 2024-02-01") for line in said)


@pytest.mark.parametrize(
    "text, words",
    [
        ('vintage = "yesterday"', "run.toml, [data] the vintage 'yesterday' is not a date"),
        ('exclude = ["2020"]', "run.toml, [data] exclude: '2020' is not a quarter"),
        ('exclude = "2020Q2"', "[data] exclude: expected a list"),
        ("presample = -1", "[data] presample: must be at least 0"),
        ("presampel = 1", "unknown key 'presampel'; did you mean 'presample'?"),
    ],
)
def test_a_slip_in_the_data_table_is_named(tmp_path, text, words):
    path = tmp_path / "run.toml"
    path.write_text(f"[data]\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert words in str(caught.value)


def test_a_data_set_with_every_setting_is_kept_in_its_file(tmp_path):
    observables = (*US_OBSERVABLES[:2], dataclasses.replace(US_OBSERVABLES[2], exclude=("2009Q1 to 2015Q4",)))
    settings = dataclasses.replace(make_config({}).data, observables=observables, exclude=("1980Q1",), presample=4)
    data = load_dataset(settings)
    back = read_dataset(write_dataset(tmp_path / "data.csv", data))
    assert back.sha256 == data.sha256 and to_json(back.provenance) == to_json(data.provenance)
    assert data.dates[0] == "1967Q1" and np.isnan(data.values[:, 2]).sum() == 29
