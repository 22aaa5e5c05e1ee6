"""What :mod:`benchmarks.fuzz` damages, and who reads it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from io import BytesIO
from pathlib import Path

import numpy as np

from estimhank.analysis.inference_data import arrays_of, read_inference_data
from estimhank.data.dataset import read_dataset
from estimhank.data.fred import FRED_SOURCES
from estimhank.data.load import load_dataset, load_table
from estimhank.data.series_table import SeriesTable
from estimhank.economics.conditions import ScenarioPlan, place, read_plan
from estimhank.economics.counterfactual import CounterfactualPlan
from estimhank.economics.reporting import About
from estimhank.economics.series import Series
from estimhank.evaluation.evaluations import EvaluationBatch, empty_gradient
from estimhank.evaluation.store import EvaluationStore, read_evaluations
from estimhank.mode.mode_result import read_mode as _read_mode
from estimhank.model.observed import Level
from estimhank.run import model_check
from estimhank.run.config import Config, load_config, make_config
from estimhank.run.config_sections import DataConfig
from estimhank.run.global_config import load_global_config
from estimhank.run.results import load
from estimhank.support.files import read_json
from estimhank.support.shipped import bundled, shipped
from estimhank.surrogate.surrogate import load_surrogate

_ROWS = 80  # of the snapshot: 20 years
_DRAWS = 4  # of each chain


# -- what is whole --------------------------------------------------------------------------------------------------
def configurations(run: Path) -> list[bytes]:
    """Those that ship and are estimated, and one with every key."""
    files = [path for name, path in shipped("configs").items() if name != "krusell_smith_global"]
    return [*(path.read_bytes() for path in files), _EVERYTHING.encode()]


_EVERYTHING = """
[model]
name = "one_asset_hank"
horizon = 300
tail_start = 200
calibration = { eis = 0.5, r = 0.005 }
grid = { n_e = 7, n_a = 200, a_max = 200.0, scheme = "linear" }
[data]
source = "snapshot"
start = "1966Q1"
end = "2019Q4"
presample = 4
condition_on = 0
exclude = ["1970Q2", "2009Q1 to 2015Q4"]
[data.observables.growth]
series = "GDPC1"
transform = "log_difference"
scale = 100.0
unit = "percent per quarter"
label = "GDP"
demean = true
per_capita = "HOANBS"
annualised = false
detrend = "linear"
aggregate = "mean"
exclude = ["1970Q1"]
allow_outliers = ["1975Q1"]
measurement_error = { family = "gamma", mean = 0.1, sd = 0.05 }
[data.observables.rate]
series = "FEDFUNDS"
transform = "level"
scale = 0.25
demean = 1.0
[parameters.phi_pi]
prior = { family = "normal", mean = 1.5, sd = 0.25, lower = 1.0 }
[parameters.rho_i]
fixed = 0.8
[parameters.eis]
prior = { family = "uniform", low = 0.2, high = 1.0 }
[mode]
starts = 2
[emulator]
points = 0
[sample]
iterations = 10
warmup = 5
algorithm = "smc"
gradient = true
[surrogate]
hidden = [32, 32]
epochs = 10
temperatures = [1.0, 2.0]
[posterior]
chains = 8
dispersed = 2
min_ess = 50
max_r_hat = 1.1
[economics]
variables = ["log Y"]
quarters = 8
draws = 10
households = true
[economics.units]
inflation = "annualised"
[economics.groups]
demand = ["g", "m"]
[economics.colors]
demand = "#0072B2"
[report]
svg = true
[run]
seed = 3
workers = 0
backend = "loky"
scheduler = ""
wait = 60.0
batch = 64
[profile.smoke.sample]
iterations = 12
[profile.mine.posterior]
chains = 4
dispersed = 1
"""


def tables(run: Path) -> list[bytes]:
    """The same as nested tables, as they are given in Python: all keys of all sections."""
    import tomllib

    found = [tomllib.loads(content.decode()) for content in configurations(run)]
    whole = make_config(found[-1]).canonical()
    observables = whole["data"].pop("observables")
    whole["data"]["observables"] = {o.pop("name"): o for o in observables}
    for setting in whole["parameters"].values():
        for key in [key for key, value in setting.items() if value is None]:
            del setting[key]
    return [json.dumps(table).encode() for table in (*found, whole)]


def economies(run: Path) -> list[bytes]:
    """The configuration of ``estimhank global``."""
    return [shipped("configs")["krusell_smith_global"].read_bytes()]


def scenarios(run: Path) -> list[bytes]:
    """Files of conditions, and a policy."""
    return [
        b'title = "Tight"\nquarters = 8\nshocks = ["m"]\nannounced = true\n\n[[condition]]\nseries = "rate"\n'
        b'date = "2020Q1"\nvalues = [1.0, 1.1, 1.2]\n\n[[condition]]\nseries = "inflation"\ndate = "2020Q4"\n'
        b"values = [0.5]\nsd = 0.1\n",
        b'# policy\ntitle = "Target"\npolicy = ["m"]\npolicy_shocks = "zero"\nnews = 40\nquarters = 4\n\n[[rule]]\n'
        b'series = "inflation"\nweight = 1.0\n\n[[rule]]\nseries = "growth"\nweight = -0.5\nlag = 1\n',
        b'# policy\ntitle = "Hawk"\npolicy_shocks = "kept"\n\n[parameters]\nphi_pi = 2.0\n',
    ]


def points(run: Path) -> list[bytes]:
    """Parameter values, and a failed evaluation."""
    return [b'{"phi_pi": 1.5, "rho_i": 0.8, "kappa_w": 0.1}']


def series(run: Path) -> list[bytes]:
    """Some of the snapshot, quarterly with commas and with semicolons and decimal commas, monthly, and yearly."""
    lines = [line for line in bundled("data/us_macro.csv").read_text().splitlines() if not line.startswith("#")]
    names = lines[0].split(",")
    wanted = [0, *(names.index(name) for name in ("GDPC1", "GDPDEF", "FEDFUNDS"))]
    rows = [[line.split(",")[k] for k in wanted] for line in [lines[0], *lines[25 : 25 + _ROWS]]]
    plain = "\n".join(",".join(row) for row in rows)
    comma = "\n".join(";".join(cell.replace(".", ",") for cell in row) for row in rows)
    months = [f"{1965 + k // 12}-{k % 12 + 1:02d}" for k in range(3 * _ROWS)]
    body = [row for row in rows[1:] for _ in range(3)]
    monthly = "\n".join(
        ["\t".join(["date", *rows[0][1:]]), *("\t".join([m, *r[1:]]) for m, r in zip(months, body, strict=True))]
    )
    yearly = "\n".join(",".join([r[0], r[1] if k % 4 == 0 else "", *r[2:]]) for k, r in enumerate(rows))
    return [("# from the snapshot\n" + text + "\n").encode() for text in (plain, comma, monthly, yearly)]


def workbooks(run: Path) -> list[bytes]:
    """The first of these as an Excel file."""
    from openpyxl import Workbook

    book, memory = Workbook(), BytesIO()
    sheet = book.active
    assert sheet is not None
    for line in series(run)[0].decode().splitlines()[1:30]:
        sheet.append([float(cell) if cell.replace(".", "").isdigit() else cell for cell in line.split(",")])
    book.save(memory)
    return [memory.getvalue()]


_NAMES, _PRINT = ("a", "b"), {"model": "1", "data": "2"}


def _batch(n: int, gradient: bool) -> EvaluationBatch:
    theta = np.arange(2.0 * n).reshape(n, 2)
    slopes = theta + 1 if gradient else empty_gradient(n, 2)
    return EvaluationBatch(theta, -theta[:, 0], theta[:, 1], np.zeros(n, np.uint8), np.ones(n, np.float32), slopes)


def stores(run: Path) -> list[bytes]:
    """A store with three batches, made anew, and the beginning of a run's."""
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "evaluations.bin"
        with EvaluationStore.open(path, _NAMES, _PRINT) as store:
            store.append("mode", 0, _batch(3, True))
            store.append("sample", 0, _batch(2, False))
            store.append("exact", 7, _batch(1, False))
        whole = [path.read_bytes()]
    other = run / "evaluations.bin"  # of another log density
    return [*whole, other.read_bytes()[:6_000]] if other.exists() else whole


def part(name: str) -> Callable[[Path], list[bytes]]:
    """A file of a run."""
    return partial(_part, name)


def _part(name: str, run: Path) -> list[bytes]:
    return [(run / name).read_bytes()]


def draws(run: Path) -> list[bytes]:
    """``posterior.nc`` with few draws."""
    tree = read_inference_data(run / "posterior.nc")
    few = tree.map_over_datasets(lambda d: d.isel(draw=slice(0, _DRAWS)) if "draw" in d.dims else d)
    return [bytes(few.to_netcdf(None, engine="h5netcdf"))]


# -- who reads it ---------------------------------------------------------------------------------------------------
def prepare(kind: str, run: Path, scratch: Path) -> None:
    """Put beside an input what is read with it."""
    if kind == "manifest":
        for name in ("data.csv", "mode.json", "certificate.json"):
            shutil.copyfile(run / name, scratch / name)
    if kind == "surrogate":
        shutil.copyfile(run / "surrogate.json", scratch / "surrogate.json")


def _go_on(config: Config, folder: Path) -> None:
    """What a run does with a configuration before it builds the model; the data of some."""
    config.canonical()
    some = config.digest()[0] in "07"  # one in eight: data take ten times as long as all else
    if some and config.data.source not in FRED_SOURCES:
        # what ships is read once: it is whole
        load_dataset(
            config.data, folder, _snapshot() if config.data == replace(config.data, source="snapshot") else None
        )


@cache
def _snapshot() -> SeriesTable:
    return load_table(DataConfig())


def read_config(path: Path) -> None:
    """A configuration and the data that it asks for."""
    _go_on(load_config(path), path.parent)


def read_tables(path: Path) -> None:
    """A configuration given in Python."""
    try:
        table = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return  # no table, which is not what is looked at here
    if isinstance(table, dict):
        _go_on(make_config(table), path.parent)


def read_global(path: Path) -> None:
    """A configuration of a global solution."""
    load_global_config(path)


def _about() -> About:
    """What the conditions of a scenario are compared with."""
    series = tuple(Series(name, name, "", Level("x")) for name in ("growth", "inflation", "rate"))
    return About("", "mode", 1, series, ("w", "g", "m"), (), {}, {}, ("2019Q3", "2019Q4"))


def read_scenario(path: Path) -> None:
    """A scenario, or a policy."""
    if b"policy" in path.read_bytes():
        read_plan(path, CounterfactualPlan)
    else:
        place(read_plan(path, ScenarioPlan), _about())


def read_point(path: Path) -> None:
    """Parameter values."""
    model_check.read_point(path)


def read_series(path: Path) -> None:
    """A table of series, and observables made of it."""
    load_dataset(replace(DataConfig(), source=str(path), start="1966Q1", end="1980Q4"), path.parent)


def read_workbook(path: Path) -> None:
    """An Excel file."""
    load_dataset(replace(DataConfig(), source=str(path), start="1966Q1", end="1970Q4"), path.parent)


def read_store(path: Path) -> None:
    """A store: read, opened by its owner, and added to."""
    read_evaluations(path)
    with EvaluationStore.open(path, _NAMES, _PRINT) as store:
        store.read()
        if ("certificate", 3) not in store:
            store.append("certificate", 3, _batch(2, True))
    read_evaluations(path)


def read_data(path: Path) -> None:
    """The observables of a run."""
    read_dataset(path)


def read_run(path: Path) -> None:
    """A finished run: manifest, configuration, data, mode, certificate."""
    run = load(path.parent)
    run.config.canonical()
    _ = run.data, run.mode, run.certificate


def read_mode(path: Path) -> None:
    """The posterior mode, as stages read it and as it is."""
    read_json(path)
    _read_mode(path)


def read_network(path: Path) -> None:
    """The trained network."""
    load_surrogate(path.parent)


def read_draws(path: Path) -> None:
    """Draws of the posterior."""
    arrays_of(read_inference_data(path))
