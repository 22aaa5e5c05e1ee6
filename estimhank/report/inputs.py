"""What the report is made of: one frozen dataclass, whose parts are plain arrays, numbers and mappings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimhank.analysis.arrays import PosteriorArrays
from estimhank.analysis.certificate_table import CertificateFigure, certificate_figures, other_reasons
from estimhank.analysis.facts import FitFacts, HorizonCheck
from estimhank.analysis.modes import determinate_share
from estimhank.analysis.parameters import ParameterInfo
from estimhank.analysis.posterior_table import PosteriorRow, SurrogateGap, compare_surrogate, posterior_table
from estimhank.analysis.summary import DrawSummary, summarise_draws
from estimhank.analysis.verdict import Criteria, Evidence, Verdict, judge_run
from estimhank.evaluation.evaluations import FailureExample
from estimhank.households.micro_moments import MicroMoments
from estimhank.mode.mode_result import ModeResult
from estimhank.report.economics_files import EconomicsPart

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ReportInputs:
    """A finished run, as the report sees it; whatever is ``None`` or empty is left out of the report.

    Attributes
    ----------
    title : str
        Headline of the page, e.g. ``"One-asset HANK model, US data 1966Q1–2019Q4"``.
    parameters : tuple of ParameterInfo, length d
        Names, units and priors, in the order of every parameter vector.
    arrays : PosteriorArrays
        Draws, data, the certificate's evaluations: what ``posterior.nc`` holds.
    mode : ModeResult, optional
        The mode search.
    surrogate_slices : ndarray (d, k), optional
        The surrogate's log posterior of the natural parameters at ``mode.slice_theta``, up to one constant.
    certificate : mapping, optional
        ``certificate.json``: figures, their standard errors under ``<key>_mcse``, counts, ``passed``.
    evaluations : mapping of stage to mapping of reason to int
        Evaluations by stage and by reason (``"ok"`` included).
    failure_examples : mapping of reason to tuple of FailureExample
        Evaluations without a density, a few of each reason.
    account : tuple of str
        Sentences on how the run went.
    seconds : mapping of stage to float
        Wall time by stage.
    training : tuple of FitFacts
        Fits of the surrogate, the first one first.
    horizon : HorizonCheck, optional
        Log likelihood at the run's horizon against a longer one.
    criteria : Criteria
        What the run had to reach.
    facts : mapping of str to str
        Short facts for the head of the page (model, sample, profile, date of the run), shown in this order.
    configuration : mapping
        The configuration, nested.
    environment : mapping of str to str
        Versions, seeds, data vintage, digests.
    measurement_error : mapping of str to str
        Each observable's measurement error in words, where it has any: a standard deviation, or that it is estimated.
    households : MicroMoments, optional
        What the steady state says about households.
    economics : EconomicsPart, optional
        Responses, decompositions and forecasts.
    linearity : EconomicsPart, optional
        How far off the linear solution is.
    """

    title: str
    parameters: tuple[ParameterInfo, ...]
    arrays: PosteriorArrays
    mode: ModeResult | None = None
    surrogate_slices: Array | None = None
    certificate: Mapping[str, Any] | None = None
    evaluations: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    failure_examples: Mapping[str, tuple[FailureExample, ...]] = field(default_factory=dict)
    account: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    training: tuple[FitFacts, ...] = ()
    horizon: HorizonCheck | None = None
    criteria: Criteria = field(default_factory=Criteria)
    facts: Mapping[str, str] = field(default_factory=dict)
    configuration: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    measurement_error: Mapping[str, str] = field(default_factory=dict)
    households: MicroMoments | None = None
    economics: EconomicsPart | None = None
    linearity: EconomicsPart | None = None

    def __post_init__(self) -> None:
        names = tuple(p.name for p in self.parameters)
        if names != self.arrays.names:
            raise ValueError(f"parameters {', '.join(names)} but draws of {', '.join(self.arrays.names)}")
        if self.mode is not None:
            if self.mode.names != names:
                raise ValueError(f"a mode of {', '.join(self.mode.names)} but draws of {', '.join(names)}")
            if self.surrogate_slices is not None and self.surrogate_slices.shape != self.mode.slice_theta.shape:
                raise ValueError("the surrogate's slices are not those of the mode search")

    @cached_property
    def exact(self) -> DrawSummary:
        """Summary of the exact posterior."""
        return summarise_draws(self.arrays.exact.theta)

    @cached_property
    def surrogate(self) -> DrawSummary | None:
        """Summary of the surrogate's posterior."""
        return None if self.arrays.surrogate is None else summarise_draws(self.arrays.surrogate)

    @cached_property
    def gap(self) -> SurrogateGap | None:
        """Surrogate's posterior against the exact one."""
        return None if self.surrogate is None else compare_surrogate(self.exact, self.surrogate)

    @cached_property
    def rows(self) -> tuple[PosteriorRow, ...]:
        """The prior/posterior table."""
        mode = None if self.mode is None else self.mode.theta
        return posterior_table(self.parameters, self.exact, self.surrogate, mode)

    @cached_property
    def certificate_figures(self) -> tuple[CertificateFigure, ...]:
        """The certificate, figure by figure; empty without one."""
        return () if self.certificate is None else certificate_figures(self.certificate)

    @cached_property
    def failures(self) -> dict[str, int]:
        """Evaluations by reason over all stages, ``"ok"`` included."""
        total: dict[str, int] = {}
        for counts in self.evaluations.values():
            for reason, number in counts.items():
                total[reason] = total.get(reason, 0) + int(number)
        return total

    @cached_property
    def verdict(self) -> Verdict:
        """Whether to trust the run."""
        chains, draws, _ = self.arrays.exact.theta.shape
        evidence = Evidence(
            names=self.arrays.names,
            exact=self.exact,
            draws=chains * draws,
            certificate=self.certificate_figures,
            certificate_passed=None if self.certificate is None else bool(self.certificate.get("passed", False)),
            certificate_reasons=() if self.certificate is None else other_reasons(self.certificate),
            left_out="" if self.certificate is None else str(self.certificate.get("left_out", "")),
            gap=self.gap,
            mode=self.mode,
            best_draw=float(np.max(self.arrays.exact.log_density)),
            horizon=self.horizon,
            determinacy=None if self.mode is None else determinate_share(self.mode),
            failures=self.failures,
            criteria=self.criteria,
        )
        return judge_run(evidence)
