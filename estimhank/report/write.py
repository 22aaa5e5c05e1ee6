"""Write the report of a run: tables, figures and the page."""

from __future__ import annotations

from pathlib import Path

from estimhank.files import make_folder, write_bytes, write_text
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
from estimhank.report.style import ReportFigure


def all_figures(inputs: ReportInputs) -> tuple[ReportFigure, ...]:
    """Every figure that the run has the material for."""
    figures = [prior_posterior_figure(inputs)]
    if len(inputs.parameters) > 1:
        figures += [correlation_figure(inputs), pair_figure(inputs)]
    if inputs.households is not None and inputs.households.estimated:
        figures.append(micro_figure(inputs.households))
    figures += [convergence_figure(inputs), trace_rank_figure(inputs)]
    if inputs.certificate is not None or error_samples(inputs):
        figures.append(certificate_figure(inputs))
    if inputs.gap is not None:
        figures.append(surrogate_gap_figure(inputs))
    if inputs.training:
        figures.append(training_figure(inputs))
    if inputs.mode is not None:
        figures.append(mode_check_figure(inputs))
    if inputs.arrays.observed is not None:
        figures.append(data_figure(inputs))
    return tuple(figures)


def write_report(inputs: ReportInputs, out_dir: Path | str) -> list[Path]:
    """Write ``report.html``, ``tables/*.csv``, ``tables/*.tex``, ``figures/*.png`` and ``figures/*.svg``.

    Each file is written atomically, the page last, so that a page that is there has everything beside it.

    Parameters
    ----------
    inputs : ReportInputs
        The run.
    out_dir : path
        The results folder; created where it does not exist.

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
    tables, figures = all_tables(inputs), all_figures(inputs)
    tables_folder, figures_folder = make_folder(folder / "tables"), make_folder(folder / "figures")
    written = []
    for table in tables:
        written.append(write_text(tables_folder / f"{table.name}.csv", table.to_csv()))
        written.append(write_text(tables_folder / f"{table.name}.tex", table.to_latex()))
    for figure in figures:
        written.append(write_bytes(figures_folder / f"{figure.name}.png", figure.to_png()))
        written.append(write_bytes(figures_folder / f"{figure.name}.svg", figure.to_svg()))
    page = write_text(folder / "report.html", render_page(inputs, tables, figures))
    return [page, *written]
