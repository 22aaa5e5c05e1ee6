"""Households that choose hours as well as savings, and the pieces of the endogenous grid method that such blocks need.

Preferences are separable, so that consumption c and hours n follow from the marginal utility of consumption u alone::

    c = u^(-eis),    n = (w e u / vphi)^frisch                                                 (intratemporal condition)

Where savings are known, as at the borrowing limit, u is what makes them fit the budget.

Source: Auclert, Bardóczy, Rognlie and Straub (2021), "Using the Sequence-Space Jacobian to Solve and Estimate
Heterogeneous-Agent Models", Econometrica 89(5), appendix B.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from estimhank.households.interpolation import interpolate_policies
from estimhank.households.one_asset import Grids, Policies, Scalar, StandardIncompleteMarkets

_NEWTON_STEPS = 7  # from a start that is right to a factor of two in spending


def endogenous_grid(
    consumption: Float[jax.Array, "n_e n_a"], income: jax.Array, assets: Float[jax.Array, " n_a"], r: Scalar
) -> Float[jax.Array, "n_e n_a"]:
    """Beginning-of-period assets from which each point of the asset grid is chosen.

    Parameters
    ----------
    consumption : array of shape (n_e, n_a)
        What is consumed where that point is chosen.
    income : array that broadcasts to (n_e, n_a)
        What is earned and received there.
    assets : array of shape (n_a,)
        End-of-period assets.
    r : scalar
        Return on beginning-of-period assets.
    """
    return (consumption + assets - income) / (1 + r)


def consumption_and_hours(
    marginal_utility: jax.Array, wage: jax.Array, eis: Scalar, frisch: Scalar, vphi: Scalar
) -> tuple[jax.Array, jax.Array]:
    """What is consumed and worked at a marginal utility of consumption.

    Parameters
    ----------
    marginal_utility, wage : arrays that broadcast
        The wage is that of an hour: ``w e``.
    eis, frisch, vphi : scalar
        Elasticities of intertemporal substitution and of labour supply; weight of the disutility of hours.
    """
    return marginal_utility ** (-eis), (wage * marginal_utility / vphi) ** frisch


@jax.custom_jvp
def marginal_utility_given_saving(
    wage: jax.Array, other_income: jax.Array, eis: Scalar, frisch: Scalar, vphi: Scalar
) -> jax.Array:
    """Marginal utility u of consumption of a household whose saving is given, and who consumes what else there is::

        u^(-eis) = wage (wage u / vphi)^frisch + other_income

    by Newton's method, to rounding; derivatives of every order are those of the equation. There is one solution at any
    positive wage, where other income is negative too.

    Parameters
    ----------
    wage, other_income : arrays that broadcast
        Of an hour; what there is to spend beside earnings, less what has to be saved.
    eis, frisch, vphi : scalar
    """
    # in log u = x, and with what is negative on the other side, the condition is that two logs are the same:
    # log(e^(-eis x) + max(-m, 0)) = log(e^(k + frisch x) + max(m, 0)), with m the other income. The difference falls in
    # x, is convex or concave, and has a bounded slope, so that the method finds the root from anywhere
    k = jnp.log(wage) + frisch * jnp.log(wage / vphi)
    gains, owed = jnp.maximum(other_income, 0.0), jnp.maximum(-other_income, 0.0)
    x = -k / (eis + frisch) + 0 * other_income
    x = jnp.minimum(x, -jnp.log(gains) / eis)
    x = jnp.where(owed > 0, jnp.maximum(x, (jnp.log(jnp.where(owed > 0, owed, 1.0)) - k) / frisch), x)

    def step(_: Any, x: jax.Array) -> jax.Array:
        c, earned = jnp.exp(-eis * x), jnp.exp(k + frisch * x)
        slope = eis * c / (c + owed) + frisch * earned / (earned + gains)
        return x + jnp.log((c + owed) / (earned + gains)) / slope

    found: jax.Array = jnp.exp(jax.lax.fori_loop(0, _NEWTON_STEPS, step, x))
    return found


@marginal_utility_given_saving.defjvp
def _marginal_utility_given_saving_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    u = marginal_utility_given_saving(*primals)

    def lacking(wage: Any, other_income: Any, eis: Any, frisch: Any, vphi: Any) -> Any:
        c, n = consumption_and_hours(u, wage, eis, frisch, vphi)
        return c - wage * n - other_income

    moved = jax.jvp(lacking, primals, tangents)[1]
    wage, _, eis, frisch, vphi = primals
    c, n = consumption_and_hours(u, wage, eis, frisch, vphi)
    return u, u * moved / (eis * c + frisch * wage * n)


@dataclass(frozen=True)
class EndogenousHours(StandardIncompleteMarkets):
    """Consumption, saving and hours with uninsurable productivity risk and a borrowing limit::

        max E sum_t beta^t [c_t^(1 - 1/eis) / (1 - 1/eis) - vphi n_t^(1 + 1/frisch) / (1 + 1/frisch)]
        c_t + a_t = (1 + r_t) a_{t-1} + w_t e_t n_t + T_t e_t,   a_t >= a_min

    solved by the endogenous grid method (Auclert, Bardóczy, Rognlie and Straub 2021). Transfers (dividends less taxes)
    are in proportion to productivity.

    Parameters
    ----------
    inputs : three of str
        Names of the model variables that are the return r, the wage w, and transfers T per unit of productivity.
    outputs : three or four of str
        Names of aggregate assets, consumption, hours in efficiency units (the mean of e n) and, if wanted, hours (the
        mean of n).
    n_e, n_a, a_max, a_min, spacing, scheme
        As of :class:`~estimhank.households.one_asset.StandardIncompleteMarkets`.

    Notes
    -----
    Reads ``beta``, ``eis``, ``frisch``, ``vphi``, ``rho_e`` and ``sd_e`` from the parameter table.
    """

    inputs: tuple[str, ...] = ("r", "w", "T")
    outputs: tuple[str, ...] = ("A", "C", "NE", "N")
    parameters: tuple[str, ...] = ("beta", "eis", "frisch", "vphi", "rho_e", "sd_e")

    def _check_names(self) -> None:
        if len(self.inputs) != 3 or len(self.outputs) not in (3, 4):
            raise ValueError(
                "EndogenousHours has three inputs (return, wage, transfers) and three outputs (assets, consumption, "
                "hours in efficiency units), or four (hours)"
            )

    def initial_marginal_value(self, grids: Grids, inputs: Mapping[str, jax.Array], p: Any) -> jax.Array:
        """Marginal value of spending a tenth of assets beside what is earned and received."""
        r, w, transfer = (inputs[name] for name in self.inputs)
        e = grids.e[:, None]
        other = transfer * e + r * self.a_min + 0.1 * (grids.a[None, :] - self.a_min)
        found: jax.Array = (1 + r) * marginal_utility_given_saving(w * e, other, p.eis, p.frisch, p.vphi)
        return found

    def backward(
        self, marginal_value_next: jax.Array, inputs: Mapping[str, jax.Array], grids: Grids, p: Any
    ) -> Policies:
        """One step of the endogenous grid method."""
        r, w, transfer = (inputs[name] for name in self.inputs)
        e, a, taste = grids.e[:, None], grids.a[None, :], (p.eis, p.frisch, p.vphi)
        wage, received = w * e, transfer * e
        c_next, n_next = consumption_and_hours(p.beta * grids.transition @ marginal_value_next, wage, *taste)
        endogenous = endogenous_grid(c_next, wage * n_next + received, grids.a, r)
        cash = (1 + r) * a + received
        if self.scheme != "smooth":
            # consumption and hours are linear between grid points as well, as in the toolkit
            c, n = interpolate_policies(grids.a, endogenous, jnp.stack([c_next, n_next]))
            binds = cash + wage * n - c < self.a_min
            least = marginal_utility_given_saving(wage, cash - self.a_min, *taste)
            c_least, n_least = consumption_and_hours(least, wage, *taste)
            assets = jnp.where(binds, self.a_min, cash + wage * n - c)
            c, n = jnp.where(binds, c_least, c), jnp.where(binds, n_least, n)
        else:
            assets = jnp.maximum(self._scheme[0](grids.a, endogenous, grids.a), self.a_min)
            utility = marginal_utility_given_saving(wage, cash - assets, *taste)
            c, n = consumption_and_hours(utility, wage, *taste)
        outputs = dict(zip(self.outputs, (assets, c, e * n, n), strict=False))
        return Policies((1 + r) * c ** (-1 / p.eis), assets, outputs, endogenous)

    def identities(self, lag: Any, now: Any) -> Iterator[tuple[str, Any]]:
        """The aggregate budget C_t = (1 + r_t) A_{t-1} + w_t NE_t + T_t - A_t (mean productivity is one)."""
        (r, w, transfer), (a, c, ne) = self.inputs, self.outputs[:3]
        received = getattr(now, w) * getattr(now, ne) + getattr(now, transfer)
        spent = (1 + getattr(now, r)) * getattr(lag, a) + received - getattr(now, a)
        yield "household budget", getattr(now, c) - spent
