"""Parameters as tables and figures see them: names, supports, normalised prior densities."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from estimhank.analysis.parameters import ParameterInfo, describe_parameters
from estimhank.models.one_asset_hank import OneAssetHANK
from estimhank.posterior.posterior import Posterior

MODEL = OneAssetHANK.parameters
ESTIMATED = describe_parameters(MODEL)


def test_only_estimated_parameters_are_described_in_the_order_of_the_posterior(posterior: Posterior) -> None:
    assert tuple(p.name for p in ESTIMATED) == posterior.names
    assert all(p.latex and p.description for p in ESTIMATED)


@pytest.mark.parametrize("info", ESTIMATED, ids=lambda p: p.name)
def test_prior_density_integrates_to_one_and_is_zero_outside(info: ParameterInfo) -> None:
    prior = MODEL[info.name].prior
    middle = float(prior.ppf(0.5))
    halves = [quad(lambda t: float(info.prior_density(np.array([t]))[0]), a, b, limit=200)[0] for a, b in (
        (info.lower, middle), (middle, info.upper))]  # fmt: skip
    assert sum(halves) == pytest.approx(1.0, abs=1e-6)
    outside = [bound for bound in (info.lower - 0.1, info.upper + 0.1) if np.isfinite(bound)]
    assert not info.prior_density(np.array(outside)).any()


@pytest.mark.parametrize("info", ESTIMATED, ids=lambda p: p.name)
def test_prior_density_is_the_one_of_the_log_posterior(info: ParameterInfo) -> None:
    prior = MODEL[info.name].prior
    theta = np.asarray(prior.ppf(np.array([0.02, 0.3, 0.5, 0.9])))
    assert np.log(info.prior_density(theta)) == pytest.approx(np.asarray(prior.logpdf(theta)), abs=1e-10)  # type: ignore[arg-type]


def test_label_falls_back_to_the_name_and_carries_the_unit() -> None:
    assert ParameterInfo("x").axis_label == "x"
    assert ParameterInfo("s", latex=r"\sigma", unit="percent").axis_label == r"$\sigma$ (percent)"
    assert ParameterInfo("x").prior_density([1.0]) is None
