"""Facts of stages that did not run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from estimhank.analysis.facts import FitFacts, HorizonCheck, ModeFacts, PosteriorFacts, SurrogateFacts


def mode_facts(**changes: Any) -> ModeFacts:
    """A mode that eight starts found, but for what is given."""
    usual: dict[str, Any] = {
        "log_density": -250.4, "starts": 8, "agreeing": 8, "local_modes": 1, "positive_definite": True,
        "kind": "interior", "words": (), "condition": 3000.0, "infeasible_prior": {},
    }  # fmt: skip
    return ModeFacts(**(usual | changes))


def fit_facts(points: int, epoch: Iterable[float] = (), loss: Iterable[float] = (), s_e: float = 0.1) -> FitFacts:
    """A fit of the surrogate to so many points."""
    return FitFacts(
        points=points, with_gradient=points, dropped_low=0, quadratic_rmse=1.0, value_rmse=s_e, gradient_rmse=0.1,
        fresh_evaluations=600, fresh_s_e=0.04, sought_error=float("nan"), beyond_edge=0.0, fit_seconds=4.3,
        epoch=tuple(epoch), loss=tuple(loss),
    )  # fmt: skip


def surrogate_facts(*rounds: FitFacts, seconds: float = 10.0) -> SurrogateFacts:
    """A surrogate of these fits."""
    return SurrogateFacts(training_evaluations=5005, training_seconds=seconds, dropped={}, rounds=rounds)


def posterior_facts(**changes: Any) -> PosteriorFacts:
    """Chains that converged and a certificate that was passed, but for what is given."""
    usual: dict[str, Any] = {
        "converged": True, "convergence": "largest R-hat 1.0050", "r_hat": 1.005, "ess_bulk": 2336.0,
        "ess_tail": 2144.0, "exact_evaluations": 3384, "rounds": 140, "burn_in": 32, "subchain": 329,
        "plain_share": 0.03, "acceptance": {"subchain": (0.9, 0.8, float("nan")), "plain": (0.3,)},
        "surrogate_trusted": True, "surrogate_draws_per_second": 123456.0, "surrogate_autocorrelation_time": 82.0,
        "certificate_passed": True, "certificate": "the surrogate is certified", "searched": "",
        "horizon": HorizonCheck(300, 1200, 100, 1e-7, 1e-6),
    }  # fmt: skip
    return PosteriorFacts(**(usual | changes))
