"""The emulator as a steady-state solver: the same parts of a steady state, without solving households."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from estimhank.emulator.emulator import HouseholdEmulator
from estimhank.households.one_asset import HouseholdTarget
from estimhank.households.stationary_problem import StationaryPoint
from estimhank.parameters.parameter_table import Values
from estimhank.sequence_space.coarse_dates import CoarseDates
from estimhank.sequence_space.steady_parts import Checks, Moved, SteadyParts
from estimhank.sequence_space.steady_solver import SteadySolver, found_at_once
from estimhank.sequence_space.steady_state import SteadyState
from estimhank.target.cliffs import Cliffs


class EmulatedSteady(SteadySolver):
    """A steady-state solver that asks an emulator where it was trained, and the exact solver elsewhere.

    Targets of the steady state and the households' own identities hold exactly. A value is a function of the parameters
    alone, as that of the exact solver.

    Parameters
    ----------
    exact : SteadySolver
    emulator : HouseholdEmulator
        At the horizon of the exact solver.
    """

    def __init__(self, exact: SteadySolver, emulator: HouseholdEmulator) -> None:
        super().__init__(exact.model, exact.spread, exact.horizon)
        if emulator.horizon != exact.horizon:
            raise ValueError(f"the emulator is of {emulator.horizon} dates, the model is solved at {exact.horizon}")
        self.exact, self.emulator = exact, emulator

    travels = (*SteadySolver.travels, "exact", "emulator")

    @property
    def digest(self) -> str:
        """Of the emulator."""
        return self.emulator.digest

    # -- the exact solver's ------------------------------------------------------------------------------------
    @property
    def reference(self) -> SteadyState:
        """That of the exact solver."""
        return self.exact.reference

    @property
    def reference_parts(self) -> SteadyParts:
        """Those of the exact solver."""
        return self.exact.reference_parts

    def with_horizon(self, horizon: int) -> SteadySolver:
        """The exact solver at another horizon, of which the emulator knows nothing."""
        return self.exact.with_horizon(horizon)

    def at_dates(self, dates: CoarseDates) -> SteadySolver:
        """See :meth:`SteadySolver.at_dates`."""
        other = EmulatedSteady(self.exact.at_dates(dates), self.emulator)
        other.dates = dates
        return other

    def stationary_at(self, changes: Mapping[str, float]) -> Any:
        """Of the exact solver: distributions are not emulated."""
        return self.exact.stationary_at(changes)

    def cliffs_at(self, changes: Mapping[str, float]) -> Cliffs | None:
        """Emulated where that is known, of the cliffs that were among the examples; of the exact solver elsewhere."""
        cell, moved = self.emulator.cell, {**self.centre, **{name: changes[name] for name in self.spread}}
        y = self.emulator.region.coordinates(moved)
        if not len(cell.chosen) or not bool(self.emulator.inside(y)):
            return self.exact.cliffs_at(changes)
        distance = np.full(len(cell.mass), np.nan)
        distance[cell.chosen] = np.asarray(cell.distances(np.asarray(y)))
        return Cliffs(distance, cell.mass)

    def guess(self, moved: Mapping[str, float]) -> StationaryPoint:
        """None is needed."""
        return self._point_of(self.reference)

    def _point_of(self, state: SteadyState) -> StationaryPoint:
        return StationaryPoint((), (), np.zeros(0))

    # -- emulated ----------------------------------------------------------------------------------------------
    def households(self, moved: Mapping[str, Any], start: StationaryPoint) -> tuple[Any, ...]:
        """See :meth:`SteadySolver.households`; the search has converged where the point is in the trained region."""
        found = self.emulator.at({**self.centre, **moved})
        outputs = self.settled(found.outputs, self.target(moved))
        operator, symbol = self.laid_out(found.by_date)
        none = jnp.zeros(0)
        checks = Checks(found_at_once()._replace(converged=found.inside), (none, none, none), none)
        return outputs, checks, operator, symbol, found.unknowns

    def settled(self, outputs: Mapping[str, Any], target: HouseholdTarget) -> dict[str, Any]:
        """Outputs moved as little as possible, each in its own size, to where targets and identities hold.

        Both are linear in the outputs, so that one step of Newton's method with the smallest norm does it.
        """
        names, blocks = tuple(outputs), self.model.problems

        def residuals(values: jax.Array) -> jax.Array:
            at = dict(zip(names, values, strict=True))
            now = Values({**target.inputs, **at})
            off = [sum(w * at[o] for o, w in total.weights.items()) - total.value for total in target.sums.values()]
            off += [r for block in blocks for _, r in block.identities(now, now)]
            return jnp.stack([jnp.asarray(r, float) for r in off]) if off else jnp.zeros(0)

        values = jnp.stack([outputs[name] for name in names])
        off, size = residuals(values), jnp.maximum(jnp.abs(values), 1e-8)
        if off.shape[0]:
            rows = jax.jacfwd(residuals)(values) * size
            values = values - size * (rows.T @ jnp.linalg.solve(rows @ rows.T, off))
        return dict(zip(names, values, strict=True))

    def _solve(self, moved: Mapping[str, float], start: StationaryPoint) -> SteadyParts:
        parts: SteadyParts
        parts, checks = self._computed(moved, start)
        if not bool(checks.search.converged):
            return self.exact.at(moved)
        self.verify(checks, moved)
        return parts

    def at_with_pullback(self, changes: Mapping[str, float]) -> tuple[SteadyParts, Callable[[Moved], dict[str, Any]]]:
        """See :meth:`SteadySolver.at_with_pullback`."""
        moved = {name: float(changes[name]) for name in self.spread}
        if not self.differentiable:
            return self.exact.at_with_pullback(changes)
        (parts, checks), pullback = self._computed_with_pullback(moved, self.guess(moved))
        if not bool(checks.search.converged):
            return self.exact.at_with_pullback(changes)
        self.verify(checks, moved)
        return parts, partial(self._pull_back, pullback)
