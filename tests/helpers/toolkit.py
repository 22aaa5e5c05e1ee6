"""The sequence-jacobian toolkit's own example economies: an independent route to steady states and responses."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
import pytest

#: Two-sided differences, a thousand times closer to the derivative than the toolkit's default.
CENTRAL = {"h": 1e-6, "twosided": True}
TIGHT = {"backward_tol": 1e-13, "forward_tol": 1e-15}


class ToolkitEconomy:
    """An example of the toolkit at given values, steady state values among them.

    ``example``: ``"krusell_smith"`` or ``"hank"`` (hours chosen by households). ``values`` has the toolkit's names.
    ``transfers``: to households who choose hours, in place of dividends less taxes, for the household alone.
    """

    def __init__(self, example: str, values: Mapping[str, float], transfers: float | None = None) -> None:
        sj = pytest.importorskip("sequence_jacobian")
        module = import_module(f"sequence_jacobian.examples.{example}")
        if example == "hank":
            household = module.hh.add_hetinputs([module.transfers, module.wages, module.make_grids])
            self.household = household.add_hetoutputs([module.labor_supply])
            others = [module.firm, module.monetary, module.fiscal, module.mkt_clearing, module.nkpc]
            self.unknowns, self.targets = ["w", "Y", "pi"], ["asset_mkt", "goods_mkt", "nkpc_res"]
        else:
            self.household = module.hh.add_hetinputs([module.income, module.make_grids])
            others = [module.firm, module.mkt_clearing]
            self.unknowns, self.targets = ["K"], ["asset_mkt"]
        self.model = sj.create_model([self.household, *others], name=example)
        if transfers is not None:
            alone = dict(values) | {"Div": transfers, "Tax": 0.0}
            self.steady = self.household.steady_state({name: alone[name] for name in self.household.inputs}, **TIGHT)
            return
        self.steady = self.model.steady_state(dict(values), options={self.household.name: TIGHT})

    def responses(self, paths: Mapping[str, np.ndarray], **differences: Any) -> Any:
        """Linear responses to paths of the exogenous inputs."""
        options = {self.household.name: differences}
        return self.model.solve_impulse_linear(self.steady, self.unknowns, self.targets, dict(paths), options=options)

    def nonlinear(self, paths: Mapping[str, np.ndarray]) -> Any:
        """Nonlinear responses, as deviations, to paths of deviations of the exogenous inputs."""
        return self.model.solve_impulse_nonlinear(
            self.steady, self.unknowns, self.targets, dict(paths), tol=1e-11, maxit=200, verbose=False
        )

    def jacobians(self, inputs: list[str], outputs: list[str], horizon: int) -> Any:
        """Of the household alone, by output and input."""
        return self.household.jacobian(self.steady, inputs, outputs, T=horizon, **CENTRAL)
