"""Figures of nonlinear paths: against the linear response, by size of shock, and over the sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from estimhank.data.quarters import parse_quarter
from estimhank.economics.linearity import BANDS, Linearity
from estimhank.report.style import (
    CHAINS,
    EXACT,
    MODE,
    SURROGATE,
    ReportFigure,
    chain_colours,
    figure_style,
    new_figure,
    panel_grid,
    place_legend,
)

Array = NDArray[np.float64]

#: Dates of a path that are plotted, panels of a figure, and series of a panel.
PLOTTED, _PANELS, _LINES = 60, 16, 6


def transition_figure(
    paths: Mapping[str, Array],
    linear: Mapping[str, Array],
    binds: Mapping[str, Array],
    title: str,
    dates: Sequence[str] = (),
) -> ReportFigure:
    """Levels of variables along a path, beside the linear solution, with the dates at which a bound binds shaded.

    Parameters
    ----------
    paths, linear : mapping of str to array of shape (T,)
        Of the same variables and dates; the linear solution where there is one.
    binds : mapping of str to array of shape (T,), bool
        By equation.
    title : str
        What happens, for the caption.
    dates : sequence of str, optional
        Quarters; numbers from 0 on by default, of which the first :data:`PLOTTED` are shown.
    """
    names = list(paths)[:_PANELS]
    shown = len(dates) or min(PLOTTED, len(paths[names[0]]))
    x = np.array([parse_quarter(date) for date in dates]) / 4 if dates else np.arange(shown, dtype=float)
    bound = np.zeros(shown, bool)
    for at in binds.values():
        bound |= np.asarray(at)[:shown]
    with figure_style():
        figure, axes = panel_grid(len(names), 4, 1.9)
        for axis, name in zip(axes, names, strict=False):
            _shade(axis, x, bound)
            if name in linear:
                axis.plot(x, linear[name][:shown], color=SURROGATE, lw=1.2, ls=(0, (4, 2)), label="linear")
            axis.plot(x, paths[name][:shown], color=EXACT, lw=1.5, label="nonlinear")
            axis.set_title(name)
            axis.margins(x=0)
            axis.locator_params(axis="y", nbins=4)
        place_legend(figure, axes, len(names))
    where = f" Grey: a bound binds ({', '.join(binds)}; {int(bound.sum())} of these dates)." if bound.any() else ""
    beside = ", and as the linear solution has them" if linear else ""
    caption = f"{title}: levels along the nonlinear path{beside}.{where}"
    return ReportFigure("transition", figure, caption, f"Nonlinear paths of {', '.join(names)} beside linear ones.")


def _shade(axis: Axes, x: Array, bound: NDArray[np.bool_]) -> None:
    step = float(x[1] - x[0]) if len(x) > 1 else 1.0
    edges = np.flatnonzero(np.diff(np.r_[False, bound, False].astype(int)))
    for k, (first, last) in enumerate(edges.reshape(-1, 2)):
        axis.axvspan(
            x[first] - step / 2, x[last - 1] + step / 2, color="#D9D9D9", lw=0, label="binds" if k == 0 else None
        )


def linearity_figure(found: Linearity) -> ReportFigure:
    """How far off the linear response of each observable is, by size and sign of each shock."""
    names = list(found.series)[: min(found.observed or len(found.series), _LINES)]
    sizes = np.array([*(-s for s in found.sizes), *found.sizes])
    order = np.argsort(sizes)
    colours = CHAINS if len(names) <= len(CHAINS) else chain_colours(len(names))
    with figure_style():
        figure, axes = panel_grid(len(found.shocks), 3, 2.2)
        for j, (axis, label) in enumerate(zip(axes, found.shocks.values(), strict=False)):
            both = np.concatenate([found.off[:, j, :, 1], found.off[:, j, :, 0]], axis=1)[:, order]
            for v, (name, colour) in enumerate(zip(names, colours, strict=False)):
                values = 100 * both[:, :, v]
                if not np.isfinite(values).any():
                    continue
                low, middle, high = np.nanquantile(values, (BANDS[0], 0.5, BANDS[1]), axis=0)
                axis.fill_between(sizes[order], low, high, color=colour, alpha=0.2, lw=0)
                axis.plot(sizes[order], middle, color=colour, marker="o", ms=3, label=name)
            axis.set(title=label, xlabel="size of the shock, s.d.")
            axis.set_ylim(bottom=0)
        axes[0].set_ylabel("percent of the response")
        place_legend(figure, axes, len(found.shocks))
    caption = (
        "How far off the linear response is: the largest difference to the nonlinear one at any date, as a share of "
        f"the linear response's largest deviation. Median and 90 percent band, {found.words}."
    )
    return ReportFigure("linearity", figure, caption, "Errors of linear responses by size and sign of the shocks.")


def history_figure(found: Linearity) -> ReportFigure:
    """The observables over the sample as the linear and the nonlinear model tell them."""
    history = found.history
    assert history is not None  # drawn where there is one
    names = list(found.series)[: found.observed][:_LINES]
    x = np.array([parse_quarter(date) for date in history.dates]) / 4
    with figure_style():
        figure = new_figure(1.7 * len(names) + 0.5)
        axes = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
        for v, (axis, name) in enumerate(zip(axes, names, strict=True)):
            straight = np.median(history.linear[:, :, v], axis=0)
            axis.plot(x, straight, color=MODE, lw=1.0, label="linear: the data")
            bent = history.nonlinear[:, :, v]
            if np.isfinite(bent).any():
                axis.plot(x, np.nanmedian(bent, axis=0), color=SURROGATE, lw=1.0, label="nonlinear")
            axis.set_title(f"{name}, {found.series[name]}")
            axis.margins(x=0)
        axes[0].legend(loc="upper right", ncols=2)
    where = "at the posterior mode" if history.origin == "mode" else f"medians over {len(history.reasons)} draws"
    caption = (
        "The same smoothed shocks, each a surprise at its date, in the linear model, which they lead to the data, and "
        f"in the nonlinear one; {where}."
    )
    return ReportFigure("linearity_history", figure, caption, f"{', '.join(names)} over the sample, told twice.")
