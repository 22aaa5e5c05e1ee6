"""Which variables are solved for densely, and which by recursions in time.

The linear system of a model couples all dates densely only through the household Jacobians. With ``m`` well-chosen
dense variables (one for each household output that has a Jacobian, usually), the remaining *banded* block::

    F_lag[rows, rest] v_{t-1} + F_now[rows, rest] v_t + F_lead[rows, rest] v_{t+1}

is a non-singular block-tridiagonal system that recursions solve. Not every choice works: taking the household's
assets as given leaves the default model's asset market, debt and return over-determined at date 0.

The search begins with a largest block of ``F_now`` that has full rank, by QR decompositions with pivoting. It exchanges
one variable, or one equation, for another as long as the pivots of the recursions become better conditioned; which
exchanges leave the rank shows in the block's inverse times what is outside (Gu and Eisenstat 1996). Of what it has
seen, the truncated banded blocks of the best decide. Where all are singular, the variable and the equation that take
most part in that join the dense system, which is always right once it holds everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr, svd

from estimhank.parameters.parameter_table import ModelError, nearest
from estimhank.sequence_space.conditioning import Bands, pivot_condition, stacked, truncated_condition
from estimhank.sequence_space.incidence import check_incidence, check_independent
from estimhank.sequence_space.linear_system import LinearSystem

Array = NDArray[np.float64]

#: Condition number of the truncated banded block above which a choice is called singular.
CONDITION_LIMIT = 1e9
_ROUNDS, _TRIED = 10, 40  # of exchanges, and how many of them are tried in each
_SEEN = 1_500  # variables of all the blocks together that are seen, where exchanges no longer improve on them
_LOOKED_AT = 150  # variables of all the truncated blocks together that are looked at, but three blocks at least
_DATES, _MOST_PART = (1, 2, 4, 8), 5  # of blocks that show what is singular; equations and variables taken from it


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


class Split(NamedTuple):
    """Equations and variables of the banded block, in order."""

    rows: tuple[int, ...]
    rest: tuple[int, ...]

    def outside(self, bands: Bands) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Equations and variables that are dense."""
        n_eq, n_v = bands.now.shape[1:]
        return _without(range(n_eq), self.rows), _without(range(n_v), self.rest)


def choose_elimination(
    systems: Sequence[LinearSystem],
    names: tuple[str, ...],
    household_sources: tuple[int, ...],
    n_dense: int,
    wanted: tuple[str, ...] = (),
    moved: Sequence[LinearSystem] = (),
    equations: Sequence[str] = (),
) -> Elimination:
    """Pick few dense variables that leave a well-conditioned banded block.

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
    equations : sequence of str
        Names of the equations, for errors; by default their numbers.

    Raises
    ------
    ModelError
        The equations do not determine the variables, or not with those dense that are wanted.
    """
    n_eq, n_v = systems[0].now.shape
    equations = equations or [str(i + 1) for i in range(n_eq)]
    if n_eq + n_dense != n_v:
        raise ModelError(f"{n_eq + n_dense} equations, household blocks included, for {n_v} unknowns")
    if not all(np.isfinite(np.asarray(m)).all() for s in systems for m in s):
        raise ModelError("the equations have derivatives that are not finite at the steady state")
    for name in wanted:
        if name not in names:
            raise ModelError(f"dense variable '{name}' is not a variable{nearest(name, names)}")
    bands, pattern = Bands.of(systems), Bands.of([*systems, *moved])
    check_incidence(pattern, names, equations, household_sources)
    check_independent(bands, equations)
    whole = Split(tuple(range(n_eq)), tuple(range(n_v)))
    if n_dense == 0 and not wanted and _has_present(bands.now[0]):
        # solved as a state space: no truncated system, whose condition would matter, is in the way
        return _describe(pattern, whole, (), household_sources, 1.0)
    dense = tuple(names.index(name) for name in wanted)
    if not dense:
        split, condition = _search(bands)
        return _describe(pattern, split, split.outside(bands)[1], household_sources, condition)
    split, condition = _best(bands, _exchange(bands, _starts(bands, _without(whole.rest, dense)), ("rows",)))
    if not condition < CONDITION_LIMIT:
        raise ModelError(
            f"the equilibrium conditions do not determine the variables with {', '.join(wanted)} dense: the banded "
            "block is singular; leave the choice to the package, or take other dense variables, or more"
        )
    return _describe(pattern, split, dense, household_sources, condition)


def _without(all_of_them: Iterable[int], gone: Sequence[int]) -> tuple[int, ...]:
    return tuple(i for i in all_of_them if i not in gone)


def _has_present(now: Array) -> bool:
    """Whether the equations of a date can be solved for its variables, given all other dates."""
    with np.errstate(all="ignore"):
        scaled = now / np.abs(now).max(axis=1, keepdims=True)
        scaled = scaled / np.abs(scaled).max(axis=0)
    return bool(np.isfinite(scaled).all() and np.linalg.cond(scaled) < CONDITION_LIMIT)


def _search(bands: Bands) -> tuple[Split, float]:
    """Equations and variables of a banded block with as few outside as can be, and its condition number."""
    starts = _starts(bands)
    while True:
        seen = _exchange(bands, starts, Split._fields)
        split, condition = _best(bands, seen)
        if condition < CONDITION_LIMIT:
            return split, condition
        starts = _with_more_dense(bands, split)


def _starts(bands: Bands, columns: tuple[int, ...] | None = None) -> set[Split]:
    """Largest blocks of the present that have full rank, in each of the systems; or with just these columns."""
    found = set()
    for now in bands.now:
        among = np.arange(now.shape[1]) if columns is None else np.array(columns, int)
        triangle, order = qr(now[:, among], mode="r", pivoting=True)
        pivots = np.abs(np.diag(triangle))
        rank = len(among) if columns is not None else int((pivots > pivots.max(initial=0.0) / CONDITION_LIMIT).sum())
        rest = sorted(among[order[:rank]].tolist())
        _, rows = qr(now[:, rest].T, mode="r", pivoting=True)
        found.add(Split(tuple(sorted(rows[:rank].tolist())), tuple(rest)))
    return found


def _exchange(bands: Bands, starts: Iterable[Split], of: Sequence[str]) -> dict[Split, float]:
    """Splits that exchanges of one for another lead to, with the condition numbers of their pivots."""

    def condition(split: Split) -> float:
        return _rounded(pivot_condition(bands.block(*split), CONDITION_LIMIT))

    seen = {split: condition(split) for split in starts}
    done: dict[Split, float] = {}
    while open_ones := [split for split in seen if split not in done]:
        best = min(open_ones, key=seen.__getitem__)
        improves = seen[best] < min(done.values(), default=np.inf)
        if done and not (improves and len(done) < _ROUNDS) and len(seen) * len(best.rest) > _SEEN:
            break  # small systems are seen through
        done[best] = seen[best]
        for split in _neighbours(bands, best, of):
            if split not in seen:
                seen[split] = condition(split)
    return seen


def _neighbours(bands: Bands, split: Split, of: Sequence[str]) -> list[Split]:
    """Splits with one equation or variable of the banded block exchanged, those first that keep most of its volume."""
    now, (targets, dense) = bands.now[0], split.outside(bands)
    try:
        inverse = np.linalg.inv(now[np.ix_(*split)])
    except np.linalg.LinAlgError:
        return []
    volumes = {"rest": inverse @ now[np.ix_(split.rows, dense)], "rows": (now[np.ix_(targets, split.rest)] @ inverse).T}
    found = []
    for field, others in (("rows", targets), ("rest", dense)):
        inside = getattr(split, field)
        for i, j in np.argwhere(np.abs(volumes[field]) > 1 / CONDITION_LIMIT) if field in of else ():
            exchanged = tuple(sorted({*inside, others[j]} - {inside[i]}))
            found.append((-abs(volumes[field][i, j]), split._replace(**{field: exchanged})))
    return [exchanged for _, exchanged in sorted(found)[:_TRIED]]


def _best(bands: Bands, seen: dict[Split, float]) -> tuple[Split, float]:
    """The split with the smallest condition number, of its pivots and of its truncated block; infinite if singular."""
    # of several that are as good, the one whose dense variables come first
    ranked = sorted(seen, key=lambda split: (seen[split], [-i for i in split.rest], split.rows))
    best, smallest = ranked[0], np.inf
    for split in ranked[: max(3, _LOOKED_AT // max(1, len(best.rest)))]:
        if not seen[split] < min(smallest, CONDITION_LIMIT):
            break
        condition = max(seen[split], _rounded(truncated_condition(bands.block(*split))))
        if condition < smallest:
            best, smallest = split, condition
    return best, smallest


def _rounded(condition: float) -> float:
    """To six digits: what is equal but for rounding is equal, on every machine."""
    return float(f"{condition:.5e}")


def _with_more_dense(bands: Bands, split: Split) -> set[Split]:
    """The split without one of the variables and one of the equations that take most part in what is singular."""
    block, n = bands.block(*split), len(split.rest)
    systems = [Bands(*(m[i : i + 1] for m in block)) for i in range(len(block.now))]
    conditions = [pivot_condition(one, CONDITION_LIMIT) for one in systems]
    if max(conditions) < CONDITION_LIMIT:
        conditions = [truncated_condition(one) for one in systems]
    worst = [m[int(np.argmax(conditions))] for m in block]
    nearest_to_zero = np.inf
    for dates in _DATES:
        left, sizes, right = svd(stacked(worst[0], worst[1], worst[2], dates).toarray(), lapack_driver="gesvd")
        if (share := sizes[-1] / max(sizes[0], 1e-300)) < nearest_to_zero:
            nearest_to_zero = share
            parts = [(v.reshape(dates, n) ** 2).sum(0) for v in (left[:, -1], right[-1])]
    equations, variables = (np.argsort(-part, kind="stable")[:_MOST_PART] for part in parts)
    return {
        Split(_without(split.rows, (split.rows[i],)), _without(split.rest, (split.rest[j],)))
        for i in equations
        for j in variables
    }


def _describe(
    pattern: Bands, split: Split, dense: tuple[int, ...], household_sources: tuple[int, ...], condition: float
) -> Elimination:
    rows, rest = split
    targets, _ = split.outside(pattern)

    def present(which: str, equations: tuple[int, ...], variables: tuple[int, ...]) -> tuple[int, ...]:
        entries = getattr(pattern, which)[:, list(equations)][:, :, list(variables)]
        return tuple(int(i) for i in np.flatnonzero(np.abs(entries).sum(axis=(0, 1))))

    moved = {i for which in Bands._fields for i in present(which, targets, rest)}
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
