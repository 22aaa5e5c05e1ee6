"""A three-equation New Keynesian model without households: where a model of your own can begin."""

from collections.abc import Iterator, Mapping
from typing import Any

from estimhank.model import AR1, Beta, Gamma, Growth, Level, Model, Normal, Parameter, Parameters, SqrtInverseGamma

PERSISTENCE = Beta(0.5, 0.2)
VOLATILITY = SqrtInverseGamma(0.4, 4.0)


class Template(Model):
    """Consumption, prices and a policy rule; output is one at rest, the others are deviations."""

    name = "template"
    variables = ("Y", "pi", "i")
    shocks = (
        AR1("d", description="demand"),
        AR1("u", description="price markup"),
        AR1("m", description="monetary policy"),
    )
    observables = (Growth("Y", "growth"), Level("pi", "inflation"), Level("i", "rate"))
    parameters = Parameters(
        beta=Parameter(0.995, r"\beta", "discount factor"),
        sigma=Parameter(1.0, r"\sigma", "inverse elasticity of substitution", Gamma(1.0, 0.3)),
        kappa=Parameter(0.1, r"\kappa", "slope of the Phillips curve", Gamma(0.1, 0.05)),
        phi_pi=Parameter(1.7, r"\phi_\pi", "policy rule, inflation", Normal(1.7, 0.3, lower=1.0)),
        phi_y=Parameter(0.125, r"\phi_y", "policy rule, output", Gamma(0.125, 0.05)),
        rho_i=Parameter(0.5, r"\rho_i", "policy rule, smoothing", Beta(0.5, 0.2)),
        rho_d=Parameter(0.8, r"\rho_d", "persistence, demand", PERSISTENCE, "shocks"),
        rho_u=Parameter(0.5, r"\rho_u", "persistence, price markup", PERSISTENCE, "shocks"),
        rho_m=Parameter(0.3, r"\rho_m", "persistence, monetary policy", PERSISTENCE, "shocks"),
        sigma_d=Parameter(0.2, r"\sigma_d", "s.d. in percent, demand", VOLATILITY, "shocks"),
        sigma_u=Parameter(0.2, r"\sigma_u", "s.d. in percent, price markup", VOLATILITY, "shocks"),
        sigma_m=Parameter(0.2, r"\sigma_m", "s.d. in percent, monetary policy", VOLATILITY, "shocks"),
    )

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        """One equation for each variable: a name, and what is zero."""
        rule = (1 - p.rho_i) * (p.phi_pi * now.pi + p.phi_y * (now.Y - 1)) + p.rho_i * lag.i
        yield "Euler equation", now.Y - lead.Y + (now.i - lead.pi) / p.sigma - shock.d
        yield "Phillips curve", now.pi - p.beta * lead.pi - p.kappa * (now.Y - 1) - shock.u
        yield "policy rule", now.i - rule - shock.m

    def steady_state(self, p: Any, household: Any) -> Mapping[str, Any]:
        """Output is one, the others are deviations."""
        return {"Y": 1.0, "pi": 0.0, "i": 0.0}
