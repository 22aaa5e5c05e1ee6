"""A run killed at any moment and resumed ends with the arrays of a run that was left alone, bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import estimhank
from estimhank.evaluation.store import FILE_NAME

RUN = Path(__file__).with_name("interrupted_run.py")


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(estimhank.__file__).parents[1])}


def start(folder: Path, backend: str = "serial", workers: int = 1) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(RUN), str(folder), backend, str(workers)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def finish(process: subprocess.Popen) -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


def kill_when(process: subprocess.Popen, store: Path, size: int, pause: float) -> int:
    """Kill a run a little after its store has reached a size; return the size of what it leaves."""
    while process.poll() is None and (not store.exists() or store.stat().st_size < size):
        time.sleep(2e-4)
    time.sleep(pause)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode in (-signal.SIGKILL, 0)
    return store.stat().st_size


def load(folder: Path) -> dict[str, bytes]:
    with np.load(folder / "result.npz") as arrays:
        return {name: arrays[name].tobytes() for name in arrays.files}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(start(folder))
    return folder


def check_kills(undisturbed: Path, folder: Path, kills: int, seed: int, backends: list[tuple[str, int]]) -> None:
    rng = np.random.default_rng(seed)
    full = (undisturbed / FILE_NAME).stat().st_size
    sizes = np.sort(rng.uniform(0.0, 0.98, kills)) * full
    for k, size in enumerate(sizes):
        backend, workers = backends[k % len(backends)]
        left = kill_when(start(folder, backend, workers), folder / FILE_NAME, int(size), rng.uniform(0, 0.02))
        assert left < full
    finish(start(folder, *backends[kills % len(backends)]))
    expected, resumed = load(undisturbed), load(folder)
    assert expected.keys() == resumed.keys() and len(expected) > 25
    for name in expected:
        assert resumed[name] == expected[name], name
    # every evaluation is there once: the file is as long as the undisturbed one
    assert (folder / FILE_NAME).stat().st_size == full


def test_three_kills_leave_no_trace(undisturbed: Path, tmp_path: Path) -> None:
    check_kills(undisturbed, tmp_path, 3, 1, [("serial", 1)])


@pytest.mark.long
def test_twenty_kills_with_changing_workers_leave_no_trace(undisturbed: Path, tmp_path: Path) -> None:
    check_kills(undisturbed, tmp_path, 20, 2, [("serial", 1), ("loky", 1), ("loky", 2)])


def state_and_parent(process: int) -> tuple[str, int]:
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return "X", 0
    state, parent = text.rsplit(")", 1)[1].split()[:2]
    return state, int(parent)


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc")
def test_workers_do_not_outlive_a_killed_run(tmp_path: Path) -> None:
    process = start(tmp_path, "loky", 2)
    store = tmp_path / FILE_NAME
    while not store.exists() or store.stat().st_size < 20_000:
        assert process.poll() is None
        time.sleep(0.01)
    children = [
        int(path.name) for path in Path("/proc").glob("[0-9]*") if state_and_parent(int(path.name))[1] == process.pid
    ]
    assert len(children) >= 2
    process.send_signal(signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 20
    alive = children
    while alive and time.monotonic() < deadline:
        time.sleep(0.1)
        alive = [child for child in children if state_and_parent(child)[0] not in "ZX"]
    assert not alive
