"""A recorder makes each evaluation once, keeps it, and serves it again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.textbook_targets import NormalTarget
from estimhank.evaluation.engine import Engine
from estimhank.evaluation.evaluations import EvaluationBatch
from estimhank.evaluation.recorder import Recorder
from estimhank.evaluation.store import EvaluationStore
from estimhank.evaluation.worker import EvaluationError
from estimhank.support.errors import ResultsError
from estimhank.target.protocol import Evaluation, GradientLike

TARGET = NormalTarget((0.0, 0.0), (1.0, 1.0), 0.0, 1.0)


def points(seed: int, n: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 2))


def open_store(folder: Path) -> EvaluationStore:
    return EvaluationStore.open(folder / "evaluations.bin", TARGET.names, TARGET.fingerprint)


class Unwilling(Engine):
    """An engine that may not be asked."""

    def evaluate(self, thetas: np.ndarray, gradient: GradientLike = False) -> EvaluationBatch:
        raise AssertionError("this batch is in the store")


def test_a_second_run_is_served_from_the_store_to_the_bit(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        recorder = Recorder(Engine(TARGET, "serial"), store)
        first = [recorder.evaluate("sample", k, points(k), gradient=k == 1) for k in range(3)]
        assert recorder.evaluated == {"sample": 18} and not recorder.replayed
        reasons = recorder.reasons
    with open_store(tmp_path) as store:
        recorder = Recorder(Unwilling(TARGET, "serial"), store)
        second = [recorder.evaluate("sample", k, points(k), gradient=k == 1) for k in range(3)]
        assert recorder.replayed == {"sample": 18} and not recorder.evaluated
        assert recorder.reasons == reasons and sum(reasons.values()) == 18 and len(reasons) == 2
        assert recorder.total("sample") == 18
        with pytest.raises(AssertionError):
            recorder.evaluate("sample", 3, points(3))
        assert len(store) == 18
    for one, other in zip(first, second, strict=True):
        for name in ("theta", "log_likelihood", "log_prior", "reason", "seconds", "gradient"):
            assert np.asarray(getattr(one, name)).tobytes() == np.asarray(getattr(other, name)).tobytes()


def test_a_stage_that_asks_for_other_points_is_refused(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        recorder = Recorder(Engine(TARGET, "serial"), store)
        recorder.evaluate("sample", 4, points(0))
        changed = points(0)
        changed[5, 1] = np.nextafter(changed[5, 1], 1.0)
        with pytest.raises(ResultsError, match="stage sample, iteration 4, at other parameters"):
            recorder.evaluate("sample", 4, changed)
        with pytest.raises(ResultsError, match="at other parameters"):
            recorder.evaluate("sample", 4, points(0)[:5])
        with pytest.raises(ResultsError, match="without gradients"):
            recorder.evaluate("sample", 4, points(0), gradient=True)


def test_the_parameters_of_a_fault_are_kept_for_replay(tmp_path: Path) -> None:
    class Faulty(NormalTarget):
        def evaluate(self, theta: np.ndarray, gradient: GradientLike = False) -> Evaluation:
            if theta[0] > 0.7:
                raise KeyError("steady state")
            return super().evaluate(theta, gradient)

    target = Faulty(TARGET.mean, TARGET.sd)
    thetas = np.array([[0.1, 0.2], [1 / 3 + 0.5, 0.3], [2.0, 2.0]])
    with open_store(tmp_path) as store:
        recorder = Recorder(Engine(target, "serial"), store)
        with pytest.raises(EvaluationError):
            recorder.evaluate("exact", 17, thetas)
        assert len(store) == 0
    kept = json.loads((tmp_path / "failed_evaluation.json").read_text())
    assert (kept["stage"], kept["iteration"]) == ("exact", 17)
    assert list(kept["parameters"].values()) == thetas[1].tolist()  # to the last digit
    assert "KeyError" in kept["cause"] and any("evaluate" in line for line in kept["traceback"])
