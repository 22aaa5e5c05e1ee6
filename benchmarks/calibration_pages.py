"""Tables and the figure of :mod:`benchmarks.calibration`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from benchmarks.ranks import DRAWS, Judged, bands
from estimhank.report.style import EXACT, PRIOR, figure_style

#: How the page shows the figure, where ``make record`` puts it.
FIGURE = "![Ranks of the truth, distribution function less the uniform one](recorded/calibration/calibration.png)"


def markdown(rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> str:
    """Recovery and ranks for a page."""
    n = summary["replications"]
    lines = [
        f"{n} replications of `{summary['configuration']}`, {summary['converged']} of which converged, "
        f"{summary['certificates_passed']} with a certificate, {len(summary['refused'])} ended with an error; "
        f"{summary['seconds']:.0f} s each (median). **{summary['verdict'].capitalize()}.**", "",
        "| | mean of z | s.d. | largest | in 90 % | contraction | p, coverage | p, ranks | p, chi-square |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]  # fmt: skip
    for row in rows:
        values = [f"{row[k]:.2f}" for k in ("z_mean", "z_sd", "z_largest")] + [f"{row['covered_90']:.0%}"]
        values += [f"{row[k]:.2f}" for k in ("contraction", "p_coverage", "p_rank", "p_chi_square")]
        cells = ["" if "nan" in value else value.replace("%", " %") for value in values]
        name = row["quantity"]
        lines.append("| " + " | ".join([name if " " in name else f"`{name}`", *cells]) + " |")
    lines += ["", *(f"* {words}" for words in summary["refused"]), "", FIGURE]
    return "\n".join(lines).strip() + "\n"


def draw(judged: Sequence[Judged], file: Path) -> None:
    """Distribution functions of the ranks less the uniform one, with simultaneous bands of 95 %."""
    columns = 4
    rows = -(-len(judged) // columns)
    z = np.arange(1, DRAWS + 1) / (DRAWS + 1)
    with figure_style():
        size = (10, 1.75 * rows + 0.3)
        figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False, sharey=True)
        for axis in axes.flat:
            axis.set_axis_off()
        for q, axis in zip(judged, axes.flat, strict=False):
            axis.set_axis_on()
            n = len(q.ranks)
            low, high = bands(n)
            below = np.searchsorted(np.sort(q.ranks), np.arange(1, DRAWS + 1), side="left") / n
            axis.fill_between(z, low - z, high - z, color=PRIOR, alpha=0.3, lw=0, step="mid")
            axis.step(z, below - z, color=EXACT, where="mid")
            axis.set(title=q.name, xlim=(0, 1))
        figure.savefig(file, metadata={"Software": None})
        plt.close(figure)
