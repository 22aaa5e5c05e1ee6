"""The network is a pure function in single precision, whatever JAX's default precision."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimhank.networks.mlp import evaluate_network, flatten_weights, initial_weights, unflatten_weights
from estimhank.networks.settings import ACTIVATIONS

evaluate = jax.jit(evaluate_network, static_argnums=(2, 3))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_output_is_single_precision_and_one_number_a_point(activation: str) -> None:
    weights = initial_weights(3, (8, 4), activation, seed=1)
    z = jnp.asarray(np.random.default_rng(0).standard_normal((5, 3)), jnp.float32)
    value = evaluate(weights, z, (8, 4), activation)
    assert value.shape == (5,) and value.dtype == jnp.float32 and bool(jnp.isfinite(value).all())
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(weights))


def test_output_is_that_of_the_formula() -> None:
    weights = initial_weights(3, (6, 5), "tanh", seed=2)
    z = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    flat = flatten_weights(weights)
    h = np.tanh(z @ flat["layers/0/kernel"] + flat["layers/0/bias"])
    h = np.tanh(h @ flat["layers/1/kernel"] + flat["layers/1/bias"])
    expected = (h @ flat["head/kernel"] + flat["head/bias"])[:, 0]
    value = evaluate(weights, jnp.asarray(z), (6, 5), "tanh")
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


def test_weights_survive_the_way_through_flat_arrays() -> None:
    weights = initial_weights(2, (4, 4), "silu", seed=3)
    again = unflatten_weights(flatten_weights(weights))
    assert jax.tree.structure(weights) == jax.tree.structure(again)
    jax.tree.map(np.testing.assert_array_equal, weights, again)


def test_seeds_make_weights() -> None:
    one, same, other = (flatten_weights(initial_weights(2, (4,), "silu", seed=s))["head/kernel"] for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
