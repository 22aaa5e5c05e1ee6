"""Figures of what the posterior starts from: the data, and the mode with its slices."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from estimhank.analysis.math_text import plain_label
from estimhank.analysis.wording import fixed
from estimhank.mode.mode_result import ModeResult
from estimhank.report.inputs import ReportInputs
from estimhank.report.style import (
    EXACT,
    MODE,
    PRIOR,
    SURROGATE,
    ReportFigure,
    figure_style,
    new_figure,
    panel_grid,
    place_legend,
)

Array = NDArray[np.float64]


def data_figure(inputs: ReportInputs) -> ReportFigure:
    """The observables over the sample, one panel each."""
    data = inputs.arrays.observed
    assert data is not None  # drawn only where there are data
    n = len(data.names)
    with figure_style():
        figure = new_figure(1.5 * n + 0.4)
        axes = figure.subplots(n, 1, sharex=True, squeeze=False)[:, 0]
        for i, axis in enumerate(axes):
            axis.axhline(0, color=MODE, lw=0.6)
            there = np.isfinite(data.values[:, i])
            alone = there & ~np.pad(there, 1)[:-2] & ~np.pad(there, 1)[2:]
            axis.plot(data.first_days, data.values[:, i], color=EXACT, lw=1.2)
            axis.plot(data.first_days[alone], data.values[alone, i], "o", color=EXACT, ms=2.5)  # no line reaches them
            unit = plain_label(data.units[i]).replace(" per ", "\nper ")
            axis.set(title=plain_label(data.labels[i]), ylabel=unit)
            axis.margins(x=0.01)
            axis.grid(axis="both")
        figure.align_ylabels(axes)
    removed = ", ".join(f"{label} {fixed(mean, 3)}" for label, mean in zip(data.labels, data.means, strict=True))
    span = f"{data.dates[0]} to {data.dates[-1]}"
    caption = f"The data, {span}, as the likelihood sees them. Taken off: {removed}."
    return ReportFigure("data", figure, caption, f"Time series of {', '.join(data.labels)}, {span}.")


def _gaps(theta: Array, finite: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Intervals of a slice without a density, each extended half-way to its neighbours."""
    middle = (theta[1:] + theta[:-1]) / 2
    left, right = np.concatenate([theta[:1], middle]), np.concatenate([middle, theta[-1:]])
    gaps: list[tuple[float, float]] = []
    for k in np.flatnonzero(~finite):
        if gaps and gaps[-1][1] == left[k]:
            gaps[-1] = (gaps[-1][0], float(right[k]))
        else:
            gaps.append((float(left[k]), float(right[k])))
    return gaps


def mode_check_figure(inputs: ReportInputs) -> ReportFigure:
    """The log posterior along every parameter through the mode, with its quadratic approximation."""
    search = inputs.mode
    assert search is not None  # drawn only where there is a mode
    with figure_style():
        figure, axes = panel_grid(len(inputs.parameters))
        for i, parameter in enumerate(inputs.parameters):
            surrogate = None if inputs.surrogate_slices is None else inputs.surrogate_slices[i]
            _slice_panel(axes[i], search, i, surrogate)
            axes[i].set_title(parameter.axis_label)
        place_legend(figure, axes, len(inputs.parameters))
    caption = (
        "Mode check: the log posterior relative to the mode when one parameter moves and the others stay at the mode. "
        "A curve that rises above zero would mean that the search stopped too early."
    )
    alt = (
        "Slices of the log posterior through the mode, one a parameter; the highest rises "
        f"{fixed(search.slice_gain, 3)} above the mode."
    )
    return ReportFigure("mode_check", figure, caption, alt)


def _slice_panel(axis: Axes, search: ModeResult, i: int, surrogate: Array | None) -> None:
    theta, centre = search.slice_theta[i], search.theta[i]
    relative = search.slice_log_density[i] - search.log_density
    finite = np.isfinite(relative)
    fine = np.linspace(theta[0], theta[-1], 200)
    quadratic = -0.5 * search.hessian[i, i] * (fine - centre) ** 2
    axis.plot(fine, quadratic, color=PRIOR, lw=1.2, label="quadratic (Hessian)")
    marker = "o" if theta.size < 15 else ""  # a slice of few points is no curve
    axis.plot(theta[finite], relative[finite], color=EXACT, lw=1.6, marker=marker, ms=3, label="exact")
    known = finite if surrogate is None else finite & np.isfinite(surrogate)
    if surrogate is not None and known.any():
        # the surrogate is known up to a constant: it is made to agree at the point next to the mode
        nearest = int(np.argmin(np.where(known, np.abs(theta - centre), np.inf)))
        shifted = surrogate - surrogate[nearest] + relative[nearest]
        axis.plot(theta, shifted, color=SURROGATE, lw=1.2, ls=(0, (4, 2)), label="surrogate")
    for low, high in _gaps(theta, finite):
        axis.axvspan(low, high, facecolor="none", edgecolor=PRIOR, hatch="////", lw=0, label="no density")
    axis.axvline(centre, color=MODE, lw=0.9, ls=":", label="mode")
    floor = max(float(relative[finite].min()), -60.0) if finite.any() else -1.0
    top = max(0.0, float(relative[finite].max())) if finite.any() else 0.0
    axis.set_ylim(1.06 * floor - 0.1, top + max(0.3, 0.08 * abs(floor)))
    axis.locator_params(axis="x", nbins=5)
    axis.locator_params(axis="y", nbins=4)
