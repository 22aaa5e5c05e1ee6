"""Several household blocks in one model: each under a name, with what belongs to it under the model's names."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax

from estimhank.households.one_asset import HouseholdBlock, Policies, StateSpace
from estimhank.households.transition import Transition


class _Renamed:
    """Attribute access under other names."""

    __slots__ = ("_names", "_values")

    def __init__(self, values: Any, names: Mapping[str, str]) -> None:
        self._values, self._names = values, names

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._values, self._names.get(name, name))


@dataclass(frozen=True)
class NamedBlock(HouseholdBlock):
    """A block whose outputs are ``<name>.<output>``, and which reads its own inputs and parameters where there are any.

    Attributes
    ----------
    block : HouseholdBlock
    name : str
    inputs, outputs, parameters, derived : tuple of str
        As the model knows them: ``Z_poor`` where the model has it, else ``Z``.
    """

    block: HouseholdBlock
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: tuple[str, ...] = ()
    derived: tuple[str, ...] = ()

    @classmethod
    def of(cls, block: HouseholdBlock, name: str, variables: Collection[str], table: Collection[str]) -> NamedBlock:
        """A block under a name, given the model's variables and the names in its parameter table."""

        def own(given: str, known: Collection[str]) -> str:
            return f"{given}_{name}" if f"{given}_{name}" in known else given

        return cls(
            block,
            name,
            inputs=tuple(own(n, variables) for n in block.inputs),
            outputs=tuple(f"{name}.{n}" for n in block.outputs),
            parameters=tuple(own(n, table) for n in block.parameters),
            derived=tuple(f"{name}.{n}" for n in block.derived),
        )

    def _reading(self, p: Any) -> _Renamed:
        return _Renamed(p, dict(zip(self.block.parameters, self.parameters, strict=True)))

    def _given(self, inputs: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        return {own: inputs[name] for own, name in zip(self.block.inputs, self.inputs, strict=True)}

    def grids(self, p: Any) -> StateSpace:
        """Those of the block."""
        return self.block.grids(self._reading(p))

    def initial_marginal_value(self, grids: StateSpace, inputs: Mapping[str, jax.Array], p: Any) -> jax.Array:
        """That of the block."""
        return self.block.initial_marginal_value(grids, self._given(inputs), self._reading(p))

    def backward(
        self, marginal_value_next: jax.Array, inputs: Mapping[str, jax.Array], grids: StateSpace, p: Any
    ) -> Policies:
        """That of the block, its outputs renamed."""
        found = self.block.backward(marginal_value_next, self._given(inputs), grids, self._reading(p))
        names = dict(zip(self.block.outputs, self.outputs, strict=True))
        return found._replace(outputs={names[n]: policy for n, policy in found.outputs.items() if n in names})

    def transition(self, grids: StateSpace, policies: Policies) -> Transition:
        """That of the block."""
        return self.block.transition(grids, policies)

    def identities(self, lag: Any, now: Any) -> Iterator[tuple[str, Any]]:
        """Those of the block, of the model's variables."""
        names = dict(zip((*self.block.inputs, *self.block.outputs), (*self.inputs, *self.outputs), strict=True))
        for name, residual in self.block.identities(_Renamed(lag, names), _Renamed(now, names)):
            yield f"{name}, {self.name}", residual
