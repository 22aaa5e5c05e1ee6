"""The benchmark of whole runs: stages and pauses as they were, compilations counted once, figures in units."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks.first_run import cache_state, compile_shares, parts, short_markdown, units
from benchmarks.metered import END, START, Compilation, Trace, compiling, read_compilations, watch
from estimhank.run.manifest import Manifest, read_manifest

#: A run of two stages that take about 0.6 s each, busy; it writes a manifest as the pipeline does.
RUN = """
import sys, time
from pathlib import Path
from estimhank.run.manifest import Manifest, StageRecord, write_manifest
from tests.helpers.facts import mode_facts, posterior_facts
folder = Path(sys.argv[1]); folder.mkdir()
manifest = Manifest({"run": {"seed": 1}})
for name in ("mode", "posterior"):
    write_manifest(folder, manifest.with_stage(name, StageRecord("running", "")))
    print(name, flush=True)
    begun = time.perf_counter(); until = time.process_time() + 0.6
    while time.process_time() < until: pass
    seconds = time.perf_counter() - begun
    facts = posterior_facts(exact_seconds=seconds / 2) if name == "posterior" else mode_facts()
    manifest = manifest.with_stage(name, StageRecord("finished", "", seconds=seconds, facts=facts))
import dataclasses
write_manifest(folder, dataclasses.replace(manifest, status="finished"))
time.sleep(0.3)
"""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, Trace, list[float]]:
    folder, called = tmp_path_factory.mktemp("metered") / "run", []

    def yardstick() -> None:
        called.append(time.perf_counter())
        time.sleep(0.2)

    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "JAX_PLATFORMS": "cpu"}
    trace = watch([sys.executable, "-c", RUN, str(folder)], environment, folder, yardstick, every=0.3)
    manifest = read_manifest(folder)
    assert manifest is not None and trace.code == 0
    return manifest, trace, called


def test_the_yardstick_is_timed_while_the_run_stands_still(watched) -> None:
    manifest, trace, called = watched
    assert len(called) == len(trace.pauses) >= 4
    assert all(begun <= at <= ended for at, (begun, ended) in zip(called, trace.pauses, strict=True))
    # each stage used 0.6 s of processor; the clock of the run went on while it stood still
    rows = {row["part"]: row for row in parts(manifest, trace, [])}
    for stage in ("mode", "posterior"):
        paused = trace.paused(trace.windows()[stage])
        assert paused > 0.15 and rows[stage]["seconds"] == pytest.approx(manifest.stages[stage].seconds - paused)
        assert rows[stage]["processor_seconds"] == pytest.approx(0.6, abs=0.3)
    assert trace.seconds == pytest.approx(trace.ended - trace.begun - trace.paused((trace.begun, trace.ended)))


def test_parts_add_up_to_the_total(watched) -> None:
    manifest, trace, _ = watched
    rows = {row["part"]: row["seconds"] for row in parts(manifest, trace, [])}
    assert list(rows) == [START, "mode", "posterior", "of it exact", END, "total"]
    assert rows["total"] == pytest.approx(rows[START] + rows["mode"] + rows["posterior"] + rows[END])
    assert [name for name, _, _ in trace.entered] == [START, "mode", "posterior", END]
    assert 0 < trace.first_line() < trace.longest_silence() + trace.first_line()


def test_a_failing_yardstick_ends_the_run(tmp_path: Path) -> None:
    def broken() -> None:
        raise RuntimeError("no toolkit")

    with pytest.raises(RuntimeError, match="no toolkit"):
        watch([sys.executable, "-c", "import time; time.sleep(60)"], os.environ, tmp_path, broken, every=0.2)


def test_compilations_within_each_other_count_once_and_pauses_not_at_all(tmp_path: Path) -> None:
    trace = Trace(begun=100.0, ended=120.0, pauses=[(104.0, 105.0)])
    log = tmp_path / "log"
    log.write_text("1\ttrace\tinner\t1.0\t103.0\n1\ttrace\touter\t6.0\t107.0\n2\tcompile\tf\t2.0\t111.0\n")
    events = read_compilations(log)
    assert events[1] == Compilation(1, "trace", "outer", 101.0, 107.0)
    assert compiling(events, trace, (100.0, 120.0)) == (5.0, 7.0)
    assert compiling(events, trace, (106.0, 110.0)) == (1.0, 2.0)
    assert compiling([], trace, (100.0, 120.0)) == (0.0, 0.0) and read_compilations(tmp_path / "none") == []


def result(cache: str, seconds: float) -> dict:
    """As a measurement says it."""
    found = [{"part": "report", "seconds": 2.0}, {"part": "total", "seconds": seconds, "processor_seconds": 4.0}]
    return {
        "config": "configs/us_hank.toml", "profile": "default", "seed": 1, "cache": cache, "unit_seconds": 0.2,
        "unit_processor_seconds": 0.1, "certified": True, "converged": cache == "warm", "parts": found,
        "date": "2031-01-02T03:04:05Z",
    }  # fmt: skip


def test_figures_are_multiples_of_the_unit() -> None:
    cold, warm = result("cold", 60.0), result("warm", 40.0)
    assert units(cold, "total") == pytest.approx(300) and units(cold, "total", "processor_") == pytest.approx(40)
    assert units(cold, "report", "processor_") is None
    assert compile_shares([cold, warm]) == [(cold, warm)]
    table = short_markdown([cold, warm, result("warm", 50.0)])
    assert "| `configs/us_hank.toml` | cold | 300 | 60 | 10 | 0 of 1 |" in table
    assert "| `configs/us_hank.toml` | warm | 200 to 250 | 40 to 50 | 10 | 2 of 2 |" in table
    assert "One unit took 0.200 s. 2031-01-02." in table
    assert [cache_state(0, 50), cache_state(50, 4), cache_state(50, 20)] == ["cold", "warm", "partly warm"]
