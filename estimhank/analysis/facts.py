"""Facts: what the stages of a run leave in ``manifest.json`` for the verdict, the report and whoever reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import ClassVar

from estimhank.evaluation.recorder import Rates
from estimhank.support.files import to_plain
from estimhank.support.plain import from_plain


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Facts of one stage.

    Attributes
    ----------
    stage : str
        Name of the stage.
    rates : Rates, optional
        Of the evaluations that the call which finished the stage asked for.
    """

    stage: ClassVar[str]
    rates: Rates | None = None

    def to_json(self) -> dict[str, object]:
        """Content of the manifest; what is not known is left out."""
        known = {field.name: to_plain(getattr(self, field.name)) for field in fields(self)}
        return {name: value for name, value in known.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class DataFacts(Facts):
    """Quarters of the sample, and missing entries by observable, where there are any."""

    stage: ClassVar[str] = "data"
    quarters: int
    missing: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class ModeFacts(Facts):
    """Of :class:`estimhank.mode.mode_result.ModeResult`, and what :mod:`estimhank.analysis.mode_words` says of it."""

    stage: ClassVar[str] = "mode"
    log_density: float
    starts: int
    agreeing: int
    local_modes: int
    positive_definite: bool
    kind: str
    words: tuple[str, ...]
    condition: float
    infeasible_prior: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class EmulatorCheck:
    """The emulated log density against the exact one at fresh draws.

    Attributes
    ----------
    draws : int
    inside : float
        Share of them in the region that the emulator was trained on; at the others households are solved.
    sd, largest : float
        Standard deviation of the difference over all draws, and its largest distance from the mean, in log points.
    pareto_k : float
        Tail index of the exact density's weights on draws of the emulated one.
    passed : bool
    words : str
    """

    draws: int
    inside: float
    sd: float
    largest: float
    pareto_k: float
    passed: bool
    words: str


@dataclass(frozen=True, kw_only=True)
class EmulatorFacts:
    """How an emulator was trained, and what it is worth.

    Attributes
    ----------
    points, used : int
        Of the design, and those of them between the same cliffs.
    failed : mapping of str to int
        Points without a steady state, by kind.
    degree, rank : int
        Of the polynomials, and of the household Jacobians.
    error : float
        Root mean square error of the Jacobians at points left out, as a share of their norm.
    seconds : float
        Wall time of the design and the fit.
    check : EmulatorCheck, optional
        At draws of the sampling stage; none where nothing could be trained.
    words : str
        What became of it.
    """

    points: int
    used: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    degree: int = 0
    rank: int = 0
    error: float = float("nan")
    seconds: float = 0.0
    check: EmulatorCheck | None = None
    words: str = ""


@dataclass(frozen=True, kw_only=True)
class SampleFacts(Facts):
    """Convergence and acceptance of the sampling stage; an algorithm has those that it knows.

    Attributes
    ----------
    algorithm : str
    r_hat, ess_bulk : float
        Worst of the parameters; nan for fewer than four draws a chain.
    infeasible, move_rate, acceptance : tuple of float
        By chain: share of the proposals without a density, of the iterations that moved, of the proposals accepted.
    local_acceptance, global_acceptance : float
        Of an ensemble's local moves, and of those to its mixture.
    log_evidence : float
    divergent : tuple of float
        By chain: share of the trajectories that diverged.
    emulator : EmulatorFacts, optional
        Of households, where one was asked for.
    """

    stage: ClassVar[str] = "sample"
    algorithm: str
    r_hat: float
    ess_bulk: float
    infeasible: tuple[float, ...]
    move_rate: tuple[float, ...] | None = None
    acceptance: tuple[float, ...] | None = None
    local_acceptance: float | None = None
    global_acceptance: float | None = None
    log_evidence: float | None = None
    divergent: tuple[float, ...] | None = None
    emulator: EmulatorFacts | None = None


@dataclass(frozen=True, kw_only=True)
class FitFacts:
    """One fit of the surrogate and the fresh draws after it; the figures of
    :class:`estimhank.surrogate.fitting.FitReport` and :class:`estimhank.surrogate.surrogate_stage.RoundReport`.

    ``loss`` is the mean over the networks, at the epochs in ``epoch``.
    """

    points: int
    with_gradient: int
    dropped_low: int
    quadratic_rmse: float
    value_rmse: float
    gradient_rmse: float
    fresh_evaluations: int
    fresh_s_e: float
    sought_error: float
    beyond_edge: float
    fit_seconds: float
    epoch: tuple[float, ...]
    loss: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class SurrogateFacts(Facts):
    """Evaluations learned from, wall time of all fits, evaluations that could not be learned from, and every fit."""

    stage: ClassVar[str] = "surrogate"
    training_evaluations: int
    training_seconds: float
    dropped: Mapping[str, int]
    rounds: tuple[FitFacts, ...]


@dataclass(frozen=True)
class HorizonCheck:
    """Log likelihood at the run's horizon against a longer one, over posterior draws."""

    horizon: int
    longer_horizon: int
    draws: int
    sd: float
    largest: float


@dataclass(frozen=True, kw_only=True)
class PosteriorFacts(Facts):
    """How the exact chains, the surrogate's draws and the certificate turned out.

    Attributes
    ----------
    converged, convergence : bool, str
        Whether the exact chains have converged, and the figures in words.
    r_hat, ess_bulk, ess_tail : float
        Worst of the parameters.
    exact_evaluations, rounds, burn_in, subchain, plain_share
        Of the exact stage: evaluations, rounds, rounds discarded, steps of a subchain, share of random-walk steps.
    acceptance : mapping of str to tuple of float
        Share accepted by chain of ``"subchain"`` and of ``"plain"`` steps, which are those of the random walk; nan
        where a chain made none.
    surrogate_trusted, surrogate_draws_per_second, surrogate_autocorrelation_time : bool, float, float
    certificate_passed, certificate, searched : bool, str, str
        The certificate's verdict, that in words, and what the mode search had looked at.
    horizon : HorizonCheck
    surrogate_draws_seconds, exact_seconds : float
        Wall time of drawing from the surrogate and of the exact steps, as far as it was seen.
    emulator : EmulatorCheck, optional
        At exact posterior draws, where households were emulated while the surrogate was trained.
    """

    stage: ClassVar[str] = "posterior"
    converged: bool
    convergence: str
    r_hat: float
    ess_bulk: float
    ess_tail: float
    exact_evaluations: int
    rounds: int
    burn_in: int
    subchain: int
    plain_share: float
    acceptance: Mapping[str, tuple[float, ...]]
    surrogate_trusted: bool
    surrogate_draws_per_second: float
    surrogate_autocorrelation_time: float
    certificate_passed: bool
    certificate: str
    searched: str
    horizon: HorizonCheck
    surrogate_draws_seconds: float | None = None
    exact_seconds: float | None = None
    emulator: EmulatorCheck | None = None


@dataclass(frozen=True, kw_only=True)
class EconomicsFacts(Facts):
    """Results for economists.

    Attributes
    ----------
    draws : int
        Of the posterior, from which they were computed.
    identities : mapping of str to float
        By result, by how much its identities fail at worst: rounding.
    words : mapping of str to str
        By result, what it says.
    notes : tuple of str
        What was left out, and why.
    """

    stage: ClassVar[str] = "economics"
    draws: int
    identities: Mapping[str, float]
    words: Mapping[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ReportFacts(Facts):
    """The verdict's headline."""

    stage: ClassVar[str] = "report"
    verdict: str


_KINDS: tuple[type[Facts], ...] = (
    DataFacts,
    ModeFacts,
    SampleFacts,
    SurrogateFacts,
    PosteriorFacts,
    EconomicsFacts,
    ReportFacts,
)


def read_facts(stage: str, content: object) -> Facts:
    """Facts of a stage from what :meth:`Facts.to_json` gave; a ``ValueError`` says what is not as it should be."""
    kinds = {kind.stage: kind for kind in _KINDS}
    if stage not in kinds:
        raise ValueError(f"there is no stage {stage}")
    return from_plain(kinds[stage], content, f"{stage} stage")


def find_facts[F: Facts](facts: Iterable[Facts | None], kind: type[F]) -> F | None:
    """Those of a kind among facts, if they are there."""
    return next((found for found in facts if isinstance(found, kind)), None)
