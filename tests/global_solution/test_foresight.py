"""Perfect foresight in Krusell and Smith's economy against the package's general solver of nonlinear paths.

The same economy as a declared model: unemployment, job finding and productivity are exogenous paths, and the
household's Markov matrix moves with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from estimhank.global_solution.economy import KrusellSmithEconomy, chain_of
from estimhank.global_solution.foresight import ExpectedPath, expected_path, foresight_responses
from estimhank.global_solution.histogram import asset_grid
from estimhank.households.interpolation import interpolate_rows
from estimhank.households.one_asset import Grids, HouseholdBlock, HouseholdTarget, Policies
from estimhank.households.transition import AssetLottery
from estimhank.model import Level, Model, Parameter, Parameters
from estimhank.model.processes import AR1
from estimhank.parameters.priors import Beta, Gamma
from estimhank.posterior.posterior import Posterior
from estimhank.run.model_check import stand_in
from estimhank.run.transition import economy_of
from estimhank.transition.solve import solve_transition

UNEMPLOYMENT = (0.2, 0.1)
#: Probability of finding a job, by aggregate state of today and of tomorrow.
FINDING = ((0.15, 0.6), (0.05, 0.25))


def _joint() -> tuple[tuple[float, ...], ...]:
    """Joint Markov matrix in which as many are unemployed as the aggregate state has."""
    p = np.empty((2, 2, 2, 2))
    for z, u in enumerate(UNEMPLOYMENT):
        for y, after in enumerate(UNEMPLOYMENT):
            lost = (after - u * (1 - FINDING[z][y])) / (1 - u)
            own = np.array([[1 - FINDING[z][y], FINDING[z][y]], [lost, 1 - lost]])
            p[z, :, y] = (0.875 if y == z else 0.125) * own
    return tuple(map(tuple, p.reshape(4, 4)))


#: Long unemployment and impatient households: their wealth comes to rest in hundreds of quarters, not in thousands.
ECONOMY = KrusellSmithEconomy(
    beta=0.97, unemployment=UNEMPLOYMENT, transition=_joint(), productivity=(0.97, 1.03), largest_assets=150.0
)
#: Of the general solver's horizon, at whose end it goes on for some dates more, the first half.
T, SHOWN, POINTS = 300, 150, 240
MEAN = chain_of(ECONOMY).average
Z, U = (float(chain_of(ECONOMY).stationary @ np.asarray(x)) for x in (ECONOMY.productivity, ECONOMY.unemployment))


def _income(productivity: Any, unemployment: Any, capital: Any) -> tuple[Any, Any, Any]:
    """Gross return, income of the unemployed, and of the employed."""
    labour = ECONOMY.hours * (1 - unemployment)
    wage = 0.64 * productivity * (capital / labour) ** 0.36
    tax = 0.15 * unemployment / labour
    return 0.975 + 0.36 * productivity * (capital / labour) ** -0.64, 0.15 * wage, (1 - tax) * ECONOMY.hours * wage


@dataclass(frozen=True)
class Unemployment(HouseholdBlock):
    """Households find jobs with probability ``find`` and keep them with probability ``keep`` at the end of a date."""

    inputs: tuple[str, ...] = ("gross", "dole", "pay", "find", "keep")
    outputs: tuple[str, ...] = ("A", "C", "found", "kept")
    parameters: tuple[str, ...] = ("beta",)

    def grids(self, p: Any) -> Grids:
        """Those of the global solution's perfect foresight."""
        share = jnp.array([U, 1 - U])
        return Grids(jnp.ones(2), jnp.asarray(MEAN), share, asset_grid(0.0, ECONOMY.largest_assets, POINTS))

    def _chain(self, find: Any, keep: Any) -> Any:
        return jnp.stack([jnp.stack([1 - find, find]), jnp.stack([1 - keep, keep])])

    def initial_marginal_value(self, grids: Grids, inputs: Mapping[str, Any], p: Any) -> Any:
        """Of consuming little."""
        cash = inputs["gross"] * grids.a + jnp.stack([inputs["dole"], inputs["pay"]])[:, None]
        return inputs["gross"] / (0.05 * cash)

    def backward(self, marginal_value_next: Any, inputs: Mapping[str, Any], grids: Grids, p: Any) -> Policies:
        """Endogenous grids, with log utility."""
        chain = self._chain(inputs["find"], inputs["keep"])
        c_end = 1 / (p.beta * chain @ marginal_value_next)
        income = jnp.stack([inputs["dole"], inputs["pay"]])[:, None]
        endogenous = (c_end + grids.a - income) / inputs["gross"]
        assets = jnp.maximum(interpolate_rows(grids.a, endogenous, grids.a), 0.0)
        c = inputs["gross"] * grids.a + income - assets
        one = jnp.ones_like(c)
        outputs = {"A": assets, "C": c, "found": inputs["find"] * one, "kept": inputs["keep"] * one}
        return Policies(inputs["gross"] / c, assets, outputs)

    def transition(self, grids: Grids, policies: Policies) -> AssetLottery:
        """The Markov matrix of that date."""
        chain = self._chain(policies.outputs["found"][0, 0], policies.outputs["kept"][0, 0])
        return AssetLottery.of(policies.assets, grids.a, chain)


def _process(name: str) -> dict[str, Parameter]:
    return {
        f"rho_{name}": Parameter(0.9, "r", "persistence", Beta(0.5, 0.2), "shocks"),
        f"sigma_{name}": Parameter(0.1, "s", "s.d.", Gamma(0.5, 0.2), "shocks"),
    }


class Declared(Model):
    """Krusell and Smith's economy without aggregate risk."""

    name = "krusell_smith_unemployment"
    household = Unemployment()
    variables = ("gross", "dole", "pay", "find", "keep", "K")
    shocks = (AR1("z"), AR1("u"), AR1("f"), AR1("k"))
    observables = tuple(Level(name) for name in ("K", "pay", "find", "keep"))
    parameters = Parameters(
        **_process("z"), **_process("u"), **_process("f"), **_process("k"),
        beta=Parameter(None, "b", "discount factor", touches="steady_state"),
        capital=Parameter(18.3485, "K", "of the steady state", touches="steady_state"),
    )  # fmt: skip

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        """Prices, flows of workers, capital."""
        gross, dole, pay = _income(Z + shock.z, U + shock.u, lag.K)
        yield "return", now.gross - gross
        yield "dole", now.dole - dole
        yield "pay", now.pay - pay
        yield "job finding", now.find - (MEAN[0, 1] + shock.f)
        yield "job keeping", now.keep - (MEAN[1, 1] + shock.k)
        yield "capital market", household.A - now.K

    def household_target(self, p: Any) -> HouseholdTarget:
        """The discount factor at which households hold the capital."""
        gross, dole, pay = _income(Z, U, p.capital)
        inputs = {"gross": gross, "dole": dole, "pay": pay, "find": MEAN[0, 1], "keep": MEAN[1, 1]}
        return HouseholdTarget(inputs, "beta", (0.95, 0.9995 / gross), "A", p.capital)

    def steady_state(self, p: Any, household: Any) -> dict[str, Any]:
        """At that capital."""
        gross, dole, pay = _income(Z, U, p.capital)
        return {
            "gross": gross, "dole": dole, "pay": pay, "find": MEAN[0, 1], "keep": MEAN[1, 1], "K": p.capital,
        }  # fmt: skip


@pytest.mark.long
def test_paths_are_those_of_the_general_solver() -> None:
    model = Declared()
    general = economy_of(Posterior(model, stand_in(model), T, 2 * T // 3))
    rest, own = general.steady.values, general.steady.households[0]
    responses = foresight_responses(replace(ECONOMY, beta=general.steady.parameters["beta"]), (0, 1), T)
    # households after their choices of the date before, whose own states change by another matrix where there is news
    after = jnp.linalg.solve(jnp.asarray(MEAN).T, own.distribution)
    for first, response in enumerate(responses):
        news = expected_path(chain_of(ECONOMY), first, T)

        def follow(share: float, news: ExpectedPath = news) -> tuple[np.ndarray, np.ndarray]:
            shocks = {
                "z": news.weights @ np.asarray(ECONOMY.productivity) - Z,
                "u": news.weights @ np.asarray(ECONOMY.unemployment) - U,
                "f": news.chains[:, 0, 1] - MEAN[0, 1],
                "k": news.chains[:, 1, 1] - MEAN[1, 1],
            }
            start = (MEAN + share * (news.before - MEAN)).T @ after
            initial = replace(general.steady, households=(own._replace(distribution=start),))
            path = solve_transition(
                general, {name: share * x for name, x in shocks.items()}, initial=initial, tolerance=1e-12
            )
            assert path.converged
            capital = np.append(rest["K"], path.paths["K"])[:SHOWN]
            return 100 * (capital / rest["K"] - 1) / share, 100 * (path.paths["C"][:SHOWN] / rest["C"] - 1) / share

        capital, consumption = follow(1.0)
        assert np.abs(capital).max() > 2 and np.abs(consumption).max() > 1.5
        np.testing.assert_allclose(response.capital[:SHOWN], capital, atol=1e-6)
        np.testing.assert_allclose(response.consumption[:SHOWN], consumption, atol=1e-6)
        # a path in proportion: what is left of the curvature is in proportion to the share squared
        up, down = follow(1e-3), follow(-1e-3)
        np.testing.assert_allclose(response.linear_capital[:SHOWN], (up[0] + down[0]) / 2, atol=2e-5)
        np.testing.assert_allclose(response.linear_consumption[:SHOWN], (up[1] + down[1]) / 2, atol=2e-5)
        assert np.abs(response.capital - response.linear_capital).max() > 0.01
