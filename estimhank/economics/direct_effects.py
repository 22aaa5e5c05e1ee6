"""Direct and indirect effects on households (Kaplan, Moll and Violante 2018): a response by the input that it is to.

To first order a household output O moves by what each input does to it, all of them announced at date 0::

    dO_t = sum_x sum_s J[O, x][t, s] dx_s

After a monetary shock the direct effect is that of the return, the indirect effects are those of income and taxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from estimhank.economics.draws import ReducedDraws
from estimhank.economics.each_draw import at_each_draw
from estimhank.economics.household_paths import (
    HouseholdPaths,
    HouseholdsAt,
    Reading,
    effects_by_input,
    output_names,
)
from estimhank.economics.reporting import About
from estimhank.economics.result import Result, gap
from estimhank.households.one_asset import HouseholdBlock
from estimhank.households.stationary import HouseholdSteadyState

Array = NDArray[np.float64]

#: Share of a response by which effects may miss it: Jacobians and solution are computed apart.
ADDS_UP = 1e-8

#: Size of a steady-state value below which responses are not in percent of it.
NO_LEVEL = 1e-6


class DirectAndIndirect(Result):
    """Effects (draw, horizon, output, input, shock), and the response (draw, horizon, output, shock) as the solution
    of the whole model has it."""

    name = "direct_and_indirect"
    shown = ("effect", "response")
    tolerance: ClassVar[float] = ADDS_UP

    def identities(self) -> dict[str, float]:
        """Effects add up, for each output and shock at all horizons, to a share of its largest response."""
        whole = self.draws.response
        found = self.draws.effect.sum("input").transpose(*whole.dims)
        size = np.maximum(np.abs(self.draws.effect).max(("horizon", "input")), 1e-300)
        return {"that effects add up to the response": gap((found / size).values, (whole / size).values)}

    def summary(self) -> str:
        """Of each output and shock the impact, and the year, by input."""
        found = [f"{self.draws.attrs['size']}; {self.heading}"]
        for output in self.draws.output.values:
            units = self.units[str(output)]
            for shock in self.about.shocks:
                at = self.dataset.sel(output=output, shock=shock)
                parts = [
                    f"by {name} {self._interval(at.effect.sel(input=name).isel(horizon=0))}"
                    for name in self.draws.input.values
                    if float(np.abs(at.effect.sel(input=name)).max()) > 0
                ]
                found.append(
                    f"{output} on impact of {self.about.label(shock)}, {units}: "
                    f"{self._interval(at.response.isel(horizon=0))}, of which {', '.join(parts)}"
                )
        return "\n".join(found)

    @property
    def units(self) -> dict[str, str]:
        """Of each output."""
        percent = self.draws.attrs["percent"].split("; ")
        return {str(o): "percent" if str(o) in percent else "model units" for o in self.draws.output.values}


def direct_and_indirect(
    draws: ReducedDraws, about: About, horizon: int = 40, outputs: Sequence[str] | None = None
) -> DirectAndIndirect:
    """Direct and indirect effects at draws.

    Parameters
    ----------
    draws : ReducedDraws
    about : About
    horizon : int
        Quarters after the impact.
    outputs : sequence of str, optional
        Of households; all of them by default.

    Raises
    ------
    ConfigError
        The model has no households, or not these outputs.
    EstimhankError
        There is no solution at more than one percent of the draws.
    """
    names = tuple(output_names(draws.posterior) if outputs is None else outputs)

    def read(block: HouseholdBlock, steady: HouseholdSteadyState) -> Reading:
        own = tuple(name for name in names if name in block.outputs)
        shape = steady.distribution.shape
        every = np.ones((len(own), *shape))
        return Reading(own, every, np.zeros_like(every), np.zeros((0, *shape)), np.zeros(0))

    paths = HouseholdPaths(draws.posterior, names, horizon + 1, read)
    blocks = paths.model.blocks

    def at_draw(at: HouseholdsAt) -> dict[str, Array]:
        effect = np.zeros((horizon + 1, len(names), len(paths.inputs), at.paths.shape[2]))
        for which, (block, jacobians) in enumerate(zip(blocks, at.jacobians, strict=True)):
            rows = [j for j, name in enumerate(names) if name in block.outputs]
            columns = [paths.inputs.index(name) for name in block.inputs]
            found = np.asarray(effects_by_input(jacobians.by_date, paths.of_block(which, at)))
            effect[:, np.array(rows, int)[:, None], columns] = found[:, : len(rows)]
        return {"effect": effect, "response": at.outputs, "level": at.levels}

    arrays, _ = at_each_draw(draws, paths.solve, at_draw)
    level = arrays["level"]
    percent = (level > NO_LEVEL).all(axis=0)
    scale = np.where(percent, 100 / np.where(percent, level, 1.0), 1.0)[:, None, :]
    dataset = xr.Dataset(
        {
            "effect": (
                ("draw", "horizon", "output", "input", "shock"),
                arrays["effect"] * scale[..., None, None],
            ),
            "response": (("draw", "horizon", "output", "shock"), arrays["response"] * scale[..., None]),
        },
        {
            "horizon": np.arange(horizon + 1),
            "output": list(names),
            "input": list(paths.inputs),
            "shock": list(about.shocks),
        },
        {
            "size": "effects of each input of households, shocks of one standard deviation",
            "percent": "; ".join(name for name, yes in zip(names, percent, strict=True) if yes),
            "units": "percent of the steady state, of outputs that have one; else model units",
        },
    )
    return DirectAndIndirect(about, dataset)
