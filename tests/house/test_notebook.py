"""The diagnostics notebook runs on any results folder and shows that folder's numbers."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import nbclient
import nbformat
import pytest

from estimhank.analysis.inference_data import write_inference_data
from estimhank.report.inputs import ReportInputs
from tests.helpers.synthetic_run import first_parameters, synthetic_inputs

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "posterior_diagnostics.ipynb"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ReportInputs]:
    """A results folder as small as a smoke run's."""
    folder, inputs = tmp_path_factory.mktemp("run"), first_parameters(synthetic_inputs(chains=4, draws=60), 5)
    write_inference_data(folder / "posterior.nc", inputs.arrays, inputs.parameters)
    (folder / "certificate.json").write_text(json.dumps(inputs.certificate))
    return folder, inputs


@pytest.fixture(scope="module")
def executed(run: tuple[Path, ReportInputs]) -> nbformat.NotebookNode:
    """The notebook with the outputs for that folder."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "ESTIMHANK_RESULTS": str(run[0]), "PYTHONPATH": path, "JAX_PLATFORMS": "cpu"}
    environment.pop("MPLBACKEND", None)  # the kernel's own backend is what puts figures into the notebook
    client = nbclient.NotebookClient(notebook, timeout=180, resources={"metadata": {"path": str(NOTEBOOK.parent)}})
    return client.execute(env=environment)


@pytest.mark.long  # compiles a model with households
def test_the_notebook_on_a_model_runs() -> None:
    notebook = nbformat.read(ROOT / "notebooks" / "own_model.ipynb", as_version=4)
    assert not outputs(notebook)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "JAX_PLATFORMS": "cpu"}
    environment.pop("MPLBACKEND", None)
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ROOT / "notebooks")}})
    done = client.execute(env=environment)
    assert sum("image/png" in output.get("data", {}) for output in outputs(done)) == 1
    assert "determinate" in str(outputs(done))


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """All outputs of all cells."""
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def test_it_runs_without_errors_or_warnings(executed: nbformat.NotebookNode) -> None:
    kinds = {output.output_type for output in outputs(executed)}
    printed = [output for output in outputs(executed) if output.output_type == "stream"]
    assert "error" not in kinds and not [output.text for output in printed if output.name == "stderr"]


def test_its_numbers_are_those_of_the_folder(executed: nbformat.NotebookNode, run: tuple[Path, ReportInputs]) -> None:
    inputs = run[1]
    tables = "\n".join(output.data.get("text/html", "") for output in outputs(executed) if "data" in output)
    numbers = set(re.findall(r"-?\d+\.\d{4}", tables))
    for expected in (inputs.exact.mean[0], inputs.exact.sd[1], inputs.exact.q95[2], inputs.exact.r_hat.max()):
        assert f"{expected:.4f}" in numbers
    error = inputs.arrays.exact.surrogate_log_density - inputs.arrays.exact.log_density
    assert any(abs(float(n) - error.std(ddof=1)) < 6e-5 for n in numbers)
    assert all(p.description in tables for p in inputs.parameters)


def test_it_draws_every_figure(executed: nbformat.NotebookNode) -> None:
    assert sum("image/png" in output.get("data", {}) for output in outputs(executed)) == 9


def test_it_explains_before_it_computes() -> None:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    prose = [cell.source for cell in cells if cell.cell_type == "markdown"]
    assert sum(len(text.split()) for text in prose) > 600 and cells[0].cell_type == "markdown"
    sources = "\n".join(cell.source for cell in cells)
    assert not re.search(r"/(home|root|tmp|work)/", sources)


def test_it_is_kept_without_outputs() -> None:
    assert not outputs(nbformat.read(NOTEBOOK, as_version=4)) and NOTEBOOK.stat().st_size < 60_000
