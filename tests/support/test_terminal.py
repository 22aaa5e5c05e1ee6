"""Where words go: other encodings, pipes that nobody reads, full disks, one line a sentence."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import joblib
import pytest

from estimhank import cli, from_log_density
from estimhank.evaluation.engine import Engine
from estimhank.run.config import load_config, make_config
from estimhank.run.context import RunContext
from estimhank.run.open_posterior import build_target
from estimhank.support.errors import ConfigError
from estimhank.support.files import read_json, sha256_of, write_json
from estimhank.support.machine import find_cores
from tests.support.test_portability import density


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The command line's exit code."""
    monkeypatch.setattr(sys, "argv", ["estimhank", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_terminals_that_lack_letters(encoding: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "Zoë ˆ"
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert call(monkeypatch, "data", "us_hank", "--out", str(folder)) == 0
    assert call(monkeypatch, "data", str(folder / "ř.toml")) == 2
    err.flush()
    said, told = (stream.buffer.getvalue().decode(encoding) for stream in (out, err))
    assert "data.csv" in said and "there is no configuration file" in told
    if encoding == "ascii":
        assert r"Zo\xeb" in said and r"\u0159.toml" in told


def test_names_that_are_no_unicode_are_kept(tmp_path: Path) -> None:
    name = os.fsdecode(b"/data/Zo\xeb/run.toml")  # Latin-1, as an old disk may have it
    file = write_json(tmp_path / "a.json", {"file": name})
    assert read_json(file) == {"file": name} and os.fsencode(read_json(file)["file"]) == b"/data/Zo\xeb/run.toml"
    assert sha256_of(name) != sha256_of(name.replace("\udceb", ""))
    file.read_bytes().decode("utf-8")


def test_what_nobody_reads_ends_quietly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", os.fdopen(write, "w"))
        assert call(monkeypatch, "version") == 1
        sys.stdout.close()
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
@pytest.mark.parametrize("through", [True, False])
def test_a_full_disk_behind_the_output_is_told(
    through: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = io.TextIOWrapper(open("/dev/full", "wb", buffering=0 if through else -1), write_through=through)  # noqa: SIM115
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        assert call(monkeypatch, "version") == 2
        full.close()  # it was pointed elsewhere, or this would complain
    assert capsys.readouterr().err == "estimhank: what it says cannot be printed: the disk is full\n"


def test_another_fault_of_the_system_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(5, "of something else")

    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.setattr(sys, "argv", ["estimhank", "version"])
    with pytest.raises(OSError, match="of something else"):
        cli.main()


def test_a_sentence_is_one_line_whatever_it_shows() -> None:
    assert str(ConfigError("got 'a\nb\r\x1b[31m\u2028\u202e'")) == r"got 'a\nb\r\x1b[31m\u2028\u202e'"
    shown = str(ConfigError("line 3: '" + "9" * 100_000 + "' is not a number"))
    assert len(shown) < 2_000 and shown.startswith("line 3: '9") and shown.endswith("9' is not a number")


@pytest.mark.parametrize(
    "arguments", [("data", "x" * 3_000), ("data", "us_hank", "--out", "x" * 300), ("compare", "x" * 300, "y")]
)
def test_names_that_no_disk_takes(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, *arguments) == 2
    assert "File name too long" in capsys.readouterr().err


def test_a_file_that_is_only_looked_for_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise PermissionError(13, "Permission denied", "/secret/run.toml")

    monkeypatch.setattr(cli, "app", fail)
    assert call(monkeypatch, "version") == 2
    assert capsys.readouterr().err == "estimhank: cannot use /secret/run.toml: permission is denied [E30]\n"


@pytest.mark.parametrize("option", ["--seed", "--workers"])
def test_numbers_that_nothing_takes(
    option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "data", "us_hank", option, "9" * 30) == 2
    assert "less than or equal to" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="workers: must be at most"):
        make_config({"run": {"workers": 100_000}})


@pytest.fixture
def one_processor() -> Iterator[None]:
    """Only one processor for this process."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processors cannot be taken away here")
@pytest.mark.usefixtures("one_processor")
def test_one_processor_is_one_worker(tmp_path: Path) -> None:
    assert find_cores().usable == joblib.cpu_count() == 1
    assert RunContext(load_config("configs/us_hank.toml"), tmp_path, build_target).workers == 1
    assert Engine(from_log_density(density, ["x"], [0.1], 1.0), "loky", 0).workers == 1
