"""What a household's stationary problem asks for: blocks, the parameters that are moved, and the targets they hit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from estimhank.households.one_asset import Grids, HouseholdBlock, Policies
from estimhank.households.stationary import HouseholdSteadyState
from estimhank.parameters.parameter_table import Values

_SQUARINGS = 60  # of a transition matrix: 10^18 dates


@dataclass(frozen=True)
class StationaryProblem:
    """What is solved: household blocks, the parameters that are moved, and the outputs that each target adds up.

    As many unknowns as targets; without any the blocks are solved at given parameters. Names of inputs, outputs and
    parameters are those of the model, each output that of one block.
    """

    blocks: tuple[HouseholdBlock, ...]
    unknowns: tuple[str, ...] = ()
    targets: tuple[tuple[str, ...], ...] = ()


class Given(NamedTuple):
    """What the solution depends on: constant inputs, the parameters that blocks read, and by target the weights of its
    outputs and its value."""

    inputs: dict[str, jax.Array]
    parameters: dict[str, jax.Array]
    weights: tuple[tuple[jax.Array, ...], ...] = ()
    values: tuple[jax.Array, ...] = ()


class StationaryPoint(NamedTuple):
    """A solution: by block the log marginal value and the distribution, each (n_e, n_a), and the unknowns (k,)."""

    log_values: tuple[Any, ...]
    distributions: tuple[Any, ...]
    unknowns: Any


def parameters_at(problem: StationaryProblem, unknowns: jax.Array, given: Given) -> Values:
    """The blocks' parameters with the unknowns (k,) in their places."""
    return Values({**given.parameters, **{name: unknowns[i] for i, name in enumerate(problem.unknowns)}})


def behaviour(
    problem: StationaryProblem, block: HouseholdBlock, log_value: jax.Array, unknowns: jax.Array, given: Given
) -> tuple[Grids, Policies]:
    p = parameters_at(problem, unknowns, given)
    grids = block.grids(p)
    return grids, block.backward(jnp.exp(log_value), {name: given.inputs[name] for name in block.inputs}, grids, p)


def yields_of(problem: StationaryProblem, policies: Policies, given: Given) -> tuple[jax.Array, ...]:
    """By target, what a block adds to it in each state."""
    nothing = jnp.zeros_like(next(iter(policies.outputs.values())))
    return tuple(
        sum((w * policies.outputs[o] for o, w in zip(outputs, weights, strict=True) if o in policies.outputs), nothing)
        for outputs, weights in zip(problem.targets, given.weights, strict=True)
    )


def maps(
    problem: StationaryProblem,
    block: HouseholdBlock,
    log_value: jax.Array,
    unknowns: jax.Array,
    distribution: jax.Array,
    given: Given,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The right-hand sides of a block's conditions, and what it adds to the targets, (k,)."""
    grids, policies = behaviour(problem, block, log_value, unknowns, given)
    moved = block.transition(grids, policies).forward(distribution)
    moved = with_marginal(moved, marginal_of(grids))
    adds = [jnp.vdot(distribution, y) for y in yields_of(problem, policies, given)]
    return jnp.log(policies.marginal_value), moved, jnp.stack(adds) if adds else jnp.zeros(0)


def with_marginal(distribution: jax.Array, marginal: jax.Array) -> jax.Array:
    """A distribution over productivity and assets, (n_e, n_a), with another marginal over productivity."""
    return shares_of(distribution) * _along_assets(marginal, distribution)


def shares_of(distribution: jax.Array) -> jax.Array:
    """The distribution over assets of each productivity."""
    mass = distribution.sum(axis=range(1, distribution.ndim))
    return distribution / _along_assets(jnp.where(mass > 0, mass, 1.0), distribution)


def _along_assets(by_productivity: jax.Array, distribution: jax.Array) -> jax.Array:
    return by_productivity.reshape(-1, *(1 for _ in distribution.shape[1:]))


def marginal_of(grids: Grids) -> jax.Array:
    """The stationary distribution of productivity, (n_e,), with its derivative in the transition matrix.

    A chain that falls into several closed classes (types of households) has many: the masses of the classes are those
    of ``grids.stationary``. With P the limit of the transition matrix T over many dates::

        d pi = pi dT (I - T + P)^{-1} (I - P) + d stationary P

    where the second term is zero unless there are several classes and their masses move.
    """
    chain = jax.lax.stop_gradient(grids.transition)
    eye = jnp.eye(chain.shape[0])
    # every other date may stand still: the limit is the same, and there is one where the chain goes round in circles
    limit = jax.lax.fori_loop(0, _SQUARINGS, lambda _, p: _rows_to_one(p @ p), (chain + eye) / 2)
    later = jnp.linalg.solve(eye - chain + limit, eye - limit)
    known = jax.lax.stop_gradient(grids.stationary)
    moved = known @ (grids.transition - chain) @ later
    found: jax.Array = known + moved + (grids.stationary - known) @ limit
    return found


def _rows_to_one(matrix: jax.Array) -> jax.Array:
    return matrix / matrix.sum(axis=1, keepdims=True)


def steady_states_at(
    problem: StationaryProblem, point: StationaryPoint, given: Given
) -> tuple[HouseholdSteadyState, ...]:
    """Everything about the households at a solution, block by block; differentiable."""
    found = []
    for block, log_value, distribution in zip(problem.blocks, point.log_values, point.distributions, strict=True):
        grids, policies = behaviour(problem, block, log_value, point.unknowns, given)
        transition = block.transition(grids, policies)
        aggregates = {name: jnp.vdot(distribution, policies.outputs[name]) for name in block.outputs}
        nothing, still = jnp.zeros((), int), jnp.zeros(())
        steady = HouseholdSteadyState(
            grids, policies, transition, distribution, aggregates, (nothing, nothing), (still, still)
        )
        found.append(steady)
    return tuple(found)
