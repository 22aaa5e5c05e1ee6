"""Figures of the posterior: against the prior, against the surrogate's, and its correlations."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from estimhank.analysis.density import level_of, smooth_density, smooth_density_2d
from estimhank.analysis.posterior_table import correlation_matrix, strongest_correlations
from estimhank.analysis.wording import fixed
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


def prior_posterior_figure(inputs: ReportInputs) -> ReportFigure:
    """Prior density, exact posterior, surrogate's posterior and mode, one panel a parameter."""
    with figure_style():
        figure, axes = panel_grid(len(inputs.parameters))
        for i, axis in enumerate(axes[: len(inputs.parameters)]):
            _prior_posterior_panel(inputs, i, axis)
        place_legend(figure, axes, len(inputs.parameters))
    names = ", ".join(p.name for p in inputs.parameters)
    means = "; ".join(f"{row.parameter.name} {fixed(row.mean, 3)} (s.d. {fixed(row.sd, 3)})" for row in inputs.rows)
    caption = (
        "Prior (grey), exact posterior (blue; darker within the central 68 %, lighter within 90 %) and the surrogate's "
        "own posterior (dashed). Dotted line: posterior mode. Priors are shown before restriction to the determinate "
        "region, and only near the posterior where that is much narrower."
    )
    alt = f"Prior and posterior densities of {names}. Posterior means: {means}."
    return ReportFigure("prior_posterior", figure, caption, alt)


def _prior_posterior_panel(inputs: ReportInputs, i: int, axis: Axes) -> None:
    parameter = inputs.parameters[i]
    draws = inputs.arrays.exact.theta[..., i].ravel()
    low, high = _panel_range(inputs, i)
    grid = np.linspace(low, high, 300)
    prior = parameter.prior_density(grid)
    if prior is not None:
        axis.fill_between(grid, prior, color=PRIOR, alpha=0.25, lw=0)
        axis.plot(grid, prior, color=PRIOR, lw=1.0, label="prior")
    points, density = _thinned(*smooth_density(draws, parameter.lower, parameter.upper))
    if points.size:
        q = np.quantile(draws, [0.05, 0.16, 0.84, 0.95])
        for inner, outer, alpha in ((q[0], q[3], 0.18), (q[1], q[2], 0.30)):
            inside = (points >= inner) & (points <= outer)
            axis.fill_between(points[inside], density[inside], color=EXACT, alpha=alpha, lw=0)
        axis.plot(points, density, color=EXACT, lw=1.6, label="exact posterior")
    if inputs.arrays.surrogate is not None:
        points, density = _thinned(*smooth_density(inputs.arrays.surrogate[..., i], parameter.lower, parameter.upper))
        if points.size:
            axis.plot(points, density, color=SURROGATE, lw=1.2, ls=(0, (4, 2)), label="surrogate's posterior")
    if inputs.mode is not None:
        axis.axvline(inputs.mode.theta[i], color=MODE, lw=1.0, ls=":", label="posterior mode")
    axis.set(xlim=(low, high), title=parameter.axis_label, yticks=[])
    axis.set_ylim(0, 1.02 * axis.get_ylim()[1])
    axis.spines["left"].set_visible(False)
    axis.locator_params(axis="x", nbins=5)


def _thinned(grid: Array, density: Array) -> tuple[Array, Array]:
    return grid[::4], density[::4]  # 256 points are enough for a panel and keep the files small


def _panel_range(inputs: ReportInputs, i: int) -> tuple[float, float]:
    parameter = inputs.parameters[i]
    low, high = np.quantile(inputs.arrays.exact.theta[..., i], [0.001, 0.999])
    width = max(high - low, 1e-12 * max(abs(low), 1.0))
    low, high = low - 0.15 * width, high + 0.15 * width
    if inputs.arrays.prior is not None:
        prior_low, prior_high = np.quantile(inputs.arrays.prior[:, i], [0.01, 0.99])
        low, high = max(min(low, prior_low), low - 2 * width), min(max(high, prior_high), high + 2 * width)
    return max(float(low), parameter.lower), min(float(high), parameter.upper)


def surrogate_gap_figure(inputs: ReportInputs) -> ReportFigure:
    """Surrogate's means and 5 % and 95 % quantiles minus the exact ones, in posterior standard deviations."""
    gap = inputs.gap
    assert gap is not None  # drawn only where there is a surrogate
    labels = [p.label for p in inputs.parameters]
    position = np.arange(len(labels))[::-1]
    panels = (
        ("mean", gap.mean, gap.mcse_mean, 0.0),
        ("5 % quantile", gap.q05, gap.mcse_q05, 0.0),
        ("95 % quantile", gap.q95, gap.mcse_q95, 0.0),
        ("standard deviation, ratio", gap.sd_ratio, gap.mcse_sd_ratio, 1.0),
    )
    s_e = next((f.value for f in inputs.certificate_figures if f.key == "s_e"), np.nan)
    with figure_style():
        figure = new_figure(0.24 * len(labels) + 1.1)
        axes = figure.subplots(1, len(panels), sharey=True)
        for axis, (title, value, error, centre) in zip(axes, panels, strict=True):
            if title == "mean" and np.isfinite(s_e):
                axis.axvspan(-s_e, s_e, color=PRIOR, alpha=0.25, lw=0)
            axis.axvline(centre, color=MODE, lw=0.8)
            axis.errorbar(value, position, xerr=2 * error, fmt="o", ms=4, color=EXACT, lw=1.2, capsize=2)
            axis.set(title=title)
            axis.grid(axis="y")
            width = np.abs(value - centre) + 2 * error
            reach = 1.1 * max([1e-3, *width[np.isfinite(width)]])
            axis.set_xlim(centre - reach, centre + reach)
            axis.locator_params(axis="x", nbins=5)
            axis.tick_params(axis="y", length=0)
        axes[0].set_yticks(position, labels)
        figure.supxlabel(
            "surrogate minus exact, exact posterior standard deviations (ratio in the last panel)", fontsize=9
        )
    caption = (
        "How far the surrogate's own posterior is from the exact one: means, 5 % and 95 % quantiles in exact posterior "
        "standard deviations, and the ratio of standard deviations, with ± 2 Monte Carlo standard errors. Grey band: "
        "± s_e, which bounds the error of any posterior mean to first order."
    )
    worst = int(np.argmax(np.where(np.isfinite(gap.mean), np.abs(gap.mean), -1.0)))
    alt = (
        "Dot plot of the surrogate's posterior minus the exact one for each parameter; the largest difference of means "
        f"is {fixed(gap.mean[worst], 3)} posterior standard deviations, for {inputs.parameters[worst].name}."
    )
    return ReportFigure("surrogate_gap", figure, caption, alt)


def correlation_figure(inputs: ReportInputs) -> ReportFigure:
    """Posterior correlations as a lower triangle with numbers."""
    matrix = correlation_matrix(inputs.arrays.exact.theta)
    d = len(matrix)
    labels = [p.label for p in inputs.parameters]
    shown = np.where(np.tri(d, k=-1, dtype=bool), matrix, np.nan)[1:, :-1]
    with figure_style():
        figure = new_figure(0.42 * d + 0.8, 0.55 * d + 1.6)
        axis = figure.subplots()
        image = axis.imshow(shown, vmin=-1, vmax=1, cmap="RdBu_r", aspect="auto")
        for row, column in zip(*np.nonzero(np.isfinite(shown)), strict=True):
            value = shown[row, column]
            text = fixed(value, 2).replace("-", "−")
            axis.text(
                column, row, text, ha="center", va="center", fontsize=8, color="white" if abs(value) > 0.6 else "black"
            )
        axis.set_xticks(range(d - 1), labels[:-1])
        axis.set_yticks(range(d - 1), labels[1:])
        axis.tick_params(length=0)
        for spine in axis.spines.values():
            spine.set_visible(False)
        figure.colorbar(image, ax=axis, shrink=0.7, label="correlation").outline.set_visible(False)
    strongest = strongest_correlations(inputs.arrays.exact.theta, 3)
    pairs = "; ".join(f"{inputs.arrays.names[i]} and {inputs.arrays.names[j]} {fixed(c, 2)}" for i, j, c in strongest)
    alt = f"Triangle of correlations between parameters. Strongest: {pairs}."
    return ReportFigure("correlations", figure, "Correlations of the parameters in the exact posterior.", alt)


def pair_figure(inputs: ReportInputs, count: int = 6) -> ReportFigure:
    """The most strongly correlated pairs: draws and contours of the central 68 % and 90 %."""
    pairs = strongest_correlations(inputs.arrays.exact.theta, count)
    flat = inputs.arrays.exact.theta.reshape(-1, len(inputs.parameters))
    with figure_style():
        figure, axes = panel_grid(len(pairs), columns=3, panel_height=2.7)
        for axis, (i, j, correlation) in zip(axes, pairs, strict=False):
            step = max(1, len(flat) // 2000)
            axis.plot(flat[::step, i], flat[::step, j], ".", ms=2.5, color=EXACT, alpha=0.35, mew=0, rasterized=True)
            if np.ptp(flat[:, i]) > 0 and np.ptp(flat[:, j]) > 0:
                x, y, density = smooth_density_2d(flat[:, i], flat[:, j])
                levels = [level_of(density, 0.90), level_of(density, 0.68)]
                if levels[0] < levels[1]:
                    axis.contour(x, y, density, levels=levels, colors=MODE, linewidths=(0.8, 1.4))
            axis.set(xlabel=inputs.parameters[i].axis_label, ylabel=inputs.parameters[j].axis_label)
            axis.set_title(f"correlation {fixed(correlation, 2)}".replace("-", "−"), fontsize=9)
            axis.locator_params(nbins=5)
    words = "; ".join(f"{inputs.arrays.names[i]} and {inputs.arrays.names[j]} ({fixed(c, 2)})" for i, j, c in pairs)
    caption = (
        f"The {len(pairs)} most strongly correlated pairs of parameters: exact draws and the smallest regions with "
        "68 % (thick line) and 90 % (thin line) of the posterior."
    )
    return ReportFigure("pairs", figure, caption, f"Scatter plots of pairs of parameters, with correlations: {words}.")
