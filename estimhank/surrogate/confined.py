"""Exact chains that stay far out: reversible with respect to the posterior, they reject whatever is less far out than
the draws that they begin at, and never ask the surrogate.

The kernel is a mixture of heavy-tailed random-walk steps, shaped by the surrogate's curvature where the chain began (a
thin ridge is followed), and of ray steps, along the ray from the centre, which cross a heavy tail in a few steps; both
are fixed for each chain before it begins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from estimhank.evaluation.evaluations import EvaluationBatch
from estimhank.surrogate.policy import POSTERIOR_POLICY as POLICY
from estimhank.surrogate.surrogate import Surrogate
from estimhank.target.transform import Transform

Array = NDArray[np.float64]

#: ``ask(step, x)``: exact evaluations at coordinates x, shape (n, d), the step-th batch of a search.
Ask = Callable[[int, Array], EvaluationBatch]

_RAY_SHARE, _RAY_WIDTH = 0.25, 0.4  # of the steps; s.d. of the logarithm of a ray step's factor
_STRETCHES = (0.3, 1.0, 3.0)
_FREEDOM = 5  # degrees of freedom of the random-walk steps
_STEP = 0.1  # of second differences, whitened units
_FLATTEST, _STEEPEST = 0.1, 1e6  # curvatures that a random walk is shaped by


class TailStates(NamedTuple):
    """Whitened places (n, d), exact log density (n,), and by how much the surrogate underrates them (n,)."""

    z: Array
    log_density: Array
    underrated: Array

    def rows(self, rows: NDArray[np.int64]) -> TailStates:
        """Some of the places, by number."""
        return TailStates(*(column[rows] for column in self))


Quantity = Callable[[TailStates], Array]


def far_out(z: Array, surrogate: Surrogate, names: Sequence[str]) -> dict[str, Quantity]:
    """Measures, by name, of how far out a point is: the Mahalanobis distance and, as among many parameters the end of
    a long tail of one is not what is farthest out, the coordinates with the longest tails.

    ``z`` are draws, whitened, (n, d); nothing is far out where they do not span the space.
    """
    center = z.mean(axis=0)
    covariance = np.atleast_2d(np.cov(z.T)) if len(z) > 1 else np.zeros((1, 1))
    if not np.linalg.eigvalsh(covariance).min() > 0:
        return {}
    root = np.linalg.cholesky(covariance)
    quantities: dict[str, Quantity] = {
        "distance": lambda a: np.linalg.norm(np.linalg.solve(root, (a.z - center).T), axis=0)
    }
    for sign, j in longest_tails(surrogate.unwhiten(z)):
        name = f"{'high' if sign > 0 else 'low'} values of {names[j]}"
        quantities[name] = _coordinate(surrogate, sign, j)
    return quantities


def _coordinate(surrogate: Surrogate, sign: int, j: int) -> Quantity:
    return lambda a: sign * surrogate.unwhiten(a.z)[:, j]


def longest_tails(x: Array, most: int = POLICY.tails) -> list[tuple[int, int]]:
    """Sign (1: upper, -1: lower) and coordinate of the longest tails of draws, shape (n, d), longest first.

    The length is the distance of the outermost draws from the median, in standard deviations.
    """
    few = max(1, math.ceil(POLICY.outermost * len(x)))
    standard = np.sort((x - np.median(x, axis=0)) / x.std(axis=0), axis=0)
    length = np.concatenate([standard[-few:].mean(axis=0), -standard[:few].mean(axis=0)])
    d = x.shape[1]
    return [(1 if k < d else -1, int(k) % d) for k in np.argsort(-length, kind="stable")[:most]]


@dataclass
class TailChains:
    """Chains side by side that stay as far out, by one quantity, as the draws that they begin at.

    ``outermost`` (m,) are its values at the draws that ``starts`` were taken from; ``roots`` (n, d, d) shape the random
    walks of the chains, which are now in ``state``.
    """

    name: str
    of: Quantity
    outermost: Array
    starts: TailStates
    roots: Array
    state: TailStates

    def inside(self, places: TailStates) -> NDArray[np.bool_]:
        """Which places are far enough out."""
        far: NDArray[np.bool_] = self.of(places) >= self.outermost.min()
        return far


@dataclass(frozen=True)
class Kernel:
    """Steps of the exact chains."""

    ask: Ask
    transform: Transform
    surrogate: Surrogate

    def look(self, number: int, z: Array) -> TailStates:
        """Evaluate whitened places, (n, d), as batch ``number``; they are rounded to single precision."""
        z = z.astype(np.float32).astype(float)
        x = self.surrogate.unwhiten(z)
        density = self.ask(number, x).log_density + self.transform.log_jacobian(x)
        there = np.isfinite(density)
        density = np.where(there, density, -np.inf)
        rated = np.where(there, self.surrogate.log_density(x), 0.0)
        return TailStates(z, density, np.where(there, density - rated, -np.inf))

    def step(self, rng: np.random.Generator, several: Sequence[TailChains], number: int) -> int:
        """One step of all chains; what is not inside is rejected. Returns the number of evaluations."""
        z, log_factor = _propose(
            rng, np.concatenate([c.state.z for c in several]), np.concatenate([c.roots for c in several])
        )
        proposed = self.look(number, z)
        uniform, first = np.log(rng.random(len(z))), 0
        for chains in several:
            rows = np.arange(first, first + len(chains.roots))
            new, first = proposed.rows(rows), first + len(rows)
            with np.errstate(invalid="ignore"):  # from a place without a density to another one
                taken = uniform[rows] < new.log_density - chains.state.log_density + log_factor[rows]
            taken &= np.isfinite(new.log_density) & chains.inside(new)
            pairs = zip(chains.state, new, strict=True)
            chains.state = TailStates(*(np.where(taken[:, None] if a.ndim == 2 else taken, b, a) for a, b in pairs))
        return len(z)


def _propose(rng: np.random.Generator, z: Array, roots: Array) -> tuple[Array, Array]:
    """Proposals, shape (n, d), and the logarithm of the factor that acceptance needs beside the densities' ratio."""
    n, d = z.shape
    heavy = np.sqrt(_FREEDOM / rng.chisquare(_FREEDOM, n))
    length = 2.38 / math.sqrt(d) * rng.choice(_STRETCHES, n) * heavy
    walked = z + length[:, None] * np.einsum("nij,nj->ni", roots, rng.standard_normal((n, d)))
    factor = _RAY_WIDTH * rng.standard_normal(n)
    stretched = np.exp(factor)[:, None] * z
    ray = np.asarray(rng.random(n) < _RAY_SHARE)
    return np.where(ray[:, None], stretched, walked), np.where(ray, d * factor, 0.0)


def local_roots(surrogate: Surrogate, z: Array) -> Array:
    """Roots (n, d, d) of the covariances that the surrogate's curvature at each z of shape (n, d) implies."""
    n, d = z.shape
    i, j = np.triu_indices(d, 1)
    unit = np.eye(d)
    steps = np.concatenate([unit, -unit, unit[i] + unit[j], -unit[i] - unit[j], np.zeros((1, d))])
    places = z[:, None, :] + _STEP * steps
    value = surrogate.log_density(surrogate.unwhiten(places.reshape(-1, d))).reshape(n, -1)
    here = value[:, -1:]
    along = (value[:, :d] + value[:, d : 2 * d] - 2 * here) / _STEP**2
    pairs = len(i)
    both = (value[:, 2 * d : 2 * d + pairs] + value[:, 2 * d + pairs : -1] - 2 * here) / _STEP**2
    hessian = np.zeros((n, d, d))
    hessian[:, np.arange(d), np.arange(d)] = along
    hessian[:, i, j] = hessian[:, j, i] = 0.5 * (both - along[:, i] - along[:, j])
    values, vectors = np.linalg.eigh(-np.nan_to_num(hessian, nan=-1.0, posinf=-1.0, neginf=-1.0))
    return vectors / np.sqrt(np.clip(values, _FLATTEST, _STEEPEST))[:, None, :]


def lacking(underrated: Array) -> float:
    """RMS, over all draws, of how far the surrogate underrates points far out, ``underrated`` (chain, state).

    Infeasible points count as zero; the most extreme chain is left out, as one alone says too little.
    """
    excess = np.clip(np.where(np.isfinite(underrated), underrated, 0.0), 0.0, POLICY.most_log_points)
    each = np.sort((excess**2).mean(axis=1))
    return math.sqrt(POLICY.outermost * float(each[:-1].mean())) if len(each) > 1 else 0.0
