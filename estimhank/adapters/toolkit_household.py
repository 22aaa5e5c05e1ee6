"""Steady states and household Jacobians of a toolkit model, as the toolkit computes them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from estimhank.adapters.toolkit_graph import HouseholdLeaf, fingerprint_of, number
from estimhank.households.given import GivenHousehold
from estimhank.households.stationary import SteadyStateError
from estimhank.parameters.parameter_table import ModelError

#: Largest value of a target in the steady state, and largest difference, relative to one plus the value, between a
#: number of the steady state and what its block returns: households are solved to 1e-8 by the toolkit.
SOLVED = 1e-5

_KEPT = 4  # steady states, and Jacobians


class SteadyStates:
    """The toolkit's steady state as a function of the parameters that move it.

    Parameters
    ----------
    given : SteadyStateDict, or callable
        The one steady state; or a function from a dictionary of the moving parameters to theirs.
    moving : sequence of str
        Parameters that move it.
    reference : mapping of str to float
        Their values at the reference.

    Raises
    ------
    ModelError
        There is none at the reference.
    """

    def __init__(self, given: Any, moving: Sequence[str], reference: Mapping[str, float]) -> None:
        self._given, self.moving, self._kept = given, tuple(moving), OrderedDict[Any, Any]()
        try:
            self.reference = self.at(reference)
        except SteadyStateError as error:
            raise ModelError(f"at the reference values: {error}") from error

    def key(self, p: Mapping[str, Any]) -> tuple[float, ...]:
        """What tells steady states apart."""
        return tuple(float(p[name]) for name in self.moving)

    def at(self, p: Mapping[str, Any]) -> Any:
        """The toolkit's steady state at parameters.

        Raises
        ------
        SteadyStateError
            Where the toolkit finds none.
        """
        if not callable(self._given):
            return _as_steady_state(self._given)
        key = self.key(p)
        return _remembered(self._kept, key, lambda: self._solve(dict(zip(self.moving, key, strict=True))))

    def _solve(self, p: dict[str, float]) -> Any:
        try:
            return _as_steady_state(self._given(p))
        except (ValueError, ArithmeticError) as error:
            where = ", ".join(f"{name} = {value:g}" for name, value in p.items())
            words = f"the toolkit finds no steady state at {where} ({error})"
            raise SteadyStateError("no_convergence", words) from error

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_kept": OrderedDict()}


class ToolkitHousehold(GivenHousehold):
    """The household blocks of a toolkit model, with Jacobians that the toolkit computes where the steady state moves.

    Parameters
    ----------
    leaves : sequence of HouseholdLeaf
    inputs, outputs : tuple of str
        Names in the model: those inputs that are variables there, those outputs that something reads.
    steady : SteadyStates
    options : mapping of str to mapping
        Of the toolkit's ``jacobian``, by block.
    version : str
    """

    def __init__(
        self,
        leaves: Sequence[HouseholdLeaf],
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
        steady: SteadyStates,
        options: Mapping[str, Mapping[str, Any]],
        version: str,
    ) -> None:
        self._leaves, self.inputs, self.outputs = tuple(leaves), inputs, outputs
        self._steady, self._options, self._version = steady, {k: dict(v) for k, v in options.items()}, version
        self._kept = OrderedDict[Any, Any]()

    @property
    def fingerprint(self) -> dict[str, str]:
        """What they are: all but their content is in the model's."""
        return fingerprint_of({"inputs": self.inputs, "outputs": self.outputs, "options": self._options}, self._version)

    @property
    def moves(self) -> bool:
        """Whether the steady state is a function of parameters."""
        return bool(self._steady.moving)

    @property
    def longest(self) -> float:
        """The toolkit computes them at any horizon, unless the model holds them as they are."""
        lengths = [_length(leaf.block) for leaf in self._leaves]
        return min(lengths, default=float("inf"))

    def values_at(self, p: Any) -> dict[str, float]:
        """Steady-state outputs."""
        ss = self._steady.at(p.as_dict())
        return {name: number(name, ss[name]) for name in self.outputs}

    def jacobians_at(self, p: Any, horizon: int) -> jax.Array:
        """Jacobians by date of the input."""
        known = p.as_dict()
        key = (*self._steady.key(known), horizon)
        found: jax.Array = _remembered(self._kept, key, lambda: self._compute(self._steady.at(known), horizon))
        return found

    def _compute(self, ss: Any, horizon: int) -> jax.Array:
        found = np.zeros((horizon, len(self.inputs), len(self.outputs), horizon))
        for leaf in self._leaves:
            inputs = {own: name for own, name in leaf.inputs.items() if name in self.inputs}
            outputs = {own: name for own, name in leaf.outputs.items() if name in self.outputs}
            if not inputs or not outputs:
                continue
            jacobians = jacobian_of(leaf, ss, inputs, outputs, horizon, self._options)
            for own, name in outputs.items():
                for by, read in inputs.items():
                    array = jacobians[own].get(by)
                    if array is not None:
                        at = self.inputs.index(read), self.outputs.index(name)
                        found[:, at[0], at[1], :] = np.asarray(array, float)[:horizon, :horizon].T
        return jnp.asarray(found)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_kept": OrderedDict()}


def jacobian_of(
    leaf: HouseholdLeaf,
    ss: Any,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    horizon: int,
    options: Mapping[str, Mapping[str, Any]],
) -> Any:
    """The toolkit's Jacobians of a household block.

    Raises
    ------
    ModelError
        A steady state without what the block needs.
    """
    from sequence_jacobian.classes import SteadyStateDict

    block = leaf.block
    internals = getattr(ss, "internals", {})
    if getattr(block, "internals", None) and block.name not in internals:
        raise ModelError(
            f"the steady state has nothing of the inside of the block '{block.name}': take it from steady_state or "
            "solve_steady_state of a model with that block"
        )
    own = SteadyStateDict(
        {mine: ss[name] for mine, name in {**leaf.inputs, **leaf.outputs}.items() if name in ss}, internals
    )
    if block.name in internals:
        again = block.M @ block._steady_state(block.M.inv @ own)  # from where it stands, which takes a few steps
        for mine, name in outputs.items():
            told, solved = number(name, own[mine]), number(name, again[mine])
            if not abs(told - solved) <= SOLVED * (1 + abs(told)):
                raise SteadyStateError(
                    "not_a_solution",
                    f"the steady state has {name} = {told:.8g}, and the block '{block.name}' solved there {solved:.8g}",
                )
    return block.jacobian(own, list(inputs), list(outputs), horizon, **options.get(block.name, {}))


def _length(block: Any) -> float:
    """Dates that given Jacobians cover."""
    arrays = [a for by in (getattr(block, "nesteddict", None) or {}).values() for a in by.values()]
    return min((len(a) for a in arrays if isinstance(a, np.ndarray)), default=float("inf"))


def _remembered(kept: OrderedDict[Any, Any], key: Any, make: Callable[[], Any]) -> Any:
    if key not in kept:
        kept[key] = make()
        while len(kept) > _KEPT:
            kept.popitem(last=False)
    kept.move_to_end(key)
    return kept[key]


def _as_steady_state(given: Any) -> Any:
    if not hasattr(given, "keys") or not hasattr(given, "__getitem__"):
        raise ModelError(f"ss is the toolkit's steady state, or a function that returns one, not {given!r}")
    return given
