"""Locks that keep two processes out of one file, where the operating system and the file system have them.

They guard against a mistake, two runs in one folder, and nothing else depends on them: where there are none (a network
share, another system than Unix or Windows) work goes on without.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from pathlib import Path
from typing import Any


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


_unix, _windows = _module("fcntl"), _module("msvcrt")

_FAR = 1 << 40  # Windows locks bytes, and keeps others from reading them: one beyond the end of any file
_LOCK_FILE = ".lock"


def lock(handle: int) -> None:
    """Lock an open file until it is closed; without effect where there are no locks.

    Raises
    ------
    BlockingIOError
        If another process holds the lock.
    """
    try:
        if _unix is not None:
            _unix.flock(handle, _unix.LOCK_EX | _unix.LOCK_NB)
        elif _windows is not None:
            here = os.lseek(handle, 0, os.SEEK_CUR)
            os.lseek(handle, _FAR, os.SEEK_SET)
            try:
                _windows.locking(handle, _windows.LK_NBLCK, 1)
            except PermissionError as error:
                raise BlockingIOError(*error.args) from None
            finally:
                os.lseek(handle, here, os.SEEK_SET)
    except BlockingIOError:
        raise
    except OSError:
        return  # a file system without locks


@contextlib.contextmanager
def locked(folder: Path) -> Any:
    """Hold the lock of a folder while the block runs; ``BlockingIOError`` if another process holds it."""
    handle = None
    with contextlib.suppress(OSError):
        if _unix is not None:
            handle = os.open(folder, os.O_RDONLY)
        elif _windows is not None:  # where folders cannot be opened
            handle = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT)
    try:
        if handle is not None:
            lock(handle)
        yield
    finally:
        if handle is not None:
            os.close(handle)
