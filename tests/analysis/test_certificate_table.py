"""The certificate's figures against the limits that its file states."""

from __future__ import annotations

import math
from typing import Any

import pytest

from estimhank.analysis.certificate_table import CertificateFigure, certificate_figures, other_reasons

LIMITS = {"s_e": 0.05, "wrong_accept": 0.002, "pareto_k": 0.667, "second_stage_acceptance": 0.95}
PERFECT = {"s_e": 0.0, "wrong_accept": 0.0, "pareto_k": -0.5, "second_stage_acceptance": 1.0, "limits": LIMITS}


def figure(key: str, **values: Any) -> CertificateFigure:
    """One figure of a certificate that is perfect but for ``values``."""
    return next(f for f in certificate_figures({**PERFECT, **values}) if f.key == key)


@pytest.mark.parametrize(
    ("key", "inside", "outside"),
    [
        ("s_e", 0.0499, 0.05),
        ("wrong_accept", 0.00199, 0.002),
        ("pareto_k", 0.66, 0.667),
        ("second_stage_acceptance", 0.951, 0.95),
    ],
)
def test_limits_are_those_of_the_file(key: str, inside: float, outside: float) -> None:
    assert figure(key, **{key: inside}).passed
    assert not figure(key, **{key: outside}).passed
    assert figure(key, **{key: inside}).severity < 1 <= figure(key, **{key: outside}).severity + 1e-12


def test_a_missing_figure_does_not_pass_and_one_without_a_limit_cannot_fail() -> None:
    missing = certificate_figures({"limits": LIMITS})
    assert [f.key for f in missing] == list(LIMITS) and not any(f.passed for f in missing)
    assert figure("outside_fence", outside_fence=0.9).passed


def test_words_for_numbers_that_json_lacks_are_understood() -> None:
    assert math.isnan(figure("s_e", s_e="nan").value) and math.isnan(figure("s_e", s_e=None).value)
    assert figure("s_e", s_e="inf").value == math.inf and not figure("s_e", s_e="inf").passed


def test_reasons_beyond_the_figures_are_kept() -> None:
    reasons = ["the error has s.d. 0.1 (less than 0.05 is needed)", "the exact stage has not converged"]
    assert other_reasons({**PERFECT, "s_e": 0.1, "reasons": reasons}) == ("the exact stage has not converged",)
    assert other_reasons(PERFECT) == ()
