"""The comparison of samples: what it changes, what it writes, and that a whole run of it ends well."""

from __future__ import annotations

import csv
import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import robustness
from benchmarks.robustness import SAMPLES, summarise, write_comparison
from estimhank.data import load_dataset
from estimhank.run.config import load_config
from estimhank.run.manifest import Manifest, StageRecord
from tests.helpers.facts import mode_facts, posterior_facts


def test_the_samples_are_those_that_they_are_called():
    config = load_config("configs/us_hank.toml")
    data = [load_dataset(sample.change(config).data) for sample in SAMPLES]
    assert [(d.dates[0], d.dates[-1]) for d in data] == [
        ("1966Q1", "2007Q4"), ("1984Q1", "2019Q4"), ("1966Q1", "2019Q4"),
    ]  # fmt: skip
    assert [np.isnan(d.values).sum(axis=0).tolist() for d in data] == [[0, 0, 0], [0, 0, 0], [0, 0, 28]]
    gone = np.array(data[2].dates)[np.isnan(data[2].values[:, 2])]
    assert (gone[0], gone[-1]) == ("2009Q1", "2015Q4")


def made_up_run(posterior):
    """What the comparison reads of a finished run, with draws that no sampler made."""
    draws = np.random.default_rng(1).normal(2.0, 0.1, (len(posterior.names), 4, 50))
    facts = (mode_facts(), posterior_facts())
    stages = {found.stage: StageRecord("finished", "", facts=found) for found in facts}
    return SimpleNamespace(
        posterior=posterior,
        data=posterior.data,
        draws={"posterior": dict(zip(posterior.names, draws, strict=True))},
        mode={"theta": dict.fromkeys(posterior.names, 2.0)},
        certificate={"s_e": 0.01, "passed": True},
        manifest=Manifest({}, stages=stages),
    )


def test_tables_and_figure_hold_what_the_draws_say(tmp_path, posterior):
    estimate = summarise("1966–2019", made_up_run(posterior))
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
    text = (tmp_path / "robustness.md").read_text()
    assert text.count(f"| `phi_pi`, Taylor rule, inflation | {draws.mean():.3f} (") == 1 and "passed" in text


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
