"""Names that a results file cannot hold are refused before anything is evaluated; those that pass come back whole."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import estimhank
from estimhank.analysis.arrays import ExactDraws, FreshDraws, PosteriorArrays
from estimhank.analysis.inference_data import arrays_of, read_inference_data, write_inference_data
from estimhank.analysis.math_text import figure_label
from estimhank.analysis.parameters import ParameterInfo
from estimhank.data import Observable as Column
from estimhank.data.dataset import Dataset, read_dataset, write_dataset
from estimhank.model import AR1, Level, Model, Parameter, Parameters, SqrtInverseGamma
from estimhank.model.measurement_error import with_measurement_error
from estimhank.parameters.parameter_table import ModelError
from estimhank.report import write_report
from estimhank.run.config import make_config
from estimhank.support.errors import ConfigError, DataError
from estimhank.support.names import TAKEN_OF_PARAMETERS
from estimhank.target.any_density import DensityError
from tests.helpers.synthetic_run import first_parameters, synthetic_inputs

BAD = {
    "alpha/beta": "write 'alpha_beta'", "/x": "write '_x'", "draw": "write 'draw_'", "chain": "write 'chain_'",
    "lp": "write 'lp_'", "surrogate_lp": "another name", "point": "another name", "": "blank", "  ": "blank",
    " x": "leave them out", "x\n": "leave them out", "x\ny": "leave them out", "x\x00": "leave them out",
    "a\tb": "leave them out", ".": "folder", "..": "folder",
}  # fmt: skip
GOOD = ("alpha", "β", "x[0]", "log sigma", "GDP growth (%)", "a.b", "a$b$c", "a\\b", "_x", "1", "posterior", "accepted")


def density(theta: np.ndarray) -> float:
    raise AssertionError("nothing is evaluated under a name that is refused")


@pytest.mark.parametrize("name", BAD)
def test_names_of_parameters_are_refused_before_anything_is_evaluated(name: str) -> None:
    with pytest.raises(DensityError, match=BAD[name]):
        estimhank.from_log_density(density, ["z", name], [0.1, 0.1], 1.0)
    with pytest.raises(ModelError, match=BAD[name]):
        model(parameter=name)


@pytest.mark.parametrize("name", [*(n for n in BAD if n and n not in TAKEN_OF_PARAMETERS), "quarter", "date"])
def test_names_of_observables_are_refused_where_they_are_declared(name: str) -> None:
    with pytest.raises(ModelError, match="the name of the observable"):
        model(observable=name)
    with pytest.raises(DataError, match="the name of the observable"):
        Column(name, "GDPC1", "log_difference")
    with pytest.raises(ConfigError, match="the name of the observable"):
        make_config({"data": {"observables": {name: {"series": "GDPC1", "transform": "level"}}}})


def model(observable: str = "y", parameter: str = "sigma_e", latex: str = "s") -> Model:
    """One variable that is a shock."""
    prior = SqrtInverseGamma(1.0, 4.0)

    class Small(Model):
        name = "small"
        variables, shocks, observables = ("x",), (AR1("e", sigma=parameter),), (Level("x", observable),)
        parameters = Parameters(
            {
                "rho_e": Parameter(0.5, "r", "r", touches="shocks"),
                parameter: Parameter(1.0, latex, "s", prior, "shocks"),
            }
        )

    return Small()  # type: ignore[abstract]


@pytest.mark.parametrize("name", GOOD)
def test_other_names_come_back_from_the_files(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    exact = ExactDraws(rng.normal(size=(2, 3, 2)), rng.normal(size=(2, 3)), np.zeros((2, 3)))
    fresh = FreshDraws(rng.normal(size=(4, 2)), rng.normal(size=4), rng.normal(size=4))
    data = Dataset(("2000Q1", "2000Q2"), (name,), ("%",), (name,), rng.normal(size=(2, 1)), np.zeros(1))
    arrays = PosteriorArrays(("z", name), exact, exact.theta, observed=data, fresh=fresh)
    infos = (ParameterInfo("z"), ParameterInfo(name))
    back = arrays_of(read_inference_data(write_inference_data(tmp_path / "posterior.nc", arrays, infos)))
    assert back.names == ("z", name) and back.observed is not None and back.fresh is not None
    np.testing.assert_array_equal(back.exact.theta, exact.theta)
    np.testing.assert_array_equal(back.fresh.theta, fresh.theta)
    np.testing.assert_array_equal(back.fresh.exact, fresh.exact)
    assert back.observed.names == (name,)
    assert read_dataset(write_dataset(tmp_path / "data.csv", data)).names == (name,)
    noisy = with_measurement_error(model(observable=name), {name: {"family": "gamma", "mean": 0.1, "sd": 0.05}})
    assert noisy.parameters.estimated == ("sigma_e", f"me_{name}")


def test_two_of_a_name_are_refused() -> None:
    with pytest.raises(DensityError, match="name of its own"):
        estimhank.from_log_density(density, ["x", "x"], [0.1, 0.1], 1.0)

    class Twice(Model):
        name = "twice"
        variables, shocks = ("x",), (AR1("e"),)
        observables = (Level("x", "y"), Level("x", "y"))
        parameters = model().parameters

    with pytest.raises(ModelError, match="two observables have the name 'y'"):
        Twice()  # type: ignore[abstract]


LATEX = {
    r"\bm{\rho}": r"$\boldsymbol{\rho}$", r"\bm\beta": r"$\boldsymbol{\beta}$", r"\emph{x}": r"$\mathit{x}$",
    r"\tfrac{1}{2}": r"$\frac{1}{2}$", r"\tfrac12": r"$\frac{1}{2}$", r"\sigma_{\mbox{me}}": r"$\sigma_{\mathrm{me}}$",
    r"\textrm{a}": r"$\mathrm{a}$", r"\rho_w": r"$\rho_w$", r"\unknown{x}": r"a\$b", r"\mathbb{": r"a\$b", "": r"a\$b",
    r"\begin{array}{c}x\end{array}": r"a\$b", r"x%": r"$x\%$",
}  # fmt: skip


@pytest.mark.parametrize("latex", LATEX)
def test_latex_is_translated_for_figures_or_the_name_is_shown(latex: str) -> None:
    assert figure_label(latex, "a$b") == LATEX[latex]


def test_braces_that_do_not_match_are_refused_and_dollar_signs_dropped() -> None:
    for latex in (r"\rho_{a", r"\rho}", r"\rho}_{"):
        with pytest.raises(ModelError, match="braces"):
            model(latex=latex)
    assert model(latex=r"$\rho$").parameters["sigma_e"].latex == r"\rho"
    assert model(latex=r"\{").parameters["sigma_e"].latex == r"\{"


def test_a_report_with_strange_names_is_written(tmp_path: Path) -> None:
    """Every figure and table, with names and LaTeX that matplotlib cannot set, and labels with dollar signs."""
    inputs = first_parameters(synthetic_inputs(draws=60), 3)
    names, latex = ("x[0] (%)", "a$b$c_{", "mean"), (r"\bm\rho", "", r"\unknownmacro{x}_{")
    infos = [
        dataclasses.replace(p, name=n, latex=t, unit="$ per $")
        for p, n, t in zip(inputs.parameters, names, latex, strict=True)
    ]
    data: Any = inputs.arrays.observed
    odd = dataclasses.replace(
        data, names=("GDP growth (%)", "$a$_{", "rate"), labels=("GDP growth (%)", "$a_{$", "$_$")
    )
    arrays = dataclasses.replace(inputs.arrays, names=names, observed=odd)
    assert inputs.mode is not None
    mode = dataclasses.replace(inputs.mode, names=names)
    written = write_report(dataclasses.replace(inputs, parameters=tuple(infos), arrays=arrays, mode=mode), tmp_path)
    assert (tmp_path / "report.html").is_file()
    tables = "".join(path.read_text(encoding="utf-8") for path in written if path.suffix == ".tex")
    assert r"\bm\rho" in tables
