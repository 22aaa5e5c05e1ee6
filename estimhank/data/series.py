"""The sources of raw series behind one function: the snapshot, FRED, a CSV or Excel file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from estimhank.data.excel import EXCEL, OTHER_SHEETS, read_sheet
from estimhank.data.fred import FRED_SOURCES, load_fred
from estimhank.data.layout import csv_sheet
from estimhank.data.observables import Observable, rules_of, series_of
from estimhank.data.series_table import SeriesTable, parse_rows, to_quarters
from estimhank.support.errors import DataError, StorageError
from estimhank.support.files import expand_user, read_text, reading, sha256_of, sha256_of_file
from estimhank.support.shipped import bundled

__all__ = ["SNAPSHOT", "SOURCES", "SeriesTable", "load_series", "read_series"]

SNAPSHOT = "snapshot"
SNAPSHOT_FILE = "data/us_macro.csv"
SNAPSHOT_VINTAGE = "2026-06"

#: Sources that have a name; any other is the path of a file.
SOURCES = (SNAPSHOT, *FRED_SOURCES)


def load_series(
    source: str,
    folder: Path | str = ".",
    observables: Sequence[Observable] = (),
    vintage: str = "",
    sheet: str = "",
) -> SeriesTable:
    """Raw series from a source.

    Parameters
    ----------
    source : str
        ``"snapshot"`` for the values shipped with the package; ``"fred"`` for FRED with the key in ``FRED_API_KEY``;
        ``"fred-csv"`` for FRED's public files, without a key; ``"fred-cache"`` for what was retrieved before; otherwise
        the path of a CSV or Excel file.
    folder : path
        Folder that a relative path is relative to: that of the configuration file.
    observables : sequence of Observable
        Which series are wanted from FRED, and how monthly ones become quarterly.
    vintage : str
        ``"2024-02-01"``: values as they were known on that day, from ``"fred"`` or ``"fred-cache"``.
    sheet : str
        Sheet of an Excel file; the first where empty.

    Raises
    ------
    DataError
        If the source cannot be reached, or its content is not a table of quarterly or monthly numbers.
    """
    if vintage and source not in ("fred", "fred-cache"):
        raise DataError(
            f'the source "{source}" has no vintages: leave the vintage ({vintage}) out, or take source = "fred", '
            "which needs a key in FRED_API_KEY"
        )
    if sheet and Path(source).suffix.lower() not in EXCEL:
        raise DataError(f'the source "{source}" has no sheets, so the sheet "{sheet}" is not in it')
    rules = rules_of(observables)
    if source in FRED_SOURCES:
        return load_fred(source, series_of(observables), rules, vintage)
    if source == SNAPSHOT:
        table = read_series(bundled(SNAPSHOT_FILE), SNAPSHOT_FILE, rules)
        about = {**table.provenance, "source": SNAPSHOT, "file": SNAPSHOT_FILE, "vintage": SNAPSHOT_VINTAGE}
        return dataclasses.replace(table, provenance=about)
    path = Path(folder) / expand_user(source)
    with reading(path):  # a name that is too long, a folder that may not be looked into
        there = path.is_file()
    if not there:
        raise DataError(
            f'the data source {source} is not a file ({path}); "snapshot" is the one shipped with estimhank, '
            'and there are "fred", "fred-csv" and "fred-cache"'
        )
    if path.suffix.lower() in OTHER_SHEETS:
        raise DataError(f"{path} is a spreadsheet of a kind that is not read; save it as .xlsx or as a CSV file")
    if path.suffix.lower() not in EXCEL:
        return read_series(path, rules=rules)
    cells = read_sheet(path, sheet)
    about = {"source": "file", "file": path.name, "sha256": sha256_of_file(path)}
    return to_quarters(parse_rows(cells), cells, rules, about)


def read_series(path: Path | str, where: str | None = None, rules: Mapping[str, str] | None = None) -> SeriesTable:
    """Read a CSV file whose first column holds quarters or months and whose others hold one series each.

    Parameters
    ----------
    path : path
        File with a header line, comment lines that begin with # before it; dates as ``1966Q1``, ``1966-01`` or
        ``1966-01-01`` (:mod:`estimhank.data.quarters` knows more); missing values empty or ``.``; fields between
        commas, or between semicolons or tabs, then with decimal commas if need be (:mod:`estimhank.data.layout`).
    where : str, optional
        What messages call the file; its path by default.
    rules : mapping of str to str, optional
        How monthly columns become quarterly (:data:`estimhank.data.aggregation.AGGREGATES`); averaged where not said.

    Raises
    ------
    DataError
        Naming file, line and column: no header, a row with too few or too many fields, a date that is no quarter or
        month, dates that repeat, go back or leave a gap, text where a number belongs.
    """
    text = _csv_text(path)
    sheet = csv_sheet(text, where or str(path))
    about = {"source": "file", "file": Path(path).name, "sha256": sha256_of(text)}
    return to_quarters(parse_rows(sheet), sheet, rules or {}, about)


def _csv_text(path: Path | str) -> str:
    with reading(path):
        head = Path(path).read_bytes()[:8]
    if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise DataError(f"{path} is a spreadsheet under another name; save it as .xlsx or as a CSV file")
    try:
        return read_text(path)
    except StorageError as error:
        if isinstance(error.__cause__, UnicodeDecodeError):
            raise DataError(f"{path} is not UTF-8 text; save it as CSV with the encoding UTF-8") from None
        raise
