"""Configurations and examples that ship with the package: what there is, and a copy of one's own."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from estimhank.parameters.parameter_table import nearest
from estimhank.support.errors import ConfigError
from estimhank.support.files import make_folder, read_text, reading, write_bytes
from estimhank.support.settings import read_toml
from estimhank.support.shipped import shipped

#: Folders of shipped files, and what is done with them.
_KINDS = {
    "configs": "configurations, by name: estimhank estimate NAME",
    "examples": "examples, to be copied out: estimhank examples NAME",
}


@dataclass(frozen=True)
class Copied:
    """What was copied.

    Attributes
    ----------
    files : tuple of Path
        The configuration first.
    absent : tuple of str
        Files that it names and that do not ship, data of others as a rule.
    """

    files: tuple[Path, ...]
    absent: tuple[str, ...]


def describe_shipped() -> list[str]:
    """Names with the sentence that each file begins with."""
    lines = []
    for folder, words in _KINDS.items():
        lines.append(words)
        lines += [f"  {name:<22} {_first_sentence(path)}" for name, path in shipped(folder).items()]
    return lines


def copy_out(name: str, folder: Path | str = ".") -> Copied:
    """Copy a shipped configuration or example, with the model's file and what that imports from beside it.

    Parameters
    ----------
    name : str
    folder : path
        Made where it does not exist.

    Raises
    ------
    ConfigError
        No such name, or a file in the way: nothing is copied then.
    StorageError
        If a file cannot be written.
    """
    known = {key: path for kind in _KINDS for key, path in shipped(kind).items()}
    if name.removesuffix(".toml") not in known:
        raise ConfigError(f"nothing ships under the name '{name}'{nearest(name, known)} (there are {', '.join(known)})")
    source = known[name.removesuffix(".toml")]
    named = _files_named_in(source)
    files = [source, *(source.parent / text for text in named if (source.parent / text).is_file())]
    target = make_folder(folder)
    for path in files:
        if (target / path.name).exists():
            raise ConfigError(
                f"{target / path.name} is there already: nothing was copied; name another folder with --to"
            )
    written = []
    for path in files:
        with reading(path):
            content = path.read_bytes()
        written.append(write_bytes(target / path.name, content))
    return Copied(tuple(written), tuple(text for text in named if not (source.parent / text).is_file()))


def _files_named_in(path: Path) -> list[str]:
    """Names of the model's file, of modules beside it that it imports, and of a data file, beside the configuration."""
    table = read_toml(path)
    model, _, _ = str(table.get("model", table.get("economy", {})).get("name", "")).rpartition(":")
    source = str(table.get("data", {}).get("source", ""))
    names = [text for text in (model, source) if text.endswith((".py", ".csv", ".xlsx"))]
    todo = [text for text in names if text.endswith(".py") and (path.parent / text).is_file()]
    while todo:
        tree = ast.parse(read_text(path.parent / todo.pop()))
        modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        modules += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        beside = [f"{module}.py" for module in modules if module and (path.parent / f"{module}.py").is_file()]
        todo += [text for text in beside if text not in names]
        names += [text for text in beside if text not in names]
    return names


def _first_sentence(path: Path) -> str:
    """Of the comment at the head of a file."""
    lines = []
    for line in read_text(path).splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    text = " ".join(lines)
    end = text.find(". ")
    sentence = (text if end < 0 else text[:end]).rstrip(".:")
    return sentence if len(sentence) < 90 else sentence[:89].rsplit(" ", 1)[0] + " ..."
