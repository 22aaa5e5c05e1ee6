"""A model of one's own: a central bank that looks at average inflation, households with one asset, four observables.

docs/tutorial.md writes it step by step from what `estimhank init` gives.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from estimhank.model import (
    AR1,
    ARMA,
    Beta,
    Correlation,
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
    Uniform,
)

PERSISTENCE = Beta(0.5, 0.2)
VOLATILITY = SqrtInverseGamma(0.4, 4.0)


class AverageInflation(Model):
    """Wages are sticky, and the policy rate follows the inflation of the last year."""

    name = "average_inflation"
    household = StandardIncompleteMarkets(inputs=("r", "Z"), outputs=("A", "C"), n_e=5, n_a=120)
    variables = ("Y", "pi", "i", "r_ante", "r", "B", "Z")
    shocks = (
        ARMA("w", ar=("rho_w",), ma=("-theta_w",), description="wage markup"),
        AR1("g", description="government spending"),
        AR1("m", description="monetary policy"),
    )
    correlations = (Correlation("g", "m", "corr_gm"),)
    observables = (
        Growth("Y", "growth", mean="trend"),
        Growth("C", "consumption", mean="trend", measurement_error="me_consumption"),
        Level("pi", "inflation"),
        Level("i", "rate"),
    )
    parameters = Parameters(
        kappa=Parameter(0.1, r"\kappa", "slope of the wage Phillips curve", Gamma(0.1, 0.05)),
        phi_pi=Parameter(1.7, r"\phi_\pi", "policy rule, average inflation", Normal(1.7, 0.3, lower=1.0)),
        phi_y=Parameter(0.125, r"\phi_y", "policy rule, output", Gamma(0.125, 0.05)),
        rho_i=Parameter(0.5, r"\rho_i", "policy rule, smoothing", Beta(0.5, 0.2)),
        phi_b=Parameter(0.1, r"\phi_b", "response of taxes to debt", Gamma(0.1, 0.075), prior_relative_to="r"),
        trend=Parameter(0.5, r"\gamma", "trend growth, percent a quarter", Normal(0.5, 0.1)),
        rho_w=Parameter(0.9, r"\rho_w", "persistence, wage markup", PERSISTENCE),
        theta_w=Parameter(0.5, r"\theta_w", "moving average, wage markup", PERSISTENCE),
        rho_g=Parameter(0.9, r"\rho_g", "persistence, government spending", PERSISTENCE),
        rho_m=Parameter(0.5, r"\rho_m", "persistence, monetary policy", PERSISTENCE),
        corr_gm=Parameter(0.0, r"\varrho_{gm}", "correlation of spending and policy", Uniform(-1.0, 1.0)),
        sigma_w=Parameter(0.3, r"\sigma_w", "s.d. in percent, wage markup", VOLATILITY, "shocks"),
        sigma_g=Parameter(0.8, r"\sigma_g", "s.d. in percent of output, spending", VOLATILITY),
        sigma_m=Parameter(0.4, r"\sigma_m", "s.d. in percent, monetary policy", VOLATILITY),
        me_consumption=Parameter(
            0.3, r"\sigma_c", "s.d. of what consumption's growth has besides", VOLATILITY, "shocks"
        ),
        eis=Parameter(0.5, r"\mathrm{eis}", "elasticity of intertemporal substitution", touches="steady_state"),
        sd_e=Parameter(0.9, r"\sigma_e", "s.d. of log productivity", touches="steady_state"),
        rho_e=Parameter(0.977, r"\rho_e", "persistence of log productivity", touches="steady_state"),
        B_bar=Parameter(1.0, r"\bar B", "government debt to quarterly output", touches="steady_state"),
        frisch=Parameter(0.5, r"\mathrm{frisch}", "Frisch elasticity of labour supply", touches="steady_state"),
        r=Parameter(0.005, r"\bar r", "real interest rate", touches="steady_state"),
        G=Parameter(0.2, r"\bar G", "government spending", touches="steady_state"),
        beta=Parameter(None, r"\beta", "discount factor", touches="steady_state"),
        vphi=Parameter(None, r"\varphi", "disutility of hours", touches="steady_state"),
    )

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        """One equation for each variable: a name, and what is zero."""
        tax = p.G + p.r * p.B_bar + p.phi_b * (lag.B - p.B_bar)
        wedge = p.vphi * now.Y ** (1 / p.frisch) - household.C ** (-1 / p.eis)
        average = (now.pi + lag.pi + lag(2).pi + lag(3).pi) / 4
        rule = p.r + p.rho_i * (lag.i - p.r) + (1 - p.rho_i) * (p.phi_pi * average + p.phi_y * (now.Y - 1))
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
