"""Where the density exists: a classifier of feasible and infeasible points, by which a surrogate is cut off.

A posterior may be cut off inside its own mass: an equilibrium stops being determinate, an order of parameters is
imposed. A smooth network that is told "far too low here" blurs such an edge over the distance between its points; it
underrates what is inside and overrates what is outside. So the edge is learned apart from the density. With u(z) the
log odds that a network gives to whitened coordinates z being feasible, the surrogate's density is::

    s(z) = p(u) exp(f(z)) + (1 - p(u)) exp(min(f(z), top) - floor),      p(u) = 1 / (1 + exp(-u))

f being what the other networks learn from feasible points alone, and ``top`` the highest value that one of them has:
where a density rises to its edge, f goes on rising beyond. Inside nothing is taken off. Beyond the edge s is far below
the posterior, but never zero, or a subchain could be trapped, and what the classifier gets wrong could not be found
out.

Several conditions at once, as an order of many parameters, cut a polyhedron out: what a network of this size blurs at
every ridge is learned well as the smallest of some planes, which is one of the forms that are tried.

How wide the edge is, is calibrated on points kept out. It is then moved outwards by what the classifier may err by:
proposals beyond the edge are rejected, which costs an evaluation; states inside that a surrogate holds for infeasible
hold an exact chain up.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray
from scipy.optimize import minimize

from estimhank.networks.mlp import Weights, evaluate_network, initial_weights
from estimhank.support.seeds import Stream, generator

Array = NDArray[np.float64]

#: Layers of the classifier, where a surrogate has one.
HIDDEN: tuple[int, ...] = (32, 32)
_ACTIVATION = "tanh"
_BELOW_TYPICAL = 5.0  # log points below what posterior draws reach that a surrogate is beyond the edge, at least
_BEYOND_EDGE = 0.1  # distance, about one in whitened units, that the uncorrected surrogate goes beyond the edge
_OUTWARDS = 2.0  # log odds by which the edge is moved
_STEPS, _BATCH = 8_000, 256
_RATE, _DECAY = 1e-2, 1e-5
_BLUNT, _SHARP, _SHARPEST = 3.0, 100.0, 300.0  # log odds of a unit of output: first and last in training, and at most
_HELD_OUT = 0.2
#: Forms that are tried, the best at points kept out being taken: whether the squares move, the planes, and the network.
_FORMS = ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 1.0))
_PLANES = 16
_FEWEST = 8  # of each kind
_PAD = 1_024


class Edge(NamedTuple):
    """Classifier in single precision, as :func:`cut_off` reads it.

    Its output is ``z @ linear + z @ curved @ z``, with (d,) and (d, d), the smallest, softly, of ``planes`` (normals
    and offsets, (m, d + 1)), and a network's; ``odds`` (a, b) are its log odds a output + b. ``top`` and ``floor`` as
    in the formula at the module's head, the first less the surrogate's constant.
    """

    linear: jax.Array
    curved: jax.Array
    planes: jax.Array
    network: Weights
    odds: jax.Array
    top: jax.Array
    floor: jax.Array


def no_edge(d: int) -> Edge:
    """What stands in a surrogate that has no edge (its shape says so; nothing is computed)."""
    return Edge(*_polynomial(d), {}, jnp.zeros(2, jnp.float32), *2 * [jnp.zeros((), jnp.float32)])


def _polynomial(d: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    return tuple(jnp.zeros(shape, jnp.float32) for shape in (d, (d, d), (_PLANES, d + 1)))  # type: ignore[return-value]


def uncorrected_edge(edge: Edge) -> Edge:
    """The edge of the uncorrected surrogate: moved outwards so that draws go some way beyond it."""
    return edge._replace(odds=edge.odds.at[1].add(_BEYOND_EDGE * edge.odds[0]))


class _Classifier(NamedTuple):
    linear: jax.Array
    curved: jax.Array
    planes: jax.Array
    network: Weights


def _output(
    c: _Classifier, z: jax.Array, hidden: tuple[int, ...], sharpness: jax.Array | float | None = None
) -> jax.Array:
    """Of whitened coordinates (n, d), shape (n,); ``sharpness`` of the minimum over planes, the last one by default."""
    sharp = _SHARP if sharpness is None else sharpness
    planes = -jax.nn.logsumexp(-sharp * (z @ c.planes[:, :-1].T + c.planes[:, -1]), axis=-1) / sharp
    polynomial = z @ c.linear + jnp.sum((z @ c.curved) * z, axis=-1)
    return polynomial + planes + evaluate_network(c.network, z, hidden, _ACTIVATION)


def log_odds(edge: Edge, z: jax.Array, hidden: tuple[int, ...]) -> jax.Array:
    """Log odds of being feasible at whitened coordinates of shape (n, d); (n,)."""
    return edge.odds[0] * _output(_Classifier(*edge[:4]), z, hidden) + edge.odds[1]


def cut_off(edge: Edge, z: jax.Array, value: jax.Array, hidden: tuple[int, ...]) -> jax.Array:
    """Log density (n,) at whitened coordinates (n, d), cut off at the edge: log s of the formula above from f."""
    u = log_odds(edge, z, hidden)
    beyond = jnp.minimum(value, edge.top) - edge.floor
    return jnp.logaddexp(jax.nn.log_sigmoid(u) + value, jax.nn.log_sigmoid(-u) + beyond)


def learn_edge(feasible: Array, infeasible: Array, top: float, depth: float, seed: int) -> Edge | None:
    """The edge between whitened points (n, d) that have a density, ``top`` at most, and (m, d) that have none.

    ``depth`` is how far below the top posterior draws reach; beyond the edge a surrogate is lower still.

    Returns None where there are too few of a kind.
    """
    if min(len(feasible), len(infeasible)) < _FEWEST:
        return None
    rng = generator(seed, Stream.EDGE)
    z = np.concatenate([feasible, infeasible]).astype(np.float32)
    label = np.repeat(np.array([1, 0], np.float32), [len(feasible), len(infeasible)])
    order = rng.permutation(len(z))
    z, label = z[order], label[order]
    held = max(_FEWEST // 2, int(_HELD_OUT * len(z)))
    learned = np.arange(held, len(z))
    empty = np.zeros((-len(z) % _PAD, z.shape[1]), np.float32)  # so that a few more points need no new compilation
    padded = np.concatenate([z, empty]), np.concatenate([label, np.zeros(len(empty), np.float32)])
    network = initial_weights(z.shape[1], HIDDEN, _ACTIVATION, int(rng.integers(2**31)))
    linear, curved, _ = _polynomial(z.shape[1])
    normals = generator(seed, Stream.EDGE, 1).standard_normal((_PLANES, z.shape[1]))
    planes = np.column_stack([0.5 * normals, np.ones(_PLANES)])
    begin = _Classifier(linear, curved, jnp.asarray(planes, jnp.float32), network)
    rows = jnp.asarray(rng.choice(learned, (_STEPS, _BATCH)))
    fits = []
    for moves in _FORMS:
        classifier = _train(begin, *map(jnp.asarray, padded), rows, jnp.asarray(moves, jnp.float32))
        output = np.asarray(_output_of(classifier, jnp.asarray(z[:held])), float)
        fits.append((*_calibrate(output, label[:held]), classifier))
    _, slope, offset, classifier = min(fits, key=lambda fit: fit[0])
    odds = jnp.asarray([slope, offset + _OUTWARDS], jnp.float32)
    limits = jnp.asarray([top, depth + _BELOW_TYPICAL], jnp.float32)
    c: _Classifier = classifier
    return Edge(c.linear, c.curved, c.planes, c.network, odds, limits[0], limits[1])


def _loss(trained: _Classifier, z: jax.Array, label: jax.Array, sharpness: jax.Array) -> jax.Array:
    odds = sharpness * _output(trained, z, HIDDEN, sharpness)
    decay = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(trained))
    return jnp.mean(jax.nn.softplus(jnp.where(label > 0, -odds, odds))) / sharpness + _DECAY * decay


@jax.jit
def _train(begin: _Classifier, z: jax.Array, label: jax.Array, index: jax.Array, moves: jax.Array) -> _Classifier:
    """Minimise the logistic loss of ever sharper odds; divided by the sharpness it tends to a distance."""
    share = jnp.linspace(0, 1, len(index), dtype=jnp.float32)
    sharpness = _BLUNT * (_SHARP / _BLUNT) ** jnp.minimum(share / 0.7, 1)
    rate = _RATE * (0.02 + 0.98 * 0.5 * (1 + jnp.cos(jnp.pi * share)))
    optimizer = optax.scale_by_adam(b2=0.99)

    def step(carry: Any, xs: Any) -> tuple[Any, None]:
        trained, memory = carry
        rows, sharp, length = xs
        gradient = jax.grad(_loss)(trained, z[rows], label[rows], sharp)
        update, memory = optimizer.update(gradient, memory)
        update = update._replace(
            curved=moves[0] * update.curved,
            planes=moves[1] * update.planes,
            network=jax.tree.map(lambda u: moves[2] * u, update.network),
        )
        return (jax.tree.map(lambda w, u: w - length * u, trained, update), memory), None

    begin = begin._replace(planes=moves[1] * begin.planes, network=jax.tree.map(lambda w: moves[2] * w, begin.network))
    (trained, _), _ = jax.lax.scan(step, (begin, optimizer.init(begin)), (index, sharpness, rate))
    result: _Classifier = trained
    return result


@jax.jit
def _output_of(classifier: _Classifier, z: jax.Array) -> jax.Array:
    return _output(classifier, z, HIDDEN)


def _calibrate(output: Array, label: NDArray[np.float32]) -> tuple[float, float, float]:
    """Minus the log likelihood at points kept out, and the slope and offset of the log odds that it is best with.

    A classifier without an error there has no such slope; a weak prior for :data:`_SHARP` and for no offset settles it.
    """
    sign = np.where(label > 0, 1.0, -1.0)

    def loss(q: Array) -> float:
        odds = np.exp(q[0]) * output + q[1]
        return float(np.logaddexp(0, -sign * odds).sum() + 0.1 * (q[0] - np.log(_SHARP)) ** 2 + 0.1 * q[1] ** 2)

    end = minimize(loss, np.array([np.log(_SHARP), 0.0]), method="Nelder-Mead")
    return float(end.fun), float(np.exp(np.clip(end.x[0], np.log(_BLUNT), np.log(_SHARPEST)))), float(end.x[1])
