"""Local modes in which exact chains wait, and how much of the mass each of them holds.

A chain that began far out may be in a local mode that holds next to nothing of the posterior. It does not leave it in
the rounds that a run has, and as one chain of two dozen it claims a share of the draws that is wrong by orders of
magnitude. So where chains begin anew, each of them climbs; modes are compared by Laplace's approximation of the mass
around them, log pi(m) - log det(-H(m)) / 2; and chains around modes that hold a negligible share together begin
elsewhere. What was left out is said. A mode whose mass is not known, or not negligible, keeps its chains.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from estimhank.mode.ascent import Value, ascend, run_in_lockstep
from estimhank.mode.curvature import differentiate, is_positive_definite

Array = NDArray[np.float64]
#: Log densities and their gradients at points (n, d).
Evaluate = Callable[[Array], list[Value]]

_SAME = 0.5  # distance between the ends of two climbs that are one mode, in standard deviations
_MOST_EVALUATIONS = 200  # of a climb
_STEP = 1e-3  # of the differences of gradients, in standard deviations


@dataclass(frozen=True)
class LocalModes:
    """Where chains would end if they climbed.

    Attributes
    ----------
    places : ndarray of shape (m, d)
        Modes, the highest first.
    values : ndarray of shape (m,)
        Log densities there.
    shares : ndarray of shape (m,)
        Of the mass of all of them, by Laplace's approximation; nan where a climb did not end at a maximum.
    mode_of : ndarray of int, shape (M,)
        The mode that each chain belongs to.
    """

    places: Array
    values: Array
    shares: Array
    mode_of: NDArray[np.int64]

    def negligible(self, share: float) -> NDArray[np.bool_]:
        """Which modes hold less than ``share`` of the mass, all of them together."""
        order = np.argsort(np.where(np.isnan(self.shares), math.inf, self.shares))
        together = np.cumsum(self.shares[order])
        found = np.zeros(len(self.shares), bool)
        found[order] = together < share  # nan is not
        return found


def find_local_modes(evaluate: Evaluate, starts: Array) -> LocalModes:
    """Climb from every start, in coordinates in which the posterior's standard deviations are about one.

    Parameters
    ----------
    evaluate : callable
    starts : ndarray of shape (M, d)
        With a density.
    """
    d = starts.shape[1]
    climbs = run_in_lockstep([ascend(start, np.eye(d), _MOST_EVALUATIONS) for start in starts], evaluate)
    modes: list[int] = []
    mode_of = np.zeros(len(starts), int)
    for i in np.argsort([-climb.value for climb in climbs], kind="stable"):
        near = [k for k, j in enumerate(modes) if np.linalg.norm(climbs[i].x - climbs[j].x) < _SAME]
        if not near:
            modes.append(int(i))
        mode_of[i] = near[0] if near else len(modes) - 1
    mass = np.full(len(modes), math.nan)
    if len(modes) > 1:
        for k, i in enumerate(modes):
            climb = climbs[i]
            here = Value(climb.value, climb.gradient)
            hessian = differentiate(evaluate, climb.x, here, np.full(d, _STEP))
            if climb.status == "converged" and is_positive_definite(hessian):
                mass[k] = climb.value - 0.5 * np.linalg.slogdet(hessian)[1]
        known = mass[np.isfinite(mass)]
        mass = np.exp(mass - known.max()) if known.size else mass
        mass = mass / np.nansum(mass)
    else:
        mass[:] = 1.0
    values = np.array([climbs[i].value for i in modes])
    return LocalModes(np.stack([climbs[i].x for i in modes]), values, mass, mode_of)


def left_out_words(modes: LocalModes, left: NDArray[np.bool_]) -> str:
    """What was left out, in words; empty where nothing was."""
    if not left.any():
        return ""
    below = ", ".join(f"{v:.1f}" for v in modes.values.max() - modes.values[left])
    several = f"{left.sum()} local modes" if left.sum() > 1 else "a local mode"
    return (
        f"chains around {several}, {below} log points below the highest and with {modes.shares[left].sum():.1g} of the "
        "mass by Laplace's approximation, were begun elsewhere"
    )
