"""Bands over draws: equal-tailed, shortest, simultaneous; and quantiles of mixtures of normal distributions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from estimhank.support.errors import ConfigError

Array = NDArray[np.float64]

#: Kinds of bands, and what captions call them.
KINDS = {
    "equal_tailed": "pointwise, equal-tailed",
    "shortest": "pointwise, shortest (highest posterior density)",
    "simultaneous": "simultaneous over horizons (sup-t)",
}

#: Shorter words for them, as the command line has them.
SHORT = {"equal": "equal_tailed", "hdi": "shortest", "simultaneous": "simultaneous"}

#: Probabilities of bands: of all results, and of forecasts.
PROBABILITIES, FAN = (0.68, 0.90), (0.50, 0.68, 0.90)

#: Iterations at most; and the share of a mixture's standard deviation below which a component is a step.
_STEPS, _STEEP, _SMALL = 60, 1e-4, 1e-12

#: Of shortest intervals of mixtures: the grid, in standard deviations to either side, its points, lower tails tried.
_REACH, _GRID, _TAILS = 5.0, 161, 19


def kind_of(word: str) -> str:
    """A key of :data:`KINDS`, of itself or of its shorter word.

    Raises
    ------
    ConfigError
    """
    found = SHORT.get(word, word)
    if found not in KINDS:
        raise ConfigError(f"bands are {', '.join(SHORT)}, not '{word}'")
    return found


def levels(probabilities: Sequence[float]) -> list[float]:
    """The quantiles that bands end at, with the median: 0.05, 0.16, 0.5, 0.84, 0.95."""
    if not all(0 < p < 1 for p in probabilities):
        raise ConfigError(f"probabilities of bands are between 0 and 1, not {list(probabilities)}")
    tails = [round((1 - p) / 2, 12) for p in sorted(probabilities, reverse=True)]
    return [*tails, 0.5, *(round(1 - t, 12) for t in reversed(tails))]


def bands(
    draws: Array,
    probabilities: Sequence[float] = PROBABILITIES,
    kind: str = "equal_tailed",
    axis: int = 1,
) -> Array:
    """Lower ends of bands from the widest on, the median, and upper ends.

    Parameters
    ----------
    draws : array, first axis draws
    probabilities : sequence of float
    kind : str
        A key of :data:`KINDS`, or of :data:`SHORT`. Simultaneous ones hold a whole path with their probability: they
        end at pointwise quantiles whose level is chosen so (Montiel Olea and Plagborg-Møller 2019, their
        quantile-based form).
    axis : int
        Of ``draws``, along which simultaneous bands hold.

    Raises
    ------
    ConfigError
    """
    kind = kind_of(kind)
    wanted = sorted(probabilities, reverse=True)
    _ = levels(wanted)
    ends = {"equal_tailed": _equal, "shortest": _shortest}.get(kind)
    pairs = [ends(draws, p) if ends else _simultaneous(draws, p, axis) for p in wanted]
    median = np.median(draws, axis=0)
    return np.stack([*(low for low, _ in pairs), median, *(high for _, high in reversed(pairs))])


def _equal(draws: Array, probability: float) -> tuple[Array, Array]:
    low, high = np.quantile(draws, [(1 - probability) / 2, (1 + probability) / 2], axis=0)
    return low, high


def _shortest(draws: Array, probability: float) -> tuple[Array, Array]:
    ordered = np.sort(draws, axis=0)
    held = min(len(draws) - 1, int(np.ceil(probability * len(draws))) - 1) if len(draws) > 1 else 0
    widths = ordered[held:] - ordered[: len(draws) - held]
    first = np.argmin(widths, axis=0)[None]
    return np.take_along_axis(ordered, first, 0)[0], np.take_along_axis(ordered, first + held, 0)[0]


def _simultaneous(draws: Array, probability: float, axis: int) -> tuple[Array, Array]:
    """Quantiles at the level at which so many draws are inside at all dates."""
    n = len(draws)
    rank = draws.argsort(axis=0).argsort(axis=0)
    depth = np.minimum(rank, n - 1 - rank).min(axis=axis, keepdims=True) / max(n - 1, 1)
    level = np.quantile(depth, 1 - probability, axis=0, keepdims=True)
    at = level * (n - 1)
    ordered = np.sort(draws, axis=0)
    below = np.broadcast_to(np.floor(at).astype(int), (1, *draws.shape[1:]))
    return np.take_along_axis(ordered, below, 0)[0], np.take_along_axis(ordered, n - 1 - below, 0)[0]


def mixture_quantiles(
    mean: Array,
    variance: Array,
    wanted: Sequence[float],
) -> Array:
    """Quantiles of mixtures of normal distributions, one component a draw, all with the same weight.

    Parameters
    ----------
    mean, variance : arrays, first axis draws
    wanted : sequence of float
    """
    sd = np.sqrt(np.maximum(variance, 0.0))
    if len(mean) == 1:
        return np.stack([mean[0] + sd[0] * ndtri(q) for q in wanted])
    found = np.quantile(mean, wanted, axis=0)
    # where components have next to no variance of their own their means are all there is
    mixed = sd.max(0) > _STEEP * np.sqrt((sd**2).mean(0) + mean.var(0)) + _SMALL
    found[:, mixed] = _mixed_quantiles(mean[:, mixed], sd[:, mixed], wanted)
    return found


def shortest_of_mixtures(mean: Array, variance: Array, probabilities: Sequence[float]) -> Array:
    """Median and shortest intervals of mixtures of normal distributions, in the order of :func:`levels`.

    How much of the rest lies below an interval, its lower tail, is found on a grid of the distribution function and
    a parabola through the shortest and its neighbours; the ends are exact quantiles, so that the probability is.

    Parameters
    ----------
    mean, variance : arrays, first axis draws
    probabilities : sequence of float
    """
    sd = np.sqrt(np.maximum(variance, 0.0))
    spread = np.sqrt((sd**2).mean(0) + mean.var(0)) + _SMALL
    component = np.maximum(sd, _STEEP * spread)
    at = mean.mean(0) + np.linspace(-_REACH, _REACH, _GRID).reshape(-1, *[1] * (mean.ndim - 1)) * spread
    below = np.stack([ndtr((x - mean) / component).mean(0) for x in at])
    low, high = [], []
    for p in sorted(probabilities, reverse=True):
        tails = (1 - p) * np.linspace(0.0, 1.0, _TAILS + 2)[1:-1]
        width = np.stack([_crossing(at, below, t + p) - _crossing(at, below, t) for t in tails])
        best = np.clip(width.argmin(0), 1, _TAILS - 2)[None]
        left, here, right = (np.take_along_axis(width, best + k, 0)[0] for k in (-1, 0, 1))
        bend = np.maximum(left - 2 * here + right, 1e-300)
        share = (best[0] + 1 + np.clip((left - right) / (2 * bend), -1.0, 1.0)) / (_TAILS + 1)
        if len(mean) == 1:
            share = np.full_like(share, 0.5)  # a normal distribution
        low.append(_mixed_quantiles(mean, sd, [(1 - p) * share])[0])
        high.append(_mixed_quantiles(mean, sd, [(1 - p) * share + p])[0])
    return np.stack([*low, mixture_quantiles(mean, variance, [0.5])[0], *reversed(high)])


def _crossing(at: Array, below: Array, level: float) -> Array:
    """Where distribution functions on grids reach a level, linear between points."""
    after = np.clip((below < level).sum(0), 1, len(at) - 1)[None]
    x, y = ([np.take_along_axis(a, after - k, 0)[0] for k in (1, 0)] for a in (np.broadcast_to(at, below.shape), below))
    part = (level - y[0]) / np.maximum(y[1] - y[0], 1e-300)
    found: Array = x[0] + np.clip(part, 0.0, 1.0) * (x[1] - x[0])
    return found


def _mixed_quantiles(mean: Array, sd: Array, wanted: Sequence[float | Array]) -> Array:
    """By Newton's method on the distribution function, kept between bounds; levels may differ by entry."""
    shape = mean.shape[1:]
    mean, sd = (x.reshape(len(x), -1) for x in np.broadcast_arrays(mean, sd))
    spread = np.sqrt((sd**2).mean(0) + mean.var(0))
    sd = np.maximum(sd, _STEEP * spread + _SMALL)
    found: list[Array] = []
    for level in wanted:
        q = np.broadcast_to(level, shape).ravel()
        at = np.empty(mean.shape[1])
        todo = np.arange(mean.shape[1])  # those that are not there yet: most need few steps
        m, s, size = mean, sd, spread
        low, high = (m + s * ndtri(q)).min(0), (m + s * ndtri(q)).max(0)
        here = np.clip(m.mean(0) + ndtri(q) * size, low, high)
        for _ in range(_STEPS):
            z = (here - m) / s
            off = ndtr(z).mean(0) - q
            low, high = np.where(off < 0, here, low), np.where(off < 0, high, here)
            steep = (np.exp(-0.5 * z**2) / s).mean(0)
            newton = here - off * np.sqrt(2 * np.pi) / np.maximum(steep, 1e-300)
            new = np.where((newton > low) & (newton < high), newton, (low + high) / 2)
            left = np.abs(new - here) > 1e-9 * size + _SMALL
            at[todo] = here = new
            if not left.any():
                break
            if left.mean() < 0.5:
                todo, m, s, size = todo[left], m[:, left], s[:, left], size[left]
                low, high, here, q = low[left], high[left], here[left], q[left]
        found.append(at.reshape(shape))
    return np.stack(found) if found else np.empty((0, *shape))
