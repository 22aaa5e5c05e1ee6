"""From responses of model variables to moving-average coefficients of the observables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from estimhank.model.observed import NO_LEVEL, REACH, ObservedVariable


def combine_quarters(
    coefficients: Float[jax.Array, "T n_o n_z"], weights: Sequence[Sequence[float]]
) -> Float[jax.Array, "T n_o n_z"]:
    """Moving-average coefficients of weighted sums of each observable's current and earlier values.

    Parameters
    ----------
    coefficients : array of shape (T, n_o, n_z)
    weights : sequence of n_o sequences of float
        ``weights[o][l]`` on the value ``l`` dates before; ``(1.0,)`` leaves an observable as it is.

    Returns
    -------
    array of shape (T, n_o, n_z)
        Beyond some date they decay as the coefficients do, if those have done so for as long as there are weights.
    """
    columns = []
    for o, row in enumerate(weights):
        path = coefficients[:, o]
        earlier = [jnp.concatenate([jnp.zeros_like(path[:lag]), path[: len(path) - lag]]) for lag in range(len(row))]
        columns.append(sum((w * p for w, p in zip(row, earlier, strict=True)), jnp.zeros_like(path)))
    return jnp.stack(columns, axis=1)


def observe(
    responses: Float[jax.Array, "T n_v n_z"],
    observables: Sequence[ObservedVariable],
    names: tuple[str, ...],
    steady: Mapping[str, Any],
) -> Float[jax.Array, "T n_o n_z"]:
    """Responses of the observables, in their units.

    Parameters
    ----------
    responses : array of shape (T, n_v, n_z)
        Responses of the model's unknowns.
    observables : sequence of ObservedVariable
    names : tuple of str
        Names of the unknowns.
    steady : mapping of str to scalar
        Steady-state values, by which growth rates are scaled.

    Returns
    -------
    array of shape (T, n_o, n_z)
    """
    columns = []
    for observable in observables:
        path = responses[:, names.index(observable.variable)]
        if lags := REACH[observable.kind]:
            path = path - jnp.concatenate([jnp.zeros_like(path[:lags]), path[:-lags]])
        if observable.kind != "level":
            level = jnp.asarray(steady[observable.variable], float)
            path = path / jnp.where(jnp.abs(level) > NO_LEVEL, level, jnp.nan)  # there is no growth rate of nothing
        columns.append(observable.scale * path)
    return jnp.stack(columns, axis=1)
