"""Household Jacobians in the sequence space by the fake-news algorithm with exact tangents.

Source: Auclert, Bardóczy, Rognlie and Straub (2021), "Using the Sequence-Space Jacobian to Solve and Estimate
Heterogeneous-Agent Models", Econometrica 89(5), section 3. Where the paper takes one-sided differences, the tangents
here are exact: the household's backward step is linearised once by automatic differentiation and iterated as a
linear map.

The matrix of news F[t, s] = E_{t-1}' dD_s is the costly part, T^2 N operations. Two things make it cheaper at no loss:

* a policy that moves by da only shifts mass between two neighbouring grid points, so F[t, s] = G_t' da_s with
  G_t = D (difference of E_{t-1} between the two points) / gap: distributions are never formed;
* both factors die out geometrically. Every entry is bounded by |G_t| |da_s|, and blocks whose bound is below
  :data:`NEWS_TOLERANCE` are left at zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from estimhank.model.household import HouseholdBlock, Policies
from estimhank.sequence_space.household_steady_state import HouseholdSteadyState

#: Bound below which entries of the fake-news matrix are not computed. A Jacobian entry sums at most T of them.
NEWS_TOLERANCE = 1e-15
_DATES = 32  # dates of the input treated together
_ROWS = 64  # output dates are cut off in multiples of this


def mass_shifts(steady: HouseholdSteadyState, names: tuple[str, ...], horizon: int) -> jax.Array:
    """What moving the asset policy does to outputs t = 1, ..., horizon dates later: (horizon, n_o, n_e, n_a).

    ``[t - 1]`` is G_t: the change of expected output at date t for a unit change of the asset policy at date 0 in each
    state, weighted with the state's mass. The expectation vectors themselves are not kept.
    """
    grids, (index, weight) = steady.grids, steady.lottery
    rows = jnp.arange(grids.e.shape[0])[:, None]
    density = steady.distribution / (grids.a[index + 1] - grids.a[index])
    # deviations from the mean cannot matter (changes of the distribution sum to zero) and keep rounding small
    policies = jnp.stack([steady.policies.outputs[name] - steady.aggregates[name] for name in names])

    def step(values: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        tomorrow = grids.transition @ values
        low, high = tomorrow[:, rows, index], tomorrow[:, rows, index + 1]
        return low * weight + high * (1 - weight), density * (high - low)

    return jax.lax.scan(step, policies, None, length=horizon)[1]


@jax.custom_vjp
def truncated_product(left: jax.Array, right: jax.Array, needed: jax.Array) -> jax.Array:
    """``left @ right.T`` of shapes (m, k) and (n, k), with columns from ``needed`` (rounded up) on left at zero."""
    rows = right.shape[0]

    def short(length: int) -> Any:
        return lambda: jnp.pad(left @ right[:length].T, ((0, 0), (0, rows - length)))

    return _at_length(rows, needed, short)


def _at_length(rows: int, needed: jax.Array, short: Any) -> Any:
    """Do something at the shortest of a few lengths that covers what is needed."""
    lengths = np.unique(np.minimum(np.arange(0, rows + _ROWS, _ROWS), rows))
    return jax.lax.switch(jnp.searchsorted(jnp.asarray(lengths), needed), [short(int(n)) for n in lengths])


def _truncated_forward(left: jax.Array, right: jax.Array, needed: jax.Array) -> Any:
    return truncated_product(left, right, needed), (left, right, needed)


def _truncated_backward(residuals: Any, bar: jax.Array) -> tuple[jax.Array, jax.Array, None]:
    left, right, needed = residuals
    rows = right.shape[0]

    def short(length: int) -> Any:
        def pull() -> tuple[jax.Array, jax.Array]:
            part = bar[:, :length]
            return part @ right[:length], jnp.pad(part.T @ left, ((0, rows - length), (0, 0)))

        return pull

    return *_at_length(rows, needed, short), None


truncated_product.defvjp(_truncated_forward, _truncated_backward)


def news_by_date(
    block: HouseholdBlock,
    steady: HouseholdSteadyState,
    inputs: Mapping[str, Any],
    p: Any,
    horizon: int,
    names: tuple[str, ...],
) -> jax.Array:
    """Fake-news matrices by date of the input, shape (T, n_i, n_o, T): ``[s, i, o, t]`` is F of output o, input i.

    Parameters
    ----------
    block : HouseholdBlock
    steady : HouseholdSteadyState
    inputs : mapping of str to scalar
        Steady-state inputs.
    p : parameters
    horizon : int
        Number of dates T.
    names : tuple of str
        Outputs wanted.
    """
    n_i, n_o, size = len(block.inputs), len(names), steady.distribution.size
    values = {name: jnp.asarray(inputs[name], float) for name in block.inputs}

    def step(value: jax.Array, now: dict[str, jax.Array]) -> Policies:
        return block.backward(value, now, steady.grids, p)

    _, linear = jax.linearize(step, steady.policies.marginal_value, values)
    still = {name: jnp.zeros(()) for name in block.inputs}
    unit = {name: jnp.array([1.0 if other == name else 0.0 for other in block.inputs]) for name in block.inputs}
    nothing = jnp.zeros_like(steady.policies.marginal_value)

    def summarise(change: Policies) -> tuple[jax.Array, jax.Array]:
        return change.assets.reshape(-1), jnp.stack([jnp.vdot(steady.distribution, change.outputs[n]) for n in names])

    shifts = mass_shifts(steady, names, horizon - 1).reshape(horizon - 1, n_o * size)
    # the largest shift from each date on: what a block of later dates can still contribute
    sizes = jnp.sqrt((jax.lax.stop_gradient(shifts).reshape(horizon - 1, n_o, size) ** 2).sum(2)).max(1)
    ahead = jax.lax.cummax(sizes, reverse=True)

    def earlier(change: tuple[jax.Array, ...], _: None) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
        value, moved, direct = change
        new = jax.vmap(lambda v: linear(v, still))(value)
        return (new.marginal_value, *jax.vmap(summarise)(new)), (moved, direct)

    def compute(change: tuple[jax.Array, ...]) -> tuple[Any, ...]:
        change, (moves, direct) = jax.lax.scan(earlier, change, None, length=_DATES)
        largest = jnp.sqrt((jax.lax.stop_gradient(moves) ** 2).sum(2)).max()
        needed = (ahead * largest > NEWS_TOLERANCE).sum()
        # shifts of several outputs stand beside each other: one product serves all
        news = truncated_product(moves.reshape(-1, size), shifts.reshape(-1, size), needed * n_o)
        return change, needed > 0, direct, news.reshape(_DATES, n_i, horizon - 1, n_o)

    def skip(change: tuple[jax.Array, ...]) -> tuple[Any, ...]:
        # the linearised backward step contracts: after dates that cannot matter come dates that matter less
        nothing_new = jnp.zeros((_DATES, n_i, horizon - 1, n_o))
        return change, jnp.asarray(False), jnp.zeros((_DATES, n_i, n_o)), nothing_new

    def dates(state: tuple[Any, jax.Array], _: None) -> tuple[tuple[Any, jax.Array], tuple[jax.Array, ...]]:
        change, matters, direct, news = jax.lax.cond(state[1], compute, skip, state[0])
        return (change, matters), (direct, news)

    first = jax.vmap(lambda now: linear(nothing, now))(unit)
    start = (first.marginal_value, *jax.vmap(summarise)(first))
    _, (direct, news) = jax.lax.scan(dates, (start, jnp.asarray(True)), None, length=-(-horizon // _DATES))
    direct = direct.reshape(-1, n_i, 1, n_o)[:horizon]
    news = news.reshape(-1, n_i, horizon - 1, n_o)[:horizon]
    return jnp.concatenate([direct, news], axis=2).transpose(0, 1, 3, 2)


def jacobians_by_date(
    block: HouseholdBlock,
    steady: HouseholdSteadyState,
    inputs: Mapping[str, Any],
    p: Any,
    horizon: int,
    names: tuple[str, ...] | None = None,
) -> jax.Array:
    """Jacobians laid out by date of the input: ``[s, i, o, t]``, shape (T, n_i, n_o, T); see
    :func:`household_jacobians`."""
    wanted = tuple(n for n in block.outputs if n not in block.derived) if names is None else names
    news = news_by_date(block, steady, inputs, p, horizon, wanted)

    def next_date(row: jax.Array, fresh: jax.Array) -> tuple[jax.Array, jax.Array]:
        new = fresh.at[..., 1:].add(row[..., :-1])
        return new, new

    return jax.lax.scan(next_date, jnp.zeros_like(news[0]), news)[1]


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
    return jacobians_by_date(block, steady, inputs, p, horizon, names).transpose(2, 1, 3, 0)
