"""Many evaluations of a log density in one vectorised call, on an accelerator where JAX sees one.

Points are padded to calls of two sizes, so that each function is compiled twice at most. What a vectorised call cannot
decide (a root so close to the unit circle that finer frequencies are needed, a steady state that Newton's method does
not find) is evaluated point by point on the processor, where the answer is a function of the point as well.

Values agree with those of single evaluations to 1e-8, not to the bit: other instructions, another order of sums. So the
device and the size of the calls are a part of the fingerprint, and stores of the one are refused by the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import cached_property
from typing import Any, overload

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from estimhank.density import DensityTarget
from estimhank.households.stationary import SteadyStateError
from estimhank.posterior.posterior import Posterior
from estimhank.posterior.routes import Outcome, Route, judge
from estimhank.sequence_space.determinacy import DOUBTFUL, coarse_winding_number
from estimhank.sequence_space.linear_system import LinearSystem, linearize
from estimhank.sequence_space.steady_parts import SteadyParts
from estimhank.support.errors import ConfigError
from estimhank.support.files import sha256_of
from estimhank.support.runtime import find_device
from estimhank.target.protocol import DEVICE_PART, Evaluation, Slope, Target

Array = NDArray[np.float64]


class Calls:
    """Calls of two sizes on one device.

    Parameters
    ----------
    size : int
        Points of a call; an eighth of it where no more are left, as in the mode search.
    device : jax.Device, optional
        The accelerator that JAX sees, else the processor, by default.
    """

    def __init__(self, size: int, device: jax.Device | None = None) -> None:
        self.size, self.device = size, device or find_device()

    @property
    def fingerprint(self) -> dict[str, str]:
        """The part of a fingerprint that names platform and size."""
        return {DEVICE_PART: sha256_of(f"{self.device.platform}, {self.size} points a call")[:16]}

    def run(self, function: Callable[..., Any], thetas: Array, *rows: Any, fixed: tuple[Any, ...] = ()) -> Any:
        """Apply ``function(thetas, *rows, *fixed)`` piece by piece, the last piece padded with its last row.

        Returns
        -------
        Any
            What the function returns, as NumPy arrays of n rows.
        """
        pieces = []
        for start in range(0, len(thetas), self.size):
            small = max(1, self.size // 8)
            size = small if len(thetas) - start <= small else self.size
            chosen = np.minimum(np.arange(start, start + size), len(thetas) - 1)
            piece = jax.tree.map(lambda a, k=chosen: np.asarray(a)[k], (thetas, *rows))
            pieces.append(function(*jax.device_put(piece, self.device), *fixed))
        found = jax.device_get(pieces)  # waits here, once all have been sent
        return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(thetas)], *found)

    def keep(self, value: Any) -> Any:
        """Arrays, put on the device once."""
        return jax.device_put(value, self.device)


class VectorizedPosterior(Posterior):
    """A posterior that evaluates many points in one call: :meth:`evaluate_batch`.

    Made by :func:`vectorize`; everything else is that of :class:`estimhank.posterior.posterior.Posterior`, on the processor.
    """

    _calls: Calls

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """That of the posterior, and the device."""
        return {**super().fingerprint, **self._calls.fingerprint}

    def evaluate_batch(self, thetas: Array, gradient: Slope = False) -> list[Evaluation]:
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
        if self._moving:
            moved = [{n: float(theta[self.names.index(n)]) for n in self._moving} for theta in thetas[rows]]
            starts = jax.tree.map(lambda *points: np.stack(points), *map(self._steady.guess, moved))
            out, checks, slopes = self._calls.run(self._together(bool(gradient)), thetas[rows], starts)
        else:
            moved, checks = [{}] * len(rows), None
            out, slopes = self._calls.run(self._together(bool(gradient)), thetas[rows], fixed=(self._parts_there,))
        for i, row in enumerate(rows):
            one = (out, slopes) if checks is None else (out, slopes, checks)
            values, slope, *check = jax.tree.map(lambda a, i=i: a[i], one)
            outcome, log_prior = Outcome(*(x.item() for x in values[0])), values[1].item()
            if self._is_for_one(outcome) or (check and not check[0].search.converged):
                found[row] = self.evaluate(thetas[row], gradient)
                continue
            try:
                if check:
                    self._steady.verify(check[0], moved[i])
            except SteadyStateError as error:
                found[row] = Evaluation(-np.inf, float(self._log_prior(thetas[row])), "steady_state", kind=error.kind)
                continue
            if gradient == "partial":
                slope = self._without_costly(slope)
            found[row] = judge(outcome, log_prior, slope if gradient else None)
        return found

    def _is_for_one(self, outcome: Outcome) -> bool:
        """Whether a point has to be evaluated on its own: frequencies, or the first route, that are not good enough."""
        return outcome.winding == DOUBTFUL or self._further(Route(plain=True), outcome) is not None

    @cached_property
    def _parts_there(self) -> SteadyParts:
        return self._calls.keep(self._steady.reference_parts)

    @cached_property
    def _coarse(self) -> _CoarsePosterior:
        coarse = _CoarsePosterior(*Posterior.__reduce__(self)[1])
        coarse.__dict__["_steady"] = self._steady  # solved once
        coarse._prepare()
        return coarse

    def _together(self, gradient: bool) -> Any:
        return self._with_gradients if gradient else self._values

    @cached_property
    def _values(self) -> Any:
        return jax.jit(self._vectorized(gradient=False))

    @cached_property
    def _with_gradients(self) -> Any:
        return jax.jit(self._vectorized(gradient=True))

    def _vectorized(self, gradient: bool) -> Any:
        """Function of points (n, d), and of the searches' beginnings or the fixed parts: values, checks, slopes."""
        coarse, places = self._coarse, {name: self.names.index(name) for name in self._moving}

        def density(theta: jax.Array, given: Any) -> tuple[jax.Array, Any]:
            if places:
                parts, checks = self._steady.compute({name: theta[i] for name, i in places.items()}, given)
            else:
                parts, checks = given, None
            # a form that failed at some of many points would have to be seen to one by one
            parts = parts.plain()
            outcome, log_prior = coarse._log_likelihood(theta, parts), self._log_prior(theta)
            return outcome.log_likelihood + log_prior, ((outcome, log_prior), checks)

        def one(theta: jax.Array, given: Any) -> Any:
            if gradient:
                (_, (values, checks)), slope = jax.value_and_grad(density, has_aux=True)(theta, given)
            else:
                (_, (values, checks)), slope = density(theta, given), jnp.zeros(0)
            return (values, checks, slope) if places else (values, slope)

        return jax.vmap(one, (0, 0 if places else None))

    def __reduce__(self) -> Any:
        return vectorize, (Posterior(*super().__reduce__()[1]), self._calls.size)


class _CoarsePosterior(Posterior):
    """The same posterior with winding numbers from the coarse frequencies alone."""

    def _linearized(self, theta: jax.Array, parts: SteadyParts) -> tuple[LinearSystem, jax.Array]:
        system = linearize(self.model, parts.values, self._parameters(theta, parts))
        return system, coarse_winding_number(self._structure, jax.lax.stop_gradient(system), parts.symbol)


class VectorizedDensity(DensityTarget):
    """A log density made of JAX operations that evaluates many points in one call: :meth:`evaluate_batch`."""

    @property
    def _calls(self) -> Calls:
        calls: Calls = self._compiled["calls"]
        return calls

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """That of the density, and the device."""
        return {**super().fingerprint, **self._calls.fingerprint}

    def evaluate_batch(self, thetas: Array, gradient: Slope = False) -> list[Evaluation]:
        """Evaluate at each row of ``thetas``, shape (n, d), natural units."""
        name = "gradients" if gradient else "values"
        if name not in self._compiled:
            function = jax.value_and_grad(self.function) if gradient else self.function
            self._compiled[name] = jax.jit(jax.vmap(function))
        thetas = np.asarray(thetas, float)
        found = [Evaluation(-np.inf, 0.0, "outside_support")] * len(thetas)
        rows = np.flatnonzero([bool(self.transform.contains(theta)) for theta in thetas])
        if rows.size:
            out = self._calls.run(self._compiled[name], thetas[rows])
            values, slopes = out if gradient else (out, [None] * len(rows))
            for row, value, slope in zip(rows, values, slopes, strict=True):
                found[row] = self._judge(float(value), slope)
        return found

    def __reduce__(self) -> Any:
        return vectorize, (DensityTarget(**_fields_of(self)), self._calls.size)


def _fields_of(target: DensityTarget) -> dict[str, Any]:
    return {field.name: getattr(target, field.name) for field in fields(target) if field.name != "_compiled"}


@overload
def vectorize(target: Posterior, size: int, device: jax.Device | None = None) -> VectorizedPosterior: ...
@overload
def vectorize(target: DensityTarget, size: int, device: jax.Device | None = None) -> VectorizedDensity: ...
def vectorize(target: Target, size: int, device: jax.Device | None = None) -> VectorizedPosterior | VectorizedDensity:
    """The same target with a method ``evaluate_batch`` and a fingerprint that names the device.

    Parameters
    ----------
    target : Posterior or DensityTarget
    size : int
        Points of a call; fewer are padded.
    device : jax.Device, optional
        The accelerator that JAX sees, else the processor.

    Raises
    ------
    ConfigError
        If the target cannot be vectorised: a plain Python function, or a model whose own functions JAX cannot trace.
    """
    if isinstance(target, Posterior):
        if not target.has_gradient:
            raise ConfigError(
                f"the backend 'vectorized' needs functions that JAX can trace: {', '.join(target._moving)} move the "
                "steady state, and the model's steady_state or household_target uses numbers where JAX needs arrays"
            )
        posterior = VectorizedPosterior(*Posterior.__reduce__(target)[1])
        posterior._calls = Calls(size, device)
        return posterior
    if isinstance(target, DensityTarget) and target.gradient == "jax":
        return VectorizedDensity(**_fields_of(target), _compiled={"calls": Calls(size, device)})
    raise ConfigError("the backend 'vectorized' needs a log density made of JAX operations (gradient='jax')")
