"""The three-equation New Keynesian model: a representative household, no steady state to solve for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from estimhank.model.declaration import Model
from estimhank.model.observed import Level, Observe
from estimhank.model.processes import AR1
from estimhank.parameters.parameter_table import Parameter, Parameters, Values
from estimhank.parameters.priors import Beta, Gamma, Normal, SqrtInverseGamma

_AUTOCORRELATION = Beta(0.5, 0.2, upper=0.995)
_STANDARD_DEVIATION = SqrtInverseGamma(scale=0.4, df=4.0)


class NewKeynesian(Model):
    """Euler equation, Phillips curve and Taylor rule (Galí 2015, chapter 3), in deviations from the steady state.

    Output is its gap: productivity is constant.
    """

    name = "new_keynesian"
    title = "Three-equation New Keynesian model"
    variables = ("y", "pi", "i")
    shocks = (
        AR1("d", description="natural rate of interest"),
        AR1("u", description="cost push"),
        AR1("m", description="monetary policy"),
    )
    observables = (
        Observe("growth", lambda now, lag, lead, p: 100 * (now.y - lag.y)),
        Level("pi", "inflation"),
        Level("i", "rate"),
    )
    parameters = Parameters(
        eis=Parameter(0.5, r"\mathrm{eis}", "elasticity of intertemporal substitution", Gamma(0.5, 0.1)),
        kappa=Parameter(0.1, r"\kappa", "slope of the Phillips curve", Gamma(0.1, 0.05)),
        phi_pi=Parameter(1.5, r"\phi_\pi", "Taylor rule, inflation", Normal(1.5, 0.25, lower=1.0)),
        phi_y=Parameter(0.125, r"\phi_y", "Taylor rule, output", Gamma(0.125, 0.05)),
        rho_d=Parameter(0.8, r"\rho_d", "persistence, natural rate", _AUTOCORRELATION, "shocks"),
        rho_u=Parameter(0.5, r"\rho_u", "persistence, cost push", _AUTOCORRELATION, "shocks"),
        rho_m=Parameter(0.5, r"\rho_m", "persistence, monetary policy", _AUTOCORRELATION, "shocks"),
        sigma_d=Parameter(0.5, r"\sigma_d", "s.d. in percent, natural rate", _STANDARD_DEVIATION, "shocks"),
        sigma_u=Parameter(0.2, r"\sigma_u", "s.d. in percent, cost push", _STANDARD_DEVIATION, "shocks"),
        sigma_m=Parameter(0.25, r"\sigma_m", "s.d. in percent, monetary policy", _STANDARD_DEVIATION, "shocks"),
        beta=Parameter(0.995, r"\beta", "discount factor"),
    )

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        """Linear already."""
        yield "Euler equation", now.y - (lead.y - p.eis * (now.i - lead.pi - shock.d))
        yield "Phillips curve", now.pi - (p.beta * lead.pi + p.kappa * now.y + shock.u)
        yield "Taylor rule", now.i - (p.phi_pi * now.pi + p.phi_y * now.y + shock.m)

    def steady_state(self, p: Values, household: Any) -> Mapping[str, Any]:
        """Deviations are zero."""
        return dict.fromkeys(self.variables, 0.0)
