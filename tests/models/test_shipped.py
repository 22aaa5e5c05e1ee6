"""The models that ship, against numbers and programs of others, closed forms, and each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from estimhank.data.dataset import Dataset
from estimhank.households.one_asset import StandardIncompleteMarkets
from estimhank.model.canonical import canonical_form
from estimhank.model.declaration import Model
from estimhank.model.registry import BUILT_IN
from estimhank.models.krusell_smith import KrusellSmith
from estimhank.models.new_keynesian import NewKeynesian
from estimhank.models.one_asset_hank import OneAssetHANK
from estimhank.models.one_asset_hours import OneAssetHours
from estimhank.models.spender_saver import SpenderSaver
from estimhank.parameters.priors import Gamma
from estimhank.posterior.posterior import Posterior
from estimhank.posterior.setting import Setting
from estimhank.posterior.solver import Solver
from tests.helpers import golden
from tests.helpers.toolkit import CENTRAL, ToolkitEconomy

SMALL = StandardIncompleteMarkets(n_e=3, n_a=60, a_max=60.0)


def solver_of(model: Model, horizon: int = 300) -> Solver:
    model = canonical_form(model)
    names = tuple(o.name for o in model.observables)
    data = Dataset((), names, names, names, np.zeros((0, len(names))), np.zeros(len(names)))
    return Solver(Setting(model, data, horizon, horizon // 2, model.parameters.priors()))


def responses(solver: Solver, changes: dict[str, float]) -> dict[str, dict[str, np.ndarray]]:
    """By shock and variable, to shocks of one standard deviation."""
    model = solver.setting.model
    point = {**dict(zip(model.parameters.priors(), solver.setting.reference(), strict=True)), **changes}
    found = solver.unknowns_at(np.array(list(point.values())))
    return {
        shock.name: {name: found[:, i, j] for i, name in enumerate(model.unknowns)}
        for j, shock in enumerate(model.innovations)
    }


# -- hours chosen by households ------------------------------------------------------------------------------------
def hours(values: dict[str, float], grid: dict[str, Any]) -> ToolkitEconomy:
    own = {"beta": "beta", "vphi": "vphi", "eis": "eis", "frisch": "frisch", "rho_e": "rho_s", "sd_e": "sigma_s"}
    own |= {"r": "r", "B": "B", "mu": "mu", "kappa": "kappa", "phi_pi": "phi"}
    rest = {"rstar": values["r"], "Y": 1.0, "Z": 1.0, "pi": 0.0, "w": 1 / values["mu"]}
    return ToolkitEconomy("hank", {theirs: values[name] for name, theirs in own.items()} | rest | grid)


@pytest.mark.long
def test_hours_respond_as_in_the_toolkit() -> None:
    horizon = 40
    model = OneAssetHours(household=replace(OneAssetHours.household, n_e=3, n_a=60))
    solver = solver_of(model, horizon)
    found = responses(solver, {"rho_m": 0.61, "sigma_m": 0.25, "rho_z": 0.8, "sigma_z": 1.0})
    toolkit = hours(solver.steady.reference.parameters, {"nS": 3, "nA": 60, "amax": 150})
    assert toolkit.steady["A"] == pytest.approx(5.6, abs=1e-7)
    assert toolkit.steady["NE"] == pytest.approx(1.0, abs=1e-9)
    for shock, theirs, path in (("m", "rstar", 0.0025 * 0.61 ** np.arange(horizon)),
                                ("z", "Z", 0.01 * 0.8 ** np.arange(horizon))):  # fmt: skip
        expected = toolkit.responses({theirs: path}, **CENTRAL)
        for name in ("Y", "pi", "w", "r", "C", "NE"):
            np.testing.assert_allclose(found[shock][name], expected[name], atol=2e-8, err_msg=f"{name}, {shock}")


@pytest.mark.long  # the published grid
def test_hours_have_the_published_numbers() -> None:
    solver = solver_of(OneAssetHours())
    parameters = solver.steady.reference.parameters
    golden.HOURS_BETA.check(parameters["beta"])
    golden.HOURS_VPHI.check(parameters["vphi"])
    found = responses(solver, {"rho_m": 0.61, "sigma_m": 0.25})["m"]
    golden.HOURS_INFLATION_PATH.check(-found["pi"][:3])
    golden.HOURS_OUTPUT_PATH.check(-found["Y"][:3])
    # the goods market, which is left out
    np.testing.assert_allclose(found["C"], found["Y"], atol=1e-12)
    toolkit = hours(parameters, {"nS": 7, "nA": 500, "amax": 150})
    expected = toolkit.responses({"rstar": 0.0025 * 0.61 ** np.arange(300)}, **CENTRAL)
    for name in ("Y", "pi"):
        np.testing.assert_allclose(found[name], expected[name], atol=2e-9)


# -- Krusell and Smith ---------------------------------------------------------------------------------------------
@pytest.mark.long  # the published grid
def test_krusell_and_smiths_capital_and_rate_respond_as_published() -> None:
    solver = solver_of(KrusellSmith())
    found = responses(solver, {"rho_z": 0.8, "sigma_z": 1.0})["z"]
    p = solver.steady.reference.parameters
    golden.KRUSELL_SMITH_CAPITAL_PATH.check(found["K"][:3])
    golden.KRUSELL_SMITH_RATE_PATH.check(found["r"][:3] / p["tfp"])
    names = ("eis", "delta", "alpha", "r", "beta")
    values = {name: p[name] for name in names} | {"rho": p["rho_e"], "sigma": p["sd_e"], "L": 1.0, "Z": p["tfp"]}
    capital = solver.steady.reference.values["K"]
    toolkit = ToolkitEconomy("krusell_smith", values | {"K": capital, "nS": 7, "nA": 500, "amax": 200})
    expected = toolkit.responses({"Z": 0.01 * p["tfp"] * 0.8 ** np.arange(300)}, **CENTRAL)
    np.testing.assert_allclose(found["K"], expected["K"], atol=2e-8)
    np.testing.assert_allclose(found["r"], expected["r"], atol=2e-10)


# -- three equations -----------------------------------------------------------------------------------------------
def test_three_equations_have_the_closed_form_solution() -> None:
    solver = solver_of(NewKeynesian())
    values = {"eis": 0.7, "kappa": 0.15, "phi_pi": 1.4, "phi_y": 0.2, "rho_d": 0.9, "rho_u": 0.3, "rho_m": 0.6}
    found, beta = responses(solver, values), 0.995
    eis, kappa, phi_pi, phi_y = (values[name] for name in ("eis", "kappa", "phi_pi", "phi_y"))
    sizes = dict(zip(NewKeynesian.parameters.priors(), solver.setting.reference(), strict=True))
    for shock, demand, costs in (("d", 1.0, 0.0), ("u", 0.0, 1.0), ("m", -1.0, 0.0)):
        rho, size = values[f"rho_{shock}"], sizes[f"sigma_{shock}"] / 100
        det = (1 - rho + eis * phi_y) * (1 - beta * rho) + kappa * eis * (phi_pi - rho)
        y = (eis * demand * (1 - beta * rho) - eis * (phi_pi - rho) * costs) / det
        pi = ((1 - rho + eis * phi_y) * costs + kappa * eis * demand) / det
        rate = phi_pi * pi + phi_y * y + (shock == "m")
        path = size * rho ** np.arange(300)
        for name, expected in (("y", y), ("pi", pi), ("i", rate)):
            np.testing.assert_allclose(found[shock][name], expected * path, atol=1e-13, err_msg=f"{name}, {shock}")


# -- spenders and savers -------------------------------------------------------------------------------------------
def two_types(**values: float) -> Solver:
    table = SpenderSaver.parameters
    for name, value in values.items():
        table = table.changed(name, value=value)
    return solver_of(SpenderSaver(table, {"spender": SMALL, "saver": SMALL}), 40)


@pytest.mark.long
def test_spenders_and_savers_who_are_the_same_are_one() -> None:
    alone = solver_of(OneAssetHANK(household=SMALL), 40)
    beta = alone.steady.reference.parameters["beta"]
    both = two_types(beta_spender=beta)
    assert both.steady.reference.parameters["beta_saver"] == pytest.approx(beta, abs=1e-9)
    one, two = responses(alone, {}), responses(both, {})
    for shock, by_variable in one.items():
        for name, path in by_variable.items():
            for same in (name,) if name in two[shock] else (f"spender.{name}", f"saver.{name}"):
                np.testing.assert_allclose(two[shock][same], path, atol=1e-8, err_msg=f"{same}, {shock}")


@pytest.mark.long
def test_spenders_spend_what_they_earn() -> None:
    solver = two_types()
    state, found = solver.steady.reference, responses(solver, {})
    assert state.values["spender.A"] == pytest.approx(0.0, abs=1e-15)
    for by_variable in found.values():
        np.testing.assert_allclose(by_variable["spender.C"], by_variable["Z"], atol=1e-12)
        # the goods market, which is left out: output is consumed, by both types and the government
    consumption = 0.3 * found["m"]["spender.C"] + 0.7 * found["m"]["saver.C"]
    np.testing.assert_allclose(consumption, found["m"]["Y"], atol=1e-10)


def test_what_ships_has_a_name_and_a_title() -> None:
    for name, model in BUILT_IN.items():
        assert model.name == name
        assert model().title


@pytest.mark.long  # the published grid, and a gradient
def test_hours_are_taken_to_the_data() -> None:
    post = Posterior.from_config("configs/us_hank_hours.toml")
    theta = post.reference()
    value, gradient = post.log_density_and_gradient(theta)
    assert np.isfinite(value)
    direction = np.random.default_rng(0).normal(size=len(theta)) * theta
    ends = [post.log_density(theta + step * direction) for step in (1e-6, -1e-6)]
    assert gradient @ direction == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5)


@pytest.mark.long  # compiles the steady state's derivatives, at two horizons
def test_gradients_of_the_taste_for_hours_are_exact() -> None:
    table = OneAssetHours.parameters
    for name, mean in (("eis", 0.5), ("frisch", 0.5), ("B", 5.6)):
        table = table.changed(name, prior=Gamma(mean, mean / 10))
    model = OneAssetHours(table, replace(OneAssetHours.household, n_e=3, n_a=60))
    names = tuple(o.name for o in model.observables)
    values = np.random.default_rng(0).standard_normal((40, 3))
    dates = tuple(f"{1990 + i // 4}Q{i % 4 + 1}" for i in range(40))
    data = Dataset(dates, names, tuple(o.units for o in model.observables), names, values, np.zeros(3))
    post = Posterior(model, data, 120, 80)
    theta = post.reference() * 1.01
    gradient = post.log_density_and_gradient(theta)[1]
    for i, name in enumerate(post.names):
        step = 1e-5 * theta[i] * np.eye(len(theta))[i]
        numeric = (post.log_density(theta + step) - post.log_density(theta - step)) / (2e-5 * theta[i])
        assert gradient[i] == pytest.approx(numeric, rel=1e-6), name
