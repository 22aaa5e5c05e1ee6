"""A mixture of Student t densities, fitted to draws: a proposal that is normalised."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

from estimhank.sampling.student_t import StudentT

Array = NDArray[np.float64]

FREEDOM = 8.0  # of the components: heavier tails than a posterior has, and still a covariance
_COMPONENTS = (1, 2, 4, 8)  # that are tried
_FEWEST = 10  # draws a component and coordinate: fewer do not tell its covariance
_STEPS = 100  # of the EM algorithm at most
_SMALL = 1e-4  # gain a draw at which it ends
_SHRINK = 1e-3  # share of the covariance of all draws in that of a component: none collapses on a few draws


@dataclass(frozen=True)
class Mixture:
    """A normalised density: weights (k,), and as many Student t components."""

    weights: Array
    components: tuple[StudentT, ...]

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        """Independent draws, shape (n, d)."""
        counts = rng.multinomial(n, self.weights)
        return np.concatenate([c.sample(rng, int(m)) for c, m in zip(self.components, counts, strict=True) if m])

    def log_density(self, x: Array) -> Array:
        """Log density at points of shape (n, d); shape (n,)."""
        each = np.stack([component.log_density(x) for component in self.components])
        found: Array = logsumexp(each, axis=0, b=self.weights[:, None])
        return found


def fit_mixture(rng: np.random.Generator, draws: Array) -> Mixture:
    """The mixture that fits draws of shape (n, d) best.

    Normal components are found by the EM algorithm on half of the draws, for one, two, four and eight of them; the
    other half says how many there are to be. Their tails are made heavier afterwards, those of a Student t of the same
    covariance, since the bridge from a proposal with light tails is a poor one.

    Raises
    ------
    ValueError
        If there are no more draws than twice the number of coordinates.
    """
    n, d = draws.shape
    if n < 4 * (d + 1):
        raise ValueError(f"{n} draws are too few for a proposal in {d} coordinates")
    order = rng.permutation(n)
    half, other = draws[order[: n // 2]], draws[order[n // 2 :]]
    tried = [_fit(rng, half, k) for k in _COMPONENTS if k == 1 or _FEWEST * k * d <= len(half)]
    weights, means, covariances = max(tried, key=lambda fit: float(_score(other, *fit)))
    components = tuple(StudentT(mean, cov, FREEDOM) for mean, cov in zip(means, covariances, strict=True))
    return Mixture(weights, components)


_Normals = tuple[Array, Array, Array]  # weights (k,), means (k, d), covariances (k, d, d)


def _score(x: Array, weights: Array, means: Array, covariances: Array) -> float:
    return float(logsumexp(_log_normals(x, means, covariances), axis=0, b=weights[:, None]).mean())


def _log_normals(x: Array, means: Array, covariances: Array) -> Array:
    """Log densities of normals, shape (k, n)."""
    found = []
    for mean, covariance in zip(means, covariances, strict=True):
        root = np.linalg.cholesky(covariance)
        z = solve_triangular(root, (x - mean).T, lower=True)
        found.append(-0.5 * (z**2).sum(axis=0) - np.log(np.diag(root)).sum() - 0.5 * len(mean) * np.log(2 * np.pi))
    return np.stack(found)


def _fit(rng: np.random.Generator, x: Array, k: int) -> _Normals:
    overall = np.cov(x.T).reshape(x.shape[1], x.shape[1])
    fit: _Normals = (np.full(k, 1 / k), _far_apart(rng, x, overall, k), np.repeat(overall[None], k, axis=0) / k)
    last = -np.inf
    for _ in range(_STEPS):
        joint = _log_normals(x, fit[1], fit[2]) + np.log(fit[0])[:, None]
        total = logsumexp(joint, axis=0)
        if total.mean() - last < _SMALL:
            break
        last = float(total.mean())
        shares = np.exp(joint - total)
        counts = shares.sum(axis=1) + 1e-10
        means = shares @ x / counts[:, None]
        spread = [(s * (x - m).T) @ (x - m) / c for s, m, c in zip(shares, means, counts, strict=True)]
        fit = (counts / counts.sum(), means, (1 - _SHRINK) * np.stack(spread) + _SHRINK * overall)
    return fit


def _far_apart(rng: np.random.Generator, x: Array, covariance: Array, k: int) -> Array:
    """First means: draws, each with a probability in the squared distance from those before it (k-means++)."""
    z = solve_triangular(np.linalg.cholesky(covariance), x.T, lower=True).T
    chosen = [int(rng.integers(len(z)))]
    while len(chosen) < k:
        away = np.min([((z - z[i]) ** 2).sum(axis=1) for i in chosen], axis=0)
        chosen.append(int(rng.choice(len(z), p=away / away.sum())))
    return x[chosen].copy()
