"""The constrained-efficient planner without aggregate risk: the classical solution (Davila, Hong, Krusell and Rios-Rull
2012), where there is one.

The planner chooses households' savings and knows what they do to prices. At rest the Euler equation has a constant
more::

    u'(c) >= beta (R E u'(c') + D),   D = sum over households of u'(c) (assets dR/dK + d income/dK)

Two numbers are found: capital K, and the externality D. For every K there is a D at which households hold K; at the
planner's K it is the one that they cause.

With D > 0 no household's marginal utility falls below beta D / (1 - beta R), so that consumption is bounded. Where the
net return R - 1 is positive, wealth is not: households with more than some amount save for ever. Where the poor can
become that rich there is no stationary distribution, and no solution (which happens, as the authors say, in one of
their economies). Where the return is negative wealth falls by itself, and there is one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import brentq
from scipy.sparse.linalg import spsolve

from estimhank.global_solution.economy import GlobalEconomy, chain_of
from estimhank.global_solution.histogram import asset_grid
from estimhank.global_solution.steady import SteadyState, deterministic_steady_state, inside, solve_policy
from estimhank.support.errors import ConvergenceError

#: Grid points; policies and histogram share the grid, whose top is a limit to wealth on the way to the solution.
_POINTS = 800
#: Households at the top of the grid above which a solution is none.
TOP_SHARE = 1e-6
#: The externality that is needed is searched between these multiples of the one that the market causes.
_LEAST, _MOST = 1e-6, 1e3
#: Change of consumption at which a household's problem counts as solved.
_SETTLED = 1e-6
#: Change of the log of the externality in which a distribution may not turn into another.
_JUMP = 1e-4
#: By how much capital is moved in search of an interval, and how often.
_STEP, _STEPS = 1.15, 25


class AtRest(NamedTuple):
    """What households do at constant prices and a constant externality.

    Attributes
    ----------
    capital, externality : float
        That they hold, and that they cause.
    histogram, assets, wanted : arrays of shape (n_e, n_a)
        Shares of households, what they choose, and what they would choose if the grid went on.
    """

    capital: float
    externality: float
    histogram: NDArray[np.float64]
    assets: NDArray[np.float64]
    wanted: NDArray[np.float64]


class Households:
    """Households of an economy at rest, for prices and externalities that are tried one after the other.

    Each problem begins with the solution of the one before it.
    """

    def __init__(self, economy: GlobalEconomy) -> None:
        self.economy = economy
        self.grid = asset_grid(economy.borrowing_limit, economy.largest_assets, _POINTS)
        self._last: jax.Array | None = None

    def at(self, capital: float, externality: float) -> AtRest:
        """At the prices of ``capital``, ``externality`` added to the marginal value of assets.

        Raises
        ------
        ConvergenceError
            If their problem does not converge.
        """
        economy, grid = self.economy, self.grid
        chain, weights = chain_of(economy).average, jnp.asarray(chain_of(economy).stationary)
        k, one = jnp.asarray(float(capital)), jnp.asarray(1.0)
        prices, moved = jax.jvp(lambda x: tuple(economy.expected_prices(weights, x)), (k,), (one,))
        gross = jnp.broadcast_to(prices[0], prices[1].shape)
        c_end, change, _ = solve_policy(economy, gross, prices[1], jnp.asarray(chain), grid, externality, self._last)
        if not float(change) < _SETTLED:
            raise ConvergenceError("a household's problem does not converge with the planner's externality")
        self._last = c_end
        cash = gross[:, None] * grid + prices[1][:, None]
        beyond = jax.vmap(lambda x, v: inside(x, v, grid))(c_end + grid, cash)
        wanted = np.asarray(jnp.maximum(beyond, grid[0]))
        chosen = np.minimum(wanted, float(grid[-1]))
        histogram = _stationary(chosen, np.asarray(grid), chain)
        marginal = np.asarray(economy.marginal_utility(cash - chosen))
        per_unit = np.asarray(moved[0] * grid + moved[1][:, None])
        held = float((histogram * np.asarray(grid)).sum())
        return AtRest(held, float((histogram * marginal * per_unit).sum()), histogram, chosen, wanted)

    def holding(self, capital: float, market: float) -> tuple[float, AtRest, bool]:
        """The externality at which they hold ``capital`` at its prices, in the direction of the market's, what they do,
        and whether it is a solution.

        It is none where few more come to hold that much only as a distribution with households at the top of the grid
        takes the place of one without, between which there is nothing.
        """
        held: dict[float, AtRest] = {}

        def excess(log: float) -> float:
            held[log] = self.at(capital, market * float(np.exp(log)))
            return held[log].capital - capital

        low, high = np.log(_LEAST), np.log(_MOST)
        if excess(low) * np.sign(market) > 0:
            return 0.0, held[low], True
        if excess(high) * np.sign(market) < 0:
            return market * _MOST, held[high], False
        at = float(brentq(excess, low, high, xtol=_JUMP))
        ends = at - 5 * _JUMP, at + 5 * _JUMP
        near = [excess(end) for end in ends]
        if abs(near[1] - near[0]) > 0.1 * capital or near[0] * near[1] > 0:
            return market * float(np.exp(at)), max((held[end] for end in ends), key=lambda x: x.capital), False
        at = float(brentq(excess, *ends, xtol=1e-9))
        found = self.at(capital, market * float(np.exp(at)))
        return market * float(np.exp(at)), found, self.top_share(found) <= TOP_SHARE

    def top_share(self, found: AtRest) -> float:
        """Households in the topmost per cent of the grid."""
        return float(found.histogram[:, np.asarray(self.grid) > 0.99 * self.economy.largest_assets].sum())


def _stationary(
    chosen: NDArray[np.float64], grid: NDArray[np.float64], chain: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The distribution that a policy leaves where it is, (n_e, n_a), by one sparse system."""
    n_e, n = chosen.shape
    lower = np.clip(np.searchsorted(grid, chosen, side="right") - 1, 0, n - 2)
    up = (chosen - grid[lower]) / (grid[lower + 1] - grid[lower])
    start = np.arange(n_e * n).reshape(n_e, n, 1)
    to = np.arange(n_e) * n
    rows = np.broadcast_to(start, (n_e, n, n_e)).ravel()
    share = [(chain[:, None, :] * w[..., None]).ravel() for w in (1 - up, up)]
    columns = [(x[..., None] + to).ravel() for x in (lower, lower + 1)]
    moves = sparse.csc_array(
        (np.concatenate(share), (np.concatenate(columns), np.concatenate([rows, rows]))), shape=(n_e * n, n_e * n)
    )
    system = sparse.vstack([(moves - sparse.eye_array(n_e * n)).tocsr()[1:], np.ones((1, n_e * n))]).tocsc()
    right = np.zeros(n_e * n)
    right[-1] = 1.0
    found = np.maximum(spsolve(system, right), 0.0)
    return np.asarray((found / found.sum()).reshape(n_e, n))


class PlannerRest(NamedTuple):
    """The planner without aggregate risk: at rest, or why there is no rest.

    Attributes
    ----------
    steady : SteadyState, optional
    reason : str
        A sentence where there is none.
    """

    steady: SteadyState | None
    reason: str = ""


@lru_cache(maxsize=8)
def planner_at_rest(economy: GlobalEconomy) -> PlannerRest:
    """:func:`planner_steady_state`, looked for once."""
    try:
        return PlannerRest(planner_steady_state(economy))
    except ConvergenceError as error:
        return PlannerRest(None, str(error))


def planner_steady_state(economy: GlobalEconomy) -> SteadyState:
    """The planner's capital, distribution and externality without aggregate risk.

    Raises
    ------
    ConvergenceError
        If there is no stationary distribution, with a sentence that says why.
    """
    households = Households(economy)
    inner = deterministic_steady_state(economy).capital
    market = households.at(inner, 0.0).externality
    sign = float(np.sign(market))

    def excess(capital: float) -> float:
        """What externality is caused beyond the one that is needed, in the direction of the market's."""
        needed, found, _ = households.holding(capital, market)
        return sign * (found.externality - needed)

    # away from the market's capital, where nothing is needed, to the first at which more is needed than caused
    there, why = True, None
    for _ in range(_STEPS):
        outer = inner * _STEP**sign
        needed, found, solved = households.holding(outer, market)
        if solved and sign * (found.externality - needed) < 0:
            break
        if not solved and why is None:
            why = _no_rest(households, found)
        inner, there = outer, solved
    else:
        raise ConvergenceError(why or "there is no capital stock at which the planner would stay")
    if not there:
        raise ConvergenceError(why or "there is no capital stock at which the planner would stay")
    capital = float(brentq(excess, inner, outer, xtol=1e-6 * outer))
    needed, found, solved = households.holding(capital, market)
    if not solved:
        raise ConvergenceError(_no_rest(households, found))
    return SteadyState(capital, households.grid, jnp.asarray(found.histogram), needed)


def _no_rest(households: Households, found: AtRest) -> str:
    """Why households come to the top of the grid, in a sentence."""
    top = households.top_share(found)
    above = explosive_wealth(found, np.asarray(households.grid))
    if above is None:
        return f"{top:.1%} of the planner's households are at the top of the grid: raise largest_assets"
    return (
        f"the planner's problem has no stationary distribution: households with more than {above:.4g} save on, "
        f"as the planner wants their capital however little they consume of it, and {top:.1%} come to the top of the "
        "grid"
    )


def explosive_wealth(found: AtRest, grid: NDArray[np.float64]) -> float | None:
    """Assets above which households save on average over their own states; None where there are none."""
    own = found.histogram.sum(1)
    saving = own @ (found.wanted - grid) >= 0
    if not saving[-1]:
        return None
    return float(grid[len(grid) - int(np.argmin(saving[::-1]))]) if not saving.all() else float(grid[0])
