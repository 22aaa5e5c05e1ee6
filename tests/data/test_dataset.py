"""The snapshot's moments, the transformations by hand, and data.csv there and back."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest

from estimhank.data import (
    SNAPSHOT,
    US_OBSERVABLES,
    Observable,
    load_series,
    make_dataset,
    read_dataset,
    read_series,
    write_dataset,
)
from estimhank.support.errors import DataError
from estimhank.support.shipped import bundled
from tests.helpers import golden


@pytest.fixture(scope="module")
def us():
    return make_dataset(load_series(SNAPSHOT), US_OBSERVABLES, "1966Q1", "2019Q4")


@pytest.fixture
def table(tmp_path):
    """Eight quarters of two series, one value missing."""
    path = tmp_path / "raw.csv"
    y = ["100", "101", "103.5", "", "104", "102", "99", "107"]
    r = ["4", "4.5", "5", "6", "5.5", ".", "3", "2"]
    dates = [f"{2000 + j // 4}Q{j % 4 + 1}" for j in range(8)]
    path.write_text("date,y,r\n" + "".join(f"{d},{a},{b}\n" for d, a, b in zip(dates, y, r, strict=True)))
    return read_series(path)


def test_snapshot_has_the_published_figures():
    table = load_series(SNAPSHOT)
    quarter = lambda year, q: 4 * year + q - 1 - table.first  # noqa: E731
    golden.FEDFUNDS_1981Q2.check(table.column("FEDFUNDS")[quarter(1981, 2)])
    golden.FEDFUNDS_2019Q4.check(table.column("FEDFUNDS")[quarter(2019, 4)])
    golden.GDPC1_2019Q4.check(table.column("GDPC1")[quarter(2019, 4)])
    assert len(table.lines) == 268


@pytest.mark.parametrize("series", list(golden.MORE_SERIES))
def test_moments_of_further_series(series):
    level = series == "UNRATE"
    transform = {"transform": "level"} if level else {"transform": "log_difference", "scale": 100.0}
    data = make_dataset(
        load_series(SNAPSHOT), [Observable("x", series, unit="percent", **transform)], "1966Q1", "2019Q4"
    )
    golden.MORE_SERIES[series].check(np.array([data.means[0], data.values[:, 0].std(ddof=1)]))


def test_moments_of_the_default_sample(us):
    assert us.dates[0] == "1966Q1" and us.dates[-1] == "2019Q4" and us.values.shape == (216, 3)
    golden.SAMPLE_MEANS.check(us.means)
    golden.SAMPLE_SDS.check(us.values.std(axis=0, ddof=1))
    np.testing.assert_allclose(us.values.mean(axis=0), 0.0, atol=1e-14)


def test_growth_in_the_first_quarter_uses_the_quarter_before(us):
    with open(bundled("data/us_macro.csv"), newline="") as stream:
        rows = {row["observation_date"]: row for row in csv.DictReader(stream)}
    now, before = float(rows["1966-01-01"]["GDPC1"]), float(rows["1965-10-01"]["GDPC1"])
    assert us.values[0, 0] + us.means[0] == pytest.approx(100 * math.log(now / before), abs=1e-12)
    assert us.values[0, 2] + us.means[2] == pytest.approx(float(rows["1966-01-01"]["FEDFUNDS"]) / 4, abs=1e-12)


def test_missing_values_stay_missing_and_leave_the_mean_alone(table):
    observables = [Observable("dy", "y", "log_difference", 100.0), Observable("r", "r", "level", 0.25)]
    data = make_dataset(table, observables, "2000Q2", "2001Q4")
    growth = 100 * np.log([101 / 100, 103.5 / 101, np.nan, np.nan, 102 / 104, 99 / 102, 107 / 99])
    rate = np.array([4.5, 5, 6, 5.5, np.nan, 3, 2]) / 4
    np.testing.assert_allclose(data.values + data.means, np.column_stack([growth, rate]), atol=1e-12)
    np.testing.assert_allclose(data.means, [np.nanmean(growth), np.nanmean(rate)], atol=1e-12)


def test_demeaning_can_be_declined(table):
    data = make_dataset(table, [Observable("r", "r", "level", unit="percent", demean=False)], "2000Q1", "2000Q4")
    np.testing.assert_array_equal(data.values[:, 0], [4, 4.5, 5, 6])
    assert data.means[0] == 0


@pytest.mark.parametrize("transform, want", [("difference", [1.0, 2.5]), ("log_level", np.log([101, 103.5]))])
def test_other_transformations(table, transform, want):
    data = make_dataset(table, [Observable("y", "y", transform, demean=False)], "2000Q2", "2000Q3")
    np.testing.assert_allclose(data.values[:, 0], want, atol=1e-12)


def test_data_csv_gives_back_the_same_bits(us, table, tmp_path):
    with_gap = make_dataset(table, [Observable("r", "r", "level", unit="percent")], "2000Q1", "2001Q4")
    for data in (us, with_gap):
        back = read_dataset(write_dataset(tmp_path / "data.csv", data))
        np.testing.assert_array_equal(back.values, data.values)
        np.testing.assert_array_equal(back.means, data.means)
        assert (back.dates, back.names, back.units, back.labels) == (data.dates, data.names, data.units, data.labels)
        assert back.sha256 == data.sha256 and back.provenance == data.provenance


def test_an_edited_data_csv_is_refused(us, tmp_path):
    path = write_dataset(tmp_path / "data.csv", us)
    lines = path.read_text().splitlines()
    date, _, rest = lines[-1].split(",", 2)
    path.write_text("\n".join([*lines[:-1], f"{date},0.5,{rest}"]) + "\n")
    with pytest.raises(DataError, match=r"data\.csv was changed"):
        read_dataset(path)


@pytest.mark.parametrize("text", ["date,growth\n1966Q1,0.1\n", "", "# units: [\n"])
def test_a_foreign_data_csv_is_refused(tmp_path, text):
    path = tmp_path / "data.csv"
    path.write_text(text)
    with pytest.raises(DataError, match="run"):
        read_dataset(path)


def test_arrays_cannot_be_changed(us):
    with pytest.raises(ValueError, match="read-only"):
        us.values[0, 0] = 1.0


def test_digest_depends_on_every_value(us, table):
    shorter = make_dataset(load_series(SNAPSHOT), US_OBSERVABLES, "1966Q1", "2019Q3")
    assert shorter.sha256 != us.sha256
    a = make_dataset(table, [Observable("r", "r", "level", unit="percent", demean=False)], "2000Q1", "2001Q4")
    b = make_dataset(table, [Observable("r", "r", "level", 1 + 1e-15, "percent", demean=False)], "2000Q1", "2001Q4")
    assert a.sha256 != b.sha256


def test_frame_has_dates_and_names(us):
    frame = us.to_frame(demeaned=False)
    assert list(frame.columns) == list(us.names) and str(frame.index[0]) == "1966Q1"
    assert frame["rate"].mean() == pytest.approx(us.means[2])
    assert str(us.first_days[-1]) == "2019-10-01"
