"""The HTML report: one file, nothing fetched from anywhere, readable on paper and by a screen reader."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np

from estimhank.analysis.verdict import Finding, Severity, Verdict
from estimhank.analysis.wording import count, duration, fixed, percent
from estimhank.report import linearity
from estimhank.report.economics_files import DrawnTable
from estimhank.report.households import micro_words
from estimhank.report.inputs import ReportInputs
from estimhank.report.math_html import latex_to_html
from estimhank.report.style import DrawnFigure
from estimhank.report.tables import Table, escape_html

_TAGS = {Severity.GOOD: "fine", Severity.NOTE: "note", Severity.CARE: "care", Severity.BAD: "failed"}

#: Sections of the page: heading, a few words, then the tables and figures that belong there, as far as they exist.
_SECTIONS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "Economics",
        "What the estimated model says, at the same draws of the exact posterior throughout. Lines are medians, "
        "bands are pointwise; each result has been checked against an identity of its own: contributions add up to "
        "the data.",
        (
            "responses",
            "variance_decomposition",
            "table:variance_decomposition",
            "historical_decomposition",
            "smoothed_shocks",
            "forecast",
            "table:forecast",
        ),
    ),
    (
        "Posterior",
        "The posterior shown is the exact one: its draws are accepted or rejected with the model's own likelihood. The "
        "posterior of the neural surrogate stands beside it for comparison only.",
        ("table:prior_posterior", "prior_posterior", "correlations", "pairs"),
    ),
    (linearity.TITLE, linearity.WORDS, linearity.KEYS),
    ("Households", "", ("table:micro_moments", "micro_moments")),
    (
        "Convergence",
        "Chains started from the surrogate's posterior and from dispersed points must agree with each other (R̂, ranks) "
        "and hold enough independent information (effective draws) for the figures above.",
        ("convergence", "trace_rank"),
    ),
    (
        "Surrogate and certificate",
        "The certificate rests on fresh exact evaluations that the surrogate has not learned from. s_e is the standard "
        "deviation of the surrogate's error in the log posterior: any posterior mean under the surrogate is off by at "
        "most about s_e posterior standard deviations.",
        ("table:certificate", "certificate", "table:surrogate_gap", "surrogate_gap", "training"),
    ),
    (
        "Mode",
        "Every local mode that the search found is listed. The mode is that of the density of the natural parameters.",
        ("table:mode", "table:local_modes", "mode_check"),
    ),
    ("Data", "", ("table:data", "data")),
    (
        "Evaluations and time",
        "Every evaluation of the exact log posterior, accepted or not, is counted. A point without a density is a "
        "result and not an error: the reason is kept.",
        ("table:evaluations", "table:failures", "table:timing"),
    ),
)

_FOOTER = (
    "Written by estimhank. R̂ and effective sample sizes: Vehtari, Gelman, Simpson, Carpenter and Bürkner (2021), "
    "computed by ArviZ. MCSE: Monte Carlo standard error."
)


def render_page(inputs: ReportInputs, tables: Sequence[Table | DrawnTable], figures: Sequence[DrawnFigure]) -> str:
    """The whole page as HTML text.

    Parameters
    ----------
    inputs : ReportInputs
        The run.
    tables, figures : sequences
        What to show; each goes to its section by its name.
    """
    blocks, available = _numbered(inputs, tables, figures)
    sections = [(title, words, [blocks[key] for key in keys if key in available]) for title, words, keys in _SECTIONS]
    shown = [(title, words, parts) for title, words, parts in sections if parts]
    titles = [title for title, _, _ in shown]
    run_facts = _run_facts(inputs)
    if run_facts:
        titles.append("Configuration and environment")
    body = [
        '<a class="skip" href="#posterior">Skip to the posterior</a>',
        f"<header><h1>{html.escape(inputs.title)}</h1>{_facts(inputs.facts)}</header>",
        f"<main>{_verdict(inputs, inputs.verdict)}",
        _glance(inputs),
        _contents(titles),
    ]
    for title, words, parts in shown:
        paragraphs = [words] if words else []
        if title == "Evaluations and time":
            paragraphs += inputs.account
        if title == "Economics" and inputs.economics is not None:
            paragraphs += inputs.economics.notes
            parts.append(_in_words(inputs, inputs.economics.words))
        if title == linearity.TITLE and inputs.linearity is not None:
            parts.append(_in_words(inputs, inputs.linearity.words))
        if title == "Households" and inputs.households is not None:
            paragraphs += micro_words(inputs.households)
        paragraph = "".join(f"<p>{_with_symbols(inputs, text)}</p>" for text in paragraphs)
        body.append(
            f'<section id="{_anchor(title)}"><h2>{html.escape(title)}</h2>{paragraph}{"".join(parts)}</section>'
        )
    if run_facts:
        body.append(f'<section id="{_anchor(titles[-1])}"><h2>{titles[-1]}</h2>{run_facts}</section>')
    body.append("</main>")
    body.append(f"<footer>{_FOOTER}</footer>")
    style = resources.files("estimhank.report").joinpath("page_style.css").read_text(encoding="utf-8")
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(inputs.title)}</title><style>\n{style}</style>"
    )
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{"\n".join(body)}\n</body>\n</html>\n'


def _in_words(inputs: ReportInputs, words: Mapping[str, str]) -> str:
    """What results say of themselves, folded away."""
    items = "".join(
        f"<dt>{html.escape(name.replace('_', ' '))}</dt>"
        f"<dd>{'<br>'.join(_with_symbols(inputs, line) for line in text.splitlines())}</dd>"
        for name, text in words.items()
    )
    return f'<details><summary>In words</summary><dl class="pairs">{items}</dl></details>'


def _numbered(
    inputs: ReportInputs, tables: Sequence[Table | DrawnTable], figures: Sequence[DrawnFigure]
) -> tuple[dict[str, str], set[str]]:
    """HTML of every table and figure under its key, numbered in the order in which the page shows them."""
    by_key: dict[str, Any] = {f"table:{table.name}": table for table in tables} | {f.name: f for f in figures}
    order = [key for _, _, keys in _SECTIONS for key in keys if key in by_key]
    blocks, table_number, figure_number = {}, 0, 0
    for key in order:
        item = by_key[key]
        if not isinstance(item, DrawnFigure):
            table_number += 1
            blocks[key] = item.to_html(table_number)
        else:
            figure_number += 1
            blocks[key] = _figure(item, figure_number, _with_symbols(inputs, item.caption))
    return blocks, set(order)


def _figure(figure: DrawnFigure, number: int, caption: str) -> str:
    """A figure as an inline image with its alternative text and caption (HTML)."""
    data = base64.b64encode(figure.png).decode("ascii")
    width, height = (round(116 * inches) for inches in figure.size)  # ten inches fill the page
    image = (
        f'<img src="data:image/png;base64,{data}" alt="{html.escape(figure.alt, quote=True)}" '
        f'width="{width}" height="{height}">'
    )
    below = f"<figcaption><b>Figure {number}.</b> {caption}</figcaption>"
    return f'<figure id="figure-{figure.name}">{image}{below}</figure>'


def _facts(facts: Mapping[str, str]) -> str:
    items = "".join(f"<li>{html.escape(key)}: <b>{html.escape(str(value))}</b></li>" for key, value in facts.items())
    return f'<ul class="facts">{items}</ul>' if items else ""


def _verdict(inputs: ReportInputs, verdict: Verdict) -> str:
    rows = "".join(_finding(inputs, finding) for finding in verdict.findings)
    return (
        f'<section class="verdict {verdict.level}" aria-labelledby="verdict"><h2 id="verdict">'
        f'{html.escape(verdict.headline)}</h2><dl class="findings">{rows}</dl></section>'
    )


def _finding(inputs: ReportInputs, finding: Finding) -> str:
    tag = f'<span class="tag {finding.level}">{_TAGS[finding.level]}</span>'
    return f"<dt>{tag}{html.escape(finding.topic)}</dt><dd>{_with_symbols(inputs, finding.text)}</dd>"


def _with_symbols(inputs: ReportInputs, text: str) -> str:
    """Escape a text and set parameter names in it as symbols (but for names that could be words)."""
    symbols = {p.name: latex_to_html(p.latex, p.name) for p in inputs.parameters if "_" in p.name or len(p.name) > 3}
    symbols["s_e"] = latex_to_html("s_e")
    text = re.sub(r"(?<![\w-])-(?=\d)", "−", escape_html(text))
    names = "|".join(re.escape(name) for name in sorted(symbols, key=len, reverse=True))
    return re.sub(rf"(?<!\w)(?:{names})(?!\w)", lambda match: symbols[match[0]], text)


def _glance(inputs: ReportInputs) -> str:
    exact = inputs.exact
    chains, draws, _ = inputs.arrays.exact.theta.shape
    items = [
        ("exact draws", f"{count(chains * draws)} ({chains} chains)"),
        ("smallest effective sample", count(float(np.min(exact.ess_bulk)))),
        ("largest R̂", fixed(float(np.max(exact.r_hat)), 4)),
    ]
    accepted, kinds = inputs.arrays.exact.accepted, inputs.arrays.exact.step_kind
    if accepted is not None:
        subchains = accepted if kinds is None else accepted[kinds == 0]
        if subchains.size:
            items.append(("accepted after subchains", percent(float(subchains.mean()), 3)))
    if inputs.mode is not None:
        items.append(("log posterior at the mode", fixed(inputs.mode.log_density, 2).replace("-", "−")))
    if inputs.certificate is not None:
        items.append(("certificate", "passed" if inputs.certificate.get("passed") else "failed"))
    if inputs.evaluations:
        items.append(("exact evaluations", count(sum(inputs.failures.values()))))
    if inputs.seconds:
        items.append(("wall time", duration(sum(inputs.seconds.values()))))
    cells = "".join(f"<div><dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd></div>" for k, v in items)
    return f'<dl class="glance">{cells}</dl>'


def _contents(titles: Sequence[str]) -> str:
    items = "".join(f'<li><a href="#{_anchor(t)}">{html.escape(t)}</a></li>' for t in titles)
    return f'<nav aria-label="Contents"><ol>{items}</ol></nav>'


def _run_facts(inputs: ReportInputs) -> str:
    parts = []
    if inputs.configuration:
        parts.append(f"<details open><summary>Configuration</summary>{_pairs(inputs.configuration)}</details>")
    if inputs.environment:
        parts.append(f"<details open><summary>Environment</summary>{_pairs(inputs.environment, 'single')}</details>")
    return "".join(parts)


def _pairs(mapping: Mapping[str, Any], layout: str = "") -> str:
    """A nested mapping, a block for each top-level table."""
    plain = {key: value for key, value in mapping.items() if not isinstance(value, Mapping)}
    sections: list[tuple[str, Mapping[str, Any]]] = [("", plain)] if plain else []
    sections += [(str(key), value) for key, value in mapping.items() if isinstance(value, Mapping)]
    blocks = []
    for title, entries in sections:
        heading = f"<h3>{html.escape(title)}</h3>" if title else ""
        rows = "".join(_pair(key, value) for key, value in _flatten(entries))
        blocks.append(f'<div>{heading}<dl class="pairs">{rows}</dl></div>')
    return f'<div class="blocks {layout}">{"".join(blocks)}</div>'


def _flatten(mapping: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in mapping.items():
        if isinstance(value, Mapping) and any(isinstance(v, Mapping) for v in value.values()):
            pairs += _flatten(value, f"{prefix}{key}.")
        elif isinstance(value, Mapping):
            pairs.append((f"{prefix}{key}", ", ".join(f"{k} = {_value(v)}" for k, v in value.items())))
        else:
            pairs.append((f"{prefix}{key}", value))
    return pairs


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(_value(v) for v in value)
    return str(value)


def _pair(key: str, value: Any) -> str:
    return f"<dt>{html.escape(str(key))}</dt><dd>{html.escape(_value(value))}</dd>"


def _anchor(title: str) -> str:
    return "-".join(title.lower().split())
