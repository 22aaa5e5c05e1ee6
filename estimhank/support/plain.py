"""From plain values, which JSON knows, to typed dataclasses: back from :func:`estimhank.support.files.to_plain`."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np

_NOT_FINITE = ("nan", "inf", "-inf")  # words for floats that JSON has not


def from_plain[T](kind: type[T], value: object, where: str) -> T:
    """A dataclass from plain values, every one of the type that its field declares.

    Raises
    ------
    ValueError
        With a sentence on what is absent, unknown or of another type, beginning with ``where``.
    """
    try:
        made: T = _convert(kind, value, where)
    except OverflowError as error:  # a whole number that no float holds
        raise ValueError(f"{where} cannot be read: {error}") from None
    return made


def _convert(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(origin, typing.TypeAliasType):  # numpy's NDArray
        origin = typing.get_origin(origin.__value__)
    if origin is types.UnionType:
        (other,) = (argument for argument in arguments if argument is not types.NoneType)
        return None if value is None else _convert(other, value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_convert(arguments[0], item, where) for item in value)
    if origin in (dict, Mapping) and isinstance(value, dict):
        return {key: _convert(arguments[1], item, f"{where}, {key}") for key, item in value.items()}
    if origin is np.ndarray and isinstance(value, list):
        return np.array(value, float)
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return _build(kind, value, where)
    if kind is float and not isinstance(value, bool) and (isinstance(value, int | float) or value in _NOT_FINITE):
        return float(value)
    if kind in (object, Any) or type(value) is kind or (origin is typing.Literal and value in arguments):
        return value
    raise ValueError(f"{where} is {str(value)[:40]!r}, which is not what it should be")


def _build(kind: Any, content: dict[str, Any], where: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if unknown := [name for name in content if name not in fields]:
        raise ValueError(f"{where} has an unknown '{unknown[0]}'")
    absent = dataclasses.MISSING
    for name, field in fields.items():
        if name not in content and field.default is absent and field.default_factory is absent:
            raise ValueError(f"{where} lacks '{name}'")
    hints = typing.get_type_hints(kind)
    return kind(**{name: _convert(hints[name], item, f"{where}, {name}") for name, item in content.items()})
