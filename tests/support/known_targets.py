"""Densities whose draws are known exactly, evaluated in memory, for tests of surrogate and exact correction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from estimhank.sampling.evaluations import EvaluationBatch
from estimhank.target import REASONS, Evaluation
from estimhank.transform import Transform

OUTSIDE = REASONS.index("outside_support")


@dataclass(frozen=True)
class KnownTarget:
    """A log density of natural parameters with exact draws; ``-inf`` is reported as outside the support."""

    label: str
    log_pdf: Callable[[jax.Array], jax.Array]
    sample: Callable[[np.random.Generator, int], np.ndarray]
    transform: Transform

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"p{i}" for i in range(self.transform.dimension))

    @property
    def fingerprint(self) -> dict[str, str]:
        return {"model": self.label}

    @cached_property
    def _compiled(self) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
        return jax.jit(jax.vmap(jax.value_and_grad(self.log_pdf)))

    def batch(self, theta: np.ndarray, gradient: bool = False) -> EvaluationBatch:
        """Evaluations at theta of shape (n, d), padded to few lengths so that little is compiled."""
        theta = np.asarray(theta, float)
        n, d = theta.shape
        size = 64 if n <= 64 else -(-n // 1024) * 1024
        value, slope = self._compiled(np.concatenate([theta, np.repeat(theta[:1], size - n, axis=0)]))
        value, slope = np.asarray(value)[:n].copy(), np.asarray(slope)[:n].copy()
        fine = np.isfinite(value)
        slope[~fine] = np.nan
        return EvaluationBatch(
            theta=theta,
            log_likelihood=np.where(fine, value + 1.5, -np.inf),
            log_prior=np.full(n, -1.5),
            reason=np.where(fine, 0, OUTSIDE).astype(np.uint8),
            seconds=np.zeros(n, np.float32),
            gradient=slope if gradient else np.full((n, d), np.nan),
        )

    def evaluate(self, theta: np.ndarray, gradient: bool = False) -> Evaluation:
        row = self.batch(np.asarray(theta)[None], gradient)
        slope = row.gradient[0] if gradient and row.ok[0] else None
        return Evaluation(float(row.log_likelihood[0]), float(row.log_prior[0]), REASONS[row.reason[0]], slope)

    def sample_prior(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return self.sample(rng, n)


@dataclass
class Memory:
    """Stands in for a recorder: evaluates at once and keeps every batch."""

    target: KnownTarget
    batches: list[tuple[str, int, EvaluationBatch]] = field(default_factory=list)

    def __call__(self, stage: str, iteration: int, thetas: np.ndarray, gradient: bool = False) -> EvaluationBatch:
        assert (stage, iteration) not in [(s, i) for s, i, _ in self.batches], "a batch number is used once"
        batch = self.target.batch(thetas, gradient)
        self.batches.append((stage, iteration, batch))
        return batch

    def count(self, stage: str) -> int:
        return sum(len(batch) for s, _, batch in self.batches if s == stage)


def candidates(target: KnownTarget, n: int, seed: int = 0, where: Callable | None = None) -> EvaluationBatch:
    """Evaluations like those of a sampling stage: draws of the target, jittered, some of them widely."""
    rng = np.random.default_rng(seed)
    x = target.transform.to_unconstrained(target.sample(rng, 4 * n))
    if where is not None:
        x = x[where(x)]
    root = np.linalg.cholesky(np.cov(x.T) + 1e-12 * np.eye(x.shape[1]))
    width = rng.choice([0.3, 0.8, 1.5], n)
    moved = x[:n] + width[:, None] * rng.standard_normal((n, x.shape[1])) @ root.T
    if where is not None:
        moved = moved[where(moved)]
    return target.batch(target.transform.to_natural(moved), gradient=True)


def mode_of(target: KnownTarget, anchors: tuple[np.ndarray, ...] = (), seed: int = 1) -> SimpleNamespace:
    """What the surrogate stage reads of a mode search: centre, covariance, local modes (coordinates)."""
    x = target.transform.to_unconstrained(target.sample(np.random.default_rng([seed, 9]), 2_000))
    covariance = np.atleast_2d(np.cov(x.T))
    modes = tuple(SimpleNamespace(x=np.asarray(a, float), log_density=0.0) for a in anchors)
    return SimpleNamespace(center_x=x.mean(axis=0), covariance_x=covariance, modes=modes, log_density=0.0)


def _free(d: int) -> Transform:
    return Transform((-np.inf,) * d, (np.inf,) * d)


def correlated_normal(d: int) -> KnownTarget:
    """Normal with correlations up to 0.8 and unequal scales."""
    scales = np.linspace(0.5, 2.0, d)
    correlation = 0.8 ** np.abs(np.subtract.outer(np.arange(d), np.arange(d)))
    root = np.linalg.cholesky(correlation * np.outer(scales, scales))
    inverse = jnp.asarray(np.linalg.inv(root))
    return KnownTarget(
        f"correlated normal {d}",
        lambda t: -0.5 * jnp.sum((inverse @ (t - 1.0)) ** 2),
        lambda rng, n: 1.0 + rng.standard_normal((n, d)) @ root.T,
        _free(d),
    )


def banana(d: int, bend: float = 1.0) -> KnownTarget:
    """Normal bent along its first coordinate: theta_2 + bend (theta_1^2 - 1) is normal."""
    width = 0.6

    def log_pdf(t: jax.Array) -> jax.Array:
        straight = (t[1] + bend * (t[0] ** 2 - 1)) / width
        return -0.5 * (t[0] ** 2 + straight**2 + jnp.sum(t[2:] ** 2))

    def sample(rng: np.random.Generator, n: int) -> np.ndarray:
        t = rng.standard_normal((n, d))
        t[:, 1] = width * t[:, 1] - bend * (t[:, 0] ** 2 - 1)
        return t

    return KnownTarget(f"banana {d} {bend}", log_pdf, sample, _free(d))


def skewed(d: int, bound_known: bool = True) -> KnownTarget:
    """Exponential first coordinate (shape 2 if the bound at zero is known to the transform), the rest normal around it.

    With ``bound_known`` false the density jumps at the bound, which no smooth surrogate can follow.
    """
    shape = 2.0 if bound_known else 1.0

    def log_pdf(t: jax.Array) -> jax.Array:
        inside = jnp.where(t[0] > 0, t[0], 1.0)
        value = (shape - 1) * jnp.log(inside) - inside - 0.5 * jnp.sum((t[1:] - 0.5 * inside) ** 2)
        return jnp.where(t[0] > 0, value, -jnp.inf)

    def sample(rng: np.random.Generator, n: int) -> np.ndarray:
        first = rng.gamma(shape, size=n)
        return np.column_stack([first, 0.5 * first[:, None] + rng.standard_normal((n, d - 1))])

    lower = 0.0 if bound_known else -np.inf
    return KnownTarget(
        f"skewed {d} {bound_known}", log_pdf, sample, Transform((lower,) + (-np.inf,) * (d - 1), (np.inf,) * d)
    )


def two_modes(d: int, apart: float = 6.0) -> KnownTarget:
    """Three tenths of the mass around -apart/2, seven tenths around apart/2, on the first axis."""
    half = apart / 2

    def log_pdf(t: jax.Array) -> jax.Array:
        rest = -0.5 * jnp.sum(t[1:] ** 2)
        low, high = jnp.log(0.3) - 0.5 * (t[0] + half) ** 2, jnp.log(0.7) - 0.5 * (t[0] - half) ** 2
        return rest + jnp.logaddexp(low, high)

    def sample(rng: np.random.Generator, n: int) -> np.ndarray:
        t = rng.standard_normal((n, d))
        t[:, 0] += np.where(rng.random(n) < 0.3, -half, half)
        return t

    return KnownTarget(f"two modes {d} {apart}", log_pdf, sample, _free(d))


def student_t(d: int, freedom: float = 5.0) -> KnownTarget:
    """Multivariate Student t."""

    def log_pdf(t: jax.Array) -> jax.Array:
        return -0.5 * (freedom + d) * jnp.log1p(jnp.sum(t**2) / freedom)

    def sample(rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.standard_normal((n, d)) * np.sqrt(freedom / rng.chisquare(freedom, n))[:, None]

    return KnownTarget(f"student {d} {freedom}", log_pdf, sample, _free(d))
