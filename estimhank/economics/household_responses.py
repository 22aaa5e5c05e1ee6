"""Responses of consumption by group of households, and of how wealth is spread.

A group's consumption is what households spend on average whose states are in the group when the period begins: by
wealth, the poorest fifth at each date, and so on, whether at the constraint, and by productivity
(:mod:`estimhank.households.groups`). On impact nobody has moved yet, and groups are those of the steady state. Later a
response has two parts: what households in each state spend more or less than before, which is shown beside the whole,
and that others are in the group.

Measures of wealth are of the end of the period, as the model's assets are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from estimhank.economics.direct_effects import ADDS_UP
from estimhank.economics.draws import ReducedDraws
from estimhank.economics.each_draw import at_each_draw
from estimhank.economics.household_paths import (
    HouseholdPaths,
    HouseholdsAt,
    Reading,
    consumption_names,
    effects_by_input,
    effects_given_states,
)
from estimhank.economics.reporting import About
from estimhank.economics.result import Result, gap
from estimhank.households.groups import all_groups, measure_gradients, of_newcomers
from estimhank.households.one_asset import HouseholdBlock
from estimhank.households.stationary import HouseholdSteadyState

Array = NDArray[np.float64]

#: Share of a block's consumption below which a group's own is nothing that percentages could be of.
_NOBODY = 1e-9

#: How many ways of grouping there are.
_PARTITIONS = 3


class HouseholdResponses(Result):
    """Responses of groups of households and of inequality.

    ``consumption`` and ``given_states`` (draw, horizon, group, shock) are in percent of the group's own consumption,
    ``contribution`` in percent of the block's. Contributions add up over the groups of a partition (coordinate
    ``partition``), with what comes of the passing from one group to another, ``between`` (draw, horizon, into, shock),
    to ``aggregate`` (draw, horizon, of, shock); quintiles and productivity keep their sizes, and have nothing between
    them. ``inequality`` (draw, horizon, measure, shock) is in percentage points. ``size`` and ``share`` (draw, group)
    are steady-state shares of households and of consumption, ``level`` (draw, measure) the measures, in percent.
    """

    name = "household_responses"
    shown = ("consumption", "given_states", "contribution", "inequality")
    tolerance: ClassVar[float] = ADDS_UP

    def identities(self) -> dict[str, float]:
        """Groups of a partition add up to aggregate consumption; on impact nobody is in another state."""
        draws, worst = self.draws, 0.0
        for partition in dict.fromkeys(draws.partition.values.tolist()):
            members = draws.contribution.isel(group=np.flatnonzero(draws.partition.values == partition))
            block = str(members.block.values[0])
            whole = draws.aggregate.sel(of=block, drop=True).transpose("draw", "horizon", "shock")
            found = (members.sum("group") + draws.between.sel(into=partition, drop=True)).transpose(*whole.dims)
            size = np.maximum(np.abs(members).max(("horizon", "group")), 1e-300)
            worst = max(worst, gap((found / size).values, (whole / size).values))
        first = draws.isel(horizon=0)
        return {
            "that groups add up to the aggregate": worst,
            "that on impact all are where they were": gap(first.given_states.values, first.consumption.values),
        }

    def summary(self) -> str:
        """Of each shock the impact by group, and the largest changes of the measures."""
        data, about = self.dataset, self.about
        found = [f"{self.draws.attrs['size_words']}; {self.heading}"]
        for shock in about.shocks:
            at = data.sel(shock=shock)
            found.append(f"{about.label(shock)}, consumption on impact, percent of each group's own:")
            for partition in dict.fromkeys(self.draws.partition.values.tolist()):
                named = [str(g) for g in self.draws.group.values[self.draws.partition.values == partition]]
                parts = [
                    f"{name} {self._interval(at.consumption.sel(group=name).isel(horizon=0))}"
                    for name in named
                    if not np.isnan(at.consumption.sel(group=name, horizon=0)).any()
                ]
                found.append(f"  {', '.join(parts)}")
            for measure in self.draws.measure.values:
                path = at.inequality.sel(measure=measure)
                if np.isnan(path).any():
                    continue
                most = int(np.abs(path.sel(quantile=0.5).values).argmax())
                level = float(self.draws.level.sel(measure=measure).median())
                when = f"after {most} quarter{'s' * (most > 1)}" if most else "on impact"
                found.append(
                    f"  {measure} (of {level:.1f}) {self._interval(path.isel(horizon=most))} percentage points, {when}"
                )
        return "\n".join(found)

    def groups(self) -> pd.DataFrame:
        """Shares of each group in households and in consumption, percent, in the steady state: medians over draws."""
        of = self.draws[["size", "share"]].median("draw") * 100
        frame: pd.DataFrame = of.to_dataframe()[["size", "share"]]
        return frame


def household_responses(
    draws: ReducedDraws, about: About, horizon: int = 40, outputs: Sequence[str] | None = None
) -> HouseholdResponses:
    """Responses of groups of households, and of measures of wealth, to shocks of one standard deviation.

    Parameters
    ----------
    draws : ReducedDraws
    about : About
    horizon : int
        Quarters after the impact.
    outputs : sequence of str, optional
        The output that is shown by group, one for each block of the model; consumption by default.

    Raises
    ------
    ConfigError
        The model has no households that are solved here, or not these outputs.
    EstimhankError
        There is no solution at more than one percent of the draws.
    """
    names = consumption_names(draws.posterior, outputs)

    def read(block: HouseholdBlock, steady: HouseholdSteadyState) -> Reading:
        output = next(name for name in names if name in block.outputs)
        policy, partitions = np.asarray(steady.policies.outputs[output]), all_groups(steady)
        newcomers = [of_newcomers(steady, groups, policy) for groups in partitions]
        # what they would have added: that sizes of groups change
        between = -np.stack([some.sum(axis=0) for some in newcomers])
        weights = np.concatenate([*(groups.weights for groups in partitions), np.zeros_like(between)])
        measured, gradients = measure_gradients(steady)
        values = np.array(list(measured.values()))
        return Reading((output,) * len(weights), weights, np.concatenate([*newcomers, between]), gradients, values)

    paths = HouseholdPaths(draws.posterior, names, horizon + 1, read)

    def at_draw(at: HouseholdsAt) -> dict[str, Array]:
        parts: dict[str, list[Array]] = {}
        for which, jacobians in enumerate(at.jacobians):
            own, output = paths.of_block(which, at), names[which]
            found = np.asarray(effects_by_input(jacobians.by_date, own).sum(2))
            steady, reading = at.steady[which], at.readings[which]
            k = len(reading.weights) - _PARTITIONS
            given = np.asarray(effects_given_states(jacobians.given_states, own, jnp.arange(horizon + 1)))[:, :k]
            flat = (reading.weights[:k] * np.asarray(steady.distribution)).reshape(k, -1)
            level = float(at.levels[which])
            spent = flat @ np.asarray(steady.policies.outputs[output]).ravel()
            there = np.abs(spent) > _NOBODY * abs(level)
            percent = np.where(there, 100 / np.where(there, spent, 1.0), np.nan)[:, None]
            for name, array in {
                "consumption": found[:, :k] * percent,
                "given_states": given * percent,
                "contribution": found[:, :k] * (100 / level),
                "between": found[:, k : k + _PARTITIONS] * (100 / level),
                "inequality": found[:, k + _PARTITIONS :] * 100,
                "aggregate": at.outputs[:, which, None] * (100 / level),
                "size": flat.sum(1),
                "share": spent / level,
                "level": 100 * reading.measured,
            }.items():
                parts.setdefault(name, []).append(array)
        return {name: np.concatenate(some, axis=min(1, some[0].ndim - 1)) for name, some in parts.items()}

    arrays, _ = at_each_draw(draws, paths.solve, at_draw)
    return HouseholdResponses(about, _dataset(arrays, draws, about, names, horizon))


def _dataset(
    arrays: dict[str, Array], draws: ReducedDraws, about: About, names: tuple[str, ...], horizon: int
) -> xr.Dataset:
    """With names: those of the groups and measures are the same at all draws."""
    steady = draws.posterior.solver.steady.reference.households
    groups, partitions, blocks, measures = [], [], [], []
    for one, output in zip(steady, names, strict=True):
        prefix = f"{output.rpartition('.')[0]}: " if len(names) > 1 else ""
        for some in all_groups(one):
            groups += [prefix + name for name in some.names]
            partitions += [prefix + some.kind] * len(some.names)
            blocks += [output] * len(some.names)
        measures += [prefix + name for name in measure_gradients(one)[0]]
    by_group = ("draw", "horizon", "group", "shock")
    return xr.Dataset(
        {
            **{name: (by_group, arrays[name]) for name in ("consumption", "given_states", "contribution")},
            "between": (("draw", "horizon", "into", "shock"), arrays["between"]),
            "inequality": (("draw", "horizon", "measure", "shock"), arrays["inequality"]),
            "aggregate": (("draw", "horizon", "of", "shock"), arrays["aggregate"]),
            "size": (("draw", "group"), arrays["size"]),
            "share": (("draw", "group"), arrays["share"]),
            "level": (("draw", "measure"), arrays["level"]),
        },
        {
            "horizon": np.arange(horizon + 1),
            "group": groups,
            "partition": ("group", partitions),
            "block": ("group", blocks),
            "into": list(dict.fromkeys(partitions)),
            "measure": measures,
            "of": list(names),
            "shock": list(about.shocks),
        },
        {
            "size_words": "shocks of one standard deviation",
            "units": "consumption, given_states: percent of the group's own; contribution: percent of all; inequality: "
            "percentage points",
        },
    )
