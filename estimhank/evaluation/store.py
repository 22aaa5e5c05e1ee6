"""The evaluation store: every evaluation of the log density, in one append-only file that survives a crash.

A batch is one write of a checksummed record. A process killed while writing leaves at most one incomplete record at the
end, which is cut off when the store is next opened; anything else that does not match its checksum is damage and is
reported as such. Flushing to the disk runs beside the next batch's evaluation and is waited for before the next write,
so a power failure costs the last two batches at most. One process at a time may write.
"""

from __future__ import annotations

import contextlib
import os
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any, Self

import numpy as np

from estimhank.evaluation.evaluations import STORED_STAGES, EvaluationBatch, Evaluations, empty_gradient, stage_code
from estimhank.evaluation.store_format import (
    BATCH_HEAD_SIZE,
    HEAD,
    BatchHead,
    head_size,
    never_written,
    pack_batch,
    pack_head,
    parse_batch_head,
    parse_head,
    row_type,
)
from estimhank.support.errors import ResultsError, StorageError
from estimhank.support.files import explain, open_file, read_at, reading, sync_file, write_at, write_bytes, writing
from estimhank.support.identity import differing_parts, why_unidentified
from estimhank.support.locking import lock

#: Name of the store in a results folder.
FILE_NAME = "evaluations.bin"

_PIECE = 1 << 26  # bytes held at a time while scanning or reading


class EvaluationStore:
    """An open evaluation store. Use :meth:`open` to write and :func:`read_evaluations` to look at one.

    Attributes
    ----------
    path : Path
        The file.
    names : tuple of str
        Parameter names.
    fingerprint : dict of str
        What the stored density depends on, part by part.
    discarded_bytes : int
        Length of the incomplete last record that was cut off when the store was opened.
    """

    def __init__(self, path: Path, handle: int, writable: bool) -> None:
        self.path = path
        self._handle = handle
        self._writable = writable
        start, description = _read_head(path, handle)
        self.names: tuple[str, ...] = tuple(description["names"])
        self.fingerprint: dict[str, str] = dict(description["fingerprint"])
        self._heads: list[BatchHead] = []
        self._offsets: list[int] = []
        self._index: dict[tuple[int, int], int] = {}
        self._rows = 0
        self._end = start
        for offset, head in _scan(path, handle, start, self.dimension):
            self._remember(offset, head)
        self.discarded_bytes = os.fstat(handle).st_size - self._end
        self._disk = ThreadPoolExecutor(1, "evaluation-store") if writable else None
        self._flush: Future[None] | None = None
        if writable and self.discarded_bytes:
            with writing(path):
                os.ftruncate(handle, self._end)
                sync_file(handle)

    @classmethod
    def open(cls, path: Path | str, names: Sequence[str], fingerprint: Mapping[str, str]) -> Self:
        """Open a store for writing; create it where there is none.

        Parameters
        ----------
        path : path
            The file; its folder must exist.
        names : sequence of str, length d
            Parameter names.
        fingerprint : mapping
            What the density depends on, part by part (``model``, ``data``, ``prior``, ...), each as a short digest.

        Raises
        ------
        StorageError
            If the file cannot be read or written, is damaged, or is in use by another process.
        ResultsError
            If the file holds evaluations of another density; the message names the parts that differ.
        """
        path, own = Path(path), False
        if not path.exists():
            created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            description = {"names": list(names), "fingerprint": dict(fingerprint), "created": created}
            write_bytes(path, pack_head(description))
            own = True
        with writing(path):
            handle = open_file(path, writable=True)
        try:
            _lock(path, handle)
            if not own:
                _refuse_other(path, _read_head(path, handle)[1], tuple(names), fingerprint)
            return cls(path, handle, writable=True)
        except BaseException:
            os.close(handle)
            raise

    @property
    def dimension(self) -> int:
        """Number of parameters d."""
        return len(self.names)

    def __len__(self) -> int:
        """Number of evaluations."""
        return self._rows

    def __contains__(self, key: tuple[str, int]) -> bool:
        """Whether the batch (stage, iteration) is stored."""
        return (stage_code(key[0]), key[1]) in self._index

    def append(self, stage: str, iteration: int, batch: EvaluationBatch) -> None:
        """Add a batch.

        Raises
        ------
        ValueError
            If the batch is empty, of another dimension, or already stored.
        StorageError
            If it cannot be written; what was stored before is kept and whole.
        """
        code = stage_code(stage)
        if (code, iteration) in self._index:
            raise ValueError(f"stage {stage}, iteration {iteration} is already in {self.path}")
        if batch.theta.ndim != 2 or batch.theta.shape[1] != self.dimension or not len(batch):
            raise ValueError(f"a batch must have shape (n, {self.dimension}) with n > 0, not {batch.theta.shape}")
        if not self._writable or self._disk is None:
            raise ValueError(f"{self.path} is open for reading only")
        self.flush()
        record = pack_batch(code, iteration, batch)
        head = parse_batch_head(record[:BATCH_HEAD_SIZE])
        assert head is not None
        try:
            _write_all(self._handle, record, self._end)
        except OSError as error:
            with contextlib.suppress(OSError):  # what is left of the record is cut off when the store is next opened
                os.ftruncate(self._handle, self._end)
            raise StorageError(
                f"cannot write {self.path}: {explain(error)}; the {len(self):,} evaluations stored before are kept"
            ) from error
        self._remember(self._end, head)
        self._flush = self._disk.submit(sync_file, self._handle)

    def flush(self) -> None:
        """Wait until everything appended is on the disk; ``StorageError`` if the disk refuses."""
        if self._flush is not None:
            pending, self._flush = self._flush, None
            with writing(self.path):
                pending.result()

    def batch(self, stage: str, iteration: int) -> EvaluationBatch | None:
        """Return the batch (stage, iteration), or None where it is not stored."""
        number = self._index.get((stage_code(stage), iteration))
        if number is None:
            return None
        offset, head = self._offsets[number], self._heads[number]
        size = BATCH_HEAD_SIZE + head.size(self.dimension)
        record = _read_exactly(self.path, self._handle, offset, size)
        rows = np.frombuffer(record, row_type(self.dimension, head.gradient), offset=BATCH_HEAD_SIZE)
        columns = {name: rows[name].copy() for name in rows.dtype.names or ()}
        return EvaluationBatch(**{"gradient": empty_gradient(head.rows, self.dimension), **columns})

    def read(self, *stages: str) -> Evaluations:
        """Return the evaluations of the named stages (all, if none is named) in the order in which they were stored."""
        wanted = {stage_code(stage) for stage in stages} or set(range(len(STORED_STAGES)))
        chosen = [number for number, head in enumerate(self._heads) if head.stage in wanted]
        n, d = sum(self._heads[number].rows for number in chosen), self.dimension
        any_gradient = any(self._heads[number].gradient for number in chosen)
        columns: dict[str, np.ndarray] = {
            name: np.empty((n, *field[0].shape), field[0].base.newbyteorder("="))
            for name, field in (row_type(d, False).fields or {}).items()
        }
        columns["gradient"] = np.empty((n, d)) if any_gradient else empty_gradient(n, d)
        columns["stage"], columns["iteration"] = np.empty(n, np.uint8), np.empty(n, np.int64)
        start = 0
        for first, last in self._runs(chosen):
            rows = self._read_run(first, last)
            part = slice(start, start + rows.size)
            for name in rows.dtype.names or ():
                columns[name][part].reshape(rows[name].shape)[...] = rows[name]
            heads = self._heads[first:last]
            if any_gradient and not heads[0].gradient:
                columns["gradient"][part] = np.nan
            columns["stage"][part] = np.repeat([head.stage for head in heads], rows.shape[1])
            columns["iteration"][part] = np.repeat([head.iteration for head in heads], rows.shape[1])
            start += rows.size
        return Evaluations(**columns)

    def _runs(self, chosen: list[int]) -> Iterator[tuple[int, int]]:
        """Split batches into runs of neighbours of one shape, a piece of memory at most, so that each is one array."""
        for _, run in groupby(enumerate(chosen), lambda item: self._run_key(item[0], item[1])):
            numbers = [number for _, number in run]
            size = BATCH_HEAD_SIZE + self._heads[numbers[0]].size(self.dimension)
            step = max(1, _PIECE // size)
            for first in range(numbers[0], numbers[-1] + 1, step):
                yield first, min(first + step, numbers[-1] + 1)

    def _run_key(self, position: int, number: int) -> tuple[int, int, bool]:
        head = self._heads[number]
        return number - position, head.rows, head.gradient

    def _read_run(self, first: int, last: int) -> np.ndarray:
        head = self._heads[first]
        row = row_type(self.dimension, head.gradient)
        record = np.dtype([("head", f"V{BATCH_HEAD_SIZE}"), ("rows", row, (head.rows,))])
        size = (last - first) * record.itemsize
        content = _read_exactly(self.path, self._handle, self._offsets[first], size)
        rows: np.ndarray = np.frombuffer(content, record)["rows"]
        return rows

    def _remember(self, offset: int, head: BatchHead) -> None:
        key = (head.stage, head.iteration)
        if key in self._index:
            raise StorageError(
                f"{self.path} is damaged: it holds {STORED_STAGES[head.stage]} batch {head.iteration} twice"
            )
        self._index[key] = len(self._heads)
        self._heads.append(head)
        self._offsets.append(offset)
        self._rows += head.rows
        self._end = offset + BATCH_HEAD_SIZE + head.size(self.dimension)

    def close(self) -> None:
        """Flush to the disk and release the file."""
        try:
            self.flush()
        finally:
            if self._disk is not None:
                self._disk.shutdown()
            os.close(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def read_evaluations(path: Path | str, *stages: str) -> Evaluations:
    """Read a store without changing it, also while another process writes; an incomplete last batch is left out.

    Parameters
    ----------
    path : path
        The file.
    *stages : str
        Stages to read; all, if none is named.

    Raises
    ------
    StorageError
        If the file cannot be read or is damaged.
    """
    with open_for_reading(path) as store:
        return store.read(*stages)


def open_for_reading(path: Path | str) -> EvaluationStore:
    """Open a store for reading only, whatever density it belongs to (see its ``names`` and ``fingerprint``)."""
    path = Path(path)
    with reading(path):
        handle = open_file(path, writable=False)
    try:
        return EvaluationStore(path, handle, writable=False)
    except BaseException:
        os.close(handle)
        raise


def _read_head(path: Path, handle: int) -> tuple[int, dict[str, Any]]:
    try:
        with reading(path):
            size = head_size(read_at(handle, HEAD.size, 0))
            content = read_at(handle, size, 0)
        return size, parse_head(content)
    except StorageError as error:
        if str(error).startswith("cannot read"):
            raise
        raise StorageError(f"cannot use {path}: {error}") from error


def _scan(path: Path, handle: int, start: int, dimension: int) -> Iterator[tuple[int, BatchHead]]:
    """Yield position and head of every whole batch; stop at an incomplete one; ``StorageError`` for a damaged one."""
    end = os.fstat(handle).st_size
    offset = start
    buffer, begin = b"", start
    while end - offset >= BATCH_HEAD_SIZE:
        if offset + BATCH_HEAD_SIZE > begin + len(buffer):
            buffer, begin = _read_exactly(path, handle, offset, min(_PIECE, end - offset)), offset
        local = offset - begin
        content = buffer[local : local + BATCH_HEAD_SIZE]
        head = parse_batch_head(content)
        if head is None:
            if never_written(_read_exactly(path, handle, offset, min(_PIECE, end - offset)), offset):
                return
            raise StorageError(f"{path} is damaged at byte {offset:,}: a batch's head does not match its checksum")
        size = BATCH_HEAD_SIZE + head.size(dimension)
        if offset + size > end:
            return
        if local + size > len(buffer):
            buffer, begin, local = _read_exactly(path, handle, offset, max(size, min(_PIECE, end - offset))), offset, 0
        rows = memoryview(buffer)[local + BATCH_HEAD_SIZE : local + size]
        if zlib.crc32(rows) != head.crc:
            if offset + size == end and never_written(bytes(rows), offset + BATCH_HEAD_SIZE):
                return
            raise StorageError(
                f"{path} is damaged between bytes {offset:,} and {offset + size:,}: stage {STORED_STAGES[head.stage]}, "
                f"iteration {head.iteration} does not match its checksum"
            )
        yield offset, head
        offset += size


def _read_exactly(path: Path, handle: int, offset: int, size: int) -> bytes:
    with reading(path):
        parts = []
        while size:
            part = read_at(handle, min(size, 1 << 30), offset)
            if not part:
                raise StorageError(f"{path} became shorter while it was read")
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _write_all(handle: int, content: bytes, offset: int) -> None:
    remaining = memoryview(content)
    while remaining:
        written = write_at(handle, remaining, offset)
        remaining, offset = remaining[written:], offset + written


def _lock(path: Path, handle: int) -> None:
    try:
        lock(handle)
    except BlockingIOError as error:
        raise StorageError(f"cannot write {path}: another process is writing it") from error


def _refuse_other(
    path: Path, description: Mapping[str, Any], names: tuple[str, ...], fingerprint: Mapping[str, str]
) -> None:
    stored, stored_names = description["fingerprint"], tuple(description["names"])
    if why := why_unidentified(fingerprint):
        raise ResultsError(f"{path} cannot be gone on with: {why}, or begin again in another folder")
    parts = differing_parts(stored, fingerprint)
    details = [f"{part}: stored {stored.get(part, 'none')}, now {fingerprint.get(part, 'none')}" for part in parts]
    if stored_names != names:
        parts.append("parameters")
        details.append(f"parameters: stored {', '.join(stored_names)}; now {', '.join(names)}")
    if parts:
        raise ResultsError(
            f"{path} holds evaluations of another log density: the {' and the '.join(dict.fromkeys(parts))} "
            f"{'differs' if len(parts) == 1 else 'differ'} ({'; '.join(details)})"
        )
