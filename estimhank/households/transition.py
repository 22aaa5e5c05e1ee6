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


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TwoAssetLottery(Transition):
    """Two assets, each as a lottery between neighbouring grid points that keeps its mean, then productivity.

    The two lotteries of a state are independent: mass goes to the four corners of the cell that its policies lead to.

    ``corner`` (n_e, n_b, n_a) is the lower corner, counted along the flattened assets, ``shares`` and ``cells``
    (2, n_e, n_b, n_a) are by asset the probability of the lower neighbour and the distance between the neighbours,
    ``chain`` (n_e, n_e) is the Markov matrix of productivity.
    """

    corner: jax.Array
    shares: jax.Array
    cells: jax.Array
    chain: jax.Array

    @classmethod
    def of(cls, policies: jax.Array, grids: tuple[jax.Array, jax.Array], chain: jax.Array) -> TwoAssetLottery:
        """The transition of policies (2, n_e, n_b, n_a) on grids (n_b,) and (n_a,), in the order of ``Grids.assets``.

        Policies beyond a grid are put on its end, as in :class:`AssetLottery`.
        """
        lower, shares, cells = [], [], []
        for held, grid in zip(policies, grids, strict=True):
            inside = jnp.clip(held, grid[0], grid[-1])
            at = jnp.clip(jnp.searchsorted(grid, inside, side="right") - 1, 0, grid.shape[0] - 2)
            cell = grid[at + 1] - grid[at]
            lower.append(at)
            shares.append((grid[at + 1] - inside) / cell)
            cells.append(cell)
        corner = lower[0] * grids[1].shape[0] + lower[1]
        return cls(corner, jnp.stack(shares), jnp.stack(cells), chain)

    @property
    def _steps(self) -> tuple[int, int, int, int]:
        """From the lower corner to each of the four, along the flattened assets."""
        across = self.corner.shape[2]
        return 0, 1, across, across + 1

    def _push(self, masses: tuple[jax.Array, ...]) -> jax.Array:
        """Sum what goes to the four corners of each state over states, and let productivity change."""
        n_e = self.corner.shape[0]
        rows, corner = jnp.arange(n_e)[:, None], self.corner.reshape(n_e, -1)
        moved = jnp.zeros((n_e, corner.shape[1]))
        for step, mass in zip(self._steps, masses, strict=True):
            moved = moved.at[rows, corner + step].add(mass.reshape(n_e, -1))
        return (self.chain.T @ moved).reshape(self.corner.shape)

    def _pull(self, values: jax.Array) -> list[jax.Array]:
        """What is expected at the four corners of each state: the (lower, lower), (lower, upper), ... neighbours."""
        n_e = self.corner.shape[0]
        rows, corner = jnp.arange(n_e)[:, None], self.corner.reshape(n_e, -1)
        tomorrow = self.chain @ values.reshape(*values.shape[:-2], -1)
        return [tomorrow[..., rows, corner + step].reshape(values.shape) for step in self._steps]

    def forward(self, distribution: jax.Array) -> jax.Array:
        """Distribution at the beginning of next period."""
        b, a = self.shares
        low = distribution * b
        high = distribution - low
        return self._push((low * a, low - low * a, high * a, high - high * a))

    def expectation(self, values: jax.Array) -> jax.Array:
        """Expected value next period."""
        (b, a), (ll, lu, ul, uu) = self.shares, self._pull(values)
        return b * (a * ll + (1 - a) * lu) + (1 - b) * (a * ul + (1 - a) * uu)

    def derivative(self, distribution: jax.Array, moves: jax.Array) -> jax.Array:
        """Mass goes from the lower neighbours to the upper ones as a policy rises."""
        (b, a), (up_b, up_a) = self.shares, distribution * moves / self.cells
        return self._push((
            -up_b * a - up_a * b, -up_b * (1 - a) + up_a * b, up_b * a - up_a * (1 - b), up_b * (1 - a) + up_a * (1 - b)
        ))  # fmt: skip

    def derivative_adjoint(self, distribution: jax.Array, values: jax.Array) -> jax.Array:
        """Mass times the slopes of expected values between the neighbours, of values (..., n_e, n_b, n_a)."""
        (b, a), (ll, lu, ul, uu) = self.shares, self._pull(values)
        by_b = a * (ul - ll) + (1 - a) * (uu - lu)
        by_a = b * (lu - ll) + (1 - b) * (uu - ul)
        return distribution / self.cells * jnp.stack([by_b, by_a], axis=-4)
