"""What Python code is made of: the names that it reads, the modules that these come from, and what libraries are."""

from __future__ import annotations

import ast
import dis
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import site
import sys
import sysconfig
import textwrap
import types
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import numpy as np

_PACKAGE = __name__.partition(".")[0]

#: Built-in functions through which code reads what it does not itself hold.
OUTSIDE = frozenset({"open", "eval", "exec", "globals", "input", "__import__"})

#: Functions of libraries that read files, the network or the environment, by the names that code calls them.
READERS = frozenset(
    (
        *("loadtxt", "genfromtxt", "fromfile", "memmap", "read_csv", "read_excel", "read_parquet", "read_pickle"),
        *("read_stata", "read_hdf", "read_feather", "read_table", "read_text", "read_bytes", "loadmat", "urlopen"),
        *("open_dataset", "open_datatree", "import_module", "getenv", "environ"),
    )
)


@dataclass(frozen=True)
class Reads:
    """Names that a piece of code uses, functions written inside it included.

    Attributes
    ----------
    names : tuple of str
        Global names and names of built-in functions.
    attributes : frozenset of str
        Names of attributes, of whatever object.
    imports : tuple of (int, str)
        Modules that it imports when it runs: the level of a relative import, and the name.
    """

    names: tuple[str, ...]
    attributes: frozenset[str]
    imports: tuple[tuple[int, str], ...]


@lru_cache(maxsize=4096)
def reads_of(code: types.CodeType) -> Reads:
    """What a code object reads; see :class:`Reads`."""
    names: set[str] = set()
    attributes: set[str] = set()
    imports: set[tuple[int, str]] = set()
    for part in _nested(code):
        constants: list[Any] = [0, 0]
        for step in dis.get_instructions(part):
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
                names.add(str(step.argval))
            elif step.opname == "IMPORT_NAME":
                level = constants[-2] if isinstance(constants[-2], int) else 0
                imports.add((level, str(step.argval)))
            elif "ATTR" in step.opname or step.opname in ("LOAD_METHOD", "IMPORT_FROM"):
                attributes.add(str(step.argval))
            if step.opname.startswith(("LOAD_CONST", "LOAD_SMALL_INT")):
                constants.append(step.argval)
    return Reads(tuple(sorted(names)), frozenset(attributes), tuple(sorted(imports)))


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _nested(constant)


def find_import(level: int, name: str, package: str) -> types.ModuleType | None:
    """The module that code in ``package`` means by an import, or None where there is no such module."""
    try:
        absolute = importlib.util.resolve_name("." * level + name, package) if level else name
        return sys.modules.get(absolute) or importlib.import_module(absolute)
    except Exception:  # whatever a module raises when it is imported: the code that imports it will say so
        return None


@lru_cache(maxsize=1)
def _library_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    found = {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    for ask in ("getsitepackages", "getusersitepackages"):
        try:
            answer = getattr(site, ask)()
        except Exception:  # no home folder, or an interpreter that is embedded
            continue
        found |= {answer} if isinstance(answer, str) else set(answer)
    return tuple(sorted(str(Path(path).resolve()) for path in found if path))


@lru_cache(maxsize=4096)
def is_library_file(file: str) -> bool:
    """Whether code from this file belongs to an installed package, to Python, or to this package."""
    if file.startswith("<"):
        return file.startswith("<frozen")
    path = Path(file).resolve()
    if {"site-packages", "dist-packages"} & set(path.parts):
        return True
    inside = (*_library_folders(), str(Path(__file__).resolve().parents[1]))
    return any(path.is_relative_to(folder) for folder in inside)


def library_of(module: str) -> str | None:
    """``"numpy 2.3.1"`` for a module of an installed package, the bare name for one of Python or of this package, whose
    releases say by themselves when a density changes; None for a user's."""
    if not module or module == "__main__":
        return None
    top = module.partition(".")[0]
    if in_this_package(module):
        return top
    if top in sys.stdlib_module_names or top in sys.builtin_module_names:
        return top
    found = sys.modules.get(module) or sys.modules.get(top)
    file = getattr(found, "__file__", None)
    if found is None or file is None or not is_library_file(file):
        return None
    return f"{top} {_version_of(top)}"


@lru_cache(maxsize=512)
def _version_of(top: str) -> str:
    stated = getattr(sys.modules.get(top), "__version__", None)
    if isinstance(stated, str):
        return stated
    try:
        return importlib.metadata.version(top)
    except importlib.metadata.PackageNotFoundError:
        return ""


def in_this_package(module: str) -> bool:
    """Whether a module is one of this package."""
    return module.partition(".")[0] == _PACKAGE


def text_of(module: types.ModuleType) -> str | None:
    """The code of a module's file without comments, formatting and docstrings; a digest of a compiled one's bytes.

    None where there is no file.
    """
    file = getattr(module, "__file__", None)
    if file is None:
        return None
    try:
        content = Path(file).read_bytes()
    except OSError:
        return None
    return normalised(content.decode("utf-8", "replace")) or hashlib.sha256(content).hexdigest()


def normalised(source: str) -> str:
    """Source code without comments, formatting and docstrings; empty where it is not Python.

    The text is unparsed, not dumped: that of a dump depends on the version of Python.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return ""
    if "__doc__" not in source:
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                _drop_docstring(node)
    return ast.unparse(tree)


def _drop_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        node.body = node.body[1:] or [ast.Pass()]


def states_of(state: Any) -> list[tuple[str, Any]]:
    """A pickled state by attribute, where it is one of attributes (those in slots come second)."""
    parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
    if all(part is None or (isinstance(part, dict) and all(isinstance(k, str) for k in part)) for part in parts):
        return [(key, content) for part in parts if part for key, content in part.items()]
    return [("state", state)]


def attribute_of(value: Any, name: str) -> Any:
    """An attribute, or None where there is none or the class fails to give it."""
    try:
        return getattr(value, name, None)
    except Exception:  # a class whose attributes are made up, or fail
        return None


def vars_of(value: Any) -> dict[str, Any]:
    """Attributes that are set on an object itself."""
    found = attribute_of(value, "__dict__")
    return found if isinstance(found, dict) else {}


def home_of(value: Any) -> str:
    """Library, module and name of what can be found there by its name; empty for anything else."""
    module, name = (
        attribute_of(value, "__module__"),
        attribute_of(value, "__qualname__") or attribute_of(value, "__name__"),
    )
    if isinstance(value, np.ufunc) and not module:
        module = "scipy.special"
    if not (isinstance(module, str) and isinstance(name, str)):
        return ""
    home = library_of(module)
    found: Any = sys.modules.get(module)
    if home is None:
        return ""
    for part in name.split("."):
        found = attribute_of(found, part)
    compiled = isinstance(value, type) and not any(isinstance(m, types.FunctionType) for m in vars(value).values())
    return f"{home} {module}.{name}" if found is value or compiled else ""


@lru_cache(maxsize=256)
def text_of_class(cls: type) -> str:
    """The code of one class, as :func:`normalised`; empty where it has no source."""
    try:
        return normalised(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError):
        return ""


def plain_array(value: Any) -> np.ndarray:
    """A NumPy or JAX array, keys of random numbers included, as a NumPy array."""
    is_key = isinstance(value, jax.Array) and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key)  # type: ignore[attr-defined]
    return np.asarray(jax.random.key_data(value) if is_key else value)
