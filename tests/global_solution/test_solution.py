"""Pieces of a global solution against brute force, closed forms and each other; whole solutions are `long`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimhank.global_solution.accuracy import euler_errors, simulate_long
from estimhank.global_solution.distribution import Distribution
from estimhank.global_solution.economies import check_economy, find_economy, make_economy
from estimhank.global_solution.economy import Chain, GlobalEconomy, KrusellSmithEconomy, Prices
from estimhank.global_solution.euler import euler_residual, look_ahead, next_histograms, policy_on_grid
from estimhank.global_solution.foresight import expected_path
from estimhank.global_solution.histogram import asset_grid, move, wealth_moments
from estimhank.global_solution.least_squares import normal_equations, residuals_of
from estimhank.global_solution.steady import base_policy, deterministic_steady_state
from estimhank.global_solution.training import policy_residuals
from estimhank.global_solution.verdict import verdict_of
from estimhank.support.errors import ConfigError, ConvergenceError
from tests.helpers.hand_global import SMALL, perturbed_state, small_solver, small_states

ECONOMY = KrusellSmithEconomy()


# -- the economy ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("z", "capital"), [(0, 35.0), (1, 42.0)])
def test_prices_pay_out_output_and_the_budget_of_unemployment_balances(z: int, capital: float) -> None:
    prices = ECONOMY.prices(jnp.asarray(z), jnp.asarray(capital))
    u, productivity = ECONOMY.unemployment[z], ECONOMY.productivity[z]
    output = productivity * capital**0.36 * (ECONOMY.hours * (1 - u)) ** 0.64
    paid = (prices.gross_return - 1 + 0.025) * capital + u * prices.income[0] + (1 - u) * prices.income[1]
    np.testing.assert_allclose(paid, output, rtol=1e-12)


def test_the_chain_keeps_unemployment_at_its_rates() -> None:
    chain = ECONOMY.chain()
    np.testing.assert_allclose(chain.aggregate, [[0.875, 0.125], [0.125, 0.875]], atol=1e-6)
    for now in (0, 1):
        for after in (0, 1):
            share = np.array([ECONOMY.unemployment[now], 1 - ECONOMY.unemployment[now]])
            unemployed = (share @ chain.idiosyncratic[now, after])[0]
            np.testing.assert_allclose(unemployed, ECONOMY.unemployment[after], atol=2e-5)


def test_expected_paths_end_where_nothing_is_known() -> None:
    path, rest = expected_path(ECONOMY.chain(), 1), expected_path(ECONOMY.chain(), None)
    np.testing.assert_allclose(path.weights[0], [0, 1])
    np.testing.assert_allclose(path.weights[1], [0.125, 0.875], atol=1e-6)
    np.testing.assert_allclose(path.chains[-1], ECONOMY.chain().average, atol=1e-10)
    # as many are unemployed at date 0 as the state has, whoever it was before
    np.testing.assert_allclose(np.array([0.07, 0.93]) @ path.before, [0.04, 0.96], atol=2e-5)
    np.testing.assert_allclose(path.before.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(rest.chains, np.broadcast_to(ECONOMY.chain().average, rest.chains.shape), atol=1e-12)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"beta": 1.2}, "beta must lie between"),
        ({"beta": "high"}, "expected a number"),
        ({"betta": 0.9}, "did you mean 'beta'"),
        ({"benefit": -0.2}, "negative"),
        ({"transition": [[1.0, 0.2], [0.0, 1.0]]}, "4 x 4 matrix"),
        ({"largest_assets": -1.0}, "largest_assets"),
        ({"borrowing_limit": -500.0}, "could not eat"),
    ],
)
def test_an_economy_that_is_none_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_economy(KrusellSmithEconomy, change)


def test_an_economy_that_is_not_there_is_refused(tmp_path) -> None:
    for reference, words in (("krusel", "unknown economy"), ("there.py:No", "does not exist")):
        with pytest.raises(ConfigError, match=words):
            find_economy(reference, tmp_path)


# -- the histogram -------------------------------------------------------------------------------------------------
def test_a_histogram_keeps_households_and_their_wealth() -> None:
    grid = asset_grid(-1.0, 30.0, 50)
    rng = np.random.default_rng(0)
    shares = jnp.asarray(rng.dirichlet(np.ones(100)).reshape(2, 50))
    chosen = jnp.asarray(rng.uniform(-1.0, 30.0, (2, 50))).at[0, :3].set(grid[jnp.array([0, 7, 49])])
    moved = move(shares, chosen, grid)
    np.testing.assert_allclose(moved.sum(1), shares.sum(1), rtol=1e-13)
    np.testing.assert_allclose((moved * grid).sum(1), (shares * chosen).sum(1), rtol=1e-12)
    assert float(moved.min()) >= -1e-15
    derivative = jax.grad(lambda a: (move(shares, a, grid) * grid).sum())(chosen)
    np.testing.assert_allclose(derivative[:, 5:], shares[:, 5:], rtol=1e-9)


def test_moments_of_wealth_are_those_of_a_list_of_households() -> None:
    grid = asset_grid(0.0, 10.0, 30)
    shares = np.random.default_rng(1).dirichlet(np.ones(30))
    found = wealth_moments(jnp.asarray(shares)[None], grid)
    a = np.asarray(grid)
    gini = (shares[:, None] * shares * np.abs(a[:, None] - a)).sum() / (2 * shares @ a)
    np.testing.assert_allclose(found, (shares @ a, np.sqrt(shares @ a**2 - (shares @ a) ** 2), gini), rtol=1e-10)


# -- where training begins -----------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def steady():
    return deterministic_steady_state(ECONOMY)


def test_the_steady_state_reproduces_itself_and_saves_more_than_a_representative_household(steady) -> None:
    np.testing.assert_allclose((steady.histogram * steady.grid).sum(), steady.capital, rtol=1e-6)
    labour = ECONOMY.hours * 0.93
    representative = ((1 / 0.99 - 0.975) / 0.36) ** (1 / -0.64) * labour
    assert representative < steady.capital < 1.02 * representative


def test_untrained_networks_are_the_base_policy(steady) -> None:
    solver = small_solver()
    state = solver.start()
    frame, grid = solver.policy_frame(state), solver.grid
    c, chosen, _, _ = policy_on_grid(
        solver.problem, frame, solver.policy_weights(state), 1, jnp.asarray(state.histograms[0]), grid
    )
    assert float(chosen.min()) >= 0.0 and float(c.min()) > 0
    base = base_policy(ECONOMY)
    capital = float((state.histograms[0] * grid).sum())
    prices = ECONOMY.prices(jnp.asarray(1), jnp.asarray(capital))
    scale = float(prices.income.mean())
    cash = float(prices.gross_return * grid[20] + prices.income[1])
    place = (np.log(cash / scale + float(base.shift)) - float(base.first)) / float(base.distance)
    expected = scale * np.exp(np.interp(place, np.arange(base.log_consumption.shape[-1]), base.log_consumption[1, 1]))
    np.testing.assert_allclose(c[1, 20], min(expected, cash), rtol=1e-9)


# -- residuals and least squares -----------------------------------------------------------------------------------
def test_an_euler_residual_is_that_of_a_hand_written_loop() -> None:
    solver, state = small_solver(), perturbed_state()
    frame, weights, grid = solver.policy_frame(state), solver.policy_weights(state), solver.grid
    z, e, own = 0, 1, 23.4
    h = np.asarray(state.histograms[3])
    capital = float((h * np.asarray(grid)).sum())
    ahead = look_ahead(solver.problem, frame, weights, z, jnp.asarray(h), grid)
    found = euler_residual(
        solver.problem, frame, weights, z, jnp.asarray(capital), jnp.asarray(e), jnp.asarray(own), ahead
    )

    def consume(shares: np.ndarray, state_z: int, state_e: int, assets: float) -> float:
        # the policy of a household put on the grid by interpolation is not exact: ask for it on a grid that has the
        # point
        fine = np.sort(np.append(np.asarray(grid), assets))
        wide = np.zeros((2, len(fine)))
        wide[:, np.searchsorted(fine, np.asarray(grid))] = shares
        c, _, _, _ = policy_on_grid(solver.problem, frame, weights, state_z, jnp.asarray(wide), jnp.asarray(fine))
        return float(c[state_e, np.searchsorted(fine, assets)])

    c = consume(h, z, e, own)
    prices = ECONOMY.prices(jnp.asarray(z), jnp.asarray(capital))
    left = float(prices.gross_return * own + prices.income[e]) - c
    _, chosen, _, _ = policy_on_grid(solver.problem, frame, weights, z, jnp.asarray(h), grid)
    moved = np.zeros_like(h)
    for i in range(2):  # households one by one
        for j in range(len(grid)):
            k = np.clip(np.searchsorted(grid, chosen[i, j], side="right") - 1, 0, len(grid) - 2)
            up = float((chosen[i, j] - grid[k]) / (grid[k + 1] - grid[k]))
            moved[i, k] += h[i, j] * (1 - up)
            moved[i, k + 1] += h[i, j] * up
    marginal, joint = 0.0, np.asarray(ECONOMY.transition)
    for y in (0, 1):
        given = joint[:, :].reshape(2, 2, 2, 2)[z][:, y] / joint.reshape(2, 2, 2, 2)[z].sum(2)[:, [y]]
        after = given.T @ moved
        tomorrow = ECONOMY.prices(jnp.asarray(y), jnp.asarray((after * np.asarray(grid)).sum()))
        for f in (0, 1):
            marginal += joint[2 * z + e, 2 * y + f] * float(tomorrow.gross_return) / consume(after, y, f, left)
    np.testing.assert_allclose(found, np.log(1 / (0.99 * marginal) / c), atol=2e-6)


@pytest.mark.long
def test_normal_equations_are_those_of_the_jacobian() -> None:
    solver, state = small_solver(), small_states()[2]
    _, batch = solver._visit(state, np.random.default_rng(2))
    residuals = policy_residuals(solver.problem, SMALL.own_states)
    frame, flat = solver.policy_frame(state), jnp.asarray(state.policy)
    products, gradient, total = normal_equations(residuals, flat, frame, batch)
    r = np.asarray(residuals_of(residuals, flat, frame, batch))
    direction = jnp.asarray(np.random.default_rng(3).normal(size=flat.shape))
    step = 1e-6
    up, down = (np.asarray(residuals_of(residuals, flat + s * direction, frame, batch)) for s in (step, -step))
    along = (up - down) / (2 * step)
    np.testing.assert_allclose(total, (r**2).sum(), rtol=1e-9)
    np.testing.assert_allclose(direction @ gradient, (along * r).sum(), rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(direction @ products @ direction, (along**2).sum(), rtol=1e-4)


def test_the_externality_is_what_a_unit_of_capital_does_to_cash_on_hand() -> None:
    solver, state = small_solver(planner=True), perturbed_state()
    frame, weights, grid = solver.policy_frame(state), solver.policy_weights(state), solver.grid
    h = jnp.asarray(state.histograms[2])
    found = look_ahead(solver.problem, frame, weights, 1, h, grid)
    market = look_ahead(solver.problem._replace(planner=False), frame, weights, 1, h, grid)
    assert not np.asarray(market.externality).any()
    _, chosen, _, _ = policy_on_grid(solver.problem, frame, weights, 1, h, grid)
    for z, after in enumerate(next_histograms(solver.problem, 1, h, chosen, grid)):
        c, _, _, _ = policy_on_grid(solver.problem, frame, weights, z, after, grid)
        step = 1e-3
        up, down = (ECONOMY.prices(jnp.asarray(z), found.capital + s) for s in (step, -step))
        moved = (up.gross_return - down.gross_return) * grid + (up.income - down.income)[:, None]
        np.testing.assert_allclose(found.externality[z], (after * moved / c).sum() / (2 * step), rtol=1e-5)


@pytest.mark.long
def test_the_planner_holds_more_capital_than_the_market() -> None:
    capital = []
    for planner in (False, True):
        solver = dataclasses.replace(
            small_solver(planner), training=dataclasses.replace(SMALL, rounds=4, steps=4, quarters=100)
        )
        *_, (state, _) = solver.train(solver.start())
        path, _ = simulate_long(
            solver.problem, solver.policy_frame(state), solver.policy_weights(state), 300, 300, 120, 1
        )
        capital.append(path.capital.mean())
    assert capital[1] > 1.01 * capital[0]


# -- what networks believe -------------------------------------------------------------------------------------------
def test_networks_that_see_another_distribution_choose_otherwise() -> None:
    solver, state = small_solver(), perturbed_state()
    frame, weights = solver.policy_frame(state), solver.policy_weights(state)
    ahead = look_ahead(solver.problem, frame, weights, 1, jnp.asarray(state.histograms[0]), solver.grid)
    args = (solver.problem, frame, weights, 1, jnp.asarray(39.0), jnp.asarray(1), jnp.asarray(40.0))
    wrong = ahead._replace(capital=1.1 * ahead.capital)
    assert abs(float(euler_residual(*args, wrong) - euler_residual(*args, ahead))) > 1e-3


# -- training and its judgement ------------------------------------------------------------------------------------
@pytest.mark.long
def test_training_lowers_euler_errors_and_an_untrained_solution_is_not_trusted() -> None:
    solver, states = small_solver(), small_states()
    errors = []
    for state in (states[0], states[2]):
        frame, weights = solver.policy_frame(state), solver.policy_weights(state)
        path, grid = simulate_long(solver.problem, frame, weights, 60, 20, 60, 1)
        errors.append(euler_errors(solver.problem, frame, weights, path, grid, 3))
    assert errors[1].mean < errors[0].mean - 0.7
    good = {
        "bellman_error": 0.0, "den_haan_mean": 0.0, "den_haan_max": 0.0, "top_share": 0.0, "quarters": 10_000,
    }  # fmt: skip
    wealth = Distribution(*(np.array([x]) for x in (39.4, 1.06, 20.0, 0.27)))
    bad = verdict_of(good | {"euler_mean": errors[0].mean, "euler_max": errors[0].largest}, wealth, wealth)
    assert not bad.passed and bad.words.startswith("Do not trust this solution: the mean Euler error")


@pytest.mark.long
def test_a_state_is_a_function_of_the_state_before_it_to_the_bit() -> None:
    solver, states = small_solver(), small_states()
    again = dataclasses.replace(solver)
    resumed = [state for state, _ in again.train(states[1])]
    assert len(resumed) == len(states) - 2
    for name, value in resumed[-1]._asdict().items():
        np.testing.assert_array_equal(value, getattr(states[-1], name), err_msg=name)


# -- another economy -----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Trees(GlobalEconomy):
    """No idiosyncratic risk, full depreciation and log utility: a constant share of output is saved."""

    beta: float = 0.95
    risk_aversion: float = 1.0
    borrowing_limit: float = 0.0
    largest_assets: float = 1.0
    productivity: tuple[float, ...] = (0.95, 1.05)

    def chain(self) -> Chain:
        return Chain.independent([[0.8, 0.2], [0.2, 0.8]], [[1.0]])

    def prices(self, z, capital) -> Prices:
        output = jnp.asarray(self.productivity)[z] * capital**0.3
        return Prices(0.3 * output / capital, (0.7 * output)[None])

    def capital_range(self) -> tuple[float, float]:
        return 0.05, 0.5


def test_an_economy_of_ones_own_is_checked() -> None:
    check_economy(Trees())
    with pytest.raises(ConfigError, match="capital_range"):
        check_economy(type("Bad", (Trees,), {"capital_range": lambda self: (2.0, 1.0)})())
    with pytest.raises(ConfigError, match="one for each idiosyncratic state"):
        check_economy(type("Bad", (Trees,), {"prices": lambda self, z, k: Prices(k / k, jnp.ones(3))})())


@dataclass(frozen=True)
class SoughtElsewhere(KrusellSmithEconomy):
    def capital_range(self) -> tuple[float, float]:
        return 5.0, 6.0


def test_a_steady_state_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConvergenceError, match="another capital_range"):
        deterministic_steady_state(SoughtElsewhere())
