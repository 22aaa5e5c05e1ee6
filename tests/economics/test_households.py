"""Who responds, and to what: against the solution, the same households elsewhere, and results that were spoilt."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from estimhank.adapters.jacobians import from_jacobians
from estimhank.data.dataset import Dataset
from estimhank.economics.draws import ReducedDraws
from estimhank.economics.reporting import Reporting
from estimhank.economics.result import IdentityError
from estimhank.economics.study import Study
from estimhank.households.one_asset import StandardIncompleteMarkets
from estimhank.model import Gamma
from estimhank.models.new_keynesian import NewKeynesian
from estimhank.models.one_asset_hank import OneAssetHANK
from estimhank.posterior.posterior import Posterior
from estimhank.support.errors import ConfigError
from tests.households.test_several_blocks import TwoTypes

pytestmark = pytest.mark.long  # minutes, all together

SMALL = StandardIncompleteMarkets(n_e=3, n_a=80, a_max=100.0, scheme="smooth")
T = 120


def posterior_of(model: Any) -> Posterior:
    values = np.random.default_rng(1).standard_normal((20, len(model.observables)))
    dates = tuple(f"{1990 + i // 4}Q{i % 4 + 1}" for i in range(20))
    names, units = zip(*((o.name, o.units) for o in model.observables), strict=True)
    return Posterior(model, Dataset(dates, names, units, names, values, np.zeros(len(names))), T, 80)


#: Shocks and debt die out within the horizon.
FAST = {"rho_w": 0.7, "rho_g": 0.6, "phi_b": 0.4}


def study_of(posterior: Posterior, at: Any = None, **conventions: Any) -> Study:
    return Study(ReducedDraws.at(posterior, {**FAST, **(at or {})}), Reporting(**conventions), ahead=8)


@cache
def fixed() -> Study:
    return study_of(posterior_of(OneAssetHANK(household=SMALL)), variables=("log C", "A"))


@cache
def moving() -> Posterior:
    table = OneAssetHANK.parameters.changed("eis", prior=Gamma(0.5, 0.1)).changed("sd_e", prior=Gamma(0.92, 0.1))
    return posterior_of(OneAssetHANK(table, SMALL))


def test_effects_add_up_to_the_responses() -> None:
    """Of consumption, whose response comes from the budget, and of assets: the Jacobians do not."""
    study = fixed()
    found, responses = study.direct_and_indirect(20), study.responses(20).draws.response
    for output, variable in (("C", "log C"), ("A", "A")):
        level = float(study.draws.posterior.steady_state.values[output])
        expected = responses.sel(variable=variable).values * (1.0 if variable == "log C" else 100 / level)
        mine = found.draws.effect.sel(output=output).sum("input").transpose("draw", "horizon", "shock").values
        np.testing.assert_allclose(mine, expected, atol=1e-9)
    assert found.units == {"A": "percent", "C": "percent"}
    assert "by r" in found.summary() and "by Z" in found.summary()
    assert max(found.check().values()) < 1e-10


@pytest.mark.long
def test_groups_add_up_and_are_the_same_in_a_model_whose_steady_state_moves() -> None:
    one = fixed().household_responses(20)
    assert max(one.check().values()) < 1e-10
    again = study_of(moving()).household_responses(20)
    for name in ("consumption", "given_states", "contribution", "inequality", "size", "share", "level", "between"):
        np.testing.assert_allclose(again.draws[name], one.draws[name], atol=2e-6, err_msg=name)
    elsewhere = study_of(moving(), {"eis": 0.6, "sd_e": 0.8})
    other, effects = elsewhere.household_responses(20), elsewhere.direct_and_indirect(20)
    assert max(other.check().values()) < 1e-8 and max(effects.check().values()) < 1e-8
    assert float(abs(other.draws.level - one.draws.level).max()) > 1.0
    size = one.groups()["size"]
    np.testing.assert_allclose(size.filter(like="wealth"), 20.0, atol=1e-9)
    assert size.filter(like="hand-to-mouth").sum() == pytest.approx(100.0)
    assert set(one.table().quantity) == set(one.shown) and "hand-to-mouth" in one.summary()


def test_results_that_were_spoilt_are_refused() -> None:
    groups, effects = fixed().household_responses(8), fixed().direct_and_indirect(8)
    spoilt = groups.draws.copy(deep=True)
    spoilt.contribution[0, 3, 1, 0] *= 1 + 1e-6
    with pytest.raises(IdentityError, match="groups add up"):
        replace(groups, draws=spoilt)
    spoilt = groups.draws.copy(deep=True)
    spoilt.given_states[0, 0, 1, 0] *= 1 + 1e-6
    with pytest.raises(IdentityError, match="where they were"):
        replace(groups, draws=spoilt)
    for name in ("effect", "response"):
        spoilt = effects.draws.copy(deep=True)
        spoilt[name][0, 5, 1] *= 1 + 1e-6
        with pytest.raises(IdentityError, match="effects add up"):
            replace(effects, draws=spoilt)


def test_jacobians_of_other_households_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readings of a distribution that is not that of the solution do not add up to it."""
    study = study_of(posterior_of(OneAssetHANK(household=SMALL)))
    reference = study.draws.posterior.solver.steady.reference
    household = reference.households[0]
    mass = np.asarray(household.distribution)[:, ::-1]
    wrong = replace(reference, households=(household._replace(distribution=jnp.asarray(mass)),))
    monkeypatch.setattr(study.draws.posterior.solver.steady, "reference", wrong)
    with pytest.raises(IdentityError):
        study.direct_and_indirect(8)
    with pytest.raises(IdentityError):
        study.household_responses(8)


@pytest.mark.long
def test_several_blocks() -> None:
    study = study_of(posterior_of(TwoTypes()))
    groups, effects = study.household_responses(8), study.direct_and_indirect(8, ["poor.C", "rich.A"])
    assert [str(name) for name in groups.draws.of.values] == ["poor.C", "rich.C"]
    poor, rich = (groups.draws.consumption.sel(group=f"{name}: hand-to-mouth").values for name in ("poor", "rich"))
    np.testing.assert_allclose(poor, rich, atol=1e-9)
    assert effects.draws.output.values.tolist() == ["poor.C", "rich.A"]
    with pytest.raises(ConfigError, match="one output for each block"):
        study.household_responses(8, ["poor.C"])


@pytest.mark.long
def test_households_that_came_as_jacobians_have_effects_and_no_groups() -> None:
    own = fixed().draws.posterior
    parts = own.solver.steady.reference_parts
    arrays, names = np.asarray(parts.household.jacobians), ("r", "Z")
    values = {name: float(parts.values[name]) for name in (*names, "A", "C")}

    class Given(OneAssetHANK):
        """Of the small households' Jacobians, consumption by the budget."""

        def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Any:
            spent = (1 + now.r) * lag.B + now.Z - household.A
            yield from super().equations(lag, now, lead, SimpleNamespace(A=household.A, C=spent), shock, p)

        def steady_state(self, p: Any, household: Any) -> Any:
            return super().steady_state(p, SimpleNamespace(C=values["C"]))

    household = from_jacobians(
        {"A": {name: arrays[0, i] for i, name in enumerate(names)}}, {n: values[n] for n in names}, {"A": values["A"]}
    )
    table = OneAssetHANK.parameters.changed("beta", value=float(parts.parameters["beta"]))
    study = study_of(posterior_of(Given(table, household)))
    found, expected = study.direct_and_indirect(12).draws, fixed().direct_and_indirect(12, ["A"]).draws
    np.testing.assert_allclose(found.effect, expected.effect, atol=1e-7)
    for outputs in (None, ["A"]):
        with pytest.raises(ConfigError, match="came as Jacobians, without a distribution"):
            study.household_responses(8, outputs)


def test_what_cannot_be_asked() -> None:
    without = Study(ReducedDraws.at(posterior_of(NewKeynesian()), {}))
    for ask in (without.household_responses, without.direct_and_indirect):
        with pytest.raises(ConfigError, match="the model new_keynesian has no households"):
            ask()
    with pytest.raises(ConfigError, match=r"no output 'c'.*A, C"):
        fixed().direct_and_indirect(8, ["c"])
    with pytest.raises(ConfigError, match=r"one output for each block of households: name which, of A, C; not c"):
        fixed().household_responses(8, ["c"])
    with pytest.raises(ConfigError, match="has no households"):
        without.household_responses(8, ["C"])
    assets = fixed().household_responses(4, ["A"])
    assert assets.draws.of.values.tolist() == ["A"] and max(assets.check().values()) < 1e-10
    with pytest.raises(ConfigError, match="0 to 59 quarters, not 60"):
        fixed().direct_and_indirect(60)
    with pytest.raises(ConfigError, match="one quarter or more"):
        fixed().household_responses(0)
