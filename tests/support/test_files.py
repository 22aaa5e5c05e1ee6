"""Files are whole or absent, and floats survive JSON."""

from __future__ import annotations

import errno
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimhank.support import files, shipped
from estimhank.support.errors import StorageError


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = files.write_text(tmp_path / "a.txt", "old")
    with pytest.raises(KeyboardInterrupt), files.replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "code, words",
    [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "the file system is read-only"), (errno.EACCES, "permission")],
)
def test_the_reason_of_a_failed_write_is_said(tmp_path, monkeypatch, code, words):
    def fail(*_):
        raise OSError(code, "words of the system")

    path = files.write_text(tmp_path / "a.txt", "old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match=rf"cannot write .*a\.txt: {words}"):
        files.write_text(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_or_file_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"cannot write .*it does not exist"):
        files.write_text(tmp_path / "no" / "a.txt", "x")
    with pytest.raises(StorageError, match=r"cannot read .*it does not exist"):
        files.read_json(tmp_path / "a.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"in the way|a file, not a folder"):
        files.make_folder(tmp_path / "file")


def test_written_files_are_readable_by_others(tmp_path):
    mask = os.umask(0o022)
    try:
        assert files.write_text(tmp_path / "a", "x").stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(mask)


@given(st.floats())
def test_every_float_survives_json(tmp_path_factory, number):
    path = files.write_json(tmp_path_factory.getbasetemp() / "n.json", {"n": number})
    back = float(files.read_json(path)["n"])
    assert (
        math.isnan(back)
        if math.isnan(number)
        else (back == number and math.copysign(1, back) == math.copysign(1, number))
    )


def test_json_takes_arrays_and_dataclasses(tmp_path):
    @dataclass(frozen=True)
    class Point:
        x: np.ndarray
        names: tuple[str, ...]

    value = {
        "p": Point(np.array([0.1, np.nan]), ("a",)),
        "n": np.int64(3),
        "ok": np.bool_(True),
        "f": Path("x"),
        "o": None,
    }
    assert files.read_json(files.write_json(tmp_path / "a.json", value)) == {
        "p": {"x": [0.1, "nan"], "names": ["a"]},
        "n": 3,
        "ok": True,
        "f": "x",
        "o": None,
    }
    with pytest.raises(TypeError, match="no JSON form"):
        files.to_json({"f": open})


def test_damaged_json_and_text_are_named(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1,\n')
    with pytest.raises(StorageError, match="line 2 is not JSON"):
        files.read_json(tmp_path / "a.json")
    (tmp_path / "b").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StorageError, match="not UTF-8"):
        files.read_text(tmp_path / "b")


def test_digests(tmp_path):
    # FIPS 180-2, appendix B.1
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256_of("abc") == files.sha256_of(b"abc") == abc
    assert files.sha256_of_file(files.write_text(tmp_path / "a", "abc")) == abc
    a = np.array([[1.0, np.nan], [0.0, 2.0]])
    same = a.copy()
    same[0, 1] = -np.nan
    same[1, 0] = -0.0
    assert files.sha256_of_array(a) == files.sha256_of_array(same) == files.sha256_of_array(a.astype(">f8"))
    assert files.sha256_of_array(a) != files.sha256_of_array(a.ravel())


def test_the_shipped_files_are_found():
    assert shipped.bundled("data/us_macro.csv").is_file()
    assert shipped.bundled("configs/us_hank.toml").is_file()
    with pytest.raises(StorageError, match="install the package again"):
        shipped.bundled("data/nothing.csv")
