"""The sampling stage: right moments, its own density beside every draw, nothing infeasible, the same bits resumed."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.textbook_targets import NormalTarget, SkewedTarget
from estimhank.evaluation.engine import Engine
from estimhank.evaluation.recorder import Recorder
from estimhank.evaluation.store import EvaluationStore
from estimhank.sampling.diagnostics import ess, r_hat
from estimhank.sampling.multi_proposal import MultiProposalConfig, MultiProposalResult, run_multi_proposal
from estimhank.sampling.proposals import Center, NoFeasibleState
from estimhank.support.progress_event import ProgressEvent
from estimhank.target.protocol import Target

CUT = NormalTarget((1.0, -2.0, 0.5), (1.0, 0.3, 2.0), 0.5, cut=0.8)
SMALL = MultiProposalConfig(iterations=40, warmup=15, proposals=8, draws=4, chains=3)
SKEWED_CENTER = Center(np.array([1.1, -0.9, 0.7]), np.diag([0.33, 0.7, 0.25]))


def run(
    folder: Path, target: Target, center: Center, config: MultiProposalConfig, seed: int = 5
) -> MultiProposalResult:
    path = folder / "evaluations.bin"
    with EvaluationStore.open(path, target.names, target.fingerprint) as store:
        return run_multi_proposal(Recorder(Engine(target, "serial"), store), target, center, config, seed)


def center_of(target: NormalTarget) -> Center:
    return Center(np.array(target.mean), target.covariance)


def assert_same_bits(one: MultiProposalResult, other: MultiProposalResult) -> None:
    for field in fields(one):
        assert getattr(one, field.name).tobytes() == getattr(other, field.name).tobytes(), field.name


def test_moments_of_a_skewed_bounded_target(tmp_path: Path) -> None:
    target = SkewedTarget()
    config = MultiProposalConfig(iterations=1100, warmup=100, proposals=16, draws=8, chains=4)
    result = run(tmp_path, target, SKEWED_CENTER, config)
    effective = ess(result.theta, "mean")
    assert r_hat(result.theta).max() < 1.02 and effective.min() > 300
    sd = np.sqrt(target.variance)
    for mean in (result.theta.mean(axis=(0, 1)), result.mean.mean(axis=0)):
        assert (np.abs(mean - target.mean) < 4 * sd / np.sqrt(effective)).all()
    np.testing.assert_allclose(result.theta.var(axis=(0, 1)), target.variance, rtol=0.25)
    np.testing.assert_allclose(result.variance.mean(axis=0), target.variance, rtol=0.25)


def test_the_density_stored_with_a_draw_is_the_density_of_that_draw(tmp_path: Path) -> None:
    result = run(tmp_path, CUT, center_of(CUT), SMALL)
    for chain in range(3):
        for theta, likelihood, prior in zip(
            result.theta[chain], result.log_likelihood[chain], result.log_prior[chain], strict=True
        ):
            evaluation = CUT.evaluate(theta)
            assert abs(likelihood - evaluation.log_likelihood) < 1e-10 and abs(prior - evaluation.log_prior) < 1e-10


def test_no_infeasible_draw_although_many_proposals_are(tmp_path: Path) -> None:
    result = run(tmp_path, CUT, center_of(CUT), SMALL)
    assert result.infeasible.min() > 0.1
    assert np.isfinite(result.log_likelihood).all()
    assert all(CUT.evaluate(theta).reason == "ok" for theta in result.theta.reshape(-1, 3))


def test_every_evaluation_is_kept_in_order(tmp_path: Path) -> None:
    result = run(tmp_path, CUT, center_of(CUT), SMALL)
    with EvaluationStore.open(tmp_path / "evaluations.bin", CUT.names, CUT.fingerprint) as store:
        stored = store.read("sample")
    assert (np.bincount(stored.iteration)[1:] == 3 * 8).all() and stored.iteration.max() == 40
    kept = {row.tobytes() for row in stored.theta}
    assert all(theta.tobytes() in kept for theta in result.theta.reshape(-1, 3))


@pytest.mark.parametrize("share", [0.02, 0.37, 0.8, 0.999])
def test_a_run_cut_anywhere_and_resumed_gives_the_same_bits(tmp_path: Path, share: float) -> None:
    whole = run(tmp_path, CUT, center_of(CUT), SMALL)
    path = tmp_path / "evaluations.bin"
    content = path.read_bytes()
    cut = max(int(share * len(content)), 512)
    path.write_bytes(content[:cut])
    assert_same_bits(run(tmp_path, CUT, center_of(CUT), SMALL), whole)
    with EvaluationStore.open(path, CUT.names, CUT.fingerprint) as store:
        assert len(store) == 3 * 8 + 40 * 3 * 8
        assert path.stat().st_size == len(content)


def test_a_longer_run_begins_with_the_shorter_one(tmp_path: Path) -> None:
    short = run(tmp_path, CUT, center_of(CUT), SMALL)
    longer = MultiProposalConfig(iterations=60, warmup=15, proposals=8, draws=4, chains=3)
    assert (run(tmp_path, CUT, center_of(CUT), longer).x[:, : short.x.shape[1]] == short.x).all()


def test_another_seed_gives_other_draws(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one = run(tmp_path, CUT, center_of(CUT), SMALL)
    assert not (run(tmp_path / "other", CUT, center_of(CUT), SMALL, seed=6).x == one.x).any()


def test_adaptation_stops_after_the_warm_up(tmp_path: Path) -> None:
    result = run(tmp_path, CUT, center_of(CUT), SMALL)
    assert len(np.unique(result.scale[:15])) == 15
    assert len(np.unique(result.scale[15:])) == 1


def test_warm_up_repairs_a_bad_scale(tmp_path: Path) -> None:
    target = NormalTarget.standard(4)
    config = MultiProposalConfig(iterations=400, warmup=250, proposals=16, draws=4, chains=2)
    result = run(tmp_path, target, Center(np.zeros(4), 400.0 * np.eye(4)), config)
    assert 0.2 < result.move_rate.mean() < 0.8
    assert 0.3 < np.sqrt(np.diag(result.cholesky @ result.cholesky.T)).mean() < 5


def test_chains_that_find_no_feasible_state_say_so(tmp_path: Path) -> None:
    nowhere = NormalTarget(CUT.mean, CUT.sd, 0.5, cut=-30.0)
    with pytest.raises(NoFeasibleState, match="stage sample"):
        run(tmp_path, nowhere, center_of(nowhere), SMALL)


def test_gradients_are_kept_where_they_are_asked_for(tmp_path: Path) -> None:
    config = MultiProposalConfig(iterations=3, warmup=1, proposals=8, draws=4, chains=2, gradient=True)
    run(tmp_path, CUT, center_of(CUT), config)
    with EvaluationStore.open(tmp_path / "evaluations.bin", CUT.names, CUT.fingerprint) as store:
        stored = store.read("sample")
    proposals = stored.select((stored.iteration > 0) & stored.ok)
    for theta, gradient in zip(proposals.theta, proposals.gradient, strict=True):
        np.testing.assert_array_equal(gradient, CUT.evaluate(theta, gradient=True).gradient)


def test_progress_counts_to_the_end(tmp_path: Path) -> None:
    events: list[ProgressEvent] = []
    with EvaluationStore.open(tmp_path / "evaluations.bin", CUT.names, CUT.fingerprint) as store:
        recorder = Recorder(Engine(CUT, "serial"), store)
        run_multi_proposal(recorder, CUT, center_of(CUT), SMALL, 5, events.append)
    assert [event.done for event in events] == list(range(1, 41))
    assert {(event.stage, event.total) for event in events} == {("sample", 40)}
    assert events[-1].evaluations == 24 + 40 * 24 and "feasible" in events[-1].message


@pytest.mark.parametrize(
    "sizes", [{"iterations": 0}, {"proposals": 0}, {"draws": 0}, {"chains": 0}, {"warmup": 120}, {"warmup": -1}]
)
def test_impossible_sizes_are_refused(sizes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(sizes))):
        MultiProposalConfig(**sizes)
