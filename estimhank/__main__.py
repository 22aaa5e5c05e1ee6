"""Entry point of ``estimhank`` and ``python -m estimhank``, which comes up where packages are missing or broken too.

The command line imports all that a run needs. Where that fails, ``estimhank doctor`` is to say so, and every other
command one sentence; so nothing but the standard library is imported here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

from estimhank.run.findings import FAULTS_FOUND


def main() -> NoReturn:
    """Hand over to :func:`estimhank.cli.main`, or say what keeps it from being loaded."""
    try:
        from estimhank.cli import main as command_line
    except Exception as error:  # a package of another release may raise anything when it is imported
        sys.exit(_without_command_line(sys.argv[1:], error))
    command_line()


def _without_command_line(arguments: Sequence[str], error: Exception) -> int:
    """The doctor of this machine, or a sentence; the exit code."""
    if arguments[:1] == ["doctor"]:
        from estimhank.run.doctor import examine

        folders = [argument for argument in arguments[1:] if not argument.startswith("-")]
        if folders:
            print("estimhank: packages are broken, so this environment is looked at first", file=sys.stderr)
        found = examine(ask_fred="--offline" not in arguments)
        found.show("--json" in arguments)
        return found.exit_code or FAULTS_FOUND
    said = " ".join(f"{type(error).__name__}: {error}".split())
    print(f"estimhank: a package that it needs cannot be loaded ({said}): see `estimhank doctor`", file=sys.stderr)
    return FAULTS_FOUND


if __name__ == "__main__":
    main()
