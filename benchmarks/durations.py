"""How much processor time the tests take, file by file, from what the last `make test` left.

    python -m benchmarks.durations            # or `make durations`

Reads ``results/tests/junit.xml``; writes ``results/tests/durations.csv``, and the table in ``CONTRIBUTING.md``. Times
are those of the tests' own processes and of the children that they have waited for; compilation is in them, for
whichever test of a worker needs something first.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.pages import update_page
from estimhank.support.errors import EstimhankError
from estimhank.support.files import write_text

REPORT, TABLE, PAGE = Path("results/tests/junit.xml"), Path("results/tests/durations.csv"), Path("CONTRIBUTING.md")
_SHOWN = 12


def read_durations(report: Path) -> list[tuple[str, str, float]]:
    """File, test and processor seconds of every test in a report of pytest's."""
    if not report.is_file():
        raise EstimhankError(f"there is no {report}: run `make test` first")
    found = []
    for case in ElementTree.parse(report).iter("testcase"):
        seconds = [p.get("value") for p in case.iter("property") if p.get("name") == "processor_seconds"]
        if seconds:
            file = str(case.get("classname")).replace(".", "/") + ".py"
            found.append((file, str(case.get("name")), float(str(seconds[0]))))
    return found


def by_file(durations: list[tuple[str, str, float]]) -> list[tuple[str, int, float, str, float]]:
    """File, number of tests, processor seconds, its longest test and that one's seconds; longest file first."""
    groups: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for file, test, seconds in durations:
        groups[file].append((seconds, test))
    rows = []
    for file, tests in groups.items():
        most, longest = max(tests)
        rows.append((file, len(tests), sum(seconds for seconds, _ in tests), longest, most))
    return sorted(rows, key=lambda row: -row[2])


def markdown(rows: list[tuple[str, int, float, str, float]]) -> str:
    """The longest files, and all of them together."""
    lines = ["| file | tests | processor seconds | longest test |", "|---|---:|---:|---|"]
    lines += [
        f"| `{f}` | {n} | {s:.0f} | `{name.partition('[')[0]}`, {most:.0f} |" for f, n, s, name, most in rows[:_SHOWN]
    ]
    total = sum(row[2] for row in rows)
    return "\n".join([*lines, f"| all {len(rows)} files | {sum(row[1] for row in rows):,} | {total:.0f} | |"])


def main() -> None:
    """Write the table of all files, and the one on the page."""
    rows = by_file(read_durations(REPORT))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("file", "tests", "processor_seconds", "longest_test", "longest_seconds"))
    writer.writerows((f, n, f"{s:.2f}", name, f"{most:.2f}") for f, n, s, name, most in rows)
    write_text(TABLE, out.getvalue())
    update_page(PAGE, "durations", markdown(rows), "make durations")


if __name__ == "__main__":
    main()
