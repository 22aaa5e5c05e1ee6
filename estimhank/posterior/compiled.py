"""The steps of a log density, each compiled apart, so that routes, horizons and gradients share what they can.

A value is a function of the parameters alone: what is kept from earlier evaluations is exactly what would be computed
again.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from estimhank.posterior.computation import Aside, Computation, Seen, Solved
from estimhank.posterior.routes import CHEAPEST, Route
from estimhank.sequence_space.steady_parts import Moved, SteadyParts

Array = NDArray[np.float64]

_KEPT = 4  # factorised equilibria, for proposals that move the shocks' own parameters only


class CompiledComputation(Computation):
    """The steps of :class:`Computation`, each compiled once and shared by routes, horizons and gradients."""

    _kept: OrderedDict[bytes, Solved]

    def _parts_at(self, point: Array) -> SteadyParts:
        return self.with_toeplitz_form_if_it_works(self._steady.at(self.mapping(point)))

    def with_toeplitz_form_if_it_works(self, parts: SteadyParts) -> SteadyParts:
        """Parts without the household Jacobians' Toeplitz form where that is not worth trying."""
        return parts if parts.household.toeplitz is None or self._toeplitz_form_works else parts.in_dense_form()

    @cached_property
    def _toeplitz_form_works(self) -> bool:
        """Whether the household Jacobians' Toeplitz form is worth trying: it passes its checks at the reference values.

        It does not where the equations have a unit root, say; elsewhere a failure is rare, and noticed.
        """
        parts = self._steady.reference_parts
        if parts.household.toeplitz is None:
            return False
        point = np.array([self.model.parameters[name].value for name in self._names], float)
        dense = self._solve(point, parts).factors.dense
        return bool(jax.tree.all(jax.tree.map(lambda factor: bool(np.isfinite(factor).all()), dense)))

    def outline(self) -> None:
        """Find out how equations are eliminated, for :meth:`compile_outlined`."""
        self._prepare()

    def compile_outlined(self, further: bool) -> None:
        """Compile evaluations from shapes alone, all but the solution, which :meth:`prepare` compiles meanwhile.

        Parameters
        ----------
        further : bool
            What points need whose first route is not good enough, in place of what all of them need.
        """
        theta = jax.ShapeDtypeStruct((len(self._names),), float)
        parts, far = self._steady.outline, bool(self._moving)
        solved = jax.eval_shape(self._solution, theta, parts)
        if not further:
            self._at_once_with_gradient.lower(theta, parts, solved, far).compile()
            if far:
                self._steady.compile_pullback()
            if self.steady_state_parameters:
                self._at_once_with_gradient.lower(theta, parts, solved, False).compile()
            self._at_once.lower(theta, parts, solved).compile()
        elif not self._recursive:
            route = Route(fitted=True)
            seen, aside = self._look.eval_shape(theta, parts, solved)
            found = self._covariances.eval_shape(seen, route)
            self._covariances.lower(seen, route).compile()
            self._gauss.lower(theta, found.gamma, False).compile()
            self._gauss_with_derivatives.lower(theta, found.gamma, False).compile()
            _, derivatives = self._gauss_with_derivatives.eval_shape(theta, found.gamma, False)
            self._pull.lower(theta, parts, solved, aside, derivatives, route, far).compile()
            self._compile_longer()

    def _compile_longer(self) -> None:
        """Compile what is evaluated at a longer horizon."""

    def prepare(self) -> None:
        """Find out, once, what every evaluation needs: the steady state, how equations are eliminated, which form of
        the household Jacobians works. A pickled copy has all of it."""
        _ = self._toeplitz_form_works, self._structure
        if self._moving:
            _ = self._steady.differentiable, self._steady.guess(self._steady.centre)

    @cached_property
    def _solve(self) -> Any:
        """Linear system, its factors, and the winding number."""
        self._prepare()
        return jax.jit(self._solution)

    @cached_property
    def _at_once(self) -> Any:
        """Outcome and log prior by the cheapest route, and what was seen on the way: all that follows a solution."""
        self._prepare()

        def at_once(theta: jax.Array, parts: SteadyParts, solved: Solved) -> Any:
            seen, aside = self._look(theta, parts, solved)
            found = self._covariances(seen, CHEAPEST)
            outcome = self._outcome_of(found, aside, self._gauss(theta, found.gamma, False), None)
            return outcome, self._log_prior(theta), seen, aside

        return jax.jit(at_once)

    @cached_property
    def _at_once_with_gradient(self) -> Any:
        """The same with the gradient; ``far``: and with derivatives with respect to what moved in the steady state."""
        self._prepare()

        def at_once(theta: jax.Array, parts: SteadyParts, solved: Solved, far: bool) -> Any:
            seen, aside = self._look(theta, parts, solved)
            found = self._covariances(seen, CHEAPEST)
            gaussian, derivatives = self._gauss_with_derivatives(theta, found.gamma, False)
            outcome = self._outcome_of(found, aside, gaussian, None)
            gradient = self._pull(theta, parts, solved, aside, derivatives, CHEAPEST, far)
            return outcome, self._log_prior(theta), seen, aside, gradient

        return jax.jit(at_once, static_argnums=3)

    @cached_property
    def _look(self) -> Any:
        """What the likelihood reads of a solution."""
        self._prepare()

        def look(theta: jax.Array, parts: SteadyParts, solved: Solved) -> tuple[Seen, Aside]:
            return self._see(theta, parts, solved, self._responses_of(theta, parts, solved))

        return jax.jit(look)

    @cached_property
    def _covariances(self) -> Any:
        """Autocovariances of what was seen, by a route."""
        return jax.jit(self._covariances_of, static_argnums=1)

    @cached_property
    def _gauss(self) -> Any:
        """Log likelihood and rounding error of autocovariances: the same function for all routes and horizons."""
        return jax.jit(self._gaussian, static_argnums=2)

    @cached_property
    def _gauss_with_derivatives(self) -> Any:
        """The same, with derivatives of the log density with respect to theta and to the autocovariances."""

        def density(theta: jax.Array, gamma: jax.Array, dense: bool) -> tuple[jax.Array, Any]:
            gaussian = self._gaussian(theta, gamma, dense)
            return gaussian[0] + self._log_prior(theta), gaussian

        both = jax.value_and_grad(density, (0, 1), has_aux=True)

        def with_derivatives(theta: jax.Array, gamma: jax.Array, dense: bool) -> Any:
            (_, gaussian), derivatives = both(theta, gamma, dense)
            return gaussian, derivatives

        return jax.jit(with_derivatives, static_argnums=2)

    @cached_property
    def _conclude(self) -> Any:
        return jax.jit(self._outcome_of)

    @cached_property
    def _pull(self) -> Any:
        """From derivatives with respect to theta and the autocovariances to those of the whole with respect to theta,
        and to what moved in the steady state if that is asked for (``far``)."""

        def pull(
            theta: jax.Array,
            parts: SteadyParts,
            solved: Solved,
            aside: Aside,
            derivatives: tuple[jax.Array, jax.Array],
            route: Route,
            far: bool,
        ) -> tuple[jax.Array, Moved | None]:
            def gamma(theta: jax.Array, moved: Moved) -> jax.Array:
                seen, _ = self._seen_again(theta, parts.with_moved(moved), solved, aside.responses)
                return self._covariances_of(seen, route).gamma

            if not far:
                return derivatives[0] + jax.vjp(lambda theta: gamma(theta, parts.moved), theta)[1](derivatives[1])[
                    0
                ], None
            by_theta, by_parts = jax.vjp(gamma, theta, parts.moved)[1](derivatives[1])
            return derivatives[0] + by_theta, by_parts

        return jax.jit(pull, static_argnums=(5, 6))

    def _solved_at(self, point: Array, parts: SteadyParts, with_pullback: bool = False) -> Solved:
        """The factorised equilibrium; kept for points that differ in the shocks' own parameters only.

        Apart for steady states that came with their derivatives: they were compiled apart, and differ by rounding.
        """
        dense_form = parts.household.toeplitz is None
        key = point[self._beyond_shocks].tobytes() + bytes([dense_form, with_pullback])
        if key not in self._kept:
            self._kept[key] = self._solve(point, parts)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    @cached_property
    def _beyond_shocks(self) -> NDArray[np.intp]:
        """Positions of the parameters that touch more than the shock processes."""
        return np.flatnonzero([self.model.parameters[name].touches != "shocks" for name in self._names])

    @cached_property
    def _responses(self) -> Any:
        self._prepare()
        return jax.jit(self._coefficients)
