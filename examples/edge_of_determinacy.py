"""A model whose posterior ends where its equilibrium stops being determinate: flat priors, and taxes that barely react.

estimhank estimate examples/edge_of_determinacy.toml --out results/scratch/edge_of_determinacy

The rule for taxes, phi_T B(-1), keeps debt from exploding only if phi_T exceeds the real rate by enough. The data like
it small, the prior is flat, so the posterior is cut off at the edge of the determinate region rather than by the prior.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from estimhank.model import (
    AR1,
    HouseholdTarget,
    Level,
    Model,
    Parameter,
    Parameters,
    SqrtInverseGamma,
    StandardIncompleteMarkets,
    Uniform,
    Values,
)


class EdgeOfDeterminacy(Model):
    """Sticky wages, flexible prices, productivity, spending and monetary shocks; bonds in zero supply."""

    name = "edge_of_determinacy"
    household = StandardIncompleteMarkets(
        inputs=("r", "Z"), outputs=("A", "C"), n_e=11, n_a=500, a_min=-1.0, a_max=1000.0
    )
    variables = ("Y", "X", "pi", "pi_w", "i", "r_ante", "r", "B", "T", "Z")
    shocks = (
        AR1("x", description="productivity"),
        AR1("g", description="spending"),
        AR1("m", description="monetary policy"),
    )
    # the published estimation reads yearly figures as those of a quarter; scale=400.0 would make them what they are
    observables = (
        Level("pi", "inflation", units="percent per year"),
        Level("Y", "output", units="percent"),
        Level("i", "rate", units="percent per year"),
    )
    parameters = Parameters(
        kappa_w=Parameter(0.6, r"\kappa_w", "slope of the wage Phillips curve", Uniform(0.0, 1.0)),
        phi_pi=Parameter(1.8, r"\phi_\pi", "Taylor rule, inflation", Uniform(1.05, 5.0)),
        phi_T=Parameter(0.05, r"\phi_T", "response of taxes to debt", Uniform(0.0, 1.0)),
        rho_x=Parameter(0.9, r"\rho_x", "persistence, productivity", Uniform(0.0, 1.0), "shocks"),
        rho_g=Parameter(0.8, r"\rho_g", "persistence, spending", Uniform(0.0, 1.0), "shocks"),
        rho_m=Parameter(0.8, r"\rho_m", "persistence, monetary policy", Uniform(0.0, 1.0), "shocks"),
        sigma_x=Parameter(1.0, r"\sigma_x", "s.d. in percent, productivity", SqrtInverseGamma(0.4, 4.0), "shocks"),
        sigma_g=Parameter(1.0, r"\sigma_g", "s.d. in percent, spending", SqrtInverseGamma(0.5, 4.0), "shocks"),
        sigma_m=Parameter(1.0, r"\sigma_m", "s.d. in percent, monetary policy", SqrtInverseGamma(1.0, 4.0), "shocks"),
        eis=Parameter(0.5, r"\mathrm{eis}", "intertemporal substitution", touches="steady_state"),
        frisch=Parameter(0.5, r"\mathrm{frisch}", "Frisch elasticity", touches="steady_state"),
        rho_e=Parameter(0.92, r"\rho_e", "persistence of productivity", touches="steady_state"),
        sd_e=Parameter(0.92, r"\sigma_e", "s.d. of log productivity", touches="steady_state"),
        mu_w=Parameter(1.015, r"\mu_w", "wage markup", touches="steady_state"),
        r=Parameter(0.01, r"\bar r", "real rate", touches="steady_state"),
        beta=Parameter(None, r"\beta", "discount factor", touches="steady_state"),
        vphi=Parameter(None, r"\varphi", "disutility of hours", touches="steady_state"),
    )

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        """One residual a line, zero in equilibrium."""
        hours = now.Y / now.X
        wedge = p.vphi * hours ** (1 / p.frisch) - now.X * household.C ** (-1 / p.eis) / p.mu_w
        yield "productivity", now.X - (1 + shock.x)
        yield "wage inflation", now.pi_w - (now.pi + now.X - lag.X)
        yield "wage Phillips curve", now.pi_w - p.kappa_w * wedge - p.beta * lead.pi_w
        yield "Taylor rule", now.i - (p.r + p.phi_pi * now.pi + shock.m)
        yield "ex-ante real rate", now.r_ante - (now.i - lead.pi)
        yield "return on bonds", now.r - lag.r_ante
        yield "taxes", now.T - p.phi_T * lag.B
        yield "after-tax income", now.Z - (now.Y - now.T)
        yield "government budget", now.B - ((1 + now.r) * lag.B + shock.g - now.T)
        yield "asset market", household.A - now.B

    def household_target(self, p: Values) -> HouseholdTarget:
        """The discount factor makes households lend each other what they borrow."""
        return HouseholdTarget({"r": p.r, "Z": 1.0}, "beta", (0.5, 0.999 / (1 + p.r)), "A", 0.0)

    def steady_state(self, p: Values, household: Any) -> Mapping[str, Any]:
        """Output and productivity are one, inflation and debt zero; the disutility of hours makes the rest hold."""
        fixed = {"Y": 1.0, "X": 1.0, "pi": 0.0, "pi_w": 0.0, "i": p.r, "r_ante": p.r, "r": p.r}
        return {**fixed, "B": 0.0, "T": 0.0, "Z": 1.0, "vphi": household.C ** (-1 / p.eis) / p.mu_w}
