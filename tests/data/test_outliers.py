"""Codes for missing values, lost decimal points and other slips are named by row; what economies do is let pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from estimhank.data import Observable, dataset_from_frame, load_dataset
from estimhank.data.outliers import find_outliers
from estimhank.run.config import load_config
from estimhank.support.errors import ConfigError, DataError

SNAPSHOT = pd.read_csv(Path(__file__).parents[2] / "data" / "us_macro.csv")
RATE, OUTPUT, PRICES = (SNAPSHOT[name].to_numpy(float) for name in ("FEDFUNDS", "GDPC1", "GDPDEF"))
INFLATION = 100 * np.diff(np.log(PRICES))


def spoiled(series: np.ndarray, row: int, change: Callable[[float], float]) -> np.ndarray:
    out = series.copy()
    out[row] = change(out[row])
    return out


def frame_of(**columns: np.ndarray) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    return pd.DataFrame(columns, index=pd.period_range("1959Q1", periods=n, freq="Q"))


SLIPS = {
    "-9999": (lambda v: -9999.0, "code for a missing value"),
    "-99": (lambda v: -99.0, "code for a missing value"),
    "99": (lambda v: 99.0, "code for a missing value"),
    "999": (lambda v: 999.0, "code for a missing value"),
    "9999.9": (lambda v: 9999.9, "code for a missing value"),
    "-750": (lambda v: -750.0, "as far from what stands around it"),
    "1e20": (lambda v: 1e20, "as far from what stands around it"),
}


@pytest.mark.parametrize("slip", SLIPS)
@pytest.mark.parametrize("row", [0, 1, 57, 140, 265])
@pytest.mark.parametrize("series", [RATE, INFLATION, np.full(60, 0.25)], ids=["rate", "inflation", "constant"])
def test_codes_and_gross_figures_are_found(slip: str, row: int, series: np.ndarray) -> None:
    change, words = SLIPS[slip]
    row = min(row, len(series) - 1)
    if np.ptp(series) == 0 and "code" not in words:
        pytest.skip("one step in a constant series says nothing of what is usual")
    (found,) = find_outliers(spoiled(series, row, change))
    assert found.row == row and words in found.words


@pytest.mark.parametrize("power", [-2, -1, 1, 2, 3])
@pytest.mark.parametrize("row", [0, 1, 57, 140, 265])
@pytest.mark.parametrize("series", [OUTPUT, PRICES], ids=["output", "prices"])
def test_misplaced_decimal_points_are_found(power: int, row: int, series: np.ndarray) -> None:
    (found,) = find_outliers(spoiled(series, row, lambda v: v * 10.0**power), logarithm=True)
    assert (
        found.row == row and "decimal point" in found.words and f"1{'0' * abs(power)}" in found.words.replace(",", "")
    )


def test_several_codes_in_a_row_are_all_found() -> None:
    series = RATE.copy()
    series[40:52] = -99.0
    assert [o.row for o in find_outliers(series)] == list(range(40, 52))


def series_that_are_so() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    calm = 0.5 + 0.4 * rng.normal(size=120)
    pandemic = np.r_[calm, -2.7, -20.3, 17.6, 1.5, -1.1, 6.5, 1.7, 1.5, 0.5, 0.2, 0.0, 0.1]  # the United Kingdom's
    jobless = np.r_[3.6 + 0.1 * rng.normal(size=100), 3.8, 13.0, 8.8, 6.8, 6.2, 5.9, 5.1, 4.2, 3.8, 3.6]
    steps = np.repeat([5.25, 5.0, 4.5, 1.0, 0.25, 0.25, 0.25, 0.5, 2.5, 0.1], 9)
    return {
        "pandemic growth": pandemic, "pandemic output": 100 * np.exp(np.cumsum(pandemic) / 100),
        "unemployment": jobless, "its change": np.diff(jobless), "policy rate": steps, "its steps": np.diff(steps),
        "heavy tails": rng.standard_t(3, 200), "random walk": np.cumsum(rng.normal(size=200)),
        "news": rng.normal(size=200) * (rng.uniform(size=200) < 0.1), "a dummy": (np.arange(50) == 25).astype(float),
        "an index around 99": 99 + rng.normal(size=60).round(), "eight": np.r_[1.0, 2.0, 2.5, 3.0, 2.0, 1.0, 0.5, 1.5],
        "output": OUTPUT, "rate": RATE, "inflation": INFLATION, "growth": np.diff(np.log(OUTPUT)),
        "a new level": np.r_[rng.normal(size=60), 50 + rng.normal(size=60)], "a trend": 1 + np.arange(100.0),
        "growth without end": 1.003 ** np.arange(100), "few": np.array([1.0, 500.0]), "nothing": np.full(20, np.nan),
    }  # fmt: skip


@pytest.mark.parametrize("name", series_that_are_so())
def test_what_economies_do_is_let_pass(name: str) -> None:
    series = series_that_are_so()[name]
    assert find_outliers(series) == []
    if np.nanmin(np.append(series, 1.0)) > 0:
        assert find_outliers(series, logarithm=True) == []


def test_the_snapshot_passes_through_the_pandemic() -> None:
    frame = frame_of(GDPC1=OUTPUT, GDPDEF=PRICES, FEDFUNDS=RATE)
    assert dataset_from_frame(frame).dates[-1] == "2025Q4"


def test_rows_are_named_and_figures_that_are_right_declared() -> None:
    bad = spoiled(OUTPUT, 100, lambda v: v / 10)  # 1984Q1
    growth = Observable("growth", "GDPC1", "log_difference", 100.0)
    with pytest.raises(DataError, match=r"row 101, column GDPC1: .* is about a 10th part of .* \(observable growth\)"):
        dataset_from_frame(frame_of(GDPC1=bad), [growth])
    with pytest.raises(DataError, match=r'declare allow_outliers = \["1984Q1"\]'):
        dataset_from_frame(frame_of(GDPC1=bad), [growth])
    for allowed in (("1984Q1",), ("1983Q4 to 1984Q3",)):
        right = Observable("growth", "GDPC1", "log_difference", 100.0, allow_outliers=allowed)
        values = dataset_from_frame(frame_of(GDPC1=bad), [right]).values
        assert np.abs(values).max() > 200
    # a quarter that is left out has no part in anything; its successor's growth has
    for excluded, passes in ((("1984Q1 to 1984Q2",), True), (("1984Q1",), False)):
        without = Observable("growth", "GDPC1", "log_difference", 100.0, exclude=excluded)
        if passes:
            dataset_from_frame(frame_of(GDPC1=bad), [without])
        else:
            with pytest.raises(DataError, match="row 101"):
                dataset_from_frame(frame_of(GDPC1=bad), [without])


def test_populations_differences_and_changes_of_unit_are_looked_at() -> None:
    people = 150e3 * 1.003 ** np.arange(len(OUTPUT))
    many, high = spoiled(people, 30, lambda v: v * 10), spoiled(RATE, 30, lambda v: 525.0)
    frame = frame_of(GDPC1=OUTPUT, POP=many, FEDFUNDS=high)
    with pytest.raises(DataError, match="row 31, column POP"):
        dataset_from_frame(frame, [Observable("growth", "GDPC1", "log_difference", 100.0, per_capita="POP")])
    with pytest.raises(DataError, match="row 31, column FEDFUNDS: 525 is"):
        dataset_from_frame(frame, [Observable("rate", "FEDFUNDS", "difference", 0.25)])
    billions = np.where(np.arange(len(OUTPUT)) < 200, OUTPUT, OUTPUT * 1000)  # millions from 2009 on
    with pytest.raises(DataError, match=r"row 200, column GDPC1: 16485.3 is .*; .*row 201"):
        dataset_from_frame(frame_of(GDPC1=billions), [Observable("growth", "GDPC1", "log_difference", 100.0)])


def test_a_run_refuses_them_and_takes_them_where_its_file_declares_them(tmp_path: Path) -> None:
    dates = [f"{1990 + i // 4}Q{i % 4 + 1}" for i in range(60)]
    rows = [f"{date},{-99 if i == 7 else 2 + i % 5}" for i, date in enumerate(dates)]
    (tmp_path / "data.csv").write_text("\n".join(["date,RATE", *rows]), encoding="utf-8")
    text = (
        '[data]\nsource = "data.csv"\nstart = "1990Q1"\nend = "2004Q4"\n[data.observables.rate]\nseries = "RATE"\n'
        'transform = "level"\nscale = 0.25\n'
    )
    (tmp_path / "run.toml").write_text(text, encoding="utf-8")
    config = load_config(tmp_path / "run.toml")
    with pytest.raises(DataError, match=r"data.csv, line 9, column RATE: -99 looks like a code for a missing value"):
        load_dataset(config.data, config.folder)
    (tmp_path / "run.toml").write_text(f'{text}allow_outliers = ["1991Q4"]\n', encoding="utf-8")
    config = load_config(tmp_path / "run.toml")
    assert load_dataset(config.data, config.folder).values.min() < -20
    (tmp_path / "run.toml").write_text(f'{text}allow_outliers = ["1991Q5"]\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="allow_outliers"):
        load_config(tmp_path / "run.toml")
