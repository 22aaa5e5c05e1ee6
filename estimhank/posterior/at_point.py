"""One point of the parameter space: steady state, solution and what the likelihood reads of it, each computed once.

Routes (:mod:`estimhank.posterior.routes`) share them, and so does the gradient: a pull back through the same steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from estimhank.posterior.routes import CHEAPEST, Route, RouteOutcome
from estimhank.sequence_space.steady_parts import SteadyParts
from estimhank.target.protocol import Gradient, GradientLike

if TYPE_CHECKING:
    from estimhank.posterior.compiled import CompiledComputation
    from estimhank.posterior.computation import Aside, Seen, Solved

Array = NDArray[np.float64]


class AtPoint:
    """What a posterior computes at one point, step by step.

    Parameters
    ----------
    owner : CompiledComputation
    point : array of shape (d,)
        Natural units, inside the support.
    gradient : Gradient or bool
        What will be asked of :meth:`gradient`.

    Raises
    ------
    SteadyStateError
    """

    def __init__(self, owner: CompiledComputation, point: Array, gradient: GradientLike) -> None:
        self.owner, self.point, self.wanted = owner, point, bool(gradient)
        self.partial = gradient == Gradient.PARTIAL and bool(owner.steady_state_parameters)
        self.far = self.wanted and bool(owner._moving) and not self.partial  # through the steady state
        if self.far:
            parts, self._pull_steady = owner._steady.at_with_pullback(owner.mapping(point))
            self.parts = owner.with_toeplitz_form_if_it_works(parts)
        else:
            self.parts = owner._parts_at(point)
        self._solved: dict[bool, tuple[SteadyParts, Solved]] = {}
        self._seen: dict[bool, tuple[Seen, Aside]] = {}
        self._gradients: dict[Route, Callable[[], tuple[Any, Any]]] = {}

    def solved(self, dense_form: bool) -> tuple[SteadyParts, Solved]:
        """Parts, and the solution; ``dense_form``: with the household Jacobians in dense form."""
        if dense_form not in self._solved:
            parts = self.parts.in_dense_form() if dense_form else self.parts
            self._solved[dense_form] = parts, self.owner._solved_at(self.point, parts, self.far)
        return self._solved[dense_form]

    def outcome(self, route: Route) -> tuple[RouteOutcome, float]:
        """Outcome and log prior by a route."""
        parts, solved = self.solved(route.dense_form)
        onward = route._replace(dense_form=False)  # that is settled by the parts: nothing else is compiled for it
        if onward == CHEAPEST and route.dense_form not in self._seen:
            outcome, log_prior = self._at_once(route, parts, solved)
        else:
            outcome, log_prior = self._in_steps(route, onward, parts, solved)
        return RouteOutcome(*(x.item() for x in outcome)), log_prior.item()

    def _at_once(self, route: Route, parts: SteadyParts, solved: Solved) -> tuple[RouteOutcome, Any]:
        """In one call: most evaluations are this one and no other."""
        owner, point = self.owner, self.point
        if self.wanted:
            outcome, log_prior, *seen, gradient = owner._at_once_with_gradient(point, parts, solved, self.far)
            self._gradients[route] = lambda: gradient
        else:
            outcome, log_prior, *seen = owner._at_once(point, parts, solved)
        self._seen[route.dense_form] = seen[0], seen[1]
        return outcome, log_prior

    def _in_steps(self, route: Route, onward: Route, parts: SteadyParts, solved: Solved) -> tuple[RouteOutcome, Any]:
        """In steps that are compiled once for several routes and horizons; the gradient only if it is wanted then."""
        owner, point = self.owner, self.point
        if route.dense_form not in self._seen:
            self._seen[route.dense_form] = owner._look(point, parts, solved)
        seen, aside = self._seen[route.dense_form]
        found = owner._covariances(seen, onward)
        gaussian = owner._gauss(point, found.gamma, onward.dense_covariance)
        again = None if found.again is None else owner._gauss(point, found.again, onward.dense_covariance)[0]

        def gradient() -> tuple[Any, Any]:
            _, derivatives = owner._gauss_with_derivatives(point, found.gamma, onward.dense_covariance)
            pulled: tuple[Any, Any] = owner._pull(point, parts, solved, aside, derivatives, onward, self.far)
            return pulled

        self._gradients[route] = gradient
        return owner._conclude(found, aside, gaussian, again), owner._log_prior(point)

    def gradient(self, route: Route) -> Array:
        """Gradient of the log density by a route whose outcome has been computed, shape (d,); a partial one has nan in
        the other places."""
        by_theta, by_parts = self._gradients[route]()
        gradient = np.array(by_theta)
        if self.far:
            for name, value in self._pull_steady(by_parts).items():
                gradient[self.owner._names.index(name)] += value
        return self.owner._without_steady_state(gradient) if self.partial else gradient
