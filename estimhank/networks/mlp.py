"""The network: a multilayer perceptron from whitened coordinates to a number, in single precision."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

#: Weights of one network, as nested mappings of arrays: what NNX calls the state of a module.
Weights = Any

_ACTIVATIONS = {
    "celu": jax.nn.celu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "tanh": jnp.tanh,
}


class MLP(nnx.Module):  # type: ignore[misc]
    """Multilayer perceptron R^d -> R.

    Parameters
    ----------
    d : int
        Number of inputs.
    hidden : tuple of int
        Units of each hidden layer.
    activation : str
        Name of the activation of all hidden layers.
    rngs : nnx.Rngs
        Source of the initial weights.
    """

    def __init__(self, d: int, hidden: tuple[int, ...], activation: str, rngs: nnx.Rngs) -> None:
        single: dict[str, Any] = {"dtype": jnp.float32, "param_dtype": jnp.float32, "rngs": rngs}
        sizes = (d, *hidden)
        self.layers = nnx.List([nnx.Linear(a, b, **single) for a, b in pairwise(sizes)])
        self.head = nnx.Linear(sizes[-1], 1, **single)
        self.activation = activation

    def __call__(self, z: Float[jax.Array, "*points d"]) -> Float[jax.Array, "*points"]:
        """Value at whitened coordinates; shape (..., d) to (...)."""
        h = z
        for layer in self.layers:
            h = _ACTIVATIONS[self.activation](layer(h))
        found: jax.Array = self.head(h)[..., 0]
        return found


@lru_cache(maxsize=16)
def _skeleton(d: int, hidden: tuple[int, ...], activation: str) -> Any:
    return nnx.eval_shape(lambda: MLP(d, hidden, activation, nnx.Rngs(0)))


def initial_weights(d: int, hidden: tuple[int, ...], activation: str, seed: int) -> Weights:
    """Random initial weights of a network."""
    return nnx.to_pure_dict(nnx.state(MLP(d, hidden, activation, nnx.Rngs(seed))))


def evaluate_network(
    weights: Weights, z: Float[jax.Array, "n d"], hidden: tuple[int, ...], activation: str
) -> Float[jax.Array, " n"]:
    """Network output as a pure function of weights and inputs; shape (n, d) to (n,)."""
    graph, state = nnx.split(_skeleton(z.shape[-1], hidden, activation))
    nnx.replace_by_pure_dict(state, weights)
    found: jax.Array = nnx.merge(graph, state)(z)
    return found


def flatten_weights(weights: Weights) -> dict[str, np.ndarray]:
    """Weights as a flat mapping ``"layers/0/kernel"`` -> array, for files."""
    flat: dict[str, np.ndarray] = {}

    def walk(prefix: str, node: Any) -> None:
        if isinstance(node, Mapping):
            for key in sorted(node, key=str):
                walk(f"{prefix}/{key}" if prefix else str(key), node[key])
        else:
            flat[prefix] = np.asarray(node)

    walk("", weights)
    return flat


def unflatten_weights(flat: Mapping[str, np.ndarray]) -> Weights:
    """Inverse of :func:`flatten_weights` (digits are positions in a list of layers)."""
    tree: dict[Any, Any] = {}
    for path, value in flat.items():
        keys: list[Any] = [int(key) if key.isdigit() else key for key in path.split("/")]
        node = tree
        for key in keys[:-1]:
            node = node.setdefault(key, {})
        node[keys[-1]] = jnp.asarray(value, jnp.float32)
    return tree
