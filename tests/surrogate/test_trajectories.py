"""Trajectories along the exact gradient: reversible, exact whatever the surrogate, begun only where they are needed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.known_targets import KnownTarget, skewed, unequal_modes
from estimhank.surrogate import exact as exact_stage
from estimhank.surrogate.exact import acceptance
from estimhank.surrogate.exact_chains import TRAJECTORY, ExactChains, States
from estimhank.surrogate.policy import POSTERIOR_POLICY
from estimhank.surrogate.stopping import Outlook
from estimhank.surrogate.trajectories import Trajectories
from tests.helpers.hand_made import normal_surrogate
from tests.helpers.stages import SIZES, Z_LIMIT, D, worst_z_scores
from tests.surrogate.test_exact import DISTRUSTED, MEAN, ROOT, TARGET, run


class Impatient(Outlook):
    """Gives up at the first look where trajectories are the way out, and never afterwards."""

    def add(self, rounds: int, effective: float) -> bool:
        super().add(rounds, effective)
        return self.budgets == 1.0


def run_along(
    monkeypatch: pytest.MonkeyPatch, target: KnownTarget = TARGET, rounds: int = 500, min_ess: float = 600.0
) -> ExactChains:
    monkeypatch.setattr(exact_stage, "Outlook", Impatient)
    surrogate = normal_surrogate(MEAN + 1.5 * ROOT[:, 0], 0.7 * ROOT)
    config = replace(SIZES, max_rounds=rounds, min_ess=min_ess, check_every=50, max_r_hat=1.02)
    return run(surrogate, replace(DISTRUSTED, random_walk_share=0.1), target, config=config)[0]


def test_draws_are_those_of_the_posterior_along_trajectories(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = run_along(monkeypatch)
    along = exact.step_kind == TRAJECTORY
    assert 0.3 < along.mean() < 0.7 and exact.accepted[along].mean() > 0.6
    assert exact.converged, exact.convergence
    scores = worst_z_scores(TARGET, exact)
    assert max(scores.values()) < Z_LIMIT, scores
    again = TARGET.batch(exact.theta.reshape(-1, D))
    np.testing.assert_allclose(exact.log_likelihood.ravel(), again.log_likelihood, rtol=0, atol=1e-10)


@pytest.mark.parametrize("sabotage", ["accepts everything", "forgets the momenta"])
def test_a_wrong_acceptance_of_trajectories_is_found_out(monkeypatch: pytest.MonkeyPatch, sabotage: str) -> None:
    def wrong(current: States, proposed: States, kind: np.ndarray, factor: np.ndarray | float = 0.0) -> np.ndarray:
        along = kind == TRAJECTORY
        right = acceptance(current, proposed, kind, factor)
        if sabotage == "accepts everything":
            return np.where(along, 1.0, right)
        return np.where(along, acceptance(current, proposed, kind), right)

    monkeypatch.setattr(exact_stage, "acceptance", wrong)
    # steps so long that the energy is far from kept
    monkeypatch.setattr(Trajectories, "tune", lambda self, probability: setattr(self, "size", 1.97))
    exact = run_along(monkeypatch, rounds=1_500, min_ess=1e9)
    assert max(worst_z_scores(TARGET, exact).values()) > Z_LIMIT


def test_a_trajectory_leads_back_with_the_momentum_turned() -> None:
    """Of the leapfrog: from the end with -p' the start is reached with -p, so that the step is reversible."""
    rng = np.random.default_rng(0)
    root = np.linalg.cholesky(np.cov(rng.standard_normal((D, 50))))

    def force(z: np.ndarray) -> np.ndarray:
        return -z - 0.3 * z**3

    class Fixed:
        """Random numbers that give chosen momenta, whole steps and a length."""

        def __init__(self, momenta: np.ndarray) -> None:
            self.momenta = momenta

        def choice(self, values: object, n: int, p: object) -> np.ndarray:
            return np.ones(n)

        def uniform(self, low: float, high: float) -> float:
            return 1.0

        def standard_normal(self, shape: tuple[int, int]) -> np.ndarray:
            return self.momenta

    there, back = Trajectories(root, force), Trajectories(root, force)
    there.size = back.size = 0.2
    z, p = rng.standard_normal((6, D)).astype(np.float32), rng.standard_normal((6, D))
    end = there.lead(Fixed(p), z)  # type: ignore[arg-type]
    ratio = there.arrive(force(end.astype(float)))
    p_end = there._momentum + 0.1 * force(end.astype(float)) @ root
    start = back.lead(Fixed(-p_end), end)  # type: ignore[arg-type]
    np.testing.assert_allclose(start, z, atol=1e-5)
    np.testing.assert_allclose(back.arrive(force(start.astype(float))), -ratio, atol=1e-5)
    assert np.abs(end - z).max() > 0.5


def test_what_is_impossible_is_not_entered_along_trajectories(monkeypatch: pytest.MonkeyPatch) -> None:
    target = skewed(D, bound_known=False)
    monkeypatch.setattr(exact_stage, "Outlook", Impatient)
    exact, memory = run(
        normal_surrogate(np.array([0.5, 0.0, 0.0]), np.eye(D)), DISTRUSTED, target, config=replace(SIZES, max_rounds=80)
    )
    assert (exact.step_kind == TRAJECTORY).any()
    assert (exact.theta[..., 0] > 0).all() and np.isfinite(exact.log_likelihood).all()
    assert sum((~batch.ok).sum() for _, _, batch in memory.batches) > 0


def test_nothing_that_was_before_them_is_kept_and_the_burn_in_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = run_along(monkeypatch, rounds=100)
    first_look = exact.rounds - 100
    assert first_look % 50 == 0 and exact.burn_in >= first_look + POSTERIOR_POLICY.trajectory_burn_in
    assert {0, 1, TRAJECTORY} == set(np.unique(exact.step_kind))


def test_a_density_without_gradients_is_given_up_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KnownTarget, "has_gradient", False, raising=False)
    monkeypatch.setattr(Impatient, "add", lambda self, rounds, effective: Outlook.add(self, rounds, effective) or True)
    exact = run_along(monkeypatch, rounds=100)
    assert not exact.converged and not (exact.step_kind == TRAJECTORY).any()
    assert "stopped early" in exact.convergence


def test_the_figures_repeat_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    one, same = (run_along(monkeypatch, rounds=70) for _ in range(2))
    np.testing.assert_array_equal(one.theta, same.theta)


@pytest.mark.parametrize(
    ("weight", "far_off", "told"),
    [(1e-4, 1, True), (0.3, 1, False), (1e-4, 8, False)],
    ids=["nothing", "three tenths", "nothing, it seems, but half of the chains are there"],
)
def test_chains_in_a_mode_that_holds_nothing_are_begun_elsewhere(
    monkeypatch: pytest.MonkeyPatch, weight: float, far_off: int, told: bool
) -> None:
    monkeypatch.setattr(exact_stage, "Outlook", Impatient)
    start = exact_stage._start

    def some_far_off(counter: Any, *rest: Any) -> States:
        state = start(counter, *rest)
        found = counter(np.array([[14.0, 0.0, 0.0]] * far_off, np.float32), np.full(far_off, -50.0))
        return exact_stage._replace(state, np.arange(len(state.z) - far_off, len(state.z)), found)

    monkeypatch.setattr(exact_stage, "_start", some_far_off)
    target = unequal_modes(D, apart=14.0, weight=weight)
    config = replace(SIZES, max_rounds=100, check_every=50, min_ess=1e9)
    exact = run(normal_surrogate(np.zeros(D), np.eye(D)), DISTRUSTED, target, config=config)[0]
    assert ("begun elsewhere" in exact.convergence) == bool(exact.left_out) == told
    assert (exact.theta[..., 0] > 7).any() != told
    assert not exact.converged
