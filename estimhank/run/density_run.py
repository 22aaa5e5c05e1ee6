"""The stages of a run on any log density: a mode, draws, a surrogate, the exact posterior (``docs/any_density.md``)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from estimhank.analysis.arrays import PosteriorArrays
from estimhank.analysis.inference_data import write_inference_data
from estimhank.analysis.parameters import ParameterInfo
from estimhank.evaluation.engine import Engine
from estimhank.evaluation.recorder import Recorder
from estimhank.evaluation.repeats import repeat_some
from estimhank.evaluation.store import FILE_NAME, EvaluationStore
from estimhank.mode.mode_result import write_mode
from estimhank.mode.search import find_mode
from estimhank.run.config import Config, make_config
from estimhank.run.reporting import exact_draws_of, fresh_draws_of
from estimhank.sampling.algorithms import ALGORITHMS, sizes_for
from estimhank.sampling.proposals import Center
from estimhank.support.errors import ResultsError
from estimhank.support.files import make_folder, write_json
from estimhank.support.progress_event import Progress
from estimhank.surrogate.certificate import Certificate
from estimhank.surrogate.posterior_stage import run_posterior
from estimhank.surrogate.searched import Searched
from estimhank.surrogate.surrogate import save_surrogate
from estimhank.surrogate.surrogate_stage import run_surrogate
from estimhank.target.batching import vectorize
from estimhank.target.protocol import Target

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DensityRun:
    """What :func:`estimate_density` returns.

    Attributes
    ----------
    target : Target
    draws : ndarray of shape (chain, draw, d)
        Exact posterior, natural units.
    surrogate_draws : ndarray of shape (chain, draw, d)
        The surrogate's own.
    certificate : Certificate
    converged : bool
        Whether the exact chains met R-hat and effective draws.
    folder : Path
        Holds ``evaluations.bin``, ``mode.json``, ``surrogate.*``, ``certificate.json`` and ``posterior.nc``.
    words : str
        Whether the exact chains have converged, with the figures, and what was searched.
    """

    target: Target
    draws: Array
    surrogate_draws: Array
    certificate: Certificate
    converged: bool
    folder: Path
    words: str = ""


def estimate_density(
    target: Target,
    folder: Path | str,
    settings: Config | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> DensityRun:
    """Mode, sample, surrogate and posterior stages on a user's log density.

    Parameters
    ----------
    target : Target
        Of :func:`estimhank.from_log_density`, or a :class:`estimhank.posterior.posterior.Posterior`.
    folder : path
        Results folder.
    settings : Config, optional
        Sizes, seed, workers and backend, as from ``load_config`` or ``make_config({...}, profile)``; model and data
        tables are not read.
    resume : bool
        Go on from evaluations that the folder holds; without it a folder that holds some is refused.
    progress : callable, optional

    Raises
    ------
    ResultsError
        The folder holds evaluations and ``resume`` is false, or they are those of another density.
    """
    config = settings or make_config({})
    if config.run.backend == "vectorized":
        target = vectorize(target, config.run.batch)
    folder = make_folder(folder)  # with ~ as the home folder
    if (folder / FILE_NAME).exists() and not resume:
        raise ResultsError(f"{folder} holds evaluations already: pass resume=True to go on, or choose another folder")
    seed = config.run.seed
    with (
        EvaluationStore.open(folder / FILE_NAME, target.names, target.fingerprint) as store,
        Engine(target, config.run.backend, config.run.workers, config.run.scheduler, config.run.wait) as engine,
    ):
        recorder = Recorder(engine, store)
        mode = find_mode(recorder, target, config.mode, seed, progress=progress)
        write_mode(folder / "mode.json", mode)
        center = Center(mode.center_x, mode.covariance_x)
        ALGORITHMS[config.sample.algorithm](recorder, target, center, sizes_for(target, config.sample), seed, progress)
        evaluations = store.read("mode", "sample")
        repeat_some(recorder.evaluate, target, evaluations)
        trained = run_surrogate(recorder.evaluate, target, evaluations, mode, config.surrogate, seed, progress, engine)
        save_surrogate(trained.surrogate, folder)
        result = run_posterior(
            recorder.evaluate,
            target,
            trained.surrogate,
            config.posterior,
            seed,
            progress,
            engine,
            Searched.by(mode, target),
        )
    write_json(folder / "certificate.json", result.certificate.to_json())
    infos = tuple(
        ParameterInfo(name, lower=low, upper=high)
        for name, low, high in zip(target.names, target.transform.lower, target.transform.upper, strict=True)
    )
    exact = exact_draws_of(target.transform, result)
    arrays = PosteriorArrays(
        target.names, exact, result.surrogate.theta, fresh=fresh_draws_of(target.transform, result)
    )
    write_inference_data(folder / "posterior.nc", arrays, infos, {"seed": seed})
    return DensityRun(
        target,
        exact.theta,
        result.surrogate.theta,
        result.certificate,
        result.exact.converged,
        folder,
        result.convergence,
    )
