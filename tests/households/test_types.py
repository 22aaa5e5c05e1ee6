"""Chains with several closed classes, or nearly so: the adjoint of the steady state against differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimhank.households.one_asset import Grids, StandardIncompleteMarkets
from estimhank.households.stationary_problem import marginal_of
from estimhank.model import Parameter, Uniform
from estimhank.models.one_asset_hank import OneAssetHANK
from estimhank.sequence_space.steady_solver import SteadySolver


@dataclass(frozen=True)
class Types(StandardIncompleteMarkets):
    """Two types of households: a share of the second, and a probability of changing from one to the other."""

    parameters: tuple[str, ...] = ("beta", "eis", "rho_e", "sd_e", "share", "leak")

    def grids(self, p: Any) -> Grids:
        g = super().grids(p)
        share = jnp.stack([1 - p.share, p.share])
        between = jnp.eye(2) * (1 - p.leak) + p.leak * share[None, :]
        e = jnp.concatenate([0.8 * g.e, 1.2 * g.e])
        stationary = jnp.kron(share, g.stationary)
        return Grids(e / (e @ stationary), jnp.kron(between, g.transition), stationary, g.a)


def _parameter(value: float) -> Parameter:
    return Parameter(value, "x", "x", Uniform(0.0, 1.0), "steady_state")


@pytest.fixture(scope="module")
def solver() -> SteadySolver:
    table = OneAssetHANK.parameters
    moving = {"eis": 0.5, "sd_e": 0.6, "share": 0.4, "leak": 1e-3}
    table = type(table)({**table, **{name: _parameter(value) for name, value in moving.items()}})
    model = OneAssetHANK(parameters=table, household=Types(n_e=3, n_a=60, a_max=60.0))
    return SteadySolver(model, {name: 0.1 for name in moving}, 20)


@pytest.fixture(scope="module")
def aggregates(solver: SteadySolver) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Aggregates of eis, sd_e, share and leak, and their derivatives; compiled once for both and for all values."""
    start = solver._point_of(solver.reference)
    weights = np.random.default_rng(2).normal(size=(6, 60))

    def value(x: jax.Array) -> jax.Array:
        moved = {"eis": x[0], "sd_e": x[1], "share": x[2], "leak": x[3]}
        given, bounds, problem = solver._problem(moved)
        (steady,), _, point = solver._kernel_without_jacobians(problem, given, bounds, start)
        return jnp.stack([steady.aggregates["C"], point.unknowns[0], jnp.vdot(weights, steady.distribution)])

    return jax.jit(lambda x: (value(x), jax.jacrev(value)(x)))


@pytest.mark.long
@pytest.mark.parametrize("leak", [0.0, 1e-9, 1e-6, 1e-3])
def test_derivatives_of_aggregates_equal_differences(
    aggregates: Callable[..., tuple[jax.Array, jax.Array]], leak: float
) -> None:
    at = np.array([0.48, 0.62, 0.38, leak])
    slopes = np.asarray(aggregates(at)[1])
    # the budget pins consumption, whatever the parameters are
    np.testing.assert_allclose(slopes[0], 0.0, atol=1e-6)
    for i in range(3):
        step = 1e-5 * np.eye(4)[i]
        numeric = (np.asarray(aggregates(at + step)[0]) - np.asarray(aggregates(at - step)[0])) / 2e-5
        assert (np.abs(slopes[:, i] - numeric) < 2e-5 * (1 + np.abs(numeric))).all()


def test_the_marginal_has_the_derivative_of_the_stationary_distribution() -> None:
    rng = np.random.default_rng(1)
    chain = rng.uniform(size=(4, 4))
    chain /= chain.sum(1, keepdims=True)
    move = rng.normal(size=(4, 4))
    move -= move.mean(1, keepdims=True)

    def stationary(matrix: np.ndarray) -> np.ndarray:
        return np.linalg.matrix_power(matrix, 4096)[0]

    def marginal(step: jax.Array) -> jax.Array:
        nothing = jnp.zeros(4)
        return marginal_of(Grids(nothing, jnp.asarray(chain) + step * move, jnp.asarray(stationary(chain)), nothing))

    slope = jax.jacfwd(marginal)(0.0)
    numeric = (stationary(chain + 1e-5 * move) - stationary(chain - 1e-5 * move)) / 2e-5
    np.testing.assert_allclose(slope, numeric, atol=1e-8)
