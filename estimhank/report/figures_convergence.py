"""Figures of convergence: traces, ranks, R-hat and effective draws."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy.stats import rankdata

from estimhank.analysis.summary import moved
from estimhank.analysis.wording import count, fixed
from estimhank.report.inputs import ReportInputs
from estimhank.report.style import (
    EXACT,
    LIMIT,
    MODE,
    PRIOR,
    SURROGATE,
    ReportFigure,
    chain_colours,
    figure_style,
    new_figure,
)
from estimhank.sampling.diagnostics import ess

Array = NDArray[np.float64]

_RANK_POINTS = 50


def trace_rank_figure(inputs: ReportInputs) -> ReportFigure:
    """Trace and rank plot of every parameter, a colour a chain."""
    theta, parameters = inputs.arrays.exact.theta, inputs.parameters
    chains, draws, d = theta.shape
    colours = chain_colours(chains)
    band = simultaneous_band(chains, draws)
    rows = -(-d // 2)
    with figure_style():
        figure = new_figure(1.35 * rows + 0.5)
        grid = figure.subplots(rows, 4, width_ratios=(2.2, 1, 2.2, 1), squeeze=False)
        panels = [(grid[k // 2, 2 * (k % 2)], grid[k // 2, 2 * (k % 2) + 1]) for k in range(2 * rows)]
        for i, (trace, rank) in enumerate(panels[:d]):
            _trace_panel(trace, theta[..., i], colours)
            trace.set_title(parameters[i].axis_label)
            _rank_panel(rank, theta[..., i], colours, band * dependence(theta[..., i]))
            if i // 2 == rows - 1:
                trace.set_xlabel("draw")
                rank.set_xlabel("rank, share of draws")
        for trace, rank in panels[d:]:
            trace.axis("off")
            rank.axis("off")
    caption = (
        f"Traces (left) and rank plots (right) of the {chains} exact chains. A rank plot shows, for each chain, the "
        "distribution function of its ranks among all draws minus the uniform one; chains that agree stay in the grey "
        "band (90 %, jointly over chains and ranks; widened for the dependence of draws within a chain)."
    )
    alt = (
        f"Trace and rank plots of {d} parameters over {chains} chains of {draws} draws; largest R-hat "
        f"{fixed(np.max(inputs.exact.r_hat), 4)}."
    )
    return ReportFigure("trace_rank", figure, caption, alt)


def _trace_panel(axis: Axes, draws: Array, colours: list[str]) -> None:
    step = max(1, draws.shape[1] // 1000)
    at = np.arange(0, draws.shape[1], step)
    for chain, colour in zip(draws, colours, strict=True):
        axis.plot(at, chain[at], color=colour, lw=0.5, alpha=0.75, rasterized=True)
    axis.set_xlim(0, max(draws.shape[1] - 1, 1))
    axis.locator_params(axis="y", nbins=4)
    axis.locator_params(axis="x", nbins=5)


def _rank_panel(axis: Axes, draws: Array, colours: list[str], band: Array) -> None:
    at, differences = rank_differences(draws)
    axis.fill_between(at, -band, band, color=PRIOR, alpha=0.3, lw=0)
    axis.axhline(0, color=MODE, lw=0.5)
    for difference, colour in zip(differences, colours, strict=True):
        axis.plot(at, difference, color=colour, lw=0.8)
    reach = 1.15 * max(float(np.abs(differences).max()), float(band.max()))
    axis.set(xlim=(0, 1), ylim=(-reach, reach), xticks=(0, 0.5, 1))
    axis.locator_params(axis="y", nbins=3)


def rank_differences(draws: Array) -> tuple[Array, Array]:
    """Each chain's distribution function of ranks minus the uniform one.

    Parameters
    ----------
    draws : ndarray (chain, draw)
        Draws of one parameter.

    Returns
    -------
    at : ndarray (51,)
        Ranks as shares of all draws, from 0 to 1.
    differences : ndarray (chain, 51)
        Share of the chain's draws at or below that rank, minus ``at``.
    """
    ranks = rankdata(draws, method="average").reshape(draws.shape)
    bounds = _rank_bounds(draws.size)
    at = bounds / draws.size
    return at, (ranks[:, :, None] <= bounds).mean(axis=1) - at


def _rank_bounds(total: int) -> NDArray[np.int64]:
    """Whole numbers of ranks at which distribution functions are compared."""
    return np.rint(np.linspace(0, total, _RANK_POINTS + 1)).astype(np.int64)


def simultaneous_band(chains: int, draws: int, probability: float = 0.90, replications: int = 400) -> Array:
    """Half-width of the band that holds all chains at all ranks with this probability, independent draws assumed.

    The pointwise standard error is that of sampling without replacement; the multiple of it that gives joint coverage
    is found by permuting ranks (after Säilynoja, Bürkner and Vehtari 2022). Shape (51,), zero at both ends.
    """
    bounds = _rank_bounds(chains * draws)
    at = bounds / (chains * draws)
    if chains < 2:
        return np.zeros_like(at)
    pointwise = np.sqrt(at * (1 - at) / draws * (1 - 1 / chains))
    inner = pointwise > 0
    rng = np.random.default_rng(20220301)  # the band is a property of (chains, draws), not of the run
    owner = np.repeat(np.arange(chains), draws)
    largest = np.empty(replications)
    for k in range(replications):
        member = rng.permutation(owner) == np.arange(chains)[:, None]
        below = np.concatenate([np.zeros((chains, 1), int), np.cumsum(member, axis=1)], axis=1)[:, bounds]
        largest[k] = np.max(np.abs(below / draws - at)[:, inner] / pointwise[inner])
    return float(np.quantile(largest, probability)) * pointwise


def dependence(draws: Array) -> float:
    """Factor by which dependence within chains widens the band: root of draws over effective draws, at least one.

    Effective draws are counted chain by chain: the pooled number falls when chains disagree, and a band widened by it
    would hide just that.

    Parameters
    ----------
    draws : ndarray (chain, draw)
        Draws of one parameter.
    """
    if (np.ptp(draws, axis=1) == 0).any() or draws.shape[1] < 4:  # a chain that has not moved has no such number
        return 1.0
    effective = float(sum(ess(chain[None, :, None])[0] for chain in draws))
    return float(np.sqrt(max(draws.size / effective, 1.0))) if np.isfinite(effective) else 1.0


def convergence_figure(inputs: ReportInputs) -> ReportFigure:
    """R-hat and effective draws of every parameter, and how the effective draws grew."""
    exact, criteria = inputs.exact, inputs.criteria
    position = np.arange(len(inputs.parameters))[::-1]
    lengths, bulk, tail = effective_draws_by_length(inputs.arrays.exact.theta)
    chains = inputs.arrays.exact.theta.shape[0]
    with figure_style():
        figure = new_figure(0.24 * len(position) + 1.2)
        left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.2))
        left.axvline(criteria.r_hat, color=LIMIT, lw=1, ls="--", label="limit")
        left.plot(exact.r_hat, position, "o", ms=5, color=EXACT)
        left.set(title=r"$\hat R$", yticks=position)
        left.set_yticklabels([p.label for p in inputs.parameters])
        left.set_xlim(left=min(1.0, float(np.nanmin([0.9995, *exact.r_hat]))) - 0.0005)
        tail_wanted = min(criteria.ess_tail, criteria.ess)
        middle.axvline(criteria.ess, color=LIMIT, lw=1, ls="--")
        middle.axvline(tail_wanted, color=LIMIT, lw=1, ls=":")
        middle.plot(exact.ess_bulk, position, "o", ms=5, color=EXACT, label="bulk")
        middle.plot(exact.ess_tail, position, "D", ms=4.5, color=SURROGATE, mfc="none", mew=1.3, label="tails")
        middle.set(title="effective draws", yticks=position, yticklabels=[])
        middle.set_xlim(left=0)
        for axis in (left, middle):
            axis.grid(axis="y")
            axis.tick_params(axis="y", length=0)
            axis.locator_params(axis="x", nbins=5)
        right.axhline(criteria.ess, color=LIMIT, lw=1, ls="--", label="wanted, bulk")
        right.axhline(tail_wanted, color=LIMIT, lw=1, ls=":", label="wanted, tails")
        right.plot(lengths * chains, bulk, "o-", ms=4, color=EXACT, label="bulk")
        right.plot(lengths * chains, tail, "D--", ms=4, color=SURROGATE, mfc="none", label="tails")
        right.set(
            title="smallest over parameters, as the chains grew", xlabel="exact draws, all chains", xlim=(0, None)
        )
        right.set_ylim(0, 1.25 * max(right.get_ylim()[1], criteria.ess))
        right.locator_params(axis="x", nbins=6)
        handles, labels = right.get_legend_handles_labels()
        right.legend(handles, labels, loc="upper left", ncols=2)
    caption = (
        "R̂ (left) and effective numbers of draws (middle) of every parameter; dashed and dotted: what the run had to "
        "reach. Right: the smallest effective numbers over the parameters, from the first part of every chain; "
        "in a sampler that mixes they grow in proportion to the draws."
    )
    alt = (
        f"Largest R-hat {fixed(np.max(exact.r_hat), 4)}; smallest effective sample size "
        f"{count(np.min(exact.ess_bulk))} in the bulk and {count(np.min(exact.ess_tail))} in the tails."
    )
    return ReportFigure("convergence", figure, caption, alt)


def effective_draws_by_length(theta: Array, points: int = 8) -> tuple[Array, Array, Array]:
    """Smallest bulk and tail effective sample sizes over the parameters, from the first part of every chain.

    Returns
    -------
    lengths : ndarray (k,)
        Draws a chain that are used.
    bulk, tail : ndarray (k,)
        ``nan`` where they cannot be computed.
    """
    draws = theta.shape[1]
    lengths = np.unique(np.linspace(draws / points, draws, points).astype(int))
    lengths = lengths[lengths >= 4]

    def smallest(method: str) -> Array:
        return np.array([np.min(moved(theta[:, :n]) * ess(theta[:, :n], method)) for n in lengths])

    return lengths, smallest("bulk"), smallest("tail")
