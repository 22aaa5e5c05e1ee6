"""A textbook Kalman filter and smoother in plain NumPy: an independent route to what the package computes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_discrete_lyapunov


@dataclass(frozen=True)
class StateSpace:
    """y_t = Z s_t + e_t, s_t = A s_{t-1} + u_t; u ~ N(0, Q), e ~ N(0, diag(noise)); begins in its stationary
    distribution."""

    A: np.ndarray
    Q: np.ndarray
    Z: np.ndarray
    noise: np.ndarray

    @property
    def variance(self) -> np.ndarray:
        """Unconditional variance of the state."""
        return solve_discrete_lyapunov(self.A, self.Q)

    def autocovariances(self, n: int) -> np.ndarray:
        """[k] = Cov(y_{t+k}, y_t), shape (n, n_o, n_o)."""
        power, out = self.variance, []
        for _ in range(n):
            out.append(self.Z @ power @ self.Z.T)
            power = self.A @ power
        out[0] = out[0] + np.diag(self.noise)
        return np.stack(out)


def random_state_space(rng: np.random.Generator, states: int, n_o: int, noise: float = 0.0) -> StateSpace:
    """A stable vector autoregression observed through a random matrix."""
    A = rng.normal(size=(states, states))
    A *= 0.9 / np.abs(np.linalg.eigvals(A)).max()
    root = rng.normal(size=(states, states))
    return StateSpace(A, root @ root.T, rng.normal(size=(n_o, states)), np.full(n_o, noise**2))


def moving_average(coefficients: np.ndarray, noise: np.ndarray) -> StateSpace:
    """y_t = sum_j M_j eps_{t-j}: the state holds the last innovations; coefficients (q, n_o, n_z)."""
    q, n_o, n_z = coefficients.shape
    A = np.zeros((q * n_z, q * n_z))
    A[n_z:, :-n_z] = np.eye((q - 1) * n_z)
    Q = np.zeros_like(A)
    Q[:n_z, :n_z] = np.eye(n_z)
    return StateSpace(A, Q, coefficients.transpose(1, 0, 2).reshape(n_o, q * n_z), noise)


def kalman(model: StateSpace, sample: np.ndarray, variance: np.ndarray | None = None) -> tuple[float, np.ndarray]:
    """Log likelihood, and E[Z s_t | all that was observed] for every date, shape (n, n_o).

    Missing entries (nan) leave the observation equation of their date. The smoother is that of de Jong (1989).
    """
    s = np.zeros(len(model.A))
    P = model.variance if variance is None else variance
    value, steps = 0.0, []
    for y in sample:
        seen = ~np.isnan(y)
        Z = model.Z[seen]
        F = Z @ P @ Z.T + np.diag(model.noise[seen])
        inverse = np.linalg.inv(F) if seen.any() else F
        error = y[seen] - Z @ s
        value -= 0.5 * (seen.sum() * math.log(2 * math.pi) + np.linalg.slogdet(F)[1] + error @ inverse @ error)
        gain = model.A @ P @ Z.T @ inverse
        steps.append((s, P, Z, inverse @ error, model.A - gain @ Z))
        s = model.A @ s + gain @ error
        P = model.A @ P @ (model.A - gain @ Z).T + model.Q
    r, smooth = np.zeros(len(model.A)), []
    for s, P, Z, scaled, closed in reversed(steps):
        r = Z.T @ scaled + closed.T @ r
        smooth.append(model.Z @ (s + P @ r))
    return float(value), np.stack(smooth[::-1])
