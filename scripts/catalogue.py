"""Errors and warnings as the code raises them, and as ``docs/errors.md`` has them by number."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "estimhank"
PAGE = ROOT / "docs" / "errors.md"

#: Raised by what is tested in the package's own code and caught there; nobody sees them.
CAUGHT = {"BadAnswer", "UnknownMacroError"}


@dataclass(frozen=True)
class Site:
    """A place that makes an error or warns.

    Attributes
    ----------
    error, module : str
        Class and file, ``"ConfigError"`` and ``"run/config.py"``.
    sentence : str
        The text with ``…`` for what is filled in.
    line : int
    """

    error: str
    module: str
    sentence: str
    line: int


@dataclass(frozen=True)
class Kind:
    """An entry of the catalogue."""

    number: str
    title: str
    errors: tuple[str, ...]
    modules: tuple[str, ...]
    exit_code: int | None


@cache
def modules_of_the_package() -> dict[str, ast.Module]:
    """Every file of the package by its path there, parsed."""
    files = sorted(PACKAGE.rglob("*.py"))
    return {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text("utf-8")) for path in files}


@cache
def sites() -> list[Site]:
    """Every place in the package, in the order of files."""
    trees = modules_of_the_package()
    errors = _subclasses(trees, {"EstimhankError"})
    warns = _subclasses(trees, {"UserWarning"}) - {"UserWarning"} | {"RuntimeWarning"}
    found = []
    for module in sorted(trees):
        for node in ast.walk(trees[module]):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            first = _text(node.args[0]) if node.args else "…"
            if name in errors:
                found.append(Site(name, module, first, node.lineno))
            elif name == "warn":
                category = next((a.id for a in node.args[1:] if isinstance(a, ast.Name) and a.id in warns), "")
                if category:
                    found.append(Site(category, module, first, node.lineno))
    return found


def kinds() -> list[Kind]:
    """Every entry of the page, in its order."""
    parts = re.split(r"^### ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    found = []
    for part in parts:
        head, _, rest = part.partition("\n")
        number, _, title = head.partition(" ")
        names = re.findall(r"`([^`]+)`", rest.split("**Cause.**")[0])
        code = re.search(r"exit code (\d+)", rest)
        modules = tuple(name for name in names if name.endswith(".py"))
        errors = tuple(name for name in names if not name.endswith(".py"))
        found.append(Kind(number, title, errors, modules, int(code[1]) if code else None))
    return found


def sentences(kind: Kind, found: list[Site]) -> list[str]:
    """The sentences of a kind that say something of their own, each once."""
    texts = [s.sentence for s in found if s.error in kind.errors and s.module in kind.modules]
    return [text for text in dict.fromkeys(texts) if re.search(r"[a-z]{3}.*[a-z]{3}", text)]


def raised_in(found: list[Site]) -> dict[Site, list[str]]:
    """Files of tests that ask for an error: by three successive words of its sentence, or by a class of one module.

    Words in a test are no proof that it raises the error, but a test that raises one asks for its words.
    """
    files = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
    texts = {name: _words_of_strings(text) for name, text in files.items()}
    homes = {error: {site.module for site in found if site.error == error} for error in {s.error for s in found}}
    tests = {}
    for site in found:
        phrases = [phrase for part in site.sentence.split("…") for phrase in _threes(part)]
        by_class = not phrases or len(homes[site.error]) == 1
        tests[site] = sorted(
            name
            for name, text in texts.items()
            if any(phrase in text for phrase in phrases) or (by_class and re.search(rf"\b{site.error}\b", files[name]))
        )
    return tests


def _words_of_strings(code: str) -> str:
    strings = [node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)]
    plain = " | ".join(re.sub(r"\\(.)", r"\1", text) for text in strings if isinstance(text, str))
    return " ".join(re.findall(r"[\w']+|\|", plain.lower()))


def _threes(text: str) -> list[str]:
    words = re.findall(r"[\w']+", text.lower())
    return [" ".join(words[i : i + 3]) for i in range(len(words) - 2)]


def _subclasses(trees: dict[str, ast.Module], base: set[str]) -> set[str]:
    """Names of classes that derive from some, those included."""
    classes = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    known, size = set(base), 0
    while size != len(known):
        size = len(known)
        known |= {c.name for c in classes if any(isinstance(b, ast.Name) and b.id in known for b in c.bases)}
    return known


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(v.value) if isinstance(v, ast.Constant) else "…" for v in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    return "…"


#: Where the package has the numbers, to show them behind its sentences.
NUMBERS = PACKAGE / "support" / "error_numbers.py"
_HEAD = '''"""Numbers of errors by class and module, from ``docs/errors.md``; written by ``scripts/catalogue.py``."""

from __future__ import annotations

from collections.abc import Mapping

#: By class, and the module in which it is made.
NUMBERS: Mapping[tuple[str, str], str] = {
'''


def numbers_module() -> str:
    """The text of the package's module of numbers: those places of the page at which something is made."""
    made = {(site.error, site.module) for site in sites()}
    lines = [
        f'    ("{error}", "{module}"): "{kind.number}",\n'
        for kind in kinds()
        for error in kind.errors
        for module in kind.modules
        if kind.number.startswith("E") and (error, module) in made
    ]
    return _HEAD + "".join(lines) + "}\n"


if __name__ == "__main__":
    NUMBERS.write_text(numbers_module(), encoding="utf-8")
