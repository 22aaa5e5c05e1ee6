"""The honest account of a run in words: failures by reason, infeasible prior mass, acceptance, convergence, rates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from estimhank.analysis.facts import Facts, ModeFacts, PosteriorFacts, SampleFacts, find_facts
from estimhank.analysis.wording import REASON_WORDS, count, fixed, joined, percent, plural, significant


def account_sentences(evaluations: Mapping[str, Mapping[str, int]], facts: Sequence[Facts | None]) -> tuple[str, ...]:
    """What the manifest knows of how a run went, for the report; nothing is said of what it does not know.

    Parameters
    ----------
    evaluations : mapping of stage to mapping of reason to int
    facts : sequence of Facts
        What each stage left in the manifest, if it is finished.
    """
    sentences = (
        _failures(evaluations),
        _prior(find_facts(facts, ModeFacts)),
        _sample(find_facts(facts, SampleFacts)),
        _exact(find_facts(facts, PosteriorFacts)),
        _rates(facts),
    )
    return tuple(sentence for sentence in sentences if sentence)


def _failures(evaluations: Mapping[str, Mapping[str, int]]) -> str:
    total = sum(sum(reasons.values()) for reasons in evaluations.values())
    failed: dict[str, int] = {}
    for reasons in evaluations.values():
        for reason, number in reasons.items():
            if reason != "ok":
                failed[reason] = failed.get(reason, 0) + number
    if not total:
        return ""
    if not failed:
        return f"All of {plural(total, 'evaluation')} had a finite density."
    parts = [f"{count(n)} {REASON_WORDS.get(r, r)}" for r, n in sorted(failed.items(), key=lambda item: -item[1])]
    return f"{percent(sum(failed.values()) / total)} of {plural(total, 'evaluation')} had no density: {joined(parts)}."


def _prior(facts: ModeFacts | None) -> str:
    if facts is None:
        return ""
    shares = facts.infeasible_prior
    if not shares:
        return "The density existed at every prior draw that the mode search tried."
    parts = [f"{percent(share)} {REASON_WORDS.get(reason, reason)}" for reason, share in shares.items()]
    return f"{percent(sum(shares.values()))} of the prior mass is infeasible: {joined(parts)}."


def _sample(facts: SampleFacts | None) -> str:
    if facts is None:
        return ""
    if facts.acceptance is not None:
        moved = f"accepted {_range(facts.acceptance)} of their proposals"
    else:
        moved = f"moved in {_range(facts.move_rate or ())} of their iterations"
    text = f"The chains of the sampling stage ({facts.algorithm}) {moved}"
    by_block = {"local": facts.local_acceptance, "global": facts.global_acceptance}
    blocks = [f"{percent(rate)} of the {block} ones" for block, rate in by_block.items() if rate is not None]
    if blocks:
        text += f": {joined(blocks)}"
    convergence = f"; largest R̂ {fixed(facts.r_hat, 3)}" if math.isfinite(facts.r_hat) else ""
    return f"{text}{convergence}. They feed the surrogate; the posterior does not rest on their convergence."


def _exact(facts: PosteriorFacts | None) -> str:
    if facts is None:
        return ""
    words = {"subchain": "steps by surrogate subchains", "plain": "random-walk steps"}
    parts = [f"{_range(rates)} of {words.get(block, block)}" for block, rates in facts.acceptance.items()]
    return f"The exact chains accepted {joined(parts)}."


def _rates(facts: Sequence[Facts | None]) -> str:
    parts = [
        f"{significant(found.rates.per_second, 2)} in the {found.stage} stage"
        for found in facts
        if found is not None and found.rates is not None and found.rates.evaluated
    ]
    return f"Evaluations a second, compilation included: {joined(parts)}." if parts else ""


def _range(rates: Sequence[float]) -> str:
    """Mean over the chains, and from the least to the most of them."""
    values = np.array(rates, float)
    values = values[np.isfinite(values)]
    if not len(values):
        return "no share"
    mean = percent(float(values.mean()))
    if len(values) == 1:
        return mean
    return f"{mean} ({percent(float(values.min()))} to {percent(float(values.max()))} by chain)"
