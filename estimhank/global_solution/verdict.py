"""May a global solution be trusted, and by which figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from estimhank.global_solution.distribution import Distribution

#: Limits. Euler errors: a household errs by a dollar in 3,000 of consumption on average, by one in 200 at most.
EULER_MEAN, EULER_MAX = -3.5, -2.3
#: Published definition, in utility; the published method reaches .0153 to .0184.
BELLMAN = 0.0140
#: Percent of capital, over 10,000 quarters.
DEN_HAAN_MEAN, DEN_HAAN_MAX = 0.05, 0.2
#: Against the referee, on each path: shares of its s.d. of wealth and of its mean capital, and points of the Gini
#: coefficient.
WEALTH_SD, WEALTH_GINI, CAPITAL = 0.03, 0.01, 0.005
#: Of den Haan's simulation: errors that add up need time to do so.
QUARTERS = 10_000
#: Households in the topmost per cent of the grid.
TOP_SHARE = 1e-6
#: Checks that no training mends.
_NOT_BY_TRAINING = {"quarters", "top_share"}


@dataclass(frozen=True)
class Check:
    """One figure against its limit.

    Attributes
    ----------
    name, words : str
        Key in ``global.json``, and what it is.
    value, limit : float
        It passes if ``value <= limit``.
    """

    name: str
    words: str
    value: float
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the figure keeps to its limit; one that is no number does not."""
        return bool(self.value <= self.limit)

    @property
    def sentence(self) -> str:
        """What is wrong where it is not passed."""
        if self.name == "quarters":
            return f"den Haan's simulation has {-self.value:.0f} quarters and should have {-self.limit}"
        return f"{self.words} is {self.value:.4g} and should be at most {self.limit:g}"


@dataclass(frozen=True)
class GlobalVerdict:
    """All checks of a solution.

    Attributes
    ----------
    checks : tuple of Check
    unjudged : tuple of str
        What should have been looked at and was not, in words: nothing passes with that.
    notes : tuple of str
        What else there is to say.
    """

    checks: tuple[Check, ...]
    unjudged: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every figure was looked at, and keeps to its limit."""
        return not self.unjudged and all(check.passed for check in self.checks)

    @property
    def words(self) -> str:
        """The verdict in a few sentences."""
        failed = [check for check in self.checks if not check.passed]
        if failed:
            items = "; ".join(c.sentence for c in failed)
            text = f"Do not trust this solution: {items}."
            if not {c.name for c in failed} <= _NOT_BY_TRAINING:
                text += " Train longer ([training] rounds) or with larger networks."
        elif self.unjudged:
            text = "This solution keeps to its limits as far as it was judged, and may not be trusted yet."
        else:
            by = "; ".join(f"{c.words} {c.value:.3g} (limit {c.limit:g})" for c in self.checks if c.name != "quarters")
            text = f"This solution may be trusted: {by}."
        return text + "".join(f" {item}" for item in (*self.unjudged, *self.notes))


def verdict_of(
    figures: Mapping[str, Any],
    referee: Distribution | None,
    distribution: Distribution,
    unjudged: Sequence[str] = (),
    notes: Sequence[str] = (),
    of: str = "the referee's",
) -> GlobalVerdict:
    """The checks of figures as ``global.json`` names them.

    Parameters
    ----------
    figures : mapping
    referee, distribution : Distribution
        By the conventional method and by networks, along the same paths; the largest distance on any of them counts.
    unjudged, notes : sequence of str
    of : str
        What the referee is called.
    """
    f = figures
    checks = [
        Check("euler_mean", "the mean Euler error, in log10,", f["euler_mean"], EULER_MEAN),
        Check("euler_max", "the largest Euler error, in log10,", f["euler_max"], EULER_MAX),
        Check("bellman_error", "the Bellman error", f["bellman_error"], BELLMAN),
        Check("den_haan_mean", "the mean error of capital in den Haan's simulation, in percent,",
              f["den_haan_mean"], DEN_HAAN_MEAN),
        Check("den_haan_max", "the largest one", f["den_haan_max"], DEN_HAAN_MAX),
        Check("quarters", "minus the number of simulated quarters", -f["quarters"], -QUARTERS),
        Check("top_share", "the share of households at the top of the grid", f["top_share"], TOP_SHARE),
    ]  # fmt: skip
    if referee is not None:
        ours, theirs = distribution, referee
        checks += [
            Check("mean_capital", f"the distance of mean capital from {of}, as a share,",
                  float(np.abs(ours.mean_capital / theirs.mean_capital - 1).max()), CAPITAL),
            Check("wealth_sd", f"the distance of the s.d. of wealth from {of}, as a share,",
                  float(np.abs(ours.wealth_sd / theirs.wealth_sd - 1).max()), WEALTH_SD),
            Check("wealth_gini", f"the distance of wealth's Gini coefficient from {of}",
                  float(np.abs(ours.wealth_gini - theirs.wealth_gini).max()), WEALTH_GINI),
        ]  # fmt: skip
    return GlobalVerdict(tuple(checks), tuple(unjudged), tuple(notes))
