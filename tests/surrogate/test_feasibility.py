"""Densities that are cut off inside their mass: the edge is found, proposals respect it, and the draws are exact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.known_targets import KnownTarget, correlated_normal
from estimhank.surrogate.feasibility import HIDDEN, cut_off, learn_edge, log_odds, uncorrected_edge
from estimhank.surrogate.posterior_stage import PosteriorStageResult, run_posterior
from estimhank.surrogate.stage_config import SurrogateConfig
from estimhank.surrogate.surrogate import load_surrogate, save_surrogate
from estimhank.surrogate.surrogate_stage import SurrogateStageResult, run_surrogate
from estimhank.target.transform import Transform
from tests.helpers.hand_made import normal_surrogate
from tests.helpers.in_memory import Memory, candidates, mode_of
from tests.helpers.stages import SIZES, TRAINING, D, draws_per_evaluation, worst_z_scores

SLANT = np.array([2.0, -1.0, 2.0]) / 3


def truncated(
    label: str,
    log_pdf: Callable[[jax.Array], jax.Array],
    sample: Callable[[np.random.Generator, int], np.ndarray],
    inside: Callable[[jax.Array], jax.Array],
    d: int = D,
) -> KnownTarget:
    """A density without its part outside a region; draws by rejection."""

    def draws(rng: np.random.Generator, n: int) -> np.ndarray:
        kept: list[np.ndarray] = []
        while sum(map(len, kept)) < n:
            t = sample(rng, 4 * n)
            kept.append(t[np.asarray(jax.vmap(inside)(jnp.asarray(t)))])
        return np.concatenate(kept)[:n]

    return KnownTarget(
        label,
        lambda t: jnp.where(inside(t), log_pdf(t), -jnp.inf),
        draws,
        Transform((-np.inf,) * d, (np.inf,) * d),
    )


def _normal(t: jax.Array) -> jax.Array:
    return -0.5 * jnp.sum(t**2)


def half_space(where: float = 0.3) -> KnownTarget:
    return truncated(
        f"half-space {where}",
        _normal,
        lambda rng, n: rng.standard_normal((n, D)),
        lambda t: t @ jnp.asarray(SLANT) < where,
    )


def ordered() -> KnownTarget:
    return truncated(
        "ordered",
        _normal,
        lambda rng, n: rng.standard_normal((n, D)),
        lambda t: (t[0] < t[1]) & (t[1] < t[2]),
    )


def disc(d: int = 2) -> KnownTarget:
    return truncated(
        f"uniform disc {d}",
        lambda t: 0.0 * t[0],
        lambda rng, n: rng.uniform(-1, 1, (n, d)),
        lambda t: jnp.sum(t**2) < 1,
        d,
    )


def rising(rate: float = 2.0, edge: float = 0.3) -> KnownTarget:
    """Rises exponentially to a slanted edge."""
    slant = jnp.asarray(SLANT)

    def log_pdf(t: jax.Array) -> jax.Array:
        along = t @ slant
        return rate * along - 0.5 * jnp.sum((t - along * slant) ** 2)

    def sample(rng: np.random.Generator, n: int) -> np.ndarray:
        t = rng.standard_normal((n, D))
        return t - np.outer(t @ SLANT, SLANT) + np.outer(edge - rng.exponential(1 / rate, n), SLANT)

    return truncated("rising", log_pdf, sample, lambda t: t @ slant < edge)


def estimate(
    target: KnownTarget, training: SurrogateConfig = TRAINING
) -> tuple[SurrogateStageResult, PosteriorStageResult]:
    memory = Memory(target)
    trained = run_surrogate(memory, target, candidates(target, 1_000), mode_of(target), replace(training, rounds=3), 3)
    return trained, run_posterior(memory, target, trained.surrogate, SIZES, 3)


def check(target: KnownTarget) -> None:
    trained, result = estimate(target)
    assert trained.surrogate.shape.edge == HIDDEN
    assert trained.rounds[-1].beyond < 0.02
    assert result.exact.converged, result.exact.convergence
    assert draws_per_evaluation(result.exact) > 0.5
    figures = result.certificate.figures
    assert figures["infeasible_share"].value < 0.03 and figures["s_e_exact_states"].value < 0.1
    scores = worst_z_scores(target, result.exact)
    assert max(scores.values()) < 4.5, scores


@pytest.mark.long
def test_a_half_space_through_the_mass() -> None:
    check(half_space())


@pytest.mark.long
@pytest.mark.parametrize("make", [lambda: half_space(-1.0), ordered, disc, lambda: disc(4), rising])
def test_other_edges(make: Callable[[], KnownTarget]) -> None:
    check(make())


def test_where_nothing_is_infeasible_no_edge_is_learned() -> None:
    target = correlated_normal(D)
    trained = run_surrogate(Memory(target), target, candidates(target, 400), mode_of(target), TRAINING, 1)
    assert trained.surrogate.shape.edge == ()


def test_the_edge_of_a_ball_is_where_it_is() -> None:
    rng = np.random.default_rng(0)
    z = rng.uniform(-2, 2, (3_000, 3))
    radius = np.linalg.norm(z, axis=1)
    edge = learn_edge(z[radius < 1.2], z[radius >= 1.2], 0.0, 8.0, seed=1)
    assert edge is not None
    fresh = rng.uniform(-2, 2, (20_000, 3))
    inside = np.linalg.norm(fresh, axis=1) < 1.2
    assert ((np.asarray(log_odds(edge, jnp.asarray(fresh, jnp.float32), HIDDEN)) < 0) != ~inside).mean() < 0.02

    flat = jnp.zeros(len(fresh), jnp.float32)
    value = np.asarray(cut_off(edge, jnp.asarray(fresh, jnp.float32), flat, HIDDEN))
    well_inside, well_outside = np.linalg.norm(fresh, axis=1) < 1.0, np.linalg.norm(fresh, axis=1) > 1.5
    assert np.abs(value[well_inside]).max() < 0.05
    assert value[well_outside].max() < -8 and np.isfinite(value).all() and value.min() > -20
    # where the density would go on rising beyond its edge, it is no higher there than its top less the floor
    high = np.asarray(cut_off(edge, jnp.asarray(fresh, jnp.float32), flat + 50, HIDDEN))
    assert high[np.linalg.norm(fresh, axis=1) > 1.8].max() < 0
    uncorrected = np.asarray(cut_off(uncorrected_edge(edge), jnp.asarray(fresh, jnp.float32), flat, HIDDEN))
    assert (uncorrected >= value - 1e-5).all() and (uncorrected > value + 1).any()


def test_too_few_of_a_kind_are_no_edge() -> None:
    assert learn_edge(np.zeros((100, 2)), np.ones((3, 2)), 0.0, 8.0, seed=1) is None


def test_a_surrogate_with_an_edge_survives_its_file(tmp_path) -> None:
    rng = np.random.default_rng(0)
    z = rng.uniform(-2, 2, (2_000, 3))
    radius = np.linalg.norm(z, axis=1)
    edge = learn_edge(z[radius < 1.2], z[radius >= 1.2], 0.0, 8.0, seed=1)
    assert edge is not None
    surrogate = normal_surrogate(np.zeros(3), np.eye(3)).with_edge(edge, HIDDEN)
    save_surrogate(surrogate, tmp_path)
    again = load_surrogate(tmp_path)
    x = rng.standard_normal((50, 3))
    np.testing.assert_array_equal(again.log_density(x), surrogate.log_density(x))
    assert again.shape == surrogate.shape
