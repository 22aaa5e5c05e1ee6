"""What docs/data.md shows is what the package takes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from estimhank.run.config import make_config

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "data.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_the_configurations_are_valid():
    assert len(blocks("toml")) == 6
    for block in blocks("toml"):
        assert make_config(tomllib.loads(block)).data != make_config({}).data


def test_the_python_runs_and_gives_a_likelihood(monkeypatch):
    monkeypatch.chdir(ROOT)
    names: dict = {}
    (code,) = blocks("python")
    exec(code, names)
    posterior = names["posterior"]
    assert posterior.data.values.shape == (216, 3)
    assert posterior.data.dates[0] == "1966Q1" and posterior.names[0] == "kappa_w"
