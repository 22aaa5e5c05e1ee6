"""Where people run it: without a home folder, on file systems and systems that lack things, in daemonic processes."""

from __future__ import annotations

import errno
import multiprocessing
import os
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import estimhank
from estimhank.evaluation import executors
from estimhank.evaluation.engine import Engine
from estimhank.evaluation.evaluations import EvaluationBatch, empty_gradient
from estimhank.evaluation.executors import BackendWarning
from estimhank.evaluation.store import EvaluationStore, read_evaluations
from estimhank.parameters.priors import make_prior
from estimhank.run.config import load_config, make_config
from estimhank.run.context import locked_folder
from estimhank.support import files, locking, runtime
from estimhank.support.errors import ConfigError, ResultsError, StorageError
from estimhank.target.any_density import DensityError


def batch() -> EvaluationBatch:
    """Three evaluations of one parameter."""
    return EvaluationBatch(
        np.arange(3.0)[:, None], np.arange(3.0), np.zeros(3), np.zeros(3, np.uint8), np.zeros(3, np.float32),
        empty_gradient(3, 1),
    )  # fmt: skip


def write_everything(folder: Path) -> None:
    """What a run writes: files whole or absent, and a store that grows and is read again."""
    with locked_folder(folder):
        files.write_json(folder / "a.json", {"x": 1.5})
        for resumed in range(2):
            with EvaluationStore.open(folder / "evaluations.bin", ["x"], {"part": "1"}) as store:
                store.append("sample", resumed, batch())
        assert_everything_is_there(folder)


def assert_everything_is_there(folder: Path) -> None:
    """Both files as they were written, and no others but the lock."""
    assert files.read_json(folder / "a.json") == {"x": 1.5}
    written, read = batch(), read_evaluations(folder / "evaluations.bin")
    for name in ("theta", "log_likelihood", "log_prior", "reason"):
        expected = np.concatenate([getattr(written, name)] * 2)
        np.testing.assert_array_equal(getattr(read, name), expected, err_msg=name)
    assert sorted(path.name for path in folder.iterdir() if path.name != ".lock") == ["a.json", "evaluations.bin"]


# -- homes ----------------------------------------------------------------------------------------------------------
HOMELESS = """
import os, pwd
def nobody(*_): raise KeyError("no such user")
pwd.getpwuid = pwd.getpwnam = nobody
import estimhank, estimhank.support.runtime
print(estimhank.support.runtime.cache_folder())
import jax.numpy as jnp
target = estimhank.from_log_density(lambda t: -0.5 * jnp.sum(t**2), ["x"], [0.1], 1.0, gradient="jax")
import estimhank.data.fred_cache as cache
assert cache.find_answer("fred", "GDPC1", "") is None
import matplotlib, estimhank.report, estimhank.cli
"""


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({}, marks=pytest.mark.long),
        {"ESTIMHANK_CACHE": "~/mine"},
        pytest.param({"XDG_CACHE_HOME": "~someone/cache"}, marks=pytest.mark.long),
    ],
)
def test_without_a_home_it_can_be_imported_and_used(variables: dict[str, str], tmp_path: Path) -> None:
    kept = {k: v for k, v in os.environ.items() if k not in ("HOME", "ESTIMHANK_CACHE", "XDG_CACHE_HOME")}
    environment = {**kept, **variables, "TMPDIR": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", HOMELESS], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    own = tmp_path / f"estimhank-{os.getuid()}"
    assert Path(done.stdout.strip()).is_relative_to(own) and stat.S_IMODE(own.stat().st_mode) == 0o700
    assert not (tmp_path / "~").exists()


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable, value, folder in (
        ("ESTIMHANK_CACHE", "~/mine", tmp_path / "mine"),
        ("XDG_CACHE_HOME", "~/caches", tmp_path / "caches" / "estimhank"),
        ("XDG_CACHE_HOME", "", tmp_path / ".cache" / "estimhank"),
        ("ESTIMHANK_CACHE", "/there", Path("/there")),
    ):
        monkeypatch.delenv("ESTIMHANK_CACHE", raising=False)
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setenv(variable, value)
        assert runtime.cache_folder() == folder
    assert files.make_folder("~/results") == tmp_path / "results"
    (tmp_path / "run.toml").write_text("[run]\nseed = 3\n", encoding="utf-8")
    assert load_config("~/run.toml").run.seed == 3


def test_a_temporary_folder_of_somebody_else_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    (tmp_path / "estimhank-12345").mkdir()
    runtime._temporary_folder.cache_clear()
    found = runtime._temporary_folder()
    runtime._temporary_folder.cache_clear()
    assert found.parent == tmp_path and found.name != "estimhank-12345"


# -- file systems ---------------------------------------------------------------------------------------------------
class Refusing:
    """A function that a file system refuses where ``when`` says so; ``refused`` counts how often."""

    def __init__(self, code: int, when: Callable[..., bool], real: Callable[..., Any]) -> None:
        self.code, self.when, self.real, self.refused = code, when, real, 0

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        if self.when(*arguments):
            self.refused += 1
            raise OSError(self.code, os.strerror(self.code))
        return self.real(*arguments, **options)


def is_folder(handle: Any, *_: Any) -> bool:
    return stat.S_ISDIR(os.fstat(handle).st_mode) if isinstance(handle, int) else Path(handle).is_dir()


def always(*_: Any) -> bool:
    return True


#: Of everything that may be lacking: what is called, when it is refused, and the errors that a file system that lacks
#: it may answer with. A disk that does not permit flushing a file is told, see the test below.
ERRORS = (errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)
LACKING: dict[str, tuple[Any, str, Callable[..., bool], tuple[int, ...]]] = {
    "flushing folders": (os, "fsync", is_folder, ERRORS),
    "opening folders": (os, "open", is_folder, ERRORS),
    "flushing": (os, "fsync", always, ERRORS[2:]),
    "locks": (locking._unix, "flock", always, ERRORS),
}


@pytest.mark.parametrize(("lacking", "code"), [(name, code) for name, row in LACKING.items() for code in row[3]])
def test_file_systems_that_lack_something_are_written_to(
    lacking: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name, when, _ = LACKING[lacking]
    lacks = Refusing(code, when, getattr(owner, name))
    monkeypatch.setattr(owner, name, lacks)
    write_everything(tmp_path)
    assert lacks.refused > 0, "it was asked for, and done without"
    monkeypatch.undo()
    assert_everything_is_there(tmp_path)


@pytest.mark.parametrize("code", ERRORS)
def test_file_systems_without_permissions_and_owners_are_written_to(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("chmod", "fchmod", "lchmod", "chown", "utime"):
        if hasattr(os, name):
            monkeypatch.setattr(os, name, Refusing(code, always, getattr(os, name)))
    write_everything(tmp_path)
    monkeypatch.undo()
    assert_everything_is_there(tmp_path)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_cannot_take_what_was_written_is_told(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", Refusing(code, lambda handle: not is_folder(handle), os.fsync))
    with pytest.raises(StorageError, match="cannot write"):
        write_everything(tmp_path)


# -- systems --------------------------------------------------------------------------------------------------------
def test_without_fcntl_pread_and_folders_that_open(tmp_path: Path) -> None:
    """As on Windows: no ``fcntl``, no reading at a position, no handle of a folder."""
    program = f"""
        import os, sys
        sys.modules["fcntl"] = None
        del os.pread, os.pwrite
        real = os.open
        def no_folders(path, *options, **more):
            if os.path.isdir(path):
                raise PermissionError(13, "Permission denied")
            return real(path, *options, **more)
        os.open = no_folders
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        from pathlib import Path
        from tests.support.test_portability import write_everything
        from estimhank.support import locking
        assert locking._unix is None
        write_everything(Path({str(tmp_path)!r}))
    """
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr


class WindowsLocks:
    """``msvcrt.locking`` as far as it is used: a byte of a file is held by one handle at a time."""

    LK_NBLCK = 2
    held: dict[tuple[int, int], int] = {}  # noqa: RUF012

    @classmethod
    def locking(cls, handle: int, mode: int, size: int) -> None:
        """Hold ``size`` bytes from the present position on."""
        key = (os.fstat(handle).st_ino, os.lseek(handle, 0, os.SEEK_CUR))
        assert mode == cls.LK_NBLCK and size == 1 and key[1] > os.fstat(handle).st_size
        if cls.held.setdefault(key, handle) != handle:
            raise PermissionError(errno.EACCES, "Permission denied")


def test_locks_of_windows_keep_a_second_run_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "_unix", None)
    monkeypatch.setattr(locking, "_windows", WindowsLocks)
    with locked_folder(tmp_path), EvaluationStore.open(tmp_path / "evaluations.bin", ["x"], {}) as store:
        store.append("sample", 0, batch())
        with pytest.raises(ResultsError, match="another process is writing"), locked_folder(tmp_path):
            pass
        with pytest.raises(StorageError, match="another process is writing"):
            EvaluationStore.open(tmp_path / "evaluations.bin", ["x"], {})


# -- processes ------------------------------------------------------------------------------------------------------
def density(theta: np.ndarray) -> float:
    """Standard normal."""
    return -0.5 * float(theta @ theta)


@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_a_daemonic_process_evaluates_by_itself_and_says_so(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)  # type: ignore[attr-defined]
    target = estimhank.from_log_density(density, ["x"], [0.1], 1.0)
    with pytest.warns(BackendWarning, match="daemonic"):
        engine = Engine(target, backend, 2)
    with engine:
        assert engine.backend == "serial" and engine.workers == 1
        assert engine.evaluate(np.array([[1.0], [2.0]])).log_likelihood.tolist() == [-0.5, -2.0]
        assert engine.map(divmod, [(7, 2)]) == [(3, 1)]


def test_a_machine_that_starts_no_processes_does_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """No semaphores, as in some sandboxes."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(executors, "ProcessPoolExecutor", refuse)
    target = estimhank.from_log_density(density, ["x"], [0.1], 1.0)
    with Engine(target, "loky", 2) as engine, pytest.warns(BackendWarning, match="starts no worker processes"):
        assert engine.evaluate(np.array([[1.0]])).log_likelihood.tolist() == [-0.5]


# -- numbers --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("digits", [20, 400, 5000])
@pytest.mark.parametrize(
    "text",
    [
        "[run]\nseed = N",
        "[model.calibration]\neis = N",
        "[parameters.kappa_w]\nfixed = N",
        '[parameters.kappa_w]\nprior = {family = "normal", mean = N, sd = 1}',
        '[data.observables.x]\nseries = "a"\ntransform = "level"\ndemean = N',
        '[data.observables.x]\nseries = "a"\ntransform = "level"\nmeasurement_error = -N',
        "[mode]\nstarts = N",
        "[surrogate]\nhidden = [32, N]",
    ],
)
def test_whole_numbers_of_many_digits_are_refused_in_words(text: str, digits: int, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(text.replace("N", "9" * digits), encoding="utf-8")
    with pytest.raises(ConfigError, match="digits"):
        load_config(tmp_path / "run.toml")


def test_so_are_those_given_in_python() -> None:
    with pytest.raises(ConfigError, match="400 digits"):
        make_config({"run": {"seed": 10**399}})
    with pytest.raises(DensityError, match="must be numbers"):
        estimhank.from_log_density(density, ["x"], [10**400], 1.0)
    with pytest.raises(DensityError, match="must be two numbers"):
        estimhank.from_log_density(density, ["x"], [0.1], 1.0, {"x": (-(10**400), 1)})
    with pytest.raises(ValueError, match="too large"):
        make_prior("normal", mean=10**400, sd=1)
