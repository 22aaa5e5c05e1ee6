"""A HANK model with one asset and sticky wages: where a model of your own can begin."""

from collections.abc import Iterator, Mapping
from typing import Any

from estimhank.model import (
    AR1,
    Beta,
    Gamma,
    Growth,
    HouseholdTarget,
    Level,
    Model,
    Normal,
    Parameter,
    Parameters,
    SqrtInverseGamma,
    StandardIncompleteMarkets,
)

PERSISTENCE = Beta(0.5, 0.2)
VOLATILITY = SqrtInverseGamma(0.4, 4.0)


class Template(Model):
    """Households save in government bonds; wages are sticky, the government balances its budget slowly."""

    name = "template"
    household = StandardIncompleteMarkets(inputs=("r", "Z"), outputs=("A", "C"), n_e=5, n_a=120)
    variables = ("Y", "pi", "i", "r_ante", "r", "B", "Z")
    shocks = (
        AR1("w", description="wage markup"),
        AR1("g", description="government spending"),
        AR1("m", description="monetary policy"),
    )
    observables = (Growth("Y", "growth"), Level("pi", "inflation"), Level("i", "rate"))
    parameters = Parameters(
        kappa=Parameter(0.1, r"\kappa", "slope of the wage Phillips curve", Gamma(0.1, 0.05)),
        phi_pi=Parameter(1.7, r"\phi_\pi", "policy rule, inflation", Normal(1.7, 0.3, lower=1.0)),
        phi_y=Parameter(0.125, r"\phi_y", "policy rule, output", Gamma(0.125, 0.05)),
        rho_i=Parameter(0.5, r"\rho_i", "policy rule, smoothing", Beta(0.5, 0.2)),
        phi_b=Parameter(0.1, r"\phi_b", "response of taxes to debt", Gamma(0.1, 0.075), prior_relative_to="r"),
        rho_w=Parameter(0.9, r"\rho_w", "persistence, wage markup", PERSISTENCE, "shocks"),
        rho_g=Parameter(0.9, r"\rho_g", "persistence, government spending", PERSISTENCE, "shocks"),
        rho_m=Parameter(0.5, r"\rho_m", "persistence, monetary policy", PERSISTENCE, "shocks"),
        sigma_w=Parameter(0.3, r"\sigma_w", "s.d. in percent, wage markup", VOLATILITY, "shocks"),
        sigma_g=Parameter(0.8, r"\sigma_g", "s.d. in percent of output, spending", VOLATILITY, "shocks"),
        sigma_m=Parameter(0.4, r"\sigma_m", "s.d. in percent, monetary policy", VOLATILITY, "shocks"),
        # what follows moves the steady state: households are solved again where one of them is estimated
        eis=Parameter(0.5, r"\mathrm{eis}", "elasticity of intertemporal substitution", touches="steady_state"),
        sd_e=Parameter(0.9, r"\sigma_e", "s.d. of log productivity", touches="steady_state"),
        rho_e=Parameter(0.977, r"\rho_e", "persistence of log productivity", touches="steady_state"),
        B_bar=Parameter(1.0, r"\bar B", "government debt to quarterly output", touches="steady_state"),
        frisch=Parameter(0.5, r"\mathrm{frisch}", "Frisch elasticity of labour supply", touches="steady_state"),
        r=Parameter(0.005, r"\bar r", "real interest rate", touches="steady_state"),
        G=Parameter(0.2, r"\bar G", "government spending", touches="steady_state"),
        # determined by the steady state
        beta=Parameter(None, r"\beta", "discount factor", touches="steady_state"),
        vphi=Parameter(None, r"\varphi", "disutility of hours", touches="steady_state"),
    )

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        """One equation for each variable: a name, and what is zero."""
        tax = p.G + p.r * p.B_bar + p.phi_b * (lag.B - p.B_bar)
        wedge = p.vphi * now.Y ** (1 / p.frisch) - household.C ** (-1 / p.eis)
        rule = p.r + p.rho_i * (lag.i - p.r) + (1 - p.rho_i) * (p.phi_pi * now.pi + p.phi_y * (now.Y - 1))
        yield "wage Phillips curve", now.pi - p.kappa * wedge - lead.pi / (1 + p.r) - shock.w
        yield "policy rule", now.i - rule - shock.m
        yield "ex-ante real rate", now.r_ante - (now.i - lead.pi)
        yield "return on bonds", now.r - lag.r_ante
        yield "after-tax income", now.Z - (now.Y - tax)
        yield "government budget", now.B - ((1 + now.r) * lag.B + p.G + shock.g - tax)
        yield "asset market", household.A - now.B

    def household_target(self, p: Any) -> HouseholdTarget:
        """What households face in the steady state, and the parameter that makes them hold the debt."""
        inputs = {"r": p.r, "Z": 1 - p.G - p.r * p.B_bar}
        return HouseholdTarget(inputs, "beta", (0.5, 0.999 / (1 + p.r)), "A", p.B_bar)

    def steady_state(self, p: Any, household: Any) -> Mapping[str, Any]:
        """Output is one, inflation zero; the disutility of hours makes the Phillips curve hold."""
        income = 1 - p.G - p.r * p.B_bar
        vphi = household.C ** (-1 / p.eis)
        return {"Y": 1.0, "pi": 0.0, "i": p.r, "r_ante": p.r, "r": p.r, "B": p.B_bar, "Z": income, "vphi": vphi}
