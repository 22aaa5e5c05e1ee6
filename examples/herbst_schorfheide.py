"""The small New Keynesian model of Herbst and Schorfheide (2015), "Bayesian Estimation of DSGE Models", Princeton
University Press, chapter 2: three shocks, three observables, thirteen parameters.

Variables are deviations from the balanced growth path, in percent; parameters have the book's names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from estimhank.model import (
    AR1,
    IID,
    Gamma,
    Level,
    Model,
    Normal,
    Observe,
    Parameter,
    Parameters,
    SqrtInverseGamma,
    Uniform,
)


class HerbstSchorfheide(Model):
    """Output y, inflation pi and the rate R, each a quarter's; g is government spending, z the growth of technology."""

    name = "herbst_schorfheide"
    title = "Herbst and Schorfheide's small New Keynesian model"
    variables = ("y", "pi", "R")
    shocks = (
        IID("e_R", "sigma_R", 1.0, "monetary policy"),
        AR1("g", scale=1.0, description="government spending"),
        AR1("z", scale=1.0, description="technology growth"),
    )
    observables = (
        Observe("YGR", lambda now, lag, lead, p: now.y - lag.y + now.shock.z, mean="gammaQ"),
        Level("pi", "INFL", 4.0, "percent per year", mean="piA"),
        Level("R", "INT", 4.0, "percent per year", mean=lambda p: p.piA + p.rA + 4 * p.gammaQ),
    )
    parameters = Parameters(
        tau=Parameter(2.83, r"\tau", "inverse elasticity of intertemporal substitution", Gamma(2.0, 0.5)),
        kappa=Parameter(0.78, r"\kappa", "slope of the Phillips curve", Uniform(0.0, 1.0)),
        psi1=Parameter(1.8, r"\psi_1", "policy, inflation", Gamma(1.5, 0.25)),
        psi2=Parameter(0.63, r"\psi_2", "policy, output gap", Gamma(0.5, 0.25)),
        rA=Parameter(0.42, r"r^{(A)}", "real rate, percent a year", Gamma(0.5, 0.5)),
        piA=Parameter(3.3, r"\pi^{(A)}", "inflation, percent a year", Gamma(7.0, 2.0)),
        gammaQ=Parameter(0.52, r"\gamma^{(Q)}", "trend growth, percent a quarter", Normal(0.4, 0.2)),
        rho_R=Parameter(0.77, r"\rho_R", "policy, smoothing", Uniform(0.0, 1.0)),
        rho_g=Parameter(0.98, r"\rho_g", "persistence, government spending", Uniform(0.0, 1.0), "shocks"),
        rho_z=Parameter(0.88, r"\rho_z", "persistence, technology growth", Uniform(0.0, 1.0), "shocks"),
        sigma_R=Parameter(0.22, r"\sigma_R", "s.d. in percent, policy", SqrtInverseGamma(0.4, 4.0), "shocks"),
        sigma_g=Parameter(0.71, r"\sigma_g", "s.d. in percent, spending", SqrtInverseGamma(1.0, 4.0), "shocks"),
        sigma_z=Parameter(0.31, r"\sigma_z", "s.d. in percent, technology", SqrtInverseGamma(0.5, 4.0), "shocks"),
    )

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        """Euler equation, Phillips curve, policy rule."""
        real = now.R - lead.pi - lead.shock.z
        yield "Euler equation", now.y - (lead.y - real / p.tau + shock.g - lead.shock.g)
        gap = now.y - shock.g
        yield "Phillips curve", now.pi - (lead.pi / (1 + p.rA / 400) + p.kappa * gap)
        rule = (1 - p.rho_R) * (p.psi1 * now.pi + p.psi2 * gap)
        yield "policy rule", now.R - p.rho_R * lag.R - rule - shock.e_R

    def steady_state(self, p: Any, household: Any) -> Mapping[str, Any]:
        """Deviations are zero."""
        return dict.fromkeys(self.variables, 0.0)
