"""The banded equations on half of all dates: how what is known at their edge determines the rest.

With u_t the lagged variables and w_t the leading ones (l and p of them), the banded block has::

    lag v_{t-1} + now v_t + lead v_{t+1} = q_t    so that    v_t = now^{-1} q_t - from_lag u_{t-1} - from_lead w_{t+1}

A date turns (u_{t-1}, w_{t+1}) into (u_t, w_t), as a layer of glass turns light from either side into light to
either side. Two layers make one (Redheffer 1962), and doubling a few times gives half of all dates: what comes back
from the future, w_{t+1} = ``ahead`` u_t, and from the past, u_{t-1} = ``behind`` w_t.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from estimhank.sequence_space.banded import small_inverse

_DOUBLINGS = 24  # to 2^24 dates: roots up to 1 - 1e-6 die out


class HalfLines(NamedTuple):
    """Transitions of the banded block where nothing else happens.

    Attributes
    ----------
    from_lag : array of shape (n, l)
    from_lead : array of shape (n, p)
    lag_to_lag, lead_to_lag, lag_to_lead, lead_to_lead : arrays
        One date: u_t = lag_to_lag u_{t-1} + lead_to_lag w_{t+1}, and w_t likewise.
    ahead : array of shape (p, l)
        w_{t+1} = ahead u_t if the equations of all later dates are at rest.
    behind : array of shape (l, p)
        u_{t-1} = behind w_t if those of all earlier dates are.
    forward : array of shape (l, l)
        Then u_t = forward u_{t-1};
    backward : array of shape (p, p)
        and w_t = backward w_{t+1}.
    passed : scalar
        What still passes through all the dates that were joined: near zero unless there is a unit root.
    """

    from_lag: jax.Array
    from_lead: jax.Array
    lag_to_lag: jax.Array
    lead_to_lag: jax.Array
    lag_to_lead: jax.Array
    lead_to_lead: jax.Array
    ahead: jax.Array
    behind: jax.Array
    forward: jax.Array
    backward: jax.Array
    passed: jax.Array


def solve_half_lines(
    from_lag: jax.Array, from_lead: jax.Array, lagged: tuple[int, ...], leading: tuple[int, ...]
) -> HalfLines:
    """Half lines of now^{-1} lag and now^{-1} lead, non-zero columns."""
    u, w = jnp.array(lagged, int), jnp.array(leading, int)
    date = -from_lag[u], -from_lead[u], -from_lag[w], -from_lead[w]
    eye_u, eye_w = jnp.eye(len(lagged)), jnp.eye(len(leading))

    def double(layer: Any, _: None) -> tuple[Any, None]:
        a, c, e, f = layer
        # light that goes back and forth between the two; the smaller of two inverses gives both
        if len(leading) <= len(lagged):
            inner_w = small_inverse(eye_w - e @ c)
            inner_u = eye_u + c @ inner_w @ e
        else:
            inner_u = small_inverse(eye_u - c @ e)
            inner_w = eye_w + e @ inner_u @ c
        through, back = a @ inner_u, f @ inner_w
        return (through @ a, c + through @ c @ f, e + back @ e @ a, back @ f), None

    (a, behind, ahead, f), _ = jax.lax.scan(double, date, None, length=_DOUBLINGS)
    passed = jnp.maximum(jnp.abs(a).max(), jnp.abs(f).max())
    a, c, e, f = date
    forward = a + c @ small_inverse(eye_w - ahead @ c) @ ahead @ a
    backward = small_inverse(eye_w - e @ behind) @ f
    return HalfLines(from_lag, from_lead, a, c, e, f, ahead, behind, forward, backward, passed)


def powers(matrix: jax.Array, count: int) -> jax.Array:
    """``matrix``^j for j = 0..count - 1, (d, count, d): in two loops, of the first few dates and of blocks of them."""
    d = matrix.shape[0]
    block = math.isqrt(count - 1) + 1

    def onward(by: jax.Array, start: jax.Array, steps: int) -> tuple[jax.Array, jax.Array]:
        return jax.lax.scan(lambda now, _: (by @ now, now), start, None, length=steps)

    far, near = onward(matrix, jnp.eye(d), block)  # (block, d, d)
    wide = near.transpose(1, 0, 2).reshape(d, block * d)
    blocks = onward(far, wide, -(-count // block))[1]
    return blocks.reshape(-1, d, block, d).transpose(1, 0, 2, 3).reshape(d, -1, d)[:, :count]
