"""Levenberg and Marquardt's method for networks whose residuals come state by state.

A thousand weights are few enough for the normal equations, and residuals are smooth: a dozen steps reach what a hundred
thousand of stochastic gradient descent do not. The Jacobian is taken in two parts, since all households of an aggregate
state see the same aggregates y(weights), which are what costs::

    d r_i / d weights = r_i,weights + r_i,y  d y / d weights
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from numpy.typing import NDArray

#: Aggregate states whose Jacobian is held in memory together.
_CHUNK = 16
#: Damping goes down by the first where a step lowers the sum of squares, up by the second where it does not.
_DOWN, _UP = 0.1, 8.0
_LEAST_DAMPING = 1e-10
#: Steps that are tried, each more cautious, before a batch is left.
_TRIES = 7
#: Ridge in units of the largest diagonal entry: moments may be scaled without changing any residual.
_RIDGE = 1e-12


@dataclass(frozen=True)
class Residuals:
    """Residuals of a batch of aggregate states as functions of flat weights.

    Attributes
    ----------
    aggregates : callable
        ``(weights, fixed, state) -> y``, any nesting of arrays.
    row : callable
        ``(weights, y, fixed, state, e, i) -> residual`` of household (e, i) of the state, shape ().
    households : tuple of int
        (n_e, n): households of a state.
    """

    aggregates: Callable[..., Any]
    row: Callable[..., jax.Array]
    households: tuple[int, int]


def _chunks(batch: Any) -> Any:
    return jax.tree.map(lambda x: x.reshape(-1, _CHUNK, *x.shape[1:]), batch)


def _members(residuals: Residuals) -> tuple[jax.Array, jax.Array]:
    n_e, n = residuals.households
    return jnp.repeat(jnp.arange(n_e), n), jnp.tile(jnp.arange(n), n_e)


@partial(jax.jit, static_argnums=0)
def residuals_of(residuals: Residuals, weights: jax.Array, fixed: Any, batch: Any) -> jax.Array:
    """Residuals (n_states, n_households)."""
    e, i = _members(residuals)

    def one(state: Any) -> jax.Array:
        y = residuals.aggregates(weights, fixed, state)
        return jax.vmap(lambda a, b: residuals.row(weights, y, fixed, state, a, b))(e, i)

    found = jax.lax.map(jax.vmap(one), _chunks(batch))
    stacked: jax.Array = found.reshape(-1, len(e))
    return stacked


@partial(jax.jit, static_argnums=0)
def normal_equations(
    residuals: Residuals, weights: jax.Array, fixed: Any, batch: Any
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """J'J, J'r and r'r."""
    e, i = _members(residuals)

    def one(state: Any) -> tuple[jax.Array, jax.Array]:
        y, back = ravel_pytree(residuals.aggregates(weights, fixed, state))
        by_weights = jax.jacrev(lambda w: ravel_pytree(residuals.aggregates(w, fixed, state))[0])(weights)

        def row(a: jax.Array, b: jax.Array) -> Any:
            return jax.value_and_grad(lambda w, v: residuals.row(w, back(v), fixed, state, a, b), (0, 1))(weights, y)

        r, (direct, through) = jax.vmap(row)(e, i)
        return r, direct + through @ by_weights

    def add(sums: Any, chunk: Any) -> tuple[Any, None]:
        r, jacobian = jax.vmap(one)(chunk)
        r, jacobian = r.reshape(-1), jacobian.reshape(-1, weights.shape[0])
        return (sums[0] + jacobian.T @ jacobian, sums[1] + jacobian.T @ r, sums[2] + r @ r), None

    n = weights.shape[0]
    sums, _ = jax.lax.scan(add, (jnp.zeros((n, n)), jnp.zeros(n), jnp.zeros(())), _chunks(batch))
    found: tuple[jax.Array, jax.Array, jax.Array] = sums
    return found


def minimise(
    residuals: Residuals, weights: jax.Array, damping: float, fixed: Any, batch: Any, steps: int
) -> tuple[jax.Array, float, NDArray[np.float64]]:
    """Up to ``steps`` steps on one batch, whose number of states is a multiple of 16.

    Returns
    -------
    weights : array
    damping : float
        To go on with.
    residuals : array of shape (n_states, n_households)
        At the weights returned.
    """
    found = np.asarray(residuals_of(residuals, weights, fixed, batch))
    for _ in range(steps):
        products, gradient, _ = (np.asarray(x) for x in normal_equations(residuals, weights, fixed, batch))
        now = float((found**2).sum())
        diagonal = np.diag(products)
        for _ in range(_TRIES):
            system = products + np.diag(damping * diagonal + _RIDGE * diagonal.max())
            candidate = weights - jnp.asarray(np.linalg.solve(system, gradient))
            tried = np.asarray(residuals_of(residuals, candidate, fixed, batch))
            if float((tried**2).sum()) < now:
                weights, found = candidate, tried
                damping = max(damping * _DOWN, _LEAST_DAMPING)
                break
            damping *= _UP
        else:
            break
    return weights, damping, found
