"""``manifest.json``: what a results folder holds, from what it was made, and how far the run came."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from estimhank.analysis.facts import Facts, find_facts, read_facts
from estimhank.evaluation.evaluations import FailureExample
from estimhank.support.errors import ResultsError, StorageError
from estimhank.support.files import read_json, reading, sha256_of_file, write_json
from estimhank.support.plain import from_plain
from estimhank.support.runtime import find_device

FILE_NAME = "manifest.json"
FORMAT = 1

#: Packages whose versions a result may depend on.
PACKAGES = ("estimhank", "arviz", "flax", "h5netcdf", "jax", "jaxlib", "joblib", "numpy", "optax", "pandas", "scipy")


@dataclass(frozen=True)
class StageRecord:
    """One stage of a run.

    Attributes
    ----------
    status : str
        ``"running"`` (also after a crash) or ``"finished"``.
    digest : str
        Digest of the settings that the stage and those before it depend on.
    started : str
        When the stage was begun, UTC, in ISO format.
    seconds : float
        Wall time of the call that finished it.
    files : mapping of str to str
        Files it wrote, relative to the folder, with their SHA-256; the evaluation store, which grows on, is not among
        them.
    facts : Facts, optional
        What the stage has to say; None before it is finished.
    """

    status: Literal["running", "finished"]
    digest: str
    started: str = ""
    seconds: float = 0.0
    files: Mapping[str, str] = field(default_factory=dict)
    facts: Facts | None = None

    def to_json(self) -> dict[str, object]:
        """Content of ``manifest.json``."""
        return {**vars(self), "facts": self.facts.to_json() if self.facts else {}}

    @classmethod
    def from_json(cls, stage: str, content: Mapping[str, object]) -> StageRecord:
        """What :meth:`to_json` gave; a ``ValueError`` says what is not as it should be.

        A stage that left other facts, as one of another release may have, is not finished: it is to be run again.
        """
        facts = content.get("facts")
        record = from_plain(cls, {**content, "facts": None}, f"{stage} stage")
        try:
            return dataclasses.replace(record, facts=read_facts(stage, facts)) if facts else record
        except ValueError:
            return dataclasses.replace(record, status="running")


@dataclass(frozen=True)
class Manifest:
    """The content of ``manifest.json``.

    Attributes
    ----------
    configuration : mapping
        The canonical configuration (:meth:`estimhank.run.config.Config.canonical`).
    config_file, profile : str
        The file and the profile that it came from.
    format, status, created, finished, wall_seconds
        Version of this file's layout; ``"running"`` (also after a crash) or ``"finished"``; when the run was begun and
        finished, UTC; seconds of all calls.
    fingerprint : mapping of str to str
        What the log density depends on, part by part; empty before it was built.
    data : mapping
        Source, vintage, SHA-256 of the raw file and of the observables, sample.
    versions, machine : mapping of str to str
        Versions of Python and packages; platform, cores, workers, backend.
    stages : mapping of str to StageRecord
        Stages that were begun.
    evaluations : mapping of stage to mapping of reason to int
        Evaluations in the store by stage and reason, ``"ok"`` included.
    failures : mapping of reason to int
        Evaluations without a finite density, over all stages.
    examples : mapping of reason to tuple of FailureExample
        The first few such evaluations.
    """

    configuration: Mapping[str, Any]
    config_file: str = ""
    profile: str = "default"
    status: Literal["running", "finished"] = "running"
    created: str = ""
    finished: str = ""
    wall_seconds: float = 0.0
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, object] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)
    stages: Mapping[str, StageRecord] = field(default_factory=dict)
    evaluations: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    examples: Mapping[str, tuple[FailureExample, ...]] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return int(self.configuration["run"]["seed"])

    def facts[F: Facts](self, kind: type[F]) -> F | None:
        """What a stage left, by the kind of its facts; None before it is finished."""
        return find_facts((record.facts for record in self.stages.values()), kind)

    def with_stage(self, name: str, record: StageRecord) -> Manifest:
        """The manifest with one stage's record put in or replaced."""
        return dataclasses.replace(self, stages={**self.stages, name: record})

    def without_stages(self, names: tuple[str, ...]) -> Manifest:
        """The manifest of the same run before the named stages were begun."""
        kept = {name: record for name, record in self.stages.items() if name not in names}
        return dataclasses.replace(self, stages=kept, status="running", finished="")

    def with_evaluations(
        self,
        counts: Mapping[str, Mapping[str, int]],
        examples: Mapping[str, tuple[FailureExample, ...]] | None = None,
    ) -> Manifest:
        """The manifest with evaluation counts, failures summed over stages, and examples of them."""
        failures: dict[str, int] = {}
        for reasons in counts.values():
            for reason, number in reasons.items():
                if reason != "ok":
                    failures[reason] = failures.get(reason, 0) + number
        return dataclasses.replace(self, evaluations=counts, failures=failures, examples=examples or {})


def now() -> str:
    """The time, UTC, to the second: ``"2026-01-31T12:00:00Z"``."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def collect_versions() -> dict[str, str]:
    """Versions of Python and of the packages that results may depend on."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # estimhank run from a folder without being installed
    return versions


def describe_machine(workers: int, backend: str) -> dict[str, str]:
    """Platform, processor cores, workers and backend, as text; with vectorised calls the device that they run on."""
    machine = {
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cores": str(os.cpu_count() or 1),
        "workers": str(workers),
        "backend": backend,
    }
    return {**machine, "device": find_device().device_kind} if backend == "vectorized" else machine


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json`` whole or not at all."""
    head = {"format": manifest.format, "status": manifest.status, "seed": manifest.seed}
    stages = {name: record.to_json() for name, record in manifest.stages.items()}
    write_json(folder / FILE_NAME, {**head, **vars(manifest), "stages": stages})


def read_manifest(folder: Path) -> Manifest | None:
    """Read ``manifest.json``; None where there is none.

    Raises
    ------
    StorageError
        If the file is damaged.
    ResultsError
        If another version of the package wrote it.
    """
    path = folder / FILE_NAME
    with reading(path):
        there = path.exists()
    if not there:
        return None
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("configuration"), dict):
        raise StorageError(f"{path} is not a manifest of estimhank")
    if content.get("format") != FORMAT:
        raise ResultsError(
            f"{path} has format {content.get('format')}; this version of estimhank reads format {FORMAT}"
        )
    known = {item.name for item in dataclasses.fields(Manifest)} - {"stages"}
    try:
        manifest = from_plain(Manifest, {key: value for key, value in content.items() if key in known}, "the run")
        stages = {name: StageRecord.from_json(name, record) for name, record in content.get("stages", {}).items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise StorageError(f"{path} is damaged: {error}") from None
    return dataclasses.replace(manifest, stages=stages)


def broken_files(folder: Path, record: StageRecord) -> list[str]:
    """Files of a finished stage that are absent, or not what the stage wrote."""
    return [
        name
        for name, digest in record.files.items()
        if not (folder / name).is_file() or sha256_of_file(folder / name) != digest
    ]
