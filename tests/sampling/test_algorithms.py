"""One suite for every algorithm of the sampling stage: known moments, uniform ranks, its own density, resumption."""

from __future__ import annotations

import itertools
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmarks.textbook_targets import NormalTarget, SkewedTarget
from estimhank.evaluation.engine import Engine
from estimhank.evaluation.recorder import Recorder
from estimhank.evaluation.store import EvaluationStore
from estimhank.evaluation.worker import EvaluationError
from estimhank.run.config import make_config
from estimhank.run.config_sections import SAMPLERS
from estimhank.run.stages import describe_draws
from estimhank.sampling.algorithms import ALGORITHMS
from estimhank.sampling.diagnostics import ess, r_hat
from estimhank.sampling.multi_proposal import MultiProposalConfig
from estimhank.sampling.proposals import Center
from estimhank.sampling.tempered import NotTempered
from estimhank.support.errors import ConfigError
from estimhank.target.protocol import Evaluation, GradientLike, Target
from tests.helpers.ranks import ERRORS, KURTOSIS, far_apart, levels_of

SKEWED_CENTER = Center(np.array([1.1, -0.9, 0.7]), np.diag([0.33, 0.7, 0.25]))
NORMAL = NormalTarget((1.0, -2.0, 0.5, 0.0), (1.0, 0.3, 2.0, 1.0), 0.6)
CUT = NormalTarget((1.0, -2.0), (1.0, 0.3), 0.5, cut=0.8)

#: Sizes that give several hundred effective draws.
SIZES = {
    "multi_proposal": MultiProposalConfig(iterations=1200, warmup=150, proposals=16, draws=1, chains=6),
    "random_walk": MultiProposalConfig(iterations=700, warmup=150, proposals=5, chains=8),
    "dime": MultiProposalConfig(iterations=500, warmup=100, proposals=5, chains=8),
    "smc": MultiProposalConfig(iterations=900, warmup=0, proposals=5, chains=8),
    "nuts": MultiProposalConfig(iterations=220, warmup=60, chains=4, proposals=1),
}
SMALL = MultiProposalConfig(iterations=40, warmup=20, proposals=8, draws=4, chains=2)
ALL = pytest.mark.parametrize("name", SAMPLERS)
#: NUTS compiles its trajectories for every run: its moments and ranks above all are in the quick set
MOST = pytest.mark.parametrize("name", [*SAMPLERS[:-1], pytest.param("nuts", marks=pytest.mark.long)])


def run(folder: Path, name: str, target: Target, center: Center, sizes: MultiProposalConfig, seed: int = 5) -> Any:
    path, backend = folder / "evaluations.bin", "loky" if name == "nuts" else "serial"
    with (
        EvaluationStore.open(path, target.names, target.fingerprint) as store,
        Engine(target, backend, workers=1) as engine,
    ):
        return ALGORITHMS[name](Recorder(engine, store), target, center, sizes, seed, None)


def center_of(target: NormalTarget) -> Center:
    return Center(np.array(target.mean), target.covariance)


def test_every_name_has_an_algorithm() -> None:
    assert tuple(ALGORITHMS) == SAMPLERS
    for name in SAMPLERS:
        assert make_config({"sample": {"algorithm": name}}).sample.algorithm == name
    with pytest.raises(ConfigError, match="algorithm"):
        make_config({"sample": {"algorithm": "gibbs"}})


@ALL
def test_moments_and_uniform_ranks_on_a_skewed_bounded_target(tmp_path: Path, name: str) -> None:
    target = SkewedTarget()
    result = run(tmp_path, name, target, SKEWED_CENTER, SIZES[name])
    effective = ess(result.theta, "mean")
    assert r_hat(result.theta).max() < 1.03 and effective.min() > 300
    distance, variance = result.theta - target.mean, np.array(target.variance)
    assert (np.abs(distance.mean(axis=(0, 1))) < ERRORS * np.sqrt(variance / effective)).all()
    squares = distance**2 / variance
    error = np.sqrt((KURTOSIS - 1) / ess(squares, "mean"))
    assert (np.abs(squares.mean(axis=(0, 1)) - 1) < ERRORS * error).all()
    # levels of draws in the true distributions are uniform: chi-square of ten bins of draws far apart
    levels = levels_of(far_apart(result.theta))
    assert len(levels) > 80
    for level in levels.T:
        assert stats.chisquare(np.histogram(level, 10, (0, 1))[0]).pvalue > 1e-7


@MOST
def test_moments_of_a_correlated_normal(tmp_path: Path, name: str) -> None:
    # the centre is off, as a mode search's may be
    center = Center(np.array(NORMAL.mean) + 0.5 * np.array(NORMAL.sd), np.diag(np.diag(NORMAL.covariance)))
    result = run(tmp_path, name, NORMAL, center, SIZES[name], seed=3)
    effective = ess(result.x, "mean")
    assert effective.min() > 250
    standard = (result.x - NORMAL.mean) / NORMAL.sd
    assert (np.abs(standard.mean(axis=(0, 1))) < ERRORS / np.sqrt(effective)).all()
    for i, j in itertools.combinations_with_replacement(range(4), 2):
        product = standard[..., i] * standard[..., j]
        expected = 1.0 if i == j else 0.6
        error = np.sqrt((1 + expected**2) / ess(product[..., None], "mean")[0])
        assert abs(product.mean() - expected) < ERRORS * error


@MOST
def test_draws_carry_their_own_density_and_are_feasible(tmp_path: Path, name: str) -> None:
    result = run(tmp_path, name, CUT, center_of(CUT), SMALL)
    assert result.theta.shape[:2] == result.log_likelihood.shape == result.log_prior.shape
    assert result.infeasible.max() > 0.0
    for theta, likelihood, prior in zip(
        result.theta.reshape(-1, 2), result.log_likelihood.ravel(), result.log_prior.ravel(), strict=True
    ):
        there = CUT.evaluate(theta)
        assert there.reason == "ok"
        assert abs(there.log_likelihood - likelihood) < 1e-10 and abs(there.log_prior - prior) < 1e-10


@MOST
def test_every_state_comes_from_the_store_and_a_run_cut_anywhere_resumes_to_the_bit(tmp_path: Path, name: str) -> None:
    whole = run(tmp_path, name, CUT, center_of(CUT), SMALL)
    path = tmp_path / "evaluations.bin"
    with EvaluationStore.open(path, CUT.names, CUT.fingerprint) as store:
        kept = {row.tobytes() for row in store.read("sample").theta}
    assert all(theta.tobytes() in kept for theta in whole.theta.reshape(-1, 2))
    content = path.read_bytes()
    for share in (0.3, 0.85):
        path.write_bytes(content[: int(share * len(content))])
        resumed = run(tmp_path, name, CUT, center_of(CUT), SMALL)
        assert path.stat().st_size == len(content)
        for field in fields(whole):
            one, other = np.asarray(getattr(whole, field.name)), np.asarray(getattr(resumed, field.name))
            assert one.tobytes() == other.tobytes(), field.name


@MOST
def test_rates_are_told_by_chain(tmp_path: Path, name: str) -> None:
    result = run(tmp_path, name, CUT, center_of(CUT), SMALL)
    facts = describe_draws(name, result)
    rates = facts.acceptance or facts.move_rate
    assert rates is not None and len(rates) == len(facts.infeasible) == len(result.x) and np.mean(rates) > 0.1
    assert np.isfinite(facts.r_hat) and facts.algorithm == name


def test_another_seed_gives_other_draws(tmp_path: Path) -> None:
    for name in ("dime", "smc"):
        folders = tmp_path / name / "one", tmp_path / name / "other"
        results = []
        for seed, folder in enumerate(folders):
            folder.mkdir(parents=True)
            results.append(run(folder, name, CUT, center_of(CUT), SMALL, seed))
        assert not np.isin(results[0].x[..., 0], results[1].x[..., 0]).any()


def test_tempering_estimates_the_evidence(tmp_path: Path) -> None:
    """The normal density integrates to one, the skewed one too."""
    for k, (target, center) in enumerate(((NORMAL, center_of(NORMAL)), (SkewedTarget(), SKEWED_CENTER))):
        (tmp_path / str(k)).mkdir()
        sizes = MultiProposalConfig(iterations=40, warmup=0, proposals=50, chains=8)
        assert abs(run(tmp_path / str(k), "smc", target, center, sizes).log_evidence) < 0.2  # type: ignore[arg-type]


@pytest.mark.long
def test_an_exception_in_a_trajectory_ends_the_run_with_its_parameters(tmp_path: Path) -> None:
    class Faulty(NormalTarget):
        def evaluate(self, theta: np.ndarray, gradient: GradientLike = False) -> Evaluation:
            if gradient and theta[0] > 1.2:
                raise KeyError("in the middle of a trajectory")
            return super().evaluate(theta, gradient)

    target = Faulty(NORMAL.mean, NORMAL.sd)
    with pytest.raises(EvaluationError, match="in the middle of a trajectory"):
        run(tmp_path, "nuts", target, center_of(NORMAL), SMALL)
    assert (tmp_path / "failed_evaluation.json").exists()


@pytest.mark.parametrize("backend", ["serial", "vectorized"])
def test_nuts_without_workers_is_refused_before_it_waits_for_ever(tmp_path: Path, backend: str) -> None:
    """Its trajectories call back from XLA's only thread, which an evaluation in this process would need."""
    with EvaluationStore.open(tmp_path / "e.bin", NORMAL.names, NORMAL.fingerprint) as store:
        engine = Engine(NORMAL, "serial")
        engine.backend = backend
        with pytest.raises(ConfigError, match=rf"the {backend} backend has not: choose backend = .loky."):
            ALGORITHMS["nuts"](Recorder(engine, store), NORMAL, center_of(NORMAL), SMALL, 1, None)


def test_too_few_members_or_iterations_are_said(tmp_path: Path) -> None:
    few = MultiProposalConfig(iterations=9, warmup=2, proposals=2, chains=2)
    for name in ("dime", "smc"):
        with pytest.raises(ConfigError, match=rf"\[sample\] {name} needs .*at least 6 "):
            run(tmp_path, name, CUT, center_of(CUT), few)
    (tmp_path / "far").mkdir()
    far = Center(np.array([60.0, 40.0]), 0.5 * CUT.covariance)
    with pytest.raises(NotTempered, match="raise iterations"):
        run(
            tmp_path / "far",
            "smc",
            NormalTarget(CUT.mean, CUT.sd),
            far,
            MultiProposalConfig(iterations=3, warmup=0, proposals=8, draws=4, chains=2),
        )
