"""The tail: whether the economy's dynamics have died out by t*, and a fitted recursion where they have not.

Far from date 0 the responses are a sum of geometric paths: one at the shock's own root, and one at each root of the
economy's own. What the shock's root leaves::

    D[t] = M[t+1] - rho M[t]

consists of the others alone. Where D has died out at t*, the coefficients go on as M[t*] rho^(t - t*), and
:func:`leftover` bounds what is missed. Else D goes on by a linear recursion common to all observables and shocks::

    D[t+q] = c_0 D[t] + ... + c_{q-1} D[t+q-1]

fitted to a window of dates (least squares, as Prony did): its roots are the economy's slow ones, real or complex, of
either sign. A shock's root next to one of them, or the same, is no special case: M[t+1] = rho M[t] + D[t]. The fit is
judged by another, to a window further on: both have to give the same likelihood
(:meth:`estimhank.posterior.computation.Computation`).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from estimhank.likelihood.autocovariance import backwards, products_between

#: Order of the recursion, that of the one that it is compared with, and dates that they are fitted to at most.
ORDER, OTHER_ORDER, WINDOW = 4, 6, 40

#: Log points of error for a unit of what :func:`leftover` finds before it is scaled by this: over the default model's
#: prior the error is between a hundredth and six times as large.
_POINTS = 10.0

#: The same for a unit of D that is the truncated solution's own error.
TRUNCATED = 100.0

_RIDGE = 1e-10  # share of the root mean square: roots that are not there are found near zero rather than anywhere
_SLOWEST = 1e-4  # nothing that is left is taken to decay more slowly than by this a date
_SPAN = 10  # dates of which the largest D is taken
#: 2^22 dates, and what is left by then of a root 3e-6 inside the unit circle. Roots further outside it than the second
#: figure grow: the solution's error, if they are a small share of it.
_DOUBLINGS, _LEFT = 22, 1e-5
_OUTSIDE, _REMOVED = 1e-5, 1e-4
_NEWTON = 30  # steps of the matrix sign function: those for roots next to the circle, and for convergence


class Continuation(NamedTuple):
    """M[t* + j] of one observable and shock is the first entry of ``transition``^j times ``state``.

    ``transition`` (n_z, d, d), ``state`` (n_z, d, n_o); ``passed``: what is left after 2^22 dates, 0 where all roots
    are inside the unit circle; ``removed``: the largest share of the coefficients that grows, and is taken out.
    """

    transition: jax.Array
    state: jax.Array
    passed: jax.Array
    removed: jax.Array

    @property
    def dies_out(self) -> jax.Array:
        """Whether what is left of the coefficients dies out, and little had to be taken out."""
        return (self.passed < _LEFT) & (self.removed < _REMOVED)

    @property
    def unit_root(self) -> jax.Array:
        """Whether a root is on the unit circle, within a hundred-thousandth."""
        return self.passed >= _LEFT


def windows(horizon: int, tail_start: int) -> tuple[int, int, int]:
    """Date t* of a continuation, dates by which the second of two fits is later, and dates that each is fitted to."""
    room = horizon - 2 - tail_start
    width = min(WINDOW, max(room * 2 // 3, 3 * OTHER_ORDER))
    start = max(min(tail_start, horizon - 2 - width - OTHER_ORDER), 1)
    return start, max((horizon - 2 - start - width) // 2, 0), width


def leftover(
    coefficients: Float[jax.Array, "T n_o n_z"], rho: Float[jax.Array, " n_z"], tail_start: int
) -> Float[jax.Array, ""]:
    """Error of a log likelihood, in log points, if responses go on at the shocks' own roots: an estimate from above.

    D falls as the economy's own dynamics die out, until at ``tail_start`` or before it rises again: the error of the
    truncated solution, which grows towards the last date. What is missed of slow roots is D where it is least, added up
    twice at the rate at which it fell up to there: once over the dates at which it changes the coefficients, once over
    those at which they change the autocovariances. The truncated solution's own error is D at ``tail_start``.

    Parameters
    ----------
    coefficients : array of shape (T, n_o, n_z)
    rho : array of shape (n_z,)
    tail_start : int
    """
    span = max(min(_SPAN, (coefficients.shape[0] - 1 - tail_start) // 2), 1)
    groups = max((tail_start // 2) // span, 1) + 2
    begin = max(tail_start + 2 * span - groups * span, 0)
    size = jnp.abs(coefficients).max((0, 2))[:, None] + 1e-300
    scaled = coefficients[begin : begin + groups * span + 1] / size
    near = jnp.abs(scaled[1:] - rho * scaled[:-1]).max((1, 2)).reshape(-1, span).max(1)
    groups = len(near)
    least = jnp.argmin(near)
    # where it still falls at the end the last rate counts: roots that die out faster have done so before
    since = jnp.where(least == groups - 1, groups - 2, 0)
    fallen = near[least] / jnp.maximum(near[since], 1e-300)
    rate = jnp.where(least == 0, 1.0, fallen ** (1 / (span * jnp.maximum(least - since, 1))))
    rate = jnp.minimum(rate, 1 - _SLOWEST)
    return _POINTS * near[least] / (1 - rate) ** 2 + TRUNCATED * near[groups - 2 :].max()


def fit_continuation(
    coefficients: Float[jax.Array, "T n_o n_z"],
    rho: Float[jax.Array, " n_z"],
    start: int,
    window: tuple[int, int],
    order: int = ORDER,
    fitted_to: int | None = None,
) -> Continuation:
    """Fit the recursion to dates of a window, and begin it at another date.

    Parameters
    ----------
    coefficients : array of shape (T, n_o, n_z)
    rho : array of shape (n_z,)
    start : int
        The date t* from which it goes on.
    window : pair of int
        First date of D, and number of dates.
    order : int
    fitted_to : int, optional
        How many observables, the first ones, the recursion is fitted to: the others go on by the same one.
    """
    begin, dates = window
    size = jnp.abs(jax.lax.stop_gradient(coefficients)).max((0, 2))[:, None] + 1e-300
    scaled = coefficients / size
    left = scaled[begin + 1 : begin + dates + 1] - rho * scaled[begin : begin + dates]
    flat = left[:, :fitted_to].reshape(dates, -1)
    past = jnp.stack([flat[i : dates - order + i].reshape(-1) for i in range(order + 1)], axis=1)
    weights = _least_squares(past[:, :order], past[:, order])
    n_z = coefficients.shape[2]
    transition = jnp.zeros((n_z, order + 1, order + 1))
    transition = transition.at[:, 0, 0].set(rho).at[:, jnp.arange(order), jnp.arange(1, order + 1)].set(1.0)
    transition = transition.at[:, order, 1:].set(weights)
    at_start = coefficients[start + 1 : start + order + 1] - rho * coefficients[start : start + order]
    state = jnp.concatenate([coefficients[start : start + 1], at_start]).transpose(2, 0, 1)
    keep = _onto_stable(transition)
    grows = (jnp.abs(state - keep @ state)[:, 0] / size[:, 0])[:, :fitted_to]
    transition, state = transition @ keep, keep @ state
    power = jax.lax.stop_gradient(transition)
    power = jax.lax.scan(lambda a, _: (a @ a, None), power, None, length=_DOUBLINGS)[0]
    return Continuation(transition, state, jnp.abs(power).max(), jax.lax.stop_gradient(grows).max())


def _onto_stable(transition: jax.Array) -> jax.Array:
    """Projection onto the invariant space of the roots that do not grow, (n_z, d, d), by the matrix sign function."""
    eye = jnp.eye(transition.shape[1])
    scaled = transition / (1 + _OUTSIDE)
    # inside the unit circle to the left of the imaginary axis
    start = jnp.linalg.solve(scaled - eye, scaled + eye)
    sign = jax.lax.scan(lambda x, _: ((x + jnp.linalg.inv(x)) / 2, None), start, None, length=_NEWTON)[0]
    found: jax.Array = (eye - sign) / 2
    return found


def _least_squares(past: jax.Array, next_one: jax.Array) -> jax.Array:
    """Coefficients of a regression, those that the data leave open near zero.

    Two slow roots next to each other need all the digits that there are: by orthogonal factors, of which the derivative
    is not taken, but of the normal equations that the coefficients solve.
    """
    order = past.shape[1]
    fixed, wanted = jax.lax.stop_gradient((past, next_one))
    ridge = _RIDGE * jnp.sqrt((fixed**2).sum() / order + 1e-300)
    factor, triangle = jnp.linalg.qr(jnp.concatenate([fixed, ridge * jnp.eye(order)]))
    solve = jax.scipy.linalg.solve_triangular
    found = solve(triangle, factor[: len(fixed)].T @ wanted)
    error = past.T @ (next_one - past @ found)
    error = error - jax.lax.stop_gradient(error)
    return found + solve(triangle, solve(triangle, error, trans=1))


def continued_autocovariances(
    given: Float[jax.Array, "L n_o n_z"], tail: Continuation, lags: int
) -> Float[jax.Array, "{lags} n_o n_o"]:
    """Autocovariances, as :func:`estimhank.likelihood.autocovariance.autocovariances`, with a tail that is fitted.

    Parameters
    ----------
    given : array of shape (t*, n_o, n_z)
        Coefficients before the tail.
    tail : Continuation
    lags : int
    """

    def double(s: tuple[jax.Array, jax.Array], _: None) -> tuple[tuple[jax.Array, jax.Array], None]:
        power, total = s
        return (power @ power, total + power.transpose(0, 2, 1) @ total @ power), None

    # sum_j A'^j e e' A^j with e the first unit vector: what the tail's own dates add up to
    n_z, d, _ = tail.transition.shape
    first = jnp.zeros((n_z, d, d)).at[:, 0, 0].set(1.0)
    (_, total), _ = jax.lax.scan(double, (tail.transition, first), None, length=_DOUBLINGS)

    def step(g: jax.Array, fresh: jax.Array) -> tuple[jax.Array, jax.Array]:
        new = tail.transition.transpose(0, 2, 1) @ g
        return new.at[:, 0].add(fresh.T), g

    _, paths = jax.lax.scan(step, total @ tail.state, backwards(given, lags))
    return products_between(given, lags) + jnp.einsum("zdo,kzdp->kop", tail.state, paths)
