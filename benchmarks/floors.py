"""The time below which no code that takes the same route can go, step by step of an evaluation.

A step's floor is the larger of its operations over the rate of a large matrix product and the bytes that it must bring
from and to memory over the rate of a copy, both rates measured here, on one core.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from estimhank.households.fake_news import NEWS_TOLERANCE, mass_shifts, policy_moves, setting_of
from estimhank.posterior.posterior import Posterior
from estimhank.sequence_space.coarse_dates import count_of

NEWTON_STEPS, INNER_STEPS = 7, 48  # of a search for the steady state
_PER_STATE = 10  # operations of an interpolation and its surroundings, besides the product over productivity


@dataclass(frozen=True)
class Rates:
    """What one core does: operations a second in a large matrix product, bytes a second of a copy."""

    operations: float
    bytes: float

    def floor(self, operations: float, moved: float = 0.0) -> float:
        """Seconds that both need at least."""
        return max(operations / self.operations, moved / self.bytes)


def measure_rates(size: int = 1_000, repeat: int = 7) -> Rates:
    """Rates of this core, the best of several tries."""
    a = np.random.default_rng(0).standard_normal((size, size))
    source, target = np.zeros(8_000_000), np.zeros(8_000_000)
    product, copy = [], []
    for _ in range(repeat):
        begin = time.perf_counter()
        a @ a
        middle = time.perf_counter()
        np.copyto(target, source)
        product.append(middle - begin)
        copy.append(time.perf_counter() - middle)
    return Rates(2.0 * size**3 / min(product), 2.0 * source.nbytes / min(copy))


def floors(post: Posterior, rates: Rates) -> dict[str, float]:
    """Seconds by step, for a posterior with a household, at its reference values.

    The steady state counts its Newton steps times inner steps times four linear maps; the Jacobians the recursions up
    to the date at which nothing matters any more, the products of which the entries' bound says that they matter, and
    reading and writing the result; the equilibrium a factorisation at the dates that it is solved at, the household's
    rows at those dates read twice and the assembled matrix written; the likelihood the recursion over dates.
    """
    (block,), steady, horizon = post.model.blocks, post.steady_state.household, post.horizon
    assert steady is not None
    names = tuple(n for n in block.outputs if n not in block.derived)
    n_e, n_a = steady.distribution.shape
    states, n_i, n_o = n_e * n_a, len(block.inputs), len(names)
    a_map = states * (2 * n_e + _PER_STATE)
    dates, pairs = _that_matter(post, names)
    recursions = a_map * (n_i + n_o) * dates
    jacobian = horizon * horizon * n_i * n_o
    n, m = np.shape(post.data.values)
    levinson = n * n / 2 * m * (2 * m * (m + 1) + 4 * m * m)
    return {
        "step: steady state of households": rates.floor(4 * a_map * NEWTON_STEPS * INNER_STEPS),
        "step: household Jacobians": rates.floor(recursions + 2 * states * pairs * n_i * n_o + jacobian, 16 * jacobian),
        "step: general equilibrium": _equilibrium(post, rates, jacobian),
        "step: likelihood": rates.floor(levinson),
    }


def _equilibrium(post: Posterior, rates: Rates, jacobian: int) -> float:
    dates = count_of(post.solver.structure.coarse, post.horizon)
    return rates.floor(2 / 3 * dates**3, 8 * (2 * jacobian * dates / post.horizon + dates**2))


def _that_matter(post: Posterior, names: tuple[str, ...]) -> tuple[int, float]:
    """Dates after which a policy no longer matters, and pairs (t, s) of dates whose news is above the tolerance."""
    (block,), state, horizon = post.model.problems, post.steady_state, post.horizon
    assert state.household is not None
    steady, p = state.household, post.model.parameters.values_with(state.parameters)
    inputs = post.model.household_target(p).inputs
    shifts = np.asarray(mass_shifts(steady, names, horizon - 1)).reshape(horizon - 1, -1)
    moves, _ = policy_moves(block, names, -(-horizon // 32), setting_of(block, steady, inputs, p), jnp.ones(()))
    left = np.linalg.norm(shifts, axis=1)
    right = np.linalg.norm(np.asarray(moves).reshape(-1, len(block.inputs), steady.distribution.size), axis=2).max(1)
    right = right[:horizon]
    matter = left[:, None] * right[None, :] > NEWS_TOLERANCE
    return int(max(matter.any(0).sum(), matter.any(1).sum())), float(matter.sum())
