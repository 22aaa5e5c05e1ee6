"""Surrogates made by hand, of which everything is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from estimhank.networks.mlp import initial_weights
from estimhank.surrogate.cliff_map import no_cliffs
from estimhank.surrogate.feasibility import no_edge
from estimhank.surrogate.surrogate import Shape, Surrogate, SurrogateArrays

SHAPE = Shape((8,), "silu")


def student_surrogate(d: int, freedom: float, radius: float = 1e3, strength: float = 0.25) -> Surrogate:
    """The log density of a standard Student t up to a constant; beyond ``radius`` a power of the distance is off."""
    surrogate = normal_surrogate(np.zeros(d), np.eye(d))
    power = freedom + d
    single = {"quadratic": -power / freedom * np.eye(d), "power": power, "radius": radius, "strength": strength}
    changes: dict[str, Any] = {k: jnp.asarray(v, jnp.float32) for k, v in single.items()}
    parameters = surrogate.parameters._replace(**changes)
    return replace(surrogate, parameters=parameters, shape=SHAPE._replace(heavy=True))


def normal_surrogate(mean: np.ndarray, root: np.ndarray, fingerprint: dict[str, str] | None = None) -> Surrogate:
    """The log density of N(mean, root root') up to a constant: a quadratic, a network of zeros, a distant boundary."""
    d = len(mean)
    single = {"linear": np.zeros(d), "quadratic": -np.eye(d), "scale": 1.0}
    single |= {"landmarks": np.zeros((1, d)), "radius": 20.0, "strength": 2.0, "disagreement": 2.0}
    zeros = jax.tree.map(jnp.zeros_like, initial_weights(d, SHAPE.hidden, SHAPE.activation, seed=0))
    return Surrogate(
        names=tuple(f"p{i}" for i in range(d)),
        fingerprint=fingerprint or {"model": "hand-made"},
        center=np.asarray(mean, float),
        root=np.asarray(root, float),
        constant=-3.0,
        parameters=SurrogateArrays(
            networks=(zeros,),
            cliffs=no_cliffs(d),
            edge=no_edge(d),
            **{k: jnp.asarray(v, jnp.float32) for k, v in single.items()},
        ),
        shape=SHAPE,
        modes=np.empty((0, d)),
        known=np.asarray(mean, float)[None],
        training_evaluations=123,
    )
