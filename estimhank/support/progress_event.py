"""What a running stage tells whoever watches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class ProgressEvent:
    """One report of a running stage.

    Attributes
    ----------
    stage : str
        Name of the stage.
    done, total : int
        Steps done and planned, in the stage's own unit (iterations, rounds, starts); ``total`` 0 where it is not known.
    evaluations : int
        Evaluations of the log density that this run has used in the stage so far, those served from the store included.
    message : str
        A few words, e.g. an acceptance rate.
    """

    stage: str
    done: int
    total: int
    evaluations: int
    message: str = ""


Progress = Callable[[ProgressEvent], None]
