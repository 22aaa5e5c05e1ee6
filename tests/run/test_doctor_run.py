"""`estimhank doctor RUN` on folders with which something has happened."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from estimhank.cli import app
from estimhank.data import read_dataset
from estimhank.evaluation.evaluations import EvaluationBatch
from estimhank.evaluation.store import EvaluationStore
from estimhank.run.context import locked_folder
from estimhank.run.doctor_run import examine_run
from estimhank.run.findings import FAULTS_FOUND, Finding
from estimhank.run.manifest import Manifest, StageRecord, collect_versions, read_manifest, write_manifest
from estimhank.run.pipeline import count_evaluations
from estimhank.run.stages import PIPELINE
from estimhank.support.files import read_json, sha256_of_file, write_json
from tests.helpers.facts import posterior_facts
from tests.helpers.finished_run import finished_run

FILES = {"data": "data.csv", "mode": "mode.json", "posterior": "posterior.nc"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run: all stages recorded, a store with evaluations of two of them."""
    folder = tmp_path_factory.mktemp("whole")
    config = finished_run(folder)
    manifest = read_manifest(folder)
    assert manifest is not None
    d = len(read_json(folder / "mode.json")["theta"])
    with EvaluationStore.open(folder / "evaluations.bin", [f"p{i}" for i in range(d)], manifest.fingerprint) as store:
        for number, stage in enumerate(("mode", "sample")):
            batch = EvaluationBatch(
                np.full((5, d), 0.5), np.arange(5.0), np.zeros(5), np.zeros(5, np.uint8), np.zeros(5, np.float32),
                np.ones((5, d)),
            )  # fmt: skip
            store.append(stage, number, batch)
    records = {
        name: StageRecord(
            "finished",
            PIPELINE.digest(name, config),
            files={FILES[name]: sha256_of_file(folder / FILES[name])} if name in FILES else {},
            facts=posterior_facts() if name == "posterior" else None,
        )
        for name in PIPELINE.names
    }
    manifest = dataclasses.replace(
        manifest,
        stages=records,
        versions=collect_versions(),
        data={"sha256": read_dataset(folder / "data.csv").sha256, "source": "snapshot"},
    )
    write_manifest(folder, manifest.with_evaluations(*count_evaluations(folder / "evaluations.bin")))
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy to do something to."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


def change(folder: Path, **changes: object) -> Manifest:
    manifest = read_manifest(folder)
    assert manifest is not None
    manifest = dataclasses.replace(manifest, **changes)  # type: ignore[arg-type]
    write_manifest(folder, manifest)
    return manifest


def only(folder: Path, status: str = "fault") -> Finding:
    """The one finding of that status."""
    (found,) = [finding for finding in examine_run(folder).all if finding.status == status]
    return found


def test_a_whole_run(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    found = examine_run(folder)
    assert [f.name for f in found.all] == [
        "manifest", "files", "evaluations", "data", "versions", "up to date", "posterior", "certificate", "files",
    ]  # fmt: skip
    assert all(f.status == "ok" for f in found.all) and found.exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before, "nothing is changed"
    done = CliRunner().invoke(app, ["doctor", str(folder)])
    assert done.exit_code == 0 and "nothing is wrong; 0 notes" in done.stdout


@pytest.mark.parametrize(
    "place", ["head", "rows", "last byte"]
)  # the store's own head, a batch's rows, the end of the last batch
def test_a_store_that_is_damaged(place: str, folder: Path) -> None:
    path = folder / "evaluations.bin"
    content = bytearray(path.read_bytes())
    at = {"head": 5, "rows": len(content) // 2, "last byte": len(content) - 1}[place]
    content[at] ^= 0xFF
    path.write_bytes(bytes(content))
    found = only(folder)
    assert found.name == "evaluations" and "evaluations.bin" in found.words and "--overwrite" in found.cure
    assert CliRunner().invoke(app, ["doctor", str(folder)]).exit_code == FAULTS_FOUND


def test_a_store_that_lost_its_last_batch(folder: Path) -> None:
    path = folder / "evaluations.bin"
    path.write_bytes(path.read_bytes()[:-7])
    found = only(folder)
    assert "fewer evaluations than the manifest says: sample 0 of 5" in found.words
    change(folder, evaluations={"mode": {"ok": 5}})
    assert "a batch that was not finished" in only(folder, "note").words
    path.unlink()
    assert "is not there" in only(folder, "note").words


def test_files_that_were_changed_or_removed(folder: Path) -> None:
    (folder / "mode.json").write_text("{}")
    found = only(folder)
    assert found.name == "files" and "the mode stage wrote: mode.json" in found.words and "--resume" in found.cure
    (folder / "mode.json").unlink()
    assert "mode.json" in only(folder).words


def test_data_that_were_changed(folder: Path) -> None:
    text = (folder / "data.csv").read_text().splitlines()
    row = next(i for i, line in enumerate(text) if line.startswith("1995"))
    cells = text[row].split(",")
    text[row] = ",".join([cells[0], "9.5", *cells[2:]])
    (folder / "data.csv").write_text("\n".join(text) + "\n")
    names = {finding.name for finding in examine_run(folder).faults}
    assert {"files", "data"} <= names


@pytest.mark.parametrize("content", ["", "{", "[]", '{"configuration": {}}', '{"configuration": {}, "format": 99}'])
def test_manifests_that_cannot_be_read(content: str, folder: Path) -> None:
    (folder / "manifest.json").write_text(content)
    found = examine_run(folder)
    assert found.all[0].name == "manifest" and found.all[0].status == "fault" and found.all[0].cure
    assert found.all[1].name == "evaluations" and found.all[1].status == "ok", "the store is looked at all the same"


def test_folders_that_are_none(tmp_path: Path, folder: Path) -> None:
    assert "is no folder" in only(tmp_path / "nowhere").words
    (tmp_path / "empty").mkdir()
    assert "has no manifest.json" in only(tmp_path / "empty").words
    (folder / "manifest.json").unlink()  # as estimate_density leaves it
    found = examine_run(folder)
    assert not found.faults and [f.name for f in found.all] == ["manifest", "evaluations"]


def test_a_run_that_was_interrupted_or_goes_on(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert manifest is not None
    record = dataclasses.replace(manifest.stages["sample"], status="running")
    gone = manifest.without_stages(("surrogate", "posterior", "economics", "report")).with_stage("sample", record)
    write_manifest(folder, gone)
    found = only(folder)
    assert "lacks sample, surrogate, posterior, economics, report; sample had begun" in found.words
    assert "--resume" in found.cure
    with locked_folder(folder):
        assert "is being made now (sample)" in only(folder, "note").words


def test_another_release(folder: Path) -> None:
    manifest = change(folder, versions={**collect_versions(), "jax": "0.1.0"})
    assert "jax 0.1.0 (here " in only(folder, "note").words
    other = dataclasses.replace(manifest.stages["surrogate"], digest="0" * 64)
    change(folder, versions=collect_versions(), stages={**manifest.stages, "surrogate": other})
    assert "surrogate and what follows it were made by another release" in only(folder, "note").words
    change(folder, stages=manifest.stages, fingerprint={**manifest.fingerprint, "prior": "another"})
    assert "another prior" in only(folder).words
    content = read_json(folder / "manifest.json")
    content["configuration"]["sample"]["unheard_of"] = 3
    write_json(folder / "manifest.json", content)
    assert "does not know the run's settings" in only(folder).words


def test_a_configuration_that_was_edited_since(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[model]\nname = "new_keynesian"\n[data]\nstart = "1990Q1"\nend = "1999Q4"\n')
    change(folder, config_file=str(file))
    assert not examine_run(folder).faults and not [f for f in examine_run(folder).all if f.status == "note"]
    file.write_text(file.read_text() + "[mode]\nstarts = 3\n")
    assert "mode.starts is 3, was 8" in only(folder, "note").words
    file.unlink()
    assert "cannot be read from here" in only(folder, "note").words


def test_what_the_posterior_is_worth(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert manifest is not None
    for facts, status, words in (
        (
            posterior_facts(converged=False, convergence="largest R-hat 1.4"),
            "fault",
            "not converged: largest R-hat 1.4",
        ),
        (posterior_facts(certificate_passed=False, certificate="error 4.3"), "note", "failed: error 4.3"),
    ):
        record = dataclasses.replace(manifest.stages["posterior"], facts=facts)
        change(folder, stages={**manifest.stages, "posterior": record})
        assert words in only(folder, status).words


def test_leftovers_and_evaluations_that_raised(folder: Path) -> None:
    (folder / ".mode.json.unfinished-00ff.json").write_text("")
    assert "1 files of a process that was killed" in only(folder, "note").words
    write_json(folder / "failed_evaluation.json", {})
    assert "estimhank replay" in only(folder).cure
