"""Data: raw series, declared transformations, demeaned observables.

The order in which values flow: :mod:`~estimhank.data.series` reads raw series from whichever source
(:mod:`~estimhank.data.fred`, :mod:`~estimhank.data.excel`, :mod:`~estimhank.data.frame`),
:mod:`~estimhank.data.series_table` checks them and puts them on quarters, :mod:`~estimhank.data.observables` transforms
them, :mod:`~estimhank.data.dataset` takes trends and means off and keeps the result in ``data.csv``.
"""

from estimhank.data.dataset import Dataset, make_dataset, read_dataset, write_dataset
from estimhank.data.frame import dataset_from_frame, table_from_frame
from estimhank.data.load import DataSettings, load_dataset, load_table, write_raw
from estimhank.data.observables import TRANSFORMS, US_OBSERVABLES, Observable, transform_series
from estimhank.data.quarters import format_quarter, parse_quarter
from estimhank.data.series import SNAPSHOT, SOURCES, load_series, read_series
from estimhank.data.series_table import SeriesTable
from estimhank.data.units import DataWarning, check_units

__all__ = [
    "SNAPSHOT",
    "SOURCES",
    "TRANSFORMS",
    "US_OBSERVABLES",
    "DataSettings",
    "DataWarning",
    "Dataset",
    "Observable",
    "SeriesTable",
    "check_units",
    "dataset_from_frame",
    "format_quarter",
    "load_dataset",
    "load_series",
    "load_table",
    "make_dataset",
    "parse_quarter",
    "read_dataset",
    "read_series",
    "table_from_frame",
    "transform_series",
    "write_dataset",
    "write_raw",
]
