"""Training of the networks: values and gradients, AdamW with a cosine schedule, many steps in one compiled call.

The loss of a point z with value r is::

    w [ (f - r)^2 + lambda |grad f - grad r|^2 ]

Where the z are draws of a (near) standard normal distribution the second term alone bounds the variance of the error,
by the Poincare inequality, which is why it earns a large weight. Where r is a bound from above, f below it costs
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from estimhank.evaluation.workers import Workers
from estimhank.networks.mlp import Weights, evaluate_network, initial_weights
from estimhank.networks.settings import TrainingConfig
from estimhank.support.errors import EstimhankError

Array = NDArray[np.float64]
Single = Any  # an array in single precision, of NumPy or, inside compiled code, of JAX

_STEPS = 256  # of one compiled call
#: Compiled calls of one call of a worker: a second's work or a sixth of all, as the next worker may have to compile.
_CALLS, _PIECES = 8, 6
_PAD = 512  # examples that errors are measured on grow in such pieces, so that a few more need no new compilation
_WARM_UP = 0.05  # share of the steps in which the rate rises
_GOING_ON = 0.4  # of the learning rate, where training goes on from networks
_CLIP = 10.0
_RESTARTS = 3


class TrainingError(EstimhankError):
    """The network could not be trained on these points."""


class Examples(NamedTuple):
    """What networks are trained on, single precision: inputs, values, their gradients, weights.

    Shapes (n, d), (n,), (n, d), (n,), (n, d), (n,). ``known`` is one where the gradient is known (elsewhere
    ``gradient`` is zero). ``upper_bound`` is one where the value is only a bound from above.
    """

    z: Single
    value: Single
    gradient: Single
    weight: Single
    known: Single
    upper_bound: Single


class Loss(NamedTuple):
    """What compiled steps depend on: a network's layers and activation, weight of gradients, weight decay."""

    hidden: tuple[int, ...]
    activation: str
    gradient_weight: float
    weight_decay: float


def examples(z: Array, value: Array, gradient: Array, weight: Array, upper_bound: NDArray[np.bool_]) -> Examples:
    """Examples from arrays in double precision; nan is no gradient."""
    known = np.isfinite(gradient)
    columns = (z, value, np.where(known, gradient, 0.0), weight, known, upper_bound)
    return Examples(*(np.asarray(c, np.float32) for c in columns))


def select(data: Examples, rows: NDArray[np.integer]) -> Examples:
    """The examples that an index of any shape picks."""
    return Examples(*(column[rows] for column in data))


def padded(data: Examples) -> Examples:
    """The examples and some of weight zero, which do not count."""
    empty = -len(data.z) % _PAD
    return Examples(*(np.concatenate([c, np.zeros((empty, *c.shape[1:]), np.float32)]) for c in data))


def train_ensemble(
    data: Examples,
    rows: NDArray[np.int64],
    config: TrainingConfig,
    epochs: int,
    seed: int,
    workers: Workers,
    tick: Callable[[float], None] | None = None,
    begin: Sequence[Weights] = (),
) -> tuple[tuple[Weights, ...], Array]:
    """Train ``config.ensemble`` networks side by side.

    Parameters
    ----------
    data : Examples
    rows : ndarray of int, shape (m,)
        The examples to learn from.
    config : TrainingConfig
    epochs : int
    seed : int
        The result is a function of it and of the examples; networks do not depend on each other.
    workers : Workers
    tick : callable, optional
        Told the share of the work that is done.
    begin : sequence of weights, optional
        Networks to go on from, at a lower rate; by default from random ones.

    Returns
    -------
    tuple of weights, and ndarray of shape (K, calls)
        The loss of every compiled call of each network.

    Raises
    ------
    TrainingError
        If the loss stays non-finite however small the learning rate.
    """
    starts = begin or [None] * config.ensemble
    fits = [_train_network(data, rows, config, epochs, [seed, k], start) for k, start in enumerate(starts)]
    waiting = {k: next(fit) for k, fit in enumerate(fits)}
    results: dict[int, tuple[Weights, Array]] = {}
    while waiting:
        trained = workers.map(train_piece, [arguments for _, arguments in waiting.values()])
        for k, result in zip(list(waiting), trained, strict=True):
            try:
                waiting[k] = fits[k].send(result)
            except StopIteration as finished:
                results[k] = finished.value
                del waiting[k]
        if tick is not None:
            tick((len(results) + sum(share for share, _ in waiting.values())) / len(fits))
    return tuple(results[k][0] for k in range(len(fits))), np.stack([results[k][1] for k in range(len(fits))])


def train_piece(
    weights: Weights,
    state: Any,
    data: Examples,
    index: NDArray[np.int32],
    rates: NDArray[np.float32],
    loss: Loss,
) -> tuple[Weights, Any, Array]:
    """Go on with a network's training, in a worker.

    Parameters
    ----------
    weights, state : pytrees
        Of the network and of its optimiser.
    data : Examples
    index : ndarray of int, shape (calls, steps, batch)
        The examples of each step.
    rates : ndarray of shape (calls, steps)
        Learning rates.
    loss : Loss

    Returns
    -------
    weights, state, and ndarray of shape (calls,)
        The last is the loss of each compiled call, nan after one that is not finite.
    """
    losses = np.full(len(index), np.nan)
    for call in range(len(index)):
        # picked here, so that compiled code does not depend on how many examples there are
        batches = select(data, index[call])
        weights, state, mean = _train_steps(weights, state, batches, rates[call], loss)
        losses[call] = float(mean)
        if not np.isfinite(losses[call]):
            break
    return jax.tree.map(np.asarray, weights), jax.tree.map(np.asarray, state), losses


def _train_network(
    data: Examples,
    rows: NDArray[np.int64],
    config: TrainingConfig,
    epochs: int,
    seed: list[int],
    begin: Weights | None,
) -> Generator[tuple[float, tuple[Any, ...]], tuple[Weights, Any, Array], tuple[Weights, Array]]:
    """One network's training, as a generator: yields the share that is done and the arguments of the next
    :func:`train_piece`, receives its result, returns weights and losses."""
    calls = max(1, -(-epochs * len(rows) // (config.batch_size * _STEPS)))
    gradient_weight = config.gradient_weight if bool(data.known.any()) else 0.0
    loss = Loss(config.hidden, config.activation, gradient_weight, config.weight_decay)
    peak = config.learning_rate * (1.0 if begin is None else _GOING_ON)
    for attempt in range(_RESTARTS + 1):
        rng = np.random.default_rng([*seed, 7, attempt])
        weights = begin
        if begin is None:
            weights = initial_weights(data.z.shape[1], config.hidden, config.activation, int(rng.integers(2**31)))
        weights = jax.tree.map(np.asarray, weights)
        state = jax.tree.map(np.asarray, _optimizer(config.weight_decay).init(weights))
        stream = _batches(rng, rows, config.batch_size)
        losses = np.empty(0)
        while len(losses) < calls:
            share = np.arange(len(losses), min(len(losses) + max(_CALLS, -(-calls // _PIECES)), calls))
            index = np.stack([[next(stream) for _ in range(_STEPS)] for _ in share])
            rates = peak * _schedule((share[:, None] * _STEPS + np.arange(_STEPS)) / (calls * _STEPS))
            arguments = (weights, state, data, index, rates.astype(np.float32), loss)
            weights, state, more = yield len(losses) / calls, arguments
            losses = np.append(losses, more)
            if not np.isfinite(more).all():
                break
        else:
            return jax.tree.map(jnp.asarray, weights), losses
        peak /= 3
    raise TrainingError("the network's loss is not finite, whatever the learning rate: the points hold extreme values")


def _batches(rng: np.random.Generator, rows: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int32]]:
    """Batches from a stream of permutations: every point once an epoch, batches may straddle epochs."""
    left = np.empty(0, np.int32)
    while True:
        while len(left) < size:
            left = np.concatenate([left, rng.permutation(rows).astype(np.int32)])
        yield left[:size]
        left = left[size:]


def _schedule(share: Array) -> Array:
    rise = np.minimum(share / _WARM_UP, 1.0)
    fall = 0.5 * (1 + np.cos(np.pi * np.clip((share - _WARM_UP) / (1 - _WARM_UP), 0.0, 1.0)))
    scaled: Array = rise * (1e-3 + (1 - 1e-3) * fall)
    return scaled


def _optimizer(weight_decay: float) -> optax.GradientTransformation:
    """AdamW without its rate, which changes from step to step."""
    return optax.chain(
        optax.clip_by_global_norm(_CLIP), optax.scale_by_adam(b2=0.99), optax.add_decayed_weights(weight_decay)
    )


def _errors(weights: Weights, data: Examples, loss: Loss) -> tuple[jax.Array, jax.Array]:
    """Squared errors of value and gradient, shapes (n,)."""

    def output(z: jax.Array) -> jax.Array:
        return evaluate_network(weights, z, loss.hidden, loss.activation)

    def squared(value: jax.Array) -> jax.Array:
        error = value - data.value
        return jnp.where((data.upper_bound > 0) & (error < 0), 0, error) ** 2

    if loss.gradient_weight == 0:
        value = output(data.z)
        return squared(value), jnp.zeros_like(value)
    value, pull = jax.vjp(output, data.z)
    (gradient,) = pull(jnp.ones_like(value))
    return squared(value), jnp.sum(data.known * (gradient - data.gradient) ** 2, axis=-1)


@partial(jax.jit, static_argnames="loss")
def _train_steps(
    weights: Weights, state: Any, batches: Examples, rates: jax.Array, loss: Loss
) -> tuple[Weights, Any, jax.Array]:
    """A step for each of the ``batches``, arrays of shape (steps, batch, ...): weights, optimiser state, mean loss."""
    optimizer = _optimizer(loss.weight_decay)

    def mean_loss(current: Weights, batch: Examples) -> jax.Array:
        value, gradient_error = _errors(current, batch, loss)
        return jnp.mean(batch.weight * (value + loss.gradient_weight * gradient_error))

    def step(carry: tuple[Weights, Any], xs: tuple[Examples, jax.Array]) -> tuple[tuple[Weights, Any], jax.Array]:
        current, memory = carry
        batch, rate = xs
        here, gradient = jax.value_and_grad(mean_loss)(current, batch)
        update, memory = optimizer.update(gradient, memory, current)
        current = jax.tree.map(lambda w, u: w - rate * u, current, update)
        return (current, memory), here

    (weights, state), losses = jax.lax.scan(step, (weights, state), (batches, rates))
    return weights, state, losses.mean()


@partial(jax.jit, static_argnames=("hidden", "activation"))
def ensemble_losses(
    networks: tuple[Weights, ...], data: Examples, hidden: tuple[int, ...], activation: str
) -> tuple[jax.Array, jax.Array]:
    """RMS errors of value and gradient of the ensemble's mean over examples, weighted (weight zero does not count)."""

    def mean(z: jax.Array) -> jax.Array:
        return jnp.stack([evaluate_network(w, z, hidden, activation) for w in networks]).mean(axis=0)

    value, pull = jax.vjp(mean, data.z)
    (gradient,) = pull(jnp.ones_like(value))
    off = jnp.sum(data.known * (gradient - data.gradient) ** 2, axis=-1)
    total, known = data.weight.sum(), jnp.maximum((data.weight * data.known.max(axis=-1)).sum(), 1e-30)
    squares = data.weight * (value - data.value) ** 2
    return jnp.sqrt(squares.sum() / total), jnp.sqrt((data.weight * off).sum() / known)
