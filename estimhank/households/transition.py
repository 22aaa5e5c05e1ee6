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


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SmoothAssetLottery(Transition):
    """One asset, as a lottery between three grid points that keeps its mean and is continuously differentiable.

    With j the grid point nearest to the end-of-period assets x, and L, R the cells on either side of it, probabilities
    are those of a quadratic B-spline::

        (1 - u)^2 / 2,   1 - (1 - u)^2 / 2 - u^2 / 2,   u^2 / 2     at j - 1, j, j + 1,

    where u in [0, 1] is such that the mean is x: x - a_j = u^2 R / 2 - (1 - u)^2 L / 2. It is 0 and 1 in the middle of
    the cells, where the three points change: there both neighbours have probability 1/2, and the same derivative, of
    either three. In the half-cells at the ends of the grid the lottery is the linear one, so that households at the
    constraint stay there. That one spreads mass by a variance between 0 and L^2 / 4, which depends on x; this one, in
    even cells, by L^2 / 4.

    ``first`` (n_e, n_a) is the lowest of the three points; ``weights`` and ``slopes`` (3, n_e, n_a) are probabilities
    and their derivatives in x; ``chain`` (n_e, n_e) is the Markov matrix of productivity.
    """

    first: jax.Array
    weights: jax.Array
    slopes: jax.Array
    chain: jax.Array

    @classmethod
    def of(cls, assets: jax.Array, grid: jax.Array, chain: jax.Array) -> SmoothAssetLottery:
        """The transition of an asset policy, (n_e, n_a), on a grid, (n_a,); policies beyond it are put on its end."""
        last = grid.shape[0] - 1
        x = jnp.clip(assets, grid[0], grid[-1])
        nearest = jnp.searchsorted((grid[1:] + grid[:-1]) / 2, x, side="right")
        j = jnp.clip(nearest, 1, last - 1)
        left, right = grid[j] - grid[j - 1], grid[j + 1] - grid[j]
        from_middle = jnp.clip(x - grid[j] + left / 2, 0.0, (left + right) / 2)
        u = 2 * from_middle / (left + jnp.sqrt(left**2 + 2 * (right - left) * from_middle))
        du = 1 / (right * u + left * (1 - u))
        bottom, top = nearest < 1, nearest > last - 1

        def by_place(at_bottom: jax.Array, between: jax.Array, at_top: jax.Array) -> jax.Array:
            return jnp.where(bottom, at_bottom, jnp.where(top, at_top, between))

        zero = jnp.zeros_like(x)
        low = by_place((grid[1] - x) / left, (1 - u) ** 2 / 2, zero)
        high = by_place(zero, u**2 / 2, (x - grid[-2]) / right)
        d_low, d_high = by_place(-1 / left, -(1 - u) * du, zero), by_place(zero, u * du, 1 / right)
        return cls(j - 1, jnp.stack([low, 1 - low - high, high]), jnp.stack([d_low, -d_low - d_high, d_high]), chain)

    def _push(self, masses: jax.Array) -> jax.Array:
        """Sum what goes to the three points of each state over states, and let productivity change."""
        rows = jnp.arange(self.first.shape[0])[:, None]
        moved = jnp.zeros_like(masses[0])
        for k in range(3):
            moved = moved.at[rows, self.first + k].add(masses[k])
        return self.chain.T @ moved

    def _pull(self, values: jax.Array, weights: jax.Array) -> jax.Array:
        """Weighted sum of what is expected at the three points of each state."""
        rows = jnp.arange(self.first.shape[0])[:, None]
        tomorrow = self.chain @ values
        low, middle, high = (tomorrow[..., rows, self.first + k] * weights[k] for k in range(3))
        return low + middle + high

    def forward(self, distribution: jax.Array) -> jax.Array:
        """Distribution at the beginning of next period."""
        return self._push(distribution * self.weights)

    def expectation(self, values: jax.Array) -> jax.Array:
        """Expected value next period."""
        return self._pull(values, self.weights)

    def derivative(self, distribution: jax.Array, moves: jax.Array) -> jax.Array:
        """Mass moves between the three points as the policy does."""
        return self._push(distribution * moves * self.slopes)

    def derivative_adjoint(self, distribution: jax.Array, values: jax.Array) -> jax.Array:
        """Mass times the slope of expected values."""
        return distribution * self._pull(values, self.slopes)
