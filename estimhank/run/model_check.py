"""What can be said of a model before anything is estimated: ``estimhank check`` and ``estimhank responses``."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from estimhank.data.dataset import Dataset
from estimhank.data.quarters import format_quarter
from estimhank.households.stationary import SteadyStateError
from estimhank.model.canonical import parameters_read
from estimhank.model.declaration import Model
from estimhank.model.processes import parameters_of
from estimhank.model.registry import BUILT_IN, find_model, make_model
from estimhank.parameters.parameter_table import ModelError, Values, nearest
from estimhank.posterior.posterior import Posterior
from estimhank.posterior.routes import RouteOutcome, needs_longer
from estimhank.run.config import load_config
from estimhank.run.open_posterior import open_posterior
from estimhank.sequence_space.determinacy import DOUBTFUL
from estimhank.support.errors import ConfigError, EstimhankError
from estimhank.support.files import expand_user, read_text

Array = NDArray[np.float64]

#: Reasons for which there is no density although the model has a solution.
_SOLVED = ("ok", "not_positive_definite", "not_stationary", "horizon")
_DRAWS = 200  # of the prior, on which determinacy is looked up
_QUARTERS, _FIRST = 120, 4 * 1990  # of the stand-in data of a model without a configuration
_ALONG, _BISECTIONS = 24, 20  # points along a parameter, and halvings, for the nearest determinate value
_REPEATS = 5  # evaluations that are timed


@dataclass(frozen=True)
class ModelCheck:
    """What ``estimhank check`` says of a model.

    Attributes
    ----------
    name : str
    steady_state, parameters : dict of str to float
        Of variables and household outputs; of all parameters, those that the steady state determines included.
    residuals : dict of str to float
        Of the equations at the steady state.
    determinacy : dict
        ``reference``: ``"determinate"``, or why not, with ``nearest`` the change of one parameter that would help;
        ``prior``: shares of prior draws by outcome, of ``draws`` draws.
    dense : tuple of str
        Variables that are solved for densely, all dates together.
    unused : tuple of str
        Parameters that nothing reads.
    milliseconds : dict of str to float
        Of an evaluation, step by step, once compiled; the whole is left out where the horizon is too short for it.
    """

    name: str
    steady_state: dict[str, float]
    parameters: dict[str, float]
    residuals: dict[str, float]
    determinacy: dict[str, Any]
    dense: tuple[str, ...]
    unused: tuple[str, ...]
    milliseconds: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """In words."""
        worst = max(self.residuals, key=lambda name: abs(self.residuals[name]))
        found = [
            f"model {self.name}: {len(self.residuals)} equations, {len(self.steady_state)} variables",
            f"steady state: the largest residual is {abs(self.residuals[worst]):.1e} ({worst})",
            *(f"  {name:<24} {value: .8g}" for name, value in self.steady_state.items()),
            "parameters",
            *(f"  {name:<24} {value: .8g}" for name, value in self.parameters.items()),
            "solved for densely: " + (", ".join(self.dense) or "nothing, the solution is a state space"),
            f"at the reference values the model is {self.determinacy['reference']}",
        ]
        if words := self.determinacy.get("nearest"):
            found.append(f"  {words}")
        if prior := self.determinacy.get("prior"):
            shares = ", ".join(f"{share:.0%} {reason.replace('_', ' ')}" for reason, share in prior.items())
            found.append(f"of {self.determinacy['draws']} draws from the prior: {shares}")
        if self.unused:
            found.append(f"nothing reads the parameters {', '.join(self.unused)}")
        if "evaluation" not in self.milliseconds and self.determinacy["reference"] == "determinate":
            found.append("the horizon is too short for the likelihood at the reference values: give a longer one")
        found.append("milliseconds: " + ", ".join(f"{step} {ms:.3g}" for step, ms in self.milliseconds.items()))
        return found


def open_model(reference: str, at: Mapping[str, float] | None = None) -> Posterior:
    """The posterior of a configuration, or of a model alone on stand-in data.

    Parameters
    ----------
    reference : str
        A shipped model's name, ``file.py:Class``, or a configuration.
    at : mapping of str to float, optional
        Values of parameters in place of those of the table.

    Raises
    ------
    ConfigError, DataError, ModelError, SteadyStateError
    """
    if reference in BUILT_IN or ".py:" in reference:
        model = model_at(make_model(find_model(reference)), at)
        return Posterior(model, stand_in(model))
    try:
        config = load_config(reference)
    except ConfigError as error:
        if Path(reference).suffix:
            raise
        raise ConfigError(f"{error}, and no shipped model of that name{nearest(reference, BUILT_IN)}") from None
    posterior = open_posterior(config)
    if not at:
        return posterior
    model = model_at(posterior.model, at)
    return Posterior(model, posterior.data, posterior.horizon, posterior.tail_start)


def model_at(model: Model, values: Mapping[str, float] | None) -> Model:
    """The model with values of parameters in place of those of its table.

    Raises
    ------
    ModelError
        Values that are no numbers, or of parameters that the steady state determines or the table does not have.
    """
    table = model.parameters
    for name, value in (values or {}).items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ModelError(f"the value of {name} is a number, not {value!r}")
        if table[name].value is None:
            raise ModelError(f"'{name}' is determined by the steady state and cannot be given a value")
        table = table.changed(name, value=float(value))
    return make_model(model, table) if values else model


def stand_in(model: Model) -> Dataset:
    """Numbers in the place of data, for what does not depend on them."""
    names = tuple(o.name for o in model.observables)
    values = np.random.default_rng(0).standard_normal((_QUARTERS, len(names)))
    dates = tuple(format_quarter(_FIRST + i) for i in range(_QUARTERS))
    return Dataset(dates, names, tuple(o.units for o in model.observables), names, values, np.zeros(len(names)))


def read_point(path: Path) -> dict[str, float]:
    """Parameter values from a JSON file, ``{"phi_pi": 1.5}``.

    Raises
    ------
    ConfigError
    """
    try:
        point = json.loads(read_text(expand_user(path)))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not a JSON file: {error}") from None
    if not isinstance(point, dict):
        raise ConfigError(f'{path} holds parameter values by name, {{"phi_pi": 1.5}}')
    for name, value in point.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
            raise ConfigError(f"{path}: the value of {name} is a number, not {value!r}")
    return point


def responses_of(posterior: Posterior, horizon: int = 40) -> dict[str, dict[str, list[float]]]:
    """Responses of all variables to one-standard-deviation shocks at the table's values: shock, variable, list.

    In the units of the model's variables, as deviations from the steady state; of ``horizon`` dates, 0 the impact.

    Raises
    ------
    EstimhankError
        If the model has no determinate solution there.
    """
    check_determinate(posterior)
    solver, model = posterior.solver, posterior.model
    found = solver.unknowns_at(posterior.reference())
    if not 0 < horizon <= len(found):
        raise ConfigError(f"a horizon is from 1 to {len(found)} dates, not {horizon}")
    names = solver.setting.model.unknowns
    shown = {name: names.index(name) for name in model.unknowns}
    return {
        shock.name: {name: found[:horizon, at, j].tolist() for name, at in shown.items()}
        for j, shock in enumerate(solver.setting.model.innovations)
    }


def responses_as_csv(found: Mapping[str, Mapping[str, list[float]]]) -> list[str]:
    """Responses as the lines of a long table: shock, variable, date, response."""
    rows = ["shock,variable,date,response"]
    for shock, by_variable in found.items():
        for variable, path in by_variable.items():
            rows += [f"{shock},{variable},{date},{value!r}" for date, value in enumerate(path)]
    return rows


def check_determinate(posterior: Posterior) -> None:
    """Refuse a model that has no determinate linear solution at its table's values.

    Raises
    ------
    EstimhankError
        Why, and the nearest parameter value at which it has one.
    """
    reason = _outcome(posterior, posterior.reference())
    if reason != "determinate":
        raise EstimhankError(f"model {posterior.model.name}: {_in_words(posterior, reason)}")


def _outcome(posterior: Posterior, point: Array) -> str:
    """``"determinate"``, or why there is no solution; of models with households without a likelihood, which may need a
    longer horizon."""
    solver = posterior.solver
    if solver.computation.recursive:
        reason = posterior.evaluate(point).reason
        return "determinate" if reason in _SOLVED else reason
    try:
        winding = int(solver.solved_at(point, solver.parts_at(point))[1].winding)
    except SteadyStateError:
        return "steady_state"
    if winding == DOUBTFUL:
        return "non_finite"
    return "determinate" if winding == 0 else "indeterminate" if winding < 0 else "no_stable_solution"


def _in_words(posterior: Posterior, reason: str) -> str:
    words = reason.replace("_", " ")
    hint = _nearest_determinate(posterior, reason) if reason in ("indeterminate", "no_stable_solution") else ""
    return f"{words} at the reference values{': ' + hint if hint else ''}"


def check_model(posterior: Posterior) -> ModelCheck:
    """All that is said of a model by ``estimhank check``.

    Raises
    ------
    ModelError, SteadyStateError
        What the model's author has to put right, by name.
    """
    model, state = posterior.model, posterior.steady_state
    posterior.check_declaration()
    canonical = posterior.solver.setting.model
    outcome = _outcome(posterior, posterior.reference())
    determinacy: dict[str, Any] = {"reference": outcome.replace("_", " ")}
    if outcome in ("indeterminate", "no_stable_solution"):
        determinacy["nearest"] = _nearest_determinate(posterior, outcome)
    if posterior.names:
        draws = posterior.sample_prior(np.random.default_rng(0), _draws_of(posterior))
        counted = Counter(_outcome(posterior, draw) for draw in draws)
        determinacy |= {"prior": {k: n / len(draws) for k, n in counted.most_common()}, "draws": len(draws)}
    now, quiet = Values(state.values), Values(dict.fromkeys((s.name for s in canonical.shocks), 0.0))
    pairs = canonical.residuals(now, now, now, now, quiet, Values(state.parameters))
    dense = posterior.solver.structure.dense_variables
    return ModelCheck(
        model.name,
        {name: float(state.values[name]) for name in model.unknowns},
        {name: float(value) for name, value in state.parameters.items()},
        {name: float(value) for name, value in pairs},
        determinacy,
        tuple(canonical.unknowns[i] for i in dense),
        unused_parameters(model),
        _timed(posterior),
    )


def _draws_of(posterior: Posterior) -> int:
    """Fewer where every draw costs a steady state."""
    return _DRAWS // 10 if posterior.steady_state_parameters else _DRAWS


def unused_parameters(model: Model) -> tuple[str, ...]:
    """Parameters of the table that nothing in the model reads."""
    read: set[str] = set()

    class Recorded(Values):
        __slots__ = ()

        def __getattr__(self, name: str) -> Any:
            read.add(name)
            return super().__getattr__(name)

    known = {name: entry.value if entry.value is not None else 0.5 for name, entry in model.parameters.items()}
    p, one = Recorded(known), Values(dict.fromkeys(model.unknowns, 1.0))
    read |= {name for shock in model.shocks for name in parameters_of(shock)}
    read |= {c.parameter for c in model.correlations}
    for observable in model.observables:
        read |= {n for n in (observable.mean, observable.measurement_error) if isinstance(n, str)}
    read |= {entry.prior_relative_to for entry in model.parameters.values()}
    read |= {name for block in model.blocks for name in block.parameters}
    if model.problems:
        _quietly(lambda: model.household_target(p))
    _quietly(lambda: dict(model.steady_state(p, one)))
    read |= parameters_read(model)
    return tuple(name for name in model.parameters if name not in read)


def _quietly(call: Callable[[], Any]) -> None:
    """Only what is read is of interest: values that do not belong together may lead nowhere."""
    with contextlib.suppress(ArithmeticError, ValueError, EstimhankError, TypeError):
        call()


def _nearest_determinate(posterior: Posterior, reason: str) -> str:
    """The smallest change of one parameter, in its prior's standard deviations, that leads to a solution; in words."""
    best: tuple[float, str, float] | None = None
    reference, at_most = posterior.reference(), posterior.solver.setting.priors
    for i, (name, prior) in enumerate(at_most.items()):
        if posterior.model.parameters[name].touches != "equilibrium":
            continue
        spread = prior.sd if math.isfinite(prior.sd) and prior.sd > 0 else max(abs(reference[i]), 0.1)

        def solves(value: float, i: int = i) -> bool:
            return _outcome(posterior, np.r_[reference[:i], value, reference[i + 1 :]]) == "determinate"

        low, high = float(prior.ppf(1e-3)), float(prior.ppf(1 - 1e-3))
        candidates = sorted(np.linspace(low, high, _ALONG), key=lambda value: abs(value - reference[i]))
        good = next((float(v) for v in candidates if solves(v)), None)
        if good is None:
            continue
        bad = float(reference[i])
        for _ in range(_BISECTIONS):
            middle = (good + bad) / 2
            good, bad = (middle, bad) if solves(middle) else (good, middle)
        distance = abs(good - reference[i]) / spread
        if best is None or distance < best[0]:
            best = distance, name, good
    if best is None:
        return "no value of a single estimated parameter leads to a solution"
    _, name, value = best
    entry = posterior.model.parameters[name]
    return (
        f"{reason.replace('_', ' ')} at {name} = {reference[list(posterior.names).index(name)]:g} "
        f"({entry.description}); the nearest determinate value is {value:.4g}"
    )


def _timed(posterior: Posterior) -> dict[str, float]:
    """Milliseconds of an evaluation's steps, the smallest of a few, compiled."""
    solver, point = posterior.solver, posterior.reference()
    parts = solver.parts_at(point)
    parts, solved = solver.solved_at(point, parts)
    found = {}
    if solver.setting.moving:
        moved = iter(range(1, _REPEATS + 2))
        found["steady state"] = _milliseconds(lambda: solver.parts_at(point * (1 + 1e-6 * next(moved))))
    found["solution"] = _milliseconds(lambda: jax.block_until_ready(solver.solve(point, parts)))
    found["likelihood"] = _milliseconds(lambda: jax.block_until_ready(solver.at_once(point, parts, solved)))
    outcome = RouteOutcome(*(x.item() for x in solver.at_once(point, parts, solved)[0]))
    if needs_longer(outcome):  # which is compiled for minutes: an estimation would do so once
        return found
    moved_too = iter(range(_REPEATS + 2, 3 * _REPEATS + 4))
    found["evaluation"] = _milliseconds(lambda: posterior.evaluate(point * (1 + 1e-6 * next(moved_too))))
    return found


def _milliseconds(call: Callable[[], Any]) -> float:
    call()
    times = []
    for _ in range(_REPEATS):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return 1e3 * min(times)
