"""The configuration of ``estimhank global``: a TOML file to frozen dataclasses."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from estimhank.global_solution.settings import PROFILES, GlobalConfig
from estimhank.run.config import find_config
from estimhank.support.errors import ConfigError
from estimhank.support.settings import build, check_numbers, merge, profiles_of, read_toml, unknown_key


def load_global_config(path: Path | str, profile: str = "default") -> tuple[GlobalConfig, Path]:
    """Read and check a configuration file, and say where it is.

    Parameters
    ----------
    path : path
        TOML file, or the name of one shipped with the package.
    profile : str
        ``"smoke"``, ``"default"``, ``"published"``, or one that the file defines under ``[profile.NAME]``.

    Raises
    ------
    ConfigError
        One sentence that names file, table and key.
    """
    found = find_config(path)
    return make_global_config(read_toml(found), profile, str(found)), found


def make_global_config(
    table: Mapping[str, Any], profile: str = "default", where: str = "configuration"
) -> GlobalConfig:
    """Build a configuration from nested tables.

    Raises
    ------
    ConfigError
        As :func:`load_global_config`.
    """
    check_numbers(table, where)
    own = {key: value for key, value in table.items() if key != "profile"}
    profiles = profiles_of(table, "smoke.training", where)
    known = {*PROFILES, *profiles}
    if profile not in known:
        raise ConfigError(f"{where} has no profile '{profile}'; there are {', '.join(sorted(known))}")
    layers = merge(merge(PROFILES.get(profile, {}), own), profiles.get(profile, {}))
    sections = {field.name: field for field in dataclasses.fields(GlobalConfig)}
    built = {}
    for name, content in layers.items():
        if name not in sections:
            raise unknown_key(name, sections, where)
        factory: Any = sections[name].default_factory
        built[name] = build(type(factory()), content, f"{where}, [{name}]")
    return GlobalConfig(**built)
