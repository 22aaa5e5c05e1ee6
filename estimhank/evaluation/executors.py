"""Where evaluations run: worker processes on this machine (loky, as joblib ships it) or on a dask cluster."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Executor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from joblib.externals.loky import ProcessPoolExecutor

from estimhank.evaluation.worker import prepare_worker
from estimhank.support.errors import ConfigError
from estimhank.support.extras import DASK
from estimhank.support.runtime import worker_environment

BACKENDS = ("loky", "dask", "serial", "vectorized")
#: Those without workers.
IN_PROCESS = ("serial", "vectorized")

#: Seconds to wait for the workers of a running dask scheduler.
WAIT = 60.0


class BackendWarning(UserWarning):
    """Evaluations run elsewhere than was asked for."""


def may_start_processes() -> bool:
    """Whether this process may start others: the daemonic ones of a ``multiprocessing.Pool``, or of a scheduler's
    nanny, may not."""
    return not multiprocessing.current_process().daemon


@dataclass(frozen=True)
class WorkerPool:
    """Running workers.

    Attributes
    ----------
    executor : Executor
        Takes calls.
    workers : int
        How many calls run at a time.
    chunk_seconds : float
        Work worth sending in one call: long against the time it takes to send it.
    lost : tuple of exception types
        What a call raises when the worker that ran it died.
    close : callable
        Ends the workers; told True, without waiting for what they are doing.
    """

    executor: Executor
    workers: int
    chunk_seconds: float
    lost: tuple[type[BaseException], ...]
    close: Callable[[bool], None]


def open_loky(workers: int, ahead: Sequence[str] = ()) -> WorkerPool:
    """Start worker processes on this machine, one thread each, none shared with other users of joblib; they import the
    modules ``ahead`` as they start."""
    executor = ProcessPoolExecutor(
        max_workers=workers, initializer=prepare_worker, initargs=(os.getpid(), ahead), env=worker_environment()
    )
    return WorkerPool(
        executor=executor,
        workers=workers,
        chunk_seconds=0.05,
        lost=(BrokenProcessPool,),
        close=lambda at_once: executor.shutdown(wait=True, kill_workers=at_once),
    )


def open_dask(workers: int, scheduler: str = "", wait: float = WAIT) -> WorkerPool:
    """Connect to a running dask scheduler, or start a cluster of worker processes on this machine.

    Parameters
    ----------
    workers : int
        Worker processes of the local cluster. With a running scheduler: how many workers to wait for; those that are
        there when the waiting ends are taken, and those that join later take part too.
    scheduler : str
        Address of a running scheduler, ``"tcp://host:8786"``; empty starts a local cluster.
    wait : float
        Seconds to wait for workers of a running scheduler.

    Raises
    ------
    ConfigError
        If dask is not installed, the scheduler does not answer, or no worker comes.
    """
    if DASK.missing:
        raise ConfigError(DASK.sentence)
    import dask
    from distributed import Client, KilledWorker, LocalCluster

    cluster = None
    if not scheduler:
        # XLA and BLAS read their thread counts when they are loaded, before any task arrives
        with dask.config.set({"distributed.nanny.pre-spawn-environ": worker_environment()}):
            cluster = LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None)
    try:
        client = Client(cluster or scheduler, set_as_default=False)
    except OSError as error:
        raise ConfigError(f"no dask scheduler answers at {scheduler}: {error}") from error
    with contextlib.suppress(TimeoutError):
        client.wait_for_workers(max(1, workers), timeout=wait)
    threads = sum(client.nthreads().values())
    if not threads:
        client.close()
        raise ConfigError(f"the dask scheduler at {scheduler} has no workers, {wait:g} seconds after it was asked")

    def close(at_once: bool) -> None:
        client.close()
        if cluster is not None:
            cluster.close()

    # retries on another worker are dask's own; what is raised here is a call that killed several workers
    return WorkerPool(client.get_executor(pure=False), threads, 0.1, (KilledWorker, CancelledError), close)


def open_pool(
    backend: str, workers: int, scheduler: str = "", wait: float = WAIT, ahead: Sequence[str] = ()
) -> WorkerPool:
    """Start or join the workers of a backend named in a configuration (``"loky"`` or ``"dask"``)."""
    return open_dask(workers, scheduler, wait) if backend == "dask" else open_loky(workers, ahead)
