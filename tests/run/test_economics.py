"""Results of a run: from Python, from the command line, as a stage, in the report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.colors import to_hex
from typer.testing import CliRunner

from estimhank import load
from estimhank.analysis.facts import EconomicsFacts, read_facts
from estimhank.cli import app
from estimhank.report.economics_files import EconomicsPart, read_part
from estimhank.report.html import render_page
from estimhank.report.pdf import VARIABLE, find_browser, write_pdf
from estimhank.report.run_tables import all_tables
from estimhank.run.config import make_config, restore_config
from estimhank.run.context import RunContext
from estimhank.run.economics import check_conventions
from estimhank.run.open_posterior import build_target
from estimhank.run.stage_spec import StageResult
from estimhank.run.stages import PIPELINE, economics_stage
from estimhank.support.errors import ConfigError, EstimhankError, ResultsError
from tests.helpers.browser import Browser
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


@pytest.fixture(scope="module")
def staged(folder: Path) -> tuple[StageResult, EconomicsPart, Path]:
    """What the stage leaves, as the report reads it, and a page that shows it."""
    config = restore_config(json.loads((folder / "manifest.json").read_text())["configuration"])
    with RunContext(config, folder, build_target) as context:
        left = economics_stage(context)
    assert isinstance(left.facts, EconomicsFacts)
    part = read_part(folder / "economics", left.facts.words, ("a note",))
    inputs = replace(synthetic_inputs(chains=2, draws=40), economics=part)
    page = folder / "page.html"
    page.write_text(render_page(inputs, [*all_tables(inputs), *part.tables], part.figures), encoding="utf-8")
    return left, part, page


def test_as_a_stage_and_in_the_report(folder: Path, staged: tuple[StageResult, EconomicsPart, Path]) -> None:
    left, _, path = staged
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
    page = path.read_text(encoding="utf-8")
    verdict, economics, next_one = (
        page.index(text) for text in ('id="verdict"', 'id="economics"', 'id="figure-forecast"')
    )
    assert verdict < economics < next_one and "a note" in page and "<b>Table 1.</b>" in page
    spoilt = shutil.copytree(folder / "economics", folder / "spoilt")
    (spoilt / "index.json").write_text("{}x")
    with pytest.raises(EstimhankError):
        read_part(spoilt, {}, ())


def test_units_groups_and_colours_are_those_of_the_configuration_in_every_figure(
    folder: Path, staged: tuple[StageResult, EconomicsPart, Path]
) -> None:
    """In what the page's script draws, and in the figures for paper."""
    blocks = staged[1].blocks
    units = {"growth": "percent over four quarters", "inflation": "percent per quarter", "rate": "percent per year"}
    for name in ("responses", "variance_decomposition", "historical_decomposition", "forecast"):
        shown = {v["name"]: v["units"] for v in blocks[name]["variables"]}
        assert units.items() <= shown.items() and "y" in shown, name
    colours = {g["name"]: g["color"] for g in blocks["variance_decomposition"]["groups"]}
    assert colours["demand"] == "#123456" and set(colours) == {"demand", "u"}
    assert {g["name"]: g["color"] for g in blocks["historical_decomposition"]["groups"]} == colours
    by_shock = {s["name"]: s["color"] for s in blocks["responses"]["shocks"]}
    assert by_shock["u"] == colours["u"] and len(set(by_shock.values())) == 3
    assert {s["name"]: s["color"] for s in blocks["smoothed_shocks"]["shocks"]} == by_shock

    study = load(folder).study()
    for name, result in study.basics().items():
        figure = result.plot()
        words = {axis.get_ylabel().replace("\n", " ") for axis in figure.axes}
        words |= {text.get_text() for legend in figure.legends for text in legend.get_texts()}
        if name in ("responses", "historical_decomposition", "forecast"):
            assert all(any(unit in word for word in words) for unit in units.values()), name
        if name in ("variance_decomposition", "historical_decomposition"):
            patches = {patch.get_label(): to_hex(patch.get_facecolor()) for patch in figure.legends[0].get_patches()}
            assert patches["demand"] == "#123456" and "d" not in patches, name
        # the numbers in the page are those of the result
        block, data = blocks[name], result.dataset
        if name == "responses":
            order = ("variable", "shock", "quantile", "horizon")
            np.testing.assert_allclose(np.array(block["values"], float), data.response.transpose(*order), rtol=6e-4)
        if name == "historical_decomposition":
            whole = (np.array(block["since"]) + np.array(block["earlier"])).sum(1)
            np.testing.assert_allclose(whole, np.array(block["total"]), rtol=5e-3, atol=5e-3)
        if name == "variance_decomposition":
            shares = np.array(block["values"], float).sum(1)
            np.testing.assert_allclose(shares[~np.isnan(shares)], 100, rtol=1e-3)


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
def test_households_in_the_stage_and_the_report(browser: Browser, tmp_path: Path) -> None:
    """Where the configuration asks: results of their own, in the page too."""
    small = {"name": "one_asset_hank", "horizon": 120, "tail_start": 80, "grid": {"n_e": 3, "n_a": 50}}
    conventions = {"households": True, "units": {"growth": "four_quarter"}, "groups": {"demand": ["g", "m"]}}
    config = finished_run(tmp_path, 4, model=small, economics=conventions)
    with RunContext(config, tmp_path, build_target) as context:
        left = economics_stage(context)
    assert isinstance(left.facts, EconomicsFacts)
    assert {"household_responses", "direct_and_indirect"} <= set(left.facts.words)
    part = read_part(tmp_path / "economics", left.facts.words, ())
    inputs = replace(synthetic_inputs(chains=2, draws=40), economics=part)
    page = tmp_path / "page.html"
    page.write_text(render_page(inputs, [*all_tables(inputs), *part.tables], part.figures), encoding="utf-8")
    text = page.read_text(encoding="utf-8")
    assert text.index("<h3>Who responds") < text.index("<h2>Convergence")
    for width in (1400, 380):
        browser.open(page, width)
        assert (browser.complaints, browser.requests, browser.layout()) == ([], [], [])
    choose = "document.querySelectorAll('#figure-household_responses select')[1]"
    browser.evaluate(
        f"(() => {{ const s = {choose}; s.value = 'inequality'; s.dispatchEvent(new Event('input')); }})()"
    )
    panels = browser.evaluate("document.querySelectorAll('#figure-household_responses .panel').length")
    assert panels == len(part.blocks["household_responses"]["measures"]) and browser.layout() == []


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


@pytest.mark.long
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
        ({"households": True}, "new_keynesian has no households"),
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
    assert "households" not in named.canonical()["economics"]
    households = make_config({"economics": {"households": True}})
    assert restore_config(households.canonical()) == households and households.digest() != plain.digest()
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium, where there is one."""
    try:
        program = find_browser()
    except ConfigError:
        pytest.skip("no Chromium here")
    with Browser(program) as opened:
        yield opened


def test_the_page_in_a_browser(
    browser: Browser, staged: tuple[StageResult, EconomicsPart, Path], tmp_path: Path
) -> None:
    """Wide and narrow, light and dark: nothing asked for, no complaint, nothing cut off or on anything else."""
    page = staged[2]
    for width in (1400, 380):
        for dark in (False, True):
            browser.open(page, width, dark=dark)
            assert (browser.complaints, browser.requests, browser.layout()) == ([], [], []), (width, dark)
            paper = browser.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (paper == "rgb(255, 255, 255)") is not dark
    # a reader's choices
    browser.open(page, 1400)
    panels = "document.querySelectorAll('#figure-responses .panel').length"
    assert browser.evaluate(panels) == 12
    choose = """(name, value) => { const input = [...document.querySelectorAll(`#figure-${name} .controls label`)]
        .find((l) => l.textContent.startsWith(value[0])).querySelector("select, input");
        input.value = value[1]; input.dispatchEvent(new Event("input")); }"""
    browser.evaluate(f"({choose})('responses', ['Shock', 'm'])")
    browser.evaluate(f"({choose})('responses', ['Horizon', '4'])")
    assert browser.evaluate(panels) == 4
    browser.evaluate(
        "(() => { const svg = document.querySelector('#figure-responses svg');"
        "svg.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'})); })()"
    )
    said = browser.evaluate("document.querySelector('#figure-responses output').textContent")
    block = staged[1].blocks["responses"]
    shock = [s["name"] for s in block["shocks"]].index("m")
    middle = block["values"][0][shock][2][1]
    assert said.startswith("after 1 quarter: ") and "68%" in said and "90%" in said
    assert float(said.split(": ")[1].split(",")[0].replace("−", "-")) == pytest.approx(middle, rel=6e-3)
    assert browser.complaints == [] and browser.layout() == []
    # on paper, and without scripts, figures are the static ones
    seen = "[document.querySelectorAll('.explore').length, [...document.images].every((i) => i.checkVisibility())]"
    hidden = "[...document.querySelectorAll('.explore')].every((e) => !e.checkVisibility())"
    browser.open(page, 703)  # a sheet of A4 less its margins
    browser.media("print", dark=True)
    assert browser.evaluate(seen)[1] and browser.evaluate(hidden) and browser.layout() == []
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    browser.open(page, 1400, scripts=False)
    assert browser.evaluate(seen) == [0, True]


def test_what_is_wrong_with_a_page_is_seen(
    browser: Browser, staged: tuple[StageResult, EconomicsPart, Path], tmp_path: Path
) -> None:
    """The checks can fail; what is put into a page neither runs nor loads."""
    text = staged[2].read_text(encoding="utf-8")
    spoilt = tmp_path / "spoilt.html"
    pieces = {
        "out of the page": '<p style="width: 500px">wide</p>',
        "cut off": '<p style="width: 60px; overflow: hidden; white-space: nowrap">more than there is room for</p>',
        "on each other": '<p style="margin-bottom: -60px">one line of text</p>',
    }
    for wrong, piece in pieces.items():
        spoilt.write_text(text.replace("<main>", f"<main>{piece}"), encoding="utf-8")
        browser.open(spoilt, 380)
        assert any(wrong in said for said in browser.layout()), wrong
    for piece in ("<script>window.run = 1</script>", '<img src="https://example.org/x.png" alt="x">'):
        spoilt.write_text(text.replace("<main>", f"<main>{piece}"), encoding="utf-8")
        browser.open(spoilt, 380)
        assert any("Content Security Policy" in said for said in browser.complaints)
        assert browser.evaluate("window.run") is None
        assert browser.requests == (["https://example.org/x.png"] if "img" in piece else [])  # a try, which is stopped


def test_names_cannot_end_the_numbers_in_the_page(staged: tuple[StageResult, EconomicsPart, Path]) -> None:
    part, hostile = staged[1], "</script><script>alert(1)</script>"
    block = dict(part.blocks["responses"], variables=[{"name": hostile, "label": hostile, "units": hostile}])
    inputs = replace(synthetic_inputs(chains=2, draws=40), economics=replace(part, blocks={"responses": block}))
    page = render_page(inputs, part.tables, part.figures)
    assert page.count("<script") == 2 and page.count("</script>") == 2
    data = page.split('id="explore">')[1].split("</script>")[0]
    assert json.loads(data)["responses"]["variables"][0]["name"] == hostile


def test_as_pdf(
    browser: Browser,
    staged: tuple[StageResult, EconomicsPart, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    printed = write_pdf(staged[2], tmp_path / "report.pdf").read_bytes()
    assert printed.startswith(b"%PDF") and 2 <= printed.count(b"/Type /Page\n") <= 30
    with pytest.raises(ResultsError, match=r"nowhere\.html is not there"):
        write_pdf(tmp_path / "nowhere.html", tmp_path / "no.pdf")
    monkeypatch.setenv(VARIABLE, "/bin/false")
    with pytest.raises(ResultsError, match=r"/bin/false did not print .* \(without saying why\)"):
        write_pdf(staged[2], tmp_path / "no.pdf")
    assert not (tmp_path / "no.pdf").exists()


def test_the_report_of_a_results_folder_is_of_its_own_run(folder: Path, tmp_path: Path) -> None:
    for options in (["--seed", "3"], ["--out", str(tmp_path)], ["--until", "2007Q4"]):
        with pytest.raises(ConfigError, match="is a results folder, whose report is of its own data and seed"):
            CliRunner().invoke(app, ["report", str(folder), *options], catch_exceptions=False)
    with pytest.raises(ResultsError, match="data stage"):  # this folder holds no more than results read
        CliRunner().invoke(app, ["report", str(folder), "--quiet"], catch_exceptions=False)


def test_without_a_browser_it_is_said_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("estimhank.report.pdf._PLACES", ())
    with pytest.raises(ConfigError, match=r"Chromium or Google Chrome, .*: install one \(apt install chromium"):
        CliRunner().invoke(app, ["report", str(folder), "--format", "pdf"], catch_exceptions=False)
    monkeypatch.setenv(VARIABLE, "no-such-browser")
    with pytest.raises(ConfigError, match=r"ESTIMHANK_BROWSER is no-such-browser, which is no program here"):
        find_browser()
