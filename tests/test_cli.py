"""The command line as a user meets it: exit codes, one sentence on standard error, nothing half-written."""

from __future__ import annotations

import errno
import signal
import sys
from pathlib import Path

import pytest

import estimhank
from estimhank import cli
from estimhank.support.files import read_json
from estimhank.support.shipped import bundled
from tests.helpers.pipelines import standing_in


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Call the command line in an empty folder: ``run("data", ...)`` gives exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["estimhank", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        said = capsys.readouterr()
        return caught.value.code or 0, said.out, said.err

    return call


def test_the_data_stage_runs_alone_from_anywhere_and_is_then_up_to_date(run, tmp_path):
    code, out, err = run("data", "configs/us_hank.toml", "--out", "out")
    assert code == 0 and "out/data.csv" in out and "data: done in" in err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["data.csv", "manifest.json"]
    code, out, err = run("data", "configs/us_hank.toml", "--out", "out")
    assert code == 0 and "up to date" in out and err == ""


def test_options_override_the_file(run, tmp_path):
    code, _, _ = run(
        "data", bundled("configs/us_hank.toml"), "--out", "out", "--until", "2007Q4", "--seed", "5", "--quiet"
    )
    manifest = read_json(tmp_path / "out" / "manifest.json")
    assert code == 0 and manifest["data"]["end"] == "2007Q4" and manifest["seed"] == 5


@pytest.mark.parametrize(
    "text, arguments, words",
    [
        ("[sampel]", (), "unknown key 'sampel'; did you mean 'sample'?"),
        ('[data]\nend = "2031Q1"', (), "reaches outside data/us_macro.csv"),
        ('[data]\nsource = "none.csv"', (), "the data source none.csv is not a file"),
        ("", ("--until", "2031Q1"), "reaches outside"),
        ("", ("--profile", "quick"), "has no profile 'quick'"),
        ("", ("--resume", "--overwrite"), "choose one"),
    ],
)
def test_bad_input_is_one_sentence_and_code_2_and_leaves_nothing(run, tmp_path, text, arguments, words):
    (tmp_path / "run.toml").write_text(text)
    for command in ("data", "estimate"):
        code, out, err = run(command, "run.toml", "--out", "out", *arguments)
        assert code == 2 and words in err and err.count("\n") == 1 and "Traceback" not in err and out == ""
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "text, words",
    [
        ("[parameters.kapa_w]\nfixed = 1", "unknown parameter 'kapa_w'; did you mean 'kappa_w'?"),
        ("[parameters.rho_w]\nfixed = 1.5", "fixed = 1.5 is outside the support"),
        ('[parameters.phi_y]\nprior = { family = "gamma", mean = -1, sd = 1 }', "mean must be positive"),
        ('[model]\nname = "one_asset"', "did you mean 'one_asset_hank'?"),
        ("[model.calibration]\nB_bar = 5000.0\n[model.grid]\nn_e = 3\nn_a = 50", "no beta in"),
        ('[data.observables.y]\nseries = "GDPC1"\ntransform = "log_difference"', "the data have the columns y"),
    ],
)
def test_what_the_model_cannot_take_is_one_sentence_and_leaves_nothing(run, tmp_path, text, words):
    (tmp_path / "run.toml").write_text(text)
    code, _, err = run("estimate", "run.toml", "--out", "out")
    lines = err.splitlines()
    assert code == 2 and words in lines[-1]
    # what only the steady state can tell comes after the line that says that it is being solved for
    assert [line for line in lines[:-1] if not line.startswith(("solving for the steady state", "  solving"))] == []
    assert not (tmp_path / "out").exists()


def test_a_missing_configuration_and_a_wrong_command(run):
    code, _, err = run("data", "no.toml", "--out", "out")
    assert code == 2 and err == "estimhank: there is no configuration file no.toml [E10]\n"
    assert run("estimte")[0] == 2
    code, _, err = run("mode", "configs/us_hank.toml")  # looks where the data stage would have left its file
    assert code == 2 and "results/us_hank holds no run" in err


def test_a_stage_before_its_time_says_which_to_run(run):
    code, _, err = run("mode", "configs/us_hank.toml", "--out", "out")
    assert code == 2 and "begin with `estimhank data`" in err


def test_other_settings_in_the_same_folder_are_refused(run, tmp_path):
    run("data", "configs/us_hank.toml", "--out", "out")
    before = (tmp_path / "out" / "data.csv").read_bytes()
    code, _, err = run("data", "configs/us_hank.toml", "--out", "out", "--until", "2007Q4")
    assert code == 2 and "data.end is 2007Q4, was 2019Q4" in err and "--overwrite" in err
    assert (tmp_path / "out" / "data.csv").read_bytes() == before


def test_an_interruption_is_one_sentence(run, monkeypatch):
    def interrupted(context):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "PIPELINE", standing_in(data=interrupted))
    code, _, err = run("data", "configs/us_hank.toml", "--out", "out")
    assert code == 130 and "--resume goes on from there" in err and "Traceback" not in err
    monkeypatch.undo()


def test_a_batch_system_that_terminates_a_run_is_told_how_to_go_on(run, monkeypatch):
    monkeypatch.setattr(cli, "PIPELINE", standing_in(data=lambda context: signal.raise_signal(signal.SIGTERM)))
    before = signal.getsignal(signal.SIGTERM)
    try:
        code, _, err = run("data", "configs/us_hank.toml", "--out", "out")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert code == 143 and "terminated; what was evaluated is in out" in err and "Traceback" not in err


def test_a_folder_that_cannot_be_emptied_is_one_sentence_and_stays_as_it_was(run, monkeypatch, tmp_path):
    run("data", "configs/us_hank.toml", "--out", "out")
    before = sorted(path.read_bytes() for path in (tmp_path / "out").iterdir())

    def refuse(path, missing_ok=False):
        raise OSError(errno.EROFS, "no")

    monkeypatch.setattr(Path, "unlink", refuse)
    code, _, err = run("data", "configs/us_hank.toml", "--out", "out", "--overwrite", "--until", "2007Q4")
    monkeypatch.undo()
    assert code == 2 and "manifest.json: the file system is read-only" in err and err.count("\n") == 1
    assert sorted(path.read_bytes() for path in (tmp_path / "out").iterdir()) == before


def test_version_and_help(run):
    assert run("version")[1].strip() == estimhank.__version__
    code, out, _ = run("--help")
    assert code == 0 and all(
        name in out for name in ("estimate", "data", "mode", "sample", "surrogate", "posterior", "report")
    )


def test_an_interruption_is_found_behind_the_error_that_it_left() -> None:
    def interrupted() -> None:
        try:
            raise cli.Terminated
        finally:
            raise RuntimeError("release unlocked lock")

    with pytest.raises(RuntimeError) as raised:
        interrupted()
    assert isinstance(cli.find_interruption(raised.value), cli.Terminated)
    assert cli.find_interruption(ValueError("no")) is None
