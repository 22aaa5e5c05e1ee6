"""Priors of shocks' parameters that no shock can have."""

from __future__ import annotations

from collections.abc import Mapping

from estimhank.model.declaration import Model
from estimhank.model.processes import sigma_of_news
from estimhank.parameters.parameter_table import ModelError
from estimhank.parameters.priors import Prior


def check_shock_priors(model: Model, priors: Mapping[str, Prior]) -> None:
    """Refuse priors that allow an explosive shock or a negative standard deviation.

    Raises
    ------
    ModelError
    """
    for shock in model.innovations:
        low, high = priors[shock.rho].support if shock.rho in priors else (0.0, 0.0)
        if low < -1 or high > 1:
            raise ModelError(f"the prior of {shock.rho} allows an explosive shock: truncate it to (-1, 1) or inside")
    for process in model.shocks:
        for name in (process.sigma, *(sigma_of_news(process, h) for h in process.news)):
            if isinstance(name, str) and name in priors and priors[name].support[0] < 0:
                raise ModelError(f"the prior of {name}, a standard deviation, allows negative values: add lower = 0")
    for c in model.correlations:
        low, high = priors[c.parameter].support if c.parameter in priors else (0.0, 0.0)
        if low < -1 or high > 1:
            raise ModelError(f"the prior of {c.parameter}, a correlation, reaches beyond (-1, 1): truncate it")
