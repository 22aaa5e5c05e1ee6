"""Find a model by name or file, and apply a configuration's changes to it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import cloudpickle

from estimhank.files import sha256_of
from estimhank.model.declaration import Model
from estimhank.model.krusell_smith import KrusellSmith
from estimhank.model.measurement_error import PREFIX, ErrorSize, with_measurement_error
from estimhank.model.one_asset_hank import OneAssetHANK
from estimhank.model.parameters import ModelError, Parameters, nearest
from estimhank.model.priors import make_prior

BUILT_IN: dict[str, type[Model]] = {cls.name: cls for cls in (OneAssetHANK, KrusellSmith)}


def find_model(reference: str, folder: Path | str = ".") -> type[Model]:
    """The model class that a reference names.

    Parameters
    ----------
    reference : str
        A built-in model's name, or ``"path/to/file.py:ClassName"``.
    folder : path
        Folder that a relative path starts from.

    Raises
    ------
    ModelError
        If there is no such model.
    """
    if reference in BUILT_IN:
        return BUILT_IN[reference]
    path_text, colon, class_name = reference.rpartition(":")
    if not colon or not path_text.endswith(".py"):
        raise ModelError(
            f"unknown model '{reference}'{nearest(reference, BUILT_IN)} (built in: {', '.join(BUILT_IN)}; "
            "a model of your own is written 'path/to/file.py:ClassName')"
        )
    path = (Path(folder) / path_text).resolve()
    if not path.is_file():
        raise ModelError(f"the model file {path} does not exist")
    # one module for one file, so that a class that is loaded twice is the same class
    module_name = f"estimhank_user_model_{sha256_of(str(path))[:16]}"
    if module_name in sys.modules:
        module = sys.modules[module_name]
    else:
        spec = importlib.util.spec_from_file_location(module_name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[module_name]
            raise
        # a worker has no such module: classes of the file travel with their code
        cloudpickle.register_pickle_by_value(module)
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, Model)):
        models = [n for n, v in vars(module).items() if isinstance(v, type) and issubclass(v, Model) and v is not Model]
        raise ModelError(f"{path} has no model class '{class_name}' (it has: {', '.join(models) or 'none'})")
    return found


def configure_model(
    cls: type[Model],
    calibration: Mapping[str, float],
    grid: Mapping[str, float],
    parameters: Mapping[str, Any],
) -> Model:
    """An instance of a model with calibration, grid, priors and fixed parameters of a configuration.

    Parameters
    ----------
    cls : type[Model]
    calibration : mapping of str to float
        Values of parameters that are not estimated.
    grid : mapping of str to float
        Fields of the household block.
    parameters : mapping
        For each name an object with ``prior`` (mapping or None) and ``fixed`` (float or None). ``me_<observable>`` is
        the standard deviation of an observable's measurement error, also where the model declares none.

    Raises
    ------
    ModelError
        Unknown names, values outside a support, changes that exclude each other.
    """
    table = cls.parameters
    for name, value in calibration.items():
        entry = table[name]
        if entry.prior is not None:
            raise ModelError(
                f"[model.calibration] {name} is estimated; to hold it, write fixed = {value:g} "
                f"under [parameters.{name}]"
            )
        if entry.value is None:
            raise ModelError(f"[model.calibration] {name} is determined by the steady state")
        table = table.changed(name, value=float(value))
    errors: dict[str, ErrorSize] = {}
    for name, change in parameters.items():
        observable = name.removeprefix(PREFIX)
        if name not in table and name != observable and observable in {o.name for o in cls.observables}:
            errors[observable] = _error_size(name, change)
        else:
            table = _change_parameter(table, name, change)
    if not table.estimated and not any(isinstance(size, Mapping) for size in errors.values()):
        raise ModelError("every parameter is fixed: nothing is left to estimate")
    household = cls.household
    if grid:
        if household is None or not is_dataclass(household):
            raise ModelError(f"[model.grid] the model '{cls.name}' has no household block with a grid")
        known = {f.name: f for f in fields(household)}
        typed = {}
        for key, number in grid.items():
            if key not in known or key in ("inputs", "outputs", "parameters"):
                raise ModelError(f"[model.grid] unknown key '{key}'{nearest(key, known)}")
            kind = type(getattr(household, key))
            if kind is int and number != int(number):
                raise ModelError(f"[model.grid] {key} must be a whole number, it is {number:g}")
            typed[key] = kind(number)
        try:
            household = replace(household, **typed)
        except ValueError as error:
            raise ModelError(f"[model.grid] {error}") from None
    return with_measurement_error(cls(table, household), errors)


def _error_size(name: str, change: Any) -> ErrorSize:
    if change.fixed is not None:
        return float(change.fixed)
    if change.prior is None:
        raise ModelError(f"[parameters.{name}] give a prior or fixed: the model has no measurement error of its own")
    return dict(change.prior)


def _change_parameter(table: Parameters, name: str, change: Any) -> Parameters:
    entry = table[name]
    if change.prior is not None and change.fixed is not None:
        raise ModelError(f"[parameters.{name}] give a prior or fixed, not both")
    if change.fixed is not None:
        if entry.prior is not None:
            prior = table.priors()[name]
            low, high = prior.support
            if not low < change.fixed < high:
                raise ModelError(
                    f"[parameters.{name}] fixed = {change.fixed:g} is outside the support ({low:g}, {high:g}) "
                    "of the parameter"
                )
        elif entry.value is None:
            raise ModelError(f"[parameters.{name}] is determined by the steady state and cannot be fixed")
        return table.changed(name, value=float(change.fixed), prior=None, prior_relative_to="")
    if change.prior is None:
        return table
    if entry.value is None:
        raise ModelError(f"[parameters.{name}] is determined by the steady state and cannot be estimated")
    try:
        prior = make_prior(**change.prior)
        low, high = prior.support
        # the reference value of an estimated parameter must be inside its support; its prior median is
        value = entry.value if low < entry.value < high else float(prior.ppf(0.5))
    except (ValueError, TypeError) as error:
        raise ModelError(f"[parameters.{name}] {error}") from None
    return table.changed(name, prior=prior, value=value, prior_relative_to="")
