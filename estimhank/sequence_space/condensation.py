"""The equations without what can be had afterwards, so that fewer dates are coupled densely.

Every household output that has Jacobians is a row of T x T numbers in the dense system, and that is factorised in
O((m T)^3) operations. Some of these rows are not needed there:

* an output that stands in no equation (it is observed, or an identity's, and nothing reacts to it) follows from the
  household's inputs once those are known;
* outputs that stand only in one and the same equation, at its own date (assets A + B of two kinds in one market),
  matter as that one sum.

A variable that stands in no other equation than its own, now, is left out along with that equation, where this leaves
an output in no equation, and is found from it afterwards. Nothing is approximated: the equations that are left are a
block of the whole system.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from estimhank.sequence_space.coarse_dates import CoarseDates, interpolate, pick
from estimhank.sequence_space.conditioning import Bands
from estimhank.sequence_space.household_operator import HouseholdOperator
from estimhank.sequence_space.linear_system import LinearSystem

_NOTHING = 1e-14  # of an equation's largest coefficient


@dataclass(frozen=True)
class Merged:
    """Outputs that matter as one sum: its path stands in the place of the first one's.

    ``outputs``: positions among the household's outputs that have Jacobians; ``equation``: where they stand, which
    gives the weights; None of one output by itself.
    """

    outputs: tuple[int, ...]
    equation: int | None


@dataclass(frozen=True)
class Condensation:
    """What is left out, and found afterwards.

    Attributes
    ----------
    equations, variables : tuples of int
        Those that are kept, among the rows of the linear system and among the unknowns.
    merged : tuple of Merged
        The outputs of the condensed system.
    later : tuple of int
        Outputs that follow from the inputs, among the household's outputs that have Jacobians.
    defined : tuple of (int, int)
        Variables that follow from an equation: which one, from which, in the order in which they can be found.
    inputs, outputs : tuples of int
        The household's, among the unknowns.
    """

    equations: tuple[int, ...]
    variables: tuple[int, ...]
    merged: tuple[Merged, ...]
    later: tuple[int, ...]
    defined: tuple[tuple[int, int], ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def condensed_inputs(self) -> tuple[int, ...]:
        """The household's inputs among the variables that are kept."""
        return tuple(self.variables.index(v) for v in self.inputs)

    @property
    def condensed_outputs(self) -> tuple[int, ...]:
        """The outputs, sums in the place of the first of them, among the variables that are kept."""
        return tuple(self.variables.index(self.outputs[m.outputs[0]]) for m in self.merged)

    # -- before a solution -------------------------------------------------------------------------------------
    def system(self, system: LinearSystem) -> LinearSystem:
        """The linear system that is left."""
        rows, columns = jnp.array(self.equations, int), jnp.array(self.variables, int)
        lag, now, lead = (m[rows][:, columns] for m in (system.lag, system.now, system.lead))
        for place, sum_of in zip(self.condensed_outputs, self.merged, strict=True):
            if sum_of.equation is not None:
                now = now.at[self.equations.index(sum_of.equation), place].set(1.0)
        return LinearSystem(lag, now, lead, system.shock[rows])

    def household(self, system: LinearSystem, household: HouseholdOperator) -> HouseholdOperator:
        """Jacobians of the outputs that are left, and of their sums."""
        by_output = household.by_date.reshape(*household.by_date.shape[:2], len(self.outputs), -1)
        found = []
        for one in self.merged:
            total = by_output[:, :, one.outputs[0]]
            if one.equation is not None:
                total = system.now[one.equation, self.outputs[one.outputs[0]]] * total
                for o in one.outputs[1:]:
                    total = total + system.now[one.equation, self.outputs[o]] * by_output[:, :, o]
            found.append(total)
        return HouseholdOperator(jnp.concatenate(found, axis=2))

    def solution(self, system: LinearSystem, whole: Float[jax.Array, "T n_v n_z"]) -> Float[jax.Array, "T kept n_z"]:
        """Paths of what is kept, of the paths of all."""
        kept = whole[:, jnp.array(self.variables, int)]
        for place, sum_of in zip(self.condensed_outputs, self.merged, strict=True):
            if sum_of.equation is not None:
                at = jnp.array([self.outputs[o] for o in sum_of.outputs], int)
                kept = kept.at[:, place].set(jnp.einsum("o,toz->tz", system.now[sum_of.equation, at], whole[:, at]))
        return kept

    # -- after it ----------------------------------------------------------------------------------------------
    def expand(
        self,
        system: LinearSystem,
        household: HouseholdOperator,
        kept: Float[jax.Array, "T kept n_z"],
        forcing: Float[jax.Array, "T n_eq n_z"],
        coarse: CoarseDates | None = None,
    ) -> Float[jax.Array, "T n_v n_z"]:
        """Paths of all variables, of those that are kept; ``forcing``: what is added to all equations; ``coarse``: the
        dates of the household's inputs and outputs."""
        horizon, _, n_z = kept.shape
        n_o = len(self.outputs)
        whole = jnp.zeros((horizon, system.now.shape[1], n_z)).at[:, jnp.array(self.variables, int)].set(kept)
        given = pick(coarse, kept[:, jnp.array(self.condensed_inputs, int)]).reshape(-1, n_z)
        by_output = household.by_date.reshape(len(given), n_o, -1)[:, jnp.array(self.later, int)]
        found = -by_output.reshape(len(given), -1).T @ given
        at = jnp.array([self.outputs[o] for o in self.later], int)
        found = found.reshape(len(self.later), -1, n_z).transpose(1, 0, 2)
        whole = whole.at[:, at].set(interpolate(coarse, found))
        none = jnp.zeros((1, *whole.shape[1:]))
        for variable, equation in self.defined:
            before, after = jnp.concatenate([none, whole[:-1]]), jnp.concatenate([whole[1:], none])
            rest = sum(
                jnp.einsum("v,tvz->tz", m[equation], x)
                for m, x in ((system.lag, before), (system.now, whole), (system.lead, after))
            )
            rest = rest + forcing[:, equation]
            whole = whole.at[:, variable].set(-rest / system.now[equation, variable])
        return whole


def find_condensation(
    systems: Sequence[LinearSystem], inputs: tuple[int, ...], outputs: tuple[int, ...]
) -> Condensation | None:
    """What can be left out; None where that makes no output less.

    Parameters
    ----------
    systems : sequence of LinearSystem
        The model linearised at several parameter vectors: they show which entries can be non-zero.
    inputs, outputs : tuples of int
        Positions among the unknowns of the household's inputs, and of its outputs that have Jacobians.
    """
    if not outputs:
        return None
    bands = Bands.of(systems)
    size = np.max([np.abs(m).max(axis=2) for m in bands], axis=0)[..., None]
    lag, now, lead = (np.any(np.abs(m) > _NOTHING * size, axis=0) for m in bands)
    always = np.all(np.abs(bands.now) > _NOTHING * size, axis=0)
    other = lag | lead
    equations, variables = list(range(now.shape[0])), list(range(now.shape[1]))
    defined: list[tuple[int, int]] = []
    while pair := _defined_here(now | other, other, always, (equations, variables), {*inputs, *outputs}):
        variables.remove(pair[0])
        equations.remove(pair[1])
        defined.append(pair)
    later = tuple(
        o for o, v in enumerate(outputs) if v not in inputs and not (now[equations, v] | other[equations, v]).any()
    )
    merged: dict[int | tuple[int], list[int]] = {}
    for o, v in enumerate(outputs):
        if o in later:
            continue
        stands = [e for e in equations if now[e, v] or other[e, v]]
        alone = v in inputs or len(stands) != 1 or other[stands[0], v]
        merged.setdefault((o,) if alone else stands[0], []).append(o)
    sums = tuple(
        Merged(tuple(found), where if isinstance(where, int) and len(found) > 1 else None)
        for where, found in merged.items()
    )
    if len(sums) == len(outputs) or not sums:
        return None
    summed = tuple(o for one in sums if len(one.outputs) > 1 for o in one.outputs)
    gone = {outputs[o] for o in later} | {outputs[o] for one in sums for o in one.outputs[1:]}
    return Condensation(
        tuple(equations),
        tuple(v for v in variables if v not in gone),
        sums,
        tuple(sorted({*later, *summed})),
        tuple(reversed(defined)),
        inputs,
        outputs,
    )


def _defined_here(
    stands: np.ndarray, other: np.ndarray, always: np.ndarray, left: tuple[list[int], list[int]], fixed: set[int]
) -> tuple[int, int] | None:
    """A variable that stands in one equation alone, now and whatever the parameters, and that equation."""
    equations, variables = left
    for v in variables:
        where = [e for e in equations if stands[e, v]]
        if v not in fixed and len(where) == 1 and not other[where[0], v] and always[where[0], v]:
            return v, where[0]
    return None
