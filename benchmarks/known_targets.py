"""Densities whose draws are known exactly: what the tests of surrogate and exact stage, and the zoo, compare with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np

from estimhank.evaluation.evaluations import EvaluationBatch
from estimhank.target.protocol import REASONS, Capabilities, Evaluation, GradientLike
from estimhank.target.transform import Transform

OUTSIDE = REASONS.index("outside_support")


@dataclass(frozen=True)
class KnownTarget(Capabilities):
    """A log density of natural parameters with independent draws; ``-inf`` is reported as outside the support.

    Attributes
    ----------
    label : str
    log_pdf : callable
        Log density of (d,), up to a constant, in JAX operations.
    sample : callable
        ``sample(rng, n)``: independent draws, shape (n, d).
    transform : Transform
    start, spread : tuple of float, or float
        What a user would say of it: a point with a density, and a rough scale.
    """

    label: str
    log_pdf: Callable[[jax.Array], jax.Array]
    sample: Callable[[np.random.Generator, int], np.ndarray]
    transform: Transform
    start: tuple[float, ...] | float = 0.0
    spread: tuple[float, ...] | float = 1.0

    @property
    def names(self) -> tuple[str, ...]:
        """``p0``, ``p1``, ..."""
        return tuple(f"p{i}" for i in range(self.transform.dimension))

    @property
    def fingerprint(self) -> dict[str, str]:
        """The label, which no two densities share."""
        return {"model": self.label}

    @cached_property
    def _compiled(self) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
        return jax.jit(jax.vmap(jax.value_and_grad(self.log_pdf)))

    def batch(self, theta: np.ndarray, gradient: GradientLike = False) -> EvaluationBatch:
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

    def evaluate(self, theta: np.ndarray, gradient: GradientLike = False) -> Evaluation:
        """Evaluate at a point of shape (d,)."""
        row = self.batch(np.asarray(theta)[None], gradient)
        slope = row.gradient[0] if gradient and row.ok[0] else None
        return Evaluation(float(row.log_likelihood[0]), float(row.log_prior[0]), REASONS[row.reason[0]], slope)

    def sample_prior(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draws of the density itself, shape (n, d)."""
        return self.sample(rng, n)


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
        1.0,
    )


def standard_normal(d: int) -> KnownTarget:
    """Standard normal."""
    return KnownTarget(
        f"standard normal {d}", lambda t: -0.5 * jnp.sum(t**2), lambda rng, n: rng.standard_normal((n, d)), _free(d)
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
    support = Transform((lower,) + (-np.inf,) * (d - 1), (np.inf,) * d)
    return KnownTarget(f"skewed {d} {bound_known}", log_pdf, sample, support, 1.0)


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


def unequal_modes(d: int, apart: float, weight: float) -> KnownTarget:
    """A share ``weight`` of the mass at a distance ``apart`` from the rest, which is around zero, on the first axis."""

    def log_pdf(t: jax.Array) -> jax.Array:
        rest = -0.5 * jnp.sum(t[1:] ** 2)
        here, there = jnp.log(1.0 - weight) - 0.5 * t[0] ** 2, jnp.log(weight) - 0.5 * (t[0] - apart) ** 2
        return rest + jnp.logaddexp(here, there)

    def sample(rng: np.random.Generator, n: int) -> np.ndarray:
        t = rng.standard_normal((n, d))
        t[:, 0] += np.where(rng.random(n) < weight, apart, 0.0)
        return t

    return KnownTarget(f"unequal modes {d} {apart} {weight}", log_pdf, sample, _free(d))


def student_t(d: int, freedom: float = 5.0) -> KnownTarget:
    """Multivariate Student t."""

    def log_pdf(t: jax.Array) -> jax.Array:
        return -0.5 * (freedom + d) * jnp.log1p(jnp.sum(t**2) / freedom)

    def sample(rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.standard_normal((n, d)) * np.sqrt(freedom / rng.chisquare(freedom, n))[:, None]

    return KnownTarget(f"student {d} {freedom}", log_pdf, sample, _free(d))


def long_banana(d: int, sd: float = 10.0, curvature: float = 0.1) -> KnownTarget:
    """Normal of s.d. ``sd`` along the first coordinate, bent: theta_2 + curvature (theta_1^2 - sd^2) is N(0, 1)."""

    def log_pdf(t: jax.Array) -> jax.Array:
        straight = t[1] + curvature * (t[0] ** 2 - sd**2)
        return -0.5 * ((t[0] / sd) ** 2 + straight**2 + jnp.sum(t[2:] ** 2))

    def sample(rng: np.random.Generator, n: int) -> np.ndarray:
        t = rng.standard_normal((n, d))
        t[:, 0] *= sd
        t[:, 1] -= curvature * (t[:, 0] ** 2 - sd**2)
        return t

    return KnownTarget(f"long banana {d}", log_pdf, sample, _free(d))


def product_of_students(d: int, freedom: float = 5.0) -> KnownTarget:
    """Independent Student t coordinates: heavy tails along the axes, no ellipse."""

    def log_pdf(t: jax.Array) -> jax.Array:
        return -0.5 * (freedom + 1) * jnp.sum(jnp.log1p(t**2 / freedom))

    def sample(rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.standard_t(freedom, (n, d))

    return KnownTarget(f"product of students {d} {freedom:g}", log_pdf, sample, _free(d))


def logistic(d: int) -> KnownTarget:
    """Independent logistic coordinates: exponential tails."""

    def log_pdf(t: jax.Array) -> jax.Array:
        return jnp.sum(-t - 2 * jax.nn.softplus(-t))

    return KnownTarget(f"logistic {d}", log_pdf, lambda rng, n: rng.logistic(size=(n, d)), _free(d))


def half_space(d: int) -> KnownTarget:
    """Standard normal where the coordinates sum to something positive; the transform does not know of it."""

    def log_pdf(t: jax.Array) -> jax.Array:
        return jnp.where(jnp.sum(t) > 0, -0.5 * jnp.sum(t**2), -jnp.inf)

    def sample(rng: np.random.Generator, n: int) -> np.ndarray:
        t = rng.standard_normal((n, d))
        return t * np.sign(t.sum(axis=1))[:, None]

    return KnownTarget(f"half space {d}", log_pdf, sample, _free(d), 0.5)


def ordered(d: int) -> KnownTarget:
    """Standard normals in increasing order."""

    def log_pdf(t: jax.Array) -> jax.Array:
        return jnp.where(jnp.all(jnp.diff(t) > 0), -0.5 * jnp.sum(t**2), -jnp.inf)

    def sample(rng: np.random.Generator, n: int) -> np.ndarray:
        return np.sort(rng.standard_normal((n, d)), axis=1)

    return KnownTarget(f"ordered {d}", log_pdf, sample, _free(d), tuple(np.linspace(-1.0, 1.0, d).tolist()))


def disc(radius: float = 1.0) -> KnownTarget:
    """Uniform on a disc."""

    def log_pdf(t: jax.Array) -> jax.Array:
        return jnp.where(jnp.sum(t**2) < radius**2, 0.0 * jnp.sum(t), -jnp.inf)

    def sample(rng: np.random.Generator, n: int) -> np.ndarray:
        angle = rng.uniform(0, 2 * np.pi, n)
        return radius * np.sqrt(rng.random(n))[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])

    return KnownTarget("disc", log_pdf, sample, _free(2), 0.0, radius)


def narrow_beside_wide(place: float = 8.0, sd: float = 0.05) -> KnownTarget:
    """Half of the mass N(0, I), half of it N((place, place), sd^2 I)."""

    def log_pdf(t: jax.Array) -> jax.Array:
        narrow = -0.5 * jnp.sum(((t - place) / sd) ** 2) - 2 * jnp.log(sd)
        return jnp.logaddexp(-0.5 * jnp.sum(t**2), narrow)

    def sample(rng: np.random.Generator, n: int) -> np.ndarray:
        t = rng.standard_normal((n, 2))
        return np.where(rng.random(n)[:, None] < 0.5, t, place + sd * t)

    return KnownTarget(f"narrow beside wide {place:g} {sd:g}", log_pdf, sample, _free(2))


def moving_average(quarters: int = 60) -> KnownTarget:
    """MA(1), x_t = e_t + theta e_{t-1}: (theta, sigma^2) and (1 / theta, theta^2 sigma^2) are the same process.

    In a = log theta and b = log(theta sigma^2) the two are mirror images in a, and standard normal priors of both leave
    two modes of equal mass. Draws are those of the density on a fine grid.
    """
    rng = np.random.default_rng(7)
    noise = rng.standard_normal(quarters + 1)
    data = jnp.asarray(noise[1:] + 0.4 * noise[:-1])

    def log_pdf(t: jax.Array) -> jax.Array:
        # autocovariances sigma^2 (1 + theta^2) = exp(b) (1 / theta + theta), sigma^2 theta = exp(b)
        variance, covariance = jnp.exp(t[1]) * 2 * jnp.cosh(t[0]), jnp.exp(t[1])

        def one(carry: tuple, x: jax.Array) -> tuple:  # one-step predictions of a tridiagonal covariance
            value, before, error = carry
            gain = covariance / before
            spread = variance - covariance * gain
            now = x - gain * error
            return (value - 0.5 * (jnp.log(spread) + now**2 / spread), spread, now), None

        begin = (-0.5 * (jnp.log(variance) + data[0] ** 2 / variance), variance, data[0])
        (value, _, _), _ = jax.lax.scan(one, begin, data[1:])
        return value - 0.5 * jnp.sum(t**2)

    def sample(rng: np.random.Generator, n: int) -> np.ndarray:
        a, b = np.linspace(-4, 4, 641), np.linspace(-3, 2, 501)
        grid = np.stack(np.meshgrid(a, b, indexing="ij"), axis=-1).reshape(-1, 2)
        value = np.asarray(jax.jit(jax.vmap(log_pdf))(jnp.asarray(grid)))
        mass = np.exp(value - value.max())
        picked = rng.choice(len(grid), n, p=mass / mass.sum())
        return grid[picked] + (rng.random((n, 2)) - 0.5) * [a[1] - a[0], b[1] - b[0]]

    return KnownTarget(f"moving average {quarters}", log_pdf, sample, _free(2))


def scales(lowest: float = 1e-8, highest: float = 1e8, d: int = 5) -> KnownTarget:
    """Correlated normal whose standard deviations range from ``lowest`` to ``highest``."""
    sd = np.geomspace(lowest, highest, d)
    correlation = 0.6 ** np.abs(np.subtract.outer(np.arange(d), np.arange(d)))
    root = np.linalg.cholesky(correlation)
    inverse = jnp.asarray(np.linalg.inv(root) / sd)

    def sample(rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.standard_normal((n, d)) @ root.T * sd

    return KnownTarget(
        f"scales {lowest:g} to {highest:g}",
        lambda t: -0.5 * jnp.sum((inverse @ t) ** 2),
        sample,
        _free(d),
        tuple(sd.tolist()),
        tuple((3 * sd).tolist()),
    )


def funnel(d: int, sd: float = 3.0) -> KnownTarget:
    """Neal's funnel: v ~ N(0, sd^2), the others N(0, exp(v))."""

    def log_pdf(t: jax.Array) -> jax.Array:
        return -0.5 * (t[0] / sd) ** 2 - 0.5 * jnp.sum(t[1:] ** 2) * jnp.exp(-t[0]) - 0.5 * (d - 1) * t[0]

    def sample(rng: np.random.Generator, n: int) -> np.ndarray:
        v = sd * rng.standard_normal(n)
        return np.column_stack([v, np.exp(0.5 * v)[:, None] * rng.standard_normal((n, d - 1))])

    return KnownTarget(f"funnel {d} {sd:g}", log_pdf, sample, _free(d))
