"""`estimhank doctor` in environments where one thing is broken: it says which, and what to do."""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import pytest
from typer.testing import CliRunner

from estimhank.cli import app
from estimhank.data.fred_client import FredClient
from estimhank.run import doctor, doctor_packages
from estimhank.run.findings import FAULTS_FOUND, Finding, Findings, look_at
from estimhank.support import runtime, shipped
from tests.conftest import REFERENCE
from tests.helpers.fred_server import KEY, serve_fred
from tests.helpers.golden import DEFAULT_LOG_LIKELIHOOD


def one(found: Iterable[Finding]) -> Finding:
    """The only finding; a fault has a cure of one sentence."""
    (finding,) = found
    if finding.status == "fault":
        assert finding.cure.endswith(".") and "\n" not in finding.cure
    return finding


# -- this environment ---------------------------------------------------------------------------------------------
def test_the_known_solution_is_the_golden_one_and_is_found() -> None:
    assert doctor.KNOWN_POINT == REFERENCE
    assert (
        DEFAULT_LOG_LIKELIHOOD.value,
        DEFAULT_LOG_LIKELIHOOD.tolerance,
    ) == (doctor.KNOWN_LOG_LIKELIHOOD, doctor.KNOWN_TOLERANCE)
    finding = one(doctor.look_at_known_solution())
    assert finding.status == "ok" and "-383.1047" in finding.words and "processor time, and once more" in finding.words


def test_nothing_is_wrong_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "look_at_known_solution", lambda: iter(()))  # the test above
    monkeypatch.setattr(doctor, "look_at_optional_parts", lambda: iter(()))
    done = CliRunner().invoke(app, ["doctor", "--offline", "--json"])
    plain = json.loads(done.stdout)
    assert done.exit_code == 0 and plain["healthy"] is True
    names = [finding["name"] for finding in plain["findings"]]
    assert names == [
        "python", "versions", "accelerator", "double precision", "threads", "cores", "cache", "files", "files",
        "memory",
    ]  # fmt: skip
    assert not list(tmp_path.iterdir()), "it leaves nothing behind"


# -- packages -----------------------------------------------------------------------------------------------------
def test_every_package_of_a_run_is_compared_with_the_lock() -> None:
    needed, unfit = doctor_packages.requirements()
    lock = doctor_packages.read_lock()
    assert lock is not None and not unfit
    locking = pytest.importorskip("scripts.lock")
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    # all but what builds the package, which is pinned for `make`
    assert needed == locking.closure(project["project"]["dependencies"])
    assert needed | locking.closure(project["build-system"]["requires"]) == set(lock)


def versions(**changes: str | None) -> Callable[[str], str]:
    """``metadata.version`` with other answers for some."""
    real = metadata.version

    def version(name: str) -> str:
        if name in changes:
            if changes[name] is None:
                raise metadata.PackageNotFoundError(name)
            return str(changes[name])
        return real(name)

    return version


@pytest.mark.parametrize(
    ("changes", "status", "words", "cure"),
    [
        ({"optax": None}, "fault", "not installed: optax", 'python -m pip install "optax=='),
        ({"flax": "0.11.0"}, "fault", "estimhank needs flax<0.13,>=0.12.12, and 0.11.0 is installed", '"flax=='),
        # what fits estimhank and does not fit another package
        ({"jaxlib": "0.6.0"}, "fault", "jax needs jaxlib", '"jaxlib=='),
        ({"rich": "99.0"}, "note", "rich 99.0 (tested: ", ""),
    ],
)
def test_versions(
    changes: dict[str, str | None], status: str, words: str, cure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "version", versions(**changes))
    finding = one(doctor_packages.look_at_versions())
    assert finding.status == status and words in finding.words and cure in finding.cure


def test_a_folder_that_was_copied_lacks_the_lock_and_the_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shipped, "_PLACES", (tmp_path,))
    for look in (doctor_packages.look_at_versions, doctor_packages.look_at_python):
        assert one(look()).status == "fault"


def test_an_old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_packages, "OLDEST_PYTHON", (9, 9))
    assert one(doctor_packages.look_at_python()).status == "fault"


def test_optional_parts_that_are_absent_or_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("distributed", "blackjax", "openpyxl"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    real = importlib.import_module

    def import_module(name: str, package: str | None = None) -> Any:
        if name == "sequence_jacobian":
            raise RuntimeError("numba needs NumPy 1.26 or less")
        return real("json" if name in ("distributed", "blackjax", "openpyxl") else name, package)

    monkeypatch.setattr(importlib, "import_module", import_module)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "blackjax" else object())
    fault, rest = doctor_packages.look_at_optional_parts()
    assert fault.status == "fault" and "NumPy 1.26" in fault.words and "estimhank[toolkit]" in fault.cure
    assert rest.status == "ok" and 'blackjax (pip install "estimhank[nuts]")' in rest.words


def in_process(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, after ``code``."""
    program = (
        f"import sys\n{code}\nsys.argv = ['estimhank', *{list(arguments)!r}]\nimport estimhank.__main__ as m\nm.main()"
    )
    env = {**os.environ, "JAX_PLATFORMS": "cpu", **environment}
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env)


@pytest.mark.parametrize("module", ["jax", "numpy", pytest.param("typer", marks=pytest.mark.long)])
def test_it_comes_up_without_a_package_that_all_else_needs(module: str) -> None:
    gone = f"sys.modules[{module!r}] = None; sys.modules['threadpoolctl'] = None; sys.modules['pandas'] = None"
    # what can still be imported is not tried here, which would take a second each
    quick = "import estimhank.run.doctor as d; d._MODULES = {" + repr(module) + ": 'which is needed'}\n"
    quick += "d.look_at_known_solution = d.look_at_optional_parts = lambda: iter(())"
    done = in_process(f"{gone}\n{quick}", "doctor", "--json", "--offline")
    assert done.returncode == FAULTS_FOUND, done.stderr
    faults = [f for f in json.loads(done.stdout)["findings"] if f["status"] == "fault"]
    named = next(f for f in faults if f["name"] == f"import {module}")
    assert "pip install --force-reinstall" in named["cure"] and f"{module}==" in named["cure"]


def test_other_commands_say_one_sentence_then() -> None:
    done = in_process("sys.modules['jax'] = None", "estimate", "us_hank")
    assert done.returncode == FAULTS_FOUND and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "see `estimhank doctor`" in done.stderr


# -- numbers ------------------------------------------------------------------------------------------------------
def test_single_precision_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_set", [])
    monkeypatch.setenv("JAX_ENABLE_X64", "0")
    finding = one(doctor.look_at_precision())
    assert finding.status == "fault" and "JAX_ENABLE_X64" in finding.cure
    for look in (doctor.look_at_threads, doctor.look_at_known_solution):
        assert one(look()).words.startswith("not looked at")


def test_single_precision_however_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    assert one(doctor.look_at_precision()).status == "ok"
    monkeypatch.setattr(runtime, "configure", lambda: ())
    with jax.enable_x64(False):
        assert one(doctor.look_at_precision()).status == "fault"


@pytest.mark.parametrize("found", [-383.11, float("nan"), float("-inf")])
def test_another_log_likelihood(found: float, monkeypatch: pytest.MonkeyPatch) -> None:
    standing_in = SimpleNamespace(log_likelihood=lambda theta: found)
    monkeypatch.setattr("estimhank.posterior.posterior.Posterior.from_config", lambda config: standing_in)
    finding = one(doctor.look_at_known_solution())
    assert finding.status == "fault" and "computes something else" in finding.words


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", runtime.SINGLE_THREAD_XLA)
    monkeypatch.setenv("PJRT_NPROC", "1")
    assert one(doctor.look_at_threads()).status == "ok"
    monkeypatch.setenv("PJRT_NPROC", "8")
    assert one(doctor.look_at_threads()).status == "note"
    blas = [{"user_api": "blas", "internal_api": "openblas", "num_threads": 8}]
    monkeypatch.setattr("threadpoolctl.threadpool_info", lambda: blas)
    assert one(doctor.look_at_threads()).status == "fault"


# -- the machine --------------------------------------------------------------------------------------------------
def limited(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name.replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "proc").mkdir(parents=True, exist_ok=True)
    (root / "proc/meminfo").write_text("MemTotal: 64000000 kB\nMemAvailable: 60000000 kB\n")
    return root


def test_more_workers_than_the_control_group_grants(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("joblib.cpu_count", lambda: 64)
    finding = one(doctor.look_at_cores(limited(tmp_path, cpu_max="100000 100000")))
    assert finding.status == "note" and "--workers 1" in finding.cure and "grants 1 cores" in finding.words


def test_memory_that_the_control_group_limits(tmp_path: Path) -> None:
    assert one(doctor.look_at_memory(limited(tmp_path / "a"))).status == "ok"
    finding = one(doctor.look_at_memory(limited(tmp_path / "b", memory_max="100000000")))
    assert finding.status == "fault" and "0.1 GiB" in finding.words
    peak = doctor._peak() or doctor._USUAL_MEMORY
    finding = one(doctor.look_at_memory(limited(tmp_path / "c", memory_max=str(int(peak * 1.5)), cpu_max="2 1")))
    assert finding.status == "note" and "--backend serial" in finding.cure


@pytest.mark.parametrize("error", [RuntimeError, AssertionError])
def test_a_platform_that_is_not_there(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def devices() -> None:
        raise error("Unable to initialize backend 'cuda':\n no such thing")

    monkeypatch.setattr(jax, "devices", devices)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    finding = one(doctor.look_at_accelerator())
    assert finding.status == "fault" and "JAX_PLATFORMS='cuda'" in finding.words
    # of what needs a device, the one finding is that there is none
    for look in (doctor.look_at_precision, doctor.look_at_threads, doctor.look_at_known_solution):
        assert one(doctor._needing(look)()).words == "not looked at: JAX finds no device"


def test_a_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ESTIMHANK_CACHE", str(tmp_path / "file" / "cache"))
    finding = one(doctor.look_at_cache())
    assert finding.status == "fault" and "ESTIMHANK_CACHE" in finding.cure and "a file, not a folder" in finding.words
    monkeypatch.setenv("ESTIMHANK_CACHE", str(tmp_path / "new"))
    assert one(doctor.look_at_cache()).status == "ok" and not list((tmp_path / "new").iterdir())


def test_folders_that_cannot_be_written_and_full_disks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    here, temporary = doctor.look_at_files()
    assert here.status == "ok" and temporary.status == "fault" and "TMPDIR" in temporary.cure
    for free, status in ((10**11, "ok"), (5 * 10**8, "note"), (10**7, "fault")):
        usage = (10**12, 0, free)
        monkeypatch.setattr("shutil.disk_usage", lambda path, usage=usage: type("U", (), {"free": usage[2]}))
        assert one(doctor.look_at_disk(tmp_path, "this folder")).status == status


# -- FRED ---------------------------------------------------------------------------------------------------------
def test_fred_is_never_a_fault_and_its_key_is_never_told() -> None:
    with serve_fred(series={"GDPDEF": [("2020-01-01", "112.3"), ("2020-04-01", "111.9")]}) as fred:
        ways: dict[str, tuple[str, list[str], str]] = {
            "with a key": (KEY, [], "ok"),
            "without": ("", [], "ok"),
            "wrong key": ("f" * 32, [], "note"),
            "down": (KEY, ["500"], "note"),
            "other": ("", ["html"], "note"),
        }
        for way, (key, faults, status) in ways.items():
            fred.faults[:] = faults
            client = FredClient(key, fred.api, fred.graph, timeout=2.0, retries=0, interval=0.0)
            finding = one(doctor.look_at_fred(client))
            text = "\n".join(Findings((finding,)).lines()) + Findings((finding,)).to_json()
            assert finding.status == status, way
            assert not key or key not in text
    gone = FredClient(KEY, fred.api, fred.graph, timeout=2.0, retries=0, interval=0.0)
    finding = one(doctor.look_at_fred(gone))
    assert finding.status == "note" and KEY not in finding.words and "ship with the package" in finding.words


# -- findings -----------------------------------------------------------------------------------------------------
def test_a_look_that_raises_is_a_fault_and_the_others_are_taken() -> None:
    def raising() -> Iterable[Finding]:
        raise ZeroDivisionError("no\nsuch thing")

    found = look_at([("a", raising), ("b", lambda: [Finding("b", "ok", "well")])])
    assert [f.status for f in found.all] == ["fault", "ok"] and found.exit_code == FAULTS_FOUND
    assert "ZeroDivisionError: no such thing" in found.all[0].words
    assert found.lines()[-1] == "1 fault: a; 0 notes" and json.loads(found.to_json())["healthy"] is False


def test_a_fault_without_a_cure_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="needs a cure"):
        Finding("x", "fault", "broken")


def test_terminals_of_other_encodings(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    found = Findings((Finding("files", "ok", "/home/Zoë/R̂"),))
    found.show()
    found.show(as_json=True)
    stream.flush()
    text = stream.buffer.getvalue().decode("ascii")
    assert "/home/Zo?" in text
    assert json.loads(text[text.index("{") :])["findings"][0]["words"] == "/home/Zoë/R̂"
