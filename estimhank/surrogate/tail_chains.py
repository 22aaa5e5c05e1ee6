"""Whether exact draws end where the posterior does, or where the surrogate does: exact chains from the outermost draws.

A surrogate that is far too low somewhere sends no subchain there. The exact chains' own random-walk steps are few, so
all of them may stay away from such a place for a whole run, agree with each other, and miss its mass. Effective draws
and R-hat cannot show that. What can is this. Let B hold a share b of the posterior, the outermost draws by some
measure, and let U be where the surrogate is too low. Chains that start at draws from B and move by a kernel with the
exact posterior as its stationary distribution are after any number of steps in U with probability ::

    P(in U | started in B)  <=  P(in U) / b

for started in B and ended in U is part of in U. So a few chains that end in U say that U holds mass; if next to no
exact draw is in U, the draws are not those of the posterior.

The kernel asks no surrogate for acceptance. It is a mixture of heavy-tailed random-walk steps, shaped by the
surrogate's curvature where the chain began (a thin ridge is followed), and of steps along the ray from the centre,
which cross a heavy tail in a few steps; both are fixed for each chain before it begins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import poisson

from estimhank.sampling.proposals import generator
from estimhank.surrogate.convergence import mahalanobis
from estimhank.surrogate.exact import Evaluate, ExactDraws
from estimhank.surrogate.surrogate import Surrogate
from estimhank.target import Target

Array = NDArray[np.float64]

_SEED_CODE = 6
_CHAINS, _STEPS = 24, 20
_OUTERMOST = 0.03  # share of the draws that chains start from
_TOO_LOW = 1.0  # log points by which the surrogate underrates a place that counts as unknown to it
_IMPROBABLE = 1e-3
_RADIAL_SHARE, _RADIAL_WIDTH = 0.4, 0.5  # of the steps; s.d. of the logarithm of a radial step's factor
_STRETCHES = (0.3, 1.0, 3.0)
_FREEDOM = 5  # degrees of freedom of the random-walk steps
_STEP = 0.1  # of second differences, whitened units
_FLATTEST, _STEEPEST = 0.1, 1e6  # curvatures that a random walk is shaped by


@dataclass(frozen=True)
class TailEvidence:
    """What the chains found.

    Attributes
    ----------
    share : float
        Of the exact draws where the surrogate is too low.
    ended, chains : int
        Chains that ended there, of all of them.
    at_least : float
        Mass there that this speaks for.
    evaluations : int
        Exact evaluations made.
    probability : float
        Of so many chains ending there if the exact draws told the truth.
    """

    share: float
    ended: int
    chains: int
    at_least: float
    evaluations: int
    probability: float

    @property
    def covered(self) -> bool:
        """Whether the draws may be right about the mass there."""
        return self.probability >= _IMPROBABLE

    @property
    def words(self) -> str:
        """What is wrong, in words; empty where nothing is."""
        if self.covered:
            return ""
        return (
            f"the draws do not cover the tails: {self.ended} of {self.chains} exact chains from the outermost draws ended "
            f"where the surrogate has next to no mass, about {self.at_least:.1%} of the posterior or more is there, "
            f"and {self.share:.2%} of the draws"
        )


def look_beyond(
    evaluate: Evaluate, target: Target, surrogate: Surrogate, exact: ExactDraws, batch: int, seed: int
) -> TailEvidence:
    """Run the chains; batches of stage ``"certificate"`` are numbered from ``batch`` on.

    Half of the chains start at random among the draws farthest from the centre (Mahalanobis distance), half among
    those that the surrogate underrates most.
    """
    rng = generator(seed, _SEED_CODE, 0)
    d = surrogate.dimension
    z = exact.z.reshape(-1, d).astype(float)
    underrated = (exact.log_density - exact.surrogate_log_density).ravel()
    if not np.isfinite(underrated).all():  # of a surrogate that is not a number: no subchain has led anywhere
        return TailEvidence(0.0, 0, 0, 0.0, 0, 1.0)
    level = float(np.median(underrated))
    center, distance = z.mean(axis=0), mahalanobis(z)
    count = max(_CHAINS, math.ceil(_OUTERMOST * len(z)))
    starts = np.concatenate(
        [rng.choice(np.argsort(-by, kind="stable")[:count], _CHAINS // 2) for by in (distance, underrated)]
    )
    state, value, low = z[starts], exact.log_density.ravel()[starts], underrated[starts]
    roots = _local_roots(surrogate, state)
    for step in range(_STEPS):
        proposed, log_factor = _propose(rng, state, center, roots)
        x = surrogate.unwhiten(proposed.astype(np.float32))
        evaluated = evaluate("certificate", batch + step, target.transform.to_natural(x))
        density = evaluated.log_density + target.transform.log_jacobian(x)
        density = np.where(np.isfinite(density), density, -np.inf)
        accepted = np.log(rng.random(_CHAINS)) < density - value + log_factor
        state = np.where(accepted[:, None], proposed, state)
        value = np.where(accepted, density, value)
        with np.errstate(invalid="ignore"):
            low = np.where(accepted, density - surrogate.log_density(x), low)
    unknown = underrated > level + _TOO_LOW
    effective = float(min(exact.ess_bulk.min(), exact.ess_tail.min(), len(z)))
    share, ended = float(unknown.mean()), int((low > level + _TOO_LOW).sum())
    highest = share + 2 * math.sqrt(share * (1 - share) / effective) + 3 / effective  # the rule of three
    b = count / len(z)
    return TailEvidence(
        share=share,
        ended=ended,
        chains=_CHAINS,
        at_least=b * ended / _CHAINS,
        evaluations=_CHAINS * _STEPS,
        probability=float(poisson.sf(ended - 1, _CHAINS * min(highest / b, 1.0))),
    )


def _propose(rng: np.random.Generator, z: Array, center: Array, roots: Array) -> tuple[Array, Array]:
    """Proposals, shape (n, d), and the logarithm of the factor that acceptance needs beside the densities' ratio."""
    n, d = z.shape
    heavy = np.sqrt(_FREEDOM / rng.chisquare(_FREEDOM, n))
    length = 2.38 / math.sqrt(d) * rng.choice(_STRETCHES, n) * heavy
    walked = z + length[:, None] * np.einsum("nij,nj->ni", roots, rng.standard_normal((n, d)))
    factor = _RADIAL_WIDTH * rng.standard_normal(n)
    stretched = center + np.exp(factor)[:, None] * (z - center)
    radial = rng.random(n) < _RADIAL_SHARE
    return np.where(radial[:, None], stretched, walked), np.where(radial, d * factor, 0.0)


def _local_roots(surrogate: Surrogate, z: Array) -> Array:
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
