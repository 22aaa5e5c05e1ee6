"""The law of motion of a household's distribution, as an object: what a steady state, its Jacobians and moments need.

With P the Markov matrix over the states of a household, a transition takes a distribution to the next period's, P' D,
and values to what is expected of them today, P V. P depends on the savings policies; its derivative in them is what the
fake-news algorithm and Newton's method work with. How policies become probabilities, and how many assets there are, is
known here alone: the callers see distributions of shape (n_e, ...), one axis for each asset, and policies of the shape
of :attr:`estimhank.households.one_asset.Policies.assets`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import jax
import jax.numpy as jnp


class Transition(ABC):
    """Law of motion of a distribution at given policies; a pytree, differentiable in what it was made from.

    Values may have leading axes, one for each function that is looked at.
    """

    @abstractmethod
    def forward(self, distribution: jax.Array) -> jax.Array:
        """Distribution at the beginning of next period: P' D."""

    @abstractmethod
    def expectation(self, values: jax.Array) -> jax.Array:
        """Expected value next period at each state today, P V: the adjoint of :meth:`forward`."""

    @abstractmethod
    def derivative(self, distribution: jax.Array, moves: jax.Array) -> jax.Array:
        """Change of next period's distribution as policies move by ``moves``: (dP)' D."""

    @abstractmethod
    def derivative_adjoint(self, distribution: jax.Array, values: jax.Array) -> jax.Array:
        """Derivative of V' P' D with respect to the policies, of their shape: the adjoint of :meth:`derivative`."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AssetLottery(Transition):
    """One asset, as a lottery between neighbouring grid points that keeps its mean (Young 2010), then productivity.

    ``lower`` (n_e, n_a) is the lower neighbour of end-of-period assets, ``weight`` (n_e, n_a) its probability, ``cell``
    (n_e, n_a) the distance between the neighbours, ``chain`` (n_e, n_e) the Markov matrix of productivity.
    """

    lower: jax.Array
    weight: jax.Array
    cell: jax.Array
    chain: jax.Array

    @classmethod
    def of(cls, assets: jax.Array, grid: jax.Array, chain: jax.Array) -> AssetLottery:
        """The transition of an asset policy, (n_e, n_a), on a grid, (n_a,).

        Policies beyond the grid are put on its end, so that no probability is negative; where mass follows such a
        policy :func:`estimhank.households.stationary.check_stationary` calls the grid too small.
        """
        assets = jnp.clip(assets, grid[0], grid[-1])
        lower = jnp.clip(jnp.searchsorted(grid, assets, side="right") - 1, 0, grid.shape[0] - 2)
        cell = grid[lower + 1] - grid[lower]
        return cls(lower, (grid[lower + 1] - assets) / cell, cell, chain)

    def _on_the_grid(self, at_lower: jax.Array, at_upper: jax.Array) -> jax.Array:
        """Sum what goes to the neighbours of each state over states, and let productivity change."""
        rows = jnp.arange(self.lower.shape[0])[:, None]
        moved = jnp.zeros_like(at_lower).at[rows, self.lower].add(at_lower)
        return self.chain.T @ moved.at[rows, self.lower + 1].add(at_upper)

    def _neighbours(self, values: jax.Array) -> tuple[jax.Array, jax.Array]:
        """What is expected at the lower and at the upper neighbour."""
        rows = jnp.arange(self.lower.shape[0])[:, None]
        tomorrow = self.chain @ values
        return tomorrow[..., rows, self.lower], tomorrow[..., rows, self.lower + 1]

    def forward(self, distribution: jax.Array) -> jax.Array:
        """Distribution at the beginning of next period."""
        stay = distribution * self.weight
        return self._on_the_grid(stay, distribution - stay)

    def expectation(self, values: jax.Array) -> jax.Array:
        """Expected value next period."""
        low, high = self._neighbours(values)
        return low * self.weight + high * (1 - self.weight)

    def derivative(self, distribution: jax.Array, moves: jax.Array) -> jax.Array:
        """Mass goes from the lower neighbour to the upper one as the policy rises."""
        up = distribution * moves / self.cell
        return self._on_the_grid(-up, up)

    def derivative_adjoint(self, distribution: jax.Array, values: jax.Array) -> jax.Array:
        """Mass times the slope of expected values between the neighbours."""
        low, high = self._neighbours(values)
        return distribution / self.cell * (high - low)
