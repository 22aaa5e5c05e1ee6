"""Nonlinear paths of a model, of a configuration's, or of a run's."""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from estimhank.model.declaration import Model
from estimhank.model.registry import find_model, make_model
from estimhank.parameters.parameter_table import nearest
from estimhank.posterior.posterior import Posterior
from estimhank.run.model_check import check_determinate, model_at, open_model, read_point
from estimhank.run.results import load
from estimhank.run.verbs import is_run
from estimhank.sequence_space.steady_state import SteadyState
from estimhank.support.errors import ConfigError, ModelWarning, StorageError
from estimhank.support.files import expand_user, read_arrays

if TYPE_CHECKING:
    from estimhank.transition.economy import Economy
    from estimhank.transition.solve import TransitionPath

#: What an expression in t may hold.
_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}  # fmt: skip
_FUNCTIONS: Mapping[str, Callable[[Any], Any]] = {"exp": np.exp, "sqrt": np.sqrt, "sin": np.sin, "cos": np.cos}
HOW = "z=0.01*0.8^t, an expression in the date t = 0, 1, ..., or z=0.01,0.008, its values from date 0 on"


def economy_of(posterior: Posterior, horizon: int | None = None) -> Economy:
    """A posterior's model at the values of its table, ready for nonlinear paths.

    Parameters
    ----------
    posterior : Posterior
    horizon : int, optional
        Dates T, the posterior's own by default.

    Raises
    ------
    EstimhankError
        The model has no determinate linear solution there.
    ModelError, SteadyStateError
    """
    from estimhank.transition.economy import Economy  # what most commands do without

    if horizon is not None and horizon != posterior.horizon:
        if horizon < _SHORTEST:
            raise ConfigError(f"a horizon is at least {_SHORTEST} dates, not {horizon}")
        posterior = Posterior(posterior.model, posterior.data, horizon, min(posterior.tail_start, 2 * horizon // 3))
    with warnings.catch_warnings():
        # bounds that an estimation leaves out are kept here
        warnings.simplefilter("ignore", ModelWarning)
        check_determinate(posterior)
        solver = posterior.solver
        _ = solver.structure
    return Economy(
        posterior.model,
        solver.setting.model,
        solver.steady.reference,
        replace(solver.structure, coarse=None),
        solver.steady.reference_parts.household,
    )


_SHORTEST = 4  # dates of a path


def economy_at(economy: Economy, posterior: Posterior, theta: ArrayLike) -> Economy:
    """The economy of a posterior at a parameter vector (d,), of which nothing is compiled again.

    Raises
    ------
    SteadyStateError
    """
    solver = posterior.solver
    changes = solver.setting.mapping(posterior.to_array(theta))
    parts, households = solver.steady.at(changes), economy.steady.households
    if solver.setting.moving and posterior.model.problems:
        households = solver.steady.stationary_at(changes)[0]
    parameters = {name: float(value) for name, value in {**parts.parameters, **changes}.items()}
    values = {name: float(value) for name, value in parts.values.items()}
    return economy.at(SteadyState(values, parameters, households), parts.household)


def open_at(source: str, at: Mapping[str, float] | None, model: Model | str | None = None) -> Posterior:
    """The posterior of a model, a configuration or a run's folder, with parameter values put into its table.

    Parameters
    ----------
    source : str
        A results folder, a shipped model's name, ``file.py:Class``, or a configuration.
    at : mapping of str to float, optional
        Values in place of the table's; of a run in place of those at the mode, where it is otherwise.
    model : Model or str, optional
        Of a run: another model of the same data, at the run's values of the parameters that it has.

    Raises
    ------
    EstimhankError
    """
    if not is_run(source):
        if model is not None:
            raise ConfigError(f"{source} is not the results folder of a run: give the other model in its place")
        return open_model(source, at)
    run = load(source)
    posterior = run.posterior
    other = posterior.model
    if model is not None:
        other = make_model(find_model(model) if isinstance(model, str) else model)
        if [o.name for o in other.observables] != [o.name for o in posterior.model.observables]:
            raise ConfigError(f"model {other.name} has other observables than the run: {source}")
    table = other.parameters
    held = {name: entry.value for name, entry in posterior.model.parameters.items() if name in table}
    values = {**{name: value for name, value in held.items() if value is not None}, **run.mode["theta"], **(at or {})}
    # measurement errors are estimated, and are none of the model's
    own = {name: float(value) for name, value in values.items() if name in table or name in (at or {})}
    return Posterior(model_at(other, own), posterior.data, posterior.horizon, posterior.tail_start)


def transition(
    source: str | Posterior,
    shocks: Mapping[str, ArrayLike | str],
    at: Mapping[str, float] | None = None,
    horizon: int | None = None,
    start: Mapping[str, float] | SteadyState | None = None,
    surprises: Mapping[int, Mapping[str, ArrayLike | str]] | None = None,
    model: Model | str | None = None,
) -> TransitionPath:
    """The nonlinear path under perfect foresight that follows paths of the processes, known at date 0.

    Parameters
    ----------
    source : str or Posterior
        As of :func:`open_at`; of a posterior its model at the values of its table.
    shocks : mapping of str to array, or to str
        By process: the path itself in the equations' units, or an expression of it, ``"0.01*0.8^t"``.
    at : mapping of str to float, optional
    horizon : int, optional
        Dates T.
    start : mapping of str to float, or SteadyState, optional
        Where the economy begins: at rest with these values of parameters in place of those of ``at``, which hold from
        date 0 on, so that their change is permanent; or a state of your own
        (:func:`estimhank.transition.solve.solve_transition`).
    surprises : mapping of int to mapping of str to array or str, optional
        What becomes known at later dates, added to what was expected until then; paths and expressions count from the
        surprise (:func:`estimhank.transition.surprises.solve_surprises`).
    model : Model or str, optional
        As of :func:`open_at`.

    Raises
    ------
    EstimhankError
        Sentences about what was given; a path that is not found comes back with its reason.
    """
    from estimhank.transition.solve import solve_transition
    from estimhank.transition.surprises import solve_surprises

    economy = open_economy(source, at, horizon, model)
    begin = state_at(source, at, start, horizon, model) if isinstance(start, Mapping) else start
    if not surprises:
        return solve_transition(economy, _paths(shocks, economy), begin)
    if 0 in surprises:
        raise ConfigError("what is known at date 0 is the shock itself: give surprises at later dates")
    every = {date: _paths(given, economy) for date, given in surprises.items()}
    return solve_surprises(economy, {0: _paths(shocks, economy), **every}, begin)


def open_economy(
    source: str | Posterior,
    at: Mapping[str, float] | None = None,
    horizon: int | None = None,
    model: Model | str | None = None,
) -> Economy:
    """The economy of what :func:`open_at` opens, or of a posterior with values put into its table."""
    if not isinstance(source, Posterior):
        return economy_of(open_at(source, at, model), horizon)
    changed = Posterior(model_at(source.model, at), source.data, source.horizon, source.tail_start) if at else source
    return economy_of(changed, horizon)


def state_at(
    source: str | Posterior,
    at: Mapping[str, float] | None,
    start: Mapping[str, float],
    horizon: int | None = None,
    model: Model | str | None = None,
) -> SteadyState:
    """The steady state with other values of parameters."""
    return open_economy(source, {**(at or {}), **start}, horizon, model).steady


def read_state(
    path: Path,
    source: str | Posterior,
    at: Mapping[str, float] | None,
    horizon: int | None = None,
    model: Model | str | None = None,
) -> SteadyState:
    """Where a path begins, of a file: JSON of parameter values, at rest with these; or NPZ of a state of your own.

    An NPZ file holds levels of variables at the date before the first, by name, the steady state's where a variable is
    left out, and ``distribution`` at the beginning of date 0; of several blocks ``distribution.0``, ``distribution.1``.

    Raises
    ------
    ConfigError
    """
    if path.suffix != ".npz":
        return state_at(source, at, read_point(path), horizon, model)
    economy = open_economy(source, at, horizon, model)
    state, model_of = economy.steady, economy.model
    try:
        given = {name: np.asarray(array, float) for name, array in read_arrays(expand_user(path)).items()}
    except (StorageError, ValueError, TypeError) as error:
        raise ConfigError(f"{path} is not an NPZ file of arrays: {error}") from None
    names = (
        [f"distribution.{i}" for i in range(len(state.households))] if len(state.households) > 1 else ["distribution"]
    )
    households = []
    for name, own in zip(names, state.households, strict=False):
        mass = given.pop(name, np.asarray(own.distribution))
        if mass.shape != own.distribution.shape or not np.isfinite(mass).all() or (mass < 0).any():
            raise ConfigError(f"{path}: '{name}' is an array of shape {own.distribution.shape}, of nothing below zero")
        if abs(mass.sum() - 1) > _WHOLE:
            raise ConfigError(f"{path}: '{name}' adds up to {mass.sum():.10g}, not to one")
        households.append(own._replace(distribution=jnp.asarray(mass)))
    for name, value in given.items():
        if name not in model_of.variables:
            raise ConfigError(f"{path}: the model has no variable '{name}'{nearest(name, model_of.variables)}")
        if value.size != 1 or not np.isfinite(value).all():
            raise ConfigError(f"{path}: '{name}' is one finite number, the level before date 0")
    levels = {name: float(value.reshape(())) for name, value in given.items()}
    return SteadyState({**state.values, **levels}, state.parameters, tuple(households))


_WHOLE = 1e-9  # by how much a distribution may not add up to one


def _paths(shocks: Mapping[str, ArrayLike | str], economy: Economy) -> dict[str, ArrayLike]:
    dates = economy.horizon + economy.horizon // 2
    return {
        name: read_path(f"{name}={path}", dates)[1] if isinstance(path, str) else path for name, path in shocks.items()
    }


def read_path(text: str, horizon: int) -> tuple[str, NDArray[np.float64]]:
    """The process and its path, of ``z=0.01*0.8^t`` or ``z=0.01,0.008``.

    Raises
    ------
    ConfigError
    """
    name, equals, words = (part.strip() for part in text.partition("="))
    try:
        if not equals or not name or not words:
            raise ValueError("a name, an equals sign and a path are needed")
        node = ast.parse(words.replace("^", "**"), mode="eval").body
        if isinstance(node, ast.Tuple):
            values = np.array([float(_value(entry, None)) for entry in node.elts])
        elif any(isinstance(n, ast.Name) and n.id == "t" for n in ast.walk(node)):
            with np.errstate(all="ignore"):
                values = np.broadcast_to(_value(node, np.arange(horizon, dtype=float)), (horizon,)).astype(float)
        else:
            raise ValueError("a single number may be one date or all: write 0.01, (with the comma) for date 0 alone")
        if not np.isfinite(values).all():
            raise ValueError("it is not a finite number at every date")
    except (ValueError, SyntaxError, ArithmeticError, RecursionError, MemoryError) as error:
        why = "it cannot be read" if isinstance(error, SyntaxError) else error
        raise ConfigError(f"the shock '{text}' is not a path ({why}): write {HOW}") from None
    return name, values


def _value(node: ast.expr, t: NDArray[np.float64] | None) -> Any:
    if isinstance(node, ast.Constant):
        given = node.value
        if isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given):
            return float(given)
    if isinstance(node, ast.Name) and node.id == "t" and t is not None:
        return t
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        inner = _value(node.operand, t)
        return -inner if isinstance(node.op, ast.USub) else inner
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        # as numbers of arrays, so that what is too large is infinite and refused above
        left, right = (np.asarray(_value(side, t)) for side in (node.left, node.right))
        return _BINARY[type(node.op)](left, right)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS and _one(node):
        return _FUNCTIONS[node.func.id](_value(node.args[0], t))
    raise ValueError(f"'{ast.unparse(node)}' is not understood")


def _one(call: ast.Call) -> bool:
    """Whether a function is given one number."""
    return len(call.args) == 1 and not call.keywords
