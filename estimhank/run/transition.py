"""``estimhank transition``: nonlinear paths of a model, of a configuration's, or of a run's."""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import ArrayLike, NDArray

from estimhank.posterior.posterior import Posterior
from estimhank.run.model_check import check_determinate, model_at, open_model, read_point
from estimhank.run.results import load
from estimhank.run.verbs import AtOption, JsonOption, is_run
from estimhank.support.errors import ConfigError, ModelWarning, TransitionError
from estimhank.support.files import to_json

if TYPE_CHECKING:
    from estimhank.transition.economy import Economy
    from estimhank.transition.solve import TransitionPath

#: What an expression in t may hold.
_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}  # fmt: skip
_FUNCTIONS: Mapping[str, Callable[[Any], Any]] = {"exp": np.exp, "sqrt": np.sqrt, "sin": np.sin, "cos": np.cos}
_HOW = "z=0.01*0.8^t, an expression in the date t = 0, 1, ..., or z=0.01,0.008, its values from date 0 on"


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
    from estimhank.sequence_space.steady_state import SteadyState

    solver = posterior.solver
    changes = solver.setting.mapping(posterior.to_array(theta))
    parts, households = solver.steady.at(changes), economy.steady.households
    if solver.setting.moving and posterior.model.problems:
        households = solver.steady.stationary_at(changes)[0]
    parameters = {name: float(value) for name, value in {**parts.parameters, **changes}.items()}
    values = {name: float(value) for name, value in parts.values.items()}
    return economy.at(SteadyState(values, parameters, households), parts.household)


def open_at(source: str, at: Mapping[str, float] | None) -> Posterior:
    """The posterior of a model, a configuration or a run's folder, with parameter values put into its table.

    Parameters
    ----------
    source : str
        A results folder, a shipped model's name, ``file.py:Class``, or a configuration.
    at : mapping of str to float, optional
        Values in place of the table's; of a run in place of those at the mode, where it is otherwise.
    """
    if not is_run(source):
        return open_model(source, at)
    run = load(source)
    posterior = run.posterior
    table = posterior.model.parameters
    values = {**run.mode["theta"], **(at or {})}
    # measurement errors are estimated, and are none of the model's
    own = {name: float(value) for name, value in values.items() if name in table or name in (at or {})}
    return Posterior(model_at(posterior.model, own), posterior.data, posterior.horizon, posterior.tail_start)


def transition(
    source: str | Posterior,
    shocks: Mapping[str, ArrayLike | str],
    at: Mapping[str, float] | None = None,
    horizon: int | None = None,
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

    Raises
    ------
    EstimhankError
        Sentences about what was given; a path that is not found comes back with its reason.
    """
    from estimhank.transition.solve import solve_transition

    if isinstance(source, Posterior):
        model = model_at(source.model, at)
        posterior = Posterior(model, source.data, source.horizon, source.tail_start) if at else source
    else:
        posterior = open_at(source, at)
    economy = economy_of(posterior, horizon)
    paths = {
        name: read_path(f"{name}={path}", economy.horizon)[1] if isinstance(path, str) else path
        for name, path in shocks.items()
    }
    return solve_transition(economy, paths)


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
        raise ConfigError(f"the shock '{text}' is not a path ({why}): write {_HOW}") from None
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


def as_csv(paths: Mapping[str, NDArray[np.float64]]) -> list[str]:
    """Paths as the lines of a long table: variable, date, level."""
    rows = ["variable,date,level"]
    for name, path in paths.items():
        rows += [f"{name},{date},{float(value)!r}" for date, value in enumerate(path)]
    return rows


def add_transition_verb(app: typer.Typer) -> None:
    """The command of this module."""

    @app.command("transition")
    def transition_command(
        source: Annotated[
            str,
            typer.Argument(
                metavar="MODEL",
                help="Results folder of a run (at its mode); or a model's name, file.py:Class, a configuration.",
            ),
        ],
        shock: Annotated[list[str], typer.Option("--shock", help=f"Path of a process: {_HOW}. May be repeated.")],
        at: AtOption = None,
        horizon: Annotated[int | None, typer.Option(help="Dates; the configuration's by default.")] = None,
        as_json: JsonOption = False,
    ) -> None:
        """Nonlinear path under perfect foresight: levels of all variables after a shock known at date 0."""
        at_mode = at is not None and str(at) == "mode" and not at.exists()
        if at_mode and not is_run(source):
            raise ConfigError(f"{source} is not the results folder of a run and has no mode: give --at a file")
        shocks: dict[str, str] = {}
        for text in shock:
            name = read_path(text, 1)[0]
            if name in shocks:
                raise ConfigError(f"the shock '{name}' is given twice: add the two paths up")
            shocks[name] = text.partition("=")[2]
        found = transition(source, dict(shocks), read_point(at) if at and not at_mode else None, horizon)
        if as_json:
            print(to_json(found.to_dict()))
        elif found.converged:
            print("\n".join(as_csv(found.paths)))
        if found.failure is not None:
            raise TransitionError(f"no path ({found.reason}): {found.failure.message}")
