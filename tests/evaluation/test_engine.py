"""The engine returns what the target says, in order and to the bit, whoever evaluates; and faults carry their point."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cloudpickle
import numpy as np
import pytest

from benchmarks.textbook_targets import NormalTarget
from estimhank.evaluation.engine import Engine, WorkersDied, WorkersLost
from estimhank.evaluation.evaluations import EvaluationBatch
from estimhank.evaluation.worker import EvaluationError, evaluate_points
from estimhank.evaluation.workers import InTurn
from estimhank.support.errors import ConfigError
from estimhank.target.protocol import REASONS, Evaluation, GradientLike

cloudpickle.register_pickle_by_value(sys.modules[__name__])

FIELDS = ("theta", "log_likelihood", "log_prior", "reason", "gradient")


@dataclass(frozen=True)
class TroubleTarget(NormalTarget):
    """A normal density with, by the first coordinate, a fault (above 100), a death of the process (below -100), ..."""

    folder: str = ""

    def evaluate(self, theta: np.ndarray, gradient: GradientLike = False) -> Evaluation:
        if theta[0] > 100:
            raise ZeroDivisionError("a fault in the model")
        if theta[0] < -100:
            # dies the first time only, unless the point says otherwise
            marker = Path(self.folder) / "died"
            if theta[0] < -1000 or not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        if theta[0] == 50:
            return Evaluation(np.nan, 0.0)
        if theta[0] == 60:
            time.sleep(0.02)
            return Evaluation(float(os.getpid()), 0.0, "ok", np.zeros(len(theta)))
        return super().evaluate(theta, gradient)


def trouble(folder: Path | str = "") -> TroubleTarget:
    return TroubleTarget((0.5, -1.0, 2.0), (1.0, 2.0, 0.3), 0.4, 2.0, str(folder))


def points(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 2, (n, 3))


def assert_same_bits(one: EvaluationBatch, other: EvaluationBatch) -> None:
    for name in FIELDS:
        assert np.asarray(getattr(one, name)).tobytes() == np.asarray(getattr(other, name)).tobytes(), name


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(trouble(tmp_path_factory.mktemp("deaths")), "loky", 2) as engine:
        yield engine


def test_serial_evaluation_is_the_target_point_by_point() -> None:
    target, thetas = trouble(), points(40)
    batch = Engine(target, "serial").evaluate(thetas, gradient=True)
    for i, theta in enumerate(thetas):
        expected = target.evaluate(theta, gradient=True)
        assert REASONS[batch.reason[i]] == expected.reason
        assert batch.log_density[i] == expected.log_density
        if expected.reason == "ok":
            np.testing.assert_array_equal(batch.gradient[i], expected.gradient)
        else:
            assert np.isnan(batch.gradient[i]).all()
    assert 0 < batch.ok.sum() < 40
    assert (batch.seconds > 0).all()


@pytest.mark.parametrize("n", [1, 2, 7, 101])
@pytest.mark.parametrize("gradient", [False, True])
def test_two_workers_give_the_bits_of_one_process(two_workers: Engine, n: int, gradient: bool) -> None:
    thetas = points(n, n)
    assert_same_bits(two_workers.evaluate(thetas, gradient), Engine(trouble(), "serial").evaluate(thetas, gradient))


def test_both_workers_work(two_workers: Engine) -> None:
    # new workers get to hold the target in the first batches, and on a busy machine one may be quicker than the other
    workers: set[float] = set()
    for _ in range(50):
        workers |= set(two_workers.evaluate(np.tile([60.0, 0.0, 0.0], (8, 1))).log_likelihood.tolist())
        if len(workers) == 2:
            break
    assert len(workers) == 2
    assert os.getpid() not in workers


def test_a_target_that_raises_is_an_error_with_its_parameters(two_workers: Engine) -> None:
    thetas = points(20)
    thetas[13], thetas[5] = [101.0, 1.0, 2.0], [102.5, -1.0, 0.1]
    for engine in (two_workers, Engine(trouble(), "serial")):
        with pytest.raises(EvaluationError, match=r"ZeroDivisionError: a fault in the model at x0 = 102\.5") as error:
            engine.evaluate(thetas)
        np.testing.assert_array_equal(error.value.theta, thetas[5])  # the first of the batch, however it was split
        assert "evaluate" in error.value.details
    assert_same_bits(two_workers.evaluate(points(3)), Engine(trouble(), "serial").evaluate(points(3)))


def test_a_worker_that_dies_is_replaced_and_nothing_is_lost(two_workers: Engine) -> None:
    thetas = points(30)
    thetas[11, 0] = -101.0
    batch = two_workers.evaluate(thetas)
    assert (Path(two_workers.target.folder) / "died").exists()  # type: ignore[attr-defined]
    assert_same_bits(batch, Engine(two_workers.target, "serial").evaluate(thetas))


@pytest.mark.long
def test_workers_that_keep_dying_end_the_run_with_the_parameters(tmp_path: Path) -> None:
    with Engine(trouble(tmp_path), "loky", 1) as engine, pytest.raises(WorkersLost, match=r"died 3 times .* x0 = "):
        engine.evaluate(np.array([[-2000.0, 0.0, 0.0]]))


@pytest.mark.long
def test_one_worker_gives_the_bits_of_two(two_workers: Engine) -> None:
    with Engine(trouble(), "loky", 1) as engine:
        assert_same_bits(engine.evaluate(points(50), True), two_workers.evaluate(points(50), True))


@pytest.mark.long
def test_dask_gives_the_bits_of_one_process_and_survives_the_death_of_a_worker(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    thetas = points(60)
    thetas[31, 0] = -101.0
    with Engine(trouble(tmp_path), "dask", 2) as engine:
        assert_same_bits(engine.evaluate(thetas[:30], True), Engine(trouble(), "serial").evaluate(thetas[:30], True))
        batch = engine.evaluate(thetas, True)
        with pytest.raises(EvaluationError, match="x0 = 200"):
            engine.evaluate(np.array([[200.0, 0.0, 0.0]]))
    assert (tmp_path / "died").exists()
    assert_same_bits(batch, Engine(trouble(tmp_path), "serial").evaluate(thetas, True))


def test_not_finite_is_a_reason_and_not_a_density() -> None:
    batch = evaluate_points(trouble(), np.array([[50.0, -1.0, 2.0]]))
    assert REASONS[batch.reason[0]] == "non_finite"
    assert batch.log_density[0] == batch.log_likelihood[0] == -np.inf


def test_a_target_without_the_gradient_it_owes_is_a_fault() -> None:
    class Silent(NormalTarget):
        def evaluate(self, theta: np.ndarray, gradient: GradientLike = False) -> Evaluation:
            return Evaluation(0.0, 0.0)

    with pytest.raises(EvaluationError, match="a gradient was asked for"):
        evaluate_points(Silent.standard(2), np.zeros((1, 2)), gradient=True)


def test_an_unknown_reason_is_a_fault() -> None:
    class Odd(NormalTarget):
        def evaluate(self, theta: np.ndarray, gradient: GradientLike = False) -> Evaluation:
            return Evaluation(0.0, 0.0, "tired")

    with pytest.raises(EvaluationError, match="tired"):
        evaluate_points(Odd.standard(2), np.zeros((1, 2)))


def test_the_target_cannot_change_the_points_it_is_given() -> None:
    class Rude(NormalTarget):
        def evaluate(self, theta: np.ndarray, gradient: GradientLike = False) -> Evaluation:
            theta[:] = 0.0
            return Evaluation(1.0, 0.0)

    np.testing.assert_array_equal(evaluate_points(Rude.standard(3), points(4)).theta, points(4))


@pytest.mark.parametrize("shape", [(0, 3), (3,), (2, 4)])
def test_points_of_a_wrong_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        Engine(trouble(), "serial").evaluate(np.zeros(shape))


def power(base: float, exponent: float) -> float:
    return base**exponent


class TwoWords(Exception):
    """Cannot be made again from what it pickles as."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


def fail() -> None:
    raise TwoWords("one", "two")


def mean_of(target: TroubleTarget, k: int) -> float:
    return target.mean[k]


def test_other_calls_are_made_in_order_wherever_they_are(two_workers: Engine) -> None:
    calls = [(float(i), 2.0) for i in range(21)]
    for engine in (two_workers, Engine(trouble(), "serial"), InTurn(trouble())):
        assert engine.map(power, calls) == [float(i * i) for i in range(21)]
        assert engine.map_target(mean_of, [(2,), (0,), (1,), (0,)]) == [2.0, 0.5, -1.0, 0.5]
        assert engine.map(power, []) == []


def test_what_another_call_raises_is_raised(two_workers: Engine) -> None:
    for engine in (two_workers, InTurn(trouble())):
        with pytest.raises(ZeroDivisionError):
            engine.map(power, [(1.0, 1.0), (0.0, -1.0)])
        with pytest.raises(IndexError):
            engine.map_target(mean_of, [(0,), (7,)])
    with pytest.raises(RuntimeError, match=r"TwoWords: one two[\s\S]*in fail"):
        two_workers.map(fail, [()])
    assert two_workers.map(power, [(2.0, 3.0)]) == [8.0], "and the workers go on"


def die(marker: str, always: bool) -> str:
    if always or not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return marker


def test_other_calls_survive_the_death_of_a_worker(tmp_path: Path) -> None:
    # one worker: each death costs the start of as many as there are
    marker = str(tmp_path / "died")
    with Engine(trouble(), "loky", 1) as engine:
        assert engine.map(die, [(marker, False)]) == [marker]
        with pytest.raises(WorkersDied, match=r"died 3 times .* in die"):
            engine.map(die, [(marker, False), (marker, True)])


def test_unknown_backends_and_negative_workers_are_refused() -> None:
    with pytest.raises(ConfigError, match="choose one of loky, dask, serial"):
        Engine(trouble(), "threads")
    with pytest.raises(ConfigError, match="negative"):
        Engine(trouble(), "loky", -1)
