"""Whether to trust a run, in words and in numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from estimhank.analysis.certificate_table import CertificateFigure
from estimhank.analysis.facts import HorizonCheck
from estimhank.analysis.mode_words import mode_words
from estimhank.analysis.posterior_table import SurrogateGap
from estimhank.analysis.summary import DrawSummary
from estimhank.analysis.wording import REASON_WORDS, count, fixed, joined, percent, plural, significant, with_error
from estimhank.mode.mode_result import ModeResult
from estimhank.surrogate.certificate import NOT_CONVERGED
from estimhank.surrogate.stopping import RAN_OUT, STOPPED

#: Failures that say something about the numerics rather than about the model; many of them deserve a look.
NUMERICAL_REASONS: tuple[str, ...] = (
    "steady_state",
    "steady_state:grid_too_small",
    "steady_state:no_convergence",
    "steady_state:not_a_solution",
    "not_positive_definite",
    "non_finite",
    "horizon",
)

#: What Vehtari, Gelman, Simpson, Carpenter and Bürkner (2021) ask of draws before anything is read off them, whatever a
#: run's own criteria are.
USUAL_R_HAT, USUAL_ESS = 1.01, 400.0


class Severity(StrEnum):
    """How good or bad a finding is."""

    GOOD = "good"
    NOTE = "note"
    CARE = "care"
    BAD = "bad"


@dataclass(frozen=True)
class Criteria:
    """What a run has to reach.

    Attributes
    ----------
    r_hat : float
        Largest acceptable R-hat.
    ess : float
        Effective draws (bulk) wanted of every parameter.
    ess_tail : float
        Effective draws wanted in the tails, for the 5 % and 95 % quantiles (at most ``ess``).
    starts_agreeing : float
        Share of the mode search's starts that should end at the best mode.
    horizon_sd : float
        Largest acceptable standard deviation of the log likelihood's error from the truncated horizon.
    numerical_failures : float
        Share of evaluations that may fail for numerical reasons.
    """

    r_hat: float = 1.01
    ess: float = 1000.0
    ess_tail: float = 400.0
    starts_agreeing: float = 0.75
    horizon_sd: float = 0.01
    numerical_failures: float = 0.01


@dataclass(frozen=True)
class PriorShare:
    """Share of the prior for which the model has a unique stable equilibrium, and why the rest has not."""

    share: float
    mcse: float
    draws: int


@dataclass(frozen=True)
class Evidence:
    """What the verdict rests on; whatever a run lacks is ``None`` or empty and simply not judged.

    ``certificate_reasons`` are those that are not a figure out of its limit, ``left_out`` says which local modes chains
    were taken from as they hold a negligible share of the mass, ``best_draw`` is the highest log posterior
    among the exact draws, ``failures`` counts evaluations by reason (``ok`` included) over all stages.
    """

    names: Sequence[str]
    exact: DrawSummary
    draws: int
    certificate: Sequence[CertificateFigure] = ()
    certificate_passed: bool | None = None
    certificate_reasons: Sequence[str] = ()
    left_out: str = ""
    gap: SurrogateGap | None = None
    mode: ModeResult | None = None
    best_draw: float = math.nan
    horizon: HorizonCheck | None = None
    determinacy: PriorShare | None = None
    failures: Mapping[str, int] = field(default_factory=dict)
    criteria: Criteria = field(default_factory=Criteria)


@dataclass(frozen=True)
class Finding:
    """One sentence or two on one topic."""

    level: Severity
    topic: str
    text: str


@dataclass(frozen=True)
class Verdict:
    """The whole judgement: a headline, its level, and the findings behind it."""

    level: Severity
    headline: str
    findings: tuple[Finding, ...]

    def as_text(self) -> str:
        """Plain text: the headline, then one line a finding."""
        return "\n".join([self.headline, *(f"[{f.level}] {f.topic}: {f.text}" for f in self.findings)])


def judge_run(evidence: Evidence) -> Verdict:
    """Judge a run: convergence of the exact posterior first, then everything that could mislead a reader."""
    convergence = judge_convergence(evidence)
    left_out = evidence.left_out
    named = [Finding(Severity.NOTE, "Local modes", f"{left_out[0].upper()}{left_out[1:]}.")] if left_out else []
    findings = [convergence, *named, *judge_certificate(evidence), *judge_mode(evidence), *judge_model(evidence)]
    if convergence.level is Severity.BAD:
        stopped = _stopped(evidence)
        headline = f"Do not trust this posterior yet: {_shortcoming(evidence)}{f' ({stopped})' if stopped else ''}."
        return Verdict(Severity.BAD, headline, tuple(findings))
    careful = [f.topic.lower() for f in findings if f.level is Severity.CARE]
    if convergence.level is Severity.CARE:
        headline = "Do not quote this posterior: it meets the criteria of a trial run, but not those of an estimate."
        return Verdict(Severity.CARE, headline, tuple(findings))
    level = Severity.CARE if careful else Severity.GOOD
    headline = "You can trust this posterior: the exact chains have converged."
    if evidence.certificate_passed is False:
        careful = [topic for topic in careful if topic != "certificate"]
        headline = "You can trust the exact posterior, but not the surrogate on its own: its certificate failed."
    elif evidence.certificate_passed:
        headline = (
            "You can trust this posterior: the exact chains have converged and the surrogate passed its certificate."
        )
    if careful:
        headline += f" Read the remarks on {joined(careful)} first."
    return Verdict(level, headline, tuple(findings))


def judge_convergence(evidence: Evidence) -> Finding:
    """R-hat and effective sample sizes of the exact posterior against the criteria."""
    exact, criteria, names = evidence.exact, evidence.criteria, evidence.names
    tail_wanted = min(criteria.ess_tail, criteria.ess)
    stuck = [name for name, r in zip(names, exact.r_hat, strict=True) if not math.isfinite(r)]
    if stuck:
        text = f"R̂ cannot be computed for {joined(stuck)}: a single chain, too few draws, or draws that never move."
        return Finding(Severity.BAD, "Convergence", text)
    high, low, tail = int(np.argmax(exact.r_hat)), int(np.argmin(exact.ess_bulk)), int(np.argmin(exact.ess_tail))
    shortfalls = []
    if exact.r_hat[high] > criteria.r_hat:
        many = int((exact.r_hat > criteria.r_hat).sum())
        shortfalls.append(f"R̂ is above {criteria.r_hat:g} for {plural(many, 'parameter')}")
    if exact.ess_bulk[low] < criteria.ess:
        few = _parameters(int((exact.ess_bulk < criteria.ess).sum()))
        shortfalls.append(f"{few} fewer than {count(criteria.ess)} effective draws")
    if exact.ess_tail[tail] < tail_wanted:
        few = _parameters(int((exact.ess_tail < tail_wanted).sum()))
        shortfalls.append(f"{few} fewer than {count(tail_wanted)} in the tails")
    if not shortfalls:
        shortfalls += _unmixed(evidence.certificate_reasons)
    figures = (
        f"{count(evidence.draws)} exact draws: largest R̂ {fixed(exact.r_hat[high], 4)} ({names[high]}; limit "
        f"{criteria.r_hat:g}), smallest effective sample size {count(exact.ess_bulk[low])} in the bulk ({names[low]}; "
        f"wanted {count(criteria.ess)}) and {count(exact.ess_tail[tail])} in the tails ({names[tail]}; wanted "
        f"{count(tail_wanted)})."
    )
    if shortfalls:
        if stopped := _stopped(evidence):
            figures += f" {stopped[0].upper()}{stopped[1:]}."
        return Finding(Severity.BAD, "Convergence", f"Not there yet: {joined(shortfalls)}. {figures}")
    if exact.r_hat[high] > USUAL_R_HAT or min(exact.ess_bulk[low], exact.ess_tail[tail]) < USUAL_ESS:
        usual = f"An estimate to be quoted has R̂ of at most {USUAL_R_HAT:g} and at least {count(USUAL_ESS)} of each."
        return Finding(Severity.CARE, "Convergence", f"{figures} {usual}")
    return Finding(Severity.GOOD, "Convergence", figures)


def _stopped(evidence: Evidence) -> str:
    """The exact stage's own sentence on why it ended without meeting its criteria."""
    return next((r for r in evidence.certificate_reasons if r.startswith((STOPPED, RAN_OUT))), "")


def _unmixed(reasons: Sequence[str]) -> list[str]:
    """What has not converged although every parameter meets the criteria."""
    for reason in reasons:
        if reason.startswith(NOT_CONVERGED):
            words = reason.removeprefix(NOT_CONVERGED).removeprefix(": ")
            return [
                words or "the chains have not mixed between places where the surrogate is right and where it is wrong"
            ]
    return []


def _shortcoming(evidence: Evidence) -> str:
    """Why a posterior is not to be trusted, in a clause."""
    exact, criteria = evidence.exact, evidence.criteria
    if not (exact.r_hat <= criteria.r_hat).all():
        return "the exact chains have not converged"
    few = (exact.ess_bulk < criteria.ess).any() or (exact.ess_tail < min(criteria.ess_tail, criteria.ess)).any()
    unmixed = [] if few else _unmixed(evidence.certificate_reasons)
    # every parameter meets its criteria: what does not is named
    return unmixed[0].split(": ")[0] if unmixed else "it holds too few effective draws"


def _parameters(number: int) -> str:
    return f"{plural(number, 'parameter')} {'has' if number == 1 else 'have'}"


def judge_certificate(evidence: Evidence) -> list[Finding]:
    """The surrogate's certificate, with every failed figure, and the distance between the two posteriors."""
    if evidence.certificate_passed is None:
        return [Finding(Severity.NOTE, "Certificate", "This run has no surrogate certificate.")]
    limited = [f for f in evidence.certificate if f.has_limit]
    failed = [f for f in limited if not f.passed]
    findings = []
    if evidence.certificate_passed and not failed:
        worst = max(limited, key=lambda f: f.severity)
        text = (
            f"Passed: all {len(limited)} figures are within their limits; closest to its limit is {_against(worst)}. "
            f"Draws from the surrogate alone would lead to the same conclusions.{_searched(evidence.mode)}"
        )
        findings.append(Finding(Severity.GOOD, "Certificate", text))
    else:
        others = [reason for reason in evidence.certificate_reasons if reason != _stopped(evidence)]
        reasons = joined([*(_against(f) for f in failed), *others]) or "no reason is given"
        text = (
            f"Failed: {reasons}. Where the exact chains have converged the exact posterior does not rest on the "
            "surrogate: each of its draws was accepted or rejected with the model's own density, so that the error "
            "costs effective draws and does not bias them."
        )
        findings.append(Finding(Severity.CARE, "Certificate", text))
    gap = evidence.gap
    if gap is not None and np.isfinite(gap.mean).any():
        moves = np.isfinite(gap.mean)
        far = int(np.argmax(np.where(moves, np.abs(gap.mean), -1.0)))
        low, high = (int(f(np.where(moves, gap.sd_ratio, e))) for f, e in ((np.argmin, np.inf), (np.argmax, -np.inf)))
        text = (
            "Against the exact posterior, the surrogate's means are off by at most "
            f"{with_error(abs(gap.mean[far]), gap.mcse_mean[far])} posterior standard deviations "
            f"({evidence.names[far]}); its standard deviations are "
            f"{with_error(gap.sd_ratio[low], gap.mcse_sd_ratio[low])} ({evidence.names[low]}) to "
            f"{with_error(gap.sd_ratio[high], gap.mcse_sd_ratio[high])} ({evidence.names[high]}) times the exact ones."
        )
        findings.append(Finding(Severity.NOTE, "Surrogate", text))
    return findings


def _searched(search: ModeResult | None) -> str:
    """What the certificate speaks of: no sampler finds a mode that no start leads to."""
    if search is None:
        return ""
    starts, modes = plural(len(search.starts), "start"), plural(len(search.modes), "mode")
    return f" This holds for the mass that was searched: {starts} of the mode search led to {modes}."


def _against(figure: CertificateFigure) -> str:
    limit = percent(figure.limit) if figure.percent else significant(figure.limit, 2)
    if math.isnan(figure.value):
        return f"{figure.label} is missing"
    value = with_error(figure.value, figure.mcse, figure.percent)
    bound = f"{'lower ' if figure.at_least else ''}limit"
    if figure.passed:
        return f"{figure.label} at {value} ({bound} {limit})"
    return f"{figure.label} at {value} against a {bound} of {limit} ({_excess(figure)})"


def _excess(figure: CertificateFigure) -> str:
    if figure.at_least:
        return f"{significant(100 * (figure.limit - figure.value), 2)} percentage points short"
    if figure.key == "pareto_k":  # a tail index has no natural zero, so a ratio would mean nothing
        return f"{significant(figure.value - figure.limit, 2)} above it"
    return f"{significant(figure.severity, 2)} times the limit"


def judge_mode(evidence: Evidence) -> list[Finding]:
    """Agreement of the starts, other local modes, what kind of maximum it is, and whether any draw beats it."""
    search = evidence.mode
    if search is None:
        return []
    best, starts = search.modes[0], len(search.starts)
    text = (
        f"{search.agreeing} of {plural(starts, 'start')} ended at the best mode, log posterior "
        f"{fixed(best.log_density, 3)}."
    )
    if len(search.modes) > 1:
        gap = best.log_density - search.modes[1].log_density
        others = len(search.modes) - 1
        which = "is one other local mode" if others == 1 else f"are {others} other local modes, the next"
        text = f"{text[:-1]}; there {which} {significant(gap, 3)} log points lower."
    level = Severity.GOOD if search.agreeing >= evidence.criteria.starts_agreeing * starts else Severity.CARE
    findings = [Finding(level, "Mode", text)]
    findings += [Finding(Severity.CARE, "Shape", text) for text in mode_words(search)]
    if not search.positive_definite and search.kind == "interior":
        text = "The Hessian at the mode is not positive definite: a direction is flat, or the mode is at a kink."
        findings.append(Finding(Severity.CARE, "Curvature", text))
    edge = max((supremum.log_density for supremum in search.suprema), default=-math.inf)
    above = evidence.best_draw - max(best.log_density, edge)
    # slices rise towards an edge or a bound that has been named
    higher = max(above, search.slice_gain if search.kind in ("interior", "flat") and not search.suprema else -math.inf)
    if higher > 0.01:
        text = (
            f"The log posterior rises to {significant(higher, 2)} above the mode elsewhere: the search missed the peak."
        )
        findings.append(Finding(Severity.CARE, "Peak", text))
    return findings


def judge_model(evidence: Evidence) -> list[Finding]:
    """Horizon, prior mass of the determinate region, and evaluations that failed for numerical reasons."""
    findings = []
    horizon, criteria = evidence.horizon, evidence.criteria
    if horizon is not None:
        text = (
            f"Over {plural(horizon.draws, 'posterior draw')}, the log likelihood at T = {horizon.horizon} differs from "
            f"that at T = {horizon.longer_horizon} with a standard deviation of {significant(horizon.sd, 2)} (limit "
            f"{criteria.horizon_sd:g}), {significant(horizon.largest, 2)} at most."
        )
        fine = horizon.sd < criteria.horizon_sd
        findings.append(
            Finding(
                Severity.GOOD if fine else Severity.CARE, "Horizon", text if fine else f"{text} Lengthen the horizon."
            )
        )
    if evidence.determinacy is not None:
        share = evidence.determinacy
        text = (
            f"{with_error(share.share, share.mcse, percent=True)} of the prior mass has a unique stable equilibrium "
            f"({plural(share.draws, 'prior draw')}); the posterior is that of the prior restricted to it."
        )
        findings.append(Finding(Severity.NOTE, "Determinacy", text))
    total = sum(evidence.failures.values())
    bad = {reason: evidence.failures.get(reason, 0) for reason in NUMERICAL_REASONS}
    if total and sum(bad.values()) > criteria.numerical_failures * total:
        parts = [f"{REASON_WORDS[reason]} {number:,} times" for reason, number in bad.items() if number]
        text = (
            f"{percent(sum(bad.values()) / total)} of {count(total)} evaluations failed numerically: {joined(parts)}."
        )
        findings.append(Finding(Severity.CARE, "Numerical failures", text))
    return findings
