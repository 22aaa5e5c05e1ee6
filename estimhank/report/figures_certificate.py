"""Figures of the surrogate: its errors, its certificate and its training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from estimhank.analysis.wording import fixed, plural, significant
from estimhank.report.inputs import ReportInputs
from estimhank.report.style import EXACT, LIMIT, MODE, PRIOR, SURROGATE, ReportFigure, figure_style, new_figure

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ErrorSample:
    """Surrogate's log posterior against the exact one at one set of points, both centred.

    Attributes
    ----------
    label, colour, marker : str
        For the figures.
    exact : ndarray (n,)
        Exact log posterior less its mean.
    error : ndarray (n,)
        Surrogate minus exact, less its mean.
    infeasible : int
        Points left out because the model has no density there.
    """

    label: str
    colour: str
    marker: str
    exact: Array
    error: Array
    infeasible: int


def error_samples(inputs: ReportInputs) -> tuple[ErrorSample, ...]:
    """Errors on the certificate's fresh draws and on the exact chains, where a run has them."""
    samples = []
    fresh, exact = inputs.arrays.fresh, inputs.arrays.exact
    if fresh is not None:
        samples.append(_error_sample("fresh draws of the surrogate", SURROGATE, "o", fresh.exact, fresh.surrogate))
    if exact.surrogate_log_density is not None:
        surrogate = exact.surrogate_log_density.ravel()
        samples.append(_error_sample("exact draws", EXACT, "s", exact.log_density.ravel(), surrogate))
    return tuple(s for s in samples if s.error.size > 1)


def _error_sample(label: str, colour: str, marker: str, exact: Array, surrogate: Array) -> ErrorSample:
    there = np.isfinite(exact) & np.isfinite(surrogate)
    exact, error = exact[there], surrogate[there] - exact[there]
    if error.size:
        exact, error = exact - exact.mean(), error - error.mean()
    return ErrorSample(label, colour, marker, exact, error, int((~there).sum()))


def certificate_figure(inputs: ReportInputs) -> ReportFigure:
    """Exact against surrogate log posterior, the errors, and every figure of the certificate against its limit."""
    samples = error_samples(inputs)
    with figure_style():
        figure = new_figure(6.4)
        (scatter, histogram), (tails, bars) = figure.subplots(2, 2)
        _scatter_panel(scatter, samples)
        _histogram_panel(histogram, samples)
        _tails_panel(tails, samples)
        _limits_panel(bars, inputs)
    spreads = ", ".join(
        f"{fixed(s.error.std(ddof=1), 3)} on {plural(s.error.size, s.label[:-1], s.label)}" for s in samples
    )
    left_out = sum(s.infeasible for s in samples)
    caption = (
        "The surrogate's log posterior against the exact one. Top left: both, centred, with the line of equality. Top "
        "right: distribution of the error. Bottom left: the error by how likely the point is, median and central 90 % "
        "by tenth; a drift would show where the surrogate is wrong. Bottom right: the certificate's figures as shares "
        "of what is allowed, ± 2 Monte Carlo standard errors."
    )
    if left_out:
        caption += f" {plural(left_out, 'point')} at which the model has no density left out."
    alt = (
        f"Four panels on the surrogate's error; standard deviations: {spreads}."
        if spreads
        else "The certificate's figures against their limits."
    )
    return ReportFigure("certificate", figure, caption, alt)


def _scatter_panel(axis: Axes, samples: tuple[ErrorSample, ...]) -> None:
    values = []
    for sample in samples:
        step = max(1, sample.error.size // 3000)
        x, y = sample.exact[::step], (sample.exact + sample.error)[::step]
        axis.plot(
            x, y, sample.marker, ms=2.5, mew=0, alpha=0.45, color=sample.colour, label=sample.label, rasterized=True
        )
        values += [x, y]
    if values:
        low, high = float(np.min(np.concatenate(values))), float(np.max(np.concatenate(values)))
        axis.plot([low, high], [low, high], color=MODE, lw=0.8)
        axis.legend(loc="upper left", markerscale=2.5, handletextpad=0.3)
    axis.set(
        title="surrogate against exact",
        xlabel="exact log posterior, centred",
        ylabel="surrogate's log posterior, centred",
    )


def _histogram_panel(axis: Axes, samples: tuple[ErrorSample, ...]) -> None:
    if samples:
        reach = max(float(np.quantile(np.abs(s.error), 0.998)) for s in samples)
        edges = np.linspace(-reach, reach, 61)
        for sample in samples:
            label = f"{sample.label}: s.d. {significant(sample.error.std(ddof=1), 2)}"
            heights, _ = np.histogram(sample.error.clip(-reach, reach), edges, density=True)
            if sample.marker == "o":
                axis.stairs(heights, edges, fill=True, color=sample.colour, alpha=0.35, label=label)
            else:
                axis.stairs(heights, edges, color=sample.colour, lw=1.5, label=label)
        axis.set_ylim(top=1.3 * axis.get_ylim()[1])
        axis.legend(loc="upper left")
    axis.axvline(0, ymax=0.78, color=MODE, lw=0.8)
    axis.set(title="error", xlabel="surrogate minus exact, log points, centred", yticks=[])
    axis.spines["left"].set_visible(False)


def _tails_panel(axis: Axes, samples: tuple[ErrorSample, ...]) -> None:
    edges = np.quantile(np.concatenate([s.exact for s in samples]), np.linspace(0, 1, 11)) if samples else np.empty(0)
    for k, sample in enumerate(samples):
        group = np.clip(np.searchsorted(edges, sample.exact, side="right") - 1, 0, 9)
        there = [g for g in range(10) if np.count_nonzero(group == g) >= 5]
        q = np.array([np.quantile(sample.error[group == g], [0.05, 0.5, 0.95]) for g in there]).reshape(-1, 3)
        # by group and not by value, and side by side, so that no bar hides another
        x = np.array(there) + 1 + (k - (len(samples) - 1) / 2) * 0.25
        bars = (q[:, 1] - q[:, 0], q[:, 2] - q[:, 1])
        axis.errorbar(x, q[:, 1], yerr=bars, fmt=sample.marker, ms=4, lw=1.1, color=sample.colour, capsize=2)
    axis.axhline(0, color=MODE, lw=0.8)
    axis.set(
        title="error by tenth of the exact log posterior",
        ylabel="surrogate minus exact, log points",
        xticks=range(1, 11),
    )
    axis.set_xlabel("tenth of the points, from the least to the most likely")


def _limits_panel(axis: Axes, inputs: ReportInputs) -> None:
    figures = [f for f in inputs.certificate_figures if f.has_limit]
    position = np.arange(len(figures))[::-1]
    allowance = np.array([abs((1 - f.limit) if f.at_least else f.limit) for f in figures])
    share = np.array([max(f.severity, 0.0) for f in figures])  # a negative tail index is as good as none
    error = np.nan_to_num([2 * f.mcse for f in figures]) / allowance
    axis.axvspan(0, 1, color=PRIOR, alpha=0.18, lw=0)
    axis.axvline(1, color=LIMIT, lw=1.2, ls="--")
    for y, x, e, figure in zip(position, share, error, figures, strict=True):
        if np.isfinite(x):
            colour, marker = (EXACT, "o") if figure.passed else (LIMIT, "X")
            axis.errorbar(
                x, y, xerr=[[min(e, x)], [e]], fmt=marker, ms=7 if marker == "X" else 6, color=colour, lw=1.2, capsize=2
            )
        else:
            words = "missing" if np.isnan(x) else "infinite"
            axis.text(0.03, y, words, va="center", fontsize=8, color=LIMIT)
    ends = share + error
    largest = max([1.2, *ends[np.isfinite(ends)]])
    axis.set(title="certificate: share of what is allowed", xlim=(0, 1.05 * largest), ylim=(-0.6, len(figures) - 0.4))
    axis.set_yticks(position, [f.label.replace("s_e", "$s_e$").replace("k̂", r"$\hat k$") for f in figures])
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel("inside the shaded area: passed")


def training_figure(inputs: ReportInputs) -> ReportFigure:
    """Losses by epoch of every round, and the error on held-out evaluations by round."""
    rounds = inputs.training
    with figure_style():
        figure = new_figure(2.9)
        losses, errors = figure.subplots(1, 2, width_ratios=(1.6, 1))
        start = 0.0
        for k, one in enumerate(rounds):
            epoch = np.asarray(one.epoch, float) + start
            losses.semilogy(epoch, one.loss, color=EXACT, lw=1.1, label="training" if k == 0 else None)
            if k:
                losses.axvline(start, color=PRIOR, lw=0.8, ls=":")
            start = float(epoch[-1]) if epoch.size else start
        losses.set(title="loss", xlabel="epoch, rounds one after the other", xlim=(0, max(start, 1.0)))
        losses.legend(loc="upper right")
        sizes = np.array([one.points for one in rounds], float)
        s_e = np.array([one.value_rmse for one in rounds])
        errors.plot(sizes, s_e, "o-", color=EXACT, ms=5)
        limit = next((f.limit for f in inputs.certificate_figures if f.key == "s_e"), np.nan)
        if np.isfinite(limit):
            errors.axhline(limit, color=LIMIT, lw=1, ls="--", label="certificate's limit")
            errors.legend(loc="upper right")
        errors.set(title="error on held-out evaluations", xlabel="evaluations learned from", ylabel="s.d., log points")
        errors.set_ylim(0, 1.15 * errors.get_ylim()[1])
        errors.margins(x=0.12)
        errors.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        errors.locator_params(axis="x", nbins=5)
    caption = (
        "Training of the surrogate: loss by epoch (dotted lines: new rounds); error on held-out evaluations by round."
    )
    by_round = ", ".join(fixed(v, 3) for v in s_e)
    alt = f"Training losses by epoch; error on held-out evaluations by round: {by_round}."
    return ReportFigure("training", figure, caption, alt)
