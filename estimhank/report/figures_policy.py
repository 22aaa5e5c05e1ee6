"""Figures of scenarios, counterfactuals, news and predictive checks; of evidence and identification."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from estimhank.analysis.math_text import plain_label
from estimhank.economics.counterfactual import Counterfactual
from estimhank.economics.direct_effects import DirectAndIndirect
from estimhank.economics.household_responses import HouseholdResponses
from estimhank.economics.identification import Identification
from estimhank.economics.news import News
from estimhank.economics.predictive import PredictiveCheck
from estimhank.economics.result import Result
from estimhank.economics.scenario import Scenario
from estimhank.evidence.estimates import Evidence
from estimhank.report.figures_economics import BEFORE, GREY, _bands, _probabilities, _unit, _words, _years, colours_of
from estimhank.report.figures_households import direct_figure, groups_figure
from estimhank.report.style import CHAINS, EXACT, MODE, PRIOR, SURROGATE, ReportFigure, figure_style, new_figure


def _panels(panels: int, height: float = 2.3) -> tuple[Figure, list[Axes]]:
    """Panels in rows of three, what is left over blank."""
    columns = min(panels, 3)
    rows = -(-panels // columns)
    figure = new_figure(height * rows + 0.6)
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axis in axes[panels:]:
        axis.axis("off")
    return figure, axes


def _scenario(result: Scenario, variables: list[str]) -> ReportFigure:
    """Fans under the conditions, the forecast without them, the shocks behind."""
    about, data, draws = result.about, result.dataset, result.draws
    x, seen = _years(data.date.values), _years(list(draws["sample"].values))[-BEFORE:]
    figure, axes = _panels(len(variables) + 1)
    at = draws.attrs
    for axis, variable in zip(axes, variables, strict=False):
        axis.plot(seen, draws.data.sel(variable=variable).values[-BEFORE:], color=MODE, lw=1.2)
        _bands(axis, x, data.value.sel(variable=variable), EXACT)
        base = data.baseline.sel(variable=variable)
        axis.plot(x, base.sel(quantile=0.5), color=SURROGATE, lw=1.1, ls=(0, (4, 2)))
        rows = [r for r in np.atleast_1d(at["rows"]) if about.names[r % len(about.names)] == variable]
        wanted = [w for w, r in zip(np.atleast_1d(at["wanted"]), np.atleast_1d(at["rows"]), strict=True) if r in rows]
        axis.plot(x[[r // len(about.names) for r in rows]], wanted, "o", color=MODE, ms=3.5, zorder=5)
        axis.axvline((seen[-1] + x[0]) / 2, color=GREY, lw=0.8)
        axis.set_title(_words(about, variable))
        axis.set_ylabel(plain_label(about.units(variable)), fontsize=8)
        axis.locator_params(axis="x", nbins=5, integer=True)
    axis, colours = axes[len(variables)], colours_of(about)
    middle, below, above = data.innovation.sel(quantile=0.5), np.zeros(len(x)), np.zeros(len(x))
    for shock in about.shocks:
        size = middle.sel(shock=shock).values
        axis.bar(x, size, width=0.22, bottom=np.where(size > 0, above, below), color=colours[shock], label=shock)
        above, below = above + np.maximum(size, 0), below + np.minimum(size, 0)
    axis.axhline(0, color=MODE, lw=0.6)
    axis.set(title="Shocks behind it", ylabel="standard deviations")
    axis.locator_params(axis="x", nbins=5, integer=True)
    handles = [Patch(color=colours[s], label=_words(about, s)) for s in about.shocks]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)))
    caption = (
        f"{at['title']}: {at['words']} (dots), {at['by']}. Median and {_probabilities(data)}; dashed: the forecast "
        f"without conditions; {about.words}."
    )
    return ReportFigure("scenario", figure, caption, f"Fan charts of {', '.join(variables)} under conditions.")


def _counterfactual(result: Counterfactual, variables: list[str]) -> ReportFigure:
    about, data = result.about, result.dataset
    x = _years(data.date.values)
    figure = new_figure(1.9 * len(variables) + 0.4)
    axes = figure.subplots(len(variables), 1, sharex=True, squeeze=False)[:, 0]
    for axis, variable in zip(axes, variables, strict=True):
        _bands(axis, x, data.value.sel(variable=variable), EXACT)
        axis.plot(x, data.baseline.sel(variable=variable, quantile=0.5), color=MODE, lw=1.0)
        axis.set_title(_words(about, variable))
        axis.set_ylabel(_unit(about, variable), fontsize=8)
        axis.margins(x=0.005)
    bands = _probabilities(data)
    caption = (
        f"{result.draws.attrs['title']}: {result.draws.attrs['words']}. Blue: "
        f"median{' with ' + bands if bands else ''}; black: what happened; {about.words}."
    )
    return ReportFigure(
        "counterfactual", figure, caption, f"Time series of {', '.join(variables)} under both policies."
    )


def _news(result: News, variables: list[str]) -> ReportFigure:
    """Contributions to the change at each date, those of data by observable."""
    about, draws = result.about, result.draws
    figure, axes = _panels(len(variables), 2.6)
    x = _years(draws.date.values)
    names = [str(name) for name in draws.observable.values]
    owner = np.array([str(d).rsplit(" ", 1)[0] for d in draws.datum.values])
    for axis, variable in zip(axes, variables, strict=False):
        parts = []
        for j, name in enumerate(names):
            news = draws.news.sel(variable=variable).median("draw").values[:, owner == name].sum(1)
            parts.append((news, CHAINS[j % len(CHAINS)], 1.0))
            revised = draws.revision.sel(variable=variable, observable=name).median("draw").values
            parts.append((revised, CHAINS[j % len(CHAINS)], 0.4))
        if "re_estimation" in draws:
            parts.append((draws.re_estimation.sel(variable=variable).values, GREY, 1.0))
        above, below = np.zeros(len(x)), np.zeros(len(x))
        axis.use_sticky_edges = False
        for size, colour, alpha in parts:
            axis.bar(x, size, 0.22, np.where(size > 0, above, below), color=colour, alpha=alpha)
            above, below = above + np.maximum(size, 0), below + np.minimum(size, 0)
        axis.plot(x, above + below, "o-", color=MODE, ms=2.5, lw=0.8)
        axis.axhline(0, color=MODE, lw=0.6)
        axis.set_title(_words(about, variable))
        axis.set_ylabel(plain_label(about.units(variable)), fontsize=8)
        axis.locator_params(axis="x", nbins=4, integer=True)
    labels = {str(s.observable): plain_label(s.label) for s in about.series if s.observable}
    handles = [Patch(color=CHAINS[j % len(CHAINS)], label=labels.get(n, n)) for j, n in enumerate(names)]
    handles.append(Patch(color=GREY, label="re-estimation" if "re_estimation" in draws else "paler: revisions"))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)))
    caption = (
        f"News {draws.attrs['words']}: contributions to the change of what is known at each date (line), of added data "
        f"in full colour and of revisions paler; medians, {about.words}."
    )
    return ReportFigure("news", figure, caption, f"Stacked contributions of data to changes of {', '.join(variables)}.")


def _predictive(result: PredictiveCheck, variables: list[str]) -> ReportFigure:
    draws, data = result.draws, result.dataset
    kinds = {"s.d.": "Standard deviations", "autocorrelation": "Autocorrelations", "correlation": "Correlations"}
    figure = new_figure(0.17 * len(draws.moment) + 1.2)
    names = [str(m) for m in draws.moment.values]
    sizes = [sum(n.startswith(k) for n in names) for k in kinds]
    axes = figure.subplots(3, 1, gridspec_kw={"height_ratios": sizes})
    for axis, (kind, title) in zip(axes, kinds.items(), strict=True):
        chosen = [i for i, n in enumerate(names) if n.startswith(kind)]
        for k, i in enumerate(chosen):
            for array, colour, shift in ((data.prior, PRIOR, 0.2), (data.posterior, EXACT, -0.15)):
                at = array.isel(moment=i)
                if np.isnan(at.values).any():
                    continue
                for low, width in ((0.05, 1.5), (0.16, 4.0)):
                    if at.sizes["quantile"] > 1:
                        ends = at.sel(quantile=[low, round(1 - low, 12)], method="nearest").values
                        axis.plot(ends, [k + shift] * 2, color=colour, lw=width, solid_capstyle="butt")
            axis.plot(draws.data.values[i], k, "D", color=MODE, ms=4, zorder=5)
        axis.set_yticks(range(len(chosen)), [names[i].removeprefix(kind).strip() for i in chosen], fontsize=7)
        axis.set_ylim(len(chosen) - 0.4, -0.6)
        axis.set_title(title)
    caption = (
        "Moments of the data (diamonds) against those of samples of the same length: 68 and 90 percent of the "
        f"posterior's (blue) and of the prior's (grey); {result.about.words}."
    )
    return ReportFigure("predictive_check", figure, caption, "Intervals of simulated moments and the data's moments.")


POLICY_FIGURES: dict[type[Result], Callable[[Any, list[str]], ReportFigure]] = {
    Scenario: _scenario,
    Counterfactual: _counterfactual,
    News: _news,
    PredictiveCheck: _predictive,
    DirectAndIndirect: direct_figure,
    HouseholdResponses: groups_figure,
}


def evidence_figure(evidence: Evidence) -> ReportFigure:
    """Estimates of the log integral, with two standard errors."""
    rows = (evidence.integral, *evidence.others)
    with figure_style():
        figure = new_figure(0.35 * len(rows) + 1.0, 7.0)
        axis = figure.subplots()
        for k, row in enumerate(rows):
            error = 0.0 if np.isnan(row.standard_error) else 2 * row.standard_error
            axis.errorbar(row.value, k, xerr=error, fmt="o", color=EXACT if k == 0 else MODE, ms=5, lw=1.5, capsize=2)
        axis.axvline(rows[0].value, color=EXACT, lw=0.7, ls=(0, (4, 2)))
        axis.set_yticks(range(len(rows)), [row.name for row in rows])
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.ticklabel_format(axis="x", useOffset=False)
        axis.set_xlabel("log integral of likelihood times prior")
    caption = "Estimates of the log integral of likelihood times prior; bars: two standard errors, where there are any."
    return ReportFigure("evidence", figure, caption, "Estimates of the evidence by method with error bars.")


def identification_figure(found: Identification) -> ReportFigure:
    """Strength by parameter, and the share of the prior's variance left by direction."""
    data, names = found.dataset, [plain_label(n) for n in found.names]
    with figure_style():
        figure = new_figure(max(2.4, 0.24 * len(names) + 1.0))
        left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1, 1.3]})
        strength = np.maximum(data["strength"].values, 1e-3)
        left.barh(range(len(names)), strength, color=[SURROGATE if s < 1 else EXACT for s in strength], height=0.6)
        left.axvline(1.0, color=MODE, lw=0.8, ls=(0, (4, 2)))
        left.set_xscale("log")
        left.set_yticks(range(len(names)), names)
        left.set_ylim(len(names) - 0.4, -0.6)
        left.set(title="Strength", xlabel="prior s.d. over the sample's standard error")
        if "direction" in data.dims:
            shown = np.argsort(-data["direction_variance_left"].values)[: min(6, len(names))]
            weights = data["direction_weight"].values[shown]
            weights = weights * np.sign(weights[np.arange(len(shown)), np.abs(weights).argmax(1)])[:, None]
            right.imshow(weights.T, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
            left_over = data["direction_variance_left"].values[shown]
            right.set_xticks(range(len(shown)), [f"{share:.0%}" for share in left_over])
            right.set_yticks(range(len(names)), names)
            right.set(title="Directions in which the data say least", xlabel="share of the prior's variance left")
        else:
            right.axis("off")
    caption = (
        "Strength of identification by parameter (dashed: the sample says as much as the prior), and the directions in "
        "which the posterior keeps most of the prior's variance, with weights in prior standard deviations (red: "
        "positive, blue: negative)."
    )
    return ReportFigure("identification", figure, caption, "Bars of strength by parameter and weights of directions.")
