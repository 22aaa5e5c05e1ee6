"""The honest account of a run in words: failures by reason, infeasible prior mass, acceptance, convergence, rates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from estimhank.analysis.wording import REASON_WORDS, count, fixed, joined, percent, plural, significant


def account_sentences(
    evaluations: Mapping[str, Mapping[str, int]], facts: Mapping[str, Mapping[str, Any]]
) -> tuple[str, ...]:
    """What the manifest knows of how a run went, for the report; nothing is said of what it does not know.

    Parameters
    ----------
    evaluations : mapping of stage to mapping of reason to int
    facts : mapping of stage to mapping
        What each stage left in the manifest.
    """
    sentences = [_failures(evaluations), _prior(facts.get("mode", {}))]
    sentences += [_sample(facts.get("sample", {})), _exact(facts.get("posterior", {})), _rates(facts)]
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


def _prior(facts: Mapping[str, Any]) -> str:
    if "infeasible_prior" not in facts:
        return ""
    shares = {reason: float(share) for reason, share in facts["infeasible_prior"].items()}
    if not shares:
        return "The density existed at every prior draw that the mode search tried."
    parts = [f"{percent(share)} {REASON_WORDS.get(reason, reason)}" for reason, share in shares.items()]
    return f"{percent(sum(shares.values()))} of the prior mass is infeasible: {joined(parts)}."


def _sample(facts: Mapping[str, Any]) -> str:
    rates = facts.get("acceptance", facts.get("move_rate"))
    if rates is None:
        return ""
    what = "accepted {} of their proposals" if "acceptance" in facts else "moved in {} of their iterations"
    text = f"The chains of the sampling stage ({facts.get('algorithm', 'multi_proposal')}) {what.format(_range(rates))}"
    by_block = {block: facts.get(f"{block}_acceptance") for block in ("local", "global")}
    blocks = [f"{percent(float(rate))} of the {block} ones" for block, rate in by_block.items() if rate is not None]
    if blocks:
        text += f": {joined(blocks)}"
    ratio = float(facts.get("r_hat", math.nan))
    convergence = f"; largest R̂ {fixed(ratio, 3)}" if math.isfinite(ratio) else ""
    return f"{text}{convergence}. They feed the surrogate; the posterior does not rest on their convergence."


def _exact(facts: Mapping[str, Any]) -> str:
    acceptance = facts.get("acceptance")
    if not acceptance:
        return ""
    words = {"subchain": "steps by surrogate subchains", "plain": "random-walk steps"}
    parts = [f"{_range(rates)} of {words.get(block, block)}" for block, rates in acceptance.items()]
    return f"The exact chains accepted {joined(parts)}."


def _rates(facts: Mapping[str, Mapping[str, Any]]) -> str:
    parts = []
    for stage, values in facts.items():
        rates = values.get("rates", {})
        if rates.get("evaluated"):
            parts.append(f"{significant(float(rates['per_second']), 2)} in the {stage} stage")
    return f"Evaluations a second, compilation included: {joined(parts)}." if parts else ""


def _range(rates: Sequence[float] | np.ndarray) -> str:
    """Mean over the chains, and from the least to the most of them."""
    values = np.array([float(rate) for rate in np.ravel(np.asarray(rates, dtype=object))])
    values = values[np.isfinite(values)]
    if not len(values):
        return "no share"
    mean = percent(float(values.mean()))
    if len(values) == 1:
        return mean
    return f"{mean} ({percent(float(values.min()))} to {percent(float(values.max()))} by chain)"
