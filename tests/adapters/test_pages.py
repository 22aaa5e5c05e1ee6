"""Code on the pages for users of the toolkit and of Dynare runs; the Dynare page's model has its closed form."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from estimhank.adapters import from_jacobians
from estimhank.households.given import GivenJacobians
from estimhank.model import Normal, SqrtInverseGamma
from estimhank.model.registry import find_model
from estimhank.run.model_check import open_model

ROOT = Path(__file__).parents[2]


def python_blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.DOTALL)


def closed_form(values: dict[str, float], rho: float, shock: str) -> np.ndarray:
    """Impact of a unit of a process with root rho on y, pi and i, by undetermined coefficients."""
    p = values
    # y (1 - rho) + (i - rho pi) / sigma = g, pi (1 - beta rho) - kappa y = u, i - phi_pi pi - phi_y y = m
    matrix = np.array(
        [
            [1 - rho, -rho / p["sigma"], 1 / p["sigma"]],
            [-p["kappa"], 1 - p["beta"] * rho, 0.0],
            [-p["phi_y"], -p["phi_pi"], 1.0],
        ]
    )
    return np.linalg.solve(matrix, np.eye(3)["gum".index(shock)])


def test_the_three_equations_of_the_dynare_page_have_their_closed_form(tmp_path: Path) -> None:
    (block,) = python_blocks("from_dynare.md")
    file = tmp_path / "three_equations.py"
    file.write_text(block, encoding="utf-8")
    posterior = open_model(f"{file}:ThreeEquations")
    values = {name: float(entry.value or 0.0) for name, entry in posterior.model.parameters.items()}
    unknowns = posterior.solver.unknowns_at(posterior.reference())
    names = posterior.solver.setting.model.unknowns
    found = unknowns[:, [names.index(n) for n in ("y", "pi", "i")]]

    def path(shock: str) -> np.ndarray:
        rho, size = values[f"rho_{shock}"], 0.01 * values[f"sigma_{shock}"]
        return size * np.outer(rho ** np.arange(len(found)), closed_form(values, rho, shock))

    corr = values["corr_g_u"]
    expected = {"g": path("g") + corr * path("u"), "u": np.sqrt(1 - corr**2) * path("u"), "m": path("m")}
    for j, shock in enumerate(posterior.solver.setting.model.innovations):
        np.testing.assert_allclose(found[:, :, j], expected[shock.name], atol=1e-12)
    assert np.isfinite(posterior.log_density(posterior.reference()))


def test_the_conventions_of_the_dynare_page() -> None:
    prior = SqrtInverseGamma(0.3 / np.sqrt(np.pi), 2.0)
    rng = np.random.default_rng(0)
    assert np.mean(prior.sample(rng, 400_000)) == pytest.approx(0.3, rel=0.05)
    assert not np.isfinite(prior.sd)
    assert Normal(1.5, 0.1, lower=1.0).logpdf(1.5) > Normal(1.5, 0.1).logpdf(1.5)


def test_the_toolkit_page_and_its_example_are_one_model(tmp_path: Path) -> None:
    page, _, elsewhere = python_blocks("from_sequence_jacobian.md")
    (tmp_path / "page.py").write_text(page, encoding="utf-8")
    model = find_model(f"{tmp_path}/page.py:model")
    example = find_model("toolkit_one_asset.py:model", ROOT / "examples")
    assert set(model.parameters) < set(example.parameters) and "mu" in example.variables
    (call,) = re.findall(r"household = (from_jacobians\(.*?\n    \))", elsewhere, re.DOTALL)
    arrays = {f"{output}_{by}": np.eye(20) for output in "AC" for by in "rZ"}
    household = eval(call, {"from_jacobians": from_jacobians, "arrays": arrays})
    assert isinstance(household, GivenJacobians) and household.longest == 20
