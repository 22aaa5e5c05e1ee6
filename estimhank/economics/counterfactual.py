"""Counterfactuals: the same shocks under another policy, as if it had always been in force.

Two ways to the coefficients N* of the other policy:

* parameters: the rule, or whatever else, has other ones, and the model is solved again;
* a rule that the model need not contain (McKay and Wolf 2023). With the effects Theta of announced policy shocks and
  the responses x of the series to another shock, the policy shocks that make A x = 0 hold are::

      nu = -(M' M)^{-1} M' A x,    M = A Theta,    x* = x + Theta nu

  With announcements for all dates that is the model solved with this rule in the place of its own.

What the data say of the shocks, E[e_t | y] in the sample and before it, is fed through N*::

    x*_t = E[x_t | y] + mean* - mean + sum_j (N*_j - N_j) E[e_{t-j} | y]

Policy shocks stay as they were, are zero, or are drawn anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.fft import next_fast_len

from estimhank.economics.each_draw import at_each_draw
from estimhank.economics.linear_form import LinearForm, LinearForms
from estimhank.economics.other_policy import (
    AnnouncedRule,
    Coefficients,
    OtherParameters,
    OtherPolicy,
    Term,
    long_average,
)
from estimhank.economics.result import Result, gap
from estimhank.economics.smoothing import smoothed_shocks
from estimhank.economics.study import Study
from estimhank.parameters.parameter_table import nearest
from estimhank.support.errors import ConfigError
from estimhank.support.settings import option

Array = NDArray[np.float64]

#: Quarters before the sample whose shocks are fed through.
_BEFORE = 4_096


@dataclass(frozen=True)
class CounterfactualPlan:
    """A counterfactual, as a small file says it.

    Attributes
    ----------
    title : str
    parameters : mapping of str to float
        Parameters of the model in place of its own, estimated or calibrated.
    rule : tuple of Term
        Instead: a sum that is zero at all dates, of deviations from the mean.
    policy : tuple of str
        The policy shocks; for a rule one, by whose announcements it is brought about.
    policy_shocks : str
        ``"kept"``, ``"zero"`` or ``"drawn"``. With a rule they are zero: it holds exactly.
    news : int
        Quarters for which policy shocks are announced, for a rule; 0: all that the solution has.
    quarters : int
        Beyond the sample, with no shocks to come.
    """

    title: str = "Counterfactual"
    parameters: dict[str, float] = field(default_factory=dict)
    rule: tuple[Term, ...] = ()
    policy: tuple[str, ...] = ()
    policy_shocks: str = option("kept", choices=("kept", "zero", "drawn"))
    news: int = option(0, least=0)
    quarters: int = option(0, least=0, most=40)

    def __post_init__(self) -> None:
        if bool(self.parameters) == bool(self.rule):
            raise ValueError("give other parameters in [parameters], or a [[rule]]: one of them")
        if self.rule and (len(self.policy) != 1 or self.policy_shocks == "drawn"):
            raise ValueError('a rule is brought about by one policy shock, policy = ["m"], and holds without others')
        if self.policy_shocks != "kept" and not self.policy:
            raise ValueError(f'policy_shocks = "{self.policy_shocks}" needs the names of the shocks, policy = ["m"]')


class Counterfactual(Result):
    """Series (draw, date, variable) under the other policy, beside what they were (``baseline``).

    What they were are the data, where there are data.
    """

    name = "counterfactual"
    shown = ("value", "baseline")
    along = "date"

    def identities(self) -> dict[str, float]:
        """What they were are the data; shocks and responses rebuild them (to a millionth: the past is cut off)."""
        baseline, data = self.draws.baseline.values, self.draws.data.values
        data = np.broadcast_to(data, baseline.shape)
        rebuilt = gap(self.draws.rebuilt.values, self.draws.smoothed.values)
        return {
            "that the baseline is the data": gap(np.where(np.isnan(data), np.nan, baseline), data),
            "that shocks and responses rebuild the smoothed series": rebuilt * 1e-4,
        }

    def summary(self) -> str:
        """The mean and the volatility of each series under both, and how well a rule is met."""
        found = [f"{self.draws.attrs['title']}: {self.draws.attrs['words']}; {self.about.words}"]
        for series in self.about.series:
            path = self.draws.sel(variable=series.name)
            sd = [float(path[name].std("date").median()) for name in ("baseline", "value")]
            change = (path.value - path.baseline).median("draw")
            most = int(np.abs(change.values).argmax())
            found.append(
                f"{series.label} ({series.units}): standard deviation {sd[1]:.2f} in place of {sd[0]:.2f}; the largest "
                f"difference is {float(change[most]):+.2f}, in {change.date.values[most]!s}"
            )
        missed = float(self.draws.missed.max())
        if missed > 1e-6:
            found.append(
                f"the announcements meet the rule but for {missed:.1%} of what it asks for: more of them (news) would "
                "meet it better"
            )
        return "\n".join(found)


def counterfactual(study: Study, plan: CounterfactualPlan, forms: LinearForms | None = None) -> Counterfactual:
    """A counterfactual at the draws of a study.

    Parameters
    ----------
    study : Study
        Of which the series that a rule speaks of are part.
    plan : CounterfactualPlan
    forms : LinearForms, optional
        Of the same series of another model, which takes the place of other parameters: a rule of any form, in a model
        file. Its parameters are those of the draws, by name.

    Raises
    ------
    ConfigError
        Shocks, series or parameters that there are not.
    EstimhankError
        There is no solution at a draw, or none under the other policy.
    """
    shocks = study.lasting.about.shocks
    for name in plan.policy:
        if name not in shocks:
            raise ConfigError(f"there is no shock '{name}'{nearest(name, shocks)}")
    other: OtherPolicy
    if plan.rule:
        other = rule = AnnouncedRule(study, plan.rule, plan.policy[0], plan.news)
        words = rule.words
    else:
        other = changed = OtherParameters(study, plan.parameters, forms)
        words = changed.words + (f"; {' and '.join(plan.policy)} {plan.policy_shocks}" if plan.policy else "")
    keep = np.ones(len(shocks))
    if plan.policy_shocks != "kept" or plan.rule:
        keep[[shocks.index(name) for name in plan.policy]] = 0.0
    drawn = np.array([plan.policy_shocks == "drawn" and name in plan.policy for name in shocks])
    scene, sample, at = study.lasting, study.sample, study.lasting.positions
    n, n_o = sample.values.shape
    dates, length = n + plan.quarters, n + plan.quarters + _BEFORE

    @jax.jit
    def compute(form: LinearForm, theirs: Coefficients) -> dict[str, jax.Array]:
        stacked = sample.stack(form)
        path = long_average(form, length)
        known = smoothed_shocks(path[: n + _BEFORE, :n_o], stacked.weights, _BEFORE)
        rebuilt = _fed(path[:, at], known, dates)
        smoothed = sample.with_dates(form.covariances.sum(0), np.arange(dates))[:, at] @ sample.entries(stacked.weights)
        errors = jnp.zeros((dates, len(at))).at[:n].set(scene.filtered_errors(form, stacked))
        baseline = smoothed + scene.mean(form) + errors
        value = baseline + theirs.shift + _fed(theirs.path, known * keep, dates) - rebuilt
        return {
            "value": scene.add_up(value, 0, 1),
            "baseline": scene.add_up(baseline, 0, 1),
            "value_variance": jnp.broadcast_to(theirs.variance @ drawn, value.shape),
            "smoothed": smoothed,
            "rebuilt": rebuilt,
            "missed": theirs.missed,
        }

    def solve(theta: Array) -> tuple[LinearForm, Any]:
        form = study.forms.at(theta)
        return form, other.solve(theta, form)

    def at_draw(solved: tuple[LinearForm, Any]) -> dict[str, Array]:
        form, theirs = solved
        found: dict[str, Array] = jax.tree.map(np.asarray, compute(form, other.coefficients(form, theirs, length)))
        return found

    arrays, _ = at_each_draw(study.draws, solve, at_draw)
    return Counterfactual(study.lasting.about, _dataset(arrays, study, plan, words))


def _fed(path: jax.Array, shocks: jax.Array, dates: int) -> jax.Array:
    """sum_j N[j] e[t-j] at the sample's dates and those after it, (dates, n_x)."""
    size = next_fast_len(len(path) + len(shocks), real=True)
    n, e = jnp.fft.rfft(path, size, axis=0), jnp.fft.rfft(shocks, size, axis=0)
    return jnp.fft.irfft(jnp.einsum("wxz,wz->wx", n, e), size, axis=0)[_BEFORE : _BEFORE + dates]


def _dataset(arrays: dict[str, Array], study: Study, plan: CounterfactualPlan, words: str) -> xr.Dataset:
    about, n = study.lasting.about, study.sample.dates
    dims = ("draw", "date", "variable")
    data = np.concatenate([study.lasting.data(), np.full((plan.quarters, len(about.names)), np.nan)])
    names = ["value", "baseline", "smoothed", "rebuilt"] + ["value_variance"] * (plan.policy_shocks == "drawn")
    return xr.Dataset(
        {
            **{name: (dims, arrays[name]) for name in names},
            "missed": (("draw",), arrays["missed"]),
            "data": (dims[1:], data),
        },
        {"date": about.quarters(0, n + plan.quarters), "variable": about.names},
        {
            "title": plan.title,
            "words": words,
            "units": "; ".join(f"{s.name}: {s.units}" for s in about.series),
        },
    )
