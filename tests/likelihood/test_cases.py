"""Small models whose likelihood is known in closed form, or has a reason not to exist."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from estimhank.data.dataset import Dataset
from estimhank.model import (
    AR1,
    IID,
    Growth,
    HouseholdTarget,
    Level,
    Model,
    Parameter,
    Parameters,
    SqrtInverseGamma,
    StandardIncompleteMarkets,
)
from estimhank.posterior.posterior import Posterior
from tests.helpers import golden
from tests.helpers.small_models import make_model

Y = [1.0, 2.0, 2.5, 3.0, 2.0, 1.0, 0.5, 1.5]


def fixed(value: float | None, touches: Any = "equilibrium") -> Parameter:
    return Parameter(value, "x", "x", touches=touches)


SIGMA = Parameter(1.0, r"\sigma", "s.d.", SqrtInverseGamma(1.0, 4.0), "shocks")


def dataset(values: np.ndarray, names: str) -> Dataset:
    dates = tuple(f"{2000 + i // 4}Q{i % 4 + 1}" for i in range(len(values)))
    return Dataset(dates, tuple(names), ("",) * len(names), tuple(names), values, np.zeros(len(names)))


class Levels(Model):
    """Two growth rates, the two levels that they add up to, and the sum of the growth rates."""

    name, variables, shocks = "levels", ("x", "P", "u", "Q", "s"), (AR1("e"), AR1("f"))
    observables = (Growth("P", "y"), Growth("Q", "z"), Level("s", "s"))
    parameters = Parameters(
        rho_e=fixed(0.5, "shocks"), rho_f=fixed(0.5, "shocks"), sigma_f=fixed(1.0, "shocks"), sigma_e=SIGMA
    )
    sign = 1.0

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        yield "x", now.x - shock.e
        yield "P", self.sign * (now.P - lag.P - now.x)
        yield "u", now.u - shock.f
        yield "Q", now.Q - lag.Q - now.u
        yield "s", now.s - now.x - now.u

    def steady_state(self, p: Any, household: Any) -> dict[str, float]:
        return {"x": 0.0, "P": 1.0, "u": 0.0, "Q": 1.0, "s": 0.0}


class Reversed(Levels):
    """The same with an equation the other way round."""

    sign = -1.0


def two_of_three() -> np.ndarray:
    """Two of the three series on each date: more observables than shocks, never more than shocks on one date."""
    values = np.column_stack([Y, Y, np.add(Y, Y)])
    values[:, 2] = np.nan
    return values


@pytest.mark.parametrize("kind", [Levels, Reversed])
def test_any_number_of_levels_observed_in_growth(kind: type[Levels]) -> None:
    posterior = Posterior(kind(), dataset(two_of_three(), "yzs"))
    golden.AR1_LOG_LIKELIHOOD.check(posterior.log_likelihood([1.0]) / 2)
    assert posterior.tail_error([1.0]) < 1e-10


def test_the_covariance_decides_what_is_singular() -> None:
    values = two_of_three()
    values[:, 1], values[:, 2] = np.nan, np.add(Y, Y)
    # x and the sum on every date are x and u, of which the change of variables has a determinant of one
    posterior = Posterior(Levels(), dataset(values, "yzs"))
    golden.AR1_LOG_LIKELIHOOD.check(posterior.log_likelihood([1.0]) / 2)


class Walk(Levels):
    """One of the levels observed as it is."""

    observables = (Growth("P", "y"), Level("Q", "z", scale=1.0))  # type: ignore[assignment]


def test_a_random_walk_in_levels_has_no_stationary_distribution() -> None:
    out = Posterior(Walk(), dataset(np.column_stack([Y, Y]), "yz")).evaluate([1.0])
    assert (out.reason, out.log_likelihood) == ("not_stationary", -np.inf)


class Huggett(Model):
    """Bonds in fixed supply, a return that is fixed a period ahead, endowment shocks."""

    name, variables, shocks, observables = "huggett", ("r", "ra", "Z"), (AR1("z"),), (Level("ra", "y"),)
    household = StandardIncompleteMarkets(inputs=("r", "Z"), outputs=("A", "C"), n_a=100, n_e=5)
    parameters = Parameters(
        rho_z=fixed(0.8, "shocks"), sigma_z=SIGMA, eis=fixed(0.5, "steady_state"), rho_e=fixed(0.976, "steady_state"),
        sd_e=fixed(0.92, "steady_state"), rbar=fixed(0.005, "steady_state"), B=fixed(1.0, "steady_state"),
        beta=fixed(None, "steady_state"),
    )  # fmt: skip

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        yield "return", now.r - lag.ra
        yield "income", now.Z - (1 - p.rbar * p.B + shock.z - (now.r - p.rbar) * p.B)
        yield "bond market", household.A - p.B

    def household_target(self, p: Any) -> HouseholdTarget:
        inputs = {"r": p.rbar, "Z": 1 - p.rbar * p.B}
        return HouseholdTarget(inputs, "beta", (0.5, 0.999 / (1 + p.rbar)), "A", p.B)

    def steady_state(self, p: Any, household: Any) -> dict[str, Any]:
        return {"r": p.rbar, "ra": p.rbar, "Z": 1 - p.rbar * p.B}


@pytest.mark.long
def test_a_return_that_only_matters_beyond_the_horizon() -> None:
    rates = np.array([[0.1, 0.2, -0.1, 0.3, 0.1, 0.0, 0.2, -0.2]]).T
    posterior = Posterior(Huggett(), dataset(rates, "y"))
    golden.HUGGETT_LOG_LIKELIHOOD.check(posterior.log_likelihood([1.0]))
    golden.HUGGETT_RESPONSE.check(posterior.responses([1.0])[:3, 0, 0])


@pytest.mark.parametrize("ahead", [1, 4, 8, 13])
def test_news_count_however_long_nothing_moved(ahead: int) -> None:
    """A shock without memory and its news are white noise, of which the second part comes when all else is over."""
    size = Parameter(2.0, "n", "s.d.", SqrtInverseGamma(1.0, 4.0), "shocks")
    model = make_model(
        shocks=(IID("e", scale=1.0, news=(ahead,)),),
        observables=(Level("x", "y", scale=1.0),),
        parameters={f"sigma_e_news{ahead}": size},
    )
    values = np.random.default_rng(0).normal(size=(30, 1))
    posterior = Posterior(model, dataset(values, "y"))
    want = norm(0, np.sqrt(5)).logpdf(values).sum()
    assert posterior.log_likelihood(posterior.reference()) == pytest.approx(want, abs=1e-9)
