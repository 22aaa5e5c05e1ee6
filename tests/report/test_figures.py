"""Figures: labels from the data objects, statistics against brute force, the same bytes each time."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from estimhank.report.figures_certificate import certificate_figure, error_samples, training_figure
from estimhank.report.figures_convergence import (
    dependence,
    effective_draws_by_length,
    rank_differences,
    simultaneous_band,
    trace_rank_figure,
)
from estimhank.report.figures_inputs import data_figure, mode_check_figure
from estimhank.report.figures_posterior import prior_posterior_figure, surrogate_gap_figure
from estimhank.report.inputs import ReportInputs
from estimhank.report.style import ReportFigure, figure_style
from estimhank.report.write import all_figures
from tests.helpers.synthetic_run import first_parameters, synthetic_inputs


@pytest.fixture(scope="module")
def inputs() -> ReportInputs:
    """A run of three parameters."""
    return first_parameters(synthetic_inputs(chains=4, draws=80), 3)


def titles(figure: ReportFigure) -> list[str]:
    """Titles of the panels that are shown."""
    return [axis.get_title(loc="left") for axis in figure.figure.axes if axis.axison]


def test_panels_are_labelled_by_the_parameters(inputs: ReportInputs) -> None:
    renamed = replace(inputs.parameters[1], latex=r"\Omega", unit="percent")
    changed = replace(inputs, parameters=(inputs.parameters[0], renamed, inputs.parameters[2]))
    for draw in (prior_posterior_figure, mode_check_figure, trace_rank_figure):
        assert r"$\Omega$ (percent)" in titles(draw(changed))
    ticks = [label.get_text() for label in surrogate_gap_figure(changed).figure.axes[0].get_yticklabels()]
    assert ticks == [r"$\kappa_w$", r"$\Omega$", r"$\phi_y$"]


def test_data_are_labelled_by_the_data_set(inputs: ReportInputs) -> None:
    data = replace(inputs.arrays.observed, labels=("a", "b", "c"), units=("percent", "index", "percent a year"))
    figure = data_figure(replace(inputs, arrays=replace(inputs.arrays, observed=data)))
    assert titles(figure) == ["a", "b", "c"]
    assert [axis.get_ylabel() for axis in figure.figure.axes] == ["percent", "index", "percent a year"]
    assert "1966Q1 to 2019Q4" in figure.caption and "a 0.701" in figure.caption


def test_every_figure_has_a_caption_and_an_alternative_text(inputs: ReportInputs) -> None:
    figures = all_figures(inputs)
    assert [f.name for f in figures] == [
        "prior_posterior", "correlations", "pairs", "convergence", "trace_rank", "certificate", "surrogate_gap",
        "training", "mode_check", "data",
    ]  # fmt: skip
    assert all(len(f.caption) > 20 and len(f.alt) > 20 for f in figures)


@pytest.mark.parametrize("draw", [prior_posterior_figure, certificate_figure, mode_check_figure, training_figure])
def test_no_text_overlaps_or_leaves_the_page(draw: Callable[[ReportInputs], ReportFigure]) -> None:
    figure = draw(synthetic_inputs(error=0.11, chains=2, draws=40)).figure
    with figure_style():
        FigureCanvasAgg(figure).draw()
        boxes = [text.get_window_extent() for axis in figure.axes if axis.axison for text in visible_texts(axis)]
    assert len(boxes) > 10
    for k, box in enumerate(boxes):
        assert figure.bbox.padded(1).contains(*box.p0) and figure.bbox.padded(1).contains(*box.p1)
        assert not any(box.padded(-1).overlaps(other.padded(-1)) for other in boxes[k + 1 :])


def visible_texts(axis: Axes) -> list[Text]:
    """Titles, axis labels and those tick labels that are inside the limits."""
    low, high = axis.get_xlim()
    ticks = [tick for tick in axis.get_xticklabels() if low <= tick.get_position()[0] <= high]
    texts = [axis.title, axis._left_title, axis.xaxis.label, axis.yaxis.label, *ticks]  # type: ignore[attr-defined]
    return [text for text in texts if text.get_visible() and text.get_text()]


def test_the_same_inputs_give_the_same_bytes(inputs: ReportInputs) -> None:
    assert prior_posterior_figure(inputs).to_svg() == prior_posterior_figure(inputs).to_svg()
    assert data_figure(inputs).to_png() == data_figure(inputs).to_png()


def test_the_callers_matplotlib_settings_are_left_alone(inputs: ReportInputs) -> None:
    with mpl.rc_context({"font.size": 31, "axes.titlelocation": "center"}):
        data_figure(inputs).to_svg()
        assert mpl.rcParams["font.size"] == 31 and mpl.rcParams["axes.titlelocation"] == "center"


def test_rank_differences_by_brute_force() -> None:
    draws = np.random.default_rng(1).normal(size=(3, 40))
    at, differences = rank_differences(draws)
    ordered = np.sort(draws.ravel())
    for chain in range(3):
        for k in (5, 20, 44):
            threshold = ordered[round(at[k] * 120) - 1]
            assert differences[chain, k] == pytest.approx(np.mean(draws[chain] <= threshold) - at[k])
    assert not differences[:, 0].any() and differences[:, -1] == pytest.approx(0)


@pytest.mark.parametrize(("chains", "draws"), [(4, 100), (24, 60)])
def test_band_holds_agreeing_chains_nine_times_in_ten(chains: int, draws: int) -> None:
    band, rng = simultaneous_band(chains, draws), np.random.default_rng(2)
    inside = [
        bool((np.abs(rank_differences(rng.normal(size=(chains, draws)))[1]) <= band + 1e-9).all()) for _ in range(300)
    ]
    assert 0.85 < np.mean(inside) < 0.98  # ranks are discrete, so that short chains cannot have exactly 0.90


def test_band_of_dependent_draws_is_wider_but_does_not_hide_a_chain_that_is_aside() -> None:
    rng = np.random.default_rng(3)
    chains = rng.normal(size=(4, 2000))
    assert dependence(chains) == pytest.approx(1.0, abs=0.1)
    shifted = chains + np.array([[3.0], [0], [0], [0]])
    assert dependence(shifted) == pytest.approx(1.0, abs=0.1)
    for t in range(1, 2000):
        chains[:, t] = 0.8 * chains[:, t - 1] + 0.6 * chains[:, t]
    assert dependence(chains) == pytest.approx(3.0, rel=0.15)  # root of (1 + 0.8) / (1 - 0.8)


def test_effective_draws_grow_with_the_chains() -> None:
    lengths, bulk, tail = effective_draws_by_length(np.random.default_rng(4).normal(size=(4, 400, 2)))
    assert lengths[-1] == 400 and (np.diff(lengths) > 0).all()
    assert bulk[-1] == pytest.approx(8 * bulk[0], rel=0.4) and len(tail) == len(bulk)


def test_errors_are_centred_and_points_without_a_density_are_counted(inputs: ReportInputs) -> None:
    fresh, exact = error_samples(inputs)
    assert fresh.infeasible == 3 and exact.infeasible == 0
    error = inputs.arrays.exact.surrogate_log_density - inputs.arrays.exact.log_density
    assert exact.error.std() == pytest.approx(error.std()) and abs(exact.error.mean()) < 1e-12
    assert "3 points at which the model has no density" in certificate_figure(inputs).caption


def test_a_certificate_with_missing_and_infinite_figures_can_be_drawn(inputs: ReportInputs) -> None:
    certificate = {**(inputs.certificate or {}), "s_e": "inf", "wrong_accept": "nan", "passed": False}
    certificate = json.loads(json.dumps(certificate))
    texts = [t.get_text() for t in certificate_figure(replace(inputs, certificate=certificate)).figure.axes[3].texts]
    assert sorted(texts) == ["infinite", "missing"]


def test_draws_that_never_move_can_be_drawn(inputs: ReportInputs) -> None:
    theta = inputs.arrays.exact.theta.copy()
    theta[..., 1] = theta[0, 0, 1]
    stuck = replace(inputs, arrays=replace(inputs.arrays, exact=replace(inputs.arrays.exact, theta=theta)))
    assert len(all_figures(stuck)) == 10
    theta[:] = theta[0, 0]
    assert len(all_figures(stuck)) == 10
