"""How far off the linear solution of an estimated model is, in figures, words and tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Ends of bands over draws.
BANDS = (0.05, 0.95)


@dataclass(frozen=True, eq=False)
class History:
    """The data's own shocks, each a surprise, as the nonlinear model tells them.

    Attributes
    ----------
    dates : tuple of str
        Quarters of the sample.
    origin : str
        ``"mode"``, or ``"posterior"`` for draws.
    linear, nonlinear : array of shape (histories, n, series)
        Deviations from the steady state, in the units of the series; nan of histories without a path.
    missed : float
        By how much the linear model misses the data at most, as a share of an observable's standard deviation, for
        shocks before the sample that are left out, and measurement errors.
    reasons : tuple of str
        By history: ``ok``, or why there is no path.
    """

    dates: tuple[str, ...]
    origin: str
    linear: Array
    nonlinear: Array
    missed: float
    reasons: tuple[str, ...]

    @property
    def off(self) -> Array:
        """Root mean square of the difference, as a share of the linear series' standard deviation, (series,), median
        over histories; nan where nothing moves."""
        difference = np.sqrt(((self.nonlinear - self.linear) ** 2).mean(axis=1))
        spread = self.linear.std(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares: Array = np.where(spread > 0, difference / spread, np.nan)
        found: Array = _quantiles(shares, (0.5,))[0]
        return found


@dataclass(frozen=True, eq=False)
class Linearity:
    """The linear responses of a model against the nonlinear ones, at draws of its posterior.

    Attributes
    ----------
    model : str
    words : str
        Of what parameters.
    shocks : dict of str to str
        Innovations of the canonical form, and what they are called.
    sizes : tuple of float
        In standard deviations.
    series : dict of str to str
        Observables, variables and household outputs, with their units.
    observed : int
        How many of the series are observables; they come first.
    off, linear, nonlinear : array of shape (draws, n_z, sizes, 2, series)
        As of :class:`estimhank.transition.linearity.Departures`; signs are + and -.
    asymmetry : array of shape (draws, n_z, sizes, series)
    reasons : dict of str to int
        How many paths ended how.
    history : History, optional
    """

    model: str
    words: str
    shocks: dict[str, str]
    sizes: tuple[float, ...]
    series: dict[str, str]
    observed: int
    off: Array
    asymmetry: Array
    linear: Array
    nonlinear: Array
    reasons: dict[str, int]
    history: History | None = None

    def table(self) -> pd.DataFrame:
        """A row for each shock, size, sign and series: medians, and bands of how far off the linear response is.

        Shares are of the linear response's largest deviation; ``linear`` and ``nonlinear`` are largest deviations.
        """
        low, high = (f"off_q{round(100 * q):02d}" for q in BANDS)
        rows = []
        for j, shock in enumerate(self.shocks):
            for k, size in enumerate(self.sizes):
                asymmetry = _quantiles(self.asymmetry[:, j, k], (0.5,))[0]
                for i, sign in enumerate("+-"):
                    at = (slice(None), j, k, i)
                    off = _quantiles(self.off[at], (0.5, *BANDS))
                    linear, bent = (_quantiles(values[at], (0.5,))[0] for values in (self.linear, self.nonlinear))
                    for v, (name, units) in enumerate(self.series.items()):
                        rows.append({
                            "shock": shock, "size": size, "sign": sign, "series": name, "units": units,
                            "off": off[0, v], low: off[1, v], high: off[2, v], "asymmetry": asymmetry[v],
                            "linear": linear[v], "nonlinear": bent[v],
                            "paths": int(np.isfinite(self.nonlinear[at][:, v]).sum()),
                        })  # fmt: skip
        return pd.DataFrame(rows)

    def history_table(self) -> pd.DataFrame:
        """A row for each series and quarter: both solutions' deviations from rest, medians over histories."""
        if self.history is None:
            return pd.DataFrame(columns=["series", "date", "linear", "nonlinear", "difference", "units"])
        h, rows = self.history, []
        linear, bent, gap = (_quantiles(a, (0.5,))[0] for a in (h.linear, h.nonlinear, h.nonlinear - h.linear))
        for v, (name, units) in enumerate(self.series.items()):
            for t, date in enumerate(h.dates):
                rows.append({
                    "series": name, "date": date, "linear": linear[t, v], "nonlinear": bent[t, v],
                    "difference": gap[t, v], "units": units,
                })  # fmt: skip
        return pd.DataFrame(rows)

    def summary(self) -> str:
        """In words."""
        lines = [
            f"linear responses against nonlinear ones of {self.model}, {self.words}; shares are of the linear "
            "response's largest deviation, the worst observable first"
        ]
        names = list(self.series)
        for j, label in enumerate(self.shocks.values()):
            parts = []
            for k, size in enumerate(self.sizes):
                worst = np.fmax.reduce(self.off[:, j, k, :, : self.observed or None], axis=1)
                off = _quantiles(worst, (0.5, *BANDS))
                if not np.isfinite(off[0]).any():
                    parts.append(f"{size:g} s.d.: no nonlinear path")
                    continue
                v = int(np.nanargmax(off[0]))
                lopsided = _quantiles(self.asymmetry[:, j, k], (0.5,))[0][v]
                parts.append(
                    f"{size:g} s.d.: {names[v]} {off[0, v]:.1%} ({off[1, v]:.1%} to {off[2, v]:.1%}), "
                    f"of which {lopsided:.1%} differs between the signs"
                )
            lines.append(f"{label}: {'; '.join(parts)}")
        lost = {reason: n for reason, n in self.reasons.items() if reason != "ok"}
        if lost:
            told = ", ".join(f"{n} {reason}" for reason, n in lost.items())
            lines.append(f"no nonlinear path in {sum(lost.values())} of {sum(self.reasons.values())} cases: {told}")
        if self.history is not None:
            lines += self._of_history(self.history)
        return "\n".join(lines)

    def _of_history(self, h: History) -> list[str]:
        where = "the posterior mode" if h.origin == "mode" else f"{len(h.reasons)} draws from the posterior"
        found = [r for r in h.reasons if r == "ok"]
        lines = []
        if found:
            gap = _quantiles(h.nonlinear - h.linear, (0.5,))[0]
            parts = []
            for v, name in enumerate(list(self.series)[: self.observed]):
                t = int(np.nanargmax(np.abs(gap[:, v])))
                parts.append(f"{name} {h.off[v]:.1%} (largest {gap[t, v]:+.2f}, in {h.dates[t]})")
            lines.append(
                f"the data's own shocks, each a surprise, at {where}: the nonlinear model is away from the data by, "
                f"in standard deviations (root mean square): {', '.join(parts)}"
            )
        if len(found) < len(h.reasons):
            lost = Counter(r for r in h.reasons if r != "ok")
            lines.append(f"no nonlinear history at {sum(lost.values())} of {len(h.reasons)}: {', '.join(lost)}")
        lines.append(
            f"shocks long before the sample and measurement errors are left out, for which the linear model misses the "
            f"data by {h.missed:.1%} of a standard deviation at most"
        )
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        found: dict[str, Any] = {
            "model": self.model,
            "of": self.words,
            "summary": self.summary().splitlines(),
            "sizes": list(self.sizes),
            "reasons": self.reasons,
            "rows": _records(self.table()),
        }
        if self.history is not None:
            h = self.history
            off = {name: share for name, share in zip(self.series, h.off.tolist(), strict=True) if share == share}
            found["history"] = {
                "origin": h.origin, "off": off, "missed": h.missed, "reasons": list(h.reasons),
                "rows": _records(self.history_table()),
            }  # fmt: skip
        return found


def _records(frame: pd.DataFrame) -> list[Mapping[str, Any]]:
    # nan is not equal to itself, and none of JSON
    return [{str(k): v for k, v in row.items() if v == v} for row in frame.to_dict("records")]


def _quantiles(values: Array, at: tuple[float, ...]) -> Array:
    """Over the first axis, of what is finite; nan where nothing is."""
    counted = np.isfinite(values).any(axis=0)
    found = np.full((len(at), *values.shape[1:]), np.nan)
    if counted.any():
        found[:, counted] = np.nanquantile(values[:, counted], at, axis=0)
    return found
