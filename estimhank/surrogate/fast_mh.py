"""Random-walk Metropolis-Hastings on the surrogate: many chains side by side, compiled loops, whitened coordinates.

The kernel is symmetric in three kinds of moves, chosen independently of the state: a normal step at the adapted
scale, one at a fraction of it, and a jump by the difference of two members of a frozen archive (Ter Braak and Vrugt
2008), which carries chains between modes that the surrogate knows. Where the surrogate has heavy tails some moves are
along the ray from the centre, z to exp(f) z with f normal, accepted with the factor exp(d f) of the volume: they cross
tails that small steps take very long to return from. Scale, covariance and archive are adapted in a
warm-up and frozen, so every step is reversible with respect to the surrogate's density, and so is any number of them.
"""

from __future__ import annotations

import time
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from estimhank.evaluation.workers import Workers
from estimhank.surrogate.surrogate import Shape, Surrogate, SurrogateArrays, relative_log_density, relative_values

Array = NDArray[np.float64]

_SHORT, _SHORT_SHARE = 0.3, 0.1  # length and share of the short normal steps
_JUMP_SHARE = 0.05
_JUMP_NOISE = 0.05
_RADIAL_SHARE, _RADIAL_WIDTH = 0.15, 0.3  # of the moves where tails are heavy; s.d. of the log of the factor
_ARCHIVE = 512
_PHASES, _PHASE_STEPS = 8, 150
_TARGET_RATE = 0.25


class SurrogateChains(NamedTuple):
    """States of C chains: whitened coordinates (C, d), the surrogate's relative log density there (C,)."""

    z: jax.Array
    value: jax.Array


class Proposal(NamedTuple):
    """What the kernel moves by: step scale, lower root (d, d) of the covariance, archive of draws (a, d), the first
    ``archived`` of which count: its size is the same whatever their number, so that no other one is compiled for."""

    scale: jax.Array
    root: jax.Array
    archive: jax.Array
    archived: jax.Array


def start_chains(surrogate: Surrogate, z: NDArray[np.float32]) -> SurrogateChains:
    """States at whitened coordinates of shape (C, d)."""
    return SurrogateChains(
        jnp.asarray(z, jnp.float32), jnp.asarray(relative_values(surrogate.parameters, z, surrogate.shape))
    )


def _propose(key: jax.Array, z: jax.Array, proposal: Proposal, stretch: jax.Array) -> jax.Array:
    kinds, noise, first, second = jax.random.split(key, 4)
    n, d = z.shape
    kind = jax.random.uniform(kinds, (n,), jnp.float32)
    jump = kind < _JUMP_SHARE
    short = kind > 1 - _SHORT_SHARE
    normal = jax.random.normal(noise, (n, d), jnp.float32) @ proposal.root.T
    length = proposal.scale * jnp.where(short, jnp.float32(_SHORT), 1) * stretch
    a = jax.random.randint(first, (n,), 0, proposal.archived)
    b = jax.random.randint(second, (n,), 0, proposal.archived)
    leap = proposal.archive[a] - proposal.archive[b] + jnp.float32(_JUMP_NOISE) * normal
    return z + jnp.where(jump[:, None], leap, length[:, None] * normal)


def _stretch_rays(key: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Which chains move along the ray from the centre, where to, and the logarithm of the volume's factor."""
    which, length = jax.random.split(key)
    radial = jax.random.uniform(which, (len(z),), jnp.float32) < _RADIAL_SHARE
    factor = _RADIAL_WIDTH * jax.random.normal(length, (len(z),), jnp.float32)
    return radial, z * jnp.exp(factor)[:, None], z.shape[1] * factor


def _step(
    parameters: SurrogateArrays,
    chains: SurrogateChains,
    key: jax.Array,
    proposal: Proposal,
    power: jax.Array,
    shape: Shape,
) -> tuple[SurrogateChains, jax.Array]:
    """One step of every chain on the density to its ``power`` (C,); returns states and whether they moved."""
    move, coin = jax.random.split(key)
    z = _propose(move, chains.z, proposal, jax.lax.rsqrt(power))
    volume: jax.Array | float = 0.0
    if shape.heavy:
        radial, stretched, factor = _stretch_rays(jax.random.fold_in(key, 1), chains.z)
        z, volume = jnp.where(radial[:, None], stretched, z), jnp.where(radial, factor, 0)
    value = relative_log_density(parameters, z, shape)
    uniform = jax.random.uniform(coin, power.shape, jnp.float32)
    # false for nan: such a place is never entered
    accept = jnp.log(uniform) < power * (value - chains.value) + volume
    return SurrogateChains(jnp.where(accept[:, None], z, chains.z), jnp.where(accept, value, chains.value)), accept


@partial(jax.jit, static_argnames="shape")
def run_steps(
    parameters: SurrogateArrays,
    chains: SurrogateChains,
    key: jax.Array,
    proposal: Proposal,
    power: jax.Array,
    steps: jax.Array,
    shape: Shape,
) -> tuple[SurrogateChains, jax.Array]:
    """Run each chain c for ``steps[c]`` steps; returns states and the share of all steps that were accepted."""

    def body(i: jax.Array, carry: tuple[SurrogateChains, jax.Array]) -> tuple[SurrogateChains, jax.Array]:
        now, moved = carry
        after, accept = _step(parameters, now, jax.random.fold_in(key, i), proposal, power, shape)
        going = i < steps
        z = jnp.where(going[:, None], after.z, now.z)
        return SurrogateChains(z, jnp.where(going, after.value, now.value)), moved + jnp.sum(accept & going)

    last, moved = jax.lax.fori_loop(0, steps.max(), body, (chains, jnp.zeros((), jnp.int64)))
    return last, moved / jnp.maximum(steps.sum(), 1)


class FastDraws(NamedTuple):
    """Draws of the surrogate.

    Attributes
    ----------
    z : ndarray of float32, shape (chain, draw, d)
        Whitened coordinates.
    acceptance : float
        Share of the steps that were accepted.
    seconds : float
        Wall time of the steps, without compilation.
    steps : int
        Steps of all chains together.
    """

    z: NDArray[np.float32]
    acceptance: float
    seconds: float
    steps: int


def warm_up(
    surrogate: Surrogate, starts: NDArray[np.float32], power: Array, seed: int, phases: int = _PHASES
) -> tuple[SurrogateChains, Proposal]:
    """Burn chains in and adapt the proposals to the chains at power 1; both are then frozen.

    Parameters
    ----------
    surrogate : Surrogate
    starts : ndarray of shape (C, d)
        Whitened coordinates.
    power : ndarray of shape (C,)
        Power of the density that each chain samples; adaptation uses the states divided by the square root of theirs.
    seed : int
    phases : int
        Of 150 steps each, adaptation between them.
    """
    d = starts.shape[1]
    keys = jax.random.split(jax.random.key(seed), phases)
    powers = jnp.asarray(power, jnp.float32)
    steps = jnp.full(len(starts), _PHASE_STEPS)
    chains = start_chains(surrogate, starts)
    scale = 2.38 / np.sqrt(d)
    proposal = _proposal(np.asarray(starts, float), scale, np.eye(d))
    for phase in range(phases):
        chains, rate = run_steps(surrogate.parameters, chains, keys[phase], proposal, powers, steps, surrogate.shape)
        scale = float(np.clip(scale * np.exp(1.5 * (float(rate) - _TARGET_RATE)), 1e-3, 10.0))
        cold = np.asarray(chains.z, float)[power == 1.0]
        proposal = _proposal(cold, scale, _spread(cold))
    return chains, proposal


def _spread(z: Array) -> Array:
    """Covariance of the states, drawn to its diagonal where there are few."""
    n, d = z.shape
    covariance = np.atleast_2d(np.cov(z.T))
    share = d / (n + d)
    found: Array = (1 - share) * covariance + share * np.diag(np.maximum(np.diag(covariance), 1e-6))
    return found


def _proposal(states: Array, scale: float, covariance: Array) -> Proposal:
    archive, archived = np.zeros((_ARCHIVE, states.shape[1]), np.float32), min(len(states), _ARCHIVE)
    archive[:archived] = states[np.linspace(0, len(states) - 1, archived).astype(int)]
    root = np.linalg.cholesky(covariance)
    return Proposal(
        jnp.asarray(scale, jnp.float32), jnp.asarray(root, jnp.float32), jnp.asarray(archive), jnp.asarray(archived)
    )


class _Part(NamedTuple):
    """What :func:`draw_part` draws: some of the chains, under a key of their own."""

    chains: SurrogateChains
    seed: int
    part: int
    parts: int


def draw(
    surrogate: Surrogate,
    chains: SurrogateChains,
    proposal: Proposal,
    draws: int,
    thin: int,
    seed: int,
    workers: Workers,
    parts: int = 2,
) -> FastDraws:
    """Draw ``draws`` states a chain, ``thin`` steps apart, with frozen proposals.

    Chains are split into ``parts`` where their number allows it, which workers draw side by side. The split does not
    depend on how many there are, so neither do the draws.
    """
    count = len(chains.value)
    parts = parts if count % parts == 0 else 1
    size = count // parts
    parameters, moves, states = jax.tree.map(np.asarray, (surrogate.parameters, proposal, chains))
    split = [
        _Part(jax.tree.map(lambda a, k=k: a[k * size : (k + 1) * size], states), seed, k, parts) for k in range(parts)
    ]
    results = workers.map(draw_part, [(parameters, part, moves, surrogate.shape, draws, thin) for part in split])
    seconds = _covered([times for *_, times in results])
    z = np.concatenate([part for part, *_ in results])
    return FastDraws(z, float(np.mean([moved for _, moved, _ in results])), seconds, count * draws * thin)


def _covered(spans: list[tuple[float, float]]) -> float:
    """Seconds that spans (begun, ended) cover together: those of parts side by side count once."""
    total, until = 0.0, -np.inf
    for begun, ended in sorted(spans):
        total += max(ended - max(begun, until), 0.0)
        until = max(until, ended)
    return max(total, 1e-9)


def draw_part(
    parameters: SurrogateArrays, part: _Part, proposal: Proposal, shape: Shape, draws: int, thin: int
) -> tuple[NDArray[np.float32], float, tuple[float, float]]:
    """Draws of some of the chains, (chain, draw, d), the share of steps accepted, and when that began and ended; in a
    worker."""
    parameters, chains, proposal = jax.tree.map(jnp.asarray, (parameters, part.chains, proposal))
    key = jax.random.split(jax.random.key(part.seed), part.parts)[part.part]
    powers, steps = jnp.ones(len(chains.value), jnp.float32), jnp.full(len(chains.value), thin)

    def advance(now: SurrogateChains, key: jax.Array) -> tuple[SurrogateChains, jax.Array]:
        after: tuple[SurrogateChains, jax.Array] = run_steps(parameters, now, key, proposal, powers, steps, shape)
        return after

    jax.block_until_ready(advance(chains, key))  # compiled, before the clock begins
    begun = time.time()
    kept, moved = [], []
    # a call for each draw, so that their number is no part of what is compiled
    for one in np.asarray(jax.random.key_data(jax.random.split(key, draws))):
        chains, rate = advance(chains, jax.random.wrap_key_data(one))
        kept.append(chains.z)
        moved.append(rate)
    z = np.stack([np.asarray(states) for states in kept])
    ended = time.time()
    return z.swapaxes(0, 1), float(np.mean([float(rate) for rate in moved])), (begun, ended)
