"""What the report is told about parameters and criteria comes from the model and the configuration."""

from __future__ import annotations

import numpy as np
import pytest

from estimhank.config import make_config
from estimhank.reporting import criteria_of, parameter_infos


def test_parameters_carry_the_models_names_and_priors(posterior):
    infos = {info.name: info for info in parameter_infos(posterior)}
    assert tuple(infos) == posterior.names
    phi_pi = infos["phi_pi"]
    assert phi_pi.latex == r"\phi_\pi" and phi_pi.prior_family == "normal" and phi_pi.lower == 1.0
    assert (phi_pi.prior_mean, phi_pi.prior_sd) == pytest.approx((1.7, 0.3))
    grid = np.linspace(1.0, 4.0, 3001)[1:]
    assert np.trapezoid(phi_pi.prior_density(grid), grid) == pytest.approx(1.0, abs=1e-3)  # truncation included
    total = sum(
        float(info.log_prior(np.array([value]))[0])
        for info, value in zip(infos.values(), posterior.reference(), strict=True)
    )
    assert total == pytest.approx(posterior.log_prior(posterior.reference()), abs=1e-10)


def test_criteria_are_those_of_the_configuration():
    criteria = criteria_of(make_config({"posterior": {"min_ess": 120, "max_r_hat": 1.05}}))
    assert (criteria.ess, criteria.ess_tail, criteria.r_hat) == (120, 120, 1.05)
    assert criteria_of(make_config({"posterior": {"min_ess": 5000}})).ess_tail == 400
