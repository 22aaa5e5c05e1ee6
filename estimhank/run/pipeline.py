"""The pipeline: decide from a results folder what is to be done, do it stage by stage, keep account in the manifest."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from estimhank.analysis.facts import PosteriorFacts
from estimhank.evaluation.evaluations import STORED_STAGES, FailureExample
from estimhank.evaluation.store import FILE_NAME as STORE
from estimhank.evaluation.store import EvaluationStore, open_for_reading
from estimhank.run.config import Config
from estimhank.run.config_sections import EconomicsConfig
from estimhank.run.context import EMULATED_STORE, RunContext, locked_folder
from estimhank.run.manifest import (
    Manifest,
    StageRecord,
    broken_files,
    collect_versions,
    describe_machine,
    now,
    read_manifest,
    write_manifest,
)
from estimhank.run.stage_spec import Pipeline
from estimhank.support.errors import CertificateError, ConfigError, ConvergenceError, EstimhankError, ResultsError
from estimhank.support.extras import DASK, NUTS
from estimhank.support.files import remove_leftovers, replacing, sha256_of_file, writing
from estimhank.support.identity import differing_parts, why_unidentified
from estimhank.support.runtime import compiled_code
from estimhank.target.protocol import CompiledTarget

#: What a run may leave in its folder beside the outputs of its stages.
_OF_NO_STAGE = ("manifest.json", STORE, EMULATED_STORE, "failed_evaluation.json")


@dataclass(frozen=True)
class Plan:
    """What is to be done in a results folder.

    Attributes
    ----------
    manifest : Manifest
        The manifest to begin with: finished stages that stay, and nothing else.
    todo : tuple of str
        Stages to run, in order; empty if the folder is up to date.
    wipe : bool
        Whether everything that a run left in the folder goes first.
    drop : tuple of str
        Stages whose evaluations go first, because their settings changed.
    """

    manifest: Manifest
    todo: tuple[str, ...]
    wipe: bool = False
    drop: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunOutcome:
    """How a call ended: the stages it ran (none if the folder was up to date) and the manifest."""

    ran: tuple[str, ...]
    manifest: Manifest
    folder: Path

    def verdict(self, require_certificate: bool = False) -> EstimhankError | None:
        """What is wrong with a finished run, as an error with its exit code, or None.

        A posterior that has not converged is always an error; a failed certificate only where it is required.
        """
        facts = self.manifest.facts(PosteriorFacts)
        if facts is None:
            return None
        if not facts.converged:
            return ConvergenceError(f"the exact posterior in {self.folder} has not converged: {facts.convergence}")
        if require_certificate and not facts.certificate_passed:
            return CertificateError(f"the surrogate's certificate in {self.folder} failed: {facts.certificate}")
        return None


def run_pipeline(
    context: RunContext,
    stages: Pipeline,
    only: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> RunOutcome:
    """Run all stages, or one, in a results folder.

    Parameters
    ----------
    context : RunContext
        Configuration, folder and what stages need.
    stages : Pipeline
        :data:`estimhank.run.stages.PIPELINE`.
    only : str, optional
        Run this stage alone, from the files of those before it.
    resume : bool
        Go on with an unfinished run.
    overwrite : bool
        Begin again: all stages, or the one and those after it.
    say : callable
        Receives a line when a stage begins and when it ends.

    Raises
    ------
    ResultsError
        If the folder holds an unfinished run and ``resume`` is false, a run of another model, data set or configuration
        and ``overwrite`` is false, or lacks what a single stage needs.
    EstimhankError
        Whatever a stage cannot do, in one sentence. The folder is then as it was, or can be resumed.
    """
    if resume and overwrite:
        raise ResultsError("--resume goes on with a run and --overwrite begins it again: choose one")
    check_sources(context, only)
    # decide before anything is created, so that a refusal leaves no trace
    plan = make_plan(context, stages, only, resume, overwrite)
    if not plan.todo:
        return RunOutcome((), plan.manifest, context.folder)
    if only != "data":
        say(f"solving for the steady state; {compiled_code()}")
        if only not in ("economics", "report") and isinstance(context.target, CompiledTarget):
            context.engine.start()  # workers load what they need meanwhile
        # once here, so that a calibration without a steady state, and a declaration that cannot be what was meant, are
        # said before anything is written
        context.target.check_declaration()
    with locked_folder(context.folder):
        remove_leftovers(context.folder)
        if plan.wipe:
            remove_outputs(context.folder, stages)
        elif plan.drop:
            gone = stages.stored_as(plan.drop)
            drop_evaluations(context.folder / STORE, gone, "mode")
            drop_evaluations(context.folder / EMULATED_STORE, gone, "sample")
        manifest = plan.manifest
        for number, name in enumerate(plan.todo, 1):
            say(f"[{number}/{len(plan.todo)}] {name}")
            manifest = run_one(context, stages, name, manifest)
            say(f"[{number}/{len(plan.todo)}] {name}: done in {manifest.stages[name].seconds:.1f} s")
    return RunOutcome(plan.todo, manifest, context.folder)


def check_sources(context: RunContext, only: str | None) -> None:
    """Make the observables and the target, so that whatever is wrong with them is said before anything is written."""
    check_extras(context.config, only)
    if only in (None, "data"):
        _ = context.source_dataset
    if only is None:
        _ = context.target
        if context.config.economics != EconomicsConfig():
            from estimhank.run.economics import check_conventions  # which few runs need before their end

            check_conventions(context.target, context.config.economics)


def check_extras(config: Config, only: str | None = None) -> None:
    """Refuse a run, or one stage of it, whose backend or algorithm is not installed, before anything is computed.

    Raises
    ------
    ConfigError
        With a sentence that says what to install.
    """
    asked = {
        DASK: only != "data" and config.run.backend == "dask",
        NUTS: only in (None, "sample") and config.sample.algorithm == "nuts",
    }
    for extra, wanted in asked.items():
        if wanted and extra.missing:
            raise ConfigError(extra.sentence)


def make_plan(context: RunContext, stages: Pipeline, only: str | None, resume: bool, overwrite: bool) -> Plan:
    """Compare the folder with the configuration and decide; see :func:`run_pipeline` for what is refused."""
    folder, manifest = context.folder, read_manifest(context.folder)
    fresh = _fresh_manifest(context)
    wanted = stages.names if only is None else (only,)
    if manifest is None:
        _refuse_foreign(folder, stages)
        if only not in (None, "data"):
            raise ResultsError(
                f"{folder} holds no run: begin with `estimhank data`, or run all with `estimhank estimate`"
            )
        return Plan(fresh, wanted)
    context.manifest = manifest
    if only is None and overwrite:
        return Plan(fresh, stages.names, wipe=True)

    _check_before(context, stages, manifest, wanted[0])
    changed = [name for name in wanted if _differs(context, stages, manifest, name)]
    other = _other_parts(context, manifest, only, overwrite)
    if (changed or other) and not overwrite:
        raise ResultsError(_refusal(context, manifest, changed, other))
    if only == "data" and (changed or other):
        return Plan(fresh, wanted, wipe=True)  # nothing that follows from other data can stay
    first = next((name for name in wanted if not _is_whole(context, manifest, name)), None)
    if first is None and not overwrite:
        return Plan(manifest, ())
    if not resume and not overwrite and any(name in manifest.stages for name in wanted):
        raise ResultsError(_unfinished(context.folder, manifest, first or wanted[0], only))
    start = wanted[0] if overwrite or first is None else first
    later = stages.since(start).names
    # a resumed stage is served its own evaluations; beginning again means without them, and so do other settings
    drop = later if overwrite or other else tuple(name for name in later if _differs(context, stages, manifest, name))
    stays = dataclasses.replace(fresh, stages=manifest.stages, created=manifest.created, data=manifest.data)
    stays = stays.with_evaluations(manifest.evaluations, manifest.examples).without_stages(later)
    if not other:
        stays = dataclasses.replace(stays, fingerprint=manifest.fingerprint)
    return Plan(stays, tuple(name for name in wanted if name in later), drop=drop)


def run_one(context: RunContext, stages: Pipeline, name: str, manifest: Manifest) -> Manifest:
    """Run one stage and record it, before and after."""
    digest = stages.digest(name, context.config)
    begun = now()
    context.manifest = manifest.with_stage(name, StageRecord("running", digest, begun))
    write_manifest(context.folder, context.manifest)
    clock = time.perf_counter()
    result = stages(name).run(context)
    files = {file: sha256_of_file(context.folder / file) for file in result.files}
    facts = None if result.facts is None else dataclasses.replace(result.facts, rates=context.take_rates())
    record = StageRecord("finished", digest, begun, round(time.perf_counter() - clock, 3), files, facts)
    manifest = manifest.with_stage(name, record)
    if name == "data":
        manifest = dataclasses.replace(manifest, data=_describe_data(context))
    else:
        manifest = dataclasses.replace(manifest, fingerprint=dict(context.target.fingerprint))
    manifest = manifest.with_evaluations(*count_evaluations(context.folder / STORE))
    seconds = round(sum(record.seconds for record in manifest.stages.values()), 3)
    manifest = dataclasses.replace(manifest, wall_seconds=seconds)
    if all(manifest.stages.get(stage) and manifest.stages[stage].status == "finished" for stage in stages.names):
        manifest = dataclasses.replace(manifest, status="finished", finished=now())
    context.manifest = manifest
    write_manifest(context.folder, manifest)
    return manifest


def count_evaluations(path: Path) -> tuple[dict[str, dict[str, int]], dict[str, tuple[FailureExample, ...]]]:
    """Evaluations in a store by stage and reason, and examples of those that failed; empty where there is no store."""
    if not path.exists():
        return {}, {}
    with open_for_reading(path) as store:
        stored = store.read()
        return stored.counts(), stored.failure_examples(store.names)


def drop_evaluations(path: Path, gone: Collection[str], first: str = "mode") -> None:
    """Rewrite a store without the evaluations of some of its stages, whole or not at all; ``first``: the stage whose
    evaluations come first."""
    if not path.exists():
        return
    if first in gone:
        with writing(path):
            path.unlink()  # nothing would be left
        return
    # the old store is closed before the new one takes its place: Windows replaces no open file
    with replacing(path) as temporary, open_for_reading(path) as old:
        kept = old.read(*(name for name in STORED_STAGES if name not in gone))
        temporary.unlink()  # the store writes its own head to a file that does not exist
        with EvaluationStore.open(temporary, old.names, old.fingerprint) as new:
            batches = dict.fromkeys(zip(kept.stage.tolist(), kept.iteration.tolist(), strict=True))
            for code, iteration in batches:
                batch = old.batch(STORED_STAGES[code], iteration)
                assert batch is not None  # it was just read
                new.append(STORED_STAGES[code], iteration, batch)


def outputs_of(stages: Pipeline) -> tuple[str, ...]:
    """What a run may leave in its folder."""
    return (*_OF_NO_STAGE, *(name for stage in stages for name in stage.outputs))


def remove_outputs(folder: Path, stages: Pipeline) -> None:
    """Remove what a run leaves in its folder and nothing else."""
    for name in outputs_of(stages):
        path = folder / name
        with writing(path):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _fresh_manifest(context: RunContext) -> Manifest:
    config = context.config
    return Manifest(
        configuration=config.canonical(),
        config_file=config.path,
        profile=config.profile,
        created=now(),
        versions=collect_versions(),
        machine=describe_machine(context.workers, config.run.backend),
    )


def _describe_data(context: RunContext) -> dict[str, object]:
    dataset = context.dataset
    sample = {"start": dataset.dates[0], "end": dataset.dates[-1], "quarters": len(dataset.dates)}
    raw = {f"raw_{key}" if key == "sha256" else key: value for key, value in dataset.provenance.items()}
    return {**raw, **sample, "sha256": dataset.sha256}


def _differs(context: RunContext, stages: Pipeline, manifest: Manifest, name: str) -> bool:
    record = manifest.stages.get(name)
    return record is not None and record.digest != stages.digest(name, context.config)


def _is_whole(context: RunContext, manifest: Manifest, name: str) -> bool:
    record = manifest.stages.get(name)
    return record is not None and record.status == "finished" and not broken_files(context.folder, record)


def _check_before(context: RunContext, stages: Pipeline, manifest: Manifest, wanted: str) -> None:
    for name in stages.before(wanted).names:
        record = manifest.stages.get(name)
        if record is None or record.status != "finished":
            raise ResultsError(
                f"the {wanted} stage needs the {name} stage, which is not finished in {context.folder}: "
                f"run `estimhank {name}` first"
            )
        if _differs(context, stages, manifest, name):
            raise ResultsError(_refusal(context, manifest, [name], []))
        broken = broken_files(context.folder, record)
        if broken:
            raise ResultsError(
                f"{context.folder / broken[0]} is missing or was changed since the {name} stage wrote it: "
                f"run `estimhank {name} --resume` first"
            )


def _other_parts(context: RunContext, manifest: Manifest, only: str | None, overwrite: bool) -> list[str]:
    """Parts of the log density in which the folder's run differs: data, model, prior, ...

    A complete run and the data stage compare with the source as it is now; a stage alone works from ``data.csv``.
    """
    parts = []
    stored = manifest.data.get("sha256")
    if only in (None, "data") and stored is not None and stored != context.source_dataset.sha256:
        parts.append("data")
    if only != "data" and manifest.fingerprint:
        mine, theirs = context.target.fingerprint, manifest.fingerprint
        if not overwrite and (why := why_unidentified(mine)):
            raise ResultsError(f"{context.folder} cannot be gone on with: {why}, or add --overwrite to begin again")
        parts += [part for part in differing_parts(theirs, mine) if part not in parts]
    if parts and only not in (None, "data", "mode"):
        raise ResultsError(
            f"{context.folder} holds a run of another {' and '.join(parts)}: begin again from the mode stage with "
            "`estimhank mode --overwrite`"
        )
    return parts


def _refusal(context: RunContext, manifest: Manifest, changed: Sequence[str], other: Sequence[str]) -> str:
    lines = context.config.differences(manifest.configuration)
    if lines:
        shown = "; ".join(lines[:3]) + (f"; and {len(lines) - 3} more" if len(lines) > 3 else "")
        what = f"of another configuration ({shown})"
    else:
        what = f"of another {' and '.join(other)}" if other else f"whose {changed[0]} stage was another release's"
    return f"{context.folder} holds a run {what}: choose another folder with --out, or add --overwrite"


def _unfinished(folder: Path, manifest: Manifest, first: str, only: str | None) -> str:
    record = manifest.stages.get(first)
    if record is not None and record.status == "finished":
        broken = broken_files(folder, record)
        why = f"{broken[0]} is missing or was changed" if broken else f"the {first} stage is not finished"
    else:
        why = f"the {first} stage is not finished"
    what = "an unfinished run" if only is None else "an unfinished stage"
    return f"{folder} holds {what} ({why}): add --resume to go on, or --overwrite to begin again"


def _refuse_foreign(folder: Path, stages: Pipeline) -> None:
    if not folder.is_dir():
        return
    found = [name for name in outputs_of(stages) if (folder / name).exists()]
    if found:
        raise ResultsError(
            f"{folder} holds {found[0]} but no manifest.json, so it is not known what made it: "
            "choose another folder with --out, or remove it"
        )
