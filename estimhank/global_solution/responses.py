"""Generalised impulse responses of a global solution, beside those of the same economy without aggregate risk."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from estimhank.global_solution.accuracy import LongPath
from estimhank.global_solution.conventional import fit_law, move_to
from estimhank.global_solution.economy import chain_of
from estimhank.global_solution.euler import Problem, next_histograms, policy_on_grid
from estimhank.global_solution.foresight import ForesightResponse, expected_path, foresight_responses
from estimhank.global_solution.histogram import move
from estimhank.global_solution.networks import Frame
from estimhank.global_solution.training import Solver, State
from estimhank.support.seeds import Stream, generator

#: Paths through the networks, and through the log-linear law that takes their sampling noise away.
_PATHS, _CHEAP_PATHS = 200, 100_000
_QUARTERS = 40


@dataclass(frozen=True)
class GlobalResponse:
    """Answers to the news that the aggregate state of date 0 is ``first``, in percent, (T,) each.

    Attributes
    ----------
    first : int
    capital, consumption : arrays
        Of the global solution: expectation given the news less expectation without it, from the average distribution.
    foresight : ForesightResponse
        Of the economy without aggregate risk, T quarters and more.
    """

    first: int
    capital: NDArray[np.float64]
    consumption: NDArray[np.float64]
    foresight: ForesightResponse

    def share_of_risk(self, variable: str = "capital") -> tuple[float, float, float]:
        """How far apart the responses are, as shares of the global one's size (root mean square).

        Returns
        -------
        risk, curvature : float
            Global less nonlinear perfect foresight; nonlinear less linear perfect foresight.
        share : float
            Of the two, what is aggregate risk.
        """
        t = len(self.capital)
        ours = getattr(self, variable)
        nonlinear, linear = getattr(self.foresight, variable)[:t], getattr(self.foresight, f"linear_{variable}")[:t]
        size = max(float(np.sqrt((ours**2).mean())), 1e-300)
        risk = float(np.sqrt(((ours - nonlinear) ** 2).mean())) / size
        curvature = float(np.sqrt(((nonlinear - linear) ** 2).mean())) / size
        return risk, curvature, risk / max(risk + curvature, 1e-300)


@partial(jax.jit, static_argnums=0)
def _paths(problem: Problem, frame: Frame, weights: Any, first: Any, z: Any, grid: Any) -> tuple[jax.Array, jax.Array]:
    """Capital and consumption, (T, paths), from histograms (paths, n_e, n_a) along aggregate states (T + 1, paths)."""

    def quarter(h: jax.Array, states: Any) -> Any:
        def one(shares: jax.Array, now: jax.Array, after: jax.Array) -> Any:
            c, chosen, _, _ = policy_on_grid(problem, frame, weights, now, shares, grid)
            return next_histograms(problem, now, shares, chosen, grid)[after], (shares * grid).sum(), (shares * c).sum()

        following, k, c = jax.vmap(one)(h, *states)
        return following, (k, c)

    found: tuple[jax.Array, jax.Array] = jax.lax.scan(quarter, first, (z[:-1], z[1:]))[1]
    return found


def _draw(aggregate: NDArray[np.float64], u: NDArray[np.float64], first: NDArray[np.int64]) -> NDArray[np.int64]:
    upper = np.cumsum(aggregate, 1)[:, :-1]
    z = np.empty((len(u) + 1, u.shape[1]), np.int64)
    z[0] = first
    for t in range(len(u)):
        z[t + 1] = (u[t][:, None] > upper[z[t]]).sum(1)
    return z


def global_responses(solver: Solver, state: State, path: LongPath, fine: jax.Array) -> list[GlobalResponse]:
    """Responses to the first and to the last aggregate state.

    The expectations are averages over simulated paths, the same random numbers for each first state, with the fitted
    log-linear laws of capital and consumption as control variates: what is averaged over few paths is only how far the
    networks' are from these.
    """
    problem, economy = solver.problem, solver.economy
    frame, weights = solver.policy_frame(state), solver.policy_weights(state)
    chain, n_z = chain_of(economy), economy.n_z
    rng = generator(solver.seed, Stream.GLOBAL_CHECK, 1)
    law, _ = fit_law(path.capital, path.z, n_z)
    # households after their choices of the date before, whatever its aggregate state was
    after = np.zeros(path.mean_histograms.shape[1:])
    for z, weight in enumerate(chain.stationary):
        h = jnp.asarray(path.mean_histograms[z])
        _, chosen, _, _ = policy_on_grid(problem, frame, weights, z, h, fine)
        after += weight * np.asarray(move(h, chosen, fine))
    coarse = solver.grid
    after = np.asarray(jax.vmap(lambda row: move_to(row, fine, coarse))(jnp.asarray(after)))
    u = rng.random((_QUARTERS, _PATHS))
    cheap = rng.random((_QUARTERS, _CHEAP_PATHS))
    expected: dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
    spending: NDArray[np.float64] | None = None
    for first in range(n_z):
        start = expected_path(chain, first, 1).before.T @ after
        along = _draw(chain.aggregate, u, np.full(_PATHS, first))
        histograms = jnp.broadcast_to(jnp.asarray(start), (_PATHS, *start.shape))
        k, c = (np.asarray(x) for x in _paths(problem, frame, weights, histograms, jnp.asarray(along), coarse))
        if spending is None:
            spending = _fit_consumption(problem, frame, weights, path, fine)
        k_law, c_law = _by_law(law, spending, along, float(k[0, 0]))
        k_many, c_many = _by_law(
            law, spending, _draw(chain.aggregate, cheap, np.full(_CHEAP_PATHS, first)), float(k[0, 0])
        )
        expected[first] = (
            (k - k_law).mean(1) + k_many.mean(1),
            (c - c_law).mean(1) + c_many.mean(1),
        )
    weights_z = chain.stationary
    base = [sum(w * expected[z][i] for z, w in enumerate(weights_z)) for i in (0, 1)]
    firsts = (0, n_z - 1) if n_z > 1 else (0,)
    foresight = foresight_responses(economy, firsts)
    return [
        GlobalResponse(
            f, 100 * (expected[f][0] / base[0] - 1), 100 * (expected[f][1] / base[1] - 1), without
        )
        for f, without in zip(firsts, foresight, strict=True)
    ]  # fmt: skip


def _fit_consumption(
    problem: Problem, frame: Frame, weights: Any, path: LongPath, fine: jax.Array
) -> NDArray[np.float64]:
    """Log of mean consumption on a constant and log capital, by aggregate state, (n_z, 2), at kept histograms."""
    chosen = np.unique(np.linspace(0, len(path.kept) - 1, min(200, len(path.kept))).astype(int))
    z, h = path.kept_z[chosen], jnp.asarray(path.kept[chosen])
    c = np.asarray(
        jax.lax.map(
            lambda x: (x[1] * policy_on_grid(problem, frame, weights, x[0], x[1], fine)[0]).sum(), (jnp.asarray(z), h)
        )
    )
    k = np.asarray((h * fine).sum((1, 2)))
    found = np.zeros((problem.economy.n_z, 2))
    for state in range(problem.economy.n_z):
        at = z == state
        if at.sum() > 2:
            found[state] = np.linalg.lstsq(np.stack([np.ones(at.sum()), np.log(k[at])], 1), np.log(c[at]))[0]
    return found


def _by_law(
    law: NDArray[np.float64], spending: NDArray[np.float64], z: NDArray[np.int64], first: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    k = np.empty((len(z) - 1, z.shape[1]))
    k[0] = first
    for t in range(1, len(k)):
        k[t] = np.exp(law[z[t - 1], 0] + law[z[t - 1], 1] * np.log(k[t - 1]))
    return k, np.exp(spending[z[:-1], 0] + spending[z[:-1], 1] * np.log(k))
