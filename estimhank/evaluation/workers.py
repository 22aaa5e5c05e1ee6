"""Independent calls, on workers where there are some: what stages ask for besides evaluations.

A network's training, a share of the surrogate's chains, a look at where the density has cliffs: each is a function of
its arguments alone, so where it runs leaves no trace in the numbers. XLA has one thread a process
(:mod:`estimhank.support.runtime`), so what is to run side by side runs in processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from estimhank.target.protocol import Target


@runtime_checkable
class Workers(Protocol):
    """Who makes calls: an :class:`~estimhank.evaluation.engine.Engine`, or :class:`InTurn`."""

    def map(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Results of a module's function, given each tuple of arguments; in their order."""
        ...

    def map_target(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The same, of a function whose first argument is the target, of which workers keep a copy."""
        ...


@dataclass(frozen=True)
class InTurn:
    """Calls made in this process, one after the other.

    Attributes
    ----------
    target : Target
        First argument of the functions that :meth:`map_target` calls.
    """

    target: Target

    def map(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """See :class:`Workers`."""
        return [function(*given) for given in arguments]

    def map_target(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """See :class:`Workers`."""
        return [function(self.target, *given) for given in arguments]
