"""Mistakes in a model's file, as one sentence with the line that they are on."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from estimhank.parameters.parameter_table import ModelError
from estimhank.support.errors import EstimhankError


def _files_of(cls: type) -> dict[str, type]:
    """Files in which a class and its bases are written, the package's own left out."""
    found = {}
    for base in cls.__mro__:
        if base is object or base.__module__.split(".")[0] == "estimhank":
            continue
        try:
            found[inspect.getfile(base)] = base
        except (TypeError, OSError):  # typed at a prompt
            continue
    return found


def line_of(model: Any, error: BaseException) -> str:
    """``"file.py:12: "`` for the last line of the model's file that led to an error; empty where there is none."""
    files = _files_of(type(model))
    lines = [f for f in traceback.extract_tb(error.__traceback__) if f.filename in files]
    return f"{Path(lines[-1].filename).name}:{lines[-1].lineno}: " if lines else ""


def line_of_class(cls: type) -> str:
    """``"file.py:12: "`` for the line that a model's class begins on; empty where it cannot be seen."""
    for file, base in _files_of(cls).items():
        try:
            return f"{Path(file).name}:{inspect.getsourcelines(base)[1]}: "
        except (OSError, TypeError):
            continue
    return ""


@contextmanager
def told_with_line(model: Any, what: str) -> Iterator[None]:
    """Turn whatever the model's own code raises into a :class:`ModelError` that says where.

    Parameters
    ----------
    model : Model
    what : str
        What was being done, ``"equations"``.
    """
    try:
        yield
    except ArithmeticError:
        raise  # parameter values that lead nowhere, not a mistake
    except ModelError as error:
        where = line_of(model, error)
        raise ModelError(f"{where}{error}") from error if where else None
    except EstimhankError:
        raise
    except Exception as error:
        where = line_of(model, error)
        if not where or type(error).__module__.startswith("jax"):
            raise
        raise ModelError(f"{where}{what} of the model {model.name}: {type(error).__name__}: {error}") from error
