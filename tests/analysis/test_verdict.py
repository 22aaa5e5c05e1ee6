"""The verdict says whether to trust a run, and why, for every way in which a run can go wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from estimhank.analysis.facts import HorizonCheck
from estimhank.analysis.verdict import Criteria, Evidence, Severity, Verdict, judge_run
from estimhank.report.inputs import ReportInputs
from estimhank.surrogate.certificate import NOT_CONVERGED
from tests.helpers.synthetic_run import PEAK, synthetic_inputs


@pytest.fixture(scope="module")
def good() -> ReportInputs:
    """A run that has converged, with a certificate that passed."""
    return synthetic_inputs()


def finding(verdict: Verdict, topic: str):
    """The finding on one topic."""
    return next(f for f in verdict.findings if f.topic == topic)


def test_a_good_run_is_to_be_trusted(good: ReportInputs) -> None:
    assert good.verdict.level is Severity.GOOD
    assert good.verdict.headline.startswith("You can trust this posterior")
    assert f"{good.exact.r_hat.max():.4f}" in finding(good.verdict, "Convergence").text
    assert f"{int(good.exact.ess_bulk.min()):,}" in finding(good.verdict, "Convergence").text
    assert "7 of 8 starts" in finding(good.verdict, "Mode").text
    assert "one other local mode 36.4 log points lower" in finding(good.verdict, "Mode").text


def test_a_failed_certificate_names_each_figure_and_how_far_it_is_off() -> None:
    verdict = synthetic_inputs(error=0.11).verdict
    assert verdict.level is Severity.CARE
    assert "trust the exact posterior, but not the surrogate" in verdict.headline
    text = finding(verdict, "Certificate").text
    assert "s_e at 0.1100 ± 0.0033 against a limit of 0.050 (2.2 times the limit)" in text
    assert (
        "second-stage acceptance at 93.40 ± 0.21 % against a lower limit of 95.0 % (1.6 percentage points short)"
        in text
    )
    assert "Pareto" not in text and "does not rest on the surrogate" in text


def test_a_certificate_can_fail_because_the_exact_stage_did() -> None:
    inputs = synthetic_inputs()
    certificate = {**(inputs.certificate or {}), "passed": False, "reasons": ["the exact stage has not converged"]}
    text = finding(replace(inputs, certificate=certificate).verdict, "Certificate").text
    assert text.startswith("Failed: the exact stage has not converged.")


def test_local_modes_that_were_left_out_are_named() -> None:
    inputs = synthetic_inputs()
    words = "chains around a local mode, 8.2 log points below the highest, were begun elsewhere"
    verdict = replace(inputs, certificate={**(inputs.certificate or {}), "left_out": words}).verdict
    assert finding(verdict, "Local modes").text == f"C{words[1:]}."
    assert not any(f.topic == "Local modes" for f in inputs.verdict.findings)


def test_chains_that_disagree_are_not_to_be_trusted() -> None:
    verdict = synthetic_inputs(converged=False).verdict
    assert verdict.level is Severity.BAD
    assert verdict.headline == "Do not trust this posterior yet: the exact chains have not converged."
    assert "R̂ is above 1.01 for" in finding(verdict, "Convergence").text


def test_too_few_draws_are_not_to_be_trusted(good: ReportInputs) -> None:
    verdict = replace(good, criteria=Criteria(ess=1e6)).verdict
    assert verdict.level is Severity.BAD
    assert verdict.headline == "Do not trust this posterior yet: it holds too few effective draws."
    assert "11 parameters have fewer than 1,000,000 effective draws" in finding(verdict, "Convergence").text


def test_a_trial_run_that_meets_its_own_loose_criteria_is_not_to_be_quoted() -> None:
    inputs = synthetic_inputs(chains=4, draws=40)
    verdict = replace(inputs, criteria=Criteria(r_hat=1.2, ess=50)).verdict
    assert verdict.level is Severity.CARE and verdict.headline.startswith("Do not quote this posterior")
    assert "at least 400 of each" in finding(verdict, "Convergence").text


def test_a_single_chain_cannot_be_judged() -> None:
    inputs = synthetic_inputs(chains=1, draws=100)
    constant = replace(inputs.exact, r_hat=np.full(11, np.nan))
    verdict = judge_run(Evidence(names=inputs.arrays.names, exact=constant, draws=100))
    assert verdict.level is Severity.BAD and "cannot be computed for kappa_w" in verdict.findings[0].text


def evidence(good: ReportInputs, **changes: Any) -> Evidence:
    """The evidence of a good run with some of it replaced."""
    plain = Evidence(names=good.arrays.names, exact=good.exact, draws=1600, mode=good.mode, best_draw=PEAK - 1.0)
    return replace(plain, **changes)


def test_a_draw_above_the_mode_means_that_the_search_missed_the_peak(good: ReportInputs) -> None:
    verdict = judge_run(evidence(good, best_draw=PEAK + 0.5))
    assert verdict.level is Severity.CARE and "0.50 above the mode" in finding(verdict, "Peak").text
    assert "peak" in verdict.headline


def test_chains_that_have_not_mixed_where_the_surrogate_is_wrong_have_not_converged(good: ReportInputs) -> None:
    verdict = judge_run(evidence(good, certificate_passed=False, certificate_reasons=(NOT_CONVERGED,)))
    assert verdict.level is Severity.BAD
    assert "not mixed between places where the surrogate is right" in finding(verdict, "Convergence").text


def test_what_has_not_converged_is_said_in_the_words_of_the_exact_stage(good: ReportInputs) -> None:
    reason = f"{NOT_CONVERGED}: the draws do not cover the tails"
    verdict = judge_run(evidence(good, certificate_passed=False, certificate_reasons=(reason,)))
    assert verdict.level is Severity.BAD
    assert finding(verdict, "Convergence").text.startswith("Not there yet: the draws do not cover the tails.")
    assert verdict.headline == "Do not trust this posterior yet: the draws do not cover the tails."


def test_few_starts_at_the_best_mode_ask_for_care(good: ReportInputs) -> None:
    verdict = judge_run(evidence(good, mode=replace(good.mode, agreeing=3)))
    assert finding(verdict, "Mode").level is Severity.CARE


def test_a_hessian_that_is_not_that_of_a_maximum_asks_for_care(good: ReportInputs) -> None:
    verdict = judge_run(evidence(good, mode=replace(good.mode, positive_definite=False)))
    assert "not positive definite" in finding(verdict, "Curvature").text


def test_a_horizon_that_moves_the_likelihood_asks_for_care(good: ReportInputs) -> None:
    assert (
        finding(judge_run(evidence(good, horizon=HorizonCheck(300, 500, 100, 0.0099, 0.03))), "Horizon").level
        is Severity.GOOD
    )
    verdict = judge_run(evidence(good, horizon=HorizonCheck(100, 500, 100, 0.02, 0.07)))
    assert finding(verdict, "Horizon").level is Severity.CARE and "Lengthen" in finding(verdict, "Horizon").text


def test_numerical_failures_are_counted_but_economic_ones_are_not_faults(good: ReportInputs) -> None:
    fine = judge_run(evidence(good, failures={"ok": 500, "indeterminate": 400, "steady_state": 1}))
    assert fine.level is Severity.GOOD
    verdict = judge_run(evidence(good, failures={"ok": 900, "steady_state": 60, "non_finite": 40}))
    assert "10.0 % of 1,000 evaluations" in finding(verdict, "Numerical failures").text
    assert "no steady state found 60 times" in finding(verdict, "Numerical failures").text


def test_without_a_certificate_the_report_says_so(good: ReportInputs) -> None:
    verdict = judge_run(evidence(good))
    assert finding(verdict, "Certificate").level is Severity.NOTE
    assert verdict.headline == "You can trust this posterior: the exact chains have converged."
    assert verdict.as_text().splitlines()[0] == verdict.headline
