"""The household block against reference numbers, identities, and a direct perturbation of one date."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

from estimhank.households.fake_news import household_jacobians
from estimhank.households.one_asset import StandardIncompleteMarkets, rouwenhorst
from estimhank.households.stationary import (
    SteadyStateError,
    check_stationary,
    find_root,
    solve_stationary,
)
from estimhank.households.transition import AssetLottery
from estimhank.models.krusell_smith import KrusellSmith
from estimhank.models.one_asset_hank import OneAssetHANK
from estimhank.parameters.parameter_table import Values
from estimhank.sequence_space.steady_state import SteadyState, solve_steady_state
from tests.helpers import golden

HORIZON = 300


def jacobians_of(model: Any, state: SteadyState, horizon: int) -> np.ndarray:
    """All outputs, derived ones too: (outputs, inputs, T, T)."""
    block, p = model.household, Values(state.parameters)
    inputs = {name: state.values[name] for name in block.inputs}
    return np.asarray(
        jax.jit(lambda household: household_jacobians(block, household, inputs, p, horizon, block.outputs))(
            state.household
        )
    )


@pytest.fixture(scope="module")
def default() -> tuple[SteadyState, np.ndarray]:
    model = OneAssetHANK()
    state = solve_steady_state(model)
    return state, jacobians_of(model, state, HORIZON)


def test_rouwenhorst_has_the_moments_asked_for() -> None:
    e, transition, stationary = (np.asarray(x) for x in rouwenhorst(jnp.asarray(0.9), jnp.asarray(0.5), 7))
    assert stationary @ e == pytest.approx(1.0, abs=1e-14)
    np.testing.assert_allclose(stationary @ transition, stationary, atol=1e-14)
    log_e = np.log(e) - stationary @ np.log(e)
    assert np.sqrt(stationary @ log_e**2) == pytest.approx(0.5, rel=1e-12)
    assert (stationary * log_e) @ transition @ log_e / (stationary @ log_e**2) == pytest.approx(0.9, rel=1e-12)


def test_default_steady_state(default: tuple[SteadyState, np.ndarray]) -> None:
    state, _ = default
    golden.DEFAULT_BETA.check(state.parameters["beta"])
    golden.DEFAULT_CONSUMPTION.check(state.values["C"])
    assert state.household is not None
    golden.DEFAULT_CONSTRAINED.check(state.household.distribution[:, 0].sum())
    assert float(state.household.distribution.sum()) == pytest.approx(1.0, abs=1e-12)


def test_default_jacobians_have_the_reference_entries(default: tuple[SteadyState, np.ndarray]) -> None:
    _, j = default
    (a_r, a_z), (c_r, c_z) = j
    golden.CONSUMPTION_BY_RATE_ROW.check(c_r[0, :4])
    golden.CONSUMPTION_BY_INCOME_ROW.check(c_z[0, :4])
    golden.CONSUMPTION_BY_INCOME_COLUMN.check(c_z[:4, 0])
    golden.ASSETS_BY_RATE_COLUMN.check(a_r[:4, 0])
    golden.ASSETS_BY_INCOME_COLUMN.check(a_z[:4, 0])


def test_jacobians_satisfy_the_budget_and_its_present_value(default: tuple[SteadyState, np.ndarray]) -> None:
    state, (assets, consumption) = default
    r, debt = state.values["r"], state.values["A"]
    before = np.concatenate([np.zeros((2, 1, HORIZON)), assets[:, :-1]], axis=1)
    gap = assets - (1 + r) * before + consumption
    gap[0] -= debt * np.eye(HORIZON)
    gap[1] -= np.eye(HORIZON)
    assert np.abs(gap).max() < 1e-8
    discount = (1 + r) ** -np.arange(float(HORIZON))
    present_value = discount @ consumption[1] + discount[-1] * assets[1, -1]
    np.testing.assert_allclose(present_value, discount, atol=1e-8)


# one compiled function each: call by call every operation would be compiled on its own
@partial(jax.jit, static_argnums=0)
def _backward(block: Any, value: jax.Array, now: dict[str, jax.Array], grids: Any, parameters: dict[str, float]) -> Any:
    return block.backward(value, now, grids, Values(parameters))


@jax.jit
def _forward(distribution: jax.Array, assets: jax.Array, grid: jax.Array, transition: jax.Array) -> jax.Array:
    return AssetLottery.of(assets, grid, transition).forward(distribution)


def _path(block: Any, state: SteadyState, inputs: Mapping[str, np.ndarray], horizon: int) -> np.ndarray:
    """Aggregates (T, outputs) along a path of inputs, by backward and forward iteration: no linearisation."""
    steady = state.household
    assert steady is not None
    value, policies = steady.policies.marginal_value, []
    for t in reversed(range(horizon)):
        now = {name: jnp.asarray(path[t]) for name, path in inputs.items()}
        policy = _backward(block, value, now, steady.grids, state.parameters)
        value = policy.marginal_value
        policies.append(policy)
    distribution, out = steady.distribution, []
    for policy in reversed(policies):
        out.append([float(np.vdot(distribution, policy.outputs[name])) for name in block.outputs])
        distribution = _forward(distribution, policy.assets, steady.grids.a, steady.grids.transition)
    return np.array(out)


@pytest.fixture(scope="module")
def coarse() -> tuple[OneAssetHANK, SteadyState, np.ndarray]:
    model = OneAssetHANK(household=StandardIncompleteMarkets(n_e=3, n_a=40))
    state = solve_steady_state(model)
    return model, state, jacobians_of(model, state, 12)


@pytest.mark.parametrize("date", [0, 3, 11])
def test_fake_news_equals_a_direct_perturbation_of_one_date(
    coarse: tuple[OneAssetHANK, SteadyState, np.ndarray], date: int
) -> None:
    horizon, step = 12, 1e-5
    model, state, j = coarse
    block = model.household
    for i, name in enumerate(block.inputs):
        ends = []
        for sign in (1, -1):
            inputs = {n: np.full(horizon, state.values[n]) for n in block.inputs}
            inputs[name][date] += sign * step
            ends.append(_path(block, state, inputs, horizon))
        direct = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(j[:, i, :, date].T, direct, atol=2e-7)


def test_stationary_distribution_is_the_eigenvector_of_the_transition_matrix() -> None:
    block = StandardIncompleteMarkets(n_e=3, n_a=30)
    p = Values({"beta": 0.92, "eis": 0.5, "rho_e": 0.9, "sd_e": 0.6})
    solution = _solve(block, {"r": 0.005, "Z": 0.8})(p)
    size = solution.distribution.size
    step = jax.jit(solution.transition.forward)
    columns = [np.asarray(step(unit.reshape(3, 30))).ravel() for unit in np.eye(size)]
    matrix = np.stack(columns, axis=1)
    np.testing.assert_allclose(matrix.sum(axis=0), 1.0, atol=1e-12)
    null = linalg.null_space(matrix - np.eye(size))[:, 0]
    np.testing.assert_allclose(np.asarray(solution.distribution).ravel(), null / null.sum(), atol=1e-12)


class ToolkitHousehold:
    """Krusell and Smith's household in the sequence-jacobian toolkit: first row of dC/dr by differences."""

    def __init__(self, parameters: Mapping[str, float]) -> None:
        sj = pytest.importorskip("sequence_jacobian")

        def income(w, e_grid):
            y = w * e_grid
            return y

        def grids(rho_e, sd_e, n_e, n_a, a_max):
            e_grid, _, Pi = sj.grids.markov_rouwenhorst(rho_e, sd_e, n_e)
            a_grid = sj.grids.agrid(a_max, n_a)
            return e_grid, Pi, a_grid

        self.block = sj.hetblocks.hh_sim.hh.add_hetinputs([income, grids])
        values = {name: parameters[name] for name in ("eis", "rho_e", "sd_e", "r", "beta")}
        values |= {"n_e": 7, "n_a": 500, "a_max": 200, "w": 1 - parameters["alpha"]}
        self.steady = self.block.steady_state(values, backward_tol=1e-12, forward_tol=1e-14)

    def jacobian(self, h: float, twosided: bool) -> np.ndarray:
        """Five entries of the first row."""
        row: np.ndarray = self.block.jacobian(self.steady, ["r"], ["C"], T=6, h=h, twosided=twosided)["C"]["r"][0, :5]
        return row


def test_krusell_smith_has_the_reference_numbers() -> None:
    model = KrusellSmith()
    state = solve_steady_state(model)
    golden.KRUSELL_SMITH_BETA.check(state.parameters["beta"])
    golden.KRUSELL_SMITH_CAPITAL.check(state.values["A"])
    golden.KRUSELL_SMITH_CONSUMPTION.check(state.values["C"])
    exact = jacobians_of(model, state, 6)[1, 0, 0, :5]
    toolkit = ToolkitHousehold(state.parameters)
    # central differences of the toolkit's own solution agree with the exact tangents ...
    central = toolkit.jacobian(h=1e-6, twosided=True)
    np.testing.assert_allclose(exact, central, atol=2e-7)
    # ... and the published row is the toolkit's default, a one-sided difference with a step of 1e-4
    golden.KRUSELL_SMITH_PUBLISHED_ROW.check(toolkit.jacobian(h=1e-4, twosided=False))


def _solve(block: Any, inputs: Mapping[str, float], **limit: Any) -> Any:
    arrays = {k: jnp.asarray(v) for k, v in inputs.items()}
    compiled = jax.jit(lambda parameters: solve_stationary(block, arrays, Values(parameters), **limit))
    return lambda p: compiled({k: jnp.asarray(v) for k, v in p.as_dict().items()})


def test_failures_of_the_steady_state_are_typed() -> None:
    inputs = {"r": 0.005, "Z": 0.8}
    base = {"eis": 0.5, "rho_e": 0.9, "sd_e": 0.6}
    block = StandardIncompleteMarkets(n_e=3, n_a=30)
    solve = _solve(block, inputs)

    def excess(beta: float) -> float:
        return float(solve(Values({**base, "beta": beta})).aggregates["A"]) - 50.0

    with pytest.raises(SteadyStateError, match="no beta in") as error:
        find_root(excess, 0.5, 0.6, "beta", "A", 50.0)
    assert error.value.kind == "no_bracket"
    small = StandardIncompleteMarkets(n_e=3, n_a=30, a_max=1.0)
    with pytest.raises(SteadyStateError, match="a_max") as error:
        check_stationary(_solve(small, inputs)(Values({**base, "beta": 0.97})))
    assert error.value.kind == "grid_too_small"
    impatient = _solve(block, inputs, limit=5)(Values({**base, "beta": 0.95}))
    with pytest.raises(SteadyStateError, match="did not converge") as error:
        check_stationary(impatient, limit=5)
    assert error.value.kind == "no_convergence"
