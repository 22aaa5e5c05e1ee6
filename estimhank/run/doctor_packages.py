"""Packages: what is installed against what is needed, what was tested, and what is optional."""

from __future__ import annotations

import importlib
import importlib.util
import platform
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib import metadata

from estimhank import __version__
from estimhank.run.findings import Finding
from estimhank.support.extras import DASK, NUTS, OPENPYXL, TOOLKIT
from estimhank.support.shipped import find_bundled

LOCK = "requirements.lock"

#: The oldest Python that is supported (``requires-python``).
OLDEST_PYTHON = (3, 12)

#: Declared by a package and not used by what is used of it here (``scripts/lock.py`` leaves them out too).
_UNUSED = {"flax": {"orbax-checkpoint", "tensorstore"}}


def look_at_python() -> Iterator[Finding]:
    """The interpreter, and which estimhank it finds."""
    where = find_bundled("data/us_macro.csv")
    words = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, estimhank {__version__}"
    if sys.version_info < OLDEST_PYTHON:
        yield Finding("python", "fault", words, "Make an environment with Python 3.12 or newer and install it there.")
    elif where is None:
        yield Finding(
            "python",
            "fault",
            f"{words}, without the data that ship with it",
            "Install estimhank again from a wheel or with `pip install PATH`, not by copying the folder.",
        )
    else:
        yield Finding("python", "ok", words)


def look_at_versions() -> Iterator[Finding]:
    """What is installed against the lock, with which the release was tested, and against what packages ask for."""
    lock = read_lock()
    if lock is None:
        yield Finding(
            "versions",
            "fault",
            f"the file {LOCK} that ships with estimhank is missing",
            "Install estimhank again from a wheel or with `pip install PATH`.",
        )
        return
    needed, unfit = requirements()
    missing = sorted(name for name in needed if installed(name) is None)
    other = {name: (version, installed(name)) for name, version in lock.items() if name in needed}
    differ = {name: pair for name, pair in other.items() if pair[1] not in (None, pair[0])}
    if missing:
        wanted = " ".join(f'"{name}=={lock[name]}"' if name in lock else f'"{name}"' for name in missing)
        yield Finding(
            "versions", "fault", f"not installed: {', '.join(missing)}", f"Run `python -m pip install {wanted}`."
        )
    if unfit:
        wanted = " ".join(f'"{name}=={lock[name]}"' for name in unfit if name in lock)
        cure = f"Run `python -m pip install {wanted}`." if wanted else "Install versions that fit each other."
        yield Finding("versions", "fault", "; ".join(unfit.values()), cure)
    rest = [name for name in differ if name not in unfit]
    if rest:
        shown = ", ".join(f"{name} {differ[name][1]} (tested: {differ[name][0]})" for name in rest[:6])
        more = f" and {len(rest) - 6} more" if len(rest) > 6 else ""
        yield Finding(
            "versions",
            "note",
            f"{shown}{more}: within what is asked for; last digits may differ from those that a "
            "run with the tested versions gives",
        )
    if not (missing or unfit or rest):
        yield Finding("versions", "ok", f"{len(other)} packages, all as in {LOCK}")


def read_lock() -> dict[str, str] | None:
    """Tested versions by name; None where the file is missing."""
    path = find_bundled(LOCK)
    if path is None:
        return None
    lines = path.read_text(encoding="utf-8").split()
    return dict(line.split("==", 1) for line in lines if "==" in line)


def installed(name: str) -> str | None:
    """Version of a distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def requirements() -> tuple[set[str], dict[str, str]]:
    """Names of all that a run needs, and, of those with an unfit version, a sentence each.

    Where the package ``packaging`` is missing, versions are not compared with what packages ask for.
    """
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return {_canonical(re.split(r"[\s\[<>=!~;(]", text)[0]) for text in _declared()}, {}
    needed: set[str] = set()
    unfit: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = [("estimhank", frozenset[str](), Requirement(text)) for text in _declared()]
    while todo:
        by, asked, requirement = todo.pop()
        name, extras, marker = _canonical(requirement.name), frozenset(requirement.extras), requirement.marker
        if name in _UNUSED.get(by, ()) or (marker and not any(marker.evaluate({"extra": e}) for e in ("", *asked))):
            continue
        needed.add(name)
        version = installed(name)
        if version is None:
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            unfit[name] = f"{by} needs {name}{requirement.specifier}, and {version} is installed"
        if (name, extras) not in seen:
            seen.add((name, extras))
            todo += [(name, extras, Requirement(text)) for text in metadata.requires(name) or ()]
    return needed - {"estimhank"}, unfit


def _declared() -> list[str]:
    """What ``pyproject.toml`` asks for, from the file in a checkout, else from what was installed."""
    project = find_bundled("pyproject.toml")
    if project is not None:
        declared: list[str] = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
        return declared
    try:
        return [text for text in metadata.requires("estimhank") or () if "extra ==" not in text]
    except metadata.PackageNotFoundError:
        return []


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def look_at_optional_parts() -> Iterator[Finding]:
    """Features that need further packages: there, absent, or there and broken."""
    there, absent = [], []
    for extra in (DASK, NUTS, OPENPYXL, TOOLKIT):
        if extra.missing:
            absent.append(f'{extra.module} (pip install "estimhank[{extra.name}]")')
            continue
        try:
            importlib.import_module(extra.module)
            there.append(extra.module)
        except Exception as error:
            yield Finding(
                "optional parts",
                "fault",
                f"{extra.module} is installed and cannot be imported ({_brief(error)})",
                f'Run `python -m pip install --force-reinstall "estimhank[{extra.name}]"`, or uninstall it.',
            )
    words = [f"installed: {', '.join(there)}"] if there else []
    words += [f"not installed, and not needed for a plain run: {', '.join(absent)}"] if absent else []
    yield Finding("optional parts", "ok", "; ".join(words) or "none of them is whole")


def importable(modules: Mapping[str, str]) -> Iterator[Finding]:
    """Faults of modules that cannot be imported; ``modules``: what they are there for, by name, NumPy first.

    Without NumPy no other is tried: compiled ones do not raise then, they end the process.
    """
    for module, purpose in modules.items():
        try:
            importlib.import_module(module)
        except Exception as error:
            words = f"{module}, {purpose}, cannot be imported: {_brief(error)}"
            cure = f"Run `python -m pip install --force-reinstall {pinned(module)}`."
            yield Finding(f"import {module}", "fault", words, cure)
            if module == "numpy":
                return


def pinned(name: str) -> str:
    """A package with its tested version, as pip takes it."""
    version = (read_lock() or {}).get(name)
    return f'"{name}=={version}"' if version else name


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
