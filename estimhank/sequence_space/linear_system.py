"""The declared equations, linearised: constant lag, now and lead matrices by automatic differentiation::

    F_lag v_{t-1} + F_now v_t + F_lead v_{t+1} + F_shock z_t = 0,    v_t = (aggregate variables, household outputs)

This holds the model's equations and the household block's identities; the household outputs that are not derived from
an identity have Jacobians of their own, which close the system (:mod:`estimhank.sequence_space.equilibrium`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from estimhank.model.declaration import Model
from estimhank.parameters.parameter_table import Values


class LinearSystem(NamedTuple):
    """Derivatives of the equations at the steady state.

    ``lag``, ``now``, ``lead``: (n_eq, n_v); ``shock``: (n_eq, n_z). Columns in the order of ``Model.unknowns`` and
    ``Model.shocks``; rows: the model's equations, then the household's identities.
    """

    lag: jax.Array
    now: jax.Array
    lead: jax.Array
    shock: jax.Array


def linearize(model: Model, values: Any, parameters: Any) -> LinearSystem:
    """Differentiate the declared equations at a steady state.

    Parameters
    ----------
    model : Model
    values : mapping of str to scalar
        Steady-state values of ``model.unknowns``.
    parameters : mapping of str to scalar
        All parameters; may be traced, so that the matrices can be differentiated in turn.
    """
    names, n_x = model.unknowns, len(model.variables)
    p = Values(parameters)
    steady = jnp.stack([jnp.asarray(values[n], float) for n in names])
    quiet = jnp.zeros(len(model.shocks))

    def residual(lag: jax.Array, now: jax.Array, lead: jax.Array, shock: jax.Array) -> jax.Array:
        at_lag, at_now = (dict(zip(names, v, strict=True)) for v in (lag, now))
        at_lead = dict(zip(names[:n_x], lead[:n_x], strict=True))
        before, today, after = (Values({n: d[n] for n in names[:n_x]}) for d in (at_lag, at_now, at_lead))
        household = Values({n: at_now[n] for n in names[n_x:]})
        shocks = Values(dict(zip((s.name for s in model.shocks), shock, strict=True)))
        rows = [r for _, r in model.residuals(before, today, after, household, shocks, p)]
        for block in model.blocks:
            rows += [r for _, r in block.identities(Values(at_lag), Values(at_now))]
        return jnp.stack([jnp.asarray(r, float) for r in rows])

    lag, now, lead, shock = jax.jacfwd(residual, argnums=(0, 1, 2, 3))(steady, steady, steady, quiet)
    return LinearSystem(lag, now, lead, shock)
