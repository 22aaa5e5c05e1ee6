"""Errors that a user can act on.

Whatever the input or the machine does wrong is an :class:`EstimhankError` with one clear sentence; the command line
prints that sentence and ends with the error's exit code. Anything else that is raised is a bug and keeps its traceback.
"""

from __future__ import annotations

import sys
from typing import Any, Self

from estimhank.support.error_numbers import NUMBERS

#: Characters that break a line or turn the writing round, and how they are shown.
_SHOWN = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160), *range(0x2028, 0x202F))}
#: A longer sentence holds something that nobody reads to its end: characters kept of it from its beginning and its end.
_LONGEST, _HEAD, _END = 2_000, 1_200, 600


class EstimhankError(Exception):
    """Something the user can put right, said in one sentence: one line, whatever was in the input that it shows."""

    exit_code: int = 2
    #: Module that made it.
    made_in: str = ""

    def __new__(cls, *arguments: Any, **named: Any) -> Self:
        made = super().__new__(cls, *arguments)
        made.made_in = str(sys._getframe(1).f_globals.get("__name__", ""))  # in its state, so that it survives pickling
        return made

    @property
    def number(self) -> str:
        """Its number in the catalogue, ``"E10"`` (``docs/errors.md``); empty if it is not of the package."""
        module = self.made_in.removeprefix("estimhank.").replace(".", "/") + ".py"
        return NUMBERS.get((type(self).__name__, module), "")

    @property
    def cited(self) -> str:
        """The sentence with its number behind it."""
        return f"{self} [{self.number}]" if self.number else str(self)

    def __str__(self) -> str:
        said = super().__str__().translate(_SHOWN)
        return said if len(said) <= _LONGEST else f"{said[:_HEAD]} ... {said[-_END:]}"


class ConfigError(EstimhankError):
    """A configuration file that cannot be used: unknown key, wrong type, impossible value."""


class DataError(EstimhankError):
    """Data that cannot be used: gaps, text in numbers, a sample outside the data, a constant series."""


class StorageError(EstimhankError):
    """A file that cannot be written or read: no permission, no room, missing, damaged."""


class ResultsError(EstimhankError):
    """A results folder that does not fit the run: unfinished, or of another model, data set or configuration."""


class CertificateError(EstimhankError):
    """The surrogate's certificate failed and the run was told to require it."""

    exit_code = 3


class ConvergenceError(EstimhankError):
    """The exact posterior did not reach its convergence criteria."""

    exit_code = 4


class TransitionError(EstimhankError):
    """There is no nonlinear path to print: the iterations have not converged, or what they found is none."""

    exit_code = 4


class Interrupted(EstimhankError):
    """The user stopped the run."""

    exit_code = 130


class ModelWarning(UserWarning):
    """A declaration that is solved as it stands, but may not be what was meant."""
