"""Random-walk chains: the textbook's efficiency, detailed balance, and the stage's promises."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.textbook_targets import NormalTarget, SkewedTarget
from estimhank.evaluation.engine import Engine
from estimhank.evaluation.recorder import Recorder
from estimhank.evaluation.store import EvaluationStore
from estimhank.sampling.chains import ChainConfig
from estimhank.sampling.diagnostics import ess, r_hat
from estimhank.sampling.proposals import Center
from estimhank.sampling.random_walk import (
    RandomWalkResult,
    acceptance_probability,
    init,
    run_random_walk,
    step,
)
from estimhank.target.protocol import Target

CUT = NormalTarget((1.0, -2.0), (1.0, 0.3), 0.5, cut=0.5)
CUT_CENTER = Center(np.array(CUT.mean), CUT.covariance)


def run(folder: Path, target: Target, center: Center, config: ChainConfig, seed: int = 2) -> RandomWalkResult:
    path = folder / "evaluations.bin"
    with EvaluationStore.open(path, target.names, target.fingerprint) as store:
        return run_random_walk(Recorder(Engine(target, "serial"), store), target, center, config, seed)


@given(st.floats(-350, 350), st.floats(-350, 350))  # e^-700 is still a normal number
def test_acceptance_is_in_detailed_balance(a: float, b: float) -> None:
    there, back = acceptance_probability(a, b), acceptance_probability(b, a)
    assert max(there, back) == 1.0
    assert math.log(there) - math.log(back) == pytest.approx(b - a)


def test_acceptance_of_a_hopeless_proposal_is_zero_and_no_error() -> None:
    assert acceptance_probability(1000.0, -1000.0) == 0.0
    assert acceptance_probability(-1000.0, 1000.0) == 1.0


def test_a_proposal_without_density_is_refused() -> None:
    assert acceptance_probability(-3.0, -math.inf) == 0.0


def test_eleven_dimensions_at_the_best_scale_match_the_textbook() -> None:
    def log_normal(x: np.ndarray) -> np.ndarray:
        return -0.5 * (x**2).sum(axis=1)

    rng = np.random.default_rng(0)
    root = 2.38 / math.sqrt(11) * np.eye(11)
    draws, accepted = np.empty((4, 8000, 11)), 0
    start = rng.standard_normal((4, 11))
    state = init(start, log_normal(start))
    for k in range(8000):
        state, info = step(rng, state, log_normal, root)
        draws[:, k] = state.position
        accepted += int(info.accepted.sum())
        np.testing.assert_array_equal(state.log_density, log_normal(state.position))
    assert accepted / draws[:, :, 0].size == pytest.approx(0.26, abs=0.015)
    assert ess(draws, "mean").mean() / draws[:, :, 0].size == pytest.approx(0.029, rel=0.2)
    assert draws.var() == pytest.approx(1.0, abs=0.06)


def test_moments_of_a_skewed_bounded_target(tmp_path: Path) -> None:
    target = SkewedTarget()
    center = Center(np.array([1.1, -0.9, 0.7]), np.diag([0.33, 0.7, 0.25]))
    result = run(tmp_path, target, center, ChainConfig(iterations=2500, warmup=300, chains=6))
    effective = ess(result.theta, "mean")
    assert r_hat(result.theta).max() < 1.02
    error = np.sqrt(np.array(target.variance) / effective)
    assert (np.abs(result.theta.mean(axis=(0, 1)) - target.mean) < 4 * error).all()
    assert 0.15 < result.acceptance.mean() < 0.35


def test_the_density_stored_with_a_draw_is_its_own_and_never_infeasible(tmp_path: Path) -> None:
    result = run(tmp_path, CUT, CUT_CENTER, ChainConfig(iterations=80, warmup=20, chains=3))
    assert result.infeasible.min() > 0.05
    for theta, likelihood in zip(result.theta.reshape(-1, 2), result.log_likelihood.ravel(), strict=True):
        evaluation = CUT.evaluate(theta)
        assert evaluation.reason == "ok" and abs(evaluation.log_likelihood - likelihood) < 1e-10
    stays = (np.diff(result.x, axis=1) == 0).all(axis=-1).mean()
    assert stays == pytest.approx(1 - result.acceptance.mean(), abs=0.02)


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_run_cut_anywhere_and_resumed_gives_the_same_bits(tmp_path: Path, share: float) -> None:
    config = ChainConfig(iterations=60, warmup=20, chains=3)
    whole = run(tmp_path, CUT, CUT_CENTER, config)
    path = tmp_path / "evaluations.bin"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    resumed = run(tmp_path, CUT, CUT_CENTER, config)
    for field in fields(whole):
        assert getattr(resumed, field.name).tobytes() == getattr(whole, field.name).tobytes(), field.name


def test_adaptation_stops_after_the_warm_up(tmp_path: Path) -> None:
    result = run(tmp_path, CUT, CUT_CENTER, ChainConfig(iterations=50, warmup=20, chains=2))
    assert len(np.unique(result.scale[:20])) == 20 and len(np.unique(result.scale[20:])) == 1


@pytest.mark.parametrize("sizes", [{"iterations": 0}, {"chains": 0}, {"warmup": 5000}])
def test_impossible_sizes_are_refused(sizes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(sizes))):
        ChainConfig(**sizes)
