"""Evaluate a log density at many points on many workers; the same bits come from any number of them."""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future, as_completed, wait
from typing import Any, NamedTuple, Self

import cloudpickle
import numpy as np
from joblib import cpu_count
from numpy.typing import NDArray

from estimhank.evaluation.evaluations import EvaluationBatch
from estimhank.evaluation.executors import (
    BACKENDS,
    IN_PROCESS,
    WAIT,
    BackendWarning,
    WorkerPool,
    may_start_processes,
    open_pool,
)
from estimhank.evaluation.worker import (
    EvaluationError,
    TargetMissing,
    call,
    call_target,
    compile_evaluation,
    compile_outlined,
    evaluate_points,
    evaluate_together,
)
from estimhank.evaluation.workers import InTurn
from estimhank.support.errors import ConfigError, EstimhankError
from estimhank.support.runtime import compiled_anew
from estimhank.target.protocol import CompiledTarget, Gradient, GradientLike, Target, VectorizedTarget

Array = NDArray[np.float64]

_MOST_LOSSES = 3
_MOST_CALLS = 8  # to one worker in one batch; evenness gains nothing from more


class WorkersDied(EstimhankError):
    """Workers died again and again."""

    exit_code = 5


class WorkersLost(WorkersDied):
    """Workers died again and again on the same points.

    Attributes
    ----------
    theta : ndarray of shape (d,)
        The first of the points, natural units.
    names : tuple of str
    cause, details : str
        As those of :class:`~estimhank.evaluation.worker.EvaluationError`.
    """

    def __init__(self, theta: Array, names: tuple[str, ...], times: int) -> None:
        point = ", ".join(f"{name} = {float(value)!r}" for name, value in zip(names, theta, strict=True))
        super().__init__(
            f"worker processes died {times} times (out of memory?) while evaluating points that begin at {point}"
        )
        self.theta, self.names = np.array(theta, float), tuple(names)
        self.cause, self.details = f"the death of a worker process, {times} times", ""


class _Unfinished(Exception):
    """Workers died too often to finish call number ``index``."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


class _Job(NamedTuple):
    """What every call of a batch has in common: a function, and whether its first argument is the target."""

    function: Callable[..., Any]
    of_target: bool


class Engine:
    """Workers that evaluate one target. Use it in a ``with`` block: it starts them and ends them.

    Each point is evaluated on its own by a single-threaded process, and a batch comes back in the order in which it was
    given, so the backend, the number of workers and how points are spread over them leave no trace in the numbers. A
    worker receives the target once and keeps it, and whatever it compiled for it, for as long as the worker lives.

    Parameters
    ----------
    target : Target
    backend : {"loky", "dask", "serial", "vectorized"}
        ``"serial"`` evaluates in this process, point by point; ``"vectorized"`` too, but a batch in one call, which the
        target must offer (:func:`estimhank.target.batching.vectorize`) and whose values agree to 1e-8, not to the bit.
    workers : int
        Worker processes; 0 takes one for each core. With a running dask scheduler: how many workers to wait for.
    scheduler : str
        Address of a running dask scheduler; empty starts a local one.
    wait : float
        Seconds to wait for the scheduler's workers.
    """

    def __init__(
        self, target: Target, backend: str = "loky", workers: int = 2, scheduler: str = "", wait: float = WAIT
    ) -> None:
        if backend not in BACKENDS:
            raise ConfigError(f"unknown backend {backend!r}: choose one of {', '.join(BACKENDS)}")
        if workers < 0:
            raise ConfigError(f"the number of workers must not be negative, it is {workers}")
        if backend == "vectorized" and not isinstance(target, VectorizedTarget):
            raise ConfigError("the backend 'vectorized' needs what estimhank.target.batching.vectorize makes")
        self.target = target
        self.backend = backend
        self._scheduler, self._wait = (scheduler if backend == "dask" else ""), wait
        if backend not in IN_PROCESS and not self._scheduler and not may_start_processes():
            self._go_on_alone("this process is daemonic, one of a pool's or a scheduler's, and may not start others")
        backend = self.backend
        self.workers = 1 if backend in IN_PROCESS else workers or (0 if self._scheduler else cpu_count())
        self._held: list[WorkerPool] = []  # one at most; the same list for engines beside each other
        self._seconds = 0.004  # of one evaluation, to begin with
        self._payload = b""
        self._key = ""
        self._compiled = backend in IN_PROCESS or not isinstance(target, CompiledTarget)
        #: Modules that workers of this machine import as they start: seconds in which they would wait otherwise.
        self.ahead: tuple[str, ...] = (type(target).__module__,)
        #: Told what workers are busy with, where it can take long.
        self.notice: Callable[[str], None] = lambda words: None

    def beside(self, target: Target) -> Engine:
        """An engine for another target on the same workers, each of which keeps a copy of both; closing one closes
        both."""
        other = Engine(target, self.backend, self.workers, self._scheduler, self._wait)
        other._held, other.ahead, other.notice = self._held, self.ahead, self.notice
        return other

    @property
    def _pool(self) -> WorkerPool | None:
        return self._held[0] if self._held else None

    @_pool.setter
    def _pool(self, pool: WorkerPool | None) -> None:
        self._held[:] = [] if pool is None else [pool]

    def _go_on_alone(self, why: str) -> None:
        """Evaluate in this process instead; the numbers are the same."""
        warnings.warn(f"evaluations run in this process, without workers: {why}", BackendWarning, stacklevel=3)
        self.backend, self.workers = "serial", 1

    def _begin(self, with_target: bool = True) -> None:
        """Start the workers, if this has to be done and can be; solve the target that they are to receive."""
        if self.backend in IN_PROCESS or (self._pool is not None and self._payload):
            return
        try:
            if with_target:
                self._open_pool()
            else:
                self._start_pool()
        except (OSError, NotImplementedError, ImportError) as error:
            if self._scheduler:
                raise
            self._go_on_alone(f"this machine starts no worker processes ({type(error).__name__}: {error})")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        self.close(at_once=kind is not None)

    def close(self, at_once: bool = False) -> None:
        """End the workers, ``at_once`` without letting them finish; using the engine again starts new ones."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            pool.close(at_once)

    def start(self) -> None:
        """Start the workers, who load what they will run while this process has other things to do."""
        self._begin(with_target=False)
        if self._pool is not None:
            self._pool.executor.submit(os.getpid)

    def _prepare(self, target: CompiledTarget) -> None:
        """Solve the target. On a machine that has not compiled it yet, workers begin with what takes longest: what they
        leave is in the cache of compiled code."""
        early = []
        if compiled_anew():
            target.outline()
            self._begin(with_target=False)
            if self.backend not in IN_PROCESS:
                payload = cloudpickle.dumps(target)
                key = hashlib.sha256(payload).hexdigest()
                submit = self._start_pool().executor.submit
                early = [submit(call_target, key, payload, compile_outlined, (further,)) for further in (False, True)]
        target.prepare()
        wait(early)

    def _compile(self) -> None:
        """Have every kind of evaluation compiled by one worker, while others compile another: all read the results from
        the cache on disk. Left to itself each of them would compile the same at the same time."""
        self._compiled = True
        kinds: list[GradientLike] = [True, False]
        if self.target.steady_state_parameters:
            kinds.insert(1, Gradient.PARTIAL)
        self.notice("compiling the log density and its gradient")
        self._map(_Job(compile_evaluation, True), [(kind,) for kind in kinds])
        self.notice("")

    def evaluate(self, thetas: Array, gradient: GradientLike = False) -> EvaluationBatch:
        """Evaluate n points, shape (n, d), natural units; results are in the same order.

        Raises
        ------
        EvaluationError
            If the target raises anywhere in the batch: the first such point in the order of the batch.
        WorkersLost
            If workers keep dying (out of memory, a crash in compiled code).
        """
        thetas = np.array(thetas, float)
        if thetas.ndim != 2 or thetas.shape[1] != len(self.target.names) or not len(thetas):
            raise ValueError(f"points must have shape (n, {len(self.target.names)}) with n > 0, not {thetas.shape}")
        self._begin()
        if self.backend == "serial":
            return evaluate_points(self.target, thetas, gradient)
        if isinstance(self.target, VectorizedTarget) and self.backend == "vectorized":
            return evaluate_together(self.target, thetas, gradient)
        if not self._compiled:
            self._compile()
        chunks = self._split(thetas)
        try:
            batches = self._call_all(_Job(evaluate_points, True), [(points, gradient) for points in chunks])
        except _Unfinished as unfinished:
            raise WorkersLost(chunks[unfinished.index][0], self.target.names, _MOST_LOSSES) from None
        self._seconds = max(float(np.median(np.concatenate([batch.seconds for batch in batches]))), 1e-6)
        return _join(batches)

    def map(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Results of a module's function, given each tuple of arguments, in their order: made on the workers, or in
        this process where there are none.

        Raises
        ------
        WorkersDied
            If workers keep dying.
        """
        return self._map(_Job(function, False), arguments)

    def map_target(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The same, of a function whose first argument is the target, of which workers keep a copy."""
        return self._map(_Job(function, True), arguments)

    def _map(self, job: _Job, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        self._begin()
        if self.backend in IN_PROCESS:
            in_turn = InTurn(self.target)
            return (in_turn.map_target if job.of_target else in_turn.map)(job.function, arguments)
        try:
            return self._call_all(job, arguments)
        except _Unfinished:
            raise WorkersDied(
                f"worker processes died {_MOST_LOSSES} times (out of memory?) in {job.function.__name__}"
            ) from None

    def _call_all(self, job: _Job, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Results of all calls, though workers may die now and then."""
        done: dict[int, Any] = {}
        for _ in range(_MOST_LOSSES):
            if self._run(job, arguments, done):
                return [done[i] for i in range(len(arguments))]
            self.close(at_once=True)  # some workers died: the next turn starts new ones and sends what is missing
        raise _Unfinished(next(i for i in range(len(arguments)) if i not in done))

    def _run(self, job: _Job, arguments: Sequence[tuple[Any, ...]], done: dict[int, Any]) -> bool:
        """Make the calls whose results ``done`` lacks; return whether all workers lived."""
        pool = self._open_pool()
        lived = True
        calls: dict[Future[Any], int] = {}
        errors: dict[int, EvaluationError] = {}

        def submit(i: int, payload: bytes | None = None) -> None:
            if job.of_target:
                made = pool.executor.submit(call_target, self._key, payload, job.function, arguments[i])
            else:
                made = pool.executor.submit(call, job.function, arguments[i])
            calls[made] = i

        try:
            for i in range(len(arguments)):
                if i not in done:
                    submit(i)
            while calls:
                waiting, calls = calls, {}
                for made in as_completed(waiting):
                    i = waiting[made]
                    try:
                        result = made.result()
                    except pool.lost:
                        lived = False
                        continue
                    if isinstance(result, EvaluationError):
                        # Not raised yet: a call that comes earlier in the batch may be about to raise too, and which of
                        # them returns first is chance.
                        errors[i] = result
                    elif isinstance(result, TargetMissing):
                        # The worker is new and does not hold the target. Sending it at once, while the others are busy,
                        # is what makes it reach this very worker.
                        submit(i, self._payload)
                    else:
                        done[i] = result
        except pool.lost:
            lived = False
        if errors:
            raise errors[min(errors)]
        return lived

    def _open_pool(self) -> WorkerPool:
        if not self._payload:
            if isinstance(self.target, CompiledTarget):
                self.notice(f"{'compiling and ' if compiled_anew() else ''}solving for the steady state")
                self._prepare(self.target)
            self._payload = cloudpickle.dumps(self.target)
            self._key = hashlib.sha256(self._payload).hexdigest()
        return self._start_pool()

    def _start_pool(self) -> WorkerPool:
        if self._pool is None:
            self._pool = open_pool(self.backend, self.workers, self._scheduler, self._wait, self.ahead)
        self.workers = self._held[0].workers
        return self._held[0]

    def _split(self, thetas: Array) -> list[Array]:
        """Cut a batch into calls that are long enough to send and short enough to keep every worker busy to the end."""
        pool = self._open_pool()
        points = max(math.ceil(pool.chunk_seconds / self._seconds), math.ceil(len(thetas) / pool.workers / _MOST_CALLS))
        calls = math.ceil(len(thetas) / points)
        calls = math.ceil(calls / pool.workers) * pool.workers  # equal shares
        return np.array_split(thetas, min(calls, len(thetas)))


def _join(batches: list[EvaluationBatch]) -> EvaluationBatch:
    return EvaluationBatch(
        theta=np.concatenate([batch.theta for batch in batches]),
        log_likelihood=np.concatenate([batch.log_likelihood for batch in batches]),
        log_prior=np.concatenate([batch.log_prior for batch in batches]),
        reason=np.concatenate([batch.reason for batch in batches]),
        seconds=np.concatenate([batch.seconds for batch in batches]),
        gradient=np.concatenate([batch.gradient for batch in batches]),
    )
