"""Household Jacobians in the sequence space by the fake-news algorithm with exact tangents.

Source: Auclert, Bardóczy, Rognlie and Straub (2021), "Using the Sequence-Space Jacobian to Solve and Estimate
Heterogeneous-Agent Models", Econometrica 89(5), section 3. Where the paper takes one-sided differences, the tangents
here are exact: the household's backward step is linearised once by automatic differentiation and iterated as a
linear map.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from estimhank.model.household import HouseholdBlock, Policies
from estimhank.sequence_space.household_steady_state import HouseholdSteadyState, expectation


class Tangents(NamedTuple):
    """Response of behaviour at date 0 to an input that moves ``s`` dates ahead, for s = 0, ..., T-1.

    ``outputs`` (T, n_i, n_o): change of each aggregate output at date 0, distribution unchanged; ``distribution``
    (T, n_i, n_e, n_a): change of the distribution at the beginning of date 1, before productivity changes.
    """

    outputs: jax.Array
    distribution: jax.Array


def backward_tangents(
    block: HouseholdBlock,
    steady: HouseholdSteadyState,
    inputs: Mapping[str, Any],
    p: Any,
    horizon: int,
    names: tuple[str, ...],
) -> Tangents:
    """Iterate the linearised backward step over the horizon, all inputs at once (step 1 of the algorithm)."""
    grids = steady.grids
    values = {name: jnp.asarray(inputs[name], float) for name in block.inputs}

    def step(value: jax.Array, now: dict[str, jax.Array]) -> Policies:
        return block.backward(value, now, grids, p)

    _, linear = jax.linearize(step, steady.policies.marginal_value, values)
    index, _ = steady.lottery
    gap = grids.a[index + 1] - grids.a[index]
    rows = jnp.arange(grids.e.shape[0])[:, None]

    def summarise(change: Policies) -> tuple[jax.Array, jax.Array]:
        outputs = jnp.stack([jnp.vdot(steady.distribution, change.outputs[name]) for name in names])
        # a policy that moves by da takes probability da/gap from the lower neighbour to the upper one
        flow = steady.distribution * change.assets / gap
        distribution = jnp.zeros_like(flow).at[rows, index].add(-flow).at[rows, index + 1].add(flow)
        return outputs, distribution

    still = {name: jnp.zeros(()) for name in block.inputs}
    unit = {name: jnp.array([1.0 if other == name else 0.0 for other in block.inputs]) for name in block.inputs}
    nothing = jnp.zeros_like(steady.policies.marginal_value)
    first = jax.vmap(lambda now: linear(nothing, now))(unit)

    def earlier(value: jax.Array, _: None) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        change = jax.vmap(lambda v: linear(v, still))(value)
        return change.marginal_value, jax.vmap(summarise)(change)

    at_zero = jax.vmap(summarise)(first)
    _, later = jax.lax.scan(earlier, first.marginal_value, None, length=horizon - 1)
    outputs, distribution = (jnp.concatenate([a[None], b]) for a, b in zip(at_zero, later, strict=True))
    return Tangents(outputs, distribution)


def expectation_vectors(steady: HouseholdSteadyState, names: tuple[str, ...], horizon: int) -> jax.Array:
    """Expected outputs t dates ahead by state at the *end* of a date, t = 1, ..., horizon: (horizon, n_o, n_e, n_a).

    The state is (productivity today, end-of-period assets): the transition of productivity is included, so that the
    vectors meet :attr:`Tangents.distribution` without another multiplication. Outputs are taken in deviation from
    their mean, which cannot matter (changes of the distribution sum to zero) and keeps rounding small.
    """
    policies = jnp.stack([steady.policies.outputs[name] - steady.aggregates[name] for name in names])
    transition = steady.grids.transition

    def step(values: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        return jax.vmap(lambda v: expectation(v, steady.lottery, transition))(values), transition @ values

    return jax.lax.scan(step, policies, None, length=horizon)[1]


def household_jacobians(
    block: HouseholdBlock,
    steady: HouseholdSteadyState,
    inputs: Mapping[str, Any],
    p: Any,
    horizon: int,
    names: tuple[str, ...] | None = None,
) -> jax.Array:
    """Jacobians of aggregate outputs with respect to input paths.

    Parameters
    ----------
    block : HouseholdBlock
    steady : HouseholdSteadyState
    inputs : mapping of str to scalar
        Steady-state inputs.
    p : parameters
    horizon : int
        Number of dates T.
    names : tuple of str, optional
        Outputs wanted; all but the derived ones by default.

    Returns
    -------
    array of shape (n_o, n_i, T, T)
        ``[o, i, t, s]`` is the change of output o at date t for a unit change of input i at date s, announced at 0.
    """
    wanted = tuple(n for n in block.outputs if n not in block.derived) if names is None else names
    tangents = backward_tangents(block, steady, inputs, p, horizon, wanted)
    vectors = expectation_vectors(steady, wanted, horizon - 1)
    n_i, n_o, size = len(block.inputs), len(wanted), steady.distribution.size
    news = jnp.einsum(
        "tok,sik->oits",
        vectors.reshape(horizon - 1, n_o, size),
        tangents.distribution.reshape(horizon, n_i, size),
    )
    fake = jnp.concatenate([tangents.outputs.transpose(2, 1, 0)[:, :, None, :], news], axis=2)

    def down(row: jax.Array, fresh: jax.Array) -> tuple[jax.Array, jax.Array]:
        new = fresh.at[..., 1:].add(row[..., :-1])
        return new, new

    first = fake[:, :, 0]
    _, rest = jax.lax.scan(down, first, jnp.moveaxis(fake[:, :, 1:], 2, 0))
    return jnp.concatenate([first[:, :, None], jnp.moveaxis(rest, 0, 2)], axis=2)
