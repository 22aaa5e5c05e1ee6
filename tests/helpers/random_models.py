"""Small random models that share one compiled structure: every matrix of the equations is a parameter.

    x_t = A_L x_{t-1} + A_F E x_{t+1} + B z_t,    P_t = P_{t-1} + s (x_1)_t

with two variables that have a lag and a lead, a level P of which the growth is observed, three shocks, and measurement
errors. What the likelihood should be is computed from the state-space form that the model is made of, in NumPy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from estimhank.data.dataset import Dataset
from estimhank.model import AR1, Gamma, Growth, Level, Model, Normal, Parameter, Parameters, Uniform
from estimhank.posterior.posterior import Posterior

N, SHOCKS = 3, ("a", "b", "c")
NAMES = [f"{m}{i}{j}" for m in ("L", "F", "B") for i in range(N) for j in range(N)]


class Mixed(Model):
    """Three variables with full lag, lead and shock matrices, and a level."""

    name = "mixed"
    variables = ("x0", "x1", "x2", "P")
    shocks = tuple(AR1(s, scale=1.0) for s in SHOCKS)
    observables = (
        Level("x0", "u", scale=1.0, measurement_error="me_u"),
        Level("x1", "v", scale=1.0),
        Growth("P", "g", scale=1.0),
    )

    def __init__(self) -> None:
        start = {"B00": 1.0, "B11": 1.0, "B22": 1.0}
        free = {n: Parameter(start.get(n, 0.0), "x", "x", Normal(0.0, 10.0), "equilibrium") for n in [*NAMES, "s"]}
        shocks = {f"rho_{s}": Parameter(0.3, "x", "x", Uniform(-1.0, 1.0), "shocks") for s in SHOCKS}
        shocks |= {f"sigma_{s}": Parameter(1.0, "x", "x", Gamma(1.0, 0.5), "shocks") for s in SHOCKS}
        error = {"me_u": Parameter(0.5, "x", "x", Gamma(1.0, 0.5), "shocks")}
        super().__init__(Parameters({**free, **shocks, **error}))

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        for i in range(N):
            value = getattr(now, f"x{i}")
            for j in range(N):
                value = value - getattr(p, f"L{i}{j}") * getattr(lag, f"x{j}")
                value = value - getattr(p, f"F{i}{j}") * getattr(lead, f"x{j}")
                value = value - getattr(p, f"B{i}{j}") * getattr(shock, SHOCKS[j])
            yield f"x{i}", value
        yield "P", now.P - lag.P - p.s * now.x0 - (1 - p.s) * now.x2

    def steady_state(self, p: Any, household: Any) -> dict[str, float]:
        return {"x0": 0.0, "x1": 0.0, "x2": 0.0, "P": 1.0}


@dataclass(frozen=True)
class Case:
    """Parameters, and the state space y_t = Z s_t + e_t, s_t = A s_{t-1} + R eps_t that belongs to them."""

    theta: dict[str, float]
    A: np.ndarray
    R: np.ndarray
    Z: np.ndarray
    noise: np.ndarray


def random_case(rng: np.random.Generator, slowest: float) -> Case:
    """Roots real and complex, of either sign, one of them ``slowest``; half of all cases have leads.

    The solution x_t = X x_{t-1} + Q z_t is drawn first; lead and lag matrices follow from X and a lead matrix F:
    with H = (1 - F X) the equations x = H X x(-1) + F x(+1) + H ... have it as their stable solution.
    """
    roots = rng.uniform(-0.95, 0.95, N)
    roots[0] = slowest
    J = np.diag(roots)
    if rng.uniform() < 0.3:  # a complex pair in place of the other two
        r, w = abs(roots[1]), rng.uniform(0.1, 3.0)
        J[1:, 1:] = r * np.array([[np.cos(w), -np.sin(w)], [np.sin(w), np.cos(w)]])
    V = np.linalg.qr(rng.normal(size=(N, N)))[0] + 0.1 * rng.normal(size=(N, N))
    X = V @ J @ np.linalg.inv(V)
    F = rng.normal(size=(N, N)) * rng.choice([0.0, 0.15])
    rho = rng.uniform(-0.3, 0.9, N) * rng.choice([0.0, 1.0])
    if rng.uniform() < 0.15:  # next to each other they leave few digits, and the value may be refused
        rho[0] = slowest * (1 - 0.005 * rng.uniform())
    Q = 0.3 * rng.normal(size=(N, N)) + np.eye(N)
    lag = X - F @ X @ X
    shock = Q - F @ X @ Q - F @ Q @ np.diag(rho)
    sigma, s, error = rng.uniform(0.5, 2.0, N), rng.uniform(0.2, 0.8), rng.uniform(0.1, 1.0)
    theta = {f"{m}{i}{j}": float(M[i, j]) for m, M in (("L", lag), ("F", F), ("B", shock))
             for i in range(N) for j in range(N)}  # fmt: skip
    theta |= {f"rho_{k}": float(r) for k, r in zip(SHOCKS, rho, strict=True)}
    theta |= {f"sigma_{k}": float(v) for k, v in zip(SHOCKS, sigma, strict=True)}
    theta |= {"s": float(s), "me_u": float(error)}
    # states (x_t, z_t): x_t = X x_{t-1} + Q (rho z_{t-1} + sigma eps_t)
    A = np.block([[X, Q @ np.diag(rho)], [np.zeros((N, N)), np.diag(rho)]])
    R = np.concatenate([Q, np.eye(N)]) @ np.diag(sigma)
    Z = np.zeros((3, 2 * N))
    Z[0, 0], Z[1, 1], Z[2, 0], Z[2, 2] = 1.0, 1.0, s, 1 - s
    return Case(theta, A, R, Z, np.array([error, 0.0, 0.0]) ** 2)


def is_determinate(case: Case) -> bool:
    """Whether the roots that the drawn solution leaves out are all outside the unit circle."""
    F = np.array([[case.theta[f"F{i}{j}"] for j in range(N)] for i in range(N)])
    X = case.A[:N, :N]
    # (1 - F X) x_t - F (x_{t+1} - X x_t) = ...: what is left of the pencil
    rest = np.linalg.solve(np.eye(N) - F @ X, F)
    return bool(np.abs(np.linalg.eigvals(rest)).max() < 0.999)


def make_data(rng: np.random.Generator, case: Case, n: int, missing: bool) -> np.ndarray:
    """A sample of the state space, from zero, with holes if asked for."""
    state, rows = np.zeros(2 * N), []
    for _ in range(n):
        state = case.A @ state + case.R @ rng.standard_normal(N)
        rows.append(case.Z @ state + np.sqrt(case.noise) * rng.standard_normal(3))
    sample = np.array(rows)
    if missing:
        sample[4:9, 1], sample[12:14], sample[::5, 2] = np.nan, np.nan, np.nan
    return sample


def posterior_of(sample: np.ndarray) -> Posterior:
    """The posterior of :class:`Mixed` on a sample."""
    dates = tuple(f"{1990 + i // 4}Q{i % 4 + 1}" for i in range(len(sample)))
    words = ("u", "v", "g")
    return Posterior(Mixed(), Dataset(dates, words, ("",) * 3, words, sample, np.zeros(3)), 60, 40)


def long_dense_log_likelihood(case: Case, sample: np.ndarray) -> float:
    """The dense Gaussian log likelihood in extended precision: slow roots leave few digits in a covariance."""
    A, R, Z = (m.astype(np.longdouble) for m in (case.A, case.R, case.Z))
    variance, power = R @ R.T, A.copy()
    for _ in range(24):
        variance, power = variance + power @ variance @ power.T, power @ power
    n = len(sample)
    gamma, moved = [], variance @ Z.T
    for _ in range(n):
        gamma.append(Z @ moved)
        moved = A @ moved
    gamma[0] = gamma[0] + np.diag(case.noise)
    blocks = [[gamma[i - j] if i >= j else gamma[j - i].T for j in range(n)] for i in range(n)]
    kept = np.flatnonzero(~np.isnan(sample.ravel()))
    covariance: np.ndarray = np.block(blocks)[np.ix_(kept, kept)]
    y = sample.ravel()[kept].astype(np.longdouble)
    factor, scaled = np.zeros_like(covariance), np.zeros_like(y)
    for i in range(len(y)):
        for j in range(i):
            factor[i, j] = (covariance[i, j] - factor[i, :j] @ factor[j, :j]) / factor[j, j]
        factor[i, i] = np.sqrt(covariance[i, i] - factor[i, :i] @ factor[i, :i])
        scaled[i] = (y[i] - factor[i, :i] @ scaled[:i]) / factor[i, i]
    log_det = 2 * np.log(np.diagonal(factor)).sum()
    return float(-0.5 * (len(y) * np.log(2 * np.pi) + log_det + scaled @ scaled))
