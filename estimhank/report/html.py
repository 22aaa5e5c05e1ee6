"""The HTML report: one file, nothing fetched from anywhere, readable on paper, without its script, and by a screen
reader.

The page's templates, its style and its script are in the folder ``page``. What is drawn again by choice of the reader
is there as a figure too, for paper and where scripts do not run.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from estimhank.analysis.verdict import Severity
from estimhank.analysis.wording import count, duration, fixed, percent
from estimhank.report import linearity
from estimhank.report.economics_files import DrawnTable
from estimhank.report.households import micro_words
from estimhank.report.inputs import ReportInputs
from estimhank.report.math_html import latex_to_html
from estimhank.report.style import DrawnFigure
from estimhank.report.tables import Table, escape_html

_TAGS = {Severity.GOOD: "fine", Severity.NOTE: "note", Severity.CARE: "care", Severity.BAD: "failed"}

#: Headings of results, in the order in which the page shows them.
_RESULTS = {
    "responses": "Responses to shocks",
    "household_responses": "Who responds: groups of households, and inequality",
    "direct_and_indirect": "What households respond to: direct and indirect effects",
    "variance_decomposition": "What accounts for the variance",
    "historical_decomposition": "What drove the data",
    "smoothed_shocks": "Shocks given the data",
    "forecast": "Forecasts",
}

#: Sections of the page: heading, a few words, then the tables and figures that belong there, as far as they exist.
_SECTIONS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "Economics",
        "What the estimated model says, at the same draws of the exact posterior throughout. Lines are medians, "
        "bands are pointwise; each result has been checked against an identity of its own: contributions add up to "
        "the data.",
        tuple(key for name in _RESULTS for key in (name, f"table:{name}")),
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


@dataclass(frozen=True)
class _Part:
    """What a section shows one after another: a table or another piece of HTML, a figure, or facts of the run."""

    html: str = ""
    figure: Mapping[str, Any] | None = None
    facts: Sequence[tuple[str, Sequence[tuple[str, str]]]] | None = None
    heading: str = ""
    words: Sequence[tuple[Markup, bool]] = ()  # lines, and whether each belongs under the one before
    summary: str = ""
    layout: str = ""


@dataclass(frozen=True)
class _Section:
    title: str
    paragraphs: Sequence[Markup]
    parts: Sequence[_Part]

    @property
    def anchor(self) -> str:
        """Its place in the page."""
        return "-".join(self.title.lower().split())


def render_page(inputs: ReportInputs, tables: Sequence[Table | DrawnTable], figures: Sequence[DrawnFigure]) -> str:
    """The whole page as HTML text.

    Parameters
    ----------
    inputs : ReportInputs
        The run.
    tables, figures : sequences
        What to show; each goes to its section by its name.
    """
    parts = _numbered(inputs, tables, figures)
    sections = [
        _Section(title, _paragraphs(inputs, title, words), [parts[key] for key in keys if key in parts])
        for title, words, keys in _SECTIONS
    ]
    sections = [section for section in sections if section.parts]
    facts = _run_facts(inputs)
    if facts:
        sections.append(_Section("Configuration and environment", (), facts))
    script = page_file("explore.js")
    blocks = {} if inputs.economics is None else inputs.economics.blocks
    page = _templates().get_template("page.html")
    return page.render(
        title=inputs.title,
        facts=inputs.facts,
        verdict=_verdict(inputs),
        sections=sections,
        footer=_FOOTER,
        style=Markup(page_file("style.css")),
        script=Markup(script),
        policy=_policy(script),
        blocks=_data(blocks) if blocks else None,
    )


@cache
def page_file(name: str) -> str:
    """A file of the folder ``page`` as text."""
    return resources.files("estimhank.report").joinpath("page", name).read_text(encoding="utf-8")


@cache
def _templates() -> Environment:
    return Environment(
        loader=FunctionLoader(page_file),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _policy(script: str) -> str:
    """What a browser lets the page do: show what is inside it, and run this one script."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def _data(blocks: Mapping[str, Any]) -> Markup:
    """Blocks as JSON that cannot end the element that it stands in."""
    text = json.dumps(blocks, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _paragraphs(inputs: ReportInputs, title: str, words: str) -> list[Markup]:
    found = [words] if words else []
    if title == "Evaluations and time":
        found += inputs.account
    if title == "Economics" and inputs.economics is not None:
        found += inputs.economics.notes
    if title == linearity.TITLE and inputs.linearity is not None:
        found += [line for text in inputs.linearity.words.values() for line in text.splitlines()[1:]]
    if title == "Households" and inputs.households is not None:
        found += micro_words(inputs.households)
    return [_with_symbols(inputs, text) for text in found]


def _numbered(
    inputs: ReportInputs, tables: Sequence[Table | DrawnTable], figures: Sequence[DrawnFigure]
) -> dict[str, _Part]:
    """Every table and figure under its key, numbered in the order in which the page shows them."""
    by_key: dict[str, Any] = {f"table:{table.name}": table for table in tables} | {f.name: f for f in figures}
    order = [key for _, _, keys in _SECTIONS for key in keys if key in by_key]
    names = [key.removeprefix("table:") for key in order]
    said = {} if inputs.economics is None else inputs.economics.words
    parts, table_number, figure_number = {}, 0, 0
    for i, (key, name) in enumerate(zip(order, names, strict=True)):
        heading = _RESULTS.get(name, "") if name not in names[:i] else ""
        text = said.get(name, "") if name in _RESULTS and name not in names[i + 1 :] else ""
        words = [(_with_symbols(inputs, line.strip()), line.startswith(" ")) for line in text.splitlines()]
        item = by_key[key]
        if isinstance(item, DrawnFigure):
            figure_number += 1
            parts[key] = _Part(figure=_figure(inputs, item, figure_number), heading=heading, words=words)
        else:
            table_number += 1
            parts[key] = _Part(Markup(item.to_html(table_number)), heading=heading, words=words)
    return parts


def _figure(inputs: ReportInputs, figure: DrawnFigure, number: int) -> dict[str, Any]:
    """A figure as an inline image with its alternative text and caption."""
    width, height = (round(116 * inches) for inches in figure.size)  # ten inches fill the page
    return {
        "name": figure.name,
        "number": number,
        "data": base64.b64encode(figure.png).decode("ascii"),
        "alt": figure.alt,
        "width": width,
        "height": height,
        "caption": _with_symbols(inputs, figure.caption),
    }


def _verdict(inputs: ReportInputs) -> dict[str, Any]:
    verdict = inputs.verdict
    findings = [
        {"level": f.level, "tag": _TAGS[f.level], "topic": f.topic, "text": _with_symbols(inputs, f.text)}
        for f in verdict.findings
    ]
    return {"level": verdict.level, "headline": verdict.headline, "findings": findings, "glance": _glance(inputs)}


def _with_symbols(inputs: ReportInputs, text: str) -> Markup:
    """Escape a text and set parameter names in it as symbols (but for names that could be words)."""
    symbols = {p.name: latex_to_html(p.latex, p.name) for p in inputs.parameters if "_" in p.name or len(p.name) > 3}
    symbols["s_e"] = latex_to_html("s_e")
    text = re.sub(r"(?<![\w-])-(?=\d)", "−", escape_html(text))
    names = "|".join(re.escape(name) for name in sorted(symbols, key=len, reverse=True))
    return Markup(re.sub(rf"(?<!\w)(?:{names})(?!\w)", lambda match: symbols[match[0]], text))


def _glance(inputs: ReportInputs) -> list[tuple[str, str]]:
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
    return items


def _run_facts(inputs: ReportInputs) -> list[_Part]:
    parts = []
    if inputs.configuration:
        parts.append(_Part(facts=_pairs(inputs.configuration), summary="Configuration"))
    if inputs.environment:
        parts.append(_Part(facts=_pairs(inputs.environment), summary="Environment", layout="single"))
    return parts


def _pairs(mapping: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """A nested mapping: title and pairs of each top-level table."""
    plain = {key: value for key, value in mapping.items() if not isinstance(value, Mapping)}
    found: list[tuple[str, Mapping[str, Any]]] = [("", plain)] if plain else []
    found += [(str(key), value) for key, value in mapping.items() if isinstance(value, Mapping)]
    return [(title, [(str(k), _value(v)) for k, v in _flatten(entries)]) for title, entries in found]


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
