"""A small global solution that several tests share, solved once a process."""

from __future__ import annotations

from functools import cache

import numpy as np

from estimhank.global_solution.economy import KrusellSmithEconomy
from estimhank.global_solution.settings import NetworkConfig, TrainingConfig
from estimhank.global_solution.training import Solver, State

SMALL = TrainingConfig(
    economies=16, own_states=10, histogram=60, rounds=2, value_rounds=1, steps=3, first_quarters=10, quarters=20
)


def small_solver(planner: bool = False, seed: int = 1) -> Solver:
    """Krusell and Smith's economy with networks of eight units."""
    return Solver(
        KrusellSmithEconomy(), NetworkConfig(hidden=(8,), moment_hidden=(4,)), SMALL, planner, seed
    )  # fmt: skip


@cache
def perturbed_state() -> State:
    """Networks that have not been trained, with random heads: corrections of per cents that mean nothing."""
    state = small_solver().start()
    rng = np.random.default_rng(5)
    return state._replace(policy=state.policy + 0.1 * rng.normal(size=state.policy.shape))


@cache
def small_states() -> tuple[State, ...]:
    """Before training, and after each round."""
    solver = small_solver()
    state = solver.start()
    return (state, *(after for after, _ in solver.train(state)))
