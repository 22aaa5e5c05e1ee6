"""Whole runs of one seed with different workers and backends, compared bit for bit.

Run by ``make places``. The first place is the one that the others are compared with: every file of the results, the
arrays of the evaluation store, and what the manifest says, times apart. Writes ``places.json``; the exit code is 1 if
anything differs. (The vectorised backend computes a batch as one program and agrees to 1e-8, which
``tests/posterior/test_vectorized.py`` holds to; interruptions are those of :mod:`benchmarks.kills`.)
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kills import differences, finish, launch
from benchmarks.pages import write_made
from estimhank.evaluation.store import FILE_NAME, read_evaluations
from estimhank.support.files import make_folder, write_json, write_text

#: Backend and workers.
PLACES = (("serial", 1), ("loky", 1), ("loky", 2), ("loky", 4), ("dask", 2))


def main() -> bool:
    """Run, compare, write; whether all are equal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="configs/us_hank.toml")
    parser.add_argument("--profile", default="smoke")
    parser.add_argument("--places", type=int, default=len(PLACES), help="only the first so many")
    parser.add_argument("--out", type=Path, default=Path("results/places"))
    options = parser.parse_args()
    begun = time.perf_counter()
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        first = Path(scratch) / "0"
        for number, (backend, workers) in enumerate(PLACES[: options.places]):
            folder = Path(scratch) / str(number)
            clock = time.perf_counter()
            process, _ = launch(options.config, options.profile, folder, (backend, workers), {})
            finish(process)
            wrong = differences(first, folder) if number else []
            stored = read_evaluations(folder / FILE_NAME)
            found.append(
                {
                    "backend": backend, "workers": workers, "differences": wrong, "evaluations": len(stored),
                    "largest_log_likelihood": float(np.nanmax(stored.log_likelihood)),
                    "seconds": round(time.perf_counter() - clock, 1),
                }
            )  # fmt: skip
            print(f"{backend}, {workers} workers: {'; '.join(wrong) or 'equal bit for bit'}", flush=True)
    equal = not any(place["differences"] for place in found)
    make_folder(options.out)
    write_json(options.out / "places.json", {"equal": equal, "places": found})
    lines = ["| backend | workers | evaluations | differences |", "|---|---:|---:|---|"]
    for place in found:
        words = ", ".join(place["differences"]) or "none"
        lines.append(f"| {place['backend']} | {place['workers']} | {place['evaluations']:,} | {words} |")
    write_text(options.out / "places.md", "\n".join(lines) + "\n")
    write_made(options.out, "places", time.perf_counter() - begun)
    return equal


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
