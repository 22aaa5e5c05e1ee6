"""Further readings of households than their aggregates: sums over a group, and measures of how wealth is spread.

Both come from the fake-news recursion with other outputs (Auclert, Bardóczy, Rognlie and Straub 2021, section 3). With
D the steady-state distribution, P its Markov matrix, y a policy and a the savings policies, and ``d`` what news of an
input s dates ahead does at date 0, the matrix of news and the Jacobian of a reading are::

    F[0, s] = direct[s],   F[t, s] = (d(P' P^{t-1} v) / da)' da[s],   J[t, s] = F[t, s] + J[t-1, s-1]

    a group, of weights w on states:   v = w y - r,   direct[s] = sum_x w D dy[s]
    a measure of wealth, m(P' D):      v = P g,       direct[s] = D' dP(da[s]) g,   with g the gradient of m

where r is what is not read of those who come into the group (:mod:`estimhank.households.groups`); zero for sums.

A measure's gradient is that of a function of the distribution: to first order nothing else of it matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from estimhank.households.fake_news import accumulated, setting_of
from estimhank.households.one_asset import HouseholdBlock, Policies
from estimhank.households.stationary import HouseholdSteadyState
from estimhank.parameters.parameter_table import Values

#: Of the marginal value, of the savings policies, and of readings at date 0.
_Change = tuple[jax.Array, jax.Array, jax.Array]


class ReadingJacobians(NamedTuple):
    """How readings respond to news of the inputs.

    Attributes
    ----------
    by_date : array of shape (T, n_i, k + m, H)
        ``[s, i, j, t]``: reading j at date t for a unit change of input i at date s, announced at 0.
    given_states : array of shape (T, n_i, k)
        ``[s, i, j]``: the part of group j's date-0 response that is there with nobody in another state than before.
    """

    by_date: jax.Array
    given_states: jax.Array


def reading_jacobians(
    block: HouseholdBlock,
    steady: HouseholdSteadyState,
    inputs: Mapping[str, Any],
    p: Any,
    horizon: int,
    dates: int,
    outputs: tuple[str, ...],
    weights: Float[jax.Array, "k ..."],
    newcomers: Float[jax.Array, "k ..."],
    gradients: Float[jax.Array, "m ..."],
) -> ReadingJacobians:
    """Jacobians of sums over groups and of measures of wealth, of the first dates.

    Parameters
    ----------
    block : HouseholdBlock
    steady : HouseholdSteadyState
    inputs : mapping of str to scalar
        Steady-state inputs.
    p : parameters
    horizon, dates : int
        Dates T of the inputs, and H of the readings.
    outputs : tuple of str, length k
        The output that each group's sum is of.
    weights : array of shape (k, n_e, ...)
        Share of the households in each state, at the beginning of a period, that are of a group.
    newcomers : array of shape (k, n_e, ...)
        What is not read of those who come into a state.
    gradients : array of shape (m, n_e, ...)
        Of measures of the distribution at the end of a period.
    """
    setting, transition, distribution = setting_of(block, steady, inputs, p), steady.transition, steady.distribution

    def step(value: jax.Array, now: dict[str, jax.Array]) -> Policies:
        return block.backward(value, now, setting.grids, Values(setting.parameters))

    _, linear = jax.linearize(step, setting.marginal_value, setting.inputs)
    size, measured = steady.policies.assets.size, len(gradients) > 0
    ends = transition.derivative_adjoint(distribution, gradients) if measured else jnp.zeros((0, size))

    def tangent(value: jax.Array, now: dict[str, jax.Array]) -> _Change:
        change = linear(value, now)
        sums = [jnp.vdot(w * distribution, change.outputs[name]) for w, name in zip(weights, outputs, strict=True)]
        moved = ends.reshape(len(gradients), size) @ change.assets.ravel()
        return change.marginal_value, change.assets.ravel(), jnp.concatenate([jnp.array(sums), moved])

    still = {name: jnp.zeros(()) for name in block.inputs}
    unit = {name: jnp.array([1.0 if other == name else 0.0 for other in block.inputs]) for name in block.inputs}

    def earlier(change: _Change, _: None) -> tuple[_Change, tuple[jax.Array, jax.Array]]:
        return jax.vmap(lambda v: tangent(v, still))(change[0]), change[1:]

    first: _Change = jax.vmap(lambda now: tangent(jnp.zeros_like(setting.marginal_value), now))(unit)
    moves, direct = jax.lax.scan(earlier, first, None, length=horizon)[1]

    values = [w * steady.policies.outputs[name] for w, name in zip(weights, outputs, strict=True)]
    expected = jnp.stack(values) - newcomers
    if measured:
        expected = jnp.concatenate([expected, transition.expectation(gradients)])
    # deviations from the mean cannot matter (changes of the distribution sum to zero) and keep rounding small
    axes = tuple(range(1, expected.ndim))
    expected = expected - (expected * distribution).sum(axes, keepdims=True)

    def later(values: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        shift = transition.derivative_adjoint(distribution, values)
        return transition.expectation(values), shift.reshape(len(values), size)

    shifts = jax.lax.scan(later, expected, None, length=dates - 1)[1]
    news = jnp.einsum("six,tjx->sijt", moves, shifts)
    return ReadingJacobians(accumulated(jnp.concatenate([direct[..., None], news], 3)), direct[..., : len(weights)])
