"""From points to a surrogate: whiten, fit the quadratic, train the networks on what is left, build the trust region."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from estimhank.evaluation.workers import InTurn, Workers
from estimhank.networks.mlp import Weights
from estimhank.surrogate.feasibility import no_edge
from estimhank.surrogate.jump_finder import JumpFinder
from estimhank.surrogate.jump_map import features_of, no_jumps
from estimhank.surrogate.points import (
    Points,
    deepest,
    depth_weights,
    far_below,
    near_posterior,
    typical_depth,
    usable,
)
from estimhank.surrogate.quadratic import Quadratic, fit_base
from estimhank.surrogate.stage_config import SurrogateConfig
from estimhank.surrogate.surrogate import DISAGREEMENT, Shape, Surrogate, SurrogateArrays, whiten
from estimhank.surrogate.training import (
    Examples,
    TrainingError,
    ensemble_losses,
    examples,
    padded,
    select,
    train_ensemble,
)
from estimhank.surrogate.trust_region import LANDMARKS, TrustRegion, build_trust_region, outside
from estimhank.target.protocol import Target

Array = NDArray[np.float64]

_FEWEST = 20
_KNOWN = 64  # training points that go with the surrogate


@dataclass(frozen=True)
class Whitening:
    """Affine map x = center + root z to coordinates in which the posterior is near standard normal.

    Attributes
    ----------
    center : ndarray of shape (d,)
    root : ndarray of shape (d, d)
        A permutation of its rows is lower triangular.
    """

    center: Array
    root: Array

    @classmethod
    def from_moments(cls, mean: Array, covariance: Array, steady_state: NDArray[np.bool_] | None = None) -> Whitening:
        """Whitening by a mean and a covariance; ``LinAlgError`` if the latter is not positive definite.

        A step along a whitened coordinate moves its own x and those that come after it. The ``steady_state`` ones,
        shape (d,), come first: where a gradient leaves them out it still gives the derivatives along all later
        coordinates.
        """
        d = len(mean)
        order = np.argsort(np.zeros(d, bool) if steady_state is None else ~steady_state, kind="stable")
        root = np.empty((d, d))
        root[order] = np.linalg.cholesky(np.asarray(covariance)[np.ix_(order, order)])
        return cls(np.array(mean, float), root)

    def gradients(self, gradient: Array) -> Array:
        """Gradients in z from gradients in x, both (n, d), nan where they are not known."""
        missing = ~np.isfinite(gradient)
        in_z = np.where(missing, 0.0, gradient) @ self.root
        return np.where(missing @ (self.root != 0), np.nan, in_z)


@dataclass(frozen=True)
class FitReport:
    """How one fit went.

    Attributes
    ----------
    points, with_gradient, held_out : int
        Points in the fit, those of them with a gradient, and those kept out of it.
    infeasible, far_below : int
        Points without a density, and points far too low for their value to say anything, at which the surrogate is kept
        low.
    dropped_low : int
        Points left out because their density is too low.
    quadratic_rmse : float
        Weighted error of the quadratic alone on the points kept out, log points.
    value_rmse, gradient_rmse : float
        The surrogate's there: log points, and log points per posterior standard deviation (nan without gradients).
    losses : ndarray of shape (networks, calls)
        The training loss as it fell.
    """

    points: int
    with_gradient: int
    held_out: int
    infeasible: int
    far_below: int
    dropped_low: int
    quadratic_rmse: float
    value_rmse: float
    gradient_rmse: float
    losses: Array


def fit_surrogate(
    points: Points,
    whitening: Whitening,
    target: Target,
    config: SurrogateConfig,
    epochs: int,
    seed: int,
    tick: Callable[[float], None] | None = None,
    finder: JumpFinder | None = None,
    workers: Workers | None = None,
    begin: Surrogate | None = None,
) -> tuple[Surrogate, FitReport]:
    """Fit a surrogate to points.

    Parameters
    ----------
    points : Points
    whitening : Whitening
    target : Target
        Its names and fingerprint go with the surrogate.
    config : SurrogateConfig
    epochs : int
    seed : int
    tick : callable, optional
        Told the share of the training that is done.
    finder : JumpFinder, optional
        Knows where the density may jump.
    workers : Workers, optional
        Train the networks, side by side; by default this process does, one after the other.
    begin : Surrogate, optional
        A surrogate with this whitening and trained with this ``finder``, to go on from: its networks learn from the
        points, the rest of it stays but for the trust region.

    Raises
    ------
    TrainingError
        If there are too few points, or training does not succeed.
    """
    if len(points) < _FEWEST:
        raise TrainingError(f"a surrogate needs {_FEWEST} points with a finite density, there are {len(points)}")
    chosen = usable(points, config.drop_lowest, config.max_points)
    d = points.x.shape[1]
    z = whiten(chosen.x, whitening.center, whitening.root)
    gradient = whitening.gradients(chosen.gradient)
    weight = depth_weights(chosen.log_density, d, config.depth_weight)
    quadratic = begin.quadratic if begin else fit_base(z, chosen.log_density, gradient, weight)
    heavy = not math.isinf(quadratic.power)
    if heavy:  # draws of it reach deeper
        weight = depth_weights(chosen.log_density, d, config.depth_weight, quadratic.freedom)
    near = near_posterior(chosen, quadratic.freedom)
    rest, rest_gradient = chosen.log_density - quadratic.value(z), gradient - quadratic.gradient(z)
    scale = max(float(np.sqrt(np.average(rest**2, weights=weight))), 1e-6)
    if begin:
        scale = float(begin.parameters.scale)
    trust_region = build_trust_region(z[near], seed=seed, heavy=heavy)
    upper_bounds = _upper_bounds(points, chosen, whitening, quadratic, trust_region, config)
    jump_map = finder.map if finder else None
    beside = _beside(np.concatenate([chosen.x, whitening.center + upper_bounds.z @ whitening.root.T]), finder)
    data = _examples((z, rest / scale, rest_gradient / scale, weight), upper_bounds, scale, beside)
    kept_out = _kept_out(chosen.x, config.holdout)
    learned = np.setdiff1d(np.arange(len(chosen)), kept_out)
    rows = np.concatenate([learned, np.arange(len(chosen), len(chosen) + len(upper_bounds.z))])
    networks, losses = train_ensemble(
        data, rows, config, epochs, seed, workers or InTurn(target), tick, begin.parameters.networks if begin else ()
    )
    surrogate = Surrogate(
        names=target.names,
        fingerprint=dict(target.fingerprint),
        center=whitening.center,
        root=whitening.root,
        constant=quadratic.constant,
        parameters=_parameters(quadratic, networks, scale, trust_region)._replace(
            jumps=jump_map.arrays(whitening.center, whitening.root) if jump_map else no_jumps(d)
        ),
        shape=Shape(config.hidden, config.activation, jump_map.degree if jump_map else 0, heavy),
        modes=np.empty((0, d)),
        known=_thin(chosen.x[near]),
        training_evaluations=0,
    )
    test = padded(select(data, kept_out))
    errors = ensemble_losses(networks, test, surrogate.shape)
    known = bool(test.known.any())
    return surrogate, FitReport(
        points=len(chosen) - len(kept_out),
        with_gradient=int(np.delete(chosen.has_gradient, kept_out).sum()),
        infeasible=upper_bounds.infeasible,
        far_below=len(upper_bounds.z) - upper_bounds.infeasible,
        held_out=len(kept_out),
        dropped_low=len(points) - len(chosen),
        quadratic_rmse=float(np.sqrt(np.average(rest[kept_out] ** 2, weights=weight[kept_out]))),
        value_rmse=scale * float(errors.value),
        gradient_rmse=scale * float(errors.gradient) if known else float("nan"),
        losses=losses,
    )


def _kept_out(x: Array, share: float) -> NDArray[np.int64]:
    """Which points, shape (n, d), are kept out of every fit: decided by their coordinates alone, so that a fit that
    goes on from another one is not judged by what that one has learned."""
    digest = np.array([crc32(point.tobytes()) for point in x])
    kept_out = np.flatnonzero(digest < share * 2**32)
    return kept_out if len(kept_out) else digest.argmin(keepdims=True)


def _beside(x: Array, finder: JumpFinder | None) -> Array:
    if finder is None or finder.map is None:
        return np.zeros((len(x), 0))
    return np.asarray(features_of(*jnp.asarray(finder.places(x))), float)


def _thin(x: Array) -> Array:
    found: Array = x[np.linspace(0, len(x) - 1, min(len(x), _KNOWN)).astype(int)]
    return found


class _UpperBounds(NamedTuple):
    """Upper-bound targets: whitened points (m, d), bounds above the base (m,), weights (m,); the first ``infeasible``
    are infeasible points."""

    z: Array
    value: Array
    weight: Array
    infeasible: int


def _upper_bounds(
    points: Points,
    chosen: Points,
    whitening: Whitening,
    quadratic: Quadratic,
    trust_region: TrustRegion,
    config: SurrogateConfig,
) -> _UpperBounds:
    """Places inside the trust region with no density, or with one far too low for its value to be learned.

    A smooth function cannot jump to minus infinity, but it can fall to where posterior draws do not go. Without those
    far below, a surrogate that is too high somewhere would never be told: its draws there would be dropped again and
    again.
    """
    d, top = points.x.shape[1], float(chosen.log_density.max())
    columns = []
    for x, depth in (
        (points.infeasible, typical_depth(d, quadratic.freedom)),
        (far_below(points, config.max_points), deepest(d)),
    ):
        z = whiten(x, whitening.center, whitening.root) if len(x) else np.empty((0, d))
        z = z[~outside(trust_region, z)]
        highest = np.full(len(z), top - depth)
        weight = depth_weights(np.append(highest, top), d, config.depth_weight, quadratic.freedom)[:-1]
        columns.append((z, highest - quadratic.value(z), weight))
    z, value, weight = (np.concatenate(column) for column in zip(*columns, strict=True))
    return _UpperBounds(z, value, weight, len(columns[0][0]))


def _examples(
    columns: tuple[Array, Array, Array, Array], upper_bounds: _UpperBounds, scale: float, beside: Array
) -> Examples:
    """Examples of points (inputs, values, gradients, weights) and then of upper-bound targets; ``beside`` are inputs
    about jumps.

    These do not move with the coordinates along which gradients are known.
    """
    z, rest, gradient, weight = columns
    everywhere = np.concatenate([z, upper_bounds.z])
    gradients = np.concatenate([gradient, np.full_like(upper_bounds.z, np.nan)])
    return examples(
        np.concatenate([everywhere, beside], axis=1),
        np.concatenate([rest, upper_bounds.value / scale]),
        np.concatenate([gradients, np.full_like(beside, np.nan)], axis=1),
        np.concatenate([weight, upper_bounds.weight]),
        np.arange(len(z) + len(upper_bounds.z)) >= len(z),
    )


def _parameters(
    quadratic: Quadratic, networks: tuple[Weights, ...], scale: float, trust_region: TrustRegion
) -> SurrogateArrays:
    def single(value: Array | float) -> jnp.ndarray:
        return jnp.asarray(value, jnp.float32)

    return SurrogateArrays(
        linear=single(quadratic.linear),
        quadratic=single(quadratic.matrix),
        networks=networks,
        scale=single(scale),
        # repeated where there are few, which changes nothing: another number would be compiled anew
        landmarks=single(np.resize(trust_region.landmarks, (LANDMARKS, len(quadratic.linear)))),
        radius=single(trust_region.radius),
        strength=single(trust_region.strength),
        disagreement=single(DISAGREEMENT),
        jumps=no_jumps(len(quadratic.linear)),
        edge=no_edge(len(quadratic.linear)),
        power=single(quadratic.power),
    )
