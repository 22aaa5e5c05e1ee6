"""Calibration: right posteriors pass, wrong ones do not, and samples are those of the likelihood."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import calibration, seeds
from benchmarks.ranks import DRAWS, FEWEST, bands, covers, ecdf_probability, judge, rank, verdict
from estimhank.economics.draws import ReducedDraws
from estimhank.economics.study import Study
from estimhank.posterior.posterior import Posterior
from estimhank.run.config import load_config
from estimhank.support.errors import EstimhankError
from estimhank.support.files import read_json, write_json

Draw = Callable[[np.random.Generator, float], np.ndarray]


def right(rng: np.random.Generator, y: float) -> np.ndarray:
    """The posterior of theta ~ N(0, 1) given y ~ N(theta, 1) is N(y/2, 1/2)."""
    return y / 2 + np.sqrt(0.5) * rng.standard_normal(400)


WRONG: dict[str, Draw] = {
    "too narrow": lambda rng, y: y / 2 + 0.5 * np.sqrt(0.5) * rng.standard_normal(400),
    "too wide": lambda rng, y: y / 2 + 2.2 * np.sqrt(0.5) * rng.standard_normal(400),
    "off": lambda rng, y: y / 2 + 0.6 + np.sqrt(0.5) * rng.standard_normal(400),
    "the prior": lambda rng, y: rng.standard_normal(400),
}


def replications(draw: Draw, number: int, seed: int = 1) -> list[dict[str, Any]]:
    """Rank and coverage of theta and of the log likelihood."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(number):
        theta = rng.standard_normal()
        y = theta + rng.standard_normal()
        draws = draw(rng, y)
        pairs = {"theta": (theta, draws), "log likelihood": (-((y - theta) ** 2) / 2, -((y - draws) ** 2) / 2)}
        found.append({k: {"rank": rank(t, d), "covered": covers(t, d), "z": 0.0} for k, (t, d) in pairs.items()})
    return found


def judged(found: list[dict[str, Any]]) -> tuple[bool, str]:
    return verdict(
        [judge(k, [f[k]["rank"] for f in found], sum(f[k]["covered"] for f in found)) for k in found[0]]
    )  # fmt: skip


def test_right_posteriors_are_found_right() -> None:
    passed, words = judged(replications(right, 100))
    assert passed and "nothing speaks against it in 100 replications" in words


def test_of_right_posteriors_one_in_twenty_fails_at_most() -> None:
    failed = sum(not judged(replications(right, 40, seed))[0] for seed in range(60))
    assert failed <= 8  # more have a probability of 0.003, if one in twenty does


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_posteriors_are_found_wrong(kind: str) -> None:
    passed, words = judged(replications(WRONG[kind], 100))
    assert not passed and words.startswith("not calibrated")
    if kind == "the prior":  # whose ranks of theta are uniform
        assert "log likelihood" in words and "theta (" not in words


def test_few_replications_give_no_verdict() -> None:
    passed, words = judged(replications(right, FEWEST - 1))
    assert not passed and words.startswith("no verdict")


def test_bands_hold_uniform_ranks_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(5)
    low, high = bands(50)
    inside, small = 0, 0
    for _ in range(1000):
        ranks = rng.integers(0, DRAWS + 1, 50)
        below = np.searchsorted(np.sort(ranks), np.arange(1, DRAWS + 1)) / 50
        inside += bool(((low <= below) & (below <= high)).all())
        small += ecdf_probability(ranks) < 0.05
    assert 0.93 < inside / 1000 < 0.985  # counts are whole, so that bands are a little wide
    assert 0.03 < small / 1000 < 0.07


def test_a_rank_needs_as_many_draws() -> None:
    with pytest.raises(ValueError, match="needs as many, there are 20"):
        rank(0.0, np.zeros(20))


def test_samples_are_those_of_the_likelihood(posterior: Posterior, reference: dict[str, float]) -> None:
    """A sample made of the moving average, whitened by the factor of the covariances: independent standard normals."""
    theta = posterior.to_array(reference)
    study = Study(ReducedDraws.at(posterior, theta))
    form = study.forms.at(theta)
    samples = [jnp.asarray(calibration.simulate(study.forms, theta, np.random.default_rng(k))) for k in range(8)]
    whitened = np.concatenate([np.asarray(study.sample.stack(form, sample).innovations) for sample in samples])
    n = len(whitened)
    assert abs((whitened**2).sum() - n) < 4 * np.sqrt(2 * n) and abs(whitened.mean()) < 4 / np.sqrt(n)
    assert abs((whitened[1:] * whitened[:-1]).mean()) < 4 / np.sqrt(n)


def test_a_sample_replaces_the_data_and_nothing_else(posterior: Posterior, tmp_path: Path) -> None:
    config = load_config("configs/us_hank.toml")
    values = np.random.default_rng(0).standard_normal(posterior.data.values.shape)
    values[100, 1] = 1e4  # which data would not be believed
    other = calibration.with_sample(config, posterior, values, tmp_path / "sample.csv", 5)
    target = Posterior.from_config(other)
    np.testing.assert_array_equal(target.data.values, values)
    assert target.data.dates == posterior.data.dates and other.run.seed == 5
    assert other.parameters == config.parameters and not target.data.means.any()


def test_what_has_no_such_samples_is_refused() -> None:
    config = load_config("configs/us_hank.toml")
    conditioned = dataclasses.replace(config, data=dataclasses.replace(config.data, condition_on=4))
    with pytest.raises(EstimhankError, match="conditioned on quarters"):
        calibration.check(conditioned)


@pytest.mark.parametrize(("kind", "passes"), [("right", True), ("too narrow", False)])
def test_the_command_goes_on_and_withholds(
    kind: str, passes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def stand_in(config: Any, number: int, folder: Path, *_: Any) -> None:
        made.append(number)
        found = replications(WRONG.get(kind, right), 1, number)[0]
        result = {
            "number": number, "configuration": config.digest(), "refused": "", "quantities": found, "seconds": 1.0,
            "converged": number != 3, "certificate_passed": True, "prior_draws_refused": 0,
        }  # fmt: skip
        write_json(folder / "replication.json", result)

    monkeypatch.setattr(calibration, "replicate", stand_in)
    monkeypatch.setattr(calibration, "Posterior", SimpleNamespace(from_config=lambda config: None))
    monkeypatch.setattr(calibration, "LinearForms", lambda posterior: None)
    arguments = ["--out", str(tmp_path), "--quiet", "--replications"]
    assert calibration.main([*arguments, "15"]) is False
    assert calibration.main([*arguments, "80"]) is passes
    assert made == list(range(1, 81))  # each once
    summary = read_json(tmp_path / "calibration.json")
    assert summary["calibrated"] is passes and (summary["replications"], summary["converged"]) == (80, 79)
    assert "79 of which converged" in (tmp_path / "calibration.md").read_text()
    with pytest.raises(EstimhankError, match="of other settings"):
        calibration.main([*arguments, "80", "--profile", "smoke"])


def test_seeds_that_differ_by_more_than_their_errors_are_told() -> None:
    rng, runs = np.random.default_rng(2), []
    for k in range(5):
        means = np.array([1.0, 2.0]) + rng.standard_normal(2) * np.array([0.1, 0.2]) / np.sqrt(400)
        row: dict[str, Any] = {
            "converged": True,
            "certified": k > 0,
            "effective": 400.0,
            "r_hat": 1.0,
            "seconds": 60.0,
            "s_e": 0.02,
        }
        row |= {"evaluations": 10, "mode": -1.0, "error": ""}
        runs.append(seeds.SeededRun("us", k, ("a", "b"), means, np.array([0.1, 0.2]), np.full(2, 400.0), row))
    line = seeds.compare("us", [r.row for r in runs], runs)
    assert line["certified"] == 4 and line["converged"] == 5 and line["largest_z"] < 3.5
    runs[3].means[1] += 0.2
    line = seeds.compare("us", [*(r.row for r in runs), {"error": "ModeError: none"}], runs)
    assert line["largest_z"] > 8 and line["of"] == "b" and (line["seeds"], line["ended"]) == (6, 5)
    assert "4 of 6" in seeds.markdown([line])
