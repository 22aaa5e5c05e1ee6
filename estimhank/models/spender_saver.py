"""The default economy with two types of households, spenders and savers, who differ in patience."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from estimhank.households.one_asset import HouseholdTarget, StandardIncompleteMarkets, Sum
from estimhank.models.one_asset_hank import OneAssetHANK
from estimhank.parameters.parameter_table import Parameter, Parameters, Values

_HOUSEHOLD = StandardIncompleteMarkets(inputs=("r", "Z"), outputs=("A", "C"))
_OWN = {name: entry for name, entry in OneAssetHANK.parameters.items() if name != "beta"}


class SpenderSaver(OneAssetHANK):
    """A fixed share of households is so impatient that it spends what it earns and holds no assets; the discount factor
    of the others makes all together hold the debt. Both have the same income risk and pay the same taxes.

    Everything else is :class:`~estimhank.models.one_asset_hank.OneAssetHANK`, which this is at equal discount factors.
    """

    name = "spender_saver"
    title = "Spenders and savers with sticky wages"
    household = MappingProxyType({"spender": _HOUSEHOLD, "saver": _HOUSEHOLD})  # type: ignore[assignment]
    parameters = Parameters(
        **_OWN,
        share=Parameter(0.3, r"\lambda", "share of spenders", touches="steady_state"),
        beta_spender=Parameter(0.75, r"\beta_1", "discount factor of spenders", touches="steady_state"),
        beta_saver=Parameter(None, r"\beta_2", "discount factor of savers (asset market)", touches="steady_state"),
    )

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        """Those of the default model, of aggregates over both types."""
        yield from super().equations(lag, now, lead, self._together(household, p), shock, p)

    def household_target(self, p: Values) -> HouseholdTarget:
        """The discount factor of savers makes both types together hold the debt."""
        inputs = {"r": p.r, "Z": 1 - p.G - p.r * p.B_bar}
        total = Sum(p.B_bar, {"spender.A": p.share, "saver.A": 1 - p.share})
        return HouseholdTarget(inputs, unknowns={"beta_saver": (0.5, 0.999 / (1 + p.r))}, targets={"assets": total})

    def steady_state(self, p: Values, household: Any) -> Mapping[str, Any]:
        """That of the default model."""
        return super().steady_state(p, self._together(household, p))

    @staticmethod
    def _together(household: Any, p: Any) -> Values:
        spender, saver = household.spender, household.saver
        return Values({n: p.share * getattr(spender, n) + (1 - p.share) * getattr(saver, n) for n in ("A", "C")})
