"""Series that results speak of: the observables, and any variable of the model, in the units of a figure or table.

A series is a linear filter of a model's variable: what an observable is (:class:`ObservedVariable`), then weights on
its current and earlier values, by which yearly figures and reporting units are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from estimhank.model.observed import REACH, ObservedVariable
from estimhank.parameters.parameter_table import ModelError, nearest
from estimhank.posterior.posterior import Posterior


@dataclass(frozen=True)
class Series:
    """One series.

    Attributes
    ----------
    name, label, units : str
    variable : ObservedVariable
        A function of one unknown of the canonical model.
    weights : tuple of float
        On the current value and those of the dates before.
    observable : str
        The observable that it is, or that it is made of by :attr:`weights`; empty: of a variable.
    constant : float
        What the data had taken off before they were compared with the model, in the series' units.
    """

    name: str
    label: str
    units: str
    variable: ObservedVariable
    weights: tuple[float, ...] = (1.0,)
    observable: str = ""
    constant: float = 0.0

    @property
    def reach(self) -> int:
        """Dates that it reaches back."""
        return REACH[self.variable.kind] + len(self.weights) - 1

    def filtered(self, weights: Sequence[float], name: str, units: str) -> Series:
        """Weighted sums of the series' current and earlier values."""
        both = tuple(np.convolve(self.weights, weights).tolist())
        return Series(
            name, self.label, units, self.variable, both, self.observable, self.constant * float(np.sum(weights))
        )


def observed_series(posterior: Posterior) -> tuple[Series, ...]:
    """The observables as the data hold them, in the order of the data's columns."""
    setting, data = posterior.solver.setting, posterior.data
    return tuple(
        Series(o.name, label, units, o, setting.weights.get(o.name, (1.0,)), o.name, float(mean))
        for o, label, units, mean in zip(
            setting.model.observed_variables, data.labels, data.units, data.means, strict=True
        )
    )


def variable_series(posterior: Posterior, names: Sequence[str] | None = None) -> tuple[Series, ...]:
    """Variables and household outputs as deviations from the steady state, in the model's own units.

    Parameters
    ----------
    posterior : Posterior
    names : sequence of str, optional
        All of the declared model's by default; those of processes are ``shock.<name>`` where the equations have them.

    Raises
    ------
    ModelError
        The model has no such variable.
    """
    known = posterior.solver.setting.model.unknowns
    chosen = posterior.model.unknowns if names is None else names
    for name in chosen:
        if name not in known:
            raise ModelError(f"the model {posterior.model.name} has no variable '{name}'{nearest(name, known)}")
    return tuple(Series(n, n, "model units", ObservedVariable(n, "level", n, 1.0, "model units")) for n in chosen)
