"""What is read off a mode search."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from estimhank.analysis.modes import determinate_share, laplace_sd
from tests.helpers.synthetic_run import synthetic_inputs

MODE: Any = synthetic_inputs(chains=2, draws=8).mode


def test_laplace_standard_deviations_are_those_of_the_inverse_hessian() -> None:
    covariance = np.eye(len(MODE.names)) * np.logspace(-8, 2, len(MODE.names))
    covariance[0, 1] = covariance[1, 0] = 0.5 * np.sqrt(covariance[0, 0] * covariance[1, 1])
    mode = replace(MODE, hessian=np.linalg.inv(covariance))
    assert laplace_sd(mode) == pytest.approx(np.sqrt(np.diag(covariance)), rel=1e-9)


def test_no_standard_deviations_without_a_proper_maximum() -> None:
    assert np.isnan(laplace_sd(replace(MODE, positive_definite=False))).all()


def test_determinate_share_counts_only_determinacy() -> None:
    share = determinate_share(
        replace(MODE, prior_draws=400, infeasible_prior={"indeterminate": 0.1, "non_finite": 0.2})
    )
    assert share.share == pytest.approx(0.9) and share.mcse == pytest.approx(np.sqrt(0.09 / 400))
    assert determinate_share(replace(MODE, prior_draws=0)) is None
