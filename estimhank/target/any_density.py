"""A target made of any log density, without a declared model (``docs/any_density.md``)."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from estimhank.support.errors import ConfigError, EstimhankError
from estimhank.support.files import sha256_of
from estimhank.support.identity import changed_places, identify, part_of_fingerprint
from estimhank.support.names import TAKEN_OF_PARAMETERS, why_not_a_name
from estimhank.support.runtime import configure
from estimhank.target.batching import Calls, vectorize
from estimhank.target.protocol import Capabilities, Evaluation, GradientLike
from estimhank.target.repeatable import check_repeatable
from estimhank.target.transform import Transform

Array = NDArray[np.float64]


class DensityError(EstimhankError):
    """A log density that cannot be estimated as it is given."""


@dataclass(frozen=True)
class DensityTarget(Capabilities):
    """A user's log density as a :class:`estimhank.target.protocol.Target`; make it with :func:`from_log_density`.

    Attributes
    ----------
    function : callable
        Log density of natural parameters (d,), up to a constant; ``-inf`` or ``nan`` where there is none.
    names : tuple of str, length d
    transform : Transform
        From the bounds.
    start, spread : tuple of float, length d
        A point with a density, and a rough scale around it, natural units: where the mode search starts.
    gradient : callable or "jax", optional
        Gradient (d,) in natural units; ``"jax"`` differentiates ``function``.
    version : str
        Changes whenever the density does although neither its code nor what that refers to does: a file that it reads
        at every call, a compiled library of one's own.
    content : mapping of str to str, optional
        What ``function`` and ``gradient`` are (:mod:`estimhank.support.identity`), found by :func:`from_log_density`.
    """

    function: Callable[[Array], Any]
    names: tuple[str, ...]
    transform: Transform
    start: tuple[float, ...]
    spread: tuple[float, ...]
    gradient: Callable[[Array], Any] | str | None = None
    version: str = ""
    content: Mapping[str, str] | None = field(default=None, repr=False, compare=False)
    _compiled: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def search_area(self) -> str:
        """Where the mode search starts, in words."""
        return "the given start and spread"

    @property
    def has_gradient(self) -> bool:
        """Whether gradients are available."""
        return self.gradient is not None

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """Digests of what the function and its gradient are, the version, names, bounds and starting point."""
        parts = {
            "version": self.version,
            "parameters": repr((self.names, self.transform.lower, self.transform.upper)),
            "start": repr((self.start, self.spread)),
        }
        content = self.content or _content_of(self.function, self.gradient, self.version, frozenset())
        return {**content, **{name: sha256_of(part)[:16] for name, part in parts.items()}}

    def evaluate(self, theta: ArrayLike, gradient: GradientLike = False) -> Evaluation:
        """Evaluate at natural parameters, shape (d,). Exceptions of the function are not caught: they are bugs."""
        point = np.asarray(theta, float)
        if not bool(self.transform.contains(point)):
            return Evaluation(-np.inf, 0.0, "outside_support")
        return self._judge(*self._call(point, bool(gradient)))

    def _judge(self, value: float, gradient: Array | None) -> Evaluation:
        """A point has one value, whether or not its gradient was asked for: one that is not finite is left out."""
        if not math.isfinite(value):
            return Evaluation(-np.inf, 0.0, "outside_support" if value == -math.inf else "non_finite")
        if gradient is not None and not np.isfinite(gradient).all():
            if not self._compiled.setdefault("said", False):
                self._compiled["said"] = True
                warnings.warn(
                    "the gradient of the log density is not finite at points where its value is: these count by their "
                    "value alone (with JAX, jnp.where over a branch that is not finite does this: guard its argument)",
                    RuntimeWarning,
                    stacklevel=3,
                )
            gradient = np.where(np.isfinite(gradient), gradient, np.nan)
        return Evaluation(value, 0.0, "ok", gradient)

    def _call(self, point: Array, gradient: bool) -> tuple[float, Array | None]:
        if self.gradient == "jax":
            name = "both" if gradient else "value"
            if name not in self._compiled:
                self._compiled[name] = jax.jit(jax.value_and_grad(self.function) if gradient else self.function)
            out = self._compiled[name](point)
            return (float(out[0]), np.asarray(out[1], float)) if gradient else (float(out), None)
        value = float(self.function(point))
        if not gradient:
            return value, None
        if not callable(self.gradient):
            raise DensityError("this log density has no gradient: give gradient='jax' or a function")
        return value, np.asarray(self.gradient(point), float) if math.isfinite(value) else None

    def sample_prior(self, rng: np.random.Generator, n: int) -> Array:
        """Starting points: normal in unconstrained coordinates around ``start``, shape (n, d), natural units."""
        center = self.transform.to_unconstrained(self.start)
        step = 1e-6
        by_x = (self.transform.to_natural(center + step) - self.transform.to_natural(center - step)) / (2 * step)
        return self.transform.to_natural(center + rng.standard_normal((n, len(self.names))) * self.spread / by_x)

    def vectorized(self, calls: Calls) -> VectorizedDensity:
        """The same density, of which many points are evaluated in one call.

        Raises
        ------
        ConfigError
            If it is not made of JAX operations.
        """
        if self.gradient != "jax":
            raise ConfigError("the backend 'vectorized' needs a log density made of JAX operations (gradient='jax')")
        return VectorizedDensity(**self._declared, _compiled={"calls": calls})

    @property
    def _declared(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "_compiled"}

    def __getstate__(self) -> dict[str, Any]:
        # compiled functions stay behind; a worker compiles its own
        return {**self._declared, "_compiled": {}}


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

    def evaluate_batch(self, thetas: Array, gradient: GradientLike = False) -> list[Evaluation]:
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
            values, derivatives = out if gradient else (out, [None] * len(rows))
            for row, value, derivative in zip(rows, values, derivatives, strict=True):
                found[row] = self._judge(float(value), derivative)
        return found

    def __reduce__(self) -> Any:
        return vectorize, (DensityTarget(**self._declared), self._calls.size)


def from_log_density(
    function: Callable[[Array], Any],
    names: Sequence[str],
    start: ArrayLike,
    spread: ArrayLike,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    gradient: Callable[[Array], Any] | str | None = None,
    version: str = "",
) -> DensityTarget:
    """Wrap a log density for the sample, surrogate and posterior stages.

    Parameters
    ----------
    function : callable
        Log density of a vector (d,) of parameters in natural units, up to a constant. ``-inf`` where there is none. A
        plain Python function is evaluated by worker processes.
    names : sequence of str, length d
    start : array_like of shape (d,)
        A point with a finite density, inside the bounds.
    spread : array_like of shape (d,) or number
        A rough scale of each parameter, natural units.
    bounds : mapping, optional
        ``name: (lower, upper)``, either may be infinite; parameters are sampled in unconstrained coordinates.
    gradient : "jax" or callable, optional
        ``"jax"`` if the function is made of JAX operations; or a function that returns the gradient (d,). With
        gradients the surrogate needs several times fewer evaluations.
    version : str
        Part of the fingerprint of stored evaluations, beside the content of the function and all that it refers to.
        Needed for going on with a run (``resume``) where that content cannot be seen: the function reads a file at
        every call, holds an open file, is compiled. Change it when what cannot be seen does.

    Raises
    ------
    DensityError
        Names, start, spread and bounds that do not fit each other; no finite density at ``start``.
    NotRepeatable
        If it does not return the same value twice.
    """
    configure()
    if not callable(function):
        raise DensityError("the log density must be a function of a vector of parameters")
    if isinstance(names, str):
        raise DensityError(f"names must be a list of names, such as ['{names}']")
    named, d = tuple(str(n) for n in names), len(names)
    for name in named:
        if why := why_not_a_name(name, TAKEN_OF_PARAMETERS):
            raise DensityError(f"the parameter name '{name}' {why}")
    if d == 0 or len(set(named)) < d:
        raise DensityError("give each parameter a name of its own")
    limits = _read_bounds(bounds)
    for name in limits:
        if name not in named:
            raise DensityError(f"bounds for '{name}', which is not a parameter ({', '.join(named)})")
    try:
        center = np.asarray(start, float)
        scale = np.broadcast_to(np.asarray(spread, float), (d,)) if np.size(spread) in (1, d) else np.empty(0)
    except (TypeError, ValueError, OverflowError):
        raise DensityError("start and spread must be numbers") from None
    if center.shape != (d,) or scale.shape != (d,):
        raise DensityError(f"start and spread must have {d} entries, one for each parameter")
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise DensityError("spread must be positive")
    try:
        box = [limits.get(name, (-math.inf, math.inf)) for name in named]
        transform = Transform(tuple(low for low, _ in box), tuple(high for _, high in box))
    except ValueError as error:
        raise DensityError(str(error)) from None
    if gradient is not None and gradient != "jax" and not callable(gradient):
        raise DensityError("gradient must be 'jax', a function, or left out")
    if not isinstance(version, str):
        raise DensityError(f'version must be text, such as "{version}"')
    target = DensityTarget(function, named, transform, tuple(center.tolist()), tuple(scale.tolist()), gradient, version)
    if bool(transform.contains(center)):
        _check_number(target, center)
    before = identify((function, gradient))
    first = target.evaluate(center, gradient=target.has_gradient)
    if first.reason != "ok":
        raise DensityError(_why_not(target, center, first.reason))
    again = target.evaluate(center)
    check_repeatable(named, center[None], np.array([first.log_density]), np.array([again.log_density]))
    if first.gradient is not None and first.gradient.shape != (d,):
        raise DensityError(f"the gradient has shape {first.gradient.shape}, expected ({d},)")
    if first.gradient is not None and not np.isfinite(first.gradient).all():
        raise DensityError("the gradient of the log density is not finite at the starting point")
    # what an evaluation changes, a counter say, is not what the function is
    state = changed_places(before, identify((function, gradient)))
    return dataclasses.replace(target, content=_content_of(function, gradient, version, state))


def _content_of(function: Any, gradient: Any, version: str, state: frozenset[str]) -> dict[str, str]:
    """Parts of the fingerprint that say what the function and its gradient are, apart from their ``state``."""
    found = identify((function, None), without=state)
    parts = {"function": part_of_fingerprint(found, version)}
    if gradient is not None:
        parts["gradient"] = part_of_fingerprint(identify((None, gradient), without=state), version)
    return parts


def _read_bounds(bounds: Any) -> dict[str, tuple[float, float]]:
    if bounds is not None and not isinstance(bounds, Mapping):
        raise DensityError("bounds must be a mapping, {'s': (0, np.inf)}")
    limits = {}
    for name, pair in (bounds or {}).items():
        try:
            low, high = pair
            limits[str(name)] = -math.inf if low is None else float(low), math.inf if high is None else float(high)
        except (TypeError, ValueError, OverflowError):
            raise DensityError(
                f"the bounds of '{name}' must be two numbers, (lower, upper), infinite where there is none: {pair!r}"
            ) from None
    return limits


def _check_number(target: DensityTarget, center: Array) -> None:
    """Refuse a function that does not return one real number; its own exceptions are bugs and pass through."""
    try:
        value = target.function(center) if target.gradient != "jax" else jax.eval_shape(target.function, center)
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError) as error:
        raise DensityError(
            "gradient='jax' needs a function made of JAX operations (jax.numpy for numpy, jnp.where for if): "
            f"{str(error).splitlines()[0]}"
        ) from error
    shape, kind = np.shape(value), getattr(value, "dtype", None) or np.asarray(value).dtype
    if shape != () or not np.issubdtype(kind, np.number) or np.issubdtype(kind, np.complexfloating):
        what = f"an array of shape {shape}" if shape else f"{type(value).__name__}"
        raise DensityError(f"the log density must return one real number, it returned {what}")


def _why_not(target: DensityTarget, center: Array, reason: str) -> str:
    inside = (center > target.transform.lower) & (center < target.transform.upper)
    if not inside.all():
        name = target.names[int(np.argmin(inside))]
        return f"the log density is not finite at the starting point: '{name}' is not inside its bounds"
    return f"the log density is not finite at the starting point, or its gradient is not ({reason})"
