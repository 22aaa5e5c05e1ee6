"""The surrogate's certificate, figure by figure, against its limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CertificateFigure:
    """One figure of the certificate.

    Attributes
    ----------
    key : str
        Key in ``certificate.json``.
    label : str
        Short name for a sentence or an axis.
    words : str
        What it is.
    value, mcse : float
        The figure and its Monte Carlo standard error (``nan`` where it has none).
    limit : float
        What it must stay below, or above where ``at_least`` is true; ``nan`` if the figure is only reported.
    at_least : bool
        Whether the limit is a lower one.
    percent : bool
        Whether the figure is a rate, shown in per cent.
    """

    key: str
    label: str
    words: str
    value: float
    mcse: float
    limit: float
    at_least: bool = False
    percent: bool = False

    @property
    def has_limit(self) -> bool:
        """Whether the figure decides on the certificate."""
        return not math.isnan(self.limit)

    @property
    def passed(self) -> bool:
        """Whether the figure meets its limit (a missing one does not); always true without a limit."""
        if not self.has_limit:
            return True
        return self.value > self.limit if self.at_least else self.value < self.limit

    @property
    def severity(self) -> float:
        """Share of the allowance that is used: 1 at the limit, above it where the figure fails.

        For a lower limit it is the shortfall from one against the shortfall allowed.
        """
        if not self.has_limit:
            return math.nan
        return (1 - self.value) / (1 - self.limit) if self.at_least else self.value / self.limit


#: In the order a reader wants them: key, short name, what it is, whether the limit is a lower one, whether a rate.
#: rate.
_FIGURES: tuple[tuple[str, str, str, bool, bool], ...] = (
    ("s_e", "s_e", "error of the log posterior, s.d. over the surrogate's posterior", False, False),
    ("s_e_exact_states", "s_e on exact draws", "the same over the exact posterior's draws", False, False),
    ("wrong_accept", "wrong accepts", "random-walk proposals that only the surrogate accepts", False, True),
    ("wrong_reject", "wrong rejects", "random-walk proposals that only the surrogate rejects", False, True),
    ("pareto_k", "Pareto k̂", "tail index of the importance weights", False, False),
    ("second_stage_acceptance", "second-stage acceptance", "subchain ends that the exact step accepts", True, True),
    ("outside_fence", "outside the trust region", "exact draws where the surrogate has seen no data", False, True),
    ("infeasible_share", "infeasible draws", "surrogate's draws without an exact density", False, True),
)


def certificate_figures(certificate: Mapping[str, Any]) -> tuple[CertificateFigure, ...]:
    """The figures of a certificate as kept in ``certificate.json``, the limits from its table ``limits``.

    A figure that has a limit but no value is listed without one; a figure that has neither is left out.
    """
    limits = certificate.get("limits", {})
    return tuple(
        CertificateFigure(
            key,
            label,
            words,
            _number(certificate, key),
            _number(certificate, f"{key}_mcse"),
            _number(limits, key),
            at_least,
            rate,
        )
        for key, label, words, at_least, rate in _FIGURES
        if key in certificate or key in limits
    )


def other_reasons(certificate: Mapping[str, Any]) -> tuple[str, ...]:
    """Reasons for which a certificate failed that are not a figure out of its limit."""
    failed = sum(not figure.passed for figure in certificate_figures(certificate))
    return tuple(str(reason) for reason in certificate.get("reasons", ())[failed:])


def _number(mapping: Mapping[str, Any], key: str) -> float:
    value = mapping.get(key)
    return math.nan if value is None else float(value)  # JSON has no nan: the file holds the word, float() reads it
