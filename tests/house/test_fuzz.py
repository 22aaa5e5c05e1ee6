"""Damaged inputs end in the package's own errors: some of each kind, and those that once did not."""

from __future__ import annotations

import csv
import json
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import fuzz, fuzz_readers
from benchmarks.fuzz import SUBJECTS, make_input, wrong_with
from benchmarks.fuzz_inputs import PLAIN_VALUES
from estimhank.analysis.inference_data import read_inference_data
from estimhank.data.dataset import read_dataset
from estimhank.data.excel import read_sheet
from estimhank.data.fred_answers import BadAnswer, read_csv
from estimhank.data.load import load_dataset
from estimhank.data.series import read_series
from estimhank.economics.conditions import ScenarioPlan, read_plan
from estimhank.evaluation.store import read_evaluations
from estimhank.evaluation.store_format import HEAD, MAGIC, VERSION
from estimhank.run.config import load_config, make_config, restore_config
from estimhank.run.global_config import load_global_config
from estimhank.run.model_check import read_point
from estimhank.support.errors import ConfigError, DataError, ResultsError, StorageError
from estimhank.support.files import read_arrays, read_json
from estimhank.support.plain import from_plain

#: Kinds whose whole inputs need no run.
ALONE = ("configuration", "tables", "global configuration", "scenario", "point", "csv", "store")


@pytest.mark.parametrize("kind", ALONE)
def test_some_of_each_kind(kind: str, tmp_path: Path) -> None:
    subject, path = SUBJECTS[kind], tmp_path / SUBJECTS[kind].file
    whole = subject.whole(tmp_path)
    ended = set()
    for number in range(60):
        path.unlink(missing_ok=True)
        path.write_bytes(make_input(subject, kind, number, whole))
        how, wrong = wrong_with(subject, path)
        assert not wrong, (number, wrong)
        ended.add(how == "read")
    assert ended == {True, False}, "some are read, others are refused"


def test_an_input_is_known_by_its_number(tmp_path: Path) -> None:
    subject = SUBJECTS["csv"]
    whole = subject.whole(tmp_path)
    assert make_input(subject, "csv", 7, whole) == make_input(subject, "csv", 7, whole)
    assert make_input(subject, "csv", 7, whole) != make_input(subject, "csv", 11, whole)
    subject, before = SUBJECTS["tables"], repr(PLAIN_VALUES)
    whole = subject.whole(tmp_path)
    alone = make_input(subject, "tables", 7, whole)
    for number in range(200):  # none of which may change what the others are made of
        make_input(subject, "tables", number, whole)
    assert make_input(subject, "tables", 7, whole) == alone and repr(PLAIN_VALUES) == before


def test_foreign_exceptions_and_broken_sentences_are_found(tmp_path: Path) -> None:
    class TwoLinesError(ConfigError):
        def __str__(self) -> str:
            return "one\ntwo"

    for error, words in (
        (KeyError("x"), "KeyError from"),
        (MemoryError(), "MemoryError"),
        (TwoLinesError(), "not one line"),
    ):

        def read(path: Path, error: Exception = error) -> None:
            raise error

        assert words in wrong_with(SUBJECTS["csv"]._replace(read=read), tmp_path / "x")[1]
    assert wrong_with(SUBJECTS["csv"]._replace(read=lambda path: None), tmp_path / "x") == ("read", "")


@pytest.mark.parametrize(("end", "words"), [("os.kill(os.getpid(), 9)", "ended with -9"), ("time.sleep(60)", "no end")])
def test_a_process_that_dies_or_hangs_is_found_and_the_rest_is_read(
    end: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []

    def stand_in(command: list[str], **options: Any) -> subprocess.Popen[str]:
        first = int(command[command.index("--first") + 1])
        begun.append(first)
        lines = [{"at": first}] if len(begun) == 1 else [{"at": first}, {"counts": {"read": 3}}]
        program = f"""import os, time
with open({command[command.index("--out") + 1]!r}, "w") as file:
    file.write({"".join(json.dumps(line) + chr(10) for line in lines)!r})
{end if len(begun) == 1 else ""}
"""
        return start([sys.executable, "-S", "-c", program], **options)

    start = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", stand_in)
    monkeypatch.setattr(fuzz, "PATIENCE", 3.0)
    counts, wrong = fuzz.watch("point", 5, 4, tmp_path, tmp_path)
    assert begun == [5, 6] and counts == {"read": 3, "died": 1}
    assert [w["number"] for w in wrong] == [5] and words in wrong[0]["wrong"]


def store_of(head: object = None) -> bytes:
    """A store without batches, or one whose head says something else, with the right checksum."""
    if head is None:
        head = {"names": list(fuzz_readers._NAMES), "fingerprint": fuzz_readers._PRINT, "created": ""}
    text = json.dumps(head).encode()
    content = HEAD.pack(MAGIC, VERSION, len(text), zlib.crc32(text)) + text
    return content + bytes(-len(content) % 64)


# -- what once ended otherwise --------------------------------------------------------------------------------------
DEEP, LONG = b"[" * 100_000, b"9" * 5_000


@pytest.mark.parametrize("content", [DEEP, LONG, b'{"a": ' + LONG + b"}", b'{"a":' * 20_000])
def test_json_of_many_brackets_or_digits(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(StorageError, match="cannot read"):
        read_json(path)
    with pytest.raises(ConfigError, match=r"is not a JSON file|holds parameter values"):
        read_point(path)


def test_values_of_parameters_that_no_float_holds(tmp_path: Path) -> None:
    for text in ("9" * 400, "1e400", "NaN", "true"):
        (tmp_path / "a.json").write_text(f'{{"phi_pi": {text}}}')
        with pytest.raises(ConfigError, match="the value of phi_pi is a number"):
            read_point(tmp_path / "a.json")
    with pytest.raises(ValueError, match="too large"):
        from_plain(float, 10**400, "it")


@pytest.mark.parametrize("text", [b"a = " + LONG, b"a = " + b"[" * 3_000 + b"]" * 3_000, b"a = nope", b"\xff"])
def test_toml_of_every_reader(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(text)
    for read in (load_config, load_global_config, lambda file: read_plan(file, ScenarioPlan)):
        with pytest.raises((ConfigError, StorageError), match=r"is not a TOML file|not UTF-8"):
            read(path)


@pytest.mark.parametrize("own", [3, "x", [], True])
def test_profiles_that_are_no_tables(own: object) -> None:
    with pytest.raises(ConfigError, match=r"expected tables like \[profile\.smoke\.sample\]"):
        make_config({"profile": {"mine": own}})


@pytest.mark.parametrize(
    "kept",
    [
        {"model": 3},
        {"data": {"observables": [{"series": "x"}]}},
        {"data": {"observables": [3]}},
        {"parameters": {"x": 3}},
        {"parameters": {"x": {"prior": {"family": "normal", "mean": [1]}}}},
        {"parameters": {"x": {"prior": {"family": "normal", "mean": 10**400}}}},
        {"run": [["seed"]]},
    ],
)
def test_settings_in_a_manifest_that_are_none(kept: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        restore_config(kept)


def test_a_field_without_an_end(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('date,x\n1966Q1,"1\n' + "1966Q2,1\n" * 20_000)
    with pytest.raises(DataError, match=r"a\.csv, line 2: field larger .*a quotation mark"):
        read_series(path)
    body = b'observation_date,X\n2000-01-01,"' + b"1" * 200_000
    with pytest.raises(BadAnswer, match="not a table"):
        read_csv(body, "X", True)
    path.write_text("# units: []\n# labels: []\n# means: []\n# sha256: 1\n# provenance: {}\n" + path.read_text())
    with pytest.raises(DataError, match="is damaged"):
        read_dataset(path)
    path.write_text("# units: " + "9" * 5_000 + "\n")
    with pytest.raises(DataError, match="'units' is damaged"):
        read_dataset(path)
    assert csv.field_size_limit() == 131_072, "which is the process's and is left as it was"


@pytest.mark.parametrize(
    "head",
    [None, 3, "x", [], {}, {"names": ["x"]}, {"names": "x", "fingerprint": {}}, {"names": [1], "fingerprint": {}}]
    + [{"names": ["x"], "fingerprint": f} for f in ([], [["a", "b", "c"]], {"model": 3}, None)],
)
def test_heads_of_stores_that_say_something_else(head: object, tmp_path: Path) -> None:
    path = tmp_path / "evaluations.bin"
    path.write_bytes(store_of({"all": head} if head is None else head))
    with pytest.raises(StorageError, match="its head is damaged"):
        read_evaluations(path)


def test_a_batch_that_claims_more_rows_than_there_are(tmp_path: Path) -> None:
    head = struct.pack("<4sBBHIIq", b"BATC", 1, 1, 0, 2**31, 0, 0)
    path = tmp_path / "evaluations.bin"
    path.write_bytes(store_of() + head + struct.pack("<I", zlib.crc32(head)) + b"x" * 100)
    assert len(read_evaluations(path)) == 0  # as where a process was killed in the middle of it


def test_draws_that_lack_a_parameter_or_are_none(tmp_path: Path) -> None:
    import xarray as xr

    group = xr.Dataset({"a": (("chain", "draw"), [[1.0, 2.0]])})
    tree = xr.DataTree.from_dict(
        {name: group for name in ("/posterior", "/sample_stats", "/log_likelihood", "/log_prior", "/prior")}
    )
    tree.attrs["parameters"] = ["a", "b"]
    path = tmp_path / "posterior.nc"
    tree.to_netcdf(path, engine="h5netcdf")
    with pytest.raises(ResultsError, match=r"posterior\.nc (is damaged|lacks)"):
        read_inference_data(path)
    content = bytearray(path.read_bytes())
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ResultsError, match=r"posterior\.nc (is damaged|lacks)"):
        read_inference_data(path)


@pytest.mark.parametrize(
    "content", [b"", b"x", b"PK\x03\x04" + b"\x00" * 40, b"\x93NUMPY\x01\x00\x10\x00{'descr': (" + b" " * 40]
)
def test_files_of_arrays_that_are_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(StorageError, match="not a file of arrays"):
        read_arrays(path)
    np.savez(path, a=np.arange(5.0))
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"'descr': '<f8'", b"'descr': (<f8'"))  # an array's head that cannot be parsed
    with pytest.raises(StorageError, match="not a file of arrays"):
        read_arrays(path)
    path.write_bytes(whole)
    assert read_arrays(path)["a"].tolist() == [0, 1, 2, 3, 4]


def test_excel_files_of_another_compression(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    whole = bytearray(fuzz_readers.workbooks(tmp_path)[0])
    for head, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        for place in re.finditer(re.escape(head), bytes(whole)):
            whole[place.start() + offset] = 99  # a method of compression that there is not
    path.write_bytes(whole)
    with pytest.raises(DataError, match="is not an Excel file, or a damaged one"):
        read_sheet(path)


def test_sources_whose_names_no_disk_takes(tmp_path: Path) -> None:
    config = make_config({"data": {"source": "x" * 3_000}})
    with pytest.raises(StorageError, match="File name too long"):
        load_dataset(config.data, tmp_path)
