"""At which of its prior draws a run's model has a solution: evaluated once, kept in the folder.

The evidence divides by that share, and predictive checks say where in the prior there is none: both read it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from estimhank.analysis.inference_data import arrays_of
from estimhank.support.errors import ResultsError, StorageError
from estimhank.support.files import read_json, sha256_of_array, write_json
from estimhank.target.protocol import REASONS

if TYPE_CHECKING:
    from estimhank.run.results import Run

#: File of a results folder.
FILE_NAME = "prior_solutions.json"


def prior_reasons(run: Run, n: int, evaluate: Callable[[NDArray[np.float64]], list[str]]) -> list[str]:
    """Why there is no density at each of the first prior draws of a run, ``"ok"`` where there is one.

    Those that have been evaluated before are read, others evaluated and kept, if the folder can be written to. What was
    kept of another model, prior or set of draws is not used.

    Parameters
    ----------
    run : Run
    n : int
        Draws, at most as many as the run has kept.
    evaluate : callable
        From points (m, d), natural units, to their reasons.

    Raises
    ------
    ResultsError
        If the folder has no prior draws.
    """
    prior = arrays_of(run.draws).prior
    if prior is None:
        raise ResultsError(
            f"{run.folder / 'posterior.nc'} has no prior draws: pass prior_draws=0, or run the posterior stage again"
        )
    of = {"fingerprint": dict(run.posterior.fingerprint), "draws": sha256_of_array(prior)}
    known = _kept(run, of)[:n]
    missing = prior[len(known) : n]
    if len(missing):
        known += evaluate(missing)
        with suppress(StorageError):
            write_json(run.folder / FILE_NAME, {**of, "reasons": [REASONS.index(reason) for reason in known]})
    return known


def _kept(run: Run, of: dict[str, Any]) -> list[str]:
    """Reasons that the folder has of these draws."""
    if not (run.folder / FILE_NAME).exists():
        return []
    try:
        found = dict(read_json(run.folder / FILE_NAME))
        same = all(found[key] == value for key, value in of.items())
        return [REASONS[int(code)] for code in found["reasons"]] if same else []
    except (StorageError, KeyError, TypeError, ValueError, IndexError):
        return []
