"""The posterior of a declared model on a data set: a :class:`estimhank.target.Target`.

A value is a function of the parameters alone: the steady state, where it has to be re-solved, starts cold, and
nothing is carried from one evaluation to the next.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from estimhank.config import Config, load_config
from estimhank.data import check_units, load_dataset
from estimhank.data.dataset import Dataset, declared_errors
from estimhank.data.yearly import declared_weights
from estimhank.errors import EstimhankError
from estimhank.files import sha256_of, to_json
from estimhank.likelihood.autocovariance import autocovariances
from estimhank.likelihood.incomplete import gaussian_log_likelihood
from estimhank.likelihood.observation import combine_quarters, observe
from estimhank.model.declaration import Model
from estimhank.model.measurement_error import (
    ErrorSize,
    check_errors,
    error_parameters,
    error_variances,
    with_measurement_error,
)
from estimhank.model.parameters import ModelError, nearest
from estimhank.model.registry import configure_model, find_model
from estimhank.model.shock_priors import check_shock_priors
from estimhank.sequence_space.determinacy import HouseholdSymbol, winding_number
from estimhank.sequence_space.equilibrium import HouseholdOperator, solve_equilibrium
from estimhank.sequence_space.household_steady_state import SteadyStateError
from estimhank.sequence_space.linear_system import linearize
from estimhank.sequence_space.solution import SteadySolution, model_structure, solve_steady
from estimhank.sequence_space.steady_state import SteadyState
from estimhank.target import Evaluation
from estimhank.transform import Transform

Array = NDArray[np.float64]

#: Raised whenever a release changes the value of any log density: stores of older releases are then refused.
DENSITY_VERSION = "1"


@dataclass(frozen=True)
class _Parts:
    """Everything of one steady state that an evaluation reads, as arrays."""

    values: dict[str, Any]
    parameters: dict[str, Any]
    household: HouseholdOperator
    symbol: HouseholdSymbol


class Posterior:
    """Log likelihood, log prior and log density of a model's estimated parameters.

    Parameters
    ----------
    model : Model
    data : Dataset
        Columns in the order, and under the names, of the model's observables; ``nan`` where missing.
    horizon : int
        Dates T of the sequence space.
    tail_start : int
        Date t* < T from which responses continue geometrically at the shock's own root.
    measurement_error : mapping, optional
        Standard deviation of an observable's measurement error, in its units, by the observable's name: a number
        (0: none) or a prior, with which ``me_<observable>`` joins the estimated parameters. In place of what the data's
        and the model's declarations say.

    Raises
    ------
    ModelError
        The data's columns are not the model's observables; fewer shocks than observables without measurement error; no
        determinate reference point.
    SteadyStateError
        No steady state at the reference values.
    """

    def __init__(
        self,
        model: Model,
        data: Dataset,
        horizon: int = 300,
        tail_start: int = 200,
        measurement_error: Mapping[str, ErrorSize] | None = None,
    ) -> None:
        if tuple(data.names) != tuple(o.name for o in model.observables):
            raise ModelError(
                f"the data have the columns {', '.join(data.names)}, the model {model.name} observes "
                f"{', '.join(o.name for o in model.observables)}"
            )
        if not isinstance(measurement_error, Mapping | None):
            raise ModelError("measurement_error takes standard deviations by observable, {'growth': 0.1}")
        self.measurement_error = {**declared_errors(data), **(measurement_error or {})}
        model = with_measurement_error(model, self.measurement_error)
        check_errors(model)
        priors = model.parameters.priors()
        check_shock_priors(model, priors)
        check_units(data, model.observables)
        if not 1 < tail_start < horizon:
            raise ModelError(f"tail_start ({tail_start}) must be between 1 and the horizon ({horizon})")
        self.model, self.data = model, data
        self.horizon, self.tail_start = int(horizon), int(tail_start)
        self.priors = priors
        self._weights = declared_weights(data)
        self._names = tuple(self.priors)

    @classmethod
    def from_config(cls, config: Config | Path | str, profile: str = "default") -> Posterior:
        """The posterior that a configuration file (or a loaded configuration) describes."""
        if not isinstance(config, Config):
            config = load_config(config, profile)
        model = configure_model(
            find_model(config.model.name, config.folder), config.model.calibration, config.model.grid, config.parameters
        )
        data = load_dataset(config.data, config.folder)
        return cls(model, data, config.model.horizon, config.model.tail_start)

    # -- what a Target answers ---------------------------------------------------------------------------------
    @property
    def names(self) -> tuple[str, ...]:
        """Estimated parameters, in the order of every parameter vector."""
        return self._names

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
            "model": [_source_of(type(model)), model.name, _describe_block(model.household)],
            "calibration": calibration,
            "prior": {name: prior.describe() for name, prior in self.priors.items()},
            "data": self.data.sha256,
            "horizon": [self.horizon, self.tail_start],
            "density version": DENSITY_VERSION,
        }
        if errors := error_parameters(model):
            parts["measurement error"] = errors
        if self._weights:
            parts["yearly"] = self._weights
        return {name: sha256_of(to_json(part, indent=None))[:16] for name, part in parts.items()}

    def sample_prior(self, rng: np.random.Generator, n: int) -> Array:
        """``n`` independent draws from the prior, shape (n, d), natural units (determinate or not)."""
        return np.stack([self.priors[name].sample(rng, n) for name in self.names], axis=1)

    def evaluate(self, theta: ArrayLike, gradient: bool = False) -> Evaluation:
        """Evaluate at natural parameters, shape (d,); failures come back as a reason, never as an exception."""
        point = np.asarray(theta, float)
        if point.shape != (len(self.names),):
            raise ValueError(f"theta has shape {point.shape}, the posterior has {len(self.names)} parameters")
        if not bool(self.transform.contains(point)):
            return Evaluation(-np.inf, -np.inf, "outside_support")
        try:
            parts = self._parts_at(point)
        except SteadyStateError:
            return Evaluation(-np.inf, float(self._log_prior(point)), "steady_state")
        slope = None
        if gradient:
            if self._moving:
                raise ModelError(f"no gradients: {', '.join(self._moving)} move the steady state")
            (_, out), slope = self._with_gradient(point, parts)
        else:
            out = self._value(point, parts)
        value, prior, winding, regular = (x.item() for x in out)
        reason = "ok"
        if winding != 0:
            reason = "indeterminate" if winding < 0 else "no_stable_solution"
        elif not np.isfinite(value):
            reason = "not_positive_definite" if regular else "non_finite"
        if reason != "ok":
            return Evaluation(-np.inf, prior, reason)
        return Evaluation(value, prior, "ok", None if slope is None else np.asarray(slope))

    @property
    def has_gradient(self) -> bool:
        """Whether gradients are available (they are unless an estimated parameter moves the steady state)."""
        return not self._moving

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
        return float(self._log_prior(self.to_array(theta)))

    def log_density(self, theta: Mapping[str, float] | ArrayLike) -> float:
        """Log likelihood plus log prior."""
        return self.evaluate(self.to_array(theta)).log_density

    def log_density_and_gradient(self, theta: Mapping[str, float] | ArrayLike) -> tuple[float, Array]:
        """Log density and its gradient in natural units, shape (d,); the gradient is ``nan`` where the density is 0."""
        out = self.evaluate(self.to_array(theta), gradient=True)
        return out.log_density, out.gradient if out.gradient is not None else np.full(len(self.names), np.nan)

    def reference(self) -> Array:
        """The parameter table's own values of the estimated parameters, shape (d,)."""
        return np.array([self.model.parameters[name].value for name in self.names], float)

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
        return np.asarray(self._responses(point, self._parts_at(point)))

    # -- how -----------------------------------------------------------------------------------------------------
    @cached_property
    def _moving(self) -> tuple[str, ...]:
        return tuple(n for n in self.names if self.model.parameters[n].touches == "steady_state")

    @cached_property
    def steady_state(self) -> SteadyState:
        """Steady state at the reference values."""
        return self._reference_solution.state

    @cached_property
    def _reference_solution(self) -> SteadySolution:
        return solve_steady(self.model, {}, self.horizon)

    @cached_property
    def _structure(self) -> Any:
        return model_structure(self.model, self._reference_solution.state, self.priors)

    @cached_property
    def _reference_parts(self) -> _Parts:
        return _parts(self._reference_solution)

    def _parts_at(self, point: Array) -> _Parts:
        if not self._moving:
            return self._reference_parts
        changes = dict(zip(self.names, point.tolist(), strict=True))
        return _parts(solve_steady(self.model, changes, self.horizon))

    @cached_property
    def _log_prior(self) -> Any:
        priors = [self.priors[name] for name in self.names]

        def log_prior(theta: jax.Array) -> jax.Array:
            return jnp.stack([prior.logpdf(theta[i]) for i, prior in enumerate(priors)]).sum()

        return jax.jit(log_prior)

    def _prepare(self) -> None:
        """Choose the elimination with numbers, before a compilation puts tracers in their place."""
        _ = self._structure

    def _coefficients(self, theta: jax.Array, parts: _Parts) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Moving-average coefficients (T, n_o, n_z), the shocks' roots (n_z,), and the winding number."""
        model = self.model
        parameters = {**parts.parameters, **{name: theta[i] for i, name in enumerate(self.names)}}
        system = linearize(model, parts.values, parameters)
        roots = jnp.stack([jnp.asarray(parameters[s.rho], float) for s in model.shocks])
        scales = jnp.stack([s.scale * jnp.asarray(parameters[s.sigma], float) for s in model.shocks])
        paths = scales * roots[None] ** jnp.arange(self.horizon)[:, None]
        winding = winding_number(self._structure, jax.lax.stop_gradient(system), parts.symbol)
        responses = solve_equilibrium(self._structure, system, parts.household, paths)
        return observe(responses, model.observables, model.unknowns, parts.values), roots, winding

    def _log_likelihood(self, theta: jax.Array, parts: _Parts) -> tuple[jax.Array, ...]:
        coefficients, roots, winding = self._coefficients(theta, parts)
        if self._weights:
            coefficients = combine_quarters(coefficients, [self._weights.get(n, (1.0,)) for n in self.data.names])
        values = np.asarray(self.data.values, float)
        gamma = autocovariances(coefficients, roots, len(values), self.tail_start)
        if error_parameters(self.model):
            parameters = {**parts.parameters, **{name: theta[i] for i, name in enumerate(self.names)}}
            gamma = gamma.at[0].add(jnp.diag(error_variances(self.model, parameters)))
        value = gaussian_log_likelihood(gamma, values)
        # an explosive shock has no stationary distribution, whatever the closed form for its tail may say
        regular = jnp.isfinite(gamma).all() & (jnp.abs(roots) < 1).all()
        return jnp.where(regular, value, jnp.nan), winding, regular

    @cached_property
    def _value(self) -> Any:
        self._prepare()

        def value(theta: jax.Array, parts: _Parts) -> tuple[jax.Array, ...]:
            log_likelihood, winding, regular = self._log_likelihood(theta, parts)
            return log_likelihood, self._log_prior(theta), winding, regular

        return jax.jit(value)

    @cached_property
    def _with_gradient(self) -> Any:
        self._prepare()

        def density(theta: jax.Array, parts: _Parts) -> tuple[jax.Array, Any]:
            log_likelihood, winding, regular = self._log_likelihood(theta, parts)
            log_prior = self._log_prior(theta)
            return log_likelihood + log_prior, (log_likelihood, log_prior, winding, regular)

        return jax.jit(jax.value_and_grad(density, has_aux=True))

    @cached_property
    def _responses(self) -> Any:
        self._prepare()
        return jax.jit(lambda theta, parts: self._coefficients(theta, parts)[0])

    def __reduce__(self) -> Any:
        # compiled functions stay behind; a worker compiles its own (from the cache on disk)
        return type(self), (self.model, self.data, self.horizon, self.tail_start, self.measurement_error)


jax.tree_util.register_dataclass(_Parts, data_fields=["values", "parameters", "household", "symbol"], meta_fields=[])


def _parts(solution: SteadySolution) -> _Parts:
    return _Parts(solution.state.values, solution.state.parameters, solution.household, solution.symbol)


def _source_of(cls: type) -> str:
    """Code that a class is made of, without comments and formatting.

    The whole file for a class from a user's file (its helper functions matter as much), else the class and those that
    it is derived from.
    """
    file = inspect.getsourcefile(cls) if cls.__module__ in sys.modules and cls.__module__ != "__main__" else None
    if file is not None and not cls.__module__.startswith("estimhank."):
        return _normalised(Path(file).read_text(encoding="utf-8"))
    parts = []
    for base in cls.__mro__[:-1]:
        try:
            parts.append(_normalised(inspect.getsource(base)))
        except (OSError, TypeError):
            parts.append(base.__qualname__)
    return "\n".join(parts)


def _normalised(source: str) -> str:
    # unparsed, not dumped: the text of a dump depends on the version of Python
    return ast.unparse(ast.parse(textwrap.dedent(source)))


def _describe_block(block: Any) -> list[Any]:
    """What a household block is: its code, and its settings by name."""
    if block is None:
        return []
    return [_source_of(type(block)), sorted((name, repr(value)) for name, value in vars(block).items())]
