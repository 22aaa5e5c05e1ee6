"""The example model of the documentation solves, agrees with its own nonlinear conditions, and has exact gradients."""

from __future__ import annotations

import numpy as np
import pytest

from estimhank.posterior.posterior import Posterior


@pytest.fixture(scope="module")
def example() -> Posterior:
    return Posterior.from_config("examples/nominal_bonds.toml")


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


def test_nominal_bonds_redistribute_on_impact(example: Posterior) -> None:
    # unlike in the default model the return moves at date 0, by minus the surprise in inflation
    impact = example.responses(example.reference())[0]
    assert np.abs(impact).min() > 1e-4
