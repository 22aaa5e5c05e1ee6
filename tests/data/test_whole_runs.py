"""Whole estimations at toy sizes with data as users have them."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from estimhank import cli, load

OBSERVABLES = """
[data.observables.growth]
series = "GDPC1"
transform = "log_difference"
scale = 100.0
measurement_error = { family = "gamma", mean = 0.2, sd = 0.1 }
[data.observables.inflation]
series = "GDPDEF"
transform = "log_difference"
scale = 100.0
[data.observables.rate]
series = "FEDFUNDS"
transform = "level"
scale = 0.25
measurement_error = 0.05
"""


def estimate(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["estimhank", "estimate", *map(str, arguments), "--profile", "smoke", "--quiet"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert (caught.value.code or 0) == 0


@pytest.mark.long
def test_to_2025_without_the_pandemic_and_with_measurement_error(monkeypatch, tmp_path):
    text = '[data]\nstart = "1984Q1"\nend = "2025Q4"\nexclude = ["2020Q2", "2020Q3"]\n' + OBSERVABLES
    (tmp_path / "run.toml").write_text(text)
    estimate(monkeypatch, tmp_path / "run.toml", "--out", tmp_path / "out")
    run = load(tmp_path / "out")
    assert run.data.dates[-1] == "2025Q4" and np.isnan(run.data.values).sum(axis=0).tolist() == [2, 2, 2]
    assert run.posterior.names[-1] == "me_growth" and (np.asarray(run.draws["posterior"]["me_growth"]) > 0).all()
    # the stored log likelihood is that of the draws, with the error in it
    draws = run.draws["posterior"].dataset
    theta = [float(draws[name][0, -1]) for name in run.posterior.names]
    stored = float(np.asarray(run.draws["log_likelihood"].dataset.to_array())[0, 0, -1])
    assert run.posterior.log_likelihood(theta) == pytest.approx(stored, abs=1e-10)
    with (tmp_path / "out" / "tables" / "data.csv").open() as stream:
        errors = {row["name"]: row["measurement_error"] for row in csv.DictReader(stream)}
    assert errors == {"growth": "estimated (me_growth)", "inflation": "none", "rate": "0.05"}
    with (tmp_path / "out" / "tables" / "prior_posterior.csv").open() as stream:
        assert [row["name"] for row in csv.DictReader(stream)][-1] == "me_growth"
    assert "estimated (me_growth)" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.long
def test_a_recursive_sample_with_a_yearly_series(monkeypatch, tmp_path):
    from estimhank.data import load_series

    table = load_series("snapshot")
    lines = ["date,output,prices,rate"]
    for j in range(len(table.lines)):
        y, p, r = (float(table.column(name)[j]) for name in ("GDPC1", "GDPDEF", "FEDFUNDS"))
        yearly = float(table.column("GDPC1")[j - 3 : j + 1].mean()) if j % 4 == 3 else ""
        assert y > 0
        lines.append(f"{1959 + j // 4}Q{j % 4 + 1},{yearly},{p},{r}")
    (tmp_path / "raw.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "run.toml").write_text(
        """
        [data]
        source = "raw.csv"
        [data.observables.growth]
        series = "output"
        transform = "log_difference"
        scale = 100.0
        yearly = "mean"
        [data.observables.inflation]
        series = "prices"
        transform = "log_difference"
        scale = 100.0
        [data.observables.rate]
        series = "rate"
        transform = "level"
        scale = 0.25
        """
    )
    estimate(monkeypatch, tmp_path / "run.toml", "--out", tmp_path / "out", "--until", "2007Q4")
    run = load(tmp_path / "out")
    assert run.data.dates[-1] == "2007Q4" and np.isnan(run.data.values[:, 0]).sum() == 126
