"""Write requirements.lock, requirements-test.lock and requirements-docs.lock from what is installed here.

    .venv/bin/python scripts/lock.py

Run it after an upgrade (``.venv/bin/python -m pip install --upgrade ...``) in an environment that passes the tests.
``requirements.lock`` holds what a run imports: the dependencies in ``pyproject.toml``, theirs, and what builds the
package. ``requirements-test.lock`` holds what the extras add to that, but for ``docs``, and ``requirements-docs.lock``
what that adds to both; it is written where the documentation's packages are installed (``make docs``). All are whole,
so that ``scripts/install`` hands them to pip with ``--no-deps``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]

#: Dependencies that are declared by a package and not used by what is used of it here, by that package. flax writes
#: checkpoints of its own with these (100 MB with what they need in turn); ``flax.nnx`` does without.
LEFT_OUT: Mapping[str, frozenset[str]] = {"flax": frozenset({"orbax-checkpoint", "tensorstore"})}


def canonical(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(requirements: Iterable[str], left_out: Mapping[str, frozenset[str]] = LEFT_OUT) -> set[str]:
    """Names of all distributions that requirements need here, the project itself not among them."""
    found: set[tuple[str, frozenset[str]]] = set()
    todo = [Requirement(text) for text in requirements]
    while todo:
        requirement = todo.pop()
        name = canonical(requirement.name)
        if (name, frozenset(requirement.extras)) in found:
            continue
        found.add((name, frozenset(requirement.extras)))
        for text in metadata.requires(name) or ():
            needed = Requirement(text)
            wanted = needed.marker is None or any(
                needed.marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras)
            )
            if wanted and canonical(needed.name) not in left_out.get(name, ()):
                todo.append(needed)
    return {name for name, _ in found} - {"estimhank"}


def locks(left_out: Mapping[str, frozenset[str]] = LEFT_OUT) -> dict[str, set[str]]:
    """Names of distributions by lock file."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = content["project"]
    run = closure([*project["dependencies"], *content["build-system"]["requires"]], left_out)
    groups = project["optional-dependencies"]
    extras = [text for name, group in groups.items() for text in group if name != "docs"]
    found = {"requirements.lock": run, "requirements-test.lock": closure(extras, left_out) - run}
    if find_spec("mkdocs"):
        found["requirements-docs.lock"] = closure(groups["docs"], left_out) - run - found["requirements-test.lock"]
    return found


def lines(names: Iterable[str]) -> str:
    """The content of a lock: one ``name==version`` a line, sorted."""
    return "".join(f"{name}=={metadata.version(name)}\n" for name in sorted(names))


if __name__ == "__main__":
    for file, names in locks().items():
        (ROOT / file).write_text(lines(names), encoding="utf-8")
        print(f"{file}: {len(names)} packages")
