"""Training: simulate many economies with the present policy, fit networks to the equations there, and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float
from numpy.typing import NDArray

from estimhank.global_solution.bellman import (
    Behaviour,
    ValueAhead,
    behaviour_at,
    bellman_residual,
    value_moments,
)
from estimhank.global_solution.conventional import move_to
from estimhank.global_solution.economy import GlobalEconomy, chain_of
from estimhank.global_solution.euler import (
    Ahead,
    Problem,
    euler_residual,
    look_ahead,
    next_histograms,
    policy_on_grid,
)
from estimhank.global_solution.histogram import asset_grid
from estimhank.global_solution.least_squares import Residuals, minimise
from estimhank.global_solution.networks import Architecture, Frame, PublishedArchitecture
from estimhank.global_solution.planner import planner_at_rest
from estimhank.global_solution.settings import NetworkConfig, PublishedConfig, TrainingConfig
from estimhank.global_solution.steady import SteadyState, base_policy, deterministic_steady_state
from estimhank.support.seeds import Stream, generator

#: Own assets of a batch reach this share of the grid: the rest is empty, and is left to how networks go on.
_REACH = 0.75
#: Least standard deviation of a generalised moment over visited states, in its own units.
_LEAST_SPREAD = 1e-8
_FIRST_DAMPING = 1e-3


@lru_cache(maxsize=64)
def _unravel(architecture: Architecture) -> Callable[[jax.Array], Any]:
    unravel: Callable[[jax.Array], Any] = ravel_pytree(architecture.initial_weights(0))[1]
    return unravel


class State(NamedTuple):
    """All that training goes on from.

    Attributes
    ----------
    policy, value : arrays of shape (n_w,)
        Flat weights.
    policy_mean, policy_spread, value_mean, value_spread : arrays of shape (q,)
        Of generalised moments over visited states.
    histograms : array of shape (economies, n_e, n_a)
    z : array of shape (economies,)
    damping : array of shape (2,)
        Of least squares, of policy and value.
    round : array of shape ()
        Rounds done, of policy and value together.
    extra : array
        What the published recipe goes on from besides: households' own states and Adam's averages.
    """

    policy: NDArray[np.float64]
    value: NDArray[np.float64]
    policy_mean: NDArray[np.float64]
    policy_spread: NDArray[np.float64]
    value_mean: NDArray[np.float64]
    value_spread: NDArray[np.float64]
    histograms: NDArray[np.float64]
    z: NDArray[np.int64]
    damping: NDArray[np.float64]
    round: NDArray[np.int64]
    extra: NDArray[np.float64] = np.zeros(0)


@dataclass(frozen=True)
class Solver:
    """One economy with its networks.

    Attributes
    ----------
    economy : GlobalEconomy
    networks : NetworkConfig
    training : TrainingConfig
    planner : bool
    seed : int
    published : PublishedConfig, optional
        Where the published recipe is followed.
    """

    economy: GlobalEconomy
    networks: NetworkConfig
    training: TrainingConfig
    planner: bool = False
    seed: int = 1
    published: PublishedConfig | None = None

    @property
    def architecture(self) -> Architecture:
        """Of policy and value alike."""
        return self._architecture(Architecture if self.published is None else PublishedArchitecture)

    @property
    def published_architecture(self) -> PublishedArchitecture:
        """Of the published recipe."""
        return self._architecture(PublishedArchitecture)

    def _architecture[A: Architecture](self, kind: type[A]) -> A:
        n = self.networks
        return kind(self.economy.n_z, self.economy.n_e, n.first_moment, n.generalised, n.hidden, n.moment_hidden)

    @property
    def problem(self) -> Problem:
        """What residuals are of."""
        return Problem(self.economy, self.architecture, self.planner)

    @property
    def grid(self) -> jax.Array:
        """Of the histograms in training."""
        return asset_grid(self.economy.borrowing_limit, self.economy.largest_assets, self.training.histogram)

    @property
    def rest(self) -> SteadyState:
        """Where training begins and what networks correct: the economy without aggregate risk, the planner's where she
        has a solution.
        """
        if self.planner and self.published is None:
            return planner_at_rest(self.economy).steady or deterministic_steady_state(self.economy)
        return deterministic_steady_state(self.economy)

    def frame(self, mean: Any, spread: Any) -> Frame:
        """Constants of the networks."""
        rest = self.rest
        return Frame(
            base_policy(self.economy, rest.capital, rest.externality), jnp.asarray(rest.capital), self.grid,
            jnp.asarray(mean), jnp.asarray(spread),
        )  # fmt: skip

    def policy_frame(self, state: State) -> Frame:
        """Constants of the policy networks."""
        return self.frame(state.policy_mean, state.policy_spread)

    def value_frame(self, state: State) -> Frame:
        """Constants of the value networks."""
        return self.frame(state.value_mean, state.value_spread)

    def policy_weights(self, state: State) -> Any:
        """Of the policy networks, nested."""
        return _unravel(self.architecture)(jnp.asarray(state.policy))

    def value_weights(self, state: State) -> Any:
        """Of the value networks, nested; a list of them by the published recipe."""
        if self.published is not None:
            one = self.architecture.initial_weights(0)
            return ravel_pytree([one] * self.published.value_networks)[1](jnp.asarray(state.value))
        return _unravel(self.architecture)(jnp.asarray(state.value))

    def start(self) -> State:
        """The deterministic steady state, stretched by up to a tenth and moved by the base policy; untrained
        networks.
        """
        rng = generator(self.seed, Stream.GLOBAL)
        steady = self.rest
        n = self.training.economies
        at_rest = jax.vmap(lambda row: move_to(row, steady.grid, self.grid))(steady.histogram)
        every = jnp.broadcast_to(at_rest, (n, *at_rest.shape))
        stretched = _stretch(every, jnp.asarray(rng.uniform(0.92, 1.08, n)), self.grid)
        z = rng.choice(self.economy.n_z, size=n, p=chain_of(self.economy).stationary)
        a = self.architecture
        seeds = rng.integers(2**31, size=2)
        flat = [np.asarray(ravel_pytree(a.initial_weights(int(s)))[0]) for s in seeds]
        zero, one = np.zeros(a.generalised), np.ones(a.generalised)
        return State(
            flat[0],
            flat[1],
            zero,
            one,
            zero,
            one,
            np.asarray(stretched),
            z.astype(np.int64),
            np.full(2, _FIRST_DAMPING),
            np.array(0),
        )

    @property
    def rounds(self) -> int:
        """Of policy and value together; of the published recipe, blocks of steps between two fits of the value
        networks.
        """
        if self.published is not None:
            return -(-self.published.steps // self.published.value_every)
        return self.training.rounds + self.training.value_rounds

    def train(self, state: State) -> Iterator[tuple[State, str]]:
        """Rounds from ``state`` on, with what each has reached in words; each is a function of the state before it."""
        while int(state.round) < self.rounds:
            of_value = int(state.round) >= self.training.rounds
            state, residuals = self._value_round(state) if of_value else self._policy_round(state)
            size = np.abs(residuals)
            what = "Bellman equation, in utility" if of_value else "Euler equation"
            yield state, f"{what}: mean error {size.mean():.1e}, largest {size.max():.1e}"

    def _visit(self, state: State, rng: np.random.Generator) -> tuple[State, Any]:
        """Simulate on, and take a batch: z, histograms and own assets."""
        t = self.training
        quarters = min(t.quarters, t.first_quarters * 2 ** int(state.round))
        u = jnp.asarray(rng.random((quarters, t.economies)))
        histograms, z = simulate_economies(
            self.problem, self.policy_frame(state), self.policy_weights(state), jnp.asarray(state.histograms),
            jnp.asarray(state.z), u, self.grid,
        )  # fmt: skip
        state = state._replace(histograms=np.asarray(histograms), z=np.asarray(z))
        share = np.where(np.arange(t.economies) % 4 == 0, rng.uniform(1 - t.spread, 1 + t.spread, t.economies), 1.0)
        wide = _stretch(histograms, jnp.asarray(share), self.grid)
        low, high = self.economy.borrowing_limit, self.economy.largest_assets
        place = (np.arange(t.own_states) + rng.random((t.economies, self.economy.n_e, t.own_states))) / t.own_states
        assets = low + _REACH * (high - low) * place**2
        return state, (z, wide, jnp.asarray(assets))

    def _policy_round(self, state: State) -> tuple[State, NDArray[np.float64]]:
        state, batch = self._visit(state, generator(self.seed, Stream.GLOBAL, 1 + int(state.round)))
        if int(state.round) == 0:
            mean, spread = self._whiten(self.policy_weights(state), batch[1])
            state = state._replace(policy_mean=mean, policy_spread=spread)
        weights, damping, residuals = minimise(
            policy_residuals(self.problem, self.training.own_states),
            jnp.asarray(state.policy), float(state.damping[0]),
            self.policy_frame(state), batch, self.training.steps,
        )  # fmt: skip
        return state._replace(
            policy=np.asarray(weights), damping=np.array([damping, state.damping[1]]), round=state.round + 1
        ), residuals

    def _value_round(self, state: State) -> tuple[State, NDArray[np.float64]]:
        state, (z, histograms, assets) = self._visit(state, generator(self.seed, Stream.GLOBAL, 1 + int(state.round)))
        if int(state.round) == self.training.rounds:
            mean, spread = self._whiten(self.value_weights(state), histograms)
            state = state._replace(value_mean=mean, value_spread=spread)
        behaviour = behave(
            self.problem, self.policy_frame(state), self.policy_weights(state), z, histograms, assets, self.grid
        )
        weights, damping, residuals = minimise(
            value_residuals(self.problem, self.training.own_states), jnp.asarray(state.value), float(state.damping[1]),
            self.value_frame(state), (z, behaviour), self.training.steps,
        )  # fmt: skip
        return state._replace(
            value=np.asarray(weights), damping=np.array([state.damping[0], damping]), round=state.round + 1
        ), residuals

    def _whiten(self, weights: Any, histograms: jax.Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        assets = jnp.broadcast_to(self.grid, histograms.shape[1:])
        functions = self.architecture.moment_functions(weights, assets, jnp.asarray(self.rest.capital))
        raw = np.asarray(jnp.einsum("qea,sea->sq", functions, histograms))
        return raw.mean(0), np.maximum(raw.std(0), _LEAST_SPREAD)


@jax.jit
def _stretch(
    histograms: Float[jax.Array, "s n_e n_a"], share: Float[jax.Array, " s"], grid: Float[jax.Array, " n_a"]
) -> Float[jax.Array, "s n_e n_a"]:
    def one(h: jax.Array, factor: jax.Array) -> jax.Array:
        return jax.vmap(
            lambda row: move_to(row, jnp.clip(grid[0] + (grid - grid[0]) * factor, grid[0], grid[-1]), grid)
        )(h)

    return jax.vmap(one)(histograms, share)


@partial(jax.jit, static_argnums=0)
def simulate_economies(
    problem: Problem, frame: Frame, weights: Any, histograms: jax.Array, z: jax.Array, u: jax.Array, grid: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Carry many economies on, one quarter for each row of uniform numbers (quarters, economies); the last states."""
    upper = jnp.cumsum(jnp.asarray(chain_of(problem.economy).aggregate), 1)[:, :-1]

    def quarter(state: Any, draws: jax.Array) -> tuple[Any, None]:
        def one(h: jax.Array, now: jax.Array, draw: jax.Array) -> tuple[jax.Array, jax.Array]:
            _, chosen, _, _ = policy_on_grid(problem, frame, weights, now, h, grid)
            after = (draw > upper[now]).sum()
            return next_histograms(problem, now, h, chosen, grid)[after], after

        return jax.vmap(one)(state[0], state[1], draws), None

    found: tuple[jax.Array, jax.Array] = jax.lax.scan(quarter, (histograms, z), u)[0]
    return found


@lru_cache(maxsize=32)
def policy_residuals(problem: Problem, households: int) -> Residuals:
    """Euler residuals of states (z, histogram, own assets (n_e, n)); ``fixed`` is a frame."""
    unravel = _unravel(problem.architecture)

    def aggregates(flat: jax.Array, frame: Frame, state: Any) -> Ahead:
        return look_ahead(problem, frame, unravel(flat), state[0], state[1], frame.grid)

    def row(flat: jax.Array, ahead: Ahead, frame: Frame, state: Any, e: jax.Array, i: jax.Array) -> jax.Array:
        z, histogram, assets = state
        capital = (histogram * frame.grid).sum()
        return euler_residual(problem, frame, unravel(flat), z, capital, e, assets[e, i], ahead)

    return Residuals(aggregates, row, (problem.economy.n_e, households))


@lru_cache(maxsize=32)
def value_residuals(problem: Problem, households: int) -> Residuals:
    """Bellman residuals of states (z, behaviour); ``fixed`` is a frame."""
    unravel = _unravel(problem.architecture)

    def aggregates(flat: jax.Array, frame: Frame, state: Any) -> ValueAhead:
        what: Behaviour = state[1]
        return value_moments(problem, frame, unravel(flat), what.histogram, what.following, frame.grid)

    def row(flat: jax.Array, ahead: ValueAhead, frame: Frame, state: Any, e: jax.Array, i: jax.Array) -> jax.Array:
        return bellman_residual(problem, frame, unravel(flat), state[0], e, i, state[1], ahead)

    return Residuals(aggregates, row, (problem.economy.n_e, households))


@partial(jax.jit, static_argnums=0)
def behave(
    problem: Problem,
    frame: Frame,
    weights: Any,
    z: jax.Array,
    histograms: jax.Array,
    assets: jax.Array,
    grid: jax.Array,
) -> Behaviour:
    """What households do at many aggregate states."""
    return jax.vmap(lambda a, h, own: behaviour_at(problem, frame, weights, a, h, own, grid))(z, histograms, assets)
