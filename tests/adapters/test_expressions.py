"""Arguments of the toolkit's simple blocks: the derivatives that equations have are those that the toolkit takes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sequence_jacobian import simple
from sequence_jacobian.classes import SteadyStateDict

from estimhank.adapters.toolkit_expressions import Expression
from estimhank.parameters.parameter_table import ModelError

SS = {"x": 1.3, "y": 0.7, "a": 0.4}
DATES = range(-3, 4)


@simple
def powers(x, y, a):
    z = a * x(-1) ** a * y(+1) ** (1 - a) / (1 + y) - 2 ** x(-2)
    return z


@simple
def logs(x, y, a):
    z = (1 + x).apply(np.log) * np.log(a) + y(+1).apply(np.exp) - abs(-a)
    return z


@simple
def nested(x, y, a):
    z = (x(-1) * y)(+1) - ((x / y.ss)(-2)).apply(lambda v: v**3) + 1 / (x(+2) + a(-1))
    return z


def derivatives(block) -> dict[tuple[str, int], float]:
    """Those of expressions, by variable and date."""

    def value(paths):
        def read(name):
            if name == "a":
                return Expression.of(SS["a"])
            return Expression(lambda d: paths[name][d + 3], lambda: SS[name], {name: 0}, dated=True)

        return block.f.f(**{name: read(name) for name in SS}).today

    paths = {name: jnp.full(7, SS[name]) for name in ("x", "y")}
    found = jax.jacfwd(value)(paths)
    return {(name, d): float(found[name][d + 3]) for name in found for d in DATES if abs(found[name][d + 3]) > 1e-12}


@pytest.mark.parametrize("block", [powers, logs, nested], ids=lambda b: b.name)
def test_derivatives_are_those_of_the_toolkit(block) -> None:
    jacobian = block.jacobian(SteadyStateDict(SS), ["x", "y"])
    theirs = {(n, date): value for n in ("x", "y") for (date, _), value in jacobian["z"][n].elements.items()}
    mine = derivatives(block)
    assert set(mine) == set(theirs)
    for place, value in mine.items():
        assert value == pytest.approx(theirs[place], rel=1e-8), place


def test_an_expectation_of_the_past_is_not_taken_for_the_present() -> None:
    x = Expression(lambda _: 1.0, lambda: 1.0, {"x": 0}, dated=True)
    assert x(-1)(+1).today == 1.0
    with pytest.raises(ModelError, match="an output of a block of its own"):
        x(+1)(-1)


def test_a_question_about_a_variable_is_refused() -> None:
    with pytest.raises(ModelError, match="large or small"):
        bool(Expression.of(1.0) > 0)
