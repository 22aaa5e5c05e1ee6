"""Tables of recorded results put between marks of Markdown pages, so that no figure there is typed by hand."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

from estimhank.errors import EstimhankError
from estimhank.files import read_text, write_text


def marks(name: str, command: str = "make bench") -> tuple[str, str]:
    """The lines between which a page takes what is called ``name``, which ``command`` writes."""
    return f"<!-- {name}: written by `{command}` -->", f"<!-- end of {name} -->"


def update_page(page: Path, name: str, text: str, command: str = "make bench") -> None:
    """Replace what stands between the marks of ``name`` on a page.

    Raises
    ------
    EstimhankError
        If the page has no such marks.
    """
    first, last = marks(name, command)
    before, mark, rest = read_text(page).partition(first)
    _, end, after = rest.partition(last)
    if not (mark and end):
        raise EstimhankError(f"{page} has no place for {name}: it needs the lines {first} and {last}")
    write_text(page, f"{before}{mark}\n\n{text}\n\n{end}{after}")


def markdown_table(file: Path, columns: Mapping[str, str]) -> str:
    """A CSV file as a Markdown table: ``columns`` maps its columns to headings; numbers to three digits."""
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    lines = [list(columns.values()), ["---:"] * len(columns)]
    lines += [[_shown(row.get(key, "")) for key in columns] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _shown(text: str) -> str:
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        return text
    return f"{number:,.0f}" if number == int(number) or abs(number) >= 1000 else f"{number:.3g}"
