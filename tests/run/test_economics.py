"""Results of a run: from Python, from the command line, as a stage, in the report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from typer.testing import CliRunner

from estimhank import load
from estimhank.analysis.facts import EconomicsFacts, read_facts
from estimhank.cli import app
from estimhank.report.economics_files import read_part
from estimhank.report.html import render_page
from estimhank.run.config import make_config, restore_config
from estimhank.run.context import RunContext
from estimhank.run.economics import check_conventions
from estimhank.run.open_posterior import build_target
from estimhank.run.stages import PIPELINE, economics_stage
from estimhank.support.errors import ConfigError, EstimhankError, ResultsError
from tests.helpers.finished_run import finished_run
from tests.helpers.synthetic_run import synthetic_inputs

CONVENTIONS: dict[str, Any] = {
    "units": {"rate": "annualised", "growth": "four_quarter"},
    "variables": ["y"],
    "groups": {"demand": ["d", "m"]},
    "colors": {"demand": "#123456"},
    "quarters": 6,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = tmp_path_factory.mktemp("run")
    finished_run(at, economics=CONVENTIONS)
    return at


def run_command(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_from_python(folder: Path) -> None:
    run = load(folder)
    ahead = run.forecast()
    assert ahead.draws.sizes["date"] == 6 and ahead.about.draws == 12
    assert [s.units for s in ahead.about.series][::2] == ["percent over four quarters", "percent per year"]
    one = run.responses(at={"phi_pi": 2.0}, horizon=8)
    assert one.about.draws == 1 and one.dataset.sizes["quantile"] == 1
    want = run.posterior.responses(
        {**dict(zip(run.posterior.names, run.posterior.reference(), strict=True)), "phi_pi": 2.0}
    )
    np.testing.assert_allclose(one.draws.response[0].sel(variable="inflation"), want[:9, 1], rtol=1e-9)
    assert run.smooth(at="mode").about.words == "at the posterior mode"
    prior = run.responses(at="prior")
    assert 30 < prior.draws.sizes["draw"] <= 40 and "from the prior" in prior.about.words
    figure = run.responses().plot(behind=prior, variables=["growth"], shocks=["d", "m"])
    assert len(figure.axes) == 2 and len(figure.axes[0].collections) == 4
    with pytest.raises(ConfigError, match="no shock 'x'"):
        one.plot(shocks=["x"])
    with pytest.raises(ConfigError, match='at takes parameter values, "mode" or "prior"'):
        run.smooth(at="best")
    with pytest.raises(EstimhankError, match="'phi' is not an estimated parameter"):
        run.smooth(at={"phi": 1.0})


def test_as_a_stage_and_in_the_report(folder: Path) -> None:
    config = restore_config(json.loads((folder / "manifest.json").read_text())["configuration"])
    with RunContext(config, folder, build_target) as context:
        left = economics_stage(context)
    names = ["responses.csv", "responses.png", "variance_decomposition.tex", "forecast.tex", "results.nc", "index.json"]
    assert set(left.files) >= {f"economics/{name}" for name in names}
    assert isinstance(left.facts, EconomicsFacts) and max(left.facts.identities.values()) <= 1e-10
    again = read_facts("economics", json.loads(json.dumps(left.facts.to_json())))
    assert again == left.facts
    table = pd.read_csv(folder / "economics" / "responses.csv")
    assert list(table.columns) == ["horizon", "variable", "shock", "quantile", "value"]
    with xr.open_datatree(folder / "economics" / "results.nc", engine="h5netcdf") as tree:
        assert set(tree.children) == set(left.facts.words)
        history = tree["historical_decomposition"].dataset.load()
        assert set(history.contribution.dims) == {"quantile", "date", "variable", "shock", "arrived"}
    part = read_part(folder / "economics", left.facts.words, ("a note",))
    page = render_page(replace(synthetic_inputs(chains=2, draws=40), economics=part), part.tables, part.figures)
    verdict, economics, next_one = (
        page.index(text) for text in ('id="verdict"', 'id="economics"', 'id="figure-forecast"')
    )
    assert verdict < economics < next_one and "a note" in page and "<b>Table 1.</b>" in page
    (folder / "economics" / "index.json").write_text("{}x")
    with pytest.raises(EstimhankError):
        read_part(folder / "economics", {}, ())


def test_verbs_on_a_run_write_files_and_say_what_is_next(folder: Path, tmp_path: Path) -> None:
    for verb, name in (("variance", "variance_decomposition"), ("scores", "one_step")):
        said = run_command(verb, str(folder), "--out", str(tmp_path / verb), "--at", "mode")
        assert said.splitlines()[-1].startswith(f"see {tmp_path / verb / name}.png and .csv; next: estimhank ")
        assert {p.suffix for p in (tmp_path / verb).glob(f"{name}.*")} >= {".csv", ".png", ".svg"}
    said = run_command("history", str(folder))
    assert (folder / "history" / "historical_decomposition.csv").exists() and "checked that contributions" in said
    point = tmp_path / "point.json"
    point.write_text('{"phi_pi": 2.0}')
    rows = json.loads(run_command("forecast", str(folder), "--at", str(point), "--json", "--quarters", "3"))["rows"]
    assert {row["date"] for row in rows} == {"2000Q1", "2000Q2", "2000Q3"}


def test_responses_of_a_run_have_bands_and_those_of_a_model_are_as_ever(folder: Path) -> None:
    bands = json.loads(run_command("responses", str(folder), "--json", "--horizon", "4"))
    assert set(bands) == {"d", "u", "m"} and set(bands["d"]["y"]) == {"0.05", "0.16", "0.5", "0.84", "0.95"}
    both = json.loads(run_command("responses", str(folder), "--json", "--horizon", "4", "--prior", "--bands", "hdi"))
    assert set(both) == {"posterior", "prior"} and both["posterior"]["d"]["y"]["0.5"] == bands["d"]["y"]["0.5"]
    assert both["posterior"]["d"]["y"]["0.05"] != bands["d"]["y"]["0.05"] != both["prior"]["d"]["y"]["0.05"]
    plain = json.loads(run_command("responses", "new_keynesian", "--json", "--horizon", "4"))
    assert set(plain["d"]) == {"y", "pi", "i"} and len(plain["d"]["y"]) == 4
    unit = json.loads(run_command("responses", "new_keynesian", "--json", "--unit-of", "rate", "--horizon", "2"))
    assert unit["m"]["rate"]["0.5"][0] == pytest.approx(1.0)


@pytest.mark.long
def test_households_by_verb(tmp_path: Path) -> None:
    """Two results, with a figure each; as JSON by name."""
    point = tmp_path / "point.json"
    point.write_text('{"rho_z": 0.8}')
    options = ["krusell_smith", "--at", str(point), "--horizon", "4"]
    said = run_command("households", *options, "--out", str(tmp_path / "out"))
    assert "hand-to-mouth" in said and "checked that effects add up to the response" in said
    assert said.splitlines()[-1].startswith(f"see {tmp_path / 'out' / 'household_responses'}.png and .csv; next: ")
    for name in ("household_responses", "direct_and_indirect"):
        assert {p.suffix for p in (tmp_path / "out").glob(f"{name}.*")} == {".csv", ".png", ".svg"}
    found = json.loads(run_command("households", *options, "--json"))
    assert set(found) == {"household_responses", "direct_and_indirect"}
    table = pd.read_csv(tmp_path / "out" / "direct_and_indirect.csv")
    impact = table[(table.horizon == 0) & (table.output == "C")].groupby("quantity").value.sum()
    assert impact.effect == pytest.approx(impact.response, rel=1e-9)


def test_a_model_without_households_says_so(folder: Path) -> None:
    done = CliRunner().invoke(app, ["households", str(folder)])
    assert isinstance(done.exception, ConfigError) and "has no households" in str(done.exception)


def test_kinds_of_bands_by_verb(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "shocks"
    said = run_command("responses", str(folder), "--out", str(out), "--prior", "--bands", "simultaneous")
    assert "simultaneous over horizons (sup-t)" in said and "behind them those of" in said
    table = pd.read_csv(out / "responses.csv")
    assert set(table.bands) == {"simultaneous"} and set(table.quantity) == {"response", "prior"}
    assert "simultaneous" in json.loads((out / "index.json").read_text())["responses"]["caption"]
    done = CliRunner().invoke(app, ["forecast", str(folder), "--bands", "simultaneous"])
    assert isinstance(done.exception, ConfigError) and "ask for equal or hdi" in str(done.exception)


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ('{"phi_pi": "high"}', "the value of phi_pi is a number, not 'high'"),
        ('{"rho_m": 1.5}', "rho_m = 1.5 is outside its prior's support, 0 to 0.99"),
        ('{"phi_p": 1.5}', "did you mean 'phi_pi'"),
    ],
)
def test_points_that_are_none_are_refused_in_a_sentence(point: str, words: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "point.json").write_text(point)
    done = CliRunner().invoke(app, ["smooth", str(folder), "--at", str(tmp_path / "point.json")])
    assert isinstance(done.exception, EstimhankError) and words in str(done.exception)


def test_data_are_needed_for_what_is_said_of_data() -> None:
    for verb in ("forecast", "history", "smooth", "scores"):
        done = CliRunner().invoke(app, [verb, "new_keynesian"])
        assert isinstance(done.exception, ConfigError) and "a model without data" in str(done.exception)
    done = CliRunner().invoke(app, ["forecast", "configs/us_hank.toml", "--at", "mode"])
    assert isinstance(done.exception, ConfigError) and "has no mode" in str(done.exception)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"units": {"gdp": "annualised"}}, "units of 'gdp', which is not an observable"),
        ({"variables": ["100 y"]}, "no variable '100 y'"),
        ({"groups": {"demand": ["x"]}}, "has the shock 'x'"),
    ],
)
def test_conventions_are_checked_before_anything_is_sampled(
    settings: dict[str, Any], words: str, tmp_path: Path
) -> None:
    table = {"model": {"name": "new_keynesian"}, "data": {"start": "1990Q1", "end": "1999Q4"}, "economics": settings}
    config = make_config(table)
    with RunContext(config, tmp_path, build_target) as context, pytest.raises(ConfigError, match=words):
        check_conventions(context.target, config.economics)


def test_runs_without_conventions_are_what_they_were() -> None:
    plain = make_config({})
    assert "economics" not in plain.canonical()
    named = make_config({"economics": {"quarters": 8}})
    assert named.digest() != plain.digest() and named.digest("posterior") == plain.digest("posterior")
    assert restore_config(named.canonical()) == named
    for wrong, words in (({"quarters": 99}, "at most 40"), ({"unit": {}}, "did you mean 'units'")):
        with pytest.raises(ConfigError, match=words):
            make_config({"economics": wrong})
    assert PIPELINE.names[-2:] == ("economics", "report")


def test_a_folder_of_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    finished_run(other)
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["fingerprint"]["prior"] = "x"
    (other / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ResultsError, match="another prior"):
        load(other).forecast()
