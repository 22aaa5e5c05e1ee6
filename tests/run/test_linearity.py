"""``estimhank linearity`` and what a run's own shocks make of nonlinear models: files, words, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from estimhank.analysis.inference_data import draws_of
from estimhank.cli import app
from estimhank.report.linearity import draws_digest, read_linearity
from estimhank.run.linearity import linearity_of
from estimhank.run.results import load
from estimhank.run.transition import transition
from estimhank.run.transition_verb import in_words, read_shocks
from estimhank.support.errors import ConfigError, ResultsError
from estimhank.support.files import write_json
from tests.helpers.finished_run import finished_run

BOUNDED = '''
import jax.numpy as jnp
from estimhank.models.new_keynesian import NewKeynesian

class Bounded(NewKeynesian):
    """A bound."""
    name = "bounded"
    def equations(self, lag, now, lead, household, shock, p):
        for name, r in super().equations(lag, now, lead, household, shock, p):
            yield name, now.i - jnp.maximum(now.i - r, -0.004) if name == "Taylor rule" else r
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = tmp_path_factory.mktemp("linearity") / "run"
    model = {"name": "new_keynesian", "horizon": 120, "tail_start": 80}
    finished_run(at, model=model, data={"start": "1990Q1", "end": "1993Q4"})
    posterior = load(at).posterior
    mode = dict(zip(posterior.names, posterior.reference().tolist(), strict=True))
    write_json(at / "mode.json", {"theta": mode})
    return at


@pytest.fixture(scope="module")
def written(folder: Path) -> str:
    words = ["linearity", str(folder), "--draws", "2", "--size", "1", "--size", "4", "--workers", "1"]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.long
def test_a_linear_model_is_off_by_its_logs_alone(folder: Path, written: str) -> None:
    # three linear equations: only growth, observed as the change of a log, is not linear
    frame = pd.read_csv(folder / "linearity" / "linearity.csv")
    assert len(frame) == 3 * 2 * 2 * frame["series"].nunique()
    levels = frame[frame["series"].isin(["inflation", "rate", "pi", "i", "y"])]
    assert levels["off"].max() < 1e-9 and levels["asymmetry"].max() < 1e-9
    history = pd.read_csv(folder / "linearity" / "linearity_history.csv")
    own = history[history["series"] == "inflation"]
    np.testing.assert_allclose(own["linear"], own["nonlinear"], atol=1e-9)
    data = load(folder).data
    np.testing.assert_allclose(own["linear"], data.values[:, data.names.index("inflation")], atol=1e-6)
    assert list(own["date"]) == list(data.dates)
    assert "2 draws from the posterior" in written and "each a surprise, at the posterior mode" in written


@pytest.mark.long
def test_the_report_shows_what_is_of_its_draws(folder: Path, written: str) -> None:
    run = load(folder)
    digest = draws_digest(draws_of(run.draws, "posterior", run.posterior.names))
    part = read_linearity(folder / "linearity", digest)
    assert part is not None and [f.name for f in part.figures] == ["linearity", "linearity_history"]
    assert "Asymmetry" in part.tables[0].html and part.words["linearity"] in written
    # of other draws, or of none, nothing is shown; what is damaged is said to be
    assert read_linearity(folder / "linearity", "0" * 16) is None
    assert read_linearity(folder, digest) is None
    file = folder / "linearity" / "linearity.json"
    content = file.read_text(encoding="utf-8")
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(ResultsError, match="run `estimhank linearity` again"):
        read_linearity(folder / "linearity", digest)
    file.write_text(content, encoding="utf-8")


def test_numbers_that_cannot_be_are_refused(folder: Path) -> None:
    run = load(folder)
    for wrong in ({"draws": 0}, {"sizes": ()}, {"sizes": (1.0, -2.0)}, {"histories": -1}):
        with pytest.raises(ConfigError, match="at least one draw"):
            linearity_of(run, **wrong)
    with pytest.raises(ConfigError, match="twice"):
        linearity_of(run, sizes=(1.0, 1.0))


@pytest.mark.long  # three histories
def test_the_shocks_of_the_data_in_a_model_with_a_bound(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "bounded.py"
    file.write_text(BOUNDED, encoding="utf-8")
    out = tmp_path / "out"
    words = ["transition", str(folder), "--smoothed", "1991Q1:1993Q4", "--model", f"{file}:Bounded", "--out", str(out)]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    frame = pd.read_csv(out / "transition.csv")
    rate = frame[frame["variable"] == "i"]["level"].to_numpy()
    stored = json.loads((out / "transition.json").read_text(encoding="utf-8"))
    at = np.abs(rate + 0.004) < 1e-9
    assert (rate > -0.004 - 1e-9).all() and stored["binds"].get("Taylor rule", []) == np.flatnonzero(at).tolist()
    assert at.any() and not at.all() and f"at its bound at {at.sum()} of 12 dates" in done.stdout
    assert (out / "transition.png").stat().st_size > 10_000
    # without the bound the data come out, and without shocks the steady state
    run = load(folder)
    free = run.retell("1991Q1", "1993Q4").path.paths["i"]
    values = run.data.values[list(run.data.dates).index("1991Q1") :, run.data.names.index("rate")]
    np.testing.assert_allclose(100 * free, values, atol=1e-6)
    still = run.retell("1993Q3", "1993Q4", without=("d", "u", "m")).path.paths["i"]
    np.testing.assert_allclose(still, 0.0, atol=1e-12)
    with pytest.raises(ConfigError, match="none of its quarters"):
        run.retell("1980Q1", "1993Q4")
    with pytest.raises(ConfigError, match="there is no shock 'q'"):
        run.retell("1993Q1", "1993Q4", without=("q",))


def test_beginnings_are_read_or_refused(tmp_path: Path) -> None:
    def told(name: str, **given: float) -> str:
        np.savez(tmp_path / name, **given)  # type: ignore[arg-type]
        words = ["transition", "new_keynesian", "--from", str(tmp_path / name), "--horizon", "60", "--json"]
        done = CliRunner().invoke(app, words)
        return done.stdout if done.exception is None or done.stdout else str(done.exception)

    # nothing of the three equations is carried over, but growth is
    paths = json.loads(told("own.npz", y=-0.01))["paths"]
    np.testing.assert_allclose(paths["y"], 0.0, atol=1e-12)
    assert "no variable 'q'" in told("unknown.npz", q=1.0)
    assert "one finite number" in told("not.npz", y=np.nan)
    changed = transition("new_keynesian", {}, horizon=60, start={"kappa": 0.5})
    assert changed.converged and max(np.abs(path).max() for path in changed.paths.values()) < 1e-9


def test_shocks_and_spans_in_words() -> None:
    known, surprises = read_shocks(["m=0.1,", "m@3=0.2,", "d@3=0.5^t"])
    assert known == {"m": "0.1,"} and surprises == {3: {"m": "0.2,", "d": "0.5^t"}}
    for wrong in (["m@0=0.1,"], ["m@x=0.1,"], ["m@2=0.1,", "m@2=0.2,"]):
        with pytest.raises(ConfigError):
            read_shocks(wrong)
    dates = [f"t{i}" for i in range(6)]
    (line,) = in_words({"rule": np.array([1, 1, 0, 1, 0, 1], bool)}, dates)
    assert line == "'rule' is at its bound at 4 of 6 dates: t0 to t1, t3, t5"
