"""Evaluate and keep: every batch of a stage goes through the store, and a batch that is there already comes from it.

A stage is a function of its seed and of the evaluations it asks for. So a run that was killed is resumed by running the
stage again from the start: the store answers until it ends, and evaluation goes on from there, to the same bits.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from estimhank.evaluation.engine import Engine, WorkersLost
from estimhank.evaluation.evaluations import EvaluationBatch
from estimhank.evaluation.store import EvaluationStore
from estimhank.evaluation.worker import EvaluationError
from estimhank.support.errors import ResultsError, StorageError
from estimhank.support.files import write_json, writing
from estimhank.target.protocol import REASONS, GradientLike

Array = NDArray[np.float64]

#: Where the parameters of an evaluation that raised are kept, beside the store.
FAILURE_FILE = "failed_evaluation.json"


@dataclass(frozen=True)
class Rates:
    """Evaluations that were made and that the store served, seconds waited for those made, and their rate."""

    evaluated: float
    served: float
    waited_seconds: float
    per_second: float

    def __add__(self, other: Rates) -> Rates:
        """Of both."""
        evaluated, waited = self.evaluated + other.evaluated, self.waited_seconds + other.waited_seconds
        rate = round(evaluated / waited, 2) if waited > 0 else 0.0
        return Rates(evaluated, self.served + other.served, round(waited, 3), rate)


class Recorder:
    """Evaluations of one run.

    Attributes
    ----------
    evaluated, replayed : Counter of str
        Evaluations by stage that this recorder had to make, and that the store already held.
    reasons : Counter of (str, str)
        Evaluations by stage and reason, of both kinds.
    seconds : dict of str to float
        Wall time spent waiting for evaluations, by stage.
    """

    def __init__(self, engine: Engine, store: EvaluationStore) -> None:
        self.engine = engine
        self.store = store
        self.evaluated: Counter[str] = Counter()
        self.replayed: Counter[str] = Counter()
        self.reasons: Counter[tuple[str, str]] = Counter()
        self.seconds: dict[str, float] = defaultdict(float)
        self._taken = np.zeros(3)

    def evaluate(self, stage: str, iteration: int, thetas: Array, gradient: GradientLike = False) -> EvaluationBatch:
        """Return the evaluations at ``thetas``: from the store where it holds this batch, else made now and kept.

        Parameters
        ----------
        stage : str
            Name of the stage.
        iteration : int
            Number of the batch in its stage; each is used once.
        thetas : ndarray of shape (n, d)
            Natural parameters.
        gradient : Gradient or bool
            Which gradients are wanted.

        Returns
        -------
        EvaluationBatch
            n evaluations, in the order of ``thetas``.

        Raises
        ------
        ResultsError
            If the store holds this batch at other parameters: the stage's seed or settings have changed.
        EvaluationError, WorkersLost
            If the target raised, or took worker processes down. The parameters are in ``failed_evaluation.json`` beside
            the store, with the traceback where there is one; ``estimhank replay`` evaluates them again.
        """
        thetas = np.array(thetas, float)
        batch = self.store.batch(stage, iteration)
        if batch is None:
            start = time.perf_counter()
            try:
                batch = self.engine.evaluate(thetas, gradient)
            except (EvaluationError, WorkersLost) as error:
                with contextlib.suppress(StorageError):  # the error says the parameters too
                    write_json(self.failure_path, _describe(error, stage, iteration, gradient))
                raise
            if not self.evaluated:
                with writing(self.failure_path):
                    self.failure_path.unlink(missing_ok=True)  # of a run before this one, which got no further
            self.store.append(stage, iteration, batch)
            self.seconds[stage] += time.perf_counter() - start
            self.evaluated[stage] += len(batch)
        else:
            self._refuse_other(batch, stage, iteration, thetas, gradient)
            self.replayed[stage] += len(batch)
        for code, count in enumerate(np.bincount(batch.reason)):
            if count:
                self.reasons[stage, REASONS[code]] += int(count)
        return batch

    def take_rates(self) -> Rates | None:
        """Of the evaluations since the last call; None where nothing was asked for."""
        now = np.array([self.evaluated.total(), self.replayed.total(), sum(self.seconds.values())], float)
        made, served, waited = now - self._taken
        self._taken = now
        if made + served == 0:
            return None
        rate = made / waited if waited > 0 else 0.0
        return Rates(float(made), float(served), round(float(waited), 3), round(float(rate), 2))

    def total(self, stage: str) -> int:
        """Evaluations asked for in a stage, made or served."""
        return self.evaluated[stage] + self.replayed[stage]

    @property
    def failure_path(self) -> Path:
        """Where the parameters of an evaluation that raised are kept."""
        return self.store.path.with_name(FAILURE_FILE)

    def _refuse_other(
        self, batch: EvaluationBatch, stage: str, iteration: int, thetas: Array, gradient: GradientLike
    ) -> None:
        if batch.theta.tobytes() != thetas.tobytes():
            what = "at other parameters"
        elif gradient and np.isnan(batch.gradient).all() and batch.ok.any():
            what = "without gradients"
        else:
            return
        raise ResultsError(
            f"{self.store.path} holds the evaluations of stage {stage}, iteration {iteration}, {what}: "
            "the seed or the settings of this stage are not those of the run that is in the folder"
        )


def _describe(
    error: EvaluationError | WorkersLost, stage: str, iteration: int, gradient: GradientLike
) -> dict[str, object]:
    return {
        "stage": stage,
        "iteration": iteration,
        "gradient": gradient,
        "parameters": dict(zip(error.names, error.theta.tolist(), strict=True)),
        "cause": error.cause,
        "traceback": error.details.splitlines(),
    }
