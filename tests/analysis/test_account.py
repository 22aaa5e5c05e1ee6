"""The account of a run in words says what the manifest holds, and nothing of what it does not."""

from __future__ import annotations

import math

import numpy as np

from estimhank.analysis.account import account_sentences
from estimhank.analysis.facts import SampleFacts
from estimhank.evaluation.recorder import Rates
from estimhank.sampling.diagnostics import RunningRHat, r_hat
from tests.helpers.facts import mode_facts, posterior_facts


def test_everything_that_is_known_is_said() -> None:
    evaluations = {"mode": {"ok": 60, "no_stable_solution": 30}, "exact": {"ok": 100, "indeterminate": 10}}
    facts = [
        mode_facts(infeasible_prior={"no_stable_solution": 0.15}, rates=Rates(90.0, 0.0, 2.9, 31.4)),
        SampleFacts(
            algorithm="dime", r_hat=1.25, ess_bulk=9.0, infeasible=(0.0, 0.0), acceptance=(0.2, 0.4),
            local_acceptance=0.25, global_acceptance=0.5,
        ),
        None,
        posterior_facts(acceptance={"subchain": (0.9, 0.8, math.nan), "plain": (0.3,)}),
    ]  # fmt: skip
    text = " ".join(account_sentences(evaluations, facts))
    for words in (
        "20.0 % of 200 evaluations had no density: 30 no stable solution and 10 indeterminate equilibrium.",
        "15.0 % of the prior mass is infeasible: 15.0 % no stable solution.",
        "stage (dime) accepted 30.0 % (20.0 % to 40.0 % by chain) of their proposals: 25.0 % of "
        "the local ones and 50.0 % of the global ones; largest R̂ 1.250.",
        "exact chains accepted 85.0 % (80.0 % to 90.0 % by chain) of steps by surrogate subchains and 30.0 % of "
        "random-walk steps",
        "Evaluations a second, compilation included: 31 in the mode stage.",
    ):
        assert words in text, words


def test_nothing_is_said_of_what_is_not_known() -> None:
    assert account_sentences({}, []) == account_sentences({}, [None]) == ()
    assert account_sentences({"mode": {"ok": 3}}, []) == ("All of 3 evaluations had a finite density.",)
    (text,) = account_sentences({}, [mode_facts()])
    assert "every prior draw" in text


def test_the_running_r_hat_is_that_of_the_draws_so_far() -> None:
    draws = np.random.default_rng(0).standard_normal((4, 100, 2))
    states, running = list(draws.swapaxes(0, 1)), RunningRHat()
    assert running(states[:3]) == ""
    assert running(states[:50]) == f", R-hat {r_hat(draws[:, :50]).max():.3f}"
    assert running(states[:51]) == f", R-hat {r_hat(draws[:, :50]).max():.3f}"
    assert running(states) == f", R-hat {r_hat(draws).max():.3f}"
