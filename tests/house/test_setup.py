"""The set-up: which Python is taken, what the lock holds, and what a built wheel carries."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def find_python(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script with a PATH of the given folder alone and an empty home."""
    for tool in ("ls", "sort"):
        if not (folder / tool).exists():
            (folder / tool).symlink_to(str(shutil.which(tool)))
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


def read_lock(name: str) -> dict[str, str]:
    """Versions by name."""
    lines = (ROOT / name).read_text().splitlines()
    assert all(re.fullmatch(r"[a-z0-9-]+==[A-Za-z0-9.!+]+", line) for line in lines)
    locked = dict(line.split("==") for line in lines)
    assert len(locked) == len(lines)
    return locked


def test_the_locks_hold_what_is_declared_and_all_that_it_needs():
    lock = pytest.importorskip("scripts.lock")
    run, test, docs = (read_lock(f"requirements{name}.lock") for name in ("", "-test", "-docs"))
    assert not set(run) & set(test) and not set(docs) & {*run, *test}
    needed = lock.locks()
    assert set(docs) == needed.get("requirements-docs.lock", set(docs))
    assert set(run) == needed["requirements.lock"] and set(test) == needed["requirements-test.lock"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [item for group in project["optional-dependencies"].values() for item in group]
    for text, locked in [(t, run) for t in project["dependencies"]] + [(t, {**run, **test, **docs}) for t in extras]:
        requirement = lock.Requirement(text)
        if requirement.name != "estimhank":
            assert requirement.specifier.contains(locked[lock.canonical(requirement.name)]), text


def test_what_a_run_imports_is_in_its_lock(tmp_path):
    """Every module of the package is imported where the packages of the run's lock can be found and no others."""
    for name in read_lock("requirements.lock"):
        for file in metadata.files(name):
            top = Path(file).parts[0]
            if top not in ("..", "__pycache__") and not (tmp_path / top).exists():
                (tmp_path / top).symlink_to(Path(str(metadata.distribution(name).locate_file(top))))
    code = (
        "import importlib, importlib.util, pkgutil, estimhank\n"
        "for module in pkgutil.walk_packages(estimhank.__path__, 'estimhank.'): importlib.import_module(module.name)\n"
        "print([name for name in ('pytest', 'dask', 'numba', 'blackjax', 'pip') if importlib.util.find_spec(name)])\n"
    )
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run([sys.executable, "-S", "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "[]\n", done.stderr + done.stdout


PIP = """#!/bin/sh
if [ "$1" = -c ]; then exit 0; fi
echo "$*" >>"{log}"
echo "Collecting numpy==1.0"
{end}
"""


@pytest.fixture
def set_up(tmp_path):
    """A checkout whose environment has an interpreter that writes down what pip is asked."""
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/install", "pyproject.toml", *(f"requirements{x}.lock" for x in ("", "-test", "-docs"))):
        shutil.copy(ROOT / name, tmp_path / name)
    python, log = tmp_path / "env/bin/python", tmp_path / "asked"
    python.parent.mkdir(parents=True)
    # the script looks once a second at what it has started, which is done at once here
    nap = tmp_path / "bin/sleep"
    nap.parent.mkdir()
    nap.write_text(f"#!/bin/sh\nexec {shutil.which('sleep')} 0.05\n")
    nap.chmod(0o755)
    environment = {**os.environ, "PATH": f"{nap.parent}{os.pathsep}{os.environ['PATH']}"}

    def call(wanted, end="exit 0"):
        python.write_text(PIP.format(log=log, end=end))
        python.chmod(0o755)
        log.write_text("")
        command = ["/bin/sh", "scripts/install", "env", *wanted]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
        asked = [re.sub(r".*(--requirement|--editable) ", "", line) for line in log.read_text().splitlines()]
        return done, asked

    return tmp_path, call


def test_a_set_is_installed_once_and_the_tests_set_only_adds(set_up):
    folder, call = set_up
    done, asked = call([])
    assert done.returncode == 0 and asked == ["requirements.lock", "."]
    assert done.stdout == "" and "\r" not in done.stderr and done.stderr.splitlines()[-1].startswith("Installed in ")
    done, asked = call(["run"])
    assert (done.returncode, asked, done.stderr) == (0, [], "")
    assert call(["test"])[1] == ["requirements-test.lock"]
    assert call(["test"])[1] == [] and call(["run"])[1] == []
    with (folder / "requirements-test.lock").open("a") as stream:
        stream.write("another==1.0\n")
    assert call(["run"])[1] == [] and call(["test"])[1] == ["requirements-test.lock"]
    with (folder / "requirements.lock").open("a") as stream:
        stream.write("another==1.0\n")
    assert call(["test"])[1] == ["requirements.lock", ".", "requirements-test.lock"]
    assert call(["docs"])[1] == ["requirements-docs.lock"] and call(["docs"])[1] == []
    assert call(["tests"])[0].returncode == 2


def test_a_set_that_fails_says_why_and_is_not_taken_for_installed(set_up):
    done, asked = set_up[1](["run"], "echo 'ERROR: no such version'; exit 1")
    assert done.returncode == 1 and len(asked) == 1
    assert "This failed: env/bin/python -m pip install" in done.stderr and "ERROR: no such version" in done.stderr
    assert set_up[1](["run"])[1] == ["requirements.lock", "."]


def test_a_wheel_carries_data_and_configurations_and_runs_without_the_checkout(tmp_path):
    pytest.importorskip("hatchling")
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "requirements.lock"):
        shutil.copy(ROOT / name, source)
    for name in ("estimhank", "data", "configs", "examples"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--no-build-isolation", "--target", tmp_path / "site", source], check=True)
    shutil.rmtree(source)
    code = (
        "import estimhank, numpy; from estimhank.run.config import load_config\n"
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


@pytest.mark.long
def test_a_source_distribution_gives_a_wheel_that_estimates_elsewhere(tmp_path):
    """Without network: the packages of this environment are lent to a fresh one, which has no checkout to look at."""
    backend = pytest.importorskip("hatchling.build")
    at = os.getcwd()
    try:
        os.chdir(ROOT)
        archive = backend.build_sdist(str(tmp_path))
    finally:
        os.chdir(at)
    with tarfile.open(tmp_path / archive) as stream:
        stream.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    code = f"import os; os.chdir({str(source)!r}); import hatchling.build as b; print(b.build_wheel({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    wheel = tmp_path / done.stdout.split()[-1]
    shutil.rmtree(source)
    names = set(zipfile.ZipFile(wheel).namelist())
    inside = {
        f"estimhank/bundled/{kind}/{p.name}" for kind in ("configs", "examples") for p in (ROOT / kind).glob("*.*")
    }
    assert inside | {"estimhank/bundled/requirements.lock", "estimhank/bundled/data/us_macro.csv"} <= names

    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", wheel], check=True)
    lent = {
        str(Path(str(metadata.distribution(name).locate_file(""))).resolve()) for name in read_lock("requirements.lock")
    }
    script = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    site = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    Path(site, "lent.pth").write_text("\n".join(sorted(lent)))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}

    def estimhank(*arguments):
        done = subprocess.run(
            [python.parent / "estimhank", *arguments], cwd=elsewhere, env=environment, capture_output=True, text=True
        )
        assert done.returncode in (0, 4), done.stdout + done.stderr  # toy sizes need not converge
        return done.stdout

    where = subprocess.run(
        [python, "-c", "import estimhank; print(estimhank.__file__)"], cwd=elsewhere, capture_output=True, text=True
    )
    assert where.stdout.startswith(site)
    plain = json.loads(estimhank("doctor", "--offline", "--json"))
    assert plain["healthy"], plain
    assert "smets_wouters_us" in estimhank("examples")
    estimhank("examples", "nominal_bonds", "--to", "mine")
    assert "determinate" in estimhank("check", "mine/nominal_bonds.toml")
    estimhank("estimate", "us_hank", "--profile", "smoke", "--out", "run", "--quiet", "--backend", "serial")
    assert (elsewhere / "run" / "report.html").is_file()
