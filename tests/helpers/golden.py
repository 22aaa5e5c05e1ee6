"""Golden numbers: value, where it comes from, and how exact it is there. Each stands here and nowhere else.

An origin is independent of the code that is tested: a paper, another library, the definition of the data. Tolerances
are those of the origin's digits and of its method, and absolute.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

_GIVEN = "the specification of the default model, computed by another implementation before this one was written"
_TOOLKIT = "sequence-jacobian toolkit, its Krusell and Smith notebook (Auclert, Bardóczy, Rognlie and Straub 2021)"
_FRED = "FRED, Federal Reserve Bank of St. Louis, the snapshot's vintage"
_CASE = "given with the case, by a solution that is not of this package"


#: Environment variable that names the file of what was found.
NOTES = "ESTIMHANK_NUMBERS"


@dataclass(frozen=True)
class Golden:
    """A number, or an array of numbers, from somewhere else.

    Attributes
    ----------
    value : float, or nested lists of float
    origin : str
    tolerance : float
        Absolute.
    """

    value: Any
    origin: str
    tolerance: float

    def check(self, found: Any) -> None:
        """Fail unless what was found is this, within the tolerance."""
        _note(self, found)
        np.testing.assert_allclose(found, self.value, rtol=0, atol=self.tolerance, err_msg=f"origin: {self.origin}")


def name_of(number: Golden) -> str:
    """Its name in this file."""
    for name, value in globals().items():
        if value is number:
            return name
        if isinstance(value, dict) and (keys := [key for key, item in value.items() if item is number]):
            return f"{name} {keys[0]}"
    return "of a test's own"


def _note(number: Golden, found: Any) -> None:
    """Write down what was found, where ``python -m benchmarks.numbers`` asks for it, which makes a page of it."""
    file = os.environ.get(NOTES)
    if file:
        test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
        line = {"name": name_of(number), "found": np.asarray(found, float).tolist(), "test": test}
        with open(file, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")


# -- the household of the default model ----------------------------------------------------------------------------
DEFAULT_BETA = Golden(0.91981514102, _GIVEN, 1e-9)
DEFAULT_CONSUMPTION = Golden(0.8, "goods market: output of one less government spending", 1e-9)
DEFAULT_CONSTRAINED = Golden(0.3059003852, _GIVEN, 1e-9)
#: Jacobians of the default household, rows and columns of which the first four entries are known: (output, input).
CONSUMPTION_BY_RATE_ROW = Golden([0.08091017, -0.24553489, -0.20971021, -0.17986146], _GIVEN, 1e-6)
CONSUMPTION_BY_INCOME_ROW = Golden([0.18160189, 0.09328281, 0.07947426, 0.0681931], _GIVEN, 1e-6)
CONSUMPTION_BY_INCOME_COLUMN = Golden([0.18160189, 0.093646, 0.08045582, 0.06989558], _GIVEN, 1e-6)
ASSETS_BY_RATE_COLUMN = Golden([0.91908983, 0.84917328, 0.78475335, 0.72532893], _GIVEN, 1e-6)
ASSETS_BY_INCOME_COLUMN = Golden([0.81839811, 0.7288441, 0.6520325, 0.58539708], _GIVEN, 1e-6)

# -- the default posterior at ``tests.conftest.REFERENCE`` ---------------------------------------------------------
#: Of growth, inflation and the rate (columns) to one-s.d. shocks w, g, m (rows).
DEFAULT_IMPACT = Golden(
    [
        [-0.40587184, 0.22062326, 0.16216278],
        [0.53325066, 0.35026062, 0.33104969],
        [-0.26415213, -0.40844631, 0.03631112],
    ],
    _GIVEN,
    1e-6,
)
DEFAULT_LOG_LIKELIHOOD = Golden(-383.104799, _GIVEN, 1e-4)
DEFAULT_LOG_PRIOR = Golden(4.7913245, _GIVEN, 1e-6)
DEFAULT_LOG_DENSITY = Golden(-383.104799 + 4.7913245, _GIVEN, 1e-4)
#: Less 5 %, and plus 2 % in every parameter. Values of our own: they guard ``DENSITY_VERSION`` against change.
DENSITIES_OF_VERSION_1 = Golden(
    [-439.4731760, -378.3134743, -362.7219236], "this package, density version 1: they guard against change", 2e-6
)

# -- Krusell and Smith's economy -----------------------------------------------------------------------------------
KRUSELL_SMITH_BETA = Golden(0.98195278806, _TOOLKIT, 1e-9)
KRUSELL_SMITH_CAPITAL = Golden(3.142857142857, "alpha / (r + delta) = 0.11 / 0.035", 1e-9)
KRUSELL_SMITH_CONSUMPTION = Golden(0.92142857, _TOOLKIT, 1e-8)
#: First row of the Jacobian of consumption with respect to the rate: a one-sided difference with a step of 1e-4, the
#: toolkit's default, which is 1e-5 from the derivative.
KRUSELL_SMITH_PUBLISHED_ROW = Golden([0.09578534, -0.68179015, -0.64119935, -0.60434415, -0.57057436], _TOOLKIT, 1e-7)

#: Capital at dates 0, 1, 2 after productivity rises by one percent of its level, persistence .8, and the rate after its
#: level rises by .01. By the same one-sided differences, which move capital by 2e-5 and the rate by 1e-5 of its size.
KRUSELL_SMITH_CAPITAL_PATH = Golden([0.006563463, 0.011211790, 0.014384237], _TOOLKIT, 4e-7)
KRUSELL_SMITH_RATE_PATH = Golden([3.96984687e-4, 2.43802060e-4, 1.28028547e-4], _TOOLKIT, 4e-9)

# -- hours chosen by households ------------------------------------------------------------------------------------
_HOURS = "sequence-jacobian toolkit, its one-asset HANK notebook (Auclert, Bardóczy, Rognlie and Straub 2021)"
#: The toolkit stops where assets miss the debt by 2e-7.
HOURS_BETA = Golden(0.98224355378, _HOURS, 5e-10)
HOURS_VPHI = Golden(0.78643342217, _HOURS, 1e-8)
#: After a cut of r* by 25 basis points, persistence .61; one-sided differences with a step of 1e-4.
HOURS_INFLATION_PATH = Golden([0.00172552, 0.00108123, 0.00068813], _HOURS, 1e-7)
HOURS_OUTPUT_PATH = Golden([0.00190791, 0.00115432, 0.00070316], _HOURS, 3e-8)

# -- the two-asset economy -----------------------------------------------------------------------------------------
_TWO_ASSETS = "sequence-jacobian toolkit, its two-asset model (Auclert, Bardóczy, Rognlie and Straub 2021)"
_TIGHT = f"{_TWO_ASSETS}: backward iteration to 1e-11, aggregates 1e-8 from their targets"
#: beta, chi1, C on the small grid, 3 x 10 x 16. Published with the toolkit's own tolerance: .9726152, 4.88360484,
#: .58387995.
TWO_ASSETS_SMALL = Golden([0.9726152, 4.8836065, 0.58387993], _TIGHT, 1e-7)
TWO_ASSETS_SMALL_PUBLISHED = Golden([0.9726152, 4.88360484, 0.58387995], _TWO_ASSETS, 2e-6)
#: Equity, marginal cost, capital share, productivity, wage, tax rate, dividends, consumption with adjustment costs.
TWO_ASSETS_CLOSED_FORM = Golden(
    [11.2, 0.985, 0.329949, 0.467789, 0.66, 0.356061, 0.14, 0.5948], "closed form of the calibration", 1e-6
)
#: beta, chi1, vphi, C, and the share of households without liquid wealth, on the paper's grid.
TWO_ASSETS_PAPER = Golden([0.9762739, 6.41641959, 1.71347594, 0.58209373, 0.511629], _TWO_ASSETS, 2e-6)
#: [0, 0], [0, 1], [1, 0] of the Jacobians of consumption by the illiquid return and by the wage, and of liquid assets
#: by the liquid return.
TWO_ASSETS_JACOBIANS = Golden(
    [
        [0.25260666, 0.11439060, 0.24465962],
        [0.04415029, 0.01613315, 0.01652329],
        [0.99425116, 0.87451156, 0.95683965],
    ],
    _TWO_ASSETS,
    2e-6,
)
#: Output in percent after a monetary rate 25 basis points lower, of persistence 0.6.
TWO_ASSETS_OUTPUT = Golden([0.48920072, 0.29047816, 0.16762288], _TWO_ASSETS, 2e-5)

# -- small models --------------------------------------------------------------------------------------------------
#: Of the eight observations in ``tests/likelihood/test_cases.py``.
AR1_LOG_LIKELIHOOD = Golden(-12.557849302, "SciPy: normal with covariance 0.5^|t - s| / (1 - 0.25)", 5e-6)
HUGGETT_LOG_LIKELIHOOD = Golden(-3.0666736, _CASE, 1e-5)
HUGGETT_RESPONSE = Golden([-0.51584786, -0.31691329, -0.26258974], _CASE, 1e-6)

# -- the snapshot --------------------------------------------------------------------------------------------------
FEDFUNDS_1981Q2 = Golden(17.78, _FRED, 0.0)
FEDFUNDS_2019Q4 = Golden(1.643333, _FRED, 0.0)
GDPC1_2019Q4 = Golden(20985.448, _FRED, 0.0)
_MOMENTS = "the snapshot's own definition, computed from the file with NumPy alone"
SAMPLE_MEANS = Golden([0.70071846, 0.8487929, 1.30103395], _MOMENTS, 5e-9)
#: Mean and standard deviation (n - 1) of 100 times the change of the log; of the level of the unemployment rate.
MORE_SERIES = {
    name: Golden(values, "published with the series", 5e-7)
    for name, values in {
        "PCECC96": [0.755210, 0.634017],
        "GPDIC1": [0.888403, 3.822336],
        "FPI_real": [0.891287, 2.118302],
        "GCEC1": [0.424015, 0.894139],
        "HOANBS": [0.308345, 0.800374],
        "COMPRNFB": [0.275819, 0.802325],
        "UNRATE": [6.015429, 1.670086],
    }.items()
}
SAMPLE_SDS = Golden([0.78292186, 0.58517657, 0.94488235], _MOMENTS, 5e-9)
