"""Tables of recorded results put between marks of Markdown pages, so that no figure there is typed by hand."""

from __future__ import annotations

import csv
import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from estimhank.run.manifest import collect_versions, describe_machine, now
from estimhank.support.errors import EstimhankError
from estimhank.support.files import read_text, write_json, write_text

#: Ending of the files in which benchmarks say when, how and on what they were made.
MADE = ".made.json"


def write_made(folder: Path, name: str, seconds: float) -> None:
    """Write down beside a benchmark's results how they were made: command, date, wall seconds, versions, machine.

    Without where they were written to: that is no part of what was computed, and may be a path of one machine.
    """
    module = sys.modules["__main__"].__spec__
    command = shlex.join(["python", "-m", module.name if module else "benchmarks", *without_folder(sys.argv[1:])])
    machine = {key: describe_machine(1, "")[key] for key in ("processor", "cores")}
    made = {"command": command, "date": now(), "seconds": round(seconds, 1), "versions": collect_versions()}
    write_json(folder / f"{name}{MADE}", {**made, "machine": machine})


def without_folder(arguments: Sequence[str]) -> list[str]:
    """Arguments of a command line without ``--out`` and its value."""
    return [
        argument
        for before, argument in zip(("", *arguments), arguments, strict=False)
        if "--out" not in (before, argument) and not argument.startswith("--out=")
    ]


def marks(name: str, command: str = "make record") -> tuple[str, str]:
    """The lines between which a page takes what is called ``name``, which ``command`` writes."""
    return f"<!-- {name}: written by `{command}` -->", f"<!-- end of {name} -->"


def update_page(page: Path, name: str, text: str, command: str = "make record") -> None:
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
