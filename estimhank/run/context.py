"""What a running stage has at hand: configuration, folder, data, the target, and a recorder of evaluations."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import joblib

from estimhank.data import Dataset, SeriesTable, check_units, load_dataset, load_table, read_dataset
from estimhank.emulator.emulator import load_emulator
from estimhank.evaluation.engine import Engine
from estimhank.evaluation.executors import IN_PROCESS, may_start_processes
from estimhank.evaluation.recorder import Rates, Recorder
from estimhank.evaluation.store import FILE_NAME as STORE
from estimhank.evaluation.store import EvaluationStore
from estimhank.evaluation.workers import Workers
from estimhank.model.registry import find_model
from estimhank.parameters.parameter_table import ModelError
from estimhank.posterior.posterior import Posterior
from estimhank.run.config import Config
from estimhank.run.manifest import Manifest
from estimhank.support.errors import DataError, ResultsError
from estimhank.support.files import make_folder
from estimhank.support.locking import locked
from estimhank.support.progress_event import Progress, ProgressEvent
from estimhank.target.batching import vectorize
from estimhank.target.protocol import Target

#: In a results folder: an emulator, what it was trained on, and evaluations with it.
EMULATOR, EXAMPLES, EMULATED_STORE = "emulator.npz", "emulator_examples.npz", "emulated.bin"


def _silent(event: ProgressEvent) -> None:
    """Show nothing."""


@dataclass
class RunContext:
    """One run, open: build it in a ``with`` block, which ends workers and closes the store.

    Attributes
    ----------
    config : Config
        The resolved configuration.
    folder : Path
        The results folder.
    build_target : callable
        Makes the target from configuration and data.
    progress : callable
        Receives :class:`~estimhank.support.progress_event.ProgressEvent` reports.
    manifest : Manifest, optional
        The manifest as it stands when a stage begins; the pipeline keeps it up to date.
    """

    config: Config
    folder: Path
    build_target: Callable[[Config, Dataset], Target]
    progress: Progress = _silent
    manifest: Manifest | None = None
    _open: contextlib.ExitStack = field(default_factory=contextlib.ExitStack, repr=False)

    def __enter__(self) -> RunContext:
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    @cached_property
    def source_dataset(self) -> Dataset:
        """The observables made from the configured source."""
        dataset = load_dataset(self.config.data, self.config.folder, self.source_table)
        # a model that cannot be found is what the target has to say
        with contextlib.suppress(ModelError):
            check_units(dataset, find_model(self.config.model.name, self.config.folder).observables)
        return dataset

    @cached_property
    def source_table(self) -> SeriesTable:
        """The raw series of the configured source, fetched once."""
        return load_table(self.config.data, self.config.folder)

    @cached_property
    def dataset(self) -> Dataset:
        """The observables in the folder's ``data.csv``."""
        path = self.folder / "data.csv"
        if not path.is_file():
            raise DataError(f"{path} does not exist; run the data stage first")
        return read_dataset(path)

    @cached_property
    def target(self) -> Target:
        """The posterior of the configured model, given the folder's data, or the source's before there are any."""
        return self.build_target(self.config, self.dataset if self.has("data") else self.source_dataset)

    @property
    def workers(self) -> int:
        """Number of workers: one for each core that this process may use, if the configuration says 0."""
        alone = not (may_start_processes() or self.config.run.scheduler)
        if self.config.run.backend in IN_PROCESS or alone:
            return 1
        return self.config.run.workers or int(joblib.cpu_count())

    @cached_property
    def recorder(self) -> Recorder:
        """Evaluations through workers into the store, opened on first use."""
        store = EvaluationStore.open(self.folder / STORE, self.target.names, self.target.fingerprint)
        self._open.enter_context(store)
        return Recorder(self.engine, store)

    @cached_property
    def engine(self) -> Engine:
        """Workers for the target; none are started yet."""
        run = self.config.run
        workers = run.workers if run.scheduler else self.workers
        engine = self._open.enter_context(Engine(self.target, run.backend, workers, run.scheduler, run.wait))
        engine.ahead += ("estimhank.networks.training", "estimhank.surrogate.fast_mh")
        engine.notice = getattr(self.progress, "note", engine.notice)
        return engine

    # -- emulated households -----------------------------------------------------------------------------------
    @property
    def emulator_path(self) -> Path:
        """Where the sample stage leaves an emulator that it found good enough."""
        return self.folder / EMULATOR

    @cached_property
    def emulated(self) -> Recorder | None:
        """Evaluations with emulated households, on the same workers, in a store of their own; None where households
        are solved."""
        if not self.config.emulator.points or not self.emulator_path.is_file():
            return None
        exact = self.target
        assert isinstance(exact, Posterior)
        posterior = exact.emulated(load_emulator(self.emulator_path, exact.fingerprint))
        vectorized = self.config.run.backend == "vectorized"
        target: Target = vectorize(posterior, self.config.run.batch) if vectorized else posterior
        store = EvaluationStore.open(self.folder / EMULATED_STORE, target.names, target.fingerprint)
        self._open.callback(self.forget_emulated)
        return Recorder(self.engine.beside(target), store)

    def forget_emulated(self) -> None:
        """Close the store of emulated evaluations, before it or the emulator is removed."""
        emulated = self.__dict__.pop("emulated", None)
        if emulated is not None:
            emulated.store.close()

    @property
    def training(self) -> Recorder:
        """What the surrogate is trained on: evaluations with emulated households where there is an emulator."""
        return self.emulated or self.recorder

    @property
    def open_workers(self) -> Workers | None:
        """The engine, if it has been opened; else None. Work that this process does as fast starts no workers."""
        return self.recorder.engine if "recorder" in self.__dict__ else None

    def take_rates(self) -> Rates | None:
        """Of the evaluations that this call asked for since the last time; None where there were none."""
        opened = [self.__dict__.get(name) for name in ("recorder", "emulated")]
        rates = [found for recorder in opened if recorder and (found := recorder.take_rates())]
        return sum(rates[1:], rates[0]) if rates else None

    def has(self, stage: str) -> bool:
        """Whether a stage is finished, by the manifest."""
        record = None if self.manifest is None else self.manifest.stages.get(stage)
        return record is not None and record.status == "finished"

    @property
    def seed(self) -> int:
        """Seed of the run; each stage adds a code of its own, so that stages can run one by one."""
        return self.config.run.seed


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[Path]:
    """Create the results folder if need be and keep every other process out of it while the block runs.

    Raises
    ------
    ResultsError
        If another process is at work in the folder.
    StorageError
        If the folder cannot be created.
    """
    make_folder(folder)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(folder))
        except BlockingIOError:
            raise ResultsError(
                f"another process is writing to {folder}; wait for it or choose another folder"
            ) from None
        yield folder
