"""The evaluation store gives back what it was given, whole, or says what is wrong."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import estimhank
from estimhank.evaluation.evaluations import EvaluationBatch, empty_gradient
from estimhank.evaluation.store import EvaluationStore, open_for_reading, read_evaluations
from estimhank.support.errors import ResultsError, StorageError
from estimhank.target.protocol import REASONS

NAMES = ("alpha", "beta", "gamma")
FINGERPRINT = {"model": "m1", "data": "d1", "prior": "p1", "horizon": "h1"}


def make_batch(seed: int, n: int, gradient: bool = False) -> EvaluationBatch:
    rng = np.random.default_rng(seed)
    reason = rng.integers(0, len(REASONS), n).astype(np.uint8) * (rng.random(n) < 0.3)
    return EvaluationBatch(
        theta=rng.standard_normal((n, 3)),
        log_likelihood=np.where(reason == 0, rng.standard_normal(n), -np.inf),
        log_prior=rng.standard_normal(n),
        reason=reason.astype(np.uint8),
        seconds=rng.random(n).astype(np.float32),
        gradient=rng.standard_normal((n, 3)) if gradient else empty_gradient(n, 3),
    )


def open_store(path: Path) -> EvaluationStore:
    return EvaluationStore.open(path, NAMES, FINGERPRINT)


def assert_same(one: EvaluationBatch, other: EvaluationBatch) -> None:
    for name in ("theta", "log_likelihood", "log_prior", "reason", "seconds", "gradient"):
        a, b = np.asarray(getattr(one, name)), np.asarray(getattr(other, name))
        assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes(), name


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "evaluations.bin"


@pytest.fixture
def filled(path: Path) -> Path:
    with open_store(path) as store:
        for k in range(3):
            store.append("sample", k, make_batch(k, 4, gradient=k == 1))
    return path


def test_round_trip_keeps_every_bit(path: Path) -> None:
    batches = {("mode", 0): make_batch(1, 5, True), ("sample", 0): make_batch(2, 1), ("sample", 7): make_batch(3, 300)}
    with open_store(path) as store:
        for (stage, iteration), batch in batches.items():
            store.append(stage, iteration, batch)
            assert_same(store.batch(stage, iteration), batch)  # type: ignore[arg-type]
    with open_store(path) as store:
        assert len(store) == 306
        assert ("sample", 7) in store and ("sample", 1) not in store and store.batch("mode", 1) is None
        for key, batch in batches.items():
            assert_same(store.batch(*key), batch)  # type: ignore[arg-type]


def test_reading_all_concatenates_in_order_of_writing(path: Path) -> None:
    batches = [make_batch(k, n, gradient=k % 3 == 0) for k, n in enumerate([4, 4, 4, 2, 4, 4, 1])]
    stages = ["mode", "sample", "sample", "mode", "exact", "sample", "sample"]
    with open_store(path) as store:
        for k, (stage, batch) in enumerate(zip(stages, batches, strict=True)):
            store.append(stage, 10 * k, batch)
        everything = store.read()
        some = store.read("sample", "exact")
    for name in ("theta", "log_likelihood", "log_prior", "reason", "seconds", "gradient"):
        expected = np.concatenate([getattr(batch, name) for batch in batches])
        np.testing.assert_array_equal(getattr(everything, name), expected)
    assert everything.iteration.tolist() == [10 * k for k, batch in enumerate(batches) for _ in range(len(batch))]
    assert_same(some, everything.of_stages("sample", "exact"))
    assert_same(everything, read_evaluations(path))
    expected_counts = {
        stage: sum(len(b) for s, b in zip(stages, batches, strict=True) if s == stage) for stage in set(stages)
    }
    assert {stage: sum(reasons.values()) for stage, reasons in everything.counts().items()} == expected_counts


def test_log_density_is_minus_infinity_wherever_there_is_a_reason() -> None:
    batch = make_batch(0, 50)
    expected = np.where(batch.reason == 0, batch.log_likelihood + batch.log_prior, -np.inf)
    np.testing.assert_array_equal(batch.log_density, expected)


def test_an_empty_store_reads_as_nothing(path: Path) -> None:
    with open_store(path) as store:
        assert len(store) == 0
        assert store.read().theta.shape == (0, 3)


def test_a_torn_last_batch_is_cut_off_wherever_the_write_ended(filled: Path) -> None:
    whole = filled.read_bytes()
    with open_store(filled) as store:
        before = store.read()
        store.append("exact", 0, make_batch(9, 2))  # 28 bytes of head, then rows
    longer = filled.read_bytes()
    assert longer[: len(whole)] == whole
    for end in [*range(len(whole) + 1, len(whole) + 40), *range(len(whole) + 40, len(longer), 17), len(longer) - 1]:
        filled.write_bytes(longer[:end])
        assert_same(read_evaluations(filled), before)  # reading leaves the file alone
        assert filled.stat().st_size == end
        with open_store(filled) as store:
            assert store.discarded_bytes == end - len(whole)
            store.append("exact", 0, make_batch(9, 2))
        assert filled.read_bytes() == longer


def test_any_flipped_byte_of_a_batch_is_reported(filled: Path) -> None:
    with open_for_reading(filled) as store:
        start = store._offsets[0]
    whole = filled.read_bytes()
    for position in range(start, len(whole)):
        if whole[position - 2 : position + 2] == bytes(4) and position % 7:
            continue  # a sample of the padding is enough
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        filled.write_bytes(bytes(damaged))
        with pytest.raises(StorageError, match="damaged"):
            open_store(filled)


@pytest.mark.parametrize("position", [0, 9, 20, 60])
def test_a_flipped_byte_of_the_head_is_reported(filled: Path, position: int) -> None:
    damaged = bytearray(filled.read_bytes())
    damaged[position] ^= 0x01
    filled.write_bytes(bytes(damaged))
    with pytest.raises(StorageError, match=r"evaluations\.bin"):
        open_store(filled)


def test_blocks_that_a_power_failure_left_unwritten_cost_the_last_batch_only(path: Path) -> None:
    with open_store(path) as store:
        store.append("sample", 0, make_batch(0, 40))
        good = path.stat().st_size
        store.append("sample", 1, make_batch(1, 40))
    content = path.read_bytes()
    block = -(-(good + 600) // 512) * 512
    for zeroed in (content[:good] + bytes(len(content) - good), content[:block] + bytes(len(content) - block)):
        path.write_bytes(zeroed)
        with open_store(path) as store:
            assert len(store) == 40 and store.discarded_bytes == len(content) - good


@pytest.mark.parametrize("part", sorted(FINGERPRINT))
def test_another_density_is_refused_by_the_name_of_what_differs(filled: Path, part: str) -> None:
    with pytest.raises(ResultsError, match=f"the {part} differs") as error:
        EvaluationStore.open(filled, NAMES, {**FINGERPRINT, part: "other"})
    assert FINGERPRINT[part] in str(error.value) and "other" in str(error.value)


def test_several_differences_are_all_named(filled: Path) -> None:
    with pytest.raises(ResultsError, match="the data and the prior and the version and the parameters differ"):
        EvaluationStore.open(
            filled, ("alpha", "beta", "delta"), {**FINGERPRINT, "data": "d2", "prior": "p2", "version": "2"}
        )


def test_a_refused_store_is_untouched_and_can_be_opened_by_its_owner(filled: Path) -> None:
    content = filled.read_bytes()
    with pytest.raises(ResultsError):
        EvaluationStore.open(filled, NAMES, {"model": "m2"})
    assert filled.read_bytes() == content
    open_store(filled).close()


def test_two_writers_are_refused_and_readers_are_not(filled: Path) -> None:
    with open_store(filled) as store:
        with pytest.raises(StorageError, match="another process is writing"):
            open_store(filled)
        store.append("exact", 0, make_batch(5, 2))
        assert len(read_evaluations(filled)) == 14


def test_a_batch_is_stored_once(filled: Path) -> None:
    with open_store(filled) as store, pytest.raises(ValueError, match="already"):
        store.append("sample", 0, make_batch(0, 4))


@pytest.mark.parametrize("shape", [(0, 3), (2, 4)])
def test_batches_of_a_wrong_shape_are_refused(path: Path, shape: tuple[int, int]) -> None:
    n, d = shape
    zeros = np.zeros(n)
    batch = EvaluationBatch(
        np.zeros(shape), zeros, zeros, zeros.astype(np.uint8), zeros.astype(np.float32), empty_gradient(n, d)
    )
    with open_store(path) as store, pytest.raises(ValueError, match="shape"):
        store.append("sample", 0, batch)


def test_unknown_stages_are_refused(path: Path) -> None:
    with open_store(path) as store, pytest.raises(ValueError, match="unknown stage 'burnin'"):
        store.append("burnin", 0, make_batch(0, 2))


def test_a_file_of_another_kind_is_refused(path: Path) -> None:
    path.write_text("date,growth\n1966Q1,2.4\n")
    with pytest.raises(StorageError, match="not an evaluation store"):
        open_store(path)
    with pytest.raises(StorageError, match="cannot read"):
        read_evaluations(path.with_name("none.bin"))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        open_store(tmp_path / "nowhere" / "evaluations.bin")


def test_a_folder_without_permission_is_named(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refuse(name: str, flags: int, *rest: int) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied")
        return real(name, flags, *rest)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StorageError, match=r"evaluations\.bin: permission is denied"):
        open_store(filled)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(StorageError, match="permission is denied"):
            open_store(tmp_path / "evaluations.bin")
    finally:
        tmp_path.chmod(stat.S_IRWXU)


def test_a_full_disk_is_said_and_leaves_the_last_good_state(path: Path) -> None:
    # a limit on the size of files stops a write half-way, as a full disk does
    script = f"""
        import resource, sys
        sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(estimhank.__file__).parents[1])!r}]
        from test_store import *
        from pathlib import Path
        store = open_store(Path({str(path)!r}))
        store.append("sample", 0, make_batch(0, 100))
        store.flush()
        limit = Path({str(path)!r}).stat().st_size + 1000
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            store.append("sample", 1, make_batch(1, 100))
        except StorageError as error:
            print(error)
        print(len(store), Path({str(path)!r}).stat().st_size == limit - 1000)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    assert "100 evaluations stored before are kept" in run.stdout
    assert run.stdout.splitlines()[-1] == "100 True"
    with open_store(path) as store:
        assert_same(store.batch("sample", 0), make_batch(0, 100))  # type: ignore[arg-type]
        store.append("sample", 1, make_batch(1, 100))


def test_many_batches_read_quickly_and_right(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr("estimhank.evaluation.store._PIECE", 1 << 14)  # so that batches straddle the pieces read
    batches = [make_batch(k, 37, gradient=k % 5 == 0) for k in range(500)]
    with open_store(path) as store:
        for k, batch in enumerate(batches):
            store.append("validate", k, batch)
    stored = read_evaluations(path)
    assert stored.theta.tobytes() == np.concatenate([batch.theta for batch in batches]).tobytes()
    np.testing.assert_array_equal(stored.gradient, np.concatenate([batch.gradient for batch in batches]))
