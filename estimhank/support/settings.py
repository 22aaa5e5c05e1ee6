"""Plain nested tables, as a TOML file gives them, to frozen dataclasses, with errors that say where and what."""

from __future__ import annotations

import dataclasses
import math
import operator
import tomllib
import types
import typing
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from estimhank.support.errors import ConfigError
from estimhank.support.files import read_text

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text in quotes"}


def read_toml(path: Path | str) -> dict[str, Any]:
    """The nested tables of a TOML file.

    Raises
    ------
    StorageError
        If it cannot be read.
    ConfigError
        If it is not TOML.
    """
    text = read_text(path)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a whole number of thousands of digits, or hundreds of brackets
        raise ConfigError(f"{path} is not a TOML file: {error}") from None


def option(default: Any = dataclasses.MISSING, **checks: Any) -> Any:
    """Dataclass field with checks on its value.

    Parameters
    ----------
    default : object
        Default value; without one the key is required.
    **checks
        ``least`` and ``most`` (inclusive), ``above`` and ``below`` (exclusive) for numbers, also inside a list;
        ``choices`` for text.
    """
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=checks)
    return dataclasses.field(default=default, metadata=checks)


def unknown_key(key: str, known: typing.Iterable[str], where: str) -> ConfigError:
    """Error for a key that does not exist, naming the nearest that does."""
    known = list(known)
    near = get_close_matches(key, known, n=1, cutoff=0.55)
    hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known)}"
    return ConfigError(f"{where}: unknown key '{key}'; {hint}")


def build[T](cls: type[T], table: Mapping[str, Any], where: str) -> T:
    """Build a frozen dataclass from a table.

    Parameters
    ----------
    cls : dataclass
        Its fields are the known keys; their annotations the types, their metadata (:func:`option`) the checks.
    table : mapping
        Keys and values from the file.
    where : str
        Name of the table for messages, e.g. ``"us_hank.toml, [sample]"``.

    Raises
    ------
    ConfigError
        Unknown or absent key, wrong type, value out of range.
    """
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where}: expected a table, got {_show(table)}")
    for key in table:
        if key not in fields:
            raise unknown_key(key, fields, where)
    values = {}
    for name, field in fields.items():
        if name in table:
            values[name] = _convert(hints[name], table[name], f"{where} {name}")
            _check(values[name], field.metadata, f"{where} {name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where}: the key '{name}' is required")
    try:
        return cls(**values)
    except ValueError as error:
        # checks across keys belong to the class itself
        raise ConfigError(f"{where}: {error}") from None


def _convert(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        # TOML has no null, so an optional key that is present has the other type
        kinds = [argument for argument in arguments if argument is not type(None)]
        return _convert(str if isinstance(value, str) and str in kinds else kinds[0], value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: expected a list in square brackets, got {_show(value)}")
        return tuple(_convert(arguments[0], item, where) for item in value)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: expected a table, got {_show(value)}")
        return {str(key): _convert(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return build(typing.cast(type, kind), value, where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ConfigError(f"{where}: expected {_WORDS[kind]}, got {_show(value)}")
    return value


#: Bounds that an option may have: when a value is beyond them, and how that is said.
_BOUNDS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "least": (operator.lt, "at least"),
    "most": (operator.gt, "at most"),
    "above": (operator.le, "above"),
    "below": (operator.ge, "below"),
}


def _check(value: Any, checks: Mapping[str, Any], where: str) -> None:
    for item in value if isinstance(value, tuple) else (value,):
        if isinstance(item, float) and math.isnan(item):
            raise ConfigError(f"{where}: nan is not a number to compute with")
        if "choices" in checks and item not in checks["choices"]:
            near = get_close_matches(str(item), checks["choices"], n=1, cutoff=0.55)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(checks['choices'])}"
            raise ConfigError(f"{where}: '{item}' is not known; {hint}")
        for check, (fails, words) in _BOUNDS.items():
            if check in checks and fails(item, checks[check]):
                raise ConfigError(f"{where}: must be {words} {checks[check]}, got {item}")


def _show(value: Any) -> str:
    if isinstance(value, str):
        return f'the text "{value}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list"
    return f"{type(value).__name__} {value}" if not isinstance(value, int | float) else str(value)


#: Whole numbers from here on are no setting of anything, and neither floats nor arrays hold them.
_TOO_LARGE = 2**63


def check_numbers(value: Any, where: str) -> None:
    """Refuse whole numbers, anywhere in nested tables, that nothing can compute with.

    Raises
    ------
    ConfigError
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            check_numbers(item, f"{where}, {key}")
    elif isinstance(value, list | tuple):
        for item in value:
            check_numbers(item, where)
    elif isinstance(value, int) and abs(value) >= _TOO_LARGE:
        raise ConfigError(
            f"{where}: a whole number must lie between -2^63 and 2^63, this one has {_digits(value)} digits"
        )


def _digits(value: int) -> int:
    return int(abs(value).bit_length() * math.log10(2)) + 1


def profiles_of(table: Mapping[str, Any], example: str, where: str) -> Mapping[str, Mapping[str, Any]]:
    """The tables ``[profile.NAME]`` of a file; ``example``: what messages show, ``"smoke.sample"``.

    Raises
    ------
    ConfigError
        If they are no tables.
    """
    profiles = table.get("profile", {})
    if not isinstance(profiles, Mapping) or not all(isinstance(own, Mapping) for own in profiles.values()):
        raise ConfigError(f"{where}, [profile]: expected tables like [profile.{example}]")
    return profiles


def merge(below: Mapping[str, Any], above: Mapping[str, Any], whole: tuple[str, ...] = ()) -> dict[str, Any]:
    """Nested tables in which the values of ``above`` win over those of ``below``.

    Tables are merged key by key, except those named in ``whole``, which are replaced as one.
    """
    merged = dict(below)
    for key, value in above.items():
        if key not in whole and isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge(merged[key], value, whole)
        else:
            merged[key] = value
    return merged
