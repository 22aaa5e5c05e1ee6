"""Whether exact draws end where the posterior does, or where the surrogate does: exact chains confined to the tails.

A surrogate that is far too low somewhere sends no subchain there. The exact chains' own random-walk steps are few, so
all of them may stay away from such a place for a whole run, agree with each other, and miss its mass. Effective draws
and R-hat cannot show that. What can is this. Let B be where some quantity g is at least as large as at the outermost
draws. If the draws are the posterior's, those in B have the posterior's distribution within B, and a kernel that is
reversible with respect to the posterior, *and that rejects whatever leaves B*, keeps it: the ends of chains that began
at these draws are distributed as the draws are. If the draws stop short, the chains go on outward, for nothing draws
them back to the bulk; soon many of them are where no draw has been.

The quantities are the Mahalanobis distance, and by how much the surrogate underrates a place. The kernel never asks the
surrogate. It is a mixture of heavy-tailed random-walk steps, shaped by the surrogate's curvature where the chain began
(a thin ridge is followed), and of steps along the ray from the centre, which cross a heavy tail in a few steps; both
are fixed for each chain before it begins.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom, mannwhitneyu

from estimhank.sampling.proposals import generator
from estimhank.surrogate.exact import Evaluate, ExactDraws
from estimhank.surrogate.surrogate import Surrogate
from estimhank.target import Target

Array = NDArray[np.float64]

_SEED_CODE = 6
_CHAINS = 32  # for each quantity, at most
_STEPS, _MORE, _SUSPICIOUS = 8, 24, 0.05  # so many steps; more of them if what they show has this probability
_OUTERMOST = 0.02  # share of the draws that chains start from
_FEWEST = 8  # different draws there, below which nothing can be said
_IMPROBABLE = 5e-4
_RANKS = (1, 3, 6)  # of the outermost draws that ends are counted beyond
_RADIAL_SHARE, _RADIAL_WIDTH = 0.6, 0.4  # of the steps; s.d. of the logarithm of a radial step's factor
_STRETCHES = (0.3, 1.0, 3.0)
_FREEDOM = 5  # degrees of freedom of the random-walk steps
_STEP = 0.1  # of second differences, whitened units
_FLATTEST, _STEEPEST = 0.1, 1e6  # curvatures that a random walk is shaped by
_SLIGHT = 0.1  # log points of underrating that matter to nobody


class Reach(NamedTuple):
    """How far chains went by one quantity: ``beyond`` of ``chains`` ended beyond all draws but ``rank`` - 1, and the
    probability of that, or of what else tells ends from draws, if the draws reach as far as the posterior."""

    beyond: int
    chains: int
    rank: int
    probability: float


@dataclass(frozen=True)
class TailEvidence:
    """What the chains found, by quantity, and the exact evaluations that it took."""

    reach: dict[str, Reach]
    evaluations: int

    @property
    def covered(self) -> bool:
        """Whether the draws may reach as far as the posterior does."""
        return all(reach.probability >= _IMPROBABLE for reach in self.reach.values())

    @property
    def words(self) -> str:
        """What is wrong, in words; empty where nothing is."""
        for name, reach in self.reach.items():
            if reach.probability < _IMPROBABLE:
                draws = "any draw" if reach.rank == 1 else f"all but {reach.rank - 1} draws"
                return (
                    f"the draws do not cover the tails: of {reach.chains} exact chains that start at the outermost "
                    f"draws by {name} and stay as far out, {reach.beyond} end farther out than {draws}"
                )
        return ""


def look_beyond(
    evaluate: Evaluate, target: Target, surrogate: Surrogate, exact: ExactDraws, batch: int, seed: int
) -> TailEvidence:
    """Run the chains, side by side; batches of stage ``"certificate"`` are numbered from ``batch`` on."""
    rng = generator(seed, _SEED_CODE, 0)
    d = surrogate.dimension
    total = exact.log_density.size
    # as many draws as are effective ones: a test of ranks takes them for independent
    effective = min(float(exact.ess_bulk.min()), float(exact.ess_tail.min()), float(total))
    rows = rng.choice(total, max(1, int(effective)), replace=False)
    z, density = exact.z.reshape(-1, d)[rows].astype(float), exact.log_density.ravel()[rows]
    draws = _Draws(z, density, density - exact.surrogate_log_density.ravel()[rows])
    quantities = _quantities(draws)
    count = max(_FEWEST, math.ceil(_OUTERMOST * len(z)))
    chosen = {name: np.argsort(-of(draws), kind="stable")[:count] for name, of in quantities.items()}
    if not quantities or len(z) < 2 * count:
        return TailEvidence({}, 0)
    chains = min(_CHAINS, count)  # each from a draw of its own
    starts = np.concatenate([rng.permutation(some)[:chains] for some in chosen.values()])
    state, done, reach = draws.rows(starts), 0, {}
    kernel = _Kernel(evaluate, target, surrogate, _local_roots(surrogate, state.z), batch)
    inside = _confined(quantities, chosen, draws, chains)
    for steps in (_STEPS, _MORE):
        while done < steps:
            state = kernel.step(rng, state, inside, done)
            done += 1
        for k, (name, of) in enumerate(quantities.items()):
            ends = of(state.rows(np.arange(k * chains, (k + 1) * chains)))
            reach[name] = compare_reach(of(draws.rows(chosen[name])), ends)
        if min(found.probability for found in reach.values()) > _SUSPICIOUS:
            break
    return TailEvidence(reach, len(starts) * done)


class _Draws(NamedTuple):
    """Whitened places (n, d), exact log density (n,), and by how much the surrogate underrates them (n,)."""

    z: Array
    log_density: Array
    underrated: Array

    def rows(self, rows: NDArray[np.int64]) -> _Draws:
        return _Draws(*(column[rows] for column in self))


_Quantity = Callable[[_Draws], Array]


def _quantities(draws: _Draws) -> dict[str, _Quantity]:
    """By name, what says how far out a place is."""
    center = draws.z.mean(axis=0)
    covariance = np.atleast_2d(np.cov(draws.z.T)) if len(draws.z) > 1 else np.zeros((1, 1))
    quantities: dict[str, _Quantity] = {}
    if np.linalg.eigvalsh(covariance).min() > 0:
        root = np.linalg.cholesky(covariance)
        quantities["distance"] = lambda a: np.linalg.norm(np.linalg.solve(root, (a.z - center).T), axis=0)
    if np.isfinite(draws.underrated).all():
        level = float(np.median(draws.underrated))
        # what is underrated slightly is not far out: equal there, so that it is told from nothing
        quantities["the surrogate's underrating"] = lambda a: np.maximum(a.underrated - level, _SLIGHT)
    return quantities


def _confined(
    quantities: dict[str, _Quantity], chosen: dict[str, NDArray[np.int64]], draws: _Draws, chains: int
) -> Callable[[_Draws], NDArray[np.bool_]]:
    least = {name: float(of(draws.rows(chosen[name])).min()) for name, of in quantities.items()}

    def inside(states: _Draws) -> NDArray[np.bool_]:
        parts = []
        for k, (name, of) in enumerate(quantities.items()):
            parts.append(of(states.rows(np.arange(k * chains, (k + 1) * chains))) >= least[name])
        return np.concatenate(parts)

    return inside


@dataclass(frozen=True)
class _Kernel:
    """Steps of the exact chains; ``roots`` (n, d, d) shape their random walks."""

    evaluate: Evaluate
    target: Target
    surrogate: Surrogate
    roots: Array
    first_batch: int

    def step(
        self, rng: np.random.Generator, state: _Draws, inside: Callable[[_Draws], NDArray[np.bool_]], number: int
    ) -> _Draws:
        """One step of all chains; what is not ``inside`` is rejected."""
        z, log_factor = _propose(rng, state.z, np.zeros(self.surrogate.dimension), self.roots)
        z = z.astype(np.float32).astype(float)
        x = self.surrogate.unwhiten(z)
        evaluated = self.evaluate("certificate", self.first_batch + number, self.target.transform.to_natural(x))
        density = evaluated.log_density + self.target.transform.log_jacobian(x)
        there = np.isfinite(density)
        density = np.where(there, density, -np.inf)
        rated = np.where(there, self.surrogate.log_density(x), 0.0)
        proposed = _Draws(z, density, np.where(there, density - rated, -np.inf))
        accepted = np.log(rng.random(len(z))) < density - state.log_density + log_factor
        accepted &= there & inside(proposed)
        pairs = zip(state, proposed, strict=True)
        taken = [np.where(accepted[:, None] if a.ndim == 2 else accepted, b, a) for a, b in pairs]
        return _Draws(*taken)


def compare_reach(draws: Array, ends: Array) -> Reach:
    """Whether ends of chains, shape (n,), go farther than the draws (m,) that chains began at.

    If both are draws of one distribution, the number of ends beyond the r-th largest draw is negative hypergeometric
    (Rosenbaum 1954), and the ends' ranks are those of Mann and Whitney (1947). Chains that have not moved are ties,
    which count as not beyond. The probability is the smallest of the tests', times their number.
    """
    m, n = len(draws), len(ends)
    if m < _FEWEST:
        return Reach(0, n, 1, 1.0)
    ordered = np.sort(draws)[::-1]
    found = []
    for rank in _RANKS:
        beyond = int((ends > ordered[rank - 1]).sum())
        # so many ends beyond it: among the outermost beyond + rank - 1 of all there are less than rank draws
        probability = float(hypergeom.cdf(rank - 1, m + n, m, beyond + rank - 1)) if beyond else 1.0
        found.append(Reach(beyond, n, rank, probability))
    if np.ptp(np.concatenate([draws, ends])) > 0:
        ranks = float(mannwhitneyu(ends, draws, alternative="greater").pvalue)
        found.append(found[0]._replace(probability=ranks))
    least = min(found, key=lambda reach: reach.probability)
    return least._replace(probability=min(1.0, len(found) * least.probability))


def _propose(rng: np.random.Generator, z: Array, center: Array, roots: Array) -> tuple[Array, Array]:
    """Proposals, shape (n, d), and the logarithm of the factor that acceptance needs beside the densities' ratio."""
    n, d = z.shape
    heavy = np.sqrt(_FREEDOM / rng.chisquare(_FREEDOM, n))
    length = 2.38 / math.sqrt(d) * rng.choice(_STRETCHES, n) * heavy
    walked = z + length[:, None] * np.einsum("nij,nj->ni", roots, rng.standard_normal((n, d)))
    factor = _RADIAL_WIDTH * rng.standard_normal(n)
    stretched = center + np.exp(factor)[:, None] * (z - center)
    radial = np.asarray(rng.random(n) < _RADIAL_SHARE)
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
