"""Evaluate again, in this process, the parameters at which a run's log density raised: ``estimhank replay DIR``."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from estimhank.data import Dataset, read_dataset
from estimhank.evaluation.recorder import FAILURE_FILE
from estimhank.evaluation.store import FILE_NAME as STORE
from estimhank.evaluation.store import open_for_reading
from estimhank.run.config import Config, restore_config
from estimhank.run.manifest import read_manifest
from estimhank.support.errors import ResultsError, StorageError
from estimhank.support.files import read_json
from estimhank.target.protocol import Evaluation, Gradient, GradientLike, Target

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Failure:
    """The content of ``failed_evaluation.json``.

    Attributes
    ----------
    stage, iteration : str, int
        The batch that stopped the run.
    theta : mapping of str to float
        Natural parameters, to the last digit.
    gradient : Gradient or bool
        Which gradient was asked for too.
    cause : str
        The exception in one line.
    """

    stage: str
    iteration: int
    theta: Mapping[str, float]
    gradient: GradientLike
    cause: str


@dataclass(frozen=True)
class Replay:
    """What happened this time: an evaluation, or the text of a traceback.

    ``differs`` names the parts of the log density (``model``, ``data``, ...) in which the one at hand is not the run's,
    because a fault was mended in the meantime, for instance.
    """

    failure: Failure
    differs: tuple[str, ...]
    evaluation: Evaluation | None = None
    traceback: str = ""

    def lines(self) -> list[str]:
        """The account, for people."""
        failure = self.failure
        lines = [f"stage {failure.stage}, iteration {failure.iteration}, stopped by {failure.cause}"]
        lines += [f"  {name} = {value!r}" for name, value in failure.theta.items()]
        if self.differs:
            verb = "differs" if len(self.differs) == 1 else "differ"
            lines.append(f"the {' and the '.join(self.differs)} {verb} from the run's")
        if self.evaluation is None:
            return [*lines, self.traceback.rstrip()]
        value = self.evaluation
        lines.append(f"log likelihood {value.log_likelihood!r}, log prior {value.log_prior!r}, {value.reason}")
        if value.gradient is not None:
            lines.append("gradient " + ", ".join(repr(float(number)) for number in value.gradient))
        return lines


def read_failure(folder: Path) -> Failure:
    """Read ``failed_evaluation.json``.

    Raises
    ------
    ResultsError
        If there is none.
    StorageError
        If it is damaged.
    """
    path = folder / FAILURE_FILE
    if not path.exists():
        raise ResultsError(f"{folder} has no {FAILURE_FILE}: no evaluation of a run there has raised an exception")
    content = read_json(path)
    try:
        theta = {str(name): float(value) for name, value in content["parameters"].items()}
        wanted = Gradient(content.get("gradient", 0))
        return Failure(str(content["stage"]), int(content["iteration"]), theta, wanted, str(content["cause"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StorageError(f"{path} is damaged: {error!r}") from None


def replay(folder: Path | str, build_target: Callable[[Config, Dataset], Target]) -> Replay:
    """Evaluate the parameters in a folder's ``failed_evaluation.json`` with the run's own settings and data.

    Parameters
    ----------
    folder : path
        Results folder of a run that was stopped by an exception.
    build_target : callable
        Makes the target from configuration and data (:func:`estimhank.run.open_posterior.build_target`).

    Raises
    ------
    ResultsError
        If the folder holds no such run, or its parameters are not those of the model as it is now.
    """
    folder = Path(folder)
    failure = read_failure(folder)
    manifest = read_manifest(folder)
    if manifest is None:
        raise ResultsError(
            f"{folder} has no manifest.json: for a log density of your own call its evaluate with the parameters in "
            f"{FAILURE_FILE}"
        )
    config = restore_config(manifest.configuration, manifest.config_file, manifest.profile)
    target = build_target(config, read_dataset(folder / "data.csv"))
    if set(target.names) != set(failure.theta):
        raise ResultsError(
            f"{folder / FAILURE_FILE} holds {', '.join(failure.theta)}; the model now has {', '.join(target.names)}"
        )
    stored = _fingerprint_of_store(folder) or manifest.fingerprint
    differs = tuple(part for part in stored if stored[part] != target.fingerprint.get(part))
    theta = np.array([failure.theta[name] for name in target.names])
    try:
        return Replay(failure, differs, target.evaluate(theta, gradient=failure.gradient))
    except Exception:  # the very thing that is looked for
        return Replay(failure, differs, None, traceback.format_exc())


def _fingerprint_of_store(folder: Path) -> Mapping[str, str]:
    # the manifest has none before the first stage that evaluates is finished
    path = folder / STORE
    if not path.exists():
        return {}
    with open_for_reading(path) as store:
        return store.fingerprint
