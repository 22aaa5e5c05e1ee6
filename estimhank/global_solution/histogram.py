"""The distribution of households as a histogram: shares on a grid of assets, moved without sampling noise."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float


def asset_grid(low: float, high: float, n: int) -> Float[jax.Array, " {n}"]:
    """Grid whose distances grow in proportion to the square root of the distance to the borrowing limit, shape (n,).

    A lottery between neighbours adds about a sixth of the squared distance to the variance of assets in every period,
    so that the grid must be fine where households are, not at the limit alone.
    """
    return low + (high - low) * jnp.linspace(0.0, 1.0, n) ** 2


def move(
    histogram: Float[jax.Array, "n_e n_a"], assets: Float[jax.Array, "n_e n_a"], grid: Float[jax.Array, " n_a"]
) -> Float[jax.Array, "n_e n_a"]:
    """Shares after households have chosen assets, before their own states change (Young 2010).

    Each household is put on the two neighbours of its choice so that the mean is kept; differentiable in the choice.
    """
    chosen = jnp.clip(assets, grid[0], grid[-1])
    # the inverse of asset_grid in place of a search; at a grid point rounding may go either way, and either is right
    n = grid.shape[0]
    lower = jnp.clip(jnp.floor((n - 1) * jnp.sqrt((chosen - grid[0]) / (grid[-1] - grid[0]))).astype(int), 0, n - 2)
    up = histogram * (chosen - grid[lower]) / (grid[lower + 1] - grid[lower])
    rows = jnp.arange(histogram.shape[0])[:, None]
    return jnp.zeros_like(histogram).at[rows, lower].add(histogram - up).at[rows, lower + 1].add(up)


class WealthMoments(NamedTuple):
    """Of one histogram.

    Attributes
    ----------
    mean, sd, gini : float
        Of assets.
    """

    mean: float
    sd: float
    gini: float


def wealth_moments(histogram: Float[jax.Array, "n_e n_a"], grid: Float[jax.Array, " n_a"]) -> WealthMoments:
    """Mean, standard deviation and Gini coefficient of assets; the Gini coefficient is that of the points of the
    grid.
    """
    share = np.asarray(histogram).sum(0)
    a = np.asarray(grid)
    mean = float(share @ a)
    sd = float(np.sqrt(share @ (a - mean) ** 2))
    below = np.cumsum(share) - share / 2
    # E|a - b| = 2 E[a (2 F(a) - 1)], with F at mid-rank
    gini = float(share @ (a * (2 * below - 1)) / mean)
    return WealthMoments(mean, sd, gini)
