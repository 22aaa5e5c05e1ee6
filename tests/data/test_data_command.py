"""``estimhank data`` with sources other than the snapshot, as a user meets it."""

from __future__ import annotations

import datetime
import json
import sys

import numpy as np
import pytest

from estimhank import cli
from estimhank.data import fred as fred_source
from estimhank.data import load_series, read_dataset
from estimhank.data.fred_client import FredClient
from estimhank.run.config import load_config
from estimhank.run.context import RunContext
from estimhank.run.open_posterior import build_target
from estimhank.support.files import read_json, sha256_of
from tests.helpers.fred_server import KEY, serve_fred

VINTAGE = "2024-02-01"


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """``run("data", ...)`` in an empty folder with a cache of its own gives exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ESTIMHANK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("FRED_API_KEY", raising=False)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["estimhank", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        said = capsys.readouterr()
        return caught.value.code or 0, said.out, said.err

    return call


@pytest.fixture
def fred(monkeypatch):
    """A stand-in that holds the snapshot's values, the rate by month, as of a vintage and as the latest."""
    table = load_series("snapshot")
    days = [f"{1959 + j // 4}-{3 * (j % 4) + 1:02d}-01" for j in range(len(table.lines))]
    series = {
        name: [(day, repr(float(value))) for day, value in zip(days, table.column(name), strict=True)]
        for name in ("GDPC1", "GDPDEF")
    }
    series["FEDFUNDS"] = [
        (f"{day[:5]}{int(day[5:7]) + k:02d}-01", repr(float(value) + k - 1))
        for day, value in zip(days, table.column("FEDFUNDS"), strict=True)
        for k in range(3)
    ]
    with serve_fred(series=series | {f"{name}@{VINTAGE}": rows for name, rows in series.items()}) as server:
        monkeypatch.setattr(
            fred_source,
            "FredClient",
            lambda key: FredClient(key, server.api, server.graph, interval=0.0, sleep=lambda seconds: None),
        )
        yield server


def test_a_vintage_of_fred_gives_data_raw_series_and_provenance(run, fred, monkeypatch, tmp_path):
    monkeypatch.setenv("FRED_API_KEY", KEY)
    command = ("data", "configs/us_hank.toml", "--out", "out", "--source", "fred", "--vintage", VINTAGE)
    code, out, err = run(*command)
    assert code == 0, err
    folder = tmp_path / "out"
    assert sorted(path.name for path in folder.iterdir()) == ["data.csv", "manifest.json", "raw.csv"]
    data = read_dataset(folder / "data.csv")
    np.testing.assert_allclose(data.means, [0.70071846, 0.8487929, 1.30103395], atol=5e-9)
    about = read_json(folder / "manifest.json")["data"]
    assert (about["source"], about["vintage"]) == ("fred", VINTAGE)
    assert [s["id"] for s in about["series"]] == ["GDPC1", "GDPDEF", "FEDFUNDS"]
    assert about["series"][2] | {"answer_sha256": "", "retrieved": ""} == {
        "id": "FEDFUNDS", "frequency": "monthly", "observations": 804, "aggregate": "mean", "answer_sha256": "",
        "retrieved": "",
    }  # fmt: skip
    retrieved = datetime.datetime.fromisoformat(about["retrieved"])
    assert abs(datetime.datetime.now(datetime.UTC) - retrieved) < datetime.timedelta(hours=1)
    raw = (folder / "raw.csv").read_text()
    body = "".join(line for line in raw.splitlines(keepends=True) if not line.startswith("#"))
    assert about["raw_sha256"] == sha256_of(body) and data.provenance["sha256"] == sha256_of(body)
    said = out + err + "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY not in said

    # again: from the cache, and up to date
    asked = len(fred.requests)
    code, out, _ = run(*command)
    assert code == 0 and "up to date" in out and len(fred.requests) == asked
    # the raw series give the same observables without a network
    code, _, err = run("data", "configs/us_hank.toml", "--out", "again", "--source", "out/raw.csv")
    assert code == 0, err
    assert read_dataset(tmp_path / "again" / "data.csv").sha256 == data.sha256


def test_source_and_vintage_are_all_that_has_to_be_said(run, fred, monkeypatch, tmp_path):
    monkeypatch.setenv("FRED_API_KEY", KEY)
    code, out, err = run("data", "--source", "fred", "--vintage", VINTAGE)
    folder = tmp_path / "results" / f"us_hank_fred_{VINTAGE}"
    assert code == 0, err
    assert sorted(path.name for path in folder.iterdir()) == ["data.csv", "manifest.json", "raw.csv"]
    assert f"results/us_hank_fred_{VINTAGE}/data.csv" in out


def test_fred_without_a_key(run, fred, tmp_path):
    code, _, err = run("data", "configs/us_hank.toml", "--out", "out", "--source", "fred-csv")
    assert code == 0, err
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    about = read_json(tmp_path / "out" / "manifest.json")["data"]
    assert (
        about["source"] == "fred-csv" and about["vintage"].startswith("latest on ") and about["vintage"][10:] <= today
    )
    assert all("api_key" not in request for request in fred.requests)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--source", "fred"), "needs a key in the environment variable FRED_API_KEY"),
        (("--vintage", VINTAGE), 'the source "snapshot" has no vintages'),
        (("--source", "fred", "--vintage", "2024-13-01"), "the vintage '2024-13-01' is not a date"),
        (("--source", "fred-cache"), "the cache has no answer of FRED for GDPC1"),
        (("--source", "raw.xls"), "raw.xls is not a file"),
    ],
)
def test_what_a_source_cannot_give_is_one_sentence_and_leaves_nothing(run, tmp_path, arguments, words):
    for command in ("data", "estimate"):
        code, out, err = run(command, "configs/us_hank.toml", "--out", "out", *arguments)
        assert code == 2 and words in err and err.count("\n") == 1 and out == ""
        assert not (tmp_path / "out").exists()


def test_no_network_is_said_with_the_alternatives(run, monkeypatch, tmp_path):
    nowhere = "http://127.0.0.1:9/"
    monkeypatch.setattr(
        fred_source, "FredClient", lambda key: FredClient(key, nowhere, nowhere, interval=0.0, sleep=lambda s: None)
    )
    code, _, err = run("data", "configs/us_hank.toml", "--out", "out", "--source", "fred-csv")
    assert code == 2 and "in 4 tries" in err and "snapshot" in err and "CSV or Excel" in err
    assert err.count("\n") == 1 and not (tmp_path / "out").exists()


def test_an_annualised_observable_is_refused_before_anything_is_written(run, tmp_path):
    (tmp_path / "run.toml").write_text(
        """
        [data.observables.growth]
        series = "GDPC1"
        transform = "log_difference"
        scale = 100
        annualised = true
        [data.observables.inflation]
        series = "GDPDEF"
        transform = "log_difference"
        scale = 100
        [data.observables.rate]
        series = "FEDFUNDS"
        transform = "level"
        scale = 0.25
        """
    )
    for command in ("data", "estimate"):
        code, _, err = run(command, "run.toml", "--out", "out")
        assert code == 2 and "growth is an annualised rate" in err and err.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_a_doubt_about_the_data_is_one_sentence_and_does_not_stop(run, tmp_path):
    (tmp_path / "rates.csv").write_text("date,r\n2000Q1,0.05\n2000Q2,0.055\n2000Q3,0.06\n")
    (tmp_path / "run.toml").write_text(
        '[data]\nsource = "rates.csv"\nstart = "2000Q1"\nend = "2000Q3"\n'
        '[data.observables.rate]\nseries = "r"\ntransform = "level"\n'
    )
    code, _, err = run("data", "run.toml", "--out", "out", "--quiet")
    assert code == 0 and err.startswith("estimhank: warning: ") and err.count("\n") == 1
    assert "rates.csv, line 4, column r: the observable rate is declared in percent per quarter, but no value" in err


def test_missing_quarters_are_counted_and_the_likelihood_takes_them(run, tmp_path):
    text = '[data]\nstart = "1999Q1"\nend = "2010Q4"\nexclude = ["2008Q4 to 2009Q1"]\npresample = 4\n'
    (tmp_path / "run.toml").write_text(text)
    assert run("data", "run.toml", "--out", "out")[0] == 0
    facts = read_json(tmp_path / "out" / "manifest.json")["stages"]["data"]["facts"]
    assert facts == {"quarters": 44, "missing": {"growth": 2, "inflation": 2, "rate": 2}}
    with RunContext(load_config(tmp_path / "run.toml"), tmp_path / "new", build_target) as context:
        target = context.target
        evaluation = target.evaluate(target.reference())  # type: ignore[attr-defined]
    assert evaluation.reason == "ok" and np.isfinite(evaluation.log_likelihood)


def test_the_header_of_data_csv_says_where_figures_come_from(run, fred, tmp_path):
    run("data", "configs/us_hank.toml", "--out", "out", "--source", "fred-csv", "--until", "2007Q4")
    lines = (tmp_path / "out" / "data.csv").read_text().splitlines()
    (provenance,) = (line for line in lines if line.startswith("# provenance: "))
    about = json.loads(provenance.removeprefix("# provenance: "))
    assert {"source", "vintage", "retrieved", "sha256", "series", "observables"} <= about.keys()
