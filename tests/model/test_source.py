"""A model is known by its content: bases in other files, what is set on an instance, arrays of its household."""

from __future__ import annotations

import dataclasses
import sys
import textwrap
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

from estimhank.model import AR1, Growth, Level, Model, StandardIncompleteMarkets
from estimhank.model.registry import find_model
from estimhank.model.source import describe_model
from estimhank.models.one_asset_hank import OneAssetHANK
from estimhank.parameters.parameter_table import ModelError
from estimhank.support.identity_walk import UNIDENTIFIED
from tests.helpers.small_models import PARAMETERS, make_model


def test_what_is_set_on_an_instance_shows() -> None:
    found = {describe_model(make_model())}
    assert describe_model(make_model()) in found
    for change in (
        {"shocks": (AR1("e", scale=1.0),)},
        {"observables": (Growth("x", "y"),)},
        {"observables": (Level("x", "y", scale=1.0),)},
        {"table": np.arange(3.0)},
        {"table": np.arange(4.0)},
        {"equations": lambda *a: iter([("x", a[1].x - 2 * a[4].e)])},
        {"equations": lambda *a: iter([("x", a[1].x - 3 * a[4].e)])},
        {"version": "2"},
        {"parameters": PARAMETERS.changed("rho_e", touches="equilibrium")},
    ):
        model = make_model()
        for name, value in change.items():
            setattr(model, name, value)
        assert describe_model(model) not in found
        found.add(describe_model(model))


def test_words_for_people_do_not() -> None:
    model = make_model()
    model.shocks, model.title = (AR1("e", description="a word"),), "Another title"
    model.parameters = PARAMETERS.changed("sigma_e", latex=r"\sigma", description="other words")
    assert describe_model(model) == describe_model(make_model())


@dataclasses.dataclass(frozen=True)
class Taxed(StandardIncompleteMarkets):
    """A household with an array of its own."""

    schedule: Any = None


def test_arrays_of_a_household_show() -> None:
    made = []
    for schedule in (None, np.zeros(200), np.append(np.zeros(199), 1e-9), np.append(np.zeros(199), 1e-9)):
        made.append(describe_model(OneAssetHANK(household=Taxed(schedule=schedule))))
    assert len(set(made)) == 3 and made[2] == made[3]
    assert describe_model(OneAssetHANK(household=StandardIncompleteMarkets(n_a=201))) not in made


def test_what_cannot_be_seen_needs_a_version() -> None:
    model = make_model()
    model.numbers = iter(x for x in "ab")  # type: ignore[attr-defined]
    assert describe_model(model).startswith(UNIDENTIFIED)
    model.version = "1"
    first = describe_model(model)
    model.version = "2"
    assert UNIDENTIFIED not in first != describe_model(model)


FILES = {
    "model": """
    from base_of_it import Base
    import equations_of_it
    class Mine(Base):
        name = "mine"
        def equations(self, lag, now, lead, household, shock, p):
            yield "x", equations_of_it.residual(now, shock)
    """,
    "equations_of_it": "import numbers_of_it\ndef residual(now, shock): return now.x - numbers_of_it.FACTOR * shock.e",
    "numbers_of_it": "FACTOR = 1.0",
    "base_of_it": """
    from estimhank.model import *
    class Base(Model):
        variables, shocks, observables = ("x",), (AR1("e"),), (Level("x", "y"),)
        parameters = Parameters(
            rho_e=Parameter(0.5, "r", "r", touches="shocks"),
            sigma_e=Parameter(1.0, "s", "s", SqrtInverseGamma(1.0, 4.0), "shocks"),
        )
        def steady_state(self, p, household): return {"x": 0.0}
    """,
}


def load(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: tuple[str, str]) -> Model:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    folder.mkdir(exist_ok=True)
    for name, text in FILES.items():
        before, after = changes.get(name, ("", ""))
        (folder / f"{name}.py").write_text(textwrap.dedent(text).replace(before, after), encoding="utf-8")
    forget()
    return find_model(f"{folder}/model.py:Mine")()


def forget() -> None:
    """What another process begins with."""
    for name in list(sys.modules):
        if name in FILES or name.startswith("estimhank_user_model_"):
            del sys.modules[name]


def test_an_edit_of_a_file_beside_the_model_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = describe_model(load(tmp_path, monkeypatch))
    assert describe_model(load(tmp_path, monkeypatch)) == one
    assert describe_model(load(tmp_path / "moved", monkeypatch)) == one
    assert describe_model(load(tmp_path, monkeypatch, base_of_it=("import *", "import *  # all"))) == one
    for file, change in {
        "base_of_it": ('{"x": 0.0}', '{"x": 1.0}'),
        "equations_of_it": ("now.x - ", "now.x + "),
        "numbers_of_it": ("1.0", "2.0"),
        "model": ('"x"', '"y"'),
    }.items():
        assert describe_model(load(tmp_path, monkeypatch, **{file: change})) != one
    forget()


def test_files_beside_the_model_travel_to_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    payload = cloudpickle.dumps(load(tmp_path, monkeypatch))
    forget()
    model = cloudpickle.loads(payload)
    assert model.steady_state(None, None) == {"x": 0.0}
    assert [name for name, _ in model.equations(None, Values(x=1.0), None, None, Values(e=1.0), None)] == ["x"]


class Values:
    """Attributes."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


def test_files_that_cannot_be_loaded_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text, words in (
        ("import absent_module_of_mine", "line 1: ModuleNotFoundError: No module named 'absent_module_of_mine'"),
        ("x = 1\ny = (", "line 2: '\\(' was never closed"),
        ("\n\nx = undefined", "line 3: NameError: name 'undefined' is not defined"),
    ):
        (tmp_path / "broken.py").write_text(text, encoding="utf-8")
        with pytest.raises(ModelError, match=f"broken.py cannot be loaded: {words}"):
            find_model(f"{tmp_path}/broken.py:Mine")


def test_two_files_of_one_name_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(tmp_path, monkeypatch)
    folder = tmp_path / "second"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
    with pytest.raises(ModelError, match="give one of them another name"):
        find_model(f"{folder}/model.py:Mine")
    forget()
