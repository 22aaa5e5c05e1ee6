"""Files and frames as people have them: the same series whatever the layout, or one sentence about what is in doubt."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from estimhank.data import load_series, parse_quarter, read_series, table_from_frame
from estimhank.support.errors import DataError

openpyxl = pytest.importorskip("openpyxl")

Y = [100.5, 101.25, 103.5, 102.0, 104.0, 105.75]
R = [4.0, 4.5, 5.0, 6.0, 5.5, 3.25]
PERIODS = pd.period_range("1999Q3", periods=6, freq="Q")
LABELS = [str(period) for period in PERIODS]


def lines(labels=LABELS, separator=",", write=repr, head=("date", "y", "r")):
    rows = [head, *((d, write(y), write(r)) for d, y, r in zip(labels, Y, R, strict=True))]
    return [separator.join(row) for row in rows]


def read(tmp_path, content, name="raw.csv"):
    path = tmp_path / name
    text = content if isinstance(content, str) else "\n".join(content) + "\n"
    path.write_text(text)
    return load_series(str(path))


def check(table):
    assert table.first == parse_quarter("1999Q3") and list(table.columns) == ["y", "r"]
    np.testing.assert_array_equal(table.column("y"), Y)
    np.testing.assert_array_equal(table.column("r"), R)


@pytest.mark.parametrize(
    "form",
    ["%Y-Q{q}", "%Y:Q{q}", "%Y:{q}", "%Yq{q}", "%Y Q{q}", "Q{q} %Y", "Q{q}-%Y", "{q}Q%Y", "{start}", "{slash}", "{end}",
     "{weekday}", "{start}T00:00:00Z", "{end} 00:00:00", "{last}", "%YM{m:02d}"],
)  # fmt: skip
def test_quarters_are_read_in_the_usual_forms(tmp_path, form):
    labels = []
    for period in PERIODS:
        end = period.end_time
        weekday = end - pd.offsets.BDay(0) if end.day_of_week < 5 else end - pd.offsets.BDay(1)
        words = {"q": period.quarter, "m": period.month, "start": period.start_time.date(), "end": end.date()}
        words |= {"slash": f"{period.start_time:%Y/%m/%d}", "weekday": weekday.date(), "last": f"{end:%Y-%m}"}
        labels.append(form.replace("%Y", str(period.year)).format(**words))
    check(read(tmp_path, lines(labels)))


@pytest.mark.parametrize(
    "labels, words",
    [
        (["7/1/1999", "10/1/1999"], "'7/1/1999' is not a quarter; write 1966Q1"),
        (["1999-08-31", "1999-11-30"], "'1999-08-31' is not a quarter's first day or last day"),
        (["1999-07-31", "1999-10-31"], "'1999-07-31' is not a quarter's first day or last day"),
        (["1999-08", "1999-11"], "'1999-08' is neither the first nor the last month of a calendar quarter"),
        (["1999:3", "1999:5"], "'1999:5' is not a quarter"),
    ],
)
def test_what_is_in_doubt_about_a_date_is_not_guessed(tmp_path, labels, words):
    with pytest.raises(DataError) as caught:
        read(tmp_path, [f"date,{'y'}", *(f"{label},{j}" for j, label in enumerate(labels))])
    assert words in str(caught.value) and "column date" in str(caught.value)


def comma(value):
    return repr(value).replace(".", ",")


@pytest.mark.parametrize(
    "content",
    [
        lines(separator=";"),
        lines(separator="\t"),
        lines(separator=";", write=comma),
        lines(separator="\t", write=comma),
        lines(write=lambda value: f'"{value}"'),
        ["\ufeff" + lines()[0], *lines()[1:]],
        ["Real GDP, billions of dollars", "", "Source: a bureau", *lines()],
        ["GDP;;", "in billions;", *lines(separator=";")],
        [line + ",," for line in lines()],
        [lines()[0], *(line + "," for line in lines()[1:])],
        ["," + line for line in lines()],
        [("" if j == 0 else str(j - 1)) + "," + line for j, line in enumerate(lines())],  # as pandas writes a frame
        [line.replace(",", ",,", 1) for line in lines()],
        [*lines(), ",,", ""],
    ],
    ids=["semicolons", "tabs", "decimal commas", "tabs and commas", "quoted", "byte order mark", "titles", "two titles",
         "blank columns", "longer rows", "blank column in front", "counted rows", "blank column inside", "blank rows"],
)  # fmt: skip
def test_a_file_is_read_in_the_usual_layouts(tmp_path, content):
    check(read(tmp_path, content))


@pytest.mark.parametrize(
    "content, words",
    [
        (lines(separator=";", write=lambda v: f"{v * 1000:,.0f}"), "line 2, column y: '100,500' is not a number; "),
        (lines(write=lambda v: f'"{v * 1000:,.2f}"'), "line 2, column y: '100,500.00' is not a number; write it"),
        (lines(separator=";", write=lambda v: comma(v) if v > 5 else repr(v)), "column y: '100,5' is not a number"),
        (lines(write=lambda v: f"{v}%"), "line 2, column y: '100.5%' is not a number; leave the percent sign out"),
        ([lines()[0], ",billions,percent", *lines()[1:]], "line 2, column date: '' is not a quarter"),
        ([*lines(), "Source: a bureau"], "line 8: 1 fields, but the header has 3"),
        ([lines()[0].replace(",y", ","), *lines()[1:2], "1999Q4,x,4"], "line 3, column 2: 'x' is not a number"),
        (lines(separator="|"), "line 1: expected a header like date,GDPC1,GDPDEF, with names"),
    ],
)  # fmt: skip
def test_what_is_in_doubt_about_a_number_or_a_layout_is_named(tmp_path, content, words):
    with pytest.raises(DataError) as caught:
        read(tmp_path, content)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_files_of_another_kind_say_what_they_are(tmp_path):
    path = tmp_path / "raw.csv"
    for content, words in (
        ("\n".join(lines()).encode("utf-16"), "raw.csv is not UTF-8 text; save it as CSV with the encoding UTF-8"),
        (b"PK\x03\x04 and so on", "raw.csv is a spreadsheet under another name"),
        (b"\xd0\xcf\x11\xe0 and so on", "raw.csv is a spreadsheet under another name"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=words):
            read_series(path)
    (tmp_path / "old.xls").write_bytes(b"")
    with pytest.raises(DataError, match=r"old\.xls is a spreadsheet of a kind that is not read; save it as \.xlsx"):
        load_series("old.xls", tmp_path)


def write_book(path, rows):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)


def test_a_sheet_is_read_in_the_usual_layouts(tmp_path):
    values = [list(row) for row in zip(LABELS, Y, R, strict=True)]
    for rows in (
        [["Source", "a bureau"], ["date", "y", "r"], *values],
        [[None, "date", "y", "r"], *([None, *row] for row in values)],
        [["date", None, "y", None, "r"], *([d, None, y, None, r] for d, y, r in values)],
    ):
        write_book(tmp_path / "raw.xlsx", rows)
        check(load_series("raw.xlsx", tmp_path))


def test_a_formula_without_a_value_is_no_missing_value(tmp_path):
    write_book(tmp_path / "raw.xlsx", [["date", "y"], ["1999Q3", 1.0], ["1999Q4", "=B2*1.01"], ["2000Q1", None]])
    with pytest.raises(DataError, match=r"sheet Sheet, row 3, column B: the formula '=B2\*1\.01' has no value yet"):
        load_series("raw.xlsx", tmp_path)


def frame(index):
    return pd.DataFrame({"y": Y, "r": R}, index=index)


@pytest.mark.parametrize(
    "made",
    [
        frame(PERIODS).rename_axis("quarter").reset_index(),
        frame(PERIODS).reset_index().set_axis([7, 2, 3, 4, 5, 6]),
        frame(pd.date_range("1999-07-01", periods=6, freq="QS", tz="Europe/Berlin")),
        frame(pd.date_range("1999-09-30", periods=6, freq="BQE")),
        frame(PERIODS).convert_dtypes(),
        frame([period.start_time.date() for period in PERIODS]),
    ],
    ids=["reset", "filtered", "time zone", "last weekdays", "nullable", "dates"],
)
def test_a_frame_is_read_with_the_usual_indices(made):
    check(table_from_frame(made))


@pytest.mark.parametrize(
    "made, words",
    [
        (
            frame(pd.period_range("2000Q1", periods=6, freq="Q-NOV")),
            "row 1, the index: 2000Q1 is a quarter of a fiscal",
        ),
        (frame(pd.DatetimeIndex([pd.NaT, *PERIODS[1:].to_timestamp()])), "row 1, column date: '' is not a quarter"),
        (frame(range(1960, 1966)), "row 1, column date: '1960' is a year"),
        (frame(PERIODS)[[]], "the data frame has dates but no columns"),
        (frame(PERIODS).assign(date="x"), "row 1, column date: 'x' is not a number"),
    ],
)
def test_what_is_wrong_with_a_frame_is_one_sentence(made, words):
    with pytest.raises(DataError) as caught:
        table_from_frame(made)
    assert words in str(caught.value)


@pytest.mark.parametrize("month", [0, 1, 2])
def test_quarterly_figures_of_a_monthly_table_may_stand_in_any_one_month(tmp_path, month):
    days = [(pd.Period("2000-01", "M") + j).end_time.date() for j in range(12)]
    cells = [str(100 + j // 3) if j % 3 == month else "" for j in range(12)]
    table = read(tmp_path, ["date,y,r", *(f"{d},{c},{j}" for j, (d, c) in enumerate(zip(days, cells, strict=True)))])
    np.testing.assert_array_equal(table.column("y"), [100, 101, 102, 103])
    np.testing.assert_array_equal(table.column("r"), [1, 4, 7, 10])
