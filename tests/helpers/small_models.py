"""Models of an equation or two, of which everything is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from estimhank.model import AR1, Level, Model, Parameter, Parameters, SqrtInverseGamma

SIGMA = Parameter(1.0, "s", "s.d.", SqrtInverseGamma(1.0, 4.0), "shocks")
RHO = Parameter(0.5, "r", "persistence", touches="shocks")
PARAMETERS = Parameters(rho_e=RHO, sigma_e=SIGMA)


def plain(lag: Any, now: Any, lead: Any, shock: Any, p: Any) -> Any:
    """The variable is the shock."""
    yield "x", now.x - shock.e


def make_model(equations: Callable[..., Any] = plain, steady: dict[str, float] | None = None, **options: Any) -> Model:
    """A model of some equations of (lag, now, lead, shock, p) around a steady state; by default ``x`` at zero.

    ``options``: shocks, observables and household in place of ``e``, the level of ``x`` and none; further parameters.
    """
    values = steady or {"x": 0.0}

    class Small(Model):
        name = "small"
        variables = tuple(values)
        shocks = options.get("shocks", (AR1("e"),))
        observables = options.get("observables", (Level("x", "y"),))
        household = options.get("household")
        parameters = Parameters(rho_e=RHO, sigma_e=SIGMA, **options.get("parameters", {}))

        def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Any:
            """As given."""
            return equations(lag, now, lead, shock, p)

        def steady_state(self, p: Any, household: Any) -> dict[str, float]:
            """As given."""
            return values

    return Small()
