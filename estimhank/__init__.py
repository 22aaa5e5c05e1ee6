"""Bayesian estimation of heterogeneous-agent New Keynesian models with a certified neural posterior surrogate."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from estimhank.households.stationary import household_steady_state
    from estimhank.posterior.posterior import Posterior
    from estimhank.run.density_run import estimate_density
    from estimhank.run.open_results import load
    from estimhank.support.runtime import configure
    from estimhank.target.any_density import from_log_density

__version__ = "0.1.0"
__all__ = ["Posterior", "configure", "estimate_density", "from_log_density", "household_steady_state", "load"]


def __getattr__(name: str) -> Any:
    # loaded on first use: a worker needs neither results nor figures
    places = {
        "Posterior": "estimhank.posterior.posterior",
        "household_steady_state": "estimhank.households.stationary",
        "configure": "estimhank.support.runtime",
        "load": "estimhank.run.open_results",
        "from_log_density": "estimhank.target.any_density",
        "estimate_density": "estimhank.run.density_run",
    }
    if name in places:
        return getattr(importlib.import_module(places[name]), name)
    raise AttributeError(f"module 'estimhank' has no attribute '{name}'")
