"""What a household block's steady state says about households: how they spend a transfer, who is constrained, how
wealth is spread."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from estimhank.households.stationary import HouseholdSteadyState

Array = NDArray[np.float64]

#: The finite transfer, as a share of mean consumption in a quarter: some 500 dollars of 2019.
TRANSFER = 0.03
_YEAR = 4  # quarters
_NOTHING = 1e-6  # share of net wealth in what is owned and owed, below which there is none
_STRAIGHT = 1e-8  # relative; slopes of cash on hand that differ by less are one slope


@dataclass(frozen=True)
class MicroMoment:
    """One moment: key in files, words, unit, and the interval in which it must lie."""

    key: str
    label: str
    unit: str
    lower: float = 0.0
    upper: float = 1.0


_SPENT = "fraction of the transfer"
_INF = math.inf

MOMENTS: tuple[MicroMoment, ...] = (
    MicroMoment("mpc_quarter", "MPC in a quarter, marginal", _SPENT),
    MicroMoment("mpc_quarter_transfer", f"MPC in a quarter, transfer of {100 * TRANSFER:g} %", _SPENT),
    MicroMoment("mpc_year", "MPC in a year, marginal", _SPENT),
    MicroMoment("constrained", "households at the constraint", "fraction of households"),
    MicroMoment("gini", "Gini coefficient of wealth", "0: equal, 1: one has all", -_INF, _INF),
    MicroMoment("top_10", "wealth of the richest 10 %", "fraction of all wealth", -_INF, _INF),
    MicroMoment("bottom_50", "wealth of the poorer half", "fraction of all wealth", -_INF, _INF),
    MicroMoment("median_wealth", "median wealth", "quarters of mean consumption", -_INF, _INF),
)


@dataclass(frozen=True)
class MicroMoments:
    """Moments over draws of the parameters that move the steady state.

    Attributes
    ----------
    moments : tuple of MicroMoment, length k
    calibrated : ndarray (k,)
        At the parameter table's own values.
    prior, posterior : ndarray (n, k), optional
        At prior and at exact posterior draws that have a steady state; none where no estimated parameter moves it.
    left_out : mapping of {"prior", "posterior"} to mapping of kind to int
        Draws without a steady state by the kind of failure
        (:class:`~estimhank.households.stationary.SteadyStateError`).
    parameters : tuple of str
        Estimated parameters that move the steady state.
    """

    moments: tuple[MicroMoment, ...]
    calibrated: Array
    prior: Array | None = None
    posterior: Array | None = None
    left_out: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    parameters: tuple[str, ...] = ()

    @property
    def estimated(self) -> bool:
        """Whether there are posterior draws to show."""
        return self.posterior is not None and len(self.posterior) > 0


def micro_moments(household: HouseholdSteadyState) -> dict[str, float]:
    """Moments of one steady state by the keys of :data:`MOMENTS`.

    Parameters
    ----------
    household : HouseholdSteadyState
        Of any household block. What it says of spending is left out where no output can be recognised as consumption
        (see :func:`spending`).

    Notes
    -----
    ``mpc_quarter`` averages the marginal propensities of :func:`marginal_propensity` over households: a unit for each,
    not one in proportion to income. ``mpc_quarter_transfer`` is the same out of a transfer of :data:`TRANSFER` times
    mean consumption, with which constrained households leave the constraint: [c(cash + t) - c(cash)] / t, policies
    linear between grid points. ``mpc_year`` adds what is spent in the three quarters that follow out of what was saved.
    ``constrained`` is the mass on the lowest asset grid point. ``median_wealth`` is relative to mean consumption.
    """
    mass = np.asarray(household.distribution)
    wealth, heads = wealth_distribution(household)
    out = {"constrained": float(mass[:, 0].sum()), **wealth_moments(wealth, heads)}
    consumption = spending(household)
    if consumption is None:
        return out
    mean = float(np.vdot(mass, consumption))
    quarter, year = marginal_propensity(household, consumption), yearly_propensity(household, consumption)
    cash, extra = consumption + np.asarray(household.policies.assets), TRANSFER * mean
    spent = [np.interp(x + extra, x, c) - c for x, c in zip(cash, consumption, strict=True)]
    return {
        "mpc_quarter": float(np.vdot(mass, quarter)),
        "mpc_quarter_transfer": float(np.vdot(mass, np.array(spent))) / extra,
        "mpc_year": float(np.vdot(mass, year)),
        **out,
        "median_wealth": median_wealth(wealth, heads) / mean,
    }


def wealth_distribution(household: HouseholdSteadyState) -> tuple[Array, Array]:
    """Wealth, the sum of a household's assets, in increasing order, and the mass that holds it."""
    grids = [np.asarray(grid) for grid in household.grids.assets]
    total: Array = functools.reduce(np.add.outer, grids).ravel()
    order = np.argsort(total, kind="stable")
    return total[order], np.asarray(household.distribution).sum(axis=0).ravel()[order]


def spending(household: HouseholdSteadyState) -> Array | None:
    """The consumption policy, shape (n_e, n_a), or None.

    It is recognised by the budget: the output that together with end-of-period assets makes up cash on hand, a straight
    line in beginning-of-period assets with the same slope 1 + r in every state. A household that chooses its hours has
    no such output; what it does with a transfer cannot be read off its policies alone. Nor has one with two assets,
    which pays for moving between them.
    """
    if len(household.grids.assets) > 1:
        return None
    assets, a = np.asarray(household.policies.assets), np.asarray(household.grids.a)
    for policy in household.policies.outputs.values():
        consumption = np.asarray(policy)
        slopes = np.diff(consumption + assets) / np.diff(a)
        if slopes.min() > 0 and np.ptp(slopes) < _STRAIGHT * slopes.max() and not np.array_equal(consumption, assets):
            return consumption
    return None


def marginal_propensity(household: HouseholdSteadyState, consumption: Array) -> Array:
    """Consumption out of a small transfer within the quarter, at each state, shape (n_e, n_a).

    The slope of consumption to the right of a grid point in cash on hand, dc/da / (1 + r), by differences between
    grid points; one where nothing is saved. (A difference to the next grid point would be a finite transfer there: it
    crosses the kink where households begin to save, and so misses most of what the constraint does.)
    """
    assets = np.asarray(household.policies.assets)
    slope = np.diff(consumption) / np.diff(consumption + assets)
    slope = np.concatenate([slope, slope[:, -1:]], axis=1)
    return np.where(assets <= np.asarray(household.grids.a)[0], 1.0, slope)


def yearly_propensity(household: HouseholdSteadyState, consumption: Array) -> Array:
    """Expected consumption out of a small transfer within four quarters, at each state, shape (n_e, n_a).

    With V expected consumption over the three quarters that follow, as a function of the assets taken there, it is
    m + (1 - m) V'(a') for the propensity m of the first quarter; V' as in the model's linear responses (fake news).
    """
    quarter, total = marginal_propensity(household, consumption), jnp.asarray(consumption)
    transition = household.transition
    for _ in range(_YEAR - 2):
        total = transition.expectation(total) + consumption
    slope = np.asarray(transition.derivative_adjoint(jnp.ones_like(total), total))
    return np.asarray(quarter + (1 - quarter) * slope)


def wealth_moments(a: Array, mass: Array) -> dict[str, float]:
    """Gini coefficient and shares in wealth of a distribution on a grid.

    Parameters
    ----------
    a, mass : ndarray (n_a,)
        Wealth, increasing, and the mass that holds it, which sums to one.

    Returns
    -------
    dict
        ``gini``, ``top_10``, ``bottom_50``: from the Lorenz curve, straight between grid points since everybody on one
        holds the same; nan unless total wealth is positive, by more than the solution's own error: nobody has a share
        of assets in zero net supply. With debt the Gini coefficient may exceed one.
    """
    total = float(a @ mass)
    if not total > _NOTHING * float(np.abs(a) @ mass):
        return dict.fromkeys(("gini", "top_10", "bottom_50"), math.nan)
    people, wealth = (np.concatenate([[0.0], np.cumsum(x)]) for x in (mass, a * mass / total))
    return {
        "gini": float(1 - np.diff(people) @ (wealth[1:] + wealth[:-1])),
        "top_10": float(1 - np.interp(0.9, people, wealth)),
        "bottom_50": float(np.interp(0.5, people, wealth)),
    }


def median_wealth(a: Array, mass: Array) -> float:
    """Median of a distribution on a grid: the lowest point is an atom, the mass of the others lies around them.

    The distribution function is linear between grid points, where it is half of the point's own mass below the sum.
    """
    below = np.cumsum(mass) - mass / 2
    below[0] = mass[0]
    return float(np.interp(0.5, below, a))
