"""Measurement error: noise that an observable carries beside what the model says of it.

An observable's error is Gaussian, independent over time and of everything else, so it adds its variance to the
observable's own at lag zero and nothing anywhere else. Its standard deviation, in the observable's units, is an entry
of the model's parameter table like any other: fixed at a value, or estimated where it has a prior.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from estimhank.model.declaration import Model
from estimhank.model.processes import is_off
from estimhank.parameters.parameter_table import ModelError, Parameter, Parameters, nearest
from estimhank.parameters.priors import Prior, make_prior

#: A fixed standard deviation, a prior of it, or a prior as plain values (``{"family": "gamma", "mean": ...}``).
ErrorSize = float | Prior | Mapping[str, Any]

PREFIX = "me_"


def with_measurement_error(model: Model, errors: Mapping[str, ErrorSize]) -> Model:
    """The model with measurement error in some of its observables.

    Parameters
    ----------
    model : Model
    errors : mapping
        For each observable concerned the standard deviation of its error, in its units: a number (0 for no error), a
        prior, or a prior as plain values. It is held by the parameter that the observable names, ``me_<observable>``
        where it names none.

    Raises
    ------
    ModelError
        No such observable; a standard deviation, or one that the prior allows, below zero.
    """
    if not errors:
        return model
    names = [o.name for o in model.observables]
    for name in errors:
        if name not in names:
            raise ModelError(f"measurement error of '{name}', which the model does not observe{nearest(name, names)}")
    table, observables = model.parameters, []
    for observable in model.observables:
        if observable.name in errors:
            size = _parse(observable.name, errors[observable.name])
            parameter = "" if size == 0.0 else observable.measurement_error or PREFIX + observable.name
            if parameter in table and not observable.measurement_error:
                raise ModelError(f"the model has a parameter {parameter} that is not the measurement error of its name")
            if observable.measurement_error and not parameter:
                table = table.changed(observable.measurement_error, value=0.0, prior=None)
            if parameter:
                table = _entered(table, parameter, observable.name, observable.units, size)
            observable = dataclasses.replace(observable, measurement_error=parameter)
        observables.append(observable)
    changed = copy.copy(model)
    changed.parameters, changed.observables = table, tuple(observables)
    return changed


def _parse(name: str, size: ErrorSize) -> float | Prior:
    if isinstance(size, Prior):
        return size
    if isinstance(size, Mapping):
        try:
            numbers = {key: float(value) for key, value in size.items() if key != "family"}
            return make_prior(str(size.get("family")), **numbers)
        except (ValueError, TypeError) as error:
            raise ModelError(f"measurement error of {name}: {error}") from None
    if isinstance(size, bool) or not isinstance(size, int | float) or not math.isfinite(size):
        raise ModelError(f"measurement error of {name}: give a standard deviation or a prior, not {size!r}")
    return float(size)


def _entered(table: Parameters, parameter: str, name: str, units: str, size: float | Prior) -> Parameters:
    prior, value = (size, float(size.ppf(0.5))) if isinstance(size, Prior) else (None, size)
    if parameter in table:
        return table.changed(parameter, value=value, prior=prior, prior_relative_to="")
    latex = rf"\sigma^{{\mathrm{{me}}}}_{{\mathrm{{{_upright(name)}}}}}" if name.isascii() else ""
    entry = Parameter(value, latex, f"s.d. of measurement error in {units}, {name}", prior, "shocks")
    return Parameters({**table, parameter: entry})


def _upright(name: str) -> str:
    """A name as LaTeX's upright type in a formula shows it; what it has no sign for becomes a blank."""
    return re.sub(r"[\\^~{}$]", " ", name).translate({ord(c): f"\\{c}" for c in "_%#&"}).replace(" ", r"\ ")


def error_parameters(model: Model) -> dict[str, str]:
    """The parameter that holds each observable's measurement error; observables without any are left out."""
    found = {o.name: o.measurement_error for o in model.observables if o.measurement_error}
    return {name: p for name, p in found.items() if not _is_zero(model.parameters[p])}


def _is_zero(entry: Parameter) -> bool:
    return entry.prior is None and entry.value == 0


def check_errors(model: Model, observed: NDArray[np.bool_] | None = None) -> None:
    """Refuse standard deviations below zero, and a model whose observables are linearly dependent by construction.

    With fewer shocks than observables without measurement error, the spectral density matrix of the observables is
    singular at every frequency: the data would have to satisfy an identity, which they do not. It takes data that show
    it: where no more than shocks are observed on one date (one series before, another after) nothing is singular. So
    refused are only data that hold, over some span of dates, more figures than there are innovations in it and
    variables to begin with; of all others the covariance decides.

    Parameters
    ----------
    model : Model
    observed : array of bool, shape (n, n_o), optional
        What the data hold; everything, over a long sample, by default.

    Raises
    ------
    ModelError
    """
    for observable in model.observables:
        if observable.measurement_error and observable.measurement_error not in model.parameters:
            raise ModelError(
                f"model {model.name}: observable '{observable.name}' needs the parameter "
                f"'{observable.measurement_error}', the s.d. of its measurement error"
            )
    priors, errors = model.parameters.priors(), error_parameters(model)
    for name, parameter in errors.items():
        value = model.parameters[parameter].value
        if parameter in priors:
            if priors[parameter].support[0] < 0:
                raise ModelError(
                    f"the prior of {parameter}, the s.d. of the measurement error of {name}, allows negative values: "
                    "add lower = 0"
                )
        elif value is None or not 0 < value < math.inf:
            raise ModelError(
                f"the s.d. of the measurement error of {name} ({parameter}) is {value}: give a positive number, or 0 "
                "for no error"
            )
    # news are innovations of their own
    shocks = sum(1 + len(s.news) for s in model.shocks if not is_off(s, model.parameters))
    exact = [o.name for o in model.observables if o.name not in errors]
    if shocks < len(exact) and _surplus(model, errors, shocks, observed) > len(model.unknowns):
        raise ModelError(
            f"stochastic singularity: {len(exact)} observables without measurement error ({', '.join(exact)}) but only "
            f"{_count(shocks, 'shock')}; give {_count(len(exact) - shocks, 'observable')} measurement error "
            "(measurement_error = 0.1), drop observables or add shocks"
        )


def _surplus(model: Model, errors: Mapping[str, str], shocks: int, observed: NDArray[np.bool_] | None) -> float:
    """Exact figures beyond the innovations of the same dates, over the span of dates where there are most."""
    if observed is None:
        return math.inf
    most, so_far = 0, 0
    for figures in observed[:, [o.name not in errors for o in model.observables]].sum(axis=1).tolist():
        so_far = max(0, so_far + figures - shocks)
        most = max(most, so_far)
    return most


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("s" if number != 1 else "")


def error_variances(model: Model, parameters: Mapping[str, Any]) -> jax.Array:
    """Variances of the observables' measurement errors at parameter values, shape (n_o,)."""
    errors = error_parameters(model)
    sizes = [jnp.asarray(parameters[errors[o.name]] if o.name in errors else 0.0, float) for o in model.observables]
    return jnp.stack(sizes) ** 2


def describe_errors(model: Model) -> dict[str, str]:
    """Each observable's measurement error in words: its standard deviation, or by which parameter it is estimated."""
    words = {}
    for name, parameter in error_parameters(model).items():
        entry = model.parameters[parameter]
        words[name] = f"{entry.value:g}" if entry.prior is None else f"estimated ({parameter})"
    return words
