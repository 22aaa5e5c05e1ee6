"""Bayesian estimation of heterogeneous-agent New Keynesian models with a certified neural posterior surrogate."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from estimhank.support.runtime import configure as _configure

if TYPE_CHECKING:
    from estimhank.density import estimate_density, from_log_density
    from estimhank.posterior.posterior import Posterior
    from estimhank.run.results import load

__version__ = "0.1.0"
__all__ = ["Posterior", "estimate_density", "from_log_density", "load"]

_configure()


def __getattr__(name: str) -> Any:
    # loaded on first use: a worker needs neither results nor figures
    places = {
        "Posterior": "estimhank.posterior.posterior",
        "load": "estimhank.run.results",
        "from_log_density": "estimhank.density",
        "estimate_density": "estimhank.density",
    }
    if name in places:
        return getattr(importlib.import_module(places[name]), name)
    raise AttributeError(f"module 'estimhank' has no attribute '{name}'")
