"""Exact households at points of a design, in the form that an emulator learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from estimhank.emulator.emulator import Modes
from estimhank.households.stationary import SteadyStateError
from estimhank.sequence_space.steady_parts import SteadyParts
from estimhank.sequence_space.steady_solver import SteadySolver

Array = NDArray[np.float64]

#: What the modes may leave of the fake-news matrices, as a share of each pair's norm.
PRECISION = 1e-5


class Example(NamedTuple):
    """Households at one point: a core, or fake-news matrices as they stand where no modes are known yet, (s, n_i, n_o,
    t); what the modes leave of the matrices, as a share of the largest; steady-state outputs and solved-for parameters;
    distances to cliffs and the mass at them (none where they are not known)."""

    core: Array
    lost: float
    outputs: Array
    unknowns: Array
    distance: Array
    mass: Array


def solve_example(steady: SteadySolver, moved: Mapping[str, float], modes: Modes | None = None) -> Example:
    """Households at parameters by name.

    Raises
    ------
    SteadyStateError
    """
    parts = steady.at(moved)
    news, lost = news_of(parts), 0.0
    if modes is not None:
        core = np.einsum("siot,sa,tb->aiob", news, modes.ahead, modes.since, optimize=True)
        left = news - np.einsum("aiob,sa,tb->siot", core, modes.ahead, modes.since, optimize=True)
        lost = float((np.linalg.norm(left, axis=(0, 3)) / np.maximum(np.linalg.norm(news, axis=(0, 3)), 1e-300)).max())
        news = core
    outputs, unknowns = names_of(steady)
    cliffs = steady.cliffs_at(moved)
    nothing = np.zeros(0)
    return Example(
        news,
        lost,
        np.array([float(parts.values[name]) for name in outputs]),
        np.array([float(parts.parameters[name]) for name in unknowns]),
        nothing if cliffs is None else np.asarray(cliffs.distance),
        nothing if cliffs is None else np.asarray(cliffs.mass),
    )


def solve_examples(
    steady: SteadySolver, points: Sequence[Mapping[str, float]], modes: Modes | None = None
) -> list[Example | str]:
    """The same at several points; in place of one without a steady state the kind of its failure."""
    found: list[Example | str] = []
    for moved in points:
        try:
            found.append(solve_example(steady, moved, modes))
        except SteadyStateError as error:
            found.append(error.kind)
    return found


def names_of(steady: SteadySolver) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Household outputs, and the parameters that are moved to hit their targets."""
    return steady.model.household_outputs, tuple(steady.target(steady.centre).brackets)


def news_of(parts: SteadyParts) -> Array:
    """Fake-news matrices, (T, n_i, n_o, T), ``[s, i, o, t]``, of the Jacobians that are their sums along diagonals."""
    horizon, n_i, width = parts.household.by_date.shape
    news = -np.asarray(parts.household.by_date).reshape(horizon, n_i, width // horizon, horizon)
    news[1:, ..., 1:] -= news[:-1, ..., :-1].copy()
    return news


def find_modes(examples: Sequence[Example], precision: float = PRECISION) -> Modes:
    """Paths of dates that hold the fake-news matrices of a few examples, each pair of them weighted alike."""
    news = np.stack([example.core for example in examples])
    news = news / np.maximum(np.sqrt((news**2).sum(axis=(0, 1, 4), keepdims=True)), 1e-300)
    horizon = news.shape[1]
    found = []
    for axis in (1, 4):
        rows = np.moveaxis(news, axis, 0).reshape(horizon, -1)
        values, vectors = np.linalg.eigh(rows @ rows.T)
        order = np.argsort(values)[::-1]
        # squared norms of what is left out, a tenth of what is allowed for points that are not among the examples
        left = np.cumsum(np.maximum(values[order], 0.0)[::-1])[::-1]
        count = max(int((left > (precision / 10) ** 2 * left[0]).sum()), 1)
        found.append(np.ascontiguousarray(vectors[:, order[:count]]))
    return Modes(*found)
