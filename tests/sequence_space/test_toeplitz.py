"""The dense system as a Toeplitz matrix plus a few columns: against the assembled one, and where it must not be."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import toeplitz

from estimhank.households.one_asset import StandardIncompleteMarkets
from estimhank.models.krusell_smith import KrusellSmith
from estimhank.models.one_asset_hank import OneAssetHANK
from estimhank.parameters.priors import Gamma
from estimhank.posterior.posterior import Posterior
from estimhank.sequence_space import household_operator as operators
from estimhank.sequence_space import toeplitz_system
from estimhank.sequence_space.banded import factorize_banded
from estimhank.sequence_space.dense_equations import assemble_transposed
from estimhank.sequence_space.elimination import choose_elimination
from estimhank.sequence_space.equilibrium import factorize_equilibrium, solve_equilibrium
from estimhank.sequence_space.half_lines import powers
from estimhank.sequence_space.household_operator import HouseholdOperator, household_operator, toeplitz_form
from estimhank.sequence_space.linear_system import LinearSystem, linearize
from estimhank.sequence_space.solution import model_structure
from estimhank.sequence_space.steady_solver import SteadySolver
from estimhank.sequence_space.structure import Structure
from estimhank.sequence_space.toeplitz import full_inverse, invert_toeplitz
from estimhank.sequence_space.toeplitz_system import ToeplitzPlus, factorize_toeplitz, find_places, toeplitz_plus

T = 40


# compiled as a whole: call by call each operation would be compiled on its own
both_forms = jax.jit(lambda by_date: household_operator(by_date, toeplitz=True))
inverse_of = jax.jit(lambda diagonals: (lambda outer: (full_inverse(outer), outer.bound))(invert_toeplitz(diagonals)))


def in_both_forms(household: HouseholdOperator) -> HouseholdOperator:
    return both_forms(household.jacobians.transpose(3, 1, 0, 2))


@cache
def solved(cls: Any, dense: tuple[str, ...]) -> tuple[Structure, LinearSystem, HouseholdOperator]:
    """A model on a small grid and a short horizon."""
    model = cls(household=StandardIncompleteMarkets(inputs=cls.household.inputs, n_e=3, n_a=60))
    model.dense = dense
    solver = SteadySolver(model, {}, T)
    structure = model_structure(model, solver.reference, model.parameters.priors())
    system = jax.jit(lambda p: linearize(model, solver.reference.values, p))(solver.reference.parameters)
    return structure, system, in_both_forms(solver.at({}).household)


def random_model(
    seed: int, output_is_dense: bool = False, root: float = 0.0, inputs: tuple[int, ...] = (1, 4)
) -> tuple[Structure, LinearSystem, HouseholdOperator]:
    """Random equations with leads and lags of everything, the dense variable's among them, and random Jacobians.

    ``root``: if not zero, the first equation is v_t = root v_{t-1} + noise.
    """
    rng = np.random.default_rng(seed)
    n_v, n_eq = 6, 5
    lag, now, lead, shock = (rng.standard_normal(s) * 0.1 for s in ((n_eq, n_v),) * 3 + ((n_eq, 2),))
    now[:, :n_eq] += np.eye(n_eq)
    now[3, :] += 0.5  # aggregate demand, say: everything enters
    if root:
        for m, value in ((lag, -root), (now, 1.0), (lead, 0.0)):
            m[0], m[0, 0] = 0.0, value
    system = LinearSystem(*(jnp.asarray(m) for m in (lag, now, lead, shock)))
    t = np.arange(T)
    by_date = np.zeros((T, len(inputs), 1, T))
    for i in range(len(inputs)):
        far = np.where(t[:, None] >= t, 0.8 ** abs(t[:, None] - t), 0.6 ** abs(t[:, None] - t))
        by_date[:, i, 0] = 0.2 * rng.standard_normal() * far.T + np.outer(0.7**t, 0.8**t * rng.standard_normal(T)) * 0.1
    output = 5
    dense = output if output_is_dense else 4
    names = tuple(f"v{i}" for i in range(n_v))
    elimination = choose_elimination([system], names, (*inputs, output), 1, (names[dense],))
    return Structure(elimination, inputs, (output,)), system, both_forms(by_date)


@pytest.mark.parametrize("n", [2, 3, 30])
def test_inverse_of_a_toeplitz_matrix(n: int) -> None:
    diagonals = np.random.default_rng(n).standard_normal(2 * n - 1) * 0.6 ** abs(np.arange(1 - n, n))
    diagonals[n - 1] = 2.0
    matrix = toeplitz(diagonals[n - 1 :], diagonals[n - 1 :: -1])
    found, bound = inverse_of(diagonals)
    inverse = np.linalg.inv(matrix)
    np.testing.assert_allclose(found, inverse, atol=1e-12)
    assert float(bound) >= np.abs(inverse).sum(0).max()


@pytest.mark.parametrize("count", [1, 2, 3, 17, 80])
def test_powers_of_a_matrix(count: int) -> None:
    matrix = np.random.default_rng(0).standard_normal((3, 3)) * 0.4
    expected = [np.linalg.matrix_power(matrix, j) for j in range(count)]
    found = jax.jit(powers, static_argnums=1)(matrix, count)
    np.testing.assert_allclose(found.transpose(1, 0, 2), expected, atol=1e-12)


@pytest.mark.parametrize(
    "case",
    [
        lambda: solved(OneAssetHANK, ()),
        pytest.param(lambda: solved(OneAssetHANK, ("pi",)), marks=pytest.mark.long),
        pytest.param(lambda: solved(OneAssetHANK, ("Y",)), marks=pytest.mark.long),
        pytest.param(lambda: solved(KrusellSmith, ()), marks=pytest.mark.long),
        pytest.param(lambda: solved(KrusellSmith, ("K",)), marks=pytest.mark.long),
        pytest.param(lambda: random_model(3), marks=pytest.mark.long),
        lambda: random_model(2, output_is_dense=True),
        lambda: random_model(3, inputs=(4,)),  # the dense variable is the only input
    ],
    ids=[
        "default",
        "default-pi",
        "default-Y",
        "Krusell-Smith",
        "Krusell-Smith-K",
        "random",
        "random-output",
        "random-one-input",
    ],
)
def test_the_two_forms_are_the_same_system(case: Any) -> None:
    st, system, household = case()
    e = st.elimination
    form = household.toeplitz

    def both(s: LinearSystem, h: HouseholdOperator) -> tuple[jax.Array, ToeplitzPlus]:
        banded = factorize_banded(s, e, T)
        return assemble_transposed(st, s, h, banded), toeplitz_plus(
            find_places(e, st.inputs, st.outputs[0]), e, s, form, banded
        )

    transposed, plus = jax.jit(both)(system, household)
    diagonals = np.asarray(plus.diagonals)
    found = toeplitz(diagonals[T - 1 :], diagonals[T - 1 :: -1]) + np.asarray(plus.columns) @ np.asarray(plus.rows)
    assert bool(plus.sound)
    np.testing.assert_allclose(found, np.asarray(transposed).T, atol=1e-11 * np.abs(transposed).max())


@partial(jax.jit, static_argnums=0)  # once for the tests of the same equations
def responses_and_gradients(
    st: Structure, system: LinearSystem, by_date: jax.Array, paths: jax.Array, weights: jax.Array, form: Any
) -> tuple[Any, Any]:
    # the Toeplitz form is an input without a derivative
    def value(s: LinearSystem, by_date: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = solve_equilibrium(st, s, HouseholdOperator(by_date, form), z)
        return (weights * x).sum(), x

    (_, x), slopes = jax.value_and_grad(value, (0, 1, 2), has_aux=True)(system, by_date, paths)
    return x, slopes


def answers(st: Structure, system: LinearSystem, household: HouseholdOperator) -> tuple[Any, Any]:
    """Responses, and the gradient of a random combination of them."""
    rng = np.random.default_rng(0)
    n_z = system.shock.shape[1]
    paths = np.linspace(0.5, 0.9, n_z) ** np.arange(T)[:, None]
    weights = rng.standard_normal((T, system.now.shape[1], n_z))
    return responses_and_gradients(st, system, household.by_date, paths, weights, household.toeplitz)


@pytest.mark.parametrize(
    "case",
    [lambda: random_model(3), pytest.param(lambda: solved(OneAssetHANK, ()), marks=pytest.mark.long)],
    ids=["random", "default"],
)
def test_responses_and_gradients_are_those_of_the_assembled_system(case: Any) -> None:
    st, system, household = case()
    ours, theirs = answers(st, system, household), answers(st, system, household.in_dense_form())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-10), ours, theirs)


def failing(kind: str) -> tuple[Structure, LinearSystem, HouseholdOperator]:
    if kind == "unit root":
        return random_model(3, root=1.0)
    if kind == "roots":  # four stable roots for five lagged variables: inside out, and large at one of the edges
        return random_model(1)
    st, system, household = random_model(3)
    assert household.toeplitz is not None
    form = household.toeplitz._replace(precise=jnp.asarray(False))
    form = form._replace(symbol=form.symbol + jnp.nan) if kind == "not a number" else form
    return st, system, HouseholdOperator(household.by_date, form)


@pytest.mark.parametrize(
    "kind", ["unit root", "imprecise", *(pytest.param(k, marks=pytest.mark.long) for k in ("roots", "not a number"))]
)
def test_where_the_form_fails_nothing_is_returned(kind: str) -> None:
    assert np.isnan(answers(*failing(kind))[0]).all()


def test_a_recursion_that_breaks_down_is_noticed() -> None:
    # [[0, 1], [1, 0]] repeated: well conditioned, but its first leading minor is zero
    diagonals = np.zeros(2 * T - 1)
    diagonals[[T - 2, T]] = 1.0
    matrix = toeplitz(diagonals[T - 1 :], diagonals[T - 1 :: -1])
    assert np.linalg.cond(matrix) < 100
    factorize = jax.jit(lambda system: factorize_toeplitz(system).core)
    for first in (0.0, 1e-9):
        diagonals[T - 1] = first
        nothing = np.zeros((T, 1))
        system = ToeplitzPlus(jnp.asarray(diagonals), nothing, nothing.T, jnp.asarray(True))  # type: ignore[arg-type]
        assert np.isnan(factorize(system)).all()


def test_few_columns_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, household = solved(OneAssetHANK, ())
    by_date = np.asarray(household.jacobians).transpose(3, 1, 0, 2)
    monkeypatch.setattr(operators, "RANK", 6)
    assert not bool(jax.jit(lambda jacobians: toeplitz_form(jacobians).precise)(by_date))


def test_jacobians_of_the_default_model_need_few_columns(posterior: Posterior) -> None:
    household = posterior.solver.steady.reference_parts.household
    form, horizon = household.toeplitz, posterior.horizon
    assert form is not None and bool(form.precise)
    assert form.columns.shape[1] == operators.RANK < horizon
    jacobians = np.asarray(household.jacobians[0])
    t = np.arange(horizon)
    far = np.concatenate([jacobians[:, :, -1], jacobians[:, -1, -2::-1]], axis=1)[:, t[:, None] - t + horizon - 1]
    found = far - np.einsum("tr,ris->its", form.columns, form.rows)
    np.testing.assert_allclose(found, jacobians, atol=1e-12)


SMALL = OneAssetHANK(household=replace(OneAssetHANK.household, n_e=3, n_a=60))  # the grid of the models above


def long_posterior(posterior: Posterior, shortest: int, household: bool = False) -> Posterior:
    """The default posterior over 250 dates; ``shortest``: from what horizon on the form is used."""
    model = SMALL
    if household:
        table = OneAssetHANK.parameters.changed("eis", prior=Gamma(0.5, 0.1))
        model = OneAssetHANK(table, SMALL.household)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operators, "SHORTEST", shortest)
        patch.setattr(operators, "SHORTEST_MOVING", shortest)
        post = Posterior(model, posterior.data, 250, 160)
        post.evaluate(post.reference(), gradient=True)  # makes the form
    return post


@pytest.mark.long
@pytest.mark.parametrize("household", [False, True])
def test_densities_do_not_depend_on_the_form(
    posterior: Posterior, reference: dict[str, float], household: bool
) -> None:
    points = [dict(reference, kappa_w=k) for k in (0.02, 0.3)]
    values = []
    for shortest in (250, 251):
        post = long_posterior(posterior, shortest, household)
        found = [post.evaluate(post.to_array(p | {"eis": 0.6} if household else p), gradient=True) for p in points]
        values.append([(f.log_likelihood, *np.asarray(f.gradient)) for f in found])
    np.testing.assert_allclose(*values, rtol=1e-8, atol=1e-8)  # type: ignore[call-overload]


def test_factors_say_that_a_form_is_imprecise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "RANK", 8)
    solver = SteadySolver(SMALL, {}, 250)
    parts = solver.at({})
    system = linearize(SMALL, parts.values, parts.parameters)
    structure = model_structure(SMALL, solver.reference, SMALL.parameters.priors())
    assert not factorize_equilibrium(structure, system, parts.household).sound


def test_a_density_whose_form_fails_is_computed_without_it(posterior: Posterior, reference: dict[str, float]) -> None:
    post = Posterior(posterior.model, posterior.data, posterior.horizon, posterior.tail_start)
    parts = posterior.solver.steady.reference_parts
    form = parts.household.toeplitz
    assert form is not None
    failing = parts.household._replace(toeplitz=form._replace(precise=jnp.asarray(False)))
    post.solver.steady.reference_parts = parts._replace(household=failing)
    for name in ("solve", "at_once"):  # compiled functions, the same ones
        setattr(post.solver, name, getattr(posterior.solver, name))
    theta = post.to_array({**reference, "rho_w": 0.8, "rho_g": 0.7, "phi_b": 0.3})  # one route is enough
    assert post.solver.steady.reference_parts.household.toeplitz is not None
    assert not post.solver.in_toeplitz_form  # found out once, not in every evaluation
    assert post.solver.solved_at(theta, post.solver.parts_at(theta))[0].household.toeplitz is None
    expected = post.evaluate(theta).log_likelihood
    assert expected == pytest.approx(posterior.evaluate(theta).log_likelihood, abs=1e-7)
    # and where it fails elsewhere than at the reference values
    post.solver.in_toeplitz_form, post.solver._kept = True, OrderedDict()
    assert not post.solver.solve(theta, post.solver.parts_at(theta)).factors.sound
    assert post.evaluate(theta).log_likelihood == expected


@pytest.mark.long
def test_gradients_and_responses_are_computed_without_a_form_that_fails(
    posterior: Posterior, reference: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toeplitz_system, "CONDITION", 0.0)
    for household in (False, True):
        poor, plain = (long_posterior(posterior, shortest, household) for shortest in (250, 251))
        poor.solver.in_toeplitz_form = True
        theta = poor.reference()
        found, expected = (post.evaluate(theta, gradient=True) for post in (poor, plain))
        assert found.log_likelihood == pytest.approx(expected.log_likelihood, abs=1e-10)
        np.testing.assert_allclose(found.gradient, expected.gradient, rtol=1e-9)  # type: ignore[arg-type]
        np.testing.assert_allclose(poor.responses(theta), plain.responses(theta), atol=1e-12)
