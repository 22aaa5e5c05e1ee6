"""A posterior that evaluates many points in one call (:mod:`estimhank.target.batching`)."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from estimhank.households.stationary import SteadyStateError
from estimhank.posterior.computation import Computation
from estimhank.posterior.posterior import Posterior
from estimhank.posterior.routes import CHEAPEST, RouteOutcome, next_route, to_evaluation
from estimhank.sequence_space.determinacy import DOUBTFUL, coarse_winding_number
from estimhank.sequence_space.steady_parts import SteadyParts
from estimhank.target.batching import Calls, vectorize
from estimhank.target.protocol import Evaluation, Gradient, GradientLike

Array = NDArray[np.float64]


class VectorizedPosterior(Posterior):
    """A posterior that evaluates many points in one call: :meth:`evaluate_batch`.

    Made by :func:`estimhank.target.batching.vectorize`; everything else is that of the posterior that is given.
    """

    def __init__(self, posterior: Posterior, calls: Calls) -> None:
        super().__init__(
            posterior.model,
            posterior.data,
            posterior.horizon,
            posterior.tail_start,
            posterior.measurement_error,
            posterior.solver,
        )
        self._single, self._calls = posterior, calls

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """That of the posterior, and the device."""
        return {**super().fingerprint, **self._calls.fingerprint}

    def evaluate_batch(self, thetas: Array, gradient: GradientLike = False) -> list[Evaluation]:
        """Evaluate at each row of ``thetas``, shape (n, d), natural units; a partial gradient is no cheaper.

        Returns
        -------
        list of Evaluation
            With the reasons that :meth:`evaluate` gives; values and gradients agree with its own to 1e-8.
        """
        thetas = np.asarray(thetas, float)
        inside = np.array([bool(self.transform.contains(theta)) for theta in thetas])
        found = [Evaluation(-np.inf, -np.inf, "outside_support")] * len(thetas)
        rows = np.flatnonzero(inside)
        if not rows.size:
            return found
        steady, moving = self.solver.steady, self.solver.setting.moving
        if moving:
            moved = [{n: float(theta[self.names.index(n)]) for n in moving} for theta in thetas[rows]]
            starts = jax.tree.map(lambda *points: np.stack(points), *map(steady.guess, moved))
            out, checks, gradients = self._calls.run(self._together(bool(gradient)), thetas[rows], starts)
        else:
            moved, checks = [{}] * len(rows), None
            out, gradients = self._calls.run(self._together(bool(gradient)), thetas[rows], fixed=(self._parts_there,))
        for i, row in enumerate(rows):
            one = (out, gradients) if checks is None else (out, gradients, checks)
            values, derivatives, *check = jax.tree.map(lambda a, i=i: a[i], one)
            outcome, log_prior = RouteOutcome(*(x.item() for x in values[0])), values[1].item()
            if self._is_for_one(outcome) or (check and not check[0].search.converged):
                found[row] = self.evaluate(thetas[row], gradient)
                continue
            try:
                if check:
                    steady.verify(check[0], moved[i])
            except SteadyStateError as error:
                found[row] = Evaluation(
                    -np.inf, float(self.solver.density.log_prior(thetas[row])), "steady_state", kind=error.kind
                )
                continue
            if gradient == Gradient.PARTIAL:
                derivatives = self._without_steady_state(derivatives)
            found[row] = to_evaluation(outcome, log_prior, derivatives if gradient else None)
        return found

    def _is_for_one(self, outcome: RouteOutcome) -> bool:
        """Whether a point has to be evaluated on its own: frequencies, dates, or the first route, that are not good
        enough."""
        further = next_route(CHEAPEST, outcome, CHEAPEST, self._has_fast_form)
        return outcome.winding == DOUBTFUL or further is not None or self.solver.few_dates_fail(outcome)

    @cached_property
    def _parts_there(self) -> SteadyParts:
        found: SteadyParts = self._calls.keep(self.solver.steady.reference_parts)
        return found

    @cached_property
    def _coarse(self) -> Computation:
        """The same computation with winding numbers from the coarse frequencies alone."""
        return Computation(self.solver.setting, self.solver.structure, self.solver.density, coarse_winding_number)

    def _together(self, gradient: bool) -> Any:
        return self._with_gradients if gradient else self._values

    @cached_property
    def _values(self) -> Any:
        return jax.jit(self._vectorized(gradient=False))

    @cached_property
    def _with_gradients(self) -> Any:
        return jax.jit(self._vectorized(gradient=True))

    def _vectorized(self, gradient: bool) -> Any:
        """Function of points (n, d) and of search starts (n, ...) or fixed steady parts, returning values, checks and
        gradients."""
        coarse, steady = self._coarse, self.solver.steady
        places = {name: self.names.index(name) for name in self.solver.setting.moving}

        def density(theta: jax.Array, given: Any) -> tuple[jax.Array, Any]:
            if places:
                parts, checks = steady.compute({name: theta[i] for name, i in places.items()}, given)
            else:
                parts, checks = given, None
            outcome, log_prior = coarse.log_likelihood(theta, parts), self.solver.density.log_prior(theta)
            return outcome.log_likelihood + log_prior, ((outcome, log_prior), checks)

        def one(theta: jax.Array, given: Any) -> Any:
            if gradient:
                (_, (values, checks)), derivatives = jax.value_and_grad(density, has_aux=True)(theta, given)
            else:
                (_, (values, checks)), derivatives = density(theta, given), jnp.zeros(0)
            return (values, checks, derivatives) if places else (values, derivatives)

        return jax.vmap(one, (0, 0 if places else None))

    def __reduce__(self) -> Any:
        return vectorize, (self._single, self._calls.size)  # the device is that of the process
