"""Normalised prior densities in Dynare's conventions: mean and standard deviation are those *before* truncation.

Two inverse gammas are in use and their names say which one is meant: :class:`SqrtInverseGamma` is the density of a
standard deviation whose square is inverse gamma (Dynare's ``inv_gamma``, also called type 1), :class:`InverseGamma`
that of the inverse gamma itself (type 2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import xlog1py, xlogy
from numpy.typing import NDArray
from scipy import optimize, special, stats

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Prior:
    """A univariate density, truncated to ``(lower, upper)`` and normalised.

    Attributes
    ----------
    lower, upper : float
        Truncation; ``-inf`` and ``inf`` where there is none.
    shift : float
        The family applies to ``parameter - shift`` (truncation is in units of the parameter).
    """

    lower: float = field(default=-math.inf, kw_only=True)
    upper: float = field(default=math.inf, kw_only=True)
    shift: float = field(default=0.0, kw_only=True)
    family: ClassVar[str] = ""

    def __post_init__(self) -> None:
        if math.isnan(self.lower) or math.isnan(self.upper) or not math.isfinite(self.shift):
            raise ValueError(
                f"{self.family} prior: lower, upper and shift must be numbers, got {self.lower}, {self.upper} and "
                f"{self.shift}"
            )
        self._check()
        low, high = self.support
        if not low < high:
            raise ValueError(f"{self.family} prior: truncation ({self.lower}, {self.upper}) leaves no support")
        if not self.mass > 0:
            raise ValueError(f"{self.family} prior: no mass between {self.lower} and {self.upper}")

    # -- to be given by each family, for the untruncated, unshifted variable ------------------------------------
    def _check(self) -> None:
        raise NotImplementedError

    @property
    def _law(self) -> Any:
        """Frozen scipy.stats distribution."""
        raise NotImplementedError

    def _log_kernel(self, x: jax.Array) -> jax.Array:
        """Normalised log density on the family's own support (argument guaranteed inside)."""
        raise NotImplementedError

    # -- what everybody uses -----------------------------------------------------------------------------------
    @cached_property
    def law(self) -> Any:
        """The untruncated, unshifted law as a frozen ``scipy.stats`` distribution."""
        return self._law

    @property
    def mean(self) -> float:
        """Mean before truncation, in units of the parameter."""
        return float(self.law.mean()) + self.shift

    @property
    def sd(self) -> float:
        """Standard deviation before truncation."""
        return float(self.law.std())

    @cached_property
    def support(self) -> tuple[float, float]:
        """Open interval on which the density is positive, in units of the parameter."""
        low, high = self.law.support()
        return max(self.lower, float(low) + self.shift), min(self.upper, float(high) + self.shift)

    @cached_property
    def _cdf_limits(self) -> tuple[float, float]:
        low, high = self.support
        return float(self.law.cdf(low - self.shift)), float(self.law.cdf(high - self.shift))

    @cached_property
    def _sf_limits(self) -> tuple[float, float]:
        low, high = self.support
        return float(self.law.sf(low - self.shift)), float(self.law.sf(high - self.shift))

    @cached_property
    def mass(self) -> float:
        """Probability that the untruncated law gives to the support."""
        low, high = self._cdf_limits
        # the upper tail keeps its digits when the truncation point is far to the right
        above_low, above_high = self._sf_limits
        return high - low if low < 0.5 else above_low - above_high

    def logpdf(self, x: jax.typing.ArrayLike) -> jax.Array:
        """Log density at ``x`` (any shape), ``-inf`` outside the support; differentiable by JAX."""
        x = jnp.asarray(x, float)
        low, high = self.support
        inside = (x > low) & (x < high)
        # a point inside the support keeps the unused branch, and its gradient, finite
        anchor = self.ppf(0.5)
        value = self._log_kernel(jnp.where(inside, x, anchor) - self.shift) - math.log(self.mass)
        return jnp.where(inside, value, -jnp.inf)

    def ppf(self, q: float | Array) -> Any:
        """Quantile of the truncated law at probability ``q``."""
        low, high = self._cdf_limits
        if low < 0.5:
            return self.law.ppf(low + np.asarray(q) * (high - low)) + self.shift
        above_low, above_high = self._sf_limits  # the cdf has no digits left far out in the upper tail
        return self.law.isf(above_low - np.asarray(q) * (above_low - above_high)) + self.shift

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        """``n`` independent draws of the truncated law by inversion, shape (n,)."""
        low, high = self.support
        draws: Array = np.asarray(self.ppf(rng.uniform(size=n)), float)
        # inversion can land on a bound after rounding; the support is open
        return np.clip(draws, np.nextafter(low, np.inf), np.nextafter(high, -np.inf))

    def describe(self) -> dict[str, Any]:
        """Family, mean, sd and truncation as plain values (for tables, files and fingerprints)."""
        return {
            "family": self.family,
            "mean": self.mean,
            "sd": self.sd,
            "lower": self.support[0],
            "upper": self.support[1],
            "shift": self.shift,
        }


def _positive(prior: Prior, **values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{prior.family} prior: {name} must be positive, got {value}")


@dataclass(frozen=True)
class Normal(Prior):
    """Normal(mean, sd)."""

    mu: float = 0.0
    sigma: float = 1.0
    family: ClassVar[str] = "normal"

    def _check(self) -> None:
        if not math.isfinite(self.mu):
            raise ValueError(f"normal prior: mean must be a number, got {self.mu}")
        _positive(self, sd=self.sigma)

    @property
    def _law(self) -> Any:
        return stats.norm(self.mu, self.sigma)

    def _log_kernel(self, x: jax.Array) -> jax.Array:
        return -0.5 * ((x - self.mu) / self.sigma) ** 2 - math.log(self.sigma) - 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class Gamma(Prior):
    """Gamma by mean and standard deviation: shape (mean/sd)^2, scale sd^2/mean."""

    mu: float = 1.0
    sigma: float = 1.0
    family: ClassVar[str] = "gamma"

    def _check(self) -> None:
        _positive(self, mean=self.mu, sd=self.sigma)

    @property
    def _shape_scale(self) -> tuple[float, float]:
        return (self.mu / self.sigma) ** 2, self.sigma**2 / self.mu

    @property
    def _law(self) -> Any:
        shape, scale = self._shape_scale
        return stats.gamma(shape, scale=scale)

    def _log_kernel(self, x: jax.Array) -> jax.Array:
        k, s = self._shape_scale
        return xlogy(k - 1, x / s) - x / s - math.log(s) - math.lgamma(k)


@dataclass(frozen=True)
class Beta(Prior):
    """Beta on (0, 1) by mean and standard deviation."""

    mu: float = 0.5
    sigma: float = 0.2
    family: ClassVar[str] = "beta"

    def _check(self) -> None:
        _positive(self, mean=self.mu, sd=self.sigma)
        if not self.mu < 1 or self.sigma**2 >= self.mu * (1 - self.mu):
            raise ValueError(f"beta prior: no beta law on (0, 1) has mean {self.mu} and sd {self.sigma}")

    @property
    def _ab(self) -> tuple[float, float]:
        total = self.mu * (1 - self.mu) / self.sigma**2 - 1
        return self.mu * total, (1 - self.mu) * total

    @property
    def _law(self) -> Any:
        return stats.beta(*self._ab)

    def _log_kernel(self, x: jax.Array) -> jax.Array:
        a, b = self._ab
        return xlogy(a - 1, x) + xlog1py(b - 1, -x) - float(special.betaln(a, b))


@dataclass(frozen=True)
class SqrtInverseGamma(Prior):
    """p(x) proportional to x^(-nu-1) exp(-nu s^2 / (2 x^2)): the square root of an inverse gamma (Dynare's type 1)."""

    scale: float = 0.4
    df: float = 4.0
    family: ClassVar[str] = "sqrt_inverse_gamma"

    def _check(self) -> None:
        _positive(self, scale=self.scale, df=self.df)

    @classmethod
    def from_moments(cls, mean: float, sd: float, **kwargs: float) -> SqrtInverseGamma:
        """The member with this mean and standard deviation (``df`` above 2)."""
        if not (mean > 0 and sd > 0):
            raise ValueError(f"sqrt_inverse_gamma prior: mean and sd must be positive, got {mean} and {sd}")

        def excess(df: float) -> float:
            log_ratio = special.gammaln((df - 1) / 2) - special.gammaln(df / 2)
            return float(math.log(1 / (df / 2 - 1)) - 2 * log_ratio - math.log1p((sd / mean) ** 2))

        least, most = 2 + 1e-9, 1e7
        if not (math.isfinite(mean) and math.isfinite(sd) and excess(least) > 0 > excess(most)):
            raise ValueError(
                f"sqrt_inverse_gamma prior: no member with mean {mean} and sd {sd} can be computed: sd / mean must be "
                "between about 3e-4 and 1e4"
            )
        df = float(optimize.brentq(excess, least, most, xtol=1e-13, rtol=1e-14))
        unit_mean = math.sqrt(df / 2) * math.exp(special.gammaln((df - 1) / 2) - special.gammaln(df / 2))
        return cls(mean / unit_mean, df, **kwargs)

    @property
    def _law(self) -> Any:
        # x = sqrt(v), v inverse gamma(df/2, df s^2/2): a generalised inverse chi, i.e. a Frechet-like invgamma power;
        # scipy has it as the generalised gamma with exponent -2
        return stats.gengamma(self.df / 2, -2, scale=self.scale * math.sqrt(self.df / 2))

    @property
    def mean(self) -> float:
        """Mean before truncation (infinite for ``df <= 1``)."""
        if self.df <= 1:
            return math.inf
        log_ratio = special.gammaln((self.df - 1) / 2) - special.gammaln(self.df / 2)
        return float(self.scale * math.sqrt(self.df / 2) * math.exp(log_ratio)) + self.shift

    @property
    def sd(self) -> float:
        """Standard deviation before truncation (infinite for ``df <= 2``)."""
        if self.df <= 2:
            return math.inf
        second = self.scale**2 * (self.df / 2) / (self.df / 2 - 1)
        return math.sqrt(second - (self.mean - self.shift) ** 2)

    def _log_kernel(self, x: jax.Array) -> jax.Array:
        half, b = self.df / 2, self.df * self.scale**2 / 2
        return math.log(2) + half * math.log(b) - math.lgamma(half) - (self.df + 1) * jnp.log(x) - b / x**2


@dataclass(frozen=True)
class InverseGamma(Prior):
    """Inverse gamma (type 2) by mean and standard deviation."""

    mu: float = 1.0
    sigma: float = 1.0
    family: ClassVar[str] = "inverse_gamma"

    def _check(self) -> None:
        _positive(self, mean=self.mu, sd=self.sigma)

    @property
    def _shape_scale(self) -> tuple[float, float]:
        shape = 2 + (self.mu / self.sigma) ** 2
        return shape, self.mu * (shape - 1)

    @property
    def _law(self) -> Any:
        shape, scale = self._shape_scale
        return stats.invgamma(shape, scale=scale)

    def _log_kernel(self, x: jax.Array) -> jax.Array:
        a, b = self._shape_scale
        return a * math.log(b) - math.lgamma(a) - (a + 1) * jnp.log(x) - b / x


@dataclass(frozen=True)
class Uniform(Prior):
    """Uniform on (low, high)."""

    low: float = 0.0
    high: float = 1.0
    family: ClassVar[str] = "uniform"

    def _check(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"uniform prior: needs low < high, both finite, got {self.low} and {self.high}")

    @property
    def _law(self) -> Any:
        return stats.uniform(self.low, self.high - self.low)

    def _log_kernel(self, x: jax.Array) -> jax.Array:
        return jnp.zeros_like(x) - math.log(self.high - self.low)


FAMILIES: dict[str, type[Prior]] = {
    cls.family: cls for cls in (Normal, Gamma, Beta, SqrtInverseGamma, InverseGamma, Uniform)
}


def make_prior(family: str, **options: float) -> Prior:
    """Build a prior from plain values, as they stand in a configuration file.

    Parameters
    ----------
    family : str
        ``normal``, ``gamma``, ``beta``, ``inverse_gamma`` (``mean`` and ``sd``), ``sqrt_inverse_gamma`` (``mean`` and
        ``sd``, or ``scale`` and ``df``), ``uniform`` (``low`` and ``high``).
    **options : float
        The family's numbers, and ``lower``, ``upper`` (truncation) and ``shift``.

    Raises
    ------
    ValueError
        Unknown family or option, missing or impossible numbers.
    """
    if family not in FAMILIES:
        raise ValueError(f"unknown prior family '{family}' (known: {', '.join(sorted(FAMILIES))})")
    for name, value in options.items():
        if isinstance(value, int) and abs(value) > 10**300:
            raise ValueError(f"{family} prior: {name} is too large to compute with")
    common = {k: float(options.pop(k)) for k in ("lower", "upper", "shift") if k in options}
    keys = tuple(sorted(options))
    if family == "uniform":
        wanted: tuple[tuple[str, ...], ...] = (("high", "low"),)
    elif family == "sqrt_inverse_gamma":
        wanted = (("mean", "sd"), ("df", "scale"))
    else:
        wanted = (("mean", "sd"),)
    if keys not in wanted:
        needs = " or ".join(" and ".join(w) for w in wanted)
        raise ValueError(
            f"{family} prior needs {needs} (and optionally lower, upper, shift), got {', '.join(keys) or 'nothing'}"
        )
    if keys == ("high", "low"):
        return Uniform(float(options["low"]), float(options["high"]), **common)
    if keys == ("df", "scale"):
        return SqrtInverseGamma(float(options["scale"]), float(options["df"]), **common)
    mean, sd = float(options["mean"]), float(options["sd"])
    if family == "sqrt_inverse_gamma":
        return SqrtInverseGamma.from_moments(mean, sd, **common)
    return FAMILIES[family](mean, sd, **common)  # type: ignore[call-arg]
