"""How far off the linear solution is: its responses, and what it makes of a history of shocks, against the nonlinear.

Both are of the same equations at the same parameters, and of the same shocks. What is observed is compared as the data
hold it: growth is the change of a log, where the linear solution has a change over the steady state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from estimhank.model.observed import NO_LEVEL, REACH, ObservedVariable
from estimhank.transition.economy import Economy
from estimhank.transition.newton import Array
from estimhank.transition.solve import Found, solve_around, solve_checked, told
from estimhank.transition.surprises import follow_surprises, linear_surprises

#: Deviations that are smaller than this share of one plus the level are none.
_NOTHING = 1e-10


class Departures(NamedTuple):
    """The linear responses of one economy against the nonlinear ones; signs are + and -.

    Attributes
    ----------
    off : array of shape (n_z, sizes, 2, series)
        Largest difference at any date, as a share of the linear response's largest deviation; nan where a series does
        not respond, or there is no nonlinear path.
    asymmetry : array of shape (n_z, sizes, series)
        Half of the largest sum of the responses to both signs, as the same share: zero if one is the other's mirror
        image.
    linear, nonlinear : array of shape (n_z, sizes, 2, series)
        Largest deviations, with their sign, in the units of the series.
    reasons : tuple of str
        Of paths that were not found; ``ok`` of those that were; in the order of (n_z, sizes, 2).
    """

    off: Array
    asymmetry: Array
    linear: Array
    nonlinear: Array
    reasons: tuple[str, ...]


class Retold(NamedTuple):
    """A history of shocks, each a surprise, as the nonlinear model tells it.

    ``path``: deviations from the steady state, in the units of the series, (dates, series), nan where there is none;
    ``reason``: ``ok``, or why there is none; ``message``: the same in words.
    """

    path: Array
    reason: str
    message: str


def series_of(economy: Economy) -> tuple[str, ...]:
    """What is compared: observables, then variables and household outputs that are not observed in levels."""
    observed = economy.model.observed_variables
    taken = {o.name for o in observed}
    return (*(o.name for o in observed), *(name for name in economy.declared.unknowns if name not in taken))


def departures(economy: Economy, sizes: Sequence[float]) -> Departures:
    """Responses to each innovation of the canonical form, of several sizes and both signs, over T//2 dates.

    Parameters
    ----------
    economy : Economy
    sizes : sequence of float
        In standard deviations.
    """
    n_z, names, half = len(economy.innovations), series_of(economy), economy.horizon // 2
    shape = (n_z, len(sizes), 2, len(names))
    off, linear, nonlinear = (np.full(shape, np.nan) for _ in range(3))
    asymmetry = np.full((n_z, len(sizes), len(names)), np.nan)
    reasons = []
    for j in range(n_z):
        unit = impulse(economy, j)
        straight = _series(economy, economy.linear_deviations(unit), linear=True)[:half]
        peak = np.abs(straight).max(axis=0)
        responds = peak > _NOTHING
        for k, size in enumerate(sizes):
            gaps: list[Array] = []
            for i, sign in enumerate((1.0, -1.0)):
                # whether the horizon is long enough is settled by the largest: it is a matter of the linear solution
                checked = size == max(sizes) and sign > 0
                found = _solve(economy, sign * size * unit, checked)
                reasons.append(found.reason)
                linear[j, k, i] = _largest(sign * size * straight)
                if found.reason != "ok":
                    continue
                path = _series(economy, _deviations(economy, found), linear=False)[:half]
                gaps.append(path - sign * size * straight)
                nonlinear[j, k, i] = _largest(path)
                with np.errstate(invalid="ignore", divide="ignore"):
                    off[j, k, i] = np.where(responds, np.abs(gaps[-1]).max(axis=0) / (size * peak), np.nan)
            if len(gaps) == 2:
                with np.errstate(invalid="ignore", divide="ignore"):
                    both = np.abs(gaps[0] + gaps[1]).max(axis=0) / 2
                    asymmetry[j, k] = np.where(responds, both / (size * peak), np.nan)
    return Departures(off, asymmetry, linear, nonlinear, tuple(reasons))


def retell(economy: Economy, innovations: Array) -> Retold:
    """A history of innovations, each of which nobody had reckoned with, from rest on.

    Parameters
    ----------
    economy : Economy
    innovations : array of shape (dates, n_z)
        Of the canonical form, in standard deviations.
    """
    found = follow_surprises(economy, surprises_of(economy, innovations), len(innovations))
    path = np.full((len(innovations), len(series_of(economy))), np.nan)
    if found.converged:
        every, steady = {**found.every, **found.paths}, economy.steady.values
        path = _series(economy, {n: every[n] - float(steady[n]) for n in every}, linear=False)
    return Retold(path, found.reason, "" if found.failure is None else found.failure.message)


def linear_history(economy: Economy, innovations: Array) -> Array:
    """The linear solution for the same history, (dates, series), of an economy whose horizon is longer than that."""
    surprises = surprises_of(economy, innovations)
    return _series(economy, linear_surprises(economy, surprises, len(innovations)), linear=True)


def surprises_of(economy: Economy, innovations: Array) -> dict[int, Array]:
    """What innovations (dates, n_z), in standard deviations, add to what the equations are expected to read."""
    # an impulse fills the column of its own innovation
    units = np.stack([impulse(economy, j).sum(axis=1) for j in range(innovations.shape[1])], axis=1)
    return {date: innovations[date] * units for date in range(len(innovations))}


def impulse(economy: Economy, j: int) -> Array:
    """What the equations read of one innovation of one standard deviation at date 0, (T + T//2, n_z)."""
    dates = economy.horizon + economy.horizon // 2
    forcing = np.zeros((dates, len(economy.innovations)))
    forcing[:, j] = economy.sizes[j] * economy.roots[j] ** np.arange(dates)
    return forcing


def _solve(economy: Economy, forcing: Array, checked: bool) -> Found:
    if checked:
        return solve_checked(economy, forcing, economy.rest)
    return solve_around(economy, *economy.around(forcing[: economy.horizon], economy.rest))


def _deviations(economy: Economy, found: Found) -> dict[str, Array]:
    path = told(economy, [found])
    every = {**path.every, **path.paths}
    return {name: values - float(economy.steady.values[name]) for name, values in every.items()}


def _series(economy: Economy, deviations: dict[str, Array], linear: bool) -> Array:
    """Deviations of the series from the steady state, (T, series), of deviations of variables, at rest before date 0.

    ``linear``: as the linear solution has them.
    """
    observed = {o.name: o for o in economy.model.observed_variables}
    columns = []
    for name in series_of(economy):
        if name in observed:
            level = float(economy.steady.values[observed[name].variable])
            columns.append(_observed(observed[name], deviations[observed[name].variable], level, linear))
        else:
            columns.append(deviations[name])
    return np.stack(columns, axis=1)


def _observed(observable: ObservedVariable, deviation: Array, level: float, linear: bool) -> Array:
    if observable.kind == "level":
        return observable.scale * deviation
    if abs(level) <= NO_LEVEL:
        return np.full(len(deviation), np.nan)
    share = deviation / level
    if not linear:
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.log1p(share)
    lags = REACH[observable.kind]
    earlier = np.r_[np.zeros(lags), share[: len(share) - lags]] if lags else 0.0
    return np.asarray(observable.scale * (share - earlier))


def _largest(paths: Array) -> Array:
    """The values that are furthest from zero, with their sign, by column."""
    found: Array = np.take_along_axis(paths, np.argmax(np.abs(paths), axis=0)[None], axis=0)[0]
    return found
