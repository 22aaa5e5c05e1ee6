"""A user's own log density goes through all stages and comes out exact; mistakes are named."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import estimhank
from estimhank.run.config import make_config
from estimhank.support.errors import ResultsError
from estimhank.target.any_density import DensityError
from estimhank.target.protocol import Target
from tests.helpers.stages import SIZES, TRAINING

NAMES = ["x", "s"]
#: Numbers of parameters, networks and chains are those of the tests of the surrogate: the same compiled code serves.
SETTINGS = {
    "mode": {"starts": 2, "candidates": 16, "slice_points": 3},
    "sample": {"iterations": 30, "warmup": 15, "proposals": 16, "draws": 16},
    "surrogate": {
        "hidden": list(TRAINING.hidden), "ensemble": 1, "epochs": 150, "round_epochs": 60, "rounds": 1,
        "round_points": TRAINING.round_points,
    },
    "posterior": {
        "surrogate_chains": SIZES.surrogate_chains, "surrogate_draws": 6400, "thin": 2, "certificate_draws": 200,
        "certificate_pairs": 100, "chains": SIZES.chains, "dispersed": 2, "min_ess": 400, "max_r_hat": 1.05,
        "max_rounds": 300,
    },
    "run": {"backend": "serial", "workers": 1, "seed": 3},
}  # fmt: skip


def normal_gamma(theta: np.ndarray) -> float:
    """x normal with s.d. s / 2 around 1, s gamma with shape 9 and scale 1/9: moments are known."""
    x, s = theta
    return float(-0.5 * ((x - 1) / (s / 2)) ** 2 - np.log(s) + 8 * np.log(s) - 9 * s)


def normal_gamma_jax(theta):
    x, s = theta
    return -0.5 * ((x - 1) / (s / 2)) ** 2 - jnp.log(s) + 8 * jnp.log(s) - 9 * s


def target(function=normal_gamma, **options):
    return estimhank.from_log_density(function, NAMES, [1.0, 1.0], [0.5, 0.3], {"s": (0, np.inf)}, **options)


def test_wraps_a_function_as_a_target() -> None:
    wrapped = target()
    assert isinstance(wrapped, Target)
    assert wrapped.evaluate(np.array([0.5, 2.0])).log_density == normal_gamma(np.array([0.5, 2.0]))
    assert wrapped.evaluate(np.array([0.5, -2.0])).reason == "outside_support"
    assert wrapped.transform.contains(wrapped.sample_prior(np.random.default_rng(0), 100)).all()
    assert pickle.loads(pickle.dumps(wrapped)).fingerprint == wrapped.fingerprint
    assert target(version="2").fingerprint != wrapped.fingerprint


def test_jax_functions_are_differentiated() -> None:
    out = target(normal_gamma_jax, gradient="jax").evaluate(np.array([0.5, 2.0]), gradient=True)
    assert out.gradient is not None
    step = 1e-6
    numeric = [
        (normal_gamma(np.array([0.5, 2.0]) + step * e) - normal_gamma(np.array([0.5, 2.0]) - step * e)) / (2 * step)
        for e in np.eye(2)
    ]
    np.testing.assert_allclose(out.gradient, numeric, rtol=1e-6)


def test_own_gradients_are_used_and_their_shape_checked() -> None:
    assert target(gradient=lambda theta: np.zeros(2)).evaluate(np.ones(2), gradient=True).gradient is not None
    with pytest.raises(DensityError, match="gradient has shape"):
        target(gradient=lambda theta: np.zeros(3))


def with_another(theta: np.ndarray) -> float:
    """A third parameter, standard normal beside the two."""
    return normal_gamma(theta[:2]) - 0.5 * float(theta[2]) ** 2


def with_another_jax(theta):
    return normal_gamma_jax(theta[:2]) - 0.5 * theta[2] ** 2


@pytest.mark.parametrize(
    "function",
    [pytest.param(with_another, id="plain", marks=pytest.mark.long), pytest.param(with_another_jax, id="jax")],
)
def test_exact_posterior_has_the_known_moments(function, tmp_path: Path) -> None:
    options = {"gradient": "jax"} if function is with_another_jax else {}
    given = ([*NAMES, "y"], [1.0, 1.0, 0.0], [0.5, 0.3, 1.0], {"s": (0, np.inf)})
    target = estimhank.from_log_density(function, *given, **options)  # type: ignore[arg-type]
    run = estimhank.estimate_density(target, tmp_path, make_config(SETTINGS))
    assert run.converged
    draws = run.draws.reshape(-1, 3)
    n = 400  # the effective draws that the run had to reach
    # E x = 1, var x = E s^2 / 4 = (1/9 + 1) / 4; E s = 1, sd s = 1/3
    assert draws[:, 0].mean() == pytest.approx(1.0, abs=4 * np.sqrt(10 / 36 / n))
    assert draws[:, 0].std() == pytest.approx(np.sqrt(10 / 36), rel=4 / np.sqrt(2 * n) * 1.5)
    assert draws[:, 1].mean() == pytest.approx(1.0, abs=4 / 3 / np.sqrt(n))
    assert draws[:, 1].std() == pytest.approx(1 / 3, rel=4 / np.sqrt(2 * n) * 1.5)
    assert draws[:, 2].mean() == pytest.approx(0.0, abs=4 / np.sqrt(n))
    assert draws[:, 2].std() == pytest.approx(1.0, rel=4 / np.sqrt(2 * n))
    assert {"certificate.json", "evaluations.bin", "mode.json", "posterior.nc", "surrogate.npz"} <= {
        path.name for path in tmp_path.iterdir()
    }
    with pytest.raises(ResultsError, match="resume=True"):
        estimhank.estimate_density(target, tmp_path, make_config(SETTINGS))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"names": ["x", "x"]}, "name of its own"),
        ({"bounds": {"t": (0, 1)}}, "not a parameter"),
        ({"bounds": {"s": (2, 1)}}, "empty support"),
        ({"start": [1.0, -1.0]}, "not finite at the starting point"),
        ({"start": [1.0]}, "2 entries"),
        ({"spread": [1.0, 0.0]}, "positive"),
        ({"gradient": "numpy"}, "gradient must be"),
        ({"bounds": {"s": (0,)}}, "two numbers"),
        ({"bounds": {"s": 0.0}}, "two numbers"),
        ({"bounds": [(0, 1)]}, "a mapping"),
        ({"start": [1.0, "a"]}, "must be numbers"),
        ({"names": "xs"}, "list of names"),
    ],
)
def test_mistakes_are_named(options: dict, word: str) -> None:
    given = {"names": NAMES, "start": [1.0, 1.0], "spread": 1.0, "bounds": {"s": (0, np.inf)}, **options}
    with pytest.raises(DensityError, match=word):
        estimhank.from_log_density(normal_gamma, **given)


def test_a_function_that_does_not_return_one_number_is_refused() -> None:
    with pytest.raises(DensityError, match=r"one real number, it returned an array of shape \(1,\)"):
        estimhank.from_log_density(lambda t: -(t**2), ["x"], [0.5], 1.0)
    with pytest.raises(DensityError, match="one real number, it returned NoneType"):
        estimhank.from_log_density(lambda t: None, ["x"], [0.5], 1.0)
    with pytest.raises(DensityError, match="made of JAX operations"):
        estimhank.from_log_density(lambda t: -np.log(t[0]), ["x"], [0.5], 1.0, gradient="jax")


def test_a_bug_in_the_function_is_not_a_low_density() -> None:
    def broken(theta: np.ndarray) -> float:
        return 0.0 if theta[0] == 1.0 else undefined  # type: ignore[name-defined]  # noqa: F821

    wrapped = estimhank.from_log_density(broken, ["x"], [1.0], [1.0])
    with pytest.raises(NameError):
        wrapped.evaluate(np.array([2.0]))


def test_a_value_whose_gradient_is_not_finite_is_a_value_and_said_once() -> None:
    def density(theta: Any) -> Any:
        return -0.5 * theta[0] ** 2 + jnp.where(theta[0] > 0, 0.3 * jnp.sqrt(theta[0]), 0.0)

    target = estimhank.from_log_density(density, ["x"], start=[1.0], spread=[1.0], gradient="jax")
    with pytest.warns(RuntimeWarning, match="count by their value alone"):
        out = target.evaluate([-1.0], gradient=True)
    assert (out.reason, out.log_likelihood) == ("ok", target.evaluate([-1.0]).log_likelihood)
    assert out.gradient is not None and np.isnan(out.gradient).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        target.evaluate([-2.0], gradient=True)
