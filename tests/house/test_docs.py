"""Pages with recorded figures take them from files, and the configurations that pages show can be loaded."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from benchmarks.pages import marks, update_page
from benchmarks.scaling_pages import update_pages
from estimhank.evaluation.executors import BACKENDS
from estimhank.run.config import make_config
from estimhank.run.config_sections import SAMPLERS
from estimhank.support.errors import EstimhankError
from tests.house.test_architecture import DOORS, OUTSIDE

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "results" / "README.md", *DOCS.rglob("*.md"))
CSV = {
    "overhead": "workers,overhead_share,points_per_second\n2,0.0123456,12345.6\n",
    "model": "workers,efficiency\n1024,0.87654\n",
    "store": "evaluations,file_gib\n10000000,1.0234\n",
    "algorithms": "algorithm,proposals,effective_draws\nmulti_proposal,16,123.4\nnuts,,99\n",
}
ROWS = {"overhead": "0.0123", "model": "1,024", "store": "10,000,000", "algorithms": "| nuts |  |"}


@pytest.mark.parametrize("page", ["cluster.md", "emulator.md", "samplers.md"])
def test_configurations_on_pages_can_be_loaded(page: str) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        make_config(tomllib.loads(block))


@pytest.mark.parametrize("page", sorted(str(p.relative_to(ROOT)) for p in PAGES))
def test_what_a_page_links_to_or_shows_is_there(page: str) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target):
            file, _, anchor = target.partition("#")
            found = (ROOT / page).parent / file if file else ROOT / page
            assert found.exists(), target
            assert not anchor or anchor in anchors(found), target


def anchors(page: Path) -> set[str]:
    """Names of a page's headings, as a forge makes them."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_pictures_are_those_that_a_page_shows_and_the_whole_is_small() -> None:
    recorded = DOCS / "recorded"
    shown = {
        (p.parent / name).resolve() for p in PAGES for name in re.findall(r"!\[.*?\]\((.*?)\)", p.read_text("utf-8"))
    }
    assert {path.resolve() for path in recorded.rglob("*.png")} <= shown
    assert sum(path.stat().st_size for path in recorded.rglob("*") if path.is_file()) < 2e6


def test_every_name_is_on_its_page() -> None:
    for page, names in (("samplers.md", SAMPLERS), ("cluster.md", BACKENDS)):
        text = (DOCS / page).read_text(encoding="utf-8")
        assert all(f"| `{name}` |" in text or f'| `"{name}"`' in text for name in names)


def test_tables_are_put_between_their_marks_and_stay_until_measured_again(tmp_path: Path) -> None:
    for page in ("cluster.md", "samplers.md"):
        (tmp_path / page).write_text((DOCS / page).read_text(encoding="utf-8"), encoding="utf-8")
    for name, text in CSV.items():
        (tmp_path / f"scaling_{name}.csv").write_text(text)
    (tmp_path / "scaling.json").write_text('{"gain": {"intercept": 0.0123, "slope_per_log_n": 0.0345}}')
    update_pages(tmp_path, tmp_path)
    first = {page: (tmp_path / page).read_text(encoding="utf-8") for page in ("cluster.md", "samplers.md")}
    whole = "".join(first.values())
    for name, row in ROWS.items():
        start, end = marks(name)
        assert row in whole[whole.index(start) : whole.index(end)], name
    assert "0.012 + 0.034 log N" in whole or "0.012 + 0.035 log N" in whole
    (tmp_path / "scaling_model.csv").unlink()
    update_pages(tmp_path, tmp_path)
    assert first == {page: (tmp_path / page).read_text(encoding="utf-8") for page in first}
    with pytest.raises(EstimhankError, match="no place for weather"):
        update_page(tmp_path / "cluster.md", "weather", "rain")


MAPS = ("docs/architecture.md", "docs/glossary.md", "CONTRIBUTING.md")
#: Files of the package that a page may name without their folder.
FILE_NAMES = {path.name for path in (ROOT / "estimhank").rglob("*.py")}
FILES = r"\.(?:py|csv|json|npz|nc|html|bin|toml|md)$"


def is_there(name: str) -> bool:
    """Whether ``estimhank.room.module.attribute`` is a module, or something in one."""
    parts = name.split(".")
    for last in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:last])
        if path.is_dir() or path.with_suffix(".py").is_file():
            found: Any = importlib.import_module(".".join(parts[:last]))
            for part in parts[last:]:
                found = getattr(found, part, None)
            return found is not None
    return False


@pytest.mark.parametrize("page", sorted(str(p.relative_to(ROOT)) for p in PAGES))
def test_modules_that_a_page_names_are_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    wrong = {name for name in re.findall(r"(?<![\w/.])estimhank(?:\.\w+)+", text) if not is_there(name)}
    names = re.findall(r"`([\w./]+)`", text)
    if page in MAPS:  # which name a module from its room on
        rooms = {p.name for p in (ROOT / "estimhank").iterdir() if p.is_dir()} | {"cli"}
        named = {name for name in names if name.split(".")[0] in rooms and "." in name and not re.search(FILES, name)}
        wrong |= {name for name in named if not is_there(f"estimhank.{name}")}
    places = (ROOT, ROOT / "estimhank", (ROOT / page).parent)
    paths = {name for name in names if name.endswith(".py")}
    wrong |= {
        name for name in paths if not any((place / name).is_file() for place in places) and name not in FILE_NAMES
    }
    assert not wrong - {"path/to/file.py"}


def test_every_room_and_every_dependency_is_explained() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    explained = {
        name for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for name in re.findall(r"`(.*?)`", row)
    }
    assert set(OUTSIDE) <= explained
    for one, other in DOORS:
        assert f"| `{one}` | `{other}` |" in text
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = [
        *project["project"]["dependencies"],
        *(text for group in project["project"]["optional-dependencies"].values() for text in group),
    ]
    packages = {re.split(r"[<>=\[]", requirement)[0] for requirement in needed} - {"estimhank"}
    assert packages <= explained
    assert {re.split(r"[<>=]", requirement)[0] for requirement in project["build-system"]["requires"]} <= set(
        re.findall(r"`([\w-]+)`", text)
    )


def test_what_the_glossary_finds_in_the_code_is_still_there() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "estimhank").rglob("*.py"))
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    columns = re.findall(r"^\| .*? \| .*? \| .*?\| (.*`.*) \|$", text, re.MULTILINE)
    called = {name for column in columns for name in re.findall(r"`([\w.]+?)(?:\(\)|\.py)?`", column)}
    words = set(re.findall(r"\w+", code)) | {path.stem for path in (ROOT / "estimhank").rglob("*")}
    assert not {name for name in called if not set(name.split(".")) <= words}, "renamed: strike it in the glossary"
