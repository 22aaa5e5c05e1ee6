"""Where words are printed: terminals and pipes of any encoding, and those that take nothing more."""

from __future__ import annotations

import contextlib
import io
import os
import sys

from estimhank.support.errors import EstimhankError, StorageError
from estimhank.support.files import explain


def tolerate_encodings() -> None:
    """Have what an encoding lacks printed as an escape (``\\xeb``), so that a path or a name ends no run."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # none where it is closed, something else in a notebook
            stream.reconfigure(errors="backslashreplace")


def why_not_printed(more: str = "") -> OSError | None:
    """What keeps standard output from taking what was printed and ``more``, a full disk say, if anything does."""
    try:
        if sys.stdout is not None:
            sys.stdout.write(more)
            sys.stdout.flush()
    except OSError as error:
        return error
    return None


def of_a_file(error: EstimhankError | OSError) -> EstimhankError:
    """What the system says of a file that was only looked for, whose name is too long say, as an error of the package.

    Raises
    ------
    OSError
        The same, if it is of no file: then it is a fault of the package.
    """
    if isinstance(error, EstimhankError):
        return error
    if error.filename is None:
        raise error
    return StorageError(f"cannot use {os.fsdecode(error.filename)}: {explain(error)}")


def finish_printing(error: OSError | None = None) -> int:
    """Print what is left; where that cannot be, say why and give it up. The exit code that this has, 0 if all is well.

    Where nobody reads any more, as behind ``| head``, there is nobody to be told. ``error``: why it failed before.
    """
    error = error or why_not_printed()
    if error is None:
        return 0
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would complain at its end
    if isinstance(error, BrokenPipeError):
        return 1
    with contextlib.suppress(OSError):
        print(f"estimhank: what it says cannot be printed: {explain(error)}", file=sys.stderr)
    return EstimhankError.exit_code
