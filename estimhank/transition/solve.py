"""Nonlinear paths of a declared model under perfect foresight: what is given, what comes out, what may fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from estimhank.households.stationary import TOP_MASS_LIMIT
from estimhank.sequence_space.steady_state import RESIDUAL_LIMIT, SteadyState
from estimhank.transition.economy import Beginning, Economy
from estimhank.transition.equations import Surroundings
from estimhank.transition.newton import Array, Outcome, Point, solve_paths

#: Share of its largest deviation by which a variable may be away from rest at the last date, with which the horizon is
#: long enough without a further look. The last date is wrong by about as much, and earlier ones by less
#: (docs/transition.md).
HOME = 1e-4
#: Share of its largest deviation by which a variable may change with the horizon in the first half of the path.
CHANGE = 1e-3
#: Steps of continuation as shares of the way: the first one, so that what is absurd is soon given up; the shortest.
_FIRST, _SHORTEST = 1 / 8, 1 / 16


@dataclass(frozen=True)
class Failure:
    """Why there is no path.

    Attributes
    ----------
    equation : str
        The one that is furthest from holding, or is not a number; of households at the end of their grid, the output
        whose block it is; of a path that has not come home, the variable.
    date : int
        At which date.
    size : float
        How far off; nan where it is not a number.
    message : str
        A sentence, with what to do.
    """

    equation: str
    date: int
    size: float
    message: str

    def after(self, date: int, where: str = "after the surprise at") -> Failure:
        """The same of a path that begins at a later date, counted from the first date of all."""
        if date == 0:
            return self
        words = f"{where} date {date}, counted from there: {self.message}"
        return replace(self, date=self.date + date, message=words)


@dataclass(frozen=True)
class HouseholdPaths:
    """Households along a path, by state of the grid.

    Attributes
    ----------
    distributions : array of shape (T, n_e, ...)
        At the beginning of each date.
    assets : array of shape (T, n_e, ...), or (T, k, n_e, ...) of k assets
        End-of-period assets.
    outputs : dict of str to array of shape (T, n_e, ...)
        The policies that are aggregated.
    """

    distributions: Array
    assets: Array
    outputs: dict[str, Array]


@dataclass(frozen=True)
class TransitionPath:
    """A path under perfect foresight, or why there is none.

    Attributes
    ----------
    paths : dict of str to array of shape (T,)
        All variables and household outputs, in levels; empty where there is none.
    residual : float
        The largest of all equations at all dates, in the equations' units.
    iterations, jvps : int
        Steps, and derivatives along one direction that they took.
    converged : bool
        Whether `paths` is the path.
    reason : str
        ``ok``; ``domain``, ``no_decrease``, ``linear``, ``iterations``
        (:class:`estimhank.transition.newton.Outcome`); ``horizon``: the path depends on its number of dates;
        ``grid_too_small``: households leave their asset grid on the way.
    failure : Failure, optional
        Where `reason` is not ``ok``.
    evaluations : int
        Of the equations at all dates.
    change : float
        By how much a longer horizon changes the first half of the path at most, as a share of a variable's largest
        deviation; 0 where the path is at rest at the last date anyway.
    binds : dict of str to array of shape (T,), bool
        By equation, the dates at which it is on another side of a kink than in the steady state: a bound binds. Of
        equations for which there are such dates.
    every : dict of str to array of shape (T,)
        Variables of the canonical form, in levels.
    households : tuple of HouseholdPaths
        By block, where they were asked for.
    """

    paths: dict[str, Array]
    residual: float
    iterations: int
    jvps: int
    converged: bool
    reason: str
    failure: Failure | None = None
    evaluations: int = 0
    change: float = 0.0
    binds: dict[str, Array] = field(default_factory=dict)
    every: dict[str, Array] = field(default_factory=dict)
    households: tuple[HouseholdPaths, ...] = ()

    def between(self, first: int, last: int) -> TransitionPath:
        """The same from one date to before another."""
        parts = {"paths": self.paths, "binds": self.binds, "every": self.every}
        cut = {part: {name: path[first:last] for name, path in by_name.items()} for part, by_name in parts.items()}
        binds = {name: at for name, at in cut["binds"].items() if at.any()}
        return replace(self, paths=cut["paths"], binds=binds, every=cut["every"])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        found = {k: v for k, v in vars(self).items() if k not in ("paths", "failure", "binds", "every", "households")}
        found["binds"] = {name: np.flatnonzero(dates).tolist() for name, dates in self.binds.items()}
        found["failure"] = None if self.failure is None else asdict(self.failure)
        return {"paths": {name: path.tolist() for name, path in self.paths.items()}, **found}


def solve_transition(
    economy: Economy,
    shocks: Mapping[str, ArrayLike],
    initial: SteadyState | None = None,
    tolerance: float = RESIDUAL_LIMIT,
    households: bool = False,
) -> TransitionPath:
    """The path that follows paths of the processes that become known at date 0, under perfect foresight.

    Parameters
    ----------
    economy : Economy
        Where the economy is at rest after the last date.
    shocks : mapping of str to array
        By the name of the process: its path itself, in the units in which the equations read it, from date 0 on, of at
        most T + T//2 dates; at rest after the last date that is given.
    initial : SteadyState, optional
        Where the economy begins, if not at rest where it ends: values of the variables at the date before the first,
        and the distribution at the beginning of date 0. The steady state at other parameters makes a permanent change;
        with another ``distribution`` in ``households`` it is any beginning.
    tolerance : float
        Largest residual of any equation at any date, in the equations' units.
    households : bool
        Whether distributions and policies by date are returned too.

    Returns
    -------
    TransitionPath
        Failures come back with a reason, never as a path.

    Raises
    ------
    ModelError
        Shocks that the model does not have; a beginning on other grids.
    """
    begin = economy.rest if initial is None else economy.beginning(initial)
    found = solve_checked(economy, economy.forcing(shocks), begin, tolerance)
    path = told(economy, [found])
    return replace(path, households=_households(economy, found)) if households and path.converged else path


@dataclass(frozen=True)
class Found:
    """Where a search for paths ended: at ``point``, as ``reason`` says; ``given``: in which surroundings.

    ``kept``: of its dates, how many are used; others as of :class:`TransitionPath`.
    """

    point: Point
    given: Surroundings
    reason: str
    failure: Failure | None
    iterations: int
    evaluations: int
    jvps: int
    kept: int
    change: float = 0.0


def told(economy: Economy, pieces: Sequence[Found]) -> TransitionPath:
    """Pieces of a path, one after the other, for the user: levels by name, or the first failure."""
    failed = next((piece for piece in pieces if piece.reason != "ok"), None)
    paths: dict[str, Array] = {}
    every: dict[str, Array] = {}
    binds: dict[str, Array] = {}
    if failed is None:
        bound = [economy.binds(piece.point, piece.given) for piece in pieces]
        free = {name: np.zeros(economy.horizon, bool) for at in bound for name in at}
        binds = {
            name: np.concatenate([{**free, **at}[name][: piece.kept] for at, piece in zip(bound, pieces, strict=True)])
            for name in free
        }
        binds = {name: dates for name, dates in binds.items() if dates.any()}
        levels = [economy.levels(piece.point) for piece in pieces]
        paths = {
            name: np.concatenate([at[name][: piece.kept] for at, piece in zip(levels, pieces, strict=True)])
            for name in levels[0]
        }
        x = np.concatenate([piece.point.x[: piece.kept] for piece in pieces])
        every = {name: x[:, i] for i, name in enumerate(economy.model.variables)}
    return TransitionPath(
        paths,
        max(piece.point.residual for piece in pieces),
        sum(piece.iterations for piece in pieces),
        sum(piece.jvps for piece in pieces),
        failed is None,
        "ok" if failed is None else failed.reason,
        None if failed is None else failed.failure,
        sum(piece.evaluations for piece in pieces),
        max(piece.change for piece in pieces),
        binds,
        every,
    )


def solve_checked(
    economy: Economy, forcing: Array, begin: Beginning, tolerance: float = RESIDUAL_LIMIT, guess: Array | None = None
) -> Found:
    """A path of T dates under a forcing that is known for longer, (T + T//2, n_z).

    At first the economy is taken to be at rest after T dates. Where it is still away from rest by then, the path is
    solved a second time from date T//2 on, for T further dates, and a third time for the first T dates, with what the
    second one expects after them. By how much the first half changes says how much it depends on the horizon.
    """
    horizon, half = economy.horizon, economy.horizon // 2
    given, start = economy.around(forcing[:horizon], begin, half)
    first = solve_around(economy, given, start if guess is None else guess, tolerance)
    if first.reason != "ok" or _away(economy, first.point.x).max(initial=0.0) <= HOME:
        return first
    x, middle = first.point.x, Beginning(first.point.x[half - 1], first.point.seen.distributions)
    further, _ = economy.around(forcing[half:], middle, horizon - half)
    second = solve_around(economy, further, later(x, economy.at_rest, half), tolerance)
    if second.reason != "ok":
        assert second.failure is not None
        return _counted(replace(second, failure=second.failure.after(half, "from")), first)
    tail = second.point.x
    given = given._replace(after=jnp.asarray(tail[horizon - half]), marginal_values=second.point.seen.marginal_values)
    third = solve_around(economy, given, np.concatenate([x[:half], tail[: horizon - half]]), tolerance)
    third = _counted(third, first, second)
    if third.reason != "ok":
        return third
    largest = np.abs(third.point.x - economy.at_rest).max(axis=0)
    moved = np.abs(third.point.x - x)[:half].max(axis=0)
    change = np.where(moved > RESIDUAL_LIMIT, moved / np.maximum(largest, RESIDUAL_LIMIT), 0.0)
    at = int(np.argmax(change))
    third = replace(third, change=float(change[at]))
    if third.change <= CHANGE:
        return third
    name, date = economy.model.variables[at], int(np.argmax(np.abs(third.point.x - x)[:half, at]))
    words = (
        f"'{name}' at date {date} changes by {third.change:.1%} of its largest deviation if the economy is at rest "
        f"after {horizon + half} dates in place of {horizon}: give a longer horizon, or a shock that dies out sooner"
    )
    return replace(third, reason="horizon", failure=Failure(name, date, float(moved[at]), words))


def _counted(found: Found, *others: Found) -> Found:
    """With what the others took."""
    return replace(
        found,
        iterations=found.iterations + sum(f.iterations for f in others),
        evaluations=found.evaluations + sum(f.evaluations for f in others),
        jvps=found.jvps + sum(f.jvps for f in others),
    )


def later(path: Array, end: Array, dates: int) -> Array:
    """A path (T, n) as it looks some dates later, with what follows its last date."""
    return np.concatenate([path[dates:], np.tile(end, (dates, 1))])


def _away(economy: Economy, x: Array) -> Array:
    """Deviations at the last date, as shares of the variables' largest, (n_x,)."""
    away = np.abs(x - economy.at_rest)
    largest = away.max(axis=0)
    return np.where(largest > RESIDUAL_LIMIT, away[-1] / np.maximum(largest, RESIDUAL_LIMIT), 0.0)


def _households(economy: Economy, found: Found) -> tuple[HouseholdPaths, ...]:
    by_block = zip(economy.model.problems, economy.households(found.point.x, found.given), strict=True)
    return tuple(
        HouseholdPaths(np.asarray(d), np.asarray(held), {name: np.asarray(outputs[name]) for name in block.outputs})
        for block, (d, held, outputs) in by_block
    )


def solve_around(economy: Economy, given: Surroundings, start: Array, tolerance: float = RESIDUAL_LIMIT) -> Found:
    """Paths in their surroundings, begun from a first guess (T, n_x).

    Where Newton's method fails, the way from rest is gone in steps: surroundings between those at rest and the given
    ones, each begun from the last one's paths.
    """

    def search(given: Surroundings, start: Array) -> Outcome:
        return solve_paths(
            lambda x: economy.evaluate(x, given), lambda x, v: economy.product(x, v, given), start, tolerance
        )

    outcome, reached = search(given, start), 0.0
    counts = np.array(outcome[2:5])
    if outcome.reason != "ok":
        rest, still = economy.around(np.zeros(given.shocks.shape), economy.rest)
        last, step = still, _FIRST
        while step >= _SHORTEST and reached < 1:
            goal = min(1.0, reached + step)
            guess = last + (last - still) * (goal / reached - 1) if reached else still
            tried = search(_between(rest, given, goal), guess)
            counts += tried[2:5]
            if tried.reason == "ok":
                last, reached = tried.point.x, goal
                outcome = tried if goal == 1 else outcome
                step *= 2
            elif reached == 0:
                break
            else:
                step /= 2
    failure, reason = None, outcome.reason
    if reason != "ok":
        failure = _where(economy, outcome, reached)
    elif (failure := _off_the_grid(economy, outcome.point)) is not None:
        reason = "grid_too_small"
    iterations, evaluations, products = (int(n) for n in counts)
    return Found(outcome.point, given, reason, failure, iterations, evaluations, products, economy.horizon)


def _between(rest: Surroundings, given: Surroundings, share: float) -> Surroundings:
    """So far from rest: shocks, the date before the first, distributions."""

    def mixed(a: jax.Array, b: jax.Array) -> jax.Array:
        return (1 - share) * a + share * b

    return given._replace(
        before=mixed(rest.before, given.before),
        distributions=tuple(map(mixed, rest.distributions, given.distributions)),
        shocks=mixed(rest.shocks, given.shocks),
    )


#: What a failure of the iterations says, and advises.
_WORDS = {
    "domain": "is not a number however little the path moves: nobody can live on such prices; give a smaller shock",
    "no_decrease": "is off by {size:.1e} and no step makes that less: there may be no such path; give a smaller shock",
    "linear": "is off by {size:.1e} and the equation of the next step has no solution that is near: give a smaller "
    "shock, or check that the model is determinate here",
    "iterations": "is still off by {size:.1e} after all iterations: give a smaller shock",
}


def _where(economy: Economy, outcome: Outcome, reached: float) -> Failure:
    """The equation and the date at which it went wrong."""
    failed = outcome.tried if outcome.reason == "domain" and outcome.tried is not None else outcome.point
    bad = ~np.isfinite(failed.f)
    # what is not a number at one date spreads to others through households: the first equation of the first date
    date, at = (int(i) for i in (np.argwhere(bad)[0] if bad.any() else np.unravel_index(
        np.argmax(np.abs(failed.f)), failed.f.shape)))  # fmt: skip
    name = economy.equation_names[at]
    size = float(failed.f[date, at])
    words = _WORDS[outcome.reason].format(size=abs(size))
    if reached > 0:
        words += f"; with {reached:.0%} of it there is a path"
    return Failure(name, date, size, f"the equation '{name}' at date {date} {words}")


def _off_the_grid(economy: Economy, point: Point) -> Failure | None:
    for block, tops in zip(economy.model.problems, point.seen.tops, strict=True):
        mass, beyond = np.asarray(tops.mass), np.asarray(tops.beyond)
        out = (mass > TOP_MASS_LIMIT) | (beyond > 0)
        if out.any():
            date, asset = (int(i) for i in np.argwhere(out)[0])
            return Failure(
                block.outputs[0],
                date,
                float(mass[date, asset]),
                f"households leave the asset grid at date {date}: a mass of {mass[date, asset]:.1e} at its top; raise "
                "a_max",
            )
    return None
