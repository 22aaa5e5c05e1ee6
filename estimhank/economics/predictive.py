"""Predictive checks: moments of the data against those of samples that the model makes, as long and as incomplete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from estimhank.economics.draws import MOST, ReducedDraws
from estimhank.economics.each_draw import at_each_draw
from estimhank.economics.linear_form import LinearForm
from estimhank.economics.result import Result
from estimhank.economics.study import Study
from estimhank.support.errors import EstimhankError
from estimhank.support.seeds import Stream, generator

Array = NDArray[np.float64]

#: Lags of autocorrelations, and of correlations with other series.
LAGS, CROSS = (1, 2, 4), (0, 1, 4)
_FEWEST = 8  # pairs of observations of a correlation
_FAR = 0.05  # probability on one side from which a moment of the data is said to be far out


def moment_names(names: Sequence[str]) -> list[str]:
    """Of :func:`sample_moments`."""
    found = [f"s.d. {name}" for name in names]
    found += [f"autocorrelation {name}, {lag}" for name in names for lag in LAGS]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    for a, b in pairs:
        found.append(f"correlation {a}, {b}")
        found += [f"correlation {a}, {b}({-lag:+d})" for lag in CROSS if lag]
        found += [f"correlation {a}({-lag:+d}), {b}" for lag in CROSS if lag]
    return found


def sample_moments(values: Array) -> Array:
    """Standard deviations, autocorrelations, correlations of samples (..., n, n_o), missing values left out.

    Each correlation is that of the pairs that are there; ``nan`` where there are fewer than eight.
    """
    n_o = values.shape[-1]
    series = [values[..., j] for j in range(n_o)]
    found = [np.nanstd(x, axis=-1, ddof=1) for x in series]
    found += [_correlation(x, x, lag) for x in series for lag in LAGS]
    for i in range(n_o):
        for j in range(i + 1, n_o):
            found.append(_correlation(series[i], series[j], 0))
            found += [_correlation(series[i], series[j], lag) for lag in CROSS if lag]
            found += [_correlation(series[j], series[i], lag) for lag in CROSS if lag]
    return np.stack(found, axis=-1)


def _correlation(now: Array, other: Array, lag: int) -> Array:
    """Of now_t with other_{t-lag}."""
    x, y = now[..., lag:], other[..., : other.shape[-1] - lag]
    there = ~(np.isnan(x) | np.isnan(y))
    if there.reshape(-1, there.shape[-1])[0].sum() < _FEWEST:
        return np.full(x.shape[:-1], np.nan)
    x, y = (np.where(there, z, np.nan) for z in (x, y))
    x, y = (z - np.nanmean(z, axis=-1, keepdims=True) for z in (x, y))
    return np.asarray(np.nansum(x * y, -1) / np.sqrt(np.nansum(x**2, -1) * np.nansum(y**2, -1)))


@dataclass(frozen=True)
class PriorFailures:
    """Prior draws without a solution.

    Attributes
    ----------
    draws : int
    share : mapping of str to float
        Of the draws, by reason.
    where : mapping of str to dict
        By reason: the parameter whose failing draws differ most from the others, with the medians of both.
    """

    draws: int
    share: Mapping[str, float]
    where: Mapping[str, dict[str, float | str]]

    def words(self) -> list[str]:
        """Sentences."""
        if not self.share:
            return [f"the model has a solution at all of {self.draws:,} prior draws"]
        found = [f"the model has a solution at {1 - sum(self.share.values()):.1%} of {self.draws:,} prior draws"]
        for reason, share in self.share.items():
            at = self.where[reason]
            found.append(
                f"{reason.replace('_', ' ')} at {share:.1%}, mostly by {at['parameter']}: its median is "
                f"{at['failing']:.3g} there and {at['others']:.3g} elsewhere"
            )
        return found


def prior_failures(names: Sequence[str], theta: Array, reasons: Sequence[str]) -> PriorFailures:
    """Where prior draws (n, d) have no solution, by the reasons why, ``"ok"`` where they have."""
    told = np.array(reasons)
    share: dict[str, float] = {}
    where: dict[str, dict[str, float | str]] = {}
    for reason in sorted(set(reasons) - {"ok"}):
        bad = told == reason
        share[reason] = float(bad.mean())
        good = theta[told == "ok"] if (told == "ok").any() else theta[~bad]
        ranks = theta.argsort(0).argsort(0) / len(theta)
        rest = ~bad if (~bad).any() else bad
        i = int(np.abs(ranks[bad].mean(0) - ranks[rest].mean(0)).argmax())
        where[reason] = {
            "parameter": names[i],
            "failing": float(np.median(theta[bad, i])),
            "others": float(np.median(good[:, i])) if len(good) else float("nan"),
        }
    return PriorFailures(len(theta), share, where)


class PredictiveCheck(Result):
    """Moments of simulated samples, by posterior and prior draw, and those of the ``data`` (moment)."""

    name = "predictive_check"
    shown = ("posterior", "prior")
    along = "moment"

    def identities(self) -> dict[str, float]:
        """Correlations are between -1 and 1."""
        names = [m for m in self.draws.moment.values if not str(m).startswith("s.d.")]
        size = max(float(np.abs(self.draws[name].sel(moment=names)).max()) for name in self.shown if name in self.draws)
        return {"that correlations are between -1 and 1": max(size - 1.0, 0.0) * 1e-4}

    @property
    def probabilities_above(self) -> xr.DataArray:
        """Share of the posterior's samples with a moment above that of the data, (moment,)."""
        above: xr.DataArray = (self.draws.posterior > self.draws.data).mean("draw")
        return above

    def summary(self) -> str:
        """Which moments of the data are far out, and where the prior has no solution."""
        share, draws = self.probabilities_above, self.draws
        known = ~np.isnan(draws.data.values)
        far = [i for i in np.flatnonzero(known) if min(float(share[i]), 1 - float(share[i])) < _FAR]
        found = [
            f"{int(known.sum()) - len(far)} of {int(known.sum())} moments of the data are within the middle 90% of "
            f"samples of the same length; {self.about.words}"
        ]
        for i in far:
            at = self.dataset.posterior.isel(moment=i)
            found.append(
                f"{draws.moment.values[i]!s}: {float(draws.data[i]):.2f} in the data, {self._interval(at)} in samples"
            )
        return "\n".join([*found, *(str(words) for words in draws.attrs["prior_words"])])


def predictive_check(
    study: Study, prior: Array | None = None, reasons: Sequence[str] | None = None, seed: int = 0
) -> PredictiveCheck:
    """Moments of one simulated sample for each draw of a study, and for each prior draw that has a solution.

    At one parameter vector, of a thousand samples there.

    Parameters
    ----------
    study : Study
    prior : ndarray of shape (n, d), optional
        Prior draws, natural units.
    reasons : sequence of str, optional
        Why there is no density at each of them, ``"ok"`` where there is one, if that is known.
    seed : int

    Raises
    ------
    EstimhankError
        There is no solution at a draw of the posterior, or at none of the prior's.
    """
    posterior, sample = study.draws.posterior, study.sample
    rng = generator(seed, Stream.PREDICTIVE)

    @jax.jit
    def describe(form: LinearForm) -> tuple[jax.Array, jax.Array]:
        """L and mean of the entries."""
        return sample.stack(form).factor, -sample.deviations(form, jnp.zeros(sample.values.shape))

    alone = describe(study.forms.at(study.draws.theta[0])) if study.draws.alone else None

    def solve(theta: Array) -> tuple[Any, Array]:
        return describe(study.forms.at(theta)), rng.standard_normal(len(sample.date))

    def again(theta: Array) -> tuple[Any, Array]:
        return alone, rng.standard_normal(len(sample.date))

    def compute(solved: tuple[Any, Array]) -> dict[str, Array]:
        (factor, mean), noise = solved
        values = np.full(sample.values.shape, np.nan)
        values[sample.date, sample.column] = np.asarray(mean) + np.asarray(factor) @ noise
        return {"moments": sample_moments(values)}

    names = [s.name for s in study.forms.observed]
    if alone is None:
        simulated, _ = at_each_draw(study.draws, solve, compute)
    else:  # many samples at the one point
        simulated, _ = at_each_draw(ReducedDraws(posterior, np.repeat(study.draws.theta, MOST, axis=0)), again, compute)
    arrays = {
        "posterior": (("draw", "moment"), simulated["moments"]),
        "data": (("moment",), sample_moments(sample.values)),
    }
    words: list[str] = []
    if prior is not None:
        if reasons is None:
            reasons = [posterior.evaluate(theta).reason for theta in prior]
        failures = prior_failures(posterior.names, prior, reasons)
        solved = [theta for theta, reason in zip(prior, reasons, strict=True) if reason == "ok"]
        if not solved:
            raise EstimhankError("the model has a solution at none of the prior draws: " + "; ".join(failures.words()))
        found, _ = at_each_draw(ReducedDraws(posterior, np.array(solved), "prior"), solve, compute)
        arrays["prior"] = (("prior_draw", "moment"), found["moments"])
        words = failures.words()
    else:
        arrays["prior"] = (("prior_draw", "moment"), np.full((1, len(arrays["data"][1])), np.nan))
    draws = xr.Dataset(arrays, {"moment": moment_names(names)}, {"prior_words": words})
    return PredictiveCheck(study.about, draws)
