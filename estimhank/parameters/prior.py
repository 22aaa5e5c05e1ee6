"""What priors of every family have in common: truncation, shift, normalisation."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

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
        self._check_truncation()
        low, high = self.support
        if not low < high:
            raise ValueError(f"{self.family} prior: truncation ({self.lower}, {self.upper}) leaves no support")
        if not self.mass > 0:
            raise ValueError(f"{self.family} prior: no mass between {self.lower} and {self.upper}")

    def _check_truncation(self) -> None:
        """Refuse truncation beyond the family's own support: it would have no effect, and something else is meant."""
        low, high = (float(bound) for bound in self.untruncated.support())
        for name, value, outside in (
            # with a shift, a bound of the unshifted variable is let pass
            ("lower", self.lower, max(self.lower, self.lower - self.shift) < low),
            ("upper", self.upper, min(self.upper, self.upper - self.shift) > high),
        ):
            if math.isfinite(value) and outside:
                stretched = "; a beta on another interval is declared with low and high" * (self.family == "beta")
                raise ValueError(
                    f"{self.family} prior: {name} = {value:g} truncates nothing, for the density is that of numbers in "
                    f"({low:g}, {high:g}){stretched}: leave it out"
                )

    # -- to be given by each family, for the untruncated, unshifted variable ------------------------------------
    def _check(self) -> None:
        raise NotImplementedError

    @property
    def _untruncated(self) -> Any:
        """Frozen scipy.stats distribution."""
        raise NotImplementedError

    def _log_kernel(self, x: jax.Array) -> jax.Array:
        """Normalised log density on the family's own support (argument guaranteed inside)."""
        raise NotImplementedError

    # -- what everybody uses -----------------------------------------------------------------------------------
    @cached_property
    def untruncated(self) -> Any:
        """The untruncated, unshifted distribution (``scipy.stats``, frozen)."""
        return self._untruncated

    @property
    def mean(self) -> float:
        """Mean before truncation, in units of the parameter."""
        return float(self.untruncated.mean()) + self.shift

    @property
    def sd(self) -> float:
        """Standard deviation before truncation."""
        return float(self.untruncated.std())

    @cached_property
    def support(self) -> tuple[float, float]:
        """Open interval on which the density is positive, in units of the parameter."""
        low, high = self.untruncated.support()
        return max(self.lower, float(low) + self.shift), min(self.upper, float(high) + self.shift)

    @cached_property
    def _cdf_limits(self) -> tuple[float, float]:
        low, high = self.support
        return float(self.untruncated.cdf(low - self.shift)), float(self.untruncated.cdf(high - self.shift))

    @cached_property
    def _sf_limits(self) -> tuple[float, float]:
        low, high = self.support
        return float(self.untruncated.sf(low - self.shift)), float(self.untruncated.sf(high - self.shift))

    @cached_property
    def mass(self) -> float:
        """Probability that the untruncated distribution gives to the support."""
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
        """Quantile of the truncated distribution at probability ``q``."""
        low, high = self._cdf_limits
        if low < 0.5:
            return self.untruncated.ppf(low + np.asarray(q) * (high - low)) + self.shift
        above_low, above_high = self._sf_limits  # the cdf has no digits left far out in the upper tail
        return self.untruncated.isf(above_low - np.asarray(q) * (above_low - above_high)) + self.shift

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        """``n`` independent draws of the truncated distribution by inversion, shape (n,)."""
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
