"""The default model: a one-asset HANK economy with sticky wages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from estimhank.households.one_asset import HouseholdTarget, StandardIncompleteMarkets
from estimhank.model.declaration import Model
from estimhank.model.observed import Growth, Level
from estimhank.model.processes import AR1
from estimhank.parameters.parameter_table import Parameter, Parameters, Values
from estimhank.parameters.priors import Beta, Gamma, Normal, SqrtInverseGamma

_AUTOCORRELATION = Beta(0.5, 0.2, upper=0.995)
_STANDARD_DEVIATION = SqrtInverseGamma(scale=0.4, df=4.0)


class OneAssetHANK(Model):
    """Sticky wages, real government bonds, a Taylor rule, taxes that respond to debt; quarterly.

    Unions set hours, so that employment is common; productivity is one, so that price inflation is wage inflation. The
    real return on bonds is fixed one period ahead. Goods market clearing is left out (Walras' law).
    """

    name = "one_asset_hank"
    title = "One-asset HANK with sticky wages"
    household = StandardIncompleteMarkets(inputs=("r", "Z"), outputs=("A", "C"))  # Z: after-tax income
    variables = ("Y", "pi", "i", "r_ante", "r", "B", "Z")
    shocks = (
        AR1("w", description="wage markup"),
        AR1("g", description="government spending"),
        AR1("m", description="monetary policy"),
    )
    observables = (Growth("Y", "growth"), Level("pi", "inflation"), Level("i", "rate"))
    parameters = Parameters(
        kappa_w=Parameter(0.1, r"\kappa_w", "slope of the wage Phillips curve", Gamma(0.1, 0.05)),
        phi_pi=Parameter(1.7, r"\phi_\pi", "Taylor rule, inflation", Normal(1.7, 0.3, lower=1.0)),
        phi_y=Parameter(0.125, r"\phi_y", "Taylor rule, output", Gamma(0.125, 0.05)),
        rho_i=Parameter(0.5, r"\rho_i", "Taylor rule, smoothing", Beta(0.5, 0.2)),
        phi_b=Parameter(0.1, r"\phi_b", "response of taxes to debt", Gamma(0.1, 0.075), prior_relative_to="r"),
        rho_w=Parameter(0.95, r"\rho_w", "persistence, wage markup", _AUTOCORRELATION, "shocks"),
        rho_g=Parameter(0.9, r"\rho_g", "persistence, government spending", _AUTOCORRELATION, "shocks"),
        rho_m=Parameter(0.6, r"\rho_m", "persistence, monetary policy", _AUTOCORRELATION, "shocks"),
        sigma_w=Parameter(0.3, r"\sigma_w", "s.d. in percent, wage markup", _STANDARD_DEVIATION, "shocks"),
        sigma_g=Parameter(
            0.8, r"\sigma_g", "s.d. in percent of GDP, government spending", _STANDARD_DEVIATION, "shocks"
        ),
        sigma_m=Parameter(0.4, r"\sigma_m", "s.d. in percent, monetary policy", _STANDARD_DEVIATION, "shocks"),
        eis=Parameter(0.5, r"\mathrm{eis}", "elasticity of intertemporal substitution", touches="steady_state"),
        sd_e=Parameter(0.92, r"\sigma_e", "s.d. of log productivity", touches="steady_state"),
        B_bar=Parameter(1.0, r"\bar B", "government debt to quarterly GDP", touches="steady_state"),
        rho_e=Parameter(0.91**0.25, r"\rho_e", "persistence of log productivity", touches="steady_state"),
        frisch=Parameter(0.5, r"\mathrm{frisch}", "Frisch elasticity of labour supply", touches="steady_state"),
        mu_w=Parameter(1.1, r"\mu_w", "wage markup", touches="steady_state"),
        r=Parameter(0.005, r"\bar r", "real interest rate", touches="steady_state"),
        G=Parameter(0.2, r"\bar G", "government spending", touches="steady_state"),
        beta=Parameter(None, r"\beta", "discount factor (asset market)", touches="steady_state"),
        vphi=Parameter(None, r"\varphi", "disutility of hours (Phillips curve)", touches="steady_state"),
    )

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        """Wage setting, monetary policy, the Fisher equation, fiscal policy and asset-market clearing."""
        tax = p.G + p.r * p.B_bar + p.phi_b * (lag.B - p.B_bar)
        wedge = p.vphi * now.Y ** (1 / p.frisch) - household.C ** (-1 / p.eis) / p.mu_w
        rule = p.r + p.rho_i * (lag.i - p.r) + (1 - p.rho_i) * (p.phi_pi * now.pi + p.phi_y * (now.Y - 1))
        yield "wage Phillips curve", now.pi - p.kappa_w * wedge - lead.pi / (1 + p.r) - shock.w
        yield "Taylor rule", now.i - rule - shock.m
        yield "ex-ante real rate", now.r_ante - (now.i - lead.pi)
        yield "return on bonds", now.r - lag.r_ante
        yield "after-tax income", now.Z - (now.Y - tax)
        yield "government budget", now.B - ((1 + now.r) * lag.B + p.G + shock.g - tax)
        yield "asset market", household.A - now.B

    def household_target(self, p: Values) -> HouseholdTarget:
        """The discount factor makes households hold the debt."""
        inputs = {"r": p.r, "Z": 1 - p.G - p.r * p.B_bar}
        return HouseholdTarget(inputs, "beta", (0.5, 0.999 / (1 + p.r)), "A", p.B_bar)

    def steady_state(self, p: Values, household: Any) -> Mapping[str, Any]:
        """Output one, inflation zero; the disutility of hours makes the Phillips curve hold."""
        vphi = household.C ** (-1 / p.eis) / p.mu_w
        income = 1 - p.G - p.r * p.B_bar
        return {"Y": 1.0, "pi": 0.0, "i": p.r, "r_ante": p.r, "r": p.r, "B": p.B_bar, "Z": income, "vphi": vphi}
