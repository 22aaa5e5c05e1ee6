"""Tables and the figure of the hold-out exercise."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from benchmarks.density_scores import CENTRAL, mean_error
from estimhank.report.style import EXACT, MODE, PRIOR, SURROGATE, figure_style
from estimhank.support.files import write_json, write_text

Array = NDArray[np.float64]
Scores = Mapping[str, Mapping[str, Array]]

#: Horizons that the page shows; bins of the histograms.
SHOWN, BINS = (1, 2, 4, 8), 10

_COLOURS = {"model": EXACT, "AR": PRIOR, "VAR": SURROGATE}

#: How the page shows the figure, where ``make record`` puts it.
FIGURE = "![Scores by horizon and histograms of the probability integral transform](recorded/holdout/holdout.png)"


def rows_of(found: Scores, names: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each series, horizon and forecaster: scores, differences of the model to it with standard errors."""
    rows = []
    for j, series in enumerate(names):
        for h in range(found["model"]["crps"].shape[1]):
            for name, kinds in found.items():
                at = {kind: values[:, h, j][~np.isnan(values[:, h, j])] for kind, values in kinds.items()}
                row: dict[str, Any] = {"series": series, "horizon": h + 1, "forecaster": name, "n": len(at["crps"])}
                row |= {"crps": at["crps"].mean(), "log_score": at["log score"].mean()}
                row["rmse"] = np.sqrt((at["error"] ** 2).mean())
                for p in CENTRAL:
                    row[f"inside_{100 * p:.0f}"] = (np.abs(at["pit"] - 0.5) <= p / 2).mean()
                for kind in ("crps", "log score"):
                    mine = found["model"][kind][:, h, j]
                    gap = mine[~np.isnan(mine)] - at[kind]
                    row[f"{kind.replace(' ', '_')}_gap"] = gap.mean()
                    row[f"{kind.replace(' ', '_')}_gap_error"] = mean_error(gap, h + 1)
                rows.append(row)
    return rows


def write(
    folder: Path,
    found: Scores,
    names: Sequence[str],
    labels: Sequence[str],
    origins: Sequence[str],
    sampling: Mapping[str, float],
) -> str:
    """``holdout.csv``, ``.json``, ``.md``, ``.png``; returns the text."""
    rows = rows_of(found, names)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    write_text(folder / "holdout.csv", stream.getvalue())
    write_json(folder / "holdout.json", {"first": origins[0], "last": origins[-1], **sampling})
    text = page(rows, labels, names, origins, sampling)
    write_text(folder / "holdout.md", text)
    with figure_style():
        figure = draw(found, rows, names, labels)
        figure.savefig(folder / "holdout.png", dpi=110)
        plt.close(figure)
    return text


def page(
    rows: Sequence[Mapping[str, Any]],
    labels: Sequence[str],
    names: Sequence[str],
    origins: Sequence[str],
    sampling: Mapping[str, float],
) -> str:
    """What the page says."""
    lines = [
        "| | quarters | CRPS: model | AR | VAR | log score: model | AR | VAR | in the 68 % band: model | AR | VAR |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for series, label in zip(names, labels, strict=True):
        for horizon in SHOWN:
            at = {r["forecaster"]: r for r in rows if r["series"] == series and r["horizon"] == horizon}
            cells = [f"{at['model']['crps']:.3f}"]
            cells += [f"{at[n]['crps']:.3f}{_mark(at[n], 'crps')}" for n in at if n != "model"]
            cells += [f"{at['model']['log_score']:.2f}"]
            cells += [f"{at[n]['log_score']:.2f}{_mark(at[n], 'log_score')}" for n in at if n != "model"]
            cells += [f"{100 * row['inside_68']:.0f} %" for row in at.values()]
            lines.append(f"| {label if horizon == SHOWN[0] else ''} | {horizon} | {' | '.join(cells)} |")
    first = (
        f"Forecasts with data to {origins[0]}, {origins[1]}, … {origins[-1]}; of the continuous ranked probability "
        "score less is better, of the log score more. A star: the difference to the model is more than two of its "
        "standard errors (Newey and West)."
    )
    last = (
        f"{sampling['points']:,} points for all posteriors: {sampling['effective_least']:.0f} of them effective at the "
        f"worst date, {sampling['effective_median']:.0f} at the median one; tail index of the weights "
        f"{sampling['largest_tail_index']:.2f} at most."
    )
    return "\n".join([first, "", *lines, "", last, "", FIGURE, ""])


def _mark(row: Mapping[str, Any], kind: str) -> str:
    return "*" if abs(row[f"{kind}_gap"]) > 2 * row[f"{kind}_gap_error"] > 0 else ""


def draw(found: Scores, rows: Sequence[Mapping[str, Any]], names: Sequence[str], labels: Sequence[str]) -> Any:
    """Scores by horizon, and histograms of the model's transforms one and four quarters ahead."""
    figure, axes = plt.subplots(3, len(names), figsize=(10, 7.2), layout="constrained", squeeze=False)
    horizons = np.arange(1, found["model"]["crps"].shape[1] + 1)
    for j, (series, label) in enumerate(zip(names, labels, strict=True)):
        for name in found:
            mine = [r for r in rows if r["series"] == series and r["forecaster"] == name]
            for axis, kind in ((axes[0, j], "crps"), (axes[1, j], "log_score")):
                axis.plot(horizons, [r[kind] for r in mine], "o-", ms=3, color=_COLOURS[name], label=name)
                axis.set_xlabel("quarters ahead")
        axes[0, j].set_title(label)
        axis = axes[2, j]
        for h, colour, shift in ((0, EXACT, -0.2), (3, MODE, 0.2)):
            values = found["model"]["pit"][:, h, j]
            share, edges = np.histogram(values[~np.isnan(values)], BINS, (0, 1))
            at = (edges[:-1] + edges[1:]) / 2 + shift * (edges[1] - edges[0])
            axis.bar(at, BINS * share / share.sum(), 0.38 / BINS, color=colour, label=f"{h + 1} ahead")
        axis.axhline(1, color=MODE, lw=0.7, ls=(0, (4, 2)))
        axis.set_xlabel("probability integral transform, model")
    for i, words in enumerate(("CRPS (less is better)", "log score (more is better)", "density")):
        axes[i, 0].set_ylabel(words)
        axes[i, -1].legend(fontsize=8)
    return figure
