"""Byte layout of the evaluation store: packing, parsing and checking, without touching a file::

    file    = head, batch, batch, ...
    head    = magic "EVALSTOR", version u4, length of JSON u4, CRC-32 of JSON u4, JSON, zeros up to a multiple of 64
    batch   = "BATC", stage u1, flags u1, zeros u2, number of rows u4, CRC-32 of the rows u4, iteration i8,
              CRC-32 of the above u4, rows
    row     = theta f8[d], log_likelihood f8, log_prior f8, reason u1, seconds f4 (, gradient f8[d] where flags is 1)

All numbers are little-endian and unaligned.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from estimhank.evaluation.evaluations import STORED_STAGES, EvaluationBatch
from estimhank.support.errors import StorageError

MAGIC = b"EVALSTOR"
VERSION = 1
HEAD = struct.Struct("<8sIII")

_BATCH_MAGIC = b"BATC"
_BATCH = struct.Struct("<4sBBHIIq")
_CRC = struct.Struct("<I")
BATCH_HEAD_SIZE = _BATCH.size + _CRC.size
_WITH_GRADIENT = 1

#: A file system that loses power may keep a file's new length but not its content; such blocks read as zeros.
_BLOCK = 512


@dataclass(frozen=True)
class BatchHead:
    """Where a batch belongs and how long it is."""

    stage: int
    iteration: int
    rows: int
    gradient: bool
    crc: int

    def size(self, dimension: int) -> int:
        """Bytes of the batch's rows."""
        return self.rows * row_type(dimension, self.gradient).itemsize


@lru_cache
def row_type(dimension: int, gradient: bool) -> np.dtype[Any]:
    """Structured type of one stored evaluation."""
    columns: list[Any] = [
        ("theta", "<f8", (dimension,)),
        ("log_likelihood", "<f8"),
        ("log_prior", "<f8"),
        ("reason", "u1"),
        ("seconds", "<f4"),
    ]
    return np.dtype(columns + ([("gradient", "<f8", (dimension,))] if gradient else []))


def pack_head(description: dict[str, Any]) -> bytes:
    """Bytes of the file's head."""
    text = json.dumps(description, ensure_ascii=False, sort_keys=True).encode()
    head = HEAD.pack(MAGIC, VERSION, len(text), zlib.crc32(text)) + text
    return head + bytes(-len(head) % 64)


def head_size(content: bytes) -> int:
    """Bytes of the whole head, from its first ``HEAD.size`` bytes.

    Raises
    ------
    StorageError
        If this is not the beginning of an evaluation store of this version.
    """
    if len(content) < HEAD.size or content[: len(MAGIC)] != MAGIC:
        raise StorageError("it is not an evaluation store")
    _, version, length, _ = HEAD.unpack_from(content)
    if version != VERSION:
        raise StorageError(f"it has format version {version}; this package reads version {VERSION}")
    size: int = HEAD.size + length
    return size + -size % 64


def parse_head(content: bytes) -> dict[str, Any]:
    """Description in the file's head (see :func:`pack_head`); ``StorageError`` if it is damaged."""
    size = head_size(content)
    _, _, length, crc = HEAD.unpack_from(content)
    text = content[HEAD.size : HEAD.size + length]
    if len(content) < size or zlib.crc32(text) != crc:
        raise StorageError("its head is damaged")
    try:
        description = json.loads(text)
        names, fingerprint = description["names"], description["fingerprint"]
        of_texts = isinstance(names, list) and isinstance(fingerprint, dict)
        if not of_texts or not all(isinstance(word, str) for word in (*names, *fingerprint, *fingerprint.values())):
            raise ValueError("names and fingerprint are not those of a log density")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise StorageError(f"its head is damaged: {error!r}") from None
    return dict(description)


def pack_batch(stage: int, iteration: int, batch: EvaluationBatch) -> bytes:
    """Bytes of a batch. Gradients are left out where no row has one."""
    gradient = not bool(np.isnan(batch.gradient).all())
    rows = np.zeros(len(batch), row_type(batch.theta.shape[1], gradient))
    for name in rows.dtype.names or ():
        rows[name] = getattr(batch, name)
    payload = rows.tobytes()
    head = _BATCH.pack(_BATCH_MAGIC, stage, int(gradient), 0, len(batch), zlib.crc32(payload), iteration)
    return head + _CRC.pack(zlib.crc32(head)) + payload


def parse_batch_head(content: bytes) -> BatchHead | None:
    """Head of a batch from ``BATCH_HEAD_SIZE`` bytes; None if they are damaged."""
    magic, stage, flags, _, rows, crc, iteration = _BATCH.unpack_from(content)
    (own,) = _CRC.unpack_from(content, _BATCH.size)
    if magic != _BATCH_MAGIC or own != zlib.crc32(content[: _BATCH.size]) or stage >= len(STORED_STAGES):
        return None
    return BatchHead(stage, iteration, rows, flags == _WITH_GRADIENT, crc)


def never_written(content: bytes, offset: int) -> bool:
    """Whether part of a batch at file position ``offset`` reads as a disk block that was never written.

    No valid batch has so many zero bytes in a row, so this tells the batch in flight when the power failed, which may
    be dropped, from one that was damaged later, which must not be.
    """
    starts = range(-offset % _BLOCK, len(content) - _BLOCK + 1, _BLOCK)
    return not any(content) or any(not any(content[start : start + _BLOCK]) for start in starts)
