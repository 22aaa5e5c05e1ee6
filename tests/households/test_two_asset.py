"""Households with two assets: against the toolkit's, a perturbation of one date, identities, and what is refused."""

from __future__ import annotations

from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import estimhank
from estimhank.households.fake_news import household_jacobians
from estimhank.households.groups import all_groups, measure_gradients, of_newcomers
from estimhank.households.micro_moments import micro_moments
from estimhank.households.one_asset import StandardIncompleteMarkets
from estimhank.households.readings import reading_jacobians
from estimhank.households.stationary import SteadyStateError, compiled_stationary, household_steady_state
from estimhank.households.two_asset import TwoAssets, adjustment_cost, crossing, turned_round
from estimhank.parameters.parameter_table import ModelError, Values
from tests.helpers import golden

T = 40
SMALL = TwoAssets(n_b=10, n_a=16, n_kappa=4)
PARAMETERS = {
    **{"beta": 0.9726151945974746, "chi1": 4.883606461293628},
    **{"eis": 0.5, "chi0": 0.25, "chi2": 2.0, "rho_e": 0.966, "sd_e": 0.92},
}
INPUTS = {"r_a": 0.0125, "r_b": 0.0075, "w": 0.66, "N": 1.0, "tax": (0.0125 * 2.8 + 0.2) / 0.66}


@cache
def solved(block: TwoAssets = SMALL, horizon: int = T) -> tuple[Any, np.ndarray]:
    """Steady state and the Jacobians of all outputs, (outputs, inputs, T, T)."""
    steady = compiled_stationary(block)(INPUTS, PARAMETERS, 1e-13)
    found = jax.jit(lambda s: household_jacobians(block, s, INPUTS, Values(PARAMETERS), horizon, block.outputs))(steady)
    return steady, np.asarray(found)


@cache
def of_the_toolkit() -> tuple[Any, Any]:
    pytest.importorskip("sequence_jacobian")
    from sequence_jacobian import hetblocks
    from sequence_jacobian.examples import two_asset

    household = hetblocks.hh_twoasset.hh.add_hetinputs([two_asset.income, two_asset.make_grids])
    sizes = {"nZ": 3, "nB": 10, "nA": 16, "nK": 4, "bmax": 50, "amax": 4000, "kmax": 1, "rho_z": 0.966, "sigma_z": 0.92}
    prices = {"ra": 0.0125, "rb": 0.0075, **{name: INPUTS[name] for name in ("w", "N", "tax")}}
    own = {name: PARAMETERS[name] for name in ("beta", "eis", "chi0", "chi1", "chi2")}
    options = {"backward_tol": 1e-11, "forward_tol": 1e-15, "backward_maxit": 20000, "forward_maxit": 20000}
    return household, household.steady_state({**sizes, **prices, **own}, **options)


def test_aggregates_hit_the_targets_of_the_calibration() -> None:
    found = household_steady_state(SMALL, INPUTS, PARAMETERS)
    assert found["A"] + found["B"] == pytest.approx(14.0, abs=1e-8)
    assert found["B"] == pytest.approx(1.04, abs=1e-9)
    assert found["C"] + found["CHI"] == pytest.approx(0.5948, abs=1e-9)
    assert found["C"] == pytest.approx(golden.TWO_ASSETS_SMALL.value[2], abs=1e-8)


def test_policies_and_aggregates_are_those_of_the_toolkit() -> None:
    _, theirs = of_the_toolkit()
    steady, _ = solved()
    inside = theirs.internals["hh"]
    for mine, name in zip((*steady.policies.assets, steady.distribution), ("b", "a", "D"), strict=True):
        np.testing.assert_allclose(mine, inside[name], atol=2e-9)
    for name in SMALL.outputs:
        assert float(steady.aggregates[name]) == pytest.approx(theirs[name], rel=2e-8)


def test_jacobians_are_those_of_the_toolkit() -> None:
    household, theirs = of_the_toolkit()
    _, mine = solved()
    inputs = ("ra", "rb", "w", "N", "tax")
    found = household.jacobian(theirs, inputs, list(SMALL.outputs), T=T, h=1e-6, twosided=True)
    for o, output in enumerate(SMALL.outputs):
        for i, name in enumerate(inputs):
            # two-sided differences of theirs, of policies up to 4000
            np.testing.assert_allclose(mine[o, i], found[output][name], atol=5e-5 if i == 0 else 1e-6)


def test_jacobians_are_a_perturbation_of_one_date() -> None:
    """Behaviour before a date at which an input is another, and what it does to the distribution: two-sided."""
    steady, mine = solved()
    p, date, step = Values(PARAMETERS), 2, 1e-5
    grids = SMALL.grids(p)
    backward = jax.jit(lambda v, inputs: SMALL.backward(v, inputs, grids, p))

    @jax.jit
    def move(policies: Any, mass: jax.Array) -> tuple[jax.Array, jax.Array]:
        outputs = jnp.stack([jnp.vdot(mass, policies.outputs[name]) for name in SMALL.outputs])
        return SMALL.transition(grids, policies).forward(mass), outputs

    def path(name: str, change: float) -> np.ndarray:
        value, policies = steady.policies.marginal_value, [steady.policies] * 6
        for t in range(date, -1, -1):
            policies[t] = backward(value, {**INPUTS, name: INPUTS[name] + (change if t == date else 0.0)})
            value = policies[t].marginal_value
        mass, found = steady.distribution, []
        for at in policies:
            mass, outputs = move(at, mass)
            found.append(np.asarray(outputs))
        return np.array(found)

    for i, name in enumerate(SMALL.inputs):
        difference = (path(name, step) - path(name, -step)) / (2 * step)
        np.testing.assert_allclose(mine[:, i, :6, date].T, difference, atol=2e-4 if name == "r_a" else 2e-6)


@pytest.mark.long
def test_jacobians_have_the_derivatives_of_differences() -> None:
    """In parameters and inputs, at given policies and distribution."""
    steady, _ = solved()

    @jax.jit
    def entry(p: dict[str, Any], inputs: dict[str, Any]) -> jax.Array:
        found = household_jacobians(SMALL, steady, inputs, Values(p), T, ("A", "UCE"))
        return found[0, 0, 5, 3] + found[1, 2, 2, 7]

    at = (
        {k: jnp.asarray(float(v)) for k, v in PARAMETERS.items()},
        {k: jnp.asarray(float(v)) for k, v in INPUTS.items()},
    )
    found = jax.jit(jax.grad(entry, argnums=(0, 1)))(*at)
    for which, name in ((0, "eis"), (0, "chi1"), (0, "sd_e"), (1, "r_b")):
        step = 1e-6 * float(at[which][name])

        def moved(by: float, which: int = which, name: str = name) -> float:
            there = [dict(x) for x in at]
            there[which][name] = there[which][name] + by
            return float(entry(*there))

        difference = (moved(step) - moved(-step)) / (2 * step)
        assert float(found[which][name]) == pytest.approx(difference, rel=1e-5, abs=1e-7), name


def test_the_budget_holds_along_the_jacobians() -> None:
    """C + A + B + CHI = (1 + r_a) A(-1) + (1 + r_b) B(-1) + (1 - tax) w N, with the block's own words for it."""
    steady, jacobians = solved()
    aggregates = {name: float(v) for name, v in steady.aggregates.items()}
    (_, residual), *_ = SMALL.identities(SimpleNamespace(**aggregates), SimpleNamespace(**INPUTS, **aggregates))
    assert abs(residual) < 1e-11
    earlier = np.pad(jacobians, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]
    own = {"r_a": aggregates["A"], "r_b": aggregates["B"], "w": 1 - INPUTS["tax"], "N": 0.66 * (1 - INPUTS["tax"])}
    for i, name in enumerate(SMALL.inputs):
        income = own.get(name, -0.66) * np.eye(T)
        right = 1.0125 * earlier[0, i] + 1.0075 * earlier[1, i] + income
        np.testing.assert_allclose(jacobians[:4, i].sum(axis=0), right, atol=1e-10)
    assert jacobians[:4, 2].sum(axis=0)[0, 0] == pytest.approx(0.64393939, abs=5e-9)


def test_three_inputs_are_the_five() -> None:
    """The wage, hours and the tax rate matter through after-tax income alone."""
    three = TwoAssets(("r_a", "r_b", "Z"), n_b=10, n_a=16, n_kappa=4)
    income = (1 - INPUTS["tax"]) * INPUTS["w"]
    steady, p = solved()[0], Values(PARAMETERS)
    inputs = {name: jnp.asarray(value) for name, value in {"r_a": 0.0125, "r_b": 0.0075, "Z": income}.items()}
    found = three.backward(steady.policies.marginal_value, inputs, three.grids(p), p)
    np.testing.assert_allclose(found.assets, steady.policies.assets, rtol=1e-12, atol=1e-12)
    by_income = solved()[1][:, 2] / (1 - INPUTS["tax"])
    for i, weight in ((3, income), (4, -0.66)):
        np.testing.assert_allclose(solved()[1][:, i], weight * by_income, atol=1e-10)


def test_adjustment_costs_have_the_derivatives_of_differences() -> None:
    deposit, wealth, step = jnp.asarray([-0.8, -0.01, 0.3, 2.0]), jnp.asarray([1.0, 0.1, 0.0, 7.0]), 1e-6
    cost = partial(adjustment_cost, chi0=0.25, chi1=6.0, chi2=2.2)
    found = cost(deposit, wealth)
    along = [(step, 0.0), (-step, step)]  # a deposit; more wealth at what is held tomorrow
    for derivative, (d, x) in zip(found[1:], along, strict=True):
        difference = cost(deposit + d, wealth + x).cost - cost(deposit - d, wealth - x).cost
        np.testing.assert_allclose(derivative, difference / (2 * step), rtol=1e-6, atol=1e-9)
    assert float(cost(jnp.zeros(()), jnp.ones(())).cost) == 0.0


def test_crossings_are_found_by_brute_force_and_refused_where_there_are_several() -> None:
    rng = np.random.default_rng(0)
    falling = np.sort(rng.uniform(0.0, 1.0, (2, 3, 9)))[..., ::-1]
    rising = np.sort(rng.uniform(-0.3, 1.2, (9, 5)), axis=0)
    rising = np.sort(rising, axis=1)[:, ::-1]  # less at higher wealth
    found = crossing(jnp.asarray(falling), jnp.asarray(rising))
    place = np.asarray(found.of(jnp.broadcast_to(jnp.arange(9.0), (2, 3, 9)), 2))
    for e, m, n in np.ndindex(2, 3, 5):
        gap = falling[e, m] - rising[:, n]
        below = np.flatnonzero(gap < 0)
        i = int(np.clip(below[0] if below.size else 8, 1, 8))
        expected = 0.0 if gap[0] < 0 else i - 1 + gap[i - 1] / (gap[i - 1] - gap[i])
        assert place[e, m, n] == pytest.approx(expected, abs=1e-12)
    assert bool(found.unique.all())
    bent = falling.copy()
    bent[0, 1, 5] = 1.3  # meets the columns more than once
    assert np.asarray(crossing(jnp.asarray(bent), jnp.asarray(rising)).unique).all(axis=2).tolist() == [
        [True, False, True],
        [True, True, True],
    ]
    knots = jnp.asarray([[[0.0, 0.0], [1.0, 2.0], [3.0, 1.0]]])
    back = turned_round(knots, jnp.asarray([0.5, 2.0]))
    assert np.asarray(back.unique[0, 0]).tolist() == [True, False]
    np.testing.assert_allclose(back.of(knots, 1)[0, :, 0], [0.5, 2.0], atol=1e-15)


def test_where_the_step_does_not_apply_the_search_ends_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    bent = TwoAssets(n_b=4, n_a=16, n_kappa=3)
    first = TwoAssets.initial_marginal_value

    def wavy(self: TwoAssets, grids: Any, inputs: Any, p: Any) -> jax.Array:
        value = first(self, grids, inputs, p)
        return value.at[1, ..., 3].multiply(100.0)  # a marginal value that rises in the asset

    monkeypatch.setattr(TwoAssets, "initial_marginal_value", wavy)
    with pytest.raises(SteadyStateError, match="choice of the illiquid asset is not unique") as refused:
        household_steady_state(bent, INPUTS, PARAMETERS)
    assert refused.value.kind == "no_convergence"


def test_households_at_given_inputs_of_any_block() -> None:
    one = StandardIncompleteMarkets(n_e=3, n_a=60, a_max=60.0)
    p = {"beta": 0.95, "eis": 0.5, "rho_e": 0.9, "sd_e": 0.5, "not read": 3.0}
    found = estimhank.household_steady_state(one, {"r": 0.005, "Z": 0.8}, p)
    assert found["C"] == pytest.approx(0.8 + 0.005 * found["A"], abs=1e-12)
    with pytest.raises(ModelError, match=r"no value of the input 'Z'.*it reads r, Z"):
        household_steady_state(one, {"r": 0.005}, p)
    with pytest.raises(ModelError, match="no value of the parameter 'beta'; did you mean 'betta'"):
        household_steady_state(one, {"r": 0.005, "Z": 0.8}, {"betta": 0.9, "eis": 0.5, "rho_e": 0.9, "sd_e": 0.5})
    with pytest.raises(SteadyStateError, match=r"policy did not converge|raise a_max"):
        household_steady_state(one, {"r": 0.06, "Z": 0.8}, p)


def test_moments_of_households_with_two_assets() -> None:
    steady, _ = solved()
    moments = micro_moments(steady)
    assert moments["constrained"] == pytest.approx(float(steady.distribution[:, 0].sum()), abs=1e-12)
    assert 0.5 < moments["gini"] < 1 and "mpc_quarter" not in moments


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"inputs": ("r_a", "r_b")}, "five inputs"),
        ({"outputs": ("A", "C")}, "five outputs"),
        ({"n_kappa": 1}, "at least two points"),
        ({"b_max": -1.0}, "b_max > b_min"),
    ],
)
def test_what_is_no_household_is_refused(options: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        TwoAssets(**options)


@pytest.mark.long  # a grid of 10,500 states
def test_the_papers_grid() -> None:
    beta, chi1, *_ = golden.TWO_ASSETS_PAPER.value
    block, p = TwoAssets(), {**PARAMETERS, "beta": beta, "chi1": chi1}
    steady = compiled_stationary(block)(INPUTS, p, 1e-13)
    assert float(steady.distribution[:, 0].sum()) == pytest.approx(golden.TWO_ASSETS_PAPER.value[4], abs=1e-6)
    found = jax.jit(lambda s: household_jacobians(block, s, INPUTS, Values(p), 10, block.outputs))(steady)
    entries = [[float(found[o, i, t, s]) for t, s in ((0, 0), (0, 1), (1, 0))] for o, i in ((2, 0), (2, 2), (1, 1))]
    golden.TWO_ASSETS_JACOBIANS.check(entries)


def test_groups_add_up_to_the_jacobians_of_consumption() -> None:
    """Readings of two assets: fifths by wealth, whose limits move along, and states of productivity."""
    steady, jacobians = solved()
    policy = np.asarray(steady.policies.outputs["C"])
    groups = [g for g in all_groups(steady) if g.kind != "constraint"]
    weights = np.concatenate([g.weights for g in groups])
    newcomers = np.concatenate([of_newcomers(steady, g, policy) for g in groups])
    read = [jnp.asarray(x) for x in (weights, newcomers, measure_gradients(steady)[1])]
    names, p = ("C",) * len(weights), Values(PARAMETERS)
    found = jax.jit(lambda s, *read: reading_jacobians(SMALL, s, INPUTS, p, T, 9, names, *read))(steady, *read).by_date
    whole = jacobians[SMALL.outputs.index("C")].transpose(2, 0, 1)[..., :9]
    for some in (slice(0, 5), slice(5, len(weights))):
        np.testing.assert_allclose(found[:, :, some].sum(2), whole, atol=1e-9)
    alone = jax.eval_shape(
        lambda s, w: reading_jacobians(SMALL, s, INPUTS, p, T, 9, ("C",), w, w, w[:0]), steady, read[0][:1]
    )
    assert alone.by_date.shape == (T, len(INPUTS), 1, 9)
