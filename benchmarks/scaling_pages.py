"""The tables of :mod:`benchmarks.scaling` in the documentation, from the CSV files that it wrote."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.pages import markdown_table, update_page

_OVERHEAD = {
    "workers": "workers", "points": "points of a batch", "evaluation_ms": "an evaluation, ms",
    "dispatch_ms": "dispatch, ms", "store_ms": "store, ms", "overhead_share": "overhead, share",
    "efficiency": "parallel efficiency", "ceiling": "of processes apart",
    "points_per_second": "evaluations a second",
}  # fmt: skip
_MODEL = {
    "workers": "workers", "points_per_worker": "points a worker", "useful_ms": "evaluating, ms",
    "barrier_ms": "waiting for the slowest, ms", "dispatch_ms": "dispatch, ms", "serial_ms": "main process alone, ms",
    "efficiency": "efficiency", "points_per_second": "evaluations a second",
}  # fmt: skip
_ALGORITHMS = {
    "algorithm": "algorithm", "proposals": "N", "evaluations": "evaluations", "effective_draws": "effective draws",
    "rao_blackwell_draws": "Rao–Blackwellised", "effective_per_iteration": "an iteration",
    "effective_per_evaluation": "an evaluation", "effective_per_second": "a second",
}  # fmt: skip
_STORE = {
    "evaluations": "evaluations", "file_gib": "file, GiB", "write_seconds": "writing, s", "read_seconds": "reading, s",
    "peak_gib": "peak memory of the reader, GiB",
}  # fmt: skip


def update_pages(results: Path, docs: Path) -> None:
    """Put what ``results`` holds into ``cluster.md`` and ``samplers.md``; parts that were not measured stay."""
    for name, page, columns in (
        ("overhead", "cluster.md", _OVERHEAD), ("model", "cluster.md", _MODEL), ("store", "cluster.md", _STORE),
        ("algorithms", "samplers.md", _ALGORITHMS),
    ):  # fmt: skip
        file = results / f"scaling_{name}.csv"
        if file.exists():
            text = markdown_table(file, columns)
            update_page(docs / page, name, text + (_gain(results) if name == "algorithms" else ""))


def _gain(results: Path) -> str:
    gain = json.loads((results / "scaling.json").read_text()).get("gain")
    if not gain:
        return ""
    fitted = f"{gain['intercept']:.3f} + {gain['slope_per_log_n']:.3f} log N"
    return (
        f"\n\nEffective draws an iteration of a chain, fitted to the multi-proposal rows: {fitted}.\n\n"
        "![Effective draws of multi-proposal by N](recorded/bench/scaling_algorithms.png)"
    )
