"""NUTS on the exact density (Hoffman and Gelman 2014), as blackjax has it, evaluated by the engine and kept.

blackjax wants a log density that JAX can trace. It gets one that calls back for values and gradients at one point of
every chain. The chains run in lockstep, so a call is a batch for all workers; a chain whose trajectory has ended while
others go on asks for the same point again and is answered from memory. What is evaluated, and in which batch, follows
from the seed alone, and a resumed run is served from the store.

Chains move in coordinates in which the normal approximation at the mode is standard, which stands for a mass matrix;
the step size adapts in the warm-up by dual averaging, each chain for itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from estimhank.evaluation.executors import IN_PROCESS
from estimhank.evaluation.recorder import Recorder
from estimhank.sampling.chains import ChainConfig, ChainDraws, Iteration, StageDensity, mean, run_chains
from estimhank.sampling.proposals import Center
from estimhank.support.errors import ConfigError
from estimhank.support.extras import NUTS
from estimhank.support.progress_event import Progress
from estimhank.support.seeds import Stream, generator
from estimhank.target.protocol import Target

Array = NDArray[np.float64]

_TARGET_RATE, _FIRST_STEP = 0.8, 0.5
_FEWEST_WARMUP = 20


@dataclass(frozen=True)
class NutsDraws(ChainDraws):
    """Draws of NUTS; ``acceptance`` is the mean acceptance probability along the trajectories,
    ``infeasible`` the share of all points without a density, the same for every chain.

    Attributes
    ----------
    divergent : ndarray of shape (chains,)
        Share of the trajectories that diverged or left the feasible region.
    step_size : ndarray of shape (chains,)
    trajectory : ndarray of shape (chains,)
        Mean number of leapfrog steps.
    """

    divergent: Array
    step_size: Array
    trajectory: Array


class Answers:
    """Values and gradients by point: every point of a chain is evaluated once, however often it is asked for.

    Attributes
    ----------
    known : dict
        By the bytes of a point: value and gradient in the chains' coordinates, and coordinates x.
    error : BaseException, optional
        What an evaluation raised; from then on no point has a density, so that trajectories end at once, and whoever
        runs the chains raises it.
    """

    def __init__(self, density: StageDensity, center: Center) -> None:
        self.density, self._center = density, center.x
        self._root = np.linalg.cholesky(center.covariance)
        self.known: dict[bytes, tuple[Any, ...]] = {}
        self.error: BaseException | None = None

    def to_chain(self, x: Array) -> Array:
        """Coordinates in which the chains move, from those of the target; shape (n, d)."""
        moved: Array = np.linalg.solve(self._root, (x - self._center).T).T
        return moved

    def x_at(self, points: Array) -> Array:
        """Coordinates x, shape (n, d), of points that were asked for: to the bit, nothing is computed again."""
        return np.array([self.known[point.tobytes()][2] for point in points])

    def __call__(self, points: Array) -> tuple[Array, Array]:
        """Log densities (n,) and gradients (n, d) at points (n, d) of the chains' coordinates."""
        points = np.array(points, float)
        new = list({p.tobytes(): p for p in points if p.tobytes() not in self.known}.values())
        if new and self.error is None:
            try:
                self._evaluate(np.stack(new))
            except BaseException as error:  # a callback would bury it in an error of XLA's
                self.error = error
        if self.error is not None:
            return np.full(len(points), -np.inf), np.zeros(points.shape)
        rows = [self.known[point.tobytes()] for point in points]
        return np.array([row[0] for row in rows]), np.array([row[1] for row in rows])

    def _evaluate(self, z: Array) -> None:
        x = self._center + z @ self._root.T
        values, batch = self.density(x), self.density.last
        # without a gradient the momentum stays: any force that depends on the place alone leaves the method exact
        usable = np.where(batch.ok[:, None] & np.isfinite(batch.gradient), batch.gradient, 0.0)
        gradients = self.density.target.transform.gradient_to_unconstrained(x, usable) @ self._root
        gradients = np.where(batch.ok[:, None], gradients, 0.0)
        rows = zip(values, gradients, x, strict=True)
        self.known.update({point.tobytes(): row for point, row in zip(z, rows, strict=True)})


def traceable(answers: Callable[[Array], tuple[Array, Array]], d: int) -> Callable[[jax.Array], jax.Array]:
    """A log density of a point (d,) for JAX, to be mapped over chains; values and gradients come from ``answers``."""
    shapes = jax.ShapeDtypeStruct((), jnp.float64), jax.ShapeDtypeStruct((d,), jnp.float64)

    def call(point: Any) -> tuple[Array, Array]:
        points = np.asarray(point, float)
        values, gradients = answers(points.reshape(-1, d))
        return values.reshape(points.shape[:-1]), gradients.reshape(points.shape)

    def ask(point: jax.Array) -> Any:
        return jax.pure_callback(call, shapes, point, vmap_method="broadcast_all")

    @jax.custom_vjp
    def log_density(point: jax.Array) -> jax.Array:
        value: jax.Array = ask(point)[0]
        return value

    def backward(gradient: jax.Array, cotangent: jax.Array) -> tuple[jax.Array]:
        return (cotangent * gradient,)

    log_density.defvjp(ask, backward)
    return log_density


class _Trajectories:
    def __init__(self, answers: Answers, x: Array, keys: jax.Array, warmup: int) -> None:
        import blackjax
        from blackjax.adaptation.step_size import dual_averaging_adaptation

        chains, d = x.shape
        log_density = traceable(answers, d)

        def step(key: jax.Array, state: Any, size: jax.Array) -> Any:
            return blackjax.nuts(log_density, size, jnp.ones(d)).step(key, state)

        def begin(point: jax.Array) -> Any:
            return blackjax.nuts.init(point, log_density)

        first_size, self._update_size, self._final_size = (jax.vmap(f) for f in dual_averaging_adaptation(_TARGET_RATE))
        self.density, self.answers, self.warmup, self._keys = answers.density, answers, warmup, keys
        self._step = jax.jit(jax.vmap(step))
        self._state = self._finished(jax.jit(jax.vmap(begin))(answers.to_chain(x)))
        self._learnt = first_size(jnp.full(chains, _FIRST_STEP))

    def advance(self, k: int, random: Callable[[], np.random.Generator]) -> Iteration:
        """See :class:`estimhank.sampling.chains.Sampler`; random numbers are JAX's, by iteration."""
        learnt, keys = self._learnt, jax.vmap(jax.random.fold_in, (0, None))(self._keys, k)
        self.sizes = jnp.exp(learnt.log_step_size) if k < self.warmup else self._final_size(learnt)
        self._state, info = self._finished(self._step(keys, self._state, self.sizes))
        if k < self.warmup:
            self._learnt = self._update_size(learnt, info.acceptance_rate)
        told = np.array([info.acceptance_rate, info.is_divergent, info.num_integration_steps], float)
        x = self.answers.x_at(np.asarray(self._state.position))
        words = f"{told[0].mean():.0%} accepted, {told[2].mean():.0f} points a trajectory"
        # of all points the same share for every chain, at the end
        return Iteration(x[:, None], np.zeros(len(x)), k >= self.warmup, words, told)

    def _finished(self, result: Any) -> Any:
        """A result of JAX's, complete; what an evaluation raised on the way is raised here."""
        jax.block_until_ready(result)
        if self.answers.error is not None:
            raise self.answers.error
        return result


def run_nuts(
    recorder: Recorder,
    target: Target,
    center: Center,
    config: ChainConfig,
    seed: int = 0,
    progress: Progress | None = None,
    stage: str = "sample",
) -> NutsDraws:
    """Run NUTS chains, in units of the centre.

    Arguments and errors as of :class:`estimhank.sampling.chains.Algorithm`: an iteration is a trajectory, a batch one
    new point of every chain that needs one, with its gradient.

    Raises
    ------
    ConfigError
        If blackjax is not installed, the target has no gradients, the warm-up is too short to adapt, or evaluations
        are made in this process.
    """
    if NUTS.missing:
        raise ConfigError(NUTS.sentence)
    if not target.has_gradient:
        raise ConfigError("[sample] nuts needs gradients, and this log density has none: choose another algorithm")
    if config.warmup < _FEWEST_WARMUP:
        raise ConfigError(f"[sample] nuts needs a warmup of at least {_FEWEST_WARMUP} to adapt, it is {config.warmup}")
    if recorder.engine.backend in IN_PROCESS:
        # XLA has one thread a process, and the one that calls back would wait for an evaluation that needs it
        raise ConfigError(
            f"[sample] nuts needs worker processes, which the {recorder.engine.backend} backend has not: "
            'choose backend = "loky" (workers = 1 is enough), or another algorithm'
        )
    density = StageDensity(recorder, target, stage, gradient=True, forgets=False)
    x, _ = density.start(center, config.chains, generator(seed, Stream.NUTS, 0))
    key = jax.random.key(int(generator(seed, Stream.NUTS, 1).integers(2**63)))
    answers = Answers(density, center)
    trajectories = _Trajectories(answers, x, jax.random.split(key, config.chains), config.warmup)
    draws, kept = run_chains(trajectories, config.iterations, seed, Stream.NUTS, progress)
    acceptance, divergent, trajectory = mean([told.info for told in kept])
    values = np.array([row[0] for row in answers.known.values()])
    draws["infeasible"] = np.full(config.chains, 1.0 - np.isfinite(values).mean())
    return NutsDraws(
        **draws,
        acceptance=acceptance,
        divergent=divergent,
        step_size=np.asarray(trajectories.sizes),
        trajectory=trajectory,
    )
