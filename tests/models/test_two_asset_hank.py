"""The two-asset economy: its calibration against other programs' figures, and the goods market by Walras' law."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimhank.households.fake_news import jacobians_by_date
from estimhank.model.registry import find_model
from estimhank.models.two_asset_hank import TwoAssetHANK
from estimhank.parameters.parameter_table import Values
from estimhank.sequence_space.equilibrium import solve_equilibrium
from estimhank.sequence_space.household_operator import household_operator
from estimhank.sequence_space.linear_system import linearize
from estimhank.sequence_space.solution import model_structure
from estimhank.sequence_space.steady_state import SteadyState, solve_steady_state
from tests.helpers import golden

SMALL = TwoAssetHANK(household=replace(TwoAssetHANK.household, n_b=10, n_a=16, n_kappa=4))


@cache
def steady_state(model: TwoAssetHANK = SMALL) -> SteadyState:
    return solve_steady_state(model)


def responses(model: TwoAssetHANK, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Paths of the shocks of size one, (T, n_z), and responses of all unknowns, (T, n_v, n_z)."""
    state = steady_state(model)
    block, p = model.problems[0], Values(state.parameters)
    jacobians = jax.jit(lambda steady: jacobians_by_date(block, steady, state.values, p, horizon))(state.household)
    structure = model_structure(model, state, model.parameters.priors())
    system = jax.jit(lambda p: linearize(model, state.values, p))(state.parameters)
    paths = np.array([state.parameters[f"rho_{shock.name}"] for shock in model.shocks]) ** np.arange(horizon)[:, None]
    solve = jax.jit(solve_equilibrium, static_argnums=0)
    return paths, np.asarray(solve(structure, system, household_operator(jacobians), jnp.asarray(paths)))


def test_the_calibration_on_a_small_grid() -> None:
    state = steady_state()
    values, p = state.values, state.parameters
    found = [p["beta"], p["chi1"], values["C"]]
    golden.TWO_ASSETS_SMALL.check(found)
    golden.TWO_ASSETS_SMALL_PUBLISHED.check(found)
    names = ("equity", "mc", "alpha", "tfp_bar", "w", "tax", "div")
    closed = [values.get(name, p.get(name)) for name in names]
    golden.TWO_ASSETS_CLOSED_FORM.check([*closed, values["C"] + values["CHI"]])
    assert values["A"] + values["B"] == pytest.approx(14.0, abs=1e-9)
    spending = values["C"] + values["CHI"] + values["I"] + p["G"] + p["omega"] * values["B"]
    assert spending == pytest.approx(values["Y"], abs=1e-10)


def test_it_is_found_by_name() -> None:
    assert find_model("two_asset_hank") is TwoAssetHANK
    assert len(TwoAssetHANK.shocks) == len(TwoAssetHANK.observables) == 7


def goods_market(model: TwoAssetHANK, paths: np.ndarray, x: np.ndarray) -> np.ndarray:
    """What is asked for less what is produced: banks use up the liquidity premium on deposits of last quarter."""
    at: dict[str, Any] = {name: x[:, i] for i, name in enumerate(model.unknowns)}
    shocks = {s.name: k for k, s in enumerate(model.shocks)}
    gap = at["C"] + at["CHI"] + at["I"] - at["Y"]
    gap[1:] += model.parameters["omega"].value * at["B"][:-1]
    gap[:, shocks["g"]] += paths[:, shocks["g"]]
    gap[:, shocks["l"]] += paths[:, shocks["l"]] * steady_state(model).values["B"]
    return np.asarray(gap)


@pytest.mark.long
def test_the_goods_market_clears_by_walras_law() -> None:
    paths, x = responses(SMALL, 30)
    assert np.abs(x[0]).max() > 0.1
    assert np.abs(goods_market(SMALL, paths, x)).max() < 1e-8


@pytest.mark.long  # a grid of 10,500 states
def test_the_papers_grid() -> None:
    model = TwoAssetHANK()
    state = steady_state(model)
    assert state.household is not None
    p, bottom = state.parameters, float(state.household.distribution[:, 0].sum())
    golden.TWO_ASSETS_PAPER.check([p["beta"], p["chi1"], p["vphi"], state.values["C"], bottom])
    paths, x = responses(model, 300)
    shock = [s.name for s in model.shocks].index("m")
    output = -0.25 * x[:3, model.unknowns.index("Y"), shock]
    golden.TWO_ASSETS_OUTPUT.check(output)
    assert np.abs(goods_market(model, paths, x)).max() < 1e-7
