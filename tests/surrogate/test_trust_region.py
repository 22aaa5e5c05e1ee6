"""Inside the trust region nothing happens; outside, networks are read at the trust region and a finite, growing penalty
is due."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np

from estimhank.surrogate.trust_region import (
    TrustRegion,
    build_trust_region,
    hold_inside,
    outside,
    penalty,
    squared_distance,
)


@partial(jax.jit, static_argnums=4)  # as a whole: call by call each operation would be compiled on its own
def place_and_penalty(
    z: jax.Array, landmarks: jax.Array, radius: jax.Array, strength: jax.Array, heavy: bool
) -> tuple[jax.Array, jax.Array]:
    place, beyond = hold_inside(z, landmarks, radius)
    return place, penalty(beyond, strength, heavy)


def held(trust_region: TrustRegion, z: np.ndarray, heavy: bool = False) -> tuple[np.ndarray, np.ndarray]:
    single = (
        np.asarray(a, np.float32) for a in (z, trust_region.landmarks, trust_region.radius, trust_region.strength)
    )
    place, taken = place_and_penalty(*single, heavy)
    return np.asarray(place), np.asarray(taken)


def cloud(n: int = 2_000, d: int = 3) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, d))


def test_almost_all_points_are_inside_and_left_as_they_are() -> None:
    z = cloud().astype(np.float32)
    trust_region = build_trust_region(z.astype(float))
    inside = ~outside(trust_region, z.astype(float))
    assert inside.mean() > 0.997
    place, taken = held(trust_region, z[inside])
    np.testing.assert_array_equal(place, z[inside])
    np.testing.assert_array_equal(taken, 0.0)


def test_the_penalty_grows_with_the_square_of_the_distance_and_is_finite() -> None:
    trust_region = TrustRegion(np.zeros((1, 2)), 3.0, strength=2.0)
    distances = np.array([2.9, 3.0, 4.0, 5.0, 1e3, 1e6])
    place, taken = held(trust_region, np.column_stack([distances, 0 * distances]))
    np.testing.assert_allclose(taken, 2.0 * np.maximum(distances - 3.0, 0) ** 2, rtol=1e-5)
    assert np.isfinite(taken).all()
    np.testing.assert_allclose(np.linalg.norm(place, axis=1), np.minimum(distances, 3.0), rtol=1e-5)


def test_the_penalty_of_heavy_tails_is_a_power_of_the_distance() -> None:
    trust_region = build_trust_region(cloud(), heavy=True)
    distances = trust_region.radius + np.array([1e3, 1e4, 1e5])
    _, taken = held(
        TrustRegion(np.zeros((1, 2)), trust_region.radius, trust_region.strength),
        distances[:, None] * [1.0, 0.0],
        heavy=True,
    )
    np.testing.assert_allclose(np.diff(taken) / np.log(10), trust_region.strength, rtol=1e-3)
    assert trust_region.strength < 1 < build_trust_region(cloud()).strength


def test_points_outside_are_read_where_the_way_from_the_nearest_landmark_crosses_the_fence() -> None:
    trust_region = TrustRegion(np.array([[0.0, 0.0], [10.0, 0.0]]), 1.0)
    place, _ = held(trust_region, np.array([[10.0, 5.0]]))
    np.testing.assert_allclose(place, [[10.0, 1.0]], rtol=1e-6)


def test_the_fence_follows_a_cloud_that_is_not_round() -> None:
    z = cloud(4_000, 2)
    bent = np.column_stack([3 * z[:, 0], 0.3 * z[:, 1] - z[:, 0] ** 2])
    trust_region = build_trust_region(bent)
    assert outside(trust_region, np.array([[0.0, -8.0]]))[0], "within the cloud's ellipse, far from its points"
    assert not outside(trust_region, np.array([[0.0, 0.0]]))[0]


def test_two_clouds_have_a_gap_between_them() -> None:
    z, shift = cloud(1_000, 2), np.array([8.0, 0.0])
    trust_region = build_trust_region(np.concatenate([z - shift, z + shift]))
    np.testing.assert_array_equal(
        outside(trust_region, np.array([[-8.0, 0.0], [0.0, 0.0], [8.0, 0.0]])), [False, True, False]
    )


def test_distances_are_those_of_brute_force() -> None:
    z, landmarks = cloud(20), cloud(5) + 1.0
    brute = ((z[:, None] - landmarks[None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(squared_distance(np, z, landmarks), brute, rtol=1e-10)


def test_very_few_points_have_a_fence_too() -> None:
    trust_region = build_trust_region(cloud(2))
    assert len(trust_region.landmarks) == 1 and trust_region.radius > 0
