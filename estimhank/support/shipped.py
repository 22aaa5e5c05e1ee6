"""Files that ship with the package: data, configurations, examples, the lock. Nothing but the standard library.

A wheel carries them in ``estimhank/bundled``; a checkout has them at the top of the repository.
"""

from __future__ import annotations

from pathlib import Path

from estimhank.support.errors import StorageError

_PACKAGE = Path(__file__).resolve().parents[1]
_PLACES = (_PACKAGE / "bundled", _PACKAGE.parent)


def find_bundled(name: str) -> Path | None:
    """Path of a file that ships with the package (``"data/us_macro.csv"``), if there is one."""
    for folder in _PLACES:
        if (folder / name).is_file():
            return folder / name
    return None


def bundled(name: str) -> Path:
    """Path of a shipped file; :class:`StorageError` if the installation lacks it."""
    path = find_bundled(name)
    if path is None:
        raise StorageError(f"the file {name} that comes with estimhank is missing: install the package again")
    return path


def shipped(folder: str) -> dict[str, Path]:
    """Shipped TOML files of ``"configs"`` or ``"examples"`` by name, without their ending."""
    for place in _PLACES:
        found = {path.stem: path for path in sorted((place / folder).glob("*.toml"))}
        if found:
            return found
    return {}
