"""A small run in a process of its own, for tests that kill it: ``python interrupted_run.py FOLDER BACKEND WORKERS``.

Mode search, multi-proposal chains and random-walk chains on a normal density with an infeasible region, slowed down so
that there is time to be killed. What the stages return is written to ``result.npz`` at the end.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, fields
from pathlib import Path

import cloudpickle
import numpy as np

from benchmarks.textbook_targets import NormalTarget
from estimhank.evaluation.engine import Engine
from estimhank.evaluation.recorder import Recorder
from estimhank.evaluation.store import FILE_NAME, EvaluationStore
from estimhank.mode.search import ModeConfig, find_mode
from estimhank.sampling.chains import ChainConfig
from estimhank.sampling.multi_proposal import MultiProposalConfig, run_multi_proposal
from estimhank.sampling.proposals import Center
from estimhank.sampling.random_walk import run_random_walk
from estimhank.target.protocol import Evaluation, GradientLike


@dataclass(frozen=True)
class SlowTarget(NormalTarget):
    """A normal density that takes half a millisecond."""

    def evaluate(self, theta: np.ndarray, gradient: GradientLike = False) -> Evaluation:
        time.sleep(5e-4)
        return super().evaluate(theta, gradient)


def main(folder: Path, backend: str, workers: int) -> None:
    """Run, or go on with, the three stages."""
    target = SlowTarget((1.0, -2.0, 0.5), (1.0, 0.3, 2.0), 0.5, cut=1.0)
    arrays: dict[str, np.ndarray] = {}
    with (
        Engine(target, backend, workers) as engine,
        EvaluationStore.open(folder / FILE_NAME, target.names, target.fingerprint) as store,
    ):
        recorder = Recorder(engine, store)
        mode = find_mode(recorder, target, ModeConfig(starts=4, candidates=16), seed=11)
        center = Center(mode.center_x, mode.covariance_x)
        sizes = MultiProposalConfig(iterations=40, warmup=10, proposals=16, draws=8, chains=2, gradient=True)
        results = {
            "mode": mode,
            "sample": run_multi_proposal(recorder, target, center, sizes, seed=12),
            "validate": run_random_walk(
                recorder, target, center, ChainConfig(iterations=60, warmup=20, chains=3), 13, stage="validate"
            ),
        }
        stored = store.read()
    for stage, result in results.items():
        arrays |= {
            f"{stage}.{field.name}": np.asarray(getattr(result, field.name), dtype=None)
            for field in fields(result)  # type: ignore[arg-type]
            if isinstance(getattr(result, field.name), np.ndarray)
        }
    arrays |= {
        f"store.{field.name}": getattr(stored, field.name) for field in fields(stored) if field.name != "seconds"
    }
    np.savez(folder / "result.npz", **arrays)  # type: ignore[arg-type]


if __name__ == "__main__":
    cloudpickle.register_pickle_by_value(sys.modules["__main__"])
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
