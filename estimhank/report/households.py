"""What the steady state says about households: a table, a figure and a few sentences."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from estimhank.analysis.density import smooth_density
from estimhank.analysis.wording import REASON_WORDS, fixed, joined, percent, plural, significant
from estimhank.households.micro_moments import TRANSFER, MicroMoment, MicroMoments
from estimhank.report.style import EXACT, MODE, PRIOR, ReportFigure, figure_style, panel_grid, place_legend
from estimhank.report.tables import Column, Table

Array = NDArray[np.float64]

_COLUMNS = 3
_NARROWER = 0.9  # a posterior s.d. above this share of the prior's has learned next to nothing
_MPC = (
    "MPC: marginal propensity to consume, the mean over households. Marginal: out of a very small transfer, as in the "
    f"model's linear responses; transfer of {100 * TRANSFER:g} %: of mean consumption in a quarter, with which "
    "constrained households leave the constraint."
)


def micro_table(households: MicroMoments) -> Table:
    """Each moment at the parameter table's own values, and under prior and exact posterior where draws move it."""
    groups = {"prior": ("Prior", households.prior), "posterior": ("Exact posterior", households.posterior)}
    there = {key: (title, draws) for key, (title, draws) in groups.items() if draws is not None}
    columns = (
        Column("key", show=False),
        Column("moment", "Moment"),
        Column("unit", "Unit"),
        Column("calibrated", "Calibration", "", _digits),
        *(column for key, (title, _) in there.items() for column in _columns(key, title)),
    )
    summaries = [_summary(draws, len(households.moments)) for _, draws in there.values()]
    body = tuple(
        (m.key, m.label, m.unit, float(households.calibrated[i]), *(float(v) for s in summaries for v in s[i]))
        for i, m in enumerate(households.moments)
    )
    notes = f"{_MPC} Calibration: at the model's own values of all parameters."
    if households.estimated:
        notes += f" {_drawn(households)} The steady state is solved again at each."
    return Table("micro_moments", "What the steady state says about households", columns, body, notes)


def _columns(key: str, group: str) -> tuple[Column, ...]:
    return (
        Column(f"{key}_mean", "Mean", group, _digits),
        Column(f"{key}_sd", show=False),
        Column(f"{key}_q05", "5 %", group, _digits),
        Column(f"{key}_q95", "95 %", group, _digits),
    )


def _digits(value: Any) -> str:
    return significant(float(value), 3)


def _summary(draws: Array | None, k: int) -> Array:
    """Mean, s.d., 5 % and 95 % quantile of each of k moments, shape (k, 4); nan without draws."""
    if draws is None or len(draws) == 0:
        return np.full((k, 4), np.nan)
    sd = draws.std(axis=0, ddof=1) if len(draws) > 1 else np.full(k, np.nan)
    return np.stack([draws.mean(axis=0), sd, *np.quantile(draws, [0.05, 0.95], axis=0)], axis=1)


def _drawn(households: MicroMoments) -> str:
    groups = ((households.posterior, "exact draw"), (households.prior, "prior draw"))
    return f"From {joined([plural(len(draws), word) for draws, word in groups if draws is not None])}."


def micro_figure(households: MicroMoments) -> ReportFigure:
    """Prior and exact posterior density of each moment."""
    with figure_style():
        figure, axes = panel_grid(len(households.moments), _COLUMNS, 2.0)
        for i, moment in enumerate(households.moments):
            _panel(axes[i], households, i, moment)
        place_legend(figure, axes, len(households.moments))
    caption = (
        "What the estimates say about households: prior (grey) and exact posterior (blue; darker within the central "
        f"68 %, lighter within 90 %). Dotted line: at the calibrated values. {_drawn(households)}"
    )
    means = _summary(households.posterior, len(households.moments))
    listed = "; ".join(f"{m.label} {_digits(v[0])}" for m, v in zip(households.moments, means, strict=True))
    alt = f"Prior and posterior densities of moments of the distribution of households. Posterior means: {listed}."
    return ReportFigure("micro_moments", figure, caption, alt)


def _panel(axis: Axes, households: MicroMoments, i: int, moment: MicroMoment) -> None:
    posterior = None if households.posterior is None else _finite(households.posterior[:, i])
    prior = None if households.prior is None else _finite(households.prior[:, i])
    shown = [draws for draws in (posterior, prior) if draws is not None and draws.size]
    everything = np.concatenate([*shown, [households.calibrated[i]]])
    # nobody in debt: wealth and its shares stop at zero
    lower = max(moment.lower, 0.0 if everything.min() >= 0 else -np.inf)
    for draws, colour, label in ((prior, PRIOR, "prior"), (posterior, EXACT, "exact posterior")):
        if draws is None or not draws.size:
            continue
        grid, density = smooth_density(draws, lower, moment.upper)
        grid, density = grid[::4], density[::4]
        if not grid.size:
            continue
        q = np.quantile(draws, [0.05, 0.16, 0.84, 0.95])
        bands = ((grid[0], grid[-1], 0.25),) if colour == PRIOR else ((q[0], q[3], 0.18), (q[1], q[2], 0.30))
        for low, high, alpha in bands:
            inside = (grid >= low) & (grid <= high)
            axis.fill_between(grid[inside], density[inside], color=colour, alpha=alpha, lw=0)
        axis.plot(grid, density, color=colour, lw=1.0 if colour == PRIOR else 1.6, label=label)
    axis.axvline(float(households.calibrated[i]), color=MODE, lw=1.0, ls=":", label="calibrated values")
    ends = np.array([np.quantile(draws, [0.002, 0.998]) for draws in shown]).reshape(-1, 2)
    if ends.size and (width := ends[:, 1].max() - ends[:, 0].min()) > 0:
        axis.set_xlim(max(ends[:, 0].min() - 0.1 * width, lower), min(ends[:, 1].max() + 0.1 * width, moment.upper))
    axis.set(title=moment.label, xlabel=moment.unit, yticks=[])
    axis.set_ylim(0, 1.02 * axis.get_ylim()[1])
    axis.spines["left"].set_visible(False)
    axis.locator_params(axis="x", nbins=5)


def _finite(draws: Array) -> Array:
    return draws[np.isfinite(draws)]


def micro_words(households: MicroMoments) -> tuple[str, ...]:
    """Sentences for the report."""
    k = len(households.moments)
    if not households.estimated:
        first = "No estimated parameter moves the steady state: these households are those of the calibration."
        return (f"{first} {_levels(households, households.calibrated)}",)
    posterior, prior = _summary(households.posterior, k), _summary(households.prior, k)
    moving = households.parameters
    first = f"The steady state moves with {joined(moving)} and is solved again at every draw."
    learned = _learning(households, prior, posterior) if np.isfinite(prior[:, 1]).any() else ""
    paragraphs = (f"{first} {_levels(households, posterior[:, 0], posterior[:, 2:], prior[:, 0])}", learned)
    return tuple(text for text in (*paragraphs, _left_out(households)) if text)


def _levels(households: MicroMoments, values: Array, interval: Array | None = None, prior: Array | None = None) -> str:
    at = {moment.key: i for i, moment in enumerate(households.moments)}

    def told(key: str, words: str) -> str:
        i, more = at[key], []
        if interval is not None:
            low, high = (percent(v).removesuffix(" %") for v in interval[i])
            more.append(f"5 to 95 %: {low} to {high} %")
        if prior is not None and np.isfinite(prior[i]):
            more.append(f"prior mean {percent(prior[i])}")
        return f"{words.format(percent(values[i]))}{f' ({"; ".join(more)})' if more else ''}"

    parts = []
    if "mpc_quarter" in at:
        parts.append(told("mpc_quarter", "Households spend {} of a very small transfer within a quarter"))
        parts.append(told("mpc_year", "and {} within a year"))
    parts.append(told("constrained", "{} of them are at the borrowing constraint"))
    if "top_10" in at and np.isfinite(values[at["top_10"]]):
        parts.append(told("top_10", "the richest 10 % hold {} of all wealth"))
    if "mpc_quarter" in at:
        parts = [f"{parts[0]} {parts[1]}", *parts[2:]]
    return f"{'; '.join(parts)}."


def _learning(households: MicroMoments, prior: Array, posterior: Array) -> str:
    """What the data moved and narrowed most, in prior standard deviations."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.nan_to_num((posterior[:, 0] - prior[:, 0]) / prior[:, 1], posinf=0.0, neginf=0.0)
        ratio = np.nan_to_num(posterior[:, 1] / prior[:, 1], nan=np.inf)
    moved, narrowed = int(np.argmax(np.abs(shift))), int(np.argmin(ratio))
    labels = [moment.label for moment in households.moments]
    text = (
        f"Moved furthest by the data: {labels[moved]} (posterior mean {fixed(abs(shift[moved]), 1)} prior standard "
        f"deviations {'above' if shift[moved] > 0 else 'below'} the prior mean). "
    )
    if ratio[narrowed] < _NARROWER:
        sd = fixed(ratio[narrowed], 2)
        return text + f"Narrowed most: {labels[narrowed]} (posterior standard deviation {sd} times the prior's)."
    return text + "None is much narrower than under the prior: the data say little about them."


def _left_out(households: MicroMoments) -> str:
    sentences = []
    for group, draws in (("prior", households.prior), ("posterior", households.posterior)):
        kinds = households.left_out.get(group, {})
        if draws is None or not kinds:
            continue
        lost, words = sum(kinds.values()), []
        for kind, number in kinds.items():
            reason = REASON_WORDS.get(f"steady_state:{kind}", kind).removeprefix("no steady state: ")
            words.append(f"{reason}: {number:,}")
        verb = "has" if lost == 1 else "have"
        sentences.append(
            f"{lost:,} of {plural(lost + len(draws), f'{group} draw')} {verb} no steady state and "
            f"{'is' if lost == 1 else 'are'} left out ({'; '.join(words)})."
        )
    return " ".join(sentences)
