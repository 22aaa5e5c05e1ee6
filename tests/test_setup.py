"""The set-up: which Python is taken, what the lock holds, and what a built wheel carries."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def find_python(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script with a PATH of the given folder alone and an empty home."""
    for tool in ("ls", "sort"):
        if not (folder / tool).exists():
            (folder / tool).symlink_to(shutil.which(tool))
    return subprocess.run(
        ["/bin/sh", str(ROOT / "scripts/find-python")],
        capture_output=True,
        text=True,
        env={"PATH": str(folder), "HOME": str(folder), **environment},
    )


def stand_in(path: Path, answers: bool) -> Path:
    """An interpreter that passes every check, or a shim that exists and fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {path}\n" if answers else "#!/bin/sh\necho 'command not found' >&2; exit 127\n")
    path.chmod(0o755)
    return path


def test_without_a_new_enough_python_one_sentence_says_what_to_install(tmp_path):
    stand_in(tmp_path / "python3", answers=False)  # too old
    stand_in(tmp_path / "python3.13", answers=False)  # a shim without a version behind it
    done = find_python(tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "needs Python 3.12 or newer" in done.stderr and "install" in done.stderr


def test_a_candidate_is_run_before_it_is_believed(tmp_path):
    stand_in(tmp_path / "python3.13", answers=False)
    old = stand_in(tmp_path / ".pyenv/versions/3.13.2/bin/python", answers=True)
    new = stand_in(tmp_path / ".pyenv/versions/3.13.10/bin/python", answers=True)
    assert find_python(tmp_path).stdout.strip() == str(new)
    new.unlink()
    assert find_python(tmp_path).stdout.strip() == str(old)


def test_uv_is_the_last_resort(tmp_path):
    python = stand_in(tmp_path / "uv-pythons/python", answers=True)
    uv = tmp_path / "uv"
    uv.write_text(f"#!/bin/sh\necho {python}\n")
    uv.chmod(0o755)
    assert find_python(tmp_path).stdout.strip() == str(python)


def test_a_named_python_is_taken_or_refused(tmp_path):
    assert find_python(tmp_path, PYTHON=sys.executable).stdout.strip() == sys.executable
    refused = find_python(tmp_path, PYTHON="/no/python")
    assert refused.returncode == 1 and refused.stderr.startswith("PYTHON=/no/python is not")


def test_the_lock_is_names_and_versions_within_the_declared_ranges():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line) for line in lines)
    locked = {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower(): line.split("==")[1] for line in lines}
    assert len(locked) == len(lines)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [item for group in project["optional-dependencies"].values() for item in group]
    requirements = pytest.importorskip("packaging.requirements")
    for text in [*project["dependencies"], *extras]:
        requirement = requirements.Requirement(text)
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name != "estimhank":
            assert requirement.specifier.contains(locked[name]), text


def test_a_wheel_carries_data_and_configurations_and_runs_without_the_checkout(tmp_path):
    pytest.importorskip("hatchling")
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("estimhank", "data", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--no-build-isolation", "--target", tmp_path / "site", source], check=True)
    shutil.rmtree(source)
    code = (
        "import estimhank, numpy; from estimhank.config import load_config\n"
        "from estimhank.data import SNAPSHOT, US_OBSERVABLES, load_series, make_dataset\n"
        "print(estimhank.__file__)\n"
        "print(load_config('configs/us_hank.toml').digest())\n"
        "print(make_dataset(load_series(SNAPSHOT), US_OBSERVABLES, '1966Q1', '2019Q4').means[0])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    place, digest, mean = done.stdout.split()
    assert place.startswith(str(tmp_path / "site")) and len(digest) == 64 and mean.startswith("0.70071845")
