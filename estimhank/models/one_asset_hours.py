"""A one-asset HANK economy in which households choose hours: flexible wages, sticky prices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp

from estimhank.households.labor import EndogenousHours
from estimhank.households.one_asset import HouseholdTarget
from estimhank.model.declaration import Model
from estimhank.model.observed import Growth, Level
from estimhank.model.processes import AR1
from estimhank.parameters.parameter_table import Parameter, Parameters, Values
from estimhank.parameters.priors import Beta, Gamma, Normal, SqrtInverseGamma

_AUTOCORRELATION = Beta(0.5, 0.2, upper=0.995)
_STANDARD_DEVIATION = SqrtInverseGamma(scale=0.4, df=4.0)


class OneAssetHours(Model):
    """Auclert, Bardóczy, Rognlie and Straub (2021), "Using the Sequence-Space Jacobian to Solve and Estimate
    Heterogeneous-Agent Models", Econometrica 89(5), with a markup shock and a rule that may smooth the interest rate.

    Adjusting prices costs output (Rotemberg). Bonds are nominal and in constant real supply; taxes pay their interest.
    Dividends and taxes are in proportion to productivity. Goods market clearing is left out (Walras' law).
    """

    name = "one_asset_hours"
    title = "One-asset HANK with hours chosen by households"
    household = EndogenousHours(outputs=("A", "C", "NE"), n_e=7, n_a=500, a_max=150.0, spacing="logarithmic")
    variables = ("Y", "w", "pi", "i", "r", "T")
    shocks = (
        AR1("m", description="monetary policy"),
        AR1("z", description="productivity"),
        AR1("p", description="price markup"),
    )
    observables = (Growth("Y", "growth"), Level("pi", "inflation"), Level("i", "rate"))
    parameters = Parameters(
        kappa=Parameter(0.1, r"\kappa", "slope of the price Phillips curve", Gamma(0.1, 0.05)),
        phi_pi=Parameter(1.5, r"\phi_\pi", "Taylor rule, inflation", Normal(1.5, 0.25, lower=1.0)),
        phi_y=Parameter(0.0, r"\phi_y", "Taylor rule, output"),
        rho_i=Parameter(0.0, r"\rho_i", "Taylor rule, smoothing"),
        rho_m=Parameter(0.61, r"\rho_m", "persistence, monetary policy", _AUTOCORRELATION, "shocks"),
        rho_z=Parameter(0.98, r"\rho_z", "persistence, productivity", _AUTOCORRELATION, "shocks"),
        rho_p=Parameter(0.8, r"\rho_p", "persistence, price markup", _AUTOCORRELATION, "shocks"),
        sigma_m=Parameter(0.25, r"\sigma_m", "s.d. in percent, monetary policy", _STANDARD_DEVIATION, "shocks"),
        sigma_z=Parameter(1.5, r"\sigma_z", "s.d. in percent, productivity", _STANDARD_DEVIATION, "shocks"),
        sigma_p=Parameter(
            0.3, r"\sigma_p", "s.d. in percent of inflation, price markup", _STANDARD_DEVIATION, "shocks"
        ),
        eis=Parameter(0.5, r"\mathrm{eis}", "elasticity of intertemporal substitution", touches="steady_state"),
        frisch=Parameter(0.5, r"\mathrm{frisch}", "Frisch elasticity of labour supply", touches="steady_state"),
        rho_e=Parameter(0.966, r"\rho_e", "persistence of log productivity", touches="steady_state"),
        sd_e=Parameter(0.5, r"\sigma_e", "s.d. of log productivity", touches="steady_state"),
        mu=Parameter(1.2, r"\mu", "price markup", touches="steady_state"),
        r=Parameter(0.005, r"\bar r", "real interest rate", touches="steady_state"),
        B=Parameter(5.6, r"\bar B", "government debt to quarterly output", touches="steady_state"),
        beta=Parameter(None, r"\beta", "discount factor (asset market)", touches="steady_state"),
        vphi=Parameter(None, r"\varphi", "disutility of hours (labour market)", touches="steady_state"),
    )

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        """Firms, monetary policy, nominal bonds, transfers to households, and the markets for labour and assets."""
        productivity = 1 + shock.z
        hours = now.Y / productivity
        adjustment = p.mu / (p.mu - 1) / (2 * p.kappa) * jnp.log(1 + now.pi) ** 2 * now.Y
        ahead = lead.Y / now.Y * jnp.log(1 + lead.pi) / (1 + lead.r)
        rule = p.r + p.phi_pi * now.pi + p.phi_y * (now.Y - 1)
        yield (
            "price Phillips curve",
            jnp.log(1 + now.pi) - p.kappa * (now.w / productivity - 1 / p.mu) - ahead - shock.p,
        )
        yield "Taylor rule", now.i - (p.rho_i * lag.i + (1 - p.rho_i) * rule + shock.m)
        yield "nominal bonds", now.r - ((1 + lag.i) / (1 + now.pi) - 1)
        yield "dividends less taxes", now.T - (now.Y - now.w * hours - adjustment - now.r * p.B)
        yield "labour market", household.NE - hours
        yield "asset market", household.A - p.B

    def household_target(self, p: Values) -> HouseholdTarget:
        """The discount factor makes households hold the debt, the disutility of hours makes them work one unit."""
        return HouseholdTarget(
            {"r": p.r, "w": 1 / p.mu, "T": 1 - 1 / p.mu - p.r * p.B},
            unknowns={"beta": (0.8, 0.9995 / (1 + p.r)), "vphi": (0.05, 5.0)},
            targets={"A": p.B, "NE": 1.0},
        )

    def steady_state(self, p: Values, household: Any) -> Mapping[str, Any]:
        """Output one, inflation zero; the wage is productivity over the markup."""
        return {"Y": 1.0, "w": 1 / p.mu, "pi": 0.0, "i": p.r, "r": p.r, "T": 1 - 1 / p.mu - p.r * p.B}
