"""Figures in Markdown pages: written by the benchmark that measures them, never typed."""

from __future__ import annotations

from pathlib import Path

from estimhank.errors import EstimhankError
from estimhank.files import read_text, write_text


def update_page(page: Path, text: str, marks: tuple[str, str]) -> None:
    """Replace what stands between two marks of a Markdown page.

    Raises
    ------
    EstimhankError
        If the page does not have both marks.
    """
    before, mark, rest = read_text(page).partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not (mark and end):
        raise EstimhankError(f"{page} has no place for the tables: it needs the lines {marks[0]} and {marks[1]}")
    write_text(page, f"{before}{mark}\n\n{text}\n\n{end}{after}")
