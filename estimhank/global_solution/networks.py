"""Policy and value networks over own state, aggregate state and moments of the distribution, some of them learned.

A *generalised moment* is the average over households of a function of their own state that is itself a network (Han,
Yang and E 2021).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Float

from estimhank.global_solution.steady import BasePolicy

#: Weights of the networks of one function: nested mappings of arrays.
Weights = Any

#: Networks' outputs are multiplied by this before they correct a logarithm: corrections are per cents.
_OUTPUT = 0.1
#: One unit of the first moment's input, in logs of capital.
_CAPITAL_UNIT = 0.05


class Layers(nnx.Module):  # type: ignore[misc]
    """Multilayer perceptron with tanh units, in double precision; ``sizes`` from inputs to outputs."""

    def __init__(self, sizes: tuple[int, ...], rngs: nnx.Rngs, zero_head: bool) -> None:
        kinds: dict[str, Any] = {"dtype": jnp.float64, "param_dtype": jnp.float64, "rngs": rngs}
        self.layers = nnx.List([nnx.Linear(a, b, **kinds) for a, b in pairwise(sizes[:-1])])
        head = {"kernel_init": nnx.initializers.zeros} if zero_head else {}
        self.head = nnx.Linear(sizes[-2], sizes[-1], **kinds, **head)

    def __call__(self, x: Float[jax.Array, "*points n"]) -> Float[jax.Array, "*points m"]:
        """Outputs at inputs; shape (..., n) to (..., m)."""
        for layer in self.layers:
            x = jnp.tanh(layer(x))
        found: jax.Array = self.head(x)
        return found


@lru_cache(maxsize=32)
def _skeleton(sizes: tuple[int, ...], zero_head: bool) -> Any:
    return nnx.eval_shape(lambda: Layers(sizes, nnx.Rngs(0), zero_head))


def _apply(sizes: tuple[int, ...], zero_head: bool, weights: Weights, x: jax.Array) -> jax.Array:
    graph, state = nnx.split(_skeleton(sizes, zero_head))
    nnx.replace_by_pure_dict(state, weights)
    found: jax.Array = nnx.merge(graph, state)(x)
    return found


@dataclass(frozen=True)
class Architecture:
    """What networks are given and how large they are.

    Attributes
    ----------
    n_z, n_e : int
        Aggregate and idiosyncratic states; there is one output for each pair.
    first_moment : bool
        Whether they see mean assets.
    generalised : int
        Number of learned moments that they see.
    hidden, moment_hidden : tuple of int
        Units of each hidden layer of the function itself, and of its moments.
    """

    n_z: int
    n_e: int
    first_moment: bool = False
    generalised: int = 1
    hidden: tuple[int, ...] = (24, 24)
    moment_hidden: tuple[int, ...] = (12, 12)

    @property
    def n_moments(self) -> int:
        """Moments that the networks see."""
        return int(self.first_moment) + self.generalised

    @property
    def _sizes(self) -> tuple[int, ...]:
        return (2 + self.n_moments, *self.hidden, self.n_z * self.n_e)

    @property
    def _moment_sizes(self) -> tuple[int, ...]:
        return (1 + self.n_e, *self.moment_hidden, self.generalised)

    def initial_weights(self, seed: int) -> Weights:
        """Random inner layers; the head is zero, so that training begins at the base policy exactly."""
        rngs = nnx.Rngs(seed)
        found = {"function": nnx.to_pure_dict(nnx.state(Layers(self._sizes, rngs, True)))}
        if self.generalised:
            found["moments"] = nnx.to_pure_dict(nnx.state(Layers(self._moment_sizes, rngs, False)))
        return found

    def moment_functions(self, weights: Weights, assets: jax.Array, capital: jax.Array) -> jax.Array:
        """Functions whose averages are the generalised moments, at assets of each state: (n_e, n_a) to (q, n_e, n_a).

        ``capital`` is that of the deterministic steady state, the unit in which assets are measured.
        """
        if not self.generalised:
            return jnp.zeros((0, *assets.shape))
        # tanh units want inputs of order one: twice the spread of wealth is about capital itself
        own = (2 * assets / capital - 2)[..., None]
        states = jnp.broadcast_to(jnp.eye(self.n_e)[:, None], (*assets.shape, self.n_e))
        found = _apply(self._moment_sizes, False, weights["moments"], jnp.concatenate([own, states], -1))
        return jnp.moveaxis(found, -1, 0)

    def correction(self, weights: Weights, position: jax.Array, moments: jax.Array) -> jax.Array:
        """Outputs for all aggregate and idiosyncratic states.

        Parameters
        ----------
        weights : Weights
        position : array of shape (..., 2)
            Own state.
        moments : array of shape (n_moments,)

        Returns
        -------
        array of shape (..., n_z, n_e)
        """
        shape = (*position.shape[:-1], self.n_moments)
        inputs = jnp.concatenate([position, jnp.broadcast_to(moments, shape)], -1)
        found = _apply(self._sizes, True, weights["function"], inputs)
        return _OUTPUT * found.reshape(*position.shape[:-1], self.n_z, self.n_e)


class Frame(NamedTuple):
    """Constants that networks are read with.

    Attributes
    ----------
    base : BasePolicy
        What they correct.
    capital : array of shape ()
        Of the deterministic steady state.
    grid : array of shape (n_a,)
        Assets of the histogram.
    mean, spread : array of shape (q,)
        Of the generalised moments over states that were visited, so that networks see numbers of order one.
    """

    base: BasePolicy
    capital: jax.Array
    grid: jax.Array
    mean: jax.Array
    spread: jax.Array


def moments_of(
    architecture: Architecture, frame: Frame, functions: jax.Array, histogram: jax.Array, capital: jax.Array
) -> jax.Array:
    """What networks see of a histogram, (n_e, n_a), given the functions' values on its grid, (q, n_e, n_a):
    (n_moments,).
    """
    learned = (jnp.einsum("qea,ea->q", functions, histogram) - frame.mean) / frame.spread
    if not architecture.first_moment:
        return learned
    return jnp.concatenate([jnp.log(capital / frame.capital)[None] / _CAPITAL_UNIT, learned])


def own_inputs(frame: Frame, spendable: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Place in the table of the base policy, (...,), and networks' inputs, (..., 2), at spendable cash over the income
    scale.
    """
    base = frame.base
    log_cash = jnp.log(spendable + base.shift)
    span = base.distance * (base.log_consumption.shape[-1] - 1)
    centred = 2 * (log_cash - base.first) / span - 1
    place = (log_cash - base.first) / base.distance
    # the richest consume a constant share: a straight line in cash, which the log alone makes an exponential
    mean = frame.capital / 10
    return place, jnp.stack([2 * centred, spendable / (spendable + mean)], -1)


def read_table(table: jax.Array, place: jax.Array, z: Any, e: jax.Array) -> jax.Array:
    """A table of the base policy, (n_z, n_e, n), at places between its points; ``z`` a number, ``e`` shaped as the
    places.
    """
    i = jnp.clip(place.astype(int), 0, table.shape[-1] - 2)
    w = place - i
    found: jax.Array = table[z, e, i] * (1 - w) + table[z, e, i + 1] * w
    return found


def flatten_weights(weights: Weights) -> dict[str, jax.Array]:
    """Weights as a flat mapping ``"function/layers/0/kernel"`` -> array, for files."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(weights)
    return {
        "/".join(str(getattr(key, "key", getattr(key, "idx", key))) for key in path): value for path, value in leaves
    }


def unflatten_weights(like: Weights, flat: Mapping[str, Any]) -> Weights:
    """Inverse of :func:`flatten_weights`, in the nesting of ``like``."""
    names = flatten_weights(like)
    leaves = [jnp.asarray(flat[name]) for name in names]
    return jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(like), leaves)


@dataclass(frozen=True)
class PublishedArchitecture(Architecture):
    """The published networks: one output, and the states z and e as inputs beside own cash and moments."""

    @property
    def _sizes(self) -> tuple[int, ...]:
        return (4 + self.n_moments, *self.hidden, 1)

    def output(
        self, weights: Weights, inputs: jax.Array, z: Any, e: jax.Array, moments: Float[jax.Array, " n_m"]
    ) -> jax.Array:
        """The output at own inputs (..., 2) and states ``e`` (...,)."""
        states = jnp.stack([jnp.broadcast_to(2.0 * z - self.n_z + 1, e.shape), 2.0 * e - self.n_e + 1], -1)
        whole = [inputs, states, jnp.broadcast_to(moments, (*e.shape, self.n_moments))]
        return _apply(self._sizes, True, weights["function"], jnp.concatenate(whole, -1))[..., 0]


def share_of_cash(
    architecture: PublishedArchitecture,
    weights: Weights,
    frame: Frame,
    spendable: jax.Array,
    z: Any,
    e: jax.Array,
    moments: jax.Array,
) -> jax.Array:
    """Consumption as a share of cash by the published network, at spendable cash over the income scale.

    Untrained it is the share that the base policy consumes with mean cash.
    """
    _, inputs = own_inputs(frame, spendable)
    table = frame.base.log_consumption
    place = table.shape[-1] * 3 // 5
    cash = jnp.exp(frame.base.first + place * frame.base.distance) - frame.base.shift
    usual = jnp.exp(table.mean((0, 1))[place]) / cash
    return jax.nn.sigmoid(architecture.output(weights, inputs, z, e, moments) + jnp.log(usual / (1 - usual)))


def value_by_network(
    architecture: PublishedArchitecture,
    weights: Weights,
    frame: Frame,
    spendable: jax.Array,
    z: Any,
    e: jax.Array,
    moments: jax.Array,
) -> jax.Array:
    """Log of the constant consumption over the income scale that one published value network finds equivalent."""
    _, inputs = own_inputs(frame, spendable)
    return frame.base.value.mean() + _OUTPUT * architecture.output(weights, inputs, z, e, moments)
