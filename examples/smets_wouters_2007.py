"""Smets and Wouters (2007), "Shocks and Frictions in US Business Cycles: A Bayesian DSGE Approach", American Economic
Review 97(3): a representative-agent model with seven shocks and 36 estimated parameters.

Variables are deviations from the balanced growth path, in percent; parameters have the names of the authors' code,
with which their published modes can be read. As there, the investment shock stands in the law of motion of capital
without the factor 1 + beta gamma that the paper prints, and the shock to the risk premium is in units of consumption.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from estimhank.model import (
    AR1,
    ARMA,
    IID,
    Beta,
    Gamma,
    Level,
    Model,
    Normal,
    Observe,
    Parameter,
    Parameters,
    SqrtInverseGamma,
)

#: Fixed by the authors: depreciation, wage markup, government's share, curvatures of the Kimball aggregators.
DELTA, WAGE_MARKUP, GOVERNMENT, CURVATURE = 0.025, 1.5, 0.18, 10.0

_VOLATILITY = SqrtInverseGamma.from_moments(0.1, 2.0)
_PERSISTENCE = Beta(0.5, 0.2)


def _size(value: float, latex: str, description: str) -> Parameter:
    return Parameter(value, rf"\sigma_{{{latex}}}", f"s.d., {description}", _VOLATILITY, "shocks")


def _root(value: float, latex: str, description: str) -> Parameter:
    return Parameter(value, latex, description, _PERSISTENCE)


def composites(p: Any) -> SimpleNamespace:
    """Coefficients of the linear equations that follow from the parameters."""
    gamma, beta = 1 + p.ctrend / 100, 1 / (1 + p.constebeta / 100)
    rental = gamma**p.csigma / beta - (1 - DELTA)
    wage = (p.calfa**p.calfa * (1 - p.calfa) ** (1 - p.calfa) / (p.cfc * rental**p.calfa)) ** (1 / (1 - p.calfa))
    investment = 1 - (1 - DELTA) / gamma
    capital = p.cfc * ((1 - p.calfa) / p.calfa * rental / wage) ** (p.calfa - 1)
    consumption = 1 - GOVERNMENT - investment * gamma * capital
    habit = p.chabb / gamma
    return SimpleNamespace(
        discount=beta * gamma ** (1 - p.csigma),
        habit=habit,
        stiffness=gamma**2 * p.csadjcost,
        replaced=investment,
        c_y=consumption,
        i_y=investment * gamma * capital,
        rk_y=rental * capital,
        hours=(1 - p.calfa) / (WAGE_MARKUP * p.calfa) * rental * capital / consumption,
        rental=rental / (rental + 1 - DELTA),
        premium=p.csigma * (1 + habit) / (1 - habit),
        rate=100 * ((1 + p.constepinf / 100) * gamma**p.csigma / beta - 1),
    )


class SmetsWouters2007(Model):
    """The linear model: an economy with sticky prices and wages, and the same one without."""

    name = "smets_wouters_2007"
    title = "Smets and Wouters (2007)"
    variables = (
        *("y", "c", "inve", "lab", "k", "kp", "pk", "rk", "zcap", "mc", "w", "pinf", "r", "g"),
        *("yf", "cf", "invef", "labf", "kf", "kpf", "pkf", "rkf", "zcapf", "wf", "rrf"),
    )
    shocks = (
        AR1("a", "crhoa", "ea", 1.0, "productivity"),
        AR1("b", "crhob", "eb", 1.0, "risk premium"),
        IID("eg", "eg", 1.0, "exogenous spending"),
        AR1("qs", "crhoqs", "eqs", 1.0, "investment"),
        AR1("ms", "crhoms", "em", 1.0, "monetary policy"),
        ARMA("spinf", ("crhopinf",), ("-cmap",), "epinf", 1.0, "price markup"),
        ARMA("sw", ("crhow",), ("-cmaw",), "ew", 1.0, "wage markup"),
    )
    observables = (
        Observe("dy", lambda now, lag, lead, p: now.y - lag.y, mean="ctrend"),
        Observe("dc", lambda now, lag, lead, p: now.c - lag.c, mean="ctrend"),
        Observe("dinve", lambda now, lag, lead, p: now.inve - lag.inve, mean="ctrend"),
        Level("lab", "labobs", 1.0, "percent", mean="constelab"),
        Level("pinf", "pinfobs", 1.0, mean="constepinf"),
        Observe("dw", lambda now, lag, lead, p: now.w - lag.w, mean="ctrend"),
        Level("r", "robs", 1.0, mean=lambda p: composites(p).rate),
    )
    parameters = Parameters(
        ea=_size(0.45, "a", "productivity"),
        eb=_size(0.24, "b", "risk premium"),
        eg=_size(0.52, "g", "exogenous spending"),
        eqs=_size(0.45, "i", "investment"),
        em=_size(0.24, "r", "monetary policy"),
        epinf=_size(0.14, "p", "price markup"),
        ew=_size(0.24, "w", "wage markup"),
        crhoa=_root(0.95, r"\rho_a", "persistence, productivity"),
        crhob=_root(0.2, r"\rho_b", "persistence, risk premium"),
        crhog=_root(0.97, r"\rho_g", "persistence, exogenous spending"),
        crhoqs=_root(0.7, r"\rho_i", "persistence, investment"),
        crhoms=_root(0.15, r"\rho_r", "persistence, monetary policy"),
        crhopinf=_root(0.9, r"\rho_p", "persistence, price markup"),
        crhow=_root(0.95, r"\rho_w", "persistence, wage markup"),
        cmap=_root(0.7, r"\mu_p", "moving average, price markup"),
        cmaw=_root(0.85, r"\mu_w", "moving average, wage markup"),
        csadjcost=Parameter(5.5, r"\varphi", "investment adjustment cost", Normal(4.0, 1.5, lower=0.0)),
        csigma=Parameter(1.4, r"\sigma_c", "inverse elasticity of substitution", Normal(1.5, 0.375, lower=0.0)),
        chabb=Parameter(0.7, r"\lambda", "habit", Beta(0.7, 0.1)),
        cprobw=Parameter(0.73, r"\xi_w", "Calvo, wages", Beta(0.5, 0.1)),
        csigl=Parameter(1.9, r"\sigma_l", "inverse elasticity of labour supply", Normal(2.0, 0.75, lower=0.0)),
        cprobp=Parameter(0.66, r"\xi_p", "Calvo, prices", Beta(0.5, 0.1)),
        cindw=Parameter(0.59, r"\iota_w", "indexation, wages", Beta(0.5, 0.15)),
        cindp=Parameter(0.23, r"\iota_p", "indexation, prices", Beta(0.5, 0.15)),
        czcap=Parameter(0.54, r"\psi", "elasticity of utilisation", Beta(0.5, 0.15)),
        cfc=Parameter(1.6, r"\Phi", "fixed cost", Normal(1.25, 0.125, lower=1.0)),
        crpi=Parameter(2.0, r"r_\pi", "policy, inflation", Normal(1.5, 0.25, lower=1.0)),
        crr=Parameter(0.81, r"\rho", "policy, smoothing", Beta(0.75, 0.1)),
        cry=Parameter(0.09, r"r_y", "policy, output gap", Normal(0.125, 0.05)),
        crdy=Parameter(0.22, r"r_{\Delta y}", "policy, change of the output gap", Normal(0.125, 0.05)),
        constepinf=Parameter(0.8, r"\bar\pi", "steady-state inflation", Gamma(0.625, 0.1)),
        constebeta=Parameter(0.16, r"100(\beta^{-1}-1)", "discount rate", Gamma(0.25, 0.1)),
        constelab=Parameter(0.0, r"\bar l", "steady-state hours", Normal(0.0, 2.0)),
        ctrend=Parameter(0.43, r"\bar\gamma", "trend growth", Normal(0.4, 0.1)),
        cgy=Parameter(0.52, r"\rho_{ga}", "spending's response to productivity", Normal(0.5, 0.25)),
        calfa=Parameter(0.19, r"\alpha", "capital share", Normal(0.3, 0.05, lower=0.0, upper=1.0)),
    )

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        """The sticky economy with the policy rule, then the flexible one."""
        q = composites(p)
        spending = shock.a - p.crhoa * lag.shock.a  # the innovation of productivity
        yield "exogenous spending", now.g - p.crhog * lag.g - shock.eg - p.cgy * spending
        yield from self._real(now.r - lead.pinf, "", lag, now, lead, shock, p, q)
        yield "marginal cost", now.mc - (p.calfa * now.rk + (1 - p.calfa) * now.w - shock.a)
        prices = (1 - p.cprobp) * (1 - q.discount * p.cprobp) / p.cprobp / ((p.cfc - 1) * CURVATURE + 1)
        inflation = q.discount * lead.pinf + p.cindp * lag.pinf + prices * now.mc
        yield "price Phillips curve", now.pinf - inflation / (1 + q.discount * p.cindp) - shock.spinf
        wages = (1 - p.cprobw) * (1 - q.discount * p.cprobw) / p.cprobw / ((WAGE_MARKUP - 1) * CURVATURE + 1)
        wage = (
            lag.w
            + q.discount * (lead.w + lead.pinf)
            + p.cindw * lag.pinf
            - (1 + q.discount * p.cindw) * now.pinf
            + wages * (p.csigl * now.lab + (now.c - q.habit * lag.c) / (1 - q.habit) - now.w)
        )
        yield "wage Phillips curve", now.w - wage / (1 + q.discount) - shock.sw
        gap, before = now.y - now.yf, lag.y - lag.yf
        rule = (1 - p.crr) * (p.crpi * now.pinf + p.cry * gap) + p.crdy * (gap - before) + p.crr * lag.r
        yield "policy rule", now.r - rule - shock.ms

        yield from self._real(now.rrf, "f", lag, now, lead, shock, p, q)
        yield "flexible prices", p.calfa * now.rkf + (1 - p.calfa) * now.wf - shock.a
        yield "flexible wages", now.wf - p.csigl * now.labf - (now.cf - q.habit * lag.cf) / (1 - q.habit)

    @staticmethod
    def _real(
        rate: Any, which: str, lag: Any, now: Any, lead: Any, shock: Any, p: Any, q: Any
    ) -> Iterator[tuple[str, Any]]:
        """What both economies have in common, given the real rate; ``which`` ends the variables' names."""

        def before(name: str) -> Any:
            return getattr(lag, name + which)

        def after(name: str) -> Any:
            return getattr(lead, name + which)

        real = ("y", "c", "inve", "lab", "k", "kp", "pk", "rk", "zcap", "w")
        y, c, inve, lab, k, kp, pk, rk, zcap, w = (getattr(now, name + which) for name in real)
        of = ", flexible economy" if which else ""
        ahead = after("c") / (1 + q.habit) + q.habit / (1 + q.habit) * before("c")
        work = (p.csigma - 1) * q.hours / (p.csigma * (1 + q.habit)) * (lab - after("lab"))
        yield f"Euler equation{of}", c - ahead - work + rate / q.premium - shock.b
        adjusted = before("inve") + q.discount * after("inve") + pk / q.stiffness
        yield f"investment{of}", inve - adjusted / (1 + q.discount) - shock.qs
        value = q.rental * after("rk") + (1 - q.rental) * after("pk")
        yield f"price of capital{of}", pk - value + rate - q.premium * shock.b
        installed = (1 - q.replaced) * before("kp") + q.replaced * (inve + q.stiffness * shock.qs)
        yield f"capital{of}", kp - installed
        yield f"capital services{of}", k - before("kp") - zcap
        yield f"utilisation{of}", zcap - (1 - p.czcap) / p.czcap * rk
        yield f"rental rate{of}", rk - (w + lab - k)
        yield f"resources{of}", y - (q.c_y * c + q.i_y * inve + now.g + q.rk_y * zcap)
        yield f"production{of}", y - p.cfc * (p.calfa * k + (1 - p.calfa) * lab + shock.a)

    def steady_state(self, p: Any, household: Any) -> Mapping[str, Any]:
        """Deviations are zero."""
        return dict.fromkeys(self.variables, 0.0)
