"""The notebooks on results run on any finished run, here a small one, and show its numbers."""

from __future__ import annotations

import os
import re
from pathlib import Path

import nbclient
import nbformat
import pytest

from tests.helpers.sampled_run import sampled_run

ROOT = Path(__file__).parents[2]
#: Notebooks, the figures that each draws, and what its output says.
NOTEBOOKS = {
    "responses_and_decompositions": (4, "that contributions add up to the data"),
    "forecasts_and_scenarios": (4, "plausibility: the conditions are"),
    "surrogate_against_exact": (2, "standard deviation of the error"),
}


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """All outputs of all cells."""
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = tmp_path_factory.mktemp("notebooks") / "run"
    sampled_run(at)
    return at


@pytest.mark.long  # a kernel each, which compiles what it shows
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_they_run_on_a_small_run(name: str, folder: Path) -> None:
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "ESTIMHANK_RESULTS": str(folder), "PYTHONPATH": path, "JAX_PLATFORMS": "cpu"}
    environment.pop("MPLBACKEND", None)  # the kernel's own backend is what puts figures into the notebook
    client = nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT / "notebooks")}})
    done = client.execute(env=environment)
    figures, said = NOTEBOOKS[name]
    assert not [o for o in outputs(done) if o.output_type == "error" or o.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs(done)) == figures
    assert said in "".join(str(output.get("text", "")) for output in outputs(done))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_they_are_kept_short_and_without_outputs(name: str) -> None:
    cells = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells
    assert not [c for c in cells if c.get("outputs")] and cells[0].cell_type == "markdown"
    code = [c.source for c in cells if c.cell_type == "code"]
    assert max(len(text.splitlines()) for text in code) <= 20
    assert sum(len(c.source.split()) for c in cells if c.cell_type == "markdown") > 150
    assert not re.search(r"/(home|root|tmp|work)/", "\n".join(c.source for c in cells))
