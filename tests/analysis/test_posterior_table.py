"""The prior/posterior table and the distance between two posteriors."""

from __future__ import annotations

import numpy as np
import pytest

from estimhank.analysis.parameters import ParameterInfo
from estimhank.analysis.posterior_table import (
    compare_surrogate,
    correlation_matrix,
    posterior_table,
    strongest_correlations,
)
from estimhank.analysis.summary import summarise_draws

PARAMETERS = (ParameterInfo("a"), ParameterInfo("b"))


def draws(seed: int, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    """Independent draws of two parameters."""
    return shift + scale * np.random.default_rng(seed).normal(size=(4, 500, 2))


def test_rows_hold_the_summary_of_their_own_parameter() -> None:
    exact = draws(1) * [1.0, 10.0]
    rows = posterior_table(PARAMETERS, summarise_draws(exact), summarise_draws(draws(2)), np.array([0.1, 0.2]))
    assert [row.parameter.name for row in rows] == ["a", "b"]
    assert [row.mode for row in rows] == [0.1, 0.2]
    assert rows[1].sd == pytest.approx(exact[..., 1].std(ddof=1))
    assert rows[1].q05 == pytest.approx(np.quantile(exact[..., 1], 0.05))
    assert rows[0].surrogate_mean == pytest.approx(draws(2)[..., 0].mean())


def test_a_run_without_mode_and_surrogate_leaves_these_columns_empty() -> None:
    row = posterior_table(PARAMETERS, summarise_draws(draws(1)))[0]
    assert np.isnan([row.mode, row.surrogate_mean, row.surrogate_sd]).all()


def test_wrong_number_of_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match="mode has 3 parameters, the table 2"):
        posterior_table(PARAMETERS, summarise_draws(draws(1)), mode=np.zeros(3))


def test_gap_is_measured_in_exact_standard_deviations() -> None:
    exact = 3.0 * draws(1)
    moved = summarise_draws(exact + 0.6)
    gap = compare_surrogate(summarise_draws(exact), moved)
    assert gap.mean == pytest.approx(0.6 / exact.std(axis=(0, 1), ddof=1))
    assert gap.q95 == pytest.approx(gap.mean) and gap.sd_ratio == pytest.approx([1.0, 1.0])


def test_gap_of_equal_laws_is_within_its_own_errors() -> None:
    scores = []
    for seed in range(40):
        gap = compare_surrogate(summarise_draws(draws(seed)), summarise_draws(draws(1000 + seed)))
        scores += [*(gap.mean / gap.mcse_mean), *((gap.sd_ratio - 1) / gap.mcse_sd_ratio)]
    assert np.std(scores) == pytest.approx(1.0, abs=0.25)


def test_strongest_correlations_come_first_whatever_their_sign() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2, 2000, 4))
    x[..., 1] = -0.9 * x[..., 0] + 0.3 * x[..., 1]
    x[..., 3] += 0.5 * x[..., 2]
    pairs = strongest_correlations(x, 2)
    assert [(i, j) for i, j, _ in pairs] == [(0, 1), (2, 3)]
    assert pairs[0][2] == pytest.approx(np.corrcoef(x[..., 0].ravel(), x[..., 1].ravel())[0, 1])
    assert len(strongest_correlations(x, 99)) == 6


def test_correlation_with_a_parameter_that_never_moves_is_nan() -> None:
    x = draws(1)
    x[..., 1] = 2.0
    assert np.isnan(correlation_matrix(x)[0, 1])
    assert strongest_correlations(x)[0][2] == 0
