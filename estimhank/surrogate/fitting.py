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
from estimhank.networks.training import (
    TrainingError,
    ensemble_losses,
    examples,
    padded,
    select,
    train_ensemble,
)
from estimhank.surrogate.cliff_finder import CliffFinder
from estimhank.surrogate.cliff_map import CliffArrays, no_cliffs
from estimhank.surrogate.feasibility import no_edge
from estimhank.surrogate.points import (
    Points,
    deepest,
    depth_weights,
    far_below,
    near_posterior,
    typical_depth,
    usable,
)
from estimhank.surrogate.policy import SURROGATE_POLICY as POLICY
from estimhank.surrogate.quadratic import Quadratic, fit_base
from estimhank.surrogate.stage_config import SurrogateConfig
from estimhank.surrogate.surrogate import DISAGREEMENT, Shape, Surrogate, SurrogateArrays, whiten
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

    @classmethod
    def from_draws(cls, x: Array, steady_state: NDArray[np.bool_] | None = None) -> Whitening | None:
        """Whitening by draws of shape (n, d); none where they are few or do not span the space."""
        n, d = x.shape
        if n < POLICY.draws_to_whiten * d:
            return None
        covariance = np.atleast_2d(np.cov(x.T))
        share = d / (n + d)
        covariance = (1 - share) * covariance + share * np.diag(np.diag(covariance))
        if not np.isfinite(covariance).all() or np.linalg.eigvalsh(covariance).min() <= 1e-12:
            return None
        return cls.from_moments(x.mean(axis=0), covariance, steady_state)

    def __call__(self, x: Array) -> Array:
        """Whitened coordinates of x, shape (n, d)."""
        return whiten(x, self.center, self.root) if len(x) else x

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


class _Begin(NamedTuple):
    """What networks add to and begin from: coordinates, base, log points for a unit of output, weights; the last two
    are still to be found where they are none."""

    whitening: Whitening
    quadratic: Quadratic
    scale: float | None = None
    networks: tuple[Weights, ...] = ()


@dataclass(frozen=True)
class Fitter:
    """Fits surrogates of one target.

    Attributes
    ----------
    target : Target
        Its names and fingerprint go with a surrogate.
    config : SurrogateConfig
    finder : CliffFinder, optional
        Knows where the density may fall from a cliff.
    workers : Workers, optional
        Train the networks, side by side; by default this process does, one after the other.
    """

    target: Target
    config: SurrogateConfig
    finder: CliffFinder | None = None
    workers: Workers | None = None

    def fit(
        self, points: Points, whitening: Whitening, epochs: int, seed: int, tick: Callable[[float], None] | None = None
    ) -> tuple[Surrogate, FitReport]:
        """Fit a base to points, and networks to what it leaves.

        Parameters
        ----------
        points : Points
        whitening : Whitening
        epochs, seed : int
        tick : callable, optional
            Told the share of the training that is done.

        Raises
        ------
        TrainingError
            If there are too few points, or training does not succeed.
        """
        if len(points) < _FEWEST:
            raise TrainingError(f"a surrogate needs {_FEWEST} points with a finite density, there are {len(points)}")
        chosen = self._usable(points)
        z, gradient = whitening(chosen.x), whitening.gradients(chosen.gradient)
        weight = depth_weights(chosen.log_density, z.shape[1], self.config.depth_weight)
        base = fit_base(z, chosen.log_density, gradient, weight)
        return self._train(points, _Begin(whitening, base), epochs, seed, tick)

    def go_on(
        self, surrogate: Surrogate, points: Points, epochs: int, seed: int, tick: Callable[[float], None] | None = None
    ) -> tuple[Surrogate, FitReport]:
        """Let the networks of a surrogate learn from more points; the rest of it stays but for the trust region.

        It must have been trained with this ``finder`` as it is; parameters and errors are those of :meth:`fit`.
        """
        scale, networks = float(surrogate.parameters.scale), surrogate.parameters.networks
        whitening = Whitening(surrogate.center, surrogate.root)
        return self._train(points, _Begin(whitening, surrogate.quadratic, scale, networks), epochs, seed, tick)

    def _usable(self, points: Points) -> Points:
        return usable(points, self.config.drop_lowest, self.config.max_points)

    def _train(
        self, points: Points, begin: _Begin, epochs: int, seed: int, tick: Callable[[float], None] | None
    ) -> tuple[Surrogate, FitReport]:
        config, (whitening, quadratic, scale, networks) = self.config, begin
        chosen = self._usable(points)
        z, d = whitening(chosen.x), chosen.x.shape[1]
        weight = depth_weights(chosen.log_density, d, config.depth_weight, quadratic.freedom)
        near = near_posterior(chosen, quadratic.freedom)
        rest = chosen.log_density - quadratic.value(z)
        rest_gradient = whitening.gradients(chosen.gradient) - quadratic.gradient(z)
        if scale is None:
            scale = max(float(np.sqrt(np.average(rest**2, weights=weight))), 1e-6)
        heavy = not math.isinf(quadratic.power)
        trust_region = build_trust_region(z[near], seed=seed, heavy=heavy)
        bounds = _upper_bounds(points, chosen, begin, trust_region, config)
        beside = self._beside(np.concatenate([chosen.x, whitening.center + bounds.z @ whitening.root.T]))
        inputs = np.concatenate([np.concatenate([z, bounds.z]), beside], axis=1)
        # upper bounds have none; what is beside does not move with the coordinates along which gradients are known
        gradients = np.full(inputs.shape, np.nan)
        gradients[: len(z), :d] = rest_gradient / scale
        values, weights = np.concatenate([rest, bounds.value]), np.concatenate([weight, bounds.weight])
        data = examples(inputs, values / scale, gradients, weights, np.arange(len(inputs)) >= len(z))
        kept_out = _kept_out(chosen.x, config.holdout)
        learned = np.setdiff1d(np.arange(len(chosen)), kept_out)
        rows = np.concatenate([learned, np.arange(len(chosen), len(data.z))])
        workers = self.workers or InTurn(self.target)
        networks, losses = train_ensemble(data, rows, config, epochs, seed, workers, tick, networks)
        cliffs = self.finder.map if self.finder else None
        surrogate = Surrogate(
            names=self.target.names,
            fingerprint=dict(self.target.fingerprint),
            center=whitening.center,
            root=whitening.root,
            constant=quadratic.constant,
            parameters=_parameters(
                quadratic,
                networks,
                scale,
                trust_region,
                cliffs.arrays(whitening.center, whitening.root) if cliffs else no_cliffs(d),
            ),
            shape=Shape(config.hidden, config.activation, cliffs.degree if cliffs else 0, heavy),
            modes=np.empty((0, d)),
            known=_thin(chosen.x[near]),
            training_evaluations=0,
        )
        test = padded(select(data, kept_out))
        value_error, gradient_error = ensemble_losses(networks, test, config.hidden, config.activation)
        return surrogate, FitReport(
            points=len(chosen) - len(kept_out),
            with_gradient=int(np.delete(chosen.has_gradient, kept_out).sum()),
            infeasible=bounds.infeasible,
            far_below=len(bounds.z) - bounds.infeasible,
            held_out=len(kept_out),
            dropped_low=len(points) - len(chosen),
            quadratic_rmse=float(np.sqrt(np.average(rest[kept_out] ** 2, weights=weight[kept_out]))),
            value_rmse=scale * float(value_error),
            gradient_rmse=scale * float(gradient_error) if bool(test.known.any()) else float("nan"),
            losses=losses,
        )

    def _beside(self, x: Array) -> Array:
        """Inputs about cliffs at points of shape (n, d), beside their coordinates."""
        if self.finder is None or self.finder.map is None:
            return np.zeros((len(x), 0))
        return (self.finder.distances(x) > 0).astype(float)


def _kept_out(x: Array, share: float) -> NDArray[np.int64]:
    """Which points, shape (n, d), are kept out of every fit: decided by their coordinates alone, so that a fit that
    goes on from another one is not judged by what that one has learned."""
    digest = np.array([crc32(point.tobytes()) for point in x])
    kept_out = np.flatnonzero(digest < share * 2**32)
    return kept_out if len(kept_out) else digest.argmin(keepdims=True)


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
    points: Points, chosen: Points, begin: _Begin, trust_region: TrustRegion, config: SurrogateConfig
) -> _UpperBounds:
    """Places inside the trust region with no density, or with one far too low for its value to be learned.

    A smooth function cannot jump to minus infinity, but it can fall to where posterior draws do not go. Without those
    far below, a surrogate that is too high somewhere would never be told: its draws there would be dropped again and
    again.
    """
    whitening, quadratic, *_ = begin
    d, top = points.x.shape[1], float(chosen.log_density.max())
    columns = []
    for x, depth in (
        (points.infeasible, typical_depth(d, quadratic.freedom)),
        (far_below(points, config.max_points), deepest(d)),
    ):
        z = whitening(x)
        z = z[~outside(trust_region, z)]
        highest = np.full(len(z), top - depth)
        weight = depth_weights(np.append(highest, top), d, config.depth_weight, quadratic.freedom)[:-1]
        columns.append((z, highest - quadratic.value(z), weight))
    z, value, weight = (np.concatenate(column) for column in zip(*columns, strict=True))
    return _UpperBounds(z, value, weight, len(columns[0][0]))


def _parameters(
    quadratic: Quadratic,
    networks: tuple[Weights, ...],
    scale: float,
    trust_region: TrustRegion,
    cliffs: CliffArrays,
) -> SurrogateArrays:
    def single(value: Array | float) -> jnp.ndarray:
        return jnp.asarray(value, jnp.float32)

    d = len(quadratic.linear)
    return SurrogateArrays(
        linear=single(quadratic.linear),
        quadratic=single(quadratic.matrix),
        networks=networks,
        scale=single(scale),
        # repeated where there are few, which changes nothing: another number would be compiled anew
        landmarks=single(np.resize(trust_region.landmarks, (LANDMARKS, d))),
        radius=single(trust_region.radius),
        strength=single(trust_region.strength),
        disagreement=single(DISAGREEMENT),
        cliffs=cliffs,
        edge=no_edge(d),
        power=single(quadratic.power),
    )
