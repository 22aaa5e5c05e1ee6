"""What a declaration may say beyond one lag, one lead and AR(1): each against the same model written by hand, a Kalman
filter, or a closed form."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from estimhank.data.dataset import Dataset
from estimhank.model import (
    AR1,
    ARMA,
    IID,
    Correlation,
    Growth,
    Level,
    Log,
    Model,
    ModelError,
    Normal,
    Observe,
    Parameter,
    Parameters,
    RandomWalk,
    Uniform,
    YearOnYear,
)
from estimhank.model.canonical import canonical_form, correlation_factor
from estimhank.parameters.parameter_table import Values
from estimhank.posterior.posterior import Posterior
from tests.helpers.kalman import StateSpace, kalman

N = 40


def entry(value: float, low: float = -5.0, high: float = 5.0, touches: Any = "equilibrium") -> Parameter:
    return Parameter(value, "x", "x", Uniform(low, high), touches)


TABLE = {
    "rho_a": entry(0.7, -1.0, 1.0, "shocks"),
    "rho_b": entry(0.5, -1.0, 1.0, "shocks"),
    "rho_1": entry(0.9),
    "rho_2": entry(-0.3),
    "theta": entry(0.4),
    "sigma_a": entry(1.0, 0.0, 5.0, "shocks"),
    "sigma_b": entry(0.6, 0.0, 5.0, "shocks"),
    "sigma_a_news2": entry(0.8, 0.0, 5.0, "shocks"),
    "corr_ab": entry(0.5, -1.0, 1.0, "shocks"),
    "kappa": entry(0.3),
    "trend": entry(0.4),
}


def make(
    equations: Any, steady: dict[str, float], shocks: Any, observables: Any, correlations: Any = (), used: str = ""
) -> Model:
    """A model with the entries of the table that are named."""

    class Declared(Model):
        name = "declared"
        parameters = Parameters({n: TABLE[n] for n in used.split()})

        def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Any:
            return equations(lag, now, lead, shock, p)

        def steady_state(self, p: Any, household: Any) -> dict[str, float]:
            return steady

    Declared.variables, Declared.shocks = tuple(steady), shocks
    Declared.observables, Declared.correlations = observables, correlations
    return Declared()


def dataset(names: tuple[str, ...], seed: int = 0, missing: bool = False, condition_on: int = 0) -> Dataset:
    values = np.random.default_rng(seed).normal(size=(N, len(names)))
    if missing:
        values[5, 0] = values[20:22, -1] = np.nan
    dates = tuple(f"{1990 + i // 4}Q{i % 4 + 1}" for i in range(N))
    units = ("percent per quarter",) * len(names)
    return Dataset(dates, names, units, names, values, np.zeros(len(names)), {"condition_on": condition_on})


def posterior_of(model: Model, **options: Any) -> Posterior:
    names = tuple(o.name for o in model.observables)
    data = replace(dataset(names, **options), units=tuple(o.units for o in model.observables))
    return Posterior(model, data, horizon=60, tail_start=40)


def same(one: Model, other: Model) -> None:
    """Equal responses at two points, the parameters being in the same order: what a likelihood depends on."""
    mine, theirs = posterior_of(one).solver, posterior_of(other).solver
    for factor in (1.0, 0.9):
        theta = factor * mine.setting.reference()
        found = mine.responses_at(theta)
        assert np.isfinite(found).all() and np.abs(found).max() > 1e-3
        np.testing.assert_allclose(found, theirs.responses_at(theta), atol=1e-10)


def expectations(lag: Any, now: Any, lead: Any, shock: Any, p: Any) -> Any:
    yield "x", now.x - 0.5 * lead.x - p.kappa * lag.x - shock.a


def test_a_plain_declaration_is_its_own_canonical_form() -> None:
    model = make(expectations, {"x": 0.0}, (AR1("a"),), (Level("x", "y"),), used="rho_a sigma_a kappa")
    assert canonical_form(model) is model


def test_an_ar2_is_the_ar2_written_by_hand() -> None:
    def by_hand(lag: Any, now: Any, lead: Any, shock: Any, p: Any) -> Any:
        yield "x", now.x - 0.5 * lead.x - p.kappa * lag.x - now.a
        yield "a", now.a - p.rho_1 * lag.a - p.rho_2 * lag.a_1 - shock.a
        yield "first lag", now.a_1 - lag.a

    used, seen = "rho_1 rho_2 sigma_a kappa", (Level("x", "y"),)
    declared = make(expectations, {"x": 0.0}, (ARMA("a", ar=("rho_1", "rho_2")),), seen, used=used)
    same(declared, make(by_hand, {"x": 0.0, "a": 0.0, "a_1": 0.0}, (IID("a"),), seen, used=used))


def test_an_arma_has_the_likelihood_of_its_state_space() -> None:
    def equations(lag: Any, now: Any, lead: Any, shock: Any, p: Any) -> Any:
        yield "x", now.x - shock.a

    process = ARMA("a", ar=("rho_1", "rho_2"), ma=("theta",), scale=1.0)
    seen = (Level("x", "y", scale=1.0),)
    model = make(equations, {"x": 0.0}, (process,), seen, used="rho_1 rho_2 theta sigma_a")
    data = dataset(("y",), missing=True)
    post = Posterior(model, data, horizon=120, tail_start=80)
    A = np.array([[0.9, -0.3, 0.4], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])  # a, its lag, the innovation
    impulse = np.array([[1.0], [0.0], [1.0]])
    space = StateSpace(A, impulse @ impulse.T, np.array([[1.0, 0.0, 0.0]]), np.zeros(1))
    expected = kalman(space, np.asarray(data.values))[0]
    assert post.log_likelihood(post.reference()) == pytest.approx(expected, abs=1e-8)


def test_leads_and_lags_of_any_order_are_those_of_variables_that_hold_them() -> None:
    def declared(lag: Any, now: Any, lead: Any, shock: Any, p: Any) -> Any:
        yield "x", now.x - 0.2 * lead(3).x - p.kappa * lag(4).x - 0.3 * lag.shock.a - 0.1 * lead.shock.a - shock.a
        yield "z", now.z - lag(2).x - lead(1).x

    def by_hand(lag: Any, now: Any, lead: Any, shock: Any, p: Any) -> Any:
        yield "x", now.x - 0.2 * lead.f2 - p.kappa * lag.l3 - 0.3 * lag.s - 0.1 * lead.s - shock.a
        yield "z", now.z - lag.l1 - lead.x
        yield "l1", now.l1 - lag.x
        yield "l2", now.l2 - lag.l1
        yield "l3", now.l3 - lag.l2
        yield "f1", now.f1 - lead.x
        yield "f2", now.f2 - lead.f1
        yield "s", now.s - shock.a

    used, seen = "rho_a sigma_a kappa", (Growth("x", "y"),)
    still = dict.fromkeys(("l1", "l2", "l3", "f1", "f2"), 1.0)

    def steady(names: dict[str, float]) -> dict[str, float]:
        return {"x": 1.0, "z": 2.0, **names}

    # a constant that moves with kappa, so that the steady state is one and stays
    def around(equations: Any) -> Any:
        def shifted(lag: Any, now: Any, lead: Any, shock: Any, p: Any) -> Any:
            for name, value in equations(lag, now, lead, shock, p):
                yield name, value - (0.8 - p.kappa if name == "x" else 0.0)

        return shifted

    mine = make(around(declared), steady({}), (AR1("a"),), seen, used=used)
    theirs = make(around(by_hand), steady({**still, "s": 0.0}), (AR1("a"),), seen, used=used)
    same(mine, theirs)


def test_news_are_innovations_announced_before() -> None:
    def by_hand(lag: Any, now: Any, lead: Any, shock: Any, p: Any) -> Any:
        yield "x", now.x - 0.5 * lead.x - p.kappa * lag.x - now.a
        yield "a", now.a - p.rho_1 * lag.a - shock.a - lag.n_1
        yield "n_1", now.n_1 - lag.n
        yield "n", now.n - shock.a_news2

    used, seen = "rho_1 sigma_a sigma_a_news2 kappa", (Level("x", "y"),)
    declared = make(expectations, {"x": 0.0}, (ARMA("a", ar=("rho_1",), news=(2,)),), seen, used=used)
    hand = make(by_hand, dict.fromkeys(("x", "a", "n_1", "n"), 0.0), (IID("a"), IID("a_news2")), seen, used=used)
    same(declared, hand)


def test_news_are_innovations_for_what_can_be_observed() -> None:
    def two(lag: Any, now: Any, lead: Any, shock: Any, p: Any) -> Any:
        yield "x", now.x - 0.5 * lead.x - shock.a
        yield "z", now.z - lag.z - shock.a

    seen, used = (Level("x", "y"), Growth("z", "w")), "rho_a sigma_a sigma_a_news2"
    steady = {"x": 0.0, "z": 1.0}
    posterior_of(make(two, steady, (AR1("a", news=(2,)),), seen, used=used))
    with pytest.raises(ModelError, match="stochastic singularity"):
        posterior_of(make(two, steady, (AR1("a"),), seen, used=used))


def correlated(lag: Any, now: Any, lead: Any, shock: Any, p: Any) -> Any:
    yield "x", now.x - shock.a
    yield "z", now.z - shock.b


def test_correlated_innovations_have_the_likelihood_of_their_state_space() -> None:
    used = "rho_a rho_b sigma_a sigma_b corr_ab"
    shocks = AR1("a", scale=1.0), AR1("b", scale=1.0)
    seen = Level("x", "y", scale=1.0), Level("z", "w", scale=1.0)
    pair = (Correlation("a", "b", "corr_ab"),)
    post = Posterior(make(correlated, {"x": 0.0, "z": 0.0}, shocks, seen, pair, used), dataset(("y", "w")), 120, 80)
    Q = np.array([[1.0, 0.5 * 0.6], [0.5 * 0.6, 0.36]])
    space = StateSpace(np.diag([0.7, 0.5]), Q, np.eye(2), np.zeros(2))
    assert post.log_likelihood(post.reference()) == pytest.approx(kalman(space, post.data.values)[0], abs=1e-8)
    step, at = 1e-6, dict(zip(post.names, post.reference(), strict=True))
    moved = [post.log_density({**at, "corr_ab": 0.5 + sign * step}) for sign in (1, -1)]
    slope = post.log_density_and_gradient(at)[1][post.names.index("corr_ab")]
    assert slope == pytest.approx((moved[0] - moved[1]) / (2 * step), rel=1e-5)


def test_correlations_that_no_variables_have_have_no_factor() -> None:
    three = tuple(Correlation(*pair, "corr") for pair in (("a", "b"), ("b", "c"), ("a", "c")))
    p = Values({"corr": -0.6})  # of three variables, none below -1/2
    assert np.isnan(np.asarray(correlation_factor(("a", "b", "c"), three, p))).any()


def test_a_random_walk_is_observed_by_its_changes() -> None:
    def equations(lag: Any, now: Any, lead: Any, shock: Any, p: Any) -> Any:
        yield "x", now.x - 1.0 - shock.a

    model = make(equations, {"x": 1.0}, (RandomWalk("a", scale=1.0),), (Growth("x", "y", scale=1.0),), used="sigma_a")
    post = Posterior(model, dataset(("y",)), 60, 40)
    values = post.data.values[:, 0]
    expected = -0.5 * (N * np.log(2 * np.pi) + values @ values)
    assert post.log_likelihood(post.reference()) == pytest.approx(expected, abs=1e-7)
    level = make(equations, {"x": 1.0}, (RandomWalk("a", scale=1.0),), (Level("x", "y", scale=1.0),), used="sigma_a")
    assert Posterior(level, dataset(("y",)), 60, 40).evaluate(np.array([1.0])).reason == "not_stationary"


def hand_observed(kind: str) -> tuple[Any, Any]:
    """An observable, and the same as a variable of its own."""
    return {
        "share": (
            Observe("y", lambda now, lag, lead, p: 100 * now.x / now.z),
            lambda lag, now: now.v - 100 * now.x / now.z,
        ),
        "log": (Log("x", "y"), lambda lag, now: now.v - 100 * (now.x - 2) / 2),
        "year": (YearOnYear("x", "y"), lambda lag, now: now.v - 100 * (now.x - lag(4).x) / 2),
        "past": (
            Observe("y", lambda now, lag, lead, p: 400 * (now.x - lag(2).x) + lead.z),
            lambda lag, now: now.v - 400 * (now.x - lag(2).x),
        ),
    }[kind]


@pytest.mark.parametrize("kind", ["share", "log", "year", "past"])
def test_observed_functions_are_variables_that_are_observed(kind: str) -> None:
    observable, variable = hand_observed(kind)

    def equations(lag: Any, now: Any, lead: Any, shock: Any, p: Any) -> Any:
        yield "x", now.x - 2 - p.rho_1 * (lag.x - 2) - shock.a
        yield "z", now.z - 4 - (0.0 if kind == "past" else 0.5) * (now.x - 2) - shock.b

    def with_variable(lag: Any, now: Any, lead: Any, shock: Any, p: Any) -> Any:
        yield from equations(lag, now, lead, shock, p)
        rest = lead.z if kind == "past" else 0.0
        yield "v", variable(lag, now) - rest

    shocks, used = (AR1("a"), AR1("b")), "rho_a rho_b rho_1 sigma_a sigma_b"
    at_rest = {"share": 50.0, "past": 4.0}.get(kind, 0.0)
    mine = make(equations, {"x": 2.0, "z": 4.0}, shocks, (observable,), used=used)
    theirs = make(with_variable, {"x": 2.0, "z": 4.0, "v": at_rest}, shocks, (Level("v", "y", scale=1.0),), used=used)
    same(mine, theirs)


@pytest.mark.parametrize("missing", [False, True])
def test_means_that_depend_on_parameters_are_taken_off_the_data(missing: bool) -> None:
    def equations(lag: Any, now: Any, lead: Any, shock: Any, p: Any) -> Any:
        yield "x", now.x - 2 - p.rho_1 * (lag.x - 2) - shock.a
        yield "z", now.z - 1 - shock.b

    seen = (
        Growth("x", "y", mean="trend"),
        Level("z", "w", scale=0.5, mean="steady state"),
        Level("x", "v", mean=lambda p: 2 * p.trend**2, measurement_error="me"),
    )
    table = "rho_a rho_b rho_1 sigma_a sigma_b trend"
    TABLE["me"] = entry(0.5, 0.0, 5.0, "shocks")
    model = make(equations, {"x": 2.0, "z": 1.0}, (AR1("a", scale=0.5), AR1("b", scale=2.0)), seen, used=table + " me")
    data = dataset(("y", "w", "v"), missing=missing)
    post = Posterior(model, data, 120, 80)
    shifted = data.values - np.array([0.4, 0.5, 2 * 0.16])
    bare = tuple(type(o)(o.variable, o.kind, o.name, o.scale, o.units, o.measurement_error) for o in seen)
    other = make(equations, {"x": 2.0, "z": 1.0}, (AR1("a", scale=0.5), AR1("b", scale=2.0)), bare, used=table + " me")
    plain = Posterior(other, Dataset(data.dates, data.names, data.units, data.labels, shifted, data.means), 120, 80)
    value, slope = post.log_density_and_gradient(post.reference())
    assert value == pytest.approx(plain.log_density(plain.reference()), abs=1e-9)
    step, at = 1e-5, post.names.index("trend")
    moved = [post.log_density(post.reference() + sign * step * np.eye(len(post.names))[at]) for sign in (1, -1)]
    assert slope[at] == pytest.approx((moved[0] - moved[1]) / (2 * step), rel=1e-6)


def test_a_sample_is_conditioned_on_its_first_quarters() -> None:
    model = make(expectations, {"x": 0.0}, (AR1("a"),), (Level("x", "y"),), used="rho_a sigma_a kappa")
    data = dataset(("y",))
    first = Dataset(data.dates[:6], data.names, data.units, data.labels, data.values[:6], data.means)
    whole, start = (Posterior(model, d, 120, 80) for d in (data, first))
    conditioned = Posterior(model, dataset(("y",), condition_on=6), 120, 80)
    theta = whole.reference()
    expected = whole.log_likelihood(theta) - start.log_likelihood(theta)
    assert conditioned.log_likelihood(theta) == pytest.approx(expected, abs=1e-10)
    assert conditioned.fingerprint != whole.fingerprint


def small(equation: Any = None, **changed: Any) -> Model:
    """A model of one equation, x = shock a, with one thing changed."""
    given = {"steady": {"x": 0.0}, "shocks": (AR1("a"),), "observables": (Level("x"),), "correlations": ()} | changed
    equations = equation or (lambda lag, now, lead, shock, p: [("x", now.x - shock.a)])
    return make(equations, used="rho_a sigma_a trend", **given)


def test_a_process_of_today_is_read_as_its_lags_are() -> None:
    plain = small(observables=(Level("x", "y", scale=2.0),))
    today = small(
        lambda lag, now, lead, shock, p: [("x", now.x - now.shock.a)],
        observables=(Observe("y", lambda now, lag, lead, p: now.x + now.shock.a),),
    )
    one, other = (Posterior(model, dataset(("y",)), 60, 40) for model in (plain, today))
    assert other.log_density(other.reference()) == pytest.approx(one.log_density(one.reference()), abs=1e-10)


def in_canonical_form(residual: Any) -> Any:
    return canonical_form(small(lambda lag, now, lead, shock, p: [("x", residual(lag, now))]))


def wrong(make: Any, *given: Any, **named: Any) -> Any:
    return make(*given, **named)


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        (lambda: wrong(ARMA, "a", ar=[None]), "names of parameters or numbers"),
        (lambda: AR1("a", news=(0,)), "quarters ahead"),
        (lambda: Correlation("a", "a"), "with itself"),
        (lambda: wrong(Observe, "y", 3), "a function of"),
        (lambda: wrong(Level, "x", mean=[1]), "its mean is"),
        (lambda: small(observables=(Level("x", mean="tend"),)), "did you mean 'trend'"),
        (lambda: small(correlations=(Correlation("a", "q"),)), "which is not a shock"),
        (lambda: small(steady={"x": 0.0, "as_dict": 0.0}), "is taken"),
        (lambda: small(shocks=(AR1("a", news=(2,)), AR1("a_news2"))), "has the name of the news of 'a'"),
        (lambda: in_canonical_form(lambda lag, now: now.x - lag(0).x), "number of quarters"),
        (lambda: in_canonical_form(lambda lag, now: now.x - lag(2).z), "unknown name 'z'"),
        (lambda: in_canonical_form(lambda lag, now: now.x - lag.shock.b), "unknown shock 'b'"),
    ],
)
def test_what_cannot_be_is_said(what: Any, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        what()


def test_priors_of_correlations_and_news_are_looked_at() -> None:
    TABLE["wide"] = Parameter(0.5, "x", "x", Normal(0.0, 1.0), "shocks")
    shocks, seen = (AR1("a"), AR1("b")), (Level("x", "y"), Level("z", "w"))
    model = make(
        correlated,
        {"x": 0.0, "z": 0.0},
        shocks,
        seen,
        (Correlation("a", "b", "wide"),),
        "rho_a rho_b sigma_a sigma_b wide",
    )
    with pytest.raises(ModelError, match="a correlation, reaches beyond"):
        Posterior(model, dataset(("y", "w")))
