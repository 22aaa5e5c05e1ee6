"""Nonlinear paths of a declared model under perfect foresight: what is given, what comes out, what may fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from estimhank.households.stationary import TOP_MASS_LIMIT
from estimhank.sequence_space.steady_state import RESIDUAL_LIMIT, SteadyState
from estimhank.transition.economy import Economy
from estimhank.transition.equations import Surroundings
from estimhank.transition.newton import Array, Outcome, solve_paths

#: Largest deviation at the last date, as a share of a variable's largest, with which a path has come home. Capital of
#: the two-asset model has 2 % left after 300 dates, which moves the first dates by far less.
HOME = 0.1


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
        Newton steps, and derivatives along one direction that they took.
    converged : bool
        Whether `paths` is the path.
    reason : str
        ``ok``; ``domain``, ``no_decrease``, ``linear``, ``iterations``
        (:class:`estimhank.transition.newton.Outcome`); ``horizon``: the path has not come home at the last date;
        ``grid_too_small``: households leave their asset grid on the way.
    failure : Failure, optional
        Where `reason` is not ``ok``.
    """

    paths: dict[str, Array]
    residual: float
    iterations: int
    jvps: int
    converged: bool
    reason: str
    failure: Failure | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        found = {k: v for k, v in vars(self).items() if k not in ("paths", "failure")}
        found["failure"] = None if self.failure is None else asdict(self.failure)
        return {"paths": {name: path.tolist() for name, path in self.paths.items()}, **found}


def solve_transition(
    economy: Economy,
    shocks: Mapping[str, ArrayLike],
    initial: SteadyState | None = None,
    tolerance: float = RESIDUAL_LIMIT,
) -> TransitionPath:
    """The path that follows paths of the processes that become known at date 0, under perfect foresight.

    Parameters
    ----------
    economy : Economy
    shocks : mapping of str to array
        By the name of the process: its path itself, in the units in which the equations read it, from date 0 on; at
        rest after the last date that is given.
    initial : SteadyState, optional
        Where the economy begins, if not at rest where it ends: values of the variables at the date before the first,
        and the distribution at the beginning of date 0. The steady state at other parameters makes a permanent change;
        with another ``distribution`` in ``households`` it is any beginning.
    tolerance : float
        Largest residual of any equation at any date, in the equations' units.

    Returns
    -------
    TransitionPath
        Failures come back with a reason, never as a path.

    Raises
    ------
    ModelError
        Shocks that the model does not have; a beginning on other grids.
    """
    given, start = economy.around(shocks, initial)
    outcome = solve_paths(
        lambda x: economy.evaluate(x, given), lambda x, v: economy.product(x, v, given), start, tolerance
    )
    return _told(economy, given, outcome)


def _told(economy: Economy, given: Surroundings, outcome: Outcome) -> TransitionPath:
    point, reason = outcome.point, outcome.reason
    failure = None
    if reason != "ok":
        failure = _where(economy, outcome)
    elif (failure := _not_home(economy, point.x)) is not None:
        reason = "horizon"
    elif (failure := _off_the_grid(economy, given, point.x)) is not None:
        reason = "grid_too_small"
    paths = economy.levels(point.x, given) if reason == "ok" else {}
    return TransitionPath(paths, point.residual, outcome.iterations, outcome.products, reason == "ok", reason, failure)


#: What a failure of the iterations says, and advises.
_WORDS = {
    "domain": "is not a number however little the path moves: nobody can live on such prices; give a smaller shock",
    "no_decrease": "is off by {size:.1e} and no step makes that less: there may be no such path; give a smaller shock",
    "linear": "is off by {size:.1e} and the equation of the next step has no solution that is near: give a smaller "
    "shock, or check that the model is determinate here",
    "iterations": "is still off by {size:.1e} after all iterations: give a smaller shock",
}


def _where(economy: Economy, outcome: Outcome) -> Failure:
    """The equation and the date at which it went wrong."""
    failed = outcome.tried if outcome.reason == "domain" and outcome.tried is not None else outcome.point
    bad = ~np.isfinite(failed.f)
    # what is not a number at one date spreads to others through households: the first equation of the first date
    date, at = (int(i) for i in (np.argwhere(bad)[0] if bad.any() else np.unravel_index(
        np.argmax(np.abs(failed.f)), failed.f.shape)))  # fmt: skip
    name = economy.equation_names[at]
    size = float(failed.f[date, at])
    words = _WORDS[outcome.reason].format(size=abs(size))
    return Failure(name, date, size, f"the equation '{name}' at date {date} {words}")


def _not_home(economy: Economy, x: Array) -> Failure | None:
    away = np.abs(x - economy.at_rest)
    largest = away.max(axis=0)
    share = np.where(largest > RESIDUAL_LIMIT, away[-1] / np.maximum(largest, RESIDUAL_LIMIT), 0.0)
    at, date = int(np.argmax(share)), economy.horizon - 1
    if share[at] <= HOME:
        return None
    name = economy.model.variables[at]
    return Failure(
        name,
        date,
        float(x[-1, at] - economy.at_rest[at]),
        f"'{name}' is still away from its steady state by {share[at]:.0%} of its largest deviation at the last date, "
        f"{date}, after which the economy is taken to be at rest: give a longer horizon, or a shock that dies out",
    )


def _off_the_grid(economy: Economy, given: Surroundings, x: Array) -> Failure | None:
    for block, tops in zip(economy.model.problems, economy.tops(x, given), strict=True):
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
