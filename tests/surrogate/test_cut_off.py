"""Draws that stop short of the posterior are told by exact chains at the outermost of them, on a thin ridge too."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.known_targets import KnownTarget, correlated_normal, funnel, long_banana, standard_normal
from estimhank.surrogate.confined import lacking, longest_tails
from estimhank.surrogate.tail_chains import TailEvidence, look_beyond

DRAWS = 2_400


@dataclass
class CutOff:
    """Stands in for a surrogate: right where |theta_0| is below ``cut``, far too low beyond."""

    target: KnownTarget
    cut: float

    def __post_init__(self) -> None:
        x = self.target.sample(np.random.default_rng(5), 20_000)
        self.center, self.root, self.dimension = x.mean(axis=0), np.linalg.cholesky(np.cov(x.T)), x.shape[1]

    def whiten(self, x: np.ndarray) -> np.ndarray:
        return np.linalg.solve(self.root, (x - self.center).T).T.astype(np.float32)

    def unwhiten(self, z: np.ndarray) -> np.ndarray:
        return self.center + np.asarray(z, float) @ self.root.T

    def log_density(self, x: np.ndarray) -> np.ndarray:
        beyond = np.maximum(np.abs(x[:, 0]) - self.cut, 0.0)
        return self.target.batch(x).log_density - 10 * beyond

    def draws(self, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        x = self.target.sample(rng, 2 * DRAWS)
        kept = rng.random(len(x)) < np.exp(self.log_density(x) - self.target.batch(x).log_density)
        return x[kept][:DRAWS]


def beyond(surrogate: CutOff, seed: int) -> TailEvidence:
    """What chains show of draws that are the surrogate's, where these should be the posterior's."""
    x, target = surrogate.draws(seed), surrogate.target
    z = surrogate.whiten(x)
    x, shape = surrogate.unwhiten(z), (24, DRAWS // 24)
    exact = SimpleNamespace(
        z=z.reshape(*shape, -1),
        log_density=target.batch(x).log_density.reshape(shape),
        surrogate_log_density=surrogate.log_density(x).reshape(shape),
        ess_bulk=np.array([2_000.0]),
        ess_tail=np.array([2_000.0]),
    )
    return look_beyond(lambda stage, number, theta: target.batch(theta), target, surrogate, exact, 0, seed)  # type: ignore[arg-type]


ARMS = [(long_banana(11), 22.0), (long_banana(4, 6.0, 0.3), 13.0), (long_banana(20, 10.0, 0.03), 22.0)]
WHOLE = [*(target for target, _ in ARMS), correlated_normal(11), standard_normal(2), funnel(3, 1.0)]


@pytest.mark.parametrize(("target", "cut"), ARMS)
def test_draws_whose_arms_are_cut_off_do_not_cover_the_tails(target: KnownTarget, cut: float) -> None:
    for seed in range(3):
        found = beyond(CutOff(target, cut), seed)
        assert not found.covered and "cover the tails" in found.words, found


@pytest.mark.parametrize("target", WHOLE)
def test_draws_that_reach_as_far_as_the_posterior_are_not_called_short(target: KnownTarget) -> None:
    for seed in range(3):
        found = beyond(CutOff(target, np.inf), seed)
        assert found.covered and not found.words, found


def test_the_longest_tail_is_the_one_that_reaches_farthest_from_the_median() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4_000, 3))
    x[:, 1] = 1e-6 * np.exp(x[:, 1])
    x[:, 2] = -1e3 * rng.exponential(size=4_000)
    assert longest_tails(x) == [(1, 1), (-1, 2)]


def test_one_chain_alone_and_places_without_a_density_do_not_say_that_something_is_lacking() -> None:
    underrated = np.zeros((10, 4))
    underrated[3] = 30.0
    underrated[5, 0] = -np.inf
    assert lacking(underrated) == 0.0
    underrated[4] = 30.0
    assert lacking(underrated) == pytest.approx(np.sqrt(0.02 * 25 / 9))
