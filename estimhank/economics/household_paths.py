"""Readings of households after shocks, at any draw: Jacobians of readings times the paths that a solution has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from estimhank.households.groups import consumption_of
from estimhank.households.one_asset import HouseholdBlock
from estimhank.households.readings import ReadingJacobians, reading_jacobians
from estimhank.households.stationary import HouseholdSteadyState
from estimhank.parameters.parameter_table import Values, nearest
from estimhank.posterior.at_point import AtPoint
from estimhank.posterior.posterior import Posterior
from estimhank.sequence_space.structure import household_names, household_positions
from estimhank.support.errors import ConfigError

Array = NDArray[np.float64]

#: Most quarters of responses of households: up to there equations of households are imposed at every date, also where
#: few dates are used (:data:`estimhank.sequence_space.coarse_dates.ENDS`).
MOST = 60


class Reading(NamedTuple):
    """What is read of one block at one steady state.

    Attributes
    ----------
    outputs : tuple of str, length k
        Of which the groups' sums are.
    weights, newcomers : arrays of shape (k, n_e, ...)
    gradients : array of shape (m, n_e, ...)
        Of measures of the distribution.
    measured : array of shape (m,)
        The measures in the steady state.
    """

    outputs: tuple[str, ...]
    weights: Array
    newcomers: Array
    gradients: Array
    measured: Array


@dataclass(frozen=True)
class HouseholdsAt:
    """Households and what reaches them, at one draw.

    Attributes
    ----------
    steady : tuple of HouseholdSteadyState
        Of each block; none where they are not solved here.
    paths : array of shape (T, n_i, n_z)
        Responses of the households' inputs.
    outputs : array of shape (H, n_o, n_z)
        Responses of the outputs that were asked for, as the solution has them.
    levels : array of shape (n_o,)
        Their steady-state values.
    jacobians : tuple of ReadingJacobians
        Of each block, with respect to its own inputs.
    readings : tuple of Reading
        What they are of; none where households are not solved here.
    """

    steady: tuple[HouseholdSteadyState, ...]
    paths: Array
    outputs: Array
    levels: Array
    jacobians: tuple[ReadingJacobians, ...]
    readings: tuple[Reading, ...]


class _Households(NamedTuple):
    """Of each block: steady state, Jacobians, and what they are of."""

    steady: tuple[HouseholdSteadyState, ...]
    jacobians: tuple[ReadingJacobians, ...]
    readings: tuple[Reading, ...]


class HouseholdPaths:
    """Households of a posterior's model at any parameters.

    Parameters
    ----------
    posterior : Posterior
    outputs : sequence of str
        Household outputs.
    dates : int
        Of responses, from the impact on.
    read : callable
        What is read of a block: of the block and its steady state.

    Raises
    ------
    ConfigError
        The model has no households, or not these outputs; more dates than :data:`MOST`.
    """

    def __init__(
        self,
        posterior: Posterior,
        outputs: Sequence[str],
        dates: int,
        read: Callable[[HouseholdBlock, HouseholdSteadyState], Reading],
    ) -> None:
        self.posterior, self.dates, self.read = posterior, dates, read
        setting = posterior.solver.setting
        self.model = setting.model
        known = output_names(posterior)
        for name in outputs:
            if name not in known:
                raise ConfigError(f"households have no output '{name}'{nearest(name, known)}: {', '.join(known)}")
        if not 1 <= dates <= min(MOST, posterior.horizon):
            raise ConfigError(
                f"responses of households are of 0 to {min(MOST, posterior.horizon) - 1} quarters, not {dates - 1}"
            )
        self.names = tuple(outputs)
        self.inputs, _ = household_names(self.model.blocks)
        self._functions: dict[tuple[int, int], Any] = {}
        self._kept: dict[int, _Households] = {}

    def solve(self, theta: ArrayLike) -> HouseholdsAt:
        """Households at parameters (d,).

        Raises
        ------
        EstimhankError
            There is no solution.
        """
        here, *_ = self.posterior.solved(theta)
        responses, unknowns = np.asarray(here.responses), self.model.unknowns
        steady, jacobians, readings = self._of(here, len(responses))
        return HouseholdsAt(
            steady,
            responses[:, list(household_positions(self.model)[0])],
            responses[: self.dates, [unknowns.index(name) for name in self.names]],
            np.array([float(here.parts.values[name]) for name in self.names]),
            jacobians,
            readings,
        )

    def _of(self, here: AtPoint, horizon: int) -> _Households:
        """Steady states and Jacobians: those of households that no estimated parameter moves are kept."""
        moving = bool(here.solver.setting.moving)
        if not moving and horizon in self._kept:
            return self._kept[horizon]
        solver = here.solver.steady
        if self.model.given is not None:
            found = _Households((), (self._given(here, horizon),), ())
        else:
            changes = here.solver.setting.mapping(here.point)
            steady = solver.stationary_at(changes)[0] if moving else solver.reference.households
            readings = tuple(map(self.read, self.model.problems, steady))
            each = (self._solved(i, steady[i], reading, here, horizon) for i, reading in enumerate(readings))
            found = _Households(tuple(steady), tuple(each), readings)
        if not moving:
            self._kept[horizon] = found
        return found

    def _solved(
        self, which: int, steady: HouseholdSteadyState, reading: Reading, here: AtPoint, horizon: int
    ) -> ReadingJacobians:
        block, parts = self.model.problems[which], here.parts
        key = which, horizon
        if key not in self._functions:
            dates, outputs = self.dates, reading.outputs

            def compute(steady: Any, inputs: Any, parameters: Any, *read: Any) -> ReadingJacobians:
                return reading_jacobians(block, steady, inputs, Values(parameters), horizon, dates, outputs, *read)

            self._functions[key] = jax.jit(compute)
        inputs = {name: parts.values[name] for name in block.inputs}
        parameters = {name: parts.parameters[name] for name in block.parameters}
        read = reading.weights, reading.newcomers, reading.gradients
        found: ReadingJacobians = self._functions[key](steady, inputs, parameters, *read)
        return found

    def _given(self, here: AtPoint, horizon: int) -> ReadingJacobians:
        """Of households that came as Jacobians, those of the outputs that were asked for."""
        solver = here.solver
        parts = here.parts if solver.setting.moving else solver.steady.reference_parts
        by_date = -parts.household.by_date
        n_i, names = by_date.shape[1], household_names(self.model.blocks)[1]
        by_date = by_date.reshape(horizon, n_i, len(names), horizon)
        chosen = by_date[:, :, np.array([names.index(name) for name in self.names]), : self.dates]
        return ReadingJacobians(chosen, chosen[..., 0])

    def of_block(self, which: int, at: HouseholdsAt) -> Array:
        """Paths of a block's own inputs, (T, n_i, n_z)."""
        block = self.model.blocks[which]
        return at.paths[:, [self.inputs.index(name) for name in block.inputs]]


@jax.jit
def effects_by_input(by_date: jax.Array, paths: jax.Array) -> jax.Array:
    """What each input's path does to each reading: (T, n_i, k, H) and (T, n_i, n_z) to (H, k, n_i, n_z)."""
    found: jax.Array = jnp.einsum("sikt,siz->tkiz", by_date, paths)
    return found


@jax.jit
def effects_given_states(given: jax.Array, paths: jax.Array, dates: jax.Array) -> jax.Array:
    """What inputs do with nobody in another state than before: (T, n_i, k), (T, n_i, n_z) and the dates (H,) to
    (H, k, n_z)."""
    padded = jnp.concatenate([paths, jnp.zeros_like(paths)])

    def at(date: jax.Array) -> jax.Array:
        later = jax.lax.dynamic_slice_in_dim(padded, date, len(paths))
        return jnp.einsum("sik,siz->kz", given, later)

    found: jax.Array = jax.lax.map(at, dates)
    return found


def output_names(posterior: Posterior) -> tuple[str, ...]:
    """Of a model's households.

    Raises
    ------
    ConfigError
        It has none.
    """
    model = posterior.solver.setting.model
    if not model.blocks:
        raise ConfigError(f"the model {model.name} has no households: there is nothing to say of who responds, and how")
    return tuple(name for block in model.blocks for name in block.outputs)


def consumption_names(posterior: Posterior, outputs: Sequence[str] | None = None) -> tuple[str, ...]:
    """The consumption of each block of a model, whose households are solved here; or of given outputs one of each.

    Raises
    ------
    ConfigError
        There are no such households, or it is not known which of their outputs is consumption; outputs that are not
        one of each block.
    """
    known, model = output_names(posterior), posterior.solver.setting.model
    if model.given is not None:
        raise ConfigError(
            f"the households of {model.name} came as Jacobians, without a distribution: there are no groups of them; "
            "ask for direct and indirect effects"
        )
    chosen = tuple(filter(None, map(consumption_of, model.problems))) if outputs is None else tuple(outputs)
    found = tuple(name for block in model.problems for name in block.outputs if name in chosen)
    each = [sum(name in block.outputs for name in found) for block in model.problems]
    if set(each) != {1} or set(found) != set(chosen):
        raise ConfigError(
            f"groups are of one output for each block of households: name which, of {', '.join(known)}"
            + ("" if outputs is None else f"; not {', '.join(outputs)}")
        )
    return found
