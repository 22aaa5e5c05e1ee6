"""A toolkit model taken apart: simple blocks as equations, all other blocks as households.

Combined and solved blocks are opened, however deep: the unknowns and targets of a solved block join those of the whole,
since a block that is solved inside and one that is solved with everything else are the same equations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from estimhank.adapters.toolkit_expressions import Expression
from estimhank.parameters.parameter_table import ModelError
from estimhank.support.identity import identify, part_of_fingerprint

Names = Callable[[str], str]


@dataclass(frozen=True)
class SimpleLeaf:
    """A simple block: a function, and by the names that it uses those of the whole model."""

    name: str
    function: Callable[..., Any]
    inputs: dict[str, str]
    outputs: dict[str, str]

    def __call__(self, read: Callable[[str], Expression]) -> dict[str, Expression]:
        """Its outputs under the model's names, given what it reads by these.

        Raises
        ------
        ModelError
            If it does what expressions cannot.
        """
        with self._in_words():
            found = self.function(**{own: read(name) for own, name in self.inputs.items()})
        parts = found if isinstance(found, tuple) else (found,)
        each = zip(self.outputs.values(), parts, strict=True)
        return {name: part if isinstance(part, Expression) else Expression.of(part) for name, part in each}

    def today(self, expression: Expression) -> Any:
        """The number of one of its outputs.

        Raises
        ------
        ModelError
        """
        with self._in_words():
            return expression.today

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except ModelError as error:
            raise ModelError(f"the block '{self.name}': {error}") from error
        except (TypeError, AttributeError) as error:
            raise ModelError(
                f"the block '{self.name}' does more with its arguments than arithmetic, x(-1), x(+1) and x.apply(f), "
                f"and cannot be an equation: {str(error).splitlines()[0]}"
            ) from error


@dataclass(frozen=True)
class HouseholdLeaf:
    """A block with Jacobians of its own: by the names under which it is known outside itself those of the model."""

    block: Any
    inputs: dict[str, str]
    outputs: dict[str, str]


@dataclass(frozen=True)
class Graph:
    """All leaves in an order in which each follows what it reads; unknowns and targets of solved blocks."""

    simple: tuple[SimpleLeaf, ...]
    households: tuple[HouseholdLeaf, ...]
    unknowns: tuple[str, ...]
    targets: tuple[str, ...]
    order: tuple[SimpleLeaf | HouseholdLeaf, ...] = field(default=(), repr=False)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Everything that some block returns."""
        return tuple(name for leaf in self.order for name in leaf.outputs.values())

    @property
    def inputs(self) -> tuple[str, ...]:
        """Everything that some block reads and none returns, the unknowns of solved blocks included."""
        known = set(self.outputs)
        return tuple(dict.fromkeys(n for leaf in self.order for n in leaf.inputs.values() if n not in known))

    def content(self) -> dict[str, Any]:
        """What the equations are, for a fingerprint."""
        return {
            "simple": [(leaf.function, leaf.inputs, leaf.outputs) for leaf in self.simple],
            "households": [(content_of(leaf.block), leaf.inputs, leaf.outputs) for leaf in self.households],
            "unknowns": self.unknowns,
            "targets": self.targets,
        }


def content_of(block: Any) -> Any:
    """The functions and arrays that a household block is made of."""
    parts: list[Any] = [type(block).__name__, getattr(block, "nesteddict", None)]
    for role in ("backward_fun", "backward_init", "hetinputs", "hetoutputs"):
        wrapped = getattr(block, role, None)
        inner = getattr(wrapped, "functions", None)
        parts.append([f.f for f in inner.values()] if inner else getattr(wrapped, "f", None))
    if hasattr(block, "stages"):
        parts.append(block.stages)
    return parts


def take_apart(model: Any) -> Graph:
    """The leaves of a toolkit block.

    Raises
    ------
    ModelError
    """
    unknowns: list[str] = []
    targets: list[str] = []
    order = tuple(_leaves(model, lambda name: name, unknowns, targets))
    simple = tuple(leaf for leaf in order if isinstance(leaf, SimpleLeaf))
    households = tuple(leaf for leaf in order if isinstance(leaf, HouseholdLeaf))
    made = {name for leaf in households for name in leaf.outputs.values()}
    for leaf in households:
        for name in set(leaf.inputs.values()) & made:
            raise ModelError(
                f"the block '{leaf.block.name}' reads '{name}' of another household block: put a simple block that "
                "gives it another name between them"
            )
    return Graph(simple, households, tuple(unknowns), tuple(targets), order)


def _leaves(block: Any, names: Names, unknowns: list[str], targets: list[str]) -> Iterator[SimpleLeaf | HouseholdLeaf]:
    from sequence_jacobian.blocks.block import Block
    from sequence_jacobian.blocks.combined_block import CombinedBlock
    from sequence_jacobian.blocks.simple_block import SimpleBlock
    from sequence_jacobian.blocks.solved_block import SolvedBlock

    if not isinstance(block, Block):
        raise ModelError(f"a model of the sequence-jacobian toolkit is wanted (create_model, combine), not {block!r}")

    def inner(name: str) -> str:
        return names(block.M[name])

    if isinstance(block, CombinedBlock):
        for child in block.blocks:
            yield from _leaves(child, inner, unknowns, targets)
    elif isinstance(block, SolvedBlock):
        unknowns += [inner(name) for name in block.unknowns]
        targets += [inner(name) for name in block.targets]
        yield from _leaves(block.block, inner, unknowns, targets)
    elif isinstance(block, SimpleBlock):
        own = {name: inner(name) for name in block.f.inputs}
        yield SimpleLeaf(block.name, block.f.f, own, {name: inner(name) for name in block.f.outputs})
    else:
        yield HouseholdLeaf(block, {n: names(n) for n in block.inputs}, {n: names(n) for n in block.outputs})


def number(name: str, value: Any) -> float:
    """A steady-state value that equations can read.

    Raises
    ------
    ModelError
    """
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "fiub":
        raise ModelError(f"'{name}' is an array or no number in the steady state, which equations cannot read")
    return float(array.reshape(()))


def fingerprint_of(content: Mapping[str, Any], version: str) -> dict[str, str]:
    """A fingerprint of a toolkit model's content."""
    return {"content": part_of_fingerprint(identify(dict(content)), version)}
