"""``estimhank global`` from end to end at the smallest size: resuming, refusals, what is loaded."""

from __future__ import annotations

import dataclasses
import json
import os
import tomllib
from pathlib import Path

import jax.numpy as jnp
import nbclient
import nbformat
import numpy as np
import pandas as pd
import pytest

from benchmarks import global_validation
from estimhank import load
from estimhank.global_solution.settings import PROFILES, GlobalConfig
from estimhank.global_solution.solution import GlobalSolution
from estimhank.run.global_config import load_global_config, make_global_config
from estimhank.run.global_run import solve_global
from estimhank.support.errors import ConfigError, ResultsError

ROOT = Path(__file__).parents[2]
TINY: dict[str, dict[str, object]] = {
    "networks": {"hidden": [8], "moment_hidden": [4]},
    "training": {
        "economies": 16, "own_states": 10, "histogram": 60, "rounds": 2, "value_rounds": 1, "steps": 3,
        "first_quarters": 10, "quarters": 20,
    },
    "accuracy": {
        "quarters": 200, "burn_in": 20, "histogram": 60, "states": 10, "referee": False, "responses": False,
    },
}  # fmt: skip


def config(**tables) -> GlobalConfig:
    return make_global_config({**TINY, **tables})


class Stop(Exception):
    pass


# -- the configuration ---------------------------------------------------------------------------------------------
def test_the_shipped_configuration_is_the_defaults_and_every_profile_can_be_built() -> None:
    shipped, path = load_global_config("configs/krusell_smith_global.toml")
    assert shipped == GlobalConfig()
    for profile in PROFILES:
        load_global_config(path, profile)
    commented = path.read_text().replace("# [economy.parameters]", "[economy.parameters]")
    lines = [line[2:] if line.startswith("# ") and " = " in line else line for line in commented.splitlines()]
    lines = [line[2:] if line in ("# [training]", "# [accuracy]") else line for line in lines]
    assert make_global_config(tomllib.loads("\n".join(lines))).training == GlobalConfig().training


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"training": {"economies": 20}}, "multiple of 16"),
        ({"networks": {"generalised": 0}}, "must see a moment"),
        ({"training": {"recipe": "euller"}}, "did you mean 'euler'"),
        ({"trainin": {}}, "did you mean 'training'"),
        ({"accuracy": {"quarters": 3}}, "at least 100"),
    ],
)
def test_bad_settings_are_refused(table: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_global_config(table)


# -- a run ---------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("global") / "run"
    solve_global(config(), folder)
    return folder


@pytest.mark.long
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(finished: Path, tmp_path: Path) -> None:
    def stop(event) -> None:
        if event.done == 1:
            raise Stop

    with pytest.raises(Stop):
        solve_global(config(), tmp_path / "a", progress=stop)  # before the first round's checkpoint is written

    def stop_later(event) -> None:
        if event.done == 2:
            raise Stop

    with pytest.raises(Stop):
        solve_global(config(), tmp_path / "a", resume=True, progress=stop_later)
    with pytest.raises(ResultsError, match="not finished"):
        load(tmp_path / "a")
    with pytest.raises(ResultsError, match="--resume"):
        solve_global(config(), tmp_path / "a")
    with pytest.raises(ResultsError, match="another configuration"):
        solve_global(config(run={"seed": 2}), tmp_path / "a", resume=True)
    whole = (tmp_path / "a" / "checkpoint.npz").read_bytes()
    (tmp_path / "a" / "checkpoint.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ResultsError, match="damaged"):
        solve_global(config(), tmp_path / "a", resume=True)
    (tmp_path / "a" / "checkpoint.npz").write_bytes(whole)
    solve_global(config(), tmp_path / "a", resume=True)
    ours, theirs = (json.loads((folder / "global.json").read_text()) for folder in (tmp_path / "a", finished))
    timeless = {"seconds": 0, "processor_seconds": 0}
    assert ours | timeless == theirs | timeless
    assert (tmp_path / "a" / "solution.npz").read_bytes() == (finished / "solution.npz").read_bytes()


@pytest.mark.long
def test_a_finished_folder_holds_what_was_promised(finished: Path) -> None:
    figures = json.loads((finished / "global.json").read_text())
    names = ("bellman_error", "euler_mean", "euler_max", "den_haan_mean", "den_haan_max", "mean_capital", "sd_capital")
    for name in (*names, "wealth_sd", "wealth_gini", "seconds"):
        assert isinstance(figures[name], float)
    assert len(figures["law_bad"]) == len(figures["law_good"]) == 2
    assert figures["passed"] is False and "not held against a conventional solution" in figures["verdict"]
    assert "200 quarters and should have 10000" in figures["verdict"]
    page = (finished / "report.html").read_text()
    assert "Do not trust it" in page and page.count("<img") == 2 and "http" not in page.replace("http://www.w3.org", "")
    assert solve_global(config(), finished).verdict is None  # up to date


@pytest.mark.long
def test_a_loaded_solution_is_a_function_of_arrays(finished: Path) -> None:
    solution = load(finished)
    assert isinstance(solution, GlobalSolution)
    a = np.array([0.0, 0.5, 10.0, 40.0, 100.0])
    chosen = solution.policy(a, 1, 1, 39.4)
    assert chosen.shape == a.shape and (np.diff(chosen) > 0).all() and (chosen >= 0).all()
    np.testing.assert_allclose(
        solution.policy(a[:, None], [0, 1], [1.01, 0.99], 39.4)[:, 1], solution.policy(a, 1, 0, 39.4)
    )
    assert (solution.value(a, 1, 1, 39.4) > solution.value(a, 0, 1, 39.4)).all()
    assert (np.diff(solution.value(a, 1, 1, 39.4)) > 0).all()
    prices = solution.solver.economy.prices(jnp.asarray(1), jnp.asarray(39.4))
    cash = np.asarray(prices.gross_return * a + prices.income[1])
    np.testing.assert_allclose(solution.consumption(a, 1, 1, 39.4) + chosen, cash, rtol=1e-10)
    for bad, words in (((-1.0, 1, 1, 39.0), "borrowing limit"), ((1.0, 2, 1, 39.0), "idiosyncratic"),
                       ((1.0, 1, 7, 39.0), "aggregate state"), ((1.0, 1, 1, np.nan), "positive")):  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            solution.policy(*bad)
    # what is put into the weights comes out: a perturbed solution chooses otherwise
    rng = np.random.default_rng(0)
    moved = solution.state._replace(policy=solution.state.policy + 0.05 * rng.normal(size=solution.state.policy.shape))
    other = dataclasses.replace(solution, state=moved)
    assert np.abs(other.policy(a, 1, 1, 39.4) - chosen).max() > 1e-3


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ResultsError, match="not empty"):
        solve_global(config(), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["thesis.tex"]


@pytest.mark.long
def test_the_published_recipe_runs_and_is_not_trusted(tmp_path: Path) -> None:
    recipe: dict[str, object] = {
        "households": 10, "batch": 8, "steps": 6, "unroll": 10, "value_every": 3, "value_quarters": 20,
        "value_epochs": 2, "value_batch": 4, "burn_in": 5,
    }  # fmt: skip
    settings = config(training={**TINY["training"], "recipe": "published"}, published=recipe)
    outcome = solve_global(settings, tmp_path / "run")
    assert not outcome.figures["passed"]
    assert isinstance(load(tmp_path / "run"), GlobalSolution)
    chosen = load(tmp_path / "run").policy(np.array([0.0, 40.0]), 1, 1, 39.4)
    assert (chosen >= 0).all() and chosen[1] > chosen[0]


def test_the_table_of_runs_has_means_over_seeds_and_the_largest_distance_from_the_referee() -> None:
    paths = {"mean_capital": [39.0, 40.0], "wealth_sd": [20.0, 21.0]}
    figures = dict.fromkeys(global_validation._COLUMNS, 0.01) | {"wealth_sd": 20.4, "passed": True}
    rows = []
    for seed, sd in ((1, [20.2, 21.0]), (2, [20.0, 20.58])):
        of = {"by_path": paths | {"wealth_sd": sd}, "referee": {"by_path": paths, "wealth_sd": 20.5}}
        rows.append(global_validation.row("first moment", seed, figures | of | {"bellman_error": 0.01 * seed}))
    np.testing.assert_allclose([r["wealth_sd_gap"] for r in rows], [0.01, 0.02])
    rows[1]["passed"] = False
    text = global_validation.summary(pd.DataFrame(rows).fillna(0.0))
    assert "| first moment | 2 | 0.01500 ± 0.00707 | 0.0184 |" in text and "20.40 ± 0.00, 2.0% |" in text
    assert "| 1 of 2 |" in text and "| referee |" in text


@pytest.mark.long
def test_the_notebook_shows_a_solution(finished: Path) -> None:
    notebook = nbformat.read(ROOT / "notebooks" / "global_solution.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "ESTIMHANK_GLOBAL": str(finished), "PYTHONPATH": path, "JAX_PLATFORMS": "cpu"}
    environment.pop("MPLBACKEND", None)  # the kernel's own backend is what puts figures into the notebook
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ROOT / "notebooks")}})
    outputs = [output for cell in client.execute(env=environment).cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    figures = json.loads((finished / "global.json").read_text())
    assert figures["verdict"] in str(outputs[0]["text"]) and f"{figures['mean_capital']:.4f}" in str(outputs[1])
