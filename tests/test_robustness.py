"""The comparison of samples: what it changes, what it writes, and that a whole run of it ends well."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from benchmarks import robustness
from benchmarks.pages import marks, update_page
from benchmarks.robustness import PLACE, SAMPLES, markdown, summarise, write_comparison
from estimhank import load
from estimhank.config import load_config
from estimhank.data import load_dataset
from estimhank.errors import EstimhankError

ROOT = Path(__file__).parents[1]


def test_the_samples_are_those_that_they_are_called():
    config = load_config("configs/us_hank.toml")
    data = [load_dataset(sample.change(config).data) for sample in SAMPLES]
    assert [(d.dates[0], d.dates[-1]) for d in data] == [
        ("1966Q1", "2007Q4"), ("1984Q1", "2019Q4"), ("1966Q1", "2019Q4"),
    ]  # fmt: skip
    assert [np.isnan(d.values).sum(axis=0).tolist() for d in data] == [[0, 0, 0], [0, 0, 0], [0, 0, 28]]
    gone = np.array(data[2].dates)[np.isnan(data[2].values[:, 2])]
    assert (gone[0], gone[-1]) == ("2009Q1", "2015Q4")


def test_tables_and_figure_hold_what_the_draws_say(tmp_path):
    estimate = summarise("1966–2019", load(ROOT / "results" / "us_hank"))
    other = dataclasses.replace(estimate, label="twice", mean=2 * estimate.mean)
    write_comparison([estimate, other], tmp_path)
    with (tmp_path / "robustness.csv").open() as stream:
        rows = {row["name"]: row for row in csv.DictReader(stream)}
    draws = np.asarray(estimate.run.draws["posterior"]["phi_pi"])
    assert list(rows) == list(estimate.run.posterior.names)
    assert float(rows["phi_pi"]["sample_0_mean"]) == pytest.approx(draws.mean())
    assert float(rows["phi_pi"]["sample_0_q95"]) == pytest.approx(np.quantile(draws, 0.95))
    assert float(rows["phi_pi"]["sample_1_mean"]) == pytest.approx(2 * draws.mean())
    for name in ("robustness.tex", "samples.csv", "samples.tex", "robustness.png", "robustness.svg"):
        assert (tmp_path / name).stat().st_size > 300
    page = tmp_path / "page.md"
    first, last = marks(*PLACE)
    page.write_text(f"before\n{first}\nold\n{last}\nafter\n")
    for _ in range(2):
        update_page(page, PLACE[0], markdown([estimate, other]), PLACE[1])
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert text.count("| `phi_pi`, Taylor rule, inflation | 2.") == 1
    page.write_text("no place")
    with pytest.raises(EstimhankError, match="has no place for robustness"):
        update_page(page, PLACE[0], "x", PLACE[1])


@pytest.mark.long
def test_a_whole_comparison_at_toy_sizes(tmp_path, monkeypatch):
    monkeypatch.setenv("ESTIMHANK_CACHE", str(tmp_path / "cache"))
    arguments = ["--profile", "smoke", "--out", str(tmp_path), "--quiet"]
    robustness.main(arguments)
    first = (tmp_path / "robustness.csv").read_bytes()
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.*")}
    robustness.main(arguments)  # what is finished is left alone
    assert (tmp_path / "robustness.csv").read_bytes() == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.*")} == stamps
