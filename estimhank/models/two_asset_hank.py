"""A two-asset HANK economy: liquid and illiquid wealth, capital, sticky prices and wages.

Source: Auclert, Bardóczy, Rognlie and Straub (2021), "Using the Sequence-Space Jacobian to Solve and Estimate
Heterogeneous-Agent Models", Econometrica 89(5), the two-asset model and its calibration. The monetary rule responds to
output too, as where they estimate, but not at the reference values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp

from estimhank.households.one_asset import HouseholdTarget, Sum
from estimhank.households.two_asset import TwoAssets
from estimhank.model.declaration import Model
from estimhank.model.observed import Growth, Level, Log
from estimhank.model.processes import AR1
from estimhank.parameters.parameter_table import Parameter, Parameters, Values
from estimhank.parameters.priors import Beta, Gamma, Normal, SqrtInverseGamma

_SHOCKS = {  # reference persistence and standard deviation in percent
    "z": ("productivity", 0.9, 0.5),
    "g": ("government spending", 0.9, 0.4),
    "m": ("monetary policy", 0.6, 0.25),
    "p": ("price markup", 0.5, 0.1),
    "w": ("wage markup", 0.5, 0.1),
    "i": ("risk premium of capital", 0.8, 0.2),
    "l": ("liquidity premium", 0.8, 0.2),
}


def _fixed(value: float | None, latex: str, description: str) -> Parameter:
    return Parameter(value, latex, description, touches="steady_state")


def closed_form(p: Any) -> SimpleNamespace:
    """What the calibration implies without households: output and hours are one."""
    equity = p.wealth - p.debt
    mc = 1 - p.r * (equity - p.K_bar)
    alpha = (p.r + p.delta) * p.K_bar / mc
    w = mc * (1 - alpha)
    tax = (p.r * p.debt + p.G) / w
    return SimpleNamespace(
        equity=equity, mc=mc, alpha=alpha, tfp_bar=p.K_bar**-alpha, w=w, tax=tax, div=1 - w - p.delta * p.K_bar,
        Z=(1 - tax) * w,
    )  # fmt: skip


class TwoAssetHANK(Model):
    """Illiquid accounts hold equity and bonds, liquid ones bonds at a premium; quarterly.

    Bonds pay the nominal rate of last quarter less inflation. Capital K, equity and the price of capital Q are those at
    the end of the quarter. Goods market clearing is left out (Walras' law).
    """

    name = "two_asset_hank"
    title = "Two-asset HANK"
    household = TwoAssets(inputs=("r_a", "r_b", "Z"), outputs=("A", "B", "C", "CHI", "UCE"))  # Z: after-tax income
    variables = (
        *("Y", "N", "w", "mc", "pi", "piw", "i", "r", "tfp", "K", "I", "Q", "div", "equity", "r_a", "r_b", "tax", "Z"),
    )
    shocks = tuple(AR1(name, description=description) for name, (description, _, _) in _SHOCKS.items())
    observables = (
        Growth("Y", "growth"),
        Growth("C", "consumption"),
        Growth("I", "investment"),
        Growth("w", "wages"),
        Log("N", "hours"),
        Level("pi", "inflation"),
        Level("i", "rate"),
    )
    parameters = Parameters(
        phi_pi=Parameter(1.5, r"\phi_\pi", "Taylor rule, inflation", Normal(1.5, 0.25, lower=1.0)),
        phi_y=Parameter(0.0, r"\phi_y", "Taylor rule, output", Normal(0.125, 0.1)),
        kappa_p=Parameter(0.1, r"\kappa_p", "slope of the price Phillips curve", Gamma(0.1, 0.05)),
        kappa_w=Parameter(0.1, r"\kappa_w", "slope of the wage Phillips curve", Gamma(0.1, 0.05)),
        eps_I=Parameter(4.0, r"\varepsilon_I", "elasticity of investment to its price", Gamma(4.0, 2.0)),
        **{
            f"rho_{name}": Parameter(
                rho, rf"\rho_{name}", f"persistence, {what}", Beta(0.5, 0.2, upper=0.995), "shocks"
            )
            for name, (what, rho, _) in _SHOCKS.items()
        },
        **{
            f"sigma_{name}": Parameter(
                sd, rf"\sigma_{name}", f"s.d. in percent, {what}", SqrtInverseGamma(0.4, 4.0), "shocks"
            )
            for name, (what, _, sd) in _SHOCKS.items()
        },
        eis=_fixed(0.5, r"\mathrm{eis}", "elasticity of intertemporal substitution"),
        chi0=_fixed(0.25, r"\chi_0", "adjustment cost, shift of wealth"),
        chi2=_fixed(2.0, r"\chi_2", "adjustment cost, curvature"),
        rho_e=_fixed(0.966, r"\rho_e", "persistence of log productivity"),
        sd_e=_fixed(0.92, r"\sigma_e", "s.d. of log productivity"),
        wealth=_fixed(14.0, r"\bar W", "wealth of households to quarterly GDP"),
        liquid=_fixed(1.04, r"\bar B_h", "liquid wealth of households"),
        debt=_fixed(2.8, r"\bar B_g", "government debt"),
        K_bar=_fixed(10.0, r"\bar K", "capital"),
        r=_fixed(0.0125, r"\bar r", "real interest rate"),
        omega=_fixed(0.005, r"\omega", "liquidity premium"),
        delta=_fixed(0.02, r"\delta", "depreciation"),
        G=_fixed(0.2, r"\bar G", "government spending"),
        mu_w=_fixed(1.1, r"\mu_w", "wage markup"),
        frisch=_fixed(1.0, r"\mathrm{frisch}", "Frisch elasticity of labour supply"),
        beta=_fixed(None, r"\beta", "discount factor (wealth)"),
        chi1=_fixed(None, r"\chi_1", "adjustment cost, level (liquid wealth)"),
        vphi=_fixed(None, r"\varphi", "disutility of hours (wage Phillips curve)"),
        alpha=_fixed(None, r"\alpha", "capital share"),
        tfp_bar=_fixed(None, r"\bar z", "productivity that makes output one"),
        mu_p=_fixed(None, r"\mu_p", "price markup (equity beyond capital)"),
    )

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        """As they stand in the paper; ``growth`` is that of capital over the quarter to come."""
        adjustment, growth = 2 * p.delta * p.eps_I, lead.K / now.K
        price_costs = p.mu_p / (p.mu_p - 1) / (2 * p.kappa_p) * jnp.log1p(now.pi) ** 2 * now.Y
        product = p.alpha * lead.mc * lead.tfp * (lead.N / now.K) ** (1 - p.alpha)
        discounted = lead.Y / now.Y * jnp.log1p(lead.pi) / (1 + lead.r)
        pay = (1 - now.tax) * now.w * now.N
        labour = p.vphi * now.N ** (1 + 1 / p.frisch) - pay * household.UCE / p.mu_w
        shares = 1 / (p.wealth - p.liquid)  # of illiquid accounts that one unit of equity makes up
        yield "production", now.Y - now.tfp * lag.K**p.alpha * now.N ** (1 - p.alpha)
        yield "productivity", now.tfp - p.tfp_bar * (1 + shock.z)
        yield "labour demand", now.w * now.N - now.mc * (1 - p.alpha) * now.Y
        yield "price of capital", now.Q - 1 - (now.K / lag.K - 1) / (p.delta * p.eps_I)
        yield (
            "capital",
            product - (growth - (1 - p.delta) + (growth - 1) ** 2 / adjustment) + growth * lead.Q
            - (1 + lead.r + shock.i) * now.Q,
        )  # fmt: skip
        yield "investment", now.I - (now.K - (1 - p.delta) * lag.K + lag.K * (now.K / lag.K - 1) ** 2 / adjustment)
        yield "dividends", now.div - (now.Y - now.w * now.N - now.I - price_costs)
        yield "equity price", lead.div + lead.equity - now.equity * (1 + lead.r)
        yield "price Phillips curve", jnp.log1p(now.pi) - p.kappa_p * (now.mc - 1 / p.mu_p) - discounted - shock.p
        yield "wage inflation", 1 + now.piw - (1 + now.pi) * now.w / lag.w
        yield "wage Phillips curve", jnp.log1p(now.piw) - p.kappa_w * labour - p.beta * jnp.log1p(lead.piw) - shock.w
        yield "Taylor rule", now.i - (p.r + p.phi_pi * now.pi + p.phi_y * (now.Y - 1) + shock.m)
        yield "return on bonds", (1 + now.r) * (1 + now.pi) - (1 + lag.i)
        yield "liquid return", now.r_b - (now.r - p.omega - shock.l)
        illiquid = shares * (now.div + now.equity) + (1 - shares * lag.equity) * (1 + now.r) - 1
        yield "illiquid return", now.r_a - illiquid
        yield "balanced budget", now.tax * now.w * now.N - (now.r * p.debt + p.G + shock.g)
        yield "after-tax income", now.Z - pay
        yield "asset market", household.A + household.B - (now.equity + p.debt)

    def household_target(self, p: Values) -> HouseholdTarget:
        """The discount factor makes households hold all wealth, the adjustment cost as much of it in liquid form."""
        inputs = {"r_a": p.r, "r_b": p.r - p.omega, "Z": closed_form(p).Z}
        return HouseholdTarget(
            inputs,
            unknowns={"beta": (0.9, 0.9999 / (1 + p.r)), "chi1": (0.5, 30.0)},
            targets={"wealth": Sum(p.wealth, {"A": 1.0, "B": 1.0}), "B": p.liquid},
        )

    def steady_state(self, p: Values, household: Any) -> Mapping[str, Any]:
        """Output and hours one, no inflation; the disutility of hours makes the wage curve hold."""
        known = closed_form(p)
        found = {name: getattr(known, name) for name in ("equity", "mc", "w", "tax", "div", "Z", "alpha", "tfp_bar")}
        quantities = {"Y": 1.0, "N": 1.0, "tfp": known.tfp_bar, "K": p.K_bar, "I": p.delta * p.K_bar, "Q": 1.0}
        rates = {"pi": 0.0, "piw": 0.0, "i": p.r, "r": p.r, "r_a": p.r, "r_b": p.r - p.omega}
        return {**found, **quantities, **rates, "vphi": known.Z * household.UCE / p.mu_w, "mu_p": 1 / known.mc}
