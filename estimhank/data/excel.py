"""Excel files as rows of cells."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from estimhank.data.layout import sheet_of
from estimhank.data.series_table import Cell, Sheet
from estimhank.support.errors import DataError, EstimhankError
from estimhank.support.extras import OPENPYXL
from estimhank.support.files import reading

#: Endings of the files that are read as Excel files.
EXCEL = frozenset({".xlsx", ".xlsm"})

#: Endings of spreadsheets that are not.
OTHER_SHEETS = frozenset({".xls", ".xlsb", ".ods", ".numbers"})


def read_sheet(path: Path, name: str = "") -> Sheet:
    """Read a sheet of an Excel file; the values that its formulas had when it was saved.

    Parameters
    ----------
    path : Path
        An ``.xlsx`` or ``.xlsm`` file. Titles above the header, blank rows and blank columns do no harm.
    name : str
        The sheet; the first where empty.

    Raises
    ------
    DataError
        If openpyxl is not installed, the file is not an Excel file, there is no such sheet, or a formula has no value.
    """
    try:
        import openpyxl  # an extra: only who has Excel files needs it
    except ImportError:
        raise DataError(f"{path} cannot be read. {OPENPYXL.sentence}; or save the sheet as a CSV file") from None

    def rows_of(values: bool) -> tuple[str, list[Sequence[Any]]]:
        with reading(path):
            book = openpyxl.load_workbook(path, read_only=True, data_only=values)
        try:
            title = _choose(path, [sheet.title for sheet in book.worksheets], name)
            return title, list(book[title].iter_rows(values_only=True))
        finally:
            book.close()

    try:
        title, rows = rows_of(values=True)
        where = f"{path}, sheet {title}"
        if any(cell is None for row in rows for cell in row):
            _refuse_uncomputed(where, rows, rows_of(values=False)[1])
    except EstimhankError:
        raise
    except Exception:  # what openpyxl, zip files and XML raise at files that are damaged or of another kind has no end
        raise DataError(
            f"{path} is not an Excel file, or a damaged one; save it again as .xlsx or as a CSV file"
        ) from None
    filled = [(n, [cell_of(v) for v in row]) for n, row in enumerate(rows, 1) if not all(map(_is_blank, row))]
    return sheet_of(where, "row", filled, pad=True)


def _choose(path: Path, titles: Sequence[str], name: str) -> str:
    if not titles:
        raise DataError(f"{path} has no sheet with cells")
    if name and name not in titles:
        near = get_close_matches(name, titles, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(titles)}"
        raise DataError(f"{path} has no sheet '{name}': {hint}")
    return name or titles[0]


def _refuse_uncomputed(where: str, values: Sequence[Sequence[Any]], formulas: Sequence[Sequence[Any]]) -> None:
    """A formula that no spreadsheet has computed yet would pass for a missing value."""
    for number, (row, wrote) in enumerate(zip(values, formulas, strict=False), 1):
        for j, (value, written) in enumerate(zip(row, wrote, strict=False)):
            if value is None and isinstance(written, str) and written.startswith("="):
                raise DataError(
                    f"{where}, row {number}, column {_letters(j)}: the formula '{written}' has no value yet; open the "
                    "file in a spreadsheet and save it"
                )


def _letters(j: int) -> str:
    """What a spreadsheet calls its column ``j``, counted from 0."""
    return (_letters(j // 26 - 1) if j >= 26 else "") + chr(ord("A") + j % 26)


def cell_of(value: Any) -> Cell:
    """A value of a spreadsheet or a data frame as a cell: numbers stay numbers, days become ISO dates."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ") if value.time() != datetime.time() else value.date().isoformat()
    if isinstance(value, datetime.date):
        return value.isoformat()
    return str(value)


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())
