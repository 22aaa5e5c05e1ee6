"""The posterior of a declared model on a data set: a :class:`estimhank.target.protocol.Target`.

What a parameter touches decides what is computed again when it moves: the shocks' paths and the likelihood; the
equilibrium too; the steady state too. A value is a function of the parameters alone: what is kept from earlier
evaluations is exactly what would be computed again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from estimhank.data import check_units
from estimhank.data.dataset import Dataset, declared_errors
from estimhank.emulator.emulator import HouseholdEmulator
from estimhank.emulator.steady import EmulatedSteady
from estimhank.households.stationary import SteadyStateError
from estimhank.likelihood.incomplete import has_fast_form
from estimhank.model.canonical import canonical_form
from estimhank.model.declaration import Model
from estimhank.model.measurement_error import (
    ErrorSize,
    check_errors,
    error_parameters,
    with_measurement_error,
)
from estimhank.model.observed import check_means
from estimhank.model.shock_priors import check_shock_priors
from estimhank.model.source import describe_model
from estimhank.parameters.parameter_table import ModelError, nearest
from estimhank.posterior.at_point import AtPoint
from estimhank.posterior.routes import (
    CHEAPEST,
    Route,
    RouteOutcome,
    is_imprecise,
    needs_longer,
    next_route,
    reason_of,
    to_evaluation,
)
from estimhank.posterior.setting import Setting
from estimhank.posterior.solver import Solver
from estimhank.sequence_space.steady_state import SteadyState
from estimhank.support.errors import ConfigError, EstimhankError
from estimhank.support.files import sha256_of, to_json
from estimhank.support.runtime import configure
from estimhank.target.cliffs import Cliffs
from estimhank.target.protocol import Capabilities, Evaluation, Gradient, GradientLike
from estimhank.target.transform import Transform

if TYPE_CHECKING:
    from estimhank.posterior.vectorized import VectorizedPosterior
    from estimhank.target.batching import Calls

Array = NDArray[np.float64]

#: Raised whenever a release changes the value of any log density, or the coordinates that it is sampled in (2: normal
#: tails at bounds; 3: responses go on at all of their slow roots): stores of older releases are then refused.
DENSITY_VERSION = "5"


#: Longest horizon that is tried where the one that was asked for is too short (twice that one in any case).
LONGEST = 1280

#: Memory, in bytes, that household Jacobians may take while a longer horizon is solved; a worker has some more.
MOST_MEMORY = 4e9
#: Copies of them, eight bytes a number, while fake news are added up and laid out (8.3 GB were seen at T = 3,000).
_COPIES = 6


class Posterior(Capabilities):
    """Log likelihood, log prior and log density of a model's estimated parameters.

    Parameters
    ----------
    model : Model
    data : Dataset
        Columns in the order, and under the names, of the model's observables; ``nan`` where missing.
    horizon : int
        Dates T of the sequence space.
    tail_start : int
        Date t* < T from which responses go on at their slow roots, the shocks' own and the economy's.
    measurement_error : mapping, optional
        Standard deviation of an observable's measurement error, in its units, by the observable's name: a number
        (0: none) or a prior, with which ``me_<observable>`` joins the estimated parameters. In place of what the data's
        and the model's declarations say.
    solver : Solver, optional
        One of the same model and data that has solved something already; made here by default.

    Raises
    ------
    ModelError
        The data's columns are not the model's observables; fewer shocks than observables without measurement error that
        are observed on the same dates. Equations that do not determine the variables, once something is evaluated.
    """

    def __init__(
        self,
        model: Model,
        data: Dataset,
        horizon: int = 300,
        tail_start: int = 200,
        measurement_error: Mapping[str, ErrorSize] | None = None,
        solver: Solver | None = None,
    ) -> None:
        configure()
        if tuple(data.names) != tuple(o.name for o in model.observables):
            raise ModelError(
                f"the data have the columns {', '.join(data.names)}, the model {model.name} observes "
                f"{', '.join(o.name for o in model.observables)}"
            )
        if not isinstance(measurement_error, Mapping | None):
            raise ModelError("measurement_error takes standard deviations by observable, {'growth': 0.1}")
        self.measurement_error = {**declared_errors(data), **(measurement_error or {})}
        model = with_measurement_error(model, self.measurement_error)
        check_errors(model, ~np.isnan(np.asarray(data.values, float)))
        priors = model.parameters.priors()
        check_shock_priors(model, priors)
        check_units(data, model.observables)
        check_means(model.observables, data.demeaned)
        if not 1 < tail_start < horizon:
            raise ModelError(f"tail_start ({tail_start}) must be between 1 and the horizon ({horizon})")
        if model.given is not None and horizon > model.given.longest:
            raise ModelError(
                f"the household's Jacobians cover {model.given.longest:g} dates, the horizon is {horizon}: give longer "
                "ones, or ask for a shorter horizon and tail_start"
            )
        self.model, self.data, self.priors = model, data, priors
        self.horizon, self.tail_start = int(horizon), int(tail_start)
        self.solver = solver or Solver(Setting(canonical_form(model), data, self.horizon, self.tail_start, priors))
        self._lengthened = False
        self._last_solved: tuple[bytes, tuple[AtPoint, Route, float]] | None = None

    @classmethod
    def from_config(cls, config: Any, profile: str = "default") -> Posterior:
        """The posterior that a configuration file, or a loaded configuration, describes
        (:func:`estimhank.run.open_posterior.open_posterior`).

        Raises
        ------
        ConfigError, DataError, ModelError
            A configuration, data or a model that do not fit each other.
        SteadyStateError
            No steady state at the reference values: the message names the equation that does not hold there.
        """
        from estimhank.run.open_posterior import open_posterior  # the one door up

        return open_posterior(config, profile)

    # -- what a Target answers ---------------------------------------------------------------------------------
    @property
    def names(self) -> tuple[str, ...]:
        """Estimated parameters, in the order of every parameter vector."""
        return self.solver.setting.names

    @cached_property
    def transform(self) -> Transform:
        """Map between unconstrained coordinates and natural units."""
        bounds = [self.priors[name].support for name in self.names]
        return Transform(tuple(b[0] for b in bounds), tuple(b[1] for b in bounds))

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """Digests of what the density depends on: model, calibration, prior, data, horizon, release."""
        model = self.model
        calibration = {n: e.value for n, e in model.parameters.items() if e.prior is None}
        parts: dict[str, Any] = {
            "calibration": calibration,
            "prior": {name: prior.describe() for name, prior in self.priors.items()},
            "data": self.data.sha256,
            "horizon": [self.horizon, self.tail_start],
            "density version": DENSITY_VERSION,
        }
        if errors := error_parameters(model):
            parts["measurement error"] = errors
        if self.data.condition_on:
            parts["condition on"] = self.data.condition_on
        if weights := self.solver.setting.weights:
            parts["yearly"] = weights
        if isinstance(self.solver.steady, EmulatedSteady):
            parts["emulator"] = self.solver.steady.digest
        digests = {name: sha256_of(to_json(part, indent=None))[:16] for name, part in parts.items()}
        return {"model": describe_model(model), **digests}

    def sample_prior(self, rng: np.random.Generator, n: int) -> Array:
        """``n`` independent draws from the prior, shape (n, d), natural units (determinate or not)."""
        return np.stack([self.priors[name].sample(rng, n) for name in self.names], axis=1)

    def evaluate(self, theta: ArrayLike, gradient: GradientLike = False) -> Evaluation:
        """Evaluate at natural parameters, shape (d,); failures come back as a reason, never as an exception."""
        point = np.asarray(theta, float)
        if point.shape != (len(self.names),):
            raise ValueError(f"theta has shape {point.shape}, the posterior has {len(self.names)} parameters")
        if not bool(self.transform.contains(point)):
            return Evaluation(-np.inf, -np.inf, "outside_support")
        try:
            outcome, log_prior, derivatives = self._outcome(point, gradient)
        except SteadyStateError as error:
            return Evaluation(-np.inf, float(self.solver.density.log_prior(point)), "steady_state", kind=error.kind)
        return to_evaluation(outcome, log_prior, derivatives)

    def tail_error(self, theta: Mapping[str, float] | ArrayLike) -> float:
        """Estimated error of the log likelihood, in log points, for what follows the truncated solution.

        The likelihood is that of the infinite horizon. The solution is truncated, and goes on beyond ``tail_start`` at
        its slow roots; the estimate says what that may have missed (``docs/likelihood.md``). A value whose error would
        be larger than :data:`TOLERANCE` is not given: its reason is ``horizon``. Without households nothing is
        truncated. ``nan`` where the log likelihood is not finite.

        Raises
        ------
        SteadyStateError
        """
        outcome = self._outcome(self.to_array(theta), False)[0]
        return outcome.tail_error if np.isfinite(outcome.log_likelihood) else float("nan")

    def _at(self, point: Array, gradient: GradientLike) -> AtPoint:
        partial = gradient == Gradient.PARTIAL and bool(self.steady_state_parameters)
        return AtPoint(self.solver, point, bool(gradient), not partial)

    def _outcome(self, point: Array, gradient: GradientLike) -> tuple[RouteOutcome, float, Array | None]:
        """Outcome, log prior and gradient, by the first route that is good enough."""
        here, route, outcome, log_prior = self._by_route(point, gradient)
        derivatives = None
        if gradient and reason_of(outcome) == "ok":
            derivatives = here.gradient(route)
            if gradient == Gradient.PARTIAL:
                derivatives = self._without_steady_state(derivatives)
        return outcome, log_prior, derivatives

    def _by_route(self, point: Array, gradient: GradientLike) -> tuple[AtPoint, Route, RouteOutcome, float]:
        """The first route that is good enough, at a longer horizon if need be, and what it gives."""
        here = self._at(point, gradient)
        # who needs a longer horizon has slow roots
        route = first = Route(fitted=self._lengthened, dense_covariance=self._needs_dense)
        while True:
            outcome, log_prior = here.outcome(route)
            if here.solver.few_dates_fail(outcome):
                here = here.at_more_dates()
                continue
            further = next_route(route, outcome, first, self._has_fast_form)
            if further is None:
                break
            route = further
        if needs_longer(outcome) and self.longer is not None:
            return self.longer._by_route(point, gradient)
        return here, route, outcome, log_prior

    def solved(self, theta: Mapping[str, float] | ArrayLike) -> tuple[AtPoint, Route, float]:
        """A solved point, the route that its likelihood takes, and the log likelihood.

        Raises
        ------
        EstimhankError
            If there is no density there: the reason in words.
        """
        point = self.to_array(theta)
        if not bool(self.transform.contains(point)):
            low, high = self.transform.lower, self.transform.upper
            bad = [n for n, x, a, b in zip(self.names, point, low, high, strict=True) if not a < x < b]
            i = self.names.index(bad[0])
            raise EstimhankError(
                f"no solution at these parameters: {bad[0]} = {point[i]:g} is outside its prior's support, "
                f"{low[i]:g} to {high[i]:g}"
            )
        key, last = point.tobytes(), self._last_solved
        if last is None or last[0] != key:  # what is computed from a point often asks for it more than once
            here, route, outcome, _ = self._by_route(point, False)
            if (reason := reason_of(outcome)) != "ok":
                raise EstimhankError(f"no solution at these parameters: {reason.replace('_', ' ')}")
            last = self._last_solved = key, (here, route, outcome.log_likelihood)
        return last[1]

    @cached_property
    def _has_fast_form(self) -> bool:
        """Whether values are missing, and the likelihood has a fast form for them."""
        return has_fast_form(np.asarray(self.data.values))

    @cached_property
    def _needs_dense(self) -> bool:
        """Whether missing values need the dense factorisation: they do at the reference values."""
        if not self._has_fast_form:
            return False
        outcome, _ = self._at(self.reference(), False).outcome(CHEAPEST)
        usable = np.isfinite(outcome.log_likelihood) and not is_imprecise(outcome)
        return bool(outcome.winding == 0 and outcome.regular and not usable)

    @property
    def _dear(self) -> bool:
        """Whether a longer horizon is costly to solve: by what is known before anything is solved, as this is asked
        while a solution is still being compiled elsewhere."""
        return bool(self.solver.setting.moving) or len(self.solver.structure.whole_outputs) > 1

    @property
    def longer_at(self) -> tuple[int, int] | None:
        """Horizon and ``tail_start`` of :attr:`longer`, which is costly to make.

        A first step to four times the horizon, or up to the longest, where an evaluation there takes O(T^2) operations:
        each horizon is compiled anew, which takes as long as hundreds of evaluations. To twice where the steady state
        is solved at every point, or the equilibrium in dense form: four times costs ten times as much, or sixty.
        """
        dear = self._dear
        times = 2 if dear else max(2, 2 ** int(math.log2(max(LONGEST / self.horizon, 1))))
        if self.solver.computation.recursive or (self._lengthened and (not dear or times * self.horizon > LONGEST)):
            return None
        horizon, tail_start = times * self.horizon, times * self.tail_start
        if self.model.given is not None and horizon > self.model.given.longest:
            return None
        pairs = sum(len(block.inputs) * len(block.outputs) for block in self.model.blocks)
        if 8 * _COPIES * pairs * horizon**2 > MOST_MEMORY:
            return None  # what needs it is refused by reason of the horizon
        return horizon, tail_start

    @cached_property
    def longer(self) -> Posterior | None:
        """The same posterior at a horizon several times as long, None where there is no further one."""
        if self.longer_at is None:
            return None
        horizon, tail_start = self.longer_at
        solver = self.solver.at_horizon(replace(self.solver.setting, horizon=horizon, tail_start=tail_start))
        longer = Posterior(self.model, self.data, horizon, tail_start, self.measurement_error, solver)
        longer._lengthened = True
        return longer

    # -- emulated households -----------------------------------------------------------------------------------
    def emulated(self, emulator: HouseholdEmulator) -> Posterior:
        """The same posterior with households from an emulator where that was trained, and solved elsewhere.

        Its values are not those of this posterior, and its fingerprint says so; :mod:`estimhank.run.emulation` trains
        emulators, and measures how far the values are apart.
        """
        solver = self.solver.with_steady(EmulatedSteady(self.solver.steady, emulator))
        return Posterior(self.model, self.data, self.horizon, self.tail_start, self.measurement_error, solver)

    # -- what compiles ahead -----------------------------------------------------------------------------------
    def outline(self) -> None:
        """Find out how equations are eliminated, for :meth:`compile_outlined`."""
        _ = self.solver.structure

    def prepare(self) -> None:
        """Solve what every evaluation needs (:meth:`estimhank.posterior.solver.Solver.prepare`)."""
        self.solver.prepare()

    def compile_outlined(self, further: bool) -> None:
        """Compile evaluations ahead (:meth:`estimhank.posterior.solver.Solver.compile_outlined`), with ``further`` at
        the longer horizon too."""
        self.solver.compile_outlined(further)
        # what is costly to solve at that horizon is rarely solved there
        if further and not self._dear and self.longer is not None:
            at = self.longer._at(self.reference(), True)
            at.outcome(Route(fitted=True))
            at.gradient(Route(fitted=True))

    def compile(self, gradient: GradientLike) -> None:
        """Compile an evaluation, with the gradient or without, into this process and the cache on disk."""
        self.evaluate(self.reference(), gradient)

    # -- what it can do ----------------------------------------------------------------------------------------
    @property
    def steady_state_parameters(self) -> tuple[str, ...]:
        """Parameters that move households' steady state: partial gradients leave them out."""
        return self.solver.setting.moving if self.model.blocks else ()

    def _without_steady_state(self, gradient: ArrayLike) -> Array:
        """A whole gradient, shape (d,), as a partial one."""
        return np.where(np.isin(self.names, self.steady_state_parameters), np.nan, gradient)

    @property
    def has_gradient(self) -> bool:
        """Whether gradients are available: unless an estimated parameter moves the steady state and the model's
        functions for it cannot be traced by JAX (``math.log`` or ``if`` of a parameter, say)."""
        return not self.solver.setting.moving or self.solver.steady.differentiable

    def cliffs_at(self, theta: ArrayLike) -> Cliffs | None:
        """Where the density may fall from a cliff as the steady state moves, seen from theta of shape (d,), natural
        units; None where it cannot (no household, or no parameter that moves the steady state), where that is not
        known (households of several assets), or without a steady state there.
        """
        if not self.steady_state_parameters or not self.model.problems:
            return None
        point = np.asarray(theta, float)
        try:
            return self.solver.steady.cliffs_at(self.solver.setting.mapping(point))
        except SteadyStateError:
            return None

    # -- for people --------------------------------------------------------------------------------------------
    def to_array(self, theta: Mapping[str, float] | ArrayLike) -> Array:
        """Parameters as a vector in the order of :attr:`names`, from a mapping or an array of shape (d,).

        Raises
        ------
        ModelError
            Names that are unknown or missing, or a wrong length.
        """
        if isinstance(theta, Mapping):
            for name in theta:
                if name not in self.names:
                    raise ModelError(f"'{name}' is not an estimated parameter{nearest(name, self.names)}")
            missing = [name for name in self.names if name not in theta]
            if missing:
                raise ModelError(f"no value for {', '.join(missing)}")
            return np.array([theta[name] for name in self.names], float)
        vector = np.asarray(theta, float)
        if vector.shape != (len(self.names),):
            raise ModelError(
                f"expected {len(self.names)} parameters ({', '.join(self.names)}), got shape {vector.shape}"
            )
        return vector

    def log_likelihood(self, theta: Mapping[str, float] | ArrayLike) -> float:
        """Log likelihood, constant included; ``-inf`` where :meth:`evaluate` gives a reason."""
        return self.evaluate(self.to_array(theta)).log_likelihood

    def log_prior(self, theta: Mapping[str, float] | ArrayLike) -> float:
        """Normalised log prior density of the natural parameters, ``-inf`` outside the support."""
        return float(self.solver.density.log_prior(self.to_array(theta)))

    def log_density(self, theta: Mapping[str, float] | ArrayLike) -> float:
        """Log likelihood plus log prior."""
        return self.evaluate(self.to_array(theta)).log_density

    def log_density_and_gradient(self, theta: Mapping[str, float] | ArrayLike) -> tuple[float, Array]:
        """Log density and its gradient in natural units, shape (d,); the gradient is ``nan`` where the density is 0."""
        out = self.evaluate(self.to_array(theta), gradient=True)
        return out.log_density, out.gradient if out.gradient is not None else np.full(len(self.names), np.nan)

    def reference(self) -> Array:
        """The parameter table's own values of the estimated parameters, shape (d,)."""
        return self.solver.setting.reference()

    def responses(self, theta: Mapping[str, float] | ArrayLike) -> Array:
        """Responses of the observables to one-standard-deviation shocks, shape (T, n_o, n_z).

        Raises
        ------
        EstimhankError
            If the model has no determinate solution there.
        """
        point = self.to_array(theta)
        out = self.evaluate(point)
        if out.reason not in ("ok", "not_positive_definite"):
            raise EstimhankError(f"no impulse responses at these parameters: {out.reason}")
        return self.solver.responses_at(point)

    @cached_property
    def steady_state(self) -> SteadyState:
        """Steady state at the reference values."""
        return self.solver.steady.reference

    def check_declaration(self) -> None:
        """Solve for the steady state at the reference values and refuse equations that cannot be what was meant.

        Raises
        ------
        ModelError
            As :mod:`estimhank.sequence_space.declaration_checks`, and where the equations do not determine the
            variables.
        SteadyStateError
        """
        _ = self.solver.structure

    def vectorized(self, calls: Calls) -> VectorizedPosterior:
        """The same posterior, of which many points are evaluated in one call.

        Raises
        ------
        ConfigError
            If JAX cannot trace what moves the steady state.
        """
        from estimhank.posterior.vectorized import VectorizedPosterior  # which is made from this class

        if not self.has_gradient:
            raise ConfigError(
                "the backend 'vectorized' needs functions that JAX can trace: "
                f"{', '.join(self.solver.setting.moving)} move the steady state, and the model's steady_state or "
                "household_target uses numbers where JAX needs arrays"
            )
        return VectorizedPosterior(self, calls)

    def __getstate__(self) -> dict[str, Any]:
        # the longer horizon stays behind: who receives this makes it of the same solver
        return {name: value for name, value in vars(self).items() if name != "longer"}
