"""Surprises, permanent changes and how far off the linear solution is, against closed forms and what has to hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import estimhank.transition.solve as solve
from estimhank.model.observed import Growth
from estimhank.parameters.parameter_table import ModelError
from estimhank.posterior.posterior import Posterior
from estimhank.run.linearity import _answer
from estimhank.run.model_check import stand_in
from estimhank.run.transition import economy_at
from estimhank.transition.bounds import sides
from estimhank.transition.linearity import departures, impulse, linear_history, retell, series_of, surprises_of
from estimhank.transition.newton import Outcome, solve_paths
from estimhank.transition.solve import solve_transition
from estimhank.transition.surprises import follow_surprises, linear_surprises, solve_surprises
from examples.lower_bound import MEAN_RATE, LowerBound
from tests.transition.test_paths import (
    KS_DATES,
    LogEconomy,
    T,
    bounded,
    economy,
    found,
    krusell_smith,
    saved,
)

SHARE = 0.33 * 0.95
#: About the default run's.
MODE = {
    "kappa_w": 0.0776,
    "phi_pi": 2.46,
    "phi_y": 0.0918,
    "rho_i": 0.238,
    "phi_b": 0.184,
    "rho_w": 0.9925,
    "rho_g": 0.969,
    "rho_m": 0.631,
    "sigma_w": 0.303,
    "sigma_g": 0.777,
    "sigma_m": 0.496,
}


class ObservedLog(LogEconomy):
    """With growth observed, which the linear solution has as a share of the steady state."""

    name = "observed_log"
    observables = (Growth("Y", "growth"),)


@pytest.fixture(scope="module")
def log() -> Any:
    return economy(ObservedLog())


# -- surprises -----------------------------------------------------------------------------------------------------
def test_after_surprises_the_closed_form_is_followed(log: Any) -> None:
    # what is saved does not depend on what is expected, so that what comes true is all that matters
    first, second = 0.2 * 0.9 ** np.arange(T), -0.3 * 0.5 ** np.arange(T)
    path = solve_surprises(log, {0: {"z": first}, 7: {"z": second}})
    true = first + np.r_[np.zeros(7), second][:T]
    np.testing.assert_allclose(path.paths["K"], saved(true, log.steady.values["K"]), rtol=1e-8)
    assert path.converged and len(path.paths["Y"]) == T


def test_a_surprise_is_none_before_its_date_and_different_from_news() -> None:
    shock = {"d": 0.01 * 0.8 ** np.arange(T)}
    path, known = (
        solve_surprises(bounded(), {9: shock}).paths,
        found(bounded(), {"d": np.r_[np.zeros(9), shock["d"]][:T]}),
    )
    assert np.abs(path["y"][:9]).max() < 1e-12 < 1e-4 < np.abs(known.paths["y"][:9]).max()
    np.testing.assert_allclose(path["y"][9:], found(bounded(), shock).paths["y"][:-9], atol=1e-9)


@pytest.mark.long
def test_nothing_new_is_no_surprise() -> None:
    # the path that was foreseen is foreseen again from where it has led: variables and distribution
    shock = {"z": 0.1 * 0.8 ** np.arange(KS_DATES)}
    nothing = {date: {"z": np.zeros(1)} for date in (1, 2, 30)}
    again = solve_surprises(krusell_smith(), {0: shock, **nothing}).paths
    once = found(krusell_smith(), shock).paths
    for name in ("K", "r", "C"):
        np.testing.assert_allclose(again[name], once[name], rtol=2e-7)


def test_surprises_that_cannot_be_are_refused_and_failures_say_when(log: Any) -> None:
    with pytest.raises(ModelError, match="surprises are at dates from 0 to 99, not 100"):
        solve_surprises(log, {100: {"z": [0.1]}})
    with pytest.raises(ModelError, match="nothing becomes known for 80 dates"):
        solve_surprises(log, {80: {"z": [0.1]}})
    with pytest.raises(ModelError, match="more than the horizon"):
        linear_surprises(log, {}, 101)
    failed = solve_surprises(log, {0: {"z": [0.1]}, 5: {"z": [-2.0]}})
    assert (failed.converged, failed.paths, failed.reason) == (False, {}, "domain")
    assert failed.failure is not None and failed.failure.date >= 5
    assert "surprise at date 5" in failed.failure.message


def test_a_permanent_change_is_followed_from_the_old_steady_state(log: Any) -> None:
    model = ObservedLog()
    poorer = economy(model.changed(model.parameters.changed("alpha", value=0.3)))
    path = found(log, {}, initial=poorer.steady).paths
    np.testing.assert_allclose(path["K"], saved(np.zeros(T), poorer.steady.values["K"]), rtol=1e-8)
    assert path["K"][0] < 0.99 * log.steady.values["K"]


# -- continuation --------------------------------------------------------------------------------------------------
def test_where_newton_fails_the_way_is_gone_in_steps(log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    true, shock = solve_paths, {"z": 0.5 * 0.8 ** np.arange(T)}
    starts = []

    def short_sighted(evaluate: Any, product: Any, start: Any, tolerance: float) -> Outcome:
        """Fails unless it begins near the solution."""
        outcome = true(evaluate, product, start, tolerance)
        starts.append(start)
        far = np.abs(outcome.point.x - start).max() > 0.1
        return outcome._replace(reason="no_decrease") if far else outcome

    monkeypatch.setattr(solve, "solve_paths", short_sighted)
    path = found(log, shock)
    assert len(starts) > 4
    np.testing.assert_allclose(path.paths["K"], saved(shock["z"], log.steady.values["K"]), rtol=1e-8)
    # with larger steps only there is none, and how far it went is said
    monkeypatch.setattr(solve, "_SHORTEST", 0.5)
    failed = solve_transition(log, {"z": 4 * shock["z"]})
    assert not failed.converged and failed.paths == {}


# -- bounds --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "kinked",
    [
        lambda x: jnp.maximum(x, 1.0),
        lambda x: jnp.minimum(2 * x, 1.0 + x),
        lambda x: jnp.where(x > 1.0, x, 1.0),
        lambda x: jnp.clip(x, 1.0, 5.0),
        lambda x: jnp.abs(x - 1.0),
        lambda x: 3 - 0.5 * jnp.maximum(jnp.sin(x) * 0 + x, 1.0) ** 2,
    ],
)
def test_the_side_of_a_kink_is_told_however_it_is_written(kinked: Any) -> None:
    def side(x: float) -> list[int]:
        (smooth, own) = sides(lambda x: [x**2, kinked(x)], jnp.asarray(x))
        assert smooth == []
        return [int(s) for s in own]

    assert side(0.5) == side(0.9) != side(1.1) == side(2.0)


# -- how far off ---------------------------------------------------------------------------------------------------
def test_departures_are_those_of_the_closed_form(log: Any) -> None:
    steady, alpha = log.steady.values, 0.33
    told = departures(log, (1.0, 3.0))
    at = {name: i for i, name in enumerate(series_of(log))}
    size = 3.0 * 0.01 * 0.7
    half, z = T // 2, size * 0.9 ** np.arange(T)
    linear = np.zeros(T)  # dK_t / K = alpha dK_{t-1} / K + z_t
    for t in range(T):
        linear[t] = alpha * (linear[t - 1] if t else 0.0) + z[t]
    gaps = []
    for i, sign in enumerate((1.0, -1.0)):
        true = saved(sign * z, steady["K"]) / steady["K"] - 1
        gaps.append(true - sign * linear)
        off = np.abs(gaps[-1][:half]).max() / np.abs(linear[:half]).max()
        assert told.off[0, 1, i, at["K"]] == pytest.approx(off, rel=1e-5)
        growth = 100 * np.diff(np.log(np.r_[1, (1 + sign * z) * np.r_[1, 1 + true[:-1]] ** alpha]))
        straight = 100 * np.diff(np.r_[0, sign * (z + alpha * np.r_[0, linear[:-1]])])
        off = np.abs(growth - straight)[:half].max() / np.abs(straight[:half]).max()
        assert told.off[0, 1, i, at["growth"]] == pytest.approx(off, rel=1e-5)
        assert told.nonlinear[0, 1, i, at["K"]] == pytest.approx(steady["K"] * true[np.argmax(np.abs(true))])
    lopsided = np.abs(gaps[0] + gaps[1])[:half].max() / 2 / np.abs(linear[:half]).max()
    assert told.asymmetry[0, 1, at["K"]] == pytest.approx(lopsided, rel=1e-4)
    assert set(told.reasons) == {"ok"} and len(told.reasons) == 4


def test_where_there_is_no_path_nothing_is_said(log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told = departures(log, (1.0, 200.0))  # output would have to be negative
    assert "domain" in told.reasons
    assert np.isnan(told.off[0, 1, 1]).all() and np.isnan(told.asymmetry[0, 1]).all()
    assert np.isfinite(told.off[0, 0]).all()


def test_at_other_parameters_nothing_is_compiled_again(log: Any) -> None:
    model = ObservedLog()
    posterior = Posterior(model, stand_in(model), T, 2 * T // 3)
    other = economy_at(log, posterior, [0.5, 1.4])
    assert other.compiled is log.compiled
    np.testing.assert_allclose([*other.roots, *other.sizes], [0.5, 0.014])
    told = _answer(posterior, log, "responses", np.array([[0.5, 1.4]]), np.array([3.0]))
    assert isinstance(told, list) and told[0].off.shape == (1, 1, 2, len(series_of(log)))


def test_of_a_linear_model_both_solutions_tell_the_same_history() -> None:
    rng = np.random.default_rng(2)
    innovations = 0.05 * rng.standard_normal((30, 3))
    told, straight = retell(bounded(), innovations), linear_history(bounded(), innovations)
    assert told.reason == "ok"
    at = series_of(bounded()).index("i")
    np.testing.assert_allclose(told.path[:, at], straight[:, at], atol=1e-10)
    # and by recursion: processes of one root, responses added up
    e, rate = bounded(), np.zeros(30)
    for j in range(3):
        forcing = np.zeros((T, 3))
        forcing[:, j] = e.sizes[j] * e.roots[j] ** np.arange(T)
        response = e.linear_deviations(forcing)["i"]
        for t in range(30):
            rate[t:] += innovations[t, j] * response[: 30 - t]
    np.testing.assert_allclose(straight[:, at], rate, atol=1e-12)


def test_what_is_expected_fades_without_a_jump() -> None:
    forcing = np.ones((90, 2))
    fading = solve.faded(forcing)
    np.testing.assert_array_equal(fading[:60], 1.0)
    assert fading[-1] == pytest.approx(0.0, abs=1e-15)
    assert (np.diff(fading[60:, 0]) < 0).all() and np.abs(np.diff(fading[:, 0])).max() < 2 / 30


@pytest.mark.long
def test_a_slow_process_meets_no_bound_at_the_end_of_the_horizon() -> None:
    # a tenth of the wage markup is left at the last date; were it gone at once, real rates would jump there
    table = LowerBound().parameters
    for name, value in MODE.items():
        table = table.changed(name, value=value)
    slow = economy(LowerBound().changed(table), 300)
    column, lowest = [s.name for s in slow.innovations].index("w"), -MEAN_RATE
    rate = slow.linear_deviations(impulse(slow, column))["i"]
    innovations = np.zeros((1, 3))
    innovations[0, column] = 1.5 * lowest / rate[-3]
    straight = innovations[0, column] * rate
    assert straight[:200].min() > lowest > straight[-3]
    told = follow_surprises(slow, surprises_of(slow, innovations), 1)
    assert (told.reason, told.jvps, told.binds) == ("ok", 0, {})


def test_a_history_with_a_bound_is_another_one() -> None:
    innovations = np.zeros((12, 3))
    innovations[3, [s.name for s in bounded().innovations].index("d")] = -3.0
    told, straight = retell(bounded(), innovations), linear_history(bounded(), innovations)
    assert told.reason == "ok"
    at = series_of(bounded()).index("i")
    assert straight[3, at] < -0.005 and told.path[3, at] == pytest.approx(-0.005)
    assert surprises_of(bounded(), innovations)[3].shape == (T + T // 2, 3)


@pytest.mark.long
def test_households_along_a_path_add_up_to_its_outputs() -> None:
    shock = {"z": 0.1 * 0.8 ** np.arange(KS_DATES)}
    path = solve_transition(krusell_smith(), shock, households=True)
    (own,) = path.households
    assert own.distributions.shape == own.assets.shape
    np.testing.assert_allclose(own.distributions.sum((1, 2)), 1, atol=1e-12)
    for name, policies in own.outputs.items():
        np.testing.assert_allclose((own.distributions * policies).sum((1, 2)), path.paths[name], rtol=1e-9)
    np.testing.assert_allclose((own.distributions * own.assets).sum((1, 2)), path.paths["K"], rtol=1e-7)


class Unobserved(ObservedLog):
    """Used by nobody else."""

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        """With a bound on output, away from rest."""
        for name, residual in super().equations(lag, now, lead, household, shock, p):
            yield name, now.Y - jnp.minimum(now.Y - residual, 0.9) if name == "production" else residual


def test_an_upper_bound_is_one_too() -> None:
    capped = economy(Unobserved())
    assert capped.steady.values["Y"] < 0.9
    shock = 0.9 * 0.8 ** np.arange(T)
    path = found(capped, {"z": shock})
    at = np.flatnonzero(path.binds["production"])
    free = (1 + shock) * np.r_[capped.steady.values["K"], path.paths["K"][:-1]] ** 0.33
    np.testing.assert_array_equal(at, np.flatnonzero(free > 0.9))
    np.testing.assert_allclose(path.paths["Y"], np.minimum(free, 0.9), rtol=1e-8)
    assert replace(path, binds={}).to_dict()["binds"] == {}
