"""The licences of all packages of the locks, as they say themselves, into docs/licences.md.

    .venv/bin/python scripts/licences.py

Reads the metadata of what is installed, of ``requirements.lock`` and ``requirements-test.lock``; needs no network. A
licence of a family that is not in :data:`FAMILIES` is an error: whether such a package may be used is for people to
decide, and then to be said here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "licences.md"
LOCKS = {"run": "requirements.lock", "tests": "requirements-test.lock"}
FIRST, LAST = "<!-- licences: written by `scripts/licences.py` -->", "<!-- end of licences -->"

#: Families of licences that go together with the project's own, and how packages write them.
FAMILIES = {
    "MIT": r"MIT( License)?|MIT-CMU",
    "BSD": r"BSD.*|0BSD",
    "Apache-2.0": r"Apache.*",
    "ISC": r"ISC.*",
    "Python (PSF-2.0)": r"PSF-2\.0|Python Software Foundation License|License agreement for matplotlib.*",
    "MPL-2.0": r"MPL-2\.0|Mozilla Public License 2\.0.*",
    "Zlib": r"Zlib",
    "CC0-1.0": r"CC0-1\.0",
}

#: What a package's metadata do not say, and where it stands.
BY_HAND = {"fredapi": ("Apache-2.0", "the file LICENSE that comes with it")}


def locked(lock: str) -> list[str]:
    """Names of a lock's packages."""
    lines = (ROOT / lock).read_text(encoding="utf-8").splitlines()
    return [line.split("==")[0] for line in lines if "==" in line and not line.startswith("#")]


def said_by(name: str) -> str:
    """What an installed package says of its licence, in its own words; empty if nothing."""
    about = metadata.metadata(name)
    kinds = [c.split("::")[-1].strip() for c in about.get_all("Classifier") or [] if c.startswith("License ::")]
    free = (about.get("License") or "").strip().partition("\n")[0]
    whole = free if free != "UNKNOWN" and not re.search(r"^=|Copyright", free) else ""
    return about.get("License-Expression") or " AND ".join(kinds) or whole


def families_of(name: str) -> tuple[str, ...]:
    """The families of a package's licence, all of those that it combines.

    Raises
    ------
    ValueError
        If it says nothing, or something that is none of :data:`FAMILIES`.
    """
    said = BY_HAND[name][0] if name in BY_HAND else said_by(name)
    found = []
    for part in re.split(r" AND | OR | WITH LLVM-exception", said):
        if not part:
            continue
        family = next((family for family, words in FAMILIES.items() if re.fullmatch(words, part.strip("() "))), None)
        if family is None:
            raise ValueError(f"{name} is under '{part}', which no family of scripts/licences.py covers")
        found.append(family)
    if not found:
        raise ValueError(f"{name} does not say under which licence it is: look, and enter it in scripts/licences.py")
    return tuple(sorted(set(found), key=list(FAMILIES).index))


def table() -> Iterator[str]:
    """Lines of the table: a licence a row, packages of a run and those of tests."""
    rows: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for kind, lock in LOCKS.items():
        for name in locked(lock):
            rows.setdefault(families_of(name), {kind: [] for kind in LOCKS}).setdefault(kind, []).append(name)
    yield "| licence | what a run imports | what tests, extras and benchmarks add |"
    yield "|---|---|---|"
    for families, packages in sorted(rows.items(), key=lambda row: -sum(map(len, row[1].values()))):
        yield "| " + " | ".join([", ".join(families), *(", ".join(packages[kind]) for kind in LOCKS)]) + " |"


def written(page: str) -> str:
    """The page with the table as it is now."""
    before, first, rest = page.partition(FIRST)
    _, last, after = rest.partition(LAST)
    if not (first and last):
        raise ValueError(f"the page needs the lines {FIRST} and {LAST}")
    return f"{before}{first}\n\n" + "\n".join(table()) + f"\n\n{last}{after}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
