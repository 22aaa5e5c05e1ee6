"""From the data settings of a run to its observables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from estimhank.data.dataset import Dataset, make_dataset
from estimhank.data.observables import Observable
from estimhank.data.series import load_series
from estimhank.data.series_table import SeriesTable
from estimhank.support.files import to_json, write_text


class DataSettings(Protocol):
    """What a configuration says about data (:class:`estimhank.run.config_sections.DataConfig`)."""

    @property
    def source(self) -> str: ...
    @property
    def vintage(self) -> str: ...
    @property
    def sheet(self) -> str: ...
    @property
    def start(self) -> str: ...
    @property
    def end(self) -> str: ...
    @property
    def presample(self) -> int: ...
    @property
    def condition_on(self) -> int: ...
    @property
    def exclude(self) -> Sequence[str]: ...
    @property
    def observables(self) -> Sequence[Observable]: ...


def load_table(settings: DataSettings, folder: Path | str = ".") -> SeriesTable:
    """The raw series that the settings ask for; ``folder`` is what relative paths are relative to."""
    return load_series(settings.source, folder, settings.observables, settings.vintage, settings.sheet)


def load_dataset(settings: DataSettings, folder: Path | str = ".", table: SeriesTable | None = None) -> Dataset:
    """The observables that the settings ask for.

    Parameters
    ----------
    settings : DataSettings
    folder : path
        What relative paths are relative to.
    table : SeriesTable, optional
        The raw series, if they have been loaded.

    Raises
    ------
    DataError
        As :func:`estimhank.data.series.load_series` and :func:`estimhank.data.dataset.make_dataset`.
    """
    table = load_table(settings, folder) if table is None else table
    return make_dataset(
        table,
        settings.observables,
        settings.start,
        settings.end,
        settings.exclude,
        settings.presample,
        settings.condition_on,
    )


def write_raw(path: Path | str, table: SeriesTable) -> Path:
    """Write retrieved series as they came, with their provenance in comment lines; a source for later runs."""
    about = "".join(f"# {key}: {to_json(value, indent=None)}\n" for key, value in table.provenance.items())
    return write_text(
        path, f"# raw series as they were retrieved; the SHA-256 is that of the lines below\n{about}{table.raw}"
    )
