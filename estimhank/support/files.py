"""Files that are whole or absent: atomic writes, digests and JSON."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import math
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from estimhank.support.errors import StorageError

_PART = ".unfinished-"  # in the name of a file that is being written

_WORDS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
    errno.ENOENT: "it does not exist",
    errno.ENOTDIR: "a part of its path is a file, not a folder",
    errno.EISDIR: "it is a folder",
    errno.EEXIST: "a file of that name is in the way",
}

#: What a file system says that cannot flush a file when it is asked to.
_NOT_SUPPORTED = {getattr(errno, name, -1) for name in ("EINVAL", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EBADF")}


def explain(error: OSError) -> str:
    """Words for an operating-system error, e.g. ``"the disk is full"``."""
    return _WORDS.get(error.errno or 0, error.strerror or str(error))


@contextlib.contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Turn an ``OSError`` inside the block into a :class:`StorageError` that names ``path`` and says why."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write {path}: {explain(error)}") from error


@contextlib.contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Turn an ``OSError`` inside the block into a :class:`StorageError` that names ``path`` and says why."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot read {path}: {explain(error)}") from error


def expand_user(path: Path | str) -> Path:
    """A path with ``~`` replaced by the home folder; as it stands where nobody's home is known."""
    return Path(os.path.expanduser(path))


def make_folder(path: Path | str) -> Path:
    """Create a folder and its parents, ``~`` standing for the home folder; a no-op where it exists.

    Raises
    ------
    StorageError
        If the folder cannot be created.
    """
    path = expand_user(path)
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside ``path`` to write to; it takes the place of ``path`` only if the block succeeds.

    The temporary file is flushed to the disk and renamed, and the rename is flushed too, so that after a crash ``path``
    holds either what it held before or all of what was written. Use it with writers that want a file name (netCDF,
    figures); :func:`write_bytes` and :func:`write_text` cover the rest.

    Raises
    ------
    StorageError
        If anything cannot be written; ``path`` is then untouched.
    """
    path = Path(path)
    with writing(path):
        temporary = _new_file(path)
        try:
            yield temporary
            with open(temporary, "rb+") as stream:
                sync_file(stream.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that :func:`replacing` left in a folder, and below, when its process was killed.

    Only for a folder that no other process writes to.
    """
    with writing(folder):
        for path in folder.rglob(f".*{_PART}*"):
            path.unlink(missing_ok=True)


def _new_file(path: Path) -> Path:
    """An empty file of its own beside ``path``, with the permissions that files made here have."""
    while True:
        temporary = path.with_name(f".{path.name}{_PART}{secrets.token_hex(4)}{path.suffix}")
        with contextlib.suppress(FileExistsError):
            os.close(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666))
            return temporary


def sync_file(handle: int) -> None:
    """Flush an open file to the disk, where the file system knows of such a thing.

    Raises
    ------
    OSError
        If the disk cannot take what was written.
    """
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise


def _sync_folder(folder: Path) -> None:
    # after a loss of power the old file may be there again; that is all that hangs on it
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def open_file(path: Path, writable: bool) -> int:
    """Open a file of bytes for :func:`read_at` and :func:`write_at`; an ``OSError`` where that fails."""
    return os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | getattr(os, "O_BINARY", 0))


def read_at(handle: int, size: int, offset: int) -> bytes:
    """Up to ``size`` bytes of an open file from a position on."""
    if hasattr(os, "pread"):
        return os.pread(handle, size, offset)
    os.lseek(handle, offset, os.SEEK_SET)
    return os.read(handle, size)


def write_at(handle: int, content: bytes | memoryview, offset: int) -> int:
    """Write to an open file from a position on; return how many bytes were taken."""
    if hasattr(os, "pwrite"):
        return os.pwrite(handle, content, offset)
    os.lseek(handle, offset, os.SEEK_SET)
    return os.write(handle, content)


def write_bytes(path: Path | str, content: bytes) -> Path:
    """Write a file atomically (see :func:`replacing`) and return its path."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return Path(path)


def write_text(path: Path | str, content: str) -> Path:
    """Write UTF-8 text atomically, with newlines as given, and return the path."""
    return write_bytes(path, encode(content))


def encode(text: str) -> bytes:
    """UTF-8 bytes; half characters, as names of files that are no Unicode have them, as JSON's escapes."""
    return text.encode("utf-8", "backslashreplace")


def to_plain(value: Any) -> Any:
    """Reduce to what JSON knows; arrays become lists, non-finite floats the strings ``nan``, ``inf`` and ``-inf``."""
    if isinstance(value, np.ndarray):
        return to_plain(value.tolist())
    if isinstance(value, np.generic):
        return to_plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def to_json(value: Any, indent: int | None = 2) -> str:
    """JSON text of numbers, strings, arrays, mappings, sequences and dataclasses.

    Floats are written with the digits that give back the same float64. JSON has no infinities: they and nan are written
    as the strings ``"inf"``, ``"-inf"`` and ``"nan"``, which ``float`` understands.
    """
    return json.dumps(to_plain(value), indent=indent, ensure_ascii=False, allow_nan=False) + ("\n" if indent else "")


def write_json(path: Path | str, value: Any) -> Path:
    """Write :func:`to_json` of ``value`` atomically and return the path."""
    return write_text(path, to_json(value))


def read_text(path: Path | str) -> str:
    """Read UTF-8 text.

    Raises
    ------
    StorageError
        If the file cannot be read or is not UTF-8.
    """
    with reading(path):
        content = Path(path).read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise StorageError(f"cannot read {path}: it is not UTF-8 text (byte {error.start})") from error


def read_json(path: Path | str) -> Any:
    """Read a JSON file; a damaged one is a :class:`StorageError` that names the line."""
    text = read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise StorageError(f"cannot read {path}: line {error.lineno} is not JSON ({error.msg})") from error
    except (ValueError, RecursionError) as error:  # a whole number of thousands of digits, or thousands of brackets
        raise StorageError(f"cannot read {path}: {error}") from error


def read_arrays(path: Path | str) -> dict[str, np.ndarray]:
    """The arrays of an NPZ file, by name.

    Raises
    ------
    StorageError
        If the file cannot be read or is no such file.
    """
    with reading(path):
        try:
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except OSError:
            raise
        except Exception as error:  # what zip files, compression and headers of arrays raise at other bytes has no end
            raise StorageError(f"cannot read {path}: it is not a file of arrays ({error!r})") from error


def sha256_of(content: bytes | str) -> str:
    """Hexadecimal SHA-256 of bytes, or of a text's UTF-8 bytes."""
    return hashlib.sha256(encode(content) if isinstance(content, str) else content).hexdigest()


def sha256_of_file(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file's bytes, read in pieces."""
    with reading(path), open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_of_array(array: np.ndarray) -> str:
    """Hexadecimal SHA-256 of an array's shape and little-endian values; every nan counts as the same nan."""
    values = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"))
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), values.dtype.type(np.nan), values + 0.0)  # + 0.0: -0 and 0 are equal
    head = f"{values.dtype.kind}{values.dtype.itemsize} {values.shape} "
    return sha256_of(head.encode() + values.tobytes())
