"""Numbers and lists as a reader wants them: few digits, the error with the figure, words for short lists."""

from __future__ import annotations

import math
from collections.abc import Sequence

#: Words for the reasons an evaluation has no density (the codes are ``estimhank.target.protocol.REASONS``).
REASON_WORDS: dict[str, str] = {
    "ok": "finite density",
    "outside_support": "outside the prior's support",
    "steady_state": "no steady state found",
    "indeterminate": "indeterminate equilibrium",
    "no_stable_solution": "no stable solution",
    "not_positive_definite": "covariance of the data not positive definite to working precision",
    "non_finite": "density or gradient not finite",
    "steady_state:no_bracket": "no steady state: the target is out of reach",
    "steady_state:grid_too_small": "no steady state: the asset grid is too small",
    "steady_state:no_convergence": "no steady state: the search did not converge",
    "steady_state:not_a_solution": "no steady state: the equations do not hold",
    "not_stationary": "an observable has no stationary distribution: it loads on a unit root",
    "horizon": "the horizon is too short for roots this slow",
}

#: Words for the families of priors (the keys are the names used in configuration files).
FAMILY_WORDS: dict[str, str] = {
    "normal": "normal",
    "gamma": "gamma",
    "beta": "beta",
    "uniform": "uniform",
    "inverse_gamma": "inverse gamma",
    "sqrt_inverse_gamma": "root inverse gamma",
}


def fixed(value: float, decimals: int = 3) -> str:
    """A number with so many decimals; ``n/a`` for nan, ``inf`` and ``-inf`` as they are."""
    if math.isnan(value):
        return "n/a"
    text = f"{value:,.{decimals}f}"
    return text[1:] if text.startswith("-") and not text.strip("-0.,") else text  # no minus zero


def significant(value: float, digits: int = 3) -> str:
    """A number with so many significant digits, without exponent unless it is tiny or huge."""
    if math.isnan(value):
        return "n/a"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    magnitude = math.floor(math.log10(abs(value)))
    if -5 <= magnitude < 7:
        return fixed(value, max(digits - 1 - magnitude, 0))
    return f"{value:.{digits - 1}e}"


def decimals_for(error: float, digits: int = 2) -> int:
    """Decimals that show so many significant digits of an error (0 to 8)."""
    if not math.isfinite(error) or error <= 0:
        return 3
    return min(max(digits - 1 - math.floor(math.log10(error)), 0), 8)


def with_error(value: float, error: float, percent: bool = False) -> str:
    """``0.0412 ± 0.0021``: a figure and its Monte Carlo standard error, or the figure alone where it has none."""
    scale, unit = (100.0, " %") if percent else (1.0, "")
    value, error = scale * value, scale * error
    if math.isnan(value) or not math.isfinite(error) or error <= 0:
        return significant(value) + unit
    decimals = decimals_for(error)
    return f"{fixed(value, decimals)} ± {fixed(error, decimals)}{unit}"


def percent(share: float, digits: int = 2) -> str:
    """A share in per cent with so many significant digits, e.g. ``0.21 %``."""
    return f"{significant(100 * share, digits if abs(share) < 0.0995 else digits + 1)} %"


def count(number: float) -> str:
    """A whole number with thousands separators."""
    return "n/a" if not math.isfinite(number) else f"{math.floor(number):,}"


def plural(number: int, singular: str, plural_form: str | None = None) -> str:
    """``1 start``, ``8 starts``."""
    return f"{number:,} {singular if number == 1 else plural_form or singular + 's'}"


def duration(seconds: float) -> str:
    """A time span in the two largest units that matter: ``4 min 12 s``, ``0.31 s``."""
    if not math.isfinite(seconds):
        return "n/a"
    if seconds < 60:
        return f"{significant(seconds, 2 if seconds < 9.95 else 3)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def joined(parts: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"
