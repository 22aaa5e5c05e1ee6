"""Conditional forecasts and scenarios.

Of the stacked future f ~ N(m, P), given the data, some entries A f are to be c, or N(c, O). With a gain K::

    f + K (c - A f),    K = P A' (A P A')^{-1}           whatever is most likely (Waggoner and Zha 1999;
                                                          Banbura, Giannone and Lenza 2015)
                        K = S B' (B B')^{-1},  B = A S    by chosen shocks, whose effects on f are S: the smallest ones,
                                                          all others as they come (Antolin-Diaz, Petrella and
                                                          Rubio-Ramirez 2021)

has the mean m + K (c - A m) and the covariance Q P Q' + K O K', Q = I - K A. In the first case that is what comes of
adding the conditions to the data. S are the effects of surprises at each date, or of one announcement at the first
date (:mod:`estimhank.economics.announced`). How plausible the conditions are says
q = (c - A m)' (A P A')^{-1} (c - A m), chi-squared with as many degrees of freedom as there are conditions.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import chi2

from estimhank.economics.announced import AnnouncedEffects
from estimhank.economics.bands import FAN
from estimhank.economics.conditions import Placed, ScenarioPlan, place, why_impossible
from estimhank.economics.each_draw import at_each_draw
from estimhank.economics.future import Future, Futures, data_before
from estimhank.economics.linear_form import LinearForm
from estimhank.economics.result import Result, gap
from estimhank.economics.study import Study
from estimhank.support.errors import ConfigError

Array = NDArray[np.float64]

#: Share of the draws at which the chosen shocks may fail to bring the conditions about; they are left out, and it is
#: said. At a posterior's margins an effect on impact may be next to nothing.
_MOST_LEFT_OUT = 0.1


class Scenario(Result):
    """Forecasts (draw, date, variable) under conditions, beside those without (``baseline``), and the shocks behind.

    Of observables they are of the data, measurement error included.
    """

    name = "scenario"
    shown = ("value", "baseline", "innovation")
    along = "date"
    probabilities = FAN

    def identities(self) -> dict[str, float]:
        """The conditions hold, with the spread they were given; no variance is negative."""
        at, wanted, spread = (self.draws.attrs[key] for key in ("rows", "wanted", "spread"))
        names = ("value", "value_variance", "baseline_variance")
        value, variance, size = (self.draws[name].values.reshape(len(self.draws.draw), -1) for name in names)
        value, size = value[:, at], size.max(axis=1, keepdims=True)
        return {
            "that the conditions hold": gap(value, np.asarray(wanted)),
            "that they have the spread that was asked for": float((np.abs(variance[:, at] - spread) / size).max()),
            "that variances are not negative": float(np.maximum(-variance / size, 0.0).max()),
        }

    @property
    def plausibility(self) -> float:
        """Probability of conditions as far from the forecast as these, or further: median over draws."""
        return float(np.median(chi2.sf(self.draws.distance.values, self.draws.attrs["conditions"])))

    def summary(self) -> str:
        """The conditions, how plausible they are, what they do to each series, and the shocks behind."""
        about, data = self.about, self.dataset
        title, by, words = (str(self.draws.attrs[key]) for key in ("title", "by", "words"))
        found = [
            f"{title}: {words}; {by}; {about.words}",
            f"plausibility: the conditions are {float(np.sqrt(np.median(self.draws.distance))):.1f} away from the "
            f"forecast in its own units; as far or further lies {self.plausibility:.1%} of it (chi-squared, "
            f"{self.draws.attrs['conditions']} degrees of freedom, median over draws)",
        ]
        for series in about.series:
            path, base = (data[name].sel(variable=series.name) for name in ("value", "baseline"))
            last = len(path.date) - 1
            parts = [
                f"{path.date.values[i]!s} {self._interval(path.isel(date=i))} in place of "
                f"{self._interval(base.isel(date=i))}"
                for i in sorted({0, min(3, last), last})
            ]
            found.append(f"{series.label} ({series.units}): {', '.join(parts)}")
        if self.draws.attrs["left_out"]:
            found.append(f"left out: {self.draws.attrs['left_out']} draws at which these shocks cannot bring it about")
        largest = np.abs(data.innovation.sel(quantile=0.5)).max("date")
        moved = [f"{about.label(str(s.shock.values))} {float(s):.1f}" for s in largest if float(s) > 0.05]
        found.append(f"largest shocks behind it, in standard deviations: {', '.join(moved) or 'none above 0.05'}")
        return "\n".join(found)


def scenario(futures: Futures, plan: ScenarioPlan) -> Scenario:
    """A scenario at the draws of a study.

    Raises
    ------
    ConfigError
        Conditions that do not fit the series or dates, or that the chosen shocks cannot bring about: which shock
        cannot move what when.
    EstimhankError
        There is no solution at a draw.
    """
    study, quarters = futures.study, futures.quarters
    about, draws = study.lasting.about, study.draws
    placed = place(plan, about)
    if plan.announced and 2 * quarters > draws.posterior.horizon:
        raise ConfigError(
            f"announcements of {quarters} quarters need a horizon of twice as many dates; the model is solved with "
            f"{draws.posterior.horizon}"
        )
    if plan.quarters != quarters:
        raise ConfigError(f"the scenario is of {plan.quarters} quarters, the futures at hand are of {quarters}")
    news = AnnouncedEffects(draws.posterior, study.lasting, plan.shocks, quarters, quarters) if plan.announced else None
    chosen = [about.shocks.index(name) for name in plan.shocks]
    reasons: list[str] = []

    def solve(theta: Array) -> tuple[LinearForm, jax.Array | None]:
        return study.forms.at(theta), news.at(theta) if news else None

    def compute(solved: tuple[LinearForm, jax.Array | None]) -> dict[str, Array] | None:
        form, announced = solved
        future = futures.of(form)
        # (k, quarters, chosen shocks): of surprises at each date, or of what is announced for each date
        effects = np.asarray(future.effects)[:, :, chosen]
        if announced is not None:
            effects = _stacked(study.lasting.add_up(announced, 0, 1))
        if chosen:
            flat = effects[placed.rows].reshape(len(placed.rows), -1)
            if why := why_impossible(placed, flat, plan.shocks, plan.announced):
                reasons.append(why)
                return None
        return _under(placed, future, effects, chosen)

    arrays, left_out = at_each_draw(draws, solve, compute)
    if left_out > _MOST_LEFT_OUT * len(draws):
        raise ConfigError(reasons[0] + ("" if draws.alone else f" (at {left_out} of {len(draws)} draws)"))
    return Scenario(about, _dataset(arrays, study, plan, placed).assign_attrs(left_out=left_out))


def _stacked(announced: jax.Array) -> Array:
    """From (quarters, n_x, shocks, announced) to (quarters n_x, announced, shocks)."""
    array = np.asarray(announced).swapaxes(2, 3)
    return array.reshape(-1, *array.shape[2:])


def _under(placed: Placed, future: Future, effects: Array, chosen: list[int]) -> dict[str, Array]:
    """At one draw: means and variances (quarters, n_x), without and with the conditions; shocks; distance."""
    rows, (mean, covariance, everything) = placed.rows, future
    quarters, n_z = everything.shape[1:]
    short = placed.values - mean[rows]
    apa = covariance[np.ix_(rows, rows)]
    innovation = np.zeros((quarters, n_z))
    if chosen:
        flat = effects.reshape(len(mean), -1)
        inverse = np.linalg.pinv(flat[rows], rcond=1e-12)  # B' (B B')^{-1}
        gain = flat @ inverse
        innovation[:, chosen] = (inverse @ short).reshape(quarters, -1)
    else:
        gain = np.linalg.solve(apa, covariance[rows]).T
        innovation = np.einsum("ktz,k->tz", everything[rows], np.linalg.solve(apa, short))
    kept = np.eye(len(mean))
    kept[:, rows] -= gain
    variance = np.einsum("ij,ij->i", kept @ covariance, kept) + gain**2 @ placed.variances
    return {
        "value": (mean + gain @ short).reshape(quarters, -1),
        "value_variance": variance.reshape(quarters, -1),
        "baseline": mean.reshape(quarters, -1),
        "baseline_variance": np.diag(covariance).reshape(quarters, -1),
        "innovation": innovation,
        "distance": np.asarray(short @ np.linalg.solve(apa, short)),
    }


def _dataset(arrays: Mapping[str, Array], study: Study, plan: ScenarioPlan, placed: Placed) -> xr.Dataset:
    about, n = study.lasting.about, study.sample.dates
    dims = ("draw", "date", "variable")
    names = ("value", "value_variance", "baseline", "baseline_variance")
    how = "announced at the first date" if plan.announced else "surprises at each date"
    conditions = zip(placed.words, placed.values, placed.variances, strict=True)
    words = [
        f"{name} = {value:g}" + (f" (s.d. {spread**0.5:g})" if spread else "") for name, value, spread in conditions
    ]
    return xr.Dataset(
        {
            **{name: (dims, arrays[name]) for name in names},
            "innovation": (("draw", "date", "shock"), arrays["innovation"]),
            "distance": (("draw",), arrays["distance"]),
            "data": (("sample", "variable"), data_before(study.lasting)),
        },
        {
            "sample": list(about.dates),
            "date": about.quarters(n, n + plan.quarters),
            "variable": about.names,
            "shock": list(about.shocks),
        },
        {
            "title": plan.title,
            "by": f"by {' and '.join(plan.shocks)}, {how}" if plan.shocks else "by whatever is likeliest",
            "words": ", ".join(words),
            "conditions": len(placed.rows),
            "rows": placed.rows,
            "wanted": placed.values,
            "spread": placed.variances,
            "units": "; ".join(f"{s.name}: {s.units}" for s in about.series),
        },
    )
