"""Damaged inputs by the hundred thousand: each is read, or ends in one of the package's own errors.

Run by ``make fuzz``. Configurations, data, evaluation stores and files of a results folder are damaged
(:mod:`benchmarks.fuzz_inputs`) and read as a run reads them. Found wrong is

* an exception that is none of :class:`estimhank.support.errors.EstimhankError`,
* an error whose message is not one line,
* a process that dies, or that does not come back within :data:`PATIENCE` seconds.

Every input is known by its kind and number: ``python -m benchmarks.fuzz --kind csv --first 4711 --count 1 --here``
reads one of them in this process and keeps it in the folder of results. Writes ``fuzz.json`` and ``fuzz.csv``; the exit
code is 1 if anything was found. Kinds that read files of a run take them from a finished one (``--run``).
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import fuzz_readers
from benchmarks.fuzz_inputs import (
    Random,
    damage_bytes,
    damage_csv,
    damage_json,
    damage_netcdf,
    damage_store,
    damage_toml,
)
from benchmarks.pages import write_made
from estimhank.support.errors import EstimhankError
from estimhank.support.files import make_folder, write_json, write_text

#: Seconds that an input may take.
PATIENCE = 300.0
#: Inputs of one process.
_CHUNK = 2_000
#: Memory that a process may have, in bytes: what a damaged length asks for is refused and not given.
_MEMORY = 6 << 30


class Subject(NamedTuple):
    """A kind of input: how many of a hundred thousand, what whole ones are, how they are damaged, who reads them."""

    share: int
    whole: Callable[[Path], list[bytes]]
    damage: Callable[[Random, bytes], bytes]
    read: Callable[[Path], object]
    file: str


_NET = "surrogate.npz"

SUBJECTS: dict[str, Subject] = {
    "configuration": Subject(24_000, fuzz_readers.configurations, damage_toml, fuzz_readers.read_config, "run.toml"),
    "tables": Subject(20_000, fuzz_readers.tables, damage_json, fuzz_readers.read_tables, "tables.json"),
    "global configuration": Subject(5_000, fuzz_readers.economies, damage_toml, fuzz_readers.read_global, "k.toml"),
    "scenario": Subject(5_000, fuzz_readers.scenarios, damage_toml, fuzz_readers.read_scenario, "scenario.toml"),
    "point": Subject(3_000, fuzz_readers.points, damage_json, fuzz_readers.read_point, "point.json"),
    "csv": Subject(20_700, fuzz_readers.series, damage_csv, fuzz_readers.read_series, "series.csv"),
    "excel": Subject(300, fuzz_readers.workbooks, damage_bytes, fuzz_readers.read_workbook, "series.xlsx"),
    "store": Subject(10_000, fuzz_readers.stores, damage_store, fuzz_readers.read_store, "evaluations.bin"),
    "data.csv": Subject(3_000, fuzz_readers.part("data.csv"), damage_csv, fuzz_readers.read_data, "data.csv"),
    "manifest": Subject(5_000, fuzz_readers.part("manifest.json"), damage_json, fuzz_readers.read_run, "manifest.json"),
    "mode": Subject(3_000, fuzz_readers.part("mode.json"), damage_json, fuzz_readers.read_mode, "mode.json"),
    "surrogate": Subject(700, fuzz_readers.part(_NET), damage_bytes, fuzz_readers.read_network, _NET),
    "posterior": Subject(300, fuzz_readers.draws, damage_netcdf, fuzz_readers.read_draws, "posterior.nc"),
}  # fmt: skip


def make_input(subject: Subject, kind: str, number: int, whole: Sequence[bytes]) -> bytes:
    """The input of a number, the same wherever it is made."""
    rng = np.random.default_rng([*kind.encode(), number])
    return subject.damage(rng, whole[number % len(whole)])


def wrong_with(subject: Subject, path: Path) -> tuple[str, str]:
    """How reading ended (``"read"``, or an error's name), and what was wrong with that, if anything."""
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            subject.read(path)
    except EstimhankError as error:
        said = str(error)
        broken = "\n" in said or "\r" in said or not said.strip()
        return type(error).__name__, f"not one line: {said[:200]!r}" if broken else ""
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)
        own = [f for f in where if "estimhank" in Path(f.filename).parts and "benchmarks" not in Path(f.filename).parts]
        place = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
        return type(error).__name__, f"{type(error).__name__} from {place}: {str(error)[:160]}"
    return "read", ""


def read_chunk(kind: str, first: int, count: int, run: Path, out: Path) -> None:
    """Read inputs in this process; progress and findings go into a file, a line an input that ended badly."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    subject = SUBJECTS[kind]
    whole = subject.whole(run)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch, out.open("a", buffering=1) as lines:
        fuzz_readers.prepare(kind, run, Path(scratch))
        path = Path(scratch) / subject.file
        for number in range(first, first + count):
            lines.write(json.dumps({"at": number}) + "\n")
            path.unlink(missing_ok=True)
            path.write_bytes(make_input(subject, kind, number, whole))
            ended, wrong = wrong_with(subject, path)
            counts[ended] += 1
            if wrong:
                lines.write(json.dumps({"number": number, "wrong": wrong}) + "\n")
        lines.write(json.dumps({"counts": counts}) + "\n")


def watch(kind: str, first: int, count: int, run: Path, scratch: Path) -> tuple[Counter[str], list[dict[str, Any]]]:
    """Read a chunk in a process of its own, and the rest of it in another where that dies or hangs."""
    counts: Counter[str] = Counter()
    wrong: list[dict[str, Any]] = []
    end = first + count
    while first < end:
        report = scratch / "report"
        report.unlink(missing_ok=True)
        command = [sys.executable, "-m", "benchmarks.fuzz", "--kind", kind, "--first", str(first), "--child"]
        command += ["--count", str(end - first), "--run", str(run), "--out", str(report)]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        how = _wait(child, report)
        lines = [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []
        wrong += [{"kind": kind, **line} for line in lines if "wrong" in line]
        if how == "" and lines and "counts" in lines[-1]:
            counts.update(lines[-1]["counts"])
            return counts, wrong
        if not lines:
            errors = child.stderr.read() if child.stderr else ""
            raise EstimhankError(f"the process that reads {kind} does not come up: {errors[-300:]}")
        at = max(line["at"] for line in lines if "at" in line)
        last = (child.stderr.read() if child.stderr else "").strip().rpartition("\n")[2]
        wrong.append({"kind": kind, "number": at, "wrong": f"{how}; {last[:160]}"})
        counts["read"] += at - first  # or ended in an error of the package: the process did not live to tell
        counts["died"] += 1
        first = at + 1
    return counts, wrong


def _wait(child: subprocess.Popen[str], report: Path) -> str:
    """Wait for a process that is to show progress; what kept it from that."""
    size, moved = -1, time.monotonic()
    while child.poll() is None:
        time.sleep(0.05)
        now = report.stat().st_size if report.exists() else 0
        if now != size:
            size, moved = now, time.monotonic()
        elif time.monotonic() - moved > PATIENCE:
            child.kill()
            child.wait()
            return f"no end within {PATIENCE:.0f} s"
    return f"the process ended with {child.returncode}" if child.returncode else ""


def main(arguments: Sequence[str] | None = None) -> bool:
    """Read them all; whether nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000, help="of all kinds together")
    parser.add_argument("--kind", nargs="+", default=list(SUBJECTS), choices=SUBJECTS)
    parser.add_argument("--first", type=int, default=0, help="number of the first input of each kind")
    parser.add_argument("--count", type=int, help="inputs of each kind, instead of its share")
    parser.add_argument("--run", type=Path, default=Path("results/us_hank"), help="a finished run")
    parser.add_argument("--out", type=Path, default=Path("results/fuzz"))
    parser.add_argument("--here", action="store_true", help="in this process, with traceback")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        read_chunk(options.kind[0], options.first, options.count, options.run, options.out)
        return True
    make_folder(options.out)
    if options.here:
        return read_here(options.kind, options.first, options.count or 1, options.run, options.out)
    begun, found, table = time.perf_counter(), [], []
    with tempfile.TemporaryDirectory() as scratch:
        for kind in options.kind:
            number = options.count or round(SUBJECTS[kind].share * options.inputs / 100_000)
            counts: Counter[str] = Counter()
            for first in range(options.first, options.first + number, _CHUNK):
                count = min(_CHUNK, options.first + number - first)
                ended, wrong = watch(kind, first, count, options.run.absolute(), Path(scratch))
                counts += ended
                found += wrong
            table.append({"kind": kind, "inputs": number, "ended": dict(counts.most_common())})
            print(f"{kind}: {number:,} inputs, {dict(counts.most_common())}", flush=True)
    for wrong_one in found[:40]:
        print(f"WRONG {wrong_one['kind']} {wrong_one['number']}: {wrong_one['wrong']}")
    total = sum(row["inputs"] for row in table)
    write_json(options.out / "fuzz.json", {"inputs": total, "wrong": found, "kinds": table})
    rows: list[list[Any]] = []
    for row in table:
        bad = sum(w["kind"] == row["kind"] for w in found)
        read = row["ended"].get("read", 0)
        rows.append([row["kind"], row["inputs"], read, row["inputs"] - read - bad, bad])
    text = io.StringIO()
    csv.writer(text).writerows([["kind", "inputs", "read", "refused", "wrong"], *rows])
    write_text(options.out / "fuzz.csv", text.getvalue())
    rows.append(["together", *(sum(row[k] for row in rows) for k in range(1, 5))])
    lines = ["| kind | inputs | read | refused in a sentence | wrong |", "|---|---:|---:|---:|---:|"]
    lines += ["| " + " | ".join([row[0], *(f"{number:,}" for number in row[1:])]) + " |" for row in rows]
    write_text(options.out / "fuzz.md", "\n".join(lines) + "\n")
    write_made(options.out, "fuzz", time.perf_counter() - begun)
    print(f"{total:,} inputs, {len(found)} of them ended wrong")
    return not found


def read_here(kinds: Sequence[str], first: int, count: int, run: Path, out: Path) -> bool:
    """Read inputs in this process, with the traceback of what is raised; they stay in ``out``."""
    for kind in kinds:
        subject = SUBJECTS[kind]
        whole = subject.whole(run)
        fuzz_readers.prepare(kind, run, out)
        for number in range(first, first + count):
            path = out / subject.file
            path.write_bytes(make_input(subject, kind, number, whole))
            print(f"{kind} {number}: {path}, {path.stat().st_size:,} bytes")
            with contextlib.suppress(EstimhankError):
                subject.read(path)
    return True


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    try:
        sys.exit(0 if main() else 1)
    except EstimhankError as error:
        raise SystemExit(f"fuzz: {error}") from None
