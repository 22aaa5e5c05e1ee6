"""Smooth densities of draws for figures."""

from __future__ import annotations

import math

import numpy as np
from arviz_stats.base import array_stats
from numpy.typing import ArrayLike, NDArray
from scipy.signal import fftconvolve

Array = NDArray[np.float64]

_CELLS = 1024


def smooth_density(draws: ArrayLike, lower: float = -math.inf, upper: float = math.inf) -> tuple[Array, Array]:
    """Gaussian kernel density of draws, reflected at the bounds of the support so that no mass leaks out.

    Parameters
    ----------
    draws : array
        Draws of one parameter, any shape.
    lower, upper : float
        Bounds of the support.

    Returns
    -------
    grid, density : ndarray (k,)
        Increasing values inside the support and the density there; empty if the draws never move.
    """
    values = np.asarray(draws, float).ravel()
    spread = float(np.ptp(values))
    if not spread > 0:
        return np.empty(0), np.empty(0)
    width = float(array_stats.get_bw(values, "experimental"))
    low, high = max(values.min() - 4 * width, lower), min(values.max() + 4 * width, upper)
    edges = np.linspace(low, high, _CELLS + 1)
    counts = np.histogram(values, edges)[0] / values.size
    grid = (edges[1:] + edges[:-1]) / 2
    cell = float(edges[1] - edges[0])
    # mirrored copies on both sides: beyond a bound they fold back, beyond the last draw there is nothing to fold
    reach = min(math.ceil(4 * width / cell), _CELLS)
    padded = np.concatenate([counts[:reach][::-1], counts, counts[-reach:][::-1]])
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * cell / width) ** 2)
    smooth = fftconvolve(padded, kernel / kernel.sum(), mode="same")[reach : reach + _CELLS]
    return grid, np.maximum(smooth, 0) / cell


def level_of(density: Array, probability: float) -> float:
    """Height of the contour of a density on an even grid that encloses so much of its mass."""
    ordered = np.sort(np.ravel(density))[::-1]
    inside = np.cumsum(ordered) / ordered.sum()
    return float(ordered[min(int(np.searchsorted(inside, probability)), ordered.size - 1)])


def smooth_density_2d(x: ArrayLike, y: ArrayLike, cells: int = 128) -> tuple[Array, Array, Array]:
    """Kernel density of pairs on an even grid (a little above Scott's bandwidth, in the principal directions).

    Returns
    -------
    x_grid, y_grid : ndarray (cells,)
    density : ndarray (cells, cells), rows along ``y``
    """
    points = np.stack([np.ravel(np.asarray(x, float)), np.ravel(np.asarray(y, float))])
    n = points.shape[1]
    pad = 0.15 * np.ptp(points, axis=1)
    ranges = np.stack([points.min(axis=1) - pad, points.max(axis=1) + pad], axis=1)
    counts, x_edges, y_edges = np.histogram2d(points[0], points[1], bins=cells, range=ranges.tolist())
    steps = np.array([x_edges[1] - x_edges[0], y_edges[1] - y_edges[0]])
    precision = np.linalg.inv(np.cov(points) * (1.2 * n ** (-1 / 6)) ** 2)
    offsets = np.arange(-(cells // 2), cells // 2 + 1)
    dx, dy = offsets[:, None] * steps[0], offsets[None, :] * steps[1]
    exponent = precision[0, 0] * dx**2 + 2 * precision[0, 1] * dx * dy + precision[1, 1] * dy**2
    kernel = np.exp(-0.5 * exponent)
    density = np.maximum(fftconvolve(counts, kernel / kernel.sum(), mode="same"), 0)
    return (x_edges[1:] + x_edges[:-1]) / 2, (y_edges[1:] + y_edges[:-1]) / 2, (density / density.sum()).T
