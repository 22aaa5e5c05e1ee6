"""Declarations that a linear solution would take for something else: refused, or said, by name.

A shock that has no first-order effect is no shock of the linear model. At a kink (``jnp.maximum`` of two terms that are
equal in the steady state) there is no derivative; away from it there is one, in which the bound has no part.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from estimhank.model.declaration import Model
from estimhank.model.observed import NO_LEVEL
from estimhank.model.processes import is_off
from estimhank.parameters.parameter_table import ModelError, Values
from estimhank.sequence_space.linear_system import LinearSystem
from estimhank.sequence_space.steady_state import SteadyState
from estimhank.support.errors import ModelWarning

#: Primitives with kinks or jumps, and what people call them.
_KINKED = {
    "max": "a maximum", "min": "a minimum", "clamp": "a bound", "select_n": "a choice (where)",
    "abs": "an absolute value", "sign": "a sign", "floor": "a rounding", "ceil": "a rounding", "round": "a rounding",
    "cond": "a choice (cond)", "reduce_max": "a maximum", "reduce_min": "a minimum", "rem": "a remainder",
    "argmax": "a choice (argmax)", "argmin": "a choice (argmin)", "sort": "a sorting",
}  # fmt: skip
_STEP = 1e-5  # relative, of the one-sided differences that tell a kink


def check_growth(model: Model, state: SteadyState) -> None:
    """Refuse the growth rate of a variable whose steady state is zero, or zero but for rounding.

    Raises
    ------
    ModelError
    """
    largest = max((abs(value) for value in state.values.values()), default=0.0)
    for observable in model.observed_variables:
        value = state.values[observable.variable]
        if observable.kind != "level" and abs(value) <= max(NO_LEVEL, 1e-13 * largest):
            raise ModelError(
                f"model {model.name}: the observable '{observable.name}' is the growth rate of "
                f"'{observable.variable}', whose steady state is {value:g}: there is no growth rate of nothing; "
                "observe its Level"
            )


def check_shocks_matter(model: Model, systems: Sequence[LinearSystem]) -> None:
    """Refuse a shock that has no first-order effect in any of some linear systems.

    Raises
    ------
    ModelError
    """
    for j, shock in enumerate(model.shocks):
        if is_off(shock, model.parameters) or any(np.any(np.asarray(system.shock)[:, j] != 0) for system in systems):
            continue
        raise ModelError(
            f"model {model.name}: the shock '{shock.name}' has no first-order effect in any equation: none reads "
            f"shock.{shock.name}, or only its square or a product with what is zero in the steady state; leave it out, "
            "or let an equation read it"
        )


def check_kinks(model: Model, state: SteadyState) -> None:
    """Refuse equations with a kink at the steady state; say where a bound is left out because it is away from it.

    Raises
    ------
    ModelError
        If one-sided derivatives differ, or the equations ask for the value of a variable (Python's ``if``, ``max``).

    Warns
    -----
    ModelWarning
    """
    names, n_x = model.unknowns, len(model.variables)
    steady = np.array([state.values[name] for name in names], float)
    p = Values(state.parameters)
    labels: list[str] = []

    def residuals(x: jax.Array) -> tuple[jax.Array, ...]:
        """Residuals of the model's equations given (lag, now, lead, shocks), shape (3 n_v + n_z,)."""
        at = [dict(zip(names, x[k * len(names) : (k + 1) * len(names)], strict=True)) for k in range(3)]
        before, now, after = (Values({n: d[n] for n in names[:n_x]}) for d in at)
        shock = Values(dict(zip((s.name for s in model.shocks), x[3 * len(names) :], strict=True)))
        pairs = model.residuals(before, now, after, Values({n: at[1][n] for n in names[n_x:]}), shock, p)
        labels[:] = [name for name, _ in pairs]
        return tuple(jnp.asarray(r, float) for _, r in pairs)

    point = np.concatenate([steady, steady, steady, np.zeros(len(model.shocks))])
    try:
        traced = jax.make_jaxpr(residuals)(point)
    except jax.errors.ConcretizationTypeError:
        raise ModelError(
            f"model {model.name}: the equations ask whether a variable is large or small (Python's if, max or min), "
            "which a linear solution cannot answer: write them without, or with jnp.maximum or jnp.where away from the "
            "steady state"
        ) from None
    found = sorted(_kinked_parts(traced.jaxpr))
    if not found:
        return
    kinks = _one_sided_differences_differ(jax.jit(lambda x: jnp.stack(residuals(x))), point)
    for row in range(len(labels)):
        if kinks[row]:
            raise ModelError(
                f"model {model.name}: the equation '{labels[row]}' has a kink at the steady state "
                f"({', '.join(found)}): its derivatives from the two sides differ, so that there is no linear solution "
                "there"
            )
    held = [label for label, own in zip(labels, _kinks_by_row(traced.jaxpr), strict=True) if own]
    if held:
        warnings.warn(
            f"model {model.name}: {', '.join(found)} in the equation{'s' if len(held) > 1 else ''} "
            f"{', '.join(repr(label) for label in held)} is linearised at the steady state, away from its kink: bounds "
            "that it stands for never bind in the estimation",
            ModelWarning,
            stacklevel=2,
        )


def _kinks_by_row(jaxpr: Any) -> list[bool]:
    """Which results of a traced program are computed with a kinked operation on the variables."""
    return [bool(_kinked_parts(_needed(jaxpr, result))) for result in jaxpr.outvars]


def _needed(jaxpr: Any, result: Any) -> Any:
    """A traced program without the operations that one of its results does not depend on."""
    wanted, kept = {result} if not hasattr(result, "val") else set(), []
    for step in reversed(jaxpr.eqns):
        if any(v in wanted for v in step.outvars):
            kept.append(step)
            wanted |= {v for v in step.invars if not hasattr(v, "val")}
    return jaxpr.replace(eqns=kept[::-1])


def _kinked_parts(jaxpr: Any, moving: Sequence[bool] | None = None) -> set[str]:
    """Kinked operations, in words, on what depends on the variables."""
    depends = dict(zip(jaxpr.invars, moving or [True] * len(jaxpr.invars), strict=True))
    found: set[str] = set()
    for step in jaxpr.eqns:
        read = [not hasattr(v, "val") and depends.get(v, False) for v in step.invars]
        name = step.primitive.name
        if any(read):
            inner = list(_inner(step.params))
            if name in _KINKED:
                found.add(_KINKED[name])
            elif name.startswith("custom_jvp") and any(_is_smooth(sub) for sub in inner):
                pass  # such as softplus: a maximum inside keeps it from overflowing
            else:
                for sub in inner:
                    given = read[len(read) - len(sub.invars) :] if len(sub.invars) <= len(read) else None
                    found |= _kinked_parts(sub, given)
        depends.update(dict.fromkeys(step.outvars, any(read)))
    return found


def _inner(params: Mapping[str, Any]) -> Iterator[Any]:
    for value in params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            if hasattr(part, "jaxpr"):
                yield part.jaxpr
            elif hasattr(part, "eqns"):
                yield part


def _is_smooth(jaxpr: Any) -> bool:
    names = {step.primitive.name for step in jaxpr.eqns}
    return bool(names & {"exp", "exp2", "log1p", "logistic"}) or any(
        _is_smooth(sub) for step in jaxpr.eqns for sub in _inner(step.params)
    )


def _one_sided_differences_differ(residual: Callable[[Any], Any], point: np.ndarray) -> np.ndarray:
    """Whether derivatives from the left and from the right differ in any direction of a variable, by residual.

    Where there are derivatives, the two differences come together as the step becomes shorter; at a kink they do not.
    """
    differ = np.zeros(len(np.asarray(residual(point))), bool)
    middle = np.asarray(residual(point))
    for i in range(len(point)):
        gaps, sizes = [], []
        for step in (_STEP, _STEP / 10):
            move = np.zeros_like(point)
            move[i] = step * max(1.0, abs(point[i]))
            right = (np.asarray(residual(point + move)) - middle) / move[i]
            left = (middle - np.asarray(residual(point - move))) / move[i]
            gaps.append(np.abs(right - left))
            sizes.append(np.abs(right) + np.abs(left))
        # rounding of residuals of order one, over the shorter step, is far below the first bound
        differ |= (gaps[1] > 1e-4 * sizes[1] + 1e-7) & (gaps[1] > 0.5 * gaps[0])
    return differ
