"""Bad data ends with one sentence that names the file, the line and the column."""

from __future__ import annotations

import pytest

from estimhank.data import SNAPSHOT, Observable, load_series, make_dataset, parse_quarter, read_series
from estimhank.support.errors import DataError

GOOD = ["date,y,r", "2000Q1,100,4", "2000Q2,101,4.5", "2000Q3,102,5", "2000Q4,104,5"]


def changed(line: int, text: str) -> str:
    """The good file with one line (counted from 1) replaced."""
    return "\n".join([*GOOD[: line - 1], text, *GOOD[line:]]) + "\n"


@pytest.mark.parametrize(
    "content, words",
    [
        (changed(3, "2000Q2,n.a.,4.5"), "line 3, column y: 'n.a.' is not a number"),
        (changed(3, "2000Q2,101,1_0"), "line 3, column r: '1_0' is not a finite number"),
        (changed(3, "2000Q2,inf,4.5"), "line 3, column y: 'inf' is not a finite number"),
        (changed(3, "2000Q1,101,4.5"), "line 3, column date: the quarter 2000Q1 appears twice"),
        (changed(3, "1999Q4,101,4.5"), "line 3, column date: 1999Q4 comes after 2000Q1"),
        (changed(3, "2000Q3,101,4.5"), "line 3, column date: 2000Q3 follows 2000Q1, so 2000Q2 is absent"),
        (changed(3, "2000-02-01,101,4.5"), "line 3, column date: '2000-02-01' is not a quarter's first day"),
        (changed(3, "May 2000,101,4.5"), "line 3, column date: 'May 2000' is not a quarter"),
        (changed(2, "2000,100,4"), "line 2, column date: '2000' is a year; series must be quarterly or monthly"),
        (changed(3, "2000Q2,101"), "line 3: 2 fields, but the header has 3"),
        (changed(1, "date;y;r"), "line 1: expected a header"),
        (changed(1, "date,y,y"), "line 1: the column y appears more than once"),
        ("date,y\n", "holds a header but no data"),
        ("", "line 1: expected a header"),
    ],
)
def test_a_bad_file_is_named_with_line_and_column(tmp_path, content, words):
    path = tmp_path / "raw.csv"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        read_series(path)
    assert words in str(caught.value)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_blank_lines_and_a_byte_order_mark_do_no_harm(tmp_path):
    path = tmp_path / "raw.csv"
    path.write_bytes(b"\xef\xbb\xbf" + ("\r\n".join(GOOD) + "\r\n\r\n").encode())
    assert list(read_series(path).column("y")) == [100, 101, 102, 104]


def test_a_missing_source_names_the_alternative(tmp_path):
    with pytest.raises(DataError, match="snapshot"):
        load_series("nowhere.csv", tmp_path)


@pytest.mark.parametrize(
    "observable, start, end, words",
    [
        (Observable("g", "y", "log_difference"), "1999Q4", "2000Q4", "1999Q4 to 2000Q4 reaches outside"),
        (Observable("g", "y", "level"), "2000Q1", "2001Q1", "which covers 2000Q1 to 2000Q4"),
        (Observable("g", "y", "log_difference"), "2000Q1", "2000Q4", "needs 1999Q4"),
        (Observable("g", "y", "level"), "2000Q3", "2000Q3", "nothing is in it"),
        (Observable("g", "y", "level"), "2000Q4", "2000Q1", "nothing is in it"),
        (Observable("g", "y", "level"), "spring", "2000Q1", "the sample's start 'spring' is not a quarter"),
        (Observable("g", "Y", "level"), "2000Q1", "2000Q4", "has no column Y"),
        (Observable("g", "r", "level"), "2000Q3", "2000Q4", "lines 4 to 5, column r: the observable g is constant"),
        (Observable("g", "r", "level", 100.0), "2000Q1", "2000Q4", "line 4, column r: .* and multiplied by 100 as if"),
    ],
)
def test_a_sample_that_the_data_cannot_give(tmp_path, observable, start, end, words):
    path = tmp_path / "raw.csv"
    path.write_text("\n".join(GOOD))
    with pytest.raises(DataError, match=words):
        make_dataset(read_series(path), [observable], start, end)


def test_a_logarithm_of_nothing_names_the_cell(tmp_path):
    path = tmp_path / "raw.csv"
    path.write_text(changed(4, "2000Q3,-2,5"))
    with pytest.raises(DataError) as caught:
        make_dataset(read_series(path), [Observable("g", "y", "log_difference")], "2000Q2", "2000Q4")
    assert f"{path}, line 4, column y: -2 has no logarithm" in str(caught.value)


def test_a_series_without_values_is_refused(tmp_path):
    path = tmp_path / "raw.csv"
    path.write_text("date,y\n2000Q1,\n2000Q2,.\n2000Q3,1\n")
    with pytest.raises(DataError, match="no value in the sample"):
        make_dataset(read_series(path), [Observable("g", "y", "level")], "2000Q1", "2000Q2")


def test_observables_are_checked_when_declared():
    with pytest.raises(DataError, match="unknown transform 'logdiff'"):
        Observable("g", "y", "logdiff")
    with pytest.raises(DataError, match="scale"):
        Observable("g", "y", "level", 0.0)
    pair = [Observable("g", "GDPC1", "log_difference")] * 2
    with pytest.raises(DataError, match="declared twice"):
        make_dataset(load_series(SNAPSHOT), pair, "1966Q1", "2019Q4")


@pytest.mark.parametrize("text, number", [("1966Q1", 7864), ("1966-Q2", 7865), ("1966:q3", 7866), ("1966-10-01", 7867)])
def test_quarters_are_counted(text, number):
    assert parse_quarter(text) == number
