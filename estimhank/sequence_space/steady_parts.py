"""What a steady state hands to the likelihood, and what has to hold of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from estimhank.households.newton import Search
from estimhank.sequence_space.determinacy import HouseholdSymbol
from estimhank.sequence_space.household_operator import HouseholdOperator


class Moved(NamedTuple):
    """What of a steady state has derivatives: values, parameters, and the household Jacobians by date."""

    values: dict[str, Any]
    parameters: dict[str, Any]
    by_date: jax.Array


class SteadyParts(NamedTuple):
    """Everything of a steady state that a likelihood reads: values, parameters, household operator and symbol."""

    values: dict[str, Any]
    parameters: dict[str, Any]
    household: HouseholdOperator
    symbol: HouseholdSymbol

    @property
    def moved(self) -> Moved:
        """What has derivatives."""
        return Moved(self.values, self.parameters, self.household.by_date)

    def with_moved(self, moved: Moved) -> SteadyParts:
        """With these values, parameters and Jacobians in place of its own."""
        household = self.household._replace(by_date=moved.by_date)
        return self._replace(values=moved.values, parameters=moved.parameters, household=household)


class Checks(NamedTuple):
    """What has to hold: the search converged, no mass at the top of the grid, every equation holds.

    ``tops``: those of the asset grids (:func:`estimhank.households.stationary.grid_tops`); ``residuals`` (n_eq,): of
    the aggregate equations.
    """

    search: Search
    tops: tuple[jax.Array, jax.Array, jax.Array]
    residuals: jax.Array
