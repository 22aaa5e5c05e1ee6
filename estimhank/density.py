"""Any log density: the sample, surrogate and posterior stages without a declared model (``docs/any_density.md``)."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from estimhank.evaluation.repeatable import check_repeatable, repeat_some
from estimhank.support.errors import EstimhankError, ResultsError
from estimhank.support.files import make_folder, sha256_of, write_json
from estimhank.support.identity import changed_places, identify, part_of_fingerprint
from estimhank.support.names import TAKEN_OF_PARAMETERS, why_not_a_name
from estimhank.support.progress_event import Progress
from estimhank.target.protocol import Evaluation, Slope
from estimhank.target.transform import Transform

Array = NDArray[np.float64]


class DensityError(EstimhankError):
    """A log density that cannot be estimated as it is given."""


@dataclass(frozen=True)
class DensityTarget:
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
        What ``function`` and ``gradient`` are (:mod:`estimhank.support.identity`), as :func:`from_log_density` found it.
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

    def evaluate(self, theta: ArrayLike, gradient: Slope = False) -> Evaluation:
        """Evaluate at natural parameters, shape (d,). Exceptions of the function are not caught: they are bugs."""
        point = np.asarray(theta, float)
        if not bool(self.transform.contains(point)):
            return Evaluation(-np.inf, 0.0, "outside_support")
        return self._judge(*self._call(point, bool(gradient)))

    def _judge(self, value: float, slope: Array | None) -> Evaluation:
        """A point has one value, whether or not its gradient was asked for: one that is not finite is left out."""
        if not math.isfinite(value):
            return Evaluation(-np.inf, 0.0, "outside_support" if value == -math.inf else "non_finite")
        if slope is not None and not np.isfinite(slope).all():
            if not self._compiled.setdefault("said", False):
                self._compiled["said"] = True
                warnings.warn(
                    "the gradient of the log density is not finite at points where its value is: these count by their "
                    "value alone (with JAX, jnp.where over a branch that is not finite does this: guard its argument)",
                    RuntimeWarning,
                    stacklevel=3,
                )
            slope = np.where(np.isfinite(slope), slope, np.nan)
        return Evaluation(value, 0.0, "ok", slope)

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
        slope = (self.transform.to_natural(center + step) - self.transform.to_natural(center - step)) / (2 * step)
        return self.transform.to_natural(center + rng.standard_normal((n, len(self.names))) * self.spread / slope)

    def __getstate__(self) -> dict[str, Any]:
        # compiled functions stay behind; a worker compiles its own
        return {f.name: {} if f.name == "_compiled" else getattr(self, f.name) for f in dataclasses.fields(self)}


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


@dataclass(frozen=True)
class DensityRun:
    """What :func:`estimate_density` returns.

    Attributes
    ----------
    target : DensityTarget
    draws : ndarray of shape (chain, draw, d)
        Exact posterior, natural units.
    surrogate_draws : ndarray of shape (chain, draw, d)
        The surrogate's own.
    certificate : Certificate
    converged : bool
        Whether the exact chains met R-hat and effective draws.
    folder : Path
        Holds ``evaluations.bin``, ``mode.json``, ``surrogate.*``, ``certificate.json`` and ``posterior.nc``.
    words : str
        Whether the exact chains have converged, with the figures, and what was searched.
    """

    target: DensityTarget
    draws: Array
    surrogate_draws: Array
    certificate: Any
    converged: bool
    folder: Path
    words: str = ""


def estimate_density(
    target: DensityTarget,
    folder: Path | str,
    settings: Any = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> DensityRun:
    """Mode, sample, surrogate and posterior stages on a user's log density.

    Parameters
    ----------
    target : DensityTarget
    folder : path
        Results folder.
    settings : Config, optional
        Sizes, seed, workers and backend, as from ``load_config`` or ``make_config({...}, profile)``; model and data
        tables are not read.
    resume : bool
        Go on from evaluations that the folder holds; without it a folder that holds some is refused.
    progress : callable, optional

    Raises
    ------
    ResultsError
        The folder holds evaluations and ``resume`` is false, or they are those of another density.
    """
    # imported here: a worker that evaluates the density needs neither networks nor files
    from estimhank.analysis.arrays import PosteriorArrays
    from estimhank.analysis.inference_data import write_inference_data
    from estimhank.analysis.parameters import ParameterInfo
    from estimhank.evaluation.engine import Engine
    from estimhank.evaluation.recorder import Recorder
    from estimhank.evaluation.store import FILE_NAME, EvaluationStore
    from estimhank.mode.mode_result import write_mode
    from estimhank.mode.search import find_mode
    from estimhank.run.config import make_config
    from estimhank.run.reporting import exact_draws_of, fresh_draws_of
    from estimhank.sampling.algorithms import ALGORITHMS, sizes_for
    from estimhank.sampling.proposals import Center
    from estimhank.surrogate.posterior_stage import run_posterior
    from estimhank.surrogate.searched import Searched
    from estimhank.surrogate.surrogate import save_surrogate
    from estimhank.surrogate.surrogate_stage import run_surrogate
    from estimhank.vectorized import vectorize

    config = settings or make_config({})
    if config.run.backend == "vectorized":
        target = vectorize(target, config.run.batch)
    folder = make_folder(folder)  # with ~ as the home folder
    if (folder / FILE_NAME).exists() and not resume:
        raise ResultsError(f"{folder} holds evaluations already: pass resume=True to go on, or choose another folder")
    seed = config.run.seed
    with (
        EvaluationStore.open(folder / FILE_NAME, target.names, target.fingerprint) as store,
        Engine(target, config.run.backend, config.run.workers, config.run.scheduler, config.run.wait) as engine,
    ):
        recorder = Recorder(engine, store)
        mode = find_mode(recorder, target, config.mode, seed, progress=progress)
        write_mode(folder / "mode.json", mode)
        center = Center(mode.center_x, mode.covariance_x)
        ALGORITHMS[config.sample.algorithm](recorder, target, center, sizes_for(target, config.sample), seed, progress)
        evaluations = store.read("mode", "sample")
        repeat_some(recorder.evaluate, target, evaluations)
        trained = run_surrogate(recorder.evaluate, target, evaluations, mode, config.surrogate, seed, progress, engine)
        save_surrogate(trained.surrogate, folder)
        result = run_posterior(
            recorder.evaluate,
            target,
            trained.surrogate,
            config.posterior,
            seed,
            progress,
            engine,
            Searched.by(mode, target),
        )
    write_json(folder / "certificate.json", result.certificate.to_json())
    infos = tuple(
        ParameterInfo(name, lower=low, upper=high)
        for name, low, high in zip(target.names, target.transform.lower, target.transform.upper, strict=True)
    )
    exact = exact_draws_of(target.transform, result)
    arrays = PosteriorArrays(
        target.names, exact, result.surrogate.theta, fresh=fresh_draws_of(target.transform, result)
    )
    write_inference_data(folder / "posterior.nc", arrays, infos, {"seed": seed})
    return DensityRun(
        target,
        exact.theta,
        result.surrogate.theta,
        result.certificate,
        result.exact.converged,
        folder,
        result.convergence,
    )
