"""The certificate: how far the surrogate is from the posterior, in figures with Monte Carlo errors and limits.

With e = log surrogate - log posterior, centred:

* s_e: standard deviation of e over fresh draws of the surrogate, and over exact draws, which also see what the
  surrogate misses. A posterior mean is off by at most about s_e posterior standard deviations.
* wrong accepts and wrong rejects: E max(a' - a, 0) and E max(a - a', 0), where a and a' are the acceptance
  probabilities, by the posterior and by the surrogate, of a fresh random-walk proposal from an exact draw, scaled so
  that a quarter is accepted.
* Pareto k of the weights posterior / surrogate over the fresh draws.
* mean acceptance probability of the exact stage's subchain steps, and the share of its states outside the trust region.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimhank.surrogate.pareto import pareto_k, pareto_k_mcse, pareto_limit
from estimhank.surrogate.policy import POSTERIOR_POLICY as POLICY
from estimhank.surrogate.searched import Searched

Array = NDArray[np.float64]

NOT_CONVERGED = "the exact stage has not converged, so its draws do not vouch for the surrogate"
_QUANTILES = (0.005, 0.025, 0.05, 0.25, 0.5, 0.75, 0.95, 0.975, 0.995)
_WORDS: dict[str, str] = {
    "s_e": "the error of the surrogate's log density on its own draws has s.d. {value:.3f}",
    "s_e_exact_states": "the error of the surrogate's log density on exact draws has s.d. {value:.3f}",
    "wrong_accept": "random-walk proposals are wrongly accepted with probability {value:.2%}",
    "wrong_reject": "random-walk proposals are wrongly rejected with probability {value:.2%}",
    "pareto_k": "the importance weights have the tail index {value:.2f}",
    "second_stage_acceptance": "of the subchains' ends the exact step accepts {value:.1%}",
    "outside_fence": "of the exact draws {value:.2%} are where the surrogate has seen no data",
    "infeasible_share": "of the surrogate's draws {value:.2%} have no exact density",
}


@dataclass(frozen=True)
class Estimate:
    """A figure of the certificate and its Monte Carlo standard error (``nan`` where it has none)."""

    value: float
    mcse: float = math.nan


@dataclass(frozen=True)
class FreshEvaluations:
    """Draws of the surrogate with fresh exact evaluations.

    Attributes
    ----------
    theta, x : ndarray of shape (n, d)
        Natural units and coordinates.
    exact, surrogate : ndarray of shape (n,)
        Log densities of the coordinates; ``exact`` is ``-inf`` where there is none.
    """

    theta: Array
    x: Array
    exact: Array
    surrogate: Array

    @property
    def error(self) -> Array:
        """e of the draws that have an exact density, centred."""
        return centred_error(self.surrogate, self.exact)


@dataclass(frozen=True)
class ProposalPairs:
    """Differences of log densities, fresh proposal minus the exact draw it is from, shape (chain, n)."""

    exact: Array
    surrogate: Array


@dataclass(frozen=True)
class ExactStates:
    """What the certificate reads of the exact stage; arrays of shape (chain, draw)."""

    exact: Array
    surrogate: Array
    acceptance_probability: Array
    subchain: NDArray[np.bool_]
    outside: NDArray[np.bool_]
    converged: bool
    unmixed: str = ""
    stopped: str = ""
    left_out: str = ""


@dataclass(frozen=True)
class Certificate:
    """Figures by key, limits by key, and the verdict.

    Attributes
    ----------
    figures : dict of str to Estimate
    limits : dict of str to float
    reasons : tuple of str
        What failed, in words; empty if the certificate is passed.
    quantiles, quantiles_exact_states : dict of str to float
        Of the centred error.
    counts : dict of str to int
        ``training_evaluations``, ``certificate_evaluations``, ``exact_stage_evaluations``, ``draws``.
    searched : Searched, optional
        What the mode search had looked at: the certificate speaks of that.
    left_out : str
        Which local modes chains were taken from, in words: neither certificate nor draws speak of those.
    """

    figures: dict[str, Estimate]
    limits: dict[str, float]
    reasons: tuple[str, ...]
    quantiles: dict[str, float]
    quantiles_exact_states: dict[str, float]
    counts: dict[str, int]
    searched: Searched | None = None
    left_out: str = ""

    @property
    def passed(self) -> bool:
        """Whether every figure meets its limit."""
        return not self.reasons

    @property
    def words(self) -> str:
        """The verdict in a sentence."""
        if self.passed:
            s_e = max(self.figures[key].value for key in ("s_e", "s_e_exact_states"))
            means = f"its posterior means are within about {s_e:.3f} s.d. of the exact ones"
            where = f", in what was searched: {self.searched.words}" if self.searched else ""
            return f"the surrogate is certified: {means}{where}"
        return "the surrogate is not certified: " + "; ".join(self.reasons)

    def to_json(self) -> dict[str, Any]:
        """Content of ``certificate.json``: plain numbers, rates as fractions."""
        content: dict[str, Any] = {"passed": self.passed, "reasons": list(self.reasons)}
        for key, figure in self.figures.items():
            content[key] = figure.value
            if not math.isnan(figure.mcse):
                content[f"{key}_mcse"] = figure.mcse
        content["limits"] = dict(self.limits)
        content["error_quantiles"] = dict(self.quantiles)
        content["error_quantiles_exact_states"] = dict(self.quantiles_exact_states)
        if self.searched:
            content |= {
                "searched": self.searched.words,
                "mode_starts": self.searched.starts,
                "modes_found": self.searched.modes,
            }
        if self.left_out:
            content["left_out"] = self.left_out
        return content | dict(self.counts)


def compute_certificate(
    fresh: FreshEvaluations,
    states: ExactStates,
    pairs: ProposalPairs,
    counts: dict[str, int],
    seed: int = 0,
    searched: Searched | None = None,
) -> Certificate:
    """All figures of the certificate, and what they mean.

    Parameters
    ----------
    fresh : FreshEvaluations
        Nearly independent draws of the surrogate that it has not been trained on.
    states : ExactStates
    pairs : ProposalPairs
    counts : dict of str to int
        Goes into the file as it is.
    seed : int
        Of the bootstrap of Pareto k's error.
    searched : Searched, optional
        Few starts certify nothing; where it is not given, nothing is asked of them.
    """
    log_weights = np.where(np.isfinite(fresh.exact), fresh.exact - fresh.surrogate, -np.inf)
    wrong_accept, wrong_reject = wrong_decisions(pairs)
    figures = {
        "s_e": error_spread(fresh),
        "s_e_exact_states": error_spread_of_chains(states),
        "wrong_accept": mean_over_chains(wrong_accept),
        "wrong_reject": mean_over_chains(wrong_reject),
        "pareto_k": Estimate(pareto_k(log_weights), pareto_k_mcse(log_weights, seed)),
        "second_stage_acceptance": subchain_acceptance(states),
        "outside_fence": mean_over_chains(states.outside.astype(float)),
        "infeasible_share": _share(~np.isfinite(fresh.exact)),
        "pair_acceptance": mean_over_chains(np.exp(np.minimum(pairs.exact, 0.0))),
    }
    limits = {**POLICY.limits, "pareto_k": pareto_limit(len(fresh.exact))}
    reasons = list(_failures(figures, limits))
    if len(fresh.exact) < POLICY.fewest_draws:
        reasons.append(
            f"{len(fresh.exact)} fresh draws are too few to certify anything by ({POLICY.fewest_draws:,} are needed)"
        )
    if searched and searched.starts < POLICY.fewest_starts:
        reasons.append(
            f"{searched.words}, which is too little to certify anything by ({POLICY.fewest_starts} starts are needed)"
        )
    if not states.converged:
        reasons.append(f"{NOT_CONVERGED}: {states.unmixed}" if states.unmixed else NOT_CONVERGED)
    if states.stopped:
        reasons.append(states.stopped)
    return Certificate(
        figures=figures,
        limits=limits,
        reasons=tuple(reasons),
        quantiles=_quantiles(fresh.error),
        quantiles_exact_states=_quantiles(centred_error(states.surrogate.ravel(), states.exact.ravel())),
        counts=dict(counts),
        searched=searched,
        left_out=states.left_out,
    )


def _failures(figures: dict[str, Estimate], limits: dict[str, float]) -> list[str]:
    failures = []
    for key, limit in limits.items():
        value = figures[key].value
        at_least = key == "second_stage_acceptance"
        if not (value > limit if at_least else value < limit):  # a figure that is nan fails
            needed = f"{'more' if at_least else 'less'} than {limit:.4g}"
            failures.append(f"{_WORDS[key].format(value=value)} ({needed} is needed)")
    return failures


def centred_error(surrogate: Array, exact: Array) -> Array:
    """Log surrogate minus log posterior, mean zero, where the posterior has a density; shape (m,)."""
    there = np.isfinite(exact)
    error: Array = surrogate[there] - exact[there]
    return error - error.mean() if len(error) else error


def error_spread(fresh: FreshEvaluations) -> Estimate:
    """s_e over independent draws; its standard error by the delta method from the fourth moment."""
    error = fresh.error
    n = len(error)
    if n < 2 or not np.isfinite(error).all():
        return Estimate(math.inf)
    variance = float(error.var(ddof=1))
    if variance == 0:
        return Estimate(0.0, 0.0)
    fourth = float((error**4).mean())
    return Estimate(math.sqrt(variance), math.sqrt(max(fourth - variance**2, 0.0) / n) / (2 * math.sqrt(variance)))


def error_spread_of_chains(states: ExactStates) -> Estimate:
    """s_e over the exact stage's states; its standard error by the jackknife over chains, which are independent."""
    error = states.surrogate - states.exact
    if not np.isfinite(error).all():
        return Estimate(math.inf)
    return Estimate(float(error.std()), jackknife(error, lambda chains: float(chains.std())))


def jackknife(chains: Array, statistic: Callable[[Array], float]) -> float:
    """Standard error of a statistic of independent chains, shape (chain, ...), leaving out one at a time."""
    m = len(chains)
    if m < 2:
        return math.nan
    values = np.array([statistic(np.delete(chains, i, axis=0)) for i in range(m)])
    return math.sqrt((m - 1) / m * float(((values - values.mean()) ** 2).sum()))


def mean_over_chains(values: Array) -> Estimate:
    """Mean of values of shape (chain, n), with the standard error of the chains' means."""
    means = values.mean(axis=1)
    mcse = float(means.std(ddof=1)) / math.sqrt(len(means)) if len(means) > 1 else math.nan
    return Estimate(float(means.mean()), mcse)


def wrong_decisions(pairs: ProposalPairs) -> tuple[Array, Array]:
    """Probabilities, given each pair, of accepting by the surrogate alone and of rejecting by it alone."""
    exact, surrogate = (np.exp(np.minimum(difference, 0.0)) for difference in (pairs.exact, pairs.surrogate))
    return np.maximum(surrogate - exact, 0.0), np.maximum(exact - surrogate, 0.0)


def subchain_acceptance(states: ExactStates) -> Estimate:
    """Mean acceptance probability of the subchain steps; standard error by the jackknife over chains."""
    if not states.subchain.any():
        return Estimate(math.nan)

    def ratio(stack: Array) -> float:
        total = float(stack[..., 1].sum())
        return float(stack[..., 0].sum()) / total if total else math.nan

    counted = states.subchain.astype(float)
    stack = np.stack([states.acceptance_probability * counted, counted], axis=-1)
    return Estimate(ratio(stack), jackknife(stack, ratio))


def _share(mask: NDArray[np.bool_]) -> Estimate:
    share = float(mask.mean())
    return Estimate(share, math.sqrt(share * (1 - share) / len(mask)))


def _quantiles(error: Array) -> dict[str, float]:
    if len(error) == 0:
        return {}
    return {f"{q:g}": float(v) for q, v in zip(_QUANTILES, np.quantile(error, _QUANTILES), strict=True)}
