"""The exact stage has the posterior as its distribution whatever the surrogate, stores what it says, and repeats
itself."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest

from benchmarks.known_targets import KnownTarget, correlated_normal, skewed, two_modes
from estimhank.surrogate import exact as exact_stage
from estimhank.surrogate.exact import NoStart, acceptance, discarded, run_exact
from estimhank.surrogate.exact_chains import ExactChains, Schedule, States
from estimhank.surrogate.fast_mh import Proposal, warm_up
from estimhank.surrogate.random_walk_steps import random_walk_proposals
from estimhank.surrogate.stage_config import PosteriorConfig
from estimhank.surrogate.surrogate import Surrogate
from tests.helpers.hand_made import normal_surrogate
from tests.helpers.in_memory import Memory
from tests.helpers.stages import SIZES, Z_LIMIT, D, draws_per_evaluation, worst_z_scores

TARGET = correlated_normal(D)
TRUTH = TARGET.sample(np.random.default_rng(0), 50_000)
MEAN, ROOT = TRUTH.mean(axis=0), np.linalg.cholesky(np.cov(TRUTH.T))
TRUSTED = Schedule(subchain=40, random_walk_share=0.05, mixed_lengths=False, burn_in_share=0.05)
DISTRUSTED = Schedule(subchain=40, random_walk_share=0.3, mixed_lengths=True, burn_in_share=0.25)


def moves(surrogate: Surrogate) -> tuple[Proposal, np.ndarray]:
    start = np.random.default_rng(1).standard_normal((64, D)).astype(np.float32)
    chains, proposal = warm_up(surrogate, start, np.ones(64), seed=2)
    return proposal, np.asarray(chains.z)


def run(
    surrogate: Surrogate,
    policy: Schedule = TRUSTED,
    target: KnownTarget = TARGET,
    seed: int = 3,
    config: PosteriorConfig = SIZES,
) -> tuple[ExactChains, Memory]:
    memory = Memory(target)
    proposal, starts = moves(surrogate)
    return run_exact(memory, target, surrogate, proposal, starts, policy, config, seed), memory


@pytest.mark.parametrize(
    ("label", "policy", "shift", "stretch"),
    [
        ("the right surrogate", TRUSTED, 0.0, 1.0),
        ("one that is shifted", TRUSTED, 0.7, 1.0),
        ("one that is too narrow", DISTRUSTED, 0.0, 0.9),
        ("one that is too wide and shifted", DISTRUSTED, 0.7, 1.4),
    ],
)
def test_draws_are_those_of_the_posterior_whatever_the_surrogate(
    label: str, policy: Schedule, shift: float, stretch: float
) -> None:
    surrogate = normal_surrogate(MEAN + shift * ROOT[:, 0], stretch * ROOT)
    exact, _ = run(surrogate, policy, config=replace(SIZES, min_ess=400, max_r_hat=1.02, max_rounds=800))
    assert exact.converged, f"{label}: {exact.convergence}"
    scores = worst_z_scores(TARGET, exact)
    assert max(scores.values()) < Z_LIMIT, f"{label}: {scores}"


@pytest.mark.parametrize("kind", [0, 1], ids=["subchains", "random-walk steps"])
def test_a_wrong_acceptance_is_found_out(monkeypatch: pytest.MonkeyPatch, kind: int) -> None:
    """The limit sees what it is for: moves of one kind accepted whatever their densities."""

    def wrong(current: States, proposed: States, kinds: np.ndarray, *rest: np.ndarray) -> np.ndarray:
        return np.where(kinds == kind, 1.0, acceptance(current, proposed, kinds, *rest))

    monkeypatch.setattr(exact_stage, "acceptance", wrong)
    exact, _ = run(normal_surrogate(MEAN + 0.7 * ROOT[:, 0], ROOT), DISTRUSTED, config=replace(SIZES, max_rounds=300))
    assert max(worst_z_scores(TARGET, exact).values()) > 1.5 * Z_LIMIT


def test_a_good_surrogate_gives_nearly_an_independent_draw_an_evaluation() -> None:
    exact, _ = run(normal_surrogate(MEAN, ROOT))
    assert draws_per_evaluation(exact) > 0.7
    subchain = exact.step_kind == 0
    assert exact.acceptance_probability[subchain].mean() > 0.98


def test_acceptance_is_that_of_delayed_acceptance_with_a_subchain() -> None:
    def states(density: list[float], surrogate: list[float]) -> States:
        nothing = np.zeros((len(density), D))
        value = np.array(density)
        return States(nothing.astype(np.float32), nothing, nothing, value, value, value, np.array(surrogate))

    now = states([-1.0, -1.0, -1.0, -1.0], [-2.0, -2.0, -2.0, -2.0])
    then = states([-1.5, -1.5, -np.inf, -0.5], [-2.2, -2.2, -2.0, -0.1])
    kind = np.array([0, 1, 0, 0], np.uint8)
    # pi(y) s(x) / (pi(x) s(y)) for the subchains, pi(y) / pi(x) for the random-walk step
    np.testing.assert_allclose(acceptance(now, then, kind), np.exp([-0.3, -0.5, -np.inf, 0.5 - 1.9]))


def test_random_walk_steps_keep_the_posterior_along_rays_too() -> None:
    """From stationarity, (start, end) and (end, start) have the same distribution: odd statistics have mean zero."""
    n, rng = 60_000, np.random.default_rng(5)
    x = (rng.standard_normal((n, D)) * np.sqrt(5.0 / rng.chisquare(5.0, n))[:, None]).astype(np.float32)

    def states(z: np.ndarray) -> States:
        value = -4.0 * np.log1p((z.astype(float) ** 2).sum(axis=1) / 5.0)
        return States(z, z.astype(float), z.astype(float), value, value, value, np.zeros(n))

    y, factor = random_walk_proposals(rng, x, 0.8 * np.eye(D), np.empty((0, D)), ray_share=0.5)
    assert 0.45 < (factor != 0).mean() < 0.55
    moved = rng.random(n) < acceptance(states(x), states(y), np.ones(n, np.uint8), factor)
    end = np.where(moved[:, None], y, x)
    for f in (np.linalg.norm, lambda z, axis: np.log1p((z**2).sum(axis=axis)), lambda z, axis: z[:, 0] > 2):
        before, after = (np.asarray(f(z, axis=1), float) for z in (x, end))
        # of the first coordinate's square before, and the statistic after
        odd = np.tanh(x[:, 0] ** 2) * after - np.tanh(end[:, 0] ** 2) * before
        for values in (after - before, odd):
            assert abs(values.mean()) < 4.5 * values.std() / np.sqrt(n)
    assert moved[factor != 0].mean() > 0.3


def test_stored_values_are_those_of_the_stored_draws() -> None:
    exact, memory = run(normal_surrogate(MEAN + 0.3, ROOT))
    flat = exact.theta.reshape(-1, D)
    again = TARGET.batch(flat)
    np.testing.assert_allclose(exact.log_likelihood.ravel(), again.log_likelihood, rtol=0, atol=1e-10)
    np.testing.assert_allclose(exact.log_prior.ravel(), again.log_prior, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(TARGET.transform.to_natural(exact.x), exact.theta)
    surrogate = normal_surrogate(MEAN + 0.3, ROOT)
    by_surrogate = surrogate.log_density(exact.x.reshape(-1, D))
    np.testing.assert_allclose(exact.surrogate_log_density.ravel(), by_surrogate, atol=1e-4)
    assert exact.evaluations == memory.count("exact")
    evaluated = {row.tobytes() for _, _, batch in memory.batches for row in batch.theta}
    assert all(row.tobytes() in evaluated for row in flat), "every draw has been evaluated, to the bit"


def test_a_move_is_marked_accepted_and_only_then_the_state_changes() -> None:
    exact, _ = run(normal_surrogate(MEAN, 1.3 * ROOT))
    changed = (np.diff(exact.theta, axis=1) != 0).any(axis=2)
    assert not (changed & ~exact.accepted[:, 1:]).any()
    # a subchain may end where it began
    assert (changed == exact.accepted[:, 1:]).mean() > 0.99


def test_runs_repeat_themselves_and_depend_on_the_seed() -> None:
    surrogate = normal_surrogate(MEAN, ROOT)
    short = replace(SIZES, max_rounds=20)
    (one, _), (same, _), (other, _) = (run(surrogate, seed=s, config=short) for s in (4, 4, 5))
    for name in ("theta", "log_likelihood", "accepted", "step_kind", "surrogate_log_density"):
        np.testing.assert_array_equal(getattr(one, name), getattr(same, name))
    assert (one.theta != other.theta).any()


def test_a_longer_run_begins_with_the_shorter_one() -> None:
    """The stop rule looks; it does not touch the chains."""
    surrogate = normal_surrogate(MEAN, ROOT)
    (_, short), (_, long) = (run(surrogate, config=replace(SIZES, max_rounds=n)) for n in (20, 30))
    for (_, _, a), (_, _, b) in zip(short.batches, long.batches, strict=False):
        np.testing.assert_array_equal(a.theta, b.theta)
    assert len(long.batches) == len(short.batches) + 10


def test_it_stops_only_at_the_fixed_rounds_or_gives_up_and_says_so() -> None:
    exact, _ = run(normal_surrogate(MEAN, ROOT))
    assert exact.converged and exact.rounds % SIZES.check_every == 0 and exact.rounds < SIZES.max_rounds
    assert exact.theta.shape[1] == exact.rounds - exact.burn_in
    given_up, _ = run(normal_surrogate(MEAN, ROOT), config=replace(SIZES, max_rounds=15, min_ess=1e9))
    assert not given_up.converged and given_up.rounds == 15
    assert given_up.convergence.startswith("not converged")


def test_a_mode_that_the_surrogate_does_not_know_is_found_from_its_known_mode_or_convergence_is_refused() -> None:
    target = two_modes(D, apart=9.0)
    surrogate = normal_surrogate(np.array([4.5, 0.0, 0.0]), np.eye(D))
    surrogate = replace(surrogate, modes=np.array([[4.5, 0.0, 0.0], [-4.5, 0.0, 0.0]]))
    exact, _ = run(surrogate, replace(DISTRUSTED, random_walk_share=0.5), target)
    share = (exact.theta[..., 0] < 0).mean()
    assert share > 0.05, "chains have been in the other mode"
    if exact.converged:
        assert max(worst_z_scores(target, exact).values()) < Z_LIMIT
    error = exact.surrogate_log_density - exact.log_density
    assert error.std() > 1, "and the surrogate's error there is seen"


def test_states_that_are_impossible_are_never_entered_and_starts_are_possible() -> None:
    target = skewed(D, bound_known=False)
    surrogate = normal_surrogate(np.array([-0.5, 0.0, 0.0]), np.eye(D))
    exact, memory = run(surrogate, DISTRUSTED, target, config=replace(SIZES, max_rounds=30))
    assert (exact.theta[..., 0] > 0).all() and np.isfinite(exact.log_likelihood).all()
    assert sum((~batch.ok).sum() for _, _, batch in memory.batches) > 0, "impossible points have been proposed"


def test_no_possible_start_is_refused_in_a_sentence() -> None:
    target = skewed(D, bound_known=False)
    with pytest.raises(NoStart, match="no starting states with a positive density"):
        run(normal_surrogate(np.array([-90.0, 0.0, 0.0]), np.eye(D)), TRUSTED, target)


def test_a_surrogate_that_is_not_a_number_leaves_the_random_walk_steps() -> None:
    surrogate = normal_surrogate(MEAN, ROOT)
    proposal, starts = moves(surrogate)
    broken = jax.tree.map(lambda leaf: leaf * np.nan, surrogate.parameters.networks)
    surrogate = replace(surrogate, parameters=surrogate.parameters._replace(networks=broken))
    config = replace(SIZES, max_rounds=100)
    exact = run_exact(Memory(TARGET), TARGET, surrogate, proposal, starts, DISTRUSTED, config, 1)
    assert not exact.accepted[exact.step_kind == 0].any()
    assert exact.accepted[exact.step_kind == 1].mean() > 0.1


def test_the_policy_is_more_careful_where_the_surrogate_is_not_trusted() -> None:
    trusted, distrusted = (Schedule.choose(SIZES, 100, t) for t in (True, False))
    assert trusted.random_walk_share == SIZES.plain_share < distrusted.random_walk_share
    assert distrusted.mixed_lengths and not trusted.mixed_lengths
    assert discarded(100, SIZES.burn_in, trusted) == SIZES.burn_in < discarded(100, SIZES.burn_in, distrusted) == 25
    assert discarded(3, SIZES.burn_in, trusted) == 2, "one draw is kept"


def test_the_burn_in_lasts_until_subchains_have_led_every_chain_somewhere() -> None:
    """Chains that begin where the surrogate is far too low: with few random-walk steps they would wait there."""
    surrogate = normal_surrogate(MEAN, 0.5 * ROOT)
    proposal, _ = moves(surrogate)
    far = surrogate.whiten(MEAN + 3.0 * ROOT[:, 0] + np.zeros((1, D)))
    config = replace(SIZES, dispersed=0, max_rounds=120)
    exact = run_exact(Memory(TARGET), TARGET, surrogate, proposal, far, TRUSTED, config, 3)
    assert SIZES.burn_in < exact.burn_in <= 30
