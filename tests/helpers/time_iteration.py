"""Linear models without households by time iteration in NumPy: an independent route to their solutions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Solution(NamedTuple):
    """v_t = ``transition`` v_{t-1} + ``impulse`` e_t of variables and, after them, shocks; ``lagged``: which of them
    matter a date later."""

    transition: np.ndarray
    impulse: np.ndarray
    lagged: np.ndarray


def solve(
    lag: np.ndarray, now: np.ndarray, lead: np.ndarray, shock: np.ndarray, roots: np.ndarray, sizes: np.ndarray
) -> Solution:
    """lag v_{t-1} + now v_t + lead v_{t+1} + shock z_t = 0, z_t = roots z_{t-1} + sizes e_t."""
    n, m = len(now), len(roots)
    here = np.block([[now, shock], [np.zeros((m, n)), np.eye(m)]])
    before = np.block([[lag, np.zeros((n, m))], [np.zeros((m, n)), -np.diag(roots)]])
    after = np.zeros((n + m, n + m))
    after[:n, :n] = lead
    found = np.zeros_like(here)
    for _ in range(20_000):
        new = -np.linalg.solve(here + after @ found, before)
        if np.abs(new - found).max() < 1e-14:
            break
        found = new
    impulse = np.linalg.solve(here + after @ found, np.vstack([np.zeros((n, m)), np.diag(sizes)]))
    return Solution(found, impulse, np.r_[np.abs(lag).sum(axis=0) > 0, roots != 0])
