"""Laws of motion against a matrix, each other and differences; a household of two assets through the same interface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimhank.households.fake_news import household_jacobians
from estimhank.households.micro_moments import micro_moments
from estimhank.households.newton import solve_point
from estimhank.households.one_asset import Policies, StandardIncompleteMarkets
from estimhank.households.stationary import SteadyStateError, check_stationary, check_tops, solve_stationary
from estimhank.households.stationary_problem import Given, StationaryPoint, StationaryProblem
from estimhank.households.transition import AssetLottery, SmoothAssetLottery, Transition
from estimhank.parameters.parameter_table import Values

GRID = jnp.asarray([0.0, 0.1, 0.3, 0.7, 1.5, 3.1, 6.3])
CHAIN = jnp.asarray([[0.8, 0.2], [0.3, 0.7]])
LOW = jnp.asarray([0.0, 0.5, 2.0])


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TwoLotteries(Transition):
    """Two assets as the product of two lotteries: a dense matrix over states, and its derivative in each policy.

    ``matrix`` (states, states); ``slopes`` (2, states, states), of a state's row in the state's own policies.
    """

    matrix: jax.Array
    slopes: jax.Array

    @classmethod
    def of(cls, policies: jax.Array, grids: tuple[jax.Array, ...], chain: jax.Array) -> TwoLotteries:
        """Of policies (2, n_e, n_b, n_a)."""
        size = policies[0].size

        def weights(held: jax.Array, grid: jax.Array) -> tuple[jax.Array, jax.Array]:
            lower = jnp.clip(jnp.searchsorted(grid, held, side="right") - 1, 0, len(grid) - 2)
            cell, low, high = grid[lower + 1] - grid[lower], *(jax.nn.one_hot(lower + k, len(grid)) for k in (0, 1))
            share = ((held - grid[lower]) / cell)[..., None]
            return low * (1 - share) + high * share, (high - low) / cell[..., None]

        def matrix(b: jax.Array, a: jax.Array) -> jax.Array:
            return jnp.einsum("ebaj,ebak,ef->ebafjk", b, a, chain).reshape(size, size)

        (b, db), (a, da) = (weights(held, grid) for held, grid in zip(policies, grids, strict=True))
        return cls(matrix(b, a), jnp.stack([matrix(db, a), matrix(b, da)]))

    def forward(self, distribution: jax.Array) -> jax.Array:
        return (self.matrix.T @ distribution.ravel()).reshape(distribution.shape)

    def expectation(self, values: jax.Array) -> jax.Array:
        return (values.reshape(-1, len(self.matrix)) @ self.matrix.T).reshape(values.shape)

    def derivative(self, distribution: jax.Array, moves: jax.Array) -> jax.Array:
        pushed = moves.reshape(2, -1) * distribution.ravel()
        return jnp.einsum("ki,kij->j", pushed, self.slopes).reshape(distribution.shape)

    def derivative_adjoint(self, distribution: jax.Array, values: jax.Array) -> jax.Array:
        flat, before = values.reshape(-1, len(self.matrix)), values.shape[: values.ndim - distribution.ndim]
        found = jnp.einsum("nj,kij->nki", flat, self.slopes) * distribution.ravel()
        return found.reshape(*before, 2, *distribution.shape)


def one_asset(policies: jax.Array) -> Transition:
    return AssetLottery.of(policies, GRID, CHAIN)


def smooth(policies: jax.Array) -> Transition:
    return SmoothAssetLottery.of(policies, GRID, CHAIN)


def two_assets(policies: jax.Array) -> Transition:
    return TwoLotteries.of(policies, (GRID, LOW), CHAIN)


#: How a transition is made of policies, their shape and that of a distribution; a new kind joins by one line.
KINDS = {
    "one asset": (one_asset, (2, 7), (2, 7)),
    "one asset, smooth": (smooth, (2, 7), (2, 7)),
    "two assets": (two_assets, (2, 2, 7, 3), (2, 7, 3)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_laws_of_motion_keep_mass_and_are_adjoint_and_have_the_derivative_of_differences(kind: str) -> None:
    make, of_policies, of_states = KINDS[kind]
    rng = np.random.default_rng(0)
    policies, moves = jnp.asarray(rng.uniform(0.05, 1.9, of_policies)), jnp.asarray(rng.standard_normal(of_policies))
    mass = jnp.asarray(rng.dirichlet(np.ones(np.prod(of_states)))).reshape(of_states)
    values = jnp.asarray(rng.standard_normal((2, *of_states)))
    law, step = make(policies), 1e-7
    after, change = law.forward(mass), law.derivative(mass, moves)
    assert float(after.sum()) == pytest.approx(1.0, abs=1e-14) and float(after.min()) >= 0
    assert float(change.sum()) == pytest.approx(0.0, abs=1e-14)
    difference = make(policies + step * moves).forward(mass) - make(policies - step * moves).forward(mass)
    np.testing.assert_allclose(change, difference / (2 * step), atol=1e-8)
    by_policy, expected = law.derivative_adjoint(mass, values), law.expectation(values)
    for k, value in enumerate(values):
        assert float(jnp.vdot(value, after)) == pytest.approx(float(jnp.vdot(expected[k], mass)), abs=1e-14)
        assert float(jnp.vdot(value, change)) == pytest.approx(float(jnp.vdot(by_policy[k], moves)), abs=1e-13)
        np.testing.assert_allclose(law.expectation(value), expected[k], atol=1e-15)


def test_the_lottery_is_the_matrix_of_hat_functions() -> None:
    """As an independent path: piecewise-linear weights of every grid point."""
    policies = jnp.asarray(np.random.default_rng(1).uniform(-0.2, 7.0, (2, 7)))  # some beyond either end
    hats = np.stack([np.interp(policies, GRID, unit) for unit in np.eye(7)], axis=-1)
    matrix = np.einsum("eaj,ef->eafj", hats, CHAIN).reshape(14, 14)
    mass = np.random.default_rng(2).dirichlet(np.ones(14))
    found = one_asset(policies).forward(jnp.asarray(mass.reshape(2, 7)))
    np.testing.assert_allclose(np.ravel(found), matrix.T @ mass, atol=1e-15)


def test_the_smooth_lottery_keeps_the_mean_and_is_smooth_across_grid_points_and_cells() -> None:
    """Everywhere but at the ends of the grid: nonnegative, with the right mean, derivative without jumps."""
    x = jnp.asarray(np.sort(np.concatenate([np.linspace(0.0, 6.3, 4001), GRID, (GRID[1:] + GRID[:-1]) / 2])))
    law = SmoothAssetLottery.of(x[None], GRID, jnp.eye(1))
    at = law.first + jnp.arange(3)[:, None, None]
    assert float(law.weights.min()) >= -1e-15
    np.testing.assert_allclose((law.weights * GRID[at]).sum(axis=0)[0], x, atol=1e-14)
    np.testing.assert_allclose((law.slopes * GRID[at]).sum(axis=0), 1.0, atol=1e-13)
    dense = np.zeros((2, x.size, GRID.size))
    for k, part in enumerate((law.weights, law.slopes)):
        for point in range(3):
            np.add.at(dense[k], (np.arange(x.size), np.asarray(at[point, 0])), np.asarray(part[point, 0]))
    assert np.abs(np.diff(dense[1], axis=0)).max() < 0.5, "no slope jumps by 1 / cell = 10"
    np.testing.assert_allclose(np.gradient(dense[0], np.asarray(x), axis=0)[5:-5:50], dense[1][5:-5:50], atol=0.2)
    inside = SmoothAssetLottery.of(jnp.asarray([[0.02, 5.9]]), GRID, jnp.eye(1))
    np.testing.assert_allclose(inside.weights[:, 0].T, [[0.8, 0.2, 0.0], [0.0, 0.125, 0.875]], atol=1e-14)


class TwoGrids(NamedTuple):
    """State space (e, b, a)."""

    e: jax.Array
    transition: jax.Array
    stationary: jax.Array
    b: jax.Array
    a: jax.Array

    @property
    def assets(self) -> tuple[jax.Array, ...]:
        return self.b, self.a


@dataclass(frozen=True)
class WithASavingsPlan(StandardIncompleteMarkets):
    """The standard household, with a second asset that has nothing to do with the first: a' = 0.6 a + plan."""

    inputs: tuple[str, ...] = ("r", "Z", "plan")
    outputs: tuple[str, ...] = ("A", "C", "K")
    derived: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        pass

    @property
    def alone(self) -> StandardIncompleteMarkets:
        return StandardIncompleteMarkets(n_e=self.n_e, n_a=self.n_a)

    def grids(self, p: Any) -> Any:
        g = self.alone.grids(p)
        return TwoGrids(g.e, g.transition, g.stationary, g.a, LOW)

    def initial_marginal_value(self, grids: Any, inputs: Mapping[str, jax.Array], p: Any) -> jax.Array:
        value = self.alone.initial_marginal_value(self.alone.grids(p), inputs, p)
        return jnp.broadcast_to(value[None, :, :, None], (2, *value.shape, 3))

    def backward(self, marginal_value_next: jax.Array, inputs: Mapping[str, jax.Array], grids: Any, p: Any) -> Policies:
        found = self.alone.backward(marginal_value_next[0, :, :, 0], inputs, self.alone.grids(p), p)
        shape = (*found.assets.shape, 3)
        b, c, v = (jnp.broadcast_to(x[..., None], shape) for x in (found.assets, found.outputs["C"], found[0]))
        a = jnp.broadcast_to(0.6 * grids.a + inputs["plan"], shape)
        return Policies(jnp.stack([v, v]), jnp.stack([b, a]), {"A": b, "C": c, "K": a})

    def transition(self, grids: Any, policies: Policies) -> Transition:
        return TwoLotteries.of(policies.assets, grids.assets, grids.transition)


@pytest.mark.long
def test_a_household_of_two_assets_passes_through_the_same_interface() -> None:
    """Steady state, Newton's method and its derivative, Jacobians, moments: those of the parts that it is made of."""
    p = {"beta": 0.9, "eis": 0.5, "rho_e": 0.8, "sd_e": 0.5}
    inputs = {name: jnp.asarray(value) for name, value in {"r": 0.005, "Z": 0.8, "plan": 0.2}.items()}
    both = WithASavingsPlan(n_e=2, n_a=12)

    def solve(block: Any) -> tuple[Any, np.ndarray]:
        steady = jax.jit(lambda: solve_stationary(block, inputs, Values(p)))()
        j = jax.jit(lambda s: household_jacobians(block, s, inputs, Values(p), 40, block.outputs))(steady)
        return steady, np.asarray(j)

    (steady, j), (alone, j_alone) = solve(both), solve(both.alone)
    check_stationary(steady)
    np.testing.assert_allclose(steady.distribution.sum(axis=2), alone.distribution, atol=1e-13)
    np.testing.assert_allclose(j[:2, :2], j_alone, atol=1e-11)
    ages = np.subtract.outer(np.arange(40), np.arange(40))
    np.testing.assert_allclose(j[2, 2], np.where(ages >= 0, 0.6 ** np.maximum(ages, 0), 0.0), atol=1e-11)
    assert np.abs(j[2, :2]).max() < 1e-11 and np.abs(j[:2, 2]).max() < 1e-11
    assert float(steady.aggregates["K"]) == pytest.approx(0.5, abs=1e-12)
    moments = micro_moments(steady)
    assert moments["constrained"] == pytest.approx(micro_moments(alone)["constrained"], abs=1e-12)

    def beta(block: Any, household: Any) -> tuple[float, float]:
        """The discount factor that hits the target, and its derivative in the target."""
        problem = StationaryProblem((block,), ("beta",), (("A",),))
        start = StationaryPoint(
            (jnp.log(household.policies.marginal_value),), (household.distribution,), jnp.array([0.9])
        )
        read = {name: jnp.asarray(p[name]) for name in ("eis", "rho_e", "sd_e")}

        @jax.jit
        @jax.value_and_grad
        def find(value: jax.Array) -> jax.Array:
            given = Given({n: jnp.asarray(v) for n, v in inputs.items()}, read, ((jnp.ones(()),),), (value,))
            bounds = (jnp.asarray(0.5),), (jnp.asarray(0.99),)
            return solve_point(problem, given, bounds, start)[0].unknowns[0]

        value, derivative = find(alone.aggregates["A"] * 1.05)
        return float(value), float(derivative)

    np.testing.assert_allclose(beta(both, steady), beta(both.alone, alone), rtol=1e-9)


@pytest.mark.parametrize("asset", [0, 1])
def test_a_grid_that_is_too_small_is_told_of_either_asset(asset: int) -> None:
    tops = [jnp.asarray([0.0, 0.0]), jnp.asarray([10.0, 20.0]), jnp.asarray([5.0, 5.0])]
    check_tops(tuple(tops))  # type: ignore[arg-type]
    tops[2] = tops[2].at[asset].set(30.0)
    with pytest.raises(SteadyStateError, match=f"top of {10 * (asset + 1)}, policies up to 30"):
        check_tops(tuple(tops))  # type: ignore[arg-type]
