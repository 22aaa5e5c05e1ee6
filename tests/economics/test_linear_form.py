"""The linear form and the stacked sample are the likelihood's own."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from estimhank.economics.draws import ReducedDraws, check_likelihood
from estimhank.economics.linear_form import LinearForm, LinearForms, moving_average, transfer
from estimhank.economics.reporting import in_units
from estimhank.economics.series import observed_series, variable_series
from estimhank.economics.stacked_sample import StackedSample
from estimhank.parameters.parameter_table import ModelError
from estimhank.posterior.posterior import Posterior
from estimhank.support.errors import EstimhankError
from tests.helpers.economies import OUTSIDE, authors_mode, smets_wouters, two_series
from tests.helpers.kalman import StateSpace, kalman
from tests.helpers.random_models import is_determinate, make_data, posterior_of, random_case

FEATURES: list[dict[str, Any]] = [
    {},
    {"missing": True},
    {"condition_on": 5},
    {"error": 0.7},
    {"yearly": True},
    {"yearly": True, "missing": True, "condition_on": 6, "error": 0.2},
]


@pytest.mark.parametrize("features", FEATURES, ids=lambda f: "+".join(f) or "plain")
def test_the_likelihood_is_the_posterior_s(features: dict[str, Any]) -> None:
    posterior = two_series(**features)
    assert check_likelihood(LinearForms(posterior), posterior.reference()) < 1e-10


@pytest.mark.parametrize("missing", [pytest.param(False, marks=pytest.mark.long), True])
def test_random_state_spaces_and_their_smoothed_series(missing: bool) -> None:
    rng = np.random.default_rng(0)
    posterior = posterior_of(make_data(rng, random_case(rng, 0.9), 24, missing))
    forms, sample = LinearForms(posterior), StackedSample(posterior.data)
    stack = jax.jit(sample.stack)
    seen = 0
    for seed in range(8):
        rng = np.random.default_rng([7, seed])
        case = random_case(rng, float(rng.choice([0.5, 0.9, -0.9, 0.99, 0.998])))
        if not is_determinate(case) or posterior.evaluate(posterior.to_array(case.theta)).reason != "ok":
            continue
        form, value = forms.with_log_likelihood(case.theta)
        stacked = stack(form)
        assert float(sample.log_likelihood(stacked)) == pytest.approx(value, rel=1e-9)
        # what the measured series are without error: V a, less what the errors have of it
        space = StateSpace(case.A, case.R @ case.R.T, case.Z, case.noise)
        want = kalman(space, np.asarray(posterior.data.values))[1]
        total = form.covariances.sum(0)
        found = sample.with_dates(total, np.arange(24)) @ sample.entries(stacked.weights)
        np.testing.assert_allclose(found, want, atol=1e-7)
        seen += 1
    assert seen > 3


def test_of_a_household_by_every_route(posterior: Posterior, reference: dict[str, float]) -> None:
    forms = LinearForms(posterior)
    assert check_likelihood(forms, posterior.to_array(reference)) < 1e-10
    slow = posterior.to_array({**reference, "rho_w": 0.985, "phi_b": 0.06})
    assert check_likelihood(forms, slow) < 1e-10
    assert len(forms._functions) > 1  # another route than the cheapest


def test_shares_of_shocks_are_those_of_the_moving_average(posterior: Posterior, reference: dict[str, float]) -> None:
    """Of observables, of one over four quarters, and of variables; by both tails."""
    over_four = in_units(observed_series(posterior)[0], "four_quarter")
    forms = LinearForms(posterior, [over_four, *variable_series(posterior, ("Y", "B", "i"))])
    form = forms.at(reference)
    path = np.asarray(moving_average(form, 3000))
    np.testing.assert_allclose(path[:200, :3], posterior.responses(reference)[:200], rtol=1e-12, atol=1e-14)
    for k in (0, 1, 7):
        want = np.einsum("txz,tyz->zxy", path[k:], path[: 3000 - k])
        np.testing.assert_allclose(form.covariances[:, k], want, rtol=1e-9, atol=1e-12)
    frequencies = 2 * np.pi * np.array([40, 93, 500]) / 3000
    want = np.fft.fft(path, axis=0)[[40, 93, 500]]
    np.testing.assert_allclose(transfer(form, frequencies), want, rtol=1e-8, atol=1e-10)
    slow = forms.at({**reference, "rho_w": 0.985, "phi_b": 0.06})
    for at in (form, slow):  # sums of the same path and covariances, where tails begin too
        path, covariances = np.asarray(moving_average(at, 600)), np.asarray(at.covariances)
        summed = sum(np.r_[np.zeros((lag, 3)), path[: 600 - lag, 0]] for lag in range(4))
        np.testing.assert_allclose(path[:, 3], summed, rtol=1e-12, atol=1e-15)
        summed = sum(covariances[:, 10 - lag : 200 - lag, 0, :3] for lag in range(4))
        np.testing.assert_allclose(covariances[:, 10:200, 3, :3], summed, rtol=1e-11, atol=1e-15)


def test_random_walks_have_responses_and_no_variance() -> None:
    posterior = two_series()
    forms = LinearForms(posterior, variable_series(posterior))
    form = forms.at(posterior.reference())
    assert np.asarray(form.dies_out).tolist() == [True, True, True, False]
    variances = np.asarray(form.covariances)[:, 0].sum(0).diagonal()
    assert variances[0] == pytest.approx(1 / (1 - 0.8**2), rel=1e-10)
    assert np.isnan(variances[3]) and np.isfinite(variances[:3]).all()
    path = np.asarray(moving_average(form, 400))[:, 3]
    np.testing.assert_allclose(path[-1], [0.4 / (1 - 0.8), 0.5], rtol=1e-10)
    w = np.array([0.3])
    z = np.exp(-1j * w)
    np.testing.assert_allclose(transfer(form, w)[:, 3, 0], 0.4 / (1 - 0.8 * z) / (1 - z), rtol=1e-10)


@pytest.mark.skipif(not OUTSIDE.exists(), reason="the authors' data are not part of the repository")
def test_of_the_smets_wouters_model() -> None:
    posterior = smets_wouters()
    assert check_likelihood(LinearForms(posterior), authors_mode()) < 1e-10


def test_points_by_name_and_kernels_by_draw() -> None:
    posterior = two_series()
    forms = LinearForms(posterior)
    one = ReducedDraws.at(posterior, {"b": 0.1})
    np.testing.assert_array_equal(one.theta[0], [0.8, 1.0, 0.5, 0.1, 0.3])
    with pytest.raises(ModelError, match="'c' is not an estimated parameter"):
        ReducedDraws.at(posterior, {"c": 0.1})
    theta = posterior.reference() + np.linspace(-0.1, 0.1, 40).reshape(2, 20, 1) * [1, 0, 0, 0, 1]
    draws = ReducedDraws.thinned(posterior, theta, 7)
    assert len(draws) == 7
    np.testing.assert_array_equal(draws.theta[[0, -1]], theta.reshape(-1, 5)[[0, -1]])
    found = draws.map(forms, {"value": lambda form, stacked: {"scores": stacked.scores}})
    want = [posterior.log_likelihood(theta) for theta in draws.theta]
    np.testing.assert_allclose(found["value"]["scores"].sum(1), want, rtol=1e-12)


def test_a_point_without_a_solution_is_refused_in_words(posterior: Posterior, reference: dict[str, float]) -> None:
    with pytest.raises(EstimhankError, match="no solution at these parameters: no stable solution"):
        LinearForms(posterior).at({**reference, "phi_b": 0.03})


def test_another_likelihood_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    posterior = two_series()
    forms = LinearForms(posterior)
    whole = LinearForms.with_log_likelihood

    def spoilt(self: LinearForms, theta: Any) -> tuple[LinearForm, float]:
        form, value = whole(self, theta)
        return form._replace(covariances=form.covariances * (1 + 1e-7)), value

    monkeypatch.setattr(LinearForms, "with_log_likelihood", spoilt)
    with pytest.raises(EstimhankError, match="differs from the posterior's"):
        check_likelihood(forms, posterior.reference())


def test_draws_without_a_density_are_left_out_if_they_are_few(
    posterior: Posterior, reference: dict[str, float]
) -> None:
    good, bad = posterior.to_array(reference), posterior.to_array({**reference, "phi_b": 0.03})
    forms = LinearForms(posterior)
    kernel = {"mean": lambda form, stacked: {"mean": form.mean}}
    found = ReducedDraws(posterior, np.array([good] * 120 + [bad])).map(forms, kernel)
    assert len(found["mean"]["mean"]) == 120
    with pytest.raises(EstimhankError, match="no stable solution"):
        ReducedDraws(posterior, np.array([good] * 20 + [bad])).map(forms, kernel)


def test_another_likelihood_is_noticed_at_every_draw() -> None:
    posterior = two_series()
    draws = ReducedDraws(posterior, np.tile(posterior.reference(), (3, 1)))
    sample = StackedSample(posterior.data)

    def spoilt(form: LinearForm, stacked: Any) -> dict[str, Any]:
        return {"log_likelihood": sample.log_likelihood(stacked) * (1 + 1e-8)}

    with pytest.raises(EstimhankError, match="differs from the posterior's"):
        draws.map(LinearForms(posterior), {"spoilt": spoilt})
