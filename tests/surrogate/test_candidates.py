"""Acquired points are those at which a surrogate is wrong, and what they say about it is what it errs by."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from estimhank.mode.starts import choose_dispersed, farthest_first
from estimhank.surrogate.candidates import (
    CandidateDraws,
    Candidates,
    acquire,
    choose_candidates,
    measure_errors,
)
from estimhank.surrogate.points import Points
from estimhank.surrogate.surrogate import Surrogate
from tests.helpers.hand_made import normal_surrogate

D = 3
SURROGATE = normal_surrogate(np.zeros(D), np.eye(D))


def known(x: np.ndarray) -> Points:
    return Points(x, -0.5 * (x * x).sum(axis=1), np.full_like(x, np.nan), {}, np.empty((0, D)))


def test_farthest_first_is_what_a_search_through_all_distances_gives() -> None:
    rng = np.random.default_rng(1)
    z, seen = rng.standard_normal((1_203, D)), rng.standard_normal((40, D))
    chosen: list[int] = []
    for _ in range(7):
        there = np.concatenate([seen, z[chosen]])
        chosen.append(int(np.linalg.norm(z[:, None] - there[None], axis=-1).min(axis=1).argmax()))
    np.testing.assert_array_equal(farthest_first(z, seen, 7), chosen)
    assert len(set(farthest_first(z, seen[:0], 7))) == 7, "nothing seen: begins anywhere"
    assert sorted(farthest_first(z[:5], seen, 9)) == [0, 1, 2, 3, 4]
    dispersed = choose_dispersed(z, 3, 4, np.ones(D))
    np.testing.assert_array_equal(dispersed[0], z[3])
    np.testing.assert_array_equal(dispersed[1], z[np.linalg.norm(z - z[3], axis=1).argmax()])
    assert len(np.unique(dispersed, axis=0)) == 4 and len(choose_dispersed(z[:2], 1, 8, np.ones(D))) == 2


def test_a_draw_far_from_all_points_is_acquired() -> None:
    rng = np.random.default_rng(2)
    pool = rng.standard_normal((5_000, D))
    pool[4_321] = [0.0, 9.0, 0.0]
    acquired = acquire(pool, rng.standard_normal((500, D)), SURROGATE, 30, rng)
    assert len(acquired) == 10 and pool[4_321].tolist() in acquired.tolist()
    assert len(np.unique(acquired, axis=0)) == 10, "each once; with one network none is doubtful"
    everything = acquire(pool[:5], pool[:50], SURROGATE, 30, rng)
    assert sorted(everything.tolist()) == sorted(pool[:5].tolist())


def test_draws_at_which_networks_disagree_are_acquired(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    pool = rng.standard_normal((2_000, D))
    monkeypatch.setattr(
        type(SURROGATE), "spread", lambda self, x: np.where(x[:, 0] > 2.5, 1.0, 1e-4)
    )  # a tenth of a percent has nearly all of the variance
    acquired = acquire(pool, rng.standard_normal((500, D)), SURROGATE, 12, rng)
    assert (acquired[:8, 0] > 2.5).sum() >= 6 and 8 <= len(np.unique(acquired, axis=0)) == len(acquired) <= 12


def test_the_first_are_draws_and_the_last_are_acquired() -> None:
    rng = np.random.default_rng(4)
    draws = CandidateDraws(rng.standard_normal((3, 100, D)), *rng.standard_normal((2, 450, D)))
    chosen = choose_candidates(draws, known(draws.tempered[0]), SURROGATE, 240, rng, last=False)
    assert (len(chosen.x), chosen.cold, chosen.acquired, chosen.pool) == (
        240,
        80,
        28,
        900,
    )  # one network: none doubtful
    np.testing.assert_array_equal(chosen.x[:80], draws.tempered[0][:80])
    rest, pool = (
        {tuple(x) for x in chosen.x[80:-28]},
        {tuple(x) for x in np.concatenate([draws.surrogate, draws.uncorrected])},
    )
    assert rest <= {tuple(x) for x in draws.tempered[1:].reshape(-1, D)} and {tuple(x) for x in chosen.x[-28:]} <= pool
    last = choose_candidates(draws, known(draws.tempered[0]), SURROGATE, 240, rng, last=True)
    assert (len(last.x), last.cold) == (80 + last.acquired, 80) and last.acquired == 14
    one = choose_candidates(
        draws._replace(tempered=draws.tempered[:1]), known(draws.surrogate), SURROGATE, 60, rng, False
    )
    assert (len(one.x), one.cold, one.acquired) == (60, 60, 0), "one temperature: nothing hotter gives way"


def test_errors_are_those_of_draws_and_what_acquired_ones_leave_in_their_pool() -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((120, D))
    exact = SURROGATE.log_density(x) - 7.0  # a constant is no error
    candidates = Candidates(x, cold=80, acquired=20, pool=1_000, log_ratio=0.0)
    fine = measure_errors(candidates, SURROGATE, exact)
    assert fine.s_e == pytest.approx(0, abs=1e-5) and fine.total == pytest.approx(0, abs=1e-5)
    wrong = exact.copy()
    wrong[-1] -= 300.0
    wrong[-2] = -np.inf
    wrong[90] += 50.0  # hotter than the posterior: says nothing
    errors = measure_errors(candidates, SURROGATE, wrong)
    assert errors.s_e == pytest.approx(0, abs=1e-5)
    assert errors.over_pool == pytest.approx(300 / np.sqrt(1_000), rel=1e-4) == pytest.approx(errors.total)
    wrong[:3] = -np.inf
    assert measure_errors(candidates, SURROGATE, wrong).s_e == pytest.approx(0, abs=1e-5)
    wrong[:4] = -np.inf
    assert measure_errors(candidates, SURROGATE, wrong).total == float("inf")


def test_a_surrogate_that_is_no_number_is_infinitely_wrong() -> None:
    x = np.random.default_rng(6).standard_normal((30, D))
    broken = SURROGATE.with_penalty_strength(float("nan"))
    assert not measure_errors(Candidates(x, 20, 10, 100, 0.0), broken, np.zeros(30)).total < 0.05
    assert np.isfinite(acquire(x, x, broken, 9, np.random.default_rng(7))).all()


def test_what_draws_of_the_uncorrected_surrogate_find_counts_by_how_often_a_draw_would_be_there() -> None:
    """The surrogate is a normal density cut off by its trust region; draws of the uncorrected one go on beyond, where
    there is nothing."""
    fenced = replace(
        SURROGATE, parameters=SURROGATE.parameters._replace(radius=jnp.float32(2.0), strength=jnp.float32(50))
    )
    uncorrected = fenced.uncorrected()
    rng = np.random.default_rng(8)

    def sample(surrogate: Surrogate, n: int) -> np.ndarray:
        x = rng.uniform(-4, 4, (40 * n, D))
        density = np.exp(surrogate.log_density(x) - surrogate.constant)
        return x[rng.random(len(x)) < density][:n]

    plain, further = sample(fenced, 4_000), sample(uncorrected, 4_000)
    draws = CandidateDraws(np.stack([plain[:300]] * 3), plain, further)
    chosen = choose_candidates(draws, known(plain[:50]), fenced, 300, rng, last=True)
    kept = np.mean(np.exp(fenced.log_density(further) - uncorrected.log_density(further)))
    assert chosen.log_ratio == pytest.approx(-np.log(kept), abs=1e-6) and chosen.log_ratio > 0.1
    # every draw acquired, in a pool as it comes: half of the surrogate, half of the uncorrected one; there the error is
    # 0.2, further out 2
    pool = np.concatenate([plain, further])
    far = np.linalg.norm(pool, axis=1) > 2.0
    exact = fenced.log_density(pool) - np.where(far, 2.0, 0.2)
    all_acquired = Candidates(np.concatenate([plain[:300], pool]), 300, len(pool), len(pool), chosen.log_ratio)
    errors = measure_errors(all_acquired, fenced, np.concatenate([fenced.log_density(plain[:300]), exact]))
    # what the surrogate's own draws say
    there = np.linalg.norm(plain, axis=1) > 2.0
    expected = np.sqrt(np.mean(np.where(there, 4.0, 0.04)))
    assert errors.over_pool == pytest.approx(expected, rel=0.1)
