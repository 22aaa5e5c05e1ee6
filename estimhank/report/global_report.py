"""The page of a global solution: verdict, figures against their limits, law of motion, distribution."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from estimhank.global_solution.accuracy import LongPath
from estimhank.global_solution.conventional import ConventionalSolution
from estimhank.global_solution.responses import GlobalResponse
from estimhank.global_solution.settings import GlobalConfig
from estimhank.global_solution.solution import GlobalSolution
from estimhank.global_solution.verdict import Check, GlobalVerdict
from estimhank.report.figures_global import (
    capital_figure,
    response_figure,
    response_words,
    wealth_figure,
)
from estimhank.report.html import page_file
from estimhank.report.style import ReportFigure, figure_style
from estimhank.support.files import write_text

#: Rows of the table of figures: key, words, digits.
_ROWS = (
    ("mean_capital", "Mean capital", ".4f"),
    ("sd_capital", "Its s.d. over time", ".4f"),
    ("wealth_sd", "S.d. of wealth across households", ".3f"),
    ("wealth_gini", "Gini coefficient of wealth", ".4f"),
    ("law_bad", "Law of capital, first aggregate state: intercept, slope", ".5f"),
    ("law_good", "Law of capital, last aggregate state: intercept, slope", ".5f"),
    ("law_den_haan_mean", "Mean error of that law by itself, percent", ".4f"),
    ("law_den_haan_max", "Largest error of that law by itself, percent", ".4f"),
)
#: What the referee calls the law's own errors: of the law that its households believe in.
_OF_REFEREE = {"law_den_haan_mean": "den_haan_mean", "law_den_haan_max": "den_haan_max"}


def _number(value: Any, form: str) -> str:
    if value is None:
        return ""
    return ", ".join(format(float(x), form) for x in np.atleast_1d(np.asarray(value, float)))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    first = "".join(f"<th>{html.escape(x)}</th>" for x in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(x)}</td>" for x in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{first}</tr></thead><tbody>{body}</tbody></table>"


def _image(figure: ReportFigure) -> str:
    drawn = figure.drawn()
    data = base64.b64encode(drawn.png).decode("ascii")
    alt = html.escape(drawn.alt, quote=True)
    return (
        f'<figure id="figure-{drawn.name}"><img src="data:image/png;base64,{data}" alt="{alt}">'
        f"<figcaption>{html.escape(drawn.caption)}</figcaption></figure>"
    )


def _check(check: Check) -> tuple[str, str, str, str]:
    result = "passed" if check.passed else "failed"
    if check.name == "quarters":  # which must be many, not few
        return "simulated quarters, at least", f"{-check.value:.0f}", f"{-check.limit:.0f}", result
    return check.words.rstrip(","), f"{check.value:.4g}", f"{check.limit:g}", result


def _figures(figures: Mapping[str, Any]) -> str:
    referee = figures.get("referee") or {}
    rows = [
        (words, _number(figures[key], form), _number(referee.get(_OF_REFEREE.get(key, key)), form))
        for key, words, form in _ROWS
    ]
    return _table(("", "networks", "Krusell and Smith's method"), rows)


def write_global_report(
    folder: Path,
    solution: GlobalSolution,
    verdict: GlobalVerdict,
    path: LongPath,
    referee: ConventionalSolution | None,
    config: GlobalConfig,
    responses: list[GlobalResponse] | None = None,
) -> Path:
    """Write ``report.html``, one file that fetches nothing.

    Parameters
    ----------
    folder : Path
    solution : GlobalSolution
    verdict : GlobalVerdict
    path : LongPath
    referee : ConventionalSolution, optional
    config : GlobalConfig
    responses : list of GlobalResponse, optional
    """
    figures = solution.figures
    law = (
        np.array([figures["law_bad"][0], *[np.nan] * (solution.solver.economy.n_z - 2), figures["law_good"][0]]),
        np.array([figures["law_bad"][1], *[np.nan] * (solution.solver.economy.n_z - 2), figures["law_good"][1]]),
    )
    checks = _table(("check", "value", "limit", ""), [_check(c) for c in verdict.checks])
    with figure_style():
        drawn = [_image(capital_figure(path, referee, law)), _image(wealth_figure(solution))]
        answers = [f"<p>{html.escape(response_words(r))}</p>" for r in responses or ()]
        answers += [_image(response_figure(responses))] if responses else []
    level = "good" if verdict.passed else "bad"
    title = f"Global solution: {config.economy.name}{' (planner)' if config.economy.planner else ''}"
    sections = [
        f"<header><h1>{html.escape(title)}</h1></header><main>",
        f'<section class="verdict {level}"><h2>{"Trust it" if verdict.passed else "Do not trust it"}</h2>'
        f"<p>{html.escape(verdict.words)}</p></section>",
        f"<section><h2>Checks</h2>{checks}</section>",
        f"<section><h2>Aggregates and distribution</h2>{_figures(figures)}{''.join(drawn)}</section>",
    ]
    if answers:
        sections.append(f"<section><h2>Responses, and what aggregate risk does</h2>{''.join(answers)}</section>")
    sections.append(
        f"<section><h2>Time</h2><p>{figures['seconds']:.0f} seconds in all.</p></section></main><footer>Written by "
        f"estimhank.</footer>"
    )
    style = page_file("style.css")
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>\n{style}</style>"
    )
    page = f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{"\n".join(sections)}\n</body>\n</html>\n'
    return write_text(folder / "report.html", page)
