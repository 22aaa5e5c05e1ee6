"""Write the report of a run: tables, figures and the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from estimhank.evaluation.workers import Workers
from estimhank.report.economics_files import DrawnTable
from estimhank.report.figures_certificate import certificate_figure, error_samples, training_figure
from estimhank.report.figures_convergence import convergence_figure, trace_rank_figure
from estimhank.report.figures_inputs import data_figure, mode_check_figure
from estimhank.report.figures_posterior import (
    correlation_figure,
    pair_figure,
    prior_posterior_figure,
    surrogate_gap_figure,
)
from estimhank.report.households import micro_figure
from estimhank.report.html import render_page
from estimhank.report.inputs import ReportInputs
from estimhank.report.run_tables import all_tables
from estimhank.report.style import DrawnFigure, ReportFigure
from estimhank.report.tables import Table
from estimhank.support.files import make_folder, write_bytes, write_text

#: Makes one figure of a run.
Maker = Callable[[ReportInputs], ReportFigure]


def figure_makers(inputs: ReportInputs) -> tuple[Maker, ...]:
    """What makes every figure that the run has the material for."""
    makers: list[Maker] = [prior_posterior_figure]
    if len(inputs.parameters) > 1:
        makers += [correlation_figure, pair_figure]
    if inputs.households is not None and inputs.households.estimated:
        makers.append(_household_figure)
    makers += [convergence_figure, trace_rank_figure]
    if inputs.certificate is not None or error_samples(inputs):
        makers.append(certificate_figure)
    if inputs.gap is not None:
        makers.append(surrogate_gap_figure)
    if inputs.training:
        makers.append(training_figure)
    if inputs.mode is not None:
        makers.append(mode_check_figure)
    if inputs.arrays.observed is not None:
        makers.append(data_figure)
    return tuple(makers)


def _household_figure(inputs: ReportInputs) -> ReportFigure:
    assert inputs.households is not None  # figure_makers asks only where there are households
    return micro_figure(inputs.households)


def all_figures(inputs: ReportInputs) -> tuple[ReportFigure, ...]:
    """Every figure that the run has the material for."""
    return tuple(make(inputs) for make in figure_makers(inputs))


def draw_figure(make: Maker, inputs: ReportInputs, svg: bool) -> DrawnFigure:
    """Make a figure and draw it, in a worker."""
    return make(inputs).drawn(svg)


def write_report(
    inputs: ReportInputs, out_dir: Path | str, svg: bool = False, workers: Workers | None = None
) -> list[Path]:
    """Write ``report.html``, ``tables/*.csv``, ``tables/*.tex`` and ``figures/*.png``.

    Each file is written atomically, the page last, so that a page that is there has everything beside it.

    Parameters
    ----------
    inputs : ReportInputs
        The run.
    out_dir : path
        The results folder; created where it does not exist.
    svg : bool
        Write ``figures/*.svg`` too.
    workers : Workers, optional
        Draw the figures, side by side; by default this process does.

    Returns
    -------
    list of Path
        The files written, ``report.html`` first.

    Raises
    ------
    StorageError
        If a file cannot be written.
    """
    folder = make_folder(out_dir)
    tables = all_tables(inputs)  # before the figures: what they are summaries of is then known to whoever draws
    calls = [(make, inputs, svg) for make in figure_makers(inputs)]
    figures = workers.map(draw_figure, calls) if workers else [draw_figure(*call) for call in calls]
    tables_folder, figures_folder = make_folder(folder / "tables"), make_folder(folder / "figures")
    written = []
    for table in tables:
        written.append(write_text(tables_folder / f"{table.name}.csv", table.to_csv()))
        written.append(write_text(tables_folder / f"{table.name}.tex", table.to_latex()))
    for figure in figures:
        written.append(write_bytes(figures_folder / f"{figure.name}.png", figure.png))
        if figure.svg is not None:
            written.append(write_bytes(figures_folder / f"{figure.name}.svg", figure.svg))
    shown: list[Table | DrawnTable] = [*tables]
    if inputs.economics is not None:  # which has files of its own
        shown += inputs.economics.tables
        figures = [*figures, *inputs.economics.figures]
    if inputs.linearity is not None:
        shown += inputs.linearity.tables
        figures = [*figures, *inputs.linearity.figures]
    page = write_text(folder / "report.html", render_page(inputs, shown, figures))
    return [page, *written]
