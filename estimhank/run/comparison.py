"""Models against each other by their evidence: ``run.compare(other)`` and ``estimhank compare A B``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy.special import logsumexp

from estimhank.analysis.inference_data import draws_of
from estimhank.evidence.estimates import Evidence
from estimhank.run.evidence import evidence_of
from estimhank.support.errors import ResultsError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from estimhank.report.style import ReportFigure
    from estimhank.run.results import Run

Array = NDArray[np.float64]

_LEVELS = (0.05, 0.5, 0.95)
_SURE = 3.0  # standard errors from which a difference is one


@dataclass(frozen=True)
class Comparison:
    """Several models of the same data.

    Attributes
    ----------
    labels : tuple of str
    evidence : tuple of Evidence
    quantiles : tuple of dict of str to tuple of float
        By model and parameter: 5, 50 and 95 percent of the exact posterior.
    """

    labels: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    quantiles: tuple[dict[str, tuple[float, ...]], ...]

    @property
    def probabilities(self) -> Array:
        """Of the models, if each was as likely as any other before the data."""
        logs = np.array([one.log_evidence for one in self.evidence])
        found: Array = np.exp(logs - logsumexp(logs))
        return found

    def table(self) -> pd.DataFrame:
        """A row for each model: log marginal likelihood, standard error, difference to the best, probability."""
        logs = np.array([one.log_evidence for one in self.evidence])
        return pd.DataFrame(
            {
                "model": self.labels,
                "log_marginal_likelihood": logs,
                "standard_error": [one.standard_error for one in self.evidence],
                "difference": logs - logs.max(),
                "probability": self.probabilities,
                "doubts": [len(one.doubts) for one in self.evidence],
            }
        )

    def parameters(self) -> pd.DataFrame:
        """Parameters by name: median and the ends of the 90 % band in each model that has them."""
        names = list(dict.fromkeys(name for one in self.quantiles for name in one))
        rows = []
        for name in names:
            row: dict[str, object] = {"parameter": name}
            for label, one in zip(self.labels, self.quantiles, strict=True):
                for level, value in zip(("5%", "median", "95%"), one.get(name, (math.nan,) * 3), strict=True):
                    row[f"{label}, {level}"] = value
            rows.append(row)
        return pd.DataFrame(rows)

    @property
    def dataset(self) -> xr.Dataset:
        """The same by ``model``; quantiles by ``model``, ``parameter`` and ``quantile``, nan where there is none."""
        found: xr.Dataset = self.table().set_index("model").to_xarray()
        names = list(dict.fromkeys(name for one in self.quantiles for name in one))
        values = [[one.get(name, (math.nan,) * len(_LEVELS)) for name in names] for one in self.quantiles]
        return found.assign(posterior=(("model", "parameter", "quantile"), np.array(values))).assign_coords(
            parameter=names, quantile=list(_LEVELS)
        )

    def plot(self) -> Figure:
        """Log marginal likelihoods with two standard errors."""
        return comparison_figure(self).figure

    def summary(self) -> str:
        """Which model the data prefer, by how much, and whether that is more than the estimates' errors."""
        order = np.argsort([-one.log_evidence for one in self.evidence])
        best, found = int(order[0]), []
        for i in order:
            one = self.evidence[i]
            words = f"{self.labels[i]}: log marginal likelihood {one.log_evidence:.2f} (standard error "
            words += f"{one.standard_error:.3f}), probability {self.probabilities[i]:.3g} of the models compared"
            found.append(words)
        for i in order[1:]:
            gap = self.evidence[best].log_evidence - self.evidence[i].log_evidence
            error = math.hypot(self.evidence[best].standard_error, self.evidence[i].standard_error)
            if gap > _SURE * error:
                odds = f"{math.exp(min(gap, 700)):.3g} to 1" if gap < 50 else f"e^{gap:.0f} to 1"
                found.append(f"The data prefer {self.labels[best]} to {self.labels[i]} by {odds}.")
            else:
                found.append(
                    f"{self.labels[best]} and {self.labels[i]} differ by {gap:.2f}, which is within {_SURE:.0f} "
                    f"standard errors ({error:.3f}): the estimates do not tell them apart."
                )
        for label, one in zip(self.labels, self.evidence, strict=True):
            found += [f"Doubt about {label}: {doubt}." for doubt in one.doubts]
        return "\n".join(found)


def comparison_figure(found: Comparison) -> ReportFigure:
    """Differences of log marginal likelihoods to the best, with two standard errors."""
    from estimhank.report.style import EXACT, MODE, ReportFigure, figure_style, new_figure

    table = found.table()
    with figure_style():
        figure = new_figure(0.4 * len(table) + 1.0, 7.0)
        axis = figure.subplots()
        places = range(len(table))
        axis.errorbar(table.difference, places, xerr=2 * table.standard_error, fmt="o", color=EXACT, ms=5, capsize=2)
        axis.axvline(0, color=MODE, lw=0.7, ls=(0, (4, 2)))
        axis.set_yticks(places, table.model)
        axis.set_ylim(len(table) - 0.5, -0.5)
        axis.set_xlabel("log marginal likelihood less that of the best")
    caption = "Log marginal likelihoods less that of the best model; bars: two standard errors."
    return ReportFigure("compare", figure, caption, "Log marginal likelihoods of the models with error bars.")


def compare_runs(runs: Sequence[Run], prior_draws: int = 2_000) -> Comparison:
    """Runs of different models, or priors, on the same data.

    Raises
    ------
    ResultsError
        If their data differ: likelihoods of other data are not comparable.
    """
    first = runs[0]
    for other in runs[1:]:
        if why := _other_data(first, other):
            raise ResultsError(
                f"{other.folder} was estimated on other data than {first.folder} ({why}): marginal likelihoods of "
                "different data are not comparable"
            )
    labels = _labels(runs)
    quantiles = []
    for run in runs:
        names = run.posterior.names
        flat = draws_of(run.draws, names=names).reshape(-1, len(names))
        levels = np.quantile(flat, _LEVELS, axis=0).T
        quantiles.append({name: tuple(row) for name, row in zip(names, levels.tolist(), strict=True)})
    return Comparison(labels, tuple(evidence_of(run, prior_draws) for run in runs), tuple(quantiles))


def _labels(runs: Sequence[Run]) -> tuple[str, ...]:
    names = [run.folder.resolve().name for run in runs]
    return tuple(names) if len(set(names)) == len(names) else tuple(str(run.folder) for run in runs)


def _other_data(one: Run, other: Run) -> str:
    """In what the data differ; empty where they do not."""
    a, b = one.data, other.data
    if a.dates != b.dates:
        return f"{a.dates[0]} to {a.dates[-1]} and {b.dates[0]} to {b.dates[-1]}"
    if set(a.names) != set(b.names):
        return f"{', '.join(a.names)} and {', '.join(b.names)}"
    if a.condition_on != b.condition_on:
        return f"conditioned on {a.condition_on} and {b.condition_on} quarters"
    columns = [b.names.index(name) for name in a.names]
    values = b.values[:, columns]
    if not np.allclose(a.values, values, rtol=1e-10, atol=1e-12, equal_nan=True):
        return "their values"
    return ""
