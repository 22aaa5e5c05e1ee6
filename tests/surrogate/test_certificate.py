"""The certificate's figures are those of known errors, and their Monte Carlo errors those of repetition."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from estimhank.run.config import make_config
from estimhank.surrogate.certificate import (
    Certificate,
    ExactStates,
    FreshEvaluations,
    ProposalPairs,
    centred_error,
    compute_certificate,
    error_spread,
    error_spread_of_chains,
    jackknife,
    mean_over_chains,
    subchain_acceptance,
    wrong_decisions,
)
from estimhank.surrogate.policy import POSTERIOR_POLICY as POLICY
from estimhank.surrogate.searched import Searched

CHAINS, DRAWS = 24, 80
COUNTS = {"training_evaluations": 5_000, "certificate_evaluations": 2_000, "exact_stage_evaluations": 2_500}


def fresh_draws(s_e: float, n: int = 1_000, seed: int = 0) -> FreshEvaluations:
    rng = np.random.default_rng(seed)
    exact = -0.5 * rng.chisquare(3, n)
    return FreshEvaluations(np.zeros((n, 3)), np.zeros((n, 3)), exact, exact + 17.0 + s_e * rng.standard_normal(n))


def exact_states(s_e: float, seed: int = 1, outside: float = 0.0, converged: bool = True) -> ExactStates:
    rng = np.random.default_rng(seed)
    exact = -0.5 * rng.chisquare(3, (CHAINS, DRAWS))
    error = s_e * rng.standard_normal((CHAINS, DRAWS))
    moved = error + s_e * rng.standard_normal((CHAINS, DRAWS))
    return ExactStates(
        exact=exact,
        surrogate=exact + 17.0 + error,
        acceptance_probability=np.exp(np.minimum(moved, 0)),
        subchain=rng.random((CHAINS, DRAWS)) < 0.95,
        outside=rng.random((CHAINS, DRAWS)) < outside,
        converged=converged,
    )


def proposal_pairs(s_e: float, seed: int = 2, n: int = 42) -> ProposalPairs:
    """Random-walk proposals of a quarter acceptance from a normal distribution in eleven dimensions.

    The errors at draw and proposal are independent, which makes wrong decisions twice as frequent as smooth errors do.
    """
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((CHAINS, n, 11))
    y = x + 0.73 * rng.standard_normal(x.shape)
    difference = 0.5 * ((x**2).sum(axis=2) - (y**2).sum(axis=2))
    return ProposalPairs(difference, difference + s_e * np.sqrt(2) * rng.standard_normal(difference.shape))


def certificate(s_e: float, **changes: Any) -> Certificate:
    parts: dict = {"fresh": fresh_draws(s_e), "states": exact_states(s_e), "pairs": proposal_pairs(s_e)}
    parts.update(changes)
    return compute_certificate(**parts, counts=COUNTS)


def test_s_e_is_the_standard_deviation_of_the_centred_error() -> None:
    figures = certificate(0.03).figures
    for key in ("s_e", "s_e_exact_states"):
        assert figures[key].value == pytest.approx(0.03, abs=4 * figures[key].mcse)
        assert 0 < figures[key].mcse < 0.002


def test_wrong_decisions_are_those_of_the_definition_and_grow_with_the_error() -> None:
    pairs = ProposalPairs(exact=np.log([[0.5, 0.25, 1e-9]]), surrogate=np.log([[0.25, 0.5, 3.0]]))
    accept, reject = wrong_decisions(pairs)
    np.testing.assert_allclose(accept, [[0.0, 0.25, 1.0]], atol=1e-8)
    np.testing.assert_allclose(reject, [[0.25, 0.0, 0.0]], atol=1e-8)
    figures = certificate(0.05, pairs=proposal_pairs(0.05, n=4_000)).figures
    assert figures["pair_acceptance"].value == pytest.approx(0.25, abs=0.03)
    for key in ("wrong_accept", "wrong_reject"):
        assert 0.06 * 0.05 < figures[key].value < 0.1 * 0.05


def test_an_infeasible_proposal_is_wrongly_accepted_as_often_as_the_surrogate_accepts_it() -> None:
    accept, reject = wrong_decisions(ProposalPairs(np.array([[-np.inf]]), np.array([[np.log(0.3)]])))
    assert accept[0, 0] == pytest.approx(0.3) and reject[0, 0] == 0


def test_a_good_surrogate_passes_and_every_limit_is_met() -> None:
    good = certificate(0.02)
    assert good.passed and good.reasons == () and "certified" in good.words
    assert good.limits["pareto_k"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fresh": fresh_draws(0.3)}, "own draws"),
        ({"states": exact_states(0.2)}, "on exact draws"),
        ({"states": exact_states(0.02, outside=0.05)}, "has seen no data"),
        ({"states": exact_states(0.02, converged=False)}, "has not converged"),
        ({"pairs": proposal_pairs(0.5)}, "wrongly accepted"),
    ],
)
def test_each_failure_is_said_in_words(changes: dict, words: str) -> None:
    failed = certificate(0.02, **changes)
    assert not failed.passed and any(words in reason for reason in failed.reasons)
    assert failed.words.startswith("the surrogate is not certified")


def test_a_certificate_says_what_was_searched_and_little_certifies_nothing() -> None:
    wide = Searched(starts=8, modes=1, area="the prior")
    good = certificate(0.02, searched=wide)
    assert good.passed and good.words.endswith("in what was searched: 8 starts over the prior led to 1 mode")
    assert good.to_json()["searched"] == wide.words and good.to_json()["mode_starts"] == 8
    two = certificate(0.02, searched=Searched(starts=2, modes=2, area="the prior"))
    assert not two.passed and "2 starts over the prior led to 2 modes, which is too little" in two.words
    few = certificate(0.02, fresh=fresh_draws(0.02, n=100))
    assert not few.passed and "100 fresh draws are too few" in few.words


def test_the_smoke_profile_certifies_nothing() -> None:
    smoke = make_config({}, "smoke")
    assert smoke.mode.starts < POLICY.fewest_starts and smoke.posterior.certificate_draws < POLICY.fewest_draws
    default = make_config({})
    assert default.mode.starts >= POLICY.fewest_starts and default.posterior.certificate_draws >= POLICY.fewest_draws


def test_draws_without_an_exact_density_count_as_such_and_not_in_s_e() -> None:
    fresh = fresh_draws(0.02)
    fresh.exact[:30] = -np.inf
    result = certificate(0.02, fresh=fresh)
    assert result.figures["infeasible_share"].value == pytest.approx(0.03)
    assert result.figures["s_e"].value < 0.03
    assert not result.passed and any("no exact density" in reason for reason in result.reasons)


def test_a_surrogate_that_is_not_a_number_fails() -> None:
    fresh = fresh_draws(0.02)
    result = certificate(0.02, fresh=FreshEvaluations(fresh.theta, fresh.x, fresh.exact, np.full(1_000, np.nan)))
    assert not result.passed and result.figures["s_e"].value == np.inf


def test_monte_carlo_errors_are_those_of_repetition() -> None:
    spreads = [error_spread(fresh_draws(0.1, seed=seed)).value for seed in range(200)]
    assert error_spread(fresh_draws(0.1)).mcse == pytest.approx(np.std(spreads), rel=0.25)
    states = [error_spread_of_chains(exact_states(0.1, seed)).value for seed in range(200)]
    assert error_spread_of_chains(exact_states(0.1)).mcse == pytest.approx(np.std(states), rel=0.5)
    rates = [mean_over_chains(wrong_decisions(proposal_pairs(0.1, seed))[0]).value for seed in range(200)]
    assert mean_over_chains(wrong_decisions(proposal_pairs(0.1))[0]).mcse == pytest.approx(np.std(rates), rel=0.5)


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    x = np.random.default_rng(0).standard_normal((30, 1))
    assert jackknife(x, lambda rows: float(rows.mean())) == pytest.approx(x.std(ddof=1) / np.sqrt(30))


def test_only_subchain_steps_count_in_the_second_stage_acceptance() -> None:
    states = exact_states(0.1)
    states.acceptance_probability[~states.subchain] = 0.0
    expected = states.acceptance_probability[states.subchain].mean()
    assert subchain_acceptance(states).value == pytest.approx(expected)
    states.subchain[:] = False
    assert np.isnan(subchain_acceptance(states).value)


def test_the_error_is_centred_over_the_draws_with_a_density() -> None:
    error = centred_error(np.array([1.0, 2.0, 9.0]), np.array([0.0, 0.0, -np.inf]))
    np.testing.assert_allclose(error, [-0.5, 0.5])


def test_the_file_has_plain_numbers_under_the_fixed_keys() -> None:
    content = json.loads(json.dumps(certificate(0.02).to_json()))
    keys = ["s_e", "s_e_exact_states", "wrong_accept", "wrong_reject", "pareto_k", "second_stage_acceptance"]
    for key in [*keys, "outside_fence"]:
        assert isinstance(content[key], float) and isinstance(content[f"{key}_mcse"], float)
    assert content["passed"] is True and content["training_evaluations"] == 5_000
    assert content["wrong_accept"] < 0.01, "a fraction, not per cent"
    assert content["error_quantiles"]["0.025"] < 0 < content["error_quantiles"]["0.975"]
