"""Mistakes in a declaration are found when the model is made, and named."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from estimhank.model.declaration import Model
from estimhank.model.observed import Growth
from estimhank.model.processes import AR1
from estimhank.model.registry import configure_model, find_model
from estimhank.models.one_asset_hank import OneAssetHANK
from estimhank.parameters.parameter_table import ModelError, Parameter, Parameters, Values
from estimhank.parameters.priors import Gamma, Normal


def change(prior: dict[str, Any] | None = None, fixed: float | None = None) -> SimpleNamespace:
    """One [parameters.NAME] table."""
    return SimpleNamespace(prior=prior, fixed=fixed)


def test_unknown_names_come_with_the_nearest() -> None:
    with pytest.raises(ModelError, match="did you mean 'phi_pi'"):
        OneAssetHANK.parameters["phi_p"]
    with pytest.raises(ModelError, match="did you mean 'kappa'"):
        _ = Values({"kappa": 1.0}).kapa
    with pytest.raises(ModelError, match="one_asset_hank"):
        find_model("one_aset_hank")


def test_a_value_outside_its_prior_is_refused() -> None:
    with pytest.raises(ModelError, match="outside the support"):
        Parameter(-0.1, "k", "slope", Gamma(0.1, 0.05))


def test_missing_shock_parameters_and_variables_are_listed() -> None:
    class Broken(Model):
        name = "broken"
        variables = ("x", "x")
        shocks = (AR1("u"),)
        observables = (Growth("y"),)
        parameters = Parameters(rho_u=Parameter(0.5, "r", "persistence"))

    with pytest.raises(ModelError) as error:
        Broken()  # type: ignore[abstract]
    for word in ("declared twice", "sigma_u", "'y'"):
        assert word in str(error.value)


def test_configuration_fixes_frees_and_recalibrates() -> None:
    model = configure_model(
        OneAssetHANK,
        {"frisch": 1.0},
        {"n_a": 100},
        {
            "rho_i": change(fixed=0.7),
            "phi_pi": change(prior={"family": "normal", "mean": 1.5, "sd": 0.1, "lower": 1.0}),
        },
    )
    assert "rho_i" not in model.parameters.estimated
    assert model.parameters["rho_i"].value == 0.7
    assert model.parameters["frisch"].value == 1.0
    assert model.parameters["phi_pi"].prior == Normal(1.5, 0.1, lower=1.0)
    assert model.household is not None
    assert model.household.n_a == 100
    assert OneAssetHANK.parameters["frisch"].value == 0.5


def test_prior_relative_to_a_fixed_parameter_moves_with_it() -> None:
    model = configure_model(OneAssetHANK, {"r": 0.01}, {}, {})
    assert model.parameters.priors()["phi_b"].support[0] == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("calibration", "grid", "parameters", "word"),
    [
        ({"rho_i": 0.5}, {}, {}, "is estimated"),
        ({"beta": 0.9}, {}, {}, "determined by the steady state"),
        ({"rho_q": 0.5}, {}, {}, "unknown parameter"),
        ({}, {"points": 3}, {}, "unknown key 'points'"),
        ({}, {"n_a": 3}, {}, "n_a >= 10"),
        ({}, {}, {"rho_i": change(fixed=1.5)}, "outside the support"),
        ({}, {}, {"rho_i": change(fixed=0.5, prior={"family": "beta"})}, "not both"),
        ({}, {}, {"beta": change(prior={"family": "beta", "mean": 0.9, "sd": 0.01})}, "determined by the steady state"),
        ({}, {}, {"rho_i": change(prior={"family": "beta", "mean": 2.0, "sd": 0.1})}, "no beta distribution"),
        (
            {},
            {},
            {n: change(fixed=0.5) for n in ("rho_i", "rho_w")} | {"phi_pi": change(fixed=0.5)},
            "outside the support",
        ),
    ],
)
def test_impossible_changes_are_refused(calibration: dict, grid: dict, parameters: dict, word: str) -> None:
    with pytest.raises(ModelError, match=word):
        configure_model(OneAssetHANK, calibration, grid, parameters)


def test_a_model_of_ones_own_is_found_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from estimhank.models.one_asset_hank import OneAssetHANK\nclass Mine(OneAssetHANK):\n    name = 'mine'\n"
    )
    assert find_model("mine.py:Mine", tmp_path).name == "mine"
    with pytest.raises(ModelError, match="no model class 'Min'"):
        find_model("mine.py:Min", tmp_path)
    with pytest.raises(ModelError, match="does not exist"):
        find_model("theirs.py:Mine", tmp_path)
