"""Who is in which group of households, and how wealth is spread.

Groups are of states at the beginning of a period: by wealth held then, whether at the borrowing constraint, and by
productivity. Quintiles of wealth are those of the distribution at each date, a fifth of all households always: their
limits move with the distribution. Whom a limit splits, as it may everybody on one point of the grid, is in both groups,
by shares.

What is read of a group is what its members spend on average. To first order, with w the shares of states that are in
the group, D the distribution, c a policy, n and m the group's size and its mean in the steady state::

    n d(mean) = sum w D dc + sum (w c - r) dD

    by state:     r = w m                            those who come in are no reason for a higher mean
    quintile q:   r = W_q c_q - W_{q-1} c_{q-1}      W_q: shares of states up to the upper limit; c_q: c at it

as the upper limit of quintile q leaves out as many of those at it as have come in below. Over quintiles the r add up to
a constant, which does not matter: nobody goes from one fifth to another who is not replaced by his like.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from estimhank.households.named import NamedBlock
from estimhank.households.one_asset import HouseholdBlock, StandardIncompleteMarkets
from estimhank.households.stationary import HouseholdSteadyState
from estimhank.households.two_asset import TwoAssets

Array = NDArray[np.float64]

#: Groups by wealth, of the same number of households each.
QUANTILES = 5

#: Share of what is owned and owed in net wealth below which nobody has a share of it.
_NOTHING = 1e-6


@dataclass(frozen=True)
class Groups:
    """A partition of households.

    Attributes
    ----------
    kind : str
        ``"wealth"``, ``"constraint"`` or ``"productivity"``.
    names : tuple of str, length k
    weights : array of shape (k, n_e, ...)
        Shares of each state's households, which add up to one.
    ranked : bool
        Whether limits move so that sizes stay, as those of quintiles do.
    """

    kind: str
    names: tuple[str, ...]
    weights: Array
    ranked: bool = False


def all_groups(steady: HouseholdSteadyState) -> tuple[Groups, ...]:
    """Quintiles of wealth, households at the borrowing constraint of their most liquid asset (hand-to-mouth) and
    others, and states of productivity."""
    return wealth_groups(steady), constraint_groups(steady), productivity_groups(steady)


def wealth_groups(steady: HouseholdSteadyState, count: int = QUANTILES) -> Groups:
    """As many households in each group, from the poorest on; wealth is the sum of all assets."""
    at, heads = _by_wealth(steady)
    names = tuple(f"wealth {k + 1} of {count}" for k in range(count))
    return Groups("wealth", names, _on_states(steady, _quantiles(heads, count)[:, at]), ranked=True)


def _quantiles(heads: Array, count: int) -> Array:
    """Shares of each point's households, mass (n,) in the order of their wealth, in each quantile, (count, n)."""
    upper = np.minimum(np.cumsum(heads) / heads.sum(), 1.0)  # rounding may lead beyond one
    upper[-1] = 1.0
    lower = np.concatenate([[0.0], upper[:-1]])
    limits = np.linspace(0.0, 1.0, count + 1)
    overlap = np.minimum(upper, limits[1:, None]) - np.maximum(lower, limits[:-1, None])
    # where nobody is, all of a point belongs where its place in the distribution is
    empty = upper <= lower
    place = np.minimum((lower * count).astype(int), count - 1)
    alone = np.arange(count)[:, None] == place
    share = np.where(empty, alone, np.maximum(overlap, 0.0) / np.where(empty, 1.0, upper - lower))
    found: Array = share / share.sum(axis=0)
    return found


def of_newcomers(steady: HouseholdSteadyState, groups: Groups, policy: Array) -> Array:
    """What of a policy (n_e, ...) is not read of those who come into a group: ``r`` above, (k, n_e, ...)."""
    mass, weights = np.asarray(steady.distribution), groups.weights
    axes = tuple(range(1, weights.ndim))
    if not groups.ranked:
        size = (weights * mass).sum(axes, keepdims=True)
        total = (weights * mass * policy).sum(axes, keepdims=True)
        return np.asarray(weights * np.where(size > 0, total / np.where(size > 0, size, 1.0), 0.0))
    at, heads = _by_wealth(steady)
    spent = np.bincount(at, (mass * policy).sum(axis=0).ravel(), len(heads))
    below = np.cumsum(_quantiles(heads, len(weights)), axis=0)
    last = [np.flatnonzero((w > 0) & (heads > 0))[-1] for w in below]
    upper = _on_states(steady, (below * (spent[last] / heads[last])[:, None])[:, at])
    return np.diff(upper, axis=0, prepend=0.0)


def constraint_groups(steady: HouseholdSteadyState) -> Groups:
    """Households on the lowest point of the grid of their most liquid asset, and others."""
    shape = steady.distribution.shape
    low = np.zeros(shape)
    low[:, 0] = 1.0
    return Groups("constraint", ("hand-to-mouth", "not hand-to-mouth"), np.stack([low, 1 - low]))


def productivity_groups(steady: HouseholdSteadyState) -> Groups:
    """One group for each state of productivity, from the lowest on."""
    shape = steady.distribution.shape
    n = shape[0]
    weights = np.broadcast_to(np.eye(n).reshape(n, n, *([1] * (len(shape) - 1))), (n, *shape))
    return Groups("productivity", tuple(f"productivity {k + 1} of {n}" for k in range(n)), weights)


def consumption_of(block: HouseholdBlock) -> str | None:
    """The output of a block that is consumption; None of a block that is not of this package."""
    if isinstance(block, NamedBlock):
        found = consumption_of(block.block)
        return None if found is None else f"{block.name}.{found}"
    if isinstance(block, TwoAssets):
        return block.outputs[2]
    return block.outputs[1] if isinstance(block, StandardIncompleteMarkets) else None


# -- how wealth is spread ------------------------------------------------------------------------------------------
def _lorenz(a: jax.Array, mass: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The Lorenz curve: shares of people and of wealth, from nothing on."""
    zero = jnp.zeros(1)
    return jnp.concatenate([zero, jnp.cumsum(mass)]), jnp.concatenate([zero, jnp.cumsum(a * mass / (a @ mass))])


def gini(a: jax.Array, mass: jax.Array) -> jax.Array:
    """Gini coefficient of wealth (n,), increasing, held by mass (n,)."""
    people, wealth = _lorenz(a, mass)
    return 1 - jnp.diff(people) @ (wealth[1:] + wealth[:-1])


def share_above(a: jax.Array, mass: jax.Array, rank: float) -> jax.Array:
    """Share in wealth of those above a rank, between 0 and 1; the Lorenz curve is straight between points."""
    return 1 - jnp.interp(rank, *_lorenz(a, mass))


#: Measures of wealth by name: functions of wealth, increasing, and of the mass that holds it.
MEASURES: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "Gini": gini,
    "top 1%": functools.partial(share_above, rank=0.99),
    "top 10%": functools.partial(share_above, rank=0.9),
    "bottom 50%": lambda a, mass: 1 - share_above(a, mass, 0.5),
}

#: The measure that is none of wealth: the share of households at the borrowing constraint.
CONSTRAINED = "at the constraint"


@jax.jit
def _measured(a: jax.Array, mass: jax.Array) -> tuple[jax.Array, jax.Array]:
    """All measures (m,), and their gradients in the mass (m, n)."""

    def every(mass: jax.Array) -> jax.Array:
        return jnp.stack([measure(a, mass) for measure in MEASURES.values()])

    return every(mass), jax.jacrev(every)(mass)


def measure_gradients(steady: HouseholdSteadyState) -> tuple[dict[str, float], Array]:
    """Measures of a distribution by name, and their gradients in the mass of each state, (m, n_e, ...).

    Where net wealth is zero nobody has a share of it: all but the share at the constraint is ``nan``.
    """
    wealth, (at, mass) = np.unique(_totals(steady).ravel()), _by_wealth(steady)
    values, gradients = (np.array(x) for x in _measured(wealth, mass))
    if not wealth @ mass > _NOTHING * (np.abs(wealth) @ mass):
        values[:], gradients[:] = np.nan, np.nan
    constrained = constraint_groups(steady).weights[:1]
    found = dict(zip(MEASURES, values.tolist(), strict=True))
    found[CONSTRAINED] = float(np.vdot(constrained[0], steady.distribution))
    return found, np.concatenate([_on_states(steady, gradients[:, at]), constrained])


def _totals(steady: HouseholdSteadyState) -> Array:
    """Wealth on the grid of all assets, (n_1, ...)."""
    total: Array = functools.reduce(np.add.outer, [np.asarray(grid) for grid in steady.grids.assets])
    return total


def _by_wealth(steady: HouseholdSteadyState) -> tuple[NDArray[np.intp], Array]:
    """The place of each point of the assets' grid among all values of wealth, and the mass at each value."""
    heads = np.asarray(steady.distribution).sum(axis=0).ravel()
    values, at = np.unique(_totals(steady).ravel(), return_inverse=True)
    return at.reshape(-1), np.bincount(at.reshape(-1), heads, len(values))


def _on_states(steady: HouseholdSteadyState, by_assets: Array) -> Array:
    """What is known by assets, (..., points of their grid), at all states: (..., n_e, n_1, ...)."""
    shape = steady.distribution.shape
    leading = by_assets.shape[:-1]
    found = by_assets.reshape(*leading, 1, *shape[1:])
    return np.array(np.broadcast_to(found, (*leading, *shape)))
