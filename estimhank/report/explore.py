"""Results as numbers inside the page, from which its script draws figures that a reader chooses.

A block is plain JSON with a ``kind`` that says how to draw it. Numbers have four significant digits, which is more than
a figure shows; the files of the run have all of them. What a block holds is what the static figure shows: the same
series, units, groups, colours, medians and bands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from estimhank.analysis.math_text import plain_label
from estimhank.economics.direct_effects import DirectAndIndirect
from estimhank.economics.forecast import Forecast
from estimhank.economics.history import EARLIER, SINCE, HistoricalDecomposition
from estimhank.economics.household_responses import HouseholdResponses
from estimhank.economics.reporting import About
from estimhank.economics.responses import Responses
from estimhank.economics.result import Result
from estimhank.economics.smoothing import SmoothedShocks
from estimhank.economics.variance import CYCLE, ERROR, INFINITY, VarianceDecomposition
from estimhank.report.figures_economics import GREY, colours_of
from estimhank.report.style import CHAINS, EXACT, chain_colours

Block = dict[str, Any]

#: Significant digits of numbers in the page.
_DIGITS = 4

#: Numbers of one result in the page at most, some seven bytes each: a large model's first series are what a reader can
#: choose from, and the page stays far below ten megabytes.
MOST = 150_000

#: Quarters of the data that a forecast can be seen after.
_PAST = 80


def explore_block(result: Result) -> Block | None:
    """What the page's script draws a result from; None of results that only have a static figure.

    Parameters
    ----------
    result : Result

    Returns
    -------
    dict or None
        ``kind``, ``choices`` (what a reader may choose, each with names, labels, colours or units) and arrays as nested
        lists, ``None`` where there is no number.
    """
    for kind, make in _BLOCKS.items():
        if isinstance(result, kind):
            found: Block = make(result)
            return found
    return None


def numbers(array: ArrayLike) -> Any:
    """Nested lists of an array, rounded to :data:`_DIGITS` significant digits; None where it is not finite."""
    values = np.asarray(array, float)
    flat = [float(f"{x:.{_DIGITS - 1}e}") if np.isfinite(x) else None for x in values.ravel()]
    whole = [int(x) if x is not None and x.is_integer() and abs(x) < 1e15 else x for x in flat]
    found: Any = whole
    for size in reversed(values.shape[1:]):
        found = [found[i : i + size] for i in range(0, len(found), size)] if size else []
    return found


def _room(about: About, per_series: int) -> list[str]:
    """The first series for whose numbers there is room."""
    return about.names[: max(1, MOST // max(per_series, 1))]


def _series(about: About, names: Sequence[str]) -> list[Block]:
    return [{"name": n, "label": plain_label(about.label(n)), "units": plain_label(about.units(n))} for n in names]


def _sources(about: About, names: Sequence[str]) -> list[Block]:
    colours = colours_of(about)
    return [{"name": n, "label": plain_label(about.label(n)), "color": colours.get(n, GREY)} for n in names]


def _quantiles(dataset: xr.Dataset) -> list[float]:
    return [float(q) for q in dataset["quantile"].values]


def _responses(result: Responses) -> Block:
    """``values`` [variable][shock][quantile][horizon]."""
    about, data = result.about, result.dataset.response
    names = _room(about, data.sel(variable=about.names[0]).size)
    return {
        "kind": "responses",
        "x": data.horizon.values.tolist(),
        "variables": _series(about, names),
        "shocks": _sources(about, about.shocks),
        "quantiles": _quantiles(result.dataset),
        "values": numbers(data.sel(variable=names).transpose("variable", "shock", "quantile", "horizon")),
    }


def _variance(result: VarianceDecomposition) -> Block:
    """``values`` [variable][group][horizon], percent; ``sd`` [variable][horizon]."""
    about, shares = result.about, 100 * result.grouped().mean("draw")
    names = _room(about, shares.sel(variable=about.names[0]).size)
    groups = [str(g) for g in shares.group.values if float(shares.sel(group=g).max()) > 0]
    words = {INFINITY: "∞", CYCLE: "cycle"}
    return {
        "kind": "shares",
        "x": [words.get(str(h), str(h)) for h in shares.horizon.values],
        "variables": _series(about, names),
        "groups": _sources(about, groups),
        "values": numbers(shares.sel(variable=names, group=groups).transpose("variable", "group", "horizon")),
        "sd": numbers(result.draws.sd.mean("draw").sel(variable=names).transpose("variable", "horizon")),
    }


def _history(result: HistoricalDecomposition) -> Block:
    """``since`` and ``earlier`` [variable][group][date], ``error`` and ``total`` [variable][date]."""
    about, parts = result.about, result.grouped().mean("draw")
    names = _room(about, parts.sel(variable=about.names[0]).size)
    draws = result.draws.sel(variable=names)
    total = (draws.smoothed - draws["mean"]).mean("draw").transpose("variable", "date")
    order = ("variable", "group", "date")
    noisy = bool(np.abs(result.draws.measurement_error).max() > 0)
    groups = [str(g) for g in parts.group.values]
    return {
        "kind": "history",
        "x": [str(d) for d in parts.date.values],
        "variables": _series(about, names),
        "groups": _sources(about, groups),
        "since": numbers(parts.sel(variable=names, arrived=SINCE).transpose(*order)),
        "earlier": numbers(parts.sel(variable=names, arrived=EARLIER).transpose(*order)),
        "error": numbers(draws.measurement_error.mean("draw").transpose("variable", "date")) if noisy else None,
        "error_color": colours_of(about)[ERROR],
        "total": numbers(total),
    }


def _shocks(result: SmoothedShocks) -> Block:
    """``values`` [shock][quantile][date]."""
    about, data = result.about, result.dataset.smoothed
    names = list(about.shocks)[: max(1, MOST // data.sel(shock=about.shocks[0]).size)]
    return {
        "kind": "shocks",
        "x": [str(d) for d in data.date.values],
        "first": about.dates[0],
        "shocks": _sources(about, names),
        "quantiles": _quantiles(result.dataset),
        "values": numbers(data.sel(shock=names).transpose("shock", "quantile", "date")),
    }


def _forecast(result: Forecast) -> Block:
    """``values`` [variable][quantile][date], ``past`` [variable][date], ``alone`` [variable][two ends][date]."""
    about, data, past = result.about, result.dataset.value, result.draws.data
    names = _room(about, data.sel(variable=about.names[0]).size + _PAST)
    alone = None
    if len(result.draws.draw) > 1:
        ends = result.parameters_alone().value.sel(variable=names, quantile=[0.05, 0.95])
        alone = numbers(ends.transpose("variable", "quantile", "date"))
    return {
        "kind": "forecast",
        "x": [str(d) for d in data.date.values],
        "before": [str(d) for d in past.sample.values[-_PAST:]],
        "variables": _series(about, names),
        "color": EXACT,
        "quantiles": _quantiles(result.dataset),
        "values": numbers(data.sel(variable=names).transpose("variable", "quantile", "date")),
        "past": numbers(past.sel(variable=names).transpose("variable", "sample").values[:, -_PAST:]),
        "alone": alone,
    }


def _households(result: HouseholdResponses) -> Block:
    """``consumption`` and ``given_states`` [group][shock][quantile][horizon], ``inequality`` [measure][shock]..."""
    about, data = result.about, result.dataset
    partitions: dict[str, list[Block]] = {}
    kinds = result.draws.partition.values.tolist()
    for kind in dict.fromkeys(kinds):
        names = [str(g) for g, k in zip(data.group.values, kinds, strict=True) if k == kind]
        colours = chain_colours(len(names))
        labels = [name.partition(": ")[2] or name for name in names]
        partitions[str(kind)] = [
            {"name": n, "label": w, "color": c} for n, w, c in zip(names, labels, colours, strict=True)
        ]
    order = ("shock", "quantile", "horizon")
    return {
        "kind": "households",
        "x": data.horizon.values.tolist(),
        "shocks": _sources(about, about.shocks),
        "partitions": [{"name": k, "label": f"by {k}", "groups": v} for k, v in partitions.items()],
        "groups": [str(g) for g in data.group.values],
        "measures": [{"name": str(m), "label": str(m), "units": "percentage points"} for m in data.measure.values],
        "quantiles": _quantiles(data),
        "consumption": numbers(data.consumption.transpose("group", *order)),
        "given_states": numbers(data.given_states.transpose("group", *order)),
        "inequality": numbers(data.inequality.transpose("measure", *order)),
        "color": EXACT,
    }


def _direct(result: DirectAndIndirect) -> Block:
    """``values`` [output][shock][input][horizon], ``response`` [output][shock][horizon]."""
    about, means = result.about, result.draws.mean("draw")
    inputs = [str(i) for i in means.input.values]
    colours = CHAINS if len(inputs) <= len(CHAINS) else chain_colours(len(inputs))
    return {
        "kind": "effects",
        "x": means.horizon.values.tolist(),
        "shocks": _sources(about, about.shocks),
        "outputs": [{"name": str(o), "label": str(o), "units": result.units[str(o)]} for o in means.output.values],
        "inputs": [
            {"name": n, "label": f"by {plain_label(n)}", "color": c} for n, c in zip(inputs, colours, strict=False)
        ],
        "values": numbers(means.effect.transpose("output", "shock", "input", "horizon")),
        "response": numbers(means.response.transpose("output", "shock", "horizon")),
    }


_BLOCKS: dict[type[Result], Any] = {
    Responses: _responses,
    VarianceDecomposition: _variance,
    HistoricalDecomposition: _history,
    SmoothedShocks: _shocks,
    Forecast: _forecast,
    HouseholdResponses: _households,
    DirectAndIndirect: _direct,
}
