"""Stationary equilibrium of the household block: policies, distribution, and the parameter that hits a target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from scipy import optimize

from estimhank.households.one_asset import Grids, HouseholdBlock, HouseholdTarget, Policies
from estimhank.support.errors import EstimhankError

#: Mass on the last asset grid point above which the grid is called too small.
TOP_MASS_LIMIT = 1e-8


class SteadyStateError(EstimhankError):
    """The steady state could not be found; ``kind`` says why in a word.

    ``no_convergence``: policies or distribution; ``no_bracket``: no value of the unknown hits the target;
    ``grid_too_small``: households want to leave the asset grid; ``not_a_solution``: declared values do not solve the
    model's equations.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Lottery(NamedTuple):
    """End-of-period assets as a lottery between neighbouring grid points (Young 2010).

    ``lower`` (n_e, n_a) is the lower neighbour, ``weight`` (n_e, n_a) its probability.
    """

    lower: jax.Array
    weight: jax.Array


class HouseholdSteadyState(NamedTuple):
    """Household block at constant inputs.

    Attributes
    ----------
    grids : Grids
    policies : Policies
    lottery : Lottery
    distribution : array of shape (n_e, n_a)
        Mass over (productivity, beginning-of-period assets); sums to one.
    aggregates : dict of str to scalar
        Outputs integrated over the distribution.
    iterations : tuple of two ints
        Backward and forward iterations of the last solution.
    residuals : tuple of two floats
        Sup-norm change of the policy (relative) and of the distribution in the last iteration.
    """

    grids: Grids
    policies: Policies
    lottery: Lottery
    distribution: jax.Array
    aggregates: dict[str, jax.Array]
    iterations: tuple[jax.Array, jax.Array]
    residuals: tuple[jax.Array, jax.Array]


def lottery_of(assets: jax.Array, grid: jax.Array) -> Lottery:
    """Neighbouring grid points and probabilities that keep the mean: shapes (n_e, n_a).

    Policies beyond the grid are put on its end, so that no probability is negative; where mass follows such a policy
    :func:`check_stationary` calls the grid too small.
    """
    assets = jnp.clip(assets, grid[0], grid[-1])
    index = jnp.clip(jnp.searchsorted(grid, assets, side="right") - 1, 0, grid.shape[0] - 2)
    return Lottery(index, (grid[index + 1] - assets) / (grid[index + 1] - grid[index]))


def forward_assets(distribution: jax.Array, lottery: Lottery) -> jax.Array:
    """Move mass along the asset lottery, before productivity changes: (n_e, n_a) to (n_e, n_a)."""
    rows = jnp.arange(distribution.shape[0])[:, None]
    stay = distribution * lottery.weight
    moved = jnp.zeros_like(distribution).at[rows, lottery.lower].add(stay)
    return moved.at[rows, lottery.lower + 1].add(distribution - stay)


def forward(distribution: jax.Array, lottery: Lottery, transition: jax.Array) -> jax.Array:
    """Distribution at the beginning of next period."""
    return transition.T @ forward_assets(distribution, lottery)


def expectation(values: jax.Array, lottery: Lottery, transition: jax.Array) -> jax.Array:
    """Expected value next period at each state today: the adjoint of :func:`forward`."""
    rows = jnp.arange(values.shape[0])[:, None]
    tomorrow = transition @ values
    low = tomorrow[rows, lottery.lower]
    return low * lottery.weight + tomorrow[rows, lottery.lower + 1] * (1 - lottery.weight)


def solve_stationary(
    block: HouseholdBlock, inputs: Mapping[str, jax.Array], p: Any, tolerance: float = 1e-13, limit: int = 20_000
) -> HouseholdSteadyState:
    """Policies by backward iteration and their stationary distribution by forward iteration.

    Pure JAX; ``iterations`` equal to ``limit`` mean that an iteration did not converge.
    """
    grids = block.grids(p)
    step = partial(block.backward, inputs=inputs, grids=grids, p=p)

    def backward_once(state: tuple[jax.Array, jax.Array, jax.Array, jax.Array]) -> Any:
        value, assets, _, n = state
        new = step(value)
        change = jnp.max(jnp.abs(new.assets - assets) / (1 + jnp.abs(assets)))
        return new.marginal_value, new.assets, change, n + 1

    value0 = block.initial_marginal_value(grids, inputs, p)
    start = (value0, jnp.zeros_like(value0), jnp.asarray(jnp.inf), jnp.asarray(0))
    value, _, policy_change, backward_iterations = jax.lax.while_loop(
        lambda s: (s[2] > tolerance) & (s[3] < limit), backward_once, start
    )
    policies = step(value)
    lottery = lottery_of(policies.assets, grids.a)

    def forward_once(state: tuple[jax.Array, jax.Array, jax.Array]) -> Any:
        distribution, _, n = state
        new = distribution
        for _ in range(10):
            previous, new = new, forward(new, lottery, grids.transition)
        return new, jnp.max(jnp.abs(new - previous)), n + 10

    uniform = jnp.ones_like(value) / grids.a.shape[0] * grids.stationary[:, None]
    distribution, mass_change, forward_iterations = jax.lax.while_loop(
        lambda s: (s[1] > tolerance * 1e-2) & (s[2] < limit),
        forward_once,
        (uniform, jnp.asarray(jnp.inf), jnp.asarray(0)),
    )
    distribution = distribution / distribution.sum()
    aggregates = {name: jnp.vdot(distribution, policies.outputs[name]) for name in block.outputs}
    return HouseholdSteadyState(
        grids,
        policies,
        lottery,
        distribution,
        aggregates,
        (backward_iterations, forward_iterations),
        (policy_change, mass_change),
    )


def check_stationary(solution: HouseholdSteadyState, limit: int = 20_000) -> None:
    """Raise :class:`SteadyStateError` if an iteration did not converge or mass sits at the top of the grid."""
    _check_converged("policy", solution.iterations[0], solution.residuals[0], limit)
    top = float(solution.distribution[:, -1].sum())
    beyond = float(jnp.max(jnp.where(solution.distribution > TOP_MASS_LIMIT, solution.policies.assets, -jnp.inf)))
    highest = float(solution.grids.a[-1])
    if top > TOP_MASS_LIMIT or beyond > highest:
        raise SteadyStateError(
            "grid_too_small",
            f"households leave the asset grid: a mass of {top:.1e} at its top of {highest:g}, "
            f"policies up to {beyond:g}; raise a_max",
        )
    _check_converged("distribution", solution.iterations[1], solution.residuals[1], limit)


def _check_converged(what: str, iterations: jax.Array, change: jax.Array, limit: int) -> None:
    if int(iterations) >= limit or not jnp.isfinite(change):
        raise SteadyStateError(
            "no_convergence", f"household {what} did not converge in {int(iterations)} iterations (change {change:.1e})"
        )


def solve_household(
    target: HouseholdTarget,
    p_with: Callable[[dict[str, float]], Any],
    solve: Callable[[Any], HouseholdSteadyState],
) -> tuple[float | None, HouseholdSteadyState]:
    """Find the unknown that makes an aggregate output hit its target, by Brent's method.

    Parameters
    ----------
    target : HouseholdTarget
    p_with : callable
        Parameters with some entries replaced.
    solve : callable
        :func:`solve_stationary` as a function of the parameters (compiled by the caller).

    Returns
    -------
    unknown : float or None
    solution : HouseholdSteadyState

    Raises
    ------
    SteadyStateError
    """
    if target.unknown is None:
        solution = solve(p_with({}))
        check_stationary(solution)
        return None, solution
    name, value = target.unknown, float(target.value)

    def excess(x: float) -> float:
        return float(solve(p_with({name: x})).aggregates[target.output]) - value

    low, high = target.bracket
    ends = excess(low), excess(high)
    if not ends[0] * ends[1] < 0:
        raise SteadyStateError(
            "no_bracket",
            f"no {name} in [{low:g}, {high:g}] makes {target.output} equal to {value:g} "
            f"(it is {ends[0] + value:g} at the one end and {ends[1] + value:g} at the other)",
        )
    root = optimize.brentq(excess, low, high, xtol=1e-14, rtol=1e-14, maxiter=200)
    solution = solve(p_with({name: root}))
    check_stationary(solution)
    return float(root), solution
