"""What of a model is known before its numbers: positions of variables and equations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from estimhank.households.given import GivenHousehold
from estimhank.households.one_asset import HouseholdBlock
from estimhank.model.declaration import Model
from estimhank.sequence_space.coarse_dates import CoarseDates
from estimhank.sequence_space.condensation import Condensation
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
    (:mod:`estimhank.sequence_space.last_dates`). With a ``condensation`` all of them speak of the system that it
    leaves. ``coarse``: the dates at which the dense equations are solved, None for all of them.
    """

    elimination: Elimination
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    late: tuple[Late, ...] = ()
    condensation: Condensation | None = None
    coarse: CoarseDates | None = None

    @property
    def whole_inputs(self) -> tuple[int, ...]:
        """The household's inputs among all unknowns."""
        return self.condensation.inputs if self.condensation else self.inputs

    @property
    def whole_outputs(self) -> tuple[int, ...]:
        """The household's outputs that have Jacobians, among all unknowns."""
        return self.condensation.outputs if self.condensation else self.outputs

    @property
    def dense_variables(self) -> tuple[int, ...]:
        """The dense variables among all unknowns; of a sum of household outputs, the first one."""
        kept = self.condensation.variables if self.condensation else None
        return tuple(kept[i] if kept else i for i in self.elimination.dense)

    @property
    def source_variables(self) -> tuple[int, ...]:
        """Positions, among the unknowns, of the variables of the banded block that enter the dense equations."""
        return tuple(self.elimination.rest[i] for i in self.elimination.sources)


def household_positions(model: Model) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Positions among ``model.unknowns`` of the household's inputs and of its outputs that have Jacobians."""
    names = model.unknowns
    inputs, outputs = household_names(model.blocks)
    return tuple(map(names.index, inputs)), tuple(map(names.index, outputs))


def household_names(
    blocks: Sequence[HouseholdBlock | GivenHousehold],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Inputs of household blocks, each once, and their outputs that have Jacobians."""
    inputs = dict.fromkeys(name for block in blocks for name in block.inputs)
    return tuple(inputs), tuple(n for block in blocks for n in block.outputs if n not in block.derived)
