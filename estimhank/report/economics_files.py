"""Results as files: a long table, a place in ``results.nc``, a figure, LaTeX where a table is printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from estimhank.analysis.wording import fixed
from estimhank.economics.forecast import Forecast
from estimhank.economics.result import Result
from estimhank.economics.scenario import Scenario
from estimhank.economics.variance import INFINITY, VarianceDecomposition
from estimhank.report.explore import Block, explore_block
from estimhank.report.figures_economics import economics_figure
from estimhank.report.style import DrawnFigure
from estimhank.report.tables import Column, Table
from estimhank.support.errors import ResultsError
from estimhank.support.files import make_folder, read_json, write_bytes, write_json, write_text

#: What figures and tables say of themselves, for the report.
_INDEX = "index.json"

#: Series that a figure of the report has room for; files have all of them.
_ROOM = 12


@dataclass(frozen=True)
class DrawnTable:
    """A table as HTML, yet to be numbered."""

    name: str
    html: str

    def to_html(self, number: int) -> str:
        """With its number in the caption."""
        return self.html.replace("<caption>", f"<caption><b>Table {number}.</b> ", 1)


@dataclass(frozen=True)
class EconomicsPart:
    """Results as the report shows them: figures, tables, what each says in words, and by result the numbers from which
    the page's script draws (:mod:`estimhank.report.explore`)."""

    figures: tuple[DrawnFigure, ...]
    tables: tuple[DrawnTable, ...]
    words: Mapping[str, str]
    notes: tuple[str, ...] = ()
    blocks: Mapping[str, Block] = field(default_factory=dict)


def write_results(results: Mapping[str, Result], folder: Path, svg: bool = False) -> list[Path]:
    """Write results to a folder: ``NAME.csv``, ``NAME.png``, ``NAME.tex`` where it is a table, and ``results.nc``.

    Parameters
    ----------
    results : mapping of str to Result
    folder : path
        Created where it does not exist.
    svg : bool
        Every figure as SVG too.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    StorageError
    """
    folder = make_folder(folder)
    written, index = [], {}
    for name, result in results.items():
        figure = economics_figure(result, variables=result.about.names[:_ROOM]).drawn(svg)
        written.append(write_bytes(folder / f"{name}.png", figure.png))
        written.append(write_text(folder / f"{name}.csv", result.table().to_csv(index=False, lineterminator="\n")))
        if figure.svg is not None:
            written.append(write_bytes(folder / f"{name}.svg", figure.svg))
        table = table_of(result)
        if table is not None:
            written.append(write_text(folder / f"{name}.tex", table.to_latex()))
        about: dict[str, Any] = {"caption": figure.caption, "alt": figure.alt, "size": list(figure.size)}
        block = explore_block(result)
        about |= {} if table is None else {"table": table.to_html()}
        about |= {} if block is None else {"explore": block}
        index[name] = about
    written.append(write_bytes(folder / "results.nc", as_netcdf(results)))
    written.append(write_json(folder / _INDEX, index))
    return written


def as_netcdf(results: Mapping[str, Result]) -> bytes:
    """A netCDF file with a group for each result: medians and bands."""
    tree = xr.DataTree.from_dict({f"/{name}": _plain(result) for name, result in results.items()})
    content = tree.to_netcdf(None, engine="h5netcdf")
    assert content is not None  # bytes, where no path is given
    return bytes(content)


def _plain(result: Result) -> xr.Dataset:
    found = result.dataset
    return found.assign_attrs({**found.attrs, "model": result.about.model, "summary": result.summary()})


def read_part(folder: Path, words: Mapping[str, str], notes: tuple[str, ...]) -> EconomicsPart:
    """What :func:`write_results` left for the report; ``words`` by result, and notes.

    Raises
    ------
    ResultsError
        If they are damaged.
    """
    try:
        index = dict(read_json(folder / _INDEX))
        figures = tuple(
            DrawnFigure(
                name,
                str(about["caption"]),
                str(about["alt"]),
                (float(about["size"][0]), float(about["size"][1])),
                (folder / f"{name}.png").read_bytes(),
            )
            for name, about in index.items()
        )
        tables = tuple(DrawnTable(name, str(about["table"])) for name, about in index.items() if "table" in about)
        blocks = {name: dict(about["explore"]) for name, about in index.items() if "explore" in about}
        return EconomicsPart(figures, tables, words, notes, blocks)
    except (KeyError, TypeError, ValueError, IndexError, OSError) as error:
        raise ResultsError(f"{folder} is damaged ({error}): run the economics stage again") from None


def table_of(result: Result) -> Table | None:
    """What of a result is printed as a table; None of those that are figures."""
    if isinstance(result, VarianceDecomposition):
        return _variance_table(result)
    return _forecast_table(result) if isinstance(result, Forecast | Scenario) else None


def _number(value: Any) -> str:
    return "–" if value is None or not np.isfinite(value) else fixed(float(value), 1)


def _small(value: Any) -> str:
    return "–" if value is None or not np.isfinite(value) else fixed(float(value), 2)


def _variance_table(result: VarianceDecomposition) -> Table:
    about, means = result.about, result.grouped().mean("draw")
    spread = result.draws.sd.mean("draw")
    groups = [str(g) for g in means.group.values if float(means.sel(group=g).max()) > 0]
    columns = [Column("variable", "Series"), Column("horizon", "Quarters")]
    columns += [Column(g, about.label(g), "share, percent", _number) for g in groups]
    columns.append(Column("sd", "S.d.", format=_small))
    rows = []
    for variable in about.names:
        for i, horizon in enumerate(means.horizon.values.tolist()):
            at = {"variable": variable, "horizon": horizon}
            shares = [float(100 * means.sel(**at, group=g)) for g in groups]
            words = "∞" if horizon == INFINITY else str(horizon)
            rows.append((about.label(variable) if i == 0 else "", words, *shares, float(spread.sel(**at))))
    caption = f"Variance decomposition, percent, and standard deviations; means, {about.words}."
    return Table(result.name, caption, tuple(columns), tuple(rows))


def _forecast_table(result: Forecast | Scenario) -> Table:
    about, data = result.about, result.dataset.value
    columns = [Column("quarter", "Quarter")]
    rows: list[list[Any]] = [[str(date)] for date in data.date.values]
    for variable in about.names:
        label = about.label(variable)
        for quantile, words in ((0.16, "16%"), (0.5, "median"), (0.84, "84%")):
            columns.append(Column(f"{variable} {words}", words, label, _small))
            for row, value in zip(rows, data.sel(variable=variable, quantile=quantile).values, strict=True):
                row.append(float(value))
    what = (
        "Forecasts" if isinstance(result, Forecast) else f"{result.draws.attrs['title']}: {result.draws.attrs['words']}"
    )
    caption = f"{what}: median and 68 percent band with all uncertainty, {about.words}."
    return Table(result.name, caption, tuple(columns), tuple(tuple(row) for row in rows))
