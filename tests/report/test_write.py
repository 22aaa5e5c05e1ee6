"""The report as files: complete, self-contained, accessible, whole or absent."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from estimhank.analysis.arrays import ExactDraws, PosteriorArrays
from estimhank.report import ReportInputs, write_report
from estimhank.support.errors import StorageError
from tests.helpers.synthetic_run import first_parameters, synthetic_inputs

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Reads a page: checks that tags are closed, collects images, links, anchors and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[dict[str, str]] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attrs}
        self.tags.append(tag)
        self.ids += [values["id"]] if "id" in values else []
        if tag == "img":
            self.images.append(values)
        self.links += [values[key] for key in ("href", "src", "action") if key in values]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)


@pytest.fixture(scope="module")
def inputs() -> ReportInputs:
    """The default run's shapes, with a certificate that failed."""
    return synthetic_inputs(error=0.11, draws=160)


@pytest.fixture(scope="module")
def folder(inputs: ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its report."""
    out = tmp_path_factory.mktemp("report")
    written = write_report(inputs, out)
    assert written[0] == out / "report.html"
    assert sorted(written) == sorted(path for path in out.rglob("*") if path.is_file())
    return out


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    """Its page."""
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_files_are_as_documented(folder: Path) -> None:
    for name in ("prior_posterior", "local_modes", "certificate"):
        assert (folder / "tables" / f"{name}.csv").stat().st_size > 0
        assert (folder / "tables" / f"{name}.tex").read_text().count(r"\begin{tabular}") == 1
    for name in ("prior_posterior", "trace_rank", "certificate", "mode_check"):
        assert (folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert not (folder / "figures" / f"{name}.svg").exists()
    with open(folder / "tables" / "prior_posterior.csv", newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 11


class Reversed:
    """Workers that make their calls in another order."""

    def map(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        return [function(*given) for given in reversed(arguments)][::-1]

    map_target = map


def test_workers_draw_the_same_figures_and_svg_where_it_is_wanted(tmp_path: Path) -> None:
    small = first_parameters(synthetic_inputs(chains=2, draws=40), 2)
    write_report(small, tmp_path / "here")
    written = write_report(small, tmp_path / "there", svg=True, workers=Reversed())
    assert (tmp_path / "here" / "report.html").read_text() == (tmp_path / "there" / "report.html").read_text()
    figures = [path for path in written if path.suffix in (".png", ".svg")]
    assert len({path.stem for path in figures}) * 2 == len(figures)
    assert all(b"<svg" in path.read_bytes()[:1000] for path in figures if path.suffix == ".svg")


def test_the_page_asks_for_nothing_from_anywhere(folder: Path, page: Page) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert len(text.encode()) < 5_000_000
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    assert "script" not in page.tags and "iframe" not in page.tags and "@import" not in text
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None and "url(" not in style[1] and "@media print" in style[1]


def test_the_page_can_be_heard(page: Page) -> None:
    assert len(page.images) == 10 and all(len(image["alt"]) > 20 for image in page.images)
    assert page.tags.count("table") == page.tags.count("caption")
    assert page.tags.count("h1") == 1 and "main" in page.tags and "header" in page.tags
    anchors = [link[1:] for link in page.links if link.startswith("#")]
    assert len(set(page.ids)) == len(page.ids) and set(anchors) <= set(page.ids)


def test_the_verdict_stands_at_the_top_in_words(page: Page) -> None:
    text = " ".join("".join(page.words).split())
    headline = text.index("You can trust the exact posterior, but not the surrogate on its own")
    assert headline < text.index("Prior and posterior")
    for words in ("2.2 times the limit", "7 of 8 starts", "83.12 ± 0.84 % of the prior mass", "covariance of the data"):
        assert words in text, words


def test_figures_and_tables_are_numbered_in_order(page: Page) -> None:
    text = "".join(page.words)
    for kind in ("Figure", "Table"):
        numbers = [int(n) for n in re.findall(rf"{kind} (\d+)\.", text)]
        assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) > 5


def test_text_of_the_run_cannot_break_the_page(inputs: ReportInputs, tmp_path: Path) -> None:
    small = first_parameters(synthetic_inputs(chains=2, draws=40), 2)
    hostile = '<script>alert("x")</script> & "quotes"'
    parameter = replace(small.parameters[0], description=hostile)
    broken = replace(
        small,
        title=hostile,
        parameters=(parameter, small.parameters[1]),
        facts={hostile: hostile},
        configuration={"model": {hostile: hostile}},
    )
    write_report(broken, tmp_path)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "script" not in page.tags and hostile in "".join(page.words)


def test_a_run_with_the_bare_minimum_has_a_report(inputs: ReportInputs, tmp_path: Path) -> None:
    exact = inputs.arrays.exact
    draws = ExactDraws(exact.theta[..., :1], exact.log_likelihood, exact.log_prior)
    bare = ReportInputs("bare", inputs.parameters[:1], PosteriorArrays(("kappa_w",), draws))
    names = {path.name for path in write_report(bare, tmp_path)}
    assert {"report.html", "prior_posterior.png", "trace_rank.png", "convergence.png"} <= names
    text = "".join(Page((tmp_path / "report.html").read_text(encoding="utf-8")).words)
    assert "This run has no surrogate certificate." in text and "Mode" not in re.findall(r"\w+", text)[:60]


def test_inputs_that_do_not_belong_together_are_refused(inputs: ReportInputs) -> None:
    with pytest.raises(ValueError, match="but draws of"):
        replace(inputs, parameters=inputs.parameters[::-1])
    with pytest.raises(ValueError, match="a mode of"):
        replace(inputs, mode=replace(inputs.mode, names=("a", "b")))
    with pytest.raises(ValueError, match="surrogate's slices"):
        replace(inputs, surrogate_slices=inputs.surrogate_slices[:, :-1])


def test_a_folder_that_cannot_be_written_is_named(inputs: ReportInputs, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"cannot write .*file"):
        write_report(inputs, tmp_path / "file")
