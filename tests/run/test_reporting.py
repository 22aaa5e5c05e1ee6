"""What the report is told about parameters and criteria comes from the model and the configuration."""

from __future__ import annotations

from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from estimhank.households.stationary import SteadyStateError
from estimhank.run.config import make_config
from estimhank.run.reporting import criteria_of, household_moments, parameter_infos
from tests.helpers import golden


def test_parameters_carry_the_models_names_and_priors(posterior):
    infos = {info.name: info for info in parameter_infos(posterior)}
    assert tuple(infos) == posterior.names
    phi_pi = infos["phi_pi"]
    assert phi_pi.latex == r"\phi_\pi" and phi_pi.prior_family == "normal" and phi_pi.lower == 1.0
    assert (phi_pi.prior_mean, phi_pi.prior_sd) == pytest.approx((1.7, 0.3))
    grid = np.linspace(1.0, 4.0, 3001)[1:]
    assert np.trapezoid(phi_pi.prior_density(grid), grid) == pytest.approx(1.0, abs=1e-3)  # type: ignore[arg-type]
    total = sum(
        float(info.log_prior(np.array([value]))[0])  # type: ignore[misc]
        for info, value in zip(infos.values(), posterior.reference(), strict=True)
    )
    assert total == pytest.approx(posterior.log_prior(posterior.reference()), abs=1e-10)


def test_criteria_are_those_of_the_configuration():
    criteria = criteria_of(make_config({"posterior": {"min_ess": 120, "max_r_hat": 1.05}}))
    assert (criteria.ess, criteria.ess_tail, criteria.r_hat) == (120, 120, 1.05)
    assert criteria_of(make_config({"posterior": {"min_ess": 5000}})).ess_tail == 400


class _Solver:
    """Households of the default model at every draw but those with little debt; eis in place of the discount factor."""

    spread: ClassVar = {"eis": 0.1, "B_bar": 0.25}

    def __init__(self, household):
        self.household, self.asked = household, []

    def stationary_at(self, changes):
        self.asked.append(changes)
        if changes["B_bar"] < 0.5:
            raise SteadyStateError("no_bracket", "out of reach")
        return (self.household,), {"beta": changes["eis"]}


def test_households_are_asked_at_draws_spread_evenly_and_failures_are_counted(posterior):
    solver = _Solver(posterior.steady_state.household)
    target = SimpleNamespace(
        model=posterior.model,
        names=("eis", "B_bar"),
        steady_state=posterior.steady_state,
        solver=SimpleNamespace(steady=solver),
    )
    exact = np.stack([np.arange(2 * 300.0).reshape(2, 300) / 600, np.ones((2, 300))], axis=-1)
    prior = np.random.default_rng(0).uniform(size=(50, 2))
    few = household_moments(target, SimpleNamespace(exact=SimpleNamespace(theta=exact), prior=prior))  # type: ignore[arg-type]
    assert len(solver.asked) == 250 and few.posterior.shape == (200, 9) and few.parameters == ("eis", "B_bar")
    low = int((prior[:, 1] < 0.5).sum())
    assert few.left_out == {"posterior": {}, "prior": {"no_bracket": low}} and len(few.prior) == 50 - low  # type: ignore[arg-type]
    np.testing.assert_array_equal(few.prior[:, -1], prior[prior[:, 1] >= 0.5, 0])
    assert (few.posterior[0, -1], few.posterior[-1, -1]) == (0, 599 / 600)
    golden.DEFAULT_BETA.check(few.calibrated[-1])
    assert few.moments[-1].key == "beta"


def test_a_model_whose_steady_state_stays_has_its_calibration(posterior):
    found = household_moments(posterior, SimpleNamespace(prior=None, exact=None))  # type: ignore[arg-type]
    assert not found.estimated
    golden.DEFAULT_CONSTRAINED.check(found.calibrated[3])
    target = SimpleNamespace(model=SimpleNamespace(problems=(), blocks=()), solver=SimpleNamespace(steady=None))
    assert household_moments(target, SimpleNamespace()) is None  # type: ignore[arg-type]
