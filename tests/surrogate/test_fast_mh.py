"""The surrogate's chains have the surrogate's distribution, are reversible, and are a function of their seed."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import f as f_distribution

from benchmarks.textbook_targets import NormalTarget
from estimhank.evaluation.workers import InTurn
from estimhank.surrogate.fast_mh import SurrogateChains, draw, run_steps, start_chains, warm_up
from estimhank.surrogate.surrogate import Surrogate
from tests.helpers.hand_made import normal_surrogate, student_surrogate

D, CHAINS = 3, 64
TARGET = NormalTarget((0.0,), (1.0,))  # that no chain asks
HERE = InTurn(TARGET)


def standard() -> Surrogate:
    return normal_surrogate(np.zeros(D), np.eye(D))


def starts(seed: int = 0, n: int = CHAINS) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, D)).astype(np.float32)


def test_draws_have_the_moments_of_the_surrogate() -> None:
    chains, proposal = warm_up(standard(), 3 * starts(), np.ones(CHAINS), seed=1)
    fast = draw(standard(), chains, proposal, draws=400, thin=10, seed=2, workers=HERE)
    assert fast.z.shape == (CHAINS, 400, D) and fast.steps == CHAINS * 4_000
    z = fast.z.astype(float).reshape(-1, D)
    error = 4.5 / np.sqrt(len(z) / 4)  # draws ten steps apart are worth a quarter of independent ones, at least
    np.testing.assert_allclose(z.mean(axis=0), 0.0, atol=error)
    np.testing.assert_allclose(z.var(axis=0), 1.0, atol=1.5 * error)
    assert 0.15 < fast.acceptance < 0.4


def test_draws_are_a_function_of_the_seed() -> None:
    chains, proposal = warm_up(standard(), starts(), np.ones(CHAINS), seed=1)
    same, proposal_again = warm_up(standard(), starts(), np.ones(CHAINS), seed=1)
    np.testing.assert_array_equal(chains.z, same.z)
    jax.tree.map(np.testing.assert_array_equal, proposal, proposal_again)
    one, again, other = (draw(standard(), chains, proposal, 10, 3, seed, HERE).z for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_a_subchain_is_reversible() -> None:
    """From stationarity, (start, end) and (end, start) have the same distribution: an odd statistic has mean zero."""
    n = 20_000
    x = starts(3, n)
    _, proposal = warm_up(standard(), starts(), np.ones(CHAINS), seed=1)
    ends, _ = run_steps(
        standard().parameters, start_chains(standard(), x), jax.random.key(7), proposal, jnp.ones(n, jnp.float32),
        jnp.full(n, 7), standard().shape,
    )  # fmt: skip
    y = np.asarray(ends.z)
    odd = x[:, 0] ** 2 * y[:, 1] ** 3 * y[:, 0] - y[:, 0] ** 2 * x[:, 1] ** 3 * x[:, 0]
    assert abs(odd.mean()) < 5.5 * odd.std() / np.sqrt(n)
    assert np.corrcoef(x[:, 0], y[:, 0])[0, 1] > 0.2, "the pair depends on each other, or the test says nothing"
    value = np.asarray(start_chains(standard(), y).value)
    np.testing.assert_allclose(ends.value, value, atol=1e-5)


def test_moves_along_rays_are_reversible_and_cross_heavy_tails() -> None:
    n, surrogate = 20_000, student_surrogate(D, 3.0)
    rng = np.random.default_rng(2)
    x = (starts(3, n) * np.sqrt(3.0 / rng.chisquare(3.0, n))[:, None]).astype(np.float32)
    chains, proposal = warm_up(surrogate, starts(n=512), np.ones(512), seed=1)
    ends, _ = run_steps(
        surrogate.parameters, start_chains(surrogate, x), jax.random.key(7), proposal, jnp.ones(n, jnp.float32),
        jnp.full(n, 9), surrogate.shape,
    )  # fmt: skip
    before, after = (np.log1p(np.linalg.norm(np.asarray(z, float), axis=1)) for z in (x, ends.z))
    for values in (after - before, before**2 * after - after**2 * before):
        assert abs(values.mean()) < 4.5 * values.std() / np.sqrt(n)
    assert 0.2 < np.corrcoef(before, after)[0, 1] < 0.95
    # from the bulk the chains reach the tail of the distribution, and the right share of them; in one part, as many
    # chains as in the warm-up, so that nothing else is compiled
    z = draw(surrogate, chains, proposal, draws=40, thin=10, seed=2, workers=HERE, parts=1).z.reshape(-1, D)
    share = (np.linalg.norm(z, axis=1) > np.sqrt(D * f_distribution.ppf(0.99, D, 3.0))).mean()
    assert share == pytest.approx(0.01, abs=0.004)


def test_chains_take_their_own_numbers_of_steps() -> None:
    _, proposal = warm_up(standard(), starts(), np.ones(CHAINS), seed=1)
    begin = start_chains(standard(), starts())
    still = np.arange(CHAINS) % 4 < 2
    ends, _ = run_steps(
        standard().parameters, begin, jax.random.key(0), proposal, jnp.ones(CHAINS, jnp.float32),
        jnp.asarray(np.where(still, 0, 50)), standard().shape,
    )  # fmt: skip
    moved = (np.asarray(ends.z) != np.asarray(begin.z)).any(axis=1)
    np.testing.assert_array_equal(moved, ~still)


def test_tempered_chains_are_wider_by_the_root_of_the_temperature() -> None:
    n = 4_000
    power = np.repeat([1.0, 0.5, 0.25], n)
    chains, _ = warm_up(standard(), starts(n=3 * n), power, seed=4)
    variance = np.asarray(chains.z, float).reshape(3, n, D).var(axis=1)
    np.testing.assert_allclose(variance, np.array([[1.0], [2.0], [4.0]]) * np.ones((3, D)), rtol=0.12)


def test_chains_walk_in_from_outside_the_fence() -> None:
    tight = standard()
    tight = replace(tight, parameters=tight.parameters._replace(radius=jnp.float32(6.0)))
    far = np.full((CHAINS, D), 60.0, np.float32)
    chains, _ = warm_up(tight, far, np.ones(CHAINS), seed=2)
    assert np.linalg.norm(np.asarray(chains.z), axis=1).max() < 8


@pytest.mark.parametrize("apart", [8.0])
def test_chains_pass_between_separate_modes_in_their_right_shares(apart: float) -> None:
    """Jumps by differences of archived draws carry chains where small steps do not."""
    from benchmarks.known_targets import two_modes
    from estimhank.surrogate.fitting import Fitter, Whitening
    from estimhank.surrogate.points import points_from
    from tests.helpers.in_memory import candidates
    from tests.helpers.stages import TRAINING

    target = two_modes(D, apart)
    points = points_from(candidates(target, 1_500), target.transform)
    whitening = Whitening.from_moments(np.zeros(D), np.diag([apart**2 / 4, *[1.0] * (D - 1)]))
    surrogate, _ = Fitter(target, TRAINING).fit(points, whitening, 60, seed=1)
    begin = surrogate.whiten(np.random.default_rng(0).choice([-4.0, 4.0], (CHAINS, 1)) * np.eye(D)[0])
    chains, proposal = warm_up(surrogate, begin, np.ones(CHAINS), seed=3)
    fast = draw(surrogate, chains, proposal, 200, 20, 4, InTurn(target))
    right = (surrogate.unwhiten(fast.z)[..., 0] > 0).mean(axis=1)
    assert ((right > 0) & (right < 1)).mean() > 0.9, "nearly every chain visits both modes"
    assert right.mean() == pytest.approx(0.7, abs=0.1)


def test_a_place_that_is_not_a_number_is_never_entered() -> None:
    broken = standard()
    nan = jax.tree.map(lambda a: a * jnp.nan, broken.parameters.networks)
    broken = replace(broken, parameters=broken.parameters._replace(networks=nan))
    chains = SurrogateChains(jnp.asarray(starts()), jnp.zeros(CHAINS, jnp.float32))
    _, proposal = warm_up(standard(), starts(), np.ones(CHAINS), seed=1)
    ends, rate = run_steps(
        broken.parameters, chains, jax.random.key(0), proposal, jnp.ones(CHAINS, jnp.float32),
        jnp.full(CHAINS, 20), broken.shape,
    )  # fmt: skip
    np.testing.assert_array_equal(ends.z, starts())
    assert float(rate) == 0.0
