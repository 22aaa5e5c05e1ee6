"""Bridge sampling (Meng and Wong 1996): the ratio of the integrals of two densities, from draws of both.

With f(l) = 1 / (1 + exp(-l)), log densities p and q, l = log p - log q, and effective numbers of draws n, the optimal
bridge is where its iteration comes to rest, which is the only root of an increasing function::

    n_q E_q f(l - c) = n_p E_p f(c - l),        log Z_p - log Z_q = c + log(n_p / n_q)

Every term is between 0 and 1, so the error is finite whatever the tails; what it needs is that the two overlap.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logsumexp

from estimhank.evidence.mixture import fit_mixture
from estimhank.sampling.diagnostics import ess
from estimhank.support.errors import EstimhankError
from estimhank.support.seeds import Stream, generator
from estimhank.surrogate.pareto import pareto_k, pareto_limit

Array = NDArray[np.float64]

MOST_MISSED = 0.01  # of the density; beside it the bridge rests on the draws of the density alone
_REACH = 800.0  # log points beyond the outermost draws at which a root is looked for


class NoOverlap(EstimhankError):
    """Two densities whose draws say nothing about each other."""


@dataclass(frozen=True)
class Estimate:
    """A log integral, or a log ratio of two.

    Attributes
    ----------
    name : str
        The method.
    value, standard_error : float
        Natural logarithm; ``nan`` for the error of a method that has none.
    effective : float
        Draws that it is worth; ``nan`` where that has no meaning.
    pareto_k : float
        Tail index of the weights behind it; ``nan`` where there are none.
    limit : float
        Largest tail index at which it can be used.
    missed : float
        Share of the density where the proposal, with as many draws as there were, is not expected to have one.
    """

    name: str
    value: float
    standard_error: float = math.nan
    effective: float = math.nan
    pareto_k: float = math.nan
    limit: float = math.nan
    missed: float = 0.0

    @property
    def reliable(self) -> bool:
        """Whether its value is a number, its tail index (if any) within the limit, and next to nothing missed."""
        return math.isfinite(self.value) and not self.pareto_k > self.limit and self.missed <= MOST_MISSED


@dataclass(frozen=True)
class Bridge:
    """A bridge from a proposal q to a density p, and what the draws of q say on their own.

    Attributes
    ----------
    ratio : Estimate
        log Z_p - log Z_q. Its tail index is that of p / q over draws of q. A part of p that q misses altogether is seen
        by draws of p alone: ``missed`` is their share. Effective draws are the fewer of the two samples'.
    importance : Estimate
        The same ratio from the draws of q alone.
    """

    ratio: Estimate
    importance: Estimate


def bridge(at_p: tuple[Array, Array], at_q: tuple[Array, Array], name: str = "bridge") -> Bridge:
    """Log of the ratio of the integrals of p and q.

    Parameters
    ----------
    at_p, at_q : pair of ndarray, shape (chain, draw)
        log p and log q at draws of p, and at draws of q; each up to a constant, ``-inf`` where there is no density.
    name : str

    Raises
    ------
    NoOverlap
        If no draw of one has a density in the other.
    """
    with np.errstate(invalid="ignore"):
        l_p, l_q = at_p[0] - at_p[1], at_q[0] - at_q[1]
    if np.isnan(l_p).any() or np.isnan(l_q).any():
        raise ValueError("a draw has no density in the sample that it is from")
    if not (l_p < math.inf).any() or not (l_q > -math.inf).any():
        raise NoOverlap(f"{name}: no draw of the proposal has a density, or none of the density's is in the proposal")
    sizes = np.array([l_p.size, l_q.size], float)
    for _ in range(2):  # by all draws first, then by how many they are worth
        c = _root(l_p, l_q, *sizes)
        f_p, f_q = expit(c - l_p), expit(l_q - c)
        sizes = np.array([_effective(f_p), _effective(f_q)])
    c = _root(l_p, l_q, *sizes)
    f_p, f_q = expit(c - l_p), expit(l_q - c)
    error = math.sqrt(sum(_relative_variance(f, n) for f, n in zip((f_p, f_q), sizes, strict=True)))
    value = c + math.log(sizes[0] / sizes[1])
    k, limit = pareto_k(l_q.ravel()), pareto_limit(l_q.size)
    missed = float((l_p - value > math.log(l_q.size)).mean())
    ratio = Estimate(name, value, error, float(sizes.min()), k, limit, missed)
    weights = np.exp(l_q - l_q.max())
    importance = Estimate(
        "importance sampling",
        float(logsumexp(l_q) - math.log(l_q.size)),
        math.sqrt(_relative_variance(weights, _effective(weights))),
        float(weights.sum() ** 2 / (weights**2).sum()),
        k,
        limit,
    )
    return Bridge(ratio, importance)


def _root(l_p: Array, l_q: Array, n_p: float, n_q: float) -> float:
    finite = np.concatenate([x[np.isfinite(x)] for x in (l_p, l_q)])
    low, high = float(finite.min()) - _REACH, float(finite.max()) + _REACH

    def excess(c: float) -> float:
        """Logarithms, so that a poor overlap has a root too."""
        return _log_mean(-np.logaddexp(0, l_p - c)) - _log_mean(-np.logaddexp(0, c - l_q)) + math.log(n_p / n_q)

    return float(brentq(excess, low, high, xtol=1e-10))


def _log_mean(values: Array) -> float:
    return float(logsumexp(values)) - math.log(values.size)


def _effective(values: Array) -> float:
    """Effective number of draws of a mean; all of them where they are independent, or too few to tell."""
    if values.shape[1] < 4 or np.ptp(values) == 0:
        return float(values.size)
    found = float(ess(values[:, :, None], "mean")[0])
    return min(found, float(values.size)) if math.isfinite(found) else float(values.size)


def _relative_variance(values: Array, effective: float) -> float:
    mean = float(values.mean())
    return float(values.var(ddof=1)) / (effective * mean**2) if mean > 0 else math.inf


def integrate(
    log_density: Callable[[Array], Array],
    draws: Array,
    values: Array | None = None,
    proposals: int | None = None,
    seed: int = 0,
) -> Bridge:
    """Log integral of a density, by a bridge from a mixture fitted to half of its draws to the other half.

    Parameters
    ----------
    log_density : callable
        Maps (n, d) to (n,), ``-inf`` where there is none.
    draws : ndarray of shape (chain, draw, d)
        Of the density, in coordinates without bounds.
    values : ndarray of shape (chain, draw), optional
        Log densities of the draws, if they are known.
    proposals : int, optional
        Draws of the mixture, each evaluated; by default as many as there are draws.
    seed : int

    Raises
    ------
    NoOverlap
    ValueError
        If the draws are too few.
    """
    rng = generator(seed, Stream.EVIDENCE)
    chains, n, d = draws.shape
    # by chains where there are several: halves of one chain are not independent
    first, second = (draws[::2], draws[1::2]) if chains > 1 else (draws[:, : n // 2], draws[:, n // 2 :])
    mixture = fit_mixture(rng, first.reshape(-1, d))
    x = mixture.sample(rng, proposals or chains * n)
    if values is None:
        p_values = log_density(second.reshape(-1, d)).reshape(second.shape[:2])
    else:
        p_values = values[1::2] if chains > 1 else values[:, n // 2 :]
    q_values = mixture.log_density(second.reshape(-1, d)).reshape(second.shape[:2])
    return bridge((p_values, q_values), (log_density(x)[None], mixture.log_density(x)[None]))
