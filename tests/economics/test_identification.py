"""Identification where the answer is known: closed forms of an AR(1), parameters that enter together or not at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from estimhank.data.dataset import Dataset
from estimhank.economics.identification import Identification
from estimhank.economics.linear_form import LinearForms
from estimhank.economics.sample_derivatives import SampleDerivatives, sample_derivatives
from estimhank.economics.stacked_sample import StackedSample
from estimhank.model import AR1, Level, Model, Normal, Parameter, Parameters
from estimhank.posterior.posterior import Posterior
from estimhank.support.errors import EstimhankError
from tests.helpers.economies import two_series

pytestmark = pytest.mark.long  # minutes, all together

Array = NDArray[np.float64]


def scaled(*names: str) -> Model:
    """x = a b e with an autoregressive e; the parameters named are there and estimated, c without any effect."""

    class Scaled(Model):
        name = "scaled"
        variables = ("x",)
        shocks = (AR1("e", scale=1.0),)
        observables = (Level("x", "y", scale=1.0),)
        parameters = Parameters(
            rho_e=Parameter(0.7, "r", "persistence", Normal(0.5, 0.2, lower=-1.0, upper=1.0), "shocks"),
            sigma_e=Parameter(1.3, "s", "s.d.", Normal(1.0, 0.3, lower=0.0), "shocks"),
            **{name: Parameter(1.0, name, name, Normal(1.0, 0.3)) for name in names},
        )

        def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Any:
            """As above."""
            yield "x", now.x - (p.a * p.b if names else 1.0) * shock.e

        def steady_state(self, p: Any, household: Any) -> dict[str, float]:
            """At rest."""
            return {"x": 0.0}

    return Scaled()


def on(model: Model, n: int = 30, condition_on: int = 0) -> Posterior:
    names = tuple(o.name for o in model.observables)
    values = np.random.default_rng(0).standard_normal((n, len(names)))
    dates = tuple(f"{1990 + i // 4}Q{i % 4 + 1}" for i in range(n))
    about = {"condition_on": condition_on} if condition_on else {}
    units = tuple(o.units for o in model.observables)
    return Posterior(model, Dataset(dates, names, units, names, values, np.zeros(len(names)), about))


def derive(posterior: Posterior, theta: Array) -> SampleDerivatives:
    return sample_derivatives(LinearForms(posterior, ahead=1), theta, np.ones(len(posterior.names)))


@pytest.mark.parametrize("condition_on", [0, 1])
def test_the_information_of_an_autoregression(condition_on: int) -> None:
    """Exact, of n observations of an AR(1), closed forms; conditioned on the first its own information is missing."""
    n, rho, sigma = 30, 0.7, 1.3
    posterior = on(scaled(), n, condition_on)
    found = derive(posterior, posterior.to_array({"rho_e": rho, "sigma_e": sigma})).information
    # of the first, with variance v = s^2 / (1 - r^2), half the product of derivatives of log v; then n - 1 regressions
    first = np.array([[2 * rho**2 / (1 - rho**2) ** 2, 2 * rho / (1 - rho**2) / sigma], [0.0, 2 / sigma**2]])
    first[1, 0] = first[0, 1]
    rest = (n - 1) * np.array([[1 / (1 - rho**2), 0.0], [0.0, 2 / sigma**2]])
    np.testing.assert_allclose(found, rest if condition_on else first + rest, rtol=1e-7, atol=1e-6)


@pytest.mark.long
def test_the_information_by_brute_force() -> None:
    """With a mean, missing values and measurement error."""
    posterior = two_series(30, missing=True, error=0.4)
    theta = posterior.reference()
    found = derive(posterior, theta).information
    forms, sample = LinearForms(posterior), StackedSample(posterior.data)
    covariance = np.asarray(sample.covariance(forms.at(theta)))
    # the block of mu is its part of the mean alone: 1' V^{-1} 1 over the entries
    i = posterior.names.index("mu")
    assert found[i, i] == pytest.approx(float(np.linalg.inv(covariance).sum()), rel=1e-8)
    assert np.abs(np.delete(found[i], i)).max() < 1e-7 * found[i, i]
    others = [j for j in range(len(theta)) if j != i]
    step, inverse = 1e-4, np.linalg.inv(covariance)
    by = []
    for j in others:
        up, down = theta + step * np.eye(len(theta))[j], theta - step * np.eye(len(theta))[j]
        by.append(sum(w * np.asarray(sample.covariance(forms.at(p))) for w, p in ((1, up), (-1, down))))
    brute = [[0.5 * np.trace(inverse @ a @ inverse @ b) / (2 * step) ** 2 for b in by] for a in by]
    np.testing.assert_allclose(found[np.ix_(others, others)], brute, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def a_product() -> Posterior:
    return on(scaled("a", "b", "c"))


def test_parameters_that_enter_only_as_a_product(a_product: Posterior) -> None:
    posterior = a_product
    theta = posterior.reference()
    found = Identification(posterior.names, theta, np.full(len(theta), 0.3), derive(posterior, theta))
    for groups in found.silent.values():
        assert {frozenset(group) for group in groups} == {frozenset({"a", "b", "sigma_e"}), frozenset({"c"})}
    words = found.summary()
    assert "c has no effect on mean and autocovariances" in words and not found.identified
    assert "sigma_e, a and b enter mean and autocovariances only together" in words
    strength = dict(zip(posterior.names, found.dataset["strength"].values, strict=True))
    assert strength["a"] == strength["b"] == strength["c"] == 0 and strength["rho_e"] > 0


def test_the_direction_of_a_product(a_product: Posterior) -> None:
    """A moment in (a b s)^2 has the derivative 2 m / a, and so on."""
    posterior = a_product
    theta = posterior.to_array({"rho_e": 0.5, "sigma_e": 1.0, "a": 2.0, "b": 0.5, "c": 1.0})
    jacobian = derive(posterior, theta)
    a, b, s = (posterior.names.index(n) for n in ("a", "b", "sigma_e"))
    np.testing.assert_allclose(jacobian.moments[:, a] * 2.0, jacobian.moments[:, b] * 0.5, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(jacobian.moments[:, a] * 2.0, jacobian.moments[:, s] * 1.0, rtol=1e-7, atol=1e-9)


def test_an_identified_model_is_called_identified() -> None:
    posterior = two_series(60)
    theta = posterior.reference()
    found = Identification(posterior.names, theta, np.full(len(theta), 0.3), derive(posterior, theta))
    assert found.identified and (found.dataset["strength"].values > 0).all()
    assert "full rank" in found.summary() and "Komunjer and Ng" in found.summary()
    # sums over frequencies are those over lags: (1 / 2 pi) integral |f_i|^2 = sum over all lags |Gamma_i|^2
    sums = found.derivatives.spectrum.T @ found.derivatives.spectrum
    blocks = found.derivatives.moments
    np.testing.assert_allclose(sums, _over_all_lags(posterior, blocks), rtol=2e-3, atol=1e-3)


def _over_all_lags(posterior: Posterior, moments: Array) -> Array:
    """Parseval: means once, lag zero whole, every other lag twice."""
    n_o = 2
    mean, lower, rest = moments[:n_o], moments[n_o : n_o + 3], moments[n_o + 3 :]
    zero = np.stack([lower[0], lower[1], lower[1], lower[2]])
    found: Array = mean.T @ mean + zero.T @ zero + 2 * rest.T @ rest
    return found


def test_posterior_against_prior_by_direction() -> None:
    """A posterior that has learnt the sum of two parameters and not their difference."""
    jacobian = np.array([[1.0, 1.0], [0.0, 1e-3]])
    derivatives = SampleDerivatives(jacobian, jacobian, jacobian.T @ jacobian)
    half = 0.5 * np.array([[1.0, 1.0], [1.0, 1.0]])
    difference = np.eye(2) - half
    covariance = (0.02 * half + 0.98 * difference) * np.outer([2.0, 3.0], [2.0, 3.0])
    found = Identification(("u", "v"), np.ones(2), np.array([2.0, 3.0]), derivatives, covariance)
    np.testing.assert_allclose(found.dataset["direction_variance_left"], [0.02, 0.98])
    assert "98% of the prior's variance in the direction" in found.summary()
    assert "+1.00" in found.summary() and "-1.00" in found.summary()


def test_at_a_point_without_a_solution() -> None:
    posterior = two_series(20)
    with pytest.raises(EstimhankError, match="no solution"):
        derive(posterior, np.full(len(posterior.names), 50.0))
