"""Autocovariances of a moving average whose coefficients follow a linear recursion from some date on.

Up to a date L the coefficients M[t] are given; from there on::

    M[L + j] = C A^j S        with a state S of a few numbers for each shock.

With W = sum_j A^j S S' A'^j, lag k of the autocovariances is::

    sum_{t < L-k} M[t+k] M[t]'                        both dates before L
    + sum_{t < L <= t+k} C A^(t+k-L) S M[t]'          the later date in the tail
    + C A^k W C'                                      both in the tail

W is summed by doubling. A root of one (the level of prices) is a part of A wherever one is a part of the model, and is
none of M where only changes are observed: there W alone would grow without bound. So the sum goes as far as anything is
left of M, to N = 2^k dates, and S is replaced by (1 - A^N)^2 S: the coefficients M[t] - 2 M[t+N] + M[t+2N], the same
as M[t], without the levels. N is at least the number of states: what is announced is late. What is left of M after 2^22
dates (a random walk that is observed in levels) is reported.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

#: How often the dates that are summed are doubled: 2^22 of them, enough for roots up to 1 - 1e-5.
DOUBLINGS = 22

#: What the last half of all dates may add to the variances, as a share of them, for the sum to be complete; and below
#: which it is complete as soon as it no longer falls: then it is the rounding of levels that are not observed.
NEGLIGIBLE, ROUNDING = 1e-24, 1e-16

#: What it may add at most for there to be a stationary distribution at all.
STATIONARY = 1e-10


class Tail(NamedTuple):
    """M[L + j] = ``output`` ``transition``^j ``state``: (n_o, m), (m, m) and (m, n_z)."""

    output: jax.Array
    transition: jax.Array
    state: jax.Array


class _Sum(NamedTuple):
    """Sums over 2^k dates: A^(2^k), the sum, the outputs' variances, and the last half's share of these."""

    power: jax.Array
    total: jax.Array
    seen: jax.Array
    share: jax.Array


def _variances(output: jax.Array, total: jax.Array) -> jax.Array:
    return jnp.einsum("om,mn,on->o", output, total, output)


def _double(output: jax.Array, s: _Sum, going: jax.Array) -> _Sum:
    """The sum over twice as many dates, where it is not complete yet."""
    # what is seen of the second half: seen first, for a level that is not may be large by then
    more = _variances(output @ s.power, s.total)
    share = (more / jnp.maximum(s.seen, 1e-300)).max()
    new = _Sum(s.power @ s.power, s.total + s.power @ s.total @ s.power.T, s.seen + more, share)
    found: _Sum = jax.tree.map(lambda a, b: jnp.where(going, a, b), new, s)
    return found


def _begin(output: jax.Array, transition: jax.Array, state: jax.Array) -> _Sum:
    total = state @ state.T
    return _Sum(transition, total, _variances(output, total), jnp.asarray(jnp.inf))


def _summed(tail: Tail) -> tuple[jax.Array, jax.Array]:
    """W, and what the last half of all dates added to the variances of the outputs."""

    # what moves no output for as many dates as there are states never will; before, it may only be late, as news are
    least = math.ceil(math.log2(tail.transition.shape[0])) + 1

    def find(state: tuple[_Sum, jax.Array], doubling: jax.Array) -> tuple[tuple[_Sum, jax.Array], jax.Array]:
        s, before = state
        complete = (s.share <= NEGLIGIBLE) | ((s.share <= ROUNDING) & (s.share >= before))
        going = ~complete | (doubling < least)
        return (_double(tail.output, s, going), jnp.where(going, s.share, before)), going

    still = jax.lax.stop_gradient(tail)
    (end, _), going = jax.lax.scan(find, (_begin(*still), jnp.asarray(jnp.inf)), jnp.arange(DOUBLINGS))

    def square(power: jax.Array, on: jax.Array) -> tuple[jax.Array, None]:
        return jnp.where(on, power @ power, power), None

    power, _ = jax.lax.scan(square, tail.transition, going)
    state = tail.state
    for _ in range(2):
        state = state - power @ state

    def add(s: tuple[jax.Array, jax.Array], on: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
        power, total = s
        new = power @ power, total + power @ total @ power.T
        return jax.tree.map(lambda a, b: jnp.where(on, a, b), new, s), None

    return jax.lax.scan(add, (tail.transition, state @ state.T), going)[0][1], end.share


def recursive_autocovariances(
    given: Float[jax.Array, "L n_o n_z"], tail: Tail, lags: int
) -> tuple[Float[jax.Array, "{lags} n_o n_o"], Float[jax.Array, ""]]:
    """Autocovariances of the observables.

    Parameters
    ----------
    given : array of shape (L, n_o, n_z)
        Coefficients of the first L dates, in units of each shock's standard deviation.
    tail : Tail
        Those of all later dates.
    lags : int
        Number of lags, zero included.

    Returns
    -------
    gamma : array of shape (lags, n_o, n_o)
        ``[k]`` is Cov(y_{t+k}, y_t). Differentiable (reverse mode).
    share : scalar
        What the last half of 2^22 dates, or of as many as were needed, added to the variances: above
        :data:`STATIONARY` the observables have no stationary distribution that was found.
    """
    length, _, n_z = given.shape
    total, share = _summed(tail)
    start = jnp.concatenate([tail.state, total @ tail.output.T], axis=1)

    def step(columns: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        return tail.transition @ columns, tail.output @ columns

    paths = jax.lax.scan(step, start, None, length=lags)[1]
    later, gamma = paths[:, :, :n_z], paths[:, :, n_z:]
    for t in range(length):
        crossed = jnp.einsum("koz,pz->kop", later, given[t])
        gap = min(length - t, lags)
        gamma = gamma.at[gap:].add(crossed[: lags - gap])
    for k in range(min(length, lags)):
        gamma = gamma.at[k].add(jnp.einsum("toz,tpz->op", given[k:], given[: length - k]))
    return gamma, share
