"""A sequence of surprises: at each date something becomes known that nobody had reckoned with.

From each such date on there is a path under perfect foresight, which begins where the last one has led: with the
variables of the date before and the distribution of that date. The economy follows it until the next surprise. Where
each surprise is an innovation, this is the nonlinear model with certainty equivalence alone taken from the linear one
(Fair and Taylor 1983, "extended path"): its linear solution is the linear model's own, date by date.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from estimhank.parameters.parameter_table import ModelError
from estimhank.sequence_space.steady_state import RESIDUAL_LIMIT, SteadyState
from estimhank.transition.economy import Beginning, Economy
from estimhank.transition.newton import Array
from estimhank.transition.solve import Found, TransitionPath, later, solve_around, solve_checked, told


def solve_surprises(
    economy: Economy,
    surprises: Mapping[int, Mapping[str, ArrayLike]],
    initial: SteadyState | None = None,
    dates: int | None = None,
    tolerance: float = RESIDUAL_LIMIT,
) -> TransitionPath:
    """The path after surprises at several dates, each by what it adds to what was expected of the processes before.

    Parameters
    ----------
    economy : Economy
    surprises : mapping of int to mapping of str to array
        By date, and by process, in the units in which the equations read it: from that date on, what is added.
    initial : SteadyState, optional
        As of :func:`estimhank.transition.solve.solve_transition`.
    dates : int, optional
        Dates of the path, T by default. Each path that is expected has T dates of its own.
    tolerance : float

    Returns
    -------
    TransitionPath
        ``residual`` is the largest, ``iterations``, ``evaluations`` and ``jvps`` are sums, over all dates at which
        there was a surprise; a failure says at which.

    Raises
    ------
    ModelError
        Dates that are before the first or after the last; as of
        :func:`estimhank.transition.solve.solve_transition`.
    """
    dates = economy.horizon if dates is None else dates
    for date in surprises:
        if not 0 <= date < dates:
            raise ModelError(f"surprises are at dates from 0 to {dates - 1}, not {date}: give a longer horizon")
    added = {date: economy.forcing(shocks) for date, shocks in surprises.items()}
    begin = None if initial is None else economy.beginning(initial)
    return follow_surprises(economy, added, dates, begin, tolerance)


def follow_surprises(
    economy: Economy,
    added: Mapping[int, Array],
    dates: int,
    begin: Beginning | None = None,
    tolerance: float = RESIDUAL_LIMIT,
) -> TransitionPath:
    """As :func:`solve_surprises`, of what surprises add to what the equations are expected to read, (T + T//2, n_z)."""
    horizon, turns = economy.horizon, sorted({0, *added})
    long = horizon + horizon // 2
    expected = np.zeros((long, len(economy.innovations)))
    begin = economy.rest if begin is None else begin
    pieces: list[Found] = []
    guess, most = None, _largest(added, turns, long)
    for date, following in zip(turns, [*turns[1:], dates], strict=True):
        kept = following - date
        if kept > (horizon if following == dates else horizon // 2):
            raise ModelError(
                f"nothing becomes known for {kept} dates from date {date} on, which is too long for a horizon of "
                f"{horizon} dates: give a longer one"
            )
        expected = expected + added.get(date, 0.0)
        if following == dates and kept > 1:  # the last one is a path like any other
            found = solve_checked(economy, expected, begin, tolerance, guess)
        else:
            given, still = economy.around(expected[:horizon], begin, kept)
            found = solve_around(economy, given, still if guess is None else guess, tolerance)
            if date == most and found.reason == "ok":  # does the horizon matter? it does most where most is to come
                again = solve_checked(economy, expected, begin, tolerance, found.point.x)
                found = replace(found, change=again.change, reason=again.reason, failure=again.failure)
        found = replace(found, kept=kept, failure=found.failure and found.failure.after(date))
        pieces.append(found)
        if found.reason != "ok" or following == dates:
            break
        x = found.point.x
        begin = Beginning(x[kept - 1], found.point.seen.distributions)
        guess, expected = later(x, economy.at_rest, kept), later(expected, np.zeros(expected.shape[1]), kept)
    return told(economy, pieces)


def linear_surprises(economy: Economy, added: Mapping[int, Array], dates: int) -> dict[str, Array]:
    """The linear solution for the same surprises, as deviations from the steady state, (dates,) each.

    Raises
    ------
    ModelError
        More dates than the horizon has, so that nothing is known of the last ones.
    """
    if dates > economy.horizon:
        raise ModelError(f"{dates} dates are more than the horizon of {economy.horizon}: give a longer one")
    found = {name: np.zeros(dates) for name in economy.model.unknowns}
    for date, forcing in added.items():
        for name, path in economy.linear_deviations(forcing).items():
            found[name][date:] += path[: dates - date]
    return found


def _largest(added: Mapping[int, Array], turns: Sequence[int], dates: int) -> int:
    """The date from which on the equations expect to read most, in units of each shock's largest surprise."""
    sizes = np.abs(np.stack([*added.values()])).max(axis=(0, 1)) if added else np.ones(1)
    totals, expected = [], np.zeros((dates, len(sizes)))
    for date, following in zip(turns, [*turns[1:], turns[-1]], strict=True):
        expected = expected + added.get(date, 0.0)
        totals.append(float((np.abs(expected) / np.where(sizes > 0, sizes, 1.0)).sum()))
        expected = later(expected, np.zeros(len(sizes)), following - date)
    return turns[int(np.argmax(totals))]
