"""A vectorised call gives the values, gradients and reasons of single evaluations, under a fingerprint of its own."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import estimhank
from estimhank.data.dataset import Dataset
from estimhank.evaluation.engine import Engine
from estimhank.evaluation.evaluations import EvaluationBatch
from estimhank.evaluation.store import EvaluationStore
from estimhank.evaluation.worker import EvaluationError, evaluate_points
from estimhank.model import AR1, Level, Model, Parameter, Parameters, Uniform
from estimhank.posterior.posterior import Posterior
from estimhank.posterior.vectorized import VectorizedPosterior
from estimhank.run.config import make_config
from estimhank.run.open_posterior import build_target
from estimhank.support.errors import ConfigError, ResultsError
from estimhank.target.batching import vectorize
from estimhank.target.protocol import REASONS, Evaluation, VectorizedTarget


class Forward(Model):
    """x = a x(+1) + u: determinate while a < 1."""

    name = "forward"
    variables = ("x",)
    shocks = (AR1("u"),)
    observables = (Level("x", "x"),)
    parameters = Parameters(
        a=Parameter(0.5, "a", "weight of the future", Uniform(0.0, 2.0)),
        rho_u=Parameter(0.5, r"\rho", "persistence", Uniform(0.0, 1.0)),
        sigma_u=Parameter(1.0, r"\sigma", "standard deviation", Uniform(0.1, 3.0)),
    )

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        yield "outlook", now.x - p.a * lead.x - shock.u

    def steady_state(self, p: Any, household: Any) -> Mapping[str, Any]:
        return {"x": 0.0}


#: Determinate, outside the support, indeterminate, doubtful at the coarse frequencies.
POINTS = np.array(
    [[0.5, 0.5, 1.0], [0.5, 0.5, -1.0], [1.5, 0.2, 1.0], [1.0 + 1e-7, 0.3, 1.0], [1.9, 0.99, 0.2], [0.9, 0.8, 2.0]]
)
EXPECTED = ["ok", "outside_support", "indeterminate", "indeterminate", "indeterminate", "ok"]


def assert_close(one: EvaluationBatch, other: EvaluationBatch) -> None:
    """The same reasons, values and gradients to 1e-8."""
    np.testing.assert_array_equal(one.theta, other.theta)
    np.testing.assert_array_equal(one.reason, other.reason)
    for name in ("log_likelihood", "log_prior", "gradient"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-8, atol=1e-8)


@pytest.fixture(scope="module")
def plain() -> Posterior:
    values = np.random.default_rng(0).normal(size=(30, 1))
    dates = tuple(f"{1990 + i // 4}Q{i % 4 + 1}" for i in range(30))
    return Posterior(Forward(), Dataset(dates, ("x",), ("percent",), ("x",), values, np.zeros(1)), 40, 30)


@pytest.fixture(scope="module")
def together(plain: Posterior) -> Any:
    return vectorize(plain, 4)


@pytest.mark.parametrize("gradient", [False, pytest.param(True, marks=pytest.mark.long)])
def test_calls_agree_with_single_evaluations(plain: Posterior, together: VectorizedPosterior, gradient: bool) -> None:
    batch = Engine(together, "vectorized").evaluate(POINTS, gradient)
    assert [REASONS[code] for code in batch.reason] == EXPECTED
    assert_close(batch, evaluate_points(plain, POINTS, gradient))
    assert (batch.seconds > 0).all()


def test_two_sizes_of_calls_are_compiled(together: VectorizedPosterior) -> None:
    engine = Engine(together, "vectorized")
    full = engine.evaluate(np.tile(POINTS[:1], (9, 1)))
    for n in (1, 2, 3, 4, 5):
        values = engine.evaluate(np.tile(POINTS[:1], (n, 1))).log_likelihood
        np.testing.assert_allclose(values, full.log_likelihood[:n], rtol=1e-12)
        # padded, and wherever a point stands in its call: the same bits
        assert np.ptp(values[:4]) == 0 and np.ptp(full.log_likelihood[:8]) == 0
    assert together._values._cache_size() == 2


def test_device_and_size_have_a_fingerprint_of_their_own(
    plain: Posterior, together: VectorizedPosterior, tmp_path: Path
) -> None:
    assert {k: v for k, v in together.fingerprint.items() if k != "device"} == plain.fingerprint
    assert vectorize(plain, 8).fingerprint != together.fingerprint
    assert (
        pickle.loads(pickle.dumps(vectorize(build_target_of("loky"), 4))).fingerprint["device"]
        == (together.fingerprint["device"])
    )
    path = tmp_path / "evaluations.bin"
    EvaluationStore.open(path, plain.names, plain.fingerprint).close()
    with pytest.raises(ResultsError, match=r"the device differs \(device: stored none, now "):
        EvaluationStore.open(path, together.names, together.fingerprint)


def build_target_of(backend: str) -> Any:
    config = make_config({"run": {"backend": backend, "batch": 4}})
    return build_target(config, Posterior.from_config(config).data)


def test_the_backend_is_chosen_in_the_configuration() -> None:
    chosen = build_target_of("vectorized")
    assert isinstance(chosen, VectorizedTarget) and chosen._calls.size == 4  # type: ignore[attr-defined]
    assert not isinstance(build_target_of("loky"), VectorizedTarget)


def test_targets_that_cannot_be_vectorised_are_refused(plain: Posterior) -> None:
    with pytest.raises(ConfigError, match="vectorize"):
        Engine(plain, "vectorized")
    python = estimhank.from_log_density(lambda theta: -float(theta @ theta), ["x"], [0.5], 1.0)
    with pytest.raises(ConfigError, match="made of JAX operations"):
        vectorize(python, 4)


def test_a_log_density_of_ones_own() -> None:
    def density(theta: Any) -> Any:
        x, s = theta
        return jnp.where(x > 9, jnp.nan, jnp.where(x > 8, -jnp.inf, -0.5 * (x / s) ** 2 - jnp.log(s) - s))

    own = estimhank.from_log_density(density, ["x", "s"], [0.5, 1.0], 1.0, {"s": (0, np.inf)}, gradient="jax")
    thetas = np.array([[0.1, 1.0], [9.5, 1.0], [8.5, 1.0], [0.1, -1.0], [-3.0, 2.0]])
    for gradient in (False, True):
        batch = Engine(vectorize(own, 3), "vectorized").evaluate(thetas, gradient)
        assert_close(batch, evaluate_points(own, thetas, gradient))
    assert [REASONS[code] for code in batch.reason] == ["ok", "non_finite", "outside_support", "outside_support", "ok"]


def test_an_exception_carries_parameters(together: VectorizedPosterior, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(thetas: np.ndarray, gradient: bool = False) -> list[Evaluation]:
        raise MemoryError("the device is full")

    engine = Engine(together, "vectorized")
    monkeypatch.setattr(together, "evaluate_batch", fail)
    with pytest.raises(EvaluationError, match=r"MemoryError: the device is full at a = 0\.5"):
        engine.evaluate(POINTS)
    monkeypatch.setattr(together, "evaluate_batch", lambda thetas, gradient: [])
    with pytest.raises(EvaluationError, match="6 points have 0 evaluations"):
        engine.evaluate(POINTS)


@pytest.mark.long
@pytest.mark.parametrize("name", ["us_hank", "us_hank_household"])
def test_the_shipped_models_agree(name: str) -> None:
    single = Posterior.from_config(f"configs/{name}.toml")
    thetas = single.sample_prior(np.random.default_rng(3), 12)
    for gradient in (False, True):
        batch = Engine(vectorize(single, 8), "vectorized").evaluate(thetas, gradient)
        assert batch.ok.sum() > 6
        assert_close(batch, evaluate_points(single, thetas, gradient))
