"""What runs in a worker process: hold a target, evaluate it point by point, and never lose an exception."""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import pickle
import threading
import time
import traceback
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimhank.evaluation.evaluations import EvaluationBatch, empty_gradient
from estimhank.support.errors import EstimhankError, ModelWarning
from estimhank.support.runtime import configure
from estimhank.target.protocol import REASONS, CompiledTarget, Evaluation, GradientLike, Target, VectorizedTarget

Array = NDArray[np.float64]

_OK, _NON_FINITE = REASONS.index("ok"), REASONS.index("non_finite")

#: Targets of this process by key: unpickling one, and compiling what it runs, is done once a worker.
_targets: OrderedDict[str, Target] = OrderedDict()
_MOST_TARGETS = 4


class EvaluationError(EstimhankError):
    """A log density raised an exception: a fault in the model or the code, not a low density.

    Attributes
    ----------
    theta : ndarray of shape (d,)
        Natural parameters at which it happened.
    names : tuple of str
        Their names.
    cause : str
        The exception in one line.
    details : str
        Its traceback, from the process in which it was raised.
    """

    exit_code = 5

    def __init__(self, theta: Array, names: tuple[str, ...], cause: str, details: str) -> None:
        point = ", ".join(f"{name} = {float(value)!r}" for name, value in zip(names, theta, strict=True))
        super().__init__(f"the log density raised {cause} at {point}")
        self.theta, self.names, self.cause, self.details = np.array(theta, float), tuple(names), cause, details

    def __reduce__(self) -> tuple[Any, ...]:
        return EvaluationError, (self.theta, self.names, self.cause, self.details)


def evaluate_points(target: Target, thetas: Array, gradient: GradientLike = False) -> EvaluationBatch:
    """Evaluate a target at each of n points on its own, in order, in this process.

    Parameters
    ----------
    target : Target
    thetas : ndarray of shape (n, d)
        Natural parameters.
    gradient : Gradient or bool
        Which gradients are wanted too.

    Raises
    ------
    EvaluationError
        If the target raises; the original exception is its cause.
    """
    thetas = np.array(thetas, float, ndmin=2)
    made, seconds = [], np.zeros(len(thetas), np.float32)
    for i, theta in enumerate(thetas):
        start = time.perf_counter()
        with _keeping(theta, target.names):
            made.append(_coded(target.evaluate(theta.copy(), gradient=gradient), bool(gradient)))
        seconds[i] = time.perf_counter() - start
    return _collect(thetas, made, seconds, bool(gradient))


def evaluate_together(target: VectorizedTarget, thetas: Array, gradient: GradientLike = False) -> EvaluationBatch:
    """Evaluate a target at n points in one vectorised call, in this process; ``seconds`` are equal shares of its time.

    Raises
    ------
    EvaluationError
        If the target raises. Which point it was is not known then: the error carries the first.
    """
    thetas = np.array(thetas, float, ndmin=2)
    start = time.perf_counter()
    with _keeping(thetas[0], target.names):
        evaluations = target.evaluate_batch(thetas.copy(), gradient=gradient)
        if len(evaluations) != len(thetas):
            raise ValueError(f"{len(thetas)} points have {len(evaluations)} evaluations")
    made = []
    for theta, evaluation in zip(thetas, evaluations, strict=True):
        with _keeping(theta, target.names):
            made.append(_coded(evaluation, bool(gradient)))
    share = (time.perf_counter() - start) / len(thetas)
    return _collect(thetas, made, np.full(len(thetas), share, np.float32), bool(gradient))


@contextlib.contextmanager
def _keeping(theta: Array, names: tuple[str, ...]) -> Iterator[None]:
    """Whatever is raised inside goes on with the parameters that caused it."""
    try:
        yield
    except EvaluationError:
        raise
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
        raise EvaluationError(theta, names, cause, traceback.format_exc()) from error


def _coded(evaluation: Evaluation, gradient: bool) -> tuple[Evaluation, int]:
    """An evaluation with the code of its reason; ``ValueError`` or ``TypeError`` where it breaks the contract."""
    why = f"{evaluation.reason}:{evaluation.kind}" if evaluation.kind else evaluation.reason
    if why not in REASONS:
        raise ValueError(f"unknown reason {why!r}")
    code = REASONS.index(why)
    if gradient and code == _OK and evaluation.gradient is None:
        raise TypeError("a gradient was asked for and none was returned")
    return evaluation, code


def _collect(
    thetas: Array, made: list[tuple[Evaluation, int]], seconds: NDArray[np.float32], gradient: bool
) -> EvaluationBatch:
    n, d = thetas.shape
    values = np.full((2, n), -np.inf)
    reason = np.zeros(n, np.uint8)
    gradients = np.full((n, d), np.nan) if gradient else empty_gradient(n, d)
    for i, (evaluation, code) in enumerate(made):
        values[:, i] = evaluation.log_likelihood, evaluation.log_prior
        if code == _OK and not np.isfinite(values[:, i]).all():
            code = _NON_FINITE
        if code != _OK:
            values[0, i] = -np.inf
        elif gradient:
            gradients[i] = evaluation.gradient
        reason[i] = code
    return EvaluationBatch(thetas, values[0], values[1], reason, seconds, gradients)


def compile_evaluation(target: CompiledTarget, gradient: GradientLike) -> None:
    """Compile one kind of evaluation, in a worker. What goes wrong is told when a point is evaluated for its value."""
    with contextlib.suppress(Exception):
        target.compile(gradient)


def compile_outlined(target: CompiledTarget, further: bool) -> None:
    """Compile what evaluations need, in a worker, while another process solves the target."""
    with contextlib.suppress(Exception):
        target.compile_outlined(further)


class TargetMissing:
    """Returned by :func:`call_target` in a worker that is new: it asks for the same call with the target."""


def call_target(
    key: str, payload: bytes | None, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> Any | EvaluationError | TargetMissing:
    """Call a function of a target and other arguments, in a worker.

    Parameters
    ----------
    key : str
        Which target is meant.
    payload : bytes, optional
        The target itself, pickled; left out where the worker is expected to hold it already.
    function : callable
    arguments : tuple
        All but the first, the target.

    Returns
    -------
    Any
        What the function returns. An :class:`EvaluationError` is returned rather than raised: one that cannot be
        pickled would take the whole pool down.
    """
    if key in _targets:
        _targets.move_to_end(key)
    elif payload is None:
        return TargetMissing()
    else:
        configure()
        # bytes from the parent process over its own pipe, never a file
        _targets[key] = pickle.loads(payload)
        while len(_targets) > _MOST_TARGETS:
            _targets.popitem(last=False)
    try:
        return call(function, (_targets[key], *arguments))
    except EvaluationError as error:
        return error


def call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Call a function, in a worker.

    An exception that does not survive the way to the parent process would take the pool down and be told as the death
    of a worker; a ``RuntimeError`` with its traceback is raised in its stead.
    """
    configure()  # a dask worker's first call; others have done so
    try:
        return function(*arguments)
    except EvaluationError:
        raise
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            raise RuntimeError(f"{type(error).__name__}: {error}\n{traceback.format_exc()}") from None
        raise


def prepare_worker(parent: int, ahead: Sequence[str] = ()) -> None:
    """Set up a loky worker of the process ``parent``, with modules that it imports ahead of its first call.

    It ends when its parent is gone, for a killed run must not leave workers behind. And loky must not take what JAX
    compiles in the first evaluations for a memory leak: it would replace the worker, which would compile again.
    """
    from joblib.externals.loky import process_executor

    configure()
    process_executor._MAX_MEMORY_LEAK_SIZE = math.inf
    warnings.simplefilter("ignore", ModelWarning)  # said once, by the main process

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="follow-parent").start()
    for module in ahead:
        with contextlib.suppress(ImportError):  # a script's or a test's own
            importlib.import_module(module)
