"""Routes to a log likelihood: the cheapest first, each with what says whether it was good enough."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from estimhank.sequence_space.determinacy import DOUBTFUL
from estimhank.target.protocol import Evaluation

#: Log points of error up to which a value is given; and up to which the cheapest way to it is the last.
TOLERANCE, PASSES = 1e-4, 1e-4

#: Log points of error by rounding, of a log likelihood of up to a thousand, beyond which a covariance is singular for
#: all that a computer can tell.
PRECISION = 2e-7


class Route(NamedTuple):
    """One way to compute a value. The first route is the cheapest, and each says whether it was enough.

    ``fitted``: responses beyond t* by a fitted tail, at all slow roots (:mod:`estimhank.likelihood.continuation`), not
    at the shocks' alone; ``dense_covariance``: dense factorisation of the covariance, for a sample with missing values.
    """

    fitted: bool = False
    dense_covariance: bool = False


#: The first route.
CHEAPEST = Route()


class RouteOutcome(NamedTuple):
    """A log likelihood, and what there is to say of it.

    ``regular``: the autocovariances are finite; ``stationary``: nothing observed loads on a unit root; ``tail_error``:
    estimated error, in log points, of what follows the truncated solution; ``rounding``: of the arithmetic.
    """

    log_likelihood: Any
    winding: Any
    regular: Any
    stationary: Any
    tail_error: Any
    rounding: Any


def is_imprecise(outcome: RouteOutcome) -> bool:
    """Whether rounding may have moved a log likelihood by more than there is to be said of it."""
    return bool(outcome.rounding > PRECISION * max(1.0, abs(outcome.log_likelihood) / 1e3))


def next_route(route: Route, outcome: RouteOutcome, first: Route, sparse: bool) -> Route | None:
    """The route to take after one whose outcome will not do; None where it will, or nothing would help.

    Parameters
    ----------
    route, outcome
    first : Route
        The one that was taken first, of a horizon.
    sparse : bool
        Whether the data lack values, for which there is another route than the dense factorisation.
    """
    if outcome.winding != 0 or not outcome.stationary:
        return None
    if not np.isfinite(outcome.log_likelihood) or is_imprecise(outcome):
        other = sparse and not route.dense_covariance and outcome.regular
        return route._replace(dense_covariance=True) if other else None
    second = route.fitted != first.fitted
    return None if second or outcome.tail_error <= PASSES else route._replace(fitted=not route.fitted)


def needs_longer(outcome: RouteOutcome) -> bool:
    """Whether the horizon was too short for an outcome, by every route."""
    return bool(outcome.winding == 0 and not outcome.tail_error <= TOLERANCE)


def reason_of(outcome: RouteOutcome) -> str:
    """The reason why there is no density, ``"ok"`` where there is one."""
    if outcome.winding == DOUBTFUL:
        return "non_finite"
    if outcome.winding != 0:
        return "indeterminate" if outcome.winding < 0 else "no_stable_solution"
    if not outcome.stationary:
        return "not_stationary"
    if outcome.tail_error > TOLERANCE:
        return "horizon"
    if not np.isfinite(outcome.log_likelihood):
        return "not_positive_definite" if outcome.regular else "non_finite"
    return "not_positive_definite" if is_imprecise(outcome) else "ok"  # singular to the digits that there are


def to_evaluation(outcome: RouteOutcome, log_prior: float, gradient: Any) -> Evaluation:
    """What an outcome amounts to."""
    reason = reason_of(outcome)
    if reason != "ok":
        return Evaluation(-np.inf, log_prior, reason)
    return Evaluation(outcome.log_likelihood, log_prior, "ok", None if gradient is None else np.asarray(gradient))
