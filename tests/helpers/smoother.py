"""What results should be, by a Kalman filter and smoother of a state space that is augmented by what is asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.helpers.kalman import StateSpace, kalman


@dataclass(frozen=True)
class Oracle:
    """y_t = Z s_t + m_t, s_t = A s_{t-1} + R e_t, with independent standard normal e and m ~ N(0, diag(noise)).

    ``sample`` (n, n_o) less its means, ``nan`` where missing.
    """

    A: np.ndarray
    R: np.ndarray
    Z: np.ndarray
    noise: np.ndarray
    sample: np.ndarray

    def smooth(self, A: np.ndarray, R: np.ndarray, Z: np.ndarray, wanted: np.ndarray, ahead: int = 0) -> np.ndarray:
        """E[wanted s_t | y] in another state space of the same observables, (n + ahead, n_wanted)."""
        n, n_o = self.sample.shape
        rows = np.full((n + ahead, n_o + len(wanted)), np.nan)
        rows[:n, :n_o] = self.sample
        noise = np.r_[self.noise, np.zeros(len(wanted))]
        return kalman(StateSpace(A, R @ R.T, np.vstack([Z, wanted]), noise), rows)[1][:, n_o:]

    def shocks(self) -> np.ndarray:
        """E[e_t | y], (n, n_z): shocks as states."""
        m, n_z = self.R.shape
        A = np.zeros((m + n_z, m + n_z))
        A[:m, :m] = self.A
        R = np.vstack([self.R, np.eye(n_z)])
        wanted = np.hstack([np.zeros((n_z, m)), np.eye(n_z)])
        return self.smooth(A, R, np.hstack([self.Z, np.zeros((len(self.Z), n_z))]), wanted)

    def series(self, wanted: np.ndarray, ahead: int = 0) -> np.ndarray:
        """E[wanted s_t | y]."""
        return self.smooth(self.A, self.R, self.Z, wanted, ahead)

    def contributions(self) -> np.ndarray:
        """Part of each shock in E[Z s_t | y], its whole past included, (n, n_o, n_z): a state space for each shock."""
        n_z, n_o = self.R.shape[1], len(self.Z)
        A = np.kron(np.eye(n_z), self.A)
        R = np.zeros((len(A), n_z))
        for k in range(n_z):
            R[k * len(self.A) : (k + 1) * len(self.A), k] = self.R[:, k]
        wanted = np.kron(np.eye(n_z), self.Z)
        found = self.smooth(A, R, np.tile(self.Z, n_z), wanted)
        return found.reshape(-1, n_z, n_o).transpose(0, 2, 1)

    def since(self) -> np.ndarray:
        """Part of the shocks since the first date in E[Z s_t | y], (n, n_o, n_z), by simulation."""
        shocks = self.shocks()
        state = np.zeros((len(self.A), shocks.shape[1]))
        rows = []
        for e in shocks:
            state = self.A @ state + self.R * e
            rows.append(self.Z @ state)
        return np.array(rows)

    def forecast_covariance(self, ahead: int) -> np.ndarray:
        """Covariance of the next observations given the sample, (ahead n_o, ahead n_o), from the joint normal."""
        n, n_o = self.sample.shape
        gamma = StateSpace(self.A, self.R @ self.R.T, self.Z, self.noise).autocovariances(n + ahead)
        whole = np.block([[gamma[i - j] if i >= j else gamma[j - i].T for j in range(n + ahead)]
                          for i in range(n + ahead)])  # fmt: skip
        seen = np.flatnonzero(~np.isnan(np.vstack([self.sample, np.full((ahead, n_o), np.nan)]).ravel()))
        next_ones = np.arange(n * n_o, (n + ahead) * n_o)
        loadings = np.linalg.solve(whole[np.ix_(seen, seen)], whole[np.ix_(seen, next_ones)])
        return whole[np.ix_(next_ones, next_ones)] - whole[np.ix_(next_ones, seen)] @ loadings
