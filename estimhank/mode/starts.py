"""Dispersed feasible starting points from a prior."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from estimhank.mode.objective import Objective
from estimhank.support.errors import EstimhankError
from estimhank.target.protocol import REASONS, Target
from estimhank.target.transform import Transform

Array = NDArray[np.float64]

_PRIOR_DRAWS = 1024
_MOST_BATCHES = 10
_ROWS = 1_000  # of distances computed at a time


class NoFeasibleStart(EstimhankError):
    """The prior has next to no mass where the log density exists."""


@dataclass(frozen=True)
class Starts:
    """Starting points.

    Attributes
    ----------
    x : ndarray of shape (n, d)
        Unconstrained coordinates, the one of the highest density first.
    infeasible : dict of str to float
        Share of independent prior draws without a density, by reason.
    prior_draws : int
        Number of draws behind these shares.
    interior : ndarray of shape (d,)
        Mean of all feasible points found, in coordinates.
    """

    x: Array
    infeasible: dict[str, float]
    prior_draws: int
    interior: Array


def prior_scale(target: Target, rng: np.random.Generator) -> tuple[Array, Array]:
    """Prior draws in natural units, shape (n, d), and their standard deviations in coordinates, shape (d,)."""
    draws = target.sample_prior(rng, _PRIOR_DRAWS)
    spread = np.std(target.transform.to_unconstrained(draws), axis=0)
    if not (np.isfinite(spread).all() and (spread > 0).all()):
        raise ValueError("sample_prior must return draws inside the support that vary in every parameter")
    return draws, spread


def prior_quantiles(draws: Array, rng: np.random.Generator, n: int) -> Array:
    """Points of a scrambled Sobol sequence in the marginal quantiles of ``draws``; shape (n, d)."""
    from scipy.stats import qmc  # takes a second to import: not before workers have started

    sobol = qmc.Sobol(draws.shape[1], rng=rng)
    levels = sobol.random_base2(max(1, (n - 1).bit_length()))[:n]
    ordered = np.sort(draws, axis=0)
    rows = np.minimum((levels * len(draws)).astype(int), len(draws) - 1)
    return np.take_along_axis(ordered, rows, axis=0)


def choose_dispersed(x: Array, first: int, n: int, scale: Array) -> Array:
    """Pick n rows of ``x`` far from each other, in units of ``scale``, beginning with ``first``."""
    others = np.delete(x, first, axis=0)
    return np.concatenate([x[[first]], others[farthest_first(others / scale, x[[first]] / scale, n - 1)]])


def farthest_first(x: Array, seen: Array, n: int) -> NDArray[np.int64]:
    """Up to ``n`` rows of x, shape (m, d), none twice: one after the other where it is farthest to what is ``seen``,
    shape (k, d), and chosen (Gonzalez 1985)."""
    from scipy.spatial.distance import cdist

    distance = np.full(len(x), np.inf)
    for i in range(0, len(x), _ROWS):
        for j in range(0, len(seen), _ROWS):
            apart = cdist(x[i : i + _ROWS], seen[j : j + _ROWS]).min(axis=1)
            distance[i : i + _ROWS] = np.minimum(distance[i : i + _ROWS], apart)
    chosen = np.empty(min(n, len(x)), np.int64)
    for k in range(len(chosen)):
        chosen[k] = distance.argmax()
        distance = np.minimum(distance, np.linalg.norm(x - x[chosen[k]], axis=1))
        distance[chosen[k]] = -np.inf
    return chosen


def find_starts(objective: Objective, draws: Array, rng: np.random.Generator, n: int, candidates: int = 64) -> Starts:
    """Find n feasible, dispersed points: half the candidates are prior draws, half Sobol points in prior quantiles.

    Parameters
    ----------
    objective : Objective
    draws : ndarray of shape (m, d)
        Prior draws, natural units.
    rng : Generator
    n : int
        Starts wanted.
    candidates : int
        Points evaluated at a time; more are drawn while fewer than n are feasible.

    Raises
    ------
    NoFeasibleStart
        If none of many candidates is feasible.
    """
    transform: Transform = objective.target.transform
    candidates = max(candidates, 2 * n)
    feasible: list[Array] = []
    values: list[Array] = []
    reasons: list[NDArray[np.uint8]] = []
    for _ in range(_MOST_BATCHES):
        half = candidates // 2
        from_prior = draws[rng.choice(len(draws), half, replace=half > len(draws))]
        points = np.concatenate([from_prior, prior_quantiles(draws, rng, candidates - half)])
        batch = objective.batch(points)
        reasons.append(batch.reason[:half])
        feasible.append(points[batch.ok])
        values.append(batch.log_density[batch.ok])
        if sum(map(len, feasible)) >= n:
            break
    codes = np.concatenate(reasons)
    infeasible = {reason: float(np.mean(codes == k)) for k, reason in enumerate(REASONS) if k and (codes == k).any()}
    x = transform.to_unconstrained(np.concatenate(feasible))
    if not len(x):
        why = max(infeasible, key=lambda reason: infeasible[reason])
        raise NoFeasibleStart(
            f"the log density exists at none of {len(codes)} prior draws (most often: {why}): "
            "the prior, or the calibration, does not suit the model"
        )
    best = int(np.argmax(np.concatenate(values)))
    return Starts(choose_dispersed(x, best, n, objective.scale), infeasible, len(codes), x.mean(axis=0))
