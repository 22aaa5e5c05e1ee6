"""A dask scheduler and workers as a user starts them: processes of their own that speak TCP."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import estimhank
from estimhank.support.runtime import worker_environment


@dataclass(frozen=True)
class Cluster:
    """Address of the scheduler, and the processes of its workers."""

    address: str
    workers: list[subprocess.Popen[bytes]]


@contextlib.contextmanager
def dask_cluster(folder: Path, workers: int = 2) -> Iterator[Cluster]:
    """Start ``dask scheduler`` and ``dask worker`` processes without nannies, so that a killed worker stays dead."""
    file = folder / "scheduler.json"
    root = str(Path(estimhank.__file__).parents[1])
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, **worker_environment(), "PYTHONPATH": path}
    started: list[subprocess.Popen[bytes]] = []

    def start(kind: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", kind, "--scheduler-file", str(file), "--no-dashboard", *options]
        log = (folder / f"{kind}{len(started)}.log").open("wb")
        with log:
            started.append(subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log))
        return started[-1]

    try:
        start("scheduler", "--host", "127.0.0.1", "--port", "0")
        deadline = time.monotonic() + 60
        while not file.exists() or not file.read_text():
            assert time.monotonic() < deadline, (folder / "scheduler0.log").read_text()
            time.sleep(0.05)
        processes = [start("worker", "--nthreads", "1", "--no-nanny") for _ in range(workers)]
        yield Cluster(json.loads(file.read_text())["address"], processes)
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()
