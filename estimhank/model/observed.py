"""What is observed of a model: functions of its variables, with means that may depend on parameters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from estimhank.model.processes import is_number
from estimhank.parameters.parameter_table import ModelError

#: A steady state that is smaller is zero, and has no growth rate: its equations hold to 1e-9 and no better.
NO_LEVEL = 1e-8

#: Lags that each kind of observable reaches back.
REACH = {"growth": 1, "level": 0, "log": 0, "year_on_year": 4}

#: The mean of an observable that is its own value in the steady state.
STEADY_STATE = "steady state"

#: The mean of an observable: empty, the data are less their own; the name of a parameter; a function of parameters; a
#: number; or :data:`STEADY_STATE`.
Mean = str | float | Callable[[Any], Any]


@dataclass(frozen=True)
class ObservedVariable:
    """An observed series as a function of one model variable; see :func:`Growth`, :func:`Level`, :func:`Log`,
    :func:`YearOnYear`, and :class:`Observe` for functions of several.

    ``kind`` is ``"growth"``: scale (x_t - x_{t-1}) / x, the change of the log; ``"level"``: scale (x_t - x), with x the
    steady state; ``"log"``: scale (x_t - x) / x; or ``"year_on_year"``: scale (x_t - x_{t-4}) / x.
    ``measurement_error`` names the parameter that holds the standard deviation of the series' measurement error, in
    ``units``; empty: there is none (:mod:`estimhank.model.measurement_error`). ``mean``: of the data, where these are
    not less their own (:data:`Mean`).
    """

    variable: str
    kind: str
    name: str
    scale: float = 100.0
    units: str = "percent per quarter"
    measurement_error: str = ""
    mean: Mean = ""

    def __post_init__(self) -> None:
        for role in ("variable", "kind", "name", "units", "measurement_error"):
            if not isinstance(getattr(self, role), str):
                hint = "; a size is given to the data or the posterior" if role == "measurement_error" else ""
                raise ModelError(f"observable of {self.variable}: {role} is text, not {getattr(self, role)!r}{hint}")
        if not is_number(self.scale) or self.scale == 0:
            raise ModelError(f"observable '{self.name}': scale is a number other than zero, not {self.scale!r}")
        check_mean(self.name, self.mean)


@dataclass(frozen=True)
class Observe:
    """An observed series as a function of variables at several dates, in its own units.

    Parameters
    ----------
    name : str
    function : callable
        Of (now, lag, lead, p), as in a model's equations: ``lambda now, lag, lead, p: 100 * now.C / now.Y``.
        ``lag(4).Y`` is Y four quarters before. Linearised at the steady state.
    units, measurement_error, mean
        As of :class:`ObservedVariable`.
    """

    name: str
    function: Callable[[Any, Any, Any, Any], Any]
    units: str = "percent per quarter"
    measurement_error: str = ""
    mean: Mean = ""

    def __post_init__(self) -> None:
        for role in ("name", "units", "measurement_error"):
            if not isinstance(getattr(self, role), str):
                raise ModelError(f"Observe: {role} is text, not {getattr(self, role)!r}")
        if not callable(self.function):
            raise ModelError(
                f"observable '{self.name}': a function of (now, lag, lead, p) is wanted, not {self.function!r}; the "
                "level of one variable is Level, its growth rate Growth"
            )
        check_mean(self.name, self.mean)


Observation = ObservedVariable | Observe


def check_mean(name: str, mean: Any) -> None:
    """Refuse a mean that is none of :data:`Mean`."""
    if not isinstance(mean, str) and not callable(mean) and not is_number(mean):
        raise ModelError(
            f"observable '{name}': its mean is the name of a parameter, a function of the parameters, a number, or "
            f'"{STEADY_STATE}", not {mean!r}'
        )


def check_means(observables: Sequence[Observation], demeaned: Collection[str]) -> None:
    """Refuse data less their sample mean where the model says what the mean is.

    Parameters
    ----------
    observables
    demeaned : names
        Of the observables whose sample mean was taken off.

    Raises
    ------
    ModelError
    """
    for observable in observables:
        if observable.mean != "" and observable.name in demeaned:
            raise ModelError(
                f"the model says what the mean of the observable '{observable.name}' is, and its data are less their "
                "own: declare demean = false, or the number that is to be taken off"
            )


def mean_of(observable: ObservedVariable, p: Any, steady: Mapping[str, Any]) -> Any:
    """The mean that a model says an observable has, in its units; 0 where the data are less their own.

    Parameters
    ----------
    observable : ObservedVariable
    p : parameters, by attribute
    steady : mapping of str to scalar
        Steady-state values.
    """
    mean, value = observable.mean, steady[observable.variable]
    if mean == STEADY_STATE:
        at_rest = {"level": value, "log": jnp.log(value)}.get(observable.kind, 0.0)
        found = observable.scale * at_rest
    elif callable(mean):
        found = mean(p)
    else:
        found = getattr(p, mean) if isinstance(mean, str) and mean else mean or 0.0
    return jnp.asarray(found, float)


def _observed(
    kind: str, variable: str, name: str, scale: float, units: str, measurement_error: str, mean: Mean, annual: bool
) -> ObservedVariable:
    if annual:
        scale, units = 4 * scale, units.replace("per quarter", "per year")
    return ObservedVariable(variable, kind, name, scale, units, measurement_error, mean)


def Growth(
    variable: str,
    name: str = "",
    scale: float = 100.0,
    units: str = "percent per quarter",
    measurement_error: str = "",
    mean: Mean = "",
    annual: bool = False,
) -> ObservedVariable:
    """The growth rate of a variable, 100 (x_t - x_{t-1}) / x by default; ``annual``: at an annual rate, four times
    that."""
    name = name or f"{variable}_growth"
    return _observed("growth", variable, name, scale, units, measurement_error, mean, annual)


def Level(
    variable: str,
    name: str = "",
    scale: float = 100.0,
    units: str = "percent per quarter",
    measurement_error: str = "",
    mean: Mean = "",
    annual: bool = False,
) -> ObservedVariable:
    """The deviation of a variable from its steady state, 100 (x_t - x) by default; ``annual``: at an annual rate, four
    times that."""
    return _observed("level", variable, name or variable, scale, units, measurement_error, mean, annual)


def Log(
    variable: str,
    name: str = "",
    scale: float = 100.0,
    units: str = "percent",
    measurement_error: str = "",
    mean: Mean = "",
) -> ObservedVariable:
    """The log deviation of a variable from its steady state, 100 (x_t - x) / x by default."""
    return ObservedVariable(variable, "log", name or f"log_{variable}", scale, units, measurement_error, mean)


def YearOnYear(
    variable: str,
    name: str = "",
    scale: float = 100.0,
    units: str = "percent per year",
    measurement_error: str = "",
    mean: Mean = "",
) -> ObservedVariable:
    """The growth rate of a variable over four quarters, 100 (x_t - x_{t-4}) / x by default."""
    name = name or f"{variable}_year_on_year"
    return ObservedVariable(variable, "year_on_year", name, scale, units, measurement_error, mean)
