"""The tables of a run against the arrays they come from."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from estimhank.report.inputs import ReportInputs
from estimhank.report.run_tables import (
    all_tables,
    certificate_table,
    data_table,
    evaluations_table,
    local_modes_table,
    mode_table,
    prior_posterior_table,
    surrogate_table,
    timing_table,
)
from estimhank.report.tables import Table
from tests.helpers.synthetic_run import PEAK, synthetic_inputs


@pytest.fixture(scope="module")
def inputs() -> ReportInputs:
    """A complete run."""
    return synthetic_inputs(chains=4, draws=100)


def rows_of(table: Table) -> list[dict[str, str]]:
    """The table as its CSV file has it."""
    return list(csv.DictReader(io.StringIO(table.to_csv())))


def test_prior_posterior_table_holds_priors_moments_and_convergence(inputs: ReportInputs) -> None:
    rows = rows_of(prior_posterior_table(inputs))
    assert tuple(row["name"] for row in rows) == inputs.arrays.names
    phi_pi, theta = rows[1], inputs.arrays.exact.theta[..., 1]
    assert (phi_pi["prior_family"], float(phi_pi["prior_mean"]), float(phi_pi["lower"])) == ("normal", 1.7, 1.0)
    assert float(phi_pi["posterior_mean"]) == pytest.approx(theta.mean(), rel=1e-12)
    assert float(phi_pi["q95"]) == pytest.approx(np.quantile(theta, 0.95))
    assert float(phi_pi["mode"]) == inputs.mode.theta[1]
    assert float(phi_pi["ess_tail"]) == inputs.exact.ess_tail[1]
    assert float(phi_pi["surrogate_sd"]) == pytest.approx(inputs.arrays.surrogate[..., 1].std(ddof=1))
    assert rows[8]["prior_family"] == "root inverse gamma" and rows[8]["unit"] == "percent"


def test_figures_that_miss_their_criterion_stand_out(inputs: ReportInputs) -> None:
    strict = replace(inputs, criteria=replace(inputs.criteria, ess=1e6))
    assert prior_posterior_table(strict).to_html().count("outside") == 11 + sum(inputs.exact.ess_tail < 400) + sum(
        inputs.exact.r_hat > 1.01
    )


def test_surrogate_table_is_in_exact_standard_deviations(inputs: ReportInputs) -> None:
    row = rows_of(surrogate_table(inputs))[2]
    exact, surrogate = inputs.arrays.exact.theta[..., 2], inputs.arrays.surrogate[..., 2]
    assert float(row["mean_gap"]) == pytest.approx((surrogate.mean() - exact.mean()) / exact.std(ddof=1))


def test_certificate_table_says_what_failed() -> None:
    rows = {row["key"]: row for row in rows_of(certificate_table(synthetic_inputs(error=0.11, chains=2, draws=20)))}
    assert rows["s_e"]["result"] == "failed" and rows["pareto_k"]["result"] == "passed"
    assert (rows["wrong_accept"]["shown_value"], rows["wrong_accept"]["shown_limit"]) == (
        "0.462 ± 0.022 %",
        "below 0.20 %",
    )
    assert float(rows["s_e"]["limit"]) == 0.05


def test_mode_tables_list_every_mode_best_first(inputs: ReportInputs) -> None:
    rows = rows_of(local_modes_table(inputs))
    assert [float(row["log_posterior"]) for row in rows] == [PEAK, PEAK - 36.4]
    assert [row["starts"] for row in rows] == ["7", "1"]
    assert float(rows[0]["kappa_w"]) == inputs.mode.theta[0]
    kappa = rows_of(mode_table(inputs))[0]
    assert float(kappa["laplace_sd"]) == pytest.approx(np.sqrt(np.linalg.inv(inputs.mode.hessian)[0, 0]), rel=1e-6)


def test_data_table_repeats_the_moments_of_the_snapshot(inputs: ReportInputs) -> None:
    growth, inflation, rate = rows_of(data_table(inputs))
    assert float(growth["mean_removed"]) == pytest.approx(0.70071846, abs=1e-8)
    assert float(growth["sd"]) == pytest.approx(0.78292186, abs=1e-8)
    assert float(inflation["sd"]) == pytest.approx(0.58517657, abs=1e-8)
    assert float(rate["sd"]) == pytest.approx(0.94488235, abs=1e-8)
    values = inputs.arrays.observed.values[:, 0]
    assert float(growth["autocorrelation"]) == pytest.approx(values[1:] @ values[:-1] / (values @ values))


def test_evaluations_add_up_over_stages_and_reasons(inputs: ReportInputs) -> None:
    rows = rows_of(evaluations_table(inputs))
    *stages, total = rows
    reasons = [key for key in total if key not in ("stage", "evaluations")]
    assert "steady_state" not in reasons and "not_positive_definite" in reasons
    for row in rows:
        assert int(row["evaluations"]) == sum(int(row[reason]) for reason in reasons)
    assert int(total["evaluations"]) == sum(int(row["evaluations"]) for row in stages)


def test_times_add_up(inputs: ReportInputs) -> None:
    *stages, total = rows_of(timing_table(inputs))
    assert float(total["seconds"]) == pytest.approx(sum(float(row["seconds"]) for row in stages))
    assert sum(float(row["share"]) for row in stages) == pytest.approx(1.0)


def test_a_run_without_a_surrogate_has_the_tables_that_it_can_have(inputs: ReportInputs) -> None:
    bare = ReportInputs("bare", inputs.parameters, replace(inputs.arrays, surrogate=None, observed=None, fresh=None))
    assert [table.name for table in all_tables(bare)] == ["prior_posterior", "correlations"]
    assert "Surrogate" not in prior_posterior_table(bare).to_html()
