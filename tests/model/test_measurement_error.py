"""Measurement error, fixed and estimated, against a calculation by hand, from every place where it can be declared."""

from __future__ import annotations

import dataclasses
import pickle
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from estimhank.data import US_OBSERVABLES, Observable, load_series, make_dataset, read_dataset, write_dataset
from estimhank.likelihood.dense import stacked_covariance
from estimhank.model.measurement_error import describe_errors, error_variances
from estimhank.model.observed import Growth, Level
from estimhank.models.one_asset_hank import OneAssetHANK
from estimhank.parameters.parameter_table import ModelError, Parameter, Parameters
from estimhank.parameters.priors import Gamma, Normal
from estimhank.posterior.posterior import Posterior
from estimhank.run.config import make_config, restore_config
from estimhank.run.open_posterior import build_target
from estimhank.support.errors import ConfigError, DataError
from estimhank.support.files import to_plain

PRIOR = {"family": "gamma", "mean": 0.1, "sd": 0.05}


def expected(responses: np.ndarray, y: np.ndarray, sizes: list[float]) -> float:
    """Log likelihood from a long plain truncation, direct sums and SciPy, errors on the diagonal."""
    m = responses
    gamma = np.stack([np.einsum("toz,tpz->op", m[k:], m[: len(m) - k]) for k in range(len(y))])
    covariance = np.array(stacked_covariance(jnp.asarray(gamma), len(y))) + np.diag(np.tile(np.square(sizes), len(y)))
    kept = ~np.isnan(y.ravel())
    return float(multivariate_normal(np.zeros(kept.sum()), covariance[np.ix_(kept, kept)]).logpdf(y.ravel()[kept]))


@pytest.fixture(scope="module")
def theta(reference: dict[str, float]) -> dict[str, float]:
    # dies out within the horizon: one route to the likelihood is compiled and not two
    return {**reference, "rho_w": 0.8, "rho_g": 0.7, "phi_b": 0.3}


ERRORS: dict[str, Any] = {"growth": 0.3, "rate": Gamma(0.1, 0.05)}


@pytest.fixture(scope="module")
def noisy(posterior: Posterior) -> Posterior:
    """The default posterior with a fixed and an estimated error, and missing values."""
    values = posterior.data.values.copy()
    values[100:120, 2] = np.nan
    values[60, :] = np.nan
    return Posterior(posterior.model, dataclasses.replace(posterior.data, values=values), measurement_error=ERRORS)


def test_the_variances_stand_on_the_diagonal(posterior: Posterior, noisy: Posterior, theta: dict[str, float]) -> None:
    at, sizes = {**theta, "me_rate": 0.07}, [0.3, 0.0, 0.07]
    assert noisy.names == (*posterior.names, "me_rate")
    assert noisy.log_likelihood(at) == pytest.approx(
        expected(posterior.responses(theta), noisy.data.values, sizes), abs=1e-4
    )
    assert noisy.log_prior(at) - posterior.log_prior(theta) == pytest.approx(float(Gamma(0.1, 0.05).logpdf(0.07)))


@pytest.mark.long  # the gradient of the likelihood with errors is tested in tests/likelihood
def test_the_gradient_in_the_errors_size_is_that_of_differences(noisy: Posterior) -> None:
    point = noisy.reference()
    step = np.zeros(len(point))
    step[-1] = 1e-5
    numeric = (noisy.log_density(point + step) - noisy.log_density(point - step)) / 2e-5
    assert noisy.log_density_and_gradient(point)[1][-1] == pytest.approx(numeric, rel=1e-6)


def test_every_way_of_saying_it_gives_the_same_density(
    tmp_path: Any, posterior: Posterior, noisy: Posterior, reference: dict[str, float]
) -> None:
    entries = {
        o.name: {"series": o.series, "transform": o.transform, "scale": o.scale, "label": o.label}
        for o in US_OBSERVABLES
    }
    entries["growth"]["measurement_error"] = 0.3
    entries["rate"]["measurement_error"] = PRIOR
    in_data = make_config({"data": {"observables": entries}})
    by_parameter = make_config({"parameters": {"me_growth": {"fixed": 0.3}, "me_rate": {"prior": PRIOR}}})
    observables = [dataclasses.replace(o, measurement_error=in_data.data.observables[j].measurement_error)
                   for j, o in enumerate(US_OBSERVABLES)]  # fmt: skip
    data = make_dataset(load_series("snapshot"), observables, "1966Q1", "2019Q4")
    back = read_dataset(write_dataset(tmp_path / "data.csv", data))
    plain = dataclasses.replace(data, provenance={})
    posteriors = {
        "data table": Posterior.from_config(in_data),
        "data.csv": build_target(restore_config(to_plain(in_data.canonical())), back),
        "parameter table": Posterior.from_config(by_parameter),
        "data set": Posterior(OneAssetHANK(), data),
        "argument": Posterior(OneAssetHANK(), plain, measurement_error=ERRORS),
    }
    assert len({str(posterior.fingerprint) for posterior in posteriors.values()}) == 1
    assert {posterior.names for posterior in posteriors.values()} == {posteriors["argument"].names}
    assert describe_errors(posteriors["argument"].model) == {"growth": "0.3", "rate": "estimated (me_rate)"}  # type: ignore[attr-defined]
    # what the data declare is what the argument says, in the density too
    declared = Posterior(OneAssetHANK(), dataclasses.replace(back, values=noisy.data.values))
    at = {**reference, "me_rate": 0.07}
    assert declared.log_density(at) == noisy.log_density(at)
    # the argument has the last word, in a worker's copy too
    without = pickle.loads(pickle.dumps(Posterior(OneAssetHANK(), data, measurement_error={"growth": 0, "rate": 0})))
    assert describe_errors(without.model) == {} and without.fingerprint == posterior.fingerprint


def test_it_is_part_of_identity_only_where_there_is_any(posterior: Posterior) -> None:
    plain = Posterior(posterior.model, posterior.data, measurement_error={"growth": 0.0})
    assert plain.fingerprint == posterior.fingerprint
    small, large = (Posterior(posterior.model, posterior.data, measurement_error={"growth": s}) for s in (0.1, 0.2))
    assert small.fingerprint != large.fingerprint and "measurement error" in small.fingerprint
    entry = {"series": "GDPC1", "transform": "log_difference", "scale": 100}
    digests = {
        make_config({"data": {"observables": {"growth": {**entry, **more}}}}).digest("data")
        for more in ({}, {"measurement_error": 0.1}, {"measurement_error": PRIOR})
    }
    assert len(digests) == 3


class OneShock(OneAssetHANK):
    """Three observables and one shock."""

    name = "one_shock"
    shocks = OneAssetHANK.shocks[:1]  # type: ignore[assignment]

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Any:
        yield from super().equations(lag, now, lead, household, SimpleNamespace(w=shock.w, g=0.0, m=0.0), p)


@pytest.mark.parametrize("errors", [{}, {"growth": 0.2}, {"growth": 0.2, "rate": 0.0}])
def test_fewer_shocks_than_exact_observables_are_refused(posterior: Posterior, errors: dict[str, float]) -> None:
    with pytest.raises(ModelError, match=r"stochastic singularity: .*but only 1 shock; give .* measurement error"):
        Posterior(OneShock(), posterior.data, measurement_error=errors)


@pytest.mark.long  # compiles a model of its own
def test_fewer_shocks_and_enough_error_work(posterior: Posterior, theta: dict[str, float]) -> None:
    sizes = [0.2, 0.0, 0.1]
    enough = Posterior(
        OneShock(), posterior.data, measurement_error=dict(zip(posterior.data.names, sizes, strict=True))
    )
    at = {name: theta[name] for name in enough.names}
    assert enough.log_likelihood(at) == pytest.approx(
        expected(enough.responses(at), enough.data.values, sizes), rel=1e-7
    )


def test_a_shock_of_size_zero_is_no_shock(posterior: Posterior) -> None:
    table = OneAssetHANK.parameters.changed("sigma_m", value=0.0, prior=None)
    with pytest.raises(ModelError, match="only 2 shocks"):
        Posterior(OneAssetHANK(table), posterior.data)


class Noisy(OneAssetHANK):
    """A model that declares its measurement error itself."""

    name = "noisy"
    observables = (Growth("Y", "growth", measurement_error="noise"), Level("pi", "inflation"), Level("i", "rate"))
    parameters = Parameters(
        {**OneAssetHANK.parameters, "noise": Parameter(0.2, r"\nu", "noise", Gamma(0.2, 0.1), "shocks")}
    )


@pytest.mark.long  # compiles a model of its own
def test_what_a_model_declares_is_what_the_data_would(noisy: Posterior, theta: dict[str, float]) -> None:
    own = Posterior(Noisy(), noisy.data, measurement_error={"rate": ERRORS["rate"]})
    at = {**theta, "me_rate": 0.07}
    assert own.log_likelihood({**at, "noise": 0.3}) == pytest.approx(noisy.log_likelihood(at), rel=1e-12)


def test_a_model_may_declare_it_and_the_data_replace_it(noisy: Posterior) -> None:
    own = Posterior(Noisy(), noisy.data, measurement_error={"rate": ERRORS["rate"]})
    assert own.names[-2:] == ("noise", "me_rate")
    for size, variance, words in ((0.4, 0.16, {"growth": "0.4"}), (0, 0.0, {})):
        changed = Posterior(Noisy(), noisy.data, measurement_error={"growth": size})
        assert "noise" not in changed.names and describe_errors(changed.model) == words
        values = {name: entry.value for name, entry in changed.model.parameters.items()}
        np.testing.assert_allclose(error_variances(changed.model, values), [variance, 0.0, 0.0], rtol=1e-14)

    class Slip(Noisy):
        observables = (Growth("Y", "growth", measurement_error="nois"), *Noisy.observables[1:])

    with pytest.raises(ModelError, match="'growth' needs the parameter 'nois'"):
        Posterior(Slip(), noisy.data)


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        ({"grwth": 0.1}, "'grwth', which the model does not observe; did you mean 'growth'"),
        ({"growth": -0.1}, "measurement error of growth .* is -0.1: give a positive number, or 0"),
        ({"growth": Normal(0.1, 0.1)}, "me_growth, .* allows negative values: add lower = 0"),
        (
            {"growth": {"family": "gama", "mean": 1, "sd": 1}},
            "growth: unknown prior family 'gama'",
        ),
        ({"growth": {"family": "gamma", "mean": 1}}, "gamma prior needs mean and sd"),
        ({"growth": True}, "give a standard deviation or a prior"),
        ({"growth": "small"}, "give a standard deviation or a prior"),
        ({"growth": float("nan")}, "give a standard deviation or a prior"),
    ],
)
def test_a_slip_is_one_sentence(posterior: Posterior, errors: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        Posterior(posterior.model, posterior.data, measurement_error=errors)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (-0.1, "measurement_error = -0.1; it is a standard deviation"),
        (True, "measurement_error = True"),
        ("0.1", "measurement_error = '0.1'"),
        ({"mean": 0.1, "sd": 0.1}, "or a prior like"),
        ({"family": "gamma", "mean": 0.1}, "measurement_error: gamma prior needs mean and sd"),
    ],
)
def test_a_slip_in_the_configuration_names_the_table(text: Any, words: str) -> None:
    entry = {"series": "GDPC1", "transform": "log_difference", "scale": 100, "measurement_error": text}
    with pytest.raises(ConfigError, match=r"\[data\.observables\.growth\]") as caught:
        make_config({"data": {"observables": {"growth": entry}}})
    assert words in str(caught.value)


def test_it_is_said_once() -> None:
    entry = {"series": "GDPC1", "transform": "log_difference", "scale": 100, "measurement_error": 0.1}
    with pytest.raises(ConfigError, match="the measurement error of growth is given twice"):
        make_config({"data": {"observables": {"growth": entry}}, "parameters": {"me_growth": {"fixed": 0.2}}})
    with pytest.raises(DataError, match="measurement_error"):
        Observable("growth", "GDPC1", "level", measurement_error=Gamma(0.1, 0.05))


def test_one_number_is_not_taken_for_all_observables(posterior: Posterior) -> None:
    with pytest.raises(ModelError, match="by observable"):
        Posterior(posterior.model, posterior.data, measurement_error=0.1)  # type: ignore[arg-type]


def test_a_name_that_the_model_uses_otherwise_is_not_taken() -> None:
    taken = Parameters({**OneAssetHANK.parameters, "me_growth": Parameter(1.0, "m", "something else")})
    data = Posterior.from_config("configs/us_hank.toml").data
    with pytest.raises(ModelError, match="has a parameter me_growth that is not"):
        Posterior(OneAssetHANK(taken), data, measurement_error={"growth": 0.1})
