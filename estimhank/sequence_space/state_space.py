"""Models without households: their solution over the infinite horizon, as a state space.

With u_t the variables that enter with a lag and w_t those that enter with a lead, the equations are solved by::

    x_t = G u_{t-1} + Q z_t,    u_t = F u_{t-1} + Q_u z_t,    z_t = rho z_{t-1} + innovation

F and G come from the half lines of :mod:`estimhank.sequence_space.half_lines` by doubling (w_{t+1} = ``ahead`` u_t
where no shock is still to come), Q from one small linear system for each shock. Nothing is truncated: what the sequence
space has to leave out beyond its horizon, later dates of slow roots, is there.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from estimhank.sequence_space.elimination import Elimination
from estimhank.sequence_space.half_lines import solve_half_lines
from estimhank.sequence_space.linear_system import LinearSystem

#: 2^22 dates; what is left of roots a hundred-thousandth beyond the unit circle, and of those that much inside.
_DOUBLINGS, _EXPLODED, _FORGOTTEN = 22, 1e30, 1e-6


class StateSpace(NamedTuple):
    """x_t = ``output`` s_t, s_{t+1} = ``transition`` s_t, of states s_t = (u_{t-1}, z_t).

    Attributes
    ----------
    transition : array of shape (m, m)
    output : array of shape (n_v, m)
        Of all unknowns of a date.
    impulse : array of shape (m, n_z)
        State of date 0 after a standard deviation of each shock.
    error : scalar
        Largest error in an equation, as a share of its largest coefficient.
    explosive, indeterminate : scalars, bool
        Whether states go on growing, beyond unit roots; whether what is expected of the far future matters now.
    """

    transition: jax.Array
    output: jax.Array
    impulse: jax.Array
    error: jax.Array
    explosive: jax.Array
    indeterminate: jax.Array


def has_state_space(e: Elimination) -> bool:
    """Whether an elimination is that of a model whose equations are all solved by recursions."""
    return not e.dense and not e.targets


def solve_state_space(
    system: LinearSystem, e: Elimination, rho: Float[jax.Array, " n_z"], sigma: Float[jax.Array, " n_z"]
) -> StateSpace:
    """The stable solution, of a system that has one; differentiable.

    Parameters
    ----------
    system : LinearSystem
    e : Elimination
        Of a model without households (:func:`has_state_space`).
    rho, sigma : arrays of shape (n_z,)
        The shocks' roots, and the standard deviations of their innovations in units of the equations.
    """
    rows, rest = jnp.array(e.rows, int), jnp.array(e.rest, int)
    lagged, leading = e.lagged or (0,), e.leading or (0,)  # without any, one whose coefficients are zero
    u, w = jnp.array(lagged, int), jnp.array(leading, int)
    lag, now, lead = (m[rows][:, rest] for m in (system.lag, system.now, system.lead))
    shock = system.shock[rows]
    inverse = jnp.linalg.inv(now)
    from_lag, from_lead, direct = inverse @ lag[:, u], inverse @ lead[:, w], inverse @ shock
    half = solve_half_lines(from_lag, from_lead, lagged, leading)
    n_l, n_p, n_z = len(lagged), len(leading), direct.shape[1]
    both = jnp.concatenate([u, w])

    def respond(root: jax.Array, force: jax.Array) -> jax.Array:
        """u_0 and w_0 after a unit of one shock, nothing before it."""
        to_lead = jnp.concatenate([half.ahead, root * jnp.eye(n_p)], axis=1)
        found: jax.Array = jnp.linalg.solve(jnp.eye(n_l + n_p) + from_lead[both] @ to_lead, -force[both])
        return found

    first = jax.vmap(respond)(rho, direct.T).T
    expected = half.ahead @ first[:n_l] + first[n_l:] * rho
    by_state = -from_lag - from_lead @ half.ahead @ half.forward
    by_shock = -direct - from_lead @ expected
    reached = jnp.concatenate([by_state, by_shock], axis=1)
    transition = jnp.block([[half.forward, by_shock[u]], [jnp.zeros((n_z, n_l)), jnp.diag(rho)]])
    # the equations at a date: u_{t-1} of the state, x_t, and x_{t+1} from the state that follows
    before = jnp.concatenate([jnp.eye(n_l), jnp.zeros((n_l, n_z))], axis=1)
    left = lag[:, u] @ before + now @ reached + lead @ reached @ transition
    left = left.at[:, n_l:].add(shock)
    size = jnp.abs(jnp.concatenate([lag, now, lead, shock], axis=1)).max(1, keepdims=True)
    order = jnp.array(np.argsort(e.rest), int)
    impulse = jnp.concatenate([jnp.zeros((n_l, n_z)), jnp.diag(sigma)])
    error = (jnp.abs(left) / size).max()
    explosive, indeterminate = _after_long(half.forward) > _EXPLODED, _after_long(half.backward) > _FORGOTTEN
    return StateSpace(transition, reached[order], impulse, error, explosive, indeterminate)


def _after_long(matrix: jax.Array) -> jax.Array:
    """The largest entry of a high power of a matrix."""
    power = jax.lax.stop_gradient(matrix)
    return jnp.abs(jax.lax.scan(lambda a, _: (a @ a, None), power, None, length=_DOUBLINGS)[0]).max()


def follow_states(space: StateSpace, dates: int) -> Float[jax.Array, "{dates} n_v n_z"]:
    """Responses of all unknowns at dates 0, 1, ..., shape (dates, n_v, n_z)."""
    step = lambda state, _: (space.transition @ state, space.output @ state)  # noqa: E731
    found: jax.Array = jax.lax.scan(step, space.impulse, None, length=dates)[1]
    return found
