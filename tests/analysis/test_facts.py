"""Facts come back from ``manifest.json`` as they were, and nothing else comes back."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from estimhank.analysis.facts import (
    DataFacts,
    Facts,
    PosteriorFacts,
    ReportFacts,
    SampleFacts,
    SurrogateFacts,
    find_facts,
    read_facts,
)
from estimhank.evaluation.recorder import Rates
from estimhank.support.files import to_json
from tests.helpers.facts import fit_facts, mode_facts, posterior_facts, surrogate_facts

ALL = (
    DataFacts(quarters=44, missing={"growth": 2}),
    mode_facts(condition=math.inf, infeasible_prior={"indeterminate": 0.25}, rates=Rates(90.0, 0.0, 3.1, 29.0)),
    SampleFacts(algorithm="dime", r_hat=math.nan, ess_bulk=3.0, infeasible=(0.0, 0.5), acceptance=(0.2, 0.4)),
    surrogate_facts(fit_facts(3233, (1.0, 2.0), (3.5, 0.25)), fit_facts(3816)),
    posterior_facts(exact_seconds=1.5),
    ReportFacts(verdict="You can trust this posterior."),
)


def plain(facts: Facts) -> dict[str, object]:
    """What a file holds."""
    read: dict[str, object] = json.loads(to_json(facts.to_json()))
    return read


@pytest.mark.parametrize("facts", ALL, ids=lambda facts: facts.stage)
def test_facts_come_back_as_they_were(facts: Facts) -> None:
    again = read_facts(facts.stage, plain(facts))
    assert type(again) is type(facts) and plain(again) == plain(facts)
    assert again == facts or "nan" in to_json(facts.to_json())
    assert "log_evidence" not in plain(facts)  # what is not known is left out
    assert find_facts([None, *ALL], type(facts)) is facts and find_facts([None], type(facts)) is None


def test_nested_facts_have_their_types() -> None:
    surrogate = read_facts("surrogate", plain(ALL[3]))
    assert isinstance(surrogate, SurrogateFacts)
    assert surrogate.rounds[0].loss == (3.5, 0.25) and math.isnan(surrogate.rounds[1].sought_error)
    posterior = read_facts("posterior", plain(replace(ALL[4], rates=Rates(1.0, 2.0, 3.0, 4.0))))
    assert (
        isinstance(posterior, PosteriorFacts)
        and posterior.rates == Rates(1.0, 2.0, 3.0, 4.0)
        and posterior.horizon.longer_horizon == 1200
    )
    assert posterior.acceptance["plain"] == (0.3,) and math.isnan(posterior.acceptance["subchain"][2])


@pytest.mark.parametrize(
    ("stage", "change", "words"),
    [
        ("posterior", {"converged": "yes"}, "posterior stage, converged is 'yes'"),
        ("posterior", {"horizon": {"horizon": 300}}, "posterior stage, horizon lacks 'longer_horizon'"),
        ("posterior", {"rounds": 1.5}, "posterior stage, rounds is '1.5'"),
        ("posterior", {"acceptance": {"plain": 0.3}}, "posterior stage, acceptance, plain is '0.3'"),
        ("mode", {"kinds": "interior"}, "mode stage has an unknown 'kinds'"),
        ("mode", {"starts": True}, "mode stage, starts is 'True'"),
        ("mode", {"rates": {"evaluated": "many"}}, "rates lacks 'served'"),
        ("validate", {}, "there is no stage validate"),
    ],
)
def test_what_is_not_as_it_should_be_is_said(stage: str, change: dict[str, object], words: str) -> None:
    (facts,) = [plain(facts) for facts in ALL if facts.stage == stage] or [{}]
    with pytest.raises(ValueError, match=words):
        read_facts(stage, {**facts, **change})
