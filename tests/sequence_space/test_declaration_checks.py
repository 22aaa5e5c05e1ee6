"""Declarations that a linear solution would take for something else are refused, or said, by name."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from estimhank.model import AR1, Growth, Level, Model, Parameter, StandardIncompleteMarkets
from estimhank.model.observed import ObservedVariable
from estimhank.parameters.parameter_table import ModelError
from estimhank.parameters.priors import Normal
from estimhank.sequence_space.solution import model_structure
from estimhank.sequence_space.steady_state import solve_steady_state
from estimhank.support.errors import ModelWarning
from tests.helpers.small_models import RHO, SIGMA, make_model, plain


def check(model: Model) -> None:
    """What a posterior does before its first evaluation."""
    model_structure(model, solve_steady_state(model), model.parameters.priors())


@pytest.mark.parametrize("options", [{"rho": 0.0}, {"rho": 0.9}, {"sigma": 1}, {"rho": None}, {"rho": RHO}])
def test_numbers_in_place_of_names_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"AR1\('e'\): (rho|sigma) is the name of a parameter"):
        AR1("e", **options)


@pytest.mark.parametrize("scale", [0, 0.0, -1.0, float("nan"), "1", True])
def test_scales_that_are_none_are_refused(scale: Any) -> None:
    with pytest.raises(ModelError, match="scale is a positive number"):
        AR1("e", scale=scale)
    if scale != -1.0:
        with pytest.raises(ModelError, match="scale is a number other than zero"):
            Level("x", scale=scale)


def test_measurement_error_as_a_number_is_refused() -> None:
    with pytest.raises(ModelError, match=r"measurement_error is text, not 0\.1"):
        Growth("x", measurement_error=0.1)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="variable is text"):
        ObservedVariable(None, "level", "y")  # type: ignore[arg-type]


def test_a_shock_declared_twice_is_refused() -> None:
    with pytest.raises(ModelError, match="two shocks have the name 'e'"):
        make_model(plain, shocks=(AR1("e"), AR1("e", sigma="sigma_e")))


MORE = {
    "rho_b": RHO,
    "sigma_b": SIGMA,
    "g": Parameter(0.0, "g", "loading", Normal(0.0, 1.0)),
    "zero": Parameter(0.0, "z", "zero"),
}


@pytest.mark.parametrize(
    "part",
    [
        lambda now, b, p: 0.0,
        lambda now, b, p: b**2,
        lambda now, b, p: now.x * b,  # the steady state of x is zero
        lambda now, b, p: p.zero * b,
        lambda now, b, p: jnp.cos(b),
        lambda now, b, p: jax.lax.stop_gradient(b),
    ],
)
def test_a_shock_without_a_first_order_effect_is_refused(part: Any) -> None:
    def equations(lag: Any, now: Any, lead: Any, shock: Any, p: Any) -> Any:
        yield "x", now.x - shock.e - part(now, shock.b, p) + part(now, 0.0, p)

    with pytest.raises(ModelError, match="the shock 'b' has no first-order effect"):
        check(make_model(equations, shocks=(AR1("e"), AR1("b")), parameters=MORE))


@pytest.mark.parametrize("part", [lambda b, p: 1e-6 * b, lambda b, p: p.g * b, lambda b, p: jnp.sin(b) * p.g])
def test_a_small_effect_or_one_that_is_zero_at_the_reference_alone_is_one(part: Any) -> None:
    def equations(lag: Any, now: Any, lead: Any, shock: Any, p: Any) -> Any:
        yield "x", now.x - shock.e - part(shock.b, p)

    check(make_model(equations, shocks=(AR1("e"), AR1("b")), parameters=MORE))


def test_a_shock_that_is_switched_off_may_stay() -> None:
    check(make_model(plain, shocks=(AR1("e"), AR1("b", rho="rho_e", sigma="zero")), parameters={"zero": MORE["zero"]}))


@pytest.mark.parametrize("level", [0.0, 0.1 + 0.2 - 0.3, -3e-16, 1e-10])
def test_growth_of_nothing_is_refused(level: float) -> None:
    def equations(lag: Any, now: Any, lead: Any, shock: Any, p: Any) -> Any:
        yield "x", now.x - level - shock.e
        yield "Y", now.Y - 1.0

    with pytest.raises(ModelError, match=r"'growth' is the growth rate of 'x', whose steady state is .*its Level"):
        check(make_model(equations, {"x": level, "Y": 1.0}, observables=(Growth("x", "growth"),)))


@pytest.mark.parametrize("level", [1e-3, -2.0])
def test_growth_of_little_or_of_debt_is_growth(level: float) -> None:
    def equations(lag: Any, now: Any, lead: Any, shock: Any, p: Any) -> Any:
        yield "x", now.x - level - shock.e

    check(make_model(equations, {"x": level}, observables=(Growth("x", "growth"),)))


KINKS: dict[str, Any] = {
    "maximum": lambda x: jnp.maximum(x, 0.0),
    "minimum": lambda x: jnp.minimum(0.0, 2 * x),
    "clip": lambda x: jnp.clip(x, 0.0, 1.0),
    "where": lambda x: jnp.where(x > 0, x, 2 * x),
    "abs": jnp.abs,
    "relu": jax.nn.relu,
    "inside": lambda x: jnp.exp(jax.jit(lambda z: jnp.maximum(z, 0.0))(x)) - 1.0,
}


@pytest.mark.parametrize("kink", KINKS)
@pytest.mark.parametrize("which", ["now", "lag", "lead"])
def test_a_kink_at_the_steady_state_is_refused(kink: str, which: str) -> None:
    def equations(lag: Any, now: Any, lead: Any, shock: Any, p: Any) -> Any:
        yield "smooth", now.s - 0.5 * lag.s - shock.e
        yield "kinked", now.x - 0.1 * KINKS[kink]({"now": now, "lag": lag, "lead": lead}[which].s)

    with pytest.raises(ModelError, match="the equation 'kinked' has a kink at the steady state"):
        check(make_model(equations, {"x": 0.0, "s": 0.0}))


@pytest.mark.parametrize("kink", KINKS)
def test_a_bound_away_from_its_kink_is_said(kink: str) -> None:
    def equations(lag: Any, now: Any, lead: Any, shock: Any, p: Any) -> Any:
        yield "smooth", now.s - 0.5 - 0.5 * (lag.s - 0.5) - shock.e
        yield "bounded", now.x - KINKS[kink](now.s) + KINKS[kink](0.5)

    with pytest.warns(ModelWarning, match="in the equation 'bounded' is linearised at the steady state, away from"):
        check(make_model(equations, {"x": 0.0, "s": 0.5}))


@pytest.mark.parametrize(
    "smooth",
    [
        lambda now, p: now.s**2 / 2,
        lambda now, p: (1 + now.s) ** (-1 / 0.01) / 100,  # strongly curved
        lambda now, p: jax.nn.softplus(now.s),
        lambda now, p: jnp.maximum(p.g, 0.0) * now.s,  # of a parameter
        lambda now, p: jnp.where(p.zero > 1, 1.0, 2.0) * now.s,
        lambda now, p: jnp.log1p(now.s) + jnp.sqrt(1 + now.s),
    ],
)
def test_what_is_smooth_passes_without_a_word(smooth: Any) -> None:
    values = {"s": 0.0, "x": 0.0}

    def equations(lag: Any, now: Any, lead: Any, shock: Any, p: Any) -> Any:
        class Zero:
            s = 0.0

        yield "s", now.s - 0.5 * lag.s - shock.e
        yield "x", now.x - smooth(now, p) + smooth(Zero, p)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(make_model(equations, values, parameters=MORE))


def test_comparisons_in_python_are_refused() -> None:
    for part in (lambda x: max(x, 0.0), lambda x: x if x > 0 else 0.0, lambda x: float(x)):

        def equations(lag: Any, now: Any, lead: Any, shock: Any, p: Any, part: Any = part) -> Any:
            yield "x", now.x - part(shock.e)

        with pytest.raises(ModelError, match="Python's if, max or min"):
            check(make_model(equations))


def test_mistakes_of_form_are_one_sentence() -> None:
    def returned(lag: Any, now: Any, lead: Any, shock: Any, p: Any) -> Any:
        return now.x - shock.e

    def bare(lag: Any, now: Any, lead: Any, shock: Any, p: Any) -> Any:
        yield now.x - shock.e

    for equations, words in ((returned, "must yield pairs"), (bare, "must yield pairs")):
        with pytest.raises(ModelError, match=words):
            check(make_model(equations))
    for options, words in (
        (
            {"household": (StandardIncompleteMarkets(), StandardIncompleteMarkets())},
            "one household block, several by name",
        ),
        ({"shocks": AR1("e")}, "shocks are a tuple"),
        ({"shocks": ("e",)}, "shocks are a tuple"),
        ({"observables": Level("x")}, "observables are a tuple"),
        ({"observables": "x"}, "observables are a tuple"),
    ):
        with pytest.raises(ModelError, match=words):
            make_model(plain, **options)
