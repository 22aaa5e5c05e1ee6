"""Figures of results: responses, decompositions, shocks, forecasts. A shock has one colour in all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from estimhank.analysis.math_text import plain_label
from estimhank.data.quarters import parse_quarter
from estimhank.economics.forecast import Forecast
from estimhank.economics.history import EARLIER, SINCE, HistoricalDecomposition
from estimhank.economics.reporting import About
from estimhank.economics.responses import Responses
from estimhank.economics.result import Result
from estimhank.economics.smoothing import OneStep, SmoothedSeries, SmoothedShocks
from estimhank.economics.variance import ERROR, INFINITY, VarianceDecomposition
from estimhank.report.style import CHAINS, EXACT, MODE, PRIOR, ReportFigure, chain_colours, figure_style, new_figure
from estimhank.support.errors import ConfigError

Array = NDArray[np.float64]

#: Quarters of responses that are plotted, and of the data before a forecast.
PLOTTED, BEFORE = 20, 24

#: Colour of measurement error, and of what has no shock's colour.
GREY = "#B8B8B8"

_SHADES = {0.68: 0.32, 0.90: 0.16, 0.50: 0.45}


def colours_of(about: About) -> dict[str, str]:
    """A colour for each shock and group: the configuration's, or by the order of the shocks; a group has its first
    shock's."""
    palette = CHAINS if len(about.shocks) <= len(CHAINS) else chain_colours(len(about.shocks))
    found = {name: about.colors.get(name, palette[i]) for i, name in enumerate(about.shocks)}
    groups = {group: about.colors.get(group, found[members[0]]) for group, members in about.groups.items()}
    return {**found, **groups, ERROR: about.colors.get(ERROR, GREY)}


def plot_result(result: Result, **options: Any) -> Figure:
    """The figure of a result.

    Parameters
    ----------
    result : Result
    **options
        ``variables`` and ``shocks``: names, of those that are shown; ``horizon`` of responses, and ``behind`` them
        others, such as the prior's, in grey.

    Raises
    ------
    ConfigError
        Names that the result does not have.
    """
    return economics_figure(result, **options).figure


def economics_figure(
    result: Result,
    variables: Sequence[str] | None = None,
    shocks: Sequence[str] | None = None,
    horizon: int = PLOTTED,
    behind: Responses | None = None,
) -> ReportFigure:
    """The figure of a result with its caption; see :func:`plot_result`."""
    shown = _chosen(variables, result.about.names, "variable")
    of = _chosen(shocks, list(result.about.shocks), "shock")
    with figure_style():
        if isinstance(result, Responses):
            return _responses(result, shown, of, horizon, behind)
        if isinstance(result, VarianceDecomposition):
            return _variance(result, shown)
        if isinstance(result, SmoothedShocks):
            return _shocks(result, of)
        if isinstance(result, HistoricalDecomposition):
            return _history(result, shown)
        if isinstance(result, Forecast):
            return _forecast(result, shown)
        if isinstance(result, SmoothedSeries | OneStep):
            return _paths(result, shown)
        from estimhank.report.figures_policy import POLICY_FIGURES  # which draws with what is here

        for kind, draw in POLICY_FIGURES.items():
            if isinstance(result, kind):
                return draw(result, shown)
    raise ConfigError(f"there is no figure of {result.name.replace('_', ' ')}")


def _chosen(given: Sequence[str] | None, known: list[str], what: str) -> list[str]:
    for name in given or ():
        if name not in known:
            raise ConfigError(f"no {what} '{name}' in this result: there are {', '.join(known)}")
    return list(known if given is None else given)


def _words(about: About, name: str) -> str:
    return plain_label(about.label(name))


def _unit(about: About, name: str) -> str:
    return plain_label(about.units(name)).replace(" per ", "\nper ").replace(" over ", "\nover ")


def _bands(axis: Axes, x: Any, array: xr.DataArray, colour: str) -> None:
    """Median and bands of an array (quantile, x), the widest first."""
    levels = array["quantile"].values
    for low in levels[: len(levels) // 2]:
        probability = round(1 - 2 * float(low), 6)
        ends = array.sel(quantile=[low, round(1 - float(low), 12)], method="nearest").values
        axis.fill_between(x, *ends, color=colour, alpha=_SHADES.get(probability, 0.2), lw=0)
    axis.plot(x, array.sel(quantile=0.5), color=colour, lw=1.4)


def _probabilities(dataset: xr.Dataset) -> str:
    levels = dataset["quantile"].values
    found = [f"{round(100 * (1 - 2 * float(q)))}" for q in levels[: len(levels) // 2]]
    if not found:
        return ""
    named = ", ".join(reversed(found[1:]))
    return f"{named} and {found[0]} percent bands ({dataset.attrs['bands']})" if named else f"{found[0]} percent band"


def _responses(
    result: Responses, variables: list[str], shocks: list[str], horizon: int, behind: Responses | None
) -> ReportFigure:
    about, colours = result.about, colours_of(result.about)
    data = result.dataset.response.sel(horizon=slice(0, horizon))
    figure = new_figure(1.45 * len(variables) + 0.5, max(10.0, 2.3 * len(shocks)))
    axes = figure.subplots(len(variables), len(shocks), sharex=True, sharey="row", squeeze=False)
    for i, variable in enumerate(variables):
        for j, shock in enumerate(shocks):
            axis, at = axes[i, j], data.sel(variable=variable, shock=shock)
            axis.axhline(0, color=MODE, lw=0.6)
            if behind is not None:
                other = behind.dataset.response.sel(horizon=slice(0, horizon), variable=variable, shock=shock)
                _bands(axis, other.horizon.values, other, PRIOR)
            _bands(axis, at.horizon.values, at, colours[shock])
            axis.margins(x=0)
            axis.locator_params(axis="y", nbins=4)
            axis.locator_params(axis="x", nbins=6, integer=True)
            if i == 0:
                axis.set_title(_words(about, shock))
            if i == len(variables) - 1:
                axis.set_xlabel("quarters")
        axes[i, 0].set_ylabel(f"{_words(about, variable)}\n{plain_label(about.units(variable))}", fontsize=8)
    figure.align_ylabels(axes[:, 0])
    bands = _probabilities(result.dataset)
    median = f"Median with {bands}; " if bands else ""
    caption = f"Responses to {result.draws.attrs['size']}; horizon 0 is the impact. {median}{about.words}."
    if behind is not None:
        caption += f" Grey: the same of {behind.about.words}."
    return ReportFigure("responses", figure, caption, f"Responses of {', '.join(variables)} to {', '.join(shocks)}.")


def _variance(result: VarianceDecomposition, variables: list[str]) -> ReportFigure:
    about, colours = result.about, colours_of(result.about)
    shares = 100 * result.grouped().mean("draw")
    groups = [g for g in shares.group.values if float(shares.sel(group=g).max()) > 0]
    columns = min(len(variables), 3)
    rows = -(-len(variables) // columns)
    figure = new_figure(2.1 * rows + 0.6)
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    ticks = ["∞" if h == INFINITY else "cycle" if h == "business cycle" else str(h) for h in shares.horizon.values]
    for axis, variable in zip(axes, variables, strict=False):
        below = np.zeros(len(ticks))
        for group in groups:
            part = np.nan_to_num(shares.sel(variable=variable, group=group).values)
            axis.bar(ticks, part, bottom=below, color=colours[group], width=0.8, edgecolor="white", lw=0.4)
            below = below + part
        axis.set(title=_words(about, variable), ylim=(0, 100))
    for axis in axes[len(variables) :]:
        axis.axis("off")
    for row in range(rows):
        axes[row * columns].set_ylabel("percent of the variance")
    handles = [Patch(color=colours[g], label=_words(about, str(g))) for g in groups]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)))
    caption = (
        "Variance decomposition: share of the variance of forecast errors by horizon in quarters (1: the impact), of "
        "the unconditional variance (∞), and of that at periods of 6 to 32 quarters (cycle). "
        f"{'Means over ' if about.draws > 1 else ''}{about.words}."
    )
    return ReportFigure(
        "variance_decomposition", figure, caption, f"Stacked bars of variance shares of {', '.join(variables)}."
    )


def _years(dates: Sequence[Any]) -> Array:
    return np.array([parse_quarter(str(date)) for date in dates]) / 4.0


def _shocks(result: SmoothedShocks, shocks: list[str]) -> ReportFigure:
    about, colours = result.about, colours_of(result.about)
    data = result.dataset.smoothed
    x, begin = _years(data.date.values), parse_quarter(about.dates[0]) / 4
    figure = new_figure(1.25 * len(shocks) + 0.4)
    axes = figure.subplots(len(shocks), 1, sharex=True, squeeze=False)[:, 0]
    for axis, shock in zip(axes, shocks, strict=True):
        axis.axhline(0, color=MODE, lw=0.6)
        _bands(axis, x, data.sel(shock=shock), colours[shock])
        axis.axvspan(x[0], begin, color="#EEEEEE", zorder=-1, lw=0)
        axis.set_title(_words(about, shock))
        axis.set_ylabel("s.d.")
        axis.margins(x=0.005)
    bands = _probabilities(result.dataset)
    caption = (
        "Shocks given all data, in standard deviations; shaded: before the sample begins, where the data say little. "
        f"Median{' with ' + bands if bands else ''}; {about.words}."
    )
    return ReportFigure("smoothed_shocks", figure, caption, f"Time series of the shocks {', '.join(shocks)}.")


def _history(result: HistoricalDecomposition, variables: list[str]) -> ReportFigure:
    about, colours = result.about, colours_of(result.about)
    parts = result.grouped().mean("draw")
    draws = result.draws
    x = _years(parts.date.values)
    figure = new_figure(2.2 * len(variables) + 0.7)
    axes = figure.subplots(len(variables), 1, sharex=True, squeeze=False)[:, 0]
    groups = [str(g) for g in parts.group.values]
    noisy = bool(np.abs(draws.measurement_error).max() > 0)
    for axis, variable in zip(axes, variables, strict=True):
        above, below = np.zeros(len(x)), np.zeros(len(x))
        stacks = [(parts.sel(variable=variable, group=g, arrived=a).values, colours[g], a) for a in (SINCE, EARLIER)
                  for g in groups]  # fmt: skip
        if noisy:
            stacks.append((draws.measurement_error.mean("draw").sel(variable=variable).values, GREY, SINCE))
        for values, colour, arrived in stacks:
            up, down = np.maximum(values, 0), np.minimum(values, 0)
            for size, base in ((up, above), (down, below)):
                axis.fill_between(
                    x, base, base + size, step="mid", color=colour, alpha=1.0 if arrived == SINCE else 0.4, lw=0
                )
            above, below = above + up, below + down
        mean = draws["mean"].mean("draw").sel(variable=variable).values
        total = (draws.smoothed.mean("draw").sel(variable=variable) - mean).values
        axis.plot(x, total, color=MODE, lw=1.0)
        axis.axhline(0, color=MODE, lw=0.5)
        axis.set_title(_words(about, variable))
        axis.set_ylabel(_unit(about, variable), fontsize=8)
        axis.margins(x=0.005)
    handles = [Patch(color=colours[g], label=_words(about, g)) for g in groups]
    handles.append(Patch(color=GREY, alpha=0.4, label="paler: arrived before the sample"))
    if noisy:
        handles.append(Patch(color=GREY, label="measurement error"))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)))
    caption = (
        "Historical decomposition: contributions of shocks to deviations from the mean, of those in the sample in full "
        "colour and of those before it, which are where the economy began, paler. Line: the series itself. "
        f"{'Means over ' if about.draws > 1 else ''}{about.words}."
    )
    return ReportFigure(
        "historical_decomposition", figure, caption, f"Stacked contributions of shocks to {', '.join(variables)}."
    )


def _forecast(result: Forecast, variables: list[str]) -> ReportFigure:
    about, data = result.about, result.dataset.value
    x = _years(data.date.values)
    past = result.draws.data
    seen = _years(past.sample.values)[-BEFORE:]
    alone = result.parameters_alone().value
    columns = min(len(variables), 3)
    rows = -(-len(variables) // columns)
    figure = new_figure(2.3 * rows + 0.4)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, variable in zip(axes, variables, strict=False):
        known = past.sel(variable=variable).values[-BEFORE:]
        axis.plot(seen, known, color=MODE, lw=1.2)
        at = data.sel(variable=variable)
        _bands(axis, x, at, EXACT)
        if len(result.draws.draw) > 1:
            for q in (0.05, 0.95):
                line = alone.sel(variable=variable, quantile=q)
                axis.plot(x, line, color=EXACT, lw=0.9, ls=(0, (3, 2)))
        axis.axvline((seen[-1] + x[0]) / 2, color=GREY, lw=0.8)
        axis.set_title(_words(about, variable))
        axis.set_ylabel(plain_label(about.units(variable)), fontsize=8)
        axis.margins(x=0.01)
        axis.locator_params(axis="x", nbins=5, integer=True)
    for axis in axes[len(variables) :]:
        axis.axis("off")
    caption = (
        f"Forecasts: median and {_probabilities(result.dataset)}, with all uncertainty; {about.words}. "
        + ("Dashed: 90 percent of the mean forecast over draws, what is not known of the parameters alone. "
           if len(result.draws.draw) > 1 else "")
    )  # fmt: skip
    return ReportFigure("forecast", figure, caption.strip(), f"Fan charts of {', '.join(variables)}.")


def _paths(result: SmoothedSeries | OneStep, variables: list[str]) -> ReportFigure:
    """Time series with bands."""
    about = result.about
    by = "variable" if isinstance(result, SmoothedSeries) else "observable"
    data = result.dataset.value if isinstance(result, SmoothedSeries) else result.dataset.error
    names = [n for n in data[by].values if n in variables or by == "observable"]
    x = _years(data.date.values)
    figure = new_figure(1.4 * len(names) + 0.4)
    axes = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for axis, name in zip(axes, names, strict=True):
        axis.axhline(0, color=MODE, lw=0.6)
        _bands(axis, x, data.sel({by: name}), EXACT)
        axis.set_title(_words(about, str(name)))
        axis.margins(x=0.005)
    what = "Series given all data" if by == "variable" else "Forecast errors one quarter ahead"
    bands = _probabilities(result.dataset)
    caption = f"{what}. Median{' with ' + bands if bands else ''}; {about.words}."
    return ReportFigure(result.name, figure, caption, f"Time series of {', '.join(map(str, names))}.")
