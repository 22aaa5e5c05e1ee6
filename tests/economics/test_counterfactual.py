"""Counterfactuals: in closed form, against the decomposition, and the two ways against each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from estimhank.data.dataset import Dataset
from estimhank.economics import other_policy
from estimhank.economics.announced import AnnouncedEffects
from estimhank.economics.conditions import Condition, ScenarioPlan, read_plan
from estimhank.economics.counterfactual import CounterfactualPlan, counterfactual
from estimhank.economics.draws import ReducedDraws
from estimhank.economics.future import Futures
from estimhank.economics.linear_form import moving_average
from estimhank.economics.other_policy import AnnouncedRule, OtherParameters, Term, long_average
from estimhank.economics.reporting import Reporting
from estimhank.economics.scenario import scenario
from estimhank.economics.study import Study
from estimhank.model import AR1, Parameter, Parameters, SqrtInverseGamma
from estimhank.models.new_keynesian import NewKeynesian
from estimhank.posterior.posterior import Posterior
from estimhank.support.errors import ConfigError
from tests.helpers.economies import two_series

pytestmark = pytest.mark.long  # minutes, all together

Array = NDArray[np.float64]


def study_of(posterior: Posterior, theta: Any = None, **conventions: Any) -> Study:
    at = posterior.reference() if theta is None else theta
    return Study(ReducedDraws.at(posterior, at), Reporting(**conventions), ahead=8)


class WithNews(NewKeynesian):
    """The policy shock has news of two and five quarters."""

    name = "with news"
    shocks = (*NewKeynesian.shocks[:2], AR1("m", news=(2, 5)))
    parameters = Parameters(
        **{name: NewKeynesian.parameters[name] for name in NewKeynesian.parameters},
        **{f"sigma_m_news{h}": Parameter(0.25, f"s{h}", "s.d.", SqrtInverseGamma(0.4, 4.0), "shocks") for h in (2, 5)},
    )


def new_keynesian(model: NewKeynesian) -> Posterior:
    values = np.random.default_rng(1).standard_normal((40, 3))
    dates = tuple(f"{1990 + i // 4}Q{i % 4 + 1}" for i in range(40))
    names = tuple(o.name for o in model.observables)
    units = tuple(o.units for o in model.observables)
    return Posterior(model, Dataset(dates, names, units, names, values, np.zeros(3)))


@pytest.fixture(scope="module")
def nk() -> Study:
    return study_of(new_keynesian(NewKeynesian()), variables=("y", "pi", "i"))


RULE = (Term("i", 1.0), Term("pi", -2.5), Term("y", -0.4))


def test_in_closed_form() -> None:
    """g = mu + b x + v: under another b the data and the difference in b times x, which is seen."""
    posterior = two_series(30)
    study = study_of(posterior)
    found = counterfactual(study, CounterfactualPlan(parameters={"b": 0.9}, quarters=3)).draws
    data = np.asarray(posterior.data.values)
    mean = posterior.reference()[posterior.names.index("mu")]
    np.testing.assert_allclose(found.baseline[0, :30], data, atol=1e-10)
    np.testing.assert_allclose(found.value[0, :30, 0], data[:, 0], atol=1e-9)
    np.testing.assert_allclose(found.value[0, :30, 1], data[:, 1] + (0.9 - 0.4) * (data[:, 0] - mean), atol=1e-9)
    ahead = mean + 0.9 * (data[-1, 0] - mean) * 0.8 ** np.arange(1, 4)
    np.testing.assert_allclose(found.value[0, 30:, 1], ahead, atol=1e-9)
    other_mean = counterfactual(study, CounterfactualPlan(parameters={"mu": 1.3})).draws
    np.testing.assert_allclose(other_mean.value[0], data + 1.0, atol=1e-9)


def test_without_policy_shocks(nk: Study) -> None:
    """The same parameters without one shock: the data less its contribution; drawn, with its variance."""
    theta = dict(zip(nk.draws.posterior.names, nk.draws.theta[0].tolist(), strict=True))
    same = {"phi_pi": theta["phi_pi"]}
    kept = counterfactual(nk, CounterfactualPlan(parameters=same)).draws
    np.testing.assert_allclose(kept.value, kept.baseline, atol=1e-12)
    zero = counterfactual(nk, CounterfactualPlan(parameters=same, policy=("m",), policy_shocks="zero")).draws
    parts = nk.historical_decomposition().draws
    gone = parts.contribution.sel(shock="m").sum("arrived")
    np.testing.assert_allclose(zero.value, (kept.baseline - gone).values, atol=1e-9)
    drawn = counterfactual(nk, CounterfactualPlan(parameters=same, policy=("m",), policy_shocks="drawn")).draws
    np.testing.assert_allclose(drawn.value, zero.value)
    path = np.asarray(moving_average(nk.forms.at(theta), 2000))[:, nk.scene.positions, 2]
    np.testing.assert_allclose(drawn.value_variance[0, 5], (path**2).sum(0), rtol=1e-9)


@pytest.mark.long
def test_announced_shocks_are_news(nk: Study) -> None:
    """Against a model that declares news of the same process, by its state space."""
    other = new_keynesian(WithNews())
    study = study_of(other, variables=("y", "pi", "i"))
    path = np.asarray(moving_average(study.forms.at(study.draws.theta[0]), 30))[:, study.scene.positions]
    found = np.asarray(AnnouncedEffects(nk.draws.posterior, nk.scene, ("m",), 6, 30).at(nk.draws.theta[0]))[:, :, 0]
    for ahead, shock in ((0, "m"), (2, "m_news2"), (5, "m_news5")):
        np.testing.assert_allclose(found[:, :, ahead], path[:, :, study.forms.shocks.index(shock)], atol=1e-9)


def test_both_ways_agree_with_all_news(nk: Study) -> None:
    """A rule by announcements is the model with this rule in the place of its own, without policy shocks."""
    by_rule = counterfactual(nk, CounterfactualPlan(rule=RULE, policy=("m",)))
    same = {"phi_pi": 2.5, "phi_y": 0.4}
    solved = counterfactual(nk, CounterfactualPlan(parameters=same, policy=("m",), policy_shocks="zero"))
    np.testing.assert_allclose(by_rule.draws.value, solved.draws.value, atol=1e-7)
    assert np.abs(solved.draws.value - solved.draws.baseline).max() > 0.1
    assert float(by_rule.draws.missed.max()) < 1e-8
    few = counterfactual(nk, CounterfactualPlan(rule=RULE, policy=("m",), news=2))
    assert float(few.draws.missed.max()) > 0.01 and "would meet it better" in few.summary()


def test_iterations_from_another_draw_are_what_factorisation_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Far from the draw that they are preconditioned by; where they fall short the system is factorised."""
    posterior = new_keynesian(NewKeynesian())
    far = posterior.reference() * 1.5
    far[[posterior.names.index(name) for name in ("rho_d", "rho_u", "rho_m")]] = 0.3, 0.9, 0.1
    draws = ReducedDraws(posterior, np.array([posterior.reference(), far]))
    study = Study(draws, Reporting(variables=("y", "pi", "i")), ahead=8)
    plan = CounterfactualPlan(rule=RULE, policy=("m",))
    quick = counterfactual(study, plan).draws
    assert float(quick.missed.max()) <= other_policy._MET
    monkeypatch.setattr(other_policy, "_MET", -1.0)
    np.testing.assert_allclose(quick.value, counterfactual(study, plan).draws.value, atol=1e-8)
    monkeypatch.setattr(other_policy, "_KRYLOV", 1)
    monkeypatch.setattr(other_policy, "_MET", 1e-10)
    np.testing.assert_allclose(quick.value, counterfactual(study, plan).draws.value, atol=1e-8)


@pytest.mark.long
def test_both_ways_agree_with_households(posterior: Posterior, reference: dict[str, float]) -> None:
    """Exactly, over the dates of the solution: both are solutions of the same equations."""
    study = study_of(posterior, reference, variables=("i", "pi", "Y"))
    form, theta = study.forms.at(reference), study.draws.theta[0]
    weight = {"phi_pi": 2.2, "phi_y": 0.3, "rho_i": 0.7}
    rule = (Term("i", 1.0), Term("i", -0.7, 1), Term("pi", -0.3 * 2.2), Term("Y", -0.3 * 0.3))
    length = posterior.horizon + 300
    announced, other = AnnouncedRule(study, rule, "m"), OtherParameters(study, weight)
    found, _, _, missed = announced.coefficients(form, announced.solve(theta, form), length)
    want, *_ = other.coefficients(form, other.solve(theta, form), length)
    shocks = [study.forms.shocks.index(s) for s in study.forms.shocks if s != "m"]
    dates = posterior.horizon // 2
    difference = np.asarray(found - want)[:dates, :, shocks]
    assert float(missed) < 1e-8 and np.abs(difference).max() < 1e-7 * np.abs(np.asarray(want)).max()


def test_what_is_announced_differs_from_surprises(nk: Study) -> None:
    conditions = (Condition("i", "2000Q1", (0.3,) * 4),)
    futures = Futures(nk, 6)
    surprise = scenario(futures, ScenarioPlan(quarters=6, shocks=("m",), condition=conditions))
    announced = scenario(futures, ScenarioPlan(quarters=6, shocks=("m",), announced=True, condition=conditions))
    for found in (surprise, announced):
        np.testing.assert_allclose(found.draws["value"].sel(variable="i")[0, :4], 0.3, atol=1e-10)
    gap = (surprise.draws["value"] - announced.draws["value"]).sel(variable="y")
    assert float(np.abs(gap).max()) > 0.01
    form = nk.forms.at(nk.draws.theta[0])
    np.testing.assert_allclose(long_average(form, 700), moving_average(form, 700), atol=1e-13)
    with pytest.raises(ConfigError, match="announcements of 10000 quarters"):
        AnnouncedEffects(nk.draws.posterior, nk.scene, ("m",), 10_000, 6)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "give other parameters"),
        ('policy = ["m"]\n[[rule]]\nseries = "i"\nweight = 1\n[parameters]\nphi_pi = 2', "one of them"),
        ('[[rule]]\nseries = "i"\nweight = 1', "brought about by one policy shock"),
        ('policy_shocks = "zero"\n[parameters]\nphi_pi = 2', "needs the names"),
        ('policy_shocks = "gone"\n[parameters]\nphi_pi = 2', "is not known"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Any, text: str, words: str) -> None:
    (tmp_path / "plan.toml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_plan(tmp_path / "plan.toml", CounterfactualPlan)


def test_names_that_there_are_not(nk: Study) -> None:
    for plan, words in (
        (CounterfactualPlan(parameters={"phi_p": 2.0}), "did you mean"),
        (CounterfactualPlan(parameters={"phi_pi": 2.0}, policy=("mm",), policy_shocks="zero"), "no shock"),
        (CounterfactualPlan(rule=(Term("wage", 1.0),), policy=("m",)), "not reported"),
    ):
        with pytest.raises(ConfigError, match=words):
            counterfactual(nk, plan)
    with pytest.raises(Exception, match="no solution at these parameters"):
        counterfactual(nk, CounterfactualPlan(parameters={"phi_pi": 0.2}))
