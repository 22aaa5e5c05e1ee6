"""Features that need further packages say so in one sentence, before a run begins."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from estimhank.cli import run_command
from estimhank.data import load_series
from estimhank.run.config import load_config, make_config
from estimhank.run.pipeline import check_extras
from estimhank.support.errors import ConfigError, DataError


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment with what a plain run needs and nothing else."""
    for name in ("distributed", "blackjax", "openpyxl"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"run": {"backend": "dask"}}, 'dask and distributed: pip install "estimhank[cluster]"'),
        ({"sample": {"algorithm": "nuts"}}, 'nuts needs blackjax: pip install "estimhank[nuts]"'),
    ],
)
def test_a_run_is_refused_before_it_leaves_a_trace(tmp_path: Path, changes: dict, sentence: str) -> None:
    config = make_config({"model": {"name": "one_asset_hank"}, **changes}, "smoke")
    with pytest.raises(ConfigError) as caught:
        run_command(config, tmp_path / "run", None, False, False, quiet=True)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
    check_extras(config, "data")  # this stage needs neither


@pytest.mark.usefixtures("bare")
def test_an_excel_file_says_what_reads_it(tmp_path: Path) -> None:
    (tmp_path / "mine.xlsx").write_bytes(b"x")
    with pytest.raises(DataError, match=r'mine.xlsx cannot be read.*openpyxl: pip install "estimhank\[excel\]"'):
        load_series(str(tmp_path / "mine.xlsx"))


@pytest.mark.usefixtures("bare")
def test_the_default_run_needs_none_of_them() -> None:
    check_extras(load_config("configs/us_hank.toml"))
