"""``estimhank init``: what it writes runs as it is, and it never writes over anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from estimhank.cli import app
from estimhank.model.canonical import canonical_form
from estimhank.model.registry import find_model, make_model
from estimhank.posterior.posterior import Posterior
from estimhank.run.new_model import TEMPLATES, write_model
from estimhank.support.errors import ConfigError


@pytest.mark.parametrize("template", TEMPLATES)
def test_what_is_written_is_a_model_on_data(template: str, tmp_path: Path) -> None:
    files = write_model("my_model", template, tmp_path)
    assert {file.name for file in files} == {
        "my_model.py",
        "my_model.toml",
        "data.csv",
        "README.md",
        "test_my_model.py",
    }
    model = make_model(find_model("my_model.py:MyModel", tmp_path / "my_model"))
    assert model.name == "my_model" and canonical_form(model) is model
    assert "emplate" not in files[0].read_text()
    post = Posterior.from_config(files[1]) if template == "rank" else None
    assert post is None or post.evaluate(post.reference()).reason == "ok"


@pytest.mark.long  # each compiles a model with households
@pytest.mark.parametrize("template", TEMPLATES)
def test_the_test_that_is_written_passes(template: str, tmp_path: Path) -> None:
    folder = write_model("my_model", template, tmp_path)[0].parent
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_model.py"]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "JAX_PLATFORMS": "cpu"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_nothing_is_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    assert "cd my_model" in runner.invoke(app, ["init", "my_model", "--from", "rank"]).stdout
    with pytest.raises(ConfigError, match="is there already"):
        write_model("my_model", "rank")
    for name, template, sentence in (
        ("my model", "rank", "cannot be a model's name"),
        ("MyModel", "rank", "cannot be a model's name"),
        ("other", "two_type", "did you mean 'two_types'"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            write_model(name, template)
    assert [path.name for path in tmp_path.iterdir()] == ["my_model"]
