"""Tempered sequential Monte Carlo (Del Moral, Doucet and Jasra 2006; Herbst and Schorfheide 2014; Jasra et al. 2011).

A population of particles goes from a wide Student t density q to the target p along q^(1-b) p^b. Each stage raises b as
far as the effective number of particles allows, resamples, and moves every particle by random-walk Metropolis-Hastings
steps, each step one batch. The product of the mean weights estimates the integral of p.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import logsumexp

from estimhank.evaluation.recorder import Recorder
from estimhank.sampling.proposals import Center, NoFeasibleState, log_density_in_coordinates
from estimhank.sampling.stage_density import ChainDraws, StageDensity
from estimhank.sampling.student_t import StudentT
from estimhank.support.errors import ConfigError, EstimhankError
from estimhank.support.progress_event import Progress, ProgressEvent
from estimhank.support.seeds import Stream, generator
from estimhank.target.protocol import GradientLike, Target

Array = NDArray[np.float64]

_SHARE_KEPT = 0.5  # of the particles, effectively, in the weighting of one stage
_TARGET_RATE = 0.25
_MOVES = 3  # mutation steps a temperature
_WIDTH, _FREEDOM = 2.0, 5.0  # of q: standard deviations of the normal approximation at the mode, degrees of freedom


class Population(NamedTuple):
    """Particles at a temperature.

    Attributes
    ----------
    position : ndarray of shape (n, d)
    log_density, log_start : ndarray of shape (n,)
        log p (``-inf`` where infeasible) and log q.
    power : float
        b, between 0 and 1.
    log_evidence : float
        Log of the integral of q^(1-b) p^b, estimated.
    log_scale : float
        Of the proposals, in units of the particles' covariance.
    """

    position: Array
    log_density: Array
    log_start: Array
    power: float
    log_evidence: float
    log_scale: float


class MoveInfo(NamedTuple):
    """One mutation step: which particles accepted their proposals, shape (n,)."""

    accepted: NDArray[np.bool_]


def init(position: Array, log_density: Array, log_start: Array) -> Population:
    """Return a population of independent draws from q, shapes (n, d), (n,), (n,)."""
    return Population(position, log_density, log_start, 0.0, 0.0, math.log(2.38 / math.sqrt(position.shape[1])))


def log_tempered(power: float, log_density: Array, log_start: Array) -> Array:
    """(1 - b) log q + b log p, ``-inf`` where p is 0."""
    if power == 0.0:
        return log_start
    return np.where(np.isfinite(log_density), (1 - power) * log_start + power * log_density, -np.inf)


def next_power(population: Population) -> float:
    """The largest b at which the weights of the move to it have at least half of the particles effectively."""
    feasible = np.isfinite(population.log_density)
    # where p is 0 the weight falls to 0 at once, however small the step: such particles are not counted
    gap = (population.log_density - population.log_start)[feasible]

    def excess(power: float) -> float:
        w = (power - population.power) * gap
        return float(2 * logsumexp(w) - logsumexp(2 * w)) - math.log(_SHARE_KEPT * len(gap))

    if excess(1.0) >= 0:
        return 1.0
    return float(brentq(excess, population.power, 1.0, xtol=1e-12))


def reweight(rng: np.random.Generator, population: Population) -> tuple[Population, NDArray[np.int64]]:
    """Go to the next temperature and resample (systematic); the particles chosen, shape (n,), come with it."""
    power = next_power(population)
    n = len(population.position)
    log_weight = np.full(n, -np.inf)
    feasible = np.isfinite(population.log_density)
    np.subtract(population.log_density, population.log_start, out=log_weight, where=feasible)
    log_weight[feasible] *= power - population.power
    total = float(logsumexp(log_weight))
    points = (rng.random() + np.arange(n)) / n
    chosen = np.minimum(np.searchsorted(np.cumsum(np.exp(log_weight - total)), points), n - 1)
    evidence = population.log_evidence + total - math.log(n)
    moved = (population.position[chosen], population.log_density[chosen], population.log_start[chosen])
    return Population(*moved, power, evidence, population.log_scale), chosen


def step(
    rng: np.random.Generator,
    population: Population,
    log_density: Callable[[Array], Array],
    log_start: Callable[[Array], Array],
    cholesky: Array,
) -> tuple[Population, MoveInfo]:
    """Move every particle by one random-walk step N(x, s^2 L L') that leaves q^(1-b) p^b alone.

    Parameters
    ----------
    rng : Generator
    population : Population
    log_density : callable
        Maps (n, d) to (n,); called once.
    log_start : callable
        log q.
    cholesky : ndarray of shape (d, d)
        L.
    """
    x = population.position
    proposals = x + math.exp(population.log_scale) * rng.standard_normal(x.shape) @ cholesky.T
    uniform = rng.random(len(x))
    values, start = log_density(proposals), log_start(proposals)
    here = log_tempered(population.power, population.log_density, population.log_start)
    with np.errstate(divide="ignore", invalid="ignore"):
        accepted = np.log(uniform) < log_tempered(population.power, values, start) - here
    moved = population._replace(
        position=np.where(accepted[:, None], proposals, x),
        log_density=np.where(accepted, values, population.log_density),
        log_start=np.where(accepted, start, population.log_start),
    )
    return moved, MoveInfo(accepted)


def adapt_scale(population: Population, acceptance: float) -> Population:
    """The population with the scale of its proposals nearer to a quarter of acceptances."""
    return population._replace(log_scale=population.log_scale + acceptance - _TARGET_RATE)


def spread(position: Array, fallback: Array) -> Array:
    """Cholesky factor of the particles' covariance, shrunk to that of ``fallback`` where they are few; shape (d, d)."""
    n, d = position.shape
    keep = d / (n + d)
    covariance = (1 - keep) * np.cov(position.T, ddof=1).reshape(d, d) + keep * fallback
    root: Array = np.linalg.cholesky(covariance)
    return root


class NotTempered(EstimhankError):
    """The iterations ended before the particles had reached the posterior."""


@dataclass(frozen=True)
class TemperedDraws(ChainDraws):
    """Draws of the particles once they have reached the target; a chain is a particle.

    Attributes
    ----------
    powers : ndarray of shape (iterations,)
        Temperature of each mutation step.
    log_evidence : float
        Log of the integral of the density: the log marginal data density.
    cholesky : ndarray of shape (d, d)
        Of the covariance of the proposals at the target.
    """

    powers: Array
    log_evidence: float
    cholesky: Array


def run_tempered(
    recorder: Recorder,
    target: Target,
    center: Center,
    iterations: int,
    particles: int,
    gradient: GradientLike = False,
    seed: int = 0,
    stage: str = "sample",
    progress: Progress | None = None,
) -> TemperedDraws:
    """Bring a population of particles to the density of the coordinates, then let every particle run on as a chain.

    The mutation steps that are left when the target has been reached, but for the first few, which still adapt, have
    one and the same kernel; their states are what is kept.

    Parameters
    ----------
    recorder : Recorder
        Batch 0 holds the draws from q, then one batch for each mutation step of all particles.
    target : Target
    center : Center
        q is a Student t around it, twice as wide.
    iterations : int
        Mutation steps in all.
    particles : int
        More than twice the number of parameters.
    gradient : Gradient or bool
        Which gradients particles are evaluated with (for the surrogate; the steps need none).
    seed : int
        The result is a function of it, the target, the centre and the sizes.
    stage : str
    progress : callable, optional

    Raises
    ------
    ConfigError
        If there are too few particles.
    NoFeasibleState
        If the density exists at none of the first particles.
    NotTempered
        If the iterations do not suffice.
    """
    transform, d = target.transform, len(target.names)
    if particles < 2 * (d + 1):
        raise ConfigError(
            f"[sample] smc needs at least {2 * (d + 1)} particles (chains times proposals) for {d} parameters; "
            f"there are {particles}"
        )
    start = StudentT(center.x, _WIDTH**2 * center.covariance, _FREEDOM)
    x = start.sample(generator(seed, Stream.TEMPERED, 0), particles)
    batch = recorder.evaluate(stage, 0, transform.to_natural(x), gradient)
    if not batch.ok.any():
        raise NoFeasibleState(f"stage {stage}: the log density exists at none of {particles} draws around the mode")
    parts = np.stack([batch.log_likelihood, batch.log_prior])
    population = init(x, log_density_in_coordinates(target, x, batch), start.log_density(x))
    density, root = StageDensity(recorder, target, stage, gradient), np.linalg.cholesky(center.covariance)
    powers, moves = np.zeros(iterations), 0
    states: list[Array] = []
    state_parts: list[Array] = []
    accepted, infeasible = np.zeros(particles), np.zeros(particles)
    for k in range(iterations):
        rng = generator(seed, Stream.TEMPERED, k + 1)
        if population.power < 1 and moves % _MOVES == 0:
            population, chosen = reweight(rng, population)
            parts, moves = parts[:, chosen], 0
            root = spread(population.position, center.covariance)
        powers[k] = population.power
        population, info = step(rng, population, density, start.log_density, root)
        parts = np.where(info.accepted, density.last_parts, parts)
        moves += 1
        if population.power < 1 or moves <= _MOVES:
            population = adapt_scale(population, float(info.accepted.mean()))
        else:
            states.append(population.position)
            state_parts.append(parts)
            accepted += info.accepted
            infeasible += ~density.last.ok
        if progress is not None:
            message = f"temperature {population.power:.3g}, {float(info.accepted.mean()):.0%} accepted"
            progress(ProgressEvent(stage, k + 1, iterations, recorder.total(stage), message))
    if not states:
        raise NotTempered(
            f"[sample] smc has come to temperature {population.power:.3g} of 1 in {iterations} iterations: raise "
            "iterations, or the particles (chains times proposals)"
        )
    kept = np.stack(states, axis=1)
    likelihood, prior = np.stack(state_parts, axis=-1)
    return TemperedDraws(
        x=kept,
        theta=transform.to_natural(kept),
        log_likelihood=likelihood,
        log_prior=prior,
        acceptance=accepted / len(states),
        infeasible=infeasible / len(states),
        powers=powers,
        log_evidence=population.log_evidence,
        cholesky=math.exp(population.log_scale) * root,
    )
