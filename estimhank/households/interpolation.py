"""Policies between the points of an endogenous grid: piecewise linear, or a monotone cubic without kinks."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Float


def interpolate_rows(
    x: Float[jax.Array, " n"], xp: Float[jax.Array, "m k"], fp: Float[jax.Array, " k"]
) -> Float[jax.Array, "m n"]:
    """Piecewise-linear interpolation row by row, extrapolating the last segments.

    Parameters
    ----------
    x : array of shape (n,)
        Where to evaluate, the same for every row.
    xp : array of shape (m, k)
        Increasing abscissae of each row.
    fp : array of shape (k,)
        Ordinates.

    Returns
    -------
    array of shape (m, n)
        Its derivative in ``xp`` is the exact tangent of the piecewise-linear map (the bracketing index is locally
        constant).
    """

    def one(knots: jax.Array) -> jax.Array:
        i = _segment(knots, x)
        weight = (x - knots[i]) / (knots[i + 1] - knots[i])
        return fp[i] + weight * (fp[i + 1] - fp[i])

    return jax.vmap(one)(xp)


def interpolate_policies(
    x: Float[jax.Array, " n"], xp: Float[jax.Array, "m k"], fp: Float[jax.Array, "q m k"]
) -> Float[jax.Array, "q m n"]:
    """Several policies at once, each with ordinates of its own in each row, as :func:`interpolate_rows` does."""

    def one(knots: jax.Array, values: jax.Array) -> jax.Array:
        i = _segment(knots, x)
        weight = (x - knots[i]) / (knots[i + 1] - knots[i])
        return values[:, i] + weight * (values[:, i + 1] - values[:, i])

    return jax.vmap(one, in_axes=(0, 1), out_axes=1)(xp, fp)


def interpolate_rows_smoothly(
    x: Float[jax.Array, " n"], xp: Float[jax.Array, "m k"], fp: Float[jax.Array, " k"]
) -> Float[jax.Array, "m n"]:
    """Monotone cubic interpolation row by row, extrapolating along straight lines.

    Continuously differentiable in ``x`` and in the knots. Slopes are the harmonic means of Fritsch and Butland (1984),
    as in PCHIP, smooth functions of increasing knots; at the ends those of a parabola, held between 0 and three times
    the secant. Linear where knots do not increase.

    Parameters and shapes as :func:`interpolate_rows`; at least four knots, ``fp`` increasing as ``xp`` does.
    """
    last = xp.shape[1] - 1
    i = jax.vmap(_segment, (0, None))(jax.lax.stop_gradient(xp), jax.lax.stop_gradient(x))
    rows = jnp.arange(xp.shape[0])[:, None]
    # four knots around x; beyond either end there is none, and the value there does not depend on the one made up
    around = [jnp.maximum(i - 1, 0), i, i + 1, jnp.minimum(i + 2, last)]
    knots, values = [xp[rows, j] for j in around], [fp[j] for j in around]
    first, final = i == 0, i == last - 1
    for end, at, one in ((first, 0, -1.0), (final, 3, 1.0)):
        knots[at] = jnp.where(end, knots[at] + one, knots[at])
        values[at] = jnp.where(end, values[at] + one, values[at])
    return _between(jnp.broadcast_to(x, i.shape), *knots, *values, first, final)


def _segment(knots: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.clip(jnp.searchsorted(knots, x, side="right") - 1, 0, knots.shape[0] - 2)


def _cubic(x: jax.Array, knots: Any, values: Any, first: jax.Array, final: jax.Array) -> jax.Array:
    """At each x, between the second and the third of its four knots."""
    h0, h1, h2 = (b - a for a, b in pairwise(knots))
    d0, d1, d2 = ((b - a) / h for (a, b), h in zip(pairwise(values), (h0, h1, h2), strict=True))
    low = jnp.where(first, _slope_at_end(h1, h2, d1, d2), _slope_between(h0, h1, d0, d1))
    high = jnp.where(final, _slope_at_end(h1, h0, d1, d0), _slope_between(h1, h2, d1, d2))
    t = (x - knots[1]) / h1
    inside = values[1] + h1 * t * (low * (1 - t) ** 2 + t * ((3 - 2 * t) * d1 - (1 - t) * high))
    below, above = values[1] + (x - knots[1]) * low, values[2] + (x - knots[2]) * high
    smooth = jnp.where(t < 0, below, jnp.where(t > 1, above, inside))
    # a search that is astray may try knots that do not increase: no cubic goes through these
    return jnp.where((h0 > 0) & (h1 > 0) & (h2 > 0), smooth, values[1] + (x - knots[1]) * d1)


def _slope_between(ha: jax.Array, hb: jax.Array, da: jax.Array, db: jax.Array) -> jax.Array:
    a, b = 2 * hb + ha, hb + 2 * ha
    return (a + b) * da * db / (a * db + b * da)


def _slope_at_end(ha: jax.Array, hb: jax.Array, da: jax.Array, db: jax.Array) -> jax.Array:
    return jnp.clip(((2 * ha + hb) * da - ha * db) / (ha + hb), 0.0, 3 * da)


@jax.custom_jvp
def _between(x: jax.Array, *rest: jax.Array) -> jax.Array:
    return _cubic(x, rest[:4], rest[4:8], *rest[8:])


def _between_jvp(primals: tuple[jax.Array, ...], tangents: tuple[Any, ...]) -> tuple[jax.Array, Any]:
    """A weight for each argument that moves: what is linearised once and applied hundreds of times stays short."""
    ends = primals[9:]
    moving = [j for j, t in enumerate(tangents[:9]) if not isinstance(t, SymbolicZero)]

    def of(some: list[jax.Array]) -> jax.Array:
        full = list(primals[:9])
        for j, value in zip(moving, some, strict=True):
            full[j] = value
        return _cubic(full[0], full[1:5], full[5:], *ends)

    found, pull = jax.vjp(of, [primals[j] for j in moving])
    (weights,) = pull(jnp.ones_like(found))
    return found, sum((w * tangents[j] for j, w in zip(moving, weights, strict=True)), jnp.zeros_like(found))


_between.defjvp(_between_jvp, symbolic_zeros=True)
