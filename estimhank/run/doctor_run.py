"""``estimhank doctor RUN``: whether a results folder is whole, belongs to this release, and is to be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from estimhank.analysis.facts import PosteriorFacts
from estimhank.data import read_dataset
from estimhank.evaluation.evaluations import STORED_STAGES
from estimhank.evaluation.store import FILE_NAME as STORE
from estimhank.evaluation.store import open_for_reading
from estimhank.run.config import Config, find_config, load_config, restore_config
from estimhank.run.context import EMULATED_STORE
from estimhank.run.doctor import look_at_disk
from estimhank.run.findings import Finding, Findings, Look, look_at
from estimhank.run.manifest import FILE_NAME, Manifest, broken_files, collect_versions, read_manifest
from estimhank.run.open_posterior import build_posterior
from estimhank.run.stages import PIPELINE
from estimhank.support.errors import EstimhankError, StorageError
from estimhank.support.files import expand_user
from estimhank.support.identity import differing_parts
from estimhank.support.locking import locked
from estimhank.target.protocol import DEVICE_PART

_AGAIN = "Copy the folder again from where it was made, or run with --overwrite."


def examine_run(folder: Path | str) -> Findings:
    """Look at a results folder; nothing in it is changed.

    Parameters
    ----------
    folder : path

    Returns
    -------
    Findings
    """
    folder = expand_user(folder)
    if not folder.is_dir():
        return Findings((Finding("folder", "fault", f"{folder} is no folder", "Give the results folder of a run."),))
    busy = _is_busy(folder)
    try:
        manifest = read_manifest(folder)
    except EstimhankError as error:
        found: list[Finding] = [Finding("manifest", "fault", str(error), _cure_of_manifest(error))]
        return Findings((*found, *look_at([("evaluations", lambda: _look_at_stores(folder, None, busy))]).all))
    if manifest is None:
        return Findings(tuple(_without_manifest(folder, busy)))
    looks: list[tuple[str, Look]] = [
        ("manifest", lambda: _look_at_manifest(folder, manifest, busy)),
        ("files", lambda: _look_at_outputs(folder, manifest)),
        ("evaluations", lambda: _look_at_stores(folder, manifest, busy)),
        ("data", lambda: _look_at_data(folder, manifest)),
        ("versions", lambda: _look_at_versions(manifest)),
        ("up to date", lambda: _look_at_release(folder, manifest)),
        ("posterior", lambda: _look_at_posterior(folder, manifest)),
        ("disk", lambda: look_at_disk(folder, "the folder")),
    ]
    return look_at(looks)


def _is_busy(folder: Path) -> bool:
    try:
        with locked(folder):
            return False
    except BlockingIOError:
        return True


def _cure_of_manifest(error: EstimhankError) -> str:
    return _AGAIN if isinstance(error, StorageError) else "Read it with the release that made it, or run again."


def _without_manifest(folder: Path, busy: bool) -> Iterator[Finding]:
    if (folder / STORE).is_file():  # as estimate_density leaves it
        yield Finding("manifest", "note", f"{folder} has none, as after estimhank.estimate_density")
        yield from _look_at_stores(folder, None, busy)
    else:
        yield Finding(
            "manifest",
            "fault",
            f"{folder} has no {FILE_NAME}: it is not the results folder of a run",
            "Give the folder that was given to `--out`.",
        )


def _look_at_manifest(folder: Path, manifest: Manifest, busy: bool) -> Iterator[Finding]:
    of = f"{manifest.config_file or 'a configuration'}, profile {manifest.profile}, seed {manifest.seed}"
    open_stages = [name for name in PIPELINE.names if _status(manifest, name) != "finished"]
    begun = [name for name in open_stages if _status(manifest, name) == "running"]
    if manifest.status == "finished" and not (manifest.stages and open_stages):
        yield Finding("manifest", "ok", f"a finished run of {of}, begun {manifest.created}")
    elif busy:
        yield Finding(
            "manifest", "note", f"a run of {of} that is being made now ({', '.join(begun) or 'between stages'})"
        )
    else:
        doing = f"; {begun[0]} had begun" if begun else ""
        yield Finding(
            "manifest",
            "fault",
            f"a run of {of} that lacks {', '.join(open_stages) or 'its end'}{doing}",
            f"Go on with `estimhank estimate {manifest.config_file or 'CONFIG'} --out {folder} --resume`.",
        )
    if (folder / "failed_evaluation.json").is_file():
        yield Finding(
            "evaluation",
            "fault",
            "an evaluation raised an exception, whose parameters are in failed_evaluation.json",
            f"See what it was with `estimhank replay {folder}`.",
        )
    left = sorted(path.name for path in folder.rglob(".*.unfinished-*"))
    if left and not busy:
        yield Finding(
            "files", "note", f"{len(left)} files of a process that was killed ({left[0]}); the next run removes them"
        )


def _status(manifest: Manifest, stage: str) -> str:
    record = manifest.stages.get(stage)
    return "absent" if record is None else record.status


def _look_at_outputs(folder: Path, manifest: Manifest) -> Iterator[Finding]:
    finished = {name: record for name, record in manifest.stages.items() if record.status == "finished"}
    number = sum(len(record.files) for record in finished.values())
    broken = {name: found for name, record in finished.items() if (found := broken_files(folder, record))}
    for stage, names in broken.items():
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        config = manifest.config_file or "CONFIG"
        yield Finding(
            "files",
            "fault",
            f"missing, or not what the {stage} stage wrote: {shown}",
            f"Make them again with `estimhank estimate {config} --out {folder} --resume`.",
        )
    if finished and not broken:
        yield Finding("files", "ok", f"{number} files of {len(finished)} stages are as they were written (SHA-256)")


def _look_at_stores(folder: Path, manifest: Manifest | None, busy: bool) -> Iterator[Finding]:
    for name in (STORE, EMULATED_STORE):
        path = folder / name
        if not path.exists():
            if name == STORE and manifest is not None and manifest.evaluations:
                yield Finding(
                    "evaluations",
                    "note",
                    f"{name} is not there; results can be read, evaluations cannot be served again",
                    "Copy it too if the run is to be gone on with.",
                )
            continue
        try:
            with open_for_reading(path) as store:
                counts, rows, cut = store.read(*STORED_STAGES).counts(), len(store), store.discarded_bytes
        except EstimhankError as error:
            yield Finding("evaluations", "fault", str(error), f"Restore {path} from a copy, or run with --overwrite.")
            continue
        stated = None if manifest is None or name != STORE else manifest.evaluations
        wrong = [] if stated is None or busy else _fewer(counts, stated)
        if wrong:
            yield Finding(
                "evaluations",
                "fault",
                f"{name} holds fewer evaluations than the manifest says: {'; '.join(wrong)}",
                f"Restore {path} from a copy, or run with --overwrite.",
            )
        elif cut and not busy:
            yield Finding(
                "evaluations",
                "note",
                f"{name} holds {rows:,} whole evaluations and {cut:,} bytes of a batch that was not "
                "finished, which --resume cuts off",
            )
        else:
            yield Finding("evaluations", "ok", f"{name} holds {rows:,} evaluations, and every checksum is right")


def _fewer(counts: Mapping[str, Mapping[str, int]], stated: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Stages of which a store holds fewer evaluations than were counted; one that goes on may hold more."""
    sums = {stage: (sum(counts.get(stage, {}).values()), sum(reasons.values())) for stage, reasons in stated.items()}
    return [f"{stage} {held:,} of {said:,}" for stage, (held, said) in sums.items() if held < said]


def _look_at_data(folder: Path, manifest: Manifest) -> Iterator[Finding]:
    if not (folder / "data.csv").is_file():
        if manifest.data:
            yield Finding("data", "fault", "data.csv is missing", _AGAIN)
        return
    try:
        data = read_dataset(folder / "data.csv")
    except EstimhankError as error:
        yield Finding("data", "fault", str(error), _AGAIN)
        return
    stated = manifest.data.get("sha256")
    if stated is not None and stated != data.sha256:
        yield Finding("data", "fault", "data.csv holds other observables than those that were estimated with", _AGAIN)
        return
    source = " ".join(str(manifest.data[key]) for key in ("source", "vintage") if manifest.data.get(key))
    yield Finding(
        "data", "ok", f"{len(data.dates)} quarters of {', '.join(data.names)}" + (f" from {source}" if source else "")
    )


def _look_at_versions(manifest: Manifest) -> Iterator[Finding]:
    here = collect_versions()
    other = [f"{name} {was} (here {here.get(name, 'absent')})" for name, was in manifest.versions.items()
             if here.get(name) != was]  # fmt: skip
    if other:
        yield Finding("versions", "note", f"made with {', '.join(other)}; last digits may differ if it is made again")
    elif manifest.versions:
        yield Finding("versions", "ok", "made with the versions that are installed here")


def _look_at_release(folder: Path, manifest: Manifest) -> Iterator[Finding]:
    """Whether this release would compute the same: configuration, stages, log density."""
    stale = "It can be read as it is; to go on with it use the release that made it, or begin again with --overwrite."
    try:
        config = restore_config(manifest.configuration, manifest.config_file, manifest.profile)
    except EstimhankError as error:
        yield Finding("up to date", "fault", f"this release does not know the run's settings: {error}", stale)
        return
    finished = {name: record.digest for name, record in manifest.stages.items() if record.status == "finished"}
    changed = [
        stage for stage in PIPELINE.names if stage in finished and finished[stage] != PIPELINE.digest(stage, config)
    ]
    if changed:
        yield Finding("up to date", "note", f"{changed[0]} and what follows it were made by another release", stale)
    try:
        parts = _other_parts(folder, manifest, config)
    except EstimhankError as error:
        yield Finding(
            "up to date",
            "note",
            f"the model cannot be opened from here, so that it is not known whether it is the run's: {error}",
            "Look again from the folder in which the run was made.",
        )
        return
    if parts:
        yield Finding(
            "up to date",
            "fault",
            f"the log density at hand is not the run's: another {' and '.join(parts)}",
            "Restore the model's file and the release of the run, or run with --overwrite.",
        )
    elif not changed:
        yield Finding("up to date", "ok", "this release computes the same stages from the same log density")
    yield from _look_at_configuration(manifest, config)


def _other_parts(folder: Path, manifest: Manifest, config: Config) -> list[str]:
    if not manifest.fingerprint or not (folder / "data.csv").is_file():
        return []
    stored = {part: value for part, value in manifest.fingerprint.items() if part != DEVICE_PART}
    mine = build_posterior(config, read_dataset(folder / "data.csv")).fingerprint
    return list(differing_parts(stored, {part: mine[part] for part in mine if part != DEVICE_PART}))


def _look_at_configuration(manifest: Manifest, config: Config) -> Iterator[Finding]:
    """Whether the configuration's file still says what was run."""
    if not manifest.config_file:
        return
    try:
        now = load_config(find_config(manifest.config_file), manifest.profile)
    except EstimhankError:
        yield Finding(
            "configuration", "note", f"{manifest.config_file} cannot be read from here; the manifest holds all of it"
        )
        return
    different = now.differences(config.canonical())
    if different:
        shown = "; ".join(different[:3]) + (f"; and {len(different) - 3} more" if len(different) > 3 else "")
        yield Finding(
            "configuration",
            "note",
            f"{manifest.config_file} says something else now, or options of the command line were set over it: {shown}",
        )
    else:
        yield Finding("configuration", "ok", f"{manifest.config_file} is what was run")


def _look_at_posterior(folder: Path, manifest: Manifest) -> Iterator[Finding]:
    facts = manifest.facts(PosteriorFacts)
    if facts is None:
        return
    if facts.converged:
        yield Finding("posterior", "ok", f"the exact chains have converged: {facts.convergence}")
    else:
        yield Finding(
            "posterior",
            "fault",
            f"the exact chains have not converged: {facts.convergence}",
            'Use no figure of it yet; the page "The run has not converged" says what to try, and in which order.',
        )
    if facts.certificate_passed:
        yield Finding("certificate", "ok", f"passed: {facts.certificate}")
    else:
        yield Finding(
            "certificate",
            "note",
            f"failed: {facts.certificate}; the exact posterior does not depend on it",
            'Use the exact draws; the page "The certificate fails" says what it means and what to try.',
        )
