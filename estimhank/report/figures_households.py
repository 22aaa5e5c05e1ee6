"""Figures of who responds, and to what."""

from __future__ import annotations

import numpy as np

from estimhank.analysis.math_text import plain_label
from estimhank.economics.direct_effects import DirectAndIndirect
from estimhank.economics.household_responses import HouseholdResponses
from estimhank.report.figures_economics import PLOTTED, _bands, _probabilities, _words
from estimhank.report.style import CHAINS, EXACT, MODE, ReportFigure, chain_colours, new_figure


def direct_figure(result: DirectAndIndirect, _: list[str]) -> ReportFigure:
    """Stacked effects by input, and the response as a line, for each output and shock."""
    about = result.about
    means = result.draws.sel(horizon=slice(0, PLOTTED)).mean("draw")
    inputs, outputs = [str(i) for i in means.input.values], [str(o) for o in means.output.values]
    colours = CHAINS if len(inputs) <= len(CHAINS) else chain_colours(len(inputs))
    figure = new_figure(1.7 * len(outputs) + 0.8, max(10.0, 2.5 * len(about.shocks)))
    axes = figure.subplots(len(outputs), len(about.shocks), sharex=True, squeeze=False)
    x = means.horizon.values
    for i, output in enumerate(outputs):
        for j, shock in enumerate(about.shocks):
            axis, above, below = axes[i, j], np.zeros(len(x)), np.zeros(len(x))
            for name, colour in zip(inputs, colours, strict=False):
                values = means.effect.sel(output=output, shock=shock, input=name).values
                up, down = np.maximum(values, 0), np.minimum(values, 0)
                axis.bar(x, up, bottom=above, color=colour, width=0.9, label=name)
                axis.bar(x, down, bottom=below, color=colour, width=0.9)
                above, below = above + up, below + down
            axis.plot(x, means.response.sel(output=output, shock=shock), color=MODE, lw=1.3)
            axis.axhline(0, color=MODE, lw=0.5)
            axis.margins(x=0)
            axis.locator_params(axis="y", nbins=4)
            if i == 0:
                axis.set_title(_words(about, shock))
            if i == len(outputs) - 1:
                axis.set_xlabel("quarters")
        axes[i, 0].set_ylabel(f"{output}\n{result.units[output]}", fontsize=8)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, [f"by {plain_label(name)}" for name in labels], loc="outside lower center", ncols=6)
    caption = (
        "Direct and indirect effects: responses of household outputs (lines) by the input that they are to (bars), "
        f"shocks of one standard deviation. {'Means over ' if about.draws > 1 else ''}{about.words}."
    )
    return ReportFigure(result.name, figure, caption, f"Stacked effects on {', '.join(outputs)} by input.")


def groups_figure(result: HouseholdResponses, _: list[str]) -> ReportFigure:
    """Consumption by group, medians, a row for each partition, and measures of wealth with bands."""
    about, data = result.about, result.dataset.sel(horizon=slice(0, PLOTTED))
    kinds = list(dict.fromkeys(result.draws.partition.values.tolist()))
    measures = [str(m) for m in data.measure.values]
    rows = len(kinds) + len(measures)
    figure = new_figure(1.6 * rows + 0.5, max(10.0, 2.6 * len(about.shocks)))
    axes = figure.subplots(rows, len(about.shocks), sharex=True, squeeze=False)
    x = data.horizon.values
    for j, shock in enumerate(about.shocks):
        axes[0, j].set_title(_words(about, shock))
        axes[-1, j].set_xlabel("quarters")
        for i, kind in enumerate(kinds):
            names = data.group.values[result.draws.partition.values == kind]
            axis, colours = axes[i, j], chain_colours(len(names))
            for name, colour in zip(names, colours, strict=True):
                path = data.consumption.sel(group=name, shock=shock, quantile=0.5)
                axis.plot(x, path, color=colour, lw=1.3, label=str(name).partition(": ")[2] or str(name))
                given = data.given_states.sel(group=name, shock=shock, quantile=0.5)
                axis.plot(x, given, color=colour, lw=0.8, ls=(0, (3, 2)))
            if j == len(about.shocks) - 1:
                axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7, frameon=False)
            axes[i, 0].set_ylabel(f"consumption\nby {kind}\npercent", fontsize=8)
        for i, measure in enumerate(measures, len(kinds)):
            _bands(axes[i, j], x, data.inequality.sel(measure=measure, shock=shock), EXACT)
            axes[i, 0].set_ylabel(f"{measure}\npercentage points", fontsize=8)
    for axis in axes.ravel():
        axis.axhline(0, color=MODE, lw=0.5)
        axis.margins(x=0)
        axis.locator_params(axis="y", nbins=4)
    bands = _probabilities(result.dataset)
    caption = (
        "Responses of mean consumption by group of households, in percent of each group's own (medians), and of how "
        "wealth is spread; groups by states at the beginning of each quarter, by wealth a fifth of all households. "
        "Dashed: what households in each state spend more or less, with nobody in another state than before; "
        f"shocks of one standard deviation. {f'Median with {bands}; ' if bands else ''}{about.words}."
    )
    return ReportFigure(result.name, figure, caption, "Responses of groups of households and of inequality measures.")
