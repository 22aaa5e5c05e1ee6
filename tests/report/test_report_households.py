"""What the report says about households: numbers against the draws, labels and reasons in words."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace

import numpy as np
import pytest

from estimhank.analysis.arrays import ExactDraws, PosteriorArrays
from estimhank.analysis.parameters import ParameterInfo
from estimhank.households.micro_moments import MOMENTS, MicroMoment, MicroMoments
from estimhank.report.households import micro_figure, micro_table, micro_words
from estimhank.report.html import render_page
from estimhank.report.inputs import ReportInputs
from estimhank.run.reporting import _existing

LEFT_OUT = {"prior": {"grid_too_small": 2, "no_bracket": 1}, "posterior": {}}


@pytest.fixture(scope="module")
def households() -> MicroMoments:
    """Invented draws: the data move the last moment by two prior standard deviations and narrow the fourth most."""
    moments = (*MOMENTS, MicroMoment("beta", "discount factor (asset market)", "", -math.inf, math.inf))
    rng = np.random.default_rng(0)
    centre, k = np.array([0.4, 0.25, 0.6, 0.3, 0.8, 0.66, 0.01, 0.05, 0.92]), len(moments)
    prior = centre * (1 + 0.1 * rng.normal(size=(197, k)))
    posterior = centre * (1 + 0.05 * rng.normal(size=(200, k)))
    posterior[:, 3] = centre[3] * (1 + 0.01 * rng.normal(size=200))
    posterior[:, 8] = centre[8] * (0.8 + 0.05 * rng.normal(size=200))
    return MicroMoments(moments, centre, prior, posterior, LEFT_OUT, ("eis", "sd_e"))


def test_the_table_holds_moments_of_the_draws(households: MicroMoments) -> None:
    rows = list(csv.DictReader(io.StringIO(micro_table(households).to_csv())))
    assert [row["key"] for row in rows] == [moment.key for moment in households.moments]
    for i, row in enumerate(rows):
        for name, draws in (("prior", households.prior), ("posterior", households.posterior)):
            assert float(row[f"{name}_mean"]) == pytest.approx(draws[:, i].mean())
            assert float(row[f"{name}_q05"]) == pytest.approx(np.quantile(draws[:, i], 0.05))
            assert float(row[f"{name}_q95"]) == pytest.approx(np.quantile(draws[:, i], 0.95))
    assert r"MPC in a year, marginal & fraction of the transfer & 0.600" in micro_table(households).to_latex()


def test_the_words_say_what_moved_what_narrowed_and_what_was_left_out(households: MicroMoments) -> None:
    levels, learned, left_out = micro_words(households)
    assert levels.startswith("The steady state moves with eis and sd_e and is solved again at every draw.")
    assert "30.0 % of them are at the borrowing constraint (5 to 95 %: 29." in levels
    assert "discount factor (asset market) (posterior mean 1.9 prior" in learned and "below the prior mean" in learned
    assert "Narrowed most: households at the constraint" in learned
    assert left_out == (
        "3 of 200 prior draws have no steady state and are left out (the asset grid is too small: 2; the target is out "
        "of reach: 1)."
    )
    same = replace(households, posterior=households.prior, left_out={})
    assert "say little" in micro_words(same)[1] and len(micro_words(same)) == 2


def test_the_figure_has_a_panel_for_each_moment(households: MicroMoments) -> None:
    figure = micro_figure(households)
    shown = [axis for axis in figure.figure.axes if axis.axison]
    assert [axis.get_title(loc="left") for axis in shown] == [moment.label for moment in households.moments]
    assert [axis.get_xlabel() for axis in shown] == [moment.unit for moment in households.moments]
    assert "200 exact draws and 197 prior draws" in figure.caption and "discount factor" in figure.alt


def test_a_calibrated_household_has_one_column_and_no_figure(households: MicroMoments) -> None:
    calibrated = MicroMoments(households.moments, households.calibrated)
    rows = list(csv.DictReader(io.StringIO(micro_table(calibrated).to_csv())))
    assert list(rows[0]) == ["key", "moment", "unit", "calibrated"] and float(rows[3]["calibrated"]) == 0.3
    (text,) = micro_words(calibrated)
    assert "those of the calibration. Households spend 40.0 % of a very small transfer" in text
    draws = ExactDraws(np.full((2, 4, 1), 0.1), np.zeros((2, 4)), np.zeros((2, 4)))
    arrays = PosteriorArrays(("kappa_w",), draws)
    page = render_page(
        ReportInputs("bare", (ParameterInfo("kappa_w"),), arrays, households=calibrated), [micro_table(calibrated)], []
    )
    assert '<section id="households"><h2>Households</h2><p>No estimated parameter moves' in page.replace("\n", "")


def test_one_draw_and_none_have_a_report(households: MicroMoments) -> None:
    assert micro_table(replace(households, posterior=households.posterior[:1])).to_html()
    lost = replace(households, posterior=households.posterior[:0], left_out={"posterior": {"no_convergence": 1}})
    assert len(micro_table(lost).rows) == 9
    lonely = replace(households, prior=None, left_out={})
    assert "prior" not in micro_words(lonely)[0] and micro_figure(lonely).alt


def test_moments_that_exist_nowhere_are_left_out_of_table_figure_and_words() -> None:
    """Shares of wealth in zero net supply."""
    moments = tuple(m for m in MOMENTS if m.key in ("constrained", "gini", "top_10", "bottom_50"))
    values = np.array([0.2, np.nan, np.nan, np.nan])
    there = _existing(MicroMoments(moments, values, values + np.zeros((3, 1)), values + np.zeros((3, 1)), {}, ("eis",)))
    assert [m.key for m in there.moments] == ["constrained"] and there.posterior is not None
    assert there.posterior.shape == (3, 1)
    assert len(micro_table(there).rows) == 1
    told = " ".join(micro_words(there))
    assert "wealth" not in told and "nan" not in told and "borrowing constraint" in told
    assert "nan" not in micro_figure(there).alt
