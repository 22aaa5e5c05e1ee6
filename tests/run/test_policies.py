"""Scenarios, counterfactuals, news, evidence, identification and comparisons of a folder, from Python and by verb."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from typer.testing import CliRunner

from estimhank import load
from estimhank.cli import app
from estimhank.data import write_dataset
from estimhank.economics.conditions import Condition, ScenarioPlan
from estimhank.economics.counterfactual import CounterfactualPlan
from estimhank.economics.result import Result
from estimhank.evidence.bridge import integrate
from estimhank.models.new_keynesian import NewKeynesian
from estimhank.run.prior_solutions import FILE_NAME
from estimhank.support.errors import ConfigError, ResultsError
from tests.helpers.sampled_run import sampled_run

pytestmark = pytest.mark.long  # minutes, all together


RATES = """
title = "Rates on hold"
quarters = 6
shocks = ["m"]

[[condition]]
series = "rate"
date = "2000Q1"
values = [0.5, 0.5]
"""

RULE = """
policy = ["m"]
quarters = 4
rule = [{ series = "i", weight = 1 }, { series = "pi", weight = -2.5 }]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on three-equation data, with draws of its posterior, and a normal approximation for a surrogate."""
    at = tmp_path_factory.mktemp("policies") / "run"
    sampled_run(at)
    return at


def run_command(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_every_result_has_named_dimensions_a_table_a_figure_and_words(folder: Path) -> None:
    """One walk through all of them, from Python."""
    run = load(folder)
    data = run.data
    values = np.concatenate([np.asarray(data.values), [[0.3, 0.2, 0.1]]])
    later = replace(data, dates=(*data.dates, "2000Q1"), values=values)
    condition = (Condition("rate", "2000Q1", (0.5, 0.5)),)
    found: dict[str, Any] = {
        "responses": run.responses(prior=True),
        "variance": run.variance_decomposition(),
        "smooth": run.smooth(),
        "smooth_series": run.smooth_series(),
        "one_step": run.one_step(),
        "history": run.historical_decomposition(),
        "forecast": run.forecast(),
        "scenario": run.scenario(ScenarioPlan(condition=condition)),
        "counterfactual": run.counterfactual(CounterfactualPlan(parameters={"phi_pi": 2.5})),
        "news": run.news(later),
        "evidence": run.evidence(prior_draws=60),
        "identification": run.identification(),
        "predictive_check": run.predictive_check(prior_draws=60),
        "compare": run.compare(run, prior_draws=60),
    }
    for name, result in found.items():
        dataset, table, figure = result.dataset, result.table(), result.plot()
        assert isinstance(dataset, xr.Dataset) and not any(str(d).startswith("dim_") for d in dataset.dims), name
        assert isinstance(table, pd.DataFrame) and len(table) and len(result.summary()) > 40, name
        assert figure.axes, name
        if isinstance(result, Result):
            shortest = result.with_bands("hdi")
            assert shortest.dataset.attrs["bands"] != dataset.attrs["bands"], name
            assert "bands" in shortest.table() and max(result.check().values()) <= result.tolerance
    # what has been solved of the prior is kept, and not used for another prior
    assert len(json.loads((folder / FILE_NAME).read_text())["reasons"]) == 60
    spoilt = json.loads((folder / FILE_NAME).read_text()) | {"draws": "others", "reasons": [2] * 60}
    (folder / FILE_NAME).write_text(json.dumps(spoilt))
    assert run.evidence(prior_draws=60).log_evidence == found["evidence"].log_evidence


def test_evidence_of_a_folder(folder: Path) -> None:
    """By the surrogate, against a bridge that has no use for it."""
    run = load(folder)
    found = run.evidence(prior_draws=60)
    exact = run.posterior
    draws = np.stack([run.draws["posterior"].dataset[name].values for name in exact.names], axis=-1)

    def log_density(x: np.ndarray) -> np.ndarray:
        values = [exact.evaluate(theta).log_density for theta in exact.transform.to_natural(x)]
        return np.array(values) + exact.transform.log_jacobian(x)

    x = exact.transform.to_unconstrained(draws)
    direct = integrate(log_density, x, proposals=400).ratio
    error = np.hypot(direct.standard_error, found.integral.standard_error)
    assert abs(found.integral.value - direct.value) < 4 * error and error < 1.0
    assert {e.name for e in found.others} == {"importance sampling", "modified harmonic mean", "Laplace"}
    assert found.prior_mass is not None and np.isfinite(found.log_evidence)
    assert set(found.dataset.method.values) >= {"bridge", "prior mass"} and found.plot().axes


def test_identification_of_a_folder(folder: Path, tmp_path: Path) -> None:
    out = run_command("identification", str(folder), "--out", str(tmp_path / "files"))
    assert "Jacobian of mean and autocovariances" in out and "next: estimhank moments" in out
    table = pd.read_csv(tmp_path / "files" / "identification.csv")
    assert list(table.parameter) == list(load(folder).posterior.names)
    assert {"strength", "collinearity", "variance_left", "sensitivity_to_prior"} <= set(table.columns)
    assert (tmp_path / "files" / "identification.png").stat().st_size > 5000
    assert xr.open_datatree(tmp_path / "files" / "results.nc")["identification"].sizes["parameter"] == len(table)
    assert r"\toprule" in (tmp_path / "files" / "identification.tex").read_text()


def test_scenario_and_counterfactual_by_verb(folder: Path, tmp_path: Path) -> None:
    plan, rule = tmp_path / "rates.toml", tmp_path / "rule.toml"
    plan.write_text(RATES)
    rule.write_text(RULE)
    point = tmp_path / "point.json"
    point.write_text(json.dumps({"phi_pi": 1.8}))
    told = json.loads(run_command("scenario", str(folder), str(plan), "--at", str(point), "--json"))
    at = [r["value"] for r in told["rows"] if r["quantity"] == "value" and r["variable"] == "rate"]
    assert any(abs(v - 0.5) < 1e-9 for v in at) and "Rates on hold" in told["summary"][0]
    out = run_command("scenario", str(folder), str(plan), "--out", str(tmp_path / "scenario"))
    assert "checked that the conditions hold" in out and "next: estimhank counterfactual" in out
    written = {p.name for p in (tmp_path / "scenario").iterdir()}
    assert {"scenario.csv", "scenario.png", "scenario.svg", "scenario.tex", "results.nc"} <= written
    out = run_command("counterfactual", str(folder), str(rule), "--at", "mode", "--out", str(tmp_path / "rule"))
    assert "+1 i -2.5 pi = 0, brought about by m" in out
    assert xr.open_datatree(tmp_path / "rule" / "results.nc")["counterfactual"].sizes["variable"] == 5  # i and pi too


def test_a_parameter_that_is_not_estimated_and_another_model(folder: Path) -> None:
    run = load(folder)

    class Steep(NewKeynesian):
        """As a user's own file has it: another rule."""

        def equations(self, lag, now, lead, household, shock, p):
            """With a steeper rule."""
            for name, value in super().equations(lag, now, lead, household, shock, p):
                yield name, value - 1.0 * now.pi if name == "Taylor rule" else value

    at = {"phi_pi": 1.6}
    by_model = run.counterfactual(CounterfactualPlan(parameters={"phi_y": 0.3}), at, model=Steep())
    by_number = run.counterfactual(CounterfactualPlan(parameters={"phi_pi": 2.6, "phi_y": 0.3}), at)
    np.testing.assert_allclose(by_model.draws["value"], by_number.draws["value"], atol=1e-9)
    patient = run.counterfactual(CounterfactualPlan(parameters={"beta": 0.9}), at)
    assert float(np.abs(patient.draws["value"] - patient.draws["baseline"]).max()) > 1e-3
    with pytest.raises(ConfigError, match="no parameter 'betta'"):
        run.counterfactual(CounterfactualPlan(parameters={"betta": 0.9}))


@pytest.mark.long
def test_news_and_moments_by_verb(folder: Path, tmp_path: Path) -> None:
    run = load(folder)
    data = run.data
    values = np.concatenate([np.asarray(data.values), [[0.3, 0.2, 0.1]]])
    values[-2, 0] += 0.5
    write_dataset(tmp_path / "data.csv", replace(data, dates=(*data.dates, "2000Q1"), values=values))
    out = run_command("news", str(folder), str(tmp_path / "data.csv"), "--out", str(tmp_path / "news"))
    assert "3 values added, 1 revised" in out and "checked that revisions and news add up" in out
    assert (tmp_path / "news" / "news.png").stat().st_size > 5000
    same = run.news(run, at="mode")
    assert float(np.abs(same.draws["re_estimation"]).max()) < 1e-12  # the same run on the same data
    out = run_command("moments", str(folder), "--prior-draws", "30", "--out", str(tmp_path / "moments"))
    assert "moments of the data" in out and "30 prior draws" in out


def test_models_are_compared_on_the_same_data_only(folder: Path, tmp_path: Path) -> None:
    twin = tmp_path / "twin"
    shutil.copytree(folder, twin)
    out = run_command("compare", str(folder), str(twin), "--prior-draws", "0", "--out", str(tmp_path / "compare"))
    assert "do not tell them apart" in out
    table = pd.read_csv(tmp_path / "compare" / "compare.csv")
    np.testing.assert_allclose(table.probability, 0.5)
    data = load(folder).data
    write_dataset(twin / "data.csv", replace(data, values=np.asarray(data.values) * 1.01))
    with pytest.raises(ResultsError, match=r"on other data than .* \(their values\)"):
        load(folder).compare(load(twin))
    with pytest.raises(ConfigError, match="two results folders"):
        run_command("compare", str(folder))


def test_a_scenario_of_a_configuration(tmp_path: Path) -> None:
    """At the table's values, nothing estimated."""
    (tmp_path / "nk.toml").write_text('[model]\nname = "new_keynesian"\n[data]\nstart = "1990Q1"\nend = "1999Q4"\n')
    (tmp_path / "rates.toml").write_text(RATES)
    out = run_command("scenario", str(tmp_path / "nk.toml"), str(tmp_path / "rates.toml"))
    table = pd.read_csv(io.StringIO(out)).query("quantity == 'value' and date == '2000Q1' and variable == 'rate'")
    np.testing.assert_allclose(table.value, 0.5)


def test_conditions_from_python(folder: Path) -> None:
    plan = ScenarioPlan(quarters=4, condition=(Condition("y", "2000Q2", (0.4,)),))
    found = load(folder).scenario(plan, at="mode")
    assert "y" in found.about.names  # a variable that a condition speaks of is shown
    assert float(found.draws["value"].sel(variable="y", date="2000Q2")[0]) == pytest.approx(0.4)
    assert found.plot(variables=["y", "rate"]).axes
