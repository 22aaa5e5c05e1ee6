"""Tables that write themselves as CSV (full precision), LaTeX (booktabs) and HTML."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from estimhank.report.math_html import latex_to_html

_LATEX_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$",
    "±": r"$\pm$", "−": "$-$", "–": "--",
    "R̂": r"$\hat R$", "k̂": r"$\hat k$", "∞": r"$\infty$", "β": r"$\beta$", "π": r"$\pi$", "α": r"$\alpha$",
    "\u2009": r"\,", "\xa0": "~",
}  # fmt: skip


@dataclass(frozen=True)
class Symbol:
    """A cell or heading that is a symbol: LaTeX where it can be set, the plain name in a CSV file."""

    name: str
    latex: str = ""


@dataclass(frozen=True)
class Column:
    """One column: key in the CSV file, heading for people, group heading above it, and how its cells are printed.

    ``latex`` sets the heading as a symbol. ``format`` turns a cell into text for people; columns without one hold text.
    ``show`` is false for columns that only the CSV file has.
    """

    key: str
    heading: str = ""
    group: str = ""
    format: Callable[[Any], str] | None = None
    show: bool = True
    latex: str = ""

    @property
    def numeric(self) -> bool:
        """Whether cells are set flush right."""
        return self.format is not None


@dataclass(frozen=True)
class Table:
    """A table with a caption and notes; ``rows`` hold raw values, one a column."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    notes: str = ""
    emphasis: Callable[[str, Any], str] | None = None

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.name}: {len(row)} cells for {len(self.columns)} columns")

    def to_csv(self) -> str:
        """CSV text, headings are the columns' keys, floats with all their digits."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([column.key for column in self.columns])
        for row in self.rows:
            writer.writerow([_plain(cell) for cell in row])
        return stream.getvalue()

    def to_latex(self) -> str:
        """A LaTeX ``tabular`` (package booktabs) with its caption and notes as comments above it."""
        shown = [i for i, column in enumerate(self.columns) if column.show]
        columns = [self.columns[i] for i in shown]
        spec = "".join("r" if column.numeric else "l" for column in columns)
        lines = [f"% {_latex_comment(text)}" for text in (self.caption, self.notes) if text]
        lines += [f"\\begin{{tabular}}{{{spec}}}", "\\toprule"]
        if any(column.group for column in columns):
            lines += _latex_groups(columns)
        lines += [" & ".join(_latex_heading(column) for column in columns) + r" \\", r"\midrule"]
        for row in self.rows:
            cells = [_latex_cell(self.columns[i], row[i]) for i in shown]
            lines.append(" & ".join(cells) + r" \\")
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])

    def to_html(self, number: int | None = None) -> str:
        """An HTML ``table`` with caption, column groups and notes."""
        shown = [i for i, column in enumerate(self.columns) if column.show]
        columns = [self.columns[i] for i in shown]
        label = f"<b>Table {number}.</b> " if number is not None else ""
        lines = [f'<figure class="table" id="table-{self.name}"><div class="scroll"><table>']
        lines.append(f"<caption>{label}{escape_html(self.caption)}</caption><thead>")
        if any(column.group for column in columns):
            cells = [
                f'<th scope="colgroup" colspan="{n}"{" class=grouped" if group else ""}>{escape_html(group)}</th>'
                for group, n in _runs(columns)
            ]
            lines.append(f"<tr>{''.join(cells)}</tr>")
        heads = [f'<th scope="col"{_numeric(c)}>{_html_heading(c)}</th>' for c in columns]
        lines.append(f"<tr>{''.join(heads)}</tr></thead><tbody>")
        for row in self.rows:
            cells = []
            for position, i in enumerate(shown):
                column, cell = self.columns[i], row[i]
                tag, scope = ("th", ' scope="row"') if position == 0 else ("td", "")
                css = _numeric(column, self.emphasis(column.key, cell) if self.emphasis else "")
                cells.append(f"<{tag}{scope}{css}>{_html_cell(column, cell)}</{tag}>")
            lines.append(f"<tr>{''.join(cells)}</tr>")
        lines.append("</tbody></table></div>")
        if self.notes:
            lines.append(f'<p class="notes">{escape_html(self.notes)}</p>')
        return "\n".join([*lines, "</figure>"])


def escape_html(text: str) -> str:
    """Text with HTML's special characters made harmless, and no line break before a unit or around a plus-minus."""
    return html.escape(text).replace(" %", "\xa0%").replace(" ± ", "\xa0±\xa0")


def escape_latex(text: str) -> str:
    """Text with LaTeX's special characters made harmless, and the few symbols used here turned into mathematics."""
    for combined in ("R̂", "k̂"):  # two code points each
        text = text.replace(combined, {"R̂": "\ue000", "k̂": "\ue001"}[combined])
    special = {**_LATEX_SPECIAL, "\ue000": _LATEX_SPECIAL["R̂"], "\ue001": _LATEX_SPECIAL["k̂"]}
    return "".join(special.get(character, character) for character in text)


def _plain(cell: Any) -> str:
    if isinstance(cell, Symbol):
        return cell.name
    if cell is None:
        return ""
    if isinstance(cell, float):
        return repr(float(cell))
    return str(cell)


def _text(column: Column, cell: Any) -> str:
    if cell is None:
        return ""
    return column.format(cell) if column.format is not None else str(cell)


def _html_cell(column: Column, cell: Any) -> str:
    if isinstance(cell, Symbol):
        return latex_to_html(cell.latex, cell.name)
    text = escape_html(_text(column, cell))
    return text.replace("-", "−") if column.numeric else text


def _latex_cell(column: Column, cell: Any) -> str:
    if isinstance(cell, Symbol):
        return f"${cell.latex}$" if cell.latex else f"\\texttt{{{escape_latex(cell.name)}}}"
    text = _text(column, cell)
    return escape_latex(text.replace("-", "−") if column.numeric else text)


def _html_heading(column: Column) -> str:
    heading = column.heading or column.key
    return latex_to_html(column.latex, heading) if column.latex else escape_html(heading)


def _latex_heading(column: Column) -> str:
    heading = f"${column.latex}$" if column.latex else escape_latex(column.heading or column.key)
    return f"\\multicolumn{{1}}{{c}}{{{heading}}}" if column.numeric else heading


def _latex_groups(columns: Sequence[Column]) -> list[str]:
    cells, rules, start = [], [], 1
    for group, n in _runs(columns):
        cells.append(f"\\multicolumn{{{n}}}{{c}}{{{escape_latex(group)}}}" if group else " & " * (n - 1))
        if group:
            rules.append(f"\\cmidrule(lr){{{start}-{start + n - 1}}}")
        start += n
    return [" & ".join(cells) + r" \\", " ".join(rules)]


def _latex_comment(text: str) -> str:
    return " ".join(text.split())


def _runs(columns: Sequence[Column]) -> list[tuple[str, int]]:
    runs: list[tuple[str, int]] = []
    for column in columns:
        if runs and runs[-1][0] == column.group:
            runs[-1] = (column.group, runs[-1][1] + 1)
        else:
            runs.append((column.group, 1))
    return runs


def _numeric(column: Column, extra: str = "") -> str:
    classes = " ".join(c for c in ("num" if column.numeric else "", extra) if c)
    return f' class="{classes}"' if classes else ""
