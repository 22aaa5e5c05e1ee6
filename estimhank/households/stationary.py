"""Stationary equilibrium of the household block: policies, distribution, and the parameter that hits a target."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from estimhank.households.one_asset import HouseholdBlock, Policies, StateSpace
from estimhank.households.transition import Transition
from estimhank.parameters.parameter_table import ModelError, Values, nearest
from estimhank.support.errors import EstimhankError
from estimhank.support.runtime import configure

#: Mass on the last asset grid point above which the grid is called too small.
TOP_MASS_LIMIT = 1e-8
#: Relative change of a policy at which a backward iteration ends; a hundredth of it, of a distribution.
TOLERANCE = 1e-13


class SteadyStateError(EstimhankError):
    """The steady state could not be found; ``kind`` says why in a word.

    ``no_convergence``: policies or distribution; ``no_bracket``: no value of the unknown hits the target;
    ``grid_too_small``: households want to leave the asset grid; ``not_a_solution``: declared values do not solve the
    model's equations.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class HouseholdSteadyState(NamedTuple):
    """Household block at constant inputs.

    Attributes
    ----------
    grids : Grids, or another state space
    policies : Policies
    transition : Transition
    distribution : array of shape (n_e, n_a)
        Mass over (productivity, beginning-of-period assets, one axis for each); sums to one.
    aggregates : dict of str to scalar
        Outputs integrated over the distribution.
    iterations : tuple of two ints
        Backward and forward iterations of the last solution.
    residuals : tuple of two floats
        Sup-norm change of the policy (relative) and of the distribution in the last iteration.
    """

    grids: StateSpace
    policies: Policies
    transition: Transition
    distribution: jax.Array
    aggregates: dict[str, jax.Array]
    iterations: tuple[jax.Array, jax.Array]
    residuals: tuple[jax.Array, jax.Array]

    @property
    def holdings(self) -> jax.Array:
        """End-of-period policies of each asset: (number of assets, n_e, ...)."""
        return self.policies.assets.reshape(len(self.grids.assets), *self.distribution.shape)


def solve_stationary(
    block: HouseholdBlock, inputs: Mapping[str, jax.Array], p: Any, tolerance: Any = TOLERANCE, limit: int = 20_000
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
    transition = block.transition(grids, policies)

    def forward_once(state: tuple[jax.Array, jax.Array, jax.Array]) -> Any:
        distribution, _, n = state
        new = distribution
        for _ in range(10):
            previous, new = new, transition.forward(new)
        return new, jnp.max(jnp.abs(new - previous)), n + 10

    shape = tuple(grid.shape[0] for grid in grids.assets)
    uniform = jnp.multiply.outer(grids.stationary, jnp.ones(shape) / math.prod(shape))
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
        transition,
        distribution,
        aggregates,
        (backward_iterations, forward_iterations),
        (policy_change, mass_change),
    )


@lru_cache(maxsize=32)
def compiled_stationary(block: HouseholdBlock) -> Any:
    """:func:`solve_stationary` of a block as a compiled function of (inputs, parameters, tolerance), by name."""

    def solve(inputs: dict[str, Any], parameters: dict[str, Any], tolerance: Any) -> HouseholdSteadyState:
        return solve_stationary(block, inputs, Values(parameters), tolerance)

    return jax.jit(solve)


def household_steady_state(
    block: HouseholdBlock, inputs: Mapping[str, float], parameters: Mapping[str, float]
) -> dict[str, float]:
    """Aggregate outputs of a household block at constant inputs and given parameters; nothing is solved for.

    Parameters
    ----------
    block : HouseholdBlock
    inputs : mapping of str to float
        A value for each of ``block.inputs``.
    parameters : mapping of str to float
        A value for each of ``block.parameters``. A mapping may hold more than what the block reads.

    Returns
    -------
    dict of str to float
        By the names of ``block.outputs``.

    Raises
    ------
    ModelError
        A value is missing.
    SteadyStateError
        As of :func:`check_stationary`.
    """
    configure()
    read: list[dict[str, float]] = []
    for role, names, values in (("input", block.inputs, inputs), ("parameter", block.parameters, parameters)):
        missing = [name for name in names if values.get(name) is None]
        if missing:
            raise ModelError(
                f"the household has no value of the {role} '{missing[0]}'{nearest(missing[0], values)} "
                f"(it reads {', '.join(names)})"
            )
        read.append({name: float(values[name]) for name in names})
    solution = compiled_stationary(block)(*read, TOLERANCE)
    check_stationary(solution)
    return {name: float(value) for name, value in solution.aggregates.items()}


def check_stationary(solution: HouseholdSteadyState, limit: int = 20_000) -> None:
    """Raise :class:`SteadyStateError` if an iteration did not converge or mass sits at the top of the grid."""
    _check_converged("policy", solution.iterations[0], solution.residuals[0], limit)
    check_tops(grid_tops(solution))
    _check_converged("distribution", solution.iterations[1], solution.residuals[1], limit)


def grid_tops(solution: HouseholdSteadyState) -> tuple[jax.Array, jax.Array, jax.Array]:
    """By asset: the mass on the highest grid point, that point, and the highest policy that mass follows; (k,) each."""
    mass, axes = solution.distribution, range(1, solution.distribution.ndim)
    follows = mass > TOP_MASS_LIMIT
    return (
        jnp.stack([jnp.take(mass, -1, axis).sum() for axis in axes]),
        jnp.stack([grid[-1] for grid in solution.grids.assets]),
        jnp.stack([jnp.max(jnp.where(follows, held, -jnp.inf)) for held in solution.holdings]),
    )


def check_tops(tops: tuple[jax.Array, jax.Array, jax.Array], where: str = "") -> None:
    """Raise :class:`SteadyStateError` if households want to leave a grid; ``tops`` from :func:`grid_tops`."""
    for mass, top, beyond in zip(*(np.asarray(x).tolist() for x in tops), strict=True):
        if mass > TOP_MASS_LIMIT or beyond > top:
            raise SteadyStateError(
                "grid_too_small",
                f"households leave the asset grid{where}: a mass of {mass:.1e} at its top of {top:g}, "
                f"policies up to {beyond:g}; raise a_max",
            )


def _check_converged(what: str, iterations: jax.Array, change: jax.Array, limit: int) -> None:
    if not jnp.isfinite(change):
        raise SteadyStateError(
            "no_convergence",
            f"household {what} is not a number after {int(iterations)} iterations: nobody can live on these inputs, or "
            "the endogenous grid method does not apply to these parameters (with two assets: where the choice of the "
            "illiquid asset is not unique, or does not rise in wealth)",
        )
    if int(iterations) >= limit:
        raise SteadyStateError(
            "no_convergence", f"household {what} did not converge in {int(iterations)} iterations (change {change:.1e})"
        )


def find_root(excess: Callable[[float], float], low: float, high: float, name: str, output: str, value: float) -> float:
    """The value of one parameter that makes an aggregate hit its target, by Brent's method.

    Parameters
    ----------
    excess : callable
        The aggregate less its target.
    low, high : float
        Between which the parameter is searched.
    name, output, value
        Of the parameter, the aggregate and the target, for errors.

    Raises
    ------
    SteadyStateError
    """
    ends = excess(low), excess(high)
    if not ends[0] * ends[1] < 0:
        raise SteadyStateError(
            "no_bracket",
            f"no {name} in [{low:g}, {high:g}] makes {output} equal to {value:g} "
            f"(it is {ends[0] + value:g} at the one end and {ends[1] + value:g} at the other)",
        )
    return float(optimize.brentq(excess, low, high, xtol=1e-14, rtol=1e-14, maxiter=200))
