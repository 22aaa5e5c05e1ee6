"""The shocks that the data speak of, fed through the nonlinear model: of a run, at its mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from estimhank.data.quarters import format_quarter, parse_quarter
from estimhank.economics.smoothing import ShockOutput, SmoothedShocks
from estimhank.model.declaration import Model
from estimhank.parameters.parameter_table import nearest
from estimhank.run.economics import study_of
from estimhank.run.transition import economy_of, open_at
from estimhank.support.errors import ConfigError

if TYPE_CHECKING:
    from estimhank.run.results import Run
    from estimhank.transition.solve import TransitionPath

Array = NDArray[np.float64]

#: Quarters before the sample from which a history begins, at rest.
BEFORE = 100


@dataclass(frozen=True)
class RetoldData:
    """A span of quarters, as the smoothed shocks and the nonlinear model make it.

    Attributes
    ----------
    dates : tuple of str
        Quarters.
    path : TransitionPath
        Of these quarters, each shock a surprise.
    linear : dict of str to array
        Levels of the same variables in the linear model, which of observables are the data's own.
    """

    dates: tuple[str, ...]
    path: TransitionPath
    linear: dict[str, Array]


def smoothed_innovations(run: Run, theta: Array, before: int = BEFORE) -> Array:
    """Smoothed innovations at parameter vectors (k, d), in standard deviations, (k, before + n, n_z)."""
    settings = replace(run.config.economics, draws=len(theta), variables=())
    study = study_of(run.posterior, settings, theta)
    found = study.run({"shocks": ShockOutput(study.lasting, before)})["shocks"]
    assert isinstance(found, SmoothedShocks)
    return np.asarray(found.draws.smoothed.values)


def retell_data(
    run: Run,
    first: str,
    last: str,
    model: Model | str | None = None,
    without: Sequence[str] = (),
    without_from: str = "",
) -> RetoldData:
    """What the smoothed shocks make of a span of quarters in the nonlinear model, at the posterior mode.

    Every shock is a surprise at its date, as in the estimation; what follows it is foreseen. The economy begins at rest
    :data:`BEFORE` quarters before the sample.

    Parameters
    ----------
    run : Run
    first, last : str
        Quarters of the sample, ``"2008Q1"``.
    model : Model or str, optional
        Another model of the same data, with a bound for instance.
    without : sequence of str
        Shocks that are left out, zero ...
    without_from : str
        ... from this quarter on; at all dates by default.

    Raises
    ------
    ConfigError
    """
    from estimhank.transition.linearity import surprises_of
    from estimhank.transition.surprises import follow_surprises, linear_surprises

    quarters = list(run.data.dates)
    for date in (first, last, *([without_from] if without_from else [])):
        if date not in quarters:
            raise ConfigError(f"the sample is from {quarters[0]} to {quarters[-1]}; '{date}' is none of its quarters")
    begin, end = quarters.index(first) + BEFORE, quarters.index(last) + BEFORE + 1
    if begin >= end:
        raise ConfigError(f"a span begins before it ends: {first} is after {last}")
    opened = open_at(str(run.folder), None, model)
    economy = economy_of(opened)
    theta = run.posterior.to_array(run.mode["theta"])[None]
    innovations = smoothed_innovations(run, theta)[0].copy()
    names = [s.name for s in economy.innovations]
    if innovations.shape[1] != len(names):
        raise ConfigError("the other model has other shocks than the run: give one with the same")
    from_date = quarters.index(without_from) + BEFORE if without_from else 0
    for name in without:
        if name not in names:
            raise ConfigError(f"there is no shock '{name}' to leave out{nearest(name, names)}")
        innovations[from_date:, names.index(name)] = 0.0
    path = follow_surprises(economy, surprises_of(economy, innovations[:end]), end)
    long = economy_of(opened, end + economy.horizon // 2)
    straight = linear_surprises(long, surprises_of(long, innovations[:end]), end)
    steady = economy.steady.values
    linear = {name: float(steady[name]) + straight[name][begin:] for name in economy.declared.unknowns}
    return RetoldData(tuple(_quarters(first, end - begin)), path.between(begin, end), linear)


def _quarters(first: str, dates: int) -> list[str]:
    begin = parse_quarter(first)
    return [format_quarter(begin + i) for i in range(dates)]
