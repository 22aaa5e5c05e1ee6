"""Posteriors with all that may be special about data, for tests of results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from estimhank.data.dataset import Dataset
from estimhank.model import AR1, IID, Growth, Level, Model, Normal, Parameter, Parameters
from estimhank.model.registry import find_model
from estimhank.posterior.posterior import Posterior

ROOT = Path(__file__).parents[2]
OUTSIDE = ROOT.parent / "shared" / "data" / "validation"


def smets_wouters() -> Posterior:
    """The 36-parameter model on the authors' data, conditioned on a year."""
    model = find_model("smets_wouters_2007.py:SmetsWouters2007", ROOT / "examples")()
    table = pd.read_csv(OUTSIDE / "sw07_data.csv").iloc[70:]
    names = tuple(o.name for o in model.observables)
    values = table[list(names)].to_numpy(float)
    units = tuple(o.units for o in model.observables)
    data = Dataset(tuple(table.date), names, units, names, values, np.zeros(len(names)), {"condition_on": 4})
    return Posterior(model, data)


def authors_mode() -> np.ndarray:
    """Of the Smets–Wouters model."""
    return pd.read_csv(OUTSIDE / "sw07_modes.csv", comment="#").usmodel_mode.to_numpy(float)


class TwoSeries(Model):
    """An autoregression in levels and a random walk that is seen in growth, of which a share follows the first::

    x_t = rho x_{t-1} + e_t,    P_t = P_{t-1} + b x_t + v_t
    """

    name = "two series"
    variables = ("x", "P")
    shocks = (AR1("e", scale=1.0), IID("v", scale=1.0))
    observables = (Level("x", "x", scale=1.0, mean="mu"), Growth("P", "g", scale=1.0, mean="mu"))
    parameters = Parameters(
        rho_e=Parameter(0.8, "r", "persistence", Normal(0.5, 0.2, lower=-1.0, upper=1.0), "shocks"),
        sigma_e=Parameter(1.0, "s", "s.d.", Normal(1.0, 0.3, lower=0.0), "shocks"),
        sigma_v=Parameter(0.5, "v", "s.d.", Normal(0.5, 0.3, lower=0.0), "shocks"),
        b=Parameter(0.4, "b", "share", Normal(0.4, 0.2), "equilibrium"),
        mu=Parameter(0.3, "m", "mean", Normal(0.0, 1.0), "shocks"),
    )

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Any:
        """As above."""
        yield "x", now.x - shock.e
        yield "P", now.P - lag.P - p.b * now.x - shock.v

    def steady_state(self, p: Any, household: Any) -> dict[str, float]:
        """At rest."""
        return {"x": 0.0, "P": 1.0}


def two_series(
    n: int = 40,
    missing: bool = False,
    yearly: bool = False,
    condition_on: int = 0,
    error: float = 0.0,
    seed: int = 0,
) -> Posterior:
    """:class:`TwoSeries` on numbers that it made."""
    rng = np.random.default_rng(seed)
    x, rows = 0.0, []
    for _ in range(n):
        x = 0.8 * x + rng.standard_normal()
        rows.append([0.3 + x + error * rng.standard_normal(), 0.3 + 0.4 * x + 0.5 * rng.standard_normal()])
    values = np.array(rows)
    about: dict[str, Any] = {"condition_on": condition_on} if condition_on else {}
    if yearly:  # x by the year's average, in the last quarter
        means = np.convolve(values[:, 0], np.full(4, 0.25))[: len(values)]
        values[:, 0] = np.where(np.arange(n) % 4 == 3, means, np.nan)
        about["observables"] = [{"name": "x", "transform": "level", "yearly": "mean"}]
    if missing:
        values[4:9, 0], values[12:14], values[-2:, 1] = np.nan, np.nan, np.nan
    dates = tuple(f"{1990 + i // 4}Q{i % 4 + 1}" for i in range(n))
    data = Dataset(dates, ("x", "g"), ("percent per quarter",) * 2, ("x", "g"), values, np.zeros(2), about)
    return Posterior(TwoSeries(), data, measurement_error={"x": error} if error else None)
