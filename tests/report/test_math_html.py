"""LaTeX names of parameters in HTML."""

from __future__ import annotations

import pytest

from estimhank.models.one_asset_hank import OneAssetHANK
from estimhank.report.math_html import latex_to_html


@pytest.mark.parametrize(
    ("latex", "expected"),
    [
        (r"\kappa_w", "<i>κ</i><sub><i>w</i></sub>"),
        (r"\phi_\pi", "<i>φ</i><sub><i>π</i></sub>"),
        (r"\rho_{12}^2", "<i>ρ</i><sub>12</sub><sup>2</sup>"),
        (r"\mathrm{eis}", "eis"),
        (r"x < 1", "<i>x</i> &lt; 1"),
        (r"\bar B", '<math><mover accent="true"><mi>B</mi><mo>¯</mo></mover></math>'),
    ],
)
def test_formula(latex: str, expected: str) -> None:
    assert latex_to_html(latex) == expected


@pytest.mark.parametrize("latex", [r"\frac{a}{b}", "{a", "a}", "a_", ""])
def test_what_cannot_be_converted_falls_back_to_the_name(latex: str) -> None:
    assert latex_to_html(latex, "a<b") == "<code>a&lt;b</code>"


def test_every_parameter_of_the_default_model_can_be_set() -> None:
    assert not any("<code>" in latex_to_html(p.latex, name) for name, p in OneAssetHANK.parameters.items())
