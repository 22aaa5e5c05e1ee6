"""Series that results speak of: the observables, and any variable of the model, in the units of a figure or table.

A series is a linear filter of a model's variable: what an observable is (:class:`ObservedVariable`), then weights on
its current and earlier values, by which yearly figures and reporting units are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
    filter : tuple of float
        On the values of that observable as the data hold it.
    constant : float
        What the data had taken off before they were compared with the model, in the series' units.
    cumulated : bool
        Whether figures and tables show sums over dates, of what this is the change of.
    """

    name: str
    label: str
    units: str
    variable: ObservedVariable
    weights: tuple[float, ...] = (1.0,)
    observable: str = ""
    filter: tuple[float, ...] = (1.0,)
    constant: float = 0.0
    cumulated: bool = False

    @property
    def reach(self) -> int:
        """Dates that it reaches back."""
        return REACH[self.variable.kind] + len(self.weights) - 1

    def filtered(self, weights: Sequence[float], units: str, cumulated: bool = False) -> Series:
        """Weighted sums of the series' current and earlier values, ``weights[l]`` on the one ``l`` dates before."""

        def of(mine: tuple[float, ...]) -> tuple[float, ...]:
            return tuple(np.convolve(mine, weights).tolist())

        constant = self.constant * float(np.sum(weights))
        return replace(
            self,
            units=units,
            weights=of(self.weights),
            filter=of(self.filter),
            constant=constant,
            cumulated=cumulated,
        )


def observed_series(posterior: Posterior) -> tuple[Series, ...]:
    """The observables as the data hold them, in the order of the data's columns."""
    setting, data = posterior.solver.setting, posterior.data
    return tuple(
        Series(o.name, label, units, o, setting.weights.get(o.name, (1.0,)), o.name, constant=float(mean))
        for o, label, units, mean in zip(
            setting.model.observed_variables, data.labels, data.units, data.means, strict=True
        )
    )


#: What may stand before a variable's name: its kind, and the scale and units that it has then.
KINDS = {"log": (100.0, "percent"), "growth": (100.0, "percent per quarter"), "level": (1.0, "model units")}


def variable_series(posterior: Posterior, names: Sequence[str] | None = None) -> tuple[Series, ...]:
    """Variables and household outputs of a model.

    Parameters
    ----------
    posterior : Posterior
    names : sequence of str, optional
        ``"Y"``, the deviation from the steady state in the model's own units; ``"log Y"``, in percent of it;
        ``"growth Y"``, the change from quarter to quarter in percent. All of the declared model's variables by default.

    Raises
    ------
    ModelError
        The model has no such variable.
    """
    known = posterior.solver.setting.model.unknowns
    taken = {o.name for o in posterior.model.observables}
    found = []
    for name in posterior.model.unknowns if names is None else names:
        kind, _, variable = name.rpartition(" ")
        if variable not in known or kind not in ("", *KINDS):
            raise ModelError(
                f"the model {posterior.model.name} has no variable '{name}'{nearest(variable, known)}; "
                '"log Y" and "growth Y" are percent of the steady state and its change'
            )
        kind = kind or "level"
        scale, units = KINDS[kind]
        shown = f"{name} (model)" if name in taken else name
        found.append(Series(shown, shown, units, ObservedVariable(variable, kind, name, scale, units)))
    return tuple(found)
