"""The surrogate log posterior: quadratic, plus the mean of an ensemble of networks, less a multiple of the
variance between them (a lower confidence bound) and a penalty outside the trust region.

A density that falls from a cliff where a known quantity changes sign (:mod:`estimhank.surrogate.cliff_finder`) has
networks that are given the sign beside z.

Networks agree where they have seen points and go apart where they have not, so the variance between them, which is next
to nothing near the data, pulls down places that one of them makes up.

Everything is computed in whitened coordinates z = root^{-1} (x - center) in single precision; the constant is added in
double precision at the boundary. The functions that kernels call are pure: :func:`relative_log_density` of
``surrogate.parameters`` and z.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from estimhank.networks.mlp import Weights, evaluate_network, flatten_weights, unflatten_weights
from estimhank.support.errors import ResultsError, StorageError
from estimhank.support.files import read_arrays, read_json, replacing, write_json
from estimhank.surrogate.cliff_map import CliffArrays, cliff_inputs
from estimhank.surrogate.feasibility import Edge, cut_off, uncorrected_edge
from estimhank.surrogate.quadratic import Quadratic
from estimhank.surrogate.trust_region import TrustRegion, hold_inside, outside, penalty

Array = NDArray[np.float64]

ARRAYS, DESCRIPTION = "surrogate.npz", "surrogate.json"
_FORMAT = 8
_NESTED = ("networks", "cliffs", "edge")  # of the parameters: kept under names of their own
#: Log points taken off per squared log point of standard deviation between the networks.
DISAGREEMENT = 2.0
_EDGE_ARRAYS = tuple(name for name in Edge._fields if name != "network")
_NUMBERS = (64, 512, 1024)  # of points that are computed at once: one of these, or a multiple of the last
_WIDER = 1.5  # multiple of the trust region's radius up to which the uncorrected surrogate goes


class SurrogateArrays(NamedTuple):
    """What the pure functions read, single precision.

    Attributes
    ----------
    linear, quadratic : array of shape (d,), (d, d)
        Of the base.
    networks : tuple of weights
        One for each of the ensemble's K networks.
    scale : scalar
        Log points for a unit of the networks' output.
    landmarks, radius, strength : array of shape (m, d), scalar, scalar
        Of the trust region and of the penalty outside it.
    disagreement : scalar
        Multiple of the variance between the networks that is taken off.
    cliffs : CliffArrays
        Where the density may fall from one.
    edge : Edge
        Where it ends.
    power : scalar
        Degrees of freedom + d of the base's tails, infinite for a normal.
    """

    linear: jax.Array
    quadratic: jax.Array
    networks: tuple[Weights, ...]
    scale: jax.Array
    landmarks: jax.Array
    radius: jax.Array
    strength: jax.Array
    disagreement: jax.Array
    cliffs: CliffArrays
    edge: Edge
    power: jax.Array | float = math.inf


class Shape(NamedTuple):
    """What compiled code depends on: hidden layers, activation, the degree of the polynomials that say where cliffs
    are, whether the base has heavy tails, and the layers of the classifier that says where the density exists (none:
    everywhere)."""

    hidden: tuple[int, ...]
    activation: str
    cliff_degree: int = 0
    heavy: bool = False
    edge: tuple[int, ...] = ()


def each_log_density(parameters: SurrogateArrays, z: jax.Array, shape: Shape) -> jax.Array:
    """Log density by each network on its own, without the constant, shape (K, n)."""
    held, beyond = hold_inside(z, parameters.landmarks, parameters.radius)
    base = z @ parameters.linear + 0.5 * jnp.sum((z @ parameters.quadratic) * z, axis=-1)
    if shape.heavy:
        base = -0.5 * parameters.power * jnp.log1p(-2 * base / parameters.power)
    taken_off = penalty(beyond, parameters.strength, shape.heavy)
    inputs = jnp.concatenate([held, cliff_inputs(parameters.cliffs, held, shape.cliff_degree)], axis=1)
    parts = [evaluate_network(weights, inputs, shape.hidden, shape.activation) for weights in parameters.networks]
    return base - taken_off + parameters.scale * jnp.stack(parts)


def relative_log_density(parameters: SurrogateArrays, z: jax.Array, shape: Shape) -> jax.Array:
    """Log density in whitened coordinates, without its constant; shape (n, d) to (n,), single precision."""
    each = each_log_density(parameters, z, shape)
    value = each.mean(axis=0) - parameters.disagreement * each.var(axis=0)
    if not shape.edge:
        return value
    held, _ = hold_inside(z, parameters.landmarks, parameters.radius)
    return cut_off(parameters.edge, held, value, shape.edge)


_relative = partial(jax.jit, static_argnames="shape")(relative_log_density)
_each = partial(jax.jit, static_argnames="shape")(each_log_density)


def relative_values(parameters: SurrogateArrays, z: ArrayLike, shape: Shape) -> NDArray[np.float32]:
    """What :func:`relative_log_density` gives, compiled for few numbers of points n only."""
    points = np.asarray(z, np.float32)
    values: NDArray[np.float32] = np.asarray(_relative(parameters, _filled(points), shape))[: len(points)]
    return values


def _filled(z: NDArray[np.float32]) -> NDArray[np.float32]:
    """Points (n, d) and more of the last, up to one of few numbers: each other number would be compiled anew."""
    size = next((some for some in _NUMBERS if len(z) <= some), -(-len(z) // _NUMBERS[-1]) * _NUMBERS[-1])
    return np.concatenate([z, np.broadcast_to(z[-1:], (size - len(z), z.shape[1]))]) if len(z) else z


@dataclass(frozen=True)
class Surrogate:
    """A trained surrogate of the log density of the unconstrained coordinates x (log Jacobian included).

    Attributes
    ----------
    names : tuple of str
        Parameter names.
    fingerprint : mapping of str to str
        Of the target it stands for.
    center : ndarray of shape (d,)
        Origin of the whitened coordinates.
    root : ndarray of shape (d, d)
        x = center + root z; a permutation of its rows is lower triangular.
    constant : float
        Log density of the quadratic at the centre.
    parameters : SurrogateArrays
        Everything else, single precision.
    shape : Shape
        Of the networks.
    modes : ndarray of shape (m, d)
        Local modes that matter, coordinates x: exact chains start there too.
    known : ndarray of shape (k, d)
        Some of the training points near the posterior, coordinates x: exact chains fall back on them for a start.
    training_evaluations : int
        Exact evaluations made until it was trained, those of mode search and sampling included.
    """

    names: tuple[str, ...]
    fingerprint: Mapping[str, str]
    center: Array
    root: Array
    constant: float
    parameters: SurrogateArrays
    shape: Shape
    modes: Array
    known: Array
    training_evaluations: int

    @property
    def dimension(self) -> int:
        """Number of parameters d."""
        return len(self.center)

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the tails, infinite where they are normal."""
        return float(self.parameters.power) - self.dimension if self.shape.heavy else math.inf

    @cached_property
    def trust_region(self) -> TrustRegion:
        """The trust region, in whitened coordinates."""
        p = self.parameters
        return TrustRegion(np.asarray(p.landmarks, float), float(p.radius), float(p.strength))

    @property
    def quadratic(self) -> Quadratic:
        """What the networks add to, in whitened coordinates."""
        p = self.parameters
        return Quadratic(self.constant, np.asarray(p.linear, float), np.asarray(p.quadratic, float), float(p.power))

    def whiten(self, x: ArrayLike) -> NDArray[np.float32]:
        """Whitened coordinates, single precision, of x; shape (n, d)."""
        return whiten(np.asarray(x, float), self.center, self.root).astype(np.float32)

    def unwhiten(self, z: ArrayLike) -> Array:
        """Coordinates x, double precision, of whitened ones; shape (..., d)."""
        return self.center + np.asarray(z, float) @ self.root.T

    def log_density(self, x: ArrayLike) -> Array:
        """Log density of coordinates x; shape (n, d) to (n,)."""
        return self.constant + relative_values(self.parameters, self.whiten(x), self.shape).astype(float)

    def spread(self, x: ArrayLike) -> Array:
        """Standard deviation between the networks (each centred over the points), shape (n,); zeros for one network."""
        z = self.whiten(x)
        each = np.asarray(_each(self.parameters, _filled(z), self.shape), float)[:, : len(z)]
        if len(each) == 1:
            return np.zeros(each.shape[1])
        centred = each - each.mean(axis=1, keepdims=True)
        return centred.std(axis=0, ddof=1)

    def with_penalty_strength(self, strength: float) -> Surrogate:
        """The same surrogate with a steeper or flatter penalty outside the trust region."""
        return replace(self, parameters=self.parameters._replace(strength=jnp.asarray(strength, jnp.float32)))

    def with_edge(self, edge: Edge, hidden: tuple[int, ...]) -> Surrogate:
        """The same surrogate, cut off where a classifier with these layers says that there is no density."""
        return replace(
            self, parameters=self.parameters._replace(edge=edge), shape=self.shape._replace(edge=tuple(hidden))
        )

    def uncorrected(self) -> Surrogate:
        """The uncorrected surrogate: no lower confidence bound, a wider trust region and edge.

        Only for choosing points to evaluate: its draws go where there may be mass that the surrogate, having no draws
        there, would never be told of.
        """
        p = self.parameters
        uncorrected = p._replace(
            disagreement=jnp.zeros_like(p.disagreement), radius=_WIDER * p.radius, edge=uncorrected_edge(p.edge)
        )
        return replace(self, parameters=uncorrected)

    def outside(self, x: ArrayLike, factor: float = 1.0) -> NDArray[np.bool_]:
        """Which points, shape (n, d), are outside the trust region, or outside ``factor`` times its radius."""
        return outside(self.trust_region, whiten(np.asarray(x, float), self.center, self.root), factor)


def whiten(x: Array, center: Array, root: Array) -> Array:
    """Solve root z = x - center for each row; shape (n, d)."""
    return np.linalg.solve(root, (x - center).T).T


def save_surrogate(surrogate: Surrogate, folder: Path | str) -> tuple[Path, Path]:
    """Write ``surrogate.npz`` (numbers) and ``surrogate.json`` (what they mean), each whole or not at all."""
    folder, p = Path(folder), surrogate.parameters
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in p._asdict().items() if name not in _NESTED}
    arrays |= {
        "center": surrogate.center,
        "root": surrogate.root,
        "anchors": surrogate.modes,
        "known": surrogate.known,
    }
    arrays |= {f"cliffs/{name}": np.asarray(value) for name, value in p.cliffs._asdict().items()}
    arrays |= {f"edge/{name}": np.asarray(getattr(p.edge, name)) for name in _EDGE_ARRAYS}
    arrays |= {f"edge/network/{name}": value for name, value in flatten_weights(p.edge.network).items()}
    for k, weights in enumerate(p.networks):
        arrays |= {f"network/{k}/{name}": value for name, value in flatten_weights(weights).items()}
    with replacing(folder / ARRAYS) as path:
        np.savez(path, **arrays)
    description = {
        "format": _FORMAT,
        "names": surrogate.names,
        "fingerprint": surrogate.fingerprint,
        "hidden": surrogate.shape.hidden,
        "activation": surrogate.shape.activation,
        "cliff_degree": surrogate.shape.cliff_degree,
        "heavy": surrogate.shape.heavy,
        "edge": surrogate.shape.edge,
        "networks": len(p.networks),
        "constant": surrogate.constant,
        "training_evaluations": surrogate.training_evaluations,
    }
    return folder / ARRAYS, write_json(folder / DESCRIPTION, description)


def load_surrogate(folder: Path | str, fingerprint: Mapping[str, str] | None = None) -> Surrogate:
    """Read what :func:`save_surrogate` wrote.

    Parameters
    ----------
    folder : path
    fingerprint : mapping, optional
        That of the target at hand; a surrogate of another one is refused.

    Raises
    ------
    StorageError
        If the files cannot be read or do not belong together.
    ResultsError
        If the surrogate stands for another target; the sentence says which part differs.
    """
    folder = Path(folder)
    description = read_json(folder / DESCRIPTION)
    try:
        surrogate = _assemble(description, read_arrays(folder / ARRAYS))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise StorageError(f"cannot read {folder / ARRAYS}: it is not a surrogate ({error!r})") from error
    if fingerprint is not None and dict(fingerprint) != dict(surrogate.fingerprint):
        parts = sorted({*fingerprint, *surrogate.fingerprint})
        other = [part for part in parts if fingerprint.get(part) != surrogate.fingerprint.get(part)]
        raise ResultsError(f"the surrogate in {folder} was trained on another {', '.join(other)}")
    return surrogate


def _assemble(description: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Surrogate:
    if description["format"] != _FORMAT:
        raise ValueError(f"format {description['format']}")

    def nested(prefix: str) -> Weights:
        return unflatten_weights({n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)})

    networks = [nested(f"network/{k}/") for k in range(int(description["networks"]))]
    edge = Edge(
        network=nested("edge/network/"), **{n: jnp.asarray(arrays[f"edge/{n}"], jnp.float32) for n in _EDGE_ARRAYS}
    )
    single = {name: jnp.asarray(arrays[name], jnp.float32) for name in SurrogateArrays._fields if name not in _NESTED}
    cliffs = CliffArrays(*(jnp.asarray(arrays[f"cliffs/{name}"], jnp.float32) for name in CliffArrays._fields))
    return Surrogate(
        names=tuple(description["names"]),
        fingerprint=dict(description["fingerprint"]),
        center=arrays["center"],
        root=arrays["root"],
        constant=float(description["constant"]),
        parameters=SurrogateArrays(networks=tuple(networks), cliffs=cliffs, edge=edge, **single),
        shape=Shape(
            tuple(description["hidden"]),
            str(description["activation"]),
            int(description["cliff_degree"]),
            bool(description["heavy"]),
            tuple(description["edge"]),
        ),
        modes=arrays["anchors"],
        known=arrays["known"],
        training_evaluations=int(description["training_evaluations"]),
    )
