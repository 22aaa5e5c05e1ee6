"""Trust region around the training points: outside it the networks are not asked, and the surrogate is pushed down.

Landmarks, centres of clusters (k-means), summarise the points; the region is all that is within a radius of one of
them. Outside, networks are read at the boundary point on the way to the nearest landmark, so that what they do where
they have seen nothing has no effect, and a penalty grows with the distance from the landmark::

    strength (distance - radius)^2                        or, where the base has heavy tails,
    strength / 2 log(1 + (distance - radius)^2)

The penalty is finite, so that a chain that starts outside walks in, and grows without bound. The second is that of a
power of the distance: one that grew faster would cut heavy tails off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from estimhank.support.seeds import Stream, generator

Array = NDArray[np.float64]

LANDMARKS = 64  # at most
_STRENGTH = 2.0  # log points per squared whitened unit; a normal log density falls by one half per squared unit
_STRENGTH_OF_HEAVY = 0.25  # power of the distance by which a density with heavy tails falls faster outside
_COVERED = 0.998  # share of the points inside
_MARGIN = 0.5  # whitened units: so far beyond its data a network is believed
_SWEEPS = 10


@dataclass(frozen=True)
class TrustRegion:
    """Region near the training points, in whitened coordinates.

    Attributes
    ----------
    landmarks : ndarray of shape (m, d)
        Centres of clusters of the points.
    radius : float
        Distance from the nearest landmark of its boundary.
    strength : float
        Log points per squared distance beyond it.
    """

    landmarks: Array
    radius: float
    strength: float = _STRENGTH


def build_trust_region(z: Array, landmarks: int = LANDMARKS, seed: int = 0, heavy: bool = False) -> TrustRegion:
    """Trust region around whitened points of shape (n, d), n >= 2; with the penalty of ``heavy`` tails."""
    rng = generator(seed, Stream.TRUST_REGION)
    count = min(landmarks, max(1, len(z) // 4))
    centres = z[rng.choice(len(z), count, replace=False)]
    for _ in range(_SWEEPS):  # Lloyd's algorithm; nothing here needs the best clustering
        nearest = ((centres * centres).sum(axis=1) - 2 * z @ centres.T).argmin(axis=1)
        members = np.bincount(nearest, minlength=count)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, z)
        centres = np.where(members[:, None] > 0, sums / np.maximum(members, 1)[:, None], centres)
    distance = np.sqrt(squared_distance(np, z, centres).min(axis=1))
    strength = _STRENGTH_OF_HEAVY if heavy else _STRENGTH
    return TrustRegion(centres, float(np.quantile(distance, _COVERED)) + _MARGIN, strength)


def squared_distance(xp: Any, z: Any, landmarks: Any) -> Any:
    """Squared distances from the landmarks, shape (n, m), with NumPy or JAX as ``xp``."""
    cross = z @ landmarks.T
    return xp.maximum((z * z).sum(axis=-1)[:, None] - 2 * cross + (landmarks * landmarks).sum(axis=-1), 0.0)


def hold_inside(z: jax.Array, landmarks: jax.Array, radius: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Whitened points, those outside the trust region moved to it, shape (n, d); and by how far, shape (n,)."""
    squared = squared_distance(jnp, z, landmarks)
    nearest = landmarks[jnp.argmin(squared, axis=-1)]
    distance = jnp.sqrt(squared.min(axis=-1))
    beyond = jnp.maximum(distance - radius, 0)
    held = nearest + (z - nearest) * (radius / (radius + beyond))[:, None]
    # inside, nothing is touched, not even by rounding
    return jnp.where((beyond > 0)[:, None], held, z), beyond


def penalty(beyond: jax.Array, strength: jax.Array, heavy: bool) -> jax.Array:
    """Log points taken off so far beyond the trust region: quadratic, or logarithmic where tails are heavy."""
    return 0.5 * strength * jnp.log1p(beyond**2) if heavy else strength * beyond**2


def outside(trust_region: TrustRegion, z: Array, factor: float = 1.0) -> NDArray[np.bool_]:
    """Which whitened points, shape (n, d), are beyond the trust region, or beyond ``factor`` times its radius."""
    result: NDArray[np.bool_] = (
        squared_distance(np, z, trust_region.landmarks).min(axis=1) > (factor * trust_region.radius) ** 2
    )
    return result
