"""Nonlinear paths against closed forms, the sequence-jacobian toolkit, and what has to hold of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from estimhank.households.one_asset import StandardIncompleteMarkets
from estimhank.model import ARMA, Correlation, Level, Model, Parameter, Parameters
from estimhank.model.processes import AR1
from estimhank.models.krusell_smith import KrusellSmith
from estimhank.models.new_keynesian import NewKeynesian
from estimhank.models.one_asset_hank import OneAssetHANK
from estimhank.models.one_asset_hours import OneAssetHours
from estimhank.models.spender_saver import SpenderSaver
from estimhank.parameters.parameter_table import ModelError
from estimhank.parameters.priors import Beta, Gamma
from estimhank.posterior.posterior import Posterior
from estimhank.run.model_check import stand_in
from estimhank.run.transition import economy_of
from estimhank.sequence_space.steady_state import SteadyState
from estimhank.transition.economy import Economy
from estimhank.transition.krylov import gmres
from estimhank.transition.solve import TransitionPath, solve_around, solve_transition
from tests.helpers.toolkit import ToolkitEconomy

T = 100
SMALL = StandardIncompleteMarkets(inputs=("r", "Z"), n_e=3, n_a=60)


def economy(model: Model, horizon: int = T) -> Economy:
    return economy_of(Posterior(model, stand_in(model), horizon, 2 * horizon // 3))


def found(economy: Economy, shocks: dict[str, Any], **options: Any) -> TransitionPath:
    path = solve_transition(economy, shocks, **options)
    assert path.converged and path.reason == "ok" and path.failure is None
    return path


# -- a closed form -------------------------------------------------------------------------------------------------
class LogEconomy(Model):
    """Log utility and full depreciation: a constant share of output is saved, whatever is to come."""

    name = "log_economy"
    variables = ("C", "K", "Y")
    shocks = (AR1("z"),)
    observables = (Level("Y"),)
    parameters = Parameters(
        rho_z=Parameter(0.9, "r", "persistence", Beta(0.5, 0.2), "shocks"),
        sigma_z=Parameter(0.7, "s", "s.d.", Gamma(0.5, 0.2), "shocks"),
        alpha=Parameter(0.33, "a", "capital share", touches="steady_state"),
        beta=Parameter(0.95, "b", "discount factor", touches="steady_state"),
    )

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        """Euler equation, resources, production."""
        yield "Euler equation", 1 / now.C - p.beta * p.alpha * lead.Y / now.K / lead.C
        yield "resources", now.C + now.K - now.Y
        yield "production", now.Y - (1 + shock.z) * lag.K**p.alpha

    def steady_state(self, p: Any, household: Any) -> dict[str, float]:
        """Closed form."""
        k = (p.alpha * p.beta) ** (1 / (1 - p.alpha))
        return {"K": k, "Y": k**p.alpha, "C": k**p.alpha - k}


def saved(shock: np.ndarray, first: float) -> np.ndarray:
    """Capital of the log economy: K_t = alpha beta (1 + z_t) K_{t-1}^alpha."""
    path, capital = [], first
    for z in shock:
        capital = 0.33 * 0.95 * (1 + z) * capital**0.33
        path.append(capital)
    return np.array(path)


@cache
def log_economy() -> Economy:
    return economy(LogEconomy())


@pytest.mark.parametrize("size", [0.01, 0.6, -0.7])
def test_without_households_the_closed_form_is_found(size: float) -> None:
    shock = size * 0.8 ** np.arange(T)
    path = found(log_economy(), {"z": shock})
    capital = saved(shock, log_economy().steady.values["K"])
    np.testing.assert_allclose(path.paths["K"], capital, rtol=1e-8)
    output = (1 + shock) * np.r_[log_economy().steady.values["K"], capital[:-1]] ** 0.33
    np.testing.assert_allclose(path.paths["Y"], output, rtol=1e-8)
    assert path.residual <= 1e-9


def test_a_beginning_elsewhere_is_where_the_path_begins() -> None:
    state = log_economy().steady
    begin = SteadyState({**state.values, "K": 3 * state.values["K"]}, state.parameters)
    path = found(log_economy(), {}, initial=begin)
    np.testing.assert_allclose(path.paths["K"], saved(np.zeros(T), begin.values["K"]), rtol=1e-8)


def test_small_shocks_leave_an_error_of_second_order_to_the_linear_solution() -> None:
    _check_slope(log_economy(), "z", "K", (1e-3, 1e-2, 1e-1))


def _check_slope(economy: Economy, shock: str, variable: str, sizes: tuple[float, ...]) -> None:
    errors = []
    for size in sizes:
        shocks = {shock: size * 0.8 ** np.arange(economy.horizon)}
        path = found(economy, shocks, tolerance=1e-12)
        errors.append(np.abs(path.paths[variable] - economy.linear_response(shocks)[variable]).max())
    slopes = np.diff(np.log(errors)) / np.diff(np.log(sizes))
    assert (np.abs(slopes - 2) < 0.1).all(), slopes


# -- bounds --------------------------------------------------------------------------------------------------------
LOWER = -0.005


class Bounded(NewKeynesian):
    """The interest rate has a lower bound, one line of the model."""

    name = "bounded"

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        """Those of the model, with the larger of rule and bound."""
        for name, residual in super().equations(lag, now, lead, household, shock, p):
            yield name, now.i - jnp.maximum(now.i - residual, LOWER) if name == "Taylor rule" else residual


def given_dates(p: dict[str, float], natural: np.ndarray, binds: np.ndarray) -> np.ndarray:
    """The economy if the bound binds at certain dates, by one dense system; whether it does is for who asks."""
    eye, ahead, dates = np.eye(T), np.eye(T, k=1), len(natural)
    free = np.diag(1.0 - binds)
    matrix = np.block([
        [eye - ahead, -p["eis"] * ahead, p["eis"] * eye],
        [-p["kappa"] * eye, eye - p["beta"] * ahead, 0 * eye],
        [-p["phi_y"] * free, -p["phi_pi"] * free, eye],
    ])  # fmt: skip
    right = np.r_[p["eis"] * natural, np.zeros(dates), LOWER * binds]
    return np.asarray(np.linalg.solve(matrix, right).reshape(3, dates))


@pytest.mark.parametrize("size", [-0.005, -0.01, -0.02, -0.05])
def test_a_bound_binds_where_the_rule_is_below_it_and_nowhere_else(size: float) -> None:
    # there may be several such sets of dates (Holden 2023); of the one that is found everything has to hold
    natural = size * 0.8 ** np.arange(T)
    solution, p = found(bounded(), {"d": natural}), bounded().steady.parameters
    path = solution.paths
    binds = np.abs(path["i"] - LOWER) < 1e-9
    told = solution.binds.get("Taylor rule", np.zeros(T, bool))
    assert set(solution.binds) <= {"Taylor rule"} and (told == binds).all()
    assert binds.any() == (size < -0.005)
    y, pi, rate = given_dates(p, natural, binds)
    for name, values in (("y", y), ("pi", pi), ("i", rate)):
        np.testing.assert_allclose(path[name], values, atol=1e-8)
    assert (binds == (p["phi_y"] * y + p["phi_pi"] * pi < LOWER)).all()


@cache
def bounded() -> Economy:
    return economy(Bounded())


# -- Krusell and Smith ---------------------------------------------------------------------------------------------
KS_DATES = 300


@cache
def krusell_smith() -> Economy:
    household = StandardIncompleteMarkets(inputs=("r", "w"), n_e=3, n_a=60, spacing="logarithmic")
    return economy(KrusellSmith(household=household), KS_DATES)


@pytest.mark.parametrize("size", [0.01, -0.2])
def test_krusell_and_smiths_paths_are_the_toolkits(size: float) -> None:
    p = krusell_smith().steady.parameters
    values = {name: p[name] for name in ("eis", "delta", "alpha", "r", "beta")}
    values |= {"rho": p["rho_e"], "sigma": p["sd_e"], "L": 1.0, "Z": p["tfp"]}
    capital = krusell_smith().steady.values["K"]
    toolkit = ToolkitEconomy("krusell_smith", values | {"K": capital, "nS": 3, "nA": 60, "amax": 200})
    shock = size * 0.8 ** np.arange(KS_DATES)
    path = found(krusell_smith(), {"z": shock})
    expected = toolkit.nonlinear({"Z": p["tfp"] * shock})
    for name in ("K", "r", "w", "Y", "C"):
        level = path.paths[name]
        np.testing.assert_allclose(level, krusell_smith().steady.values[name] + expected[name], rtol=1e-6, atol=1e-8)
    linear = krusell_smith().linear_response({"z": shock})
    # what is tested is not the linear solution
    assert np.abs(linear["K"] - path.paths["K"]).max() > 10 * 1e-6 * capital


@pytest.mark.long  # compiles households of its own
def test_krusell_and_smiths_errors_of_the_linear_solution_are_of_second_order() -> None:
    # of the scheme that is differentiable: the linear one has kinks where policies cross grid points
    household = StandardIncompleteMarkets(inputs=("r", "w"), n_e=3, n_a=60, spacing="logarithmic", scheme="smooth")
    _check_slope(economy(KrusellSmith(household=household), KS_DATES), "z", "K", (1e-4, 1e-3, 1e-2, 1e-1))


def test_resources_are_used_up_along_the_path() -> None:
    # goods market clearing is not among the equations
    path = found(krusell_smith(), {"z": 0.3 * 0.8 ** np.arange(KS_DATES)}).paths
    before = np.r_[krusell_smith().steady.values["K"], path["K"][:-1]]
    delta = krusell_smith().steady.parameters["delta"]
    np.testing.assert_allclose(path["C"] + path["K"] - (1 - delta) * before, path["Y"], atol=1e-8)


def test_at_rest_nothing_moves_and_another_distribution_comes_back() -> None:
    state = krusell_smith().steady
    still = found(krusell_smith(), {})
    assert still.iterations == 0
    np.testing.assert_allclose(still.paths["K"], state.values["K"], atol=1e-9)
    (own,) = state.households
    poor = np.asarray(own.distribution)
    poor = 0.9 * poor + 0.1 * poor.sum(1, keepdims=True) * (np.arange(poor.shape[1]) == 0)
    held = float((poor * np.asarray(own.grids.a)).sum())
    begin = replace(
        state, values={**state.values, "K": held}, households=(own._replace(distribution=jnp.asarray(poor)),)
    )
    path = found(krusell_smith(), {}, initial=begin).paths
    assert path["K"][0] < state.values["K"] - 0.05
    assert abs(path["K"][-1] / state.values["K"] - 1) < 2e-3


def test_an_absurd_shock_is_a_failure_by_name_and_no_path() -> None:
    failed = solve_transition(krusell_smith(), {"z": 1e4 * 0.8 ** np.arange(KS_DATES)})
    assert not failed.converged and failed.reason in ("domain", "no_decrease", "linear", "iterations")
    assert failed.paths == {}
    assert failed.failure is not None
    assert failed.failure.equation in krusell_smith().equation_names
    assert failed.failure.equation in failed.failure.message and f"date {failed.failure.date}" in failed.failure.message


def test_a_shock_that_stays_is_a_horizon_that_is_too_short() -> None:
    failed = solve_transition(economy(Bounded(), 12), {"d": np.full(18, -0.002)})
    assert (failed.converged, failed.reason, failed.paths) == (False, "horizon", {})
    assert failed.failure is not None and failed.failure.date < 6
    assert failed.change > 1e-3


@pytest.mark.parametrize("dates", [T, T + T // 2])
def test_of_a_shock_that_lasts_longer_than_the_horizon_the_closed_form_is_found(dates: int) -> None:
    # nothing depends on what is to come, so that no horizon is too short
    path = found(log_economy(), {"z": np.full(dates, 0.1)})
    np.testing.assert_allclose(path.paths["K"], saved(np.full(T, 0.1), log_economy().steady.values["K"]), rtol=1e-8)
    assert path.change < 1e-8


def test_what_a_longer_horizon_makes_much_larger_is_no_path() -> None:
    # at a bound that binds for a hundred dates what is expected at the end grows on its way to the beginning
    failed = solve_transition(bounded(), {"d": -0.004 * 0.99 ** np.arange(T + T // 2)})
    assert (failed.converged, failed.reason, failed.paths) == (False, "horizon", {})


def test_the_last_dates_are_as_a_longer_horizon_has_them() -> None:
    # what is expected at the last date is not at rest
    natural = 0.004 * 0.93 ** np.arange(4 * T)
    path = found(bounded(), {"d": natural[: T + T // 2]})
    longer = found(economy(Bounded(), 4 * T), {"d": natural}).paths
    assert 0 < path.change < 1e-3
    forcing = bounded().forcing({"d": natural[:T]})[:T]
    alone = solve_around(bounded(), *bounded().around(forcing, bounded().rest)).point.x
    for i, name in enumerate(bounded().model.variables):
        if name in path.paths:
            peak = np.abs(longer[name]).max()
            right, wrong = (np.abs(p - longer[name][:T]).max() / peak for p in (path.paths[name], alone[:, i]))
            assert right < 1e-3 and right < wrong / 10, (right, wrong)


def test_households_that_leave_the_grid_are_noticed() -> None:
    state = krusell_smith().steady
    (own,) = state.households
    rich = np.asarray(own.distribution).copy()
    rich[0, 0] -= 1e-6
    rich[0, -1] += 1e-6
    begin = replace(state, households=(own._replace(distribution=jnp.asarray(rich)),))
    failed = solve_transition(krusell_smith(), {}, initial=begin)
    assert (failed.converged, failed.reason, failed.paths) == (False, "grid_too_small", {})
    assert failed.failure is not None and failed.failure.date == 0


# -- processes -----------------------------------------------------------------------------------------------------
class TwoProcesses(Model):
    """Variables that are the processes."""

    name = "two_processes"
    variables = ("x", "y", "late")
    shocks = (ARMA("a", ("one", -0.3), (0.4,)), AR1("b"))
    correlations = (Correlation("a", "b"),)
    observables = (Level("x"), Level("y"))
    parameters = Parameters(
        one=Parameter(0.9, "o", "first lag", touches="shocks"),
        rho_b=Parameter(0.5, "r", "persistence", touches="shocks"),
        sigma_a=Parameter(0.7, "s", "s.d.", Gamma(0.5, 0.2), "shocks"),
        sigma_b=Parameter(0.2, "s", "s.d.", Gamma(0.5, 0.2), "shocks"),
        corr_a_b=Parameter(0.6, "c", "correlation", touches="shocks"),
    )

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        """As they are, and one of them four dates later."""
        yield "x", now.x - shock.a
        yield "y", now.y - shock.b
        yield "late", now.late - lag(4).x ** 2

    def steady_state(self, p: Any, household: Any) -> dict[str, float]:
        """At rest."""
        return {"x": 0.0, "y": 0.0, "late": 0.0}


def test_processes_follow_the_path_that_is_given_whatever_they_are() -> None:
    rng = np.random.default_rng(3)
    given = {name: rng.standard_normal(20) for name in ("a", "b")}
    solved = economy(TwoProcesses(), 60)
    path = found(solved, given).paths
    for name, shock in (("x", "a"), ("y", "b")):
        np.testing.assert_allclose(path[name], np.r_[given[shock], np.zeros(40)], atol=1e-12)
    np.testing.assert_allclose(path["late"][4:24], given["a"] ** 2, atol=1e-12)
    with pytest.raises(ModelError, match="no shock 'c'"):
        solve_transition(solved, {"c": [1.0]})
    with pytest.raises(ModelError, match="at most 90 dates"):
        solve_transition(solved, {"a": np.ones(91)})
    with pytest.raises(ModelError, match="finite"):
        solve_transition(solved, {"a": [np.nan]})


# -- other economies -----------------------------------------------------------------------------------------------
@pytest.mark.long  # compiles households of its own
def test_the_default_model_clears_the_goods_market_in_few_products() -> None:
    solved = economy(OneAssetHANK(household=SMALL), 200)
    spending = -0.04 * 0.9 ** np.arange(200)
    rate = 0.02 * 0.6 ** np.arange(200)
    path = found(solved, {"g": spending, "m": rate})
    p = path.paths
    np.testing.assert_allclose(p["C"] + 0.2 + spending, p["Y"], atol=1e-8)
    # five standard deviations of the monetary shock: a damped iteration takes six to nine products a step
    path = found(solved, {"m": rate})
    assert path.jvps < 6 * path.iterations


@pytest.mark.long
def test_two_types_of_households_clear_the_goods_market() -> None:
    solved = economy(SpenderSaver(household={"spender": SMALL, "saver": SMALL}), 120)
    path = found(solved, {"m": -0.02 * 0.6 ** np.arange(120)}).paths
    share = solved.steady.parameters["share"]
    consumed = share * path["spender.C"] + (1 - share) * path["saver.C"]
    np.testing.assert_allclose(consumed + 0.2, path["Y"], atol=1e-8)


@pytest.mark.long
def test_hours_follow_the_toolkits_nonlinear_path() -> None:
    horizon = 150
    solved = economy(OneAssetHours(household=replace(OneAssetHours.household, n_e=3, n_a=60)), horizon)
    p = solved.steady.parameters
    own = {"beta": "beta", "vphi": "vphi", "eis": "eis", "frisch": "frisch", "rho_e": "rho_s", "sd_e": "sigma_s"}
    own |= {"r": "r", "B": "B", "mu": "mu", "kappa": "kappa", "phi_pi": "phi"}
    values = {theirs: p[name] for name, theirs in own.items()}
    values |= {"rstar": p["r"], "Y": 1.0, "Z": 1.0, "pi": 0.0, "w": 1 / p["mu"], "nS": 3, "nA": 60, "amax": 150}
    shock = 0.01 * 0.61 ** np.arange(horizon)
    expected = ToolkitEconomy("hank", values).nonlinear({"rstar": shock})
    path = found(solved, {"m": shock}).paths
    for name in ("Y", "pi", "w", "r", "C"):
        np.testing.assert_allclose(path[name], solved.steady.values[name] + expected[name], rtol=1e-6, atol=1e-6)


@pytest.mark.long  # the published grid
def test_krusell_and_smiths_rate_is_the_published_one() -> None:
    solved = economy(KrusellSmith(), 300)
    tfp = solved.steady.parameters["tfp"]
    path = found(solved, {"z": 0.01 / tfp * 0.8 ** np.arange(300)}).paths
    np.testing.assert_allclose(1e4 * (path["r"][:3] - 0.01), [3.969847, 2.431915, 1.273902], atol=2e-6)


# -- the Krylov method ---------------------------------------------------------------------------------------------
def test_gmres_solves_what_a_dense_factorisation_solves() -> None:
    rng = np.random.default_rng(0)
    matrix, right = np.eye(30) + 0.3 * rng.standard_normal((30, 30)), rng.standard_normal(30)
    full = gmres(lambda v: matrix @ v, right, 1e-13, 30)
    np.testing.assert_allclose(full.solution, np.linalg.solve(matrix, right), atol=1e-9)
    some = gmres(lambda v: matrix @ v, right, 1e-13, 5)
    left = np.linalg.norm(right - matrix @ some.solution) / np.linalg.norm(right)
    assert some.products == 5 and some.remainder == pytest.approx(left, rel=1e-9)
    # as good as any combination of the same images
    powers = np.stack([np.linalg.matrix_power(matrix, k) @ right for k in range(5)], axis=1)
    best = np.linalg.lstsq(matrix @ powers, right, rcond=None)[0]
    assert left <= np.linalg.norm(right - matrix @ powers @ best) / np.linalg.norm(right) * (1 + 1e-6)
    assert gmres(lambda v: v, right, 1e-3, 10).products == 1
    assert gmres(lambda v: 0 * v, right, 1e-3, 10).remainder == 1.0
