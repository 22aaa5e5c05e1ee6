"""``docs/errors.md`` has every error and warning that the code can raise, and no other."""

from __future__ import annotations

import ast
import builtins
import importlib
import pickle
from pathlib import Path
from typing import Any

import pytest

from estimhank.run.config import load_config
from estimhank.support import error_numbers
from estimhank.support.errors import ConfigError, EstimhankError
from scripts.catalogue import (
    CAUGHT,
    NUMBERS,
    PACKAGE,
    kinds,
    modules_of_the_package,
    numbers_module,
    raised_in,
    sentences,
    sites,
)


def find_class(name: str) -> type[Any]:
    """A class of the package, or of Python."""
    if hasattr(builtins, name):
        return getattr(builtins, name)
    for file, tree in modules_of_the_package().items():
        if any(isinstance(node, ast.ClassDef) and node.name == name for node in tree.body):
            module = ".".join(("estimhank", *file.removesuffix(".py").split("/")))
            return getattr(importlib.import_module(module), name)
    raise AssertionError(f"there is no class {name}")


def test_every_place_belongs_to_one_kind() -> None:
    entries = kinds()
    for site in sites():
        fitting = [kind.number for kind in entries if site.error in kind.errors and site.module in kind.modules]
        assert len(fitting) == 1, (
            f"{site.error} of {site.module}:{site.line} ('{site.sentence}') is of the kinds {fitting}: give it one in "
            "docs/errors.md, by its class and module"
        )


def test_the_package_has_the_numbers_of_the_page() -> None:
    assert NUMBERS.read_text(encoding="utf-8") == numbers_module(), "run scripts/catalogue.py"
    made = {(site.error, site.module) for site in sites() if site.error not in CAUGHT}
    errors = {(error, module) for error, module in made if not issubclass(find_class(error), Warning)}
    assert errors == set(error_numbers.NUMBERS)


def test_an_error_knows_its_number(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "none.toml")
    assert caught.value.number == "E10" and caught.value.cited == f"{caught.value} [E10]"
    again = pickle.loads(pickle.dumps(caught.value))  # as from a worker
    assert (again.number, str(again)) == ("E10", str(caught.value))

    class OwnError(ConfigError):
        """A user's."""

    assert OwnError("x").number == ConfigError("x").number == "" and OwnError("x").cited == "x"


def test_every_kind_is_raised_by_each_class_and_module_that_it_names() -> None:
    found = sites()
    for kind in kinds():
        own = [site for site in found if site.error in kind.errors and site.module in kind.modules]
        assert {site.error for site in own} == set(kind.errors), kind.number
        assert {site.module for site in own} == set(kind.modules), kind.number


@pytest.mark.long
def test_tests_ask_for_every_kind_and_for_most_sentences() -> None:
    found = sites()
    tests = raised_in(found)
    own = "tests/house/test_catalogue.py"
    for kind in kinds():
        asked = {t for s in found if s.error in kind.errors and s.module in kind.modules for t in tests[s]} - {own}
        assert asked, f"no test asks for {kind.number}, {kind.title}"
    assert sum(bool(set(names) - {own}) for names in tests.values()) > 0.8 * len(found)


def test_numbers_are_unique_and_ascend() -> None:
    numbers = [(kind.number[0], int(kind.number[1:])) for kind in kinds()]
    assert numbers == sorted(set(numbers)) and {letter for letter, _ in numbers} == {"E", "W"}


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.number)
def test_exit_codes_are_those_of_the_classes(kind: Any) -> None:
    for name in kind.errors:
        cls = find_class(name)
        if issubclass(cls, Warning):
            assert kind.exit_code is None
        else:
            assert issubclass(cls, EstimhankError) and kind.exit_code == cls.exit_code, name


def test_every_class_is_in_the_catalogue() -> None:
    def below(cls: type[Any]) -> set[str]:
        names = {cls.__name__}
        derived: type[Any]
        for derived in cls.__subclasses__():
            names |= below(derived)
        return names

    for path in PACKAGE.rglob("*.py"):
        if path.name != "__main__.py":
            importlib.import_module(".".join(("estimhank", *path.relative_to(PACKAGE).with_suffix("").parts)))
    own = {name for name in below(EstimhankError) if find_class_or_none(name)}
    assert own - {name for kind in kinds() for name in kind.errors} - CAUGHT == set()


def find_class_or_none(name: str) -> type[Any] | None:
    """As above, None for classes that tests define."""
    try:
        return find_class(name)
    except AssertionError:
        return None


def test_sentences_are_found_as_they_stand() -> None:
    found, by = sites(), {kind.number: kind for kind in kinds()}
    assert "there is no configuration file ……" in sentences(by["E10"], found)
    assert "cannot write …: …" in sentences(by["E30"], found)
    assert sum(len(sentences(kind, found)) for kind in by.values()) > 250
