"""The parameters of an exception are evaluated again by ``estimhank replay``: a value, or the traceback and code 5."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from estimhank import cli
from estimhank.run.stage_spec import StageResult
from estimhank.support.files import read_json
from estimhank.target.protocol import Capabilities, Evaluation
from estimhank.target.transform import Transform
from tests.helpers.pipelines import standing_in


class Fragile(Capabilities):
    """A normal density that raises where its first parameter is above a limit."""

    names = ("a", "b")
    transform = Transform((-np.inf, -np.inf), (np.inf, np.inf))

    def __init__(self, limit: float, model: str = "m"):
        self.limit, self.fingerprint = limit, {"model": model, "data": "d"}

    def evaluate(self, theta, gradient=False):
        if theta[0] > self.limit:
            raise ZeroDivisionError("no such equilibrium")
        return Evaluation(float(-theta @ theta / 2), 0.25, "ok", -theta if gradient else None)


THETA = np.array([[0.1, 0.2], [1 / 3, 2 / 3]])


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Call the command line with a target that raises above ``limit``."""
    monkeypatch.chdir(tmp_path)

    def evaluate(context):
        context.recorder.evaluate("mode", 7, THETA, gradient=True)
        return StageResult(())

    def call(*arguments, limit=0.3, model="m"):
        monkeypatch.setattr(cli, "build_target", lambda config, data: Fragile(limit, model))
        monkeypatch.setattr(cli, "PIPELINE", standing_in(mode=evaluate))
        monkeypatch.setattr(sys, "argv", ["estimhank", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        said = capsys.readouterr()
        return caught.value.code or 0, said.out, said.err

    return call


@pytest.fixture
def stopped(run):
    assert run("data", "configs/us_hank.toml", "--out", "out")[0] == 0
    code, _, err = run("mode", "configs/us_hank.toml", "--out", "out", "--backend", "serial")
    assert code == 5 and "ZeroDivisionError: no such equilibrium at a = 0.3333333333333333" in err
    assert "estimhank replay out" in err and "Traceback" not in err
    return run


def test_the_exception_is_raised_again_with_its_traceback(stopped, tmp_path):
    kept = read_json(tmp_path / "out" / "failed_evaluation.json")
    assert list(kept["parameters"].values()) == THETA[1].tolist() and kept["gradient"] is True
    code, out, _ = stopped("replay", "out")
    assert code == 5 and "stage mode, iteration 7" in out and "b = 0.6666666666666666" in out
    assert out.rstrip().endswith("ZeroDivisionError: no such equilibrium") and "in evaluate" in out


def test_a_mended_model_gives_the_value_and_says_that_it_is_another(stopped):
    code, out, _ = stopped("replay", "out", limit=9.0, model="mended")
    assert code == 0 and "the model differs from the run's" in out
    assert "log prior 0.25, ok" in out and "gradient -0.333" in out
    assert repr(float(-THETA[1] @ THETA[1] / 2)) in out


def test_a_run_that_gets_past_the_fault_leaves_no_trace_of_it(stopped, tmp_path):
    assert stopped("mode", "configs/us_hank.toml", "--out", "out", "--resume", "--backend", "serial", limit=9.0)[0] == 0
    assert not (tmp_path / "out" / "failed_evaluation.json").exists()
    code, _, err = stopped("replay", "out")
    assert code == 2 and "has no failed_evaluation.json" in err


def test_folders_without_a_run_and_damaged_files_are_said(stopped, tmp_path):
    path = tmp_path / "out" / "failed_evaluation.json"
    content = path.read_text()
    path.write_text("{}")
    code, _, err = stopped("replay", "out")
    assert code == 2 and "failed_evaluation.json is damaged" in err and err.count("\n") == 1
    path.write_text(content)
    (tmp_path / "out" / "manifest.json").unlink()
    code, _, err = stopped("replay", "out")
    assert code == 2 and "no manifest.json" in err
