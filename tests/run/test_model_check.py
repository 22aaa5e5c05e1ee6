"""``estimhank check`` and ``estimhank responses``: what they say of a model, and of a model that has a mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from estimhank.cli import app
from estimhank.parameters.parameter_table import ModelError
from estimhank.run.model_check import check_model, open_model, read_point, responses_of
from estimhank.support.errors import ConfigError, EstimhankError

#: A model of two equations with a policy rule: determinate where the response to inflation is above one.
TEXT = """
from estimhank.model import AR1, Level, Model, Normal, Parameter, Parameters, Uniform


class Rule(Model):
    name = "rule"
    variables = ("pi", "i")
    shocks = (AR1("m", scale=1.0),)
    observables = (Level("pi", "inflation", 1.0),)
    parameters = Parameters(
        phi=Parameter(1.5, "x", "response to inflation", Normal(1.5, 0.5)),
        rho_m=Parameter(0.5, "x", "persistence", Uniform(0.0, 0.99), "shocks"),
        sigma_m=Parameter(1.0, "x", "s.d.", Uniform(0.0, 5.0), "shocks"),
        idle=Parameter(3.0, "x", "nothing reads it"),
    )

    def equations(self, lag, now, lead, household, shock, p):
        yield "Fisher equation", now.i - lead.pi
        yield "policy rule", now.i - p.phi * now.pi - shock.m

    def steady_state(self, p, household):
        return {"pi": 0.0, "i": 0.0}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rule.py"
    path.write_text(TEXT)
    return path


def test_a_model_is_described(file: Path) -> None:
    found = check_model(open_model(f"{file}:Rule"))
    assert found.steady_state == {"pi": 0.0, "i": 0.0}
    assert found.residuals == {"Fisher equation": 0.0, "policy rule": 0.0}
    assert found.unused == ("idle",) and not found.dense
    assert found.determinacy["reference"] == "determinate" and found.determinacy["draws"] == 200
    # the share of the prior above one, less a binomial's error
    assert found.determinacy["prior"]["determinate"] == pytest.approx(0.841, abs=0.09)
    assert set(found.milliseconds) == {"solution", "likelihood", "evaluation"}
    assert any("determinate" in line for line in found.lines())


def test_responses_are_those_of_the_closed_form(file: Path) -> None:
    responses = responses_of(open_model(f"{file}:Rule", {"phi": 2.0, "rho_m": 0.6, "sigma_m": 0.5}), 8)
    expected = -0.5 * 0.6 ** np.arange(8) / (2.0 - 0.6)
    np.testing.assert_allclose(responses["m"]["pi"], expected, atol=1e-12)
    np.testing.assert_allclose(responses["m"]["i"], 0.6 * expected, atol=1e-12)


def test_what_is_indeterminate_is_told_with_the_nearest_value_that_is_not(file: Path) -> None:
    post = open_model(f"{file}:Rule", {"phi": 0.9})
    with pytest.raises(EstimhankError, match=r"indeterminate at phi = 0.9 \(response to inflation\); .* value is 1\b"):
        responses_of(post)
    assert check_model(post).determinacy["reference"] == "indeterminate"


def test_the_commands_print_plain_numbers(file: Path, tmp_path: Path) -> None:
    point = tmp_path / "point.json"
    point.write_text('{"phi": 2.0}')
    runner = CliRunner()
    checked = json.loads(runner.invoke(app, ["check", f"{file}:Rule", "--json"]).stdout)
    assert {"steady_state", "parameters", "residuals", "determinacy", "milliseconds"} <= set(checked)
    given = ["responses", f"{file}:Rule", "--json", "--at", str(point), "--horizon", "3"]
    responses = json.loads(runner.invoke(app, given).stdout)
    assert set(responses["m"]) == {"pi", "i"} and len(responses["m"]["pi"]) == 3
    table = runner.invoke(app, given[:2]).stdout.splitlines()
    assert table[0] == "shock,variable,date,response" and len(table) == 1 + 2 * 40


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not a JSON file"),
        ("[1]", "parameter values by name"),
        ('{"ph": 1}', "did you mean 'phi'"),
        ('{"phi": "a"}', "is a number"),
    ],
)
def test_points_that_are_none_are_refused(text: str, sentence: str, file: Path, tmp_path: Path) -> None:
    point = tmp_path / "point.json"
    point.write_text(text)
    with pytest.raises(EstimhankError, match=sentence):
        open_model(f"{file}:Rule", read_point(point))


def test_models_that_are_not_there_are_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'krusell_smith'"):
        open_model("krusell_smit")
    with pytest.raises(ConfigError, match="horizon is from 1"):
        responses_of(open_model(f"{file}:Rule"), 100_000)


RULE = 'yield "policy rule", now.i - p.phi * now.pi - shock.m'
FISHER = 'yield "Fisher equation", now.i - lead.pi'
REST = 'return {"pi": 0.0, "i": 0.0}'

#: What authors get wrong: what stands in the file in place of what, and the sentence that says so, with the line of the
#: file where there is one.
MISTAKES: dict[str, tuple[Any, ...]] = {
    "a number": ((FISHER, "return 3"), (RULE, "pass"), "equations must yield pairs"),
    "no name": ((FISHER, "yield now.i - lead.pi"), "equations must yield pairs"),
    "unknown variable": (("now.i - lead.pi", "now.j - lead.pi"), "rule.py:18: unknown name 'j'"),
    "unknown shock": (("shock.m", "shock.n"), "rule.py:19: unknown shock 'n'"),
    "a slip": (("now.pi - shock", "now.pi * {}['a'] - shock"), "rule.py:19: equations of the model rule: KeyError"),
    "too few": ((RULE, "pass"), "1 equations .* for 2 variables"),
    "a tuple": (('name = "rule"', 'name, household = "rule", (1, 2)'), "rule.py:5: .*one household block"),
    "a reserved name": (('("pi", "i")', '("pi", "as_dict")'), "rule.py:5: .*'as_dict' is taken"),
    "an underscore": (('("pi", "i")', '("pi", "_values")'), "rule.py:5: .*'_values' is taken"),
    "a variable twice": (('("pi", "i")', '("pi", "i", "i")'), "rule.py:5: .*declared twice"),
    "a shock twice": (('(AR1("m", scale=1.0),)', '(AR1("m"), AR1("m"))'), "rule.py:5: .*two shocks have the name"),
    "a variable nowhere": (("now.i", "2 * now.pi"), "'i'"),
    "no names": ((REST, "return (0.0, 0.0)"), "steady_state returns values by name"),
    "a slip at rest": ((REST, 'return {"pi": {}["x"]}'), "rule.py:22: steady_state of the model rule: KeyError"),
    "not at rest": (('"i": 0.0}', '"i": 0.1}'), "'Fisher equation' is off by"),
}


@pytest.mark.parametrize("mistake", list(MISTAKES))
def test_mistakes_are_one_sentence(mistake: str, tmp_path: Path) -> None:
    *changes, sentence = MISTAKES[mistake]
    text, path = TEXT, tmp_path / "rule.py"
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    with pytest.raises(EstimhankError, match=str(sentence)) as error:
        check_model(open_model(f"{path}:Rule"))
    assert isinstance(error.value, EstimhankError | ModelError) and "\n" not in str(error.value)


def test_a_shipped_model_is_described() -> None:
    post = open_model("one_asset_hank")
    assert post.names and post.model.name == "one_asset_hank"
