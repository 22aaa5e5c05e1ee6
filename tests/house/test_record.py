"""`make record`: what it takes from runs and benchmarks, what it leaves, and where it puts it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.durations import by_file, markdown, read_durations
from benchmarks.pages import MADE, marks, without_folder
from benchmarks.record import PLACES, condense, main, record
from estimhank.run.manifest import Manifest, StageRecord, write_manifest
from estimhank.support.errors import EstimhankError
from tests.helpers.facts import fit_facts, mode_facts, posterior_facts, surrogate_facts

ROOT = Path(__file__).parents[2]
FACTS = (
    mode_facts(agreeing=7, log_density=-12.3456),
    surrogate_facts(fit_facts(5, loss=range(100)), seconds=61.0),
    posterior_facts(ess_bulk=2100.0, ess_tail=1999.9, r_hat=1.0049),
)
CERTIFICATE = {
    "passed": True, "training_evaluations": 7650, "s_e": 0.0111, "s_e_exact_states": 0.0222, "wrong_accept": 0.0005,
    "wrong_reject": 0.0004,
}  # fmt: skip


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The pages of this checkout, one finished run and one benchmark."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    run = tmp_path / "results" / "us_hank"
    (run / "tables").mkdir(parents=True)
    (run / "figures").mkdir()
    stages = {facts.stage: StageRecord("finished", "", seconds=1.5, facts=facts) for facts in FACTS}
    manifest = Manifest(
        {"run": {"seed": 7}}, "configs/us_hank.toml", status="finished", created="2031-01-02T03:04:05Z",
        wall_seconds=99.0, versions={"estimhank": "9", "jax": "8", "python": "7"}, stages=stages,
        machine={"processor": "abacus", "cores": "2", "platform": "a machine's name"},
    )  # fmt: skip
    write_manifest(run, manifest)
    (run / "certificate.json").write_text(json.dumps(CERTIFICATE))
    (run / "tables" / "mode.csv").write_text("a\n1\n")
    (run / "figures" / "prior_posterior.png").write_bytes(b"picture")
    (run / "figures" / "trace_rank.png").write_bytes(b"large")
    (run / "posterior.nc").write_bytes(b"large")
    bench = tmp_path / "results" / "bench"
    bench.mkdir()
    (bench / "speed.csv").write_text("what\nmine\n")
    (bench / "speed.md").write_text("| new figures |\n")
    made = {"command": "python -m benchmarks.speed", "date": "2031-01-02T03:04:05Z", "seconds": 12.0}
    machine = {"machine": manifest.machine, "versions": manifest.versions}
    (bench / f"speed{MADE}").write_text(json.dumps({**made, **machine}))
    return tmp_path


def between(page: Path, place: str) -> str:
    """What a page holds at a place."""
    first, last = marks(place)
    return page.read_text(encoding="utf-8").partition(first)[2].partition(last)[0]


def test_what_is_small_is_kept_and_pages_tell_it(checkout: Path) -> None:
    recorded = checkout / "docs" / "recorded"
    before = (recorded / "validate" / "validate.json").read_bytes()
    assert record(checkout) == ["us_hank", "bench"]
    assert {p.name for p in (recorded / "us_hank").iterdir()} == {
        "run.json", "certificate.json", "mode.csv", "prior_posterior.png",
    }  # fmt: skip
    run = json.loads((recorded / "us_hank" / "run.json").read_text())
    (fit,) = run["stages"]["surrogate"]["facts"]["rounds"]
    assert fit["points"] == 5 and "loss" not in fit
    assert run["seed"] == 7 and "platform" not in run["machine"]
    table = between(checkout / "docs" / "handbook.md", "runs")
    assert (
        "| default run |" in table and "1 min 39 s" in table and "2,000; 1.005" in table and "0.05 %, 0.04 %" in table
    )
    assert "| new figures |" in between(checkout / "docs" / "performance.md", "speed")
    index = between(recorded / "README.md", "index")
    assert (
        "| us_hank | `estimhank estimate configs/us_hank.toml --profile default` | 2031-01-02 03:04:05 | 1 min" in index
    )
    assert "| bench/speed | `python -m benchmarks.speed` |" in index
    assert "standard errors" in between(recorded / "README.md", "validation")
    # what was not run again stays
    assert (recorded / "validate" / "validate.json").read_bytes() == before and "validate/validate" in index


def test_a_run_of_a_configuration_that_ships_is_recorded_by_its_name(checkout: Path) -> None:
    path = checkout / "results" / "us_hank" / "manifest.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "config_file": "/somewhere/configs/us_hank.toml"}))
    assert "us_hank" in record(checkout)
    run = json.loads((checkout / "docs" / "recorded" / "us_hank" / "run.json").read_text())
    assert run["config_file"] == "us_hank"


def test_an_unfinished_run_is_not_recorded(checkout: Path) -> None:
    kept = (checkout / "docs" / "recorded" / "us_hank" / "run.json").read_bytes()
    content = json.loads((checkout / "results" / "us_hank" / "manifest.json").read_text())
    (checkout / "results" / "us_hank" / "manifest.json").write_text(json.dumps({**content, "status": "running"}))
    assert record(checkout) == ["bench"]
    assert (checkout / "docs" / "recorded" / "us_hank" / "run.json").read_bytes() == kept


def test_a_page_without_its_place_is_an_error(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout / "docs" / "handbook.md").write_text("nothing\n")
    monkeypatch.setattr("sys.argv", ["record", "--root", str(checkout)])
    with pytest.raises(EstimhankError, match=r"handbook\.md has no place for runs"):
        main()


def test_every_place_is_on_its_page() -> None:
    for _, page, place in PLACES:
        assert all(mark in (ROOT / page).read_text(encoding="utf-8") for mark in marks(place)), (page, place)


def test_long_lists_go_and_nothing_else_does() -> None:
    value = {"a": [1, 2], "b": list(range(40)), "c": [{"d": list(range(40)), "e": "word"}]}
    assert condense(value) == {"a": [1, 2], "c": [{"e": "word"}]}


def test_a_command_is_written_down_without_where_its_results_went() -> None:
    given = ["--cold", "--out", "/somewhere/else", "--draws", "5", "--out=/elsewhere"]
    assert without_folder(given) == ["--cold", "--draws", "5"]
    assert without_folder([]) == [] and without_folder(["--out", "a"]) == []


def test_nothing_recorded_names_a_path_of_one_machine() -> None:
    roots = ("/tmp/", "/home/", "/root/", "/work/", "/Users/", "C:\\")
    for file in (ROOT / "docs" / "recorded").rglob("*"):
        if file.suffix in (".json", ".md", ".csv"):
            text = file.read_text(encoding="utf-8")
            assert not [root for root in roots if root in text], file


REPORT = """<testsuites><testsuite>
<testcase classname="tests.a.test_one" name="test_x[1]" time="9"><properties>
<property name="processor_seconds" value="3.25" /></properties></testcase>
<testcase classname="tests.a.test_one" name="test_y" time="9"><properties>
<property name="processor_seconds" value="1.00" /></properties></testcase>
<testcase classname="tests.b.test_two" name="test_z" time="9"><properties>
<property name="processor_seconds" value="7.50" /></properties></testcase>
<testcase classname="tests.b.test_two" name="test_skipped" time="0" />
</testsuite></testsuites>"""


def test_processor_time_of_the_tests_is_summed_by_file(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    with pytest.raises(EstimhankError, match="run `make test` first"):
        read_durations(path)
    path.write_text(REPORT)
    rows = by_file(read_durations(path))
    assert rows == [("tests/b/test_two.py", 1, 7.5, "test_z", 7.5), ("tests/a/test_one.py", 2, 4.25, "test_x[1]", 3.25)]
    assert "| all 2 files | 3 | 12 | |" in markdown(rows)
    assert all(mark in (ROOT / "CONTRIBUTING.md").read_text() for mark in marks("durations", "make durations"))
