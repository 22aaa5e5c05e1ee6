"""A model with households by their Jacobians is the model with the household's problem, and the toolkit's."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sequence_jacobian import JacobianDict, create_model
from sequence_jacobian.examples import krusell_smith

from estimhank.adapters import from_jacobians, from_sequence_jacobian
from estimhank.data.dataset import Dataset
from estimhank.households.stationary import SteadyStateError
from estimhank.model import ModelError, Normal, Parameters, StandardIncompleteMarkets
from estimhank.model.registry import configure_model, find_model, make_model
from estimhank.models.krusell_smith import KrusellSmith
from estimhank.posterior.posterior import Posterior
from estimhank.run.config_sections import ParameterConfig

T = 120
SMALL = StandardIncompleteMarkets(inputs=("r", "w"), outputs=("A", "C"), n_e=2, n_a=60, spacing="logarithmic")


def sample(n: int = 40) -> Dataset:
    values = np.random.default_rng(3).standard_normal((n, 1))
    dates = tuple(f"{2000 + i // 4}Q{i % 4 + 1}" for i in range(n))
    return Dataset(dates, ("growth",), ("percent per quarter",), ("growth",), values, np.zeros(1))


@cache
def native() -> Posterior:
    return Posterior(KrusellSmith(household=SMALL), sample(), T, 80)


@cache
def solved() -> tuple[dict[str, Any], dict[str, float], dict[str, float]]:
    """Jacobians of assets, and the steady state's inputs and outputs, by the model's own household."""
    parts = native().solver.steady.reference_parts
    arrays = np.asarray(parts.household.jacobians)
    values = {name: float(value) for name, value in parts.values.items()}
    return {"A": {"r": arrays[0, 0], "w": arrays[0, 1]}}, {n: values[n] for n in ("r", "w")}, {"A": values["A"]}


def given(**changes: Any) -> KrusellSmith:
    jacobians, inputs, outputs = solved()
    return KrusellSmith(household=from_jacobians(jacobians, {**inputs, **changes}, outputs), parameters=table())


def table(**changes: Any) -> Parameters:
    """The parameters, with the discount factor that the household's problem had found."""
    beta = native().steady_state.parameters["beta"]
    return KrusellSmith.parameters.changed("beta", value=beta)


@pytest.mark.long
def test_the_likelihood_is_that_of_the_household_problem_and_of_the_toolkit() -> None:
    posterior = Posterior(given(), sample(), T, 80)
    jacobians, _, _ = solved()
    state = native().steady_state
    ss = {n: state.values[n] for n in ("r", "w", "K", "Y", "A")}
    ss |= {"Z": state.parameters["tfp"], "alpha": 0.11, "delta": 0.025, "L": 1.0, "C": 0.0, "asset_mkt": 0.0}
    toolkit = create_model([JacobianDict(jacobians), krusell_smith.firm, krusell_smith.mkt_clearing])
    process = KrusellSmith.shocks[0].__class__("Z", "rho_z", "sigma_z", scale=0.01 * ss["Z"])
    priors = {name: KrusellSmith.parameters[name] for name in ("rho_z", "sigma_z")}
    adapted = Posterior(
        from_sequence_jacobian(toolkit, ss, ["K"], ["asset_mkt"], (process,), KrusellSmith.observables, priors),
        sample(), T, 80,
    )  # fmt: skip
    for rho, sigma in ((0.9, 0.7), (0.4, 1.1)):
        theta = {"rho_z": rho, "sigma_z": sigma}
        expected = native().evaluate(native().to_array(theta))
        for other in (posterior, adapted):
            found = other.evaluate(other.to_array(theta))
            assert found.log_likelihood == pytest.approx(expected.log_likelihood, abs=1e-8)
            assert found.log_prior == pytest.approx(expected.log_prior, abs=1e-12)
    assert posterior.longer is None and posterior.cliffs_at(posterior.reference()) is None
    assert posterior.fingerprint["model"] != native().fingerprint["model"]
    assert Posterior(given(), sample(), T, 80).fingerprint == posterior.fingerprint


def test_content_of_jacobians_is_in_the_fingerprint() -> None:
    jacobians, inputs, outputs = solved()
    other = {"A": {**jacobians["A"], "r": jacobians["A"]["r"] * (1 + 1e-12)}}
    changed = KrusellSmith(household=from_jacobians(other, inputs, outputs), parameters=table())
    first, second = (Posterior(m, sample(), T, 80).fingerprint["model"] for m in (given(), changed))
    assert first != second


def test_another_steady_state_is_refused() -> None:
    with pytest.raises(SteadyStateError, match=r"a steady state with r = 0\.02, and the model's has r = 0\.01"):
        Posterior(given(r=0.02), sample(), T, 80).check_declaration()


def test_a_parameter_that_would_move_the_steady_state_is_refused() -> None:
    jacobians, inputs, outputs = solved()
    moving = table().changed("alpha", prior=Normal(0.11, 0.01))
    with pytest.raises(ModelError, match="'alpha' moves the steady state, and the household's Jacobians belong to one"):
        KrusellSmith(household=from_jacobians(jacobians, inputs, outputs), parameters=moving)


def test_a_horizon_beyond_the_jacobians_is_refused() -> None:
    with pytest.raises(ModelError, match="cover 120 dates, the horizon is 300"):
        Posterior(given(), sample())


EYE = np.eye(5)


@pytest.mark.parametrize(
    ("jacobians", "inputs", "outputs", "sentence"),
    [
        ({"A": {"r": EYE}}, {"w": 1.0}, {"A": 1.0}, "with respect to 'r', of which inputs gives no value"),
        ({"A": {"r": EYE}}, {"r": 1.0}, {"C": 1.0}, "Jacobians of 'A', of which outputs gives no value"),
        ({"A": {"r": EYE}}, {"r": 1.0}, {"A": 1.0, "C": 1.0}, "no Jacobian of the output 'C'"),
        ({"A": {"r": EYE}}, {"r": 1.0, "w": 1.0}, {"A": 1.0}, "no output has a Jacobian with respect to 'w'"),
        ({"A": {"r": EYE[0]}}, {"r": 1.0}, {"A": 1.0}, "no array of T x T numbers"),
        ({"A": {"r": EYE[:, :4]}}, {"r": 1.0}, {"A": 1.0}, "no array of T x T numbers"),
        ({"A": {"r": EYE * np.nan}}, {"r": 1.0}, {"A": 1.0}, "not finite"),
        ({"A": {"r": EYE}, "C": {"r": np.eye(4)}}, {"r": 1.0}, {"A": 1.0, "C": 1.0}, "numbers of dates: 4, 5"),
        ({"A": {"r": EYE}}, ["r"], {"A": 1.0}, "inputs are steady-state values by name"),
        ({"A": {"r": EYE}}, {"r": "x"}, {"A": 1.0}, "the steady-state value of r is a number"),
        ({"A": {"1+r": EYE}}, {"1+r": 1.0}, {"A": 1.0}, "no name that equations can read"),
    ],
    ids=lambda x: x[:30] if isinstance(x, str) else "",
)  # fmt: skip
def test_what_does_not_fit_is_one_sentence(jacobians: Any, inputs: Any, outputs: Any, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence) as caught:
        from_jacobians(jacobians, inputs, outputs)
    assert "\n" not in str(caught.value)


FILE = """
import numpy as np
from estimhank.adapters import from_jacobians
from estimhank.model import Parameter
from estimhank.models.krusell_smith import KrusellSmith

household = from_jacobians({"A": {"r": np.eye(30), "w": np.eye(30)}}, {"r": 0.01, "w": 0.89}, {"A": 0.11 / 0.035})
mine = KrusellSmith(KrusellSmith.parameters.changed("beta", value=0.98), household)
"""


def test_a_configuration_names_a_model_that_is_an_object(tmp_path: Path) -> None:
    (tmp_path / "file.py").write_text(FILE)
    found = find_model("file.py:mine", tmp_path)
    assert make_model(found).household is found.household
    model = configure_model(found, {}, {}, {"rho_z": ParameterConfig(fixed=0.8)})
    assert model.parameters["rho_z"].value == 0.8 and model.household is found.household
    assert found.parameters["rho_z"].value == 0.9
    with pytest.raises(ModelError, match="has no household block, or several"):
        configure_model(found, {}, {"n_a": 50}, {})


def test_several_blocks_cannot_hold_given_ones() -> None:
    jacobians, inputs, outputs = solved()

    several: Any = {"a": SMALL, "b": from_jacobians(jacobians, inputs, outputs)}
    with pytest.raises(ModelError, match="household is one household block, several by name"):
        KrusellSmith(household=several)
