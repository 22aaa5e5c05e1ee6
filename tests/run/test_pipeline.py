"""What is computed, kept and refused in a results folder, with stages that count how often they run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from estimhank.analysis.facts import PosteriorFacts
from estimhank.evaluation.store import read_evaluations
from estimhank.run.config import make_config
from estimhank.run.context import RunContext, locked_folder
from estimhank.run.manifest import read_manifest, write_manifest
from estimhank.run.pipeline import run_pipeline
from estimhank.run.stage_spec import Pipeline, StageResult
from estimhank.run.stages import PIPELINE, data_stage
from estimhank.support.errors import CertificateError, ConvergenceError, DataError, ResultsError, StorageError
from estimhank.support.files import read_json, sha256_of, write_json
from estimhank.support.identity_walk import UNIDENTIFIED
from estimhank.target.protocol import Capabilities, Evaluation
from estimhank.target.transform import Transform
from tests.helpers.facts import posterior_facts
from tests.helpers.pipelines import standing_in

STAGES = PIPELINE.names


class Normal(Capabilities):
    """A standard normal density of two parameters, with failures where the first is above 3."""

    names = ("a", "b")
    transform = Transform((-np.inf, -np.inf), (np.inf, np.inf))

    def __init__(self, data: str, model: str = "m"):
        self.fingerprint = {"model": model, "data": data}

    def evaluate(self, theta, gradient=False):
        if theta[0] > 3:
            return Evaluation(-np.inf, 0.0, "indeterminate")
        return Evaluation(float(-theta @ theta / 2), 0.0, "ok", -theta if gradient else None)

    def sample_prior(self, rng, n):
        return rng.normal(size=(n, 2))


class Runs:
    """Stand-in stages: each evaluates three points of its own and writes a file that depends on those before it."""

    def __init__(self, folder, stop_in="", facts=None, model="m"):
        self.folder, self.stop_in, self.facts, self.model = folder, stop_in, facts, model
        self.ran: list[str] = []

    def stages(self):
        return standing_in(
            **{name: self._counted(name, data_stage if name == "data" else self._write) for name in STAGES}
        )

    def _counted(self, name, function):
        def stage(context):
            self.ran.append(name)
            if name == self.stop_in:
                raise KeyboardInterrupt
            return function(context) if name == "data" else function(context, name)

        return stage

    def _write(self, context, name):
        if name in ("mode", "sample", "surrogate"):
            rng = np.random.default_rng([context.seed, STAGES.index(name)])
            # the points move with the stage's settings; all of those of the sample stage fail
            theta = rng.uniform(size=(3, 2)) + (5.0 if name == "sample" else 0.0)
            theta += int(context.config.digest(name)[:4], 16) / 2**16
            context.recorder.evaluate(name, 0, theta)
        file = {"mode": "mode.json", "report": "report.html"}.get(name, f"tables/{name}.json")
        (context.folder / "tables").mkdir(exist_ok=True)
        write_json(context.folder / file, [name, context.config.digest(), context.dataset.sha256])
        return StageResult((file,), self.facts if name == "posterior" else None)

    def go(self, config=None, only=None, **options):
        config = config or make_config({"run": {"backend": "serial"}})
        build = lambda config, data: Normal(data.sha256, self.model)  # noqa: E731
        self.ran.clear()
        with RunContext(config, self.folder, build) as context:
            return run_pipeline(context, self.stages(), only, **options)


def settings(**tables):
    return make_config({"run": {"backend": "serial"}, **tables})


@pytest.fixture
def runs(tmp_path):
    return Runs(tmp_path / "out")


def test_a_run_goes_through_all_stages_and_keeps_account(runs):
    manifest = runs.go().manifest
    assert runs.ran == list(STAGES)
    assert manifest.status == "finished" and manifest.data["quarters"] == 216
    assert manifest.evaluations == {"mode": {"ok": 3}, "sample": {"indeterminate": 3}, "surrogate": {"ok": 3}}
    assert manifest.failures == {"indeterminate": 3}
    stored = read_json(runs.folder / "manifest.json")
    assert stored["seed"] == 20240101 and stored["versions"]["numpy"] == np.__version__
    assert stored["fingerprint"] == {"model": "m", "data": manifest.data["sha256"]}
    content = (runs.folder / "mode.json").read_bytes()
    assert stored["stages"]["mode"]["files"]["mode.json"] == sha256_of(content)
    assert read_manifest(runs.folder) == manifest


def test_a_finished_run_is_up_to_date_wherever_and_with_however_many_workers(runs):
    runs.go()
    before = {path: path.stat().st_mtime_ns for path in runs.folder.rglob("*")}
    outcome = runs.go(make_config({"run": {"workers": 9, "backend": "loky"}}))
    assert outcome.ran == () and runs.ran == []
    assert {path: path.stat().st_mtime_ns for path in runs.folder.rglob("*")} == before


def test_a_finished_run_is_up_to_date_without_its_evaluation_store(runs):
    runs.go()
    (runs.folder / "evaluations.bin").unlink()
    assert runs.go().ran == ()


def test_an_interrupted_run_is_resumed_from_its_last_finished_stage(runs, tmp_path):
    whole = Runs(tmp_path / "whole")
    whole.go()
    runs.stop_in = "surrogate"
    with pytest.raises(KeyboardInterrupt):
        runs.go()
    runs.stop_in = ""
    with pytest.raises(ResultsError, match=r"unfinished run \(the surrogate stage is not finished\): add --resume"):
        runs.go()
    assert runs.go(resume=True).ran == ("surrogate", "posterior", "economics", "report")
    for name in ("data.csv", "mode.json", "report.html"):
        assert (runs.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    mine, theirs = (read_evaluations(folder / "evaluations.bin") for folder in (runs.folder, whole.folder))
    np.testing.assert_array_equal(mine.theta, theirs.theta)


@pytest.mark.parametrize("damage", ["remove", "change"])
def test_a_damaged_file_is_noticed_and_made_again(runs, damage):
    runs.go()
    path = runs.folder / "tables/surrogate.json"
    content = path.read_bytes()
    path.unlink() if damage == "remove" else path.write_bytes(content + b" ")
    with pytest.raises(ResultsError, match=r"tables/surrogate\.json is missing or was changed"):
        runs.go()
    assert runs.go(resume=True).ran == ("surrogate", "posterior", "economics", "report")
    assert path.read_bytes() == content


def test_another_configuration_is_refused_and_the_difference_named(runs):
    runs.go()
    before = (runs.folder / "report.html").read_bytes()
    other = settings(posterior={"min_ess": 77})
    for options in ({}, {"resume": True}):
        with pytest.raises(ResultsError, match=r"posterior\.min_ess is 77.0, was .*add --overwrite"):
            runs.go(other, **options)
    assert (runs.folder / "report.html").read_bytes() == before and runs.ran == []
    outcome = runs.go(other, overwrite=True)
    assert outcome.ran == STAGES and outcome.manifest.configuration["posterior"]["min_ess"] == 77


def test_another_model_or_data_set_under_the_same_settings_is_refused(runs, tmp_path):
    runs.go()
    runs.model = "edited"
    with pytest.raises(ResultsError, match="another model"):
        runs.go()
    runs.model = "m"
    raw = tmp_path / "raw.csv"
    rows = [f"{2000 + j // 4}Q{j % 4 + 1},{j % 3}" for j in range(12)]
    raw.write_text("date,y\n" + "\n".join(rows) + "\n")
    config = settings(
        data={
            "source": str(raw),
            "start": "2000Q1",
            "end": "2002Q4",
            "observables": {"y": {"series": "y", "transform": "level"}},
        }
    )
    mine = Runs(tmp_path / "mine")
    mine.go(config)
    raw.write_text("date,y\n" + "\n".join([*rows[:-1], "2002Q4,9"]) + "\n")
    with pytest.raises(ResultsError, match="another data"):
        mine.go(config)


def test_a_model_that_cannot_be_identified_is_never_up_to_date(runs):
    """It is run whole, and again only from the beginning."""
    runs.model = UNIDENTIFIED + "an open file at data"
    runs.go()
    assert runs.ran == list(STAGES)
    for options in ({}, {"resume": True}, {"only": "report"}, {"only": "sample", "resume": True}):
        with pytest.raises(ResultsError, match=r"cannot be gone on with: .*an open file at data.*give it a version"):
            runs.go(**options)
    runs.go(overwrite=True)
    assert runs.ran == list(STAGES)
    runs.model = "with a version"
    with pytest.raises(ResultsError, match="another model"):
        runs.go()


def test_overwriting_begins_from_nothing(runs):
    runs.go()
    keep = runs.folder / "notes.txt"
    keep.write_text("mine")
    (runs.folder / "tables" / "old.csv").write_text("")
    assert runs.go(overwrite=True).ran == STAGES
    assert keep.read_text() == "mine" and not (runs.folder / "tables" / "old.csv").exists()
    with pytest.raises(ResultsError, match="choose one"):
        runs.go(overwrite=True, resume=True)


def test_stages_run_one_by_one_to_the_same_files(runs, tmp_path):
    whole = Runs(tmp_path / "whole")
    whole.go()
    for name in STAGES:
        assert runs.go(only=name).ran == (name,)
        assert runs.go(only=name).ran == ()  # up to date
    assert runs.go().ran == ()
    for path in whole.folder.rglob("*"):
        if path.is_file() and path.name not in ("manifest.json", "evaluations.bin"):
            assert (runs.folder / path.relative_to(whole.folder)).read_bytes() == path.read_bytes()
    assert read_manifest(runs.folder).evaluations == read_manifest(whole.folder).evaluations


def test_a_stage_without_those_before_it_says_which_to_run(runs):
    with pytest.raises(ResultsError, match="begin with `estimhank data`"):
        runs.go(only="mode")
    assert not runs.folder.exists()
    runs.go(only="data")
    with pytest.raises(ResultsError, match=r"needs the mode stage.*run `estimhank mode` first"):
        runs.go(only="sample")
    (runs.folder / "data.csv").write_text("")
    with pytest.raises(ResultsError, match=r"data\.csv is missing or was changed.*`estimhank data --resume`"):
        runs.go(only="mode")


def test_a_late_stage_can_be_run_again_with_other_settings(runs):
    runs.go()
    other = settings(surrogate={"epochs": 5})
    with pytest.raises(ResultsError, match=r"surrogate\.epochs is 5"):
        runs.go(other, only="surrogate")
    assert runs.go(other, only="surrogate", overwrite=True).ran == ("surrogate",)
    manifest = read_manifest(runs.folder)
    assert set(manifest.stages) == {"data", "mode", "sample", "surrogate"} and manifest.status == "running"
    # the earlier stages' evaluations are still there, the old ones of the stage itself are not
    assert [sum(reasons.values()) for reasons in manifest.evaluations.values()] == [3, 3, 3]
    assert runs.go(other, resume=True).ran == ("posterior", "economics", "report")


def test_the_data_stage_with_other_data_ends_the_old_run(runs):
    runs.go()
    other = settings(data={"end": "2007Q4"})
    assert runs.go(other, only="data", overwrite=True).ran == ("data",)
    assert sorted(path.name for path in runs.folder.iterdir()) == ["data.csv", "manifest.json"]


def test_the_mode_stage_with_another_model_drops_the_evaluations(runs):
    runs.go()
    runs.model = "edited"
    with pytest.raises(ResultsError, match=r"another model.*`estimhank mode --overwrite`"):
        runs.go(only="sample", overwrite=True)
    runs.go(only="mode", overwrite=True)
    assert read_manifest(runs.folder).evaluations == {"mode": {"ok": 3}}
    assert runs.go(resume=True).ran == STAGES[2:]


def test_bad_input_leaves_no_folder(runs):
    with pytest.raises(DataError, match="reaches outside"):
        runs.go(settings(data={"end": "2030Q1"}))
    assert not runs.folder.exists()


def test_a_folder_of_unknown_origin_is_left_alone(runs):
    runs.folder.mkdir()
    (runs.folder / "posterior.nc").write_text("precious")
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(ResultsError, match=r"holds posterior\.nc but no manifest"):
            runs.go(**options)
    assert (runs.folder / "posterior.nc").read_text() == "precious"


@pytest.mark.parametrize(
    "content, words",
    [("{", "is not JSON"), ("[]", "not a manifest"), ('{"configuration": {}, "format": 99}', "format 99")],
)
def test_a_damaged_manifest_is_said(runs, content, words):
    runs.folder.mkdir()
    (runs.folder / "manifest.json").write_text(content)
    with pytest.raises((StorageError, ResultsError), match=words):
        runs.go()


def test_a_file_in_the_folders_place_is_said(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*out"):
        Runs(tmp_path / "out").go()


def test_two_runs_cannot_share_a_folder(runs):
    with locked_folder(runs.folder), pytest.raises(ResultsError, match="another process is writing"):
        runs.go()
    assert runs.ran == [] and list(runs.folder.iterdir()) == []
    runs.go()


def test_the_verdict_of_a_run_has_its_exit_code(tmp_path):
    good = Runs(tmp_path / "a", facts=posterior_facts(certificate_passed=False, certificate="s_e is 0.09")).go()
    assert good.verdict() is None
    failed = good.verdict(require_certificate=True)
    assert isinstance(failed, CertificateError) and failed.exit_code == 3 and "s_e is 0.09" in str(failed)
    facts = posterior_facts(converged=False, convergence="R-hat of kappa_w is 1.04")
    wrong = Runs(tmp_path / "b", facts=facts).go().verdict()
    assert isinstance(wrong, ConvergenceError) and wrong.exit_code == 4 and "kappa_w" in str(wrong)


def test_a_damaged_manifest_is_one_sentence_and_a_stage_with_other_facts_is_run_again(tmp_path):
    runs = Runs(tmp_path / "a", facts=posterior_facts())
    runs.go()
    path = runs.folder / "manifest.json"
    whole = read_json(path)
    record = whole["stages"]["posterior"]
    for wrong, words in (
        ({**record, "seconds": "long"}, "posterior stage, seconds is 'long'"),
        ({**record, "status": "begun"}, "posterior stage, status is 'begun'"),
        ([], "damaged"),
    ):
        write_json(path, {**whole, "stages": {**whole["stages"], "posterior": wrong}})
        with pytest.raises(StorageError, match=words):
            runs.go(resume=True)
    record["facts"]["mixed"] = True
    write_json(path, whole)
    with pytest.raises(ResultsError, match="the posterior stage is not finished"):
        runs.go()
    assert runs.go(resume=True).ran == ("posterior", "economics", "report")
    assert read_manifest(runs.folder).facts(PosteriorFacts).converged


def test_a_release_that_computes_something_else_is_not_up_to_date(runs):
    runs.go()
    older = Pipeline(replace(stage, version=stage.version - (stage.name == "sample")) for stage in PIPELINE)
    config = settings()
    for stage in PIPELINE:
        same = stage.name in ("data", "mode")
        assert (older.digest(stage.name, config) == PIPELINE.digest(stage.name, config)) == same
    manifest = read_manifest(runs.folder)
    for name in STAGES:
        record = replace(manifest.stages[name], digest=older.digest(name, config))
        manifest = manifest.with_stage(name, record)
    write_manifest(runs.folder, manifest)  # type: ignore[arg-type]
    with pytest.raises(ResultsError, match="whose sample stage was another release's"):
        runs.go()
    assert runs.go(overwrite=True).ran == STAGES
