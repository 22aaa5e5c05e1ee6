"""Households that somebody else has solved: sequence-space Jacobians in place of a household problem.

All that an equilibrium needs of households is how their aggregate outputs respond to paths of their inputs. Who has
these responses, from another toolkit or another language, can estimate a model with them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from estimhank.households.stationary import SteadyStateError

Array = NDArray[np.float64]

#: Largest difference, relative to one plus the value, between a steady state and the one that Jacobians belong to.
SAME_STEADY_STATE = 1e-6


class GivenHousehold(ABC):
    """Households whose outputs and Jacobians are not computed here.

    Attributes
    ----------
    inputs, outputs : tuple of str
        Aggregate variables that they read, and what they add up to.
    parameters, derived : tuple of str
        None: nothing of the parameter table is read, and every output has Jacobians.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: tuple[str, ...] = ()
    derived: tuple[str, ...] = ()

    def identities(self, lag: Any, now: Any) -> Iterator[tuple[str, Any]]:
        """None."""
        return iter(())

    @property
    @abstractmethod
    def moves(self) -> bool:
        """Whether they can be had at another steady state than the reference's."""

    @property
    @abstractmethod
    def longest(self) -> float:
        """The longest horizon at which they are known, in dates."""

    @abstractmethod
    def values_at(self, p: Any) -> dict[str, float]:
        """Steady-state outputs at parameters ``p``.

        Raises
        ------
        SteadyStateError
        """

    @abstractmethod
    def jacobians_at(self, p: Any, horizon: int) -> jax.Array:
        """Jacobians by date of the input at parameters ``p``, (T, n_i, n_o, T): ``[s, i, o, t]``.

        Raises
        ------
        SteadyStateError
        """

    @property
    def input_values(self) -> Mapping[str, float]:
        """Steady-state inputs to which the Jacobians belong, where that is not a matter of course."""
        return {}

    def check_inputs(self, values: Mapping[str, float]) -> None:
        """Refuse another steady state than that of the Jacobians.

        Raises
        ------
        SteadyStateError
        """
        for name, own in self.input_values.items():
            if not abs(values[name] - own) <= SAME_STEADY_STATE * (1 + abs(own)):
                raise SteadyStateError(
                    "not_a_solution",
                    f"the household's Jacobians belong to a steady state with {name} = {own:.8g}, and the model's has "
                    f"{name} = {values[name]:.8g}: compute them again there, or correct the calibration",
                )


@dataclass(frozen=True, eq=False)
class GivenJacobians(GivenHousehold):
    """Households by their Jacobians at one steady state; make them with :func:`estimhank.adapters.from_jacobians`.

    Attributes
    ----------
    jacobians : array of shape (n_o, n_i, T, T)
        ``[o, i, t, s]``: derivative of output o at date t with respect to input i at date s, announced at date 0.
    inputs_at, outputs_at : dict of str to float
        The steady state that they belong to.
    """

    jacobians: Array
    inputs_at: dict[str, float]
    outputs_at: dict[str, float]

    @property
    def input_values(self) -> Mapping[str, float]:
        """Those of the Jacobians."""
        return self.inputs_at

    @property
    def inputs(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the inputs."""
        return tuple(self.inputs_at)

    @property
    def outputs(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the outputs."""
        return tuple(self.outputs_at)

    @property
    def moves(self) -> bool:
        """They belong to one steady state."""
        return False

    @property
    def longest(self) -> float:
        """Dates that the Jacobians cover: of a longer one, the first dates are exactly those of a shorter one."""
        return float(self.jacobians.shape[-1])

    def values_at(self, p: Any) -> dict[str, float]:
        """Steady-state outputs."""
        return dict(self.outputs_at)

    def jacobians_at(self, p: Any, horizon: int) -> jax.Array:
        """The first dates, by date of the input."""
        return jnp.asarray(self.jacobians[:, :, :horizon, :horizon].transpose(3, 1, 0, 2))
