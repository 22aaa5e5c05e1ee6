"""The one loop of all samplers: an iteration of every chain, the densities of its states, what is kept, progress.

An algorithm is a *kernel*, a pure function ``step(rng, state, density, ...) -> (state, info)`` that leaves the target
alone, and a :class:`Sampler`, which holds the chains' state and what adapts, and calls the kernel. The loop is
:func:`run_chains`. What the tests of invariance call is the kernel that runs.

A stage's batches are numbered, and each has random numbers of its own. So a run that was killed is resumed by running
it again: the store answers until it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from estimhank.evaluation.evaluations import EvaluationBatch
from estimhank.evaluation.recorder import Recorder
from estimhank.sampling.diagnostics import RunningRHat
from estimhank.sampling.proposals import Center, NoFeasibleState
from estimhank.support.progress_event import Progress, ProgressEvent
from estimhank.support.seeds import generator
from estimhank.target.protocol import GradientLike, Target

Array = NDArray[np.float64]

_START_TRIES = 8
_OVERDISPERSION = 1.5


@dataclass(frozen=True, kw_only=True)
class ChainConfig:
    """Sizes of a run.

    Attributes
    ----------
    iterations, warmup : int
        Iterations of each chain, and how many of them, at the beginning, adapt the proposals and are not kept.
    chains : int
        Chains, members or particles; they share what adapts.
    gradient : Gradient or bool
        Which gradients proposals are evaluated with (for the surrogate; most chains need none).
    """

    iterations: int = 5_000
    warmup: int = 500
    chains: int = 8
    gradient: GradientLike = False

    def __post_init__(self) -> None:
        for name in ("iterations", "chains"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, it is {getattr(self, name)}")
        if not 0 <= self.warmup < self.iterations:
            raise ValueError(f"warmup ({self.warmup}) must be at least 0 and below iterations ({self.iterations})")


@dataclass(frozen=True)
class Draws:
    """Draws after the warm-up; what else an algorithm tells is in its own class.

    Attributes
    ----------
    x, theta : ndarray of shape (chains, kept, d)
        Coordinates and natural units.
    log_likelihood, log_prior : ndarray of shape (chains, kept)
        Of the very states in ``theta``.
    infeasible : ndarray of shape (chains,)
        Share of the proposals without a density.
    """

    x: Array
    theta: Array
    log_likelihood: Array
    log_prior: Array
    infeasible: Array


@dataclass(frozen=True)
class ChainDraws(Draws):
    """Draws of chains that are one state an iteration.

    Attributes
    ----------
    acceptance : ndarray of shape (chains,)
        Share of the proposals accepted after the warm-up.
    """

    acceptance: Array


@dataclass
class StageDensity:
    """Log density at points x of shape (n, d), evaluated as the stage's next batch; call it.

    Attributes
    ----------
    recorder : Recorder
    target : Target
    stage : str
    gradient : Gradient or bool
        Which gradients points are evaluated with.
    forgets : bool
        Whether only the states that chains are in are remembered, and what was evaluated since; a sampler that goes
        back to other points needs all.
    next_batch : int
        Number of the next batch.
    last : EvaluationBatch
        The batch evaluated last.
    """

    recorder: Recorder
    target: Target
    stage: str
    gradient: GradientLike = False
    forgets: bool = True
    next_batch: int = 0
    last: EvaluationBatch = field(init=False, repr=False)
    _parts: dict[bytes, tuple[float, float]] = field(default_factory=dict, init=False, repr=False)

    def __call__(self, x: Array) -> Array:
        """Log density of the coordinates, ``-inf`` where there is none; shape (n,)."""
        return self._evaluate(x, self.gradient)

    def _evaluate(self, x: Array, gradient: GradientLike) -> Array:
        theta = self.target.transform.to_natural(x)
        self.last = self.recorder.evaluate(self.stage, self.next_batch, theta, gradient)
        self.next_batch += 1
        parts = zip(self.last.log_likelihood, self.last.log_prior, strict=True)
        self._parts.update(zip((point.tobytes() for point in x), parts, strict=True))
        return self.last.log_density + self.target.transform.log_jacobian(x)

    def start(
        self, center: Center, chains: int, rng: np.random.Generator, tries: int = _START_TRIES
    ) -> tuple[Array, Array]:
        """First states of all chains, (chain, d), and their log densities.

        Overdispersed draws of the normal approximation, the first of ``tries`` per chain that has a density; the centre
        itself is the last resort of every chain.

        Raises
        ------
        NoFeasibleState
            If a chain has none, the centre included.
        """
        root = np.linalg.cholesky(center.covariance)
        noise = rng.standard_normal((chains, tries, len(center.x)))
        candidates = center.x + _OVERDISPERSION * noise @ root.T
        candidates[:, -1] = center.x
        flat = candidates.reshape(-1, len(center.x))
        values = self._evaluate(flat, False)
        ok = self.last.ok.reshape(chains, tries)
        if not ok.any(axis=1).all():
            raise NoFeasibleState(
                f"stage {self.stage}: the log density exists neither at the mode nor at draws around it"
            )
        rows = np.arange(chains) * tries + ok.argmax(axis=1)
        return flat[rows], values[rows]

    def parts(self, x: Array) -> Array:
        """Log likelihood and log prior, shape (2, chain, m), at states of shape (chain, m, d) that were evaluated."""
        keys = [point.tobytes() for point in x.reshape(-1, x.shape[-1])]
        if self.forgets:
            self._parts = {key: self._parts[key] for key in keys}
        return np.array([self._parts[key] for key in keys]).T.reshape(2, *x.shape[:-1])


class Algorithm(Protocol):
    """A sampler of the density of a target's coordinates, under its name in ``ALGORITHMS``.

    Parameters
    ----------
    recorder : Recorder
        Evaluations go through it, in numbered batches of the stage: batch 0 holds candidates for the starting states,
        then comes one for every step of all chains.
    target : Target
    center : Center
        Normal approximation at the mode; chains start overdispersed around it.
    config : ChainConfig
    seed : int
        The result is a function of it, the target, the centre and the sizes.
    progress : callable, optional
        Told after each iteration.
    stage : str
        Under which evaluations are kept.

    Raises
    ------
    ConfigError
        If the sizes do not suffice for the algorithm.
    NoFeasibleState
        If the density exists neither at the centre nor around it.
    """

    def __call__(
        self,
        recorder: Recorder,
        target: Target,
        center: Center,
        config: Any,
        seed: int = 0,
        progress: Progress | None = None,
        stage: str = "sample",
    ) -> Draws: ...


class Iteration(NamedTuple):
    """One iteration of all chains.

    Attributes
    ----------
    draws : ndarray of shape (chain, m, d)
        States drawn, in order; each chain is in the last of its own.
    infeasible : ndarray of shape (chain,)
        Share of the proposals without a density.
    kept : bool
        Whether the draws count: nothing adapts any more.
    words : str
        For the progress.
    info : object
        What else the algorithm tells.
    """

    draws: Array
    infeasible: Array | NDArray[np.bool_]
    kept: bool
    words: str
    info: Any = None


class Sampler(Protocol):
    """Chains of one algorithm: their state, and what adapts."""

    density: StageDensity

    def advance(self, k: int, random: Callable[[], np.random.Generator]) -> Iteration:
        """Iteration k; ``random()`` gives the random numbers of the next batch."""
        ...


def run_chains(
    sampler: Sampler, iterations: int, seed: int, stream: int, progress: Progress | None, events: int | None = None
) -> tuple[dict[str, Array], list[Iteration]]:
    """Run chains.

    Parameters
    ----------
    sampler : Sampler
    iterations, seed, stream : int
        ``stream`` is that of the algorithm's random numbers.
    progress : callable, optional
    events : int, optional
        How often it is told, about; by default after each iteration.

    Returns
    -------
    dict, and list of Iteration
        The fields of :class:`Draws`, and the iterations that were kept; the former is empty if there are none.
    """
    density, running = sampler.density, RunningRHat()
    kept: list[Iteration] = []
    states: list[Array] = []
    parts: list[Array] = []
    every = max(1, iterations // events) if events else 1
    for k in range(iterations):
        told = sampler.advance(k, lambda: generator(seed, stream, density.next_batch))
        found = density.parts(told.draws)
        if told.kept:
            kept.append(told)
            states.append(told.draws[:, -1])
            parts.append(found)
        if progress is not None and ((k + 1) % every == 0 or k + 1 == iterations):
            message = told.words + running(states)
            progress(ProgressEvent(density.stage, k + 1, iterations, density.recorder.total(density.stage), message))
    if not kept:
        return {}, kept
    x = np.concatenate([told.draws for told in kept], axis=1)
    likelihood, prior = np.concatenate(parts, axis=-1)
    fields = {"x": x, "theta": density.target.transform.to_natural(x), "log_likelihood": likelihood, "log_prior": prior}
    return {**fields, "infeasible": mean([told.infeasible for told in kept])}, kept


def mean(values: Sequence[NDArray[Any]]) -> Array:
    """Mean of arrays of the same shape, added in their order."""
    found: Array = sum(values[1:], np.asarray(values[0], float)) / len(values)
    return found
