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
from estimhank.sampling.chains import ChainConfig, ChainDraws, Iteration, StageDensity, mean, run_chains
from estimhank.sampling.proposals import Center, NoFeasibleState
from estimhank.sampling.student_t import StudentT
from estimhank.support.errors import ConfigError, EstimhankError
from estimhank.support.progress_event import Progress
from estimhank.support.seeds import Stream, generator
from estimhank.target.protocol import Target

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


class _Particles:
    def __init__(self, density: StageDensity, population: Population, start: StudentT, center: Center) -> None:
        self.density, self.population, self.start, self.covariance = density, population, start, center.covariance
        self.root, self.moves = np.linalg.cholesky(center.covariance), 0
        self.powers: list[float] = []

    def advance(self, k: int, random: Callable[[], np.random.Generator]) -> Iteration:
        """See :class:`estimhank.sampling.chains.Sampler`; what adapts ends a few moves after the target is reached."""
        rng = random()
        if self.population.power < 1 and self.moves % _MOVES == 0:
            self.population, _ = reweight(rng, self.population)
            self.root, self.moves = spread(self.population.position, self.covariance), 0
        self.powers.append(self.population.power)
        self.population, info = step(rng, self.population, self.density, self.start.log_density, self.root)
        self.moves += 1
        rate, kept = float(info.accepted.mean()), not (self.population.power < 1 or self.moves <= _MOVES)
        if not kept:
            self.population = adapt_scale(self.population, rate)
        words = f"temperature {self.population.power:.3g}, {rate:.0%} accepted"
        return Iteration(self.population.position[:, None], ~self.density.last.ok, kept, words, info)


def run_tempered(
    recorder: Recorder,
    target: Target,
    center: Center,
    config: ChainConfig,
    seed: int = 0,
    progress: Progress | None = None,
    stage: str = "sample",
) -> TemperedDraws:
    """Bring a population of particles to the density of the coordinates, then let every particle run on as a chain.

    The mutation steps that are left when the target has been reached, but for the first few, which still adapt, have
    one and the same kernel; their states are what is kept.

    Arguments and errors as of :class:`estimhank.sampling.chains.Algorithm`: iterations are mutation steps, chains are
    particles, more than twice the number of parameters, and the warm-up is not used. Batch 0 holds draws from q, a
    Student t around the centre, twice as wide.

    Raises
    ------
    NotTempered
        If the iterations do not suffice.
    """
    d, particles = len(target.names), config.chains
    if particles < 2 * (d + 1):
        raise ConfigError(
            f"[sample] smc needs at least {2 * (d + 1)} particles (chains times proposals) for {d} parameters; "
            f"there are {particles}"
        )
    density = StageDensity(recorder, target, stage, config.gradient)
    start = StudentT(center.x, _WIDTH**2 * center.covariance, _FREEDOM)
    x = start.sample(generator(seed, Stream.TEMPERED, 0), particles)
    population = init(x, density(x), start.log_density(x))
    if not density.last.ok.any():
        raise NoFeasibleState(f"stage {stage}: the log density exists at none of {particles} draws around the mode")
    sampler = _Particles(density, population, start, center)
    draws, kept = run_chains(sampler, config.iterations, seed, Stream.TEMPERED, progress)
    population = sampler.population
    if not kept:
        raise NotTempered(
            f"[sample] smc has come to temperature {population.power:.3g} of 1 in {config.iterations} iterations: "
            "raise iterations, or the particles (chains times proposals)"
        )
    return TemperedDraws(
        **draws,
        acceptance=mean([told.info.accepted for told in kept]),
        powers=np.array(sampler.powers),
        log_evidence=population.log_evidence,
        cholesky=math.exp(population.log_scale) * sampler.root,
    )
