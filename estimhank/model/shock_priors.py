"""Priors of shocks' parameters that no shock can have."""

from __future__ import annotations

from collections.abc import Mapping

from estimhank.model.declaration import Model
from estimhank.parameters.parameter_table import ModelError
from estimhank.parameters.priors import Prior


def check_shock_priors(model: Model, priors: Mapping[str, Prior]) -> None:
    """Refuse priors that allow an explosive shock or a negative standard deviation.

    Raises
    ------
    ModelError
    """
    for shock in model.shocks:
        low, high = priors[shock.rho].support if shock.rho in priors else (0.0, 0.0)
        if low < -1 or high > 1:
            raise ModelError(f"the prior of {shock.rho} allows an explosive shock: truncate it to (-1, 1) or inside")
        if shock.sigma in priors and priors[shock.sigma].support[0] < 0:
            raise ModelError(f"the prior of {shock.sigma}, a standard deviation, allows negative values: add lower = 0")
