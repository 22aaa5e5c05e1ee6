"""``estimhank transition``: what is printed, what is refused, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from estimhank.cli import app
from estimhank.run.transition import read_path, transition
from estimhank.support.errors import ConfigError, TransitionError

FIELDS = {"paths", "residual", "iterations", "jvps", "converged", "reason", "failure", "evaluations", "change", "binds"}


def test_the_command_prints_levels_of_all_variables(tmp_path: Path) -> None:
    point = tmp_path / "point.json"
    point.write_text(json.dumps({"kappa": 0.2}), encoding="utf-8")
    words = ["transition", "new_keynesian", "--shock", "m=0.0025*0.6^t", "--at", str(point), "--horizon", "60"]
    found = CliRunner().invoke(app, [*words, "--json"])
    assert found.exit_code == 0, found.output
    content = json.loads(found.stdout)
    assert set(content) == FIELDS
    assert content["converged"] is True and content["reason"] == "ok" and content["residual"] < 1e-9
    # three linear equations, so that the path is the textbook's (Gali 2015, chapter 3)
    eis, phi_pi, phi_y, beta, kappa, rho = 0.5, 1.5, 0.125, 0.995, 0.2, 0.6
    expected = transition("new_keynesian", {"m": 0.0025 * 0.6 ** np.arange(60)}, {"kappa": kappa}, 60).paths
    y, pi, rate = (np.array(content["paths"][name]) for name in ("y", "pi", "i"))
    np.testing.assert_allclose(y, expected["y"], atol=1e-15)
    np.testing.assert_allclose(pi[:20], kappa / (1 - beta * rho) * y[:20], atol=1e-12)
    np.testing.assert_allclose(rate[:20], (phi_pi * pi + phi_y * y + 0.0025 * rho ** np.arange(60))[:20], atol=1e-12)
    np.testing.assert_allclose(y[:20], (y[1:21] - eis * (rate[:20] - pi[1:21])), atol=1e-12)
    table = CliRunner().invoke(app, words).stdout.splitlines()
    assert table[0] == "variable,date,level" and table[1] == f"y,0,{y[0]!r}".replace("np.float64(", "").rstrip(")")


def test_a_path_that_does_not_come_home_is_told_and_ends_with_a_code() -> None:
    found = CliRunner().invoke(
        app, ["transition", "new_keynesian", "--shock", "m=0.01+0*t", "--horizon", "30", "--json"]
    )
    assert isinstance(found.exception, TransitionError) and found.exception.exit_code == 4
    content = json.loads(found.stdout)
    assert set(content) == FIELDS
    assert content["paths"] == {} and content["converged"] is False and content["reason"] == "horizon"
    assert content["failure"]["date"] < 15 and content["change"] > 1e-3


@pytest.mark.parametrize(
    ("text", "name", "path"),
    [
        ("z=0.01*0.8^t", "z", 0.01 * 0.8 ** np.arange(5)),
        ("z = -0.25", None, None),
        ("z=-0.25,", "z", np.array([-0.25])),
        ("g=0.01, -2e-3", "g", np.array([0.01, -0.002])),
        ("g=t*exp(-t)/2", "g", np.arange(5) * np.exp(-np.arange(5.0)) / 2),
        ("g=(1+t)**-2", "g", (1 + np.arange(5.0)) ** -2),
        ("z", None, None),
        ("z=", None, None),
        ("=0.1,", None, None),
        ("z=1/t", None, None),
        ("z=rho^t", None, None),
        ("z=0.01*0.8^s", None, None),
        ("z=__import__('os').getcwd()*t", None, None),
        ("z=t.real", None, None),
        ("z=(-1)^(t/2)", None, None),
        ("z=10^10^10^t", None, None),
        ("z=1e999*t", None, None),
        ("z=True*t", None, None),
        ("z=0.01*0.8^t)", None, None),
    ],
)
def test_paths_are_read_or_refused(text: str, name: str | None, path: np.ndarray | None) -> None:
    if name is None:
        with pytest.raises(ConfigError, match="is not a path"):
            read_path(text, 5)
        return
    found = read_path(text, 5)
    assert found[0] == name and path is not None
    np.testing.assert_allclose(found[1], path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shock", "q=0.1*0.5^t"], "no shock 'q'"),
        (["--shock", "m=0.1*0.5^t", "--shock", "m=0.1,"], "given twice"),
        (["--shock", "m=0.1*0.5^t", "--horizon", "2"], "a horizon is at least"),
        (["--shock", "m=0.1*0.5^t", "--at", "mode"], "has no mode"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(words: list[str], message: str) -> None:
    found = CliRunner().invoke(app, ["transition", "new_keynesian", *words])
    assert found.exception is not None and message in str(found.exception)
