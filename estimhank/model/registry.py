"""Find a model by name or file, and apply a configuration's changes to it."""

from __future__ import annotations

import importlib.util
import sys
import traceback
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import cloudpickle

from estimhank.households.one_asset import HouseholdBlock
from estimhank.model.declaration import Model
from estimhank.model.measurement_error import PREFIX, ErrorSize, with_measurement_error
from estimhank.model.mistakes import line_of_class
from estimhank.models.krusell_smith import KrusellSmith
from estimhank.models.new_keynesian import NewKeynesian
from estimhank.models.one_asset_hank import OneAssetHANK
from estimhank.models.one_asset_hours import OneAssetHours
from estimhank.models.spender_saver import SpenderSaver
from estimhank.models.two_asset_hank import TwoAssetHANK
from estimhank.parameters.parameter_table import ModelError, Parameters, nearest
from estimhank.parameters.priors import make_prior
from estimhank.support.errors import EstimhankError
from estimhank.support.files import expand_user, sha256_of
from estimhank.support.identity_code import is_library_file

_SHIPPED = (OneAssetHANK, TwoAssetHANK, KrusellSmith, OneAssetHours, NewKeynesian, SpenderSaver)
BUILT_IN: dict[str, type[Model]] = {cls.name: cls for cls in _SHIPPED}


def find_model(reference: str, folder: Path | str = ".") -> type[Model] | Model:
    """The model class, or the model, that a reference names.

    Parameters
    ----------
    reference : str
        A built-in model's name, or ``"path/to/file.py:ClassName"``; an object of the file that is a model will do.
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
    path = (Path(folder) / expand_user(path_text)).resolve()
    if not path.is_file():
        raise ModelError(f"the model file {path} does not exist")
    module = _load_file(path)
    found: Any = getattr(module, class_name, None)
    if not _is_model(found):
        models = [name for name, value in vars(module).items() if _is_model(value)]
        raise ModelError(f"{path} has no model class '{class_name}' (it has: {', '.join(models) or 'none'})")
    declared: type[Model] | Model = found
    return declared


def _is_model(value: Any) -> bool:
    if isinstance(value, type):
        return issubclass(value, Model) and value is not Model
    return isinstance(value, Model)


def _load_file(path: Path) -> types.ModuleType:
    """The module of a model's file, with the files beside it at its disposal."""
    # one module for one file, so that a class that is loaded twice is the same class
    name = f"estimhank_user_model_{sha256_of(str(path))[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = set(sys.modules)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        for added in set(sys.modules) - before:
            if added == name or _is_beside(sys.modules[added], path.parent):
                del sys.modules[added]
        if isinstance(error, Exception) and not isinstance(error, EstimhankError):
            raise ModelError(f"the model file {path} cannot be loaded: {_in_words(error, path)}") from error
        raise
    finally:
        sys.path.remove(str(path.parent))
    # a worker has no such modules: what stands in the file, and in those beside it, travels with its code
    for added in sorted(set(sys.modules) - before):
        if added == name or _is_beside(sys.modules[added], path.parent):
            cloudpickle.register_pickle_by_value(sys.modules[added])
    _check_siblings(module, path)
    return module


def _is_beside(module: types.ModuleType, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).resolve().is_relative_to(folder) and not is_library_file(file)


def _check_siblings(module: types.ModuleType, path: Path) -> None:
    """Refuse another file's module under the name of one that stands beside the model's."""
    origins = {getattr(value, "__module__", None) for value in vars(module).values()}
    origins |= {value.__name__ for value in vars(module).values() if isinstance(value, types.ModuleType)}
    for origin in sorted(str(name) for name in origins if name):
        beside, found = path.parent / f"{origin}.py", getattr(sys.modules.get(origin), "__file__", None)
        if found and beside.is_file() and Path(found).resolve() != beside.resolve():
            del sys.modules[module.__name__]
            raise ModelError(
                f"the model file {path} imports '{origin}', and {found} is loaded under that name already in place of "
                f"{beside}: give one of them another name"
            )


def _in_words(error: Exception, path: Path) -> str:
    """An error in a user's file with the line at which it arose there."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path]
    return (f"line {lines[-1]}: " if lines else "") + f"{type(error).__name__}: {error}"


def configure_model(
    declared: type[Model] | Model,
    calibration: Mapping[str, float],
    grid: Mapping[str, float | str],
    parameters: Mapping[str, Any],
) -> Model:
    """An instance of a model with calibration, grid, priors and fixed parameters of a configuration.

    Parameters
    ----------
    declared : Model, or a class of one
    calibration : mapping of str to float
        Values of parameters that are not estimated.
    grid : mapping of str to float or str
        Fields of the household block.
    parameters : mapping
        For each name an object with ``prior`` (mapping or None) and ``fixed`` (float or None). ``me_<observable>`` is
        the standard deviation of an observable's measurement error, also where the model declares none.

    Raises
    ------
    ModelError
        Unknown names, values outside a support, changes that exclude each other.
    """
    table = declared.parameters
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
        if name not in table and name != observable and observable in {o.name for o in declared.observables}:
            errors[observable] = _error_size(name, change)
        else:
            table = _change_parameter(table, name, change)
    if not table.estimated and not any(isinstance(size, Mapping) for size in errors.values()):
        raise ModelError("every parameter is fixed: nothing is left to estimate")
    household = declared.household
    if grid:
        if not isinstance(household, HouseholdBlock) or not is_dataclass(household):
            raise ModelError(f"[model.grid] the model '{declared.name}' has no household block, or several")
        known = {f.name: f for f in fields(household)}
        typed = {}
        for key, number in grid.items():
            if key not in known or key in ("inputs", "outputs", "parameters"):
                raise ModelError(f"[model.grid] unknown key '{key}'{nearest(key, known)}")
            kind = type(getattr(household, key))
            if isinstance(number, str) != (kind is str):
                raise ModelError(f"[model.grid] {key} is a {'text in quotes' if kind is str else 'number'}")
            if kind is int and number != int(number):
                raise ModelError(f"[model.grid] {key} must be a whole number, it is {number:g}")
            typed[key] = kind(number)
        try:
            household = replace(household, **typed)
        except ValueError as error:
            raise ModelError(f"[model.grid] {error}") from None
    return with_measurement_error(make_model(declared, table, household), errors)


def make_model(declared: type[Model] | Model, table: Parameters | None = None, household: Any = None) -> Model:
    """A model of what :func:`find_model` returns; what its author has to put right is said with the line of the class.

    Raises
    ------
    ModelError
    """
    if isinstance(declared, Model):
        return declared.changed(table or declared.parameters, household)
    try:
        return declared(table, household)
    except ModelError as error:
        raise ModelError(f"{line_of_class(declared)}{error}") from None


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
