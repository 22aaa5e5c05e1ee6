"""At which dates an equation is on the other side of a kink than at rest: a bound binds.

The equations are traced, and every operation with a kink (``jnp.maximum``, ``jnp.minimum``, ``jnp.where``,
``jnp.clip``, ``abs``) tells which of its sides holds. Nothing has to be declared for that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

#: Parameters of operations that hold a traced program of their own, which runs once.
_WITHIN = {"pjit": "jaxpr", "jit": "jaxpr", "closed_call": "call_jaxpr", "custom_jvp_call": "call_jaxpr"}


def sides(function: Callable[..., Sequence[jax.Array]], *given: Any) -> list[list[jax.Array]]:
    """For each result of a function, which side of its kinks holds, as numbers, in the order of the operations."""
    traced = jax.make_jaxpr(function)(*given)
    values = jax.tree.leaves(given)
    found = []
    for result in traced.jaxpr.outvars:
        seen: list[jax.Array] = []
        _follow(traced.jaxpr.replace(eqns=_needed(traced.jaxpr, result), outvars=[]), traced.consts, values, seen)
        found.append(seen)
    return found


def _needed(jaxpr: Any, result: Any) -> list[Any]:
    """The operations that a result depends on."""
    wanted, kept = {result} if not hasattr(result, "val") else set(), []
    for step in reversed(jaxpr.eqns):
        if any(v in wanted for v in step.outvars):
            kept.append(step)
            wanted |= {v for v in step.invars if not hasattr(v, "val")}
    return kept[::-1]


def _follow(jaxpr: Any, consts: Sequence[Any], values: Sequence[Any], seen: list[jax.Array]) -> list[Any]:
    """Run a traced program, and note the side of each kink."""
    known = dict(zip(jaxpr.constvars, consts, strict=True)) | dict(zip(jaxpr.invars, values, strict=True))

    def read(v: Any) -> Any:
        return v.val if hasattr(v, "val") else known[v]

    for step in jaxpr.eqns:
        given, name = [read(v) for v in step.invars], step.primitive.name
        if name in ("max", "min"):
            seen.append(jnp.asarray(given[0] > given[1], int))
        elif name == "select_n":
            seen.append(jnp.asarray(given[0], int))
        elif name == "clamp":
            low, x, high = given
            seen.append(jnp.asarray(x > high, int) - jnp.asarray(x < low, int))
        elif name in ("abs", "sign"):
            seen.append(jnp.asarray(given[0] > 0, int))
        if name in _WITHIN:
            inner = step.params[_WITHIN[name]]
            made = _follow(inner.jaxpr, inner.consts, given, seen)
        else:
            own = list(dict.fromkeys(v for v in step.invars if not hasattr(v, "val")))
            alone = jaxpr.replace(eqns=[step], constvars=[], invars=own, outvars=step.outvars)
            made = jax.core.eval_jaxpr(alone, (), *(known[v] for v in own))
        known.update(zip(step.outvars, made, strict=True))
    return [read(v) for v in jaxpr.outvars]
