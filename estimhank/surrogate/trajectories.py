"""Steps of the exact stage along the exact gradient, where subchains of the surrogate do not lead far enough.

A trajectory is Hamiltonian Monte Carlo (Duane, Kennedy, Pendleton and Roweth 1987; Neal 2011). With momenta p ~ N(0, I)
and z = R w in whitened coordinates, L leapfrog steps of size e lead from (w, p) to (w', p')::

    p <- p + (e/2) g(w),   then L times   w <- w + e p,   p <- p + e g(w)   (the last one by e/2),   g = d log pi / d w

and w' is accepted with min(1, pi(y) exp(-|p'|^2 / 2) / (pi(x) exp(-|p|^2 / 2))). L and e are drawn independently of the
states; where there is no density the force is zero, and any force that depends on the place alone leaves the step
exact. A posterior in d dimensions takes about d^(1/4) leapfrog steps, where a random walk takes d steps.

The step size is tuned and R learned while the burn-in lasts; both stay as they are from then on. Ends are rounded to
single precision, as all states are, before they are evaluated.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
#: Gradients with respect to whitened coordinates, at whitened coordinates; both (M, d). Zero where there is no density.
Force = Callable[[Array], Array]

#: Mean acceptance probability at which a unit of computation leads farthest is .65 to .8 (Beskos et al. 2013).
_TARGET = 0.8
_LENGTH = 0.5 * math.pi  # of a trajectory, after which a normal distribution has forgotten where it began
_LENGTHS = (0.6, 1.4)  # multiples between which lengths are drawn, so that no period of the posterior is met each time
_MOST_STEPS = 32  # of one trajectory
_AWAY = 1e4  # whitened coordinates beyond which a trajectory has run away
_SHORTER, _SHORTER_SHARES = (1.0, 0.25, 0.05), (0.85, 0.1, 0.05)  # of the step size: what leaves narrow places
_HANG_TOGETHER = 4.0  # states of the burn-in that are worth one independent draw, about
_FIRST, _GAIN = 1.0, 0.6  # step size times d^(1/4) to begin with; power of the rounds by which corrections shrink


class Trajectories:
    """Leapfrog trajectories of M chains in lockstep.

    Attributes
    ----------
    size : float
        Step size, in standard deviations of the proposals' covariance.
    """

    def __init__(self, root: Array, force: Force) -> None:
        """``root`` (d, d): whitened coordinates are ``root`` times those in which the momenta are standard normal."""
        self._root, self._force = root, force
        self.size = _FIRST / len(root) ** 0.25
        self._tuned: list[float] = []
        self._known: dict[bytes, Array] = {}

    def lead(self, rng: np.random.Generator, z: NDArray[np.float32]) -> NDArray[np.float32]:
        """Ends (M, d) of trajectories from states z (M, d); :meth:`arrive` is to be called with the forces there."""
        chains, d = z.shape
        self._shrink = rng.choice(_SHORTER, chains, p=_SHORTER_SHARES)
        size = self.size * self._shrink[:, None]
        steps = int(np.clip(round(_LENGTH * rng.uniform(*_LENGTHS) / self.size), 1, _MOST_STEPS))
        self._begun = rng.standard_normal((chains, d))
        place, force = z.astype(float), self._forces_at(z)
        momentum = self._begun + 0.5 * size * force
        self._lost = np.zeros(chains, bool)
        for k in range(steps):
            place = place + size * (momentum @ self._root.T)
            # a trajectory that runs away will not be accepted: it waits where nothing overflows
            self._lost |= ~(np.abs(place) < _AWAY).all(axis=1)
            place[self._lost], momentum[self._lost] = z[self._lost], 0.0
            if k < steps - 1:
                momentum = momentum + size * (self._force(place) @ self._root)
        self._momentum, self._ends = momentum, place.astype(np.float32)
        self._known = {state.tobytes(): row for state, row in zip(z, force, strict=True)}
        return self._ends

    def arrive(self, force: Array) -> Array:
        """Logarithms (M,) of the momenta's density ratios, from the forces (M, d) at the ends."""
        force = force @ self._root
        self._known |= {state.tobytes(): row for state, row in zip(self._ends, force, strict=True)}
        momentum = self._momentum + 0.5 * self.size * self._shrink[:, None] * force
        ratio: Array = 0.5 * ((self._begun**2).sum(axis=1) - (momentum**2).sum(axis=1))
        return np.where(self._lost, -np.inf, ratio)

    def tune(self, probability: Array) -> None:
        """Correct the step size by the acceptance probabilities (M,) of the last trajectories, in the burn-in."""
        whole = self._shrink == 1.0
        k = len(self._tuned) + 1
        if whole.any():
            self.size *= math.exp(k**-_GAIN * (float(probability[whole].mean()) - _TARGET))
        self._tuned.append(math.log(self.size))

    def learn(self, z: Array) -> None:
        """Take the covariance from states (n, M, d) of the burn-in, and begin to tune the step size anew.

        It is shrunk towards the one before (Ledoit and Wolf 2004): states of the same chain hang together.
        """
        w = np.linalg.solve(self._root, z.reshape(-1, z.shape[-1]).T)
        covariance = np.cov(w)
        n = w.shape[1] / _HANG_TOGETHER
        weight = n / (n + len(w))
        mean = float(np.trace(covariance)) / len(w)
        shrunk = weight * covariance + (1.0 - weight) * mean * np.eye(len(w))
        self._root = self._root @ np.linalg.cholesky(shrunk)
        self.size = _FIRST / len(w) ** 0.25
        self._tuned, self._known = [], {}

    def settle(self) -> None:
        """Keep the step size: the mean, in logs, of the second half of the rounds in which it was tuned."""
        if self._tuned:
            self.size = math.exp(float(np.mean(self._tuned[len(self._tuned) // 2 :])))

    def _forces_at(self, z: NDArray[np.float32]) -> Array:
        """Forces, in units of the momenta, at states; those where a last trajectory began or ended are known."""
        missing = np.array([state.tobytes() not in self._known for state in z])
        force = np.zeros(z.shape)
        if missing.any():
            force[missing] = self._force(z[missing].astype(float)) @ self._root
        for row in np.flatnonzero(~missing):
            force[row] = self._known[z[row].tobytes()]
        return force
