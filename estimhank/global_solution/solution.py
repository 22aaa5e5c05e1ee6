"""A solved economy: its policy and value function as functions, and the figures that it was judged by."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from estimhank.global_solution.bellman import value_of
from estimhank.global_solution.economies import find_economy, make_economy
from estimhank.global_solution.euler import Problem, cash_on_hand, desired_consumption
from estimhank.global_solution.histogram import asset_grid
from estimhank.global_solution.networks import Frame, moments_of
from estimhank.global_solution.settings import EconomyConfig, NetworkConfig, PublishedConfig, TrainingConfig
from estimhank.global_solution.training import Solver, State
from estimhank.support.errors import ConfigError, ResultsError
from estimhank.support.files import read_arrays, read_json
from estimhank.support.settings import build

#: Names of the files of a results folder.
FIGURES, WEIGHTS, SETTINGS = "global.json", "solution.npz", "settings.json"


@partial(jax.jit, static_argnums=0)
def _moments_at(
    problem: Problem, frame: Frame, weights: Any, histograms: Any, grid: Any, z: Any, capital: Any
) -> jax.Array:
    """Moments at the average histogram of each state, its wealth scaled to a capital stock: (k,) to (k, n_m)."""
    low = problem.economy.borrowing_limit

    def one(at: Any) -> jax.Array:
        state, k = at
        h = histograms[state]
        share = (k - low) / ((h * grid).sum() - low)
        assets = jnp.broadcast_to(low + (grid - low) * share, h.shape)
        functions = problem.architecture.moment_functions(weights, assets, frame.capital)
        return moments_of(problem.architecture, frame, functions, h, k)

    found: jax.Array = jax.lax.map(one, (z, capital))
    return found


@partial(jax.jit, static_argnums=(0, 1))
def _read(
    problem: Problem, what: str, frame: Frame, weights: Any, assets: Any, e: Any, z: Any, capital: Any, moments: Any
) -> jax.Array:
    economy = problem.economy

    def one(at: Any) -> jax.Array:
        a, own, state, k, seen = at
        cash, scale = cash_on_hand(economy, state, k, jnp.broadcast_to(a, (economy.n_e, 1)))
        mine = cash[own, 0]
        if what == "value":
            return value_of(problem, frame, weights, state, own, mine, scale, seen)
        desired = desired_consumption(problem, frame, weights, state, own, mine, scale, seen)
        return mine - jnp.minimum(desired, mine) + economy.borrowing_limit

    found: jax.Array = jax.vmap(one)((assets, e, z, capital, moments))
    return found


def _padded(x: NDArray[Any]) -> NDArray[Any]:
    """At least as long as a power of two, so that few lengths are compiled for."""
    more = (1 << max(len(x) - 1, 0).bit_length()) - len(x)
    return np.concatenate([x, np.repeat(x[-1:], more, axis=0)])


@dataclass(frozen=True)
class GlobalSolution:
    """A solution with its figures.

    Attributes
    ----------
    solver : Solver
        Economy and networks.
    state : State
        Weights.
    histograms : array of shape (n_z, n_e, n_a)
        Average distribution of each aggregate state on the ergodic set, on a grid of its own.
    figures : mapping
        ``global.json``.
    """

    solver: Solver
    state: State
    histograms: NDArray[np.float64]
    figures: Mapping[str, Any]

    @cached_property
    def grid(self) -> jax.Array:
        """Assets of ``histograms``."""
        economy = self.solver.economy
        return asset_grid(economy.borrowing_limit, economy.largest_assets, self.histograms.shape[-1])

    @cached_property
    def _networks(self) -> dict[str, Any]:
        solver, state = self.solver, self.state
        return {
            "policy": (solver.policy_frame(state), solver.policy_weights(state)),
            "value": (solver.value_frame(state), solver.value_weights(state)),
            "histograms": jnp.asarray(self.histograms),
        }

    def policy(self, assets: ArrayLike, employed: ArrayLike, z: ArrayLike, capital: ArrayLike) -> NDArray[np.float64]:
        """Next period's assets.

        Parameters
        ----------
        assets : array
            At the beginning of the period, not below the borrowing limit.
        employed : array
            Whether employed (1) or not (0); of other economies the index of the idiosyncratic state.
        z : array
            Index of the aggregate state (0 bad, 1 good), or its level of productivity where the economy has
            ``productivity``.
        capital : array
            Mean assets. The rest of the distribution is the average one of that aggregate state, with all wealth scaled
            to them.

        Returns
        -------
        array
            Of the arguments' common shape.

        Raises
        ------
        ConfigError
            For what is no state, assets below the limit, capital that is not positive.
        """
        return self._evaluate("policy", assets, employed, z, capital)

    def value(self, assets: ArrayLike, employed: ArrayLike, z: ArrayLike, capital: ArrayLike) -> NDArray[np.float64]:
        """Expected discounted utility; arguments and errors as of :meth:`policy`."""
        return self._evaluate("value", assets, employed, z, capital)

    def consumption(
        self, assets: ArrayLike, employed: ArrayLike, z: ArrayLike, capital: ArrayLike
    ) -> NDArray[np.float64]:
        """Consumption; arguments and errors as of :meth:`policy`."""
        chosen = self.policy(assets, employed, z, capital)
        a, e, s, k = np.broadcast_arrays(
            np.asarray(assets, float), np.asarray(employed), self._state_of(z), np.asarray(capital, float)
        )
        economy = self.solver.economy
        prices = jax.vmap(economy.prices)(jnp.asarray(s.ravel()), jnp.asarray(k.ravel()))
        income = np.take_along_axis(np.asarray(prices.income), e.ravel().astype(int)[:, None], 1)[:, 0]
        cash = np.asarray(prices.gross_return) * a.ravel() + income
        return np.asarray(cash.reshape(a.shape) - chosen)

    def _state_of(self, z: ArrayLike) -> NDArray[np.int64]:
        given = np.asarray(z, float)
        n = self.solver.economy.n_z
        levels = np.asarray(getattr(self.solver.economy, "productivity", ()), float)
        if np.isin(given, np.arange(n)).all():
            return given.astype(np.int64)
        if len(levels) == n and np.isclose(given[..., None], levels).any(-1).all():
            return np.abs(given[..., None] - levels).argmin(-1)
        raise ConfigError(f"z must be the index of an aggregate state, 0 to {n - 1}, or its level of productivity")

    def _evaluate(
        self, what: str, assets: ArrayLike, employed: ArrayLike, z: ArrayLike, capital: ArrayLike
    ) -> NDArray[np.float64]:
        economy = self.solver.economy
        a, e, s, k = np.broadcast_arrays(
            np.asarray(assets, float), np.asarray(employed, float), self._state_of(z), np.asarray(capital, float)
        )
        if not (a >= economy.borrowing_limit - 1e-9).all():
            raise ConfigError(f"assets must be numbers not below the borrowing limit, {economy.borrowing_limit:g}")
        if not np.isin(e, np.arange(economy.n_e)).all():
            raise ConfigError(f"employed must be the index of an idiosyncratic state, 0 to {economy.n_e - 1}")
        if not ((k > max(economy.borrowing_limit, 0.0)) & np.isfinite(k)).all():
            raise ConfigError("capital must be positive numbers")
        shape = a.shape
        a, e, s, k = a.ravel(), e.ravel().astype(int), s.ravel(), k.ravel()
        if not a.size:
            return np.zeros(shape)
        solver = self.solver
        frame, weights = self._networks[what]
        places, back = np.unique(np.stack([s.astype(float), k]), axis=1, return_inverse=True)
        wide = _padded(places.T)
        moments = _moments_at(
            solver.problem, frame, weights, self._networks["histograms"], self.grid,
            jnp.asarray(wide[:, 0].astype(int)), jnp.asarray(wide[:, 1]),
        )  # fmt: skip
        each = np.asarray(moments)[back.ravel()]
        found = _read(solver.problem, what, frame, weights, *(jnp.asarray(_padded(x)) for x in (a, e, s, k, each)))
        return np.asarray(found)[: a.size].reshape(shape)


def to_bytes(arrays: Mapping[str, Any]) -> bytes:
    """Arrays as the content of an ``.npz`` file."""
    stream = io.BytesIO()
    given: dict[str, Any] = {name: np.asarray(value) for name, value in arrays.items()}
    np.savez(stream, **given)
    return stream.getvalue()


def read_solution(folder: Path) -> GlobalSolution:
    """Open the results folder of ``estimhank global``.

    Raises
    ------
    ResultsError, StorageError
        If the folder is not finished, or damaged.
    """
    for name in (FIGURES, WEIGHTS, SETTINGS):
        if not (folder / name).is_file():
            raise ResultsError(
                f"the global solution in {folder} is not finished; go on with `estimhank global --resume`"
            )
    settings = read_json(folder / SETTINGS)
    arrays = read_arrays(folder / WEIGHTS)
    try:
        state = State(**{name: arrays[name] for name in State._fields})
        histograms = arrays["ergodic"]
    except KeyError as error:
        raise ResultsError(f"{folder / WEIGHTS} is damaged: run it again with --overwrite") from error
    return GlobalSolution(solver_of(settings), state, histograms, dict(read_json(folder / FIGURES)))


def solver_of(settings: Mapping[str, Any]) -> Solver:
    """Economy and networks of a folder's ``settings.json``."""
    config = settings["configuration"]
    economy = build(EconomyConfig, config["economy"], "[economy]")
    published = config["training"]["recipe"] == "published"
    kind = find_economy(settings.get("economy", economy.name))
    return Solver(
        make_economy(kind, economy.parameters),
        build(NetworkConfig, config["networks"], "[networks]"),
        build(TrainingConfig, config["training"], "[training]"),
        economy.planner,
        int(config["run"]["seed"]),
        build(PublishedConfig, config["published"], "[published]") if published else None,
    )
