"""A real dask scheduler and two workers over TCP: the bits of one process, also when a worker is killed mid-run."""

from __future__ import annotations

import signal
import sys
import threading
import time
from dataclasses import dataclass, fields
from pathlib import Path

import cloudpickle
import numpy as np
import pytest

from benchmarks.textbook_targets import NormalTarget
from estimhank.evaluation.engine import Engine
from estimhank.evaluation.recorder import Recorder
from estimhank.evaluation.store import EvaluationStore, read_evaluations
from estimhank.run.config import make_config
from estimhank.sampling.multi_proposal import MultiProposalConfig, MultiProposalResult, run_multi_proposal
from estimhank.sampling.proposals import Center
from estimhank.support.errors import ConfigError
from estimhank.target.protocol import Evaluation, GradientLike
from tests.helpers.dask_cluster import dask_cluster

pytest.importorskip("distributed")
cloudpickle.register_pickle_by_value(sys.modules[__name__])

SIZES = MultiProposalConfig(iterations=30, warmup=10, proposals=16, draws=4, chains=2, gradient=True)


@dataclass(frozen=True)
class SlowTarget(NormalTarget):
    """A normal density that takes some milliseconds, so that there is time for a worker to be killed."""

    pause: float = 0.005

    def evaluate(self, theta: np.ndarray, gradient: GradientLike = False) -> Evaluation:
        time.sleep(self.pause)
        return super().evaluate(theta, gradient)

    @property
    def fingerprint(self) -> dict[str, str]:
        return {"model": "slow"}


def target(pause: float = 0.005) -> SlowTarget:
    return SlowTarget((1.0, -2.0, 0.5), (1.0, 0.3, 2.0), 0.5, 1.0, pause)


def run(folder: Path, engine: Engine) -> MultiProposalResult:
    folder.mkdir(exist_ok=True)
    own = engine.target
    with engine, EvaluationStore.open(folder / "evaluations.bin", own.names, own.fingerprint) as store:
        center = Center(np.array(own.mean), own.covariance)  # type: ignore[attr-defined]
        return run_multi_proposal(Recorder(engine, store), own, center, SIZES, 5)


def test_a_killed_worker_of_a_running_scheduler_costs_nothing_and_leaves_no_trace(tmp_path: Path) -> None:
    serial = run(tmp_path / "serial", Engine(target(0.0), "serial"))
    store = tmp_path / "dask" / "evaluations.bin"
    with dask_cluster(tmp_path) as cluster:
        settings = make_config({"run": {"backend": "dask", "scheduler": cluster.address}}).run
        killed_at: list[int] = []

        def kill_one() -> None:
            while not store.exists() or store.stat().st_size < 15_000:
                time.sleep(0.002)
            cluster.workers[0].send_signal(signal.SIGKILL)
            killed_at.append(store.stat().st_size)

        killer = threading.Thread(target=kill_one, daemon=True)
        killer.start()
        result = run(tmp_path / "dask", Engine(target(), settings.backend, 2, settings.scheduler))
        killer.join(10)
        assert cluster.workers[0].wait(10) == -signal.SIGKILL and cluster.workers[1].poll() is None
    assert killed_at[0] < store.stat().st_size  # in the middle of the run
    for field in fields(serial):
        assert getattr(result, field.name).tobytes() == getattr(serial, field.name).tobytes(), field.name
    one, other = (read_evaluations(tmp_path / name / "evaluations.bin") for name in ("serial", "dask"))
    assert len(one) == len(other) == 2 * 8 + 30 * 2 * 16
    for name in ("theta", "log_likelihood", "log_prior", "reason", "gradient", "iteration"):
        assert np.asarray(getattr(one, name)).tobytes() == np.asarray(getattr(other, name)).tobytes(), name


def test_a_scheduler_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import dask

    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}), Engine(
        target(), "dask", 1, "tcp://127.0.0.1:9"
    ) as engine, pytest.raises(ConfigError, match=r"no dask scheduler answers at tcp://127\.0\.0\.1:9"):  # fmt: skip
        engine.evaluate(np.zeros((1, 3)))


def test_a_scheduler_without_workers_is_said(tmp_path: Path) -> None:
    with (
        dask_cluster(tmp_path, workers=0) as cluster,
        Engine(target(), "dask", 1, cluster.address, wait=0.3) as engine,
        pytest.raises(ConfigError, match=r"has no workers, 0\.3 seconds after"),
    ):
        engine.evaluate(np.zeros((1, 3)))
