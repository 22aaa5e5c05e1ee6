"""Normalised prior densities in Dynare's conventions: mean and standard deviation are those *before* truncation.

Two inverse gammas are in use and their names say which one is meant: :class:`SqrtInverseGamma` is the density of a
standard deviation whose square is inverse gamma (Dynare's ``inv_gamma``, also called type 1), :class:`InverseGamma`
that of the inverse gamma itself (type 2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.scipy.special import xlog1py, xlogy
from scipy import optimize, special, stats

from estimhank.parameters.prior import Prior as Prior


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
    def _untruncated(self) -> Any:
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
    def _untruncated(self) -> Any:
        shape, scale = self._shape_scale
        return stats.gamma(shape, scale=scale)

    def _log_kernel(self, x: jax.Array) -> jax.Array:
        k, s = self._shape_scale
        return xlogy(k - 1, x / s) - x / s - math.log(s) - math.lgamma(k)


@dataclass(frozen=True)
class Beta(Prior):
    """Beta by mean and standard deviation, on (0, 1) or stretched to (low, high): Dynare's third and fourth number.

    ``mu`` and ``sigma`` are those of the stretched variable.
    """

    mu: float = 0.5
    sigma: float = 0.2
    low: float = 0.0
    high: float = 1.0
    family: ClassVar[str] = "beta"

    def _check(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"beta prior: needs low < high, both finite, got {self.low} and {self.high}")
        _positive(self, sd=self.sigma)
        mean, sd = self._unit
        if not 0 < mean < 1 or sd**2 >= mean * (1 - mean):
            raise ValueError(
                f"beta prior: no beta distribution on ({self.low:g}, {self.high:g}) has mean {self.mu} and "
                f"sd {self.sigma}"
            )

    @property
    def _unit(self) -> tuple[float, float]:
        """Mean and standard deviation of the variable that is stretched, which lies in (0, 1)."""
        width = self.high - self.low
        return (self.mu - self.low) / width, self.sigma / width

    @property
    def _ab(self) -> tuple[float, float]:
        mean, sd = self._unit
        total = mean * (1 - mean) / sd**2 - 1
        return mean * total, (1 - mean) * total

    @property
    def _untruncated(self) -> Any:
        return stats.beta(*self._ab, loc=self.low, scale=self.high - self.low)

    def _log_kernel(self, x: jax.Array) -> jax.Array:
        (a, b), width = self._ab, self.high - self.low
        u = (x - self.low) / width
        return xlogy(a - 1, u) + xlog1py(b - 1, -u) - float(special.betaln(a, b)) - math.log(width)

    def describe(self) -> dict[str, Any]:
        """As of every prior; with ``low`` and ``high`` where they are not 0 and 1."""
        stretched = {} if (self.low, self.high) == (0.0, 1.0) else {"low": self.low, "high": self.high}
        return {**super().describe(), **stretched}


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
    def _untruncated(self) -> Any:
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
    def _untruncated(self) -> Any:
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
    def _untruncated(self) -> Any:
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
        ``sd``, or ``scale`` and ``df``), ``uniform`` (``low`` and ``high``). A ``beta`` may have ``low`` and ``high``
        besides, the interval that it is stretched to.
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
    elif family == "beta":
        wanted = (("mean", "sd"), ("high", "low", "mean", "sd"))
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
    if len(keys) > 2:
        return Beta(mean, sd, float(options["low"]), float(options["high"]), **common)
    return FAMILIES[family](mean, sd, **common)  # type: ignore[call-arg]
