"""The numbers of others that this package reproduces, into ``docs/numbers.md``: target, ours, tolerance, command.

    python -m benchmarks.numbers [--tests tests/models tests/data]

runs the tests that compare with ``tests/helpers/golden.py`` and writes down what they found (some minutes of processor
time); with ``--tests`` those alone are run, and the rest stays as it was recorded.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pages import update_page
from estimhank.support.errors import EstimhankError
from estimhank.support.files import read_json, write_json
from tests.helpers import golden

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "docs" / "recorded" / "numbers.json"
PAGE = ROOT / "docs" / "numbers.md"
COMMAND = "python -m benchmarks.numbers"


def targets() -> dict[str, golden.Golden]:
    """Every golden number by name."""
    found = {}
    for name, value in vars(golden).items():
        if isinstance(value, golden.Golden):
            found[name] = value
        elif isinstance(value, dict):
            found |= {f"{name} {key}": item for key, item in value.items() if isinstance(item, golden.Golden)}
    # a number of this package's own guards against change and is no number of others
    return {name: item for name, item in found.items() if not item.origin.startswith("this package")}


def users() -> list[str]:
    """Tests that compare with golden numbers, and those whose fixtures or helpers do: the whole file then."""
    found = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "import golden" not in text or path.name == "test_numbers.py":
            continue
        name = path.relative_to(ROOT).as_posix()
        functions = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
        using = [node.name for node in functions if ".check(" in (ast.get_source_segment(text, node) or "")]
        tests = [f"{name}::{function}" for function in using if function.startswith("test_")]
        found += tests if len(tests) == len(using) else [name]
    return found


def measure(tests: list[str]) -> dict[str, dict[str, Any]]:
    """Run tests; what they found, by name.

    Raises
    ------
    EstimhankError
        If a test fails: a number that is not reproduced is not to be recorded.
    """
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "found"
        notes.touch()
        command = [sys.executable, "-m", "pytest", "-q", "-n0", "-m", "long or not long", *tests]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, golden.NOTES: str(notes)}, check=False)
        if done.returncode:
            raise EstimhankError("tests of golden numbers fail, so nothing was recorded: see above")
        lines = [json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines()]
    return {line["name"]: {"found": line["found"], "test": line["test"]} for line in lines}


def table(found: dict[str, dict[str, Any]]) -> str:
    """Rows by origin."""
    lines: list[str] = []
    by_origin: dict[str, list[str]] = {}
    for name, number in targets().items():
        if name not in found:
            continue
        ours, target = np.asarray(found[name]["found"], float), np.asarray(number.value, float)
        gap = float(np.max(np.abs(ours - target)))
        test = re.sub(r"\[.*\]", "", found[name]["test"])
        first = "" if target.size == 1 else f" (first of {target.size})"
        by_origin.setdefault(number.origin, []).append(
            f"| {words(name)} | {target.flat[0]:.10g}{first} | {ours.flat[0]:.10g} | {gap:.1e} | "
            f"{number.tolerance:.0e} | `{test}` |"
        )
    for origin, rows in by_origin.items():
        lines += [f"**{origin[0].upper()}{origin[1:]}**", ""]
        lines += [
            "| number | target | ours | largest difference | tolerance | test |",
            "|---|---:|---:|---:|---:|---|",
        ]
        lines += [*rows, ""]
    return "\n".join(lines).rstrip()


def words(name: str) -> str:
    """A constant's name in words, that of a series as it is."""
    head, _, series = name.partition(" ")
    text = head.replace("_", " ").lower()
    return f"{text[0].upper()}{text[1:]} {series}".strip()


def main() -> None:
    """Measure, record, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--tests", nargs="+", default=users(), help="files of tests; all that compare by default")
    arguments = parser.parse_args()
    recorded = read_json(RECORD)["numbers"] if RECORD.exists() else {}
    known = targets()
    found = {name: entry for name, entry in {**recorded, **measure(arguments.tests)}.items() if name in known}
    write_json(RECORD, {"command": COMMAND, "numbers": found})
    update_page(PAGE, "numbers", table(found), COMMAND)
    print(f"{len(found)} of {len(known)} numbers are in {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
