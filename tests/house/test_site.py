"""The documentation's site: all pages have a place; it builds without a warning, links hold, all of it is its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import typer

from estimhank.cli import app
from scripts.catalogue import kinds

ROOT = Path(__file__).parents[2]


def test_every_page_has_one_place_in_the_navigation() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    places = re.findall(r": (\S+\.md)$", nav, re.MULTILINE)
    docs = ROOT / "docs"
    pages = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")}
    assert len(places) == len(set(places))
    assert set(places) == {page for page in pages if not page.startswith("recorded/")}
    assert re.findall(r"^  - (.+?):", nav, re.MULTILINE) == ["Home", "Tutorials", "How to", "Explanation", "Reference"]


class Page(HTMLParser):
    """What a page links to, what it loads, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in ("script", "img", "iframe") and "src" in given:
            self.loads.append(given["src"])
        if tag == "link" and given.get("rel") in ("stylesheet", "icon", "preconnect"):
            self.loads.append(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does."""
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.long
def test_links_hold_and_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    assert len(pages) > 40
    broken = []
    for path, page in pages.items():
        assert not [load for load in page.loads if urlsplit(load).scheme not in ("", "data")], path
        for link in (*page.links, *page.loads):
            parts = urlsplit(link)
            if parts.scheme or path.name == "404.html":  # whose links begin at the root of a server
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            found = target.is_file() and (
                not parts.fragment or target.suffix != ".html" or unquote(parts.fragment) in pages[target].anchors
            )
            if not found:
                broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken


@pytest.mark.long
def test_reference_pages_are_filled(site: Path) -> None:
    commands = Page((site / "reference/command_line.html").read_text(encoding="utf-8"))
    group = typer.main.get_command(app)
    assert set(group.commands) <= commands.anchors  # type: ignore[attr-defined]
    python = (site / "reference/python.html").read_text(encoding="utf-8")
    assert "estimhank.run.results.Run.historical_decomposition" in python and "Raises" in python
    errors = (site / "errors.html").read_text(encoding="utf-8")
    assert errors.count("<details") >= 0.9 * len([kind for kind in kinds()])
    assert "there is no configuration file" in errors
