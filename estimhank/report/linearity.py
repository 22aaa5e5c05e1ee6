"""How far off the linear solution is, as files of a results folder and as a section of its report."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimhank.economics.linearity import Linearity
from estimhank.report.economics_files import EconomicsPart, read_part
from estimhank.report.figures_transition import history_figure, linearity_figure
from estimhank.report.tables import Column, Table
from estimhank.support.errors import ResultsError
from estimhank.support.files import make_folder, read_json, write_bytes, write_json, write_text

#: What the section says of itself.
WORDS = (
    "The estimation is of the model's linear solution. Here its responses stand against nonlinear ones, of the same "
    "equations at the same draws, under perfect foresight. Shares are of the linear response's largest deviation."
)
#: Tables and figures of the section, in their order.
KEYS = ("table:linearity", "linearity", "linearity_history")
TITLE = "How far off is linearity"


def draws_digest(theta: NDArray[np.float64]) -> str:
    """Of posterior draws, by which what is stored beside them is known to be of them."""
    return hashlib.sha256(np.ascontiguousarray(theta, float).tobytes()).hexdigest()[:16]


def linearity_table(found: Linearity) -> Table:
    """The observables, for print: a row for each shock and size."""
    frame = found.table()
    names = list(found.series)[: found.observed]
    columns = [Column("shock", "Shock"), Column("size", "Size, s.d.", format=lambda v: f"{v:g}")]
    for name in names:
        columns += [
            Column(f"{name} +", "+", f"{name}, percent", _percent),
            Column(f"{name} -", "−", f"{name}, percent", _percent),
            Column(f"{name} asymmetry", "asymmetry", f"{name}, percent", _percent),
        ]
    rows = []
    for shock, label in found.shocks.items():
        for k, size in enumerate(found.sizes):
            row: list[Any] = [label if k == 0 else "", size]
            at = frame[(frame["shock"] == shock) & (frame["size"] == size)].set_index(["series", "sign"])
            for name in names:
                row += [float(at.loc[(name, "+"), "off"]), float(at.loc[(name, "-"), "off"])]
                row.append(float(at.loc[(name, "+"), "asymmetry"]))
            rows.append(tuple(row))
    notes = (
        f"Medians, {found.words}. + and −: the largest difference to the nonlinear response at any date, in percent of "
        "the linear response's largest deviation. Asymmetry: half of what responses to both signs add up to."
    )
    return Table("linearity", "How far off linear responses are", tuple(columns), tuple(rows), notes)


def _percent(value: Any) -> str:
    return "–" if value != value else f"{100 * value:.1f}"  # nan is not equal to itself


def write_linearity(found: Linearity, folder: Path, digest: str = "") -> list[Path]:
    """Write ``linearity.csv``, ``.json``, ``.tex`` and ``.png``; of a history ``linearity_history.csv``, ``.png``.

    ``digest``: of the draws that the responses are at.

    Raises
    ------
    StorageError
    """
    folder = make_folder(folder)
    table, index = linearity_table(found), {}
    figures = [linearity_figure(found)] + ([] if found.history is None else [history_figure(found)])
    written = [
        write_text(folder / "linearity.csv", found.table().to_csv(index=False, lineterminator="\n")),
        write_text(folder / "linearity.tex", table.to_latex()),
    ]
    if found.history is not None:
        frame = found.history_table()
        written.append(write_text(folder / "linearity_history.csv", frame.to_csv(index=False, lineterminator="\n")))
    for figure in figures:
        drawn = figure.drawn()
        written.append(write_bytes(folder / f"{figure.name}.png", drawn.png))
        index[figure.name] = {"caption": drawn.caption, "alt": drawn.alt, "size": list(drawn.size)}
    index["linearity"]["table"] = table.to_html()
    written.append(write_json(folder / "linearity.json", {"draws": digest, **_plain(found)}))
    written.append(write_json(folder / "index.json", index))
    return written


def _plain(found: Linearity) -> dict[str, Any]:
    plain = found.to_dict()
    plain.pop("rows")  # the CSV files have them
    plain.get("history", {}).pop("rows", None)
    return plain


def read_linearity(folder: Path, digest: str) -> EconomicsPart | None:
    """What :func:`write_linearity` left in a folder for the report; None if there is nothing, or it is of other draws.

    Raises
    ------
    ResultsError
        If it is damaged.
    """
    if not (folder / "index.json").is_file() or not (folder / "linearity.json").is_file():
        return None
    stored = read_json(folder / "linearity.json")
    try:
        if stored["draws"] != digest:
            return None
        summary = "\n".join(stored["summary"])
    except (KeyError, TypeError) as error:
        raise ResultsError(f"{folder} is damaged ({error}): run `estimhank linearity` again") from None
    return read_part(folder, {"linearity": summary}, ())
