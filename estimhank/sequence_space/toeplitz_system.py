"""The dense system of one household output as a Toeplitz matrix plus a product of a few columns, and its solution.

S = H - G B^{-1} D, with the household Jacobians in G and H in the form of
:class:`estimhank.sequence_space.household_operator.ToeplitzForm`. If there were no first and no last date, S would
depend on the distance between dates alone. Everything else has few columns: what the announcement adds to the Jacobians
(r of them), and what the missing dates before the first and after the last one take away, through the variables that
carry over from there (l + p and two at most). So::

    S = T(sigma) + columns rows

without any approximation of the T x T system, and the inverse of a Toeplitz matrix takes T^2 operations, not 2/3 T^3.
The recursion that finds it can break down where the matrix itself is well behaved, and a banded block may have a unit
root. So the result is checked every time, and is nan where it does not pass: there the system has to be factorised
in dense form.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from estimhank.sequence_space.banded import BandedFactor, small_inverse
from estimhank.sequence_space.elimination import Elimination
from estimhank.sequence_space.half_lines import HalfLines, powers, solve_half_lines
from estimhank.sequence_space.household_operator import ToeplitzForm
from estimhank.sequence_space.linear_system import LinearSystem
from estimhank.sequence_space.toeplitz import around_zero, full_inverse, invert_toeplitz, long_length

#: Largest residual, as a share of the right-hand side, with which a solution passes.
RESIDUAL = 1e-10

#: Largest bound on the condition number of the Toeplitz part: beyond it too many digits are lost in between.
CONDITION = 1e6

_STILL = 1e-13  # what may pass through 2^24 dates of the banded block


@dataclass(frozen=True)
class HouseholdPlaces:
    """Where the household's variables stand.

    Attributes
    ----------
    inputs : tuple of (int, int)
        Household inputs that are solved by recursions: which input, and where among ``rest``.
    output : int or None
        Where the output stands among ``rest``; None if it is the dense variable.
    dense_input : int or None
        The input that is the dense variable.
    """

    inputs: tuple[tuple[int, int], ...]
    output: int | None
    dense_input: int | None


class ToeplitzPlus(NamedTuple):
    """T(diagonals) + columns rows: ``diagonals`` (2 T - 1,), ``columns`` (T, K), ``rows`` (K, T)."""

    diagonals: jax.Array
    columns: jax.Array
    rows: jax.Array
    sound: jax.Array


class ToeplitzFactors(NamedTuple):
    """What a solution needs (Sherman, Morrison and Woodbury).

    ``inverse`` (T, T) is that of the Toeplitz part, ``reached`` (T, K) that times the columns, ``rows`` (K, T), and
    ``core`` the inverse of the K x K system that is left; ``core`` is nan where the form did not pass its checks
    (``sound``), and so is every solution.
    """

    inverse: jax.Array
    reached: jax.Array
    rows: jax.Array
    core: jax.Array
    sound: jax.Array


def has_form(e: Elimination) -> bool:
    """Whether an elimination leaves a system of this form: one dense variable, others beside it, no moved equation."""
    return len(e.dense) == 1 and bool(e.rest) and not e.targets


def find_places(e: Elimination, inputs: tuple[int, ...], output: int) -> HouseholdPlaces:
    """Places of the household's variables, which are given as positions among the unknowns."""
    dense = e.dense[0]
    return HouseholdPlaces(
        tuple((i, e.rest.index(v)) for i, v in enumerate(inputs) if v != dense),
        None if output == dense else e.rest.index(output),
        inputs.index(dense) if dense in inputs else None,
    )


class _Reaction(NamedTuple):
    """Of all dates to the dense variable of date 0, if there were no first and no last date.

    ``lags`` (l, 2 K + 1) and ``leads`` (p, 2 K + 1): the lagged and leading variables at dates -K..K, K = 2 T - 1;
    ``sources`` (n_i + 1, 2 K - 1): the household's inputs and output, a date less on either side.
    """

    lags: jax.Array
    leads: jax.Array
    sources: jax.Array


class _Edge(NamedTuple):
    """What the missing dates beyond an edge take away, a column for each force that reaches them.

    ``paths`` (k, n_i, m): the inputs from date -(T - 1) on, those inside corrected for the force's absence; ``output``
    (k, T): the output inside; ``rows`` (k, T): the forces after a unit of the dense variable at each date.
    """

    paths: jax.Array
    output: jax.Array
    rows: jax.Array


class _Onward(NamedTuple):
    """Powers 0..2 T - 1 of the transitions of both half lines: (l, 2 T, l), (p, 2 T, p)."""

    forward: jax.Array
    backward: jax.Array


def _react(half: HalfLines, onward: _Onward, e: Elimination, forces: jax.Array, at: jax.Array) -> _Reaction:
    """Responses to a unit of the dense variable without first and last date.

    ``forces`` (n, 3): its effect, through now^{-1}, on the equations a date earlier, at its date and a date later;
    ``at``: the rows that are returned.
    """
    n_l, size = len(e.lagged), len(e.lagged) + len(e.leading)
    lagged, leading = jnp.array(e.lagged, int), jnp.array(e.leading, int)
    # three dates solved together, (lagged, leading) of each; at rest before and after
    by_lag = jnp.concatenate([half.lag_to_lag, half.lag_to_lead])
    by_lead = jnp.concatenate([half.lead_to_lag, half.lead_to_lead])
    no_lag, no_lead = jnp.zeros_like(by_lag), jnp.zeros_like(by_lead)
    before = jnp.concatenate([by_lag, no_lead], axis=1)
    after = jnp.concatenate([no_lag, by_lead], axis=1)
    first = jnp.concatenate([no_lag, by_lag @ half.behind], axis=1)
    last = jnp.concatenate([by_lead @ half.ahead, no_lead], axis=1)
    none = jnp.zeros((size, size))
    matrix = jnp.eye(3 * size) - jnp.block([[first, after, none], [before, none, after], [none, before, last]])
    right = jnp.concatenate([forces[lagged], forces[leading]]).T.reshape(-1)
    near = jnp.linalg.solve(matrix, right).reshape(3, size)
    near_u, near_w = near[:, :n_l].T, near[:, n_l:].T

    far = onward.forward.shape[1] - 2  # dates beyond the three, on either side
    after_u = onward.forward[:, :-1] @ near_u[:, 2]  # dates 1..far + 1
    before_w = (onward.backward[:, :-1] @ near_w[:, 0])[:, ::-1]  # dates -(far + 1)..-1
    lags = jnp.concatenate([half.behind @ before_w[:, 1:], near_u[:, :2], after_u], axis=1)
    leads = jnp.concatenate([before_w, near_w[:, 1:], half.ahead @ after_u[:, :-1]], axis=1)
    sources = -half.from_lag[at] @ lags[:, :-2] - half.from_lead[at] @ leads[:, 2:]
    return _Reaction(lags, leads, sources.at[:, far - 1 : far + 2].add(forces[at]))


def _away(at_date: jax.Array, from_edge: jax.Array, states: jax.Array, force: jax.Array) -> jax.Array:
    """Variables on a half line by distance from its edge, (n, dates, k): what comes back from beyond a date, what the
    date nearer to the edge passes on, and at the edge itself the force."""
    path = -jnp.tensordot(at_date, states, 1)
    path = path.at[:, 1:].add(-jnp.tensordot(from_edge, states[:, :-1], 1))
    return path.at[:, 0].add(force)


def _edges(
    half: HalfLines, onward: _Onward, e: Elimination, dense: jax.Array, at: jax.Array, reaction: _Reaction
) -> tuple[_Edge, _Edge]:
    """Both edges; ``dense`` as the ``forces`` of :func:`_react`, ``at`` the inputs' rows and the output's."""
    horizon = onward.forward.shape[1] // 2
    lagged, leading = jnp.array(e.lagged, int), jnp.array(e.leading, int)
    eye_u, eye_w = jnp.eye(len(e.lagged)), jnp.eye(len(e.leading))
    first, last = jnp.zeros((1, horizon)).at[0, 0].set(1.0), jnp.zeros((1, horizon)).at[0, -1].set(1.0)
    centre = reaction.lags.shape[1] // 2

    # the dates before 0, forced at -1 by the leading variables of date 0 (and by a dense variable that leads)
    before = jnp.concatenate([half.from_lead, dense[:, :1]] if e.dense_lead else [half.from_lead], axis=1)
    rows_before = -reaction.leads[:, centre - horizon + 1 : centre + 1][:, ::-1]
    rows_before = jnp.concatenate([rows_before, first]) if e.dense_lead else rows_before
    w = small_inverse(eye_w - half.lag_to_lead @ half.behind) @ before[leading]
    u = before[lagged] + half.lag_to_lag @ half.behind @ w
    states = onward.backward[:, : horizon - 1] @ w
    outside_before = _away(half.from_lag[at] @ half.behind, half.from_lead[at], states, before[at])[:, ::-1]

    # the dates from T on, forced at T by the lagged variables of T - 1 (and by a dense variable that lags)
    after = jnp.concatenate([half.from_lag, dense[:, 2:]] if e.dense_lag else [half.from_lag], axis=1)
    rows_after = -reaction.lags[:, centre : centre + horizon][:, ::-1]
    rows_after = jnp.concatenate([rows_after, last]) if e.dense_lag else rows_after
    u_after = small_inverse(eye_u - half.lead_to_lag @ half.ahead) @ after[lagged]
    w_after = after[leading] + half.lead_to_lead @ half.ahead @ u_after
    states = onward.forward[:, : horizon - 1] @ u_after
    outside_after = _away(half.from_lead[at] @ half.ahead, half.from_lag[at], states, after[at])

    # inside, what the equations at the edges lack: both half lines pass it on, and each to the other
    n_u, n_before = len(e.lagged), before.shape[1]
    missing_u = jnp.concatenate([-u, jnp.zeros_like(u_after)], axis=1)
    missing_w = jnp.concatenate([jnp.zeros_like(w), -w_after], axis=1)
    across_w = half.behind @ onward.backward[:, horizon]
    across_u = half.ahead @ onward.forward[:, horizon]
    both = jnp.block([[eye_u, across_w], [across_u, eye_w]])
    start = jnp.linalg.solve(both, jnp.concatenate([missing_u, missing_w]))
    from_first = onward.forward[:, : horizon + 1] @ start[:n_u]
    from_last = (onward.backward[:, : horizon + 1] @ start[n_u:])[:, ::-1]
    lags = from_first + jnp.tensordot(half.behind, from_last, 1)
    leads = jnp.tensordot(half.ahead, from_first, 1) + from_last
    inside = -jnp.tensordot(half.from_lag[at], lags[:, :-1], 1) - jnp.tensordot(half.from_lead[at], leads[:, 1:], 1)

    def edge(outside: jax.Array, inside: jax.Array, rows: jax.Array, outside_first: bool) -> _Edge:
        pieces = [-outside[:-1], inside[:-1]] if outside_first else [inside[:-1], -outside[:-1]]
        return _Edge(jnp.concatenate(pieces, axis=1).transpose(2, 0, 1), inside[-1].T, rows)

    return (
        edge(outside_before, inside[..., :n_before], rows_before, True),
        edge(outside_after, inside[..., n_before:], rows_after, False),
    )


def toeplitz_plus(
    places: HouseholdPlaces, e: Elimination, system: LinearSystem, form: ToeplitzForm, banded: BandedFactor
) -> ToeplitzPlus:
    """Assemble the dense system in this form: no operation on T x T numbers."""
    rank, _, horizon = form.rows.shape
    length = long_length(horizon)
    # without a lag, or a lead, the first variable has one, and its coefficients are zero
    e = replace(e, lagged=e.lagged or (0,), leading=e.leading or (0,))
    rows, rest, dense = jnp.array(e.rows, int), jnp.array(e.rest, int), e.dense[0]
    from_lag, from_lead = (
        banded.inverse @ m[rows][:, rest[jnp.array(which, int)]]
        for m, which in ((system.lag, e.lagged), (system.lead, e.leading))
    )
    half = solve_half_lines(from_lag, from_lead, e.lagged, e.leading)
    forces = banded.inverse @ jnp.stack([m[rows, dense] for m in (system.lead, system.now, system.lag)], axis=1)
    # rows of the inputs, then of the output; where one of them is the dense variable a row is computed in vain
    numbers = jnp.array([i for i, _ in places.inputs], int)
    at = jnp.array([*(j for _, j in places.inputs), places.output or 0], int)
    counts = float(places.output is not None)
    onward = _Onward(powers(half.forward, 2 * horizon), powers(half.backward, 2 * horizon))
    reaction = _react(half, onward, e, forces, at)
    before, after = _edges(half, onward, e, forces, at, reaction)

    # what depends on the distance between dates alone
    around = jnp.fft.rfft(around_zero(reaction.sources, length))
    symbol = (form.symbol[numbers] * around[:-1]).sum(0) - counts * around[-1]
    symbol = symbol - form.symbol[places.dense_input] if places.dense_input is not None else symbol
    symbol = symbol + 1.0 if places.output is None else symbol
    circle = jnp.fft.irfft(symbol, length)
    diagonals = jnp.concatenate([circle[length - horizon + 1 :], circle[:horizon]])

    # what is missing at the edges
    at_edges = jnp.concatenate([jnp.fft.rfft(around_zero(before.paths, length)), jnp.fft.rfft(after.paths, length)])
    edge_columns = jnp.fft.irfft((form.symbol[numbers] * at_edges).sum(1), length)[:, :horizon]
    edge_columns = edge_columns - counts * jnp.concatenate([before.output, after.output])
    edge_rows = jnp.concatenate([before.rows, after.rows])

    # what the announcement adds to the Jacobians, times the banded block's solution: far from the edges, and theirs
    middle = reaction.sources.shape[1] // 2
    near = around_zero(reaction.sources[:-1, middle - horizon + 1 : middle + horizon], length // 2)
    seen = (form.rows_symbol[:, numbers] * jnp.conj(jnp.fft.rfft(near))).sum(1)
    announced = -jnp.fft.irfft(seen, length // 2)[:, :horizon]
    inside = jnp.concatenate([before.paths[:, :, horizon - 1 :], after.paths[:, :, :horizon]])
    on_edges = form.rows[:, numbers].reshape(rank, -1) @ inside.reshape(len(inside), -1).T
    announced = announced - on_edges @ edge_rows
    announced = announced + form.rows[:, places.dense_input] if places.dense_input is not None else announced
    return ToeplitzPlus(
        diagonals,
        jnp.concatenate([form.columns, edge_columns.T], axis=1),
        jnp.concatenate([announced, edge_rows]),
        form.precise & (half.passed < _STILL),
    )


def factorize_toeplitz(system: ToeplitzPlus) -> ToeplitzFactors:
    """Factors, nan unless they are sound: the condition number is moderate, and a solution for a random right-hand side
    solves the system."""
    horizon, n_columns = system.columns.shape
    outer = invert_toeplitz(system.diagonals)
    inverse = full_inverse(outer)
    right = jnp.asarray(np.random.default_rng(1).standard_normal((horizon, 1)))
    reached = inverse @ jnp.concatenate([system.columns, right], axis=1)
    reached, alone = reached[:, :n_columns], reached[:, n_columns:]
    core = jnp.linalg.inv(jnp.eye(n_columns) + system.rows @ reached)
    factors = ToeplitzFactors(inverse, reached, system.rows, core, system.sound)
    residual = _product(system, _with_columns(factors, alone)) - right
    fits = jnp.abs(residual).max() <= RESIDUAL * jnp.abs(right).max()
    moderate = jnp.abs(system.diagonals).sum() * outer.bound < CONDITION
    sound = system.sound & fits & moderate
    return factors._replace(core=jnp.where(sound, core, jnp.nan), sound=sound)


def _product(system: ToeplitzPlus, x: jax.Array) -> jax.Array:
    """The system times (T, k)."""
    horizon = len(x)
    length = long_length(horizon) // 2
    kernel = jnp.fft.rfft(around_zero(system.diagonals, length))
    far = jnp.fft.irfft(jnp.fft.rfft(x.T, length) * kernel, length)[:, :horizon].T
    return far + system.columns @ (system.rows @ x)


def _with_columns(factors: ToeplitzFactors, alone: jax.Array) -> jax.Array:
    """The solution, given that of the Toeplitz part alone."""
    return alone - factors.reached @ (factors.core @ (factors.rows @ alone))


def solve_toeplitz(factors: ToeplitzFactors, right: jax.Array) -> jax.Array:
    """Solution for right-hand sides (T, k)."""
    return _with_columns(factors, factors.inverse @ right)


def solve_toeplitz_transposed(factors: ToeplitzFactors, right: jax.Array) -> jax.Array:
    """Solution of the transposed system."""
    through = factors.core.T @ (factors.reached.T @ right)
    return factors.inverse.T @ (right - factors.rows.T @ through)
