"""Proposals of the exact stage that never ask the surrogate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_FREEDOM = 5  # degrees of freedom of the random-walk proposals
_STRETCHES, _STRETCH_SHARES = (0.1, 0.3, 1.0, 3.0), (0.1, 0.3, 0.5, 0.1)
_JUMP_SHARE = 0.3  # of the random-walk steps, where there are several modes to jump between
_RAY_WIDTH = 0.5  # s.d. of the logarithm of the factor


def random_walk_proposals(
    rng: np.random.Generator, z: NDArray[np.float32], root: Array, modes: np.ndarray, ray_share: float
) -> tuple[NDArray[np.float32], Array]:
    """Proposals and the logarithm of the factor of their acceptance.

    Symmetric ones: multivariate t at several scales, and jumps by the difference of two local modes. The others are
    ray steps.
    """
    n, d = z.shape
    heavy = np.sqrt(_FREEDOM / rng.chisquare(_FREEDOM, n))
    stretch = rng.choice(_STRETCHES, n, p=_STRETCH_SHARES)
    move = rng.standard_normal((n, d)) @ root.T * (heavy * stretch)[:, None]
    if len(modes) > 1:
        a, b = rng.integers(0, len(modes), n), rng.integers(0, len(modes), n)
        leap = modes[a] - modes[b] + 0.1 * move
        jump = np.asarray(rng.random(n) < _JUMP_SHARE)
        move = np.where(jump[:, None], leap, move)
    if ray_share == 0:
        return (z + move).astype(np.float32), np.zeros(n)
    factor = _RAY_WIDTH * rng.standard_normal(n)
    ray = np.asarray(rng.random(n) < ray_share)
    walked = np.where(ray[:, None], np.exp(factor)[:, None] * z, z + move)
    return walked.astype(np.float32), np.where(ray, d * factor, 0.0)
