"""Household Jacobians as operators on paths."""

from __future__ import annotations

from typing import NamedTuple

import jax
from jaxtyping import Float

from estimhank.sequence_space.coarse_dates import CoarseDates, fold


class HouseholdOperator(NamedTuple):
    """Household Jacobians, laid out for the recursions.

    ``by_date`` (T, n_i, n_o T): ``[s, i, o T + t]`` is minus the Jacobian of output o at date t with respect to input
    i at date s. ``between``: of an operator at few dates, where ``by_date`` is (n, n_i, n_o n), of inputs that are
    polynomials between these dates; there it is (T, n_i, n_o m), of any inputs, at dates of the outputs between them,
    for checks.
    """

    by_date: jax.Array
    between: jax.Array | None = None

    @property
    def jacobians(self) -> jax.Array:
        """The Jacobians themselves: (n_o, n_i, T, T), ``[o, i, t, s]``."""
        horizon, n_i, width = self.by_date.shape
        return -self.by_date.reshape(horizon, n_i, width // horizon, horizon).transpose(2, 1, 3, 0)

    def at_dates(self, coarse: CoarseDates) -> HouseholdOperator:
        """At few dates, if it is not already."""
        if self.between is not None:
            return self
        horizon, n_i, width = self.by_date.shape
        by_output = self.by_date.reshape(horizon, n_i, width // horizon, horizon)
        held, between = (by_output[..., d].reshape(horizon, n_i, -1) for d in (coarse.dates, coarse.between))
        return HouseholdOperator(fold(coarse, held), between)


def household_operator(by_date: Float[jax.Array, "T n_i n_o T"]) -> HouseholdOperator:
    """Operator of household Jacobians that are given by date of the input: (T, n_i, n_o, T), ``[s, i, o, t]``."""
    horizon, n_i, n_o, _ = by_date.shape
    return HouseholdOperator(-by_date.reshape(horizon, n_i, n_o * horizon))


def multiply(household: HouseholdOperator, paths: Float[jax.Array, "T n_i k"]) -> Float[jax.Array, "outputs_T k"]:
    """Jacobians times paths of the inputs: (T, n_i, k) to (n_o T, k)."""
    horizon, n_i, width = household.by_date.shape
    # as one matrix product: an einsum over two axes is several times slower here
    return -household.by_date.reshape(horizon * n_i, width).T @ paths.reshape(horizon * n_i, paths.shape[2])


def multiply_transposed(
    household: HouseholdOperator, path: Float[jax.Array, "outputs_T k"]
) -> Float[jax.Array, "T n_i k"]:
    """The transpose of :func:`multiply`: (n_o T, k) to (T, n_i, k)."""
    horizon, n_i, width = household.by_date.shape
    return -(household.by_date.reshape(horizon * n_i, width) @ path).reshape(horizon, n_i, path.shape[1])
