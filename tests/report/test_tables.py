"""Tables as CSV, LaTeX and HTML."""

from __future__ import annotations

import csv
import io
import math

import pytest

from estimhank.report.tables import Column, Symbol, Table, escape_html, escape_latex

TABLE = Table(
    "demo",
    "A caption with 5 % & more",
    (
        Column("name", "Parameter"),
        Column("hidden", show=False),
        Column("value", "Value", "Group", lambda v: f"{v:.2f}"),
        Column("spread", "R̂", "Group", lambda v: f"{v:.1f}"),
        Column("note"),
    ),
    (
        (Symbol("a_b", r"\alpha_b"), 1 / 3, -1.005, math.nan, "x < y & z"),
        (Symbol("plain"), None, 2.0, 1.5, "100 %"),
    ),
    "Notes.",
    lambda key, cell: "outside" if key == "value" and cell < 0 else "",
)


def test_csv_keeps_every_digit_and_every_column() -> None:
    rows = list(csv.DictReader(io.StringIO(TABLE.to_csv())))
    assert [row["name"] for row in rows] == ["a_b", "plain"]
    assert float(rows[0]["hidden"]) == 1 / 3 and rows[1]["hidden"] == ""
    assert math.isnan(float(rows[0]["spread"])) and rows[0]["note"] == "x < y & z"


def test_latex_has_as_many_cells_as_columns_and_no_loose_special_characters() -> None:
    latex = TABLE.to_latex()
    body = [line for line in latex.splitlines() if line.endswith(r"\\") and "multicolumn{2}" not in line]
    assert all(line.count(" & ") == 3 for line in body)
    assert r"\begin{tabular}{lrrl}" in latex and r"\cmidrule(lr){2-3}" in latex
    assert r"$\alpha_b$ & $-$1.00 & nan & x $<$ y \& z \\" in latex
    assert r"\texttt{plain}" in latex and r"\multicolumn{1}{c}{$\hat R$}" in latex
    assert latex.startswith("% A caption")


def test_html_marks_headings_numbers_and_figures_that_stand_out() -> None:
    page = TABLE.to_html(3)
    assert "<caption><b>Table 3.</b> A caption with 5\xa0% &amp; more</caption>" in page
    assert '<th scope="colgroup" colspan="2" class=grouped>Group</th>' in page
    assert '<th scope="row"><i>α</i><sub><i>b</i></sub></th>' in page
    assert '<td class="num outside">−1.00</td>' in page and "x &lt; y &amp; z" in page
    assert "hidden" not in page


def test_a_row_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="table demo: 2 cells for 5 columns"):
        Table("demo", "", TABLE.columns, (("a", 1),))


def test_escapes() -> None:
    assert escape_latex(r"50 % \ {a_b} ~^ R̂ ± ∞") == (
        r"50 \% \textbackslash{} \{a\_b\} \textasciitilde{}\textasciicircum{} $\hat R$ $\pm$ $\infty$"
    )
    assert escape_html("<1 ± 2 %>") == "&lt;1\xa0±\xa02\xa0%&gt;"
