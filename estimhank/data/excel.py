"""Excel files as rows of cells."""

from __future__ import annotations

import datetime
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from estimhank.data.table import Cell, Sheet
from estimhank.errors import DataError
from estimhank.files import reading

#: Endings of the files that are read as Excel files.
EXCEL = frozenset({".xlsx", ".xlsm"})


def read_sheet(path: Path, name: str = "") -> Sheet:
    """Read a sheet of an Excel file; the values that its formulas had when it was saved.

    Parameters
    ----------
    path : Path
        An ``.xlsx`` or ``.xlsm`` file. Its first row with two or more filled cells is the header; titles above it,
        blank rows and blank columns on the right do no harm.
    name : str
        The sheet; the first where empty.

    Raises
    ------
    DataError
        If openpyxl is not installed, the file is not an Excel file, or there is no such sheet.
    """
    try:
        import openpyxl  # an extra: only who has Excel files needs it
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError:
        raise DataError(
            f"reading {path} needs openpyxl: pip install 'estimhank[excel]', or save the sheet as a CSV file"
        ) from None
    try:
        with reading(path):
            book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError):
        raise DataError(f"{path} is not an Excel file; save it again as .xlsx or as a CSV file") from None
    try:
        if name and name not in book.sheetnames:
            near = get_close_matches(name, book.sheetnames, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(book.sheetnames)}"
            raise DataError(f"{path} has no sheet '{name}': {hint}")
        chosen = book[name] if name else book.worksheets[0]
        return _sheet_of(f"{path}, sheet {chosen.title}", chosen.iter_rows(values_only=True))
    finally:
        book.close()


def _sheet_of(where: str, rows: Iterable[Sequence[Any]]) -> Sheet:
    filled = [(number, row) for number, row in enumerate(rows, 1) if any(not _is_blank(cell) for cell in row)]
    start = next((i for i, (_, row) in enumerate(filled) if sum(not _is_blank(cell) for cell in row) > 1), 0)
    if not filled:
        return Sheet(where, "row", [], 1, [])
    header_row, head = filled[start]
    width = max(j + 1 for j, cell in enumerate(head) if not _is_blank(cell))
    header = ["" if cell is None else str(cell) for cell in head[:width]]
    return Sheet(where, "row", header, header_row, list(_rows_of(filled[start + 1 :], width)))


def _rows_of(rows: Iterable[tuple[int, Sequence[Any]]], width: int) -> Iterator[tuple[int, list[Cell]]]:
    for number, row in rows:
        beyond = [cell for cell in row[width:] if not _is_blank(cell)]
        cells = [cell_of(cell) for cell in (*row[:width], *beyond)]
        yield number, cells + [""] * (width - len(cells))


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
