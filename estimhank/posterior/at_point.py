"""One point of the parameter space: steady state, solution and what the likelihood reads of it, each computed once.

Routes (:mod:`estimhank.posterior.routes`) share them, and so does the gradient: a pull back through the same steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimhank.posterior.computation import Seen
from estimhank.posterior.density import Aside
from estimhank.posterior.routes import CHEAPEST, Route, RouteOutcome
from estimhank.posterior.solver import Solver

Array = NDArray[np.float64]


class AtPoint:
    """What a solver computes at one point, step by step.

    Parameters
    ----------
    solver : Solver
    point : array of shape (d,)
        Natural units, inside the support.
    gradient : bool
        Whether :meth:`gradient` will be asked for.
    through_steady_state : bool
        Whether that is a whole one, where parameters move the steady state.

    Raises
    ------
    SteadyStateError
    """

    def __init__(self, solver: Solver, point: Array, gradient: bool, through_steady_state: bool) -> None:
        self.solver, self.point, self.wanted, self._through = solver, point, gradient, through_steady_state
        self.far = gradient and through_steady_state and bool(solver.setting.moving)
        if self.far:
            parts, self._pull_steady = solver.steady_here.at_with_pullback(solver.setting.mapping(point))
        else:
            parts = solver.parts_at(point)
        self.parts, self.solved = solver.solved_at(point, parts, self.far)
        self._seen: tuple[Seen, Aside] | None = None
        self._gradients: dict[Route, Callable[[], tuple[Any, Any]]] = {}

    def at_more_dates(self) -> AtPoint:
        """The same where few dates did not do."""
        return AtPoint(self.solver.at_more_dates, self.point, self.wanted, self._through)

    def at_every_date(self) -> AtPoint:
        """The same with dense equations solved at all dates."""
        return AtPoint(self.solver.at_every_date, self.point, self.wanted, self._through)

    def outcome(self, route: Route) -> tuple[RouteOutcome, float]:
        """Outcome and log prior by a route."""
        at_once = route == CHEAPEST and self._seen is None
        outcome, log_prior = self._at_once() if at_once else self._in_steps(route)
        return RouteOutcome(*(x.item() for x in outcome)), log_prior.item()

    def _at_once(self) -> tuple[RouteOutcome, Any]:
        """In one call: most evaluations are this one and no other."""
        solver, given = self.solver, (self.point, self.parts, self.solved)
        if self.wanted:
            outcome, log_prior, *seen, gradient = solver.at_once_with_gradient(*given, self.far)
            self._gradients[CHEAPEST] = lambda: gradient
        else:
            outcome, log_prior, *seen = solver.at_once(*given)
        self._seen = seen[0], seen[1]
        return outcome, log_prior

    def _in_steps(self, route: Route) -> tuple[RouteOutcome, Any]:
        """In steps that are compiled once for several routes and horizons; the gradient only if it is wanted then."""
        solver, point, density = self.solver, self.point, self.solver.density
        if self._seen is None:
            self._seen = solver.look(point, self.parts, self.solved)
        seen, aside = self._seen
        found = solver.covariances(seen, route)
        gaussian = density.gauss(point, found.moments, route.dense_covariance)
        again = None if found.again is None else density.gauss(point, found.again, route.dense_covariance)[0]

        def gradient() -> tuple[Any, Any]:
            _, derivatives = density.gauss_with_derivatives(point, found.moments, route.dense_covariance)
            pulled: tuple[Any, Any] = solver.pull(point, self.parts, self.solved, aside, derivatives, route, self.far)
            return pulled

        self._gradients[route] = gradient
        return density.conclude(found, aside, gaussian, again), density.log_prior(point)

    @property
    def responses(self) -> Any:
        """Responses of all unknowns, (T, n_v, n_z), once an outcome has been computed; None of a state space."""
        assert self._seen is not None
        return self._seen[1].responses

    def gradient(self, route: Route) -> Array:
        """Gradient of the log density by a route whose outcome has been computed, shape (d,)."""
        by_theta, by_parts = self._gradients[route]()
        gradient = np.array(by_theta)
        if self.far:
            for name, value in self._pull_steady(by_parts).items():
                gradient[self.solver.setting.names.index(name)] += value
        return gradient
