"""Convergence diagnostics, as ArviZ computes them (Vehtari, Gelman, Simpson, Carpenter and Buerkner 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def r_hat(draws: Array) -> Array:
    """Rank-normalised split R-hat of each parameter.

    Parameters
    ----------
    draws : ndarray of shape (chain, draw, d)

    Returns
    -------
    ndarray of shape (d,)
        nan for a parameter that never moves, or where there are fewer than four draws.
    """
    return _each(draws, "rhat")


class RunningRHat:
    """The largest R-hat as chains go on, in words, computed again each time the chains are a twentieth longer."""

    def __init__(self) -> None:
        self._next, self._words = 8, ""

    def __call__(self, states: Sequence[Array]) -> str:
        """``", R-hat 1.023"`` for states so far, each of shape (chain, d); empty while they are few."""
        if len(states) >= self._next:
            self._next = len(states) + max(4, len(states) // 20)
            with np.errstate(divide="ignore", invalid="ignore"):
                self._words = f", R-hat {float(np.max(r_hat(np.stack(states, axis=1)))):.3f}"
        return self._words


def ess(draws: Array, method: str = "bulk") -> Array:
    """Effective number of draws of each parameter, all chains together.

    Parameters
    ----------
    draws : ndarray of shape (chain, draw, d)
    method : {"bulk", "tail", "mean"}
        Tail: the smaller of those of the 5 % and 95 % quantiles.

    Returns
    -------
    ndarray of shape (d,)
    """
    if method == "tail":
        return _each(draws, "ess", method="tail", prob=(0.05, 0.95))
    return _each(draws, "ess", method=method)


def _each(draws: Array, name: str, **options: object) -> Array:
    # imported here: it takes half a second that a run has while its workers are busy, and not before they are
    from arviz_stats.base import array_stats

    statistic = getattr(array_stats, name)
    draws = np.asarray(draws, float)
    if draws.ndim != 3:
        raise ValueError(f"draws must have shape (chain, draw, parameter), not {draws.shape}")
    return np.array([statistic(draws[:, :, i], chain_axis=0, draw_axis=1, **options) for i in range(draws.shape[2])])
