"""Why there is no path: the equation and the date at which the search went wrong, in words."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from estimhank.households.stationary import TOP_MASS_LIMIT
from estimhank.transition.economy import Economy
from estimhank.transition.newton import Outcome, Point


@dataclass(frozen=True)
class Failure:
    """Why there is no path.

    Attributes
    ----------
    equation : str
        The one that is furthest from holding, or is not a number; of households at the end of their grid, the output
        whose block it is; of a path that has not come home, the variable.
    date : int
        At which date.
    size : float
        How far off; nan where it is not a number.
    message : str
        A sentence, with what to do.
    """

    equation: str
    date: int
    size: float
    message: str

    def after(self, date: int, where: str = "after the surprise at") -> Failure:
        """The same of a path that begins at a later date, counted from the first date of all."""
        if date == 0:
            return self
        words = f"{where} date {date}, counted from there: {self.message}"
        return replace(self, date=self.date + date, message=words)


#: The last tenth of the dates is the end of the horizon: a failure there may be the horizon's.
_END = 10
#: What a failure of the iterations says, and advises.
_WORDS = {
    "domain": "is not a number however little the path moves: nobody can live on such prices; give a smaller shock",
    "no_decrease": "is off by {size:.1e} and no step makes that less: there may be no such path; give a smaller shock",
    "linear": "is off by {size:.1e} and the equation of the next step has no solution that is near: give a smaller "
    "shock, or check that the model is determinate here",
    "iterations": "is still off by {size:.1e} after all iterations: give a smaller shock",
}


def where_failed(economy: Economy, outcome: Outcome, reached: float) -> Failure:
    """The equation and the date at which it went wrong."""
    failed = outcome.tried if outcome.reason == "domain" and outcome.tried is not None else outcome.point
    bad = ~np.isfinite(failed.f)
    # what is not a number at one date spreads to others through households: the first equation of the first date
    date, at = (int(i) for i in (np.argwhere(bad)[0] if bad.any() else np.unravel_index(
        np.argmax(np.abs(failed.f)), failed.f.shape)))  # fmt: skip
    name = economy.equation_names[at]
    size = float(failed.f[date, at])
    words = _WORDS[outcome.reason].format(size=abs(size))
    if date >= economy.horizon - economy.horizon // _END:
        words += (
            f"; date {date} is at the end of a horizon of {economy.horizon} dates, after which the economy is taken to "
            "be at rest: a longer horizon may help"
        )
    if reached > 0:
        words += f"; with {reached:.0%} of it there is a path"
    return Failure(name, date, size, f"the equation '{name}' at date {date} {words}")


def off_the_grid(economy: Economy, point: Point) -> Failure | None:
    """The first date at which households leave their asset grid, if there is one."""
    for block, tops in zip(economy.model.problems, point.seen.tops, strict=True):
        mass, beyond = np.asarray(tops.mass), np.asarray(tops.beyond)
        out = (mass > TOP_MASS_LIMIT) | (beyond > 0)
        if out.any():
            date, asset = (int(i) for i in np.argwhere(out)[0])
            return Failure(
                block.outputs[0],
                date,
                float(mass[date, asset]),
                f"households leave the asset grid at date {date}: a mass of {mass[date, asset]:.1e} at its top; raise "
                "a_max",
            )
    return None
