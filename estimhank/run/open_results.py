"""``estimhank.load``: whatever a results folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from estimhank.support.files import expand_user
from estimhank.support.runtime import configure


def load(folder: Path | str) -> Any:
    """Open a results folder.

    Parameters
    ----------
    folder : path
        Of ``estimhank estimate``, or of ``estimhank global``.

    Returns
    -------
    estimhank.run.results.Run or estimhank.global_solution.solution.GlobalSolution
        What the folder holds; which one it is nobody can know before.

    Raises
    ------
    ResultsError
        If there is nothing in the folder, or it is not finished.
    """
    from estimhank.global_solution.solution import SETTINGS, read_solution
    from estimhank.run.results import load as load_run

    configure()
    folder = expand_user(folder)
    if (folder / SETTINGS).is_file() and not (folder / "manifest.json").is_file():
        return read_solution(folder)
    return load_run(folder)
