"""The configuration of a run: a TOML file to frozen dataclasses.

A setting is taken from the first of these that has it:

1. the file's tables for the chosen profile, ``[profile.smoke.sample]``;
2. the file's own tables, ``[sample]``;
3. the sizes of the chosen profile (:mod:`estimhank.run.profiles`);
4. the defaults of :mod:`estimhank.run.config_sections`.

So a size written under ``[sample]`` holds in every profile. The whole of it, resolved, is the run's identity
(:meth:`Config.canonical`, :meth:`Config.digest`); where it runs and with how many workers does not move results and is
left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from estimhank.data.observables import Observable
from estimhank.data.options import set_additions
from estimhank.mode.search import ModeConfig
from estimhank.parameters.parameter_table import nearest
from estimhank.parameters.priors import make_prior
from estimhank.run.config_sections import (
    DataConfig,
    EconomicsConfig,
    EmulatorConfig,
    ModelConfig,
    ParameterConfig,
    ReportConfig,
    RunConfig,
    SampleConfig,
)
from estimhank.run.profiles import PROFILES
from estimhank.support.errors import ConfigError, DataError
from estimhank.support.files import expand_user, reading, sha256_of, to_json, to_plain
from estimhank.support.settings import build, check_numbers, merge, profiles_of, read_toml, unknown_key
from estimhank.support.shipped import find_bundled, shipped
from estimhank.surrogate.stage_config import PosteriorConfig, SurrogateConfig


@dataclass(frozen=True)
class Config:
    """A run, resolved: what :func:`load_config` returns.

    ``path`` is the file that it came from and ``profile`` the chosen profile; neither is part of the run's identity.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    parameters: Mapping[str, ParameterConfig] = field(default_factory=dict)
    mode: ModeConfig = field(default_factory=ModeConfig)
    emulator: EmulatorConfig = field(default_factory=EmulatorConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)
    surrogate: SurrogateConfig = field(default_factory=SurrogateConfig)
    posterior: PosteriorConfig = field(default_factory=PosteriorConfig)
    economics: EconomicsConfig = field(default_factory=EconomicsConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    run: RunConfig = field(default_factory=RunConfig)
    path: str = ""
    profile: str = "default"

    @property
    def folder(self) -> Path:
        """Folder that paths in the file are relative to."""
        return Path(self.path).parent if self.path else Path()

    def canonical(self, *sections: str) -> dict[str, Any]:
        """Everything that results depend on, as plain nested values; only the named sections where some are named.

        The seed is always in; workers, backend, the file's place and the profile's name never are.
        """
        chosen = [name for name in SECTIONS if name != "run" and (not sections or name in sections)]
        whole: dict[str, Any] = to_plain({name: getattr(self, name) for name in chosen})
        if self.emulator == EmulatorConfig():
            whole.pop("emulator", None)  # which older runs did not know
        for setting in whole.get("parameters", {}).values():
            for key in [key for key, value in setting.items() if value is None]:
                del setting[key]
        if "data" in whole:
            _leave_out(whole["data"], self.data)
            for entry, observable in zip(whole["data"]["observables"], self.data.observables, strict=True):
                _leave_out(entry, observable)
        if self.economics == EconomicsConfig():
            whole.pop("economics", None)  # which older runs did not know
        if "economics" in whole:
            _leave_out(whole["economics"], self.economics)
        return {**_sorted(whole), "run": {"seed": self.run.seed}}

    def digest(self, *sections: str) -> str:
        """SHA-256 of :meth:`canonical`, the same for every way of writing the same settings."""
        return sha256_of(to_json(self.canonical(*sections), indent=None))

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """Settings in which another run's :meth:`canonical` form differs, as ``"sample.iterations is 60, was 120"``."""
        mine, theirs = _flatten(self.canonical()), _flatten(other)
        return [
            f"{key} is {mine.get(key, 'absent')}, was {theirs.get(key, 'absent')}"
            for key in [*mine, *(key for key in theirs if key not in mine)]
            if mine.get(key, _ABSENT) != theirs.get(key, _ABSENT)
        ]


def _leave_out(table: dict[str, Any], settings: Any) -> None:
    # keys that older runs did not know have no part in the identity of a run that does not use them
    for key, is_set in set_additions(settings).items():
        if not is_set:
            del table[key]


_ABSENT = object()
SECTIONS = (
    *("model", "data", "parameters", "mode", "emulator"),
    *("sample", "surrogate", "posterior", "economics", "report", "run"),
)


def _sorted(value: Any) -> Any:
    # the order of keys makes no difference; that of the observables does, and they are a list
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return value


def _flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def find_config(path: Path | str) -> Path:
    """The configuration file at ``path``, or the one that ships under that name: ``us_hank``, ``configs/us_hank.toml``.

    Raises
    ------
    ConfigError
        If there is neither.
    """
    path = expand_user(path)
    with reading(path):  # a name that is too long, a folder that may not be looked into
        there = path.is_file()
    if there:
        return path
    known = shipped("configs")
    if str(path) in known:  # a bare name
        return known[str(path)]
    found = None if path.is_absolute() else find_bundled(str(path)) or find_bundled(f"configs/{path.name}")
    if found is None:
        near = "" if path.suffix else f"{nearest(str(path), known)} (these ship: {', '.join(known)})"
        raise ConfigError(f"there is no configuration file {path}{near}")
    return found


def load_config(path: Path | str, profile: str = "default") -> Config:
    """Read and check a configuration file.

    Parameters
    ----------
    path : path
        TOML file, or the name of one shipped with the package (:func:`find_config`).
    profile : str
        ``"smoke"``, ``"default"``, ``"paper"``, or one that the file defines under ``[profile.NAME]``.

    Raises
    ------
    ConfigError
        One sentence that names the file, the table and the key: bad TOML, unknown key (with the nearest known one),
        wrong type, value out of range, unknown profile.
    """
    path = find_config(path)
    return make_config(read_toml(path), profile, str(path))


def make_config(table: Mapping[str, Any], profile: str = "default", path: str = "") -> Config:
    """Build a configuration from nested tables (what a TOML file holds); ``path`` is used in messages and for folders.

    Raises
    ------
    ConfigError
        As :func:`load_config`.
    """
    where = path or "configuration"
    if "economy" in table:
        raise ConfigError(f"{where} describes an economy to be solved globally: use `estimhank global`")
    check_numbers(table, where)
    own = {key: value for key, value in table.items() if key != "profile"}
    profiles = profiles_of(table, "smoke.sample", where)
    known = {*PROFILES, *profiles}
    if profile not in known:
        raise ConfigError(f"{where} has no profile '{profile}'; there are {', '.join(sorted(known))}")
    resolved: Config | None = None
    # every profile of the file is checked, so that a slip in one that is not used today is found today
    for name in sorted({profile, *profiles}, key=lambda name: name == profile):
        layers = merge(merge(PROFILES.get(name, {}), own, _WHOLE), profiles.get(name, {}), _WHOLE)
        resolved = _resolve(layers, where)
    assert resolved is not None
    return dataclasses.replace(resolved, path=path, profile=profile)


def restore_config(canonical: Mapping[str, Any], path: str = "", profile: str = "default") -> Config:
    """The configuration that :meth:`Config.canonical` was made from, after a trip through a file.

    Raises
    ------
    ConfigError
        If this version of the package does not know the settings.
    """
    where = path or "configuration"
    try:
        table = {key: dict(section) for key, section in canonical.items()}
        observables = table.get("data", {}).get("observables", [])
        table["data"] = table.get("data", {}) | {
            "observables": {entry["name"]: {k: v for k, v in entry.items() if k != "name"} for entry in observables}
        }
        for setting in table.get("parameters", {}).values():
            if "prior" in setting:  # JSON has no infinities: they are text there
                setting["prior"] = {
                    key: float(value) if key != "family" else value for key, value in setting["prior"].items()
                }
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise ConfigError(
            f"{where} is damaged where it was kept: its tables are not those of a run ({error})"
        ) from None
    check_numbers(table, where)
    return dataclasses.replace(_resolve(table, where), path=path, profile=profile)


#: A prior is one thing: numbers of one family must not mix with those of another.
_WHOLE = ("prior", "observables")


def _resolve(table: Mapping[str, Any], where: str) -> Config:
    for key in table:
        if key not in SECTIONS:
            raise unknown_key(key, (*SECTIONS, "profile"), where)
    plain = {
        "model": ModelConfig,
        "mode": ModeConfig,
        "emulator": EmulatorConfig,
        "sample": SampleConfig,
        "surrogate": SurrogateConfig,
        "posterior": PosteriorConfig,
        "economics": EconomicsConfig,
        "report": ReportConfig,
        "run": RunConfig,
    }
    try:
        sections: dict[str, Any] = {
            name: build(cls, table.get(name, {}), f"{where}, [{name}]") for name, cls in plain.items()
        }
    except ConfigError as error:
        # checks across keys know their table but not the file
        raise error if str(error).startswith(where) else ConfigError(f"{where}, {error}") from None
    parameters = table.get("parameters", {})
    if not isinstance(parameters, Mapping):
        raise ConfigError(f"{where}, [parameters]: expected tables like [parameters.kappa_w]")
    data = _data(table.get("data", {}), where)
    for o in data.observables:
        if o.measurement_error is not None and f"me_{o.name}" in parameters:
            raise ConfigError(
                f"{where}: the measurement error of {o.name} is given twice, as measurement_error under "
                f"[data.observables.{o.name}] and under [parameters.me_{o.name}]: leave one out"
            )
    return Config(
        data=data,
        parameters={name: _parameter(setting, f"{where}, [parameters.{name}]") for name, setting in parameters.items()},
        **sections,
    )


def _data(table: Mapping[str, Any], where: str) -> DataConfig:
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where}, [data]: expected a table")
    declared = table.get("observables", {})
    if not isinstance(declared, Mapping):
        raise ConfigError(f"{where}, [data]: expected tables like [data.observables.growth]")
    observables = []
    for name, entry in declared.items():
        place = f"{where}, [data.observables.{name}]"
        if not isinstance(entry, Mapping):
            raise ConfigError(f"{place}: expected a table")
        if "name" in entry:
            raise ConfigError(f"{place}: the table's own name is the observable's, 'name' is not a key")
        try:
            observables.append(build(Observable, {"name": name, **entry}, place))
            if isinstance(observables[-1].measurement_error, dict):
                make_prior(**observables[-1].measurement_error)  # a slip in it is found before any data are fetched
        except DataError as error:
            raise ConfigError(f"{place}: {error}") from None
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{place} measurement_error: {error}") from None
    rest = {key: value for key, value in table.items() if key != "observables"}
    try:
        settings = build(DataConfig, rest, f"{where}, [data]")
    except ConfigError as error:
        raise error if str(error).startswith(where) else ConfigError(f"{where}, {error}") from None
    return dataclasses.replace(settings, observables=tuple(observables)) if observables else settings


def _parameter(table: Mapping[str, Any], where: str) -> ParameterConfig:
    setting = build(ParameterConfig, table, where)
    if setting.fixed is not None and setting.prior is not None:
        raise ConfigError(f"{where}: a parameter is either fixed or estimated, not both")
    if setting.prior is not None:
        if not isinstance(setting.prior.get("family"), str):
            raise ConfigError(
                f"{where} prior: the key 'family' is required, e.g. {{family = \"gamma\", mean = 1, sd = 0.5}}"
            )
        numbers = {key: value for key, value in setting.prior.items() if key != "family"}
        for key, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ConfigError(f"{where} prior.{key}: expected a number")
        prior = {"family": setting.prior["family"]} | {key: float(value) for key, value in numbers.items()}
        return dataclasses.replace(setting, prior=prior)
    return setting
