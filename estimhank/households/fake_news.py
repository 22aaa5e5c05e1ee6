"""Household Jacobians in the sequence space by the fake-news algorithm with exact tangents.

Source: Auclert, Bardóczy, Rognlie and Straub (2021), "Using the Sequence-Space Jacobian to Solve and Estimate
Heterogeneous-Agent Models", Econometrica 89(5), section 3. Where the paper takes one-sided differences, the tangents
here are exact: the household's backward step is linearised once by automatic differentiation and iterated as a
linear map.

The matrix of news F[t, s] = E_{t-1}' dD_s is the costly part, T^2 N operations. Two things make it cheaper at no loss:

* the distribution moves with policies, dD_s = (dP(da_s))' D, so F[t, s] = G_t' da_s where G_t is the derivative of
  E_{t-1}' P' D in the policies: distributions are never formed;
* both factors die out geometrically. Every entry is bounded by |G_t| |da_s|, and blocks whose bound is below
  :data:`NEWS_TOLERANCE` are left at zero.

At long horizons few dates of F give all others (:mod:`estimhank.households.few_dates`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from estimhank.households.few_dates import MISSED, FewDates, few_dates
from estimhank.households.one_asset import HouseholdBlock, Policies, StateSpace
from estimhank.households.stationary import HouseholdSteadyState
from estimhank.parameters.parameter_table import Values

#: Bound below which entries of the fake-news matrix are not computed. A Jacobian entry sums at most T of them.
NEWS_TOLERANCE = 1e-13
_DATES = 32  # dates of the input treated together
#: Relative size below which later values of a policy are left out of derivatives.
_SLOPE_TOLERANCE = 1e-7
_ROWS = 64  # output dates are cut off in multiples of this


def mass_shifts(
    steady: HouseholdSteadyState, names: tuple[str, ...], horizon: int
) -> Float[jax.Array, "{horizon} n_o ..."]:
    """What moving the policies does to outputs t = 1, ..., horizon dates later: (horizon, n_o, shape of the policies).

    ``[t - 1]`` is G_t: the change of expected output at date t for a unit change of a policy at date 0 in each state,
    weighted with the state's mass. The expectation vectors themselves are not kept.
    """
    transition, distribution = steady.transition, steady.distribution
    # deviations from the mean cannot matter (changes of the distribution sum to zero) and keep rounding small
    policies = jnp.stack([steady.policies.outputs[name] - steady.aggregates[name] for name in names])

    def step(values: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        return transition.expectation(values), transition.derivative_adjoint(distribution, values)

    return jax.lax.scan(step, policies, None, length=horizon)[1]


@jax.custom_vjp
def truncated_product(left: jax.Array, right: jax.Array, needed: jax.Array) -> jax.Array:
    """``left @ right.T`` of shapes (m, k) and (n, k), with columns from ``needed`` (rounded up) on left at zero."""
    rows = right.shape[0]

    def short(length: int) -> Any:
        return lambda: jnp.pad(left @ right[:length].T, ((0, 0), (0, rows - length)))

    found: jax.Array = _at_length(rows, needed, short)
    return found


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
) -> Float[jax.Array, "{horizon} n_i n_o {horizon}"]:
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
    shifts = mass_shifts(steady, names, horizon - 1)
    # the largest shift from each date on: what later moves can still contribute
    sizes = jnp.sqrt((jax.lax.stop_gradient(shifts).reshape(horizon - 1, len(names), -1) ** 2).sum(2)).max(1)
    ahead = jax.lax.cummax(sizes, reverse=True)
    setting = setting_of(block, steady, inputs, p)
    dates = -(-horizon // _DATES)
    moves, direct = policy_moves(block, names, dates, setting, jax.lax.stop_gradient(ahead[0]))
    size = steady.policies.assets.size
    found = moves.reshape(-1, len(block.inputs), size), direct.reshape(-1, len(block.inputs), len(names))
    shifts = shifts.reshape(horizon - 1, len(names), size)
    few = few_dates(horizon)
    if few is None:
        return _news_at_all_dates(*found, shifts, ahead)
    news, missed = _news_at_few_dates(few, *found, shifts)
    every: jax.Array = jax.lax.cond(missed <= MISSED, lambda: news, lambda: _news_at_all_dates(*found, shifts, ahead))
    return every


def _news_at_all_dates(moves: jax.Array, direct: jax.Array, shifts: jax.Array, ahead: jax.Array) -> jax.Array:
    """News (T, n_i, n_o, T) of moves (T or more, n_i, N), outputs at once (T or more, n_i, n_o), and shifts
    (T - 1, n_o, N); ``ahead`` (T - 1,) is the largest shift from each date on."""
    (later, n_o, size), n_i, blocks = shifts.shape, moves.shape[1], moves.shape[0] // _DATES

    def news(_: None, some: jax.Array) -> tuple[None, jax.Array]:
        largest = jnp.sqrt((jax.lax.stop_gradient(some) ** 2).sum(1)).max()
        needed = (ahead * largest > NEWS_TOLERANCE).sum()
        # shifts of several outputs stand beside each other: one product serves all
        return None, truncated_product(some, shifts.reshape(-1, size), needed * n_o)

    found = jax.lax.scan(news, None, moves.reshape(blocks, _DATES * n_i, size))[1]
    found = found.reshape(-1, n_i, later, n_o)[: later + 1]
    now = direct[: later + 1, :, None]
    return jnp.concatenate([now, found], axis=2).transpose(0, 1, 3, 2)


def _news_at_few_dates(
    few: FewDates, moves: jax.Array, direct: jax.Array, shifts: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The same from few dates, and by how much these miss others, as a share of a pair's largest entry."""

    def exact(ahead: jax.Array, since: jax.Array) -> jax.Array:
        """At some dates of the input and of the output: (inputs' dates, n_i, n_o, outputs' dates)."""
        later = jnp.einsum("sin,ton->siot", moves[ahead], shifts[jnp.maximum(since, 1) - 1])
        return jnp.where(since == 0, direct[ahead][..., None], later)

    dates, between, paths = jnp.asarray(few.dates), jnp.asarray(few.between), jnp.asarray(few.paths)
    core = exact(dates, dates)
    scale = jnp.abs(core).max(axis=(0, 3), keepdims=True) + 1e-300
    of_input = exact(between, dates) - jnp.tensordot(paths[between], core, 1)
    of_output = exact(dates, between) - core @ paths[between].T
    missed = jnp.maximum(*(jnp.max(jnp.abs(e) / scale) for e in (of_input, of_output)))
    return jnp.tensordot(paths, core @ paths.T, 1), jax.lax.stop_gradient(missed)


class Setting(NamedTuple):
    """What one backward step depends on, and the distribution that its outputs are summed over."""

    marginal_value: jax.Array
    inputs: dict[str, jax.Array]
    grids: StateSpace
    parameters: dict[str, jax.Array]
    distribution: jax.Array


def setting_of(block: HouseholdBlock, steady: HouseholdSteadyState, inputs: Mapping[str, Any], p: Any) -> Setting:
    """The setting at a steady state, given its inputs and the parameters."""
    return Setting(
        steady.policies.marginal_value,
        {name: jnp.asarray(inputs[name], float) for name in block.inputs},
        steady.grids,
        {name: getattr(p, name) for name in block.parameters},
        steady.distribution,
    )


def _tangent_of(block: HouseholdBlock, names: tuple[str, ...], setting: Setting) -> Any:
    """The linearised backward step: of next period's marginal value and today's inputs, to (marginal value, moves of
    the policies, outputs summed over the distribution)."""

    def step(value: jax.Array, now: dict[str, jax.Array]) -> Policies:
        return block.backward(value, now, setting.grids, Values(setting.parameters))

    _, linear = jax.linearize(step, setting.marginal_value, setting.inputs)

    def tangent(value: jax.Array, now: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        change = linear(value, now)
        totals = jnp.stack([jnp.vdot(setting.distribution, change.outputs[n]) for n in names])
        return change.marginal_value, change.assets, totals

    return tangent


def _still_and_unit(block: HouseholdBlock) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    still = {name: jnp.zeros(()) for name in block.inputs}
    unit = {name: jnp.array([1.0 if other == name else 0.0 for other in block.inputs]) for name in block.inputs}
    return still, unit


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def policy_moves(
    block: HouseholdBlock, names: tuple[str, ...], blocks: int, setting: Setting, weight: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Change of the policies, and of outputs at date 0, for an input that moves s dates ahead.

    Parameters
    ----------
    block : HouseholdBlock
    names : tuple of str
        Outputs.
    blocks : int
        Dates in blocks of 32.
    setting : Setting
    weight : scalar
        Largest effect of a unit move: blocks after one that no longer matters are left at zero.

    Returns
    -------
    moves : array of shape (blocks, 32, n_i, shape of the policies)
    direct : array of shape (blocks, 32, n_i, n_o)
    """
    moves, direct, _, _ = _policy_moves(block, names, blocks, setting, weight)
    return moves, direct


def _policy_moves(
    block: HouseholdBlock, names: tuple[str, ...], blocks: int, setting: Setting, weight: jax.Array
) -> tuple[jax.Array, ...]:
    tangent = _tangent_of(block, names, setting)
    still, unit = _still_and_unit(block)

    def earlier(change: tuple[jax.Array, ...], _: None) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
        return jax.vmap(lambda v: tangent(v, still))(change[0]), change

    def compute(change: tuple[jax.Array, ...]) -> tuple[Any, ...]:
        change, (values, moves, direct) = jax.lax.scan(earlier, change, None, length=_DATES)
        matters = jnp.sqrt((moves**2).sum(range(2, moves.ndim))).max() * weight > NEWS_TOLERANCE
        return change, matters, (values, moves, direct)

    def skip(change: tuple[jax.Array, ...]) -> tuple[Any, ...]:
        # the linearised backward step contracts: after dates that cannot matter come dates that matter less
        return change, jnp.asarray(False), tuple(jnp.zeros((_DATES, *c.shape)) for c in change)

    def some(state: tuple[Any, jax.Array], _: None) -> tuple[tuple[Any, jax.Array], tuple[jax.Array, ...]]:
        change, matters, found = jax.lax.cond(state[1], compute, skip, state[0])
        return (change, matters), (found[1], found[2], found[0], state[1])

    first = jax.vmap(lambda now: tangent(jnp.zeros_like(setting.marginal_value), now))(unit)
    return jax.lax.scan(some, (first, jnp.asarray(True)), None, length=blocks)[1]


def _policy_moves_forward(
    block: HouseholdBlock, names: tuple[str, ...], blocks: int, setting: Setting, weight: jax.Array
) -> Any:
    moves, direct, values, computed = _policy_moves(block, names, blocks, setting, weight)
    return (moves, direct), (setting, weight, values, computed)


def _policy_moves_backward(
    block: HouseholdBlock, names: tuple[str, ...], blocks: int, residuals: Any, bar: tuple[jax.Array, jax.Array]
) -> tuple[Setting, jax.Array]:
    """The adjoint recursion runs on its own; what it means for the setting is collected a block of dates at a time.

    Differentiating the recursion as it stands would carry the derivative of every coefficient through every date.
    """
    setting, weight, values, computed = residuals
    sizes = jnp.abs(values).max(axis=range(1, values.ndim))
    computed = computed & (sizes > _SLOPE_TOLERANCE * sizes[0])
    still, unit = _still_and_unit(block)
    tangent = _tangent_of(block, names, setting)
    nothing = jnp.zeros_like(setting.marginal_value)
    transposed = jax.linear_transpose(lambda v: tangent(v, still), nothing)

    def weighted(setting: Setting, values: jax.Array, inputs: dict[str, jax.Array], loads: Any) -> jax.Array:
        tangent = _tangent_of(block, names, setting)
        changes = jax.vmap(tangent)(values, inputs)
        return sum((jnp.vdot(a, b) for a, b in zip(changes, loads, strict=True)), jnp.zeros(()))

    def later(load: jax.Array, at: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        # the date's own move and output were made, with the value before it, from the value of the date after it
        new = jax.vmap(lambda *c: transposed(c)[0])(load, *at)
        return new, load

    def some(state: tuple[Any, ...], at: Any) -> tuple[tuple[Any, ...], None]:
        moves_bar, direct_bar, before, active = at

        def compute(_: None) -> tuple[Any, ...]:
            load, loads = jax.lax.scan(later, state[0], (moves_bar, direct_bar), reverse=True)
            flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (before, (loads, moves_bar, direct_bar)))
            quiet = {name: jnp.zeros(flat[0].shape[0]) for name in block.inputs}
            pulled = jax.grad(weighted)(setting, flat[0], quiet, flat[1])
            return load, loads[0], jax.tree.map(jnp.add, state[2], pulled)

        return jax.lax.cond(active, compute, lambda _: state, None), None

    # date s of the first index was made from the value at date s - 1; the very first from the inputs alone
    before = jnp.concatenate([jnp.zeros_like(values[:1, :1]), values.reshape(1, -1, *values.shape[2:])[:, :-1]], axis=1)
    before = before.reshape(values.shape)
    none = jnp.zeros_like(values[0, 0])
    start = none, none, jax.tree.map(jnp.zeros_like, setting)
    (_, load, total), _ = jax.lax.scan(some, start, (*bar, before, computed), reverse=True)
    pulled = jax.grad(weighted)(setting, none, unit, (load, bar[0][0, 0], bar[1][0, 0]))
    return jax.tree.map(jnp.add, total, pulled), jnp.zeros_like(weight)


policy_moves.defvjp(_policy_moves_forward, _policy_moves_backward)


def jacobians_by_date(
    block: HouseholdBlock,
    steady: HouseholdSteadyState,
    inputs: Mapping[str, Any],
    p: Any,
    horizon: int,
    names: tuple[str, ...] | None = None,
) -> Float[jax.Array, "{horizon} n_i n_o {horizon}"]:
    """Jacobians laid out by date of the input: ``[s, i, o, t]``, shape (T, n_i, n_o, T); see
    :func:`household_jacobians`."""
    wanted = tuple(n for n in block.outputs if n not in block.derived) if names is None else names
    return accumulated(news_by_date(block, steady, inputs, p, horizon, wanted))


def accumulated(news: jax.Array) -> jax.Array:
    """Jacobians of news, both by date of the input, (T, n_i, n_o, T): sums along their diagonals."""

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
) -> Float[jax.Array, "n_o n_i {horizon} {horizon}"]:
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
