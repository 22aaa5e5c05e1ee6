"""Krusell and Smith's economy at the sequence-jacobian toolkit's calibration: capital, no nominal side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from estimhank.households.one_asset import HouseholdTarget, StandardIncompleteMarkets
from estimhank.model.declaration import Model
from estimhank.model.observed import Growth
from estimhank.model.processes import AR1
from estimhank.parameters.parameter_table import Parameter, Parameters, Values
from estimhank.parameters.priors import Beta, SqrtInverseGamma


class KrusellSmith(Model):
    """Competitive firms rent capital from households; total factor productivity is the only shock."""

    name = "krusell_smith"
    household = StandardIncompleteMarkets(inputs=("r", "w"), outputs=("A", "C"), n_e=7, n_a=500, spacing="logarithmic")
    variables = ("r", "w", "K", "Y")
    shocks = (AR1("z", description="total factor productivity"),)
    observables = (Growth("Y", "growth"),)
    parameters = Parameters(
        rho_z=Parameter(0.9, r"\rho_z", "persistence, productivity", Beta(0.5, 0.2, upper=0.995), "shocks"),
        sigma_z=Parameter(0.7, r"\sigma_z", "s.d. in percent, productivity", SqrtInverseGamma(0.4, 4.0), "shocks"),
        alpha=Parameter(0.11, r"\alpha", "capital share", touches="steady_state"),
        delta=Parameter(0.025, r"\delta", "depreciation", touches="steady_state"),
        r=Parameter(0.01, r"\bar r", "real interest rate", touches="steady_state"),
        eis=Parameter(1.0, r"\mathrm{eis}", "elasticity of intertemporal substitution", touches="steady_state"),
        rho_e=Parameter(0.966, r"\rho_e", "persistence of log productivity", touches="steady_state"),
        sd_e=Parameter(0.5, r"\sigma_e", "s.d. of log productivity", touches="steady_state"),
        beta=Parameter(None, r"\beta", "discount factor (capital market)", touches="steady_state"),
        tfp=Parameter(None, r"\bar z", "productivity that makes output one", touches="steady_state"),
    )

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        """Capital is chosen one period ahead."""
        tfp = p.tfp * (1 + shock.z)
        yield "rental rate", now.r - (p.alpha * tfp * lag.K ** (p.alpha - 1) - p.delta)
        yield "wage", now.w - (1 - p.alpha) * tfp * lag.K**p.alpha
        yield "production", now.Y - tfp * lag.K**p.alpha
        yield "capital market", household.A - now.K

    def household_target(self, p: Values) -> HouseholdTarget:
        """The discount factor makes households hold the capital stock that goes with the interest rate."""
        return HouseholdTarget(
            {"r": p.r, "w": 1 - p.alpha}, "beta", (0.5, 0.9995 / (1 + p.r)), "A", p.alpha / (p.r + p.delta)
        )

    def steady_state(self, p: Values, household: Any) -> Mapping[str, Any]:
        """Output one; capital from the firms' first-order condition."""
        capital = p.alpha / (p.r + p.delta)
        return {"r": p.r, "w": 1 - p.alpha, "K": capital, "Y": 1.0, "tfp": capital**-p.alpha}
