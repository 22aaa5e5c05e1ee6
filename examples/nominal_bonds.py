"""A model of one's own in a page: nominal debt, a rule that looks ahead, a government that balances slowly.

estimhank estimate examples/nominal_bonds.toml --out results/scratch/nominal_bonds --profile smoke
"""

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
    Values,
)


class NominalBonds(Model):
    """Bonds pay the nominal rate set a quarter ago, so that inflation redistributes at once."""

    name = "nominal_bonds"
    household = StandardIncompleteMarkets(inputs=("r", "Z"), outputs=("A", "C"), n_a=120)
    variables = ("Y", "pi", "i", "r", "B", "T", "Z", "pi_next")
    shocks = (
        AR1("w", description="wage markup"),
        AR1("g", description="spending"),
        AR1("m", description="monetary policy"),
    )
    observables = (Growth("Y", "growth"), Level("pi", "inflation"), Level("i", "rate"))
    parameters = Parameters(
        kappa_w=Parameter(0.05, r"\kappa_w", "slope of the Phillips curve", Gamma(0.05, 0.02)),
        phi=Parameter(1.6, r"\phi", "response to expected inflation", Normal(1.6, 0.3, lower=1.0)),
        rho_i=Parameter(0.7, r"\rho_i", "interest-rate smoothing", Beta(0.7, 0.1)),
        phi_b=Parameter(0.15, r"\phi_b", "response of taxes to debt", Gamma(0.1, 0.05), prior_relative_to="r"),
        **{
            f"rho_{s}": Parameter(0.7, rf"\rho_{s}", f"persistence, {s}", Beta(0.5, 0.2, upper=0.995), "shocks")
            for s in "wgm"
        },
        **{
            f"sigma_{s}": Parameter(0.4, rf"\sigma_{s}", f"s.d. in percent, {s}", SqrtInverseGamma(0.4, 4.0), "shocks")
            for s in "wgm"
        },
        # calibrated: touches says what has to be solved again if one of them is estimated after all
        eis=Parameter(0.5, r"\mathrm{eis}", "intertemporal substitution", touches="steady_state"),
        rho_e=Parameter(0.976, r"\rho_e", "persistence of productivity", touches="steady_state"),
        sd_e=Parameter(0.92, r"\sigma_e", "s.d. of log productivity", touches="steady_state"),
        frisch=Parameter(0.5, r"\mathrm{frisch}", "Frisch elasticity", touches="steady_state"),
        r=Parameter(0.005, r"\bar r", "real rate", touches="steady_state"),
        G=Parameter(0.2, r"\bar G", "government spending", touches="steady_state"),
        B_bar=Parameter(1.0, r"\bar B", "government debt", touches="steady_state"),
        # left to the steady state
        beta=Parameter(None, r"\beta", "discount factor", touches="steady_state"),
        vphi=Parameter(None, r"\varphi", "disutility of hours", touches="steady_state"),
    )

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        """One residual a line, zero in equilibrium."""
        wedge = p.vphi * now.Y ** (1 / p.frisch) - household.C ** (-1 / p.eis)
        yield "Phillips curve", now.pi - p.kappa_w * wedge - now.pi_next / (1 + p.r) - shock.w
        yield "expected inflation", now.pi_next - lead.pi
        yield "Taylor rule", now.i - p.r - p.rho_i * (lag.i - p.r) - (1 - p.rho_i) * p.phi * now.pi_next - shock.m
        yield "nominal bonds", now.r - (lag.i - now.pi)
        yield "taxes", now.T - (p.G + p.r * p.B_bar + p.phi_b * (lag.B - p.B_bar))
        yield "after-tax income", now.Z - (now.Y - now.T)
        yield "government budget", now.B - ((1 + now.r) * lag.B + p.G + shock.g - now.T)
        yield "asset market", household.A - now.B

    def household_target(self, p: Values) -> HouseholdTarget:
        """What the household faces in the steady state, and which parameter makes it hold the debt."""
        inputs = {"r": p.r, "Z": 1 - p.G - p.r * p.B_bar}
        return HouseholdTarget(inputs, unknown="beta", bracket=(0.5, 0.999 / (1 + p.r)), output="A", value=p.B_bar)

    def steady_state(self, p: Values, household: Any) -> Mapping[str, Any]:
        """Values of all variables, and of the parameters that were left open."""
        tax = p.G + p.r * p.B_bar
        variables = {"Y": 1.0, "pi": 0.0, "pi_next": 0.0, "i": p.r, "r": p.r, "B": p.B_bar, "T": tax, "Z": 1 - tax}
        return {**variables, "vphi": household.C ** (-1 / p.eis)}
