"""How tables are laid out in files: titles above the header, separators, decimal commas, blank columns.

What can be told from the rows without doubt is put straight here; whatever is left over is for
:func:`estimhank.data.series_table.parse_rows` to refuse.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence

from estimhank.data.quarters import is_date
from estimhank.data.series_table import Cell, Sheet
from estimhank.support.errors import DataError

Row = tuple[int, list[Cell]]

_SEPARATORS = (",", ";", "\t")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
_DECIMAL_POINT = re.compile(r"[+-]?\d*\.\d+(?:[eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+")


def csv_sheet(text: str, where: str) -> Sheet:
    """The rows of a CSV text: fields between commas, semicolons or tabs.

    Between semicolons and tabs, ``1,5`` is one and a half if the file has no decimal points and some value in it
    cannot be one with thousands separators. Comment lines (#) at the top are left out.
    """
    lines = text.splitlines(keepends=True)
    skipped = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    body = "".join(lines[skipped:])
    separator = _separator_of(body)
    rows = list(_rows_of(body, separator, skipped, where))
    return sheet_of(where, "line", rows if separator == "," else _with_points(rows), first_row=skipped + 1)


def _separator_of(text: str) -> str:
    """The separator that the first row with a date in front has; without such a row, that of the first line."""
    for line in text.splitlines():
        for separator in _SEPARATORS:
            first, found, _ = line.partition(separator)
            if found and is_date(first.strip().strip('"')):
                return separator
    head = next((line for line in text.splitlines() if line.strip()), "")
    return next((separator for separator in _SEPARATORS if separator in head), ",")


def _rows_of(text: str, separator: str, skipped: int, where: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    begun = skipped + 1
    try:
        for row in reader:
            begun = skipped + reader.line_num + 1
            if any(cell.strip() for cell in row):
                yield begun - 1, list(row)
    except csv.Error as error:
        raise DataError(f"{where}, line {begun}: {error}; is a quotation mark opened that is not closed?") from None


def _with_points(rows: Sequence[Row]) -> list[Row]:
    cells = [str(cell).strip() for _, row in rows for cell in row[1:]]
    commas = [cell for cell in cells if _DECIMAL_COMMA.fullmatch(cell)]
    if any(_DECIMAL_POINT.fullmatch(cell) for cell in cells) or all(_THOUSANDS.fullmatch(cell) for cell in commas):
        return list(rows)
    return [(number, [row[0], *(_with_point(cell) for cell in row[1:])]) for number, row in rows]


def _with_point(cell: Cell) -> Cell:
    text = str(cell).strip()
    return text.replace(",", ".") if _DECIMAL_COMMA.fullmatch(text) else cell


def sheet_of(where: str, word: str, rows: Sequence[Row], first_row: int = 1, pad: bool = False) -> Sheet:
    """Rows that are not blank as a sheet: the header found, titles above it and blank columns left out.

    The header is the fullest of the rows above the first one that begins with a date; without any date, the first row
    with two filled cells. A first column without a name that only counts rows, as pandas writes it, is left out too.

    Parameters
    ----------
    where, word : str
        As in :class:`estimhank.data.series_table.Sheet`.
    rows : sequence of (int, list of cells)
        Number and cells of every row that is not blank.
    first_row : int
        Number of the row where a header is missed if there is no row at all.
    pad : bool
        Whether rows may be shorter than the header, as those of a spreadsheet are.
    """
    if not rows:
        return Sheet(where, word, [], first_row, [])
    shift = _leading_columns(rows)
    rows = [(number, cells[shift:]) for number, cells in rows]
    top = _header_index(rows)
    number, head = rows[top]
    width = max((j + 1 for j, cell in enumerate(head) if not _is_blank(cell)), default=0)
    names, body = [str(cell).strip() for cell in head[:width]], [(n, _fit(cells, width, pad)) for n, cells in rows]
    body = body[top + 1 :]
    kept = [
        j
        for j, name in enumerate(names)
        if name or any(j < len(cells) and not _is_blank(cells[j]) for _, cells in body)
    ]
    if len(kept) < width:
        body = [(n, _take(cells, kept, width)) for n, cells in body]
    # a column without a name is called by its position
    header = [names[j] or str(j + 1 + shift) for j in kept]
    return Sheet(where, word, header, number, body)


def _leading_columns(rows: Sequence[Row]) -> int:
    """Columns in front of the dates that are blank, or that count rows under no name."""
    shift = 0
    widest = max(len(cells) for _, cells in rows)
    while shift < widest - 1 and all(_is_blank(cell) for _, cells in rows for cell in cells[shift : shift + 1]):
        shift += 1
    firsts = [cells[shift] if shift < len(cells) else "" for _, cells in rows]
    seconds = [cells[shift + 1] if shift + 1 < len(cells) else "" for _, cells in rows]
    counts = [str(cell).strip() for cell in firsts[1:]]
    if _is_blank(firsts[0]) and counts and all(c.removesuffix(".0").isdigit() for c in counts):
        numbers = [int(c.removesuffix(".0")) for c in counts]
        counting = numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        if counting and any(is_date(str(cell)) for cell in seconds[1:3]):
            shift += 1
    return shift


def _header_index(rows: Sequence[Row]) -> int:
    filled = [sum(not _is_blank(cell) for cell in cells) for _, cells in rows]
    dated = next((i for i, (_, cells) in enumerate(rows) if filled[i] > 1 and is_date(str(cells[0]))), 0)
    if dated:
        return filled.index(max(filled[:dated]))
    return next((i for i, number in enumerate(filled) if number > 1), 0)


def _fit(cells: list[Cell], width: int, pad: bool) -> list[Cell]:
    """Cells without blank ones beyond the header; with blank ones up to it where rows may be short."""
    cells = list(cells)
    while len(cells) > width and _is_blank(cells[-1]):
        cells.pop()
    return cells + [""] * (width - len(cells)) if pad else cells


def _take(cells: list[Cell], kept: Sequence[int], width: int) -> list[Cell]:
    return [cells[j] for j in kept if j < len(cells)] + cells[width:]


def _is_blank(cell: Cell) -> bool:
    return isinstance(cell, str) and not cell.strip()
