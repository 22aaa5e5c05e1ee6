"""Households that choose hours: against the sequence-jacobian toolkit, closed forms, and their own budget."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimhank.households.fake_news import household_jacobians
from estimhank.households.labor import EndogenousHours, consumption_and_hours, marginal_utility_given_saving
from estimhank.households.stationary import solve_stationary
from estimhank.parameters.parameter_table import Values
from tests.helpers.toolkit import ToolkitEconomy

SMALL = EndogenousHours(n_e=3, n_a=60, a_max=150.0, spacing="logarithmic")
VALUES = {"beta": 0.982, "eis": 0.5, "frisch": 0.4, "vphi": 0.8, "rho_e": 0.966, "sd_e": 0.5}
INPUTS = {"r": 0.005, "w": 0.83, "T": 0.14}
T = 12


@pytest.mark.parametrize("taste", [(0.5, 0.5, 0.8), (1.0, 0.1, 3.0), (0.1, 3.0, 0.2)])
def test_the_constrained_choice_fits_the_budget_wherever_it_is(taste: tuple[float, ...]) -> None:
    rng = np.random.default_rng(0)
    wage, other = np.exp(rng.normal(0, 2, 10_000)), rng.normal(size=10_000) * np.exp(rng.normal(0, 4, 10_000))
    other[:100] = 0.0
    u = jax.jit(marginal_utility_given_saving)(jnp.asarray(wage), jnp.asarray(other), *taste)
    c, n = (np.asarray(x) for x in consumption_and_hours(u, jnp.asarray(wage), *taste))
    lacking = (c - wage * n - other) / (c + wage * n + np.abs(other))
    assert np.abs(lacking).max() < 1e-14


@pytest.mark.parametrize("other", [0.0, 0.7, -0.3])
def test_derivatives_of_the_constrained_choice_are_exact_and_so_are_theirs(other: float) -> None:
    at = jnp.array([0.9, other, 0.5, 0.4, 0.8])

    def choose(x: jax.Array) -> jax.Array:
        return marginal_utility_given_saving(*x)

    gradient, hessian = jax.grad(choose)(at), jax.hessian(choose)(at)
    steps = 1e-5 * np.eye(5)
    if not other:
        # without other income there is a closed form, and there the solver's own branches meet
        wage, _, eis, frisch, vphi = at
        closed = jax.grad(lambda w: (w ** (1 + frisch) * vphi**-frisch) ** (-1 / (eis + frisch)))(wage)
        assert gradient[0] == pytest.approx(float(closed), rel=1e-13)
    numeric = np.array([(choose(at + s) - choose(at - s)) / 2e-5 for s in steps])
    np.testing.assert_allclose(gradient, numeric, atol=1e-8)
    numeric = np.array([(jax.grad(choose)(at + s) - jax.grad(choose)(at - s)) / 2e-5 for s in steps])
    np.testing.assert_allclose(hessian, numeric, atol=1e-7)


def solve_with(block: EndogenousHours) -> tuple[Any, np.ndarray]:
    """Steady state, and the Jacobians of all outputs."""

    @jax.jit
    def solve(values: dict[str, Any]) -> Any:
        p = Values(values)
        inputs = {name: jnp.asarray(x) for name, x in INPUTS.items()}
        steady = solve_stationary(block, inputs, p)
        return steady, household_jacobians(block, steady, inputs, p, T, block.outputs)

    steady, jacobians = solve({name: jnp.asarray(x) for name, x in VALUES.items()})
    return steady, np.asarray(jacobians)


@pytest.fixture(scope="module")
def solved() -> tuple[Any, np.ndarray]:
    return solve_with(SMALL)


def test_it_is_the_household_of_the_toolkit(solved: tuple[Any, np.ndarray]) -> None:
    steady, jacobians = solved
    own = {"beta": "beta", "eis": "eis", "frisch": "frisch", "vphi": "vphi", "rho_e": "rho_s", "sd_e": "sigma_s"}
    values = {own[name]: x for name, x in VALUES.items()} | {"nS": 3, "nA": 60, "amax": 150, "r": 0.005, "w": 0.83}
    toolkit = ToolkitEconomy("hank", values, INPUTS["T"])
    for name in SMALL.outputs:  # the toolkit solves for constrained choices to 1e-11
        assert float(steady.aggregates[name]) == pytest.approx(float(toolkit.steady[name]), abs=5e-9)
    theirs = toolkit.jacobians(["r", "w", "Div"], list(SMALL.outputs), T)
    for o, output in enumerate(SMALL.outputs):
        for i, given in enumerate(("r", "w", "Div")):
            np.testing.assert_allclose(jacobians[o, i], theirs[output][given], atol=2e-7, err_msg=f"{output}, {given}")


@pytest.mark.parametrize("scheme", ["linear", "smooth"])
def test_its_budget_holds_along_the_way(solved: tuple[Any, np.ndarray], scheme: str) -> None:
    steady, (a, c, ne, _) = solved if scheme == "linear" else solve_with(replace(SMALL, scheme=scheme))
    for name in SMALL.outputs:  # the same household, otherwise discretised
        assert float(steady.aggregates[name]) == pytest.approx(float(solved[0].aggregates[name]), rel=0.02)
    before = np.concatenate([np.zeros((3, 1, T)), a[:, :-1]], axis=1)
    direct = np.eye(T) * np.array([steady.aggregates["A"], steady.aggregates["NE"], 1.0])[:, None, None]
    np.testing.assert_allclose(c, 1.005 * before + direct + 0.83 * ne - a, atol=1e-12)


def test_names_of_inputs_and_outputs_are_checked() -> None:
    with pytest.raises(ValueError, match="three inputs"):
        EndogenousHours(inputs=("r", "w"))
    with pytest.raises(ValueError, match="EndogenousHours needs n_e >= 2"):
        EndogenousHours(n_a=3)
