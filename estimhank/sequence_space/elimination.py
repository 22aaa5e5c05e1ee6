"""Which variables are solved for densely, and which by recursions in time.

The linear system of a model couples all dates densely only through the household Jacobians. With ``m`` well-chosen
dense variables (one for each household output that has a Jacobian, usually), the remaining *banded* block::

    F_lag[rows, rest] v_{t-1} + F_now[rows, rest] v_t + F_lead[rows, rest] v_{t+1}

is a non-singular block-tridiagonal system that recursions solve. Not every choice works: taking the household's
assets as given leaves the default model's asset market, debt and return over-determined at date 0. So candidates are
ranked by the condition number of the truncated banded block and of its pivots.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import jax
import numpy as np
from numpy.typing import NDArray

from estimhank.parameters.parameter_table import ModelError, nearest
from estimhank.sequence_space.linear_system import LinearSystem

Array = NDArray[np.float64]

#: Condition number of the truncated banded block above which a choice is called singular.
CONDITION_LIMIT = 1e9
_DATES = 40
_MAX_TRIALS = 3000


@dataclass(frozen=True)
class Elimination:
    """How the unknowns and equations of one date are split.

    Attributes
    ----------
    dense, rest : tuples of int
        Positions of the dense variables and of the others among the unknowns.
    targets, rows : tuples of int
        Positions of the aggregate equations that join the household Jacobians in the dense system, and of the others.
    lagged, leading : tuples of int
        Positions *within rest* of the variables that enter ``rows`` with a lag, with a lead.
    sources : tuple of int
        Positions *within rest* of the variables that enter the dense equations.
    dense_lag, dense_now, dense_lead : tuples of int
        Positions *within dense* of the dense variables that enter ``rows`` with a lag, now, with a lead.
    condition : float
        Condition number of the truncated banded block in the 1-norm, the worst over the systems tried.
    """

    dense: tuple[int, ...]
    rest: tuple[int, ...]
    targets: tuple[int, ...]
    rows: tuple[int, ...]
    lagged: tuple[int, ...]
    leading: tuple[int, ...]
    sources: tuple[int, ...]
    dense_lag: tuple[int, ...]
    dense_now: tuple[int, ...]
    dense_lead: tuple[int, ...]
    condition: float


def choose_elimination(
    systems: Sequence[LinearSystem],
    names: tuple[str, ...],
    household_sources: tuple[int, ...],
    n_dense: int,
    wanted: tuple[str, ...] = (),
    moved: Sequence[LinearSystem] = (),
) -> Elimination:
    """Pick the dense variables that leave the best-conditioned banded block.

    Parameters
    ----------
    systems : sequence of LinearSystem
        The model linearised at a few parameter vectors; the choice must serve all of them.
    names : tuple of str
        Names of the unknowns.
    household_sources : tuple of int
        Positions among the unknowns of the household's inputs and of the outputs that have Jacobians.
    n_dense : int
        Number of household outputs that have Jacobians.
    wanted : tuple of str
        Dense variables that the model's author asks for; empty to choose.
    moved : sequence of LinearSystem
        Further systems that only show which entries can be non-zero.

    Raises
    ------
    ModelError
        No choice leaves a non-singular banded block: the equations do not determine the variables.
    """
    arrays = [jax.tree.map(lambda m: np.asarray(m, float), s) for s in systems]
    pattern = [jax.tree.map(lambda m: np.nan_to_num(np.asarray(m, float)), s) for s in moved]
    n_v, n_eq = len(names), arrays[0].now.shape[0]
    if n_eq + n_dense != n_v:
        raise ModelError(f"{n_eq + n_dense} equations, household blocks included, for {n_v} unknowns")
    if not all(np.isfinite(m).all() for s in arrays for m in s):
        raise ModelError("the equations have derivatives that are not finite at the steady state")
    _check_independent(arrays)
    if n_dense == 0 and not wanted and _has_present(arrays[0].now):
        # solved as a state space: no truncated system, whose condition would matter, is in the way
        everything = tuple(range(n_v))
        return _describe([*arrays, *pattern], (), everything, (), everything, household_sources, 1.0)
    best: Elimination | None = None
    for dense, targets in _candidates(names, n_eq, n_dense, wanted):
        if best is not None and len(targets) > len(best.targets):
            break  # a larger dense system is the last resort
        rest = tuple(i for i in range(n_v) if i not in dense)
        rows = tuple(i for i in range(n_eq) if i not in targets)
        condition = max(_condition(s, rows, rest) for s in arrays)
        if condition < CONDITION_LIMIT and (best is None or condition < best.condition):
            best = _describe([*arrays, *pattern], dense, rest, targets, rows, household_sources, condition)
    if best is None:
        asked = f" with {', '.join(wanted)} dense" if wanted else ""
        raise ModelError(
            f"the equilibrium conditions do not determine the variables{asked}: every banded block tried is singular; "
            "look for an equation that is missing, doubled, or follows from the others by Walras' law"
        )
    return best


def _has_present(now: Array) -> bool:
    """Whether the equations of a date can be solved for its variables, given all other dates."""
    with np.errstate(all="ignore"):
        scaled = now / np.abs(now).max(axis=1, keepdims=True)
        scaled = scaled / np.abs(scaled).max(axis=0)
    return bool(np.isfinite(scaled).all() and np.linalg.cond(scaled) < CONDITION_LIMIT)


def _check_independent(systems: Sequence[LinearSystem]) -> None:
    """Refuse equations that depend on each other: their symbol then lacks full row rank at every frequency."""
    wave = np.exp(1j * np.array([0.3, 1.1, 2.0]))[:, None, None]
    for system in systems:
        symbol = system.lag * wave + system.now + system.lead / wave
        symbol = symbol / np.maximum(np.abs(symbol).max(axis=2, keepdims=True), 1e-300)
        smallest = np.linalg.svd(symbol, compute_uv=False)[:, -1]
        if smallest.max() < 1e-10:
            raise ModelError(
                "the equilibrium conditions depend on each other: look for an equation that is missing, doubled, or "
                "follows from the others by Walras' law"
            )


def _candidates(
    names: tuple[str, ...], n_eq: int, n_dense: int, wanted: tuple[str, ...]
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Dense variables and target equations, fewest first; larger sets move equations into the dense system."""
    for name in wanted:
        if name not in names:
            raise ModelError(f"dense variable '{name}' is not a variable{nearest(name, names)}")
    trials = 0
    for extra in range(3):
        if wanted and extra != len(wanted) - n_dense:
            continue
        chosen = [tuple(names.index(n) for n in wanted)] if wanted else combinations(range(len(names)), n_dense + extra)
        for dense in chosen:
            for targets in combinations(range(n_eq), extra):
                trials += 1
                if trials > _MAX_TRIALS:
                    return
                yield dense, targets


def _condition(system: LinearSystem, rows: tuple[int, ...], rest: tuple[int, ...]) -> float:
    """1-norm condition number of the block-tridiagonal banded block over a few dates, pivots included."""
    n = len(rest)
    if n == 0:
        return 1.0
    lag, now, lead = (m[np.ix_(rows, rest)] for m in (system.lag, system.now, system.lead))
    scale = np.maximum(np.abs(np.hstack([lag, now, lead])).max(axis=1, keepdims=True), 1e-300)
    lag, now, lead = lag / scale, now / scale, lead / scale
    pivot, worst = now, 1.0
    for _ in range(_DATES):
        try:
            inverse = np.linalg.inv(pivot)
        except np.linalg.LinAlgError:
            return np.inf
        worst = max(worst, float(np.abs(pivot).sum(0).max() * np.abs(inverse).sum(0).max()))
        if not worst < CONDITION_LIMIT:
            return np.inf
        pivot = now - lag @ inverse @ lead
    eye, below, above = np.eye(_DATES), np.eye(_DATES, k=-1), np.eye(_DATES, k=1)
    whole = np.kron(eye, now) + np.kron(below, lag) + np.kron(above, lead)
    try:
        size = float(np.abs(whole).sum(0).max() * np.abs(np.linalg.inv(whole)).sum(0).max())
    except np.linalg.LinAlgError:
        return np.inf
    return max(worst, size) if np.isfinite(size) else np.inf


def _describe(
    systems: Sequence[LinearSystem],
    dense: tuple[int, ...],
    rest: tuple[int, ...],
    targets: tuple[int, ...],
    rows: tuple[int, ...],
    household_sources: tuple[int, ...],
    condition: float,
) -> Elimination:
    def present(which: str, equations: tuple[int, ...], variables: tuple[int, ...]) -> tuple[int, ...]:
        columns = [np.abs(getattr(s, which)[np.ix_(equations, variables)]).sum(0) for s in systems]
        return tuple(int(i) for i in np.flatnonzero(np.sum(columns, axis=0))) if equations and variables else ()

    moved = {i for which in ("lag", "now", "lead") for i in present(which, targets, rest)}
    direct = {i for i, v in enumerate(rest) if v in household_sources}
    return Elimination(
        dense,
        rest,
        targets,
        rows,
        present("lag", rows, rest),
        present("lead", rows, rest),
        tuple(sorted(moved | direct)),
        present("lag", rows, dense),
        present("now", rows, dense),
        present("lead", rows, dense),
        condition,
    )
