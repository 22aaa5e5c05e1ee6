"""The default posterior: reference numbers, gradient, reasons, and independence of everything but the parameters."""

from __future__ import annotations

import pickle

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from estimhank.data.dataset import Dataset
from estimhank.likelihood.dense import stacked_covariance
from estimhank.models.one_asset_hank import OneAssetHANK
from estimhank.parameters.parameter_table import ModelError
from estimhank.parameters.priors import Normal
from estimhank.posterior.posterior import Posterior
from estimhank.target.protocol import Target
from tests.helpers import golden
from tests.helpers.kalman import kalman, moving_average
from tests.helpers.same_model import on_other_data


def test_reference_log_likelihood_and_prior(posterior: Posterior, reference: dict[str, float]) -> None:
    golden.DEFAULT_LOG_LIKELIHOOD.check(posterior.log_likelihood(reference))
    golden.DEFAULT_LOG_PRIOR.check(posterior.log_prior(reference))
    golden.DEFAULT_LOG_DENSITY.check(posterior.log_density(reference))


def test_names_are_in_the_documented_order(posterior: Posterior) -> None:
    assert " ".join(posterior.names) == ("kappa_w phi_pi phi_y rho_i phi_b rho_w rho_g rho_m sigma_w sigma_g sigma_m")
    assert isinstance(posterior, Target)


@pytest.mark.long
def test_longer_horizons_give_the_same_value(posterior: Posterior, reference: dict[str, float]) -> None:
    """At four times the horizon, by another route: what points that need a longer horizon are evaluated with."""
    longer = posterior.longer
    assert longer is not None and longer.horizon == 1_200
    slow = {**reference, "rho_w": 0.985, "rho_g": 0.97}
    for theta in (reference, slow):
        assert longer.log_likelihood(theta) == pytest.approx(posterior.log_likelihood(theta), abs=1e-4)


def test_a_longer_horizon_that_takes_too_much_memory_is_not_tried(
    posterior: Posterior, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert posterior.longer_at == (1_200, 800)
    monkeypatch.setattr("estimhank.posterior.posterior.MOST_MEMORY", 1e8)
    assert posterior.longer_at is None


def test_equals_the_multivariate_normal_of_the_stacked_sample(
    posterior: Posterior, reference: dict[str, float]
) -> None:
    # an independent route: long plain truncation, direct sums, dense covariance, scipy
    theta = {**reference, "rho_w": 0.8, "rho_g": 0.7}
    m = posterior.responses(theta)
    n = len(posterior.data.dates)
    gamma = np.stack([np.einsum("toz,tpz->op", m[k:], m[: len(m) - k]) for k in range(n)])
    law = multivariate_normal(np.zeros(n * 3), np.asarray(stacked_covariance(jnp.asarray(gamma), n)))
    assert posterior.log_likelihood(theta) == pytest.approx(law.logpdf(posterior.data.values.ravel()), abs=1e-4)


def test_gradient_equals_central_differences(posterior: Posterior, reference: dict[str, float]) -> None:
    theta = posterior.to_array(reference)
    value, gradient = posterior.log_density_and_gradient(theta)
    assert value == pytest.approx(posterior.log_density(theta), abs=1e-9)
    for i, slope in enumerate(gradient):
        step = np.zeros(len(theta))
        step[i] = 1e-5 * max(theta[i], 0.1)
        numeric = (posterior.log_density(theta + step) - posterior.log_density(theta - step)) / (2 * step[i])
        assert slope == pytest.approx(numeric, rel=1e-5, abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"phi_pi": 0.99}, "outside_support"),
        ({"sigma_w": -0.1}, "outside_support"),
        ({"rho_w": 0.996}, "outside_support"),
        ({"rho_w": np.nan}, "outside_support"),
        ({"phi_b": 0.03}, "no_stable_solution"),
    ],
)
def test_failures_have_a_reason_and_no_density(
    posterior: Posterior, reference: dict[str, float], changes: dict[str, float], reason: str
) -> None:
    theta = posterior.to_array({**reference, **changes})
    out = posterior.evaluate(theta, gradient=True)
    assert out.reason == reason
    assert out.log_likelihood == -np.inf
    assert out.gradient is None
    assert posterior.log_likelihood(theta) == -np.inf
    assert posterior.log_density(theta) == -np.inf


def test_indeterminacy_is_found_where_the_prior_allows_it(posterior: Posterior, reference: dict[str, float]) -> None:
    table = posterior.model.parameters
    free = OneAssetHANK(table.changed("phi_pi", prior=Normal(1.5, 0.5)))
    wide = Posterior(free, posterior.data)
    assert wide.evaluate(wide.to_array({**reference, "phi_pi": 0.9})).reason == "indeterminate"


@pytest.mark.long
def test_values_do_not_depend_on_what_was_evaluated_before(posterior: Posterior) -> None:
    draws = posterior.sample_prior(np.random.default_rng(2), 12)
    once = [posterior.log_density(theta) for theta in draws]
    order = np.random.default_rng(3).permutation(len(draws))
    again = {int(i): posterior.log_density(draws[i]) for i in order}
    assert [again[i] for i in range(len(draws))] == once


def test_a_pickled_copy_gives_the_same_bits_and_fingerprint(posterior: Posterior, reference: dict[str, float]) -> None:
    copy = pickle.loads(pickle.dumps(posterior))
    assert copy.fingerprint == posterior.fingerprint
    assert copy.log_density(reference) == posterior.log_density(reference)


def test_fingerprint_says_which_part_differs(posterior: Posterior) -> None:
    table = posterior.model.parameters
    others = {
        "horizon": Posterior(posterior.model, posterior.data, 250, 150),
        "calibration": Posterior(OneAssetHANK(table.changed("frisch", value=1.0)), posterior.data),
        "prior": Posterior(OneAssetHANK(table.changed("kappa_w", prior=table["phi_y"].prior)), posterior.data),
        "data": Posterior(posterior.model, _with_values(posterior.data, posterior.data.values * 1.1)),
    }
    for part, other in others.items():
        mine, theirs = posterior.fingerprint, other.fingerprint
        assert [k for k in mine if mine[k] != theirs[k]] == [part]


def _with_values(data: Dataset, values: np.ndarray) -> Dataset:
    return Dataset(data.dates, data.names, data.units, data.labels, values.copy(), data.means.copy(), data.provenance)


def test_missing_observations_are_dropped_exactly(posterior: Posterior, reference: dict[str, float]) -> None:
    values = posterior.data.values.copy()
    values[172:196, 2] = np.nan  # the federal funds rate, 2009-2014
    holes = on_other_data(posterior, _with_values(posterior.data, values))
    m = posterior.responses({**reference, "rho_w": 0.8, "rho_g": 0.7})
    gamma = np.stack([np.einsum("toz,tpz->op", m[k:], m[: len(m) - k]) for k in range(len(values))])
    kept = ~np.isnan(values.ravel())
    covariance = np.asarray(stacked_covariance(jnp.asarray(gamma), len(values)))[np.ix_(kept, kept)]
    expected = multivariate_normal(np.zeros(kept.sum()), covariance).logpdf(values.ravel()[kept])
    mine = holes.log_likelihood({**reference, "rho_w": 0.8, "rho_g": 0.7})
    assert mine == pytest.approx(expected, abs=1e-4)


@pytest.mark.long  # of missing values: the test above; of errors: tests/model; by a filter: tests/likelihood
def test_equals_a_kalman_filter_with_missing_values_and_measurement_error(
    posterior: Posterior, reference: dict[str, float]
) -> None:
    # the last 60 quarters; the rate starts late and has a hole, growth ends early, two quarters are empty
    d, values = posterior.data, posterior.data.values[-60:].copy()
    values[:9, 2], values[20:30, 2], values[-5:, 0], values[40:42] = np.nan, np.nan, np.nan, np.nan
    short = Dataset(d.dates[-60:], d.names, d.units, d.labels, values, d.means.copy())
    theta = {**reference, "rho_w": 0.7, "rho_g": 0.6}
    coefficients = posterior.responses(theta)[:150]
    start = np.eye(coefficients.shape[0] * coefficients.shape[2])
    errors = {"growth": 0.3, "rate": 0.05}  # without them: the test above
    noise = np.array([errors.get(name, 0.0) for name in d.names]) ** 2
    want, _ = kalman(moving_average(coefficients, noise), values, start)
    mine = Posterior(posterior.model, short, measurement_error=errors).log_likelihood(theta)
    assert mine == pytest.approx(want, abs=1e-4)


def test_bad_arguments_say_what_is_wrong(posterior: Posterior, reference: dict[str, float]) -> None:
    with pytest.raises(ModelError, match="did you mean 'phi_pi'"):
        posterior.log_density({**reference, "phi_p": 1.0})
    with pytest.raises(ModelError, match="no value for sigma_m"):
        posterior.log_density({k: v for k, v in reference.items() if k != "sigma_m"})
    with pytest.raises(ModelError, match="expected 11 parameters"):
        posterior.log_density(np.ones(3))


def test_too_few_shocks_are_refused_as_singular(posterior: Posterior) -> None:
    class OneShock(OneAssetHANK):
        name = "one_shock"
        shocks = OneAssetHANK.shocks[:1]  # type: ignore[assignment]

    with pytest.raises(ModelError, match="stochastic singularity"):
        Posterior(OneShock(), posterior.data)
    with pytest.raises(ModelError, match="the data have the columns"):
        data = posterior.data
        Posterior(
            OneAssetHANK(), Dataset(data.dates, ("a", "b", "c"), data.units, data.labels, data.values, data.means)
        )


def test_draws_from_the_prior_are_in_its_support(posterior: Posterior) -> None:
    draws = posterior.sample_prior(np.random.default_rng(0), 500)
    assert posterior.transform.contains(draws).all()


@pytest.mark.long  # on the full grid; tests/sequence_space/test_steady_solver.py has a small one
def test_household_parameters_re_solve_the_steady_state(posterior: Posterior, reference: dict[str, float]) -> None:
    table = posterior.model.parameters
    prior = Normal(0.5, 0.1)
    model = OneAssetHANK(table.changed("eis", prior=prior))
    free = Posterior(model, posterior.data)
    assert free.has_gradient
    assert free.log_likelihood({**reference, "eis": 0.5}) == pytest.approx(
        posterior.log_likelihood(reference), abs=1e-7
    )
    assert abs(free.log_likelihood({**reference, "eis": 0.6}) - posterior.log_likelihood(reference)) > 1e-3
