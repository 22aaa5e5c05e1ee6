"""Several types of households in a model, and several parameters for several targets: against one block, and against
each target on its own."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimhank.data.dataset import Dataset
from estimhank.households.one_asset import HouseholdTarget, StandardIncompleteMarkets, Sum
from estimhank.model import ModelError, Parameter
from estimhank.model.canonical import canonical_form
from estimhank.models.one_asset_hank import OneAssetHANK
from estimhank.posterior.setting import Setting
from estimhank.posterior.solver import Solver
from estimhank.sequence_space.steady_solver import SteadySolver
from estimhank.sequence_space.steady_state import solve_steady_state
from tests.helpers.small_models import make_model

SMALL = StandardIncompleteMarkets(n_e=3, n_a=60, a_max=60.0)
T = 40


def entry(value: float | None) -> Parameter:
    return Parameter(value, "x", "x", touches="steady_state")


class TwoTypes(OneAssetHANK):
    """The default model with two types of households, who have the same income."""

    name = "two_types"
    household: Any = MappingProxyType({"poor": SMALL, "rich": SMALL})
    parameters = type(OneAssetHANK.parameters)({**OneAssetHANK.parameters, "share": entry(0.3)})

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Any:
        """Aggregates are weighted with the types' shares."""

        class Together:
            C = p.share * household.poor.C + (1 - p.share) * household.rich.C
            A = p.share * household.poor.A + (1 - p.share) * household.rich.A

        yield from super().equations(lag, now, lead, Together, shock, p)

    def household_target(self, p: Any) -> HouseholdTarget:
        one = super().household_target(p)
        together = Sum(p.B_bar, {"poor.A": p.share, "rich.A": 1 - p.share})
        return HouseholdTarget(one.inputs, unknowns={"beta": one.bracket}, targets={"assets": together})

    def steady_state(self, p: Any, household: Any) -> Any:
        class Together:
            C = p.share * household.poor.C + (1 - p.share) * household.rich.C

        return super().steady_state(p, Together)


class Apart(TwoTypes):
    """Types with discount factors of their own, each of which holds its own debt."""

    name = "apart"
    parameters = type(OneAssetHANK.parameters)(
        {
            **TwoTypes.parameters,
            "beta": entry(0.9),
            "beta_poor": entry(None),
            "beta_rich": entry(None),
            "debt": entry(0.5),
        }
    )

    def household_target(self, p: Any) -> HouseholdTarget:
        one = super().household_target(p)
        rich = (p.B_bar - p.share * p.debt) / (1 - p.share)
        unknowns = {"beta_poor": one.brackets["beta"], "beta_rich": one.brackets["beta"]}
        return HouseholdTarget(one.inputs, unknowns=unknowns, targets={"poor.A": p.debt, "rich.A": rich})


def solver_of(model: Any) -> Solver:
    model = canonical_form(model)
    names = tuple(o.name for o in model.observables)
    data = Dataset((), names, names, names, np.zeros((0, len(names))), np.zeros(len(names)))
    return Solver(Setting(model, data, T, 20, model.parameters.priors()))


@pytest.fixture(scope="module")
def alone() -> Solver:
    return solver_of(OneAssetHANK(household=SMALL))


@pytest.mark.long
def test_two_types_that_are_the_same_are_one(alone: Solver) -> None:
    both = solver_of(TwoTypes())
    assert both.steady.reference.parameters["beta"] == pytest.approx(
        alone.steady.reference.parameters["beta"], abs=1e-10
    )
    point = alone.setting.reference()
    one, two = alone.unknowns_at(point), both.unknowns_at(point)
    names, more = alone.setting.model.unknowns, both.setting.model.unknowns
    for name in names:
        for same in (name,) if name in more else (f"poor.{name}", f"rich.{name}"):
            np.testing.assert_allclose(two[:, more.index(same)], one[:, names.index(name)], atol=1e-9, err_msg=same)


def test_several_unknowns_are_what_each_would_be_alone() -> None:
    state = solve_steady_state(Apart())
    for name, debt in (("poor", 0.5), ("rich", (1 - 0.3 * 0.5) / 0.7)):
        model = OneAssetHANK(household=SMALL)
        inputs = model.household_target(model.parameters.values_with({})).inputs

        class Single(OneAssetHANK):
            household = SMALL

            def household_target(self, p: Any, inputs: Any = inputs, debt: float = debt) -> HouseholdTarget:
                return HouseholdTarget(inputs, "beta", (0.5, 0.999 / 1.005), "A", debt)

            def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Any:
                for name, value in super().equations(lag, now, lead, household, shock, p):
                    yield name, value if name != "asset market" else now.B - p.B_bar

            def steady_state(self, p: Any, household: Any) -> Any:
                return {**super().steady_state(p, household), "Y": 1.0}

        expected = solve_steady_state(Single()).parameters["beta"]
        assert state.parameters[f"beta_{name}"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.long
def test_derivatives_of_several_unknowns_are_differences() -> None:
    solver = SteadySolver(Apart(), {"eis": 0.1, "debt": 0.1}, 10)
    start = solver._point_of(solver.reference)
    weights = np.random.default_rng(0).normal(size=(3, 60))

    @jax.jit
    def values(x: jax.Array) -> jax.Array:
        given, bounds, problem = solver._problem({"eis": x[0], "debt": x[1]})
        households, _, point = solver._kernel_without_jacobians(problem, given, bounds, start)
        more = jnp.stack([jnp.vdot(weights, h.distribution) for h in households])
        return jnp.concatenate([point.unknowns, more])

    at = np.array([0.52, 0.6])
    slopes = np.asarray(jax.jit(jax.jacrev(values))(at))
    for i in range(2):
        step = 1e-5 * np.eye(2)[i]
        numeric = (np.asarray(values(at + step)) - np.asarray(values(at - step))) / 2e-5
        np.testing.assert_allclose(slopes[:, i], numeric, atol=2e-5)


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (
            HouseholdTarget({"r": 0.0, "Z": 1.0}, unknowns={"beta": (0.5, 0.9)}, targets={}),
            "1 unknowns .* for 0 targets",
        ),
        (HouseholdTarget({"r": 0.0, "Z": 1.0}, "beta", (0.9, 0.5), "poor.A", 1.0), "is empty"),
        (HouseholdTarget({"r": 0.0, "Z": 1.0}, "beta", (0.5, 0.9), "poor.B", 1.0), "not a household output"),
        (HouseholdTarget({"r": 0.0, "Z": 1.0}, "bta", (0.5, 0.9), "poor.A", 1.0), "did you mean 'beta'"),
        (HouseholdTarget({"r": 0.0}, "beta", (0.5, 0.9), "poor.A", 1.0), "no value of the input 'Z'"),
    ],
)
def test_targets_that_cannot_be_meant_are_refused(target: Any, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TwoTypes, "household_target", lambda self, p: target)
    with pytest.raises(ModelError, match=sentence):
        solve_steady_state(TwoTypes())


def test_households_are_blocks_or_named_blocks() -> None:
    for wrong in ({"poor": 3}, (SMALL, SMALL), {}, {"two words": SMALL}):
        with pytest.raises(ModelError, match="one household block"):
            make_model(household=wrong)
