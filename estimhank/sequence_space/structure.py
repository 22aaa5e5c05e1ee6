"""What of a model is known before its numbers: positions of variables and equations."""

from __future__ import annotations

from dataclasses import dataclass

from estimhank.model.declaration import Model
from estimhank.sequence_space.elimination import Elimination


@dataclass(frozen=True)
class Late:
    """A dense variable that does nothing before ``dates`` later, and the dense equation that has to wait for it.

    ``variable``: position among the dense variables; ``equation``: among the dense equations of a date.
    """

    variable: int
    equation: int
    dates: int


@dataclass(frozen=True)
class Structure:
    """How the equations are eliminated, and where the household stands in them.

    ``inputs`` and ``outputs`` are the positions, among the unknowns, of the household's inputs and of its outputs that
    have Jacobians. ``late``: dense variables that matter only from a later date on
    (:mod:`estimhank.sequence_space.last_dates`).
    """

    elimination: Elimination
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    late: tuple[Late, ...] = ()

    @property
    def source_variables(self) -> tuple[int, ...]:
        """Positions, among the unknowns, of the variables of the banded block that enter the dense equations."""
        return tuple(self.elimination.rest[i] for i in self.elimination.sources)


def household_positions(model: Model) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Positions among ``model.unknowns`` of the household's inputs and of its outputs that have Jacobians."""
    if model.household is None:
        return (), ()
    names, block = model.unknowns, model.household
    return (
        tuple(names.index(n) for n in block.inputs),
        tuple(names.index(n) for n in block.outputs if n not in block.derived),
    )
