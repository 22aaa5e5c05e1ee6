"""The example models of the documentation solve, agree with nonlinear conditions, and have exact gradients."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from estimhank.posterior.posterior import Posterior


@pytest.fixture(scope="module")
def example() -> Posterior:
    return Posterior.from_config("examples/nominal_bonds.toml")


@pytest.mark.long
def test_example_model_has_a_density(example: Posterior) -> None:
    assert np.isfinite(example.log_density(example.reference()))


@pytest.mark.long  # compiles for a quarter of a minute; the engine's gradient is tested on its own models
def test_example_model_has_an_exact_gradient(example: Posterior) -> None:
    theta = example.reference()
    gradient = example.log_density_and_gradient(theta)[1]
    direction = np.random.default_rng(0).normal(size=len(theta)) * theta
    step = 1e-6
    numeric = (example.log_density(theta + step * direction) - example.log_density(theta - step * direction)) / (
        2 * step
    )
    assert gradient @ direction == pytest.approx(numeric, rel=1e-5)


def test_goods_market_of_the_example_clears_by_walras_law(example: Posterior) -> None:
    state = example.steady_state
    assert state.values["C"] + state.parameters["G"] == pytest.approx(state.values["Y"], abs=1e-9)


@pytest.mark.long
def test_nominal_bonds_redistribute_on_impact(example: Posterior) -> None:
    # unlike in the default model the return moves at date 0, by minus the surprise in inflation
    impact = example.responses(example.reference())[0]
    assert np.abs(impact).min() > 1e-4


TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"


def test_the_tutorial_shows_what_stands_in_its_example() -> None:
    text = TUTORIAL.read_text(encoding="utf-8")
    for language, suffix in (("text", "py"), ("toml", "toml")):
        file = TUTORIAL.parents[1] / "examples" / f"average_inflation.{suffix}"
        blocks = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
        assert blocks
        for block in blocks:
            assert block in file.read_text(encoding="utf-8"), block


@pytest.mark.long  # compiles a model with households; each of its parts is tested on models of its own
def test_the_model_of_the_tutorial_has_a_density() -> None:
    post = Posterior.from_config("examples/average_inflation.toml")
    found = post.evaluate(post.reference(), gradient=True)
    assert found.reason == "ok" and found.gradient is not None
    step = 1e-6 * np.random.default_rng(0).normal(size=len(post.names))
    numeric = (post.log_density(post.reference() + step) - post.log_density(post.reference() - step)) / 2
    assert found.gradient @ step == pytest.approx(numeric, rel=1e-4)
