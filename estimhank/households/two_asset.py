"""Households with a liquid and an illiquid asset, by two passes of the endogenous grid method.

Source: Auclert, Bardóczy, Rognlie and Straub (2021), "Using the Sequence-Space Jacobian to Solve and Estimate
Heterogeneous-Agent Models", Econometrica 89(5), appendix on the two-asset model. In an optimum with W the expected
discounted marginal values tomorrow, b' and a' the choices and kappa >= 0 the multiplier of b' >= b_min over W_b::

    u'(c) = (1 + kappa) W_b(b', a'),     W_a(b', a') / W_b(b', a') = (1 + kappa) (1 + Psi_1(a', a)).

The first pass takes kappa = 0 and a grid of b', the second b' = b_min and a grid of kappa. Either solves the second
condition for a', the first for consumption and the budget for b, and is then turned round: b is what is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from estimhank.households.one_asset import HouseholdBlock, Policies, Scalar, StateSpace, logarithmic_grid, rouwenhorst
from estimhank.households.transition import Transition, TwoAssetLottery


class TwoAssetGrids(NamedTuple):
    """Discretised state space (e, b, a).

    Attributes
    ----------
    e : array of shape (n_e,)
        Idiosyncratic productivity, mean one.
    transition : array of shape (n_e, n_e)
        Markov matrix of ``e``; rows sum to one.
    stationary : array of shape (n_e,)
        Stationary distribution of ``e``.
    b, a : arrays of shape (n_b,), (n_a,)
        Liquid and illiquid assets, increasing; the first points are the lowest that can be held.
    kappa : array of shape (n_kappa,)
        Multipliers of the liquid constraint, *falling* to zero.
    """

    e: jax.Array
    transition: jax.Array
    stationary: jax.Array
    b: jax.Array
    a: jax.Array
    kappa: jax.Array

    @property
    def assets(self) -> tuple[jax.Array, ...]:
        """Grids of the endogenous assets, the liquid one first."""
        return self.b, self.a


class AdjustmentCost(NamedTuple):
    """Cost of a deposit d = a' - x into an illiquid account that holds x = (1 + r_a) a, and its derivatives.

    ``by_deposit`` is Psi_1, the derivative in a' at given x; ``by_wealth`` that in x at given a'.
    """

    cost: jax.Array
    by_deposit: jax.Array
    by_wealth: jax.Array


def adjustment_cost(deposit: jax.Array, wealth: jax.Array, chi0: Scalar, chi1: Scalar, chi2: Scalar) -> AdjustmentCost:
    """Convex cost of adjusting the illiquid account::

        Psi = chi1 / chi2 |d|^chi2 / (x + chi0)^(chi2 - 1)

    Parameters
    ----------
    deposit, wealth : arrays that broadcast
        d = a' - x and x = (1 + r_a) a.
    chi0, chi1, chi2 : float
        Positive; ``chi2`` above one.
    """
    size, base = jnp.abs(deposit), wealth + chi0
    core = chi1 * (size / base) ** (chi2 - 1)
    cost = size * core / chi2
    by_deposit = jnp.sign(deposit) * core
    return AdjustmentCost(cost, by_deposit, -by_deposit - (chi2 - 1) * cost / base)


def stored[T](arrays: T) -> T:
    """The same arrays, put into memory: compiled into what reads them, they would be computed once for each reader."""
    # one by one: JAX cannot transpose a barrier that some arrays pass which move with what is differentiated, some not
    found: T = jax.tree.map(jax.lax.optimization_barrier, arrays)
    return found


class Between(NamedTuple):
    """Places between neighbouring points: index of the lower one, its weight, and whether there was one place only."""

    lower: jax.Array
    weight: jax.Array
    unique: jax.Array

    def of(self, values: jax.Array, axis: int) -> jax.Array:
        """Values given at the points, along an axis, at the places; they have as many dimensions as the places."""
        low, high = stored(tuple(jnp.take_along_axis(values, self.lower + k, axis) for k in (0, 1)))
        return high + self.weight * (low - high)


def crossing(falling: Float[jax.Array, "n_e m k"], rising: Float[jax.Array, "k n"]) -> Between:
    """Where ``falling[e, m, :]`` meets each of the columns ``rising[:, n]``, between neighbouring points.

    Parameters
    ----------
    falling : array of shape (n_e, m, k)
    rising : array of shape (k, n)
        Their difference falls along k: it changes sign once at most.

    Returns
    -------
    Between
        Of shape (n_e, m, n): the first point where the difference is negative from the outset; beyond the last two,
        extrapolated, where it never is. Not ``unique`` where the sign changes more than once, or is extrapolated from
        a difference that does not fall.
    """
    points, columns = rising.shape
    fixed = jax.lax.stop_gradient((falling, rising))
    # the first column that a point is above; the points above a column are the first ones where these do not fall
    first = jax.vmap(jnp.searchsorted, (0, 2), 2)(-fixed[1], -fixed[0])
    unique = (first[..., 1:] >= first[..., :-1]).all(axis=2, keepdims=True)
    everywhere = jnp.arange(columns)
    count = jax.vmap(jax.vmap(partial(jnp.searchsorted, side="right"), (0, None)), (0, None))(first, everywhere)
    upper = jnp.clip(count, 1, points - 1)
    low, high = stored(tuple(jnp.take_along_axis(falling, at, 2) - rising[at, everywhere] for at in (upper - 1, upper)))
    fall = low - high
    weight = jnp.where(count == 0, 1.0, -high / jnp.where(fall > 0, fall, 1.0))
    return Between(upper - 1, weight, unique & ((fall > 0) | (count == 0)))


def turned_round(knots: Float[jax.Array, "n_e k n"], x: Float[jax.Array, " m"]) -> Between:
    """Where ``x`` lies between ``knots[e, :, n]``, increasing along k: shape (n_e, m, n); extrapolates linearly."""
    fixed = jax.lax.stop_gradient(knots)
    count = jax.vmap(jax.vmap(partial(jnp.searchsorted, side="right"), (1, None), 1), (0, None))(fixed, x)
    lower = jnp.clip(count - 1, 0, knots.shape[1] - 2)
    low, high = stored(tuple(jnp.take_along_axis(knots, lower + k, 1) for k in (0, 1)))
    increasing = (fixed[:, 1:] > fixed[:, :-1]).all(axis=1, keepdims=True)
    return Between(lower, (high - x[:, None]) / (high - low), increasing)


class TwoAssetChoice(NamedTuple):
    """Choices at each state, (n_e, n_b, n_a): liquid assets b', the deposit a' - (1 + r_a) a, its cost, consumption."""

    liquid: jax.Array
    deposit: jax.Array
    cost: AdjustmentCost
    consumption: jax.Array


def two_asset_step(
    expected: Float[jax.Array, "2 n_e n_b n_a"],
    grids: TwoAssetGrids,
    income: Float[jax.Array, " n_e"],
    returns: tuple[Scalar, Scalar],
    cost: Callable[[jax.Array, jax.Array], AdjustmentCost],
    consumption_of: Callable[[jax.Array], jax.Array],
) -> TwoAssetChoice:
    """Choices today, by two passes of the endogenous grid method.

    Parameters
    ----------
    expected : array of shape (2, n_e, n_b, n_a)
        Discounted expected marginal values W_b, W_a of the assets that are chosen.
    grids : TwoAssetGrids
    income : array of shape (n_e,)
        After taxes.
    returns : pair of float
        r_b and r_a.
    cost : callable
        Of (deposit, (1 + r_a) a), :func:`adjustment_cost` for example.
    consumption_of : callable
        Inverse of marginal utility.

    Returns
    -------
    TwoAssetChoice
        ``consumption`` is nan where the method does not apply: where the choice of the illiquid asset is not unique,
        because W_a / W_b less marginal cost changes sign more than once, or b' does not rise in b.
    """
    (w_b, w_a), (r_b, r_a) = expected, returns
    wealth, low = (1 + r_a) * grids.a, grids.b[0]
    marginal = 1 + cost(grids.a[:, None] - wealth, wealth).by_deposit
    marginal, ratio, w_b = stored((marginal, w_a / w_b, w_b))
    earned = income[:, None, None]

    def from_budget(place: Between, values: jax.Array, liquid: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Deposits, and the liquid assets today that choices on a grid come from."""
        cell = jnp.diff(grids.a)[place.lower]
        deposit = (grids.a[place.lower] - wealth) + (1 - place.weight) * cell
        spent = consumption_of(values) + deposit + cost(deposit, wealth).cost + liquid
        return stored((deposit, (spent - earned) / (1 + r_b)))

    free = crossing(ratio, marginal)
    deposit, origin = from_budget(free, free.of(w_b, 2), grids.b[:, None])
    at = turned_round(origin, grids.b)
    liquid = at.of(jnp.broadcast_to(grids.b[:, None], origin.shape), 1)

    premium = 1 + grids.kappa[:, None]
    bound = crossing(ratio[:, :1] / premium, marginal)
    deposit_bound, origin_bound = from_budget(bound, bound.of(w_b[:, :1] * premium, 2), low)
    at_bound = turned_round(origin_bound, grids.b)

    constrained = liquid <= low
    liquid = jnp.where(constrained, low, liquid)
    deposit = jnp.where(constrained, at_bound.of(deposit_bound, 1), at.of(deposit, 1))
    liquid, deposit = stored((liquid, deposit))
    paid = cost(deposit, wealth)
    consumption = earned + (1 + r_b) * grids.b[:, None] - paid.cost - deposit - liquid
    applies = at.unique & at_bound.unique
    for place in (free, bound):
        applies &= place.unique.all(axis=1, keepdims=True)
    return TwoAssetChoice(liquid, deposit, paid, jnp.where(applies, consumption, jnp.nan))


@dataclass(frozen=True)
class TwoAssets(HouseholdBlock):
    """Saving in a liquid asset b and in an illiquid asset a that is costly to adjust, with uninsurable income risk::

        max E sum_t beta^t c_t^(1 - 1/eis) / (1 - 1/eis),
        c_t + b_t + a_t + Psi(a_t, a_{t-1}) = (1 + r_b) b_{t-1} + (1 + r_a) a_{t-1} + (1 - tax) w N e_t,
        b_t >= b_min,   a_t >= 0,   Psi of :func:`adjustment_cost`.

    Parameters
    ----------
    inputs : five or three names
        Of the returns r_a and r_b, the wage, hours and the tax rate; or of the returns and after-tax income per unit of
        productivity (1 - tax) w N, all that matters of the other three: two inputs less to differentiate in.
    outputs : five names
        Of illiquid and liquid assets, consumption, adjustment costs, and productivity times marginal utility (which
        wage setting reads).
    n_e, n_b, n_a, n_kappa : int
        Productivity states, grid points of both assets, and multipliers of the liquid constraint.
    b_min, b_max, a_max, kappa_max : float
        Ends of the grids.

    Notes
    -----
    Reads ``beta``, ``eis``, ``chi0``, ``chi1``, ``chi2``, ``rho_e`` and ``sd_e`` from the parameter table. Policies and
    lotteries are linear between grid points. Marginal values are stacked, V_b and V_a.
    """

    inputs: tuple[str, ...] = ("r_a", "r_b", "w", "N", "tax")
    outputs: tuple[str, ...] = ("A", "B", "C", "CHI", "UCE")
    n_e: int = 3
    n_b: int = 50
    n_a: int = 70
    n_kappa: int = 50
    b_min: float = 0.0
    b_max: float = 50.0
    a_max: float = 4000.0
    kappa_max: float = 1.0
    parameters: tuple[str, ...] = ("beta", "eis", "chi0", "chi1", "chi2", "rho_e", "sd_e")

    def __post_init__(self) -> None:
        if len(self.inputs) not in (3, 5) or len(self.outputs) != 5:
            raise ValueError(
                "TwoAssets has five inputs (illiquid and liquid return, wage, hours, tax rate), or three (the returns, "
                "after-tax income), and five outputs (illiquid and liquid assets, consumption, adjustment costs, "
                "marginal utility)"
            )
        if min(self.n_e, self.n_b, self.n_a, self.n_kappa) < 2:
            raise ValueError("TwoAssets needs at least two points in each of n_e, n_b, n_a and n_kappa")
        if not (self.b_max > self.b_min and self.a_max > 0 and self.kappa_max > 0):
            raise ValueError("TwoAssets needs b_max > b_min, a_max > 0 and kappa_max > 0")

    @property
    def derived(self) -> tuple[str, ...]:  # type: ignore[override]
        """Consumption follows from the others by the aggregate budget."""
        return (self.outputs[2],)

    def _income(self, of: Callable[[str], Any]) -> Any:
        if len(self.inputs) == 3:
            return of(self.inputs[2])
        w, n, tax = (of(name) for name in self.inputs[2:])
        return (1 - tax) * w * n

    def grids(self, p: Any) -> TwoAssetGrids:
        """Rouwenhorst productivity, the other grids dense near their lower ends."""
        e, transition, stationary = rouwenhorst(p.rho_e, p.sd_e, self.n_e)
        b = logarithmic_grid(self.b_min, self.b_max, self.n_b)
        a = logarithmic_grid(0.0, self.a_max, self.n_a)
        return TwoAssetGrids(e, transition, stationary, b, a, logarithmic_grid(0.0, self.kappa_max, self.n_kappa)[::-1])

    def initial_marginal_value(self, grids: StateSpace, inputs: Mapping[str, jax.Array], p: Any) -> jax.Array:
        """Of consuming a twentieth of wealth, and income: nobody would move wealth between the assets."""
        r_a, r_b = (inputs[name] for name in self.inputs[:2])
        wealth = (grids.b - self.b_min)[:, None] + grids.a
        income = self._income(lambda name: inputs[name]) * grids.e[:, None, None]
        marginal = (0.05 * wealth + income) ** (-1 / p.eis)
        return jnp.stack([(1 + r_b) * marginal, (1 + r_a) * marginal])

    def backward(
        self, marginal_value_next: jax.Array, inputs: Mapping[str, jax.Array], grids: StateSpace, p: Any
    ) -> Policies:
        """One step of :func:`two_asset_step`."""
        r_a, r_b = (inputs[name] for name in self.inputs[:2])
        expected = p.beta * jnp.einsum("ef,kfba->keba", grids.transition, marginal_value_next)
        chosen = two_asset_step(
            expected,
            grids,
            self._income(lambda name: inputs[name]) * grids.e,
            (r_b, r_a),
            lambda deposit, wealth: adjustment_cost(deposit, wealth, p.chi0, p.chi1, p.chi2),
            lambda marginal: marginal ** (-p.eis),
        )
        marginal = chosen.consumption ** (-1 / p.eis)
        # (1 + r_a) a is what the cost depends on, so its derivative counts 1 + r_a times
        value = jnp.stack([(1 + r_b) * marginal, (1 + r_a) * (1 - chosen.cost.by_wealth) * marginal])
        illiquid = chosen.deposit + (1 + r_a) * grids.a
        found = (illiquid, chosen.liquid, chosen.consumption, chosen.cost.cost, grids.e[:, None, None] * marginal)
        return Policies(value, jnp.stack([chosen.liquid, illiquid]), dict(zip(self.outputs, found, strict=True)))

    def transition(self, grids: StateSpace, policies: Policies) -> Transition:
        """A lottery in two dimensions."""
        return TwoAssetLottery.of(policies.assets, grids.assets, grids.transition)

    def identities(self, lag: Any, now: Any) -> Iterator[tuple[str, Any]]:
        """The aggregate budget (mean productivity is one)."""
        r_a, r_b = (getattr(now, name) for name in self.inputs[:2])
        a, b, c, chi, _ = self.outputs
        wealth = (1 + r_a) * getattr(lag, a) + (1 + r_b) * getattr(lag, b)
        saved = getattr(now, a) + getattr(now, b) + getattr(now, chi)
        yield "household budget", getattr(now, c) - (wealth + self._income(lambda name: getattr(now, name)) - saved)
