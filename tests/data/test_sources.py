"""CSV, Excel, data frame: one table whatever the source, and the same words for what is wrong in it."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest

from estimhank.data import (
    US_OBSERVABLES,
    Observable,
    dataset_from_frame,
    load_series,
    make_dataset,
    read_series,
    table_from_frame,
)
from estimhank.support.errors import DataError

openpyxl = pytest.importorskip("openpyxl")

Y = [100.0, 101.0, 103.5, None, 104.0, 102.0, 99.0, 107.0]
R = [4.0, 4.5, 5.0, 6.0, 5.5, None, 3.0, 2.0]
FIRST_DAYS = [datetime.date(2000 + j // 4, 3 * (j % 4) + 1, 1) for j in range(8)]


def write_book(path, rows, title="Data"):
    book = openpyxl.Workbook()
    book.active.title = "About"
    book.active.append(["Some notes"])
    sheet = book.create_sheet(title)
    for row in rows:
        sheet.append(row)
    book.save(path)
    return path


@pytest.fixture
def csv_table(tmp_path):
    path = tmp_path / "raw.csv"
    rows = [f"{d},{'' if y is None else y},{'.' if r is None else r}" for d, y, r in zip(FIRST_DAYS, Y, R, strict=True)]
    path.write_text("\n".join(["date,y,r", *rows]) + "\n")
    return read_series(path)


def same(a, b):
    assert a.first == b.first and list(a.columns) == list(b.columns)
    for name in a.columns:
        np.testing.assert_array_equal(a.column(name), b.column(name))


@pytest.mark.parametrize("dates", ["days", "text"])
def test_an_excel_sheet_is_read_like_a_csv_file(tmp_path, csv_table, dates):
    first = FIRST_DAYS if dates == "days" else [f"{d.year}Q{(d.month + 2) // 3}" for d in FIRST_DAYS]
    rows = [["Quarterly values"], [], ["date", "y", "r"], *map(list, zip(first, Y, R, strict=True))]
    write_book(tmp_path / "raw.xlsx", rows)
    table = load_series("raw.xlsx", tmp_path, sheet="Data")
    same(table, csv_table)
    assert table.provenance["file"] == "raw.xlsx" and len(str(table.provenance["sha256"])) == 64


@pytest.mark.parametrize(
    "row, words",
    [
        ([datetime.date(2000, 4, 1), "about 3", 4], "row 3, column y: 'about 3' is not a number"),
        ([datetime.date(2000, 4, 1), "#DIV/0!", 4], "row 3, column y: '#DIV/0!' is not a number"),
        ([datetime.date(2000, 4, 1), 3, True], "row 3, column r: 'True' is not a number"),
        ([datetime.date(2000, 1, 1), 3, 4], "row 3, column date: the quarter 2000Q1 appears twice"),
        ([datetime.date(2000, 7, 1), 3, 4], "row 3, column date: 2000Q3 follows 2000Q1, so 2000Q2 is absent"),
        ([36617, 3, 4], "row 3, column date: '36617.0' is not a quarter"),
        ([datetime.date(2000, 4, 1), 3, 4, 5], "row 3: 4 fields, but the header has 3"),
    ],
)
def test_a_bad_cell_of_a_sheet_is_named(tmp_path, row, words):
    path = write_book(tmp_path / "raw.xlsx", [["date", "y", "r"], [datetime.date(2000, 1, 1), 1, 2], row])
    with pytest.raises(DataError) as caught:
        load_series("raw.xlsx", tmp_path, sheet="Data")
    assert str(caught.value).startswith(f"{path}, sheet Data, {words}")


def test_a_book_that_cannot_be_read_is_one_sentence(tmp_path):
    path = write_book(tmp_path / "raw.xlsx", [["date", "y"], [FIRST_DAYS[0], 1.0]])
    with pytest.raises(DataError, match="has no sheet 'Dat': did you mean 'Data'"):
        load_series("raw.xlsx", tmp_path, sheet="Dat")
    with pytest.raises(DataError, match="sheet About, row 1: expected a header"):
        load_series("raw.xlsx", tmp_path)
    path.write_bytes(b"date,y\n2000Q1,1\n")
    with pytest.raises(DataError, match=r"raw\.xlsx is not an Excel file"):
        load_series("raw.xlsx", tmp_path)
    with pytest.raises(DataError, match="has no sheets"):
        load_series("raw.csv", tmp_path, sheet="Data")


@pytest.mark.parametrize(
    "index",
    [
        pd.PeriodIndex([f"{d.year}Q{(d.month + 2) // 3}" for d in FIRST_DAYS], freq="Q"),
        pd.DatetimeIndex(FIRST_DAYS),
        pd.DatetimeIndex(FIRST_DAYS) + pd.offsets.QuarterEnd(),
        [d.isoformat() for d in FIRST_DAYS],
        None,
    ],
    ids=["periods", "first days", "last days", "text", "column"],
)
def test_a_data_frame_is_read_like_a_csv_file(csv_table, index):
    frame = pd.DataFrame({"y": Y, "r": R}, index=index)
    if index is None:
        frame.insert(0, "when", FIRST_DAYS)
    same(table_from_frame(frame), csv_table)


def test_a_data_frame_becomes_a_data_set(csv_table):
    frame = pd.DataFrame({"y": Y, "r": R}, index=pd.DatetimeIndex(FIRST_DAYS))
    observables = [Observable("growth", "y", "log_difference", 100.0), Observable("rate", "r", "level", 0.25)]
    data = dataset_from_frame(frame, observables, exclude=["2001Q2"])
    by_file = make_dataset(csv_table, observables, "2000Q2", "2001Q4", exclude=["2001Q2"])
    assert data.sha256 == by_file.sha256 and data.dates == by_file.dates
    assert np.isnan(data.values[4]).all()


@pytest.mark.parametrize(
    "frame, words",
    [
        (pd.DataFrame({"y": ["1", "x"]}, index=["2000Q1", "2000Q2"]), "the data frame, row 2, column y: 'x' is not a"),
        (pd.DataFrame({"y": [1, 2]}, index=["2000Q1", "2000Q3"]), "row 2, column date: 2000Q3 follows 2000Q1"),
        (pd.DataFrame({"y": [1, np.inf]}, index=["2000Q1", "2000Q2"]), "column y: 'inf' is not a finite number"),
        (pd.DataFrame({"y": [1, 2]}), "the data frame has no dates"),
        (pd.DataFrame({"y": [1, 2]}, index=[1990, 1991]), "row 1, column date: '1990' is a year"),
        (
            pd.Series([1.0, 2.0], index=["2000Q1", "2000Q2"]),
            "a data frame is needed, one column a series, not a Series",
        ),
        (pd.DataFrame({"y": []}, index=pd.PeriodIndex([], freq="Q")), "the data frame holds a header but no data"),
        (pd.DataFrame(np.ones((2, 2)), columns=[["a", "b"], ["c", "d"]]), "several levels"),
    ],
)
def test_a_bad_frame_is_one_sentence(frame, words):
    with pytest.raises(DataError) as caught:
        table_from_frame(frame)
    assert words in str(caught.value)


MONTHS = [f"{2000 + j // 12}-{j % 12 + 1:02d}-01" for j in range(9)]
RATES = [5.45, 5.73, 5.85, 6.02, 6.27, 6.53, 6.54, 6.5, 6.52]


@pytest.mark.parametrize(
    "rule, want", [(None, np.mean), ("mean", np.mean), ("sum", np.sum), ("last", lambda months: months[-1])]
)
def test_monthly_series_become_quarterly_by_the_declared_rule(tmp_path, rule, want):
    path = tmp_path / "raw.csv"
    gdp = ["100", "", "", "101", "", "", "103", "", ""]  # quarterly values in the first months of quarters
    path.write_text("date,r,y\n" + "".join(f"{d},{r},{y}\n" for d, r, y in zip(MONTHS, RATES, gdp, strict=True)))
    rate = Observable("rate", "r", "level", demean=False, aggregate=rule)
    table = load_series("raw.csv", tmp_path, [rate, Observable("y", "y", "level", aggregate="last")])
    np.testing.assert_allclose(table.column("r"), [want(RATES[j : j + 3]) for j in (0, 3, 6)], rtol=1e-15)
    np.testing.assert_array_equal(table.column("y"), [100, 101, 103])
    assert table.provenance["monthly"] == {"r": rule or "mean"}


def test_a_quarter_without_all_its_months_has_no_figure(tmp_path):
    path = tmp_path / "raw.csv"
    months, rates = MONTHS[1:], [str(r) for r in RATES[1:]]
    rates[4] = ""
    path.write_text("date,r\n" + "".join(f"{d[:7]},{r}\n" for d, r in zip(months, rates, strict=True)))
    table = read_series(path)
    np.testing.assert_array_equal(np.isnan(table.column("r")), [True, True, False])
    assert table.lines == (2, 4, 7)


def test_a_wrong_frequency_is_named(tmp_path):
    path = tmp_path / "raw.csv"
    for dates, words in (
        (["2000-01-03", "2000-01-04"], "line 2, column date: '2000-01-03' is not a quarter's first day"),
        (["2000-01-01", "2001-01-01"], "line 3, column date: 2001Q1 follows 2000Q1, a year later"),
        (
            ["2000-02", "2000-04"],
            "line 3, column date: 2000-04 follows 2000-02, so 2000-03 is absent; give every month",
        ),
        (["2000-01", "2000-01"], "line 3, column date: the month 2000-01 appears twice"),
        (["2000-01", "2000-13"], "line 3, column date: '2000-13' has no month 13"),
    ):
        path.write_text("date,r\n" + "".join(f"{date},1\n" for date in dates))
        with pytest.raises(DataError) as caught:
            read_series(path)
        assert words in str(caught.value)


def test_one_series_cannot_be_aggregated_in_two_ways(tmp_path):
    pair = [Observable("a", "r", "level", aggregate="sum"), Observable("b", "r", "level")]
    with pytest.raises(DataError, match="the series r is aggregated as sum and as mean"):
        load_series("snapshot", tmp_path, pair)


def test_comment_lines_before_the_header_are_left_out_and_counted(tmp_path):
    path = tmp_path / "raw.csv"
    path.write_text("# made by hand\n# on a Sunday\ndate,y\n2000Q1,1\n2000Q2,x\n")
    with pytest.raises(DataError, match="line 5, column y: 'x' is not a number"):
        read_series(path)


def test_the_default_observables_from_a_frame_of_the_snapshot():
    table = load_series("snapshot")
    index = pd.period_range("1959Q1", periods=len(table.lines), freq="Q")
    frame = pd.DataFrame(dict(table.columns), index=index)
    a = dataset_from_frame(frame, start="1966Q1", end="2019Q4")
    assert a.sha256 == make_dataset(table, US_OBSERVABLES, "1966Q1", "2019Q4").sha256
